"""A real API server as the operator sees it: by the rights of manifests/, over a cuttable line."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sandbox.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

ROOT = Path(__file__).parents[2]

FOREIGN = (
    ("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService"),
    ("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute"),
)


def definition(group: str, version: str, plural: str, kind: str) -> dict[str, Any]:
    """A CRD that takes any object: what is tested here is the watching, not the kind."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": anything},
    }
    approved = {"api-approved.kubernetes.io": "unapproved, for tests"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": approved},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [served],
        },
    }


def install(server: ApiServer) -> None:
    """Install the kinds of others, where the session has none yet, and our ServiceAccount."""
    for foreign in FOREIGN:
        with contextlib.suppress(KubectlError):
            server.kubectl("create", "-f", "-", stdin=json.dumps(definition(*foreign)))
    server.control_plane.wait_until_established()
    server.control_plane.apply("-k", str(ROOT / "manifests" / "overlays" / "sandbox"))


def kubeconfig_of(server: ApiServer, account: str, address: str, path: Path) -> Path:
    """Write a kubeconfig that logs in as a ServiceAccount (`namespace/name`) at `address`."""
    namespace, _, name = account.partition("/")
    token = server.kubectl("create", "token", name, "-n", namespace).strip()
    cluster = {"server": address, "certificate-authority": str(server.control_plane.authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(json.dumps(config))
    return path


class Line:
    """A TCP line to the API server that can be cut and mended."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._port = str(parts.hostname), int(parts.port or 443)
        self._cut = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Begin to listen; returns the address to use."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Let connections through again."""
        self._cut = False

    async def close(self) -> None:
        """Stop listening."""
        self.cut()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        with self._kept(writer), self._kept(far_writer):
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    @contextmanager
    def _kept(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._writers.add(writer)
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
