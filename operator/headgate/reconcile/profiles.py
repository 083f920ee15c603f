"""The training data's profile, from where the spec says, or the revision keeps it.

Owns which reference is followed, and what of it becomes part of a revision. Must not know what is
done with a profile.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from headgate.adapters.profiles import ProfileUnusable, read_reference
from headgate.api.signals import ProfileAddress, Reference
from headgate.core.drift.profile import Profile, digest, render
from headgate.ports import Manifest, ProfileUnavailable
from headgate.reconcile.world import World

FIELD = "spec.drift.reference"


@dataclass(frozen=True, slots=True)
class Referred:
    """A profile, and the reference to it that a revision keeps."""

    profile: Profile
    kept: Mapping[str, Any]


async def read_profile(
    namespace: str, reference: Reference, stored: Iterable[Manifest], world: World
) -> Referred:
    """Read the profile that a spec names; raises ProfileUnusable naming the field of the spec.

    A profile by its address is copied into the revision, so that neither a server that is away nor
    one that says something else can change what a revision is. Once one of the `stored` revisions
    has it, nobody is asked any more.
    """
    if reference.url is not None:
        return await _by_address(reference.url, stored, world)
    named = reference.config_map.manifest() if reference.config_map is not None else {}
    try:
        profile = await read_reference({"configMap": named}, namespace, world.cluster)
    except ProfileUnusable as error:
        raise ProfileUnusable(f"{FIELD}.{error.field}", error.wanted, error.found) from error
    return Referred(profile, {"configMap": named, "digest": digest(profile)})


async def _by_address(place: ProfileAddress, stored: Iterable[Manifest], world: World) -> Referred:
    for revision in stored:
        kept = _reference_of(revision)
        if kept is not None and kept.get("digest") == place.digest and "inline" in kept:
            namespace = revision["metadata"]["namespace"]
            return Referred(await read_reference(kept, namespace, world.cluster), kept)
    try:
        profile = await world.profiles.read(place.address, place.digest)
    except ProfileUnavailable as error:
        raise ProfileUnusable(f"{FIELD}.url", error.wanted, error.found) from error
    return Referred(profile, {"inline": json.loads(render(profile)), "digest": place.digest})


async def profile_of(revision: Manifest | None, world: World) -> Profile | None:
    """Read the profile that a stored ModelRevision was made with.

    None without one, and where the ConfigMap holds another one by now: what was counted in the bins
    of one profile says nothing about another.
    """
    reference = _reference_of(revision)
    if revision is None or not reference:
        return None
    try:
        return await read_reference(reference, revision["metadata"]["namespace"], world.cluster)
    except ProfileUnusable:
        return None


def _reference_of(revision: Manifest | None) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = ((revision or {}).get("spec", {}).get("drift") or {}).get(
        "reference"
    )
    return found
