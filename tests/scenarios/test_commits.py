"""Which commit a rollout is recorded with, whatever the tool that applied it has told by then."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.core.commitsamples import FLUX_LABELS, HELM_LABELS, REPOSITORY, TRACKING_ID, sample
from tests.scenarios.committed import ARGO, SHA, by_argo, stamp, synced, syncing, told, written
from tests.scenarios.memory import Behaviour, Killed, MemoryCluster, Story
from tests.scenarios.test_faults import _with_config_map, config_map
from tests.scenarios.test_guards import counts

from headgate.api.model_revision import ModelRevisionStatus
from headgate.api.model_rollout import ModelRolloutSpec, ModelRolloutStatus
from headgate.core.commits.claims import AUTHOR, ORIGIN
from headgate.core.commits.claims import TRACKING_ID as TRACKING
from headgate.core.commits.value import stored_commit
from headgate.core.lifecycle import Revision
from headgate.core.revision import record_digest
from headgate.ports import APPLICATION, ClusterUnavailable, Kind, Manifest, Refused
from headgate.reconcile.commits import commit_at_start, commits_of_revision

FLUX = {"flux_namespaces": ("flux-system", "models")}
MINUTE = timedelta(minutes=1)


@contextmanager
def reads(story: Story) -> Iterator[list[str]]:
    """Count what is read, by kind."""
    seen: list[str] = []
    story.cluster.before_read = lambda verb, kind: seen.append(kind)
    yield seen
    story.cluster.before_read = lambda verb, kind: None


def failing(story: Story, error: Exception) -> None:
    """Let every read of an Application end like this."""

    def before_read(verb: str, kind: str) -> None:
        if kind == "Application":
            raise error

    story.cluster.before_read = before_read


def records(story: Story) -> list[dict[str, Any]]:
    """All records, the oldest first; each as the API's schema has it."""
    found = story.cluster.all("ModelRollout")
    for record in found:
        assert ModelRolloutSpec.model_validate(record["spec"]).manifest()["commit"]
        ModelRolloutStatus.model_validate(record["status"])
    return found


def started(story: Story) -> str:
    """What the last Event of a start says."""
    told = [e for e in story.cluster.all("Event") if e["reason"] == "RolloutStarted"]
    return str(max(told, key=lambda event: str(event["firstTimestamp"]))["message"])


# --- Argo CD -------------------------------------------------------------------------------------


async def test_a_rollout_by_argo_cd_names_its_commit_everywhere() -> None:
    """Claim: record, revision and the Event of the start name it, by one read of the Application
    for the whole rollout."""
    story = await by_argo()
    with reads(story) as seen:
        synced(story, "2")
        await story.until_phase("Stable")

    record = records(story)[-1]
    commit = record["spec"]["commit"]
    assert commit["certainty"] == "Synced"
    assert commit["revision"] == SHA["2"]
    assert (commit["repository"], commit["path"], commit["ref"]) == (REPOSITORY, "models", "main")
    assert commit["toldBy"] == "Application argocd/fraud"
    assert commit["initiatedBy"] == "automated sync policy"
    assert "author" not in commit
    assert seen.count("Application") == 1
    revision = story.cluster.find("ModelRevision", "models", record["spec"]["to"]["revision"])
    assert revision is not None
    entry = {"rollout": record["metadata"]["name"], "commit": commit}
    assert revision["status"]["commits"] == [entry]
    assert started(story).endswith(
        f"commit {SHA['2'][:12]} of {REPOSITORY}, models (Synced, Application argocd/fraud)"
    )


async def test_file_and_author_are_added_as_claims() -> None:
    """Claim: what kustomize and CI stamp on the object goes beside what Argo CD tells."""
    story = await by_argo()
    syncing(story, SHA["2"])
    stamped = {TRACKING: TRACKING_ID, ORIGIN: "path: fraud.yaml\n", AUTHOR: "Ada Lovelace"}
    written(story, "2", "argocd-controller", annotations=stamped)
    await story.until_phase("Progressing")

    commit = records(story)[-1]["spec"]["commit"]
    assert (commit["certainty"], commit["revision"]) == ("Synced", SHA["2"])
    assert (commit["path"], commit["author"]) == ("models/fraud.yaml", "Ada Lovelace")
    assert "the file as its annotation config.kubernetes.io/origin claims" in commit["message"]


