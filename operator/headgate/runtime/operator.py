"""One operator process: starts its parts in order, and stops them in the opposite order.

Owns the life cycle. Must not know adapters (they are given), nor what a pass does. What is stopped
at any moment leaves nothing half-done: each write is whole, and the next start continues from what
is stored in the cluster.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from headgate import __version__
from headgate.adapters.kubernetes import Login
from headgate.ports import Clock, Cluster, Refused
from headgate.reconcile.world import Key, Report
from headgate.runtime import kopf_glue, preflight
from headgate.runtime.health import Health, LoopLag
from headgate.runtime.http import Server
from headgate.runtime.lease import Election, LeaseLost
from headgate.runtime.queue import Queue
from headgate.runtime.resync import Resync
from headgate.runtime.seen import Name, Seen
from headgate.runtime.settings import Settings
from headgate.runtime.telemetry import Telemetry
from headgate.runtime.workers import Workers

log = logging.getLogger("headgate.operator")


@dataclass(frozen=True, slots=True)
class Parts:
    """
    What an operator is made of.

    Args:
        login: How the watch logs in; `cluster` does the same by itself.
        reconcile: One pass over a key at a moment in UTC.
        jitter: Draws a number in [0, 1) evenly.
        election: By which one of several operators is chosen to work; None where there is only one.
    """

    cluster: Cluster
    login: Login
    reconcile: Callable[[Key, datetime], Awaitable[Report]]
    clock: Clock
    jitter: Callable[[], float]
    election: Election | None = None


@dataclass(slots=True)
class Background:
    """Tasks that run as long as the process; the first that fails stops everything."""

    stop: asyncio.Event
    failure: BaseException | None = None
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Start a task."""
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        self.guard(task)

    def guard(self, task: asyncio.Task[Any]) -> None:
        """Stop everything if this task, owned by another, fails."""
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Cancel the tasks that `start` started."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None and self.failure is None:
            self.failure = task.exception()
            self.stop.set()


async def run(settings: Settings, parts: Parts, telemetry: Telemetry, stop: asyncio.Event) -> None:
    """
    Serve until SIGTERM, SIGINT or `stop`.

    Raises:
        NotInstalled: A kind is missing or may not be listed.
        ClusterUnavailable: The API server was away at the start for longer than our patience.
        WatchFailed, WatchBlind: The watch cannot be kept up or trusted.
        LeaseLost: Another operator works by now, or may.
        OSError: The port is taken.
    """
    _listen(stop)
    process = _Process(settings, parts, telemetry, stop)
    try:
        await process.serve()
    finally:
        await process.shut_down()
    if process.background.failure is not None:
        raise process.background.failure
    log.info("stopped")


class _Process:
    """The parts of one running operator."""

    def __init__(
        self, settings: Settings, parts: Parts, telemetry: Telemetry, stop: asyncio.Event
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._telemetry = telemetry
        self._stop = stop
        self._queue: Queue[Key] = Queue(parts.jitter, telemetry.waited)
        self._lag = LoopLag()
        self._health = Health(
            self._lag.seconds, self._queue.oldest_in_flight_seconds, 2 * settings.pass_deadline
        )
        self._server = Server(telemetry.registry, self._health)
        self._workers = Workers(
            self._queue, parts.reconcile, parts.clock, telemetry, settings.pass_deadline
        )
        seen = Seen()
        self._ears = kopf_glue.Ears(self._wake, seen, telemetry.heard)
        self._resync = Resync(
            parts.cluster, settings.namespaces, seen, self._wake, telemetry, settings.resync
        )
        self.background = Background(stop)
        telemetry.observe(self._queue, self._lag.seconds, seen.number)

    async def serve(self) -> None:
        """Start everything in order and watch until told to stop."""
        settings, parts = self._settings, self._parts
        port = await self._server.start(settings.http_host, settings.http_port)
        log.info("headgate %s serves /metrics, /livez and /readyz on port %d", __version__, port)
        self.background.start("loop lag", self._lag.run())
        self._health.not_ready("waiting for the API server")
        checked = preflight.check(parts.cluster, settings.namespaces)
        if not await _unless_stopped(checked, self._stop):
            return
        if parts.election is not None:
            if not await _unless_stopped(self._win(parts.election), self._stop):
                return
            self.background.start("lease", parts.election.keep())
        self._telemetry.leading(True)
        self._health.not_ready("reading all ModelDeployments")
        self.background.start("delayed keys", self._queue.run())
        self._workers.start(settings.workers)
        for task in self._workers.tasks():
            self.background.guard(task)
        self.background.start("resync", self._resync.run(self._health.ready))
        await kopf_glue.watch(
            self._ears, parts.login, settings.namespaces, parts.jitter, self.shut_down, self._stop
        )

    async def shut_down(self) -> None:
        """Stop everything in the opposite order; doing it twice is fine."""
        self._stop.set()  # Kopf leaves a task behind that waits for it, and would wait 5 s for it
        self._health.not_ready("stopping")
        lost = isinstance(self.background.failure, LeaseLost)
        cut = await self._workers.stop(timedelta(0) if lost else self._settings.shutdown_grace)
        if cut:
            log.warning("%d passes did not end in time and were cancelled", cut)
        await self.background.close()
        self._telemetry.leading(False)
        # Only now that nothing of ours is written any more.
        if self._parts.election is not None and not lost:
            await self._parts.election.release()
        await self._server.close()

    async def _win(self, election: Election) -> None:
        """Stand by until the Lease is ours; whoever stands by is ready."""
        try:
            await election.acquire(lambda _holder: self._health.standing_by())
        except Refused as error:
            raise preflight.NotInstalled(
                f"wanted to hold {election.terms}, found: {error}"
                " - is manifests/overlays/two-replicas applied?"
            ) from error

    def _wake(self, name: Name) -> None:
        self._queue.add(Key(*name))


async def _unless_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Finish `work` and return True, or return False because `stop` came first."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if stop.is_set():
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return False
    await task
    return True


def _listen(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set `stop`, until Kopf listens to them itself."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
