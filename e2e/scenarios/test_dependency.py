"""What all models depend on fails: a fault of both versions, and one that comes in the bake.

There is one dependency, so these stories are told one after the other.
"""

from __future__ import annotations

import pytest

from scenarios.cluster import Cluster
from scenarios.release import Release, template

pytestmark = [pytest.mark.sandbox]


def test_breach_in_the_bake_goes_back_without_a_deployment(cluster: Cluster) -> None:
    """What breaks the objective once the canary has everything is taken back while its predecessor
    is still warm; here what it alone depends on fails."""
    env = cluster.faults.start_dependency()
    with Release(cluster, "baked") as fraud:
        fraud.serve("1", rate=60)

        fraud.commit("2", {"bake": "10m"}, template=template("2", env))
        fraud.wait("all weight", lambda s: s.get("phase") == "Baking", 120)
        with cluster.faults.dependency_failing(0.3):
            record = fraud.wait_end("2")

        told = fraud.told(record)
        assert told.outcome == "RolledBack", told.evidence
        assert told.reason == "ObjectiveBroken"
        assert fraud.weights == {"1": 100}


def test_fault_of_both_versions_blames_nobody(cluster: Cluster) -> None:
    """When what both depend on fails, the weight stays and nobody goes back."""
    env = cluster.faults.start_dependency()
    with Release(cluster, "both") as fraud:
        fraud.serve("1", rate=60, template=template("1", env))
        fraud.commit("2", {"steps": [{"weight": 20, "hold": "5s"}]}, template=template("2", env))
        fraud.wait_canary("2")
        with cluster.faults.dependency_failing(0.4):
            seen = fraud.look_for(20)

        assert fraud.outcomes[-1] == ("2", "Progressing")
        assert {tuple(sorted(weights.items())) for weights in seen} == {(("1", 80), ("2", 20))}
        assert fraud.status.get("rejected", []) == []
