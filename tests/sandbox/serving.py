"""Servers of the standard library that run beside a test, and a client that tidies nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import HTTPServer


@contextmanager
def serving(http: HTTPServer) -> Iterator[None]:
    """Serve until the block is over."""
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


async def ask(port: int, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    """Send a request as it is, with no client that tidies the path; give status, head, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body
