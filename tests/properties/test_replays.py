"""Error rates of the decision, replayed from seeds through the real fold and the real judge.

Each bound is the promise plus three standard errors at this number of runs; `bench/decisions.py`
runs the same cells at full size.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from bench.replay import Cell, Ending, replay, standard_error

from headgate.core.evidence import Objective, ObjectiveKind, Settings

pytestmark = pytest.mark.replay

AVAILABILITY = Objective("availability", 0.99, ObjectiveKind.ERRORS)
SETTINGS = Settings(alpha=0.01, margin=0.001, tolerance=0.005, objectives=(AVAILABILITY,))
JUDGE = replace(SETTINGS, weights=(100,))


def endings(cell: Cell, settings: Settings, weight: int | None, runs: int) -> list[Ending]:
    """Replay a cell from the seeds 0..runs-1."""
    return [replay(cell, settings, weight, seed) for seed in range(runs)]


def bound(promise: float, runs: int) -> float:
    """The promise with three standard errors."""
    return promise + 3 * standard_error(promise, runs)


HEALTHY = [
    pytest.param([Cell(0.2, 5, 0.001), Cell(0.2, 50, 0.05)], id="0.2 requests a second"),
    pytest.param([Cell(1, 10, 0.01), Cell(5, 50, 0.001)], id="1 to 5 requests a second"),
    pytest.param([Cell(20, 5, 0.05), Cell(100, 10, 0.01)], id="20 to 100 requests a second"),
    pytest.param([Cell(1000, 5, 0.001), Cell(1000, 50, 0.01)], id="1000 requests a second"),
    pytest.param(
        [Cell(100, 5, 0.001, incidents=True), Cell(5, 50, 0.01, incidents=True)],
        id="incidents that both versions share",
    ),
    pytest.param([Cell(100, 25, 0.01, edge=0.001)], id="worse by exactly the margin"),
    pytest.param([Cell(20, 10, 0.01, slower=1.0, duration=600)], id="latency watched as well"),
]


@pytest.mark.parametrize("cells", HEALTHY)
def test_a_healthy_canary_is_rolled_back_at_most_once_in_a_hundred(cells: list[Cell]) -> None:
    """Claim: over half an hour with a look every ten seconds, at most alpha are called harmful, and
    neither a service that breaks its objective all the time nor incidents change that."""
    found = [ending for cell in cells for ending in endings(cell, JUDGE, None, 80)]
    blamed = [ending for ending in found if ending.breach_at is not None]

    assert len(blamed) / len(found) <= bound(0.01, len(found))


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(Cell(10, 50, 0.01, harm=0.2), id="half of little traffic"),
        pytest.param(Cell(50, 10, 0.001, harm=0.2), id="a tenth of some"),
        pytest.param(Cell(100, 5, 0.05, harm=0.2), id="a twentieth, and stable fails too"),
    ],
)
def test_twenty_points_of_harm_are_found_within_three_looks(cell: Cell) -> None:
    """Claim: at five canary requests a second, in at least 95 of 100 runs within 30 s."""
    found = endings(cell, SETTINGS, None, 100)
    late = [one for one in found if one.breach_at is None or one.breach_at > 30]

    assert len(late) / len(found) <= bound(0.05, len(found))


def test_one_failure_in_ten_is_found_in_seconds() -> None:
    """Claim: 10 % failing at 100 requests a second and a weight of 10 %: two looks at most, by
    scrapes every two seconds, and some twenty users see a failure."""
    found = endings(Cell(100, 10, 0.001, harm=0.1, scrape=2), SETTINGS, None, 100)

    assert max(one.breach_at or 9999 for one in found) <= 30
    assert sum(one.failures for one in found) / len(found) < 20


def test_harm_that_starts_after_ten_healthy_minutes_is_found_in_a_minute() -> None:
    """Claim: health is no credit: five points of harm from minute ten on are found by minute 11."""
    found = endings(Cell(100, 10, 0.01, harm=0.05, onset=600), JUDGE, None, 40)
    delays = sorted((one.breach_at or 9999) - 600 for one in found)

    assert delays[0] > 0
    assert delays[len(delays) // 2] <= 60


def test_a_slower_canary_is_found() -> None:
    """Claim: 1.5 times slower at five canary requests a second is blamed on latency in 2 min."""
    found = endings(Cell(50, 10, 0.01, slower=1.5, duration=300), JUDGE, None, 20)

    assert {one.signal for one in found} == {"latency"}
    assert sorted(one.breach_at or 9999 for one in found)[10] <= 120


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(Cell(100, 10, 0.01, edge=0.005), id="base 1 %"),
        pytest.param(Cell(100, 50, 0.001, edge=0.005), id="base 0.1 %, half of the traffic"),
    ],
)
def test_a_canary_worse_by_the_tolerance_is_promoted_at_most_once_in_twenty(cell: Cell) -> None:
    """Claim: 100 % is earned wrongly by at most 5 %, were there no harm test to stop it."""
    blind = replace(JUDGE, alpha=1e-12, objectives=())
    found = endings(cell, blind, 100, 200)
    earned = [one for one in found if one.earned_at is not None]

    assert len(earned) / len(found) <= bound(0.05, len(found))


def test_a_good_canary_earns_full_traffic_near_the_limit() -> None:
    """Claim: base 1 %, tolerance 0.5 points, 100 requests a second at 10 %: the median is within
    1.1 times the information limit of 333 s and one look."""
    found = endings(Cell(100, 10, 0.01), JUDGE, 100, 60)
    times = sorted(one.earned_at or 9999 for one in found)

    assert times[len(times) // 2] <= 1.1 * 333 + 10


def test_silence_is_never_a_reason() -> None:
    """Claim: a canary without a single request is neither blamed nor promoted in half an hour."""
    found = endings(Cell(0.0, 5, 0.01), SETTINGS, 100, 2)

    assert {(one.breach_at, one.earned_at) for one in found} == {(None, None)}
