"""Laws of the fold: whatever counters do, restarts and re-reads change nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf, isfinite, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.counters import BAD, ERRORS, GOOD, LATENCY, Arm, Point, Series, difference
from headgate.core.evidence import (
    Evidence,
    Objective,
    ObjectiveKind,
    Settings,
    begin,
    fold,
    with_baseline,
)
from headgate.core.stats import mixture

START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = Settings(
    0.01,
    0.001,
    0.005,
    (
        Objective("availability", 0.99, ObjectiveKind.ERRORS),
        Objective("fast", 0.9, ObjectiveKind.LATENCY, 0.25),
    ),
    (25,),
)
OUTCOMES = ((ERRORS, GOOD), (ERRORS, BAD), (LATENCY, "0.25"), (LATENCY, "+Inf"))


@st.composite
def counter(draw: st.DrawFn, instance: str, times: list[datetime], key: tuple[str, Arm, str]):
    """One counter that grows, restarts, comes late, and now and then says nonsense or nothing."""
    born = draw(st.integers(0, 3))
    points, value = [], draw(st.integers(0, 50))
    for at in times[born:]:
        happens = draw(st.sampled_from(["grow"] * 12 + ["restart", "nonsense", "absent"]))
        # An instance counts from its first whole scrape on; what was before it, no look can know.
        happens = happens if points else "grow"
        value = draw(st.integers(0, 5)) if happens == "restart" else value
        value += draw(st.integers(0, 40))
        if happens == "nonsense":
            points.append(Point(at, draw(st.sampled_from([nan, inf, -inf, -1.0]))))
        elif happens != "absent":
            points.append(Point(at, value))
    signal, arm, outcome = key
    return Series(signal, arm, instance, outcome, outcome, tuple(points))


@st.composite
def worlds(draw: st.DrawFn, longest_gap: int = 400) -> list[Series]:
    """All series of one or two gateway instances; scrapes come every few seconds, with gaps."""
    spans = [2, 2, 2, 2, 30, longest_gap]
    series = []
    for instance in draw(st.sampled_from([("a",), ("a", "b")])):
        gaps = draw(st.lists(st.sampled_from(spans), min_size=1, max_size=12))
        times = [START]
        for gap in gaps:
            times.append(times[-1] + timedelta(seconds=gap))
        for arm in draw(st.sampled_from([(Arm.STABLE,), (Arm.CANARY,), tuple(Arm)])):
            for signal, outcome in OUTCOMES:
                series.append(draw(counter(instance, times, (signal, arm, outcome))))
    return series


def window(series: list[Series], after: datetime, until: datetime) -> list[Series]:
    """What a read of (after, until] returns; series without a sample are not there."""
    cut = [
        Series(
            one.signal,
            one.arm,
            one.instance,
            one.outcome,
            one.key,
            tuple(p for p in one.points if after < p.at <= until),
        )
        for one in series
    ]
    return [one for one in cut if one.points]


FOREVER = START + timedelta(days=1)


def in_looks(series: list[Series], cuts: list[int]) -> Evidence:
    """Look at these seconds and at the end, with the state stored and read again between."""
    evidence = begin(RULES, START)
    for cut in [*(START + timedelta(seconds=one) for one in sorted(cuts)), FOREVER]:
        evidence = Evidence.from_json(evidence.to_json())
        evidence = fold(evidence, window(series, evidence.read_from, cut))
    return evidence


CUTS = st.lists(st.integers(0, 2000), max_size=4)


# The longest gap is chosen so that no instance lags behind another by more than MAX_GAP in sum.
@given(series=worlds(longest_gap=24), cuts=CUTS)
@settings(max_examples=150, deadline=None)
def test_a_restart_at_any_look_gives_the_same_evidence(
    series: list[Series], cuts: list[int]
) -> None:
    """Claim: looks at any times, with the state stored and read between and only samples after
    `read_from` read again, end in the very state of one look at everything."""
    assert in_looks(series, cuts) == fold(begin(RULES, START), series)


@given(series=worlds(), cuts=CUTS)
@settings(max_examples=150, deadline=None)
def test_an_instance_that_was_away_loses_time_and_counts_nothing_twice(
    series: list[Series], cuts: list[int]
) -> None:
    """Claim: an instance away for longer than MAX_GAP is forgotten between two looks; what it says
    when it is back may start a scrape later, and no request is counted twice."""
    found = in_looks(series, cuts)

    for arm in Arm:
        assert found.requests(arm, ERRORS) <= held(series, ERRORS, arm)
        assert found.requests(arm, LATENCY) <= held(series, LATENCY, arm, "+Inf")
    assert found.canary_requests <= held(series, ERRORS, Arm.CANARY)


def held(series: list[Series], signal: str, arm: Arm, outcome: str | None = None) -> int:
    """All that these counters ever counted: each request once, restarts included."""
    total = 0
    for one in series:
        if one.signal == signal and one.arm is arm and outcome in (None, one.outcome):
            values = [int(p.value) for p in one.points if isfinite(p.value) and p.value >= 0]
            for before, after in pairwise([0, *values]):
                total += after - before if after >= before else after
    return total


@given(series=worlds(longest_gap=24))
@settings(max_examples=100, deadline=None)
def test_reading_the_same_samples_again_adds_nothing(series: list[Series]) -> None:
    """Claim: folding is idempotent, even when more than was asked for is read."""
    once = fold(begin(RULES, START), series)

    assert fold(once, series) == once


@given(series=worlds())
@settings(max_examples=100, deadline=None)
def test_reading_again_counts_nothing_after_a_long_gap_either(series: list[Series]) -> None:
    """Claim: an instance that was away may be found again by reading again, without a count."""
    once = fold(begin(RULES, START), series)
    twice = fold(once, series)

    assert twice.canary_requests == once.canary_requests
    assert twice.objectives == once.objectives
    for again, before in zip(twice.signals, once.signals, strict=True):
        assert again.stream == before.stream
        assert (again.harm, again.shape, again.promotion) == (
            (before.harm, before.shape, before.promotion)
        )


@given(series=worlds())
@settings(max_examples=100, deadline=None)
def test_no_counter_ever_makes_a_negative_count(series: list[Series]) -> None:
    """Claim: resets, births, gaps and nonsense give counts of zero or more, and never more than
    the counters hold."""
    most = sum(max(0, int(p.value)) for s in series for p in s.points if isfinite(p.value))
    for block in difference(series, {}, START).blocks:
        arms = [counts for of_arm in block.counts.values() for counts in of_arm.values()]
        counts = [n for arm in arms for n in arm]

        assert min(counts, default=0) >= 0
        assert sum(counts) <= most
        assert block.seconds > 0


@given(series=worlds())
@settings(max_examples=60, deadline=None)
def test_without_a_control_there_is_no_comparison(series: list[Series]) -> None:
    """Claim: samples of one arm leave every comparing test at e = 1, whatever they say."""
    for arm in Arm:
        only = [one for one in series if one.arm is arm]
        evidence = fold(begin(RULES, START), only)
        errors, latency = evidence.signals

        for logs in (errors.harm, latency.shape, evidence.objectives[1].harm):
            assert mixture.log_value(logs, evidence.starts) == pytest.approx(0.0, abs=1e-3)
        assert set(errors.promotion[0]) == {0.0}


@given(series=worlds())
@settings(max_examples=60, deadline=None)
def test_stable_alone_is_never_evidence_about_the_canary(series: list[Series]) -> None:
    """Claim: with samples of stable only, not even the canary's limit tests move, and a baseline
    counts no canary request."""
    only = [one for one in series if one.arm is Arm.STABLE]
    evidence = fold(with_baseline(begin(RULES, START), series, FOREVER), only)

    assert evidence.canary_requests == 0
    assert evidence.first_canary_request_at is None
    for tests in evidence.objectives:
        limits = tests.limits
        for logs in (limits.canary, limits.stable, limits.alone):
            value = mixture.log_value(logs, evidence.starts)
            assert value == pytest.approx(0.0, abs=1e-3)
