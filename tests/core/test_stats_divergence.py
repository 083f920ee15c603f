"""The two-sided test of two histograms: valid by enumeration, silent without data."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, factorial, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.stats.divergence import ALTERNATIVES, alternatives, divergence_logs

COUNTS = st.lists(st.integers(0, 200), min_size=2, max_size=8)


def outcomes(events: int, bins: int) -> Iterator[tuple[int, ...]]:
    """All ways to put so many events into so many bins."""
    if bins == 1:
        yield (events,)
        return
    for first in range(events + 1):
        for rest in outcomes(events - first, bins - 1):
            yield (first, *rest)


def chance(counts: tuple[int, ...], rates: tuple[float, ...]) -> float:
    """The multinomial probability of counts."""
    ways = factorial(sum(counts)) / prod(factorial(count) for count in counts)
    return ways * prod(rate**count for rate, count in zip(rates, counts, strict=True))


@pytest.mark.parametrize(
    "ordered", [pytest.param(True, id="bins"), pytest.param(False, id="classes")]
)
@pytest.mark.parametrize(
    "rates",
    [
        pytest.param((0.2, 0.5, 0.3), id="even"),
        pytest.param((0.97, 0.02, 0.01), id="one bin has nearly all"),
        pytest.param((0.0, 0.4, 0.6), id="an empty bin"),
    ],
)
@pytest.mark.parametrize(("n_c", "n_s"), [(1, 1), (1, 5), (4, 3)])
def test_the_mean_of_each_e_value_is_at_most_one_when_both_are_alike(
    n_c: int, n_s: int, rates: tuple[float, ...], ordered: bool
) -> None:
    """Claim: by exact enumeration, whatever distribution both share, and whatever was known."""
    for known in ((0, 0, 0), (5, 1, 0), (200, 500, 300)):
        against = alternatives(known, ordered)
        means = [0.0] * len(against)
        for canary in outcomes(n_c, 3):
            for stable in outcomes(n_s, 3):
                weight = chance(canary, rates) * chance(stable, rates)
                for j, log in enumerate(divergence_logs(canary, stable, against)):
                    means[j] += weight * exp(log)

        assert len(means) == ALTERNATIVES
        assert max(means) <= 1.0 + 1e-9


@given(known=COUNTS, ordered=st.booleans())
def test_without_events_on_one_arm_nothing_is_said(known: list[int], ordered: bool) -> None:
    """Claim: no data is e = 1, for every alternative."""
    against = alternatives(tuple(known), ordered)
    nobody = [0] * len(known)

    assert list(divergence_logs(nobody, known, against)) == [0.0] * ALTERNATIVES
    assert list(divergence_logs(known, nobody, against)) == [0.0] * ALTERNATIVES


@pytest.mark.parametrize(
    ("canary", "ordered"),
    [
        pytest.param((0, 10, 30, 60), True, id="upwards"),
        pytest.param((60, 30, 10, 0), True, id="downwards"),
        pytest.param((50, 0, 0, 50), True, id="to both ends"),
        pytest.param((10, 70, 10, 10), False, id="to one class"),
    ],
)
def test_a_difference_in_either_direction_is_found(canary: tuple[int, ...], ordered: bool) -> None:
    """Claim: a hundred events that lie elsewhere are evidence beyond a hundred to one."""
    stable = (250, 250, 250, 250)
    found = divergence_logs(canary, stable, alternatives(stable, ordered))

    assert sum(exp(log) for log in found) / ALTERNATIVES > 100.0


def test_alike_is_no_evidence() -> None:
    """Claim: proportional counts are evidence for no alternative."""
    known = (100, 300, 600)
    for ordered in (True, False):
        found = divergence_logs((10, 30, 60), known, alternatives(known, ordered))
        assert sum(exp(log) for log in found) / ALTERNATIVES < 1.0