async def test_no_text_is_so_long_that_the_record_is_refused() -> None:
    """Claim: names, paths and claims of any length are cut to what the schema takes, as a refused
    record would hold up the rollout."""
    story = await by_argo()
    syncing(story, SHA["2"])
    application = story.cluster.find("Application", "argocd", "fraud")
    assert application is not None
    application["spec"]["source"] |= {
        "path": "p" * 2000,
        "repoURL": "https://git.example.com/" + "r" * 2000,
        "targetRevision": "t" * 2000,
    }
    initiated = {"initiatedBy": {"username": "u" * 2000}}
    application["status"]["operationState"]["operation"] |= initiated
    long = {TRACKING: TRACKING_ID, ORIGIN: f"path: {'f' * 2000}\n", AUTHOR: "a" * 2000}
    written(story, "2", "argocd-controller", annotations=long)
    await story.until_phase("Progressing")

    commit = records(story)[-1]["spec"]["commit"]
    assert (commit["certainty"], commit["revision"]) == ("Synced", SHA["2"])
    lengths = {name: len(commit[name]) for name in ("path", "repository", "ref")}
    assert lengths == {"path": 512, "repository": 512, "ref": 512}
    assert (len(commit["author"]), len(commit["initiatedBy"])) == (128, 128)


@pytest.mark.parametrize(
    ("options", "annotations", "says"),
    [
        pytest.param({}, {TRACKING: TRACKING_ID}, "not configured: --argocd-namespaces", id="off"),
        pytest.param(
            {"argocd_namespaces": ("other",)},
            {TRACKING: f"argocd_{TRACKING_ID}"},
            "Application argocd/fraud may not be asked: its namespace is not in "
            "--argocd-namespaces",
            id="another namespace",
        ),
        pytest.param(
            ARGO,
            {TRACKING: TRACKING_ID.replace("models/fraud", "models/other")},
            "it was copied from elsewhere",
            id="a copy",
        ),
        pytest.param(ARGO, {}, "no annotation or label of Argo CD or Flux names", id="by nobody"),
    ],
)
async def test_what_may_not_be_asked_is_never_read(
    options: dict[str, Any], annotations: dict[str, str], says: str
) -> None:
    """Claim: whatever the object names, no Application outside of the list is read; the record
    says why the commit is unknown, and the rollout is as ever."""
    story = Story(**options)
    told(story)
    syncing(story, SHA["1"])
    with reads(story) as seen:
        written(story, "1", "argocd-controller", annotations=annotations)
        await story.until_phase("Stable")

    commit = records(story)[-1]["spec"]["commit"]
    assert commit["certainty"] == "Unknown"
    assert says in commit["message"]
    assert "revision" not in commit
    assert "Application" not in seen
    assert "commit" not in started(story)


async def test_an_edit_by_hand_is_no_commit() -> None:
    """Claim: what kubectl wrote after the sync is not called the synced commit's."""
    story = await by_argo()
    written(story, "2", "kubectl-edit", annotations={TRACKING: TRACKING_ID})
    await story.until_phase("Progressing")

    commit = records(story)[-1]["spec"]["commit"]
    assert (commit["certainty"], "revision" in commit) == ("Unknown", False)
    assert "the spec was written last by field manager kubectl-edit" in commit["message"]


async def test_a_missing_right_is_named_and_stops_nothing() -> None:
    """Claim: 403 leaves the commit unknown, with the right that is missing; the rollout goes on."""
    story = await by_argo()
    failing(story, Refused('get Application argocd/fraud: HTTP 403: cannot get "applications"'))
    synced(story, "2")
    await story.until_phase("Stable")

    commit = records(story)[-1]["spec"]["commit"]
    assert commit["certainty"] == "Unknown"
    assert commit["message"].startswith(
        "the right is missing to get on applications.argoproj.io in namespace argocd: "
        "get Application argocd/fraud: HTTP 403"
    )
    assert "pending" not in commit
    assert story.status["stable"]["version"] == "2"


