"""
A pod's status as a kubelet writes it: phase, conditions, container states.

A pure function of what the containers do. Owns every reason and message a user reads in a pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sandbox.kube import Json


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running, and why."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """The process lives."""

    since: datetime
    process_id: int


@dataclass(frozen=True, slots=True)
class Terminated:
    """The process ended; `exit_code` is 128 + n after signal n."""

    exit_code: int
    started_at: datetime
    finished_at: datetime
    message: str = ""

    @property
    def reason(self) -> str:
        """What a kubelet calls this end."""
        return "Error" if self.exit_code else "Completed"


@dataclass(frozen=True, slots=True)
class View:
    """
    One container, as its status shows it.

    Attributes:
        last: How it ended the time before; None when it has not ended before.
        is_started: It has passed its startup probe, or has none and runs.
        is_ready: It has passed its readiness probe, or has none and is started.
        is_sidecar: An init container that runs beside the others.
    """

    name: str
    image: str
    state: Waiting | Running | Terminated
    last: Terminated | None = None
    restarts: int = 0
    is_started: bool = False
    is_ready: bool = False
    is_sidecar: bool = False


@dataclass(frozen=True, slots=True)
class PodView:
    """All of a pod that its status is made of."""

    init: tuple[View, ...]
    main: tuple[View, ...]
    pod_ip: str
    host_ip: str
    started_at: datetime


def render_time(moment: datetime) -> str:
    """Return a moment as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_time(text: str) -> datetime:
    """Return the moment of a Kubernetes timestamp."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def read_termination(state: Json) -> Terminated:
    """Return a container's end from its status."""
    return Terminated(
        state["exitCode"],
        read_time(state["startedAt"]),
        read_time(state["finishedAt"]),
        state.get("message", ""),
    )


def render_status(pod: Json, view: PodView, now: datetime) -> Json:
    """
    Return the status for a strategic merge patch.

    `pod` is the object as last heard: it has the restart policy and the conditions whose
    transition times are kept.
    """
    ips = [{"ip": view.pod_ip}] if view.pod_ip else []
    status: Json = {
        "observedGeneration": pod["metadata"].get("generation", 1),
        "phase": phase_of(view, pod["spec"].get("restartPolicy", "Always")),
        "hostIP": view.host_ip,
        "hostIPs": [{"ip": view.host_ip}],
        "startTime": render_time(view.started_at),
        "conditions": _conditions(pod, view, now),
        "containerStatuses": [_render_view(entry) for entry in view.main],
    }
    if ips:
        status |= {"podIP": view.pod_ip, "podIPs": ips}
    if view.init:
        # An init container counts as ready when it is done.
        status["initContainerStatuses"] = [
            _render_view(entry if entry.is_sidecar else replace(entry, is_ready=_is_done(entry)))
            for entry in view.init
        ]
    return status


def phase_of(view: PodView, restart_policy: str) -> str:
    """Return the phase by the rules of the kubelet's getPhase."""
    if any(_has_failed(entry) for entry in view.init) and restart_policy == "Never":
        return "Failed"
    is_waiting = any(isinstance(c.state, Waiting) and c.last is None for c in view.main)
    if not _is_initialized(view) or is_waiting:
        return "Pending"
    ended = [c.state for c in view.main if isinstance(c.state, Terminated)]
    if len(ended) < len(view.main) or restart_policy == "Always":
        return "Running"
    if all(state.exit_code == 0 for state in ended):
        return "Succeeded"
    return "Failed" if restart_policy == "Never" else "Running"


def _has_failed(entry: View) -> bool:
    return isinstance(entry.state, Terminated) and entry.state.exit_code != 0


def _is_done(entry: View) -> bool:
    if entry.is_sidecar:
        return entry.is_started
    return isinstance(entry.state, Terminated) and entry.state.exit_code == 0


def _is_initialized(view: PodView) -> bool:
    return all(_is_done(entry) for entry in view.init)


def _conditions(pod: Json, view: PodView, now: datetime) -> list[Json]:
    before = {entry["type"]: entry for entry in pod.get("status", {}).get("conditions") or ()}
    phase = phase_of(view, pod["spec"].get("restartPolicy", "Always"))
    not_initialized = [entry.name for entry in view.init if not _is_done(entry)]
    serving = (*(entry for entry in view.init if entry.is_sidecar), *view.main)
    not_ready = [entry.name for entry in serving if not entry.is_ready]
    readiness = _readiness(phase, not_ready)
    initialized: tuple[bool, str, str] = (True, "", "")
    if not_initialized:
        message = f"containers with incomplete status: [{' '.join(not_initialized)}]"
        initialized = (False, "ContainersNotInitialized", message)
    found = {
        "PodReadyToStartContainers": (bool(view.pod_ip), "", ""),
        "Initialized": initialized,
        "Ready": _with_gates(pod, before, readiness),
        "ContainersReady": readiness,
    }
    rendered = []
    for kind, (status, reason, message) in found.items():
        text = "True" if status else "False"
        old = before.get(kind, {})
        since = old["lastTransitionTime"] if old.get("status") == text else render_time(now)
        # Nulls, so that a merge patch takes away the reason of a False that is over.
        rendered.append(
            {
                "type": kind,
                "status": text,
                "reason": reason or None,
                "message": message or None,
                "lastTransitionTime": since,
                "observedGeneration": pod["metadata"].get("generation", 1),
            }
        )
    return rendered


def _readiness(phase: str, not_ready: Sequence[str]) -> tuple[bool, str, str]:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    if not_ready:
        message = f"containers with unready status: [{' '.join(not_ready)}]"
        return False, "ContainersNotReady", message
    return True, "", ""


def _with_gates(
    pod: Json, before: Mapping[str, Json], readiness: tuple[bool, str, str]
) -> tuple[bool, str, str]:
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    shut = [gate for gate in gates if before.get(gate, {}).get("status") != "True"]
    if readiness[0] and shut:
        message = f'the status of pod readiness gate "{shut[0]}" is not "True"'
        return False, "ReadinessGatesNotReady", message
    return readiness


def _render_view(entry: View) -> Json:
    rendered: Json = {
        "name": entry.name,
        "image": entry.image,
        "imageID": "" if isinstance(entry.state, Waiting) else f"local://{entry.image}",
        "state": _render_state(entry.state),
        "lastState": _render_state(entry.last) if entry.last else {},
        "ready": entry.is_ready,
        "started": entry.is_started,
        "restartCount": entry.restarts,
    }
    if isinstance(entry.state, Running):
        rendered["containerID"] = f"process://{entry.state.process_id}"
    return rendered


def _render_state(state: Waiting | Running | Terminated) -> Json:
    match state:
        case Waiting():
            waiting = {"reason": state.reason}
            return {"waiting": waiting | ({"message": state.message} if state.message else {})}
        case Running():
            return {"running": {"startedAt": render_time(state.since)}}
        case Terminated():
            ended: Json = {
                "exitCode": state.exit_code,
                "reason": state.reason,
                "startedAt": render_time(state.started_at),
                "finishedAt": render_time(state.finished_at),
            }
            if state.exit_code > 128:
                ended["signal"] = state.exit_code - 128
            return {"terminated": ended | ({"message": state.message} if state.message else {})}
