"""
Git over HTTP, on loopback: the bare repositories of a folder, as a forge offers them.

Run as `python -m sandbox.githttp --directory FOLDER --port PORT`. Owns the gateway to Git's own
`git http-backend`; what may be pushed is for the hooks of a repository to say. Must not know what
the repositories hold or who reads them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import hmac
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from sandbox.gitsync import make_repository
from sandbox.part import Option, Part, answers
from sandbox.world import World

LISTEN_ON = "127.0.0.1"
PORT = "git-http"
"""The name of the port, of the part and of its log."""

_LARGEST_PUSH = 64 * 1024 * 1024
_HEALTH = "/healthz"
_SETTINGS = {"http.receivepack": "true", "http.uploadpack": "true"}

Accounts = Mapping[str, str]
"""Tokens by name."""


def application(directory: Path, accounts: Accounts | None = None) -> web.Application:
    """
    Serve the bare repositories right below a directory, for reading and for pushing.

    Who reads needs no account. Who pushes needs one of `accounts`, by HTTP's Basic scheme, if there
    are any: 401 otherwise. Hooks see its name in `REMOTE_USER`, and their words reach the pusher.
    A path that climbs out of the directory and a repository that is not there are 404, a push of
    more than 64 MiB is 413. `/healthz` answers as long as the process does.
    """
    root = directory.resolve(strict=True)

    async def handle(request: web.Request) -> web.Response:
        if ".." in request.path.split("/"):
            raise web.HTTPNotFound
        user = _user(request, accounts or {})
        if user is None:
            challenge = {"WWW-Authenticate": 'Basic realm="git"'}
            return web.Response(status=HTTPStatus.UNAUTHORIZED, headers=challenge)
        body = await request.read()
        return parse_answer(await _run(environment(root, request, user, len(body)), body))

    app = web.Application(client_max_size=_LARGEST_PUSH)
    app.router.add_get(_HEALTH, _health)
    app.router.add_route("*", "/{path:.+}", handle)
    return app


async def _health(_: web.Request) -> web.Response:
    return web.Response(text="ok\n")


def _user(request: web.Request, accounts: Accounts) -> str | None:
    """Return who asks, "anonymous" if nobody needs to know; None if it may not be answered."""
    is_push = "git-receive-pack" in (request.query.get("service"), request.path.rpartition("/")[2])
    if not (is_push and accounts):
        return "anonymous"
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        name, _, token = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    wanted = accounts.get(name)
    is_known = wanted is not None and hmac.compare_digest(token.encode(), wanted.encode())
    return name if scheme.lower() == "basic" and is_known else None


def environment(root: Path, request: web.Request, user: str, length: int) -> dict[str, str]:
    """
    Return the environment in which `git http-backend` answers `request`, as CGI wants it.

    `length` is that of the body as it was read; its compression is undone by then. Git's settings
    are none of the user's who runs this.
    """
    settings = {"GIT_CONFIG_COUNT": str(len(_SETTINGS))}
    for number, (key, value) in enumerate(_SETTINGS.items()):
        settings |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        **settings,
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(length),
        "REMOTE_ADDR": LISTEN_ON,
        "REMOTE_USER": user,
    }


async def _run(environment: Mapping[str, str], body: bytes) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *("git", "http-backend"),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        answer, _ = await process.communicate(body)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    return answer


def parse_answer(answer: bytes) -> web.Response:
    """Return the response that a CGI program printed; 502 if it printed none."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return web.Response(status=HTTPStatus.BAD_GATEWAY, text="git http-backend gave no answer\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n"))
    headers = {name: value.strip() for name, _, value in lines}
    status = int(headers.pop("Status", "200 OK").split()[0])
    return web.Response(status=status, headers=headers, body=body)


def read_accounts(text: str) -> Accounts:
    """
    Return the accounts in lines of `name:token`; empty lines are left out.

    Raises:
        ValueError: A line has no name or no token; names the line by its number, not its content.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, _, token = line.strip().partition(":")
        if name and token:
            found[name] = token
        elif line.strip():
            raise ValueError(f"line {number}: wanted name:token")
    return found


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="sandbox.githttp", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--accounts", type=Path, help="lines of name:token; only they may push")
    flags = parser.parse_args()
    accounts = read_accounts(flags.accounts.read_text()) if flags.accounts else {}
    app = application(flags.directory, accounts)
    web.run_app(app, host=LISTEN_ON, port=flags.port, print=None)


def repository_url(world: World) -> str:
    """Return the address of the world's repository of models, for whoever reads it or pushes."""
    return world.url(PORT, f"/{world.models.name}")


def _command(world: World) -> list[str]:
    folder, port = str(world.models.parent), str(world.ports[PORT])
    return [sys.executable, "-m", "sandbox.githttp", "--directory", folder, "--port", port]


PART = Part(
    name=PORT,
    command=_command,
    is_ready=lambda world: answers(world.url(PORT, _HEALTH)),
    address=repository_url,
    before=lambda world: make_repository(world.models),
    restarts=True,
)

OPTION = Option("git-http", (PART,), (PORT,))


if __name__ == "__main__":
    main()
