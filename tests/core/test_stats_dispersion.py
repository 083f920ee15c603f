"""Design effects: exact where they can be enumerated, held to their bounds where they cannot."""

from __future__ import annotations

import random
from itertools import product
from math import comb, exp

import pytest
from bench.replay import binomial, standard_error
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.stats.dispersion import (
    Dispersion,
    design_effect,
    dispersion,
    low_chi_square,
)


def found(length: int, ratio: float, upper: float) -> Dispersion:
    """A design effect as measured."""
    return Dispersion(length, ratio, upper, 100)


def service(rates: list[float], moments: int, seed: int) -> list[list[tuple[int, int]]]:
    """Units that fail at these rates, 200 requests each in every moment."""
    chance = random.Random(seed)
    return [[(200, binomial(200, rate, chance)) for rate in rates] for _ in range(moments)]


def test_the_number_is_that_of_the_textbook() -> None:
    """Claim: 10 and 20 bad of 100 each, ten times: X2 is 3.9216 less the finite correction."""
    measured = dispersion([[(100, 10), (100, 20)]] * 10, 1)

    assert measured is not None
    assert measured.freedom == 10
    assert measured.ratio == pytest.approx(0.5 / (0.15 * 0.85) * 199 / 200)
    assert measured.upper == pytest.approx(measured.ratio * 10 / low_chi_square(10))


@pytest.mark.parametrize(
    ("sizes", "bad"),
    [
        pytest.param((3, 5, 4), 4, id="three small units"),
        pytest.param((1, 9), 3, id="one unit with a single request"),
        pytest.param((6, 6, 6), 1, id="a single failure"),
    ],
)
def test_units_that_are_alike_have_exactly_one_as_their_mean(
    sizes: tuple[int, ...], bad: int
) -> None:
    """Claim: over all ways to deal the failures to the requests, the mean ratio is 1."""
    mean = 0.0
    for dealt in product(*(range(n + 1) for n in sizes)):
        if sum(dealt) == bad:
            ways = 1
            for n, x in zip(sizes, dealt, strict=True):
                ways *= comb(n, x)
            measured = dispersion([list(zip(sizes, dealt, strict=True))] * 10, 1)
            assert measured is not None
            mean += measured.ratio * ways / comb(sum(sizes), bad)

    assert mean == pytest.approx(1.0)


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([], id="no moment"),
        pytest.param([[(100, 5)]] * 50, id="one unit"),
        pytest.param([[(0, 0), (0, 0)]] * 50, id="no requests"),
        pytest.param([[(100, 0), (100, 0)]] * 50, id="no failure"),
        pytest.param([[(100, 100), (100, 100)]] * 50, id="nothing but failures"),
        pytest.param([[(100, 5), (0, 0)]] * 50, id="a second unit without requests"),
        pytest.param([[(100, 5), (100, 6)]] * 9, id="too few moments"),
    ],
)
def test_what_cannot_be_known_is_not_one(moments: list[list[tuple[int, int]]]) -> None:
    """Claim: without two units that can be compared often enough, the effect is None."""
    assert dispersion(moments, 1) is None


def test_rates_that_move_for_all_units_cancel() -> None:
    """Claim: an incident that all units share, however large, is no scatter between them."""
    moments = [[(100, bad), (200, 2 * bad), (100, bad)] for bad in (1, 50, 2, 90, 3, 1)] * 2
    measured = dispersion(moments, 1)

    assert measured is not None
    assert measured.ratio == pytest.approx(0.0)


def test_what_lasts_in_a_unit_adds_up_over_longer_blocks() -> None:
    """Claim: units that differ for good look alike in a minute and not in half an hour."""
    moments = service([0.02 * exp(0.2 * z) for z in (-1.5, -0.5, 0.0, 0.5, 1.5)], 180, 1)
    ratios = [one.ratio for length in (1, 5, 30) if (one := dispersion(moments, length))]

    assert ratios == sorted(ratios)
    assert ratios[0] < 1.6
    assert ratios[-1] > 4.0


def test_the_newest_moment_closes_a_block() -> None:
    """Claim: what does not fill a block is left out at the old end."""
    moments = service([0.02, 0.05], 60, 2)

    assert dispersion([[(100, 100), (100, 0)], *moments], 2) == dispersion(moments, 2)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=3, max_size=3),
        min_size=12,
        max_size=20,
    ),
    st.permutations(range(3)),
)
def test_units_have_no_order(raw: list[list[tuple[int, int]]], order: list[int]) -> None:
    """Claim: in which order units are listed changes nothing, and the bound is above the
    estimate."""
    moments = [[(good + bad, bad) for good, bad in moment] for moment in raw]
    one = dispersion(moments, 1)
    other = dispersion([[moment[n] for n in order] for moment in moments], 1)

    assert (one is None) == (other is None)
    if one and other:
        assert other.ratio == pytest.approx(one.ratio)
        assert one.upper >= one.ratio


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(6, 1.635), (10, 3.940), (20, 10.851), (30, 18.493), (50, 34.764), (100, 77.929)],
)
def test_the_quantile_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    """Claim: within 2 % at six degrees of freedom, within 1 % from ten on."""
    assert low_chi_square(freedom) == pytest.approx(quantile, rel=0.02 if freedom < 10 else 0.01)


def test_the_bound_covers_the_truth_nineteen_times_in_twenty() -> None:
    """Claim: units that are alike have an effect of 1, and the bound is above it in 95 %."""
    runs = 300
    bounds = [dispersion(service([0.03] * 5, 30, seed), 1) for seed in range(runs)]
    covered = sum(one is not None and one.upper >= 1.0 for one in bounds)

    assert covered / runs >= 0.95 - 3 * standard_error(0.95, runs)


@pytest.mark.parametrize(
    ("measured", "age", "effect"),
    [
        pytest.param([found(1, 0.7, 0.8)], 1, 1.0, id="less scatter than chance is chance"),
        pytest.param([found(1, 2, 3), found(5, 4, 6)], 0.2, 3, id="less than the shortest block"),
        pytest.param([found(1, 2, 3), found(5, 4, 6)], 2, 6, id="the first length that covers it"),
        pytest.param([found(1, 2, 3), found(5, 1, 2)], 5, 3, id="never less than over a shorter"),
        pytest.param([found(1, 2, 3), found(5, 4, 6)], 25, 11, id="grows on as it certainly grew"),
        pytest.param([found(1, 2, 3), found(5, 2.5, 4)], 25, 4, id="no growth that is certain"),
        pytest.param([found(1, 2, 3)], 100, 3, id="one length says nothing of growth"),
    ],
)
def test_the_effect_depends_on_how_long_one_counts(
    measured: list[Dispersion], age: float, effect: float
) -> None:
    """Claim: each case is named by its rule."""
    assert design_effect(measured, age) == pytest.approx(effect)


@given(
    st.lists(st.tuples(st.floats(0.1, 50), st.floats(1, 2)), min_size=1, max_size=3),
    st.lists(st.floats(0, 500), min_size=2, max_size=10),
)
def test_the_effect_never_falls_with_age(
    measured: list[tuple[float, float]], ages: list[float]
) -> None:
    """Claim: the longer one counts, the more evidence is tempered, and it is never amplified."""
    lengths = [
        found(length, ratio, ratio * factor)
        for length, (ratio, factor) in zip((1, 5, 30), measured, strict=False)
    ]
    effects = [design_effect(lengths, age) for age in sorted(ages)]

    assert effects == sorted(effects)
    assert min(effects) >= 1.0
