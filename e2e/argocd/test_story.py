"""
A model's life as Argo CD shows it: what it says at each point, and that it has nothing to heal.

Self-heal and prune are on all the while, as in the samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from argocd.conftest import Followed
from argocd.release import GitRelease
from argocd.server import Json
from sandbox.argocd import NAMESPACE as ARGO_CD
from scenarios.cluster import NAMESPACE
from scenarios.committed import wait_commit
from scenarios.release import ROLLOUT_SECONDS, START_SECONDS

pytestmark = [pytest.mark.argocd]

REFRESHES = 20
_RATE = 30.0
_SLOW = {"steps": [{"weight": 10, "hold": "10m"}], "progressDeadline": "30m"}
CHILDREN = {"ModelRevision", "InferenceService", "HTTPRoute"}


def assert_nothing_to_heal(fraud: GitRelease) -> None:
    """Claim: in Argo CD's eyes and in kubectl's the cluster is as Git has it, and stays so."""
    view = fraud.view
    assert view["sync"]["status"] == "Synced"
    assert fraud.server.differences(fraud.name) == []
    assert fraud.difference() == ""
    # What the operator makes is in the tree and belongs to it; Argo CD answers for none of it.
    assert [one["kind"] for one in view["resources"]] == ["ModelDeployment"]
    assert not [one for one in view.get("conditions") or () if "Error" in one["type"]]


def children(fraud: GitRelease) -> dict[str, Sequence[Json]]:
    """Return the nodes below the ModelDeployment in Argo CD's tree, by kind."""
    found: dict[str, list[Json]] = {}
    for node in fraud.server.tree(fraud.name):
        owners = {parent["kind"] for parent in node.get("parentRefs") or ()}
        if "ModelDeployment" in owners:
            found.setdefault(node["kind"], []).append(node)
    return dict(found)


def assert_commit(fraud: GitRelease, version: str) -> None:
    """Claim: the version's record names the commit pushed last, as the Application told it."""
    commit = wait_commit(fraud, version)
    assert commit["revision"] == fraud.head
    assert commit["path"].startswith(f"models/{fraud.name}")
    assert commit["toldBy"] == f"Application {ARGO_CD}/{fraud.name}"
    assert commit["certainty"] in ("Synced", "Contained"), commit


def wait_revisions(fraud: GitRelease, healths: set[str]) -> None:
    """Wait until the revisions in the tree have these healths and no other."""

    def look() -> bool:
        found = {one.get("health", {}).get("status") for one in children(fraud)["ModelRevision"]}
        return found == healths

    fraud.cluster.wait(f"revisions are {', '.join(sorted(healths))}", look, 30)


def spec_managers(fraud: GitRelease) -> set[str]:
    """Return who ever wrote a field of spec."""
    entries = fraud.object["metadata"]["managedFields"]
    return {one["manager"] for one in entries if "f:spec" in one["fieldsV1"]}


def test_a_rollback_stays_in_sync_with_git_until_git_is_reverted(followed: Followed) -> None:
    """Commit, canary, promotion, bad commit, rollback, self-heal, revert: Synced at each point,
    health tells the rest, and the rejected revision is never tried again."""
    with GitRelease(followed.cluster, followed.world, "story") as fraud:
        # A first version: in progress until it is proven.
        fraud.commit("1", {"bake": "5s"})
        fraud.wait_health("Progressing")
        fraud.wait_phase("Baking", seconds=START_SECONDS)
        fraud.users_come(_RATE)
        assert "version 1 serves" in fraud.wait_health("Healthy", ROLLOUT_SECONDS)
        assert_nothing_to_heal(fraud)

        # A good version: the sync is over at once, the release is not.
        fraud.commit("2")
        fraud.wait_canary("2")
        assert fraud.view["operationState"]["phase"] == "Succeeded"
        assert fraud.view["health"]["status"] == "Progressing"
        assert_nothing_to_heal(fraud)
        assert_commit(fraud, "2")
        below = children(fraud)
        assert below.keys() >= CHILDREN
        assert len(below["ModelRevision"]) == 2
        records = [one for one in fraud.server.orphans(fraud.name) if one["kind"] == "ModelRollout"]
        assert {one["name"] for one in records} >= {
            one["metadata"]["name"] for one in fraud.records
        }
        fraud.wait_end("2")
        assert "version 2 serves" in fraud.wait_health("Healthy")
        assert_nothing_to_heal(fraud)
        assert fraud.weights == {"2": 100}

        # A bad version: taken back, and Git still asks for it.
        fraud.commit("3")
        record = fraud.wait_end("3")
        sentence = fraud.wait_health("Degraded")
        assert record["status"]["outcome"] == "RolledBack"
        assert sentence == fraud.condition("Stalled")["message"]
        assert "failed" in sentence
        assert fraud.object["spec"]["model"]["version"] == "3"
        assert_nothing_to_heal(fraud)
        wait_revisions(fraud, {"Healthy", "Suspended"})

        # Self-heal is on, and has nothing to do: no sync, no rollout, no write to spec.
        assert_no_loop(fraud)

        # Git is reverted to what serves: done, without another canary.
        rollouts = fraud.outcomes
        fraud.revert()
        assert "version 2 serves" in fraud.wait_health("Healthy")
        assert fraud.outcomes == rollouts
        assert fraud.weights == {"2": 100}
        assert_nothing_to_heal(fraud)
        assert spec_managers(fraud) == {"argocd-controller"}


