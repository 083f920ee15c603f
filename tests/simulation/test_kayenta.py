"""Kayenta's judge against its own test suite, disputed cases from its issues, and simulations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from math import nan

import pytest
from bench.replay import binomial, poisson
from hypothesis import given
from hypothesis import strategies as st
from tests.simulation.exactly import BROKEN, HEALTHY, SILENT, first_verdict, standard_error

from headgate.simulation.peers import Minute, Verdict
from headgate.simulation.peers.judge import (
    Classification,
    Direction,
    Effect,
    JudgedMetric,
    Label,
    NanStrategy,
    classify,
    score,
)
from headgate.simulation.peers.kayenta import ERRORS, LATENCY, Kayenta
from headgate.simulation.peers.mann_whitney import brent, shift

METRIC = JudgedMetric("metric")
SUITE = JudgedMetric("metric", tolerance=0.10, confidence=0.95)  # as Kayenta's suite has it

# spinnaker/kayenta, MannWhitneySuite, "Tie out with R Version": the ends and the estimate are R's.
R_CONTROL = """1.5 6 5 2.5 2.5 2 2 3.5 3 3 3 2 3 8 4 2.5 3 2.5 2.5 2 2.5 2 2 2.5 3.5 3 1.5 5 2.5
5.5 2 2.5 3.5 2 2.5 4 2 2 2 2 5.5 4.5 4 3 3 3.5 2.5 3 2.5 4 6 2 5 6 3.5 3 54.5 3 5 6 3.5 4.5 2.5 2
6 5 2.5 3.5 2 3 2.5 3.5 3.5 2.5 3 4.5 3 15.5 5 2.5 3 4 3.5 4 4 2 4.5 2.5 4 3"""
R_EXPERIMENT = """2.5 2.5 2 2.5 3.5 2 3.5 1.5 3 3 2.5 3.5 2 2.5 2 2 5 3 2 1.5 2 4 3 2.5 3 2 2 2 2.5
3.5 1.5 1.5 3.5 2 2.5 2.5 3 3.5 2.5 6.5 2.5 4 2.5 3 2.5 6.5 2.5 3 1.5 2 2.5 3 7.5 1.5 2 4 2.5 2 2.5
3.5 4 2.5 3 2.5 2 3.5 3 16.5 3 3 7 4.5 5 2 3.5 6 1.5 3 2.5 4 3 1.5 5 3 2.5 5.5 3 1.5 2.5 6"""


def numbers(text: str) -> list[float]:
    """Read numbers that are separated by blanks."""
    return [float(word) for word in text.split()]


def test_interval_is_that_of_r() -> None:
    """Claim: on 90 tied values each, ends and estimate are those of R's wilcox.test."""
    found = shift(numbers(R_EXPERIMENT), numbers(R_CONTROL), 0.95)

    assert found.lower == pytest.approx(-0.500002521696696, abs=1e-6)
    assert found.upper == pytest.approx(-3.486287505871302e-5, abs=1e-6)
    assert found.estimate == pytest.approx(-0.4999393907180323, abs=1e-4)


def test_interval_is_to_the_digit_what_a_user_saw() -> None:
    """Claim: spinnaker #6278 printed these three numbers from inside the original."""
    found = shift([100.0] * 7 + [1.0] * 3, [1.0] * 10, 0.98)

    assert found.lower == pytest.approx(6.825022991538781e-5, rel=1e-12)
    assert found.upper == 99.0
    assert found.estimate == pytest.approx(98.99992904170193, rel=1e-14)


@given(st.lists(st.integers(-50, 50), min_size=2), st.lists(st.integers(-50, 50), min_size=2))
def test_interval_is_as_wide_as_the_data_at_most(x: list[int], y: list[int]) -> None:
    """Law: where there is an interval, it is ordered and lies within all differences."""
    if len({*x}) == len({*y}) == 1:
        return
    found = shift(x, y, 0.98)

    assert min(x) - max(y) - 1e-4 <= found.lower <= found.upper + 1e-4
    assert found.upper <= max(x) - min(y) + 1e-4


