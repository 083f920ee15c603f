"""What a real garbage collector makes of owners that are taken off, and of children left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from tests.api.objects import deployment
from tests.apiserver import ApiServer, running

from headgate.adapters.kserve import owner_reference
from headgate.adapters.kubernetes import KubernetesCluster, find_login
from headgate.ports import CONFIG_MAP, MODEL_DEPLOYMENT, Conflict, Manifest

pytestmark = pytest.mark.apiserver

PATIENCE_SECONDS = 60
NAMESPACE = "models"


@pytest.fixture(scope="module")
def collecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Give a real control plane with its controllers, and the namespace."""
    with running(tmp_path_factory.mktemp("owners"), controllers=True) as server:
        server.kubectl("create", "namespace", NAMESPACE)
        yield server


@pytest.fixture
async def cluster(collecting: ApiServer) -> AsyncIterator[KubernetesCluster]:
    """Give a client, as administrator."""
    client = KubernetesCluster(find_login(str(collecting.kubeconfig)), field_manager="headgate-cli")
    yield client
    await client.close()


async def owner(cluster: KubernetesCluster, name: str) -> Manifest:
    """Make a ModelDeployment that no operator looks at."""
    spec = {"spec.rollout": {"paused": True}, "metadata.name": name}
    return await cluster.create(deployment(spec))


async def child(cluster: KubernetesCluster, owner: Manifest, name: str) -> Manifest:
    """Make an object that the owner controls."""
    metadata = {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner_reference(owner)]}
    return await cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so; fails after a minute."""
    for _ in range(10 * PATIENCE_SECONDS):
        if await look():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not so after {PATIENCE_SECONDS} s")


def is_gone(cluster: KubernetesCluster, kind: Any, name: str) -> Callable[[], Awaitable[bool]]:
    """Look whether an object is gone."""

    async def look() -> bool:
        return await cluster.get(kind, NAMESPACE, name) is None

    return look


async def test_what_was_let_go_outlives_its_owner_and_the_rest_goes(
    cluster: KubernetesCluster,
) -> None:
    """The order of `headgate release`: the owner is taken off first, and then deleted."""
    parent = await owner(cluster, "released")
    kept = await child(cluster, parent, "kept")
    await child(cluster, parent, "collected")

    left = await cluster.patch_metadata(kept, {"ownerReferences": None})
    await cluster.delete(MODEL_DEPLOYMENT, NAMESPACE, "released", parent["metadata"]["uid"])
    await until(is_gone(cluster, CONFIG_MAP, "collected"))

    assert await cluster.get(MODEL_DEPLOYMENT, NAMESPACE, "released") is None
    assert await cluster.get(CONFIG_MAP, NAMESPACE, "kept") == left
    assert "ownerReferences" not in left["metadata"]


async def test_children_of_an_orphaning_delete_stay_without_an_owner(
    cluster: KubernetesCluster,
) -> None:
    """The order of `headgate adopt`: once the owner is gone, its children are nobody's."""
    parent = await owner(cluster, "adopted")
    await child(cluster, parent, "served")

    await cluster.orphan(MODEL_DEPLOYMENT, NAMESPACE, "adopted", parent["metadata"]["uid"])
    await until(is_gone(cluster, MODEL_DEPLOYMENT, "adopted"))

    left = await cluster.get(CONFIG_MAP, NAMESPACE, "served")
    assert left is not None
    assert not left["metadata"].get("ownerReferences")
    await cluster.orphan(MODEL_DEPLOYMENT, NAMESPACE, "adopted", parent["metadata"]["uid"])


async def test_another_of_the_same_name_is_left_alone(cluster: KubernetesCluster) -> None:
    """Who has made it again in the meantime is not deleted by a command about the one before."""
    await owner(cluster, "again")

    with pytest.raises(Conflict):
        await cluster.orphan(MODEL_DEPLOYMENT, NAMESPACE, "again", "another-uid")


async def test_metadata_that_others_changed_meanwhile_is_not_overwritten(
    cluster: KubernetesCluster,
) -> None:
    """Compare-and-swap: the second of two who read the same object is told so."""
    read = await owner(cluster, "shared")
    await cluster.patch_metadata(read, {"labels": {"a": "b"}})

    with pytest.raises(Conflict):
        await cluster.patch_metadata(read, {"ownerReferences": None})
