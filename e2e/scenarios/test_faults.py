"""Parts of the platform fail in mid-canary: traffic keeps its split, and the rollout goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from scenarios.cluster import Cluster
from scenarios.release import Json, Release, dropped_by_gateway

pytestmark = pytest.mark.sandbox

OUTAGE_SECONDS = 60.0
METRICS_OUTAGE_SECONDS = 20.0
GOOD = ("1", "2", "4")


@pytest.fixture(scope="module")
def fraud(cluster: Cluster) -> Iterator[Release]:
    """Give one deployment that serves a proven version; each test releases another good one."""
    with Release(cluster, "faults") as release:
        release.serve("1")
        yield release


def begin(fraud: Release, **rollout: Any) -> tuple[str, Json]:
    """Commit another good version; returns it and its record, once it is under way."""
    stable = fraud.wait_phase("Stable", seconds=60)["stable"]["version"]
    version = GOOD[(GOOD.index(stable) + 1) % len(GOOD)]
    fraud.commit(version, rollout)
    fraud.wait_canary(version)
    return version, fraud.records[-1]


def finish(fraud: Release, version: str, begun: Json) -> Json:
    """Return the record at the end: the same one, promoted, with no step taken twice."""
    record = fraud.wait_end(version)
    weights = [step["weight"] for step in record["status"]["steps"]]
    assert record["status"]["outcome"] == "Promoted", record["status"]["message"]
    assert record["metadata"]["uid"] == begun["metadata"]["uid"]
    assert fraud.records[-1]["metadata"]["uid"] == record["metadata"]["uid"]
    assert weights == [0, 10, 50, 100, 0]
    assert fraud.weights == {version: 100}
    return record


def test_killed_operator_goes_on_where_it_was(cluster: Cluster, fraud: Release) -> None:
    """After kill -9 at 10 % another process continues the same record and does nothing twice."""
    since = datetime.now(UTC)
    version, begun = begin(fraud)

    cluster.faults.kill_operator()

    record = finish(fraud, version, begun)
    told = fraud.told(record)
    events = [(event["reason"], event["message"]) for event in fraud.events(since)]
    assert len(events) == len(set(events)) >= 4, events
    assert told.users.failures == dropped_by_gateway(told.users), told.users


def test_metrics_outage_holds_and_the_rollout_resumes(cluster: Cluster, fraud: Release) -> None:
    """Without Prometheus there is no evidence: no advance, no rollback, and then on as before."""
    version, begun = begin(fraud)

    with cluster.faults.prometheus_down():
        fraud.wait_condition("EvidenceFlowing", "MetricsUnavailable", 60)
        held = fraud.weights
        assert held[version] in (10, 50)
        for weights in fraud.look_for(METRICS_OUTAGE_SECONDS):
            assert weights == held
        assert fraud.status["phase"] == "Progressing"

    finish(fraud, version, begun)


def test_api_server_outage_costs_only_its_minute(cluster: Cluster, fraud: Release) -> None:
    """Without an API server for a minute users keep their split; then the rollout goes on."""
    version, begun = begin(fraud)

    since = datetime.now(UTC)
    with cluster.faults.api_server_down():
        time.sleep(OUTAGE_SECONDS)
        users = fraud.counts(since)
    cluster.tell(f"faults: a minute without an API server, users: {users}")

    assert users.ended > OUTAGE_SECONDS * 25
    assert users.failures == 0, users
    finish(fraud, version, begun)
