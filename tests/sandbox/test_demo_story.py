"""What the demo promises, and how it says whether it came true."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.counts import Counts
from sandbox.demo_story import (
    Finding,
    Told,
    check_continued,
    check_left_alone,
    check_promoted,
    check_rolled_back,
    describe_users,
    exposed_since,
    render_result,
    tell,
)

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BAD_SENTENCE = "canary failed 3 of 24 requests, stable 0 of 147 at the same time"


def step(weight: int, reason: str, seconds: float) -> dict[str, Any]:
    """Return one change of weight, so many seconds after BEGAN."""
    at = (BEGAN + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return {"weight": weight, "reason": reason, "at": at, "message": ""}


def record(version: str, *steps: dict[str, Any], uid: str = "1", **status: Any) -> dict[str, Any]:
    """Return a ModelRollout as it is read from the API server."""
    return {
        "metadata": {"name": "fraud-0003", "uid": uid},
        "spec": {"to": {"version": version}},
        "status": {"steps": list(steps), **status},
    }


def told(
    outcome: str = "Promoted",
    reason: str = "Promoted",
    evidence: str = "",
    seconds: float = 36.0,
    users: Counts | None = None,
) -> Told:
    """Return what came of version 2, by default what should come of it."""
    users = users if users is not None else Counts(ended=4000)
    return Told("2", "fraud-0002", outcome, reason, evidence, BEGAN, seconds, users)


def not_so(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    """Return claim and finding of what did not come true."""
    return [(finding.claim, finding.found) for finding in findings if not finding.holds]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param((), None, id="nothing happened yet"),
        pytest.param((step(0, "RolloutStarted", 0),), None, id="the candidate is being prepared"),
        pytest.param(
            (step(0, "RolloutStarted", 0), step(10, "CandidateReady", 4), step(50, "Step", 9)),
            BEGAN + timedelta(seconds=4),
            id="the first weight counts, not the next one",
        ),
        pytest.param(
            (step(0, "RolloutStarted", 0), step(0, "FirstRevision", 3)),
            BEGAN + timedelta(seconds=3),
            id="the first revision of all has no canary weight and gets everything",
        ),
    ],
)
def test_users_meet_a_version_from_its_first_weight_on(
    steps: tuple[dict[str, Any], ...], expected: datetime | None
) -> None:
    """The clock starts when requests may reach it, which is never after the first one did."""
    assert exposed_since(record("3", *steps)) == expected


def test_a_rollback_is_told_with_the_verdicts_own_reason() -> None:
    """`AnalysisFailed` would say nothing; the verdict names the signal's reason."""
    breach = {"verdict": "Breach", "reason": "ErrorsHigher"}
    finished = record(
        "3",
        step(10, "CandidateReady", 4),
        outcome="RolledBack",
        reason="AnalysisFailed",
        message=BAD_SENTENCE,
        decision=breach,
    )

    found = tell(finished, BEGAN + timedelta(seconds=10.5), Counts(ended=600, failed={"reset": 1}))

    assert (found.version, found.outcome, found.reason) == ("3", "RolledBack", "ErrorsHigher")
    assert (found.seconds, found.evidence) == (6.5, BAD_SENTENCE)


def test_a_version_that_never_had_traffic_cannot_be_summed_up() -> None:
    """There would be no users to tell of, so no figure is made up."""
    with pytest.raises(ValueError, match="fraud-0003: its version never had weight"):
        tell(record("3", step(0, "RolloutStarted", 0)), BEGAN, Counts())


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(told(), [], id="promoted, nobody noticed"),
        pytest.param(
            told(users=Counts(ended=4000, failed={"http-503": 4})),
            [],
            id="the gateway dropped no more than it may",
        ),
        pytest.param(
            told(users=Counts(ended=4000, failed={"http-503": 3, "reset": 2})),
            [
                (
                    "the gateway dropped at most 0.1 % of the requests meanwhile",
                    "5 of 4,000, http-503: 3, reset: 2",
                )
            ],
            id="the gateway dropped too much",
        ),
        pytest.param(
            told(users=Counts(ended=4000, failed={"http-500": 1})),
            [("no user had a request failed by version 2", "1 of 4,000")],
            id="the model failed once",
        ),
        pytest.param(
            told(users=Counts()),
            [("no user had a request failed by version 2", "0 of 0")],
            id="there were no users, so nothing was shown",
        ),
        pytest.param(
            told(outcome="RolledBack", reason="LatencyHigher"),
            [("version 2 was promoted", "RolledBack: LatencyHigher")],
            id="a good version was rolled back",
        ),
    ],
)
def test_a_promotion_costs_no_user_a_request(
    found: Told, expected: Sequence[tuple[str, str]]
) -> None:
    """What fails is named, with the client's numbers."""
    assert not_so(check_promoted(found)) == expected