async def test_an_application_that_is_gone_is_named() -> None:
    """Claim: 404 leaves the commit unknown and says what does not exist."""
    story = await by_argo()
    story.cluster.remove("Application", "argocd", "fraud")
    tracked = {TRACKING: TRACKING_ID}
    written(story, "2", "argocd-controller", annotations=tracked)
    await story.until_phase("Progressing")

    message = records(story)[-1]["spec"]["commit"]["message"]
    assert message.startswith("Application argocd/fraud does not exist")


# --- told too late -------------------------------------------------------------------------------


async def test_a_commit_that_is_told_after_the_start_is_added_to_the_record() -> None:
    """Claim: while Argo CD has not told of the sync, the last commit is not taken for this one;
    once it has, the record's status has it, the revision too, and the digest holds."""
    story = await by_argo()
    story.platform.behaviours["2"] = Behaviour(starts=False)
    await story.run(MINUTE)
    tracked = {TRACKING: TRACKING_ID}
    application = story.cluster.find("Application", "argocd", "fraud")
    assert application is not None
    application["status"]["operationState"] |= {
        "phase": "Succeeded",
        "finishedAt": application["status"]["operationState"]["startedAt"],
    }
    written(story, "2", "argocd-controller", annotations=tracked)
    await story.run(timedelta(seconds=4))
    before = stored_commit(records(story)[-1])
    syncing(story, SHA["2"])
    application["status"]["operationState"]["startedAt"] = stamp(
        story.clock.now() - timedelta(seconds=4)
    )
    await story.run(timedelta(seconds=4))
    record = records(story)[-1]
    after = stored_commit(record)
    story.platform.behaviours["2"] = Behaviour()
    await story.until_phase("Stable")

    assert before is not None
    assert (before["certainty"], before["pending"], "revision" in before) == (
        "Unknown",
        True,
        False,
    )
    assert after is not None
    assert (after["certainty"], after["revision"]) == ("Synced", SHA["2"])
    ended = records(story)[-1]
    assert ended["spec"]["commit"] == before
    assert ended["status"]["commit"] == after
    assert ended["status"]["digest"] == record_digest(ended)
    revision = story.cluster.find("ModelRevision", "models", ended["spec"]["to"]["revision"])
    assert revision is not None
    assert [entry["commit"] for entry in revision["status"]["commits"]] == [after]


async def test_it_is_asked_for_some_seconds_only() -> None:
    """Claim: a tool that never tells is asked while the candidate is prepared, at most for as long
    as the setting says, and then no more."""
    story = await by_argo()
    story.platform.behaviours["2"] = Behaviour(starts=False)
    failing(story, ClusterUnavailable("get Application argocd/fraud: no answer in 10 s"))
    synced(story, "2")
    await story.run(story.options.commit_settles + timedelta(seconds=4))
    with reads(story) as seen:
        await story.run(MINUTE)

    commit = records(story)[-1]["spec"]["commit"]
    assert story.status["phase"] == "Preparing"
    assert (commit["certainty"], commit["pending"]) == ("Unknown", True)
    assert "Application argocd/fraud could not be read: get Application" in commit["message"]
    assert "Application" not in seen


async def test_a_commit_that_was_asked_for_another_spec_is_not_added() -> None:
    """Claim: what is told of a newer spec does not go into the record of the older one."""
    story = await by_argo()
    story.platform.behaviours["2"] = Behaviour(starts=False)
    failing(story, ClusterUnavailable("no answer"))
    synced(story, "2")
    await story.run(timedelta(seconds=4))
    story.cluster.before_read = lambda verb, kind: None
    syncing(story, SHA["3"])
    paused = {"paused": True}
    tracked = {TRACKING: TRACKING_ID}
    written(story, "2", "argocd-controller", annotations=tracked, changes={"rollout": paused})
    await story.run(timedelta(seconds=10))

    assert "commit" not in records(story)[-1]["status"]


