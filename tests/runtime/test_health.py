"""Liveness, readiness and the server that tells them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
import pytest

from headgate.ports import DEPLOYMENT, MetricsUnavailable
from headgate.reconcile.world import Transition
from headgate.runtime.health import Health, LoopLag
from headgate.runtime.http import Server
from headgate.runtime.queue import Queue
from headgate.runtime.telemetry import Telemetry


@dataclass
class Vitals:
    """What the health is judged by, as the test sets it."""

    lag: float = 0.0
    oldest: float = 0.0

    def health(self) -> Health:
        """A health that reads these."""
        return Health(lambda: self.lag, lambda: self.oldest, timedelta(seconds=120))


@pytest.mark.parametrize(
    ("vitals", "because"),
    [
        pytest.param(Vitals(), None, id="an idle process is alive"),
        pytest.param(Vitals(4.9, 119.0), None, id="short of both limits it is alive"),
        pytest.param(
            Vitals(5.0), "event loop lag 5.0 s, wanted less than 5 s", id="a blocked loop is not"
        ),
        pytest.param(
            Vitals(0.0, 120.0),
            "a pass has lasted 120 s, wanted less than 120 s",
            id="a pass that outlives its deadline is not",
        ),
    ],
)
def test_liveness_has_a_reason(vitals: Vitals, because: str | None) -> None:
    """Liveness depends on the loop and on stuck passes alone, and says why it fails."""
    assert vitals.health().not_alive_because() == because


def test_readiness_is_told_by_the_operator() -> None:
    """A process starts not ready, and each state but the last has its reason."""
    health = Vitals().health()
    assert health.not_ready_because == "starting"
    health.ready()
    assert health.not_ready_because is None
    health.not_ready("stopping")
    assert health.not_ready_because == "stopping"


async def test_a_standby_is_ready(served: Served) -> None:
    """A rolling update would wait for ever for a new pod that waits for the old one."""
    served.health.standing_by()
    assert await served.get("/readyz") == (200, "standing by: another one works\n")
    served.health.not_ready("reading all ModelDeployments")
    assert (await served.get("/readyz"))[0] == 503
    served.health.ready()
    assert await served.get("/readyz") == (200, "ok\n")


@pytest.mark.looptime
async def test_an_idle_loop_has_no_lag() -> None:
    """The monitor's own sleep is not taken for lag."""
    lag = LoopLag()
    assert lag.seconds() == 0.0
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(3.2)
    assert lag.seconds() == pytest.approx(0.0, abs=1e-6)
    task.cancel()


async def test_a_blocked_loop_lags() -> None:
    """A call that blocks the loop is seen while it is overdue, and as the last sample after it."""
    lag = LoopLag()
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    time.sleep(0.8)  # noqa: ASYNC251 - blocking is what is tested
    overdue = lag.seconds()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert overdue >= 0.25
    assert lag.seconds() >= 0.25
    task.cancel()


@dataclass
class Served:
    """A server under test and how to ask it."""

    address: str
    vitals: Vitals
    health: Health
    telemetry: Telemetry

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of an answer."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.address + path) as response,
        ):
            return response.status, await response.text()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A server on a free port of the loopback."""
    vitals, telemetry = Vitals(), Telemetry()
    health = vitals.health()
    server = Server(telemetry.registry, health)
    port = await server.start("127.0.0.1", 0)
    yield Served(f"http://127.0.0.1:{port}", vitals, health, telemetry)
    await server.close()


async def test_livez_and_readyz_tell_their_reasons(served: Served) -> None:
    """200 and ok, or 503 and the reason in one line."""
    assert await served.get("/livez") == (200, "ok\n")
    assert await served.get("/readyz") == (503, "starting\n")
    served.health.ready()
    served.vitals.lag = 7.0
    assert await served.get("/readyz") == (200, "ok\n")
    assert await served.get("/livez") == (
        503,
        "event loop lag 7.0 s, wanted less than 5 s\n",
    )
    assert (await served.get("/debug"))[0] == 404


async def test_a_taken_port_is_an_error(served: Served) -> None:
    """Two servers on one port: the second says so instead of serving nothing."""
    second = Server(served.telemetry.registry, served.health)
    with pytest.raises(OSError, match="address already in use"):
        await second.start("127.0.0.1", int(served.address.rpartition(":")[2]))
    await second.close()


async def test_what_happened_is_counted(served: Served) -> None:
    """Each thing the runtime tells is found again in /metrics, under its labels."""
    telemetry = served.telemetry
    queue: Queue[str] = Queue(lambda: 0.0, telemetry.waited)
    telemetry.observe(queue, lambda: 0.25, lambda: 3)
    queue.add("a")
    queue.add("a")
    queue.add("b")
    await queue.get()
    telemetry.passed("ok", 0.1)
    telemetry.heard(DEPLOYMENT)
    telemetry.called("patch", "httproutes", 409)
    telemetry.missed("deleted", 1)
    telemetry.resynced("missed")
    telemetry.changed(
        Transition("RolledBack", "ErrorsBreached", "m", "r", "v", "RolledBack", warning=True)
    )

    _, text = await served.get("/metrics")
    for line in (
        "headgate_queue_depth 1.0",
        "headgate_passes_in_flight 1.0",
        "headgate_queue_adds_total 3.0",
        "headgate_queue_coalesced_total 1.0",
        "headgate_queue_wait_seconds_count 1.0",
        'headgate_pass_seconds_count{outcome="ok"} 1.0',
        'headgate_watch_events_total{resource="deployments"} 1.0',
        'headgate_cluster_requests_total{code="409",resource="httproutes",verb="patch"} 1.0',
        'headgate_watch_missed_total{how="deleted"} 1.0',
        'headgate_resyncs_total{result="missed"} 1.0',
        'headgate_transitions_total{phase="RolledBack",reason="ErrorsBreached"} 1.0',
        'headgate_rollouts_total{outcome="RolledBack",reason="ErrorsBreached"} 1.0',
        "headgate_loop_lag_seconds 0.25",
        "headgate_modeldeployments 3.0",
    ):
        assert line in text.splitlines()


async def test_a_failed_reading_is_timed_and_raised(served: Served) -> None:
    """Counting a reading of Prometheus changes nothing about how it ends."""

    async def fail() -> None:
        raise MetricsUnavailable("down")

    with pytest.raises(MetricsUnavailable, match="down"):
        await served.telemetry.timed_read(fail())

    _, text = await served.get("/metrics")
    assert 'headgate_prometheus_read_seconds_count{result="unavailable"} 1.0' in text.splitlines()
