"""
The Kubernetes API as the parts of the embedded world use it: paths, JSON objects, typed errors.

Owns kubeconfig reading and the HTTP calls. Knows no resource kind and keeps no objects;
see kubewatch for that.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

Json = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"

_LATER, _TRIES, _PAUSE_SECONDS = 429, 10, 1.0
"""An API server that has much to do, or has just learned of a kind, asks to be asked again; every
client of Kubernetes does so."""


class KubeError(Exception):
    """
    The API server refused or could not be reached.

    Attributes:
        status: The HTTP status; 0 when there was no answer at all.
        reason: The machine-readable reason of the Status object, such as "NotFound".
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason

    @property
    def is_gone(self) -> bool:
        """Whether the object does not exist."""
        return self.status == 404


@dataclass(frozen=True, slots=True)
class Login:
    """Where the API server is and how to be known to it."""

    server: str
    tls: ssl.SSLContext | None
    token: str


def read_kubeconfig(path: Path) -> Login:
    """
    Read the current context of a kubeconfig.

    Raises:
        ValueError: The file has no current context, or the context names what is not there.
    """
    config = yaml.safe_load(path.read_text())
    context = _named(config, "contexts", config.get("current-context", ""))["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    server = cluster["server"].rstrip("/")
    tls = _tls(cluster, user, path.parent) if server.startswith("https:") else None
    return Login(server=server, tls=tls, token=_token(user, path.parent))


def _named(config: Json, section: str, name: str) -> Json:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return dict(entry)
    raise ValueError(f"the kubeconfig has no {name!r} among its {section}")


def _token(user: Json, folder: Path) -> str:
    if user.get("tokenFile"):
        return folder.joinpath(user["tokenFile"]).read_text().strip()
    return str(user.get("token", ""))


def _tls(cluster: Json, user: Json, folder: Path) -> ssl.SSLContext:
    authority = _pem(cluster, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _pem(user, "client-certificate", folder)
    key = _pem(user, "client-key", folder)
    if certificate and key:
        # The ssl module takes a client certificate only from a file.
        with tempfile.NamedTemporaryFile() as file:
            file.write(certificate + b"\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _pem(entry: Json, field: str, folder: Path) -> bytes:
    if inline := entry.get(f"{field}-data"):
        return base64.b64decode(inline)
    if named := entry.get(field):
        return folder.joinpath(named).read_bytes()
    return b""


class Kube:
    """Calls to one API server; use it as an asynchronous context manager."""

    def __init__(self, login: Login, manager: str) -> None:
        """Take the login and the field manager that writes are recorded under."""
        self.login = login
        self.manager = manager
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"User-Agent": self.manager, "Accept": "application/json"}
        if self.login.token:
            headers["Authorization"] = f"Bearer {self.login.token}"
        tls = self.login.tls if self.login.tls is not None else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=0), headers=headers
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, **params: str) -> Json:
        """Read one object, or a whole list."""
        return await self._call("GET", path, params=params)

    async def create(self, path: str, body: Json) -> Json:
        """Create an object in the collection at `path`."""
        return await self._call("POST", path, body=body, params={"fieldManager": self.manager})

    async def patch(
        self, path: str, body: Json, kind: str = MERGE, manager: str = "", dry_run: bool = False
    ) -> Json:
        """
        Patch the object at `path`, or its subresource; `APPLY` takes over foreign fields.

        Args:
            manager: Is recorded as who wrote it; empty for our own name.
            dry_run: Return what would come of it, and store nothing.
        """
        params = {"fieldManager": manager or self.manager}
        if kind == APPLY:
            params["force"] = "true"
        if dry_run:
            params["dryRun"] = "All"
        return await self._call("PATCH", path, body=body, params=params, content_type=kind)

    async def delete(self, path: str, body: Json | None = None) -> None:
        """Delete the object at `path`; one that is gone already is no error."""
        try:
            await self._call("DELETE", path, params={}, body=body)
        except KubeError as error:
            if not error.is_gone:
                raise

    async def stream(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Json]:
        """
        Yield the events of a watch until the server ends it.

        Raises:
            KubeError: The watch was refused or broken off; an ERROR event is yielded, not raised.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120)
        try:
            async with self._open().get(
                self.login.server + path, params=dict(params), timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise _refused(response.status, await response.read())
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, "Unreachable", f"watch {path}: {error!r}") from error

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        for _ in range(_TRIES - 1):
            try:
                return await self._call_once(method, path, params, body, content_type)
            except KubeError as error:
                if error.status != _LATER:
                    raise
            await asyncio.sleep(_PAUSE_SECONDS)
        return await self._call_once(method, path, params, body, content_type)

    async def _call_once(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: Json | None,
        content_type: str,
    ) -> Json:
        content = None if body is None else json.dumps(body).encode()
        try:
            async with self._open().request(
                method,
                self.login.server + path,
                params=dict(params),
                data=content,
                headers={"Content-Type": content_type},
                timeout=aiohttp.ClientTimeout(total=30),
            ) as response:
                answer = await response.read()
                if response.status >= 400:
                    raise _refused(response.status, answer)
                return dict(json.loads(answer))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, "Unreachable", f"{method} {path}: {error!r}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("Kube is used before it was entered")
        return self._session


def _refused(status: int, answer: bytes) -> KubeError:
    try:
        refusal = json.loads(answer)
        return KubeError(status, str(refusal.get("reason", "")), str(refusal.get("message", "")))
    except (ValueError, AttributeError):
        return KubeError(status, "", answer.decode(errors="replace")[:500])