class Hanging(MemoryCluster):
    """An API server that never answers for Applications."""

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Read one object, or wait for ever."""
        if kind is APPLICATION:
            await asyncio.Event().wait()
        return await super().get(kind, namespace, name)


async def test_a_read_that_hangs_holds_up_no_rollback() -> None:
    """Claim: with an Application that cannot be read, a bad version goes back in as many passes
    and at the same moment as without one."""

    async def gone_back(hanging: bool) -> tuple[datetime, int, str]:
        story = await by_argo(commit_within=timedelta(milliseconds=5))
        if hanging:
            story.cluster.__class__ = Hanging
        story.platform.behaviours["2"] = Behaviour(failing=0.3)
        synced(story, "2")
        await story.until_phase("RolledBack")
        return (
            story.clock.now(),
            len(story.reports),
            records(story)[-1]["spec"]["commit"]["message"],
        )

    usual, held_up = await gone_back(hanging=False), await gone_back(hanging=True)

    assert held_up[:2] == usual[:2]
    assert "there was no answer in 0.005 s" in held_up[2]
    assert "synced it from" in usual[2]


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
async def test_a_kill_at_any_write_of_the_start_leaves_one_record_with_its_commit(
    after: bool,
) -> None:
    """Claim: whenever the operator dies, version 2 has one record, and that one names its commit
    also if Argo CD is through with the sync by the next start."""
    index = 0
    while True:
        index += 1
        story = await by_argo()
        synced(story, "2")
        seen = [0]
        settle = story.cluster.after_write

        def before_write(verb: str, kind: str, name: str) -> None:
            seen[0] += 1  # noqa: B023
            if not after and seen[0] == index:  # noqa: B023
                raise Killed

        def after_write(verb: str, manifest: dict[str, Any]) -> None:
            settle(verb, manifest)  # noqa: B023
            if after and seen[0] == index and verb != "put":  # noqa: B023
                seen[0] += 1  # noqa: B023
                raise Killed

        story.cluster.before_write, story.cluster.after_write = before_write, after_write
        try:
            await story.run(timedelta(seconds=10))
        except Killed:
            pass
        else:
            break
        story.cluster.before_write, story.cluster.after_write = (lambda *_: None), settle
        application = story.cluster.find("Application", "argocd", "fraud")
        assert application is not None
        ended = {"phase": "Succeeded", "finishedAt": stamp(story.clock.now())}
        application["status"]["operationState"] |= ended
        story.clock.at += MINUTE
        story.due = story.clock.now()
        await story.until_phase("Stable")

        [record] = [r for r in records(story) if r["spec"]["to"]["version"] == "2"]
        commit = record["spec"]["commit"]
        assert (commit["certainty"], commit["revision"]) == ("Synced", SHA["2"])
    assert index > 8


# --- what is not a new commit of the object ------------------------------------------------------


async def test_a_revision_that_comes_back_keeps_the_commit_that_brought_it() -> None:
    """Claim: going back to a proven revision is recorded with that revision's commit, not with
    that of the spec that is in Git now."""
    asked = [{"name": "availability", "target": "99", "onBreach": "RollBack", "errors": {}}]
    story = Story(**ARGO)
    told(story)
    synced(story, "1", objectives=asked)
    await story.until_phase("Stable")
    synced(story, "2", objectives=asked)
    await story.until_phase("Stable")
    story.budgets.counts["availability"] = counts(whole=0.001, short=0.3)
    await story.run(timedelta(minutes=3), lambda: story.status["phase"] == "Baking")

    record = records(story)[-1]
    commit = record["spec"]["commit"]
    assert record["spec"]["to"]["version"] == "1"
    assert (commit["certainty"], commit["revision"]) == ("Synced", SHA["1"])
    assert "this is how it came in fraud-0001; now it comes back by itself" in commit["message"]
    revision = story.cluster.find("ModelRevision", "models", record["spec"]["to"]["revision"])
    assert revision is not None
    assert [entry["rollout"] for entry in revision["status"]["commits"]] == ["fraud-0001"]


async def test_a_change_of_what_the_template_names_is_told_as_such() -> None:
    """Claim: a rollout that a ConfigMap starts says that the object itself is as before."""
    story = Story(**ARGO)
    told(story)
    story.cluster.put(config_map("0.5"))
    synced(story, "1", template=_with_config_map("1"))
    await story.until_phase("Stable")
    story.cluster.put(config_map("0.9"))
    await story.run(6 * MINUTE, lambda: len(story.cluster.all("ModelRollout")) == 2)

    commit = records(story)[-1]["spec"]["commit"]
    assert commit["revision"] == SHA["1"]
    assert commit["message"].endswith(
        "the ModelDeployment is as in fraud-0001, so what it names has changed since"
    )


async def test_the_same_revision_again_is_told_as_such() -> None:
    """Claim: a second try of the same spec is neither a new commit nor another content."""
    story = await by_argo()
    owner = story.cluster.find("ModelDeployment", "models", "fraud")
    assert owner is not None
    stable = story.status["stable"]
    tried = Revision(stable["revision"], stable["hash"], "1")
    found = await commit_at_start(owner, tried, False, records(story), story.world)

    assert found.place.revision == SHA["1"]
    assert found.message.endswith(
        "the ModelDeployment is as in fraud-0001, so the same revision is tried again"
    )


async def test_an_emergency_names_the_commit_that_the_tool_tells() -> None:
    """Claim: with a known commit the emergency's record does not call it unknown."""
    story = await by_argo()
    synced(story, "2", rollout={"emergency": True})
    await story.until_phase("Progressing")

    message = records(story)[-1]["spec"]["emergency"]["message"]
    assert message.endswith(
        f"; commit {SHA['2'][:12]} of {REPOSITORY}, models (Synced, Application argocd/fraud)"
    )


