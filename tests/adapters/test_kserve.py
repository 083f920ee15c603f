"""What we ask of KServe, and what we believe of its answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headgate.adapters.kserve import (
    Workload,
    is_controlled_by,
    is_stopped,
    probe_path,
    public_name,
    read_health,
    render_inference_service,
    runtime_of,
    service_name,
)

OWNER = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "fraud", "namespace": "models", "uid": "u-1"},
}
NAME = "fraud-9c1d44e0"


def template(**model: Any) -> dict[str, Any]:
    """Return a template with one sklearn model."""
    return {
        "metadata": {"labels": {"team": "risk"}},
        "spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, **model}}},
    }


def rendered(given: dict[str, Any], stopped: bool = False) -> dict[str, Any]:
    """Render the InferenceService of this template."""
    workload = Workload("fraud", "models", NAME, "9c1d44e0", given)
    return render_inference_service(workload, OWNER, stopped)


def test_service_is_standard_cluster_local_and_ours() -> None:
    """Mode, autoscaler and visibility are always written, whatever the cluster's defaults are."""
    manifest = rendered(template())

    assert manifest["metadata"] == {
        "name": NAME,
        "namespace": "models",
        "labels": {
            "team": "risk",
            "headgate.dev/deployment": "fraud",
            "app.kubernetes.io/managed-by": "headgate",
            "headgate.dev/revision": "9c1d44e0",
            "networking.kserve.io/visibility": "cluster-local",
        },
        "annotations": {
            "serving.kserve.io/autoscalerClass": "none",
            "serving.kserve.io/deploymentMode": "Standard",
        },
        "ownerReferences": [
            {
                "apiVersion": "headgate.dev/v1alpha1",
                "kind": "ModelDeployment",
                "name": "fraud",
                "uid": "u-1",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def test_no_label_by_which_kserve_deletes_what_it_does_not_know() -> None:
    """KServe 0.20 deletes anything with its own two labels (kserve issue 6113)."""
    labels = rendered(template())["metadata"]["labels"]

    assert not {"serving.kserve.io/inferenceservice", "component"} & set(labels)


def test_autoscaler_of_the_template_is_kept() -> None:
    """Only where the template says nothing are replicas fixed."""
    given = template()
    given["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "keda"}

    annotations = rendered(given)["metadata"]["annotations"]

    assert annotations["serving.kserve.io/autoscalerClass"] == "keda"


@pytest.mark.parametrize("stopped", [True, False])
def test_stop_is_an_annotation(stopped: bool) -> None:
    """A stopped revision keeps its spec and frees its pods."""
    assert is_stopped(rendered(template(), stopped)) is stopped


@pytest.mark.parametrize(
    ("model", "args", "name"),
    [
        pytest.param({}, ["--model_name=fraud"], "fraud", id="the deployment's name is public"),
        pytest.param(
            {"args": ["--workers=2"]},
            ["--workers=2", "--model_name=fraud"],
            "fraud",
            id="ours comes last, where it wins",
        ),
        pytest.param(
            {"args": ["--model_name=cards"]},
            ["--model_name=cards"],
            "cards",
            id="a name the user chose is kept",
        ),
        pytest.param(
            {"args": ["--model_name", "cards"]},
            ["--model_name", "cards"],
            "cards",
            id="a name in two words too",
        ),
        pytest.param(
            {"modelFormat": {"name": "vLLM"}},
            ["--served-model-name=fraud"],
            "fraud",
            id="vLLM has a flag of its own",
        ),
    ],
)
def test_public_model_name(model: dict[str, Any], args: list[str], name: str) -> None:
    """All revisions answer under one name, as paths and bodies carry it."""
    given = template(**model)

    assert rendered(given)["spec"]["predictor"]["model"]["args"] == args
    assert public_name(given, "fraud") == name


def test_custom_container_is_left_alone() -> None:
    """Nothing is known of its flags."""
    spec = {"predictor": {"containers": [{"name": "main", "image": "ours:1"}]}}

    assert rendered({"spec": spec})["spec"] == spec


@pytest.mark.parametrize(
    ("given", "path"),
    [
        pytest.param(template(), "/v1/models/fraud", id="v1"),
        pytest.param(template(protocolVersion="v2"), "/v2/models/fraud/ready", id="v2"),
        pytest.param(template(protocolVersion="grpc-v2"), None, id="gRPC cannot be asked by GET"),
        pytest.param(template(modelFormat={"name": "vLLM"}), "/v1/models", id="vLLM"),
        pytest.param(
            template(modelFormat={"name": "huggingface"}), "/openai/v1/models", id="Hugging Face"
        ),
        pytest.param({"spec": {"predictor": {"containers": []}}}, None, id="custom container"),
        pytest.param(
            template(args=["--model_name=a/../../b?c#d"]),
            "/v1/models/a%2F..%2F..%2Fb%3Fc%23d",
            id="a name is one path segment whatever it holds",
        ),
    ],
)
def test_probe_path(given: dict[str, Any], path: str | None) -> None:
    """The path that answers 200 once the model is loaded."""
    assert probe_path(given, "fraud") == path


def test_transformer_is_the_entrance_of_its_own_revision() -> None:
    """A mixed pair of transformer and predictor is impossible (kserve issue 1669)."""
    given = template()
    given["spec"]["transformer"] = {"containers": []}

    assert service_name(NAME, given) == f"{NAME}-transformer"
    assert service_name(NAME, template()) == f"{NAME}-predictor"


def test_runtime_is_what_the_template_names() -> None:
    """None where KServe chooses."""
    assert runtime_of(template(runtime="kserve-sklearnserver")) == "kserve-sklearnserver"
    assert runtime_of(template()) is None


@pytest.mark.parametrize(
    ("references", "ours"),
    [
        pytest.param([{"uid": "u-1", "controller": True}], True, id="controlled by us"),
        pytest.param([{"uid": "u-2", "controller": True}], False, id="controlled by another"),
        pytest.param([{"uid": "u-1", "controller": False}], False, id="owned, not controlled"),
        pytest.param([], False, id="nobody's"),
    ],
)
def test_ownership(references: list[dict[str, Any]], ours: bool) -> None:
    """The uid decides: a name may come back as somebody else's."""
    assert is_controlled_by({"metadata": {"ownerReferences": references}}, OWNER) is ours


# --- health --------------------------------------------------------------------------------------

SERVICE = {"metadata": {"name": NAME}, "status": {}}


def workload(available: int = 2, updated: int = 2, observed: int = 3) -> dict[str, Any]:
    """Return the Deployment of a revision with two replicas."""
    return {
        "metadata": {"name": f"{NAME}-predictor", "generation": 3},
        "spec": {"replicas": 2},
        "status": {
            "observedGeneration": observed,
            "updatedReplicas": updated,
            "availableReplicas": available,
        },
    }


@pytest.mark.parametrize(
    ("deployment", "serving", "available", "pods"),
    [
        pytest.param(workload(), True, True, 2, id="all replicas are there"),
        pytest.param(workload(available=1), True, False, 1, id="one of two serves, not yet all"),
        pytest.param(workload(available=0), False, False, 0, id="none serves"),
        pytest.param(workload(updated=1), True, False, 2, id="an old replica is no evidence"),
        pytest.param(workload(observed=2), True, False, 2, id="an old status is no evidence"),
        pytest.param(None, False, False, 0, id="no Deployment yet"),
    ],
)
def test_health_from_the_deployment(
    deployment: dict[str, Any] | None, serving: bool, available: bool, pods: int
) -> None:
    """KServe's own Ready is not asked: it stays True while new pods fail."""
    service = {**SERVICE, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}

    found = read_health(template(), NAME, service, [deployment] if deployment else [], [], None)

    assert (found.serving, found.available, found.pods) == (serving, available, pods)


def test_transformer_counts_as_much_as_the_predictor() -> None:
    """A revision serves only with all of its parts."""
    given = template()
    given["spec"]["transformer"] = {"containers": []}

    found = read_health(given, NAME, SERVICE, [workload()], [], None)

    assert found.serving is False


def pod(**status: Any) -> dict[str, Any]:
    """Return a pod with this status."""
    return {"metadata": {"name": "p"}, "status": status}


def waiting(reason: str, message: str = "", ended: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the status of a container that waits, and how it ended before."""
    return {
        "name": "kserve-container",
        "ready": False,
        "state": {"waiting": {"reason": reason, "message": message}},
        "lastState": {"terminated": ended} if ended else {},
    }


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        pytest.param(
            pod(containerStatuses=[waiting("ImagePullBackOff", "no such image")]),
            "container kserve-container: ImagePullBackOff, no such image",
            id="an image that cannot be pulled",
        ),
        pytest.param(
            pod(
                containerStatuses=[
                    waiting(
                        "CrashLoopBackOff",
                        "back-off 10s",
                        {"exitCode": 1, "message": "Traceback\nValueError: not a model\n"},
                    )
                ]
            ),
            "container kserve-container: CrashLoopBackOff, back-off 10s, exit code 1, "
            "ValueError: not a model",
            id="a crash loop with its last words",
        ),
        pytest.param(
            pod(containerStatuses=[waiting("ContainerCreating")]), "", id="a pod that is starting"
        ),
        pytest.param(
            pod(initContainerStatuses=[waiting("CrashLoopBackOff", "", {"exitCode": 1})]),
            "container kserve-container: CrashLoopBackOff, exit code 1",
            id="an init container counts",
        ),
        pytest.param(pod(), "", id="nothing known"),
    ],
)
def test_problem_in_the_platforms_words(found: dict[str, Any], problem: str) -> None:
    """What people read says what Kubernetes said."""
    assert read_health(template(), NAME, SERVICE, [], [found], None).problem == problem


def test_missing_runtime_is_read_from_the_service() -> None:
    """Without pods only KServe knows why."""
    failure = {"reason": "NoSupportingRuntime", "message": "no runtime for sklearn"}
    model = {"transitionStatus": "InvalidSpec", "lastFailureInfo": failure}
    service = {**SERVICE, "status": {"modelStatus": model}}

    found = read_health(template(), NAME, service, [], [], None)

    assert found.problem == "NoSupportingRuntime: no runtime for sklearn"


def test_old_failure_of_a_healthy_model_is_not_repeated() -> None:
    """KServe never clears lastFailureInfo."""
    failure = {"reason": "ModelLoadFailed", "message": "long ago"}
    model = {"transitionStatus": "UpToDate", "lastFailureInfo": failure}
    service = {**SERVICE, "status": {"modelStatus": model}}

    assert read_health(template(), NAME, service, [workload()], [], None).problem == ""


def test_scheduling() -> None:
    """The deadline counts from the last pod that got a node; a pod without one has a reason."""
    at = {"lastTransitionTime": "2026-01-05T12:00:00Z"}
    placed = pod(conditions=[{"type": "PodScheduled", "status": "True", **at}])
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    lost = pod(conditions=[{**refused, "message": "0/2 nodes have nvidia.com/gpu"}])

    both = read_health(template(), NAME, SERVICE, [], [placed, lost], None)
    one = read_health(template(), NAME, SERVICE, [], [placed], None)

    assert (both.scheduled_at, both.unschedulable) == (None, "0/2 nodes have nvidia.com/gpu")
    assert one.scheduled_at == datetime(2026, 1, 5, 12, tzinfo=UTC)
