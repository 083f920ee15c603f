"""
The model store in the cluster: a Deployment and a Service that serve the stories' models.

It is a pod like any other, so storage is reached the way it is elsewhere: by the storage
initializer, over the network, by name. Owns the manifests; `store` is the program, `modelfiles`
makes what it serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sandbox.world import World

NAMESPACE, NAME = "store", "models"
IMAGE = "sandbox/model-store:1"
_MOUNT = "/models"
_PORT = 8080

Json = dict[str, Any]


def storage_uri(model: str, version: str) -> str:
    """Return the `storageUri` of a version of a model, as a ModelDeployment names it."""
    host = f"{NAME}.{NAMESPACE}.svc.cluster.local"
    return f"http://{host}/{model}/{version}/model.joblib"


def render_store(models: Path) -> Sequence[Json]:
    """Return the manifests of a store that serves the folder `models` of this machine."""
    labels = {"app": NAME}
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": labels}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": _PORT}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _render_pod(models)},
            },
        },
    ]


def _render_pod(models: Path) -> Json:
    container = {
        "name": "store",
        "image": IMAGE,
        "args": [f"--directory={_MOUNT}", f"--port={_PORT}"],
        "ports": [{"containerPort": _PORT}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": _PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "models", "mountPath": _MOUNT, "readOnly": True}],
    }
    volume = {"name": "models", "hostPath": {"path": str(models), "type": "Directory"}}
    return {"containers": [container], "volumes": [volume]}


def deploy_store(world: World) -> None:
    """Apply the store, and wait until it answers: nothing can be released without it."""
    manifests = yaml.safe_dump_all(render_store(world.places["models"]))
    world.control_plane.apply("-f", "-", stdin=manifests)
    world.control_plane.kubectl(
        *("rollout", "status", f"deployment/{NAME}", "-n", NAMESPACE, "--timeout=60s")
    )
