"""The 2x2 and one-arm e-values: valid by enumeration, golden by hand."""

from __future__ import annotations

from itertools import product
from math import comb, exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.stats.evalue import (
    HARM_EFFECTS,
    PROMOTION_EFFECTS,
    Table,
    harm_logs,
    limit_logs,
    log_ratio,
    project,
    promotion_logs,
    running_rate,
)

RATES = (0.0, 0.003, 0.05, 0.2, 0.5, 0.8, 0.97, 1.0)
GUESSES = (0.001, 0.03, 0.3, 0.9)


def chance(bad: int, requests: int, rate: float) -> float:
    """Binomial probability."""
    return comb(requests, bad) * rate**bad * (1.0 - rate) ** (requests - bad)


def tables(n_c: int, n_s: int) -> list[Table]:
    """Every table with these totals."""
    return [Table(c, n_c, s, n_s) for c, s in product(range(n_c + 1), range(n_s + 1))]


def likelihood(table: Table, p_c: float, p_s: float) -> float:
    """Probability of a table when these are the true rates."""
    return chance(table.canary_bad, table.canary_requests, p_c) * chance(
        table.stable_bad, table.stable_requests, p_s
    )


@pytest.mark.parametrize("totals", [(1, 1), (1, 6), (4, 3), (6, 2)])
@pytest.mark.parametrize("margin", [0.0, 0.001, 0.1, 0.5])
def test_no_harmless_pair_of_rates_gains_from_the_harm_test(
    totals: tuple[int, int], margin: float
) -> None:
    """Claim: E[e] <= 1 for every p_c <= p_s + margin, by summing over all tables."""
    every = tables(*totals)
    for guess in GUESSES:
        factors = [[exp(one) for one in harm_logs(table, guess, margin)] for table in every]
        for p_s, p_c in product(RATES, (*RATES, *(p + margin for p in RATES))):
            if p_c > min(1.0, p_s + margin):
                continue
            odds = [likelihood(table, p_c, p_s) for table in every]
            for j in range(len(HARM_EFFECTS)):
                mean = sum(o * f[j] for o, f in zip(odds, factors, strict=True))
                assert mean <= 1.0 + 1e-9, (guess, p_s, p_c, j)


@pytest.mark.parametrize("totals", [(1, 1), (1, 6), (4, 3), (6, 2)])
@pytest.mark.parametrize("margin", [0.001, 0.1, 0.5])
def test_no_canary_that_is_worse_by_the_margin_gains_from_the_promotion_test(
    totals: tuple[int, int], margin: float
) -> None:
    """Claim: E[e] <= 1 for every p_c >= p_s + margin, by summing over all tables."""
    every = tables(*totals)
    for guess in GUESSES:
        factors = [[exp(one) for one in promotion_logs(table, guess, margin)] for table in every]
        for p_s, p_c in product(RATES, (*RATES, *(min(1.0, p + margin) for p in RATES))):
            if p_c < p_s + margin:
                continue
            odds = [likelihood(table, p_c, p_s) for table in every]
            for j in range(len(PROMOTION_EFFECTS)):
                mean = sum(o * f[j] for o, f in zip(odds, factors, strict=True))
                assert mean <= 1.0 + 1e-9, (guess, p_s, p_c, j)


def test_guesses_learnt_from_earlier_blocks_stay_valid() -> None:
    """Claim: over two blocks, the second guessing from the first, E[e1 e2] <= 1; the true rates
    move in between."""
    margin, first, second = 0.05, tables(2, 3), tables(3, 2)
    for (a, b), j in product(((0.02, 0.6), (0.7, 0.1)), (0, 4, 7, 9)):
        mean = 0.0
        for one in first:
            rate = running_rate(one.stable_bad, one.stable_requests)
            gained = exp(harm_logs(one, 0.01, margin)[j])
            odds = likelihood(one, a + margin, a) * gained
            mean += odds * sum(
                likelihood(two, b + margin, b) * exp(harm_logs(two, rate, margin)[j])
                for two in second
            )
        assert mean <= 1.0 + 1e-9


def test_no_arm_within_its_limit_gains_from_the_one_arm_test() -> None:
    """Claim: E[e] <= 1 for every rate up to the limit."""
    for limit, rate, requests in product((0.002, 0.1, 0.9), (0.0, 0.5, 1.0), (1, 5, 12)):
        odds = [chance(bad, requests, rate * limit) for bad in range(requests + 1)]
        factors = [limit_logs(bad, requests, limit) for bad in range(requests + 1)]
        for j in range(len(HARM_EFFECTS)):
            mean = sum(o * exp(f[j]) for o, f in zip(odds, factors, strict=True))
            assert mean <= 1.0 + 1e-9


