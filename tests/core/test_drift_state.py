"""What the drift detector remembers, promises and charges for."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from math import exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.drift.bins import Counts, add, count
from headgate.core.drift.build import Column, build
from headgate.core.drift.profile import CategoryFeature, NumberFeature, Profile, reference
from headgate.core.drift.reference import (
    Risk,
    State,
    conclude,
    design_effect,
    detect,
    detect_all,
    fold,
    weights_of,
)
from headgate.core.drift.table import table

AMOUNT = NumberFeature("amount", 10_000, (1.0, 2.0, 3.0), (0.1, 0.4, 0.38, 0.1), 0.02)
COUNTRY = CategoryFeature("country", 10_000, ("DE", "FR"), (0.6, 0.3, 0.08), 0.02)
RISK = Risk()
TICKS = st.lists(st.tuples(*[st.integers(0, 40)] * 5), max_size=12)


def folded(ticks: list[Counts], state: State | None = None) -> State:
    """Fold ticks of the amount one after the other."""
    state = state or State()
    for tick in ticks:
        state = fold(AMOUNT, state, tick, RISK)
    return state


@given(TICKS, TICKS)
@settings(max_examples=50)
def test_a_stored_state_goes_on_as_one_that_never_left_memory(
    before: list[Counts], after: list[Counts]
) -> None:
    """Claim: a state survives JSON without any difference, and is small."""
    state = folded(before)
    text = json.dumps(asdict(state))
    stored = State(**{key: _tuple(value) for key, value in json.loads(text).items()})

    assert len(text) < 2000
    assert stored == state
    assert folded(after, stored) == folded(before + after)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


@given(TICKS)
@settings(max_examples=50)
def test_replicas_are_one_stream(ticks: list[Counts]) -> None:
    """Claim: splitting each tick over two replicas and adding gives the same drift."""
    split = [(tuple(c // 3 for c in tick), tuple(c - c // 3 for c in tick)) for tick in ticks]

    assert detect(AMOUNT, [add(one, other) for one, other in split]) == detect(AMOUNT, ticks)


@pytest.mark.parametrize("feature", [AMOUNT, COUNTRY], ids=["a number", "a category"])
@pytest.mark.parametrize("rows", [200, 1_000, 10_000, 1_000_000])
def test_no_way_gains_while_nothing_drifts(
    feature: NumberFeature | CategoryFeature, rows: int
) -> None:
    """Claim: under the reference's own shares each bet loses on average, from any rows."""
    feature = replace(feature, rows=rows)
    known = table(feature, 10, 0.01, 0.0)

    assert known.ways
    assert sum(way.stake for way in known.ways) == pytest.approx(1.0)
    for way in known.ways:
        logs = zip(reference(feature), way.logs, strict=True)
        assert sum(share * exp(log) for share, log in logs) < 1.0


def test_a_tolerance_silences_what_is_smaller() -> None:
    """Claim: a tolerated shift raises the floor by itself and takes the evidence away."""
    chance = random.Random(5)
    feature = build([Column("x", "number", [chance.gauss(0, 1) for _ in range(10_000)])]).features[
        0
    ]
    ticks = [count(feature, [chance.gauss(0.3, 1) for _ in range(100)]) for _ in range(100)]
    patient = Risk(tolerance=0.5)

    assert detect(feature, ticks).is_drift
    assert not detect(feature, ticks, patient).is_drift
    assert detect(feature, ticks, patient).floor == pytest.approx(
        detect(feature, ticks).floor + 0.5
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_a_reference_of_a_few_rows_says_nothing(rows: int) -> None:
    """Claim: it offers no bet, or none that a hundred unlike events could win."""
    feature = replace(AMOUNT, rows=rows)

    assert not detect(feature, [(0, 0, 0, 100, 0)]).is_drift


@pytest.mark.parametrize(
    ("feature", "tick", "change"),
    [
        pytest.param(AMOUNT, (10, 40, 40, 10, 40), "more missing", id="values get lost"),
        pytest.param(AMOUNT, (8, 52, 31, 8, 1), "more in the bin up to 2", id="a default"),
        pytest.param(COUNTRY, (30, 30, 40, 0), "more other", id="an unknown category"),
        pytest.param(COUNTRY, (0, 50, 50, 0), "", id="a category goes"),
    ],
)
def test_a_drift_says_how(
    feature: NumberFeature | CategoryFeature, tick: Counts, change: str
) -> None:
    """Claim: twenty such ticks are a drift, and the words say what became more."""
    found = detect(feature, [tick] * 20)

    assert found.is_drift
    assert change in found.change


def test_equal_events_of_a_session_count_once() -> None:
    """Claim: five equal events a session are known as such after 60 ticks, untold."""
    chance = random.Random(3)
    bins = (10, 40, 38, 10, 2)
    state = State()
    for _ in range(60):
        drawn = bytes(chance.choices(range(5), weights=bins, k=20))
        state = fold(AMOUNT, state, tuple(5 * drawn.count(k) for k in range(5)), RISK)

    assert design_effect(AMOUNT, state) == pytest.approx(5.0, rel=0.35)
    assert design_effect(AMOUNT, State()) == 1.0
    assert design_effect(replace(AMOUNT, design_effect=4.0), State()) == 4.0


def test_a_step_is_not_taken_for_noise() -> None:
    """Claim: one jump between two long stretches hardly raises the design effect."""
    state = folded([(10, 40, 38, 10, 2)] * 40 + [(2, 20, 48, 28, 2)] * 40)

    assert design_effect(AMOUNT, state) < 1.1


def test_a_tick_of_other_bins_is_refused() -> None:
    """Claim: counts of another profile are never taken for this one's."""
    with pytest.raises(ValueError, match="amount: wanted 5 bins, found 4"):
        fold(AMOUNT, State(), (1, 2, 3, 4), RISK)


def test_all_features_share_one_promise() -> None:
    """Claim: the report's evidence is the weighted mean, predictions weigh .4, the rest is even."""
    score = replace(AMOUNT, name="score")
    profile = Profile(10_000, (AMOUNT, COUNTRY), score)
    lost, usual = [(10, 40, 40, 10, 40)] * 20, [(60, 30, 8, 2)] * 20
    report = detect_all(profile, {"amount": lost, "country": usual}, [])
    by_name = {drift.feature: drift for drift in report.drifts}

    assert weights_of(profile) == pytest.approx((0.3, 0.3, 0.4))
    assert report.e == pytest.approx(0.3 * by_name["amount"].e + 0.3 * by_name["country"].e)
    assert report.drifts[0].feature == "amount"
    assert by_name["amount"].threshold == pytest.approx(1 / (0.01 * 0.3))
    assert by_name["score"].events == 0


def test_stakes_are_per_tick_or_per_event() -> None:
    """Claim: all ticks, or all events, that are promised together stake exactly 1."""
    assert 1000 * Risk(ticks=1000).stake(100) == pytest.approx(1.0)
    assert 1000 * Risk(events=100_000).stake(100) == pytest.approx(1.0)


def test_a_conclusion_needs_no_ticks() -> None:
    """Claim: a feature that nobody sent is described without dividing by nothing."""
    nothing = conclude(AMOUNT, State(), RISK)

    assert (nothing.e, nothing.events, nothing.psi, nothing.now) == (0.0, 0, 0.0, ())
