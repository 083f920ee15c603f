"""
Pod logs for `kubectl logs`: the one part of a kubelet's HTTPS interface that users miss.

Owns the answers of the API server's requests for logs. Knows only where the files lie.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from sandbox.pods import HOST_IP

_POLL_SECONDS = 0.2
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Files of the interface's certificate and key.

    Attributes:
        client_authority: Who must have signed a client's certificate: the cluster's authority.
    """

    certificate: Path
    key: Path
    client_authority: Path


async def serve_logs(identity: Identity, folder: Path) -> tuple[web.AppRunner, int]:
    """
    Serve the logs below `folder/NAMESPACE/POD/CONTAINER.log`.

    Returns:
        The running server, for its clean-up, and its port on 127.0.0.1.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(identity.certificate, identity.key)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(identity.client_authority)
    app = web.Application()
    logs = _Logs(folder)
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, HOST_IP, 0, ssl_context=tls)
    await site.start()
    return runner, int(runner.addresses[0][1])


class _Logs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def answer(self, request: web.Request) -> web.StreamResponse:
        parts = [request.match_info[name] for name in ("namespace", "pod", "container")]
        path = self._folder.joinpath(*parts[:2]) / f"{parts[2]}.log"
        # All lives of a container are in one file, so there is no previous one to show.
        if request.query.get("previous") == "true":
            raise web.HTTPBadRequest(text="the log holds all restarts: leave out --previous\n")
        if not path.is_file():
            raise web.HTTPNotFound(text=f"container {parts[2]} has logged nothing yet\n")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        limit = int(request.query.get("limitBytes") or 2**62)
        with path.open("rb") as file:
            if tail := request.query.get("tailLines"):
                file.seek(_offset_of_tail(path, int(tail)))
            while limit > 0:
                chunk = file.read(min(_CHUNK_BYTES, limit))
                if chunk:
                    limit -= len(chunk)
                    await response.write(chunk)
                elif request.query.get("follow") != "true":
                    break
                else:
                    await asyncio.sleep(_POLL_SECONDS)
        return response


def _offset_of_tail(path: Path, lines: int) -> int:
    """Return where the last `lines` lines of a file begin."""
    with path.open("rb") as file:
        starts: deque[int] = deque(maxlen=lines)
        position = 0
        for line in file:
            starts.append(position)
            position += len(line)
    return starts[0] if starts else position
