"""The operator's own HTTP server: /metrics, /livez, /readyz.

Owns paths and status codes. Must not know what is measured, nor what makes the process healthy.
"""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from headgate.runtime.health import Health


class Server:
    """Serves until closed; plain HTTP, no object names and no secrets in any answer."""

    def __init__(self, registry: CollectorRegistry, health: Health) -> None:
        """Take what is to be served; nothing listens yet."""
        self._registry = registry
        self._health = health
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port: the given one, or a free one for 0. Raises OSError."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        address = self._runner.addresses[0]
        return int(address[1])

    async def close(self) -> None:
        """Stop listening and close what clients keep open; closing twice is fine."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _livez(self, request: web.Request) -> web.Response:
        return _answer(self._health.not_alive_because())

    async def _readyz(self, request: web.Request) -> web.Response:
        return _answer(self._health.not_ready_because, self._health.note)


def _answer(trouble: str | None, note: str = "ok") -> web.Response:
    if trouble is None:
        return web.Response(text=f"{note}\n")
    return web.Response(status=503, text=f"{trouble}\n")
