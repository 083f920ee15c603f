"""
A model that runs on plain KServe is taken over, and given back, while its users go on.

It is told by itself: every request that fails is counted against the commands, so nothing else may
take the machine from the users.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from sandbox.counts import Counts
from sandbox.load import Load, Plan
from scenarios.cluster import NAMESPACE, Cluster
from scenarios.release import START_SECONDS, Json, template

pytestmark = [pytest.mark.sandbox]

NAME = "adopted"
DEPLOYMENT = "adopted-md"
HOST = f"{NAME}-{NAMESPACE}.example.com"
"""What KServe calls it, and what its users go on calling."""
KINDS = ("HorizontalPodAutoscaler", "Deployment", "Service", "HTTPRoute")
_COMMAND_SECONDS = 300
_LABEL = f"headgate.dev/deployment={DEPLOYMENT}"


def test_model_is_adopted_and_released_without_a_failed_request(cluster: Cluster) -> None:
    """KServe's route, then ours, then a route of nobody's: users never see a failure."""
    with plain_service(cluster):
        users = Load(Plan(cluster.gateway, HOST, NAME, rate=20), cluster.folder / "adopted.jsonl")
        users.start()
        try:
            since = datetime.now(UTC)
            command(cluster, "adopt", f"inferenceservice/{NAME}", "--drain", "3", "--timeout=200")
            assert names(cluster, "ModelDeployment") == {DEPLOYMENT}
            assert {n for kind in KINDS for n in names(cluster, kind)} & old_names() == set()
            adopted = counted(cluster, users, since)
            cluster.tell(f"adopted: taken over, users: {adopted}")

            since = datetime.now(UTC)
            left = command(cluster, "release", DEPLOYMENT)
            assert names(cluster, "ModelDeployment") == set()
            released = counted(cluster, users, since)
            cluster.tell(f"adopted: given back, users: {released}")
        finally:
            users.stop()

        service, route = yaml.safe_load_all(left)
        assert names(cluster, "InferenceService") == {service["metadata"]["name"]}
        assert DEPLOYMENT in names(cluster, "HTTPRoute")
        pods = cluster.api.list("Pod", NAMESPACE, _LABEL)
        cluster.api.apply(service)
        cluster.api.apply(route)
        cluster.wait("what Git has changes nothing", lambda: same(cluster, pods), 10)
        assert adopted.failures == 0, adopted
        assert released.failures == 0, released
        assert adopted.ended > 100
        assert released.ended > 100


@contextmanager
def plain_service(cluster: Cluster) -> Iterator[None]:
    """Let KServe serve a model by itself, with routes of its own; nothing is left at the end."""
    api = cluster.api
    forget(cluster)
    api.apply(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {
                "name": NAME,
                "namespace": NAMESPACE,
                "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
            },
            "spec": template("1")["spec"],
        }
    )
    try:
        cluster.wait("KServe's own route", lambda: accepted(cluster, NAME), START_SECONDS)
        yield
    finally:
        forget(cluster)


def forget(cluster: Cluster) -> None:
    """Delete all that this story makes."""
    cluster.api.delete("ModelDeployment", NAMESPACE, DEPLOYMENT)
    for kind in ("InferenceService", *KINDS):
        for name in names(cluster, kind):
            cluster.api.delete(kind, NAMESPACE, name)
    for record in cluster.api.list("ModelRollout", NAMESPACE, _LABEL):
        cluster.api.delete("ModelRollout", NAMESPACE, record["metadata"]["name"])


def names(cluster: Cluster, kind: str) -> set[str]:
    """Name the objects of a kind that are of this story."""
    found = {str(one["metadata"]["name"]) for one in cluster.api.list(kind, NAMESPACE)}
    return {name for name in found if name.split("-")[0] == NAME}


def old_names() -> set[str]:
    """What KServe made before, by name."""
    return {NAME, f"{NAME}-predictor"}


def accepted(cluster: Cluster, name: str) -> bool:
    """Whether the gateway has taken a route up."""
    route = cluster.api.find("HTTPRoute", NAMESPACE, name) or {}
    parents = (route.get("status") or {}).get("parents") or ()
    return bool(parents) and all(
        condition["status"] == "True" for parent in parents for condition in parent["conditions"]
    )


def command(cluster: Cluster, *words: str) -> str:
    """Run a verb as a person does, and return what it printed for Git."""
    done = subprocess.run(
        [*(sys.executable, "-m", "headgate"), *words, "-n", NAMESPACE, *_login(cluster)],
        capture_output=True,
        text=True,
        check=False,
        timeout=_COMMAND_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _login(cluster: Cluster) -> tuple[str, str]:
    return "--kubeconfig", str(cluster.login)


def counted(cluster: Cluster, users: Load, since: datetime) -> Counts:
    """Return what users saw from then on, up to some seconds from now."""
    until = datetime.now(UTC) + timedelta(seconds=8)
    cluster.wait("users go on", lambda: datetime.now(UTC) > until + timedelta(seconds=2), 20)
    return users.counts(since, until)


def same(cluster: Cluster, pods: Sequence[Json]) -> bool:
    """Whether the pods are those of before."""
    uids = {pod["metadata"]["uid"] for pod in pods}
    now = {pod["metadata"]["uid"] for pod in cluster.api.list("Pod", NAMESPACE, _LABEL)}
    return bool(uids) and now == uids
