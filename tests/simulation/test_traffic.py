"""The simulated gateway: what is drawn, what is shared, and what a scrape shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from math import inf
from random import Random
from statistics import mean, pvariance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.counters import BAD, ERRORS, LATENCY, Arm
from headgate.simulation.draws import Streams, binomial, poisson
from headgate.simulation.source import Window
from headgate.simulation.traffic import (
    EDGES,
    Dispersion,
    Gateway,
    Incidents,
    Latency,
    Traffic,
    overlap,
    within,
)

PLAIN = Traffic(rate=100, base=0.01)


def streams(seed: int = 0) -> Streams:
    """Chance from a seed, as the command line makes it."""
    return lambda name: Random(f"{seed}/{name}")


def answered(traffic: Traffic, weight: int = 10, until: int = 600, seed: int = 0) -> list[Window]:
    """What both arms answered from second 0 on, at a constant weight."""
    gateway = Gateway(traffic, streams(seed))
    gateway.advance(0, 0)
    return list(gateway.advance(until, weight))


def bad(windows: Sequence[Window]) -> tuple[int, int]:
    """Failures of the canary and of stable."""
    return sum(w.canary.bad for w in windows), sum(w.stable.bad for w in windows)


def test_the_same_seed_gives_the_same_traffic() -> None:
    """Claim: chance comes from the seed alone, and another seed gives other traffic."""
    traffic = Traffic(50, 0.02, harm=0.1, incidents=Incidents(0.2), dispersion=Dispersion(1.0))

    assert answered(traffic) == answered(traffic)
    assert answered(traffic) != answered(traffic, seed=1)


def test_harm_changes_nothing_but_the_harm() -> None:
    """Claim: two runs that differ in harm alone share every other number, so they are compared on
    the same data."""
    healthy = answered(PLAIN)
    harmed = answered(Traffic(rate=100, base=0.01, harm=0.05))

    assert [w.stable for w in healthy] == [w.stable for w in harmed]
    assert [(w.canary.requests, w.canary.bad) for w in healthy] == [
        (w.canary.requests, w.canary.bad - w.canary.harmed) for w in harmed
    ]
    assert sum(w.canary.harmed for w in healthy) == 0


def test_harm_begins_at_its_onset() -> None:
    """Claim: not one failure is caused before, and the scrape in which it begins has its part."""
    windows = answered(Traffic(rate=1000, base=0.0, harm=1.0, onset=95.0))

    assert {w.canary.bad for w in windows if w.second <= 90} == {0}
    half = next(w.canary for w in windows if w.second == 100)
    assert 0.3 < half.bad / half.requests < 0.7
    assert all(w.canary.bad == w.canary.requests for w in windows if w.second > 100)


def test_the_weight_is_the_canarys_share() -> None:
    """Claim: at 25 % the canary answers a quarter of the requests, and stable the rest."""
    windows = answered(PLAIN, weight=25)
    canary = sum(w.canary.requests for w in windows)
    stable = sum(w.stable.requests for w in windows)

    assert canary / (canary + stable) == pytest.approx(0.25, abs=0.01)
    assert canary + stable == pytest.approx(60_000, rel=0.03)


def test_no_traffic_is_zero_and_not_absent() -> None:
    """Claim: counters of an idle gateway are there and stand still."""
    gateway = Gateway(Traffic(rate=0.0, base=0.01), streams())
    gateway.advance(60, 5)
    found = gateway.read(gateway.start, gateway.start + timedelta(seconds=60))

    assert {(one.arm, one.outcome) for one in found} == {
        (arm, outcome) for arm in Arm for outcome in ("good", "bad")
    }
    assert {point.value for one in found for point in one.points} == {0}


def test_incidents_are_shared() -> None:
    """Claim: in an incident both arms fail, and out of it neither does."""
    windows = answered(Traffic(rate=1000, base=0.0, incidents=Incidents(0.5)), until=3600)
    hit = [(w.canary.bad > 0, w.stable.bad > 0) for w in windows]

    assert set(hit) == {(True, True), (False, False)}
    assert 15 <= sum(canary for canary, _ in hit) <= 30  # six of them, of three or four scrapes


def test_skew_shows_an_incident_of_stable_earlier() -> None:
    """Claim: counters that are read later hold failures that the other arm's do not hold yet."""
    windows = answered(
        Traffic(rate=1000, base=0.0, incidents=Incidents(0.5), skew=10.0), until=3600
    )

    assert any(w.stable.bad and not w.canary.bad for w in windows)
    assert any(w.canary.bad and not w.stable.bad for w in windows)


