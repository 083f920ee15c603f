"""Where an admission plugin guards owner references: without its overlay, and with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.runtime.cluster import ROOT, definition, install, kubeconfig_of
from tests.runtime.processes import PATIENCE_SECONDS
from tests.scenarios.memory import Story, deployment

from headgate.adapters.clock import SystemClock
from headgate.adapters.kubernetes import KubernetesCluster, find_login
from headgate.ports import (
    INFERENCE_SERVICE,
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    ClusterUnavailable,
)
from headgate.reconcile import Key, Options, World, reconcile
from sandbox.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

PLUGIN = "OwnerReferencesPermissionEnforcement"
KEY = Key("models", "fraud")
GATEWAY = ("gateway.networking.k8s.io", "v1", "gateways", "Gateway")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with the plugin on, the base's rights, and a Gateway."""
    from tests.apiserver import running

    flag = f"--apiserver-arg=--enable-admission-plugins={PLUGIN}"
    with running(tmp_path_factory.mktemp("guarded"), flag) as server:
        server.kubectl("create", "-f", "-", stdin=json.dumps(definition(*GATEWAY)))
        install(server)
        for namespace in ("models", "gateways"):
            server.kubectl("create", "namespace", namespace)
        gateway = {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "public", "namespace": "gateways"},
            "spec": {"listeners": [{"name": "http"}]},
        }
        server.kubectl("create", "-f", "-", stdin=json.dumps(gateway))
        yield server


@pytest.fixture
async def operator(guarded: ApiServer, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    """The operator's login, and a new ModelDeployment."""
    with contextlib.suppress(KubectlError):
        guarded.kubectl("delete", "modeldeployment", "fraud", "-n", "models")
    guarded.kubectl("create", "-f", "-", stdin=json.dumps(deployment("1")))
    account = "headgate-system/headgate"
    login = kubeconfig_of(guarded, account, guarded.url, tmp_path / "login")
    cluster = KubernetesCluster(find_login(str(login)))
    yield cluster
    await cluster.close()


async def one_pass(cluster: KubernetesCluster) -> dict[str, Any]:
    """Let one pass happen with this login; returns the condition Accepted after it."""
    story = Story()
    world = World(
        cluster,
        story.metrics,
        story.budgets,
        story.prober,
        SystemClock(),
        story.profiles,
        Options(verify_within=timedelta(0)),
    )
    for _ in range(PATIENCE_SECONDS):
        try:
            await reconcile(KEY, world, world.clock.now())
            break
        except ClusterUnavailable:  # a kind that was made a moment ago; the queue comes again too
            await asyncio.sleep(1)
    owner = await cluster.get(MODEL_DEPLOYMENT, *_at(KEY))
    assert owner is not None
    conditions = {each["type"]: each for each in owner["status"]["conditions"]}
    return dict(conditions["Accepted"])


def _at(key: Key) -> tuple[str, str]:
    return key.namespace, key.name


async def test_without_the_overlay_children_are_refused_and_the_reason_is_told(
    operator: KubernetesCluster,
) -> None:
    """The server's own words reach the condition: what is missing, and on which object."""
    accepted = await one_pass(operator)

    assert (accepted["status"], accepted["reason"]) == ("False", "Refused")
    assert "create ModelRevision models/fraud-" in accepted["message"]
    assert "cannot set blockOwnerDeletion" in accepted["message"]
    assert "can't set finalizers on" in accepted["message"]
    assert await operator.list(MODEL_REVISION, "models", {}) == []


async def test_with_the_overlay_children_are_made(
    guarded: ApiServer, operator: KubernetesCluster
) -> None:
    """The one right of manifests/overlays/owner-references is all that was missing."""
    overlay = ROOT / "manifests" / "overlays" / "owner-references"
    rendered = guarded.kubectl("kustomize", str(overlay))
    roles = [text for text in rendered.split("\n---\n") if "kind: ClusterRole\n" in text]
    guarded.control_plane.apply("-f", "-", stdin="\n---\n".join(roles))

    accepted = await one_pass(operator)

    assert accepted["status"] == "True"
    [revision] = await operator.list(MODEL_REVISION, "models", {})
    [service] = await operator.list(INFERENCE_SERVICE, "models", {})
    for child in (revision, service):
        [owner] = child["metadata"]["ownerReferences"]
        assert owner["blockOwnerDeletion"] is True
