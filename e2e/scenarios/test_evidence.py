"""Harm of every size, harm to both arms, harm after the steps: what the evidence makes of each."""

from __future__ import annotations

import pytest

from scenarios.cluster import Cluster
from scenarios.release import Release, template

pytestmark = [pytest.mark.sandbox, pytest.mark.side_by_side]

_STEADY = {"steps": [{"weight": 20, "hold": "45s"}]}
"""Rules that give small harm the time to show."""


@pytest.mark.parametrize(
    ("version", "share"),
    [
        pytest.param("fails-3", 0.027, id="three requests in a hundred"),
        pytest.param("fails-half", 0.45, id="half of all requests"),
    ],
)
def test_failures_are_rolled_back(cluster: Cluster, version: str, share: float) -> None:
    """A canary that fails by nature goes back for its failures, as its users count them."""
    with Release(cluster, version) as fraud:
        fraud.serve("1", rate=60)

        fraud.commit(version, _STEADY)
        told = fraud.told(fraud.wait_end(version))

        assert told.outcome == "RolledBack", told.evidence
        assert told.reason in ("ErrorsHigher", "ObjectiveBroken")
        assert told.users.failures > 0, "the client saw nothing of it"
        assert told.users.failures < 0.5 * share * told.users.ended, "mostly stable served"
        assert fraud.weights == {"1": 100}


def test_latency_in_the_tail_alone_is_rolled_back(cluster: Cluster) -> None:
    """One request in twenty-five takes 0.4 s and all others are as quick as before."""
    with Release(cluster, "tail") as fraud:
        fraud.serve("2", rate=60)

        fraud.commit("slow-tail", _STEADY)
        told = fraud.told(fraud.wait_end("slow-tail"))

        assert told.outcome == "RolledBack", told.evidence
        assert told.reason == "LatencyHigher"
        assert "took over" in told.evidence
        assert told.users.failures - told.by_gateway == 0, told.users
        assert fraud.weights == {"2": 100}


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
    """When what both depend on fails, the weight stays, and it goes on when that is over."""
    env = cluster.faults.start_dependency()
    with Release(cluster, "both") as fraud:
        fraud.serve("1", rate=60, template=template("1", env))
        fraud.commit("2", {"steps": [{"weight": 20, "hold": "5s"}]}, template=template("2", env))
        fraud.wait_canary("2")
        with cluster.faults.dependency_failing(0.4):
            seen = fraud.look_for(20)

        assert fraud.outcomes[-1] == ("2", "Progressing")
        assert {tuple(sorted(weights.items())) for weights in seen} == {(("1", 80), ("2", 20))}
        assert fraud.wait_end("2")["status"]["outcome"] == "Promoted"