# --- Flux ----------------------------------------------------------------------------------------


def reconciled(story: Story, kind: str, name: str, index: int = 0, **status: Any) -> None:
    """Let Flux say this, with the object of the sample as it is otherwise."""
    manifest = sample(name, index)
    assert manifest["kind"] == kind
    manifest["status"] |= status
    story.cluster.put(manifest)


def under_way(story: Story) -> list[dict[str, str]]:
    """The condition of a tool that applies something now."""
    since = stamp(story.clock.now())
    return [{"type": "Ready", "status": "Unknown", "lastTransitionTime": since}]


async def test_a_rollout_by_flux_names_its_commit() -> None:
    """Claim: the revision that is being applied is told, with the repository of its source."""
    story = Story(**FLUX)
    reconciled(story, "Kustomization", "kustomization", conditions=under_way(story))
    reconciled(story, "GitRepository", "kustomization", 1)
    with reads(story) as seen:
        written(story, "1", "kustomize-controller", labels=FLUX_LABELS)
        await story.until_phase("Stable")

    commit = records(story)[-1]["spec"]["commit"]
    assert (commit["certainty"], commit["revision"]) == ("Synced", SHA["2"])
    assert (commit["repository"], commit["path"], commit["ref"]) == (REPOSITORY, "models", "main")
    assert commit["toldBy"] == "Kustomization flux-system/models"
    assert (seen.count("Kustomization"), seen.count("GitRepository")) == (1, 1)


async def test_a_source_outside_of_the_list_is_not_read() -> None:
    """Claim: a Kustomization cannot lead to an object of another namespace; only the repository's
    address is unknown then, and that is said."""
    story = Story(flux_namespaces=("flux-system",))
    reconciled(story, "Kustomization", "kustomization", conditions=under_way(story))
    kustomization = story.cluster.find("Kustomization", "flux-system", "models")
    assert kustomization is not None
    kustomization["spec"]["sourceRef"] = {
        "kind": "GitRepository",
        "name": "models",
        "namespace": "team-b",
    }
    with reads(story) as seen:
        written(story, "1", "kustomize-controller", labels=FLUX_LABELS)
        await story.until_phase("Stable")

    commit = records(story)[-1]["spec"]["commit"]
    assert (commit["certainty"], commit["revision"]) == ("Synced", SHA["2"])
    assert "repository" not in commit
    assert (
        "the repository is unknown: GitRepository team-b/models may not be asked"
        in (commit["message"])
    )
    assert "GitRepository" not in seen


