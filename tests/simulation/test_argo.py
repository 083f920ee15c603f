"""Argo's rule against its source, its closed form and what its binary was seen to do."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulation.exactly import (
    BROKEN,
    HEALTHY,
    SILENT,
    agree,
    at_least,
    chances,
    failing,
    failing_minute,
    first_verdict,
)

from headgate.simulation.peers import Minute, Verdict
from headgate.simulation.peers.argo import Argo, Condition, Metric, Phase, Reading, Silence, Step

GOOD = Condition(">=", 0.99)
BAD = Condition("<", 0.95)
SUCCESS = Metric(Reading.SUCCESS_RATIO, success=GOOD)
STEPS = (Step(10, 3600),)
HALF_GOOD = Minute(1000, 30, 9000, 0)


@pytest.mark.parametrize(
    ("count", "limit", "chance", "oracle"),
    [
        pytest.param(5, 0, 0.05, 0.226, id="one failure is enough"),
        pytest.param(5, 1, 0.1, 0.0815, id="one failure is allowed"),
        pytest.param(10, 3, 0.2, 0.121, id="three failures are allowed"),
    ],
)
def test_aborts_follow_the_closed_form(
    count: int, limit: int, chance: float, oracle: float
) -> None:
    """Claim: over all courses, an abort means more than L failures in N measurements."""
    metric = replace(SUCCESS, count=count, failure_limit=limit, initial_delay_seconds=60)
    rule = Argo((Step(10, 60 * count),), (metric,))
    found = chances(rule, failing(chance), 60 * count)

    assert found[Verdict.ROLLED_BACK] == pytest.approx(at_least(limit + 1, count, chance))
    assert found[Verdict.CONTINUE] == 0.0
    assert found[Verdict.ROLLED_BACK] == pytest.approx(oracle, rel=0.01)


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_an_abort_comes_with_the_failure_that_exceeds_the_limit(limit: int) -> None:
    """Claim: from the first bad answer it takes limit x interval: 0, 10, 20, 30 s at 10 s; the
    binary took 0.2, 11, 21 and 31 s."""
    rule = Argo(STEPS, (replace(SUCCESS, interval_seconds=10, failure_limit=limit),))

    second, verdict = first_verdict(rule, lambda second: HEALTHY if second < 100 else BROKEN)

    assert (second - 100, verdict) == (10 * limit, Verdict.ROLLED_BACK)


@pytest.mark.parametrize(
    ("timeout", "takes"),
    [
        pytest.param(0, 40, id="connections are refused"),
        pytest.param(30, 190, id="queries hang until the default timeout"),
    ],
)
def test_an_outage_of_the_metrics_aborts_a_healthy_rollout(timeout: int, takes: int) -> None:
    """Claim: five errors in a row, 10 s apart whatever the interval, abort at the defaults."""
    rule = Argo(STEPS, (SUCCESS,), timeout_seconds=timeout)

    second, verdict = first_verdict(rule, lambda second: HEALTHY if second < 120 else None)

    assert (second, verdict) == (130 + takes, Verdict.ROLLED_BACK)


def test_one_answer_forgives_all_errors() -> None:
    """Claim: only errors in a row count, and they count as no measurement."""
    rule = Argo(STEPS, (replace(SUCCESS, count=3, interval_seconds=10),))
    state = rule.start()
    for second in range(10, 150, 10):
        state, _ = rule.step(state, HEALTHY if second % 50 == 0 else None, second)

    assert state.verdict is Verdict.CONTINUE
    assert (state.tallies[0].count, state.tallies[0].consecutive_errors) == (2, 4)


WORDINGS = {
    "success only": SUCCESS,
    "failure only": Metric(Reading.SUCCESS_RATIO, failure=BAD),
    "both": Metric(Reading.SUCCESS_RATIO, success=GOOD, failure=BAD),
    "none": Metric(Reading.SUCCESS_RATIO),
}
F, S, P, E = Phase.FAILED, Phase.SUCCESSFUL, Phase.INCONCLUSIVE, Phase.ERROR  # P pauses


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize(
    ("value", "phases"),
    [
        pytest.param(1.0, (S, S, S, S), id="good"),
        pytest.param(0.97, (F, S, P, S), id="between both conditions"),
        pytest.param(0.9, (F, F, F, S), id="bad"),
        pytest.param(nan, (F, S, P, S), id="NaN"),
        pytest.param(None, (E, E, E, S), id="empty vector"),
    ],
)
def test_missing_values_are_what_the_wording_makes_of_them(
    wording: str, value: float | None, phases: tuple[Phase, ...]
) -> None:
    """Claim: the same NaN fails, succeeds or pauses; an empty vector is an error of any wording."""
    expected = dict(zip(WORDINGS, phases, strict=True))

    assert WORDINGS[wording].judge(value) is expected[wording]


def test_failure_wins_where_both_conditions_hold() -> None:
    """Claim: a measurement that satisfies both conditions failed."""
    both = Metric(Reading.SUCCESS_RATIO, success=GOOD, failure=Condition(">=", 0.5))

    assert both.judge(1.0) is Phase.FAILED


@pytest.mark.parametrize(
    ("metric", "verdict"),
    [
        pytest.param("success only", Verdict.ROLLED_BACK, id="a wish rolls back"),
        pytest.param("failure only", Verdict.PROMOTED, id="a fear promotes"),
        pytest.param("both", Verdict.PAUSED, id="both wait for a person"),
    ],
)
def test_a_canary_without_traffic_ends_as_the_wording_has_it(metric: str, verdict: Verdict) -> None:
    """Claim: silence decides, and which way is a matter of wording."""
    rule = Argo((Step(10, 1800),), (WORDINGS[metric],))

    assert first_verdict(rule, lambda _: SILENT)[1] is verdict


def test_a_canary_that_never_had_a_request_may_have_no_series() -> None:
    """Claim: then queries are empty and five retries abort within a minute; after the first request
    silence is NaN."""
    metric = WORDINGS["failure only"]
    rule = Argo((Step(10, 1800),), (metric,), silence=Silence.EMPTY)

    assert first_verdict(rule, lambda _: SILENT) == (50, Verdict.ROLLED_BACK)
    assert first_verdict(rule, lambda second: HEALTHY if second == 10 else SILENT) == (
        1800,
        Verdict.PROMOTED,
    )


@pytest.mark.parametrize(
    ("metric", "window", "ending"),
    [
        pytest.param({"failure_limit": -1}, BROKEN, (600, Verdict.PROMOTED), id="limit off"),
        pytest.param(
            {"failure_limit": -1, "count": 3, "consecutive_success_limit": 2},
            BROKEN,
            (180, Verdict.ROLLED_BACK),
            id="successes in a row that never came",
        ),
        pytest.param(
            {"failure_limit": 3, "count": 3, "consecutive_success_limit": 2},
            BROKEN,
            (180, Verdict.PAUSED),
            id="neither enough failures nor enough successes",
        ),
        pytest.param(
            {"failure": BAD, "inconclusive_limit": 2},
            HALF_GOOD,
            (180, Verdict.PAUSED),
            id="more inconclusive ones than allowed",
        ),
        pytest.param({"count": 2}, HEALTHY, (600, Verdict.PROMOTED), id="measured enough"),
        pytest.param({"dry_run": True}, BROKEN, (600, Verdict.PROMOTED), id="dry run"),
    ],
)
def test_limits(metric: dict[str, object], window: Minute, ending: tuple[int, Verdict]) -> None:
    """Claim: each limit ends the run when it is exceeded, and none of them earlier."""
    changed = replace(SUCCESS, initial_delay_seconds=60, **metric)  # type: ignore[arg-type]

    assert first_verdict(Argo((Step(10, 600),), (changed,)), lambda _: window) == ending


def test_the_worst_metric_decides() -> None:
    """Claim: of a metric that pauses and one that fails at once, the failure counts."""
    pausing = Metric(Reading.SUCCESS_RATIO, success=GOOD, failure=BAD)
    slow = Metric(Reading.P99_SECONDS, success=Condition("<=", 0.5))
    window = replace(HALF_GOOD, canary_p99_seconds=2.0)

    assert first_verdict(Argo(STEPS, (pausing, slow)), lambda _: window)[1] is Verdict.ROLLED_BACK
    assert first_verdict(Argo(STEPS, (pausing,)), lambda _: window)[1] is Verdict.PAUSED


def test_steps_are_kept_for_their_pauses() -> None:
    """Claim: weights come in order; between measurements as well."""
    rule = Argo((Step(5, 50), Step(25, 100), Step(50, 30)), (SUCCESS,))
    state, seen = rule.start(), []
    for second in range(0, 190, 10):
        state, _ = rule.step(state, HEALTHY, second)
        seen.append(state.weight)

    assert seen == [5] * 5 + [25] * 10 + [50] * 3 + [100]


@given(st.lists(st.sampled_from([HEALTHY, HALF_GOOD, BROKEN, SILENT, None]), max_size=60))
def test_an_ended_run_stays_ended(windows: list[Minute | None]) -> None:
    """Law: failures are never forgiven, the end is final, and an abort takes all traffic."""
    metric = Metric(Reading.SUCCESS_RATIO, success=GOOD, failure=BAD, failure_limit=2)
    rule = Argo((Step(10, 300), Step(50, 200)), (metric,))
    state = rule.start()
    for number, window in enumerate(windows, start=1):
        before = state
        state, verdict = rule.step(state, window, 10 * number)
        assert state.tallies[0].failed >= before.tallies[0].failed
        assert before.verdict is Verdict.CONTINUE or state == before
        assert (verdict is Verdict.ROLLED_BACK) == (state.weight == 0)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(lambda: Condition("==", 1.0), id="unknown comparison"),
        pytest.param(lambda: Argo((), (SUCCESS,)), id="no steps"),
        pytest.param(lambda: Argo(STEPS, ()), id="no metrics"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: object) -> None:
    """Claim: a rule that could not be run cannot be made."""
    with pytest.raises(ValueError, match="wanted"):
        settings()  # type: ignore[operator]


# As in test_flagger.py: base, requests/s, weight, at .99, at one point below the base.
TABLE = [
    pytest.param(0.001, 1, 5, 7.0, 7.0, id="0.1 %, 1/s, 5 %"),
    pytest.param(0.001, 10, 10, 9.5, 9.5, id="0.1 %, 10/s, 10 %"),
    pytest.param(0.001, 1000, 5, 0, 0, id="0.1 %, 1000/s, 5 %"),
    pytest.param(0.01, 1, 50, 97, 97, id="1 %, 1/s, 50 %"),
    pytest.param(0.01, 10, 10, 100, 66, id="1 %, 10/s, 10 %"),
    pytest.param(0.01, 100, 5, 100, 7.9, id="1 %, 100/s, 5 %"),
    pytest.param(0.01, 1000, 5, 100, 0, id="1 %, 1000/s, 5 %"),
    pytest.param(0.05, 10, 50, 100, 90, id="5 %, 10/s, 50 %"),
    pytest.param(0.05, 100, 10, 100, 57, id="5 %, 100/s, 10 %"),
]


@pytest.mark.replay
@pytest.mark.parametrize(("base", "rate", "weight", "plain", "tuned"), TABLE)
def test_false_rollbacks_are_those_of_the_table(
    base: float, rate: float, weight: int, plain: float, tuned: float
) -> None:
    """Claim: exact rates agree with an earlier, independent simulation to three standard errors."""
    for rule, table in (
        (Argo.documented(weight, 1800), plain),
        (Argo.tuned(base, weight, 1800), tuned),
    ):
        metric = rule.metrics[0]
        fails = failing_minute(
            base,
            rate,
            weight,
            lambda window, metric=metric: (
                metric.judge(window.canary_success_ratio()) is Phase.SUCCESSFUL
            ),
        )
        found = chances(rule, failing(fails), 1800)[Verdict.ROLLED_BACK]
        print(f"Argo {metric.success}: {100 * found:.2f} %, table {table} %")
        assert agree(found, table / 100, 20_000, 0.001 if table < 10 else 0.01)