def assert_no_loop(fraud: GitRelease) -> None:
    """Claim: refresh by refresh nothing is written that was not there before the first one."""
    before, syncs, rollouts = fraud.object, fraud.synced, fraud.outcomes
    for turn in range(REFRESHES):
        found = fraud.server.application(fraud.name, refresh="hard" if turn % 2 else "normal")
        assert found["status"]["sync"]["status"] == "Synced"
        assert found["status"]["health"]["status"] == "Degraded"
    after = fraud.object

    assert fraud.outcomes == rollouts
    assert fraud.synced == syncs
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["spec"] == before["spec"]
    assert after["status"]["rolloutNumber"] == before["status"]["rolloutNumber"]
    assert_nothing_to_heal(fraud)


def test_what_a_hand_changes_is_healed_and_a_rejected_revision_stays_rejected(
    followed: Followed,
) -> None:
    """A field of spec is edited in the cluster after a rollback: Argo CD writes it back, and that
    write, a change of generation like any other, starts no rollout."""
    with GitRelease(followed.cluster, followed.world, "healed") as fraud:
        fraud.serve("1", rate=_RATE)
        fraud.commit("3")
        fraud.wait_end("3")
        fraud.wait_health("Degraded")
        rollouts, generation = fraud.outcomes, fraud.object["metadata"]["generation"]
        interval = fraud.object["spec"]["rollout"]["interval"]

        edited = {"rollout": {"interval": "7s"}}
        fraud.cluster.api.merge({**_named(fraud), "spec": edited})
        fraud.cluster.wait(
            "the edit is healed",
            lambda: (
                fraud.object["metadata"]["generation"] >= generation + 2
                and fraud.object["spec"]["rollout"]["interval"] == interval
            ),
            60,
        )
        fraud.wait(
            "the healed generation is seen",
            lambda s: bool(s["observedGeneration"] == fraud.object["metadata"]["generation"]),
            30,
        )

        assert fraud.wait_health("Degraded")
        assert fraud.outcomes == rollouts
        assert_nothing_to_heal(fraud)


def test_a_second_commit_in_mid_canary_supersedes_the_first(followed: Followed) -> None:
    """The canary of the first commit ends, that of the second begins; neither keeps a sync open,
    even where the application has two waves, as the ModelDeployment is in the last one."""
    with GitRelease(followed.cluster, followed.world, "second") as fraud:
        fraud.add(_earlier_wave(fraud.name))
        fraud.serve("1", rate=_RATE)
        fraud.commit("2", _SLOW)
        fraud.wait_canary("2")
        assert fraud.view["operationState"]["phase"] == "Succeeded"
        assert fraud.view["health"]["status"] == "Progressing"
        first = fraud.view["sync"]["revision"]

        fraud.commit("4")
        assert fraud.view["sync"]["revision"] != first
        fraud.wait_end("4")

        assert fraud.outcomes == [("1", "Promoted"), ("2", "Superseded"), ("4", "Promoted")]
        assert "version 4 serves" in fraud.wait_health("Healthy")
        assert fraud.server.differences(fraud.name) == []
        assert fraud.difference() == ""
        wait_revisions(fraud, {"Healthy"})


def _named(fraud: GitRelease) -> Json:
    metadata = {"name": fraud.name, "namespace": NAMESPACE}
    return {"apiVersion": "headgate.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata}


def _earlier_wave(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{name}-notes",
            "namespace": NAMESPACE,
            "annotations": {"argocd.argoproj.io/sync-wave": "-1"},
        },
        "data": {"owner": "risk"},
    }