def test_root_finding_stops_at_its_tolerance() -> None:
    """Claim: a root is found to half of 1e-4, which is coarse for failure ratios but the rule."""
    found = brent(lambda x: x**3 - 2.0, 0.0, 2.0, -2.0, 6.0)

    assert found == pytest.approx(2 ** (1 / 3), abs=1e-4)


def hundreds(count: int) -> list[float]:
    """Ten points, so many of which are at 100 instead of 1."""
    return [100.0] * count + [1.0] * (10 - count)


DISPUTED = [
    pytest.param(METRIC, [1.0] * 10, hundreds(7), Label.PASS, id="spinnaker 6278: 7 of 10 at 100x"),
    pytest.param(METRIC, [1.0] * 10, hundreds(8), Label.HIGH, id="spinnaker 6278: 8 of 10 at 100x"),
    pytest.param(
        METRIC, [0.0] * 6, [0, 1, 2, 1, 0, 0], Label.PASS, id="kayenta 426: sparse errors"
    ),
    pytest.param(
        METRIC,
        [1, 100, 4, 101, 5, 102, 6, 103, 7, 104, 8, 105, 9, 106, 17],
        [10, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6, 17, 17.1, 17.2, 17.3, 17.4, 17.5, 17.6, 17.7],
        Label.PASS,
        id="kayenta 780: another spread",
    ),
    pytest.param(
        replace(METRIC, nan_strategy=NanStrategy.REPLACE),
        [nan] * 5,
        [1, 4, 2, 3, 1],
        Label.HIGH,
        id="kayenta 799: stable had no errors to report",
    ),
    pytest.param(METRIC, [nan] * 5, [1, 4, 2, 3, 1], Label.NODATA, id="kayenta 799: removed"),
]
HIGH_DATA, LOW_DATA = [20, 22, 21, 25, 30], [1, 2.2, 1.1, 2.5, 3]
SUITE_CASES = [
    pytest.param(SUITE, LOW_DATA, HIGH_DATA, Label.HIGH, id="high"),
    pytest.param(SUITE, HIGH_DATA, LOW_DATA, Label.LOW, id="low"),
    pytest.param(
        replace(SUITE, direction=Direction.INCREASE), HIGH_DATA, LOW_DATA, Label.PASS, id="wanted"
    ),
    pytest.param(
        replace(SUITE, allowed_decrease=0.5),
        [20, 22, 21, 25, 30],
        [10, 12.2, 10.1, 12.5, 23],
        Label.PASS,
        id="not low enough",
    ),
    pytest.param(
        replace(SUITE, allowed_increase=13.0), LOW_DATA, HIGH_DATA, Label.PASS, id="allowed"
    ),
    pytest.param(SUITE, [1, 1], [1, 1, 1], Label.PASS, id="tied"),
    pytest.param(SUITE, [5, 4, 3, 2, 1], [1, 2, 3, 4, 5], Label.PASS, id="identical"),
    pytest.param(SUITE, [1] * 5, [0, 1, 1, 1, 1], Label.PASS, id="leading zero"),
    pytest.param(SUITE, [1] * 5, [1, 1, 1, 1, 10], Label.PASS, id="mostly tied"),
    pytest.param(SUITE, [1.0] * 5, [10.0] * 5, Label.HIGH, id="two constants"),
    pytest.param(SUITE, [0.0] * 5, [10.0] * 5, Label.HIGH, id="two constants, one is zero"),
    pytest.param(
        replace(SUITE, allowed_increase=1.2),
        [0.0] * 5,
        [54.9, 54.5, 55.1, 55.6, 57.4],
        Label.HIGH,
        id="no ratio to zero, so it is not asked",
    ),
    pytest.param(
        replace(SUITE, allowed_decrease=0.8),
        [54.9, 54.5, 55.1, 55.6, 57.4],
        [0.0] * 5,
        Label.LOW,
        id="no ratio of zero, so it is not asked",
    ),
    pytest.param(SUITE, [0.0] * 5, [0.0] * 5, Label.PASS, id="all zero"),
    pytest.param(SUITE, [1, 2, 3], [], Label.NODATA, id="no canary data"),
    pytest.param(
        replace(SUITE, nan_strategy=NanStrategy.REPLACE), [1, 2, 3], [], Label.PASS, id="no data, 0"
    ),
    pytest.param(
        replace(SUITE, must_have_data=True),
        [1, 2, 3],
        [nan],
        Label.NODATA_FAIL_METRIC,
        id="data was wanted",
    ),
    pytest.param(SUITE, [9.0], [10.0], Label.ERROR, id="one value against one cannot be tested"),
]


