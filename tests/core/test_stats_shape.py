"""The latency shape test: valid by enumeration, and it sees a slower canary."""

from __future__ import annotations

from itertools import product
from math import exp, factorial, inf, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.stats.shape import ALTERNATIVES, alternatives, estimate, shape_logs

EDGES = (0.1, 0.5, inf)


def histograms(total: int) -> list[tuple[int, int, int]]:
    """All ways to put a total into three buckets."""
    every = product(range(total + 1), repeat=3)
    return [(a, b, c) for a, b, c in every if a + b + c == total]


def likelihood(counts: tuple[int, ...], shares: tuple[float, ...]) -> float:
    """Multinomial probability."""
    ways = factorial(sum(counts)) / prod(factorial(count) for count in counts)
    return ways * prod(share**count for share, count in zip(shares, counts, strict=True))


def is_not_slower(canary: tuple[float, ...], stable: tuple[float, ...]) -> bool:
    """Whether above every edge the canary has at most stable's share."""
    return all(sum(canary[k:]) <= sum(stable[k:]) + 1e-12 for k in range(1, len(canary)))


@pytest.mark.parametrize("totals", [(1, 1), (2, 3), (3, 1)])
@pytest.mark.parametrize("known", [(0, 0, 0), (90, 9, 1), (5, 80, 15)])
def test_no_canary_that_is_not_slower_gains(
    totals: tuple[int, int], known: tuple[int, int, int]
) -> None:
    """Claim: E[e] <= 1 for all pairs of a grid in which the canary is not stochastically slower."""
    slower = alternatives(known, EDGES)
    grid = [(a / 4, b / 4, c / 4) for a, b, c in histograms(4)]
    pairs = [
        (canary, stable, [exp(one) for one in shape_logs(canary, stable, slower)])
        for canary, stable in product(histograms(totals[0]), histograms(totals[1]))
    ]
    for p_c, p_s in product(grid, grid):
        if not is_not_slower(p_c, p_s):
            continue
        for j in range(ALTERNATIVES):
            mean = sum(likelihood(c, p_c) * likelihood(s, p_s) * f[j] for c, s, f in pairs)
            assert mean <= 1.0 + 1e-9, (p_c, p_s, j)


def test_every_alternative_is_slower_and_its_ratio_never_falls() -> None:
    """Claim: what the proof of validity needs holds for each alternative, and it is a histogram."""
    known = (3, 40, 500, 200, 20, 1, 0, 0)
    edges = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, inf)
    shares = estimate(known)
    for one in alternatives(known, edges):
        moved = tuple(th * (1 + x) for th, x in zip(shares, one.excess, strict=True))

        assert list(one.excess) == sorted(one.excess)
        assert sum(moved) == pytest.approx(1.0)
        assert is_not_slower(shares, moved)


def test_one_percent_at_two_seconds_is_found_and_the_same_latency_is_not() -> None:
    """Claim: 40 of 4,000 canary requests in a bucket stable hardly uses is beyond 1 in 10^40."""
    edges = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, inf)
    stable = (20_000, 50_000, 28_000, 1_900, 95, 4, 1)
    slower = alternatives(stable, edges)
    tail = shape_logs((800, 1_990, 1_100, 70, 0, 40, 0), stable, slower)
    same = shape_logs((800, 2_000, 1_120, 76, 4, 0, 0), stable, slower)

    assert max(tail) > 92.0
    assert max(same) < 1.0


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5).map(tuple))
def test_an_arm_without_requests_is_no_evidence(counts: tuple[int, ...]) -> None:
    """Claim: e = 1 exactly."""
    slower = alternatives((5, 50, 20, 3, 0), (0.1, 0.2, 0.5, 1.0, inf))
    nothing = (0, 0, 0, 0, 0)

    assert set(shape_logs(counts, nothing, slower)) == {0.0}
    assert set(shape_logs(nothing, counts, slower)) == {0.0}


@given(
    st.lists(st.integers(0, 100), min_size=4, max_size=4).map(tuple),
    st.lists(st.integers(0, 1000), min_size=4, max_size=4).map(tuple),
    st.integers(0, 2),
)
def test_a_canary_request_that_gets_slower_never_lowers_the_evidence(
    canary: tuple[int, ...], stable: tuple[int, ...], bucket: int
) -> None:
    """Claim: moving one canary request to the next bucket raises or keeps every alternative."""
    canary = (canary[0] + 1, canary[1] + 1, canary[2] + 1, canary[3])
    later = list(canary)
    later[bucket], later[bucket + 1] = later[bucket] - 1, later[bucket + 1] + 1
    slower = alternatives((5, 50, 20, 3), (0.1, 0.2, 0.5, inf))
    before, after = shape_logs(canary, stable, slower), shape_logs(later, stable, slower)

    assert all(b >= a - 1e-9 for a, b in zip(before, after, strict=True))
