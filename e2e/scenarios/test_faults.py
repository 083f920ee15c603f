"""Parts of the platform fail in mid-canary: traffic keeps its split, and the rollout goes on."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from scenarios.cluster import Cluster, Worlds
from scenarios.release import ALL_STEPS, Json, Release, dropped_by_gateway

pytestmark = pytest.mark.sandbox

OUTAGE_SECONDS = 60.0
METRICS_OUTAGE_SECONDS = 600.0
RATE = 50.0
FEW = 10.0
"""Requests a second that leave the machine to the scenarios beside."""


def test_killed_operator_goes_on_where_it_was(cluster: Cluster) -> None:
    """After kill -9 at 10 % another process continues the same record and does nothing twice."""
    with Release(cluster, "killed") as fraud:
        fraud.serve("1", RATE)
        fraud.commit("2")
        fraud.wait_canary("2")
        begun = fraud.records[-1]

        cluster.faults.kill_operator()

        told = fraud.told(_end(fraud, begun))
        assert sorted(event["reason"] for event in fraud.events("version 2")) == sorted(ALL_STEPS)
        assert told.users.failures == dropped_by_gateway(told.users), told.users


@pytest.mark.beside_all
def test_metrics_outage_of_ten_minutes_holds_and_the_rollout_resumes(worlds: Worlds) -> None:
    """Without Prometheus there is no evidence: no advance, no rollback, and then on as before.

    It is twice as long as the deadline for progress, and as no other scenario could be without
    metrics for so long, it has a world of its own.
    """
    with worlds.up("scenarios-outage") as cluster, Release(cluster, "unmeasured") as fraud:
        fraud.serve("1", FEW)
        since = fraud.commit("2")
        fraud.wait_canary("2")
        begun = fraud.records[-1]

        with cluster.faults.prometheus_down():
            noticed = fraud.wait_condition("EvidenceFlowing", "MetricsUnavailable", 60)
            held, steps = fraud.weights, fraud.records[-1]["status"]["steps"]
            assert held["2"] in (10, 50)
            assert noticed["message"] == "the metrics could not be read"
            for weights in fraud.look_for(METRICS_OUTAGE_SECONDS, pause=5):
                assert weights == held
            assert fraud.status["phase"] == "Progressing"
            assert fraud.condition("EvidenceFlowing")["reason"] == "MetricsUnavailable"
            assert fraud.records[-1]["status"]["steps"] == steps

        _end(fraud, begun)
        users = fraud.counts(since)
        cluster.tell(f"unmeasured: ten minutes without Prometheus at {held}, users: {users}")
        assert users.ended > METRICS_OUTAGE_SECONDS * FEW / 2
        assert users.failures == dropped_by_gateway(users), users
        assert '"level": "error"' not in cluster.operator_log.read_text()


def test_api_server_outage_costs_only_its_minute(cluster: Cluster) -> None:
    """Without an API server for a minute users keep their split; then the rollout goes on."""
    with Release(cluster, "unattended") as fraud:
        fraud.serve("1", RATE)
        fraud.commit("2")
        fraud.wait_canary("2")
        begun = fraud.records[-1]

        since = datetime.now(UTC)
        with cluster.faults.api_server_down():
            time.sleep(OUTAGE_SECONDS)
            users = fraud.counts(since)

        cluster.tell(f"unattended: a minute without an API server, users: {users}")
        assert users.ended > OUTAGE_SECONDS * RATE / 2
        assert users.failures == 0, users
        _end(fraud, begun)


def _end(fraud: Release, begun: Json) -> Json:
    """Return the record at the end: the one that was begun, promoted, no step taken twice."""
    record = fraud.wait_end("2")
    assert record["status"]["outcome"] == "Promoted", record["status"]["message"]
    assert record["metadata"]["uid"] == begun["metadata"]["uid"]
    assert [step["reason"] for step in record["status"]["steps"]] == ALL_STEPS
    assert fraud.outcomes == [("1", "Promoted"), ("2", "Promoted")]
    assert fraud.weights == {"2": 100}
    return record
