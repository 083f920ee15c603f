"""Statuses of Gateways and routes, and the whole gateway part before an API server in memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.sandbox.fakeapi import FakeApi, serving
from tests.sandbox.waiting import until, until_asked

from sandbox.envoy import EnvoyFailed, find_envoy
from sandbox.gateway import Gateway, PortBook, Settings
from sandbox.gatewaystatus import render_route_status
from sandbox.httproutes import CONTROLLER, Parent, Port, Translation
from sandbox.kube import Kube, Login
from sandbox.kubewatch import Key
from sandbox.ports import choose
from sandbox.routerules import Condition
from sandbox.xds import Config

Json = dict[str, Any]
API = "/apis/gateway.networking.k8s.io/v1"
ROUTE = f"{API}/namespaces/models/httproutes/fraud"
REF = {"name": "public", "namespace": "gateways"}
GOOD = Condition("Accepted", True, "Accepted", "Route is accepted")
FOREIGN = {"parentRef": {"name": "x"}, "controllerName": "example.com/other", "conditions": []}


def translation(*conditions: Condition) -> Translation:
    return Translation(Config(), (), {}, {Key("models", "fraud"): (Parent(REF, conditions),)})


def route(status: Json | None = None, generation: int = 2) -> Json:
    meta = {"namespace": "models", "name": "fraud", "generation": generation}
    return {"metadata": meta, "status": status or {}}


def test_a_routes_status_names_generation_and_controller() -> None:
    """A condition is about the generation it was made from, and says who made it."""
    (parent,) = render_route_status(route(), translation(GOOD), "now")["parents"]
    assert parent["controllerName"] == CONTROLLER
    assert parent["parentRef"] == REF
    assert parent["conditions"] == [
        {
            "type": "Accepted",
            "status": "True",
            "reason": "Accepted",
            "message": "Route is accepted",
            "observedGeneration": 2,
            "lastTransitionTime": "now",
        }
    ]


def test_a_new_generation_keeps_the_transition_time() -> None:
    """Only a change of the status itself is a transition."""
    before = render_route_status(route(), translation(GOOD), "then")
    (parent,) = render_route_status(route(before, 3), translation(GOOD), "now")["parents"]
    assert parent["conditions"][0]["lastTransitionTime"] == "then"
    assert parent["conditions"][0]["observedGeneration"] == 3


def test_what_other_controllers_wrote_stays() -> None:
    """A parent of another controller is left as it is."""
    found = render_route_status(route({"parents": [FOREIGN]}), translation(GOOD), "now")
    assert found["parents"][1:] == [FOREIGN]


def test_the_first_port_is_the_promised_one_for_good(tmp_path: Path) -> None:
    """The first Gateway port gets the world's port, another a free one, also after restarts."""
    one, two = (Port(Key("gateways", name), 80) for name in ("public", "other"))
    book = PortBook(tmp_path / "ports.json", 9000)
    assert book.local(one) == 9000
    other = book.local(two)
    assert other != 9000
    again = PortBook(tmp_path / "ports.json", 9000)
    assert (again.local(two), again.local(one)) == (other, 9000)


async def fill(api: FakeApi, backend: int) -> None:
    """Store a Gateway, a Service with one pod, and a route to it."""
    await api.put(f"{API}/gatewayclasses/envoy", {"spec": {"controllerName": CONTROLLER}})
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    listener["allowedRoutes"] = {"namespaces": {"from": "All"}}  # type: ignore[assignment]
    await api.put(
        f"{API}/namespaces/gateways/gateways/public",
        {
            "metadata": {"generation": 1},
            "spec": {"gatewayClassName": "envoy", "listeners": [listener]},
        },
    )
    api.objects[f"{API}/gatewayclasses/envoy"]["metadata"]["generation"] = 1
    await api.put("/api/v1/namespaces/models", {})
    folder = "/api/v1/namespaces/models"
    await api.put(f"{folder}/services/a", {"spec": {"ports": [{"port": 80}]}})
    await api.put(
        "/apis/discovery.k8s.io/v1/namespaces/models/endpointslices/a",
        {
            "metadata": {"labels": {"kubernetes.io/service-name": "a"}},
            "ports": [{"port": 8080}],
            "endpoints": [{"addresses": ["10.244.0.3"], "conditions": {"ready": True}}],
        },
    )
    ports = {"sandbox.headgate.dev/ports": f'{{"8080": {backend}}}'}
    await api.put(
        f"{folder}/pods/a",
        {"metadata": {"annotations": ports}, "spec": {}, "status": {"podIP": "10.244.0.3"}},
    )
    rules = [{"backendRefs": [{"name": "a", "port": 80}]}]
    await api.put(
        ROUTE, {"metadata": {"generation": 1}, "spec": {"parentRefs": [REF], "rules": rules}}
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    ports = choose(["gateway", "admin", "services"], {}, seed=hash(tmp_path)).values()
    return Settings(Path(), tmp_path, *ports, find_envoy())


async def test_a_route_works_and_says_so(settings: Settings) -> None:
    """
    From objects to answers, also while the API server is away.

    A Service that vanishes meanwhile turns the answers and the status afterwards.
    """

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with (
        TestServer(app, host="127.0.0.1") as server,
        serving() as api,
        Kube(Login(api.url, None, ""), "test") as kube,
        aiohttp.ClientSession() as session,
    ):
        await fill(api, server.port or 0)
        gateway = asyncio.create_task(Gateway(settings, kube).run())

        async def answers(wanted: tuple[int, str]) -> None:
            async def asked() -> bool:
                try:
                    async with session.get(f"http://127.0.0.1:{settings.port}/") as response:
                        return (response.status, await response.text()) == wanted
                except aiohttp.ClientError:
                    return False

            await until_asked(asked)

        def resolved() -> str:
            parents = api.objects[ROUTE].get("status", {}).get("parents") or [{"conditions": []}]
            reasons = {c["type"]: c["reason"] for c in parents[0]["conditions"]}
            return str(reasons.get("ResolvedRefs"))

        try:
            await answers((200, "hello"))
            await until(lambda: resolved() == "ResolvedRefs")
            api.refuse_with = 503
            await api.break_off()
            await answers((200, "hello"))
            await api.remove("/api/v1/namespaces/models/services/a")
            api.refuse_with = 0
            await answers((500, ""))
            await until(lambda: resolved() == "BackendNotFound")
        finally:
            gateway.cancel()
            await asyncio.gather(gateway, return_exceptions=True)


async def test_an_envoy_that_cannot_start_is_said_so(settings: Settings, tmp_path: Path) -> None:
    """A binary that ends at once is an error of the part, not a silent wait."""
    async with serving() as api, Kube(Login(api.url, None, ""), "test") as kube:
        with pytest.raises(EnvoyFailed, match="Envoy ended with 1"):
            await Gateway(replace(settings, envoy=Path("/bin/false")), kube).run()
