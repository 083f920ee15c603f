"""Load a real collector process on the loopback and print how fast it answers and what it costs.

    python -m bench.collector [--rate 500] [--seconds 10]

`--rate` is the rated load: events a second for one replica on one core, each with one row of eight
features. The table has it once, twice, and then far more in large bodies than can be counted, to
show what is shed. Arrivals are a Poisson stream that waits for nobody; each latency begins when an
event was due, so a late sender counts against us; how late it was is shown too. Times belong to the
machine and are never judged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import ClientSession, web

from headgate.collector.bodies import parse_body
from headgate.collector.counting import Tally
from headgate.collector.events import Half
from headgate.core.drift.profile import (
    CategoryFeature,
    NumberFeature,
    Profile,
    digest,
    render,
)

ROOT = Path(__file__).parents[1]
PATH = "/v1/models/fraud/9c1d44e0"
CONNECTIONS = 64
MOST_EVENTS = 100_000
LARGE_ROWS = 2000
PATIENCE_SECONDS = 10.0
COUNTRIES = ("DE", "FR", "NL", "IT", "XX")


def profile() -> Profile:
    """Six numbers of thirteen edges and two categories, and a score."""
    edges, shares = tuple(float(at) for at in range(13)), (1 / 14,) * 14
    numbers = (NumberFeature(f"number_{at}", 10_000, edges, shares) for at in range(6))
    categories = (
        CategoryFeature(f"category_{at}", 10_000, COUNTRIES[:4], (0.2,) * 5) for at in range(2)
    )
    score = NumberFeature("score", 10_000, edges, shares)
    return Profile(10_000, (*numbers, *categories), score)


def body(rows: int, chance: random.Random) -> bytes:
    """A V1 request of so many rows."""
    instances = [
        [chance.uniform(-1.0, 14.0) for _ in range(6)] + [chance.choice(COUNTRIES) for _ in "xx"]
        for _ in range(rows)
    ]
    return json.dumps({"instances": instances}).encode()


def event(number: int, content: bytes) -> bytes:
    """One event as KServe's agent writes it on the wire."""
    head = (
        f"POST {PATH} HTTP/1.1",
        "Host: collector",
        "Ce-Specversion: 1.0",
        f"Ce-Id: {number:032x}",
        "Ce-Type: org.kubeflow.serving.inference.request",
        "Ce-Source: http://localhost:9081/",
        "Ce-Namespace: models",
        "Ce-Inferenceservicename: fraud-9c1d44e0",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    )
    return "\r\n".join([*head, "", ""]).encode() + content


class Connection(asyncio.Protocol):
    """One kept connection with at most one event under way; cheap, as the sender shares the CPU."""

    def __init__(self, answered: Callable[[Connection, bool], None]) -> None:
        self.due = 0.0
        self._answered = answered
        self._seen = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, raw: bytes, due: float) -> None:
        """Send one event that was due at this time."""
        self.due, self._seen = due, b""
        if self._transport is not None:
            self._transport.write(raw)

    def data_received(self, data: bytes) -> None:
        """Wait for the end of the answer, which has no body when an event is taken or shed."""
        self._seen += data
        if self._seen.endswith(b"\r\n\r\n"):
            closing = b"connection: close" in self._seen.lower()
            if closing:
                self.close()
            self._answered(self, not closing)

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()


