"""Which commit an Argo CD Application tells, by the times of its operations and of the object."""

from __future__ import annotations

from typing import Any

import pytest
from tests.core.commitsamples import (
    FIRST,
    HYDRATED,
    REPOSITORY,
    SECOND,
    changed,
    moment,
    owned,
    sample,
)

from headgate.core.commits.argo import read_application
from headgate.core.commits.value import Certainty, Place

APPLICATION = sample("application")
RUNNING = {
    "operation": {"initiatedBy": {"username": "alice"}, "sync": {"revision": SECOND}},
    "phase": "Running",
    "startedAt": "2026-01-05T12:00:03Z",
}
STALE = changed(
    changed(APPLICATION, "status.operationState", None),
    "status.history",
    APPLICATION["status"]["history"][:1],
)
UNCOMPARED = changed(STALE, "status.reconciledAt", "2026-01-05T11:59:59Z")


def partial(kind: str, name: str) -> dict[str, Any]:
    """A sync that runs of one chosen object, as `argocd app sync --resource` asks for."""
    chosen = {"group": "headgate.dev", "kind": kind, "name": name}
    return {**RUNNING, "operation": {"sync": {"revision": SECOND, "resources": [chosen]}}}


def several(**sources: str) -> dict[str, Any]:
    """An Application that runs a sync of several sources, each with this revision."""
    listed = [
        {"repoURL": f"https://git.example.com/{name}.git", "path": name, "targetRevision": "main"}
        for name in sources
    ]
    state = {**RUNNING, "operation": {"sync": {"revisions": list(sources.values())}}}
    application = changed(APPLICATION, "spec.source", None)
    application = changed(application, "spec.sources", listed)
    return changed(application, "status.operationState", state)


@pytest.mark.parametrize(
    ("application", "written", "certainty", "revision", "says", "pending"),
    [
        pytest.param(
            changed(APPLICATION, "status.operationState", RUNNING),
            "12:00:04",
            Certainty.SYNCED,
            SECOND,
            "synced it from 2026-01-05T12:00:03Z and still does",
            False,
            id="a sync that runs names its commit before it applies anything",
        ),
        pytest.param(
            APPLICATION,
            "12:00:04",
            Certainty.SYNCED,
            SECOND,
            "synced it from 2026-01-05T12:00:03Z until 2026-01-05T12:00:04Z",
            False,
            id="a sync that has just ended",
        ),
        pytest.param(
            changed(
                UNCOMPARED,
                "status.operationState",
                {**RUNNING, "operation": {"sync": {"revision": SECOND, "dryRun": True}}},
            ),
            "12:00:04",
            Certainty.UNKNOWN,
            "",
            "does not tell of a sync at 2026-01-05T12:00:04Z",
            True,
            id="a dry run writes nothing",
        ),
        pytest.param(
            changed(
                UNCOMPARED,
                "status.operationState",
                partial("ConfigMap", "profile"),
            ),
            "12:00:04",
            Certainty.UNKNOWN,
            "",
            "does not tell of a sync at 2026-01-05T12:00:04Z",
            True,
            id="a sync of other objects writes not this one",
        ),
        pytest.param(
            changed(UNCOMPARED, "status.operationState", partial("ModelDeployment", "fraud")),
            "12:00:04",
            Certainty.SYNCED,
            SECOND,
            "synced it",
            False,
            id="a sync of this object alone",
        ),
        pytest.param(
            changed(APPLICATION, "status.operationState.phase", "Failed"),
            "12:00:04",
            Certainty.SYNCED,
            SECOND,
            "synced it from",
            False,
            id="a sync that failed elsewhere has written this object all the same",
        ),
        pytest.param(
            APPLICATION,
            "11:00:01",
            Certainty.SYNCED,
            FIRST,
            "synced it from 2026-01-05T11:00:00Z until 2026-01-05T11:00:01Z",
            False,
            id="an older sync is found in the history, whatever was synced since",
        ),
        pytest.param(
            UNCOMPARED,
            "12:00:04",
            Certainty.UNKNOWN,
            "",
            "does not tell of a sync at 2026-01-05T12:00:04Z",
            True,
            id="a status that is older than the object names no commit, least of all the last one",
        ),
        pytest.param(
            changed(UNCOMPARED, "status.operationState", {**RUNNING, "operation": {"sync": {}}}),
            "12:00:04",
            Certainty.UNKNOWN,
            "",
            "does not name a commit yet",
            True,
            id="a sync that somebody asked for without a revision has none before it is resolved",
        ),
        pytest.param(
            changed(APPLICATION, "status.operationState.operation.sync.revision", "HEAD"),
            "12:00:04",
            Certainty.SYNCED,
            SECOND,
            "synced it",
            False,
            id="what a sync was resolved to is taken before what was asked for",
        ),
        pytest.param(
            APPLICATION,
            "11:30:00",
            Certainty.CONTAINED,
            SECOND,
            "compared this commit later and found the object as it has it",
            False,
            id="a write between two known syncs is known by the later comparison only",
        ),
        pytest.param(
            changed(
                APPLICATION,
                "status.resources",
                [{**APPLICATION["status"]["resources"][0], "status": "OutOfSync"}],
            ),
            "11:30:00",
            Certainty.UNKNOWN,
            "",
            "remembers no sync of 2026-01-05T11:30:00Z any more",
            False,
            id="an object that is out of sync is in no commit",
        ),
        pytest.param(
            APPLICATION,
            None,
            Certainty.CONTAINED,
            SECOND,
            "compared this commit later",
            False,
            id="without a time of writing, what is in sync is in the compared commit",
        ),
        pytest.param(
            changed(changed(APPLICATION, "status.resources", []), "status.operationState", RUNNING),
            "12:00:04",
            Certainty.UNKNOWN,
            "",
            "does not list this object among its resources",
            True,
            id="an Application that does not know the object says nothing about it",
        ),
        pytest.param(
            {"metadata": APPLICATION["metadata"], "spec": {}, "status": {"resources": "none"}},
            "12:00:04",
            Certainty.UNKNOWN,
            "",
            "does not list this object",
            True,
            id="a status of another shape is no error",
        ),
    ],
)
def test_the_commit_of_an_application(
    application: dict[str, Any],
    written: str | None,
    certainty: Certainty,
    revision: str,
    says: str,
    pending: bool,
) -> None:
    """Claim: the commit is that of the sync which ran when the object was written, or none."""
    found = read_application(application, owned(), moment(written) if written else None)

    assert (found.certainty, found.place.revision) == (certainty, revision)
    assert found.told_by == "Application argocd/fraud"
    assert says in found.message
    assert found.pending is pending


