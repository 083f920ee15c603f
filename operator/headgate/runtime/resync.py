"""The resync: every few minutes all ModelDeployments are listed, compared and looked at again.

Owns the remedy against what a watch can lose: deletions during a gap, dropped events, a connection
that is open and dead. Must not know Kopf, nor what a pass does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from headgate.ports import MODEL_DEPLOYMENT, Cluster, Refused, Unavailable
from headgate.runtime.seen import Missed, Name, Seen, Version, compare, identify

log = logging.getLogger("headgate.resync")

BAD_ROUNDS = 2
"""So many rounds in a row with something missed, and the watch is not to be trusted."""

SETTLE_SECONDS = 5.0
"""How late an event may be and still count as heard."""

BATCH = 50
"""Keys that are woken together; between batches other work gets its turn."""


class WatchBlind(Exception):
    """The watch keeps missing changes; only a new process helps."""


class Witness(Protocol):
    """Whoever counts rounds; see `runtime.telemetry`."""

    def resynced(self, result: str) -> None:
        """A round ended: `ok`, `missed` or `unavailable`."""

    def missed(self, how: str, number: int) -> None:
        """The watch missed `number` objects."""


@dataclass(slots=True)
class Resync:
    """
    Args:
        namespaces: Where to look; empty means the whole cluster.
        wake: Asks for a pass over a ModelDeployment.
        period: From one round to the next.
    """

    cluster: Cluster
    namespaces: tuple[str, ...]
    seen: Seen
    wake: Callable[[Name], None]
    witness: Witness
    period: timedelta

    async def run(self, first_round_done: Callable[[], None]) -> None:
        """
        Repeat rounds until cancelled; calls `first_round_done` once the watch knows every object.

        Raises WatchBlind after two rounds in a row in which the watch had missed something. A round
        that could not list is neither good nor bad.
        """
        await self._first()
        first_round_done()
        bad = 0
        while True:
            await asyncio.sleep(self.period.total_seconds() / 2)
            try:
                missed = await self._round()
            except (Unavailable, Refused) as error:
                self._could_not_list(error)
                continue
            bad = bad + 1 if missed else 0
            if bad == BAD_ROUNDS:
                raise WatchBlind(f"the watch missed changes in {bad} rounds running")

    async def _first(self) -> None:
        """Wake everything at once, and wait until the watch has told of all that is listed."""
        woken: set[Name] = set()
        while True:
            try:
                listed = await self._list()
            except (Unavailable, Refused) as error:
                self._could_not_list(error)
            else:
                for name in listed.keys() - woken:
                    self.wake(name)
                woken |= listed.keys()
                if await self._watch_knows(listed):
                    self.witness.resynced("ok")
                    return
            await asyncio.sleep(1.0)

    async def _watch_knows(self, listed: Mapping[Name, Version]) -> bool:
        """Wait a little for the watch; an object may have been deleted since it was listed."""
        loop = asyncio.get_running_loop()
        until = loop.time() + SETTLE_SECONDS
        while missing := len(listed.keys() - self.seen.versions().keys()):
            if loop.time() > until:
                log.info("waiting for the watch: %d of %d not heard of", missing, len(listed))
                return False
            await asyncio.sleep(0.1)
        return True

    async def _round(self) -> Mapping[Name, Missed]:
        """List, compare and wake: what was missed at once, the rest over half a period."""
        before = self.seen.versions()
        listed = await self._list()
        await asyncio.sleep(SETTLE_SECONDS)
        missed = compare(before, listed, self.seen.versions())
        for name, how in missed.items():
            log.warning("the watch missed that it was %s", how, extra={"object": "/".join(name)})
            self.seen.correct(name, listed.get(name))
            self.witness.missed(how, 1)
            self.wake(name)
        self.witness.resynced("missed" if missed else "ok")
        await self._wake_slowly(listed.keys() - missed.keys())
        return missed

    async def _wake_slowly(self, names: Iterable[Name]) -> None:
        """Wake all within half a period, which it takes in any case."""
        line = sorted(names)
        batches = [line[index : index + BATCH] for index in range(0, len(line), BATCH)] or [[]]
        for batch in batches:
            for name in batch:
                self.wake(name)
            await asyncio.sleep(self.period.total_seconds() / 2 / len(batches))

    async def _list(self) -> Mapping[Name, Version]:
        listed: dict[Name, Version] = {}
        for namespace in self.namespaces or (None,):
            for manifest in await self.cluster.list(MODEL_DEPLOYMENT, namespace, {}):
                name, version = identify(manifest)
                listed[name] = version
        return listed

    def _could_not_list(self, error: Exception) -> None:
        log.warning("could not list all ModelDeployments: %s", error)
        self.witness.resynced("unavailable")