async def test_a_chart_leads_to_the_commit_of_its_release() -> None:
    """Claim: HelmRelease, then the Kustomization that wrote it: chart, version and commit."""
    story = Story(**FLUX)
    reconciled(story, "Kustomization", "kustomization")
    kustomization = story.cluster.find("Kustomization", "flux-system", "models")
    assert kustomization is not None
    entry = {"id": "models_fraud_helm.toolkit.fluxcd.io_HelmRelease", "v": "v2"}
    kustomization["status"]["inventory"]["entries"] = [entry]
    reconciled(story, "GitRepository", "kustomization", 1)
    reconciled(story, "HelmRelease", "helmrelease", conditions=under_way(story))
    written(story, "1", "helm-controller", labels=HELM_LABELS)
    await story.until_phase("Stable")

    commit = records(story)[-1]["spec"]["commit"]
    assert (commit["certainty"], commit["revision"]) == ("Synced", SHA["2"])
    assert (commit["repository"], commit["path"]) == (REPOSITORY, "models")
    assert commit["chart"] == "model-deployment 1.4.0"
    assert commit["toldBy"] == "HelmRelease models/fraud by Kustomization flux-system/models"


async def test_a_chart_whose_release_nobody_tells_of_is_named_alone() -> None:
    """Claim: without the right to the Kustomization the chart's version stands, and why no more."""
    story = Story(flux_namespaces=("models",))
    reconciled(story, "HelmRelease", "helmrelease", conditions=under_way(story))
    written(story, "1", "helm-controller", labels=HELM_LABELS)
    await story.until_phase("Stable")

    commit = records(story)[-1]["spec"]["commit"]
    assert (commit["certainty"], commit["revision"], commit["chart"]) == (
        "Synced",
        "1.4.0",
        "model-deployment",
    )
    assert (
        "the commit of the HelmRelease is unknown: Kustomization flux-system/models"
        in (commit["message"])
    )


# --- what a revision keeps -----------------------------------------------------------------------


def record_of(number: int, revision: str = "", later: str = "") -> dict[str, Any]:
    """A record that names this commit, and the one that was told later."""
    commit = {"certainty": "Synced", "message": "m", "revision": revision or f"{number:040x}"}
    status = {"commit": {**commit, "revision": later}} if later else {}
    return {
        "metadata": {"name": f"fraud-{number:04d}"},
        "spec": {"commit": commit},
        "status": status,
    }


def test_a_revision_keeps_its_first_commit_and_the_latest_ones() -> None:
    """Claim: the list is bounded, the first entry stays, and the schema takes it."""
    commits: list[dict[str, Any]] = []
    for number in range(1, 20):
        commits = commits_of_revision(commits, record_of(number))

    assert [entry["rollout"] for entry in commits] == [
        "fraud-0001",
        *(f"fraud-{number:04d}" for number in range(13, 20)),
    ]
    assert len(ModelRevisionStatus.model_validate({"commits": commits}).commits) == 8


def test_a_revision_takes_what_was_told_later_and_nothing_twice() -> None:
    """Claim: the same rollout's entry is replaced in its place; a commit is listed once; a record
    of an older operator adds nothing."""
    first = commits_of_revision([], record_of(1))
    second = commits_of_revision(first, record_of(2))
    later = commits_of_revision(second, record_of(1, later="f" * 40))
    again = commits_of_revision(later, record_of(3, revision="f" * 40))
    old = {"metadata": {"name": "fraud-0009"}, "spec": {}}

    assert [entry["commit"]["revision"] for entry in later] == ["f" * 40, f"{2:040x}"]
    assert again == later
    assert commits_of_revision(later, old) == later