@pytest.mark.parametrize(("metric", "stable", "canary", "label"), [*DISPUTED, *SUITE_CASES])
def test_labels(
    metric: JudgedMetric, stable: Sequence[float], canary: Sequence[float], label: Label
) -> None:
    """Claim: disputed cases and those of Kayenta's suite get the label that Kayenta gives."""
    assert classify(metric, stable, canary).label is label


@pytest.mark.parametrize(
    ("metric", "stable", "canary", "critical"),
    [
        pytest.param({}, LOW_DATA, HIGH_DATA, True, id="high, defaults"),
        pytest.param(
            {"critical_increase": 13.0}, LOW_DATA, HIGH_DATA, False, id="high, not enough"
        ),
        pytest.param({}, HIGH_DATA, LOW_DATA, True, id="low, defaults"),
        pytest.param({"critical_decrease": 0.01}, HIGH_DATA, LOW_DATA, False, id="low, not enough"),
        pytest.param({}, LOW_DATA, [], True, id="no data"),
        pytest.param({"must_have_data": True}, LOW_DATA, [], True, id="no data, though wanted"),
        pytest.param({}, LOW_DATA, LOW_DATA, False, id="passes"),
    ],
)
def test_critical_metrics(
    metric: dict[str, float], stable: Sequence[float], canary: Sequence[float], critical: bool
) -> None:
    """Claim: a critical metric fails the canary alone if it is missing or changed enough."""
    changed = replace(SUITE, critical=True, **metric)  # type: ignore[arg-type]

    assert classify(changed, stable, canary).critical is critical


def test_effect_sizes() -> None:
    """Claim: the ratio of means is not computed with a zero; CLES is the chance to be higher."""
    cles = replace(SUITE, effect=Effect.CLES)

    assert classify(SUITE, [1, 2, 3], [2, 4, 7]).effect == pytest.approx(13 / 6)
    assert classify(cles, [1, 2], [2, 3]).effect == pytest.approx(3.5 / 4)
    assert classify(cles, LOW_DATA, HIGH_DATA).label is Label.HIGH


def test_outliers_are_removed_only_beyond_both_fences() -> None:
    """Claim: a wild point goes, and with it the difference; a point within the fences stays."""
    removing = replace(METRIC, outlier_factor=3.0)
    many = [10.0 + 0.01 * k for k in range(200)]

    assert classify(removing, many, [*many, 1e6]) == Classification(removing, Label.PASS)
    assert classify(removing, many, [*many, 14.0]).effect > 1.0


def result(label: Label, group: str = "all", critical: bool = False) -> Classification:
    """One metric's result."""
    return Classification(JudgedMetric("m", groups=(group,), critical=critical), label, critical)


P, H, N = Label.PASS, Label.HIGH, Label.NODATA


@pytest.mark.parametrize(
    ("results", "weights", "expected"),
    [
        pytest.param([result(P)], {}, 100.0, id="one passes"),
        pytest.param([result(H)], {}, 0.0, id="one is high"),
        pytest.param([result(P), result(H), result(Label.LOW)], {}, 33.33, id="one of three"),
        pytest.param([result(P), result(Label.NODATA_FAIL_METRIC)], {}, 50.0, id="wanted data"),
        pytest.param([result(N)], {}, 0.0, id="nothing but no data"),
        pytest.param([result(P), result(N, "b")], {}, 0.0, id="half of all without data"),
        pytest.param(
            [result(P), result(P), result(N, "b")], {}, 100.0, id="a silent group counts as passed"
        ),
        pytest.param(
            [result(P, "a"), result(P, "a"), result(H, "b")],
            {"a": 75.0, "b": 25.0},
            75.0,
            id="weights",
        ),
        pytest.param(
            [result(H, "a"), result(Label.LOW, "a"), result(P, "a"), result(H, "b")],
            {"a": 15.0, "b": 85.0},
            5.0,
            id="a weight times a third",
        ),
        pytest.param(
            [result(P, "a"), result(H, "b"), result(P, "c")],
            {"a": 50.0},
            75.0,
            id="groups without a weight share the rest",
        ),
        pytest.param([result(P), result(H, critical=True)], {}, 0.0, id="a critical one fails all"),
        pytest.param([result(P, critical=True), result(H)], {}, 50.0, id="a critical one passes"),
        pytest.param(
            [result(P), replace(result(Label.ERROR), critical=False)], {}, 100.0, id="error is out"
        ),
        pytest.param(
            [result(P), Classification(JudgedMetric("m", muted=True), H, True)],
            {},
            100.0,
            id="a muted one is not heard",
        ),
    ],
)
def test_scores(
    results: Sequence[Classification], weights: dict[str, float], expected: float
) -> None:
    """Claim: the cases of Kayenta's scorer suite, and those its source adds, score the same."""
    assert score(results, weights) == expected


