"""One collector process: starts its parts in order, and stops them in the opposite order.

Owns the life cycle and which adapter stands behind `Objects`. What is in line when SIGTERM comes is
counted; what was counted after the last scrape goes with the process, as the counters do.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from headgate import __version__
from headgate.adapters.kubernetes import KubernetesCluster, find_login
from headgate.adapters.profiles import Objects
from headgate.collector.counting import Book
from headgate.collector.intake import Intake, Room
from headgate.collector.profiles import Profiles, Reader
from headgate.collector.server import Limits, Server
from headgate.collector.settings import SettingError, Settings
from headgate.collector.telemetry import Telemetry

ROOM_BODIES: Final = 32
"""As many of the longest bodies fit into memory at once."""

DRAIN_SECONDS: Final = 5.0
"""How long counting may go on after SIGTERM."""

log = logging.getLogger("headgate.collector")


async def serve(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Run the collector against the cluster until SIGTERM, SIGINT or `stop`."""
    kubeconfig = settings.kubeconfig
    if kubeconfig is not None and not kubeconfig.is_file():
        raise SettingError(f"--kubeconfig: wanted a file, found none at {kubeconfig}")
    login = find_login(str(kubeconfig) if kubeconfig else None)
    cluster = KubernetesCluster(login, timeout=timedelta(seconds=5))
    try:
        await run(settings, cluster, stop or asyncio.Event())
    finally:
        await cluster.close()


async def run(
    settings: Settings,
    objects: Objects,
    stop: asyncio.Event,
    started: Callable[[int], object] | None = None,
) -> None:
    """
    Serve until a signal or `stop`.

    Args:
        settings: What may be set.
        objects: Where revisions and their profiles are read.
        stop: Ends it when set.
        started: Is called once with the port, when it listens.

    Raises:
        OSError: The port is taken.
    """
    telemetry = Telemetry()
    profiles = Profiles(Reader(objects), telemetry.asked)
    book = Book(settings.max_series)
    room = Room(ROOM_BODIES * settings.max_body)
    intake = Intake(book, profiles.of, telemetry.became, room, settings.queue)
    _observe(telemetry, intake, room, book)
    server = Server(intake, telemetry, Limits(settings.max_body, settings.namespaces))
    _listen(stop)
    tasks = [asyncio.create_task(work) for work in (intake.run(), profiles.run())]
    try:
        port = await server.start(settings.host, settings.port)
        # What is imported lives as long as we do; looking through it takes 40 ms, in which nobody
        # is answered.
        gc.collect()
        gc.freeze()
        log.info("headgate %s collects on port %d", __version__, port)
        if started is not None:
            started(port)
        await _until(stop, tasks)
    finally:
        await server.close()
        await _cancel(tasks)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await intake.drain()
    log.info("stopped, %d events not counted", intake.waiting())


def _observe(telemetry: Telemetry, intake: Intake, room: Room, book: Book) -> None:
    telemetry.observe(
        {
            "waiting_events": ("Events that wait to be counted.", intake.waiting),
            "body_bytes": ("Bytes of bodies in memory.", lambda: room.taken),
            "revisions": ("Revisions with counts.", book.revisions),
            "series": ("Time series of counts.", lambda: book.series),
        }
    )


def _listen(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)


async def _until(stop: asyncio.Event, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for `stop`; a task that ends before it has failed, and its exception is raised."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in done & set(tasks):
        task.result()


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
