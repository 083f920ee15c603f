"""A bare Git repository over http with a password, by Git's own http-backend."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

from aiohttp import web

LOGIN = ("x-access-token", "t0p-s3cret")


class GitHttp:
    """Serves one folder of repositories; `asked` are the Authorization headers that came."""

    def __init__(self, folder: Path) -> None:
        """Serve the repositories below `folder`."""
        self._folder = folder
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request by a CGI program, if the login is right."""
        given = request.headers.get("Authorization", "")
        self.asked.append(given)
        wanted = "Basic " + base64.b64encode(":".join(LOGIN).encode()).decode()
        if given != wanted:
            headers = {"WWW-Authenticate": 'Basic realm="git"'}
            return web.Response(status=401, headers=headers)
        if "moved" in request.path:
            return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/elsewhere"})
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self._folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.receivepack",
            "GIT_CONFIG_VALUE_0": "true",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": LOGIN[0],
        }
        process = await asyncio.create_subprocess_exec(
            *("git", "http-backend"),
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate(await request.content.read())
        head, _, body = out.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(lines.pop("Status", "200").split()[0])
        return web.Response(status=status, headers=lines, body=body)
