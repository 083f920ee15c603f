"""
The control plane as a part, and what every world has in its cluster from the first moment.

Owns the CRDs' order: all of them are served before any controller starts, for KServe ends when a
kind it watches does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from sandbox import audit
from sandbox.builds import CONTROL_PLANE, GATEWAY_CRDS, KSERVE_MANAGER
from sandbox.headgate import NAMESPACE
from sandbox.part import Part
from sandbox.paths import ROOT
from sandbox.processes import wait_until
from sandbox.world import World

_CONTROLLERS_SECONDS = 30


def audit_folder(world: World) -> Path:
    """Return where the API server writes what Headgate asks of it."""
    return world.control_plane.data / "audit"


def crd_files(world: World) -> Sequence[Path]:
    """Return the files of all CRDs: of KServe (minimal), of the Gateway API, of Headgate."""
    minimal = world.places["kserve"] / "config" / "crd" / "minimal"
    folders = (
        *(minimal, minimal / "clusterstoragecontainer"),
        world.places["gateway-api"] / "crd",
        ROOT / "crds",
    )
    files = (path for folder in folders for path in sorted(folder.glob("*.yaml")))
    return [path for path in files if is_crd(path)]


def is_crd(path: Path) -> bool:
    """Say whether the manifest in `path` is a CRD; kustomizations and policies lie beside them."""
    return any(
        document and document.get("kind") == "CustomResourceDefinition"
        for document in yaml.safe_load_all(path.read_text())
    )


def _apply_crds(world: World) -> None:
    control_plane = world.control_plane
    if not wait_until(control_plane.has_controllers, _CONTROLLERS_SECONDS):
        raise TimeoutError("the controllers did not make the default ServiceAccount")
    arguments = [word for path in crd_files(world) for word in ("-f", str(path))]
    control_plane.apply(*arguments)
    control_plane.wait_until_established()


PART = Part(
    name="control-plane",
    command=lambda world: world.control_plane.command(*audit.flags(audit_folder(world))),
    is_ready=lambda world: world.control_plane.is_ready(),
    address=lambda world: world.control_plane.url,
    recipes=(CONTROL_PLANE, GATEWAY_CRDS, KSERVE_MANAGER),
    before=lambda world: audit.write_policy(audit_folder(world), NAMESPACE),
    after=_apply_crds,
)
