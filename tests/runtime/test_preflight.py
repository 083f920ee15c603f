"""What is said when something is missing at the start."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from tests.runtime.fakes import ListedCluster

from headgate.ports import ClusterUnavailable, Refused
from headgate.runtime.preflight import NEEDED, NotInstalled, check

PATIENCE = timedelta(seconds=60)


async def run(cluster: ListedCluster, *namespaces: str) -> None:
    """Check with our patience."""
    await check(cluster, namespaces, PATIENCE)  # type: ignore[arg-type]


async def test_all_kinds_are_tried_in_all_namespaces() -> None:
    """A namespaced operator asks in its namespaces only, and for every kind it needs."""
    cluster = ListedCluster()
    await run(cluster, "a", "b")
    assert sorted(cluster.asked) == sorted((kind.plural, ns) for kind in NEEDED for ns in "ab")


async def test_each_missing_kind_has_its_line() -> None:
    """The text names the kind, the server's answer, and what to install."""
    cluster = ListedCluster()
    cluster.refused["inferenceservices"] = Refused("HTTP 404: 404 page not found")
    cluster.refused["httproutes"] = Refused("HTTP 403: forbidden")

    with pytest.raises(NotInstalled) as missing:
        await run(cluster)
    assert str(missing.value).splitlines() == [
        "inferenceservices.serving.kserve.io/v1beta1: wanted to list them, found: HTTP 404: 404 "
        "page not found - is KServe installed, and manifests/base applied?",
        "httproutes.gateway.networking.k8s.io/v1: wanted to list them, found: HTTP 403: forbidden"
        " - is Gateway API installed, and manifests/base applied?",
    ]


@pytest.mark.looptime
async def test_an_api_server_that_comes_back_is_waited_for() -> None:
    """An outage at the start is retried; the check then passes."""
    cluster = ListedCluster()
    cluster.error = ClusterUnavailable("connection refused")
    task = asyncio.create_task(run(cluster))
    await asyncio.sleep(20)
    cluster.error = None
    await asyncio.wait_for(task, 11)


@pytest.mark.looptime
async def test_an_api_server_that_stays_away_ends_the_start() -> None:
    """After our patience the outage is raised, for whoever supervises the process."""
    cluster = ListedCluster()
    cluster.error = ClusterUnavailable("connection refused")

    with pytest.raises(ClusterUnavailable, match="connection refused"):
        await run(cluster)
    assert 45 <= asyncio.get_running_loop().time() <= 60
