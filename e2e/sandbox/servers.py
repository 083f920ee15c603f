"""
Servers of the world that run in its cluster: a Namespace, a Service and one pod each.

Owns the manifests. Knows no server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from sandbox.world import World

Json = dict[str, Any]

PORT = 8080


def address(namespace: str, name: str) -> str:
    """Return the server's URL in the cluster."""
    return f"http://{name}.{namespace}.svc.cluster.local"


def render_server(
    namespace: str, name: str, container: Json, volumes: Sequence[Json] = ()
) -> list[Json]:
    """Return the manifests; the container listens on PORT and answers `/healthz` there."""
    labels = {"app": name}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    probe = {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1}
    pod = {
        "containers": [
            {**container, "ports": [{"containerPort": PORT}], "readinessProbe": probe},
        ],
        "volumes": list(volumes),
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": PORT}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]


def deploy(world: World, namespace: str, name: str, manifests: Sequence[Json]) -> None:
    """Apply the manifests, and wait until the server answers."""
    world.control_plane.apply("-f", "-", stdin=yaml.safe_dump_all(manifests))
    world.control_plane.kubectl(
        *("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=60s")
    )
