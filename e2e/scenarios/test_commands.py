"""A person's commands on a running rollout, by the command line and by annotations."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from sandbox.demo_story import DROPPED_RATIO
from sandbox.paths import ROOT
from scenarios.cluster import NAMESPACE, Cluster
from scenarios.release import ROLLOUT_SECONDS, Release, condition, dropped_by_gateway

pytestmark = [pytest.mark.sandbox, pytest.mark.side_by_side]

_LONG = {"steps": [{"weight": 10, "hold": "10m"}]}
_CANARY = {"1": 90, "2": 10}


def test_pause_resume_abort_retry_and_promote(cluster: Cluster) -> None:
    """Each does what it says, none is undone by a sync, and no user pays for any of them."""
    with Release(cluster, "commanded") as fraud:
        fraud.serve("1")
        since = fraud.commit("2", _LONG)
        fraud.wait_canary("2")

        _command(fraud, "pause")
        fraud.wait_phase("Paused")
        assert fraud.look_for(6)[-1] == _CANARY
        _command(fraud, "resume")
        fraud.wait_phase("Progressing")

        _command(fraud, "abort", "--reason", "the bank complains")
        aborted = fraud.wait_end("2", seconds=30)
        assert fraud.weights == {"1": 100}
        for number in range(5):
            fraud.sync(f"sync-{number}")
            fraud.look_for(1)
        assert fraud.outcomes == [("1", "Promoted"), ("2", "Aborted")]
        assert fraud.status["rejected"][0]["reason"] == "AbortedByPerson"

        _command(fraud, "retry")
        fraud.wait_canary("2")
        _command(fraud, "promote")
        fraud.wait_phase("Baking")
        assert fraud.weights == {"2": 100}
        promoted = fraud.wait_end("2", ROLLOUT_SECONDS)

        assert fraud.outcomes == [("1", "Promoted"), ("2", "Aborted"), ("2", "Promoted")]
        given = _given(aborted) + _given(promoted)
        assert [(one["verb"], one["manager"]) for one in given] == [
            ("Pause", "headgate-cli"),
            ("Abort", "headgate-cli"),
            ("Retry", "headgate-cli"),
            ("Promote", "headgate-cli"),
        ]
        assert given[1]["reason"] == "the bank complains"
        assert all("setAt" in one for one in given)
        _run(fraud, "audit", "replay", fraud.name)
        users = fraud.counts(since)
        dropped = dropped_by_gateway(users)
        cluster.tell(f"commanded: {len(given)} commands of a person, users: {users}")
        assert users.failures - dropped == 0, users
        assert dropped <= DROPPED_RATIO * users.ended, users


def test_a_command_for_another_revision_is_told_and_ignored(cluster: Cluster) -> None:
    """What anybody may annotate neither moves traffic nor ends a pass."""
    with Release(cluster, "mistaken") as fraud:
        fraud.serve("1")
        fraud.commit("2", _LONG)
        fraud.wait_canary("2")

        _annotate(fraud, {"headgate.dev/abort": "ffffffff", "headgate.dev/promote": "all of it"})
        status = fraud.wait(
            "what is wrong with it",
            lambda s: condition(s, "CommandAccepted").get("status") == "False",
            30,
        )

        assert "found ffffffff" in condition(status, "CommandAccepted")["message"]
        assert "found 'all of it'" in condition(status, "CommandAccepted")["message"]
        assert fraud.look_for(6)[-1] == _CANARY
        assert fraud.status["phase"] == "Progressing"
        _annotate(fraud, {"headgate.dev/abort": None, "headgate.dev/promote": None})
        fraud.wait("nothing to tell", lambda s: not condition(s, "CommandAccepted"), 30)
        assert fraud.events("found ffffffff") != []


def _command(fraud: Release, verb: str, *words: str) -> None:
    said = _run(fraud, verb, fraud.name, *words)
    fraud.cluster.tell(f"commanded: {said.strip()}")


def _run(fraud: Release, *words: str) -> str:
    """Run headgate's command line as a person does, with a person's kubeconfig."""
    login = ("-n", NAMESPACE, "--kubeconfig", str(fraud.cluster.api.kubeconfig))
    done = subprocess.run(
        [sys.executable, "-m", "headgate", *words, *login],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def _annotate(fraud: Release, annotations: dict[str, str | None]) -> None:
    metadata = {"name": fraud.name, "namespace": NAMESPACE, "annotations": annotations}
    fraud.cluster.api.merge({"kind": "ModelDeployment", "metadata": metadata})


def _given(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [step["command"] for step in record["status"]["steps"] if "command" in step]