@dataclass
class Load:
    """A Poisson stream of events over connections that are kept."""

    port: int
    rate: float
    seconds: float
    bodies: Sequence[bytes]
    latencies: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    _free: list[Connection] = field(default_factory=list)
    _waiting: deque[tuple[bytes, float]] = field(default_factory=deque)
    _closed: int = 0

    async def run(self, chance: random.Random, first: int) -> int:
        """Send until time is over and what can be is answered; returns how many were sent."""
        clock = asyncio.get_running_loop().time
        await self._connect(CONNECTIONS)
        due = clock()
        end, sent = due + self.seconds, 0
        while due < end and sent < MOST_EVENTS:
            due += chance.expovariate(self.rate)
            if due > clock():
                await asyncio.sleep(due - clock())
            self.lateness.append(clock() - due)
            number = first + sent
            self._waiting.append((event(number, self.bodies[number % len(self.bodies)]), due))
            self._send()
            sent += 1
            if self._closed:
                closed, self._closed = self._closed, 0
                await self._connect(closed)
        give_up = clock() + PATIENCE_SECONDS
        while len(self.latencies) < sent and clock() < give_up:
            await asyncio.sleep(0.05)
            await self._connect(self._closed)
            self._closed = 0
        for connection in self._free:
            connection.close()
        return sent

    async def _connect(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(number):
            _, made = await loop.create_connection(
                lambda: Connection(self._answered), "127.0.0.1", self.port
            )
            self._free.append(made)
        self._send()

    def _send(self) -> None:
        while self._waiting and self._free:
            self._free.pop().send(*self._waiting.popleft())

    def _answered(self, connection: Connection, stays: bool) -> None:
        self.latencies.append(asyncio.get_running_loop().time() - connection.due)
        if stays:
            self._free.append(connection)
            self._send()
        else:
            self._closed += 1

    def shown(self) -> str:
        """Latencies, and how late the sender was, in milliseconds."""
        found = [quantile(self.latencies, share) for share in (0.5, 0.99, 1.0)]
        found.append(quantile(self.lateness, 0.99))
        return " ".join(f"{1000 * seconds:8.1f}" for seconds in found)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that such a share is not above."""
    return sorted(values)[int(share * (len(values) - 1))]


@asynccontextmanager
async def cluster() -> AsyncIterator[Path]:
    """A loopback API server with one revision; yields a kubeconfig for it."""
    model = profile()
    reference = {"inline": json.loads(render(model)), "digest": digest(model)}
    revision = {"kind": "ModelRevision", "spec": {"drift": {"reference": reference}}}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(revision)

    app = web.Application()
    app.add_routes([web.get("/apis/{rest:.*}", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = {
        "clusters": [{"name": "bench", "cluster": {"server": server}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "users": [{"name": "bench", "user": {}}],
        "current-context": "bench",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kubeconfig"
        path.write_text(json.dumps(config))
        yield path
    await runner.cleanup()


@asynccontextmanager
async def collector(kubeconfig: Path) -> AsyncIterator[int]:
    """A collector process; yields its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headgate", "collector", "--host", "127.0.0.1", "--port", "0"),
        *("--kubeconfig", str(kubeconfig)),
        env=os.environ | {"PYTHONPATH": str(ROOT / "operator")},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        line = json.loads(await process.stderr.readline())["message"]
        yield int(line.rpartition(" ")[2])
    finally:
        process.terminate()
        await process.communicate()


async def metrics(port: int) -> dict[str, float]:
    """The numbers on the page, by name with labels."""
    url = f"http://127.0.0.1:{port}/metrics"
    async with ClientSession() as session, session.get(url) as response:
        lines = (await response.text()).splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def events_total(result: str) -> str:
    """The name of a counter of the page."""
    return f'headgate_collector_events_total{{half="request",result="{result}"}}'


async def until_counted(port: int) -> None:
    """Send until the profile is known, then wait until nothing is left."""
    chance = random.Random(0)
    while (await metrics(port))[events_total("counted")] == 0:
        await Load(port, 50, 0.1, [body(1, chance)]).run(chance, random.Random().getrandbits(63))
        await asyncio.sleep(0.1)


async def drained(port: int) -> dict[str, float]:
    """Wait until all that was taken is counted."""
    while True:
        now = await metrics(port)
        if now["headgate_collector_body_bytes"] == 0:
            return now
        await asyncio.sleep(0.1)


async def show(port: int, load: Load, rows: int, first: int) -> None:
    """Run one load and print its line."""
    before = await drained(port)
    sent = await load.run(random.Random(first), first)
    after = await drained(port)
    change = {name: after[name] - before.get(name, 0.0) for name in after}
    cpu, unanswered = change["process_cpu_seconds_total"], sent - len(load.latencies)
    print(
        f"{load.rate:7.0f} {rows:6d} {sent:7d} {load.shown()} "
        f"{change[events_total('counted')]:8.0f} {change[events_total('shed')]:6.0f} "
        f"{unanswered:10d} {100 * cpu / load.seconds:5.0f} {1e6 * cpu / sent:10.0f} "
        f"{after['process_resident_memory_bytes'] / 1e6:5.0f}",
        flush=True,
    )


async def loads(rate: float, seconds: float) -> None:
    """Print the table of loads."""
    chance = random.Random(0)
    small = [body(1, chance) for _ in range(100)]
    large = [body(LARGE_ROWS, chance) for _ in range(3)]
    print(f"rated load: {rate:g} events/s of 8 features on one core; latencies in ms")
    print(
        "     /s   rows    sent      p50      p99      max late p99  counted   shed unanswered  "
        "cpu%   us/event    MB"
    )
    async with cluster() as kubeconfig, collector(kubeconfig) as port:
        await until_counted(port)
        await show(port, Load(port, rate, seconds, small), 1, 1 << 32)
        await show(port, Load(port, 2 * rate, seconds, small), 1, 2 << 32)
        await show(port, Load(port, rate / 2, seconds / 2, large), LARGE_ROWS, 3 << 32)


def costs() -> None:
    """Print what counting costs by rows in an event, in CPU time, the best of several."""
    print("\nns per event-feature, CPU, best of 7 (counting alone; with reading the JSON)")
    for rows in (1, 10, 100, 1000):
        raw = body(rows, random.Random(rows))
        content, tally = parse_body(Half.REQUEST, raw), Tally(profile())
        repeats = max(1, 5000 // rows)
        alone = whole = float("inf")
        for _ in range(7):
            started = time.process_time()
            for _ in range(repeats):
                tally.add(Half.REQUEST, content)
            between = time.process_time()
            for _ in range(repeats):
                tally.add(Half.REQUEST, parse_body(Half.REQUEST, raw))
            ended = time.process_time()
            alone, whole = min(alone, between - started), min(whole, ended - between)
        unit = 1e9 / (repeats * rows * 8)
        print(f"{rows:5d} rows: {alone * unit:5.0f}; {whole * unit:5.0f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all of it."""
    parser = argparse.ArgumentParser(prog="bench.collector", description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0, help="rated load, events a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each load lasts")
    options = parser.parse_args(arguments)
    if not 1 <= options.rate <= 5000 or not 1 <= options.seconds <= 120:
        parser.error("wanted a rate of 1 to 5000 and 1 to 120 seconds")
    print(f"machine: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start")
    asyncio.run(loads(options.rate, options.seconds))
    costs()
    return 0


if __name__ == "__main__":
    sys.exit(main())
