"""Which of a tool's attempts wrote an object: told by the times of both.

Owns the comparison. Must not know any tool. An object's `metadata.managedFields` says who wrote its
spec, and when, to the second; a tool's status says from when to when it applied which revision.

| when the object was written              | what is known                                        |
|------------------------------------------|------------------------------------------------------|
| while an attempt ran                     | that attempt wrote it                                |
| after the last attempt had ended         | the status is older than the object, or somebody     |
|                                          | else wrote it: nothing yet                           |
| before or between the attempts we know   | its attempt is forgotten                             |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headgate.core.commits.value import Place

SLACK = timedelta(seconds=2)
"""How far the clocks of the API server and of a tool may be apart; both also write whole seconds
only. Two attempts of one tool are further apart in all but the shortest stories."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One application of a revision. `finished` is None while it runs.

    `places` has one entry for each source; empty where the tool does not tell the revision yet.
    """

    started: datetime
    finished: datetime | None
    places: tuple[Place, ...]
    initiated_by: str = ""

    def covers(self, written: datetime, slack: timedelta = timedelta(0)) -> bool:
        """Whether it ran when the object was written, give or take `slack`."""
        if written < self.started - slack:
            return False
        return self.finished is None or written <= self.finished + slack


def writing_attempt(attempts: Sequence[Attempt], written: datetime) -> Attempt | None:
    """Return the attempt that wrote the object; of several, the newest by its start.

    One that ran at the very second is taken before one that did only by the slack of clocks.
    """
    exact = [attempt for attempt in attempts if attempt.covers(written)]
    near = [attempt for attempt in attempts if attempt.covers(written, SLACK)]
    return max(exact or near, key=lambda attempt: attempt.started, default=None)


def is_outdated(attempts: Sequence[Attempt], written: datetime) -> bool:
    """Whether the object is newer than all that the tool tells."""
    ends = [attempt.finished for attempt in attempts]
    return all(end is not None and end + SLACK < written for end in ends)
