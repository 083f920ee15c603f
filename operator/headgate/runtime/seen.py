"""What the watch has told us so far: identity and version of each ModelDeployment.

Owns the comparison of what was heard with what is listed. Must not keep objects: a pass reads what
it needs, so a few strings for each object are enough to notice what the watch missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from headgate.ports import Manifest


class Name(NamedTuple):
    """A namespaced object's name."""

    namespace: str
    name: str


class Version(NamedTuple):
    """Which object it is and which version of it."""

    uid: str
    resource_version: str


class Missed(StrEnum):
    """What the watch did not say."""

    DELETED = "deleted"
    CHANGED = "changed"


@dataclass(slots=True)
class Seen:
    """The latest version heard of, for each object that is not known to be gone."""

    _versions: dict[Name, Version] = field(default_factory=dict)

    def heard(self, manifest: Manifest) -> Name:
        """Note an object that was listed or watched."""
        name, version = identify(manifest)
        self._versions[name] = version
        return name

    def gone(self, manifest: Manifest) -> Name:
        """Note a deletion."""
        name, _ = identify(manifest)
        self._versions.pop(name, None)
        return name

    def versions(self) -> Mapping[Name, Version]:
        """Copy what is known now."""
        return dict(self._versions)

    def number(self) -> int:
        """How many objects are known."""
        return len(self._versions)

    def correct(self, name: Name, listed: Version | None) -> None:
        """Take over what a list said about a missed object; None if it is gone."""
        if listed is None:
            self._versions.pop(name, None)
        else:
            self._versions[name] = listed


def identify(manifest: Manifest) -> tuple[Name, Version]:
    """Read name and version from an object of the API server, where both are always present."""
    metadata = manifest["metadata"]
    name = Name(metadata["namespace"], metadata["name"])
    return name, Version(metadata["uid"], metadata["resourceVersion"])


def compare(
    before: Mapping[Name, Version], listed: Mapping[Name, Version], after: Mapping[Name, Version]
) -> Mapping[Name, Missed]:
    """
    Find what the watch missed.

    Args:
        before: What the watch had told when the list was asked for.
        listed: What the API server has.
        after: What the watch had told some seconds later.

    A difference counts only where the watch did not move meanwhile: an object that changes while
    it is listed is news under way, not news lost.

        before   listed   after    meaning
        a        a        any      nothing to hear
        a        b        b or c   heard in time
        a        b        a        missed: changed
        -        b        -        missed: changed (created)
        a        -        a        missed: deleted, a ghost
    """
    return {
        name: Missed.CHANGED if name in listed else Missed.DELETED
        for name in sorted(before.keys() | listed.keys())
        if before.get(name) == after.get(name) != listed.get(name)
    }
