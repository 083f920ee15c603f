"""What kstatus, Argo CD and people are told: order, truth and texts of the conditions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headgate.core.analysis import Analysis, Inconclusive, Pass
from headgate.core.analysis import Reason as Evidenced
from headgate.core.conditions import Objection, Seen, render_conditions
from headgate.core.lifecycle import Desired, Health, Phase, Reason, Revision, State

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ONE, TWO = Revision("fraud-1", "1" * 8, "1"), Revision("fraud-2", "2" * 8, "2")
READY = Health(serving=True, available=True)
PASSED = Analysis(Pass("good", 10), (), NOW)
CANARY = State(Phase.PROGRESSING, NOW, Reason.CANDIDATE_READY, "it gets 10 %", ONE, True, TWO)
STABLE = replace(CANARY, phase=Phase.STABLE, canary=None, stable=TWO)


def seen(state: State, **changes: Any) -> Seen:
    """Return what is seen when all is well and version 2 is wanted."""
    base = Seen(
        generation=3,
        objection=None,
        desired=Desired(TWO, "", ""),
        state=state,
        stable=READY,
        canary=READY,
        verified=True,
        route_problem="",
        analysis=None,
        now=NOW,
    )
    return replace(base, **changes)


def told(given: Seen) -> dict[str, tuple[str, str, str]]:
    """Status, reason and message by type."""
    return {
        c["type"]: (c["status"], c["reason"], c["message"]) for c in render_conditions(given, ())
    }


def test_order_is_what_kstatus_needs() -> None:
    """The first True decides, so failure comes before progress and progress before readiness."""
    order = [c["type"] for c in render_conditions(seen(CANARY, analysis=PASSED), ())]

    assert order == [
        "Stalled",
        "Reconciling",
        "Ready",
        "RolledOut",
        "Accepted",
        "CanaryReady",
        "TrafficVerified",
        "EvidenceFlowing",
    ]


OBJECTION = Objection("NotFound", "spec.traffic.gateway.name", "Gateway a/b", "none")
FIRST = State(Phase.PREPARING, NOW, canary=TWO)
BACK = replace(
    CANARY, phase=Phase.ROLLED_BACK, canary=None, message="canary failed 9 of 10 requests"
)


@pytest.mark.parametrize(
    ("given", "type", "expected"),
    [
        pytest.param(
            seen(CANARY),
            "Ready",
            ("True", "Serving", "version 1 serves"),
            id="a canary does not make the deployment unready",
        ),
        pytest.param(
            seen(CANARY),
            "RolledOut",
            ("False", "Progressing", "it gets 10 %"),
            id="a canary is not rolled out",
        ),
        pytest.param(
            seen(STABLE),
            "RolledOut",
            ("True", "RolledOut", "version 2 is the stable one"),
            id="rolled out once the spec's revision is the stable one",
        ),
        pytest.param(
            seen(BACK),
            "Stalled",
            ("True", "RolledBack", "canary failed 9 of 10 requests"),
            id="a rollback stalls, with its sentence",
        ),
        pytest.param(
            seen(BACK), "Ready", ("True", "Serving", "version 1 serves"), id="and stable serves"
        ),
        pytest.param(
            seen(FIRST, stable=Health(), canary=Health(), verified=False),
            "Reconciling",
            ("True", "NothingServesYet", "no revision serves yet"),
            id="reconciling while nothing serves yet",
        ),
        pytest.param(
            seen(CANARY),
            "Reconciling",
            ("False", "Settled", ""),
            id="not reconciling in a canary, or a long one would fail Flux's timeout",
        ),
        pytest.param(
            seen(CANARY, objection=OBJECTION, desired=None),
            "Accepted",
            (
                "False",
                "NotFound",
                "spec.traffic.gateway.name: wanted Gateway a/b, found none",
            ),
            id="an objection names field, wanted and found",
        ),
        pytest.param(
            seen(CANARY, objection=OBJECTION, desired=None),
            "RolledOut",
            ("Unknown", "SpecNotAccepted", "the spec was not accepted"),
            id="what is not accepted cannot be rolled out",
        ),
        pytest.param(
            seen(CANARY, stable=Health(problem="container x: OOMKilled")),
            "Ready",
            ("False", "StableNotReady", "version 1 has no ready endpoint: container x: OOMKilled"),
            id="a stable without endpoints is not ready, in the platform's words",
        ),
        pytest.param(
            seen(FIRST, canary=Health(unschedulable="0/2 nodes have nvidia.com/gpu")),
            "CanaryReady",
            ("False", "CapacityUnavailable", "0/2 nodes have nvidia.com/gpu"),
            id="no node is not the model's fault",
        ),
        pytest.param(
            seen(FIRST, canary=replace(READY, answered=False)),
            "CanaryReady",
            ("False", "CandidateNotReadyYet", "its probe was not answered"),
            id="ready pods whose probe fails",
        ),
        pytest.param(
            seen(CANARY, verified=False, route_problem="HTTPRoute fraud: BackendNotFound: x"),
            "TrafficVerified",
            ("False", "RouteRefused", "HTTPRoute fraud: BackendNotFound: x"),
            id="what the gateway says against the route",
        ),
        pytest.param(
            seen(
                CANARY,
                analysis=Analysis(
                    Inconclusive(Evidenced.METRICS_UNAVAILABLE, "POST …: timeout", None), (), None
                ),
            ),
            "EvidenceFlowing",
            ("False", "MetricsUnavailable", "the metrics could not be read"),
            id="silence of the metrics is said",
        ),
        pytest.param(
            seen(
                replace(BACK, stable=ONE), desired=Desired(TWO, "spec.rollout.paused is true", "")
            ),
            "RolledOut",
            ("False", "Paused", "spec.rollout.paused is true"),
            id="what may be tried again is held, and not rolled back any more",
        ),
        pytest.param(
            seen(
                replace(STABLE, stable=ONE), desired=Desired(TWO, "spec.rollout.paused is true", "")
            ),
            "RolledOut",
            ("False", "Paused", "spec.rollout.paused is true"),
            id="a paused start",
        ),
    ],
)
def test_condition(given: Seen, type: str, expected: tuple[str, str, str]) -> None:
    """Each row: what is seen, and status, reason and message of one condition."""
    assert told(given)[type] == expected


def test_transition_time_moves_only_with_the_status() -> None:
    """A new message is no transition."""
    first = render_conditions(seen(CANARY), ())
    later = seen(replace(CANARY, message="it gets 50 %"), now=NOW + timedelta(hours=1))

    second = render_conditions(later, first)

    assert [c["lastTransitionTime"] for c in second] == [c["lastTransitionTime"] for c in first]
    assert second != first


def test_text_from_outside_cannot_break_the_status() -> None:
    """The API server refuses a whole status over one control character."""
    problem = "container x: \x1b[31mTraceback\n\x00" + "a" * 5000

    message = told(seen(FIRST, canary=Health(problem=problem)))["CanaryReady"][2]

    assert message.startswith("container x: [31mTraceback aaa")
    assert len(message) == 1024