@pytest.mark.parametrize(
    ("every", "ending"),
    [
        pytest.param(None, (1800, Verdict.ROLLED_BACK), id="once, at the end"),
        pytest.param(300, (300, Verdict.ROLLED_BACK), id="every five minutes"),
    ],
)
def test_judgements_come_at_their_times(every: int | None, ending: tuple[int, Verdict]) -> None:
    """Claim: a canary that fails half of its requests goes on until the judgement."""
    rule = Kayenta.documented(10, 1800, every)

    assert first_verdict(rule, lambda _: BROKEN) == ending
    assert first_verdict(rule, lambda _: HEALTHY) == (1800, Verdict.PROMOTED)


@pytest.mark.parametrize(
    ("marginal", "ending"),
    [
        pytest.param(75.0, 300, id="at the marginal score an interval ends it"),
        pytest.param(74.0, 1800, id="above it only the end does, below the pass score"),
    ],
)
def test_a_score_between_both_thresholds_is_not_enough(marginal: float, ending: int) -> None:
    """Claim: intervals stop at or below the marginal score; the last one must reach the pass."""
    rule = Kayenta(
        10,
        judge_every_seconds=300,
        errors=replace(ERRORS, groups=("errors",)),
        latency=replace(LATENCY, groups=("latency",)),
        marginal_score=marginal,
        group_weights=(("errors", 25.0), ("latency", 75.0)),
    )

    assert first_verdict(rule, lambda _: BROKEN) == (ending, Verdict.ROLLED_BACK)


@pytest.mark.parametrize(
    ("strategy", "window", "verdict"),
    [
        pytest.param(NanStrategy.REMOVE, SILENT, Verdict.ROLLED_BACK, id="no request: no data"),
        pytest.param(NanStrategy.REPLACE, SILENT, Verdict.PROMOTED, id="no request: no failure"),
        pytest.param(NanStrategy.REMOVE, None, Verdict.ROLLED_BACK, id="nothing was stored"),
        pytest.param(NanStrategy.REPLACE, None, Verdict.PROMOTED, id="nothing was stored, passes"),
    ],
)
def test_silence_fails_or_passes_by_strategy(
    strategy: NanStrategy, window: Minute | None, verdict: Verdict
) -> None:
    """Claim: a canary nobody asked is failed by default, and promoted once NaN is zero."""
    rule = Kayenta(10, errors=replace(ERRORS, nan_strategy=strategy))

    assert first_verdict(rule, lambda _: window)[1] is verdict


def test_a_gap_of_ten_minutes_changes_nothing() -> None:
    """Claim: judging afterwards, over what was stored, survives an outage in mid-canary."""
    rule = Kayenta.documented(10, 1800)

    found = first_verdict(rule, lambda second: None if 600 <= second < 1200 else HEALTHY)

    assert found == (1800, Verdict.PROMOTED)


def test_latency_is_judged_where_it_is_asked_for() -> None:
    """Claim: a p99 twice as high is High; without a latency metric nobody looks."""
    slow = replace(HEALTHY, canary_p99_seconds=0.2)

    assert first_verdict(Kayenta(10, latency=LATENCY), lambda _: slow)[1] is Verdict.ROLLED_BACK
    assert first_verdict(Kayenta(10), lambda _: slow)[1] is Verdict.PROMOTED