ROLLED_BACK = {"outcome": "RolledBack", "reason": "ErrorsHigher", "evidence": BAD_SENTENCE}
FAILURES = Counts(ended=700, failed={"http-500": 3})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(told(**ROLLED_BACK, seconds=2.6, users=FAILURES), [], id="as promised"),
        pytest.param(
            told(**ROLLED_BACK, seconds=61.0, users=FAILURES),
            [("less than 60 s after its first request", "61.0 s")],
            id="too late",
        ),
        pytest.param(
            told("RolledBack", "LatencyHigher", "canary took over 0.25 s", 2.6, FAILURES),
            [("for failed requests, not for anything else", "LatencyHigher")],
            id="for another reason",
        ),
        pytest.param(
            told(**ROLLED_BACK, seconds=2.6, users=Counts(ended=700)),
            [("the client counted failures too, so they were real", "0 of 700")],
            id="the operator saw failures that no user had",
        ),
        pytest.param(
            told(seconds=40.0, users=FAILURES),
            [
                ("version 2 was rolled back", "Promoted"),
                ("for failed requests, not for anything else", "Promoted"),
            ],
            id="a bad version was promoted",
        ),
    ],
)
def test_a_bad_version_goes_back_soon_and_for_its_failures(
    found: Told, expected: Sequence[tuple[str, str]]
) -> None:
    """Each part of the promise is judged by itself."""
    assert not_so(check_rolled_back(found)) == expected


@pytest.mark.parametrize(
    ("after", "users", "expected"),
    [
        pytest.param(
            {"rolloutNumber": 3, "phase": "RolledBack", "stable": {"version": "2"}},
            Counts(ended=900),
            [],
            id="left alone",
        ),
        pytest.param(
            {
                "rolloutNumber": 4,
                "phase": "Preparing",
                "stable": {"version": "2"},
                "canary": {"version": "3"},
            },
            Counts(ended=900),
            [
                ("no further rollout began", "number 4 after 3"),
                ("the version before it has all requests", "version 2, phase Preparing"),
            ],
            id="tried again",
        ),
        pytest.param(
            {"rolloutNumber": 3, "phase": "RolledBack", "stable": {"version": "2"}},
            Counts(ended=900, failed={"http-500": 1}),
            [("no request failed in that time", "1 of 900, http-500: 1")],
            id="somebody still meets the rejected version",
        ),
    ],
)
def test_a_rejected_commit_is_not_tried_again(
    after: dict[str, Any], users: Counts, expected: Sequence[tuple[str, str]]
) -> None:
    """Neither the status nor any user may notice a re-sync."""
    assert not_so(check_left_alone({"rolloutNumber": 3}, after, users)) == expected


EARLY = record("4", step(0, "RolloutStarted", 0), step(10, "CandidateReady", 4))


@pytest.mark.parametrize(
    ("after", "pids", "expected"),
    [
        pytest.param((0, 10, 50, 100, 0), (318, 1137), [], id="went on"),
        pytest.param(
            (0, 10, 50, 100, 0),
            (318, 318),
            ["another operator process is at work"],
            id="nobody was killed",
        ),
        pytest.param(
            (0, 10, 0, 10, 50, 100, 0),
            (318, 1137),
            ["no step was taken twice"],
            id="began from the start",
        ),
    ],
)
def test_a_killed_operator_goes_on_where_it_was(
    after: tuple[int, ...], pids: tuple[int, int], expected: list[str]
) -> None:
    """The next process takes no step again that the first one took."""
    steps = [step(weight, "", 4.0 * place) for place, weight in enumerate(after)]

    findings = check_continued(EARLY, record("4", *steps), *pids)

    assert [claim for claim, _ in not_so(findings)] == expected


def test_another_rollout_is_not_the_one_that_was_under_way() -> None:
    """A record of the same name is another one if it was made anew."""
    findings = check_continued(EARLY, record("4", *EARLY["status"]["steps"], uid="2"), 1, 2)

    assert not_so(findings) == [("it went on with the rollout that it found", "fraud-0003")]


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        pytest.param(
            Counts(ended=4103),
            "Users sent 4,103 requests meanwhile and got 4,103 predictions.",
            id="nobody noticed",
        ),
        pytest.param(
            Counts(ended=693, failed={"http-503": 1, "http-500": 2}),
            "Users sent 693 requests meanwhile; 3 failed (0.43 %, http-500: 2, http-503: 1).",
            id="failures are shared out and named",
        ),
    ],
)
def test_users_are_described_by_what_they_got(users: Counts, expected: str) -> None:
    """One sentence with the client's numbers."""
    assert describe_users(users) == expected


def test_the_last_line_is_for_machines() -> None:
    """It is one line of JSON with a row a version, in the order of the story."""
    bad = told(**ROLLED_BACK, seconds=2.64, users=FAILURES)

    line = render_result(179.51, {"world": 22.04}, [bad], [Finding("all went well", True, "")], "")

    assert "\n" not in line
    assert json.loads(line) == {
        "ok": True,
        "seconds": 179.5,
        "versions": [
            {
                "version": "2",
                "outcome": "RolledBack",
                "seconds_from_first_canary_request": 2.6,
                "requests": 700,
                "failed": 3,
                "failed_by_kind": {"http-500": 3},
                "reason": "ErrorsHigher",
                "evidence": BAD_SENTENCE,
            }
        ],
        "stages": {"world": 22.0},
        "not_as_told": [],
    }


@pytest.mark.parametrize(
    ("findings", "error", "expected"),
    [
        pytest.param(
            [Finding("a", True, ""), Finding("b", False, "")],
            "",
            {"ok": False, "not_as_told": ["b"]},
            id="an expectation was not met",
        ),
        pytest.param(
            [Finding("a", True, "")],
            "git push: refused",
            {"ok": False, "not_as_told": [], "error": "git push: refused"},
            id="the story broke off",
        ),
    ],
)
def test_a_story_that_went_otherwise_is_not_ok(
    findings: list[Finding], error: str, expected: dict[str, Any]
) -> None:
    """The line names what was not so."""
    result = json.loads(render_result(1.0, {}, [], findings, error))

    assert {key: result[key] for key in expected} == expected
