"""Who asked for an emergency, and where it is written, as far as the object itself tells.

Owns the reading of these claims and their bounds. Must not believe them: whoever may write the
object may write them too, so they are for people, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from headgate.core.memory import render_moment
from headgate.core.wording import plain
from headgate.ports import Manifest

ORIGIN = "config.kubernetes.io/origin"
"""What kustomize notes of a resource (`buildMetadata: [originAnnotations]`)."""

UNKNOWN = "unknown"
_FIELD = ("f:spec", "f:rollout", "f:emergency")
_LONGEST_ORIGIN = 2048


@dataclass(frozen=True, slots=True)
class _Setter:
    """A field manager that set the field, and when (RFC 3339, or empty)."""

    manager: str
    at: str


def render_emergency(owner: Manifest) -> dict[str, Any]:
    """Tell who set `spec.rollout.emergency`, when, and from which file of which commit.

    What is not known is left out, and the message says why; texts are cut and made plain.
    """
    metadata = owner["metadata"]
    setter = max(_setters(metadata), key=lambda one: one.at, default=_Setter("", ""))
    at = _moment(setter.at)
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


def _setters(metadata: Mapping[str, Any]) -> Iterator[_Setter]:
    for entry in metadata.get("managedFields") or ():
        fields: Any = entry.get("fieldsV1")
        for name in _FIELD:
            fields = fields.get(name) if isinstance(fields, dict) else None
        if fields is not None:
            manager = plain(str(entry.get("manager") or UNKNOWN), 128)
            yield _Setter(manager, plain(str(entry.get("time") or ""), 64))


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


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
