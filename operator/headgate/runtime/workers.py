"""The workers: take a key, read the clock once, run one pass, and say what its failure costs.

Owns the boundary at which exceptions end: unavailable means back-off, our own bug means one log
line with its traceback, a count and a back-off, and all other keys go on. Must not know what a pass
does, nor Kopf.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from headgate.ports import (
    Clock,
    ClusterUnavailable,
    Conflict,
    ForgeUnavailable,
    Refused,
    Unavailable,
)
from headgate.reconcile.world import Key, Report, Transition
from headgate.runtime.queue import Queue

log = logging.getLogger("headgate.worker")
rollout_log = logging.getLogger("headgate.rollout")


class Witness(Protocol):
    """Whoever counts passes; see `runtime.telemetry`."""

    def passed(self, outcome: str, seconds: float) -> None:
        """One pass ended."""

    def changed(self, transition: Transition) -> None:
        """One transition was written."""


@dataclass(slots=True)
class Workers:
    """
    A fixed number of tasks that work the queue off.

    Args:
        reconcile: One pass over a key at a moment in UTC.
        deadline: The longest a pass may last before it is cancelled and counted as failed.
    """

    queue: Queue[Key]
    reconcile: Callable[[Key, datetime], Awaitable[Report]]
    clock: Clock
    witness: Witness
    deadline: timedelta
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, number: int) -> None:
        """Start `number` workers."""
        for index in range(number):
            self._tasks.append(asyncio.create_task(self._work(), name=f"worker-{index}"))

    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """The running tasks: none of them ends unless something is wrong or `stop` was called."""
        return tuple(self._tasks)

    async def stop(self, grace: timedelta) -> int:
        """
        Take no more keys, let the passes under way end within `grace`, then cancel them.

        Returns the number of passes that were cancelled. A cancelled pass leaves nothing half-done:
        each of its writes was whole, and the next pass continues from what is stored.
        """
        if not self._tasks:  # stopped already, or never started
            return 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace.total_seconds()):
                await self.queue.close()
        cancelled = self.queue.in_flight()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        return cancelled

    async def _work(self) -> None:
        while True:
            await self._pass(await self.queue.get())

    async def _pass(self, key: Key) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        outcome = await self._run(key)
        self.witness.passed(outcome, loop.time() - started)

    async def _run(self, key: Key) -> str:
        """Run one pass, settle the key with the queue, and name the outcome."""
        deadline = asyncio.timeout(self.deadline.total_seconds())
        try:
            async with deadline:
                report = await self.reconcile(key, self.clock.now())
        except Conflict as error:
            self._log(key, logging.DEBUG, "lost a race", error, self.queue.conflicted(key))
            return "conflict"
        except Unavailable as error:
            wait = self.queue.failed(key, _retry_after_seconds(error))
            self._log(key, logging.WARNING, "could not finish the pass", error, wait)
            return "unavailable"
        except Refused as error:
            self._log(key, logging.ERROR, "the API server refused", error, self.queue.failed(key))
            return "refused"
        except Exception as error:  # the one boundary: our own bug costs this key, no other
            wait = self.queue.failed(key)
            if deadline.expired():
                self._log(key, logging.ERROR, "gave up on the pass", self._too_long(), wait)
                return "timeout"
            self._log(key, logging.ERROR, "a bug ended the pass", error, wait, trace=True)
            return "bug"
        again = report.again_in.total_seconds() if report.again_in is not None else None
        self.queue.done(key, again)
        if report.transition is not None:
            self._tell(key, report.transition)
        return "ok"

    def _tell(self, key: Key, transition: Transition) -> None:
        self.witness.changed(transition)
        rollout_log.log(
            logging.WARNING if transition.warning else logging.INFO,
            "%s",
            transition.message,
            extra={
                "object": str(key),
                "rollout": transition.rollout,
                "revision": transition.revision,
                "phase": transition.phase,
                "reason": transition.reason,
            },
        )

    def _too_long(self) -> TimeoutError:
        return TimeoutError(f"wanted at most {self.deadline.total_seconds():g} s")

    def _log(
        self, key: Key, level: int, what: str, error: Exception, wait: float, trace: bool = False
    ) -> None:
        log.log(
            level,
            "%s: %s; again in %.1f s",
            what,
            error,
            wait,
            extra={"object": str(key)},
            exc_info=error if trace else None,
        )


def _retry_after_seconds(error: Unavailable) -> float | None:
    if isinstance(error, ClusterUnavailable | ForgeUnavailable) and error.retry_after is not None:
        return error.retry_after.total_seconds()
    return None
