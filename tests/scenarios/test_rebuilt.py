"""A cluster that lost everything: what Git keeps as proven serves first, and no unproven HEAD."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from tests.scenarios.memory import Behaviour, Killed, Story
from tests.scenarios.test_crashes import killed_at, live, summary

from headgate.api.proven_revision import ProvenRevision
from headgate.cli.kept import proven_revision
from headgate.core.revision import proven_digest, record_digest

MINUTE = timedelta(minutes=1)
FIELD = "spec.rollout.provenRevision"
NAMED = {"configMapRef": {"name": "settings"}}


def settings(value: str) -> dict[str, Any]:
    """A ConfigMap that a template may name."""
    metadata = {"name": "settings", "namespace": "models"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": value}}


def template(version: str, **model: Any) -> dict[str, Any]:
    """The template of a version, with more of its model."""
    base = {"modelFormat": {"name": "sklearn"}, "storageUri": f"s3://models/fraud/{version}"}
    return {"metadata": {}, "spec": {"predictor": {"minReplicas": 1, "model": {**base, **model}}}}


async def exported(version: str = "1", **changes: Any) -> dict[str, Any]:
    """Prove a version in one cluster, and return what is exported of it."""
    story = Story()
    story.cluster.put(settings("1"))
    story.commit(version, **changes)
    await story.until_phase("Stable")
    kept = proven_revision(
        story.cluster.all("ModelDeployment")[0],
        story.cluster.all("ModelRevision"),
        story.cluster.all("ModelRollout"),
    )
    assert kept is not None
    return kept.manifest()


def rebuilt(kept: dict[str, Any] | None, version: str, **changes: Any) -> Story:
    """Sync Git, at a commit with this version, into a cluster that has nothing."""
    story = Story()
    story.cluster.put(settings("1"))
    keep = {"provenRevision": kept} if kept is not None else {}
    story.commit(version, rollout={**keep, **changes.pop("rollout", {})}, **changes)
    return story


def tampered(kept: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Change a part by hand and let the digest be right, as one could who means it."""
    changed = {**copy.deepcopy(kept), **changes}
    read = ProvenRevision.model_validate(changed, by_alias=True)
    return {**changed, "digest": proven_digest(read.manifest())}


async def test_bad_commit_in_a_rebuilt_cluster_is_a_canary_beside_what_was_proven() -> None:
    """Version 1 serves first and whole, version 2 is tried by evidence and goes back."""
    kept = await exported()
    story = rebuilt(kept, "2")
    story.platform.behaviours["2"] = Behaviour(failing=0.2)
    settle, written = story.cluster.after_write, []

    def note(verb: str, manifest: dict[str, Any]) -> None:
        settle(verb, manifest)
        written.extend([story.weights] if manifest["kind"] == "HTTPRoute" else [])

    story.cluster.after_write = note
    await story.until_phase("RolledBack", 10 * MINUTE)

    assert written == [{"1": 100}, {"1": 90, "2": 10}, {"1": 100}]
    assert story.outcomes == {"1:1": "Promoted", "2:2": "RolledBack"}
    assert [r["version"] for r in story.status["rejected"]] == ["2"]
    assert story.status["stable"]["proven"] is True


async def test_restoring_is_on_record_with_the_record_that_proved_it() -> None:
    """The first rollout of the new cluster says that, where and when its revision was proven."""
    kept = await exported()
    story = rebuilt(kept, "1")
    await story.until_phase("Stable")

    record = story.cluster.find("ModelRollout", "models", "fraud-0001")
    assert record is not None
    assert record["status"]["reason"] == "RestoredProven"
    assert record["status"]["outcome"] == "Promoted"
    assert record["spec"]["restored"] == {"provenAt": kept["provenAt"], "rollout": kept["rollout"]}
    assert record["status"]["digest"] == record_digest(record)
    assert "provenRevision" not in record["spec"]["policy"]["rollout"]
    revision = story.cluster.all("ModelRevision")[0]
    assert revision["status"]["proven"] is True
    assert revision["status"]["provenAt"][:19] == kept["provenAt"][:19]
    assert [s["reason"] for s in record["status"]["steps"]] == ["RestoringProven", "RestoredProven"]


