"""What the world is told: conditions of a ModelDeployment.

Owns which conditions there are, their order, reasons and texts. Must not know how they are
written. The order matters: kstatus (Flux, `kubectl wait`, Argo CD) takes the first that is True.
Messages change on transitions only, never with every look, so that status is not churned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headgate.core.analysis import Analysis, Inconclusive
from headgate.core.analysis import Reason as Evidenced
from headgate.core.lifecycle import Desired, Health, Phase, Restraint, State
from headgate.core.memory import render_moment
from headgate.core.wording import plain


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a spec cannot be acted upon: the field, what it should be and what it is.

    `reason` is `InvalidSpec`, `NotFound` or `Conflict`.
    """

    reason: str
    field: str
    wanted: str
    found: str

    @property
    def message(self) -> str:
        return f"{self.field}: wanted {self.wanted}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something watched is as it should be (None: not known), why, and in a sentence."""

    holds: bool | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What the conditions are made from.

    `objection` is None for a spec that is acted upon; `desired` None if nothing can be wanted yet;
    `route_problem` is what the gateway says against the route ("" for nothing). `budget` and
    `inputs` say what is found against error budget and inputs; None where that is not watched.
    `commands` is what becomes of people's commands; None where there are none.
    `untracked` says what is no part of the revision though the spec names it ("" for nothing).
    """

    generation: int
    objection: Objection | None
    desired: Desired | None
    state: State
    stable: Health
    canary: Health
    verified: bool
    route_problem: str
    analysis: Analysis | None
    now: datetime
    restraint: Restraint | None = None
    budget: Finding | None = None
    inputs: Finding | None = None
    commands: Finding | None = None
    untracked: str = ""


_NOT_FLOWING: Mapping[Evidenced, str] = {
    Evidenced.NO_TRAFFIC: "the canary has not answered a request that was counted",
    Evidenced.EVIDENCE_STALE: "the last scrape of the gateway is too old to decide by",
    Evidenced.METRICS_UNAVAILABLE: "the metrics could not be read",
}


def render_conditions(seen: Seen, previous: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Render all conditions in order; one that did not change keeps its transition time."""
    found = (
        _stalled(seen),
        _reconciling(seen),
        _ready(seen),
        _rolled_out(seen),
        _accepted(seen),
        _canary_ready(seen),
        _traffic_verified(seen),
        _evidence_flowing(seen),
        _found("BudgetAvailable", seen.budget),
        _found("InputsMatchReference", seen.inputs),
        _found("CommandAccepted", seen.commands),
    )
    before = {c["type"]: c for c in previous}
    return [_stamped(c, before.get(c["type"]), seen) for c in found if c is not None]


def _stamped(
    condition: dict[str, Any], before: Mapping[str, Any] | None, seen: Seen
) -> dict[str, Any]:
    same = before is not None and before["status"] == condition["status"]
    at = before["lastTransitionTime"] if same and before else render_moment(seen.now)
    return {**condition, "observedGeneration": seen.generation, "lastTransitionTime": at}


def _condition(type: str, holds: bool | None, reason: str, message: str) -> dict[str, Any]:
    status = "Unknown" if holds is None else str(holds)
    return {"type": type, "status": status, "reason": reason, "message": plain(message)}


def _found(type: str, finding: Finding | None) -> dict[str, Any] | None:
    if finding is None:
        return None
    return _condition(type, finding.holds, finding.reason, finding.message)


def _stalled(seen: Seen) -> dict[str, Any]:
    if seen.objection is not None:
        return _condition("Stalled", True, seen.objection.reason, seen.objection.message)
    if seen.state.phase is Phase.ROLLED_BACK:
        return _condition("Stalled", True, "RolledBack", seen.state.message)
    if seen.state.phase is Phase.DEGRADED and seen.state.canary is None:
        return _condition("Stalled", True, seen.state.reason.value, seen.state.message)
    return _condition("Stalled", False, "NotStalled", "")


