"""
The gateway and the node agent as parts, and what each brings: the one Gateway, the model store.

Their work is in `gateway` and `node`; here is only how they are started.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from sandbox import modelstore
from sandbox.builds import KSERVE_AGENT, MODEL_SERVER
from sandbox.modelfiles import MODELS
from sandbox.part import Part, answers
from sandbox.world import World

GATEWAY_NAMESPACE, GATEWAY = "gateways", "public"

_GATEWAY_API = "gateway.networking.k8s.io/v1"
_OBJECTS = (
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GATEWAY_NAMESPACE}},
    {
        "apiVersion": _GATEWAY_API,
        "kind": "GatewayClass",
        "metadata": {"name": "envoy"},
        "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
    },
    {
        "apiVersion": _GATEWAY_API,
        "kind": "Gateway",
        "metadata": {"name": GATEWAY, "namespace": GATEWAY_NAMESPACE},
        "spec": {
            "gatewayClassName": "envoy",
            "listeners": [
                {
                    "name": "http",
                    "protocol": "HTTP",
                    "port": 80,
                    "allowedRoutes": {"namespaces": {"from": "All"}},
                }
            ],
        },
    },
)


def _apply_gateway(world: World) -> None:
    world.control_plane.apply("-f", "-", stdin=yaml.safe_dump_all(_OBJECTS))


def _gateway_command(world: World) -> Sequence[str]:
    return [
        *(sys.executable, "-m", "sandbox.gateway"),
        *("--kubeconfig", str(world.kubeconfig), "--state-dir", str(world.data / "gateway")),
        *("--port", str(world.ports["gateway"]), "--admin-port", str(world.ports["envoy-admin"])),
        *("--service-port", str(world.ports["services"])),
    ]


def _gateway_is_ready(world: World) -> bool:
    return answers(world.url("envoy-admin", "/ready")) and _listens(world.ports["gateway"])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _certify_node(world: World) -> None:
    world.control_plane.certificate(_node_certificate(world))


def _node_certificate(world: World) -> Path:
    return pod_directory(world) / "tls"


def _node_command(world: World) -> Sequence[str]:
    certificate = _node_certificate(world)
    return [
        *(sys.executable, "-m", "sandbox.node"),
        *("--kubeconfig", str(world.kubeconfig), "--state-dir", str(pod_directory(world))),
        *("--service-proxy", world.url("services")),
        *("--model-python", str(world.places["model-server"] / "bin" / "python")),
        *("--agent", str(world.places["kserve-agent"] / "agent")),
        *("--tls-cert", str(certificate / "tls.crt"), "--tls-key", str(certificate / "tls.key")),
        *("--client-ca", str(world.control_plane.authority)),
    ]


def pod_directory(world: World) -> Path:
    """Return where the node agent keeps logs and volumes of pods."""
    return world.data / "node"


def _nodes_are_ready(world: World) -> bool:
    path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
    return "True" in world.control_plane.kubectl("get", "nodes", "-o", path).split()


GATEWAY_PART = Part(
    name="gateway",
    command=_gateway_command,
    is_ready=_gateway_is_ready,
    address=lambda world: world.url("gateway"),
    needs=("control-plane",),
    before=_apply_gateway,
)

NODE_PART = Part(
    name="node",
    command=_node_command,
    is_ready=_nodes_are_ready,
    address=lambda world: str(pod_directory(world) / "pods"),
    needs=("control-plane",),
    recipes=(MODEL_SERVER, KSERVE_AGENT, MODELS),
    before=_certify_node,
    after=modelstore.deploy_store,
)
