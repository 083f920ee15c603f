"""The only importer of Kopf: it watches, and each event becomes the key of a ModelDeployment.

Owns which kinds are watched, the mapping from a child to its parent, and Kopf's settings. Must not
know what a pass does: a handler that did more than wake a key would be lost with its first error,
because Kopf never calls an event handler again. Kopf writes nothing: no annotation, no finalizer,
no event, no peering object.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import kopf

from headgate.adapters.kserve import DEPLOYMENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL
from headgate.adapters.kubernetes import Login
from headgate.ports import (
    DEPLOYMENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    Kind,
    Manifest,
)
from headgate.runtime.seen import Name, Seen

log = logging.getLogger("headgate.watch")

CHILDREN = (MODEL_REVISION, INFERENCE_SERVICE, DEPLOYMENT, HTTP_ROUTE)
"""Watched where they carry our label; KServe hands its InferenceService's labels on to the
Deployment it makes."""

ERROR_BACKOFFS = (1, 1, 2, 3, 5, 8, 13, 21, 34, 34, 34)
"""Seconds between a request's tries, 156 in all: what lasts longer ends the process, and whoever
supervises it starts it again. Each is taken at 75 to 125 %."""


class WatchFailed(Exception):
    """Kopf gave up on a watch."""


@dataclass(frozen=True, slots=True)
class Ears:
    """
    Where events go.

    Args:
        wake: Asks for a pass over a ModelDeployment.
        seen: Told about every ModelDeployment.
        heard: Told about every event's kind, for the metrics.
    """

    wake: Callable[[Name], None]
    seen: Seen
    heard: Callable[[Kind], None]


def parent_of(manifest: Manifest) -> Name | None:
    """
    Name the ModelDeployment that an object belongs to; None if it belongs to none.

    The controller's reference counts before the label, because only the first is kept by Kubernetes
    and removed by nobody's typing error; what KServe makes for us has only the label.
    """
    metadata: Mapping[str, Any] = manifest["metadata"]
    namespace = metadata["namespace"]
    for owner in metadata.get("ownerReferences") or ():
        group = owner["apiVersion"].rpartition("/")[0]
        ours = (group, owner["kind"]) == (MODEL_DEPLOYMENT.group, MODEL_DEPLOYMENT.kind)
        if ours and owner.get("controller"):
            return Name(namespace, owner["name"])
    label = (metadata.get("labels") or {}).get(DEPLOYMENT_LABEL)
    return Name(namespace, label) if label else None


def registry_of(ears: Ears, login: Login, cleanup: Callable[[], Awaitable[None]]) -> Any:
    """Make a registry of our own with two sorts of handlers, the login and the cleanup."""
    registry = kopf.OperatorRegistry()

    async def deployment_changed(event: Any, **_: Any) -> None:
        manifest = event["object"]
        gone = event["type"] == "DELETED"
        ears.heard(MODEL_DEPLOYMENT)
        ears.wake(ears.seen.gone(manifest) if gone else ears.seen.heard(manifest))

    def child_changed(kind: Kind) -> Callable[..., Awaitable[None]]:
        async def changed(event: Any, **_: Any) -> None:
            ears.heard(kind)
            parent = parent_of(event["object"])
            if parent is not None:
                ears.wake(parent)

        return changed

    _on_event(registry, MODEL_DEPLOYMENT, deployment_changed)
    for kind in CHILDREN:
        _on_event(registry, kind, child_changed(kind))

    @kopf.on.login(registry=registry, retries=len(ERROR_BACKOFFS), backoff=5.0)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await _connection(login)

    @kopf.on.cleanup(registry=registry)
    async def clean_up(**_: Any) -> None:
        await cleanup()

    return registry


def settings_of(jitter: Callable[[], float]) -> kopf.OperatorSettings:
    """Make Kopf's settings; the sizes were measured with 10 000 objects: 85 instead of 271 MiB."""
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = 25
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True  # all kinds exist already, see preflight
    settings.watching.chunk_size = 250
    settings.watching.server_timeout = 300  # an int: it goes into the address as it is
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.reconnect_backoff = 1.0
    for kind in CHILDREN:
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = (
            f"{MANAGED_BY_LABEL}={MANAGED_BY}"
        )
    settings.queueing.idle_timeout = 0.1  # an idle task for each object costs more than a new one
    settings.queueing.exit_timeout = 1.0
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = [
        seconds * (0.75 + 0.5 * jitter()) for seconds in ERROR_BACKOFFS
    ]
    # Never used, since nothing is written; a handler added by mistake must not leak Kopf's names.
    settings.persistence.finalizer = "headgate.dev/kopf"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(
        prefix="kopf.headgate.dev", v1=False
    )
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(
        prefix="kopf.headgate.dev", v1=False
    )
    return settings


async def watch(
    ears: Ears,
    login: Login,
    namespaces: tuple[str, ...],
    jitter: Callable[[], float],
    cleanup: Callable[[], Awaitable[None]],
    stop: asyncio.Event,
) -> None:
    """
    Watch until SIGTERM, SIGINT or `stop`; then await `cleanup` before returning.

    `cleanup` has to end every task and connection of ours that began meanwhile: Kopf waits 5 s for
    any task left over and then cancels it. Raises WatchFailed if a watch could not be kept up.
    """
    try:
        await kopf.operator(
            registry=registry_of(ears, login, cleanup),
            settings=settings_of(jitter),
            standalone=True,
            clusterwide=not namespaces,
            namespaces=namespaces,
            stop_flag=stop,
        )
    except Exception as error:  # Kopf's own exceptions are not part of its interface
        raise WatchFailed(f"a watch ended: {type(error).__name__}: {error}") from error


def _on_event(registry: Any, kind: Kind, handler: Callable[..., Awaitable[None]]) -> None:
    kopf.on.event(kind.group, kind.version, kind.plural, id=kind.plural, registry=registry)(handler)


async def _connection(login: Login) -> kopf.ConnectionInfo:
    """Log in as all our requests do, and hand the result to Kopf; called again after each 401."""
    found = await login()
    header = await found.get_api_key_with_prefix("BearerToken") or ""
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        username=found.username or None,
        password=found.password or None,
        scheme="Bearer" if header else None,
        token=header.removeprefix("Bearer ").removeprefix("bearer ") or None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        proxy_url=found.proxy or None,
    )
