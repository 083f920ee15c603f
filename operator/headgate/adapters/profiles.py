"""A training profile where it is kept: in a ConfigMap, or in the ModelRevision itself.

Owns how a reference is followed, and that what is found is what the reference says. Must not know
what is done with a profile. Operator and collector read references by this one code.

A reference is `{configMap: {name, key}, digest}` or `{inline: PROFILE, digest}`; without a digest
any profile will do. Texts name objects and digests, never what a profile says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from headgate.core.drift.profile import Profile, ProfileError, digest, parse
from headgate.core.revision import canonical_json
from headgate.ports import CONFIG_MAP, Kind, Manifest


class Objects(Protocol):
    """The one verb of the Kubernetes API that is needed; `ports.Cluster` has it."""

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Read one object; None if it does not exist. Raises ClusterUnavailable, Refused."""


class ProfileUnusable(Exception):
    """There is no profile where a reference says, or it is none, or another one.

    `field` is the part of the reference that is about it.
    """

    def __init__(self, field: str, wanted: str, found: str) -> None:
        super().__init__(f"{field}: wanted {wanted}, found {found}")
        self.field, self.wanted, self.found = field, wanted, found


async def read_reference(reference: Mapping[str, Any], namespace: str, objects: Objects) -> Profile:
    """Read the profile that a reference names; raises ProfileUnusable, and what `objects` does."""
    inline, wanted = reference.get("inline"), reference.get("digest")
    if isinstance(inline, Mapping):
        field, text = "inline", canonical_json(inline)
    else:
        field, text = "configMap", await _text(reference.get("configMap"), namespace, objects)
    try:
        profile = parse(text)
        found = digest(profile)
    except ProfileError as error:
        wanted = "a profile as `headgate profile build` writes it"
        raise ProfileUnusable(field, wanted, str(error)) from error
    if wanted is not None and found != wanted:
        raise ProfileUnusable("digest", str(wanted), found)
    return profile


async def _text(place: Any, namespace: str, objects: Objects) -> str:
    name, key = (place.get("name"), place.get("key")) if isinstance(place, Mapping) else ("", "")
    if not (isinstance(name, str) and isinstance(key, str) and name and key):
        raise ProfileUnusable("configMap", "a ConfigMap with a key, or a profile", "neither")
    found = await objects.get(CONFIG_MAP, namespace, name)
    if found is None:
        raise ProfileUnusable("configMap.name", f"ConfigMap {namespace}/{name}", "none")
    values = found.get("data") or {}
    text = values.get(key)
    if not isinstance(text, str):
        keys = ", ".join(sorted(values)) or "none"
        raise ProfileUnusable("configMap.key", f"key {key} of {name}", keys)
    return text
