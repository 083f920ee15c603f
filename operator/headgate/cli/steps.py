"""Commands that change a cluster step by step, each of which is said and may be the last one.

Owns the saying and the waiting. Must not know what a step is for. Every step asks what is so before
it acts, so a command that ended half-way goes on from there when it is run again.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from headgate.core.wording import plain
from headgate.ports import ClusterUnavailable, Conflict, Hands, Kind, Manifest

T = TypeVar("T")

POLL_SECONDS = 1.0
_ATTEMPTS = 10
"""How often an object is read anew that others write at the same time: KServe its status."""


class Unfinished(Exception):
    """A step did not come to its end; the text says what is so, and what to do."""


def tell(line: str) -> None:
    """Say one step on standard error: standard output is for what Git should keep."""
    print(plain(line, 500), file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Steps:
    """Hands in one namespace, and how steps are told.

    `dry` says what would be done and does nothing. `sleep` waits for so many seconds.
    """

    hands: Hands
    namespace: str
    dry: bool = False
    tell: Callable[[str], None] = tell
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)

    async def do(self, what: str, act: Callable[[], Awaitable[object]]) -> None:
        """Do one step, or only say it; raises what the cluster raises."""
        if self.dry:
            self.tell(f"would {what}")
            return
        await act()
        self.tell(f"did {what}")

    async def change(
        self, what: str, kind: Kind, name: str, metadata: Callable[[Manifest], Manifest | None]
    ) -> None:
        """Change an object's metadata, read anew while others change it; None is no change.

        An object that is not there is none either.
        """
        for attempt in range(_ATTEMPTS):
            found = await self.hands.get(kind, self.namespace, name)
            change = metadata(found) if found is not None else None
            if found is None or change is None:
                return
            try:
                await self.do(what, partial(self.hands.patch_metadata, found, change))
                return
            except Conflict:
                if attempt + 1 == _ATTEMPTS:
                    raise

    async def wait(
        self, what: str, look: Callable[[], Awaitable[T | None]], seconds: float
    ) -> T | None:
        """Look until something is found; None, with a dry run at once, if it is not in time.

        A cluster that is away for a while, or an object that changes under a look, is waited for.
        """
        if self.dry:
            self.tell(f"would wait until {what}")
            return None
        self.tell(f"waiting until {what}")
        left = seconds
        while True:
            try:
                found = await look()
            except Conflict:
                found = None
            except ClusterUnavailable:
                if left <= 0:
                    raise
                found = None
            if found is not None or left <= 0:
                return found
            await self.sleep(POLL_SECONDS)
            left -= POLL_SECONDS
