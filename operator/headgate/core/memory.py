"""The memory of a ModelDeployment: its state to and from `status`.

Owns which fields of `status` carry what the next decision needs. Must not know conditions or
texts, nor how status is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from headgate.core.lifecycle import Phase, Reason, Rejection, Revision, State
from headgate.core.wording import plain

Weights = tuple[tuple[str, int], ...]
"""Revision hash and integer percent, in the order of the route's backends."""


@dataclass(frozen=True, slots=True)
class RouteMemory:
    """The route as it was last found in force.

    `verified_at` is when this generation with these weights was first seen taken up by the
    gateway; evidence counts from there. None while that is still waited for.
    """

    name: str
    generation: int
    weights: Weights
    verified_at: datetime | None
    first_since: datetime | None = None
    """Since when the first backend is the revision it is: its counters before were another's."""


@dataclass(frozen=True, slots=True)
class Memory:
    """All that is remembered between two passes."""

    state: State
    route: RouteMemory | None


def rollout_name(deployment: str, number: int) -> str:
    """Return the name of a deployment's rollout of this number: `fraud-0007`."""
    return f"{deployment}-{number:04d}"


def read_memory(status: Mapping[str, Any], retry: str, now: datetime) -> Memory:
    """Read what an earlier pass stored; an object without a phase starts with nothing.

    What a hand or another version left out has its default, moments `now`. Raises ValueError for a
    phase that does not exist: then nothing is known, and nothing may be done.

    `retry` is the value in the spec: the first pass takes it as already acted on.
    """
    if "phase" not in status:
        return Memory(State(Phase.PENDING, now, retry=retry), None)
    canary = status.get("canary") or {}
    stable = status.get("stable") or {}
    commands = status.get("commands") or {}
    state = State(
        phase=Phase(status["phase"]),
        phase_since=_optional_moment(status.get("phaseSince")) or now,
        reason=_reason(status.get("reason")),
        message=status.get("message", ""),
        stable=_revision(stable),
        proven=bool(stable.get("proven", False)),
        canary=_revision(canary),
        step=int(canary.get("step", 0)),
        losses=int(canary.get("losses", 0)),
        first_weight=canary.get("firstWeight"),
        returning=bool(canary.get("returning", False)),
        last_proven=_revision(status.get("lastProven") or {}),
        scheduled_at=_optional_moment(canary.get("scheduledAt")),
        progressing_since=_optional_moment(canary.get("progressingSince")),
        stable_down_since=_optional_moment(stable.get("notReadySince")),
        rejected=tuple(_rejection(r) for r in status.get("rejected", ())),
        number=int(status.get("rolloutNumber", 0)),
        retry=status.get("retry", ""),
        retry_followed=commands.get("retry", ""),
        promote_spent=commands.get("promote", ""),
    )
    return Memory(state, _route(status.get("route")))


def render_memory(memory: Memory, deployment: str) -> dict[str, Any]:
    """Render the fields of `status` that `read_memory` reads; absent ones are left out."""
    state, route = memory.state, memory.route
    weights = dict(route.weights) if route else {}
    rendered = {
        "phase": state.phase.value,
        "phaseSince": render_moment(state.phase_since),
        "reason": state.reason.value,
        "message": plain(state.message),
        "stable": _rendered_stable(state, weights),
        "canary": _rendered_canary(state, weights),
        "rejected": [_rendered_rejection(r, deployment) for r in state.rejected],
        "lastProven": render_reference(state.last_proven) if state.last_proven else None,
        "rollout": rollout_name(deployment, state.number) if state.number else None,
        "rolloutNumber": state.number,
        "retry": state.retry,
        "commands": _rendered_commands(state),
        "route": _rendered_route(route) if route else None,
    }
    return {key: value for key, value in rendered.items() if value is not None}


