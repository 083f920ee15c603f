"""An error budget that was spent before the commit: a new version waits, but for an emergency."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scenarios.cluster import Cluster
from scenarios.release import Release, dropped_by_gateway

pytestmark = [pytest.mark.sandbox, pytest.mark.side_by_side]

_DAILY = [{"name": "availability", "target": "99", "window": "1d", "errors": {}}]


def test_spent_budget_starts_nothing_but_an_emergency(cluster: Cluster) -> None:
    """After a day in which 2 % failed, where 1 % may, a good version waits and users notice
    nothing; committed as an emergency it is released, and its record says so."""
    with Release(cluster, "spent") as fraud:
        since = datetime.now(UTC)
        fraud.serve("1", rate=40, objectives=[])
        cluster.faults.spent_budget(fraud.name, until=since)

        fraud.commit("2", objectives=_DAILY)
        found = fraud.wait_condition("RolledOut", "BudgetExhausted")
        seen = fraud.look_for(15)

        cluster.tell(f"spent: {found['message']}")
        assert "nothing is left of the error budget; 3,000 of 1" in found["message"]
        assert fraud.condition("BudgetAvailable")["reason"] == "BudgetExhausted"
        assert float(fraud.status["budget"][0]["remaining"]) < -1
        assert [event["reason"] for event in fraud.events("error budget")] == ["BudgetExhausted"]
        assert {tuple(weights.items()) for weights in seen} == {(("1", 100),)}
        assert fraud.outcomes == [("1", "Promoted")]
        assert len(fraud.children("InferenceService")) == 1

        # With nothing left the first weight is the least there is, so proof of more is slow.
        fraud.commit("2", {"emergency": True, "tolerance": "25"}, objectives=_DAILY)
        record = fraud.wait_end("2")

        users = fraud.counts(since)
        cluster.tell(f"spent: an emergency was released, users: {users}")
        assert record["status"]["outcome"] == "Promoted", record["status"]["message"]
        assert [step["weight"] for step in record["status"]["steps"]][:2] == [0, 1]
        assert record["spec"]["policy"]["rollout"]["emergency"] is True
        assert fraud.weights == {"2": 100}
        assert users.ended > 0
        assert users.failures == dropped_by_gateway(users), users
