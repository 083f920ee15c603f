"""
The operator as a part: the real process from the built wheel, with the rights of `manifests/`.

Never as administrator: its kubeconfig holds one token of its ServiceAccount. It is started again
when it ends, as a kubelet would.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from sandbox.builds import Recipe
from sandbox.cache import tree
from sandbox.packages import build_wheel, install, make_environment
from sandbox.part import Part, answers
from sandbox.paths import ROOT
from sandbox.world import World

NAMESPACE, SERVICE_ACCOUNT = "headgate-system", "headgate"
COLLECTOR = "headgate-collector"
COLLECTOR_URL = f"http://{COLLECTOR}.{NAMESPACE}"
"""How models reach the collector, as anywhere in a cluster."""

_MANIFESTS = ROOT / "manifests" / "overlays" / "sandbox"
_REQUIREMENTS = ROOT / "requirements" / "run.txt"
_TOKEN_LIFETIME = "48h"
_TOLD_BY = {
    "argocd-server": ("HEADGATE_ARGOCD_NAMESPACES", "argocd"),
    "flux-artifacts": ("HEADGATE_FLUX_NAMESPACES", "scenarios"),
}
"""By a port that only a world with Argo CD or Flux has: where these keep what tells the commit."""


def _inputs() -> Sequence[str | bytes]:
    files = [ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    project = [file.read_bytes() for file in files]
    return [sys.version, _REQUIREMENTS.read_bytes(), *project, *tree(ROOT / "operator", "*")]


def _make(folder: Path) -> None:
    make_environment(folder, _REQUIREMENTS, "headgate")
    with tempfile.TemporaryDirectory() as wheels:
        wheel = build_wheel(Path(wheels))
        install(str(folder / "bin" / "python"), ["--no-deps", str(wheel)], "headgate")


HEADGATE = Recipe(
    "headgate",
    "Headgate's wheel and its environment",
    _inputs,
    _make,
    movable=False,
)


def render_login(
    administrator: Mapping[str, object], token: str, user: str = SERVICE_ACCOUNT
) -> dict[str, object]:
    """Return a kubeconfig for the same cluster that holds only the `token` of `user`."""
    context = {"name": user, "context": {"cluster": "headgate-sandbox", "user": user}}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": administrator["clusters"],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [context],
        "current-context": user,
    }


def _login(world: World) -> Path:
    return world.data / "headgate" / "kubeconfig"


def write_login(world: World, namespace: str, account: str, file: Path) -> None:
    """Write a kubeconfig that holds nothing but a token of a ServiceAccount."""
    words = ("create", "token", account, "-n", namespace, "--duration", _TOKEN_LIFETIME)
    token = world.control_plane.kubectl(*words).strip()
    administrator = yaml.safe_load(world.kubeconfig.read_text())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(render_login(administrator, token, account)))


def clean_environment() -> dict[str, str]:
    """Return this process's environment without our settings and without our sources."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("HEADGATE_")}
    # The wheel alone, not the sources that this process may have been started from.
    ours.pop("PYTHONPATH", None)
    return ours


def _before(world: World) -> None:
    world.control_plane.apply("-k", str(_MANIFESTS))
    world.control_plane.wait_until_established()
    write_login(world, NAMESPACE, SERVICE_ACCOUNT, _login(world))


def environment(world: World, login: Path, port: int) -> Mapping[str, str]:
    """Return the environment of an operator of `world` that logs in by a file, and its port."""
    return {
        **clean_environment(),
        **dict(setting for name, setting in _TOLD_BY.items() if name in world.ports),
        "HEADGATE_KUBECONFIG": str(login),
        "HEADGATE_PROMETHEUS_URL": world.url("prometheus"),
        "HEADGATE_PROBE_PROXY": world.url("services"),
        "HEADGATE_COLLECTOR_URL": COLLECTOR_URL,
        # Budgets and inputs of a deployment at rest are looked at at each resync.
        "HEADGATE_RESYNC": "30s",
        "HEADGATE_HTTP_HOST": "127.0.0.1",
        "HEADGATE_HTTP_PORT": str(port),
    }


PART = Part(
    name="headgate",
    command=lambda world: [str(world.places["headgate"] / "bin" / "headgate"), "operator"],
    is_ready=lambda world: answers(world.url("headgate", "/readyz")),
    address=lambda world: world.url("headgate"),
    needs=("control-plane", "kserve", "gateway", "prometheus"),
    recipes=(HEADGATE,),
    before=_before,
    environment=lambda world: environment(world, _login(world), world.ports["headgate"]),
    restarts=True,
)
