"""
Write the keys of argocd-cm from the Lua files beside this one.

`python manifests/gitops/argocd/render.py > manifests/gitops/argocd/argocd-cm.yaml` renews the
patch; a test keeps it equal. The files lie as Argo CD's own repository has them, below
`resource_customizations/<group>/<Kind>/`. Knows nothing of what the scripts say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

SCRIPTS = Path(__file__).parent / "resource_customizations"

_HEAD = """\
# Printed by render.py from resource_customizations/: change the Lua files there, not this file.
# A strategic merge patch of Argo CD's own ConfigMap; it adds keys and changes none.
"""
_ORDER = ("pause", "resume", "abort", "promote-now", "retry")
"""Actions in the order in which people need them; an unknown one comes last, by name."""

_IGNORED = {"jsonPointers": ["/status"]}


class _Literal(yaml.SafeDumper):
    """Writes texts of several lines as they are read."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Literal.add_representer(str, _represent_text)


def kinds(scripts: Path = SCRIPTS) -> list[Path]:
    """Return the folders of all kinds with a health script, by group and name."""
    return sorted(file.parent for file in scripts.glob("*/*/health.lua"))


def keys(kind: Path) -> Iterator[tuple[str, str]]:
    """Yield the keys of one kind's folder with their values."""
    suffix = f"{kind.parent.name}_{kind.name}"
    yield f"resource.customizations.health.{suffix}", (kind / "health.lua").read_text()
    if (kind / "actions" / "discovery.lua").exists():
        yield f"resource.customizations.actions.{suffix}", _dump(_actions(kind / "actions"))
    # Status is written at each look; a change of health is followed all the same.
    yield f"resource.customizations.ignoreResourceUpdates.{suffix}", _dump(_IGNORED)


def _actions(folder: Path) -> dict[str, Any]:
    names = [file.parent.name for file in folder.glob("*/action.lua")]
    order = {name: position for position, name in enumerate(_ORDER)}
    names.sort(key=lambda name: (order.get(name, len(order)), name))
    return {
        "discovery.lua": (folder / "discovery.lua").read_text(),
        "definitions": [
            {"name": name, "action.lua": (folder / name / "action.lua").read_text()}
            for name in names
        ],
    }


def render() -> str:
    """Return the patch of argocd-cm, as it is kept beside this file."""
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm"},
        "data": dict(pair for kind in kinds() for pair in keys(kind)),
    }
    return _HEAD + _dump(manifest)


def _dump(content: object) -> str:
    # Long lines are never folded: a script must be read as it was written.
    return yaml.dump(content, Dumper=_Literal, sort_keys=False, width=1 << 20)


if __name__ == "__main__":
    print(render(), end="")