async def test_good_commit_in_a_rebuilt_cluster_earns_its_traffic() -> None:
    """What Git has since is promoted step by step, as in a cluster that was never lost."""
    story = rebuilt(await exported(), "2")
    await story.until_phase("Stable")

    assert story.weights == {"2": 100}
    assert story.outcomes == {"1:1": "Promoted", "2:2": "Promoted"}
    assert story.status["lastProven"]["version"] == "1"


async def test_commit_that_is_what_was_proven_is_proven_at_once() -> None:
    """Nothing has to be proven twice: readiness is enough, and no bake is waited for."""
    story = rebuilt(await exported(), "1")
    began = story.clock.now()
    await story.until_phase("Stable")

    assert story.clock.now() - began < MINUTE
    assert story.outcomes == {"1:1": "Promoted"}
    assert story.status["stable"]["proven"] is True
    assert story.condition("RolledOut")["status"] == "True"


async def test_without_it_the_declared_policy_holds() -> None:
    """The first revision has readiness, probes and its objectives, as before."""
    story = rebuilt(None, "2")
    await story.until_phase("Baking")

    assert story.weights == {"2": 100}
    assert story.status["stable"]["proven"] is False


async def test_what_was_proven_and_is_gone_degrades_and_head_never_serves() -> None:
    """No silent fall to HEAD; taking the field out is a person's decision, and then it begins."""
    kept = await exported()
    story = rebuilt(kept, "2")
    story.platform.behaviours["1"] = Behaviour(starts=False, problem="s3://models/fraud/1: 404")
    await story.until_phase("Degraded", 30 * MINUTE)
    await story.run(30 * MINUTE)

    assert story.status["phase"] == "Degraded"
    assert story.weights == {}
    assert [r["spec"]["model"]["version"] for r in story.cluster.all("ModelRevision")] == ["1"]
    assert "s3://models/fraud/1: 404" in story.status["message"]
    assert f"or remove {FIELD} to begin with what is not proven" in story.status["message"]

    story.commit("2")
    await story.until_phase("Baking")
    assert story.weights == {"2": 100}


async def test_commit_that_cannot_be_used_does_not_keep_what_was_proven_from_serving() -> None:
    """HEAD names a ConfigMap that does not exist: it is told, and version 1 serves meanwhile."""
    story = rebuilt(await exported(), "2", template=template("2", envFrom=[NAMED]))
    story.cluster.remove("ConfigMap", "models", "settings")
    await story.run(2 * MINUTE)

    assert story.weights == {"1": 100}
    assert story.status["phase"] == "Stable"
    assert story.condition("Accepted")["status"] == "False"
    assert "ConfigMap models/settings" in story.condition("Accepted")["message"]
    assert story.condition("Ready")["status"] == "True"

    story.cluster.put(settings("1"))
    await story.run(10 * MINUTE, lambda: story.weights == {"2": 100})
    assert story.weights == {"2": 100}


async def test_where_something_serves_it_means_nothing() -> None:
    """Added, changed or taken out on a cluster with state, it starts no rollout."""
    kept = await exported()
    story = rebuilt(None, "2")
    await story.until_phase("Stable")
    for keep in ({"provenRevision": kept}, {}):
        story.commit("2", rollout=keep)
        await story.run(5 * MINUTE)

        assert story.outcomes == {"1:2": "Promoted"}
        assert story.weights == {"2": 100}
        assert story.condition("Accepted")["status"] == "True"


async def test_other_contents_than_it_was_proven_with_are_refused_by_name() -> None:
    """A ConfigMap that changed since would make another revision of it, which nobody proved."""
    kept = await exported(template=template("1", envFrom=[NAMED]))
    proven = kept["configMaps"][0]["hash"]
    story = rebuilt(kept, "2")
    story.cluster.put(settings("2"))
    await story.run(MINUTE)

    told = story.condition("Accepted")
    assert told["status"] == "False"
    assert told["reason"] == "Conflict"
    assert told["message"].startswith(
        f"{FIELD}.configMaps[settings].hash: wanted {proven}, as it was proven, found "
    )
    assert story.weights == {}
    assert story.cluster.all("InferenceService") == []

    story.cluster.put(settings("1"))
    await story.run(5 * MINUTE, lambda: bool(story.weights))
    assert story.outcomes["1:1"] == "Promoted"
    assert story.status["stable"]["version"] == "1"