def render_moment(moment: datetime) -> str:
    """Render a moment as Kubernetes does, with microseconds so that nothing is lost."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_moment(text: object) -> datetime | None:
    """Read a moment as Kubernetes writes it, in UTC; None for anything else, or without a zone."""
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return found.astimezone(UTC) if found is not None and found.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _optional_moment(text: str | None) -> datetime | None:
    return _moment(text) if text else None


def _reason(text: str | None) -> Reason:
    # A reason is output: one that another version wrote must not end every pass.
    return Reason(text) if text in set(Reason) else Reason.NOT_STARTED


def _revision(entry: Mapping[str, Any]) -> Revision | None:
    if not entry:
        return None
    return Revision(entry["revision"], entry["hash"], entry["version"])


def _rejection(entry: Mapping[str, Any]) -> Rejection:
    return Rejection(
        hash=entry["hash"],
        version=entry["version"],
        reason=entry["reason"],
        rollout=int(entry["rollout"].rpartition("-")[2]),
        at=_moment(entry["at"]),
        by=entry.get("by", ""),
    )


def _route(entry: Mapping[str, Any] | None) -> RouteMemory | None:
    if not entry:
        return None
    weights = tuple((w["hash"], int(w["weight"])) for w in entry.get("weights", ()))
    verified_at = _optional_moment(entry.get("verifiedAt"))
    first_since = _optional_moment(entry.get("firstSince"))
    return RouteMemory(entry["name"], int(entry["generation"]), weights, verified_at, first_since)


def remember_route(
    before: RouteMemory | None,
    name: str,
    generation: int,
    weights: Weights,
    verified_at: datetime | None,
) -> RouteMemory:
    """Return the memory of a route as it is now, with what is still true of the one before."""
    first = weights[0][0] if weights else None
    same = before is not None and bool(before.weights) and before.weights[0][0] == first
    first_since = before.first_since if same and before else None
    return RouteMemory(name, generation, weights, verified_at, first_since or verified_at)


def _rendered_revision(revision: Revision, weights: Mapping[str, int]) -> dict[str, Any]:
    return {**render_reference(revision), "weight": weights.get(revision.hash, 0)}


def render_reference(revision: Revision) -> dict[str, str]:
    """Render a revision as status and records name it."""
    return {"revision": revision.name, "hash": revision.hash, "version": revision.version}


def _rendered_stable(state: State, weights: Mapping[str, int]) -> dict[str, Any] | None:
    if state.stable is None:
        return None
    entry = {**_rendered_revision(state.stable, weights), "proven": state.proven}
    if state.stable_down_since:
        entry["notReadySince"] = render_moment(state.stable_down_since)
    return entry


def _rendered_canary(state: State, weights: Mapping[str, int]) -> dict[str, Any] | None:
    if state.canary is None:
        return None
    entry = {**_rendered_revision(state.canary, weights), "step": state.step}
    if state.losses:
        entry["losses"] = state.losses
    if state.first_weight is not None:
        entry["firstWeight"] = state.first_weight
    if state.returning:
        entry["returning"] = True
    if state.scheduled_at:
        entry["scheduledAt"] = render_moment(state.scheduled_at)
    if state.progressing_since:
        entry["progressingSince"] = render_moment(state.progressing_since)
    return entry


def _rendered_rejection(rejection: Rejection, deployment: str) -> dict[str, Any]:
    entry = {
        "hash": rejection.hash,
        "version": rejection.version,
        "reason": rejection.reason,
        "rollout": rollout_name(deployment, rejection.rollout),
        "at": render_moment(rejection.at),
    }
    return {**entry, "by": rejection.by} if rejection.by else entry


def _rendered_commands(state: State) -> dict[str, Any] | None:
    followed = {"retry": state.retry_followed, "promote": state.promote_spent}
    return {verb: value for verb, value in followed.items() if value} or None


def _rendered_route(route: RouteMemory) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": route.name,
        "generation": route.generation,
        "weights": [{"hash": h, "weight": w} for h, w in route.weights],
    }
    if route.verified_at:
        entry["verifiedAt"] = render_moment(route.verified_at)
    if route.first_since:
        entry["firstSince"] = render_moment(route.first_since)
    return entry
