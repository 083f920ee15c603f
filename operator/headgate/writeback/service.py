"""One write-back process: starts its parts in order, and stops them in the opposite order.

Owns the life cycle and which adapters stand behind the ports. What is stopped at any moment leaves
nothing half-done: each write is whole, and the next start finds out what was made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from secrets import SystemRandom, token_hex

from headgate import __version__
from headgate.adapters.clock import SystemClock
from headgate.adapters.hosts import Hosts
from headgate.adapters.kubernetes import KubernetesCluster, find_login
from headgate.adapters.outbound import Outbound
from headgate.adapters.webhook import HttpWebhooks
from headgate.ports import Clock, Cluster, Refused, Unavailable, Webhooks
from headgate.reconcile.world import Key, Report
from headgate.runtime.health import Health, LoopLag
from headgate.runtime.http import Server
from headgate.runtime.queue import Queue
from headgate.runtime.workers import Workers
from headgate.writeback.backends import RealBackends
from headgate.writeback.ledger import CLAIM, Ledger
from headgate.writeback.look import Look
from headgate.writeback.settings import SettingError, Settings
from headgate.writeback.telemetry import Telemetry
from headgate.writeback.world import COMPONENT, Backends, World, write_back

WORKERS = 4
DEADLINE = CLAIM - timedelta(seconds=30)
"""The longest a pass may last: a claim outlives it, so that nobody else begins meanwhile."""

GRACE = timedelta(seconds=8)
"""How long passes may go on after SIGTERM; a pod has ten seconds by our manifests."""

OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

log = logging.getLogger("headgate.writeback")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a write-back is made of."""

    cluster: Cluster
    backends: Backends
    webhooks: Webhooks
    clock: Clock
    jitter: Callable[[], float]
    hosts: Hosts


async def serve(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """
    Run against the cluster until SIGTERM, SIGINT or `stop`.

    Raises:
        SettingError: A setting cannot be used, or our own namespace is not known.
        OSError: The port is taken.
    """
    kubeconfig, ca_file = settings.kubeconfig, settings.ca_file
    for flag, path in (("--kubeconfig", kubeconfig), ("--ca-file", ca_file)):
        if path is not None and not path.is_file():
            raise SettingError(f"{flag}: wanted a file, found none at {path}")
    namespace = settings.namespace or _own_namespace()
    telemetry = Telemetry()
    login = find_login(str(kubeconfig) if kubeconfig else None)
    cluster = KubernetesCluster(login, on_call=telemetry.called, field_manager=COMPONENT)
    hosts = Hosts(settings.hosts, "setting --hosts", settings.plain_http_hosts)
    outbound = Outbound(hosts, ca_file)
    parts = Parts(
        cluster=cluster,
        backends=RealBackends(outbound, hosts, ca_file),
        webhooks=HttpWebhooks(outbound),
        clock=SystemClock(),
        jitter=SystemRandom().random,
        hosts=hosts,
    )
    try:
        await run(settings, namespace, parts, telemetry, stop or asyncio.Event())
    finally:
        await outbound.close()
        await cluster.close()


async def run(
    settings: Settings,
    namespace: str,
    parts: Parts,
    telemetry: Telemetry,
    stop: asyncio.Event,
    started: Callable[[int], object] = lambda port: None,
) -> None:
    """
    Serve until a signal or `stop`.

    Args:
        settings: What may be set.
        namespace: Our own namespace.
        parts: What it is made of.
        telemetry: Counts what happens.
        stop: Ends it when set.
        started: Is called once with the port, when it listens.
    """
    world = World(
        cluster=parts.cluster,
        ledger=Ledger(parts.cluster, namespace),
        backends=parts.backends,
        webhooks=parts.webhooks,
        namespace=namespace,
        holder=f"{socket.gethostname()}-{token_hex(4)}",
        jitter=parts.jitter,
        became=telemetry.became,
    )

    async def one_pass(key: Key, now: datetime) -> Report:
        return await write_back(key, world, now)

    queue: Queue[Key] = Queue(parts.jitter)
    lag = LoopLag()
    health = Health(lag.seconds, queue.oldest_in_flight_seconds, 2 * DEADLINE)
    server = Server(telemetry.registry, health)
    workers = Workers(queue, one_pass, parts.clock, telemetry, DEADLINE)
    look = Look(world, parts.hosts, queue.add, settings.keep)
    telemetry.observe(
        {
            "queue_depth": ("Records that wait for a pass.", queue.depth),
            "queue_failing": ("Records whose last pass failed.", queue.failing),
            "policies": ("Namespaces with a policy in force.", lambda: len(world.policies)),
        }
    )
    _listen(stop)
    port = await server.start(settings.http_host, settings.http_port)
    log.info("headgate %s writes back; /metrics on port %d", __version__, port)
    started(port)
    health.not_ready("reading policies")
    looking = _looks(look, parts.clock, settings.interval, health, telemetry)
    tasks = [asyncio.create_task(work) for work in (lag.run(), queue.run(), looking)]
    workers.start(WORKERS)
    try:
        await _until(stop, [*tasks, *workers.tasks()])
    finally:
        health.not_ready("stopping")
        cut = await workers.stop(GRACE)
        if cut:
            log.warning("%d passes did not end in time and were cancelled", cut)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.close()
    log.info("stopped")


async def _looks(
    look: Look, clock: Clock, interval: timedelta, health: Health, telemetry: Telemetry
) -> None:
    """Look at everything again and again; what fails is tried at the next look."""
    while True:
        try:
            await look.run(clock.now())
            telemetry.looked("ok")
            health.ready()
        except Unavailable as error:
            log.warning("%s", error)
            telemetry.looked("unavailable")
        except Refused as error:
            log.error("%s - are the ReleasePolicy CRD and our rules installed?", error)
            telemetry.looked("refused")
        await asyncio.sleep(interval.total_seconds())


def _own_namespace() -> str:
    with contextlib.suppress(OSError):
        return OWN_NAMESPACE.read_text().strip()
    raise SettingError("--namespace: wanted our own namespace, as there is no ServiceAccount here")


def _listen(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for `stop`; a task that ends before it has failed, and its exception is raised."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    for task in done & set(tasks):
        task.result()
