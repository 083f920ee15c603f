"""The chart is upgraded in mid-canary: users see nothing of it, and the rollout goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from scenarios.charts import CHART, OLDER, make_older
from scenarios.cluster import Bare
from scenarios.release import ALL_STEPS, Release

pytestmark = pytest.mark.sandbox

RATE = 20.0


def test_a_rollout_goes_on_over_an_upgrade_of_the_chart(bare: Bare, tmp_path: Path) -> None:
    """CRDs, rules and operator are another version's from one moment to the next: no request fails,
    and the record that one operator began the other one ends."""
    with bare.charted(make_older(tmp_path)) as headgate, Release(bare.cluster, "upgraded") as fraud:
        operator = headgate.start()
        assert _version_of_kinds(bare) == OLDER
        fraud.serve("1", RATE)
        since = datetime.now(UTC)
        fraud.commit("2")
        fraud.wait_canary("2")
        begun = fraud.records[-1]

        headgate.upgrade(CHART)
        assert _version_of_kinds(bare) != OLDER
        operator.stop()
        headgate.start()
        record = fraud.wait_end("2")

        users = fraud.counts(since)
        bare.cluster.tell(f"upgraded: users over an upgrade in mid-canary: {users}")
        assert record["status"]["outcome"] == "Promoted", record["status"]["message"]
        assert record["metadata"]["uid"] == begun["metadata"]["uid"]
        assert [step["reason"] for step in record["status"]["steps"]] == ALL_STEPS
        assert fraud.outcomes == [("1", "Promoted"), ("2", "Promoted")]
        assert users.failures == 0, users


def _version_of_kinds(bare: Bare) -> str:
    """Return which Headgate the stored ModelDeployments are of."""
    name = "modeldeployments.headgate.dev"
    found = bare.cluster.api.find("CustomResourceDefinition", None, name)
    assert found is not None
    return str(found["metadata"]["annotations"]["headgate.dev/version"])
