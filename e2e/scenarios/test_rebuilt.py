"""A cluster that is rebuilt from Git at a bad commit serves what was proven, and tries the rest."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from scenarios.cluster import NAMESPACE, Cluster
from scenarios.release import START_SECONDS, Release, dropped_by_gateway

pytestmark = [pytest.mark.sandbox, pytest.mark.side_by_side]


def test_rebuilt_cluster_at_a_bad_commit_serves_what_was_proven(cluster: Cluster) -> None:
    """Everything is lost but Git, which is at a version that fails: version 1 is what users get."""
    with Release(cluster, "rebuilt") as fraud:
        fraud.serve("1")
        kept = exported(cluster, fraud.name)
        fraud.users_go()
        fraud.lose()

        fraud.commit("3", {"provenRevision": kept})
        fraud.wait("version 1 serves", serves("1"), START_SECONDS)
        since = datetime.now(UTC)
        fraud.users_come(30)
        record = fraud.wait_end("3")

        assert record["status"]["outcome"] == "RolledBack", record["status"]["message"]
        assert fraud.outcomes == [("1", "Promoted"), ("3", "RolledBack")]
        first = fraud.records[0]
        assert first["status"]["reason"] == "RestoredProven"
        assert first["spec"]["restored"]["rollout"] == kept["rollout"]
        assert fraud.status["stable"]["proven"] is True
        assert fraud.weights == {"1": 100}
        cluster.tell(f"rebuilt: version 3 went back, users: {fraud.counts(since)}")

        since = datetime.now(UTC)
        fraud.look_for(5)
        users = fraud.counts(since)
        assert users.ended > 100
        assert users.failures - dropped_by_gateway(users) == 0, users


def exported(cluster: Cluster, name: str) -> dict[str, Any]:
    """Export the proven revision as a person does, and return the block that Git keeps."""
    words = ["export", "--proven", name, "-n", NAMESPACE]
    done = subprocess.run(
        [sys.executable, "-m", "headgate", *words, "--kubeconfig", str(cluster.operator_login)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept: dict[str, Any] = yaml.safe_load(done.stdout)["spec"]["rollout"]["provenRevision"]
    return kept


def serves(version: str) -> Any:
    """Whether this version is stable and has requests."""

    def holds(status: dict[str, Any]) -> bool:
        stable = status.get("stable") or {}
        return bool(stable.get("version") == version and stable.get("weight", 0) > 0)

    return holds
