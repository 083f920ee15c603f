"""The training data's profile, from where the spec says.

Owns the reading of it and what is wrong with one that cannot be used. Must not know what is done
with a profile.
"""

from __future__ import annotations

from headgate.api.signals import ConfigMapKey
from headgate.core.drift.profile import Profile, ProfileError, digest, parse
from headgate.ports import CONFIG_MAP, Manifest
from headgate.reconcile.world import World


class ProfileUnusable(Exception):
    """There is no profile where the spec says, or it is none: what was wanted, what was found."""

    def __init__(self, field: str, wanted: str, found: str) -> None:
        super().__init__(f"{field}: wanted {wanted}, found {found}")
        self.field, self.wanted, self.found = field, wanted, found


async def read_profile(namespace: str, place: ConfigMapKey, world: World) -> Profile:
    """Read the profile in a ConfigMap; raises ProfileUnusable naming the field of the spec."""
    field = "spec.drift.reference.configMap"
    found = await world.cluster.get(CONFIG_MAP, namespace, place.name)
    if found is None:
        raise ProfileUnusable(f"{field}.name", f"ConfigMap {namespace}/{place.name}", "none")
    text = (found.get("data") or {}).get(place.key)
    if text is None:
        keys = ", ".join(sorted(found.get("data") or {})) or "none"
        raise ProfileUnusable(f"{field}.key", f"key {place.key} of {place.name}", keys)
    try:
        return parse(text)
    except ProfileError as error:
        raise ProfileUnusable(
            field, "a profile as `headgate profile build` writes it", str(error)
        ) from error


async def profile_of(revision: Manifest | None, world: World) -> Profile | None:
    """Read the profile that a stored ModelRevision was made with.

    None without one, and where the ConfigMap holds another one by now: what was counted in the bins
    of one profile says nothing about another.
    """
    reference = ((revision or {}).get("spec", {}).get("drift") or {}).get("reference")
    if revision is None or not reference:
        return None
    place = ConfigMapKey.model_validate(reference["configMap"])
    try:
        profile = await read_profile(revision["metadata"]["namespace"], place, world)
    except ProfileUnusable:
        return None
    return profile if digest(profile) == reference["digest"] else None
