"""
Flux as parts: its real source- and kustomize-controller, which take the place of `gitsync`.

Owns their command lines and that Flux's CRDs and namespace are there before they start. What they
sync is for who asks for the option to say, by GitRepositories and Kustomizations; as in an ordinary
installation they may do everything in the cluster unless a Kustomization names a ServiceAccount.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import yaml

from sandbox import githttp
from sandbox.builds import FLUX_CONTROLLERS, FLUX_CRDS
from sandbox.part import Option, Part, answers
from sandbox.world import World

NAMESPACE = "flux-system"

_ARTIFACTS, _SOURCE_HEALTH, _KUSTOMIZE_HEALTH = (
    *("flux-artifacts", "flux-source-health", "flux-kustomize-health"),
)
_NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def _apply_crds(world: World) -> None:
    control_plane = world.control_plane
    control_plane.apply("-f", str(world.places["flux-crds"]), "--recursive")
    control_plane.wait_until_established()
    control_plane.apply("-f", "-", stdin=yaml.safe_dump(_NAMESPACE))


def _controller(world: World, name: str, health: str) -> list[str]:
    return [
        str(world.places["flux"] / name),
        "--enable-leader-election=false",
        "--interval-jitter-percentage=0",
        # Of dependencies that are not ready; half a minute otherwise.
        "--requeue-dependency=2s",
        "--metrics-addr=0",
        f"--health-addr=127.0.0.1:{world.ports[health]}",
    ]


def _source_controller(world: World) -> Sequence[str]:
    storage = world.data / "flux"
    storage.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{world.ports[_ARTIFACTS]}"
    return [
        *_controller(world, "source-controller", _SOURCE_HEALTH),
        f"--storage-path={storage}",
        f"--storage-addr={address}",
        f"--storage-adv-addr={address}",
    ]


def _environment(world: World) -> Mapping[str, str]:
    return {
        **os.environ,
        "KUBECONFIG": str(world.kubeconfig),
        "RUNTIME_NAMESPACE": NAMESPACE,
    }


SOURCE_PART = Part(
    name="source-controller",
    command=_source_controller,
    is_ready=lambda world: answers(world.url(_SOURCE_HEALTH, "/readyz")),
    address=lambda world: world.url(_ARTIFACTS),
    needs=("control-plane", githttp.PART.name),
    recipes=(FLUX_CONTROLLERS, FLUX_CRDS),
    before=_apply_crds,
    environment=_environment,
    restarts=True,
)

KUSTOMIZE_PART = Part(
    name="kustomize-controller",
    command=lambda world: _controller(world, "kustomize-controller", _KUSTOMIZE_HEALTH),
    is_ready=lambda world: answers(world.url(_KUSTOMIZE_HEALTH, "/readyz")),
    address=lambda world: "",
    needs=("source-controller",),
    recipes=(FLUX_CONTROLLERS,),
    environment=_environment,
    restarts=True,
)

OPTION = Option(
    "flux",
    (githttp.PART, SOURCE_PART, KUSTOMIZE_PART),
    (githttp.PORT, _ARTIFACTS, _SOURCE_HEALTH, _KUSTOMIZE_HEALTH),
    instead_of=("gitsync",),
)
