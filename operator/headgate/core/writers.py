"""Who wrote a field of an object, as the object itself tells.

Owns the reading of metadata.managedFields and its bounds. Must not believe it: whoever may write
the object may write that too, so it is for people, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headgate.core.commands import UNKNOWN
from headgate.core.memory import read_moment
from headgate.core.wording import plain

LONGEST_MANAGER = 128


@dataclass(frozen=True, slots=True)
class Setter:
    """The field manager that wrote a field; both are empty if no entry has the field.

    `at` is when it last wrote any field of that entry, RFC 3339 as found, or empty.
    """

    manager: str = ""
    at: str = ""

    @property
    def moment(self) -> datetime | None:
        """`at` in UTC; None for what is no moment."""
        return read_moment(self.at)


def setter_of(metadata: Mapping[str, Any], field: Sequence[str]) -> Setter:
    """Return the last writer of a field, by its path without the `f:` of managedFields."""
    return max(setters_of(metadata, field), key=lambda one: one.at, default=Setter())


def setters_of(metadata: Mapping[str, Any], field: Sequence[str]) -> Iterator[Setter]:
    """Find all who wrote a field, by its path without the `f:` of managedFields."""
    for entry in metadata.get("managedFields") or ():
        fields: Any = entry.get("fieldsV1")
        for name in field:
            fields = fields.get(f"f:{name}") if isinstance(fields, dict) else None
        if fields is not None:
            manager = plain(str(entry.get("manager") or UNKNOWN), LONGEST_MANAGER)
            yield Setter(manager, plain(str(entry.get("time") or ""), 64))
