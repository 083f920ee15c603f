"""The collector's HTTP server: events in, counts out.

Owns paths, status codes and how a body is read. Must not know what is in a body. The sender is
KServe's agent, in the serving path of a model: what holds it up costs the model memory, so an event
is answered as soon as it is here, and counted later or dropped. Nothing is logged about one event.

| answer | when                                                                                |
|--------|-------------------------------------------------------------------------------------|
| 200    | the event is here, or was dropped for want of room: sending it again would not help |
| 400    | path or headers are not those of an event, or of another model than the path's      |
| 408    | the body did not arrive in time, or not whole                                       |
| 413    | the body is too long                                                                |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientError, web
from prometheus_client import generate_latest

from headgate.collector.events import (
    Address,
    Event,
    Head,
    Result,
    Unusable,
    parse_address,
    parse_head,
)
from headgate.collector.exposition import CONTENT_TYPE, render
from headgate.collector.intake import Intake
from headgate.collector.telemetry import Telemetry

PATH: Final = "/v1/{namespace}/{deployment}/{hash}"
READ_SECONDS: Final = 10.0
"""The longest a body may take to arrive."""

SILENT: Final = logging.getLogger("headgate.collector.http")
"""Where aiohttp writes: its messages quote requests that it cannot read, so it is switched off."""
SILENT.disabled = True


@dataclass(frozen=True, slots=True)
class Limits:
    """What is taken: bodies up to `max_body` bytes, and if any are named only these namespaces."""

    max_body: int
    namespaces: Sequence[str] = ()


class Server:
    """Serves until closed; plain HTTP."""

    def __init__(self, intake: Intake, telemetry: Telemetry, limits: Limits) -> None:
        """Take what is needed; nothing listens yet."""
        self._intake = intake
        self._telemetry = telemetry
        self._limits = limits
        self._runner: web.AppRunner | None = None
        self.not_ready_because: str | None = "starting"

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port: the given one, or a free one for 0. Raises OSError."""
        app = web.Application(client_max_size=self._limits.max_body)
        app.add_routes(
            [
                web.post(PATH, self._event),
                web.get("/metrics", self._metrics),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
            ]
        )
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=SILENT,
            auto_decompress=False,  # a compressed body is not what the agent sends, but a bomb
            lingering_time=1.0,
            keepalive_timeout=75.0,
            shutdown_timeout=1.0,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=1024).start()
        self.not_ready_because = None
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Stop listening and let answers under way end; closing twice is fine."""
        self.not_ready_because = "stopping"
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _event(self, request: web.Request) -> web.Response:
        clock = asyncio.get_running_loop().time
        started = clock()
        half = None
        try:
            address = self._address(request)
            head = parse_head(address, request.headers)
            half = head.half
            await self._take(request, address, head)
        except Unusable as error:
            self._telemetry.became(half, error.result)
            return _refusal(error)
        finally:
            self._telemetry.answered(clock() - started)
        return web.Response()

    def _address(self, request: web.Request) -> Address:
        address = parse_address(*(request.match_info[name] for name in _PARTS))
        served = self._limits.namespaces
        if served and address.namespace not in served:
            raise Unusable(Result.REFUSED, f"one of the namespaces {', '.join(served)}")
        return address

    async def _take(self, request: web.Request, address: Address, head: Head) -> None:
        """Read the body and put the event in line, if there is room for both."""
        most, room = self._limits.max_body, self._intake.room
        size = most if request.content_length is None else request.content_length
        if size > most:
            raise _too_long(most)
        if not room.take(size):
            self._telemetry.became(head.half, Result.SHED)
            return
        body = b""
        try:
            body = await _read(request, most)
        finally:
            room.give(size - len(body))
        if not self._intake.put(Event(address, head, body)):
            room.give(len(body))
            self._telemetry.became(head.half, Result.SHED)

    async def _metrics(self, request: web.Request) -> web.Response:
        counts = render(self._intake.book.tallies())
        body = generate_latest(self._telemetry.registry) + counts.encode()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _livez(self, request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        if self.not_ready_because is None:
            return web.Response(text="ok\n")
        return web.Response(status=503, text=f"{self.not_ready_because}\n")


_PARTS: Final = ("namespace", "deployment", "hash")
_STATUS: Final = {Result.OVERSIZED: 413, Result.INTERRUPTED: 408}


def _refusal(error: Unusable) -> web.Response:
    return web.Response(status=_STATUS.get(error.result, 400), text=f"{error}\n")


def _too_long(most: int) -> Unusable:
    return Unusable(Result.OVERSIZED, f"a body of at most {most} bytes")


async def _read(request: web.Request, most: int) -> bytes:
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_long(most) from None
    except (ClientError, web.RequestPayloadError, OSError):
        raise Unusable(Result.INTERRUPTED, f"a whole body in {READ_SECONDS:g} s") from None
