"""A real Envoy does what the translation says, and loses no request while it changes."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.sandbox.waiting import until, until_asked

from sandbox.endpoints import Endpoint
from sandbox.envoy import LINGER_SECONDS, Envoy, find_envoy
from sandbox.ports import choose
from sandbox.xds import (
    UNRESOLVED,
    Cluster,
    Config,
    HeaderEdits,
    Listener,
    Match,
    Mirror,
    Pool,
    Route,
    Target,
    VirtualHost,
)

HOST = "fraud.example.com"
CHANGES = 200


class Clock:
    """The time by which clusters age; it stands still until it is moved."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.seconds = 0.0

    def __call__(self) -> float:
        """Tell it."""
        return self.seconds


class World(NamedTuple):
    """A running Envoy, two servers behind it, and what they got."""

    envoy: Envoy
    clock: Clock
    ends: dict[str, Endpoint]
    gateway: int
    services: int
    admin: int
    got: Counter[str]
    session: aiohttp.ClientSession

    def config(
        self, *targets: Target, mirrors: tuple[Mirror, ...] = (), timeout: float | None = None
    ) -> Config:
        """Return a configuration that sends to clusters named like the servers."""
        limit = None if timeout is None else timedelta(seconds=timeout)
        used = {t.cluster for t in targets if t.weight} | {m.cluster for m in mirrors}
        route = Route("r", Match(), targets, mirrors, timeout=limit)
        service = Route("service/models/a/80", Match(), (Target("service/models/a/80", 1),))
        name = "a.models.svc.cluster.local"
        return Config(
            (
                Listener("public", self.gateway, (VirtualHost(HOST, (HOST,), (route,)),)),
                Listener(
                    "services", self.services, (VirtualHost(name, (name,), (service,)),), True
                ),
            ),
            (
                *(Cluster(name, (self.pool(name),)) for name in sorted(used - {UNRESOLVED})),
                Cluster("service/models/a/80", (self.pool("a"),)),
            ),
        )

    def pool(self, name: str) -> Pool:
        return Pool(1, (self.ends[name],) if name in self.ends else ())

    async def ask(self, path: str = "/") -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.gateway}{path}"
        async with self.session.get(url, headers={"Host": HOST}) as response:
            return response.status, await response.text()

    async def answers(self, wanted: set[tuple[int, str]]) -> None:
        """Wait until forty answers in a row are the wanted ones, each at least once."""

        async def are_wanted() -> bool:
            return {await self.ask() for _ in range(40)} == wanted

        await until_asked(are_wanted)


@asynccontextmanager
async def server(name: str, got: Counter[str]) -> AsyncIterator[Endpoint]:
    async def answer(request: web.Request) -> web.Response:
        got[name] += 1
        if request.path == "/slow":
            await asyncio.sleep(5)
        if request.path == "/reset" and request.transport is not None:
            request.transport.abort()
        if request.path in ("/404", "/500"):
            return web.Response(status=int(request.path[1:]))
        return web.Response(text=name + request.headers.get("revision", ""))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    running = TestServer(app, host="127.0.0.1")
    await running.start_server()
    try:
        yield Endpoint("127.0.0.1", running.port or 0)
    finally:
        await running.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Run an Envoy before two servers, `a` and `b`."""
    got: Counter[str] = Counter()
    ports = choose(["gateway", "services", "admin"], {}, seed=hash(tmp_path))
    clock = Clock()
    envoy = Envoy(find_envoy(), tmp_path, ports["admin"], clock)
    async with server("a", got) as a, server("b", got) as b, aiohttp.ClientSession() as session:
        made = World(envoy, clock, {"a": a, "b": b}, *ports.values(), got, session)
        try:
            await envoy.start(made.config(Target("a", 1)))
            yield made
        finally:
            await envoy.stop()


async def test_two_hundred_weight_changes_lose_no_request(world: World) -> None:
    """Weights from 0 to 100 and back, clusters coming and going: every request is answered."""
    seen: Counter[tuple[int, str]] = Counter()
    done = asyncio.Event()

    async def client() -> None:
        while not done.is_set():
            seen[await world.ask()] += 1

    clients = [asyncio.create_task(client()) for _ in range(4)]
    for number in range(CHANGES):
        weight = (0, 100, 5, 0, 50)[number % 5]
        targets = [Target(n, w) for n, w in (("a", 100 - weight), ("b", weight)) if w]
        before = seen.total()
        await world.envoy.apply(world.config(*targets))
        if number % 20 == 0:
            await drop_unused(world, world.config(*targets))
        await until(lambda before=before: seen.total() > before)
    done.set()
    await asyncio.gather(*clients)
    assert set(seen) == {(200, "a"), (200, "b")}


async def drop_unused(world: World, only_a: Config) -> None:
    """Let the other cluster's time pass once nothing is sent there any more, and see it leave."""
    await world.answers({(200, "a")})
    world.clock.seconds += LINGER_SECONDS
    assert await world.envoy.apply(only_a) is None
    await until_asked(lambda: has_left(world, "b"))


async def has_left(world: World, cluster: str) -> bool:
    """Say whether Envoy has dropped a cluster."""
    return f"{cluster}::" not in await admin(world, "/clusters")