RUNTIME = {
    "apiVersion": "serving.kserve.io/v1alpha1",
    "kind": "ServingRuntime",
    "metadata": {"name": "sk", "namespace": "models"},
    "spec": {"containers": [{"name": "kserve-container", "image": "sk:1"}]},
}


async def test_another_runtime_than_was_proven_with_is_refused_by_name() -> None:
    """A newer KServe with another image serves another revision than the one that was proven."""
    before = Story()
    before.cluster.put(RUNTIME)
    before.commit("1", template=template("1", runtime="sk"))
    await before.until_phase("Stable")
    kept = proven_revision(
        before.cluster.all("ModelDeployment")[0], before.cluster.all("ModelRevision"), ()
    )
    assert kept is not None
    story = rebuilt(kept.manifest(), "2")
    story.cluster.put({**RUNTIME, "spec": {"containers": [{"name": "c", "image": "sk:2"}]}})
    await story.run(MINUTE)

    assert story.condition("Accepted")["message"].startswith(
        f"{FIELD}.runtime.hash: wanted ServingRuntime sk {kept.runtime.hash}"  # type: ignore[union-attr]
    )
    assert story.weights == {}


async def test_secrets_that_were_part_of_it_need_an_operator_that_may_read_them() -> None:
    """What was proven with the contents of a Secret is not claimed without having seen it."""
    kept = await exported()
    story = rebuilt(tampered(kept, secrets=["key"]), "2")
    await story.run(MINUTE)

    assert story.condition("Accepted")["message"] == (
        f"{FIELD}.secrets: wanted an operator that may read Secrets, as it was proven by one, "
        "found one that may not"
    )
    assert story.weights == {}


async def test_contents_of_secrets_count_where_the_operator_reads_them() -> None:
    """With the Secret as it was, it comes up; with another one it is refused."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "key", "namespace": "models"},
        "data": {"k": "MQ=="},
    }
    named = template("1", envFrom=[{"secretRef": {"name": "key"}}])
    before = Story(track_secrets=True)
    before.cluster.put(secret)
    before.commit("1", template=named)
    await before.until_phase("Stable")
    kept = proven_revision(
        before.cluster.all("ModelDeployment")[0], before.cluster.all("ModelRevision"), ()
    )
    assert kept is not None
    for data, serves in (("Mg==", False), ("MQ==", True)):
        story = Story(track_secrets=True)
        story.cluster.put({**secret, "data": {"k": data}})
        story.commit("2", rollout={"provenRevision": kept.manifest()})
        await story.run(timedelta(seconds=4))

        assert bool(story.weights) is serves
        if serves:
            assert story.status["stable"]["version"] == "1"
        else:
            wanted = f"{FIELD}.hash: wanted {kept.hash}, as it was proven, found "
            assert story.condition("Accepted")["message"].startswith(wanted)


async def ended(kept: dict[str, Any], failing: float, index: int, after: bool) -> Any:
    """Rebuild a cluster at a commit, with one kill; return its end and its writes."""
    story = Story()
    story.cluster.put(settings("1"))
    story.platform.behaviours["2"] = Behaviour(failing=failing)
    with killed_at(story, index, after) as writes:
        try:
            story.commit("2", rollout={"provenRevision": kept})
        except Killed:  # a commit is no write of the operator's
            pytest.fail("killed at the commit")
        await live(story, 8 * MINUTE)
    return summary(story), writes[0]


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("failing", [0.002, 0.3], ids=["promoted", "rolled back"])
async def test_kill_at_every_write_of_a_rebuilt_cluster(failing: float, after: bool) -> None:
    """For each write: killed there once, what was proven serves first and the end is the same."""
    kept = await exported()
    expected, writes = await ended(kept, failing, index=0, after=False)
    assert writes > 10
    assert expected["outcomes"]["1:1"] == "Promoted"

    for index in range(1, writes + 1):
        found, _ = await ended(kept, failing, index, after)

        assert found == expected, f"killed at write {index}"