def _reconciling(seen: Seen) -> dict[str, Any]:
    if seen.objection is None and seen.state.stable is None:
        return _condition("Reconciling", True, "NothingServesYet", "no revision serves yet")
    return _condition("Reconciling", False, "Settled", "")


def _ready(seen: Seen) -> dict[str, Any]:
    stable = seen.state.stable
    if stable is None:
        return _condition("Ready", False, "NothingServesYet", "no revision serves yet")
    if seen.stable.serving:
        return _condition("Ready", True, "Serving", f"version {stable.version} serves")
    if seen.state.phase is Phase.BAKING and seen.canary.serving and seen.state.canary:
        canary = seen.state.canary
        return _condition("Ready", True, "CanaryServing", f"version {canary.version} serves")
    problem = f": {seen.stable.problem}" if seen.stable.problem else ""
    message = f"version {stable.version} has no ready endpoint{problem}"
    return _condition("Ready", False, "StableNotReady", message)


def _rolled_out(seen: Seen) -> dict[str, Any]:
    state, desired = seen.state, seen.desired
    if desired is None:
        return _condition("RolledOut", None, "SpecNotAccepted", "the spec was not accepted")
    in_place = state.stable is not None and state.stable.hash == desired.revision.hash
    if in_place and state.canary is None:
        message = f"version {desired.revision.version} is the stable one"
        return _condition("RolledOut", True, "RolledOut", message)
    # A rejection that was lifted is over, though nothing has started yet.
    waits = state.canary is None and state.rejection_of(desired.revision.hash) is None
    if desired.hold and waits:
        return _condition("RolledOut", False, "Paused", desired.hold)
    held = seen.restraint if seen.restraint is not None and seen.restraint.starts else None
    if held is not None and waits:
        return _condition("RolledOut", False, held.reason, held.message)
    return _condition("RolledOut", False, state.phase.value, state.message)


def _accepted(seen: Seen) -> dict[str, Any]:
    if seen.objection is None:
        return _condition("Accepted", True, "Accepted", seen.untracked)
    return _condition("Accepted", False, seen.objection.reason, seen.objection.message)


def _canary_ready(seen: Seen) -> dict[str, Any] | None:
    canary = seen.state.canary
    if canary is None:
        return None
    if seen.canary.ready:
        return _condition("CanaryReady", True, "Ready", f"version {canary.version} is ready")
    if seen.canary.unschedulable:
        return _condition("CanaryReady", False, "CapacityUnavailable", seen.canary.unschedulable)
    if seen.canary.problem:
        return _condition("CanaryReady", False, "CandidateNotReady", seen.canary.problem)
    waiting = "its probe was not answered" if seen.canary.available else "its pods are starting"
    return _condition("CanaryReady", False, "CandidateNotReadyYet", waiting)


def _traffic_verified(seen: Seen) -> dict[str, Any] | None:
    if seen.state.stable is None:
        return None
    if seen.verified:
        return _condition("TrafficVerified", True, "Verified", "the gateway has taken up the route")
    if seen.route_problem:
        return _condition("TrafficVerified", False, "RouteRefused", seen.route_problem)
    if not seen.stable.serving:
        message = f"version {seen.state.stable.version} has no ready endpoint"
        return _condition("TrafficVerified", False, "StableNotReady", message)
    message = "the gateway has not confirmed the route yet"
    return _condition("TrafficVerified", False, "TrafficNotVerified", message)


def _evidence_flowing(seen: Seen) -> dict[str, Any] | None:
    if seen.analysis is None:
        return None
    match seen.analysis.verdict:
        case Inconclusive(reason=reason) if reason in _NOT_FLOWING:
            return _condition("EvidenceFlowing", False, reason.value, _NOT_FLOWING[reason])
    return _condition("EvidenceFlowing", True, "Flowing", "requests of the canary are counted")
