"""Intervals of a rate and of a difference: they hold the truth at all looks, and what was seen."""

from __future__ import annotations

from math import comb, exp, inf, nan
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.stats.interval import difference_interval, log_mixture, rate_interval


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.97])
@pytest.mark.parametrize("alpha", [0.01, 0.2])
def test_the_true_rate_is_hardly_ever_left(rate: float, alpha: float) -> None:
    """By exact enumeration of 400 looks: the chance of ever excluding it is within alpha."""
    alive, ever = {0: 1.0}, 0.0
    for n in range(1, 401):
        following: dict[int, float] = {}
        for bad, chance in alive.items():
            following[bad] = following.get(bad, 0.0) + chance * (1 - rate)
            following[bad + 1] = following.get(bad + 1, 0.0) + chance * rate
        limit = {bad: exp(log_mixture(bad, n, rate)) >= 1 / alpha for bad in following}
        ever += sum(chance for bad, chance in following.items() if limit[bad])
        alive = {bad: chance for bad, chance in following.items() if not limit[bad]}

    assert 0.0 < ever <= alpha


@pytest.mark.parametrize("rate", [0.003, 0.05, 0.4, 0.99])
def test_its_mean_is_one(rate: float) -> None:
    """The mixture is a martingale: the mean of M(p) over all counts at the rate p is 1."""
    chances = [comb(30, bad) * rate**bad * (1 - rate) ** (30 - bad) for bad in range(31)]
    mean = sum(c * exp(log_mixture(bad, 30, rate)) for bad, c in enumerate(chances))

    assert mean == pytest.approx(1.0)


def test_impossible_rates_are_refuted_at_once() -> None:
    """One failure refutes the rate 0, one success the rate 1, and nothing refutes nothing."""
    found = [log_mixture(1, 1, 0.0), log_mixture(0, 1, 1.0), log_mixture(0, 0, 0.3)]

    assert found == [inf, inf, 0.0]


@given(requests=st.integers(0, 10**7), share=st.floats(0, 1), alpha=st.floats(1e-6, 0.5))
def test_the_interval_holds_what_was_seen_and_nothing_refuted(
    requests: int, share: float, alpha: float
) -> None:
    """It has x/n inside, and ends where the mixture reaches 1/alpha, or at 0 or 1."""
    bad = round(share * requests)
    found = rate_interval(bad, requests, alpha)

    assert 0.0 <= found.low <= (bad / requests if requests else 0.5) <= found.high <= 1.0
    for end in (found.low, found.high):
        if 0.0 < end < 1.0:
            assert exp(log_mixture(bad, requests, end)) == pytest.approx(1 / alpha, rel=1e-3)


def test_more_requests_narrow_it() -> None:
    """At 1 %, the width falls from all that is possible to about 0.1 points at a million."""
    found = [rate_interval(n // 100, n, 0.01) for n in (0, 100, 10_000, 1_000_000)]

    widths = [each.high - each.low for each in found]
    assert widths == sorted(widths, reverse=True)
    assert (widths[0], widths[-1]) == (1.0, pytest.approx(0.0009, rel=0.1))


def left(
    canary: float,
    stable: float,
    looks: tuple[int, int],
    alpha: float,
    alike: int = 1,
    design_effect: float = 1.0,
) -> float:
    """The share of 200 rollouts in which one of 8 looks leaves the true difference.

    Each look adds `looks` requests of canary and stable; always `alike` of them share one fate.
    """
    chance = Random(11)
    (more_c, more_s), missed = looks, 0
    for _ in range(200):
        bad_c = bad_s = 0
        for look in range(1, 9):
            bad_c += alike * sum(chance.random() < canary for _ in range(more_c // alike))
            bad_s += alike * sum(chance.random() < stable for _ in range(more_s // alike))
            counts = bad_c, more_c * look, bad_s, more_s * look
            found = difference_interval(*counts, alpha, design_effect)
            if not found.low <= canary - stable <= found.high:
                missed += 1
                break
    return missed / 200


@pytest.mark.replay
@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize(
    ("canary", "stable", "looks"),
    [
        pytest.param(0.25, 0.1, (20, 80), id="harm of 15 points at a fifth of the traffic"),
        pytest.param(0.02, 0.02, (50, 50), id="no difference at half of the traffic"),
        pytest.param(0.0, 0.3, (20, 60), id="a better canary"),
        pytest.param(1.0, 0.001, (8, 160), id="a canary that fails everything"),
    ],
)
def test_the_difference_of_two_arms_is_hardly_ever_left(
    canary: float, stable: float, looks: tuple[int, int], alpha: float
) -> None:
    """In replays of 200 rollouts, looked at 8 times each: not more often than promised."""
    assert left(canary, stable, looks, alpha) <= alpha


@pytest.mark.replay
def test_requests_that_share_a_fate_need_the_design_effect() -> None:
    """Of requests that always come eight alike, the plain interval is left far too often; divided
    by the design effect, which is eight, it keeps its promise."""
    plain = left(0.1, 0.1, (80, 160), 0.05, alike=8)
    tempered = left(0.1, 0.1, (80, 160), 0.05, alike=8, design_effect=8.0)

    assert plain > 3 * 0.05
    assert tempered <= 0.05


_BAD = st.integers(0, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(canary=_BAD, stable=_BAD, alpha=st.floats(1e-4, 0.5), effect=st.floats(1.0, 100.0))
def test_what_was_seen_is_always_in_it(
    canary: tuple[int, int], stable: tuple[int, int], alpha: float, effect: float
) -> None:
    """It is within -1 to 1, holds the difference of the shares, and a design effect only widens
    it; without requests of an arm that arm's rate may be anything."""
    found = difference_interval(*canary, *stable, alpha)
    wider = difference_interval(*canary, *stable, alpha, effect)

    assert -1.0 <= wider.low <= found.low <= found.high <= wider.high <= 1.0
    if canary[1] and stable[1]:
        seen = canary[0] / canary[1] - stable[0] / stable[1]
        assert found.low <= seen + 1e-12
        assert seen - 1e-12 <= found.high
    else:
        assert found.high - found.low >= 1.0


def test_nothing_counted_is_the_whole_range() -> None:
    """No data is no knowledge, whatever the level."""
    found = difference_interval(0, 0, 0, 0, 0.5)

    assert (found.low, found.high) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("bad", "requests", "alpha", "effect"),
    [
        pytest.param(2, 1, 0.1, 1.0, id="more failures than requests"),
        pytest.param(-1, 1, 0.1, 1.0, id="fewer than none"),
        pytest.param(0, 1, 0.0, 1.0, id="no doubt at all"),
        pytest.param(0, 1, 0.1, 0.9, id="less noise than chance has"),
        pytest.param(0, 1, 0.1, nan, id="no number"),
    ],
)
def test_impossible_counts_are_refused(
    bad: int, requests: int, alpha: float, effect: float
) -> None:
    """They raise instead of giving an interval of nothing."""
    with pytest.raises(ValueError, match="wanted"):
        rate_interval(bad, requests, alpha, effect)