def test_dispersion_makes_counts_vary_more_than_chance() -> None:
    """Claim: one canary pod's failures vary far beyond Poisson, and with many pods less so."""

    def ratio(dispersion: Dispersion | None, pods: int) -> float:
        traffic = Traffic(1000, 0.01, dispersion=dispersion, canary_pods=pods)
        counts = [w.canary.bad for w in answered(traffic, until=6000)]
        return pvariance(counts) / mean(counts)

    assert ratio(None, 1) < 1.5
    assert ratio(Dispersion(1.0, 0.0), 1) > 10
    assert ratio(Dispersion(1.0, 0.0), 50) < ratio(Dispersion(1.0, 0.0), 1) / 3


def test_a_pod_that_never_changes_differs_from_run_to_run_only() -> None:
    """Claim: with an infinite correlation time the rate is drawn once; its runs differ, and within
    a run nothing wanders."""
    traffic = Traffic(1000, 0.01, dispersion=Dispersion(1.0, inf))
    totals = [bad(answered(traffic, seed=seed))[0] for seed in range(20)]
    counts = [w.canary.bad for w in answered(traffic)]

    assert pvariance(totals) > 10 * mean(totals)
    assert pvariance(counts) < 2 * mean(counts)


def test_pods_have_a_history_that_goes_on() -> None:
    """Claim: each pod's steps lie before the rollout, differ from pod to pod as the dispersion
    says, and a pod that never changes fails in the rollout as it did before."""
    traffic = Traffic(1000, 0.01, dispersion=Dispersion(1.0, inf), pods=5)
    gateway = Gateway(traffic, streams())
    histories = gateway.pod_histories(3600, 60)[ERRORS]
    (window,) = gateway.advance(gateway.first_second + 10, 0)
    rates = [sum(s.bad for s in h.steps) / sum(s.good + s.bad for s in h.steps) for h in histories]

    assert {len(history.steps) for history in histories} == {60}
    assert histories[0].steps[-1].at == gateway.start + timedelta(seconds=gateway.first_second)
    assert max(rates) > 2 * min(rates)
    expected = window.stable.requests * mean(rates)
    assert abs(window.stable.bad - expected) < 5 * expected**0.5


def test_latency_is_counted_in_buckets() -> None:
    """Claim: every request is in exactly one bucket, half of them within the median, and a slower
    canary has fewer in it."""
    windows = answered(Traffic(1000, 0.0, latency=Latency(0.1, slower=2.0)), weight=50)
    within_median = EDGES.index(0.1) + 1

    assert all(sum(w.canary.buckets) == w.canary.requests for w in windows)
    stable = sum(sum(w.stable.buckets[:within_median]) for w in windows)
    canary = sum(sum(w.canary.buckets[:within_median]) for w in windows)
    assert stable / sum(w.stable.requests for w in windows) == pytest.approx(0.5, abs=0.01)
    assert canary < stable / 3


@pytest.mark.parametrize(
    ("latency", "seconds", "harming", "share"),
    [
        pytest.param(Latency(0.1), 0.1, 1.0, 0.5, id="half within the median"),
        pytest.param(Latency(0.1, slower=2.0), 0.2, 1.0, 0.5, id="slower moves the median"),
        pytest.param(Latency(0.1, slower=2.0), 0.1, 0.0, 0.5, id="no harm yet, no slowness"),
        pytest.param(Latency(0.1, tail=0.1), 1.999, 1.0, 0.9, id="a tail is not within its bound"),
        pytest.param(Latency(0.1, tail=0.1), 2.0, 1.0, 1.0, id="a tail is within its own latency"),
        pytest.param(Latency(0.1), inf, 1.0, 1.0, id="all within infinity"),
    ],
)
def test_shares_within(latency: Latency, seconds: float, harming: float, share: float) -> None:
    """Claim: the share of answers within a bound is what the parameters say."""
    assert within(latency, seconds, harming) == pytest.approx(share, abs=1e-5)