async def test_a_change_after_a_long_rest_keeps_the_clusters_in_use(world: World) -> None:
    """A cluster's last use is the moment its route goes, however long ago the route was written."""
    await world.envoy.apply(world.config(Target("a", 50), Target("b", 50)))
    await world.answers({(200, "a"), (200, "b")})
    world.clock.seconds += 10 * LINGER_SECONDS

    left = await world.envoy.apply(world.config(Target("b", 1)))

    assert left == LINGER_SECONDS, "a left before its route did"
    assert not await has_left(world, "a")


async def test_an_unused_cluster_leaves_later(world: World) -> None:
    """A cluster without routes stays for its time, and then the same configuration drops it."""
    await world.envoy.apply(world.config(Target("a", 1), Target("b", 1)))
    wait = await world.envoy.apply(world.config(Target("a", 1)))
    assert wait == LINGER_SECONDS
    world.clock.seconds += wait - 1
    assert await world.envoy.apply(world.config(Target("a", 1))) == pytest.approx(1)
    assert not await has_left(world, "b")
    world.clock.seconds += 1
    assert await world.envoy.apply(world.config(Target("a", 1))) is None
    await until_asked(lambda: has_left(world, "b"))


async def admin(world: World, path: str) -> str:
    async with world.session.get(f"http://127.0.0.1:{world.admin}{path}") as response:
        return await response.text()


async def test_an_unresolved_share_gets_500_and_an_empty_one_503(world: World) -> None:
    """What cannot be resolved costs its own share only; no endpoints is 503."""
    await world.envoy.apply(world.config(Target("a", 1), Target(UNRESOLVED, 1)))
    await world.answers({(200, "a"), (500, "")})
    await world.envoy.apply(world.config(Target("a", 1), Target("idle", 1)))
    await world.answers({(200, "a"), (503, "no healthy upstream")})
    await world.envoy.apply(world.config(Target("a", 0)))
    await world.answers({(500, "")})


async def test_each_backend_gets_its_own_headers(world: World) -> None:
    """A backend's header edits reach only that backend; a percent sign stays a percent sign."""
    edits = HeaderEdits(set=(("revision", "-50%"),))
    await world.envoy.apply(world.config(Target("a", 1, edits), Target("b", 1)))
    await world.answers({(200, "a-50%"), (200, "b")})


async def test_a_mirror_copies_and_never_answers(world: World) -> None:
    """Mirrored requests reach the second server while the first one answers all."""
    await world.envoy.apply(world.config(Target("a", 1), mirrors=(Mirror("b"),)))

    async def has_copy() -> bool:
        assert await world.ask() == (200, "a")
        return world.got["b"] > 0

    await until_asked(has_copy)


async def test_a_timeout_ends_a_slow_answer(world: World) -> None:
    """After the rule's timeout the client gets 504."""
    await world.envoy.apply(world.config(Target("a", 1), timeout=0.2))

    async def times_out() -> bool:
        return (await world.ask("/slow"))[0] == 504

    await until_asked(times_out)


async def test_services_are_reached_through_the_proxy_by_name(world: World) -> None:
    """A client with the service listener as its HTTP proxy reaches a Service by DNS name."""
    proxy = f"http://127.0.0.1:{world.services}"
    url = "http://a.models.svc.cluster.local/x"
    async with world.session.get(url, proxy=proxy) as response:
        assert (response.status, await response.text()) == (200, "a")


async def test_series_carry_the_clusters_names(world: World) -> None:
    """Envoy's metrics name clusters as the translation does, with the class of the answers."""
    await world.answers({(200, "a")})
    text = await admin(world, "/stats/prometheus")
    assert 'envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="a"}' in (
        text
    )


_ENDED = re.compile(
    r"envoy_cluster_endpoint_rq_(\w+)"
    r'{envoy_cluster_name="a",envoy_endpoint_address="([^"]+)"} (\d+)'
)


@pytest.mark.parametrize(
    ("path", "status", "counted"),
    [
        pytest.param("/", 200, ["success"], id="a good answer"),
        pytest.param("/404", 404, ["success"], id="the client's mistake"),
        pytest.param("/500", 500, ["error"], id="the pod's mistake"),
        pytest.param("/reset", 503, ["error"], id="a broken connection"),
        pytest.param("/slow", 504, ["error", "timeout"], id="a timeout"),
    ],
)
async def test_each_endpoint_has_its_own_counters(
    world: World, path: str, status: int, counted: list[str]
) -> None:
    """Each pod is counted by itself, under its cluster's name and the address Envoy reaches."""
    limit = 0.2 if path == "/slow" else None
    await world.envoy.apply(world.config(Target("a", 1), timeout=limit))

    async def is_answered() -> bool:
        return (await world.ask(path))[0] == status

    # A request before Envoy has taken up the limit would be counted as a good one.
    await until_asked(is_answered)
    before = await ended(world)
    assert await is_answered()
    after = await ended(world)
    assert {address for _, address in after} == {f"127.0.0.1:{world.ends['a'].port}"}
    grown = {name for (name, address), count in after.items() if count > before[name, address]}
    assert [name for name in ("success", "error", "timeout") if name in grown] == counted


async def ended(world: World) -> dict[tuple[str, str], int]:
    """Return how many requests of `a` ended, by how and at which endpoint."""
    series = _ENDED.findall(await admin(world, "/stats/prometheus"))
    return {(name, address): int(count) for name, address, count in series}
