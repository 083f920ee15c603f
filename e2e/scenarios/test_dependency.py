"""What all models depend on fails: a fault of both versions, and one that comes in the bake.

There is one dependency, so these stories are told one after the other.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from scenarios.cluster import Cluster
from scenarios.release import Json, Release, template

pytestmark = [pytest.mark.sandbox]


def test_breach_in_the_bake_goes_back_without_a_deployment(cluster: Cluster) -> None:
    """What breaks the objective once the canary has everything is taken back while its predecessor
    is still warm; here what it alone depends on fails."""
    env = cluster.faults.start_dependency()
    with Release(cluster, "baked") as fraud:
        fraud.serve("1", rate=30)
        stable = fraud.children("InferenceService")[0]["metadata"]["uid"]

        fraud.commit("2", {"bake": "10m"}, template=template("2", env))
        fraud.wait("all weight", lambda s: s.get("phase") == "Baking", 120)
        with cluster.faults.dependency_failing(0.3):
            record = fraud.wait_end("2")

        told = fraud.told(record)
        assert told.outcome == "RolledBack", told.evidence
        assert told.reason == "ObjectiveBroken"
        assert re.search(r"failed \d", told.evidence), told.evidence
        assert [step["weight"] for step in record["status"]["steps"]] == [0, 10, 50, 100, 0]
        assert told.users.failures > 0, "the client saw nothing of it"
        assert stable in {one["metadata"]["uid"] for one in fraud.children("InferenceService")}
        assert fraud.weights == {"1": 100}


def test_fault_of_both_versions_blames_nobody(cluster: Cluster) -> None:
    """When what both depend on fails, the weight stays and nobody goes back; why is on record."""
    env = cluster.faults.start_dependency()
    with Release(cluster, "both") as fraud:
        fraud.serve("1", rate=30, template=template("1", env))
        fraud.commit("2", {"steps": [{"weight": 20, "hold": "5s"}]}, template=template("2", env))
        fraud.wait_canary("2")
        since = datetime.now(UTC)
        with cluster.faults.dependency_failing(0.4):
            seen = fraud.look_for(20)
            users = fraud.counts(since)

        cluster.tell(f"both: with what both depend on failing, users: {users}")
        assert users.failures > 0, "the client saw nothing of it"
        decision = cluster.wait("why it holds", lambda: _incident(fraud), 120)
        assert "both break the objective" in decision["message"]
        assert decision["verdict"] == "Inconclusive"
        assert fraud.outcomes[-1] == ("2", "Progressing")
        assert {tuple(sorted(weights.items())) for weights in seen} == {(("1", 80), ("2", 20))}
        assert fraud.status.get("rejected", []) == []


def _incident(fraud: Release) -> Json | None:
    """Return the decision on record, once it is that stable is in an incident."""
    decision = fraud.records[-1]["status"].get("decision") or {}
    return decision if decision.get("reason") == "StableInIncident" else None
