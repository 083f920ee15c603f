"""What must be there before anything is watched: kinds, and the right to read them.

Owns the texts that tell a person what to install. Must not know Kopf. Kopf itself would wait for a
missing kind for ever, and only hint at it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

from headgate.ports import (
    DEPLOYMENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    MODEL_ROLLOUT,
    Cluster,
    ClusterUnavailable,
    Kind,
    Refused,
)

log = logging.getLogger("headgate.preflight")

NEEDED = (
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    MODEL_ROLLOUT,
    INFERENCE_SERVICE,
    HTTP_ROUTE,
    DEPLOYMENT,
)

PROVIDERS = {
    "headgate.dev": "Headgate's own kinds (manifests/crds)",
    "serving.kserve.io": "KServe",
    "gateway.networking.k8s.io": "Gateway API",
    "apps": "Kubernetes",
}

PATIENCE = timedelta(seconds=60)
"""How long an API server may be away at the start; after that, whoever started us knows better."""

NOBODY = {"app.kubernetes.io/managed-by": "headgate-preflight"}
"""Labels that no object carries: the answer is empty and cheap, the refusal is the same."""


class NotInstalled(Exception):
    """Something that must be there is not, or may not be read; one line for each in the text."""


async def check(
    cluster: Cluster, namespaces: Sequence[str], patience: timedelta = PATIENCE
) -> None:
    """
    Try to list every kind that will be watched or kept.

    Raises:
        NotInstalled: The server refused some of them.
        ClusterUnavailable: It did not answer for `patience`.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience.total_seconds()
    wait = 1.0
    while True:
        try:
            return await _check_once(cluster, namespaces)
        except ClusterUnavailable as error:
            if loop.time() + wait > until:
                raise
            log.warning("the API server does not answer, again in %g s: %s", wait, error)
        await asyncio.sleep(wait)
        wait = min(2 * wait, 10.0)


async def _check_once(cluster: Cluster, namespaces: Sequence[str]) -> None:
    refusals = await asyncio.gather(
        *(_refusal(cluster, kind, each) for kind in NEEDED for each in namespaces or (None,))
    )
    if any(refusals):
        raise NotInstalled("\n".join(text for text in refusals if text))


async def _refusal(cluster: Cluster, kind: Kind, namespace: str | None) -> str | None:
    """Say what is wrong with one kind; None if nothing is."""
    try:
        await cluster.list(kind, namespace, NOBODY)
    except Refused as error:
        where = f" in namespace {namespace}" if namespace else ""
        return (
            f"{kind.plural}.{kind.group}/{kind.version}{where}: wanted to list them, found: {error}"
            f" - is {PROVIDERS[kind.group]} installed, and manifests/base applied?"
        )
    return None
