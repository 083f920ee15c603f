"""Flagger's rule against its documentation, its closed form and what its binary was seen to do."""

from __future__ import annotations

import random
from math import comb, nan

import pytest
from bench.replay import binomial, poisson
from hypothesis import given
from hypothesis import strategies as st
from tests.simulation.exactly import (
    BROKEN,
    HEALTHY,
    SILENT,
    agree,
    chances,
    failing,
    failing_minute,
    first_verdict,
    standard_error,
)

from headgate.simulation.peers import Minute, Verdict
from headgate.simulation.peers.flagger import Flagger, weights_by_step

WINDOWS = st.sampled_from([HEALTHY, BROKEN, SILENT, None])


@pytest.mark.parametrize(
    ("chance", "passes", "threshold", "oracle", "rounding"),
    [
        pytest.param(0.05, 5, 1, 0.226, 5e-4, id="one failed check is enough"),
        pytest.param(0.05, 5, 5, 0.00003, 5e-6, id="five failed checks, five passes"),
        pytest.param(0.2, 5, 5, 0.0196, 5e-5, id="checks that fail often"),
        pytest.param(0.2, 10, 5, 0.130, 5e-4, id="more passes are more chances to fail"),
    ],
)
def test_rollbacks_follow_the_closed_form(
    chance: float, passes: int, threshold: int, oracle: float, rounding: float
) -> None:
    """Claim: over all courses, rollback means that F failures come before S passes."""
    rule = Flagger((10,) * passes, threshold=threshold)
    found = chances(rule, failing(chance), 60 * (passes + threshold + 1))
    expected = sum(
        comb(threshold + k - 1, k) * chance**threshold * (1 - chance) ** k for k in range(passes)
    )

    assert found[Verdict.ROLLED_BACK] == pytest.approx(expected, abs=1e-12)
    assert found[Verdict.CONTINUE] == 0.0
    assert expected == pytest.approx(oracle, abs=rounding)


@pytest.mark.parametrize("threshold", [1, 2, 3, 4, 5])
def test_rollback_comes_one_tick_after_the_last_failure(threshold: int) -> None:
    """Claim: from the first bad answer it takes threshold x interval: 10, 20 .. 50 s at 10 s, which
    is what the binary of 1.44.0 took."""
    rule = Flagger((10,) * 30, interval_seconds=10, threshold=threshold)

    second, verdict = first_verdict(rule, lambda second: HEALTHY if second < 100 else BROKEN)

    assert (second - 100, verdict) == (10 * threshold, Verdict.ROLLED_BACK)


def test_threshold_zero_is_one() -> None:
    """Claim: an absent threshold rolls back for a single failed check."""
    assert first_verdict(Flagger((10,), threshold=0), lambda _: BROKEN) == (
        120,
        Verdict.ROLLED_BACK,
    )


def test_failures_are_never_forgiven() -> None:
    """Claim: five failed checks far apart end a canary as surely as five in a row."""
    rule = Flagger((10,) * 100, threshold=5)

    second, verdict = first_verdict(rule, lambda second: BROKEN if second % 600 == 0 else HEALTHY)

    assert (second, verdict) == (3060, Verdict.ROLLED_BACK)


@pytest.mark.parametrize(
    ("window", "passes"),
    [
        pytest.param(Minute(100, 1, 0, 0, 0.1), True, id="exactly the wanted rate"),
        pytest.param(Minute(100, 2, 0, 0, 0.1), False, id="below the wanted rate"),
        pytest.param(Minute(100, 0, 0, 0, 0.5009), True, id="latency is cut to whole ms"),
        pytest.param(Minute(100, 0, 0, 0, 0.501), False, id="above the wanted latency"),
        pytest.param(Minute(100, 0, 0, 0, None), False, id="no latency"),
        pytest.param(Minute(100, 0, 0, 0, nan), False, id="latency is NaN"),
        pytest.param(Minute(0, 0, 900, 0, 0.1), False, id="no request"),
        pytest.param(None, False, id="no answer from the backend"),
    ],
)
def test_missing_values_are_failed_checks(window: Minute | None, passes: bool) -> None:
    """Claim: "no values" and errors count like a bad value."""
    rule = Flagger.documented(10, 1800, max_latency_ms=500)

    assert rule.passes(window) is passes


def test_a_tick_fails_once_however_many_metrics_do() -> None:
    """Claim: the first failing metric ends the tick."""
    rule = Flagger((10, 20), threshold=5, max_latency_ms=1)
    state, verdict = rule.step(rule.start(), BROKEN, 60)

    assert (state.failed_checks, verdict) == (1, Verdict.CONTINUE)


@pytest.mark.parametrize(
    ("step_weight", "max_weight", "weights"),
    [
        pytest.param(10, 50, (10, 20, 30, 40, 50), id="ends at the most"),
        pytest.param(20, 50, (20, 40, 60), id="may exceed the most"),
        pytest.param(30, 100, (30, 60, 90, 100), id="never exceeds 100"),
    ],
)
def test_weights_rise_one_step_a_passing_check(
    step_weight: int, max_weight: int, weights: tuple[int, ...]
) -> None:
    """Claim: a canary that always passes gets every weight in order for one interval, then all."""
    assert weights_by_step(step_weight, max_weight) == weights
    rule = Flagger(weights)
    state, seen = rule.start(), []
    for second in range(60, 60 * len(weights) + 1, 60):
        seen.append(state.weight)
        state, _ = rule.step(state, HEALTHY, second)

    assert tuple(seen) == weights
    assert (state.weight, state.verdict) == (100, Verdict.PROMOTED)


