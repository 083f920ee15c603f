"""A canary's fate is decided by what its users got: bad, slow, edited, reverted, unseen."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sandbox.demo_story import DROPPED_RATIO, ROLLBACK_SECONDS
from scenarios.cluster import NAMESPACE, Cluster
from scenarios.release import Release, dropped_by_gateway

pytestmark = [pytest.mark.sandbox, pytest.mark.side_by_side]


def test_bad_canary_is_taken_back_within_a_minute(cluster: Cluster) -> None:
    """A tenth of its requests fail at 10 % of 100 a second: gone 60 s after its first request."""
    with Release(cluster, "bad") as fraud:
        fraud.serve("1", rate=100)

        fraud.commit("3")
        told = fraud.told(fraud.wait_end("3"))

        assert told.outcome == "RolledBack", told.evidence
        assert told.seconds < ROLLBACK_SECONDS
        assert told.reason in ("ErrorsHigher", "ObjectiveBroken")
        assert told.users.failures > 0, "the client saw nothing of it"
        assert fraud.weights == {"1": 100}


def test_slow_canary_is_taken_back(cluster: Cluster) -> None:
    """A model that answers right but late is rolled back for its latency, and nobody gets a 5xx."""
    late = {"name": "latency", "target": "95", "latency": {"threshold": "50ms"}}
    with Release(cluster, "slow") as fraud:
        fraud.serve("1", rate=50)

        fraud.commit("slow", objectives=[late])
        told = fraud.told(fraud.wait_end("slow"))

        assert told.outcome == "RolledBack", told.evidence
        assert told.reason in ("LatencyHigher", "ObjectiveBroken")
        assert "took over" in told.evidence
        assert told.users.failures - told.by_gateway == 0, told.users
        assert fraud.weights == {"1": 100}


def test_edit_in_mid_canary_supersedes_it(cluster: Cluster) -> None:
    """The unfinished canary goes first; the newer version then starts from the first step."""
    with Release(cluster, "edited") as fraud:
        fraud.serve("1")
        since = fraud.commit("2", _LONG)
        fraud.wait_canary("2")

        fraud.commit("4")
        record = fraud.wait_end("4")

        assert fraud.outcomes == [("1", "Promoted"), ("2", "Superseded"), ("4", "Promoted")]
        assert record["spec"]["from"]["version"] == "1"
        assert record["status"]["steps"][0]["weight"] == 0
        assert fraud.weights == {"4": 100}
        _assert_only_dropped(fraud, since)


def test_revert_in_mid_canary_goes_back_and_rejects_nothing(cluster: Cluster) -> None:
    """The stable version is wanted again: it gets everything, and nothing else is tried."""
    with Release(cluster, "reverted") as fraud:
        fraud.serve("1")
        since = fraud.commit("2", _LONG)
        fraud.wait_canary("2")

        fraud.commit("1")
        fraud.wait_end("2")

        status = fraud.wait_condition("RolledOut", "RolledOut")
        assert status["message"] == "version 1 is the stable one"
        assert fraud.status["phase"] == "Stable"
        assert fraud.status.get("rejected", []) == []
        assert fraud.outcomes == [("1", "Promoted"), ("2", "Aborted")]
        assert fraud.weights == {"1": 100}
        _assert_only_dropped(fraud, since)


def test_canary_without_requests_is_held(cluster: Cluster) -> None:
    """Silence neither promotes nor rolls back; with the first users the rollout goes on."""
    with Release(cluster, "silent") as fraud:
        fraud.serve("1")
        fraud.users_go()
        fraud.commit("2")
        fraud.wait_canary("2")
        fraud.wait_condition("EvidenceFlowing", "NoTraffic")

        _assert_held(fraud, {"1": 90, "2": 10}, seconds=12)

        assert fraud.condition("EvidenceFlowing")["reason"] == "NoTraffic"
        fraud.users_come(30)
        assert fraud.wait_end("2")["status"]["outcome"] == "Promoted"


def test_rejected_commit_is_not_tried_again_by_ten_syncs(cluster: Cluster) -> None:
    """A GitOps tool may apply a rejected commit as often as it likes: its users see nothing."""
    with Release(cluster, "resynced") as fraud:
        fraud.serve("1", rate=50)
        fraud.commit("3")
        assert fraud.wait_end("3")["status"]["outcome"] == "RolledBack"
        before = fraud.wait_phase("RolledBack")
        fraud.look_for(3)  # the last requests of the canary end

        since = fraud.commit("3")
        for number in range(10):
            fraud.sync(f"sync-{number}")
            fraud.look_for(0.5)
        fraud.look_for(6)

        users = fraud.counts(since)
        cluster.tell(f"resynced: ten syncs of a rejected version, users: {users}")
        assert fraud.outcomes == [("1", "Promoted"), ("3", "RolledBack")]
        assert fraud.status["rejected"] == before["rejected"]
        assert fraud.status["phase"] == "RolledBack"
        assert fraud.weights == {"1": 100}
        assert users.ended > 300
        assert users.failures == 0, users


def test_old_revisions_and_records_are_forgotten(cluster: Cluster) -> None:
    """With a history of one, the older of two versions that were given up leaves nothing behind."""
    with Release(cluster, "forgetful") as fraud:
        fraud.serve("1", history=1)
        for version in ("none", "broken"):
            fraud.commit(version, history=1)
            fraud.wait_phase("Preparing")
            fraud.commit("1", history=1)
            fraud.wait_condition("RolledOut", "RolledOut")

        def is_forgotten() -> bool:
            left = {r["spec"]["model"]["version"] for r in fraud.children("ModelRevision")}
            services = fraud.children("InferenceService")
            return (left, len(services), fraud.outcomes) == ({"1", "broken"}, 2, [last])

        last = ("broken", "Aborted")
        cluster.wait("one old revision and one record", is_forgotten, 30)
        assert fraud.weights == {"1": 100}


def test_objects_deleted_by_hand_come_back(cluster: Cluster) -> None:
    """Route, InferenceService and ModelRevision of a canary: each is made again, none is blamed."""
    with Release(cluster, "deleted") as fraud:
        fraud.serve("1")
        fraud.commit("2", {"steps": [{"weight": 10, "hold": "5s"}, {"weight": 50, "hold": "3s"}]})
        canary = fraud.wait_canary("2")["canary"]["revision"]
        begun = fraud.records[-1]

        for kind, name in (
            ("ModelRevision", canary),
            ("HTTPRoute", fraud.name),
            ("InferenceService", canary),
        ):
            since = datetime.now(UTC)
            _delete_and_await_another(cluster, kind, name)
            cluster.tell(f"deleted: {kind} by hand, users: {fraud.counts(since)}")

        record = fraud.wait_end("2")
        assert record["status"]["outcome"] == "Promoted", record["status"]["message"]
        assert record["metadata"]["uid"] == begun["metadata"]["uid"]
        assert fraud.status.get("rejected", []) == []
        assert fraud.weights == {"2": 100}


def _delete_and_await_another(cluster: Cluster, kind: str, name: str) -> None:
    found = cluster.api.find(kind, NAMESPACE, name)
    assert found is not None

    def is_another() -> bool:
        now = cluster.api.find(kind, NAMESPACE, name)
        return now is not None and now["metadata"]["uid"] != found["metadata"]["uid"]

    cluster.api.delete(kind, NAMESPACE, name)
    cluster.wait(f"another {kind} {name}", is_another, 30)


_LONG = {"steps": [{"weight": 10, "hold": "10m"}]}


def _assert_held(fraud: Release, weights: dict[str, int], seconds: float) -> None:
    """The weights stay as they are, for as long as is looked."""
    for found in fraud.look_for(seconds):
        assert found == weights
    assert fraud.status["phase"] == "Progressing"


def _assert_only_dropped(fraud: Release, since: datetime) -> None:
    """No request failed but those the gateway drops while backends change."""
    users = fraud.counts(since)
    fraud.cluster.tell(f"{fraud.name}: users: {users}")
    dropped = dropped_by_gateway(users)
    assert users.failures - dropped == 0, users
    assert dropped <= DROPPED_RATIO * users.ended, users
