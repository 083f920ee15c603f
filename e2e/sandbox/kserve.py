"""
KServe's own controller as a part: its configuration, webhooks and runtimes, from its own release.

What is ours is only what an installation would set: Standard mode, the Gateway API, and webhooks at
an address instead of a Service.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sandbox.builds import KSERVE_MANAGER
from sandbox.part import Part, answers
from sandbox.world import World

NAMESPACE = "kserve"
RUNTIMES = ("kserve-sklearnserver",)
"""Which of KServe's runtimes the world installs: those the node agent has a command for."""

_OURS: Mapping[str, Mapping[str, object]] = {
    "deploy": {"defaultDeploymentMode": "Standard"},
    "ingress": {
        "enableGatewayApi": True,
        "kserveIngressGateway": "gateways/public",
        "disableIstioVirtualHost": True,
    },
}

Json = dict[str, Any]


def render_configuration(shipped: Json) -> Json:
    """Return the ConfigMap `inferenceservice-config`: KServe's own, with our few settings in it."""
    content = {key: text for key, text in shipped["data"].items() if key != "_example"}
    for key, settings in _OURS.items():
        content[key] = json.dumps({**json.loads(content[key]), **settings})
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "inferenceservice-config", "namespace": NAMESPACE},
        "data": content,
    }


def render_webhooks(shipped: Sequence[Json], url: str, authority: bytes) -> list[Json]:
    """
    Return KServe's webhook configurations, to be called at `url`.

    Args:
        shipped: The manifests of KServe's `config/webhook`; others among them are left out.
        url: Address of its webhook server, without a path.
        authority: PEM of the certificate that signed the server's.
    """
    rendered = []
    for manifest in shipped:
        if not manifest["kind"].endswith("WebhookConfiguration"):
            continue
        webhooks = []
        for webhook in manifest["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            bundle = base64.b64encode(authority).decode()
            webhooks.append({**webhook, "clientConfig": {"url": url + path, "caBundle": bundle}})
        metadata = {"name": manifest["metadata"]["name"]}
        rendered.append({**manifest, "metadata": metadata, "webhooks": webhooks})
    return rendered


def _read_all(path: Path) -> list[Json]:
    return [manifest for manifest in yaml.safe_load_all(path.read_text()) if manifest]


def _config(world: World) -> Path:
    return world.places["kserve"] / "config"


def _temporary(world: World) -> Path:
    # Its webhook server reads its certificate below TMPDIR; no flag changes that.
    return world.data / "kserve"


def _before(world: World) -> None:
    certificates = _temporary(world) / "k8s-webhook-server" / "serving-certs"
    world.control_plane.certificate(certificates)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    shipped = _read_all(_config(world) / "configmap" / "inferenceservice.yaml")[0]
    _apply(world, [namespace, render_configuration(shipped)])
    # The address of an earlier run may no longer be ours, and nothing could be changed then.
    world.control_plane.kubectl(
        *("delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations"),
        *("--ignore-not-found", "-l", "sandbox.headgate.dev/part=kserve"),
    )


def _after(world: World) -> None:
    webhooks = render_webhooks(
        _read_all(_config(world) / "webhook" / "manifests.yaml"),
        f"https://127.0.0.1:{world.ports['kserve-webhook']}",
        world.control_plane.authority.read_bytes(),
    )
    for webhook in webhooks:
        webhook["metadata"]["labels"] = {"sandbox.headgate.dev/part": "kserve"}
    _apply(world, webhooks)
    containers = _kustomize(world, "storagecontainers")
    runtimes = _kustomize(world, "runtimes")
    chosen = [runtime for runtime in runtimes if runtime["metadata"]["name"] in RUNTIMES]
    _apply(world, [*containers, *chosen])


def _kustomize(world: World, folder: str) -> list[Json]:
    rendered = world.control_plane.kubectl("kustomize", str(_config(world) / folder))
    return [manifest for manifest in yaml.safe_load_all(rendered) if manifest]


def _apply(world: World, manifests: Sequence[Json]) -> None:
    world.control_plane.apply("-f", "-", stdin=yaml.safe_dump_all(manifests))


def _command(world: World) -> Sequence[str]:
    return [
        str(world.places["kserve"] / "manager"),
        f"--webhook-port={world.ports['kserve-webhook']}",
        f"--metrics-addr=127.0.0.1:{world.ports['kserve-metrics']}",
        f"--health-probe-addr=127.0.0.1:{world.ports['kserve-health']}",
    ]


def _environment(world: World) -> Mapping[str, str]:
    return {
        **os.environ,
        "KUBECONFIG": str(world.kubeconfig),
        "POD_NAMESPACE": NAMESPACE,
        "TMPDIR": str(_temporary(world)),
    }


PART = Part(
    name="kserve",
    command=_command,
    is_ready=lambda world: answers(world.url("kserve-health", "/readyz")),
    address=lambda world: world.url("kserve-metrics", "/metrics"),
    needs=("control-plane",),
    recipes=(KSERVE_MANAGER,),
    before=_before,
    after=_after,
    environment=_environment,
)