def test_a_rule_without_metrics_is_refused() -> None:
    """Claim: what judges nothing cannot be made."""
    with pytest.raises(ValueError, match="wanted"):
        Kayenta(10, errors=None)


# --- replays -------------------------------------------------------------------------------------

INCREASE = replace(METRIC, direction=Direction.INCREASE)


@pytest.mark.replay
@pytest.mark.parametrize(
    ("points", "factor", "table"),
    [
        pytest.param(2, 1.0, 0.11, id="false alarms of two points"),
        pytest.param(3, 1.0, 0.03, id="false alarms of three points"),
        pytest.param(4, 1.0, 0.005, id="hardly any false alarm of four"),
        pytest.param(5, 1.2, 0.01, id="a fifth more, five points"),
        pytest.param(10, 1.2, 0.03, id="a fifth more, ten points"),
        pytest.param(15, 1.2, 0.09, id="a fifth more, fifteen points"),
        pytest.param(30, 1.2, 0.22, id="a fifth more, thirty points"),
        pytest.param(60, 1.2, 0.53, id="a fifth more, sixty points"),
    ],
)
def test_power_is_that_of_an_earlier_simulation(points: int, factor: float, table: float) -> None:
    """Claim: log-normal values (sigma .3) are called High as often as in 600 earlier draws."""
    chance, runs = random.Random(points), 400
    high = 0
    for _ in range(runs):
        stable = [chance.lognormvariate(0.0, 0.3) for _ in range(points)]
        canary = [factor * chance.lognormvariate(0.0, 0.3) for _ in range(points)]
        high += classify(INCREASE, stable, canary).label is Label.HIGH
    found = high / runs
    error = standard_error(found, runs)
    print(f"{points} points, x{factor}: {found:.3f} ± {error:.3f}, earlier {table}")

    assert abs(found - table) <= 3 * (error**2 + standard_error(table, 600) ** 2) ** 0.5 + 0.005


def rolled_back(
    base: float,
    rate: float,
    weight: int,
    seed: int,
    harm: float = 0.0,
    onset: int = 0,
    every: int | None = None,
) -> bool:
    """Replay one canary of half an hour: Poisson requests, a share of which fails."""
    chance = random.Random(seed)

    def minute(second: int) -> Minute:
        bad_rate = base + (1 - base) * harm * (second > onset)
        canary = poisson(rate * weight / 100 * 60, chance)
        stable = poisson(rate * (1 - weight / 100) * 60, chance)
        return Minute(
            canary, binomial(canary, bad_rate, chance), stable, binomial(stable, base, chance)
        )

    rule = Kayenta.documented(weight, 1800, every)
    return first_verdict(rule, minute, 60, 1800)[1] is Verdict.ROLLED_BACK


# base, requests/s, weight, harm, from second, judged every, percent rolled back in the table, runs.
@pytest.mark.replay
@pytest.mark.parametrize(
    ("base", "rate", "weight", "harm", "onset", "every", "table", "runs"),
    [
        pytest.param(0.01, 100, 5, 0, 0, None, 0.06, 300, id="healthy, judged once"),
        pytest.param(0.01, 100, 5, 0, 0, 300, 0.78, 200, id="healthy, judged every 5 min"),
        pytest.param(0.01, 100, 10, 0.01, 0, None, 100, 100, id="one point worse"),
        pytest.param(0.05, 100, 10, 0.01, 0, None, 94, 200, id="one point worse of five"),
        pytest.param(0.001, 1, 10, 0.2, 0, None, 70, 300, id="twenty points, little traffic"),
        pytest.param(0.01, 100, 10, 0.05, 600, None, 16, 300, id="five points from minute ten on"),
    ],
)
def test_cells_are_those_of_the_table(
    base: float,
    rate: float,
    weight: int,
    harm: float,
    onset: int,
    every: int | None,
    table: float,
    runs: int,
) -> None:
    """Claim: some hundred seeded runs agree with an earlier simulation to three standard errors."""
    found = (
        sum(rolled_back(base, rate, weight, seed, harm, onset, every) for seed in range(runs))
        / runs
    )
    error = standard_error(found, runs)
    print(f"{100 * found:.2f} ± {100 * error:.2f} %, table {table} %")

    assert abs(found - table / 100) <= 3 * max(error, standard_error(table / 100, runs)) + 0.005