def test_without_margin_the_projection_is_the_pooled_rate() -> None:
    """Claim: three of ten against one of a hundred, by hand."""
    p = (10 * 0.3 + 100 * 0.01) / 110
    by_hand = 3 * log(0.3 / p) + 7 * log(0.7 / (1 - p)) + log(0.01 / p) + 99 * log(0.99 / (1 - p))

    assert log_ratio(Table(3, 10, 1, 100), 0.3, 0.01, 0.0) == pytest.approx(by_hand, rel=1e-12)
    assert by_hand == pytest.approx(5.4743, abs=1e-3)


GOLDEN = [
    pytest.param(Table(38, 1902, 41, 36118), 0.001, 0.001, id="the example of the documentation"),
    pytest.param(Table(0, 1000, 10, 10000), 0.001, 0.001, id="a healthy canary"),
    pytest.param(Table(5, 5, 0, 50), 0.01, 0.0, id="a dead canary on little traffic"),
]


@pytest.mark.parametrize(("table", "rate", "margin"), GOLDEN)
def test_the_projection_is_the_closest_pair_in_the_null(
    table: Table, rate: float, margin: float
) -> None:
    """Claim: no other pair on the edge has a smaller divergence, searched over a fine grid."""
    for effect in HARM_EFFECTS:
        th_s, th_c = rate, rate + margin + (1 - rate - margin) * effect
        n_c, n_s = table.canary_requests, table.stable_requests

        def cost(p: float, th_c: float = th_c, n_c: int = n_c, n_s: int = n_s) -> float:
            q = p + margin
            return -(
                n_c * (th_c * log(q) + (1 - th_c) * log(1 - q))
                + n_s * (rate * log(p) + (1 - rate) * log(1 - p))
            )

        best = project(n_c, th_c, n_s, th_s, margin)
        grid = [best * (1 + step / 1000) for step in range(-500, 500) if step]
        assert all(cost(best) <= cost(p) for p in grid if 0 < p < 1 - margin)


def test_the_documented_example_is_beyond_doubt() -> None:
    """Claim: 38 of 1,902 against 41 of 36,118 is beyond 1 in 10^20, and 2 of 1,902 is nothing."""
    strong = harm_logs(Table(38, 1902, 41, 36118), 0.001, 0.001)
    none = harm_logs(Table(2, 1902, 41, 36118), 0.001, 0.001)

    assert max(strong) == pytest.approx(47.309, abs=0.01)
    assert max(none) < 0.0


@given(
    n_c=st.integers(0, 400),
    n_s=st.integers(0, 4000),
    rate=st.floats(1e-4, 0.9),
    margin=st.sampled_from([0.0, 0.001, 0.02, 0.3]),
    data=st.data(),
)
def test_more_canary_failures_never_lower_harm_and_more_stable_failures_never_raise_it(
    n_c: int, n_s: int, rate: float, margin: float, data: st.DataObject
) -> None:
    """Claim: at fixed totals of one block, alternative by alternative."""
    c, s = data.draw(st.integers(0, n_c)), data.draw(st.integers(0, n_s))
    here = harm_logs(Table(c, n_c, s, n_s), rate, margin)
    worse = harm_logs(Table(min(c + 1, n_c), n_c, s, n_s), rate, margin)
    blamed = harm_logs(Table(c, n_c, min(s + 1, n_s), n_s), rate, margin)

    assert all(b >= a - 1e-9 for a, b in zip(here, worse, strict=True))
    assert all(b <= a + 1e-9 for a, b in zip(here, blamed, strict=True))


@given(requests=st.integers(0, 10**6), rate=st.floats(1e-6, 0.999), data=st.data())
def test_an_arm_without_requests_is_no_evidence(
    requests: int, rate: float, data: st.DataObject
) -> None:
    """Claim: e = 1 exactly, for harm, promotion and limits, whatever the other arm did."""
    bad = data.draw(st.integers(0, requests))
    for table in (Table(0, 0, bad, requests), Table(bad, requests, 0, 0)):
        assert set(harm_logs(table, rate, 0.001)) == {0.0}
        assert set(promotion_logs(table, rate, 0.1)) == {0.0}
    assert set(limit_logs(0, 0, 0.01)) == {0.0}
