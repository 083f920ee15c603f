"""A person's commands on a rollout, as values.

Owns what can be asked for, of which revision, and by whom as far as is known. Must not know where a
command was written, nor what follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

UNKNOWN = "unknown"
"""The name of somebody of whom nothing is known."""


class Verb(StrEnum):
    """What a person can ask for. The values are what records show."""

    PAUSE = "Pause"
    ABORT = "Abort"
    PROMOTE = "Promote"
    RETRY = "Retry"


@dataclass(frozen=True, slots=True)
class Command:
    """One command that stands, well-formed and not yet held against anything.

    Attributes:
        hash: The revision that it is about; for any other it means nothing.
        manager: The field manager that wrote it, `unknown` if that is not known.
        set_at: When it was written, UTC; None if that is not known.
        before: Of a retry: rejections older than this moment are lifted. None of all others.
        reason: What the person gave as the reason, plain text, "" for nothing.
    """

    verb: Verb
    hash: str
    manager: str = UNKNOWN
    set_at: datetime | None = None
    before: datetime | None = None
    reason: str = ""

    @property
    def token(self) -> str:
        """What tells this retry from every other, however its moment was written."""
        return f"{self.hash}@{self.before:%Y-%m-%dT%H:%M:%S.%fZ}" if self.before else self.hash

    @property
    def asked(self) -> str:
        """Say who asked for it: the end of a sentence."""
        who = "somebody" if self.manager == UNKNOWN else f"field manager {self.manager}"
        when = f" at {self.set_at:%Y-%m-%dT%H:%M:%SZ}" if self.set_at else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{who} asked by headgate.dev/{self.verb.value.lower()}{when}{why}"


@dataclass(frozen=True, slots=True)
class Commands:
    """All that stand, at most one of each kind."""

    pause: Command | None = None
    abort: Command | None = None
    promote: Command | None = None
    retry: Command | None = None

    @property
    def standing(self) -> tuple[Command, ...]:
        """Those that there are, the one that takes most away first."""
        every = (self.abort, self.pause, self.promote, self.retry)
        return tuple(command for command in every if command is not None)


NO_COMMANDS = Commands()