def test_a_sync_names_repository_path_branch_and_who_started_it() -> None:
    """Claim: who synced is not called the author, of whom Argo CD knows nothing."""
    running = changed(APPLICATION, "status.operationState", RUNNING)
    by_alice = read_application(running, owned(), moment("12:00:03"))
    automatic = read_application(APPLICATION, owned(), moment("12:00:03"))

    assert by_alice.place == Place(REPOSITORY, SECOND, "main", "models")
    assert (by_alice.initiated_by, by_alice.author) == ("alice", "")
    assert automatic.initiated_by == "automated sync policy"


@pytest.mark.parametrize(
    ("application", "certainty", "place", "candidates"),
    [
        pytest.param(
            several(models=FIRST, values=SECOND),
            Certainty.UNKNOWN,
            Place(),
            ["https://git.example.com/models.git", "https://git.example.com/values.git"],
            id="two sources of two commits: either may have the object, so both are listed",
        ),
        pytest.param(
            changed(
                several(models=SECOND, values=FIRST),
                "spec.sources",
                [
                    {"repoURL": REPOSITORY, "path": "models", "targetRevision": "main"},
                    {"repoURL": "https://git.example.com/values.git", "ref": "values"},
                ],
            ),
            Certainty.SYNCED,
            Place(REPOSITORY, SECOND, "main", "models"),
            [],
            id="a source that only lends its files to another one has no object",
        ),
        pytest.param(
            changed(
                several(a=SECOND, b=SECOND),
                "spec.sources",
                [
                    {"repoURL": REPOSITORY, "path": "a", "targetRevision": "main"},
                    {"repoURL": REPOSITORY, "path": "b", "targetRevision": "main"},
                ],
            ),
            Certainty.SYNCED,
            Place(REPOSITORY, SECOND, "main"),
            [REPOSITORY, REPOSITORY],
            id="two folders of one commit are one commit; which folder is not known",
        ),
        pytest.param(
            changed(
                changed(
                    several(chart=""),
                    "spec.sources",
                    [
                        {
                            "repoURL": "https://charts.example.com",
                            "chart": "models",
                            "targetRevision": "1.x",
                        },
                    ],
                ),
                "status.operationState.operation.sync.revisions",
                ["1.4.0"],
            ),
            Certainty.SYNCED,
            Place("https://charts.example.com", "1.4.0", "1.x", "", "models"),
            [],
            id="of a chart the version is told, as such",
        ),
    ],
)
def test_several_sources(
    application: dict[str, Any], certainty: Certainty, place: Place, candidates: list[str]
) -> None:
    """Claim: no source is guessed; where they agree on the commit, it is known."""
    found = read_application(application, owned(), moment("12:00:04"))

    assert (found.certainty, found.place) == (certainty, place)
    assert [one.repository for one in found.candidates] == candidates
    if certainty is Certainty.UNKNOWN:
        assert "has 2 sources, and does not tell which one has the object" in found.message


def test_rendered_manifests_lead_back_to_what_people_wrote() -> None:
    """Claim: with a source hydrator the commit is the dry one, if it is known to be of this
    rendering; another rendering's is not taken for it."""
    application = sample("application-hydrated")
    found = read_application(application, owned(), moment("12:00:04"))

    assert found.place == Place(REPOSITORY, SECOND, "main", "overlays/prod")
    assert (found.certainty, found.hydrated) == (Certainty.SYNCED, HYDRATED)
    assert f"its manifests were rendered to {HYDRATED}" in found.message

    hydrator = application["status"]["sourceHydrator"]
    for operation in hydrator.values():
        operation["hydratedSHA"] = "b" * 40
    other = read_application(application, owned(), moment("12:00:04"))

    assert (other.certainty, other.hydrated) == (Certainty.UNKNOWN, HYDRATED)
    assert other.place == Place(REPOSITORY, HYDRATED, "env/prod", "fraud")
    assert "does not tell what it is made from" in other.message


def test_a_password_in_an_address_is_not_told() -> None:
    """Claim: credentials of an address reach neither place nor message."""
    url = "https://bot:t0ken@git.example.com/ml/models.git?access_token=t0ken"
    application = changed(APPLICATION, "status.operationState.syncResult.source.repoURL", url)
    found = read_application(application, owned(), moment("12:00:04"))

    assert found.place.repository == REPOSITORY
    assert "t0ken" not in str(found) + found.message