def test_quiet_signals_fail_at_the_base_rate() -> None:
    """Claim: extra signals are there on both arms and harm does not touch them."""
    gateway = Gateway(Traffic(1000, 0.01, harm=0.5, signals=2), streams())
    windows = gateway.advance(600, 50)
    requests = sum(w.canary.requests for w in windows)
    quiet = [sum(w.canary.quiet[n] for w in windows) for n in range(2)]
    found = gateway.read(gateway.start, gateway.start + timedelta(seconds=600))

    assert [one / requests for one in quiet] == pytest.approx([0.01, 0.01], abs=0.003)
    assert {one.signal for one in found} == {ERRORS, "signal/quiet-1", "signal/quiet-2"}


@settings(max_examples=30, deadline=None)
@given(
    rate=st.floats(0, 500),
    weights=st.lists(st.integers(0, 100), min_size=1, max_size=5),
    scrape=st.integers(1, 30),
)
def test_a_scrape_shows_counters(rate: float, weights: Sequence[int], scrape: int) -> None:
    """Law: whatever the weights, samples never fall, are a scrape apart, and add up to what was
    answered."""
    gateway = Gateway(Traffic(rate, 0.05, latency=Latency(), scrape=scrape), streams(), 0)
    windows = [w for n, weight in enumerate(weights) for w in gateway.advance(60 * n + 60, weight)]
    found = gateway.read(gateway.start, gateway.start + timedelta(hours=1))

    for one in found:
        assert all(a.value <= b.value for a, b in pairwise(one.points))
        assert all(b.at - a.at == timedelta(seconds=scrape) for a, b in pairwise(one.points))
    of = {(one.arm, one.signal, one.outcome): one.points[-1].value for one in found}
    assert of[Arm.CANARY, ERRORS, BAD] == sum(w.canary.bad for w in windows)
    assert of[Arm.STABLE, LATENCY, "+Inf"] == sum(w.stable.requests for w in windows)


@settings(max_examples=50)
@given(
    begin=st.floats(0, 5000),
    lengths=st.lists(st.floats(0.1, 100), min_size=2, max_size=8),
    lasting=st.floats(0, 60),
)
def test_overlaps_add_up(begin: float, lengths: Sequence[float], lasting: float) -> None:
    """Law: the incident time in a while is the sum over its parts."""
    incidents = Incidents(0.2, every_seconds=60.0, lasting_seconds=lasting)
    parts, at = 0.0, begin
    for length in lengths:
        parts += length * overlap(at, at + length, incidents)
        at += length

    assert (at - begin) * overlap(begin, at, incidents) == pytest.approx(parts, abs=1e-6)


@pytest.mark.parametrize("average", [0.5, 20.0, 200.0])
def test_poisson_numbers_have_their_mean_and_variance(average: float) -> None:
    """Claim: exact or by the limit, mean and variance are equal to what was asked for."""
    chance = Random(1)
    drawn = [poisson(average, chance) for _ in range(4000)]

    assert mean(drawn) == pytest.approx(average, rel=0.06)
    assert pvariance(drawn) == pytest.approx(average, rel=0.12)


@pytest.mark.parametrize(("trials", "rate"), [(50, 0.02), (50, 0.9), (10_000, 0.3)])
def test_binomial_numbers_have_their_mean_and_variance(trials: int, rate: float) -> None:
    """Claim: exact or by the limit, and never more than the trials."""
    chance = Random(1)
    drawn = [binomial(trials, rate, chance) for _ in range(4000)]

    assert mean(drawn) == pytest.approx(trials * rate, rel=0.06)
    assert pvariance(drawn) == pytest.approx(trials * rate * (1 - rate), rel=0.12)
    assert min(drawn) >= 0
    assert max(drawn) <= trials


def test_pods_are_counted_in_whole_scrapes() -> None:
    """Claim: a step that no scrape divides is rounded up, so that no request is left out."""
    gateway = Gateway(Traffic(1000, 0.01, scrape=7, pods=2), streams())
    first = gateway.pod_histories(630, 60)[ERRORS][0]
    ends = [step.at for step in first.steps]

    assert {(b - a).total_seconds() for a, b in pairwise(ends)} == {63.0}
