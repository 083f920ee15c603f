"""
The model store and the card's history in the cluster: what the embedded world runs beside it.

Owns their manifests here, where they are real containers. The scenarios name them by the same
addresses in both worlds.
"""

from __future__ import annotations

from typing import Any

from kind.charts import MODEL_IMAGE
from sandbox import dependency, modelstore, servers

Json = dict[str, Any]

HISTORY = (dependency.NAMESPACE, dependency.NAME)
STORE = (modelstore.NAMESPACE, modelstore.NAME)


def render_store() -> list[Json]:
    """Return the store; the models are in the image."""
    arguments = ["--directory=/models", f"--port={servers.PORT}"]
    return servers.render_server(*STORE, _container("sandbox.store", arguments))


def render_history() -> list[Json]:
    """Return the card's history."""
    return servers.render_server(
        *HISTORY, _container("sandbox.history", [f"--port={servers.PORT}"])
    )


def _container(module: str, arguments: list[str]) -> Json:
    return {
        "name": module.rpartition(".")[2],
        "image": MODEL_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", module],
        "args": arguments,
        "env": [{"name": "SANDBOX_LISTEN_ON", "value": "0.0.0.0"}],
    }
