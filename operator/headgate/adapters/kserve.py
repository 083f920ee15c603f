"""KServe: what we ask of it and what we believe of its answers.

Owns the rendering of one Standard-mode InferenceService per revision and the reading of the
workload that came of it. Must not know weights, steps or evidence. The InferenceService's own
`Ready` and `observedGeneration` are never read: both say nothing about a new version in Standard
mode (kserve/kserve issues 4626 and 6081); the Deployment and its pods do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from headgate.core.lifecycle import Health
from headgate.ports import Manifest

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
AUTOSCALER_ANNOTATION = "serving.kserve.io/autoscalerClass"
STOP_ANNOTATION = "serving.kserve.io/stop"
VISIBILITY_LABEL = "networking.kserve.io/visibility"
DEPLOYMENT_LABEL = "headgate.dev/deployment"
REVISION_LABEL = "headgate.dev/revision"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "headgate"

_OPENAI_FORMATS = frozenset({"vllm", "huggingface"})
_VLLM_FORMATS = frozenset({"vllm"})


@dataclass(frozen=True, slots=True)
class Workload:
    """One revision as KServe should run it.

    `deployment` is the ModelDeployment's name, which is also the public name of the model for all
    of its revisions; `template` is `spec.template`.
    """

    deployment: str
    namespace: str
    name: str
    hash: str
    template: Mapping[str, Any]
    logger_url: str = ""


def own_labels(deployment: str) -> dict[str, str]:
    """Return the labels by which everything that belongs to a ModelDeployment is found."""
    return {DEPLOYMENT_LABEL: deployment, MANAGED_BY_LABEL: MANAGED_BY}


def owner_reference(owner: Manifest) -> dict[str, Any]:
    """Return the controller reference that makes Kubernetes delete a child with its owner."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_controlled_by(manifest: Manifest, owner: Manifest) -> bool:
    """Whether `manifest` is ours to write: its controller is `owner`, by uid."""
    references = manifest["metadata"].get("ownerReferences", ())
    uid = owner["metadata"]["uid"]
    return any(bool(r.get("controller")) and r["uid"] == uid for r in references)


def render_inference_service(workload: Workload, owner: Manifest, stopped: bool) -> dict[str, Any]:
    """Render the InferenceService of one revision; `stopped` frees its pods and keeps its spec."""
    metadata = workload.template.get("metadata", {})
    annotations = {
        AUTOSCALER_ANNOTATION: "none",
        **metadata.get("annotations", {}),
        MODE_ANNOTATION: "Standard",
    }
    if stopped:
        annotations[STOP_ANNOTATION] = "true"
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": workload.name,
            "namespace": workload.namespace,
            "labels": {
                **metadata.get("labels", {}),
                **own_labels(workload.deployment),
                REVISION_LABEL: workload.hash,
                VISIBILITY_LABEL: "cluster-local",
            },
            "annotations": annotations,
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": _with_logger(
            with_public_name(workload.template["spec"], workload.deployment), workload.logger_url
        ),
    }


def _with_logger(spec: dict[str, Any], url: str) -> dict[str, Any]:
    predictor = spec["predictor"]
    if not url or "logger" in predictor:
        return spec
    return {**spec, "predictor": {**predictor, "logger": {"mode": "all", "url": url}}}


def is_stopped(inference_service: Manifest) -> bool:
    """Whether the stop annotation is on it."""
    annotations = inference_service["metadata"].get("annotations") or {}
    return annotations.get(STOP_ANNOTATION) == "true"


def with_public_name(spec: Mapping[str, Any], public_name: str) -> dict[str, Any]:
    """Return the spec with the model's name among its args, unless the user named it there."""
    # The path of a v1 request and the body of an OpenAI one carry the model's name, so it must be
    # the same for all revisions. KServe appends our args to the runtime's, and the last flag wins.
    predictor = spec["predictor"]
    model = predictor.get("model")
    if model is None or _named_by_user(model):
        return dict(spec)
    args = [*model.get("args", ()), f"{_name_flag(model)}={public_name}"]
    return {**spec, "predictor": {**predictor, "model": {**model, "args": args}}}


def _format_of(model: Mapping[str, Any]) -> str:
    return str(model.get("modelFormat", {}).get("name", "")).lower()


def _name_flag(model: Mapping[str, Any]) -> str:
    return "--served-model-name" if _format_of(model) in _VLLM_FORMATS else "--model_name"


def _named_by_user(model: Mapping[str, Any]) -> bool:
    flag = _name_flag(model)
    return any(str(a) == flag or str(a).startswith(f"{flag}=") for a in model.get("args", ()))


def public_name(template: Mapping[str, Any], deployment: str) -> str:
    """Return the model name clients use: the user's own flag if there is one, else ours."""
    model = template["spec"]["predictor"].get("model") or {}
    flag, args = _name_flag(model), [str(a) for a in model.get("args", ())]
    for index, argument in enumerate(args):
        if argument.startswith(f"{flag}="):
            return argument.removeprefix(f"{flag}=")
        if argument == flag and index + 1 < len(args):
            return args[index + 1]
    return deployment


def component_of(template: Mapping[str, Any]) -> str:
    """Return the component that requests enter: the transformer where there is one."""
    return "transformer" if template["spec"].get("transformer") else "predictor"


