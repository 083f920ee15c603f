"""Between the answer and the counts: a line of events, bounded in number and in bytes.

Owns when an event is counted and what is dropped for want of room. Must not know HTTP, nor what is
in an event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from traceback import extract_tb
from typing import Final

from headgate.collector.counting import Book
from headgate.collector.events import Address, Event, Half, Result, Unusable
from headgate.core.drift.profile import Profile

TURN_SECONDS: Final = 0.002
"""The loop is given back after so long, or after one event, so that answers do not wait."""

log = logging.getLogger("headgate.collector")


@dataclass(slots=True)
class Room:
    """Bytes of bodies that may be in memory at once, while they arrive and while they wait."""

    bytes: int
    taken: int = 0

    def take(self, size: int) -> bool:
        """Take so many bytes; False if there are not so many left."""
        if self.taken + size > self.bytes:
            return False
        self.taken += size
        return True

    def give(self, size: int) -> None:
        """Give them back."""
        self.taken -= size


@dataclass(slots=True)
class Intake:
    """
    The line.

    Args:
        book: Where is counted.
        profile_of: What is known of a revision's profile at a time; never waits.
        told: Is called with what became of each event.
        room: Shared with those who read bodies.
        most: Events in line.
    """

    book: Book
    profile_of: Callable[[Address, float], Profile | None]
    told: Callable[[Half, Result], None]
    room: Room
    most: int
    _line: deque[Event] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, event: Event) -> bool:
        """Let an event wait whose body's bytes are taken already; False if the line is full."""
        if len(self._line) >= self.most:
            return False
        self._line.append(event)
        self._wake.set()
        return True

    def waiting(self) -> int:
        """Events in line."""
        return len(self._line)

    async def run(self) -> None:
        """
        Count in turns until cancelled.

        While more waits than one turn counts, as much time is left to the answers as counting took:
        a long line must not make them late, it is rather shed.
        """
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._turn())

    async def drain(self) -> None:
        """Count what is in line."""
        while self._line:
            self._turn()
            await asyncio.sleep(0)

    def _turn(self) -> float:
        """Count for a while; returns how many seconds it took, 0 if nothing is left."""
        clock = asyncio.get_running_loop().time
        now = start = clock()
        while self._line:
            event = self._line.popleft()
            self.told(event.head.half, self._count(event, now))
            self.room.give(len(event.body))
            now = clock()
            if now - start >= TURN_SECONDS:
                return now - start
        self._wake.clear()
        return 0.0

    def _count(self, event: Event, now: float) -> Result:
        try:
            profile = self.profile_of(event.address, now)
            if profile is None:
                return Result.NO_PROFILE
            self.book.count(event, profile, now)
        except Unusable as error:
            return error.result
        except Exception as error:  # a fault of ours costs one event, and never the others
            log.error("%s in %s: one event is lost", type(error).__name__, _place(error))
            return Result.FAILED
        return Result.COUNTED


def _place(error: Exception) -> str:
    """Say where it was raised; a message or a traceback might quote the body."""
    frames = extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
