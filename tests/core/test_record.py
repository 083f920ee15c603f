"""What a record and an Event say of a signal: the numbers, and the words for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headgate.core.analysis import Analysis, Pass, SignalReport
from headgate.core.lifecycle import Phase, Reason, Revision, State
from headgate.core.record import (
    Judged,
    interval_of,
    numbers_in_words,
    render_record,
    render_signal,
)
from headgate.core.rollout import RULES, Decision, Rule
from headgate.core.wording import lasting

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REPORT = SignalReport(
    name="errors",
    canary_requests=1902,
    canary_bad=38,
    stable_requests=36118,
    stable_bad=41,
    difference_points=100 * (38 / 1902 - 41 / 36118),
    log_evidence=10.0,
    threshold=225.0,
    requests_needed=2015,
    message="told",
)
NOISY = replace(REPORT, design_effect=1.5, placebo_runs=120, units=12)
ALONE = replace(REPORT, stable_requests=0, stable_bad=0, difference_points=None)


def test_a_difference_has_its_interval() -> None:
    """Claim: both ends in points, around the difference, and wider for the design effect."""
    plain, noisy = interval_of(REPORT), interval_of(NOISY)

    assert plain is not None
    assert noisy is not None
    assert noisy.low < plain.low < (REPORT.difference_points or 0.0) < plain.high < noisy.high
    assert (plain.low, plain.high) == (
        pytest.approx(0.779, abs=1e-3),
        pytest.approx(3.471, abs=1e-3),
    )


def test_without_a_control_there_is_no_interval() -> None:
    """Claim: nothing to compare with is no difference, not one of zero."""
    rendered = render_signal(ALONE, {})

    assert interval_of(ALONE) is None
    assert not {"differencePoints", "lowestPoints", "highestPoints"} & set(rendered)


@pytest.mark.parametrize(
    ("report", "queries", "wanted"),
    [
        pytest.param(REPORT, {}, {}, id="noise that was not measured is left out"),
        pytest.param(
            NOISY,
            {},
            {"designEffect": "1.5", "placeboRuns": 120, "pods": 12},
            id="noise that was measured",
        ),
        pytest.param(
            replace(REPORT, units=3),
            {},
            {"designEffect": "1", "placeboRuns": 0, "pods": 3},
            id="measured, and there is none",
        ),
        pytest.param(
            REPORT, {"errors": "up\n[1m]"}, {"query": "up [1m]"}, id="the query is put on one line"
        ),
        pytest.param(REPORT, {"latency": "up"}, {}, id="the query of another signal"),
    ],
)
def test_what_a_signal_says_is_recorded(
    report: SignalReport, queries: Mapping[str, str], wanted: Mapping[str, Any]
) -> None:
    """Claim: what is not known is absent, and never a number."""
    rendered = render_signal(report, queries)
    said = {
        k: rendered[k] for k in ("designEffect", "placeboRuns", "pods", "query") if k in rendered
    }

    assert said == wanted


@pytest.mark.parametrize(
    ("report", "query", "wanted"),
    [
        pytest.param(
            NOISY,
            "sum(up)",
            "errors: difference +1.88 points (+0.682 to +3.68 at 95 %); e-value 2.2e+04, rolls "
            "back at 225; about 2,015 more requests needed; design effect 1.5, 120 placebo runs of "
            "12 pods; asked: sum(up)",
            id="all that is known",
        ),
        pytest.param(
            replace(ALONE, requests_needed=None),
            "",
            "errors: e-value 2.2e+04, rolls back at 225",
            id="without control, noise and query",
        ),
        pytest.param(
            replace(ALONE, requests_needed=0, log_evidence=1e6),
            "",
            "errors: e-value 1.94e+130, rolls back at 225",
            id="more evidence than a number holds",
        ),
    ],
)
def test_an_event_says_the_numbers_on_one_line(
    report: SignalReport, query: str, wanted: str
) -> None:
    """Claim: interval, e-value and threshold, requests needed, noise and query, where known."""
    assert numbers_in_words(report, query) == wanted


@pytest.mark.parametrize(
    ("span", "wanted"),
    [
        (timedelta(milliseconds=400), "0.4 s"),
        (timedelta(seconds=6.24), "6.2 s"),
        (timedelta(seconds=70), "70 s"),
        (timedelta(seconds=121), "2 min"),
        (timedelta(minutes=90), "90 min"),
        (timedelta(hours=5, minutes=2), "5 h"),
    ],
)
def test_a_span_is_written_in_one_unit(span: timedelta, wanted: str) -> None:
    """Claim: a sentence has one number and its unit, as people say it."""
    assert lasting(span) == wanted


# --- what is asked for only when it is written ---------------------------------------------------


def decided(transition: Rule | None) -> Decision:
    """A pass over a canary, with or without a change."""
    canary = Revision("fraud-11111111", "11111111", "1")
    state = State(Phase.PROGRESSING, NOW, Reason.STEP_COMPLETED, "told", canary=canary)
    return Decision(state, (), frozenset(), transition, None, None)


def test_queries_are_asked_for_only_when_a_record_is_written() -> None:
    """Claim: a pass that stores nothing does not put the text of a query together."""
    asked: list[str] = []

    def queries() -> Mapping[str, str]:
        asked.append("queries")
        return {"errors": "sum(up)"}

    judged = Judged(analysis=Analysis(Pass("fine", 1), (REPORT,), NOW), queries=queries)
    spec = {"to": {"hash": "11111111"}, "number": 2}
    stored = {"outcome": "Progressing"}
    every = timedelta(minutes=1)

    same = render_record(spec, stored, decided(None), judged, 1, NOW, every)
    before = len(asked)
    written = render_record(spec, stored, decided(RULES[0]), judged, 1, NOW, every)

    assert (same, before) == (stored, 0)
    assert asked == ["queries"]
    assert written["signals"][0]["query"] == "sum(up)"


def test_a_record_says_which_generation_its_status_is_about() -> None:
    """Else who waits by kstatus, `kubectl wait` or Argo CD's tree, waits for it for ever."""
    spec = {"to": {"hash": "11111111"}, "number": 2}

    status = render_record(spec, {}, decided(RULES[0]), Judged(), 1, NOW, timedelta(minutes=1))

    assert status["observedGeneration"] == 1
