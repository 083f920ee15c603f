"""Our own request to a revision: what counts as an answer."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from aiohttp import web
from tests.adapters.servers import serving

from headgate.adapters.clock import SystemClock
from headgate.adapters.probe import HttpProber
from headgate.ports import Probe


async def probe(url: str, path: str = "/v1/models/fraud", **settings: timedelta | str) -> Probe:
    """Ask the server at `url` once."""
    host = url.removeprefix("http://")
    return await HttpProber(**settings).probe(host, path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "body", "answered", "said"),
    [
        pytest.param(200, b'{"ready":"True"}', True, 'HTTP 200: {"ready":"True"}', id="ready"),
        pytest.param(204, b"", True, "HTTP 204", id="ready without a word"),
        pytest.param(302, b"", False, "HTTP 302", id="a redirect is no answer"),
        pytest.param(404, b"no model", False, "HTTP 404: no model", id="not this model"),
        pytest.param(503, b"loading\x1b[31m\n\x00now", False, "loading [31m now", id="cleaned"),
        pytest.param(500, b"\xff\xfe", False, "HTTP 500: \ufffd\ufffd", id="not text"),
        pytest.param(500, b"x" * 100_000, False, "x" * 150, id="cut"),
    ],
)
async def test_a_status(code: int, body: bytes, answered: bool, said: str) -> None:
    """Only 2xx is an answer; the message tells status and beginning, on one short line."""

    async def handler(_: web.Request) -> web.Response:
        headers = {"Location": "/"} if code == 302 else None
        return web.Response(status=code, body=body, headers=headers)

    async with serving(handler) as url:
        found = await probe(url)
    assert found.answered is answered
    assert said in found.message
    assert f"GET {url}/v1/models/fraud: HTTP {code}" in found.message
    assert len(found.message) < 300
    assert found.message.isprintable()


async def test_no_answer_in_time() -> None:
    """A model that hangs, even after its headers, has not answered."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    async with serving(handler) as url:
        found = await probe(url, timeout=timedelta(seconds=0.2))
    assert not found.answered
    assert found.message.endswith("no answer in 0.2 s")


async def test_an_endless_body_is_not_waited_for() -> None:
    """A body without end is an answer as soon as its beginning is there."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"data " * 1000)
            await asyncio.sleep(0)

    async with serving(handler) as url:
        found = await probe(url)
    assert found.answered
    assert "HTTP 200: data data" in found.message


async def test_nobody_there() -> None:
    """A refused connection is not an answer, and says why."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response()

    async with serving(handler) as url:
        pass
    found = await probe(url)
    assert not found.answered
    assert "onnect" in found.message


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("fraud-predictor.invalid", id="no such name"),
        pytest.param("", id="no host"),
        pytest.param("a b", id="a blank"),
        pytest.param("[::1", id="half an address"),
        pytest.param("x:99999", id="no port"),
    ],
)
async def test_a_host_that_is_none(host: str) -> None:
    """A host that cannot be asked has not answered; nothing is raised."""
    found = await HttpProber(timeout=timedelta(seconds=2)).probe(host, "/")
    assert not found.answered
    assert found.message.startswith("GET http://")


async def test_by_a_proxy() -> None:
    """From outside the pod network the request goes to a forward proxy, whole."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.raw_path} {request.host}")
        return web.Response(text="ready")

    name = "fraud-predictor.models.svc.cluster.local"
    async with serving(handler) as url:
        found = await HttpProber(proxy=url).probe(name, "v2/health")
    assert found == Probe(True, f"GET http://{name}/v2/health: HTTP 200: ready")
    assert asked == [f"GET http://{name}/v2/health {name}"]


def test_the_clock_tells_aware_utc() -> None:
    """A moment without a zone could be compared with none from the API server."""
    offset = SystemClock().now().utcoffset()
    assert offset == timedelta(0)