@given(st.lists(WINDOWS, max_size=60), st.integers(1, 5))
def test_weights_never_fall_but_to_nothing(windows: list[Minute | None], threshold: int) -> None:
    """Law: weights only rise until a rollback, which sends all to the primary; the end is final."""
    rule = Flagger((10, 20, 50, 50), threshold=threshold)
    state = rule.start()
    for number, window in enumerate(windows, start=1):
        before = state
        state, verdict = rule.step(state, window, 60 * number)
        assert state.failed_checks >= before.failed_checks
        assert state.weight >= before.weight or (state.weight, verdict) == (0, Verdict.ROLLED_BACK)
        assert before.verdict is Verdict.CONTINUE or state == before


def test_only_due_ticks_count_and_missed_ones_are_dropped() -> None:
    """Claim: stepping in between changes nothing; a gap costs one tick and keeps the beat."""
    rule = Flagger((10, 20, 30))
    state = rule.start()

    assert rule.step(state, BROKEN, 59) == (state, Verdict.CONTINUE)
    late, _ = rule.step(state, HEALTHY, 215)
    assert (late.step, late.due_at) == (1, 240)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"weights": ()}, id="no weight"),
        pytest.param({"weights": (10,), "interval_seconds": 9}, id="shorter than Flagger allows"),
    ],
)
def test_settings_that_flagger_would_not_keep_are_refused(settings: dict[str, object]) -> None:
    """Claim: a rule never silently runs with other settings than it was given."""
    with pytest.raises(ValueError, match="wanted"):
        Flagger(**settings)  # type: ignore[arg-type]


def test_a_healthy_canary_with_little_traffic_is_always_rolled_back() -> None:
    """Claim: at 0.2 requests a second and 5 %, minutes without a request alone end every canary."""
    rule = Flagger.documented(5, 1800)
    fails = failing_minute(0.001, 0.2, 5, rule.passes)

    assert chances(rule, failing(fails), 1860)[Verdict.ROLLED_BACK] > 0.999


# Healthy canaries rolled back in 30 minutes, percent, of 20 000 simulated earlier for our designs:
# base, requests/s, weight, at 99 %, at one point below the base.
TABLE = [
    pytest.param(0.001, 1, 5, 1.9, 1.9, id="0.1 %, 1/s, 5 %"),
    pytest.param(0.001, 10, 10, 2.9, 2.9, id="0.1 %, 10/s, 10 %"),
    pytest.param(0.001, 1000, 5, 0, 0, id="0.1 %, 1000/s, 5 %"),
    pytest.param(0.01, 1, 50, 92, 92, id="1 %, 1/s, 50 %"),
    pytest.param(0.01, 10, 10, 100, 46, id="1 %, 10/s, 10 %"),
    pytest.param(0.01, 100, 5, 100, 2.1, id="1 %, 100/s, 5 %"),
    pytest.param(0.01, 1000, 5, 100, 0, id="1 %, 1000/s, 5 %"),
    pytest.param(0.05, 10, 50, 100, 78, id="5 %, 10/s, 50 %"),
    pytest.param(0.05, 100, 10, 100, 36, id="5 %, 100/s, 10 %"),
]


@pytest.mark.replay
@pytest.mark.parametrize(("base", "rate", "weight", "plain", "tuned"), TABLE)
def test_false_rollbacks_are_those_of_the_table(
    base: float, rate: float, weight: int, plain: float, tuned: float
) -> None:
    """Claim: exact rates agree with an earlier, independent simulation to three standard errors.

    Thirty checks, and the tick after the last of them."""
    for rule, table in (
        (Flagger.documented(weight, 1800), plain),
        (Flagger.tuned(base, weight, 1800), tuned),
    ):
        fails = failing_minute(base, rate, weight, rule.passes)
        found = chances(rule, failing(fails), 1860)[Verdict.ROLLED_BACK]
        digits = 0.001 if table < 10 else 0.01
        print(f"Flagger {rule.min_success_percent} %: {100 * found:.2f} %, table {table} %")
        assert agree(found, table / 100, 20_000, digits)


@pytest.mark.replay
def test_a_drawn_replay_finds_the_exact_rate() -> None:
    """Claim: 400 seeded runs at 5 %, 10/s, 50 % agree with the enumeration, so that it is one."""
    rule, runs = Flagger.tuned(0.05, 50, 1800), 400
    found = sum(_rolled_back(rule, random.Random(seed)) for seed in range(runs)) / runs
    exact = chances(rule, failing(failing_minute(0.05, 10, 50, rule.passes)), 1860)
    print(f"{100 * found:.1f} ± {100 * standard_error(found, runs):.1f} %")

    assert agree(found, exact[Verdict.ROLLED_BACK], runs)


def _rolled_back(rule: Flagger, chance: random.Random) -> bool:
    def minute(_: int) -> Minute:
        requests = poisson(10 * 0.5 * 60, chance)
        return Minute(requests, binomial(requests, 0.05, chance), 0, 0)

    return first_verdict(rule, minute, 60, 1860)[1] is Verdict.ROLLED_BACK
