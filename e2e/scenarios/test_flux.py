"""
Flux keeps the cluster as Git says, and reads our conditions rightly in every phase.

Its real source- and kustomize-controller take the samples of `manifests/gitops/flux`, with short
intervals: what is re-applied every five seconds here is re-applied every ten minutes there.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.world import load_world
from scenarios.cluster import NAMESPACE
from scenarios.committed import grant, wait_commit
from scenarios.embedded import EmbeddedWorlds
from scenarios.flux import APPLIER, Flux, FluxRelease, View
from scenarios.release import Json

pytestmark = pytest.mark.flux

WORLD = "e2e-flux"
RATE = 30.0
"""Requests a second: the canary is judged by them, and two cores serve them beside all else."""

LONG = {"steps": [{"weight": 10, "hold": "5m"}]}
REAPPLIES = 10

PROFILE = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "profile", "namespace": NAMESPACE},
    "data": {"note": "what lies beside a deployment in Git"},
}

HEALTHY = "True ReconciliationSucceeded"
FAILED = "False HealthCheckFailed"
RUNNING = "Unknown Progressing"


@pytest.fixture(scope="module")
def flux(worlds: EmbeddedWorlds) -> Iterator[Flux]:
    """Give a new world in which Flux syncs."""
    with worlds.up(WORLD, "flux") as cluster:
        grant(cluster.api, "flux-system", NAMESPACE)
        yield Flux.of(cluster, load_world(WORLD))


def said(views: list[View]) -> set[str]:
    """Return all that Flux said of Ready."""
    return {view.ready for view in views}


def written(fraud: FluxRelease) -> Json:
    """Return generation and spec of the live object, and when Flux changed it for the last time."""
    live = fraud.live
    entries = live["metadata"]["managedFields"]
    (at,) = [entry["time"] for entry in entries if entry["manager"] == APPLIER]
    return {"generation": live["metadata"]["generation"], "spec": live["spec"], "at": at}


def stay(fraud: FluxRelease, count: int) -> list[View]:
    """Let Flux apply `count` times more, and return what it said meanwhile."""
    begun = fraud.reconciliations
    return fraud.watch(
        f"{count} re-applies", lambda _: fraud.reconciliations >= begun + count, 30 * count
    )


def test_a_life_of_releases_is_told_rightly(flux: Flux) -> None:
    """Applied, canary, promoted; a bad commit, its rollback, no retry at re-applies; a revert."""
    with FluxRelease(flux, "fraud") as fraud:
        # First version: in progress until it serves, never called healthy or failed before.
        fraud.commit("1", {"bake": "1s"})
        views = fraud.watch_applied(150)
        before = [view for view in views if view.applied == ""]
        assert said(before) <= {"", RUNNING}, before
        assert RUNNING in said(before)
        assert {view.phase for view in views if view.ready == HEALTHY} <= {"Baking", "Stable"}
        fraud.users_come(RATE)
        fraud.wait_phase("Stable")
        assert fraud.difference == ""

        # A good commit is healthy while it is a canary, and every re-apply changes nothing.
        fraud.commit("2")
        canary = fraud.watch_applied()[-1]
        assert (canary.ready, canary.healthy) == (HEALTHY, "True Succeeded")
        assert canary.phase in ("Preparing", "Progressing")
        assert canary.rolled_out == "False"
        commit = wait_commit(fraud, "2")
        assert commit["revision"] == flux.head
        assert commit["toldBy"] == f"Kustomization {NAMESPACE}/{fraud.name}"
        assert commit["certainty"] in ("Synced", "Contained"), commit
        as_applied = written(fraud)
        views = fraud.watch("promoted", lambda view: view.rolled_out == "True", 180)
        assert said(views) <= {HEALTHY, RUNNING}, views
        assert {"Progressing", "Baking"} <= {view.phase for view in views}
        assert fraud.wait_end("2")["status"]["outcome"] == "Promoted"
        assert written(fraud) == as_applied
        assert fraud.difference == ""
        assert fraud.touched == []

        # A bad one is healthy until it is taken back, and failed from then on, in our words.
        good = flux.head
        fraud.commit("3")
        bad = fraud.watch_applied()[-1]
        assert bad.phase in ("Preparing", "Progressing")
        assert (bad.ready, bad.healthy) == (HEALTHY, "True Succeeded")
        views = fraud.watch_failed(180)
        failed = views[-1]
        assert (failed.ready, failed.healthy) == (FAILED, FAILED)
        assert failed.phase == "RolledBack"
        assert {view.phase for view in views if view.ready == FAILED} == {"RolledBack"}
        assert f"ModelDeployment/{NAMESPACE}/{fraud.name}" in failed.message
        assert fraud.weights == {"2": 100}
        _no_loop(fraud)
        assert fraud.view.attempted == flux.head
        flux.cluster.tell(f"fraud: Flux says after a rollback: {failed.message}")

        # The revert is what already serves: healthy at once, and nothing is tried.
        fraud.revert()
        reverted = fraud.watch_applied()[-1]
        assert (reverted.ready, reverted.healthy) == (HEALTHY, "True Succeeded")
        assert reverted.applied == flux.head != good
        fraud.wait_condition("RolledOut", "RolledOut")
        assert fraud.status["phase"] == "Stable"
        assert [version for version, _ in fraud.outcomes] == ["1", "2", "3"]
        assert fraud.weights == {"2": 100}
        assert fraud.difference == ""
        assert fraud.touched == []


def _no_loop(fraud: FluxRelease) -> None:
    """Hold that re-applying a rejected commit changes nothing and tries nothing."""
    stay(fraud, 1)  # the canary that was taken back is stopped meanwhile
    as_applied, children = written(fraud), _identities(fraud)
    records, rejected = fraud.outcomes, fraud.status["rejected"]

    views = stay(fraud, REAPPLIES)

    assert said(views) <= {FAILED, RUNNING}, views
    assert {view.phase for view in views} == {"RolledBack"}
    assert written(fraud) == as_applied
    assert (fraud.outcomes, fraud.status["rejected"]) == (records, rejected)
    assert _identities(fraud) == children
    assert fraud.difference == ""


def _identities(fraud: FluxRelease) -> set[tuple[str, str, int]]:
    """Return uid and generation of what serves."""
    return {
        (kind, one["metadata"]["uid"], one["metadata"]["generation"])
        for kind in ("InferenceService", "HTTPRoute", "ModelRevision")
        for one in fraud.children(kind)
    }


def test_a_second_commit_in_mid_canary_is_applied_at_once(flux: Flux) -> None:
    """`wait: true` holds no commit back until the canary before it is over."""
    with FluxRelease(flux, "twice") as fraud:
        fraud.serve("1", RATE)
        fraud.commit("2", LONG)
        fraud.wait_canary("2")
        assert fraud.watch_applied()[-1].phase == "Progressing"

        fraud.commit("4")
        views = fraud.watch_applied()
        assert said(views) <= {HEALTHY, RUNNING}, views
        assert views[-1].rolled_out == "False"
        fraud.wait_end("4")
        fraud.watch("rolled out", lambda view: view.rolled_out == "True", 60)

        assert fraud.outcomes == [("1", "Promoted"), ("2", "Superseded"), ("4", "Promoted")]
        assert fraud.weights == {"4": 100}
        assert fraud.difference == ""
        assert fraud.touched == []


def test_what_a_hand_wrote_with_kubectl_is_gone_at_the_next_interval(flux: Flux) -> None:
    """Flux takes back what kubectl wrote, an annotation as well as a field; what another manager
    wrote stays. No rollout comes of either, and of what left Git only that is pruned."""
    with FluxRelease(flux, "hands") as fraud:
        fraud.write("profile.yaml", PROFILE)
        fraud.serve("1", RATE)
        target = ("-n", NAMESPACE, "modeldeployment", fraud.name)
        generation = fraud.live["metadata"]["generation"]
        flux.kubectl("annotate", *target, "example.com/kubectl=1")
        flux.kubectl("annotate", *target, "example.com/mine=1", "--field-manager=headgate-cli")
        flux.kubectl("patch", *target, "--type=merge", "-p", '{"spec":{"rollout":{"bake":"9h"}}}')

        fraud.reconcile("after-kubectl")

        live = fraud.live
        notes = live["metadata"]["annotations"]
        assert "example.com/kubectl" not in notes
        assert notes["example.com/mine"] == "1"
        assert live["spec"]["rollout"]["bake"] == "1s"
        assert live["metadata"]["generation"] == generation + 2  # changed, and put back
        assert fraud.outcomes == [("1", "Promoted")]

        children = _identities(fraud)
        assert flux.cluster.api.find("ConfigMap", NAMESPACE, "profile")
        (fraud.folder / "profile.yaml").unlink()
        flux.team.commit("Remove the profile")
        fraud.watch_applied()
        assert flux.cluster.api.find("ConfigMap", NAMESPACE, "profile") is None
        assert _identities(fraud) == children
        assert fraud.touched == []


def test_who_waits_for_the_rollout_is_told_when_it_is_over(flux: Flux) -> None:
    """With `healthCheckExprs` on RolledOut a commit is in progress for as long as it is a canary,
    healthy once promoted, and failed once taken back."""
    with FluxRelease(flux, "whole", how="rolled-out") as fraud:
        fraud.serve("1", RATE)
        fraud.watch_applied()

        fraud.commit("2")
        views = fraud.watch_applied(180)
        canary = [view for view in views if view.phase in ("Preparing", "Progressing")]
        ours = [view for view in canary if view.attempted == flux.head]
        assert said(ours) == {RUNNING}, ours
        assert (views[-1].ready, views[-1].rolled_out) == (HEALTHY, "True")

        fraud.commit("3")
        views = fraud.watch_failed(180)
        assert {view.phase for view in views if view.ready == FAILED} == {"RolledBack"}
        assert (views[-1].healthy, views[-1].rolled_out) == (FAILED, "False")

        fraud.revert()
        assert fraud.watch_applied()[-1].ready == HEALTHY
        assert [version for version, _ in fraud.outcomes] == ["1", "2", "3"]
