"""
What all models of a story may depend on: the card's history, a server that can be made to fail.

A fault of it is a fault of every version at once, whatever its share of the requests. A model asks
it where its container has the variable of `history_variable`. Nothing of it runs until `deploy`.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sandbox import servers
from sandbox.servers import Json
from sandbox.world import World

NAMESPACE, NAME = "history", "cards"
IMAGE = "sandbox/history:1"
VARIABLE = "HISTORY_URL"
"""The environment variable by which the model server is told whom to ask."""

_URL = servers.address(NAMESPACE, NAME)
_SECONDS = 10


class DependencyError(Exception):
    """The dependency could not be told to fail; the message says why."""


def history_variable() -> Json:
    """Return the entry for `env` of a model that asks for the history before each answer."""
    return {"name": VARIABLE, "value": f"{_URL}/cards"}


def render_history() -> list[Json]:
    """Return the manifests of the server."""
    container = {"name": "history", "image": IMAGE, "args": [f"--port={servers.PORT}"]}
    return servers.render_server(NAMESPACE, NAME, container)


@dataclass(frozen=True, slots=True)
class Dependency:
    """The one dependency of a world's models."""

    world: World

    def deploy(self) -> None:
        """Start it, and wait until it answers; once more changes nothing."""
        servers.deploy(self.world, NAMESPACE, NAME, render_history())

    @contextmanager
    def failing(self, share: float) -> Iterator[None]:
        """Let it fail a share (0..1) of the requests while the block runs."""
        self._fail(share)
        try:
            yield
        finally:
            self._fail(0.0)

    def _fail(self, share: float) -> None:
        proxy = urllib.request.ProxyHandler({"http": self.world.url("services")})
        request = urllib.request.Request(f"{_URL}/failing", str(share).encode(), method="PUT")
        try:
            urllib.request.build_opener(proxy).open(request, timeout=_SECONDS).close()
        except (OSError, urllib.error.URLError) as error:
            raise DependencyError(f"{request.full_url}: {error}") from error
