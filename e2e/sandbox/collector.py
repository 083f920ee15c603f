"""
The collector as a part: the real process from the built wheel, under its Service's address.

What is applied is its share of `manifests/overlays/collector`, without the pods. Its Service leads
to the process by an EndpointSlice, so `predictor.logger.url` is written as in any cluster.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from sandbox.endpoints import PORTS_ANNOTATION
from sandbox.headgate import COLLECTOR, HEADGATE, NAMESPACE, clean_environment, write_login
from sandbox.part import Part, answers
from sandbox.paths import ROOT
from sandbox.world import World

Json = dict[str, Any]

NAME = COLLECTOR

_MANIFESTS = ROOT / "manifests" / "overlays" / "collector"
_ADDRESS, _PORT = "10.244.255.10", 8080
"""Names only, the address beyond those that pods get."""


def render_service(manifests: Iterable[Json], local_port: int) -> list[Json]:
    """
    Return what is to be applied where a process takes the place of the collector's pods.

    Args:
        manifests: The overlay, with all of Headgate in it; only the collector's own are taken.
        local_port: Where the process listens on this machine.
    """
    applied: list[Json] = []
    for manifest in manifests:
        if manifest["metadata"]["name"] != NAME or manifest["kind"] == "Deployment":
            continue
        if manifest["kind"] == "Service":
            applied.append(_render_slice(manifest, local_port))
            # Whoever selects nothing keeps the slices that others give it.
            spec = {key: value for key, value in manifest["spec"].items() if key != "selector"}
            manifest = {**manifest, "spec": spec}
        applied.append(manifest)
    return applied


def _render_slice(service: Json, local_port: int) -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": NAME},
            "annotations": {PORTS_ANNOTATION: json.dumps({str(_PORT): local_port})},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [_ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"name": entry["name"], "port": _PORT} for entry in service["spec"]["ports"]],
    }


def _login(world: World) -> Path:
    return world.data / "collector" / "kubeconfig"


def _before(world: World) -> None:
    rendered = world.control_plane.kubectl("kustomize", str(_MANIFESTS))
    manifests = [manifest for manifest in yaml.safe_load_all(rendered) if manifest]
    applied = render_service(manifests, world.ports["collector"])
    world.control_plane.apply("-f", "-", stdin=yaml.safe_dump_all(applied))
    write_login(world, NAMESPACE, NAME, _login(world))


def _command(world: World) -> Sequence[str]:
    return [
        *(str(world.places["headgate"] / "bin" / "headgate"), "collector"),
        *("--host", "127.0.0.1", "--port", str(world.ports["collector"])),
        *("--kubeconfig", str(_login(world))),
    ]


PART = Part(
    name="collector",
    command=_command,
    is_ready=lambda world: answers(world.url("collector", "/readyz")),
    address=lambda world: world.url("collector"),
    needs=("control-plane", "headgate"),
    recipes=(HEADGATE,),
    before=_before,
    environment=lambda _: clean_environment(),
    restarts=True,
)
