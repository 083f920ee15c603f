"""Harm of every size, and harm in the tail alone: what the evidence makes of each."""

from __future__ import annotations

import re

import pytest

from scenarios.cluster import Cluster
from scenarios.release import Release

pytestmark = [pytest.mark.sandbox, pytest.mark.side_by_side]

_STEADY = {"steps": [{"weight": 20, "hold": "90s"}]}
"""Rules that give small harm the time to show."""


@pytest.mark.parametrize(
    ("version", "share"),
    [
        pytest.param("fails-3", 0.027, id="three requests in a hundred"),
        pytest.param("fails-half", 0.45, id="half of all requests"),
    ],
)
def test_failures_are_rolled_back(cluster: Cluster, version: str, share: float) -> None:
    """A canary that fails by nature goes back for its failures, as its users count them.

    Ten in a hundred are told among the releases.
    """
    with Release(cluster, version) as fraud:
        fraud.serve("1", rate=40)

        fraud.commit(version, _STEADY)
        record = fraud.wait_end(version)
        told = fraud.told(record)

        assert told.outcome == "RolledBack", told.evidence
        assert told.reason in ("ErrorsHigher", "ObjectiveBroken")
        assert re.search(r"failed \d", told.evidence), told.evidence
        assert [step["weight"] for step in record["status"]["steps"]] == [0, 20, 0]
        assert told.users.failures > 0, "the client saw nothing of it"
        assert told.users.failures < 0.5 * share * told.users.ended, "mostly stable served"
        assert fraud.weights == {"1": 100}


def test_latency_in_the_tail_alone_is_rolled_back(cluster: Cluster) -> None:
    """One request in twenty-five takes 0.4 s and all others are as quick as before."""
    with Release(cluster, "tail") as fraud:
        fraud.serve("2", rate=40)

        fraud.commit("slow-tail", _STEADY)
        record = fraud.wait_end("slow-tail")
        told = fraud.told(record)

        assert told.outcome == "RolledBack", told.evidence
        assert told.reason == "LatencyHigher"
        assert "took over" in told.evidence
        assert [step["weight"] for step in record["status"]["steps"]] == [0, 20, 0]
        assert told.users.failures - told.by_gateway == 0, told.users
        assert fraud.weights == {"2": 100}
