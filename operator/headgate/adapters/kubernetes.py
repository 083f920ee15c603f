"""The Kubernetes API, by the official asyncio client: the `Cluster` and the `Leases` port.

Owns paths, content types, timeouts, the login and the meaning of every status code. Must not know
what an object is for. Nothing is retried here (the queue does that), except one request after
a new login when the server answers 401.

Requests go through `ApiClient` itself and not through its generated methods: those know only some
status codes, and answer None where a server-side apply has created the object (201).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import yaml
from kubernetes.aio import client as kube
from kubernetes.aio import config as kube_config

from headgate import __version__
from headgate.adapters.text import one_line
from headgate.ports import (
    KINDS,
    ClusterUnavailable,
    Conflict,
    Forbidden,
    Kind,
    Manifest,
    Refused,
)

FIELD_MANAGER = "headgate"
"""Who owns what we write, in `managedFields`."""

PERSON_MANAGER = "headgate-cli"
"""The same of what a person writes by the command line. It is no manager of kubectl's: Flux removes
what those write."""

REQUEST_TIMEOUT = timedelta(seconds=10)
"""One request, from the first byte sent to the last one read."""

CHUNK = 250
"""Objects in one page of a list: bounds the memory of both sides."""

LIST_ATTEMPTS = 3
"""How often a list begins anew whose continue token the server has forgotten."""

MESSAGE_LENGTH = 1000
"""Characters kept of a server's message; a condition must stay readable."""

Login = Callable[[], Awaitable[kube.Configuration]]
"""Finds the server and the credentials, afresh on each call."""

OnCall = Callable[[str, str, int], None]
"""Told after each request: verb as in RBAC, plural, HTTP status (0: no answer)."""

# 404 stands here for writes only: the namespace or the kind does not exist.
_REFUSED = frozenset({400, 403, 404, 405, 406, 413, 415, 422})
_BAD_KUBECONFIG = (
    kube_config.ConfigException,
    yaml.YAMLError,
    aiohttp.ClientError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)
# A server-side apply with an unknown or mistyped field is answered 500, not 400 (measured, 1.36).
_BAD_APPLY = "failed to create typed patch object"
_KIND_OF = {(kind.api_version, kind.kind): kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class _Request:
    verb: str
    kind: Kind
    namespace: str | None
    name: str = ""
    subresource: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    body: Mapping[str, Any] | None = None

    @property
    def path(self) -> str:
        """The URL below the server, with its query."""
        root = ["apis", self.kind.group] if self.kind.group else ["api"]
        scope = ["namespaces", self.namespace] if self.namespace else []
        parts = [*root, self.kind.version, *scope, self.kind.plural, self.name, self.subresource]
        path = "".join(f"/{quote(part, safe='')}" for part in parts if part)
        return f"{path}?{urlencode(self.query)}" if self.query else path

    @property
    def method(self) -> str:
        """The HTTP method of the verb."""
        methods = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
        return methods.get(self.verb, "GET")

    def __str__(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name) if part)
        about = f"{self.kind.kind} {where}".rstrip()
        return f"{self.verb} {about}" + (f" ({self.subresource})" if self.subresource else "")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    retry_after: timedelta | None
    raw: bytes

    def message(self) -> str:
        """What the server says, on one line and no longer than we keep."""
        status = self.status_object()
        text = str(status["message"]) if "message" in status else self.raw
        return one_line(text, MESSAGE_LENGTH)

    def names(self, name: str) -> bool:
        """Whether the server's complaint is about the object of this name (not about its kind)."""
        details = self.status_object().get("details")
        return isinstance(details, dict) and details.get("name") == name

    def status_object(self) -> dict[str, Any]:
        """The `Status` that explains an error; empty if the answer is something else."""
        try:
            body = json.loads(self.raw)
        except (ValueError, RecursionError):
            return {}
        return body if isinstance(body, dict) and body.get("kind") == "Status" else {}


