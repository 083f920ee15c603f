"""
Owns the process that models may ask for a card's history, and that can be made to fail.

It knows no card: whoever asks wants to know whether it answers. Told to fail a share of the
requests, it fails every so many-th, so that the share is kept from the first request on. It must
not know who asks.
"""

import argparse
import math
import os

from aiohttp import web

LISTEN_ON = os.environ.get("SANDBOX_LISTEN_ON", "127.0.0.1")
"""Loopback, but for a container that has its own."""
FAILING = web.AppKey("failing", list[float])
"""The share of requests to fail, and the share of one failure that is due already."""


def application() -> web.Application:
    """
    Answer `GET /cards` with 200, or with 503 for the share set by `PUT /failing`.

    The body of the PUT is a number from 0 to 1; another one is 400 and changes nothing.
    """
    app = web.Application()
    app[FAILING] = [0.0, 0.0]
    app.router.add_get("/healthz", _health)
    app.router.add_get("/cards", _look_up)
    app.router.add_put("/failing", _set_failing)
    return app


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _look_up(request: web.Request) -> web.Response:
    state = request.app[FAILING]
    fraction, whole = math.modf(state[1] + state[0])
    state[1] = fraction
    if whole:
        return web.json_response({"error": "the card's history is not available"}, status=503)
    return web.json_response({"payments": []})


async def _set_failing(request: web.Request) -> web.Response:
    try:
        share = float(await request.text())
    except ValueError as error:
        raise web.HTTPBadRequest(text="wanted a number") from error
    if not 0 <= share <= 1:
        raise web.HTTPBadRequest(text="wanted a share from 0 to 1")
    request.app[FAILING][:] = [share, 0.0]
    return web.Response(status=204)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="sandbox.history", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    web.run_app(application(), host=LISTEN_ON, port=parser.parse_args().port, print=None)


if __name__ == "__main__":
    main()