def components_of(template: Mapping[str, Any]) -> tuple[str, ...]:
    """Return all components whose Deployments must be available."""
    spec = template["spec"]
    return tuple(c for c in ("predictor", "transformer") if spec.get(c))


def service_name(revision_name: str, template: Mapping[str, Any]) -> str:
    """Return the Service that a route points at for this revision."""
    return f"{revision_name}-{component_of(template)}"


def probe_path(template: Mapping[str, Any], deployment: str) -> str | None:
    """Return the path that answers 200 once the model is loaded; None where we know of none.

    Source: KServe's v1 and v2 (open inference) protocols; OpenAI's model list for LLM runtimes.
    Custom containers have no common path, so only their own readiness probe counts.
    """
    model = template["spec"]["predictor"].get("model")
    if model is None:
        return None
    # The name may come from the user's own args: it stays one path segment whatever it holds.
    name = quote(public_name(template, deployment), safe="")
    if _format_of(model) in _VLLM_FORMATS:
        return "/v1/models"
    if _format_of(model) in _OPENAI_FORMATS:
        return "/openai/v1/models"
    protocol = str(model.get("protocolVersion", "v1"))
    if protocol == "v2":
        return f"/v2/models/{name}/ready"
    return f"/v1/models/{name}" if protocol == "v1" else None


def runtime_of(template: Mapping[str, Any]) -> str | None:
    """Return the runtime named by the template; None if KServe is to choose one."""
    model = template["spec"]["predictor"].get("model") or {}
    name = model.get("runtime")
    return str(name) if name else None


def read_health(
    template: Mapping[str, Any],
    revision_name: str,
    inference_service: Manifest | None,
    deployments: Sequence[Manifest],
    pods: Sequence[Manifest],
    answered: bool | None,
) -> Health:
    """Read one revision's health from its Deployments and pods.

    Anything not found is not ready. `answered` is what our own probe saw; None if none was sent.
    """
    if inference_service is None:
        return Health(problem="its InferenceService does not exist yet")
    by_name = {d["metadata"]["name"]: d for d in deployments}
    wanted = [by_name.get(f"{revision_name}-{c}") for c in components_of(template)]
    found = [d for d in wanted if d is not None]
    complete = len(found) == len(wanted)
    return Health(
        serving=complete and all(_available_replicas(d) > 0 for d in found),
        available=complete and all(_is_available(d) for d in found),
        answered=answered,
        scheduled_at=_scheduled_at(pods),
        unschedulable=_unschedulable(pods),
        problem=_problem(inference_service, pods),
        pods=min(map(_available_replicas, found), default=0) if complete else 0,
    )


def _available_replicas(deployment: Manifest) -> int:
    return int(deployment.get("status", {}).get("availableReplicas") or 0)


def _is_available(deployment: Manifest) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    observed = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    updated = (status.get("updatedReplicas") or 0) >= wanted
    available = _available_replicas(deployment) >= wanted > 0
    return bool(observed and updated and available)


def _conditions(pod: Manifest) -> Mapping[str, Mapping[str, Any]]:
    return {c["type"]: c for c in pod.get("status", {}).get("conditions", ())}


def _scheduled_at(pods: Sequence[Manifest]) -> datetime | None:
    conditions = [_conditions(p).get("PodScheduled") for p in pods]
    if not conditions or any(c is None or c["status"] != "True" for c in conditions):
        return None
    times = [c["lastTransitionTime"] for c in conditions if c and c.get("lastTransitionTime")]
    return max(datetime.fromisoformat(t) for t in times) if times else None


def _unschedulable(pods: Sequence[Manifest]) -> str:
    for pod in pods:
        condition = _conditions(pod).get("PodScheduled", {})
        if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
            return str(condition.get("message", "no node fits"))
    return ""


def _problem(inference_service: Manifest, pods: Sequence[Manifest]) -> str:
    found = next(filter(None, (_pod_problem(p) for p in pods)), "")
    return found or _service_problem(inference_service)


def _pod_problem(pod: Manifest) -> str:
    status = pod.get("status", {})
    statuses = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return next(filter(None, (_container_problem(c) for c in statuses)), "")


def _container_problem(container: Mapping[str, Any]) -> str:
    waiting = container.get("state", {}).get("waiting") or {}
    ended = container.get("state", {}).get("terminated") or {}
    ended = ended or (container.get("lastState", {}).get("terminated") or {})
    if container.get("ready") or ended.get("exitCode", 1) == 0:
        return ""
    parts = [waiting.get("reason", ""), waiting.get("message", "")]
    if ended:
        parts += [f"exit code {ended.get('exitCode')}", _last_line(ended.get("message", ""))]
    if not ended and waiting.get("reason") in (None, "", "ContainerCreating", "PodInitializing"):
        return ""
    return f"container {container['name']}: " + ", ".join(_unique(p for p in parts if p))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _unique(parts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(parts))


def _service_problem(inference_service: Manifest) -> str:
    # lastFailureInfo is never cleared, so it only counts while the model is not in place.
    model = inference_service.get("status", {}).get("modelStatus", {})
    if model.get("transitionStatus") not in ("InvalidSpec", "BlockedByFailedLoad"):
        return ""
    failure = model.get("lastFailureInfo", {})
    return ": ".join(p for p in (failure.get("reason", ""), failure.get("message", "")) if p)
