"""Headgate is removed in mid-canary: models serve on, and it goes on when it is back."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scenarios.cluster import Bare
from scenarios.release import ALL_STEPS, Release

pytestmark = pytest.mark.sandbox

RATE, GONE_SECONDS = 20.0, 40.0


def test_models_serve_on_without_headgate(bare: Bare) -> None:
    """No operator, no ServiceAccount, no rule: users keep their split and no request fails.

    A commit meanwhile changes nothing; installed again, Headgate goes on with the same record.
    """
    with Release(bare.cluster, "left") as fraud:
        with bare.installed("sandbox") as headgate:
            headgate.start()
            fraud.serve("1", RATE)
            fraud.commit("2")
            fraud.wait_canary("2")
            begun = fraud.records[-1]
        held = fraud.weights
        assert held["2"] in (10, 50)
        assert bare.cluster.api.find("ClusterRole", None, "headgate") is None

        since = datetime.now(UTC)
        assert all(weights == held for weights in fraud.look_for(GONE_SECONDS, pause=1))
        fraud.sync("while nobody looks")
        users = fraud.counts(since)
        bare.cluster.tell(f"left: {GONE_SECONDS:.0f} s without Headgate at {held}, users: {users}")
        assert users.ended > GONE_SECONDS * RATE / 2
        assert users.failures == 0, users

        with bare.installed("sandbox") as headgate:
            headgate.start()
            record = fraud.wait_end("2")
            assert record["status"]["outcome"] == "Promoted", record["status"]["message"]
            assert record["metadata"]["uid"] == begun["metadata"]["uid"]
            assert [step["reason"] for step in record["status"]["steps"]] == ALL_STEPS
            assert fraud.weights == {"2": 100}
