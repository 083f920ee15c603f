"""A pod's status says what a kubelet would say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.podstatus import PodView, Running, Terminated, View, Waiting, phase_of, render_status

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
UP = Running(NOW, 7)
DONE = Terminated(0, NOW, NOW)
CRASHED = Terminated(1, NOW, NOW)
CREATING = Waiting("ContainerCreating")
BACKING_OFF = Waiting("CrashLoopBackOff")


def view(state: Waiting | Running | Terminated, **more: Any) -> View:
    return View("c", "sandbox/python:1", state, **more)


def pod_view(*main: View, init: tuple[View, ...] = ()) -> PodView:
    return PodView(init, main, "10.244.0.3", "127.0.0.1", NOW)


def conditions(view: PodView, **pod: Any) -> dict[str, Json]:
    whole = {"metadata": {"generation": 1}, "spec": {"restartPolicy": "Always"}, **pod}
    status = render_status(whole, view, NOW + timedelta(minutes=1))
    return {entry["type"]: entry for entry in status["conditions"]}


@pytest.mark.parametrize(
    ("policy", "view", "phase"),
    [
        pytest.param("Always", pod_view(view(CREATING)), "Pending", id="not yet started"),
        pytest.param("Always", pod_view(view(UP)), "Running", id="running"),
        pytest.param(
            "Always",
            pod_view(view(BACKING_OFF, last=CRASHED)),
            "Running",
            id="waiting after a crash is still Running",
        ),
        pytest.param("Always", pod_view(view(CRASHED)), "Running", id="about to be restarted"),
        pytest.param("Never", pod_view(view(DONE), view(DONE)), "Succeeded", id="all done"),
        pytest.param("Never", pod_view(view(DONE), view(CRASHED)), "Failed", id="one failed"),
        pytest.param("Never", pod_view(view(DONE), view(UP)), "Running", id="one still runs"),
        pytest.param(
            "Always",
            pod_view(view(CREATING), init=(view(CRASHED),)),
            "Pending",
            id="an init container failed and is tried again",
        ),
        pytest.param(
            "Never",
            pod_view(view(CREATING), init=(view(CRASHED),)),
            "Failed",
            id="an init container failed for good",
        ),
    ],
)
def test_phases(policy: str, view: PodView, phase: str) -> None:
    """The phase follows the kubelet's rules."""
    assert phase_of(view, policy) == phase


def test_conditions_of_a_pod_that_initializes() -> None:
    """While init containers run, their names are in the condition, and nothing is ready."""
    found = conditions(pod_view(view(CREATING), init=(view(UP),)))
    assert found["Initialized"]["status"] == "False"
    assert found["Initialized"]["reason"] == "ContainersNotInitialized"
    assert found["Initialized"]["message"] == "containers with incomplete status: [c]"
    assert found["Ready"]["status"] == "False"


def test_a_ready_pod_is_ready_without_a_reason() -> None:
    """A reason of an earlier False is taken away by the patch."""
    ready = conditions(pod_view(view(UP, is_ready=True)))["Ready"]
    assert (ready["status"], ready["reason"], ready["message"]) == ("True", None, None)


def test_a_pod_with_an_unready_container_names_it() -> None:
    """Ready and ContainersReady are False together."""
    found = conditions(pod_view(view(UP)))
    assert found["Ready"]["reason"] == found["ContainersReady"]["reason"] == "ContainersNotReady"
    assert found["Ready"]["message"] == "containers with unready status: [c]"


def test_a_readiness_gate_holds_back_ready_alone() -> None:
    """With a gate that is not open the containers are ready and the pod is not."""
    spec = {"restartPolicy": "Always", "readinessGates": [{"conditionType": "gate"}]}
    found = conditions(pod_view(view(UP, is_ready=True)), spec=spec)
    assert found["ContainersReady"]["status"] == "True"
    assert found["Ready"]["reason"] == "ReadinessGatesNotReady"


def test_transition_times_stay_while_nothing_changes() -> None:
    """A condition whose status stays keeps the time it got then."""
    before = {"type": "Ready", "status": "False", "lastTransitionTime": "2025-12-31T00:00:00Z"}
    found = conditions(pod_view(view(UP)), status={"conditions": [before]})
    assert found["Ready"]["lastTransitionTime"] == "2025-12-31T00:00:00Z"
    assert found["ContainersReady"]["lastTransitionTime"] == "2026-01-01T00:01:00Z"


def test_a_killed_container_tells_its_signal() -> None:
    """An exit code above 128 is the signal's number."""
    ended = view(Terminated(137, NOW, NOW))
    pod = {"metadata": {}, "spec": {"restartPolicy": "Never"}}
    (status,) = render_status(pod, pod_view(ended), NOW)["containerStatuses"]
    assert status["state"]["terminated"]["signal"] == 9
    assert status["state"]["terminated"]["reason"] == "Error"
