"""Live inputs against training data: shifts are found, the usual is not, silence is nothing."""

from __future__ import annotations

import random

import pytest

from headgate.core.drift import bins
from headgate.core.drift.build import Column, build
from headgate.core.drift.profile import Profile
from headgate.core.drift.reference import detect, detect_all, psi, weights_of

ROWS = 10_000


def normal(rows: int, seed: int, mean: float = 0.0, deviation: float = 1.0) -> list[float]:
    """Draw from a normal distribution."""
    chance = random.Random(seed)
    return [chance.gauss(mean, deviation) for _ in range(rows)]


PROFILE = build([Column("x", "number", normal(ROWS, 1)), Column("y", "number", normal(ROWS, 2))])
X = PROFILE.features[0]


def ticks(events: int, count: int, seed: int, mean: float = 0.0, deviation: float = 1.0):
    """So many ticks of so many events."""
    return [
        bins.count(X, normal(events, 1000 * seed + tick, mean, deviation)) for tick in range(count)
    ]


@pytest.mark.replay
def test_inputs_as_in_training_raise_no_alarm() -> None:
    """Claim: at most 2 % of streams of 18,000 events alarm; of these fifteen, none."""
    alarms = [detect(X, ticks(100, 180, seed)).is_drift for seed in range(15)]

    assert sum(alarms) == 0


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [
        pytest.param(0.5, 1.0, id="half a deviation up"),
        pytest.param(-0.5, 1.0, id="half a deviation down"),
        pytest.param(0.0, 1.5, id="half as much wider"),
    ],
)
def test_a_shift_is_found_and_dated(mean: float, deviation: float) -> None:
    """Claim: found within 30 ticks of a hundred events, and dated near its beginning."""
    stream = [*ticks(100, 30, 7), *ticks(100, 30, 8, mean, deviation)]
    found = detect(X, stream)

    assert found.is_drift
    assert 20 <= found.since <= 45
    assert found.change
    assert found.psi > found.psi_by_chance


def test_nothing_seen_is_no_drift() -> None:
    """Claim: no ticks, and ticks without events, say nothing."""
    assert not detect(X, []).is_drift
    assert not detect(X, [(0,) * (len(X.shares) + 1)] * 50).is_drift
    report = detect_all(PROFILE, {})

    assert not report.is_drift
    assert len(report.drifts) == 2


def test_the_drifted_feature_comes_first() -> None:
    """Claim: of two features the one that moved is named first, and the other is not blamed."""
    report = detect_all(PROFILE, {"x": ticks(200, 40, 3), "y": ticks(200, 40, 4, mean=1.0)})

    assert [drift.feature for drift in report.drifts] == ["y", "x"]
    assert [drift.is_drift for drift in report.drifts] == [True, False]


def test_a_small_reference_cannot_claim_small_shifts() -> None:
    """Claim: the floor that is told falls with the rows of the reference."""
    small = build([Column("x", "number", normal(500, 5))]).features[0]

    assert detect(small, []).floor > 2 * detect(X, []).floor


def test_parts_of_the_promise_add_up() -> None:
    """Claim: what features and predictions may spend is all there is."""
    with_answers = build([Column("x", "number", [1.0, 2.0])], Column("p", "number", [0.0, 1.0]))
    profiles: list[Profile] = [PROFILE, with_answers]
    for profile in profiles:
        assert sum(weights_of(profile)) == pytest.approx(1.0)


def test_psi_of_equal_shares_is_small_and_of_others_is_not() -> None:
    """Claim: it describes, from nothing to much."""
    like = bins.count(X, normal(5000, 11))
    unlike = bins.count(X, normal(5000, 12, mean=1.0))

    assert psi(X, like) < 0.02
    assert psi(X, unlike) > 0.5
