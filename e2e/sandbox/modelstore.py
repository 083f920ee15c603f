"""
The model store in the cluster: a Deployment and a Service that serve the stories' models.

It is a pod like any other, so storage is reached the way it is elsewhere: by the storage
initializer, over the network, by name. Owns what is special of its manifests; `store` is the
program, `modelfiles` makes what it serves.
"""

from __future__ import annotations

from pathlib import Path

from sandbox import servers
from sandbox.servers import Json
from sandbox.world import World

NAMESPACE, NAME = "store", "models"
IMAGE = "sandbox/model-store:1"
_MOUNT = "/models"


def storage_uri(model: str, version: str) -> str:
    """Return the `storageUri` of a version of a model, as a ModelDeployment names it."""
    return f"{servers.address(NAMESPACE, NAME)}/{model}/{version}/model.joblib"


def render_store(models: Path) -> list[Json]:
    """Return the manifests of a store that serves the folder `models` of this machine."""
    container = {
        "name": "store",
        "image": IMAGE,
        "args": [f"--directory={_MOUNT}", f"--port={servers.PORT}"],
        "volumeMounts": [{"name": "models", "mountPath": _MOUNT, "readOnly": True}],
    }
    volume = {"name": "models", "hostPath": {"path": str(models), "type": "Directory"}}
    return servers.render_server(NAMESPACE, NAME, container, [volume])


def deploy_store(world: World) -> None:
    """Apply the store, and wait until it answers: nothing can be released without it."""
    servers.deploy(world, NAMESPACE, NAME, render_store(world.places["models"]))
