"""Who asked for an emergency, and where it is written, as far as the object itself tells.

Owns the reading of these claims and their bounds. Must not believe them: whoever may write the
object may write them too, so they are for people, and decide nothing.
"""

from __future__ import annotations

from typing import Any

import yaml

from headgate.core.commands import UNKNOWN
from headgate.core.memory import render_moment
from headgate.core.wording import plain
from headgate.ports import Manifest
from headgate.reconcile.claims import setter_of

ORIGIN = "config.kubernetes.io/origin"
"""What kustomize notes of a resource (`buildMetadata: [originAnnotations]`)."""

_FIELD = ("spec", "rollout", "emergency")
_LONGEST_ORIGIN = 2048


def render_emergency(owner: Manifest) -> dict[str, Any]:
    """Tell who set `spec.rollout.emergency`, when, and from which file of which commit.

    What is not known is left out, and the message says why; texts are cut and made plain.
    """
    metadata = owner["metadata"]
    setter = setter_of(metadata, _FIELD)
    at = setter.moment
    origin, why = _origin((metadata.get("annotations") or {}).get(ORIGIN))
    who = f"field manager {setter.manager}" if setter.manager else "somebody unknown"
    when = f" at {setter.at}" if at else ""
    nobody = "" if setter.manager else "; no entry of metadata.managedFields has the field"
    where = ", ".join(f"{name} {text}" for name, text in origin.items())
    found: dict[str, Any] = {
        "manager": setter.manager or UNKNOWN,
        "message": (
            f"spec.rollout.emergency was set by {who}{when}{nobody}; "
            f"{where or f'the commit is unknown: {why}'}"
        ),
    }
    if at is not None:
        found["setAt"] = render_moment(at)
    return {**found, "origin": origin} if origin else found


def _origin(text: Any) -> tuple[dict[str, str], str]:
    """Read kustomize's annotation; what it says of repo, ref and path, or why it says nothing."""
    if not isinstance(text, str):
        return {}, f"no annotation {ORIGIN}"
    if len(text) > _LONGEST_ORIGIN:
        return {}, f"annotation {ORIGIN} is longer than {_LONGEST_ORIGIN} characters"
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, f"annotation {ORIGIN} is not YAML"
    given = found if isinstance(found, dict) else {}
    told = {
        name: plain(given[name], 512)
        for name in ("repo", "ref", "path")
        if isinstance(given.get(name), str) and given[name]
    }
    return told, f"annotation {ORIGIN} names no repo, ref or path"
