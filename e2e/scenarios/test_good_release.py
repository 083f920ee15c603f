"""
A good canary costs its users nothing.

It is told by itself: every request that fails is counted against Headgate, so nothing else may take
the machine from its users.
"""

from __future__ import annotations

import pytest

from sandbox.demo_story import DROPPED_RATIO
from scenarios.cluster import Cluster
from scenarios.release import ALL_STEPS, Release

pytestmark = [pytest.mark.sandbox]


def test_good_canary_is_promoted_and_costs_users_nothing(cluster: Cluster) -> None:
    """From version 1 to version 2 no request fails but those the gateway itself drops."""
    with Release(cluster, "good") as fraud:
        fraud.serve("1", rate=100)

        fraud.commit("2")
        record = fraud.wait_end("2")

        told = fraud.told(record)
        cluster.tell(f"good: the gateway dropped {told.by_gateway} of {told.users.ended:,}")
        assert told.outcome == "Promoted", told.evidence
        assert told.users.ended > 500
        assert told.users.failures - told.by_gateway == 0, told.users
        assert told.by_gateway <= DROPPED_RATIO * told.users.ended, told.users
        assert [step["reason"] for step in record["status"]["steps"]] == ALL_STEPS
        assert [step["weight"] for step in record["status"]["steps"]][:4] == [0, 10, 50, 100]
        assert fraud.weights == {"2": 100}
