"""The Kubernetes client of the embedded world."""

from __future__ import annotations

from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.kube import Kube, Login


async def test_who_is_asked_to_come_later_does() -> None:
    """429 is no refusal: an API server says so of a kind that it has just learned of."""
    answers = [429, 200]

    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"kind": "List"}, status=answers.pop(0))

    app = web.Application()
    app.router.add_get("/apis", handle)
    async with TestServer(app) as server:
        login = Login(str(server.make_url("")).rstrip("/"), None, "")
        async with Kube(login, "test") as kube:
            found = await kube.get("/apis")

    assert found == {"kind": "List"}
    assert answers == []