def merge_patch(current: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch that turns `current` into `desired`, and only the difference.

    A key that is gone becomes null, which is how a merge patch removes it; None in `desired` counts
    as gone. Lists are replaced whole. Source: RFC 7396.
    """
    wanted = {key: value for key, value in desired.items() if value is not None}
    patch: dict[str, Any] = dict.fromkeys(sorted(current.keys() - wanted.keys()))
    for key, value in wanted.items():
        before = current.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := merge_patch(before, value):
                patch[key] = inner
        elif before != value:
            patch[key] = value
    return patch


def find_login(kubeconfig: str | None = None, context: str | None = None) -> Login:
    """Choose how to log in: the file given, else the pod's ServiceAccount, else kubectl's file."""
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return _login_in_cluster
    return lambda: _login_by_kubeconfig(kubeconfig, context)


async def _login_in_cluster() -> kube.Configuration:
    """Use the mounted token; the client reads the file again each minute, as kubelet rotates it."""
    configuration = kube.Configuration()
    try:
        kube_config.load_incluster_config(client_configuration=configuration)
    except (kube_config.ConfigException, OSError) as error:
        raise ClusterUnavailable(f"cannot log in with the pod's ServiceAccount: {error}") from error
    return configuration


async def _login_by_kubeconfig(path: str | None, context: str | None) -> kube.Configuration:
    configuration = kube.Configuration()
    try:
        await kube_config.load_kube_config(
            config_file=path,
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )
    except _BAD_KUBECONFIG as error:
        # The client quotes whole user entries, tokens included, in some of its messages (and so
        # does the YAML parser), hence neither the text nor the chain is passed on.
        where = path or "of kubectl"
        why = f"kubeconfig {where} is not usable ({type(error).__name__})"
        raise ClusterUnavailable(f"{why}; `kubectl config view` shows what it holds") from None
    return configuration


def _ignore(_verb: str, _plural: str, _code: int) -> None:
    """Count nothing."""


class KubernetesCluster:
    """The Kubernetes API behind one login.

    Logs in with the first request, and again when the server answers 401, so that credentials of
    every sort may rotate. Every write carries our field manager and strict field validation: a
    field the server does not know is refused with its name, and never dropped in silence.
    """

    def __init__(
        self,
        login: Login,
        *,
        on_call: OnCall = _ignore,
        timeout: timedelta = REQUEST_TIMEOUT,
        field_manager: str = FIELD_MANAGER,
    ) -> None:
        self._write = {"fieldManager": field_manager, "fieldValidation": "Strict"}
        self._login = login
        self._on_call = on_call
        self._timeout = timeout.total_seconds()
        self._lock = asyncio.Lock()
        self._client: kube.ApiClient | None = None
        self._retired: kube.ApiClient | None = None

    async def close(self) -> None:
        """Close all connections; requests in flight fail as unavailable."""
        for client in (self._client, self._retired):
            if client is not None:
                await client.close()
        self._client = self._retired = None

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Read one object, live; None if it, or its kind, does not exist."""
        request = _Request("get", kind, namespace, name)
        answer = await self._send(request)
        return None if answer.status == 404 else _object(request, answer)

    async def list(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str]
    ) -> Sequence[Manifest]:
        """Read all objects with these labels, in chunks; `namespace` None means all of them.

        Raises Refused where the kind does not exist: an empty list would say that all are gone.
        """
        for _ in range(LIST_ATTEMPTS):
            items = await self._list_once(kind, namespace, labels)
            if items is not None:
                return items
        about = _Request("list", kind, namespace)
        raise ClusterUnavailable(f"{about}: its continue token expired {LIST_ATTEMPTS} times")

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises Conflict if one of that name exists."""
        kind, namespace, name = _identity(manifest)
        request = _Request("create", kind, namespace, query=self._write, body=dict(manifest))
        answer = await self._send(request)
        return _object(_Request("create", kind, namespace, name), answer)

    async def replace(self, manifest: Manifest) -> Manifest:
        """Put an object in the place of the one with its resourceVersion.

        Raises Conflict if that one changed since, or is gone.
        """
        kind, namespace, name = _identity(manifest)
        body = dict(manifest)
        request = _Request("update", kind, namespace, name, query=self._write, body=body)
        answer = await self._send(request)
        if answer.status == 404 and answer.names(name):
            raise Conflict(f"{request}: {answer.message()}")
        return _object(request, answer)

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply as our field manager, by force: the whole of what we own."""
        kind, namespace, name = _identity(manifest)
        request = _Request(
            "patch",
            kind,
            namespace,
            name,
            query={**self._write, "force": "true"},
            content_type="application/apply-patch+yaml",
            body=dict(manifest),
        )
        return _object(request, await self._send(request))

    async def patch_status(self, current: Manifest, status: Manifest) -> Manifest:
        """Replace `current`'s status by compare-and-swap on its resourceVersion.

        Keys that `current` has and `status` lacks are removed. Raises Conflict if the object
        changed since, or is gone.
        """
        kind, namespace, name = _identity(current)
        version = current["metadata"]["resourceVersion"]
        difference = merge_patch(current.get("status") or {}, status)
        request = _Request(
            "patch",
            kind,
            namespace,
            name,
            subresource="status",
            query=self._write,
            content_type="application/merge-patch+json",
            body={"metadata": {"resourceVersion": version}, "status": difference},
        )
        answer = await self._send(request)
        if answer.status == 404 and answer.names(name):
            raise Conflict(f"{request}: {answer.message()}")
        return _object(request, answer)

    async def annotate(
        self, current: Manifest, annotations: Mapping[str, str | None], *, dry_run: bool = False
    ) -> Manifest:
        """Set or remove (None) annotations of an object, and touch nothing else of it.

        With `dry_run` the server checks it, rights too, and stores nothing.
        """
        kind, namespace, name = _identity(current)
        request = _Request(
            "patch",
            kind,
            namespace,
            name,
            query={**self._write, "dryRun": "All"} if dry_run else self._write,
            content_type="application/merge-patch+json",
            body={"metadata": {"annotations": dict(annotations)}},
        )
        return _object(request, await self._send(request))

    async def delete(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """Delete the object with this uid, children in the background; absent is fine.

        Raises Conflict if another object has that name by now: it is left alone.
        """
        await self._delete(kind, namespace, name, uid, "Background")

    async def orphan(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """Delete the object with this uid and leave its children, without an owner; absent is fine.

        The object is gone a little later, once the garbage collector has let the children go.
        Raises Conflict if another object has that name by now: it is left alone.
        """
        await self._delete(kind, namespace, name, uid, "Orphan")

    async def patch_metadata(self, current: Manifest, metadata: Manifest) -> Manifest:
        """Change some fields of `current`'s metadata, None takes one out; nothing else is touched.

        By compare-and-swap on its resourceVersion: raises Conflict if it changed since or is gone.
        """
        kind, namespace, name = _identity(current)
        version = current["metadata"]["resourceVersion"]
        request = _Request(
            "patch",
            kind,
            namespace,
            name,
            query=self._write,
            content_type="application/merge-patch+json",
            body={"metadata": {**metadata, "resourceVersion": version}},
        )
        answer = await self._send(request)
        if answer.status == 404 and answer.names(name):
            raise Conflict(f"{request}: {answer.message()}")
        return _object(request, answer)

    async def _delete(
        self, kind: Kind, namespace: str | None, name: str, uid: str, propagation: str
    ) -> None:
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {"uid": uid},
        }
        request = _Request("delete", kind, namespace, name, body=options)
        answer = await self._send(request)
        if answer.status != 404:
            _check(request, answer)

    async def _list_once(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str]
    ) -> Sequence[Manifest] | None:
        """Read all pages; None if the server forgot the token between two of them."""
        query = {"limit": str(CHUNK)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        items: list[Manifest] = []
        while True:
            request = _Request("list", kind, namespace, query=query)
            answer = await self._send(request)
            if answer.status == 410 and "continue" in query:
                return None
            page = _body(request, answer, f"{kind.kind}List")
            # Items of built-in kinds come without these two; ours shall look as if read by `get`.
            own = {"apiVersion": kind.api_version, "kind": kind.kind}
            items += [{**own, **item} for item in page.get("items") or []]
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items
            query = {**query, "continue": token}

    async def _send(self, request: _Request) -> _Answer:
        client = await self._logged_in(stale=None)
        answer = await self._send_once(client, request)
        if answer.status == 401:
            answer = await self._send_once(await self._logged_in(stale=client), request)
        return answer

    async def _logged_in(self, stale: kube.ApiClient | None) -> kube.ApiClient:
        """Return a client other than `stale`; at most one login runs at a time."""
        async with self._lock:
            if self._client is None or self._client is stale:
                try:
                    async with asyncio.timeout(self._timeout):
                        configuration = await self._login()
                except TimeoutError as error:
                    raise ClusterUnavailable(f"no login in {self._timeout:g} s") from error
                fresh = kube.ApiClient(configuration)
                fresh.user_agent = f"headgate/{__version__}"
                # Others may still wait for answers on the old one; only the one before is unused.
                if self._retired is not None:
                    await self._retired.close()
                self._client, self._retired = fresh, self._client
            return self._client

    async def _send_once(self, client: kube.ApiClient, request: _Request) -> _Answer:
        code = 0
        try:
            answer = await self._exchange(client, request)
            code = answer.status
        except TimeoutError as error:
            raise ClusterUnavailable(f"{request}: no answer in {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError, kube_config.ConfigException) as error:
            raise ClusterUnavailable(f"{request}: {error or type(error).__name__}") from error
        finally:
            self._on_call(request.verb, request.kind.plural, code)
        return answer

    async def _exchange(self, client: kube.ApiClient, request: _Request) -> _Answer:
        headers = {"Accept": "application/json", "Content-Type": request.content_type}
        method, url, headers, _, _ = await client.param_serialize(
            request.method, request.path, header_params=headers, auth_settings=["BearerToken"]
        )
        response = await client.call_api(
            method,
            url,
            header_params=headers,
            body=request.body,
            _request_timeout=aiohttp.ClientTimeout(total=self._timeout),
        )
        raw: bytes = await response.read()
        return _Answer(response.status, _retry_after(response.headers), raw)


def _identity(manifest: Manifest) -> tuple[Kind, str | None, str]:
    metadata = manifest["metadata"]
    kind = _KIND_OF[manifest["apiVersion"], manifest["kind"]]
    return kind, metadata.get("namespace"), metadata["name"]


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Read the seconds a server asks us to wait; the API server sends no dates here."""
    text = headers.get("Retry-After", "")
    return timedelta(seconds=int(text)) if re.fullmatch(r"\d{1,5}", text) else None


def _check(request: _Request, answer: _Answer) -> None:
    """Raise what the status means, unless it is a success."""
    if 200 <= answer.status < 300:
        return
    message = answer.message()
    text = f"{request}: HTTP {answer.status}: {message}"
    if answer.status == 409:
        raise Conflict(text, answer.retry_after)
    if answer.status == 403:
        raise Forbidden(text)
    if answer.status in _REFUSED or _BAD_APPLY in message:
        raise Refused(text)
    raise ClusterUnavailable(text, answer.retry_after)


def _object(request: _Request, answer: _Answer) -> Manifest:
    return _body(request, answer, request.kind.kind)


def _body(request: _Request, answer: _Answer, kind: str) -> dict[str, Any]:
    """Parse an answer of this kind; anything else did not come from an API server."""
    _check(request, answer)
    try:
        body = json.loads(answer.raw)
    except (ValueError, RecursionError) as error:
        raise ClusterUnavailable(f"{request}: the answer is not JSON") from error
    if not isinstance(body, dict) or body.get("kind") != kind:
        raise ClusterUnavailable(f"{request}: the answer is not a {kind}")
    return body
