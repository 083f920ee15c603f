"""A commit as a value: where it is, who tells of it, and how sure that is.

Owns the words for people and the cleaning of what came from outside. Must not know any tool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from headgate.core.wording import plain

LONGEST = 512
"""Characters that are kept of an address, a path or a name; the schema's bound."""

LONGEST_NAME = 128
"""Characters that are kept of a person's name; the schema's bound."""

MOST_CANDIDATES = 8
"""Sources of one application that are listed where it does not tell which one has the object."""

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHORT = 12


class Certainty(StrEnum):
    """How a commit is known.

    | value     | means                                                                         |
    |-----------|-------------------------------------------------------------------------------|
    | Synced    | the tool applied this commit at the very time when the object was written     |
    | Contained | the tool compared a later commit, or one of an unknown time, and found the    |
    |           | object as that commit has it                                                  |
    | Claimed   | only the object itself says so: whoever may write it may write that too       |
    | Unknown   | nobody says, or nobody who may be asked                                       |
    """

    SYNCED = "Synced"
    CONTAINED = "Contained"
    CLAIMED = "Claimed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written; a part that is not known is "".

    `revision` is a full commit SHA, or the version of `chart`, or the digest of an artifact that
    does not tell its commit; `ref` the branch or tag that it was found by. `path` is the file
    where that is known, else the folder.
    """

    repository: str = ""
    revision: str = ""
    ref: str = ""
    path: str = ""
    chart: str = ""

    def __str__(self) -> str:
        what = " of ".join(part for part in (short(self.revision), self.repository) if part)
        parts = [f"chart {self.chart}" if self.chart else "", what, self.path]
        return ", ".join(part for part in parts if part)


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit that an object comes from, as far as it is known.

    Attributes:
        message: One sentence: who tells it, or why nobody does.
        told_by: The object that tells it, such as `Application argocd/fraud`; "" without one.
        candidates: Places of which one has the object, where the tool does not tell which.
        author: Who wrote it, as the object claims; "" if it says nothing.
        initiated_by: Who started the sync, which is not the author; "" if that is not told.
        hydrated: The commit of rendered manifests that `place` was rendered to.
        pending: Whether the tool may know more in some seconds.
    """

    certainty: Certainty
    message: str
    place: Place = NOWHERE
    told_by: str = ""
    candidates: tuple[Place, ...] = ()
    author: str = ""
    initiated_by: str = ""
    hydrated: str = ""
    pending: bool = False

    def __str__(self) -> str:
        """Say it in one line for an Event."""
        if self.certainty is Certainty.UNKNOWN:
            return f"the commit is unknown: {self.message}"
        author = f" by {self.author}" if self.author else ""
        told = f" ({self.certainty.value}, {self.told_by or 'as the object claims'})"
        return f"commit {self.place}{author}{told}"


def unknown(why: str, told_by: str = "", pending: bool = False) -> Commit:
    """Say why a commit is not known."""
    return Commit(Certainty.UNKNOWN, plain(why), told_by=told_by, pending=pending)


def is_sha(text: str) -> bool:
    """Whether this is a whole commit id: 40 hexadecimal digits, or 64 of Git's SHA-256."""
    return _SHA.fullmatch(text) is not None


def short(revision: str) -> str:
    """Shorten a commit id for a sentence; anything else stays as it is."""
    return revision[:_SHORT] if is_sha(revision) else revision


def cleaned(text: object, longest: int = LONGEST) -> str:
    """Make text from outside one plain line; "" for anything that is no text."""
    return plain(text, longest) if isinstance(text, str) else ""


def address(url: object) -> str:
    """Clean a repository's address, and drop what may be a secret: user, password and query.

    `git@host:path` stays, as its user is the same for everybody. "" for what is no address.
    """
    text = cleaned(url)
    if "://" not in text:
        return text if "@" not in text.partition(":")[2] else ""
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return ""
    user = "git@" if parts.scheme == "ssh" and parts.netloc.startswith("git@") else ""
    return urlunsplit((parts.scheme, user + host, parts.path, "", ""))


def at(time: datetime) -> str:
    """Write a moment in a sentence, to the second as Kubernetes stores it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def render(commit: Commit) -> dict[str, Any]:
    """Render for ModelRollout.spec.commit; what is not known is left out.

    Every text is cut to what the schema takes: a record that is refused would hold up a rollout.
    """
    place = _rendered_place(commit.place)
    found: dict[str, Any] = {
        "certainty": commit.certainty.value,
        "message": plain(commit.message),
        **place,
        "toldBy": plain(commit.told_by, LONGEST),
        "author": plain(commit.author, LONGEST_NAME),
        "initiatedBy": plain(commit.initiated_by, LONGEST_NAME),
        "hydratedRevision": plain(commit.hydrated, LONGEST),
        "candidates": [_rendered_place(one) for one in commit.candidates[:MOST_CANDIDATES]],
        "pending": commit.pending,
    }
    return {name: value for name, value in found.items() if value}


def _rendered_place(place: Place) -> dict[str, str]:
    found = {
        "repository": place.repository,
        "revision": place.revision,
        "ref": place.ref,
        "path": place.path,
        "chart": place.chart,
    }
    return {name: plain(value, LONGEST) for name, value in found.items() if value}


def read_rendered(stored: Mapping[str, Any]) -> Commit:
    """Read back what `render` made; a certainty that a newer operator knows is Unknown here."""
    known = stored.get("certainty") in [*Certainty]
    return Commit(
        certainty=Certainty(stored["certainty"]) if known else Certainty.UNKNOWN,
        message=cleaned(stored.get("message"), 4096),
        place=_read_place(stored),
        told_by=cleaned(stored.get("toldBy")),
        candidates=tuple(_read_place(one) for one in _listed(stored.get("candidates"))),
        author=cleaned(stored.get("author")),
        initiated_by=cleaned(stored.get("initiatedBy")),
        hydrated=cleaned(stored.get("hydratedRevision")),
        pending=stored.get("pending") is True,
    )


def _listed(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def stored_commit(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the commit in a ModelRollout: what was told later, else what was known at the start.

    None where an older operator did not say.
    """
    for part in ("status", "spec"):
        found = (record.get(part) or {}).get("commit")
        if isinstance(found, Mapping):
            return found
    return None


def _read_place(stored: Mapping[str, Any]) -> Place:
    names = ("repository", "revision", "ref", "path", "chart")
    return Place(*(cleaned(stored.get(name)) for name in names))


def with_note(commit: Commit, note: str) -> Commit:
    """Add a half-sentence to what is said."""
    return replace(commit, message=plain(f"{commit.message}; {note}")) if note else commit
