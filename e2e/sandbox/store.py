"""
Owns the process of the model store: a folder, readable over HTTP on loopback.

It must not know what the files are or who reads them.
"""

import argparse
import os
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

LISTEN_ON = os.environ.get("SANDBOX_LISTEN_ON", "127.0.0.1")
"""Loopback, but for a container that has its own."""


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


@web.middleware
async def _as_octets(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Call every file what KServe's storage initializer insists on, whatever its name."""
    response = await handler(request)
    if isinstance(response, web.FileResponse):
        response.content_type = "application/octet-stream"
    return response


def application(directory: Path) -> web.Application:
    """
    Serve the files below a directory by GET and HEAD; everything else is 403, 404 or 405.

    `/healthz` answers as long as the process does. Links that lead out of the directory, and
    paths that climb out of it, are not followed.
    """
    app = web.Application(middlewares=[_as_octets])
    app.router.add_get("/healthz", _health)
    app.router.add_static("/", directory.resolve(strict=True), show_index=False)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="sandbox.store", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    flags = parser.parse_args()
    web.run_app(application(flags.directory), host=LISTEN_ON, port=flags.port, print=None)


if __name__ == "__main__":
    main()
