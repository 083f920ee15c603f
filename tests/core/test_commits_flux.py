"""Which commit a Flux Kustomization or HelmRelease tells, by the times of its attempts."""

from __future__ import annotations

from typing import Any

import pytest
from tests.core.commitsamples import (
    FIRST,
    REPOSITORY,
    SECOND,
    changed,
    moment,
    owned,
    sample,
)

from headgate.core.commits.flux import (
    SourceName,
    chart_source_of,
    read_kustomization,
    read_release,
    read_revision,
    source_of,
    with_release,
)
from headgate.core.commits.value import NOWHERE, Certainty, Commit, Place

KUSTOMIZATION, REPOSITORY_OBJECT = sample("kustomization"), sample("kustomization", 1)
UNDER_WAY = [
    {"type": "Reconciling", "status": "True", "lastTransitionTime": "2026-01-05T12:00:03Z"},
    {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-05T12:00:03Z"},
]
FAILED = [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-05T12:00:04Z"}]
PAST = KUSTOMIZATION["status"]["history"][1:]
APPLYING = changed(
    changed(
        changed(KUSTOMIZATION, "status.conditions", UNDER_WAY),
        "status.lastAppliedRevision",
        f"main@sha1:{FIRST}",
    ),
    "status.history",
    PAST,
)
STALE = changed(
    changed(APPLYING, "status.conditions", [{**FAILED[0], "status": "True"}]),
    "status.lastAttemptedRevision",
    f"main@sha1:{FIRST}",
)
WITHOUT_HISTORY = changed(KUSTOMIZATION, "status.history", None)


@pytest.mark.parametrize(
    ("kustomization", "written", "certainty", "revision", "says", "pending"),
    [
        pytest.param(
            APPLYING,
            "12:00:04",
            Certainty.SYNCED,
            SECOND,
            "applied it from 2026-01-05T12:00:03Z and still does",
            False,
            id="what is attempted is told before it is applied, and before it is the last",
        ),
        pytest.param(
            KUSTOMIZATION,
            "12:00:03",
            Certainty.SYNCED,
            SECOND,
            "until 2026-01-05T12:00:04Z",
            False,
            id="an attempt that has just ended",
        ),
        pytest.param(
            changed(KUSTOMIZATION, "status.conditions", FAILED),
            "12:00:03",
            Certainty.SYNCED,
            SECOND,
            "applied it",
            False,
            id="an attempt whose health check failed has written the object all the same",
        ),
        pytest.param(
            KUSTOMIZATION,
            "11:00:00",
            Certainty.SYNCED,
            FIRST,
            "applied it from 2026-01-05T10:59:59Z until 2026-01-05T11:00:00Z",
            False,
            id="the first time that older manifests were applied is remembered",
        ),
        pytest.param(
            KUSTOMIZATION,
            "11:25:00",
            Certainty.CONTAINED,
            SECOND,
            "applied this commit later and found the object as it has it",
            False,
            id="a write between two known attempts is known by the later one only",
        ),
        pytest.param(
            STALE,
            "12:00:30",
            Certainty.UNKNOWN,
            "",
            "does not tell of an attempt at 2026-01-05T12:00:30Z",
            True,
            id="a status that is older than the object names no commit, least of all the last one",
        ),
        pytest.param(
            changed(APPLYING, "status.inventory", {"entries": []}),
            "12:00:04",
            Certainty.UNKNOWN,
            "",
            "does not list this object in its inventory",
            True,
            id="an object that is applied for the first time is listed soon",
        ),
        pytest.param(
            changed(KUSTOMIZATION, "status.inventory", {"entries": []}),
            "12:00:03",
            Certainty.UNKNOWN,
            "",
            "does not list this object in its inventory",
            False,
            id="labels that were copied are found out by the inventory",
        ),
        pytest.param(
            WITHOUT_HISTORY,
            "12:00:04",
            Certainty.SYNCED,
            SECOND,
            "applied it",
            False,
            id="without a history the end of the last attempt is known",
        ),
        pytest.param(
            WITHOUT_HISTORY,
            "11:30:00",
            Certainty.CONTAINED,
            SECOND,
            "applied this commit later",
            False,
            id="without a history an older write is in the commit of the last attempt",
        ),
        pytest.param(
            KUSTOMIZATION,
            None,
            Certainty.CONTAINED,
            SECOND,
            "applied this commit later",
            False,
            id="without a time of writing, the last commit contains it",
        ),
        pytest.param(
            changed(
                changed(KUSTOMIZATION, "status.lastAppliedRevision", "main"), "status.history", []
            ),
            "11:30:00",
            Certainty.UNKNOWN,
            "",
            "remembers no attempt of 2026-01-05T11:30:00Z",
            False,
            id="a revision of another form is no commit",
        ),
    ],
)
def test_the_commit_of_a_kustomization(
    kustomization: dict[str, Any],
    written: str | None,
    certainty: Certainty,
    revision: str,
    says: str,
    pending: bool,
) -> None:
    """Claim: the commit is that of the attempt which ran when the object was written, or none."""
    time = moment(written) if written else None
    found = read_kustomization(kustomization, REPOSITORY_OBJECT, owned(), time)

    assert (found.certainty, found.place.revision) == (certainty, revision)
    assert found.told_by == "Kustomization flux-system/models"
    assert says in found.message
    assert found.pending is pending


def test_a_kustomization_names_its_source_and_that_its_repository() -> None:
    """Claim: repository and branch come from the source, the path from the Kustomization; without
    the source only the address is missing."""
    found = read_kustomization(KUSTOMIZATION, REPOSITORY_OBJECT, owned(), moment("12:00:03"))
    without = read_kustomization(KUSTOMIZATION, None, owned(), moment("12:00:03"))

    assert source_of(KUSTOMIZATION) == SourceName("GitRepository", "flux-system", "models")
    assert found.place == Place(REPOSITORY, SECOND, "main", "models")
    assert without.place == Place("", SECOND, "main", "models")


def test_an_artifact_leads_back_to_its_commit_while_its_source_is_at_it() -> None:
    """Claim: of an OCI artifact the commit it was made from is told; once the source has gone on,
    the digest stands for it and the message says that it is no commit."""
    kustomization, source = sample("kustomization-oci"), sample("kustomization-oci", 1)
    found = read_kustomization(kustomization, source, owned(), moment("12:00:04"))

    assert found.place == Place(REPOSITORY, SECOND, "main", "")
    assert found.certainty is Certainty.SYNCED

    source["status"]["artifact"]["revision"] = f"latest@sha256:{'c' * 64}"
    gone_on = read_kustomization(kustomization, source, owned(), moment("12:00:04"))
    digest = "sha256:3b6cdcc7adcc9a84d3214ee1c029543789d90b5ae69debe9efa3f66e982875de"

    assert (gone_on.place.revision, gone_on.place.ref) == (digest, "latest")
    assert f"the artifact {digest} does not tell its commit" in gone_on.message


def test_what_an_artifact_was_made_from_is_remembered() -> None:
    """Claim: the history's origin revision is taken before the artifact's own."""
    entry = KUSTOMIZATION["status"]["history"][0]
    told = {"revision": f"latest@sha256:{'c' * 64}", "originRevision": f"main@sha1:{SECOND}"}
    kustomization = changed(KUSTOMIZATION, "status.history", [{**entry, "metadata": told}])
    found = read_kustomization(kustomization, None, owned(), moment("12:00:03"))

    assert (found.place.revision, found.place.ref) == (SECOND, "main")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"main@sha1:{FIRST}", Place(revision=FIRST, ref="main"), id="a branch"),
        pytest.param(f"sha1:{FIRST}", Place(revision=FIRST), id="a commit alone"),
        pytest.param(
            f"refs/pull/7/head@sha1:{FIRST}",
            Place(revision=FIRST, ref="refs/pull/7/head"),
            id="any other ref",
        ),
        pytest.param("main", NOWHERE, id="a branch without a commit"),
        pytest.param("1.4.0", NOWHERE, id="the version of a chart"),
        pytest.param(None, NOWHERE, id="nothing"),
        pytest.param(["main"], NOWHERE, id="no text"),
    ],
)
def test_a_revision_as_flux_writes_it(text: Any, expected: Place) -> None:
    """Claim: a commit is taken only from a whole commit id."""
    assert read_revision(text) == expected


# --- HelmRelease ---------------------------------------------------------------------------------

RELEASE = sample("helmrelease")
DIGEST = f"sha256:{'2' * 64}"


@pytest.mark.parametrize(
    ("release", "written", "certainty", "revision", "says", "pending"),
    [
        pytest.param(
            RELEASE,
            "12:00:06",
            Certainty.SYNCED,
            f"1.4.0@{DIGEST}",
            "applied it from 2026-01-05T12:00:05Z",
            False,
            id="a release that has just been made",
        ),
        pytest.param(
            RELEASE,
            "11:30:00",
            Certainty.SYNCED,
            "1.3.0",
            "applied it from 2026-01-05T11:00:00Z",
            False,
            id="an older release lasts until the next one",
        ),
        pytest.param(
            changed(RELEASE, "status.conditions", UNDER_WAY),
            "12:00:09",
            Certainty.SYNCED,
            "1.4.0",
            "and still does",
            False,
            id="an action that is under way names its version before it starts",
        ),
        pytest.param(
            RELEASE,
            "12:01:00",
            Certainty.UNKNOWN,
            "",
            "does not tell of an attempt at 2026-01-05T12:01:00Z",
            True,
            id="a status that is older than the object",
        ),
        pytest.param(
            RELEASE,
            "10:00:00",
            Certainty.UNKNOWN,
            "",
            "remembers no attempt of 2026-01-05T10:00:00Z",
            False,
            id="a release that is forgotten",
        ),
        pytest.param(
            changed(RELEASE, "status.inventory", {"entries": []}),
            "12:00:06",
            Certainty.UNKNOWN,
            "",
            "does not list this object in its inventory",
            False,
            id="labels that were copied are found out by the inventory",
        ),
        pytest.param(
            changed(RELEASE, "status.inventory", None),
            "12:00:06",
            Certainty.CLAIMED,
            f"1.4.0@{DIGEST}",
            "that it owns the object is only what the object's labels claim",
            False,
            id="without an inventory the labels alone say whose it is",
        ),
    ],
)
def test_the_chart_of_a_release(
    release: dict[str, Any],
    written: str,
    certainty: Certainty,
    revision: str,
    says: str,
    pending: bool,
) -> None:
    """Claim: the chart's version is that of the release which was made when the object was
    written."""
    found = read_release(release, None, owned(), moment(written))

    assert (found.certainty, found.place.revision) == (certainty, revision)
    assert found.place.chart == ("model-deployment" if revision else "")
    assert found.told_by == "HelmRelease models/fraud"
    assert says in found.message
    assert found.pending is pending


def test_a_release_is_as_sure_as_the_less_sure_of_chart_and_commit() -> None:
    """Claim: the commit is where the HelmRelease is written, beside the chart and its version."""
    chart = read_release(RELEASE, None, owned(), moment("12:00:06"))
    place = Place(REPOSITORY, SECOND, "main", "models")
    written_by = Commit(
        Certainty.CONTAINED, "it says so", place, "Kustomization flux-system/models"
    )
    found = with_release(chart, RELEASE, written_by)

    assert chart_source_of(RELEASE) == SourceName("HelmRepository", "models", "charts")
    assert found.certainty is Certainty.CONTAINED
    assert (found.place.revision, found.place.path) == (SECOND, "models")
    assert found.place.chart == f"model-deployment 1.4.0@{DIGEST}"
    assert found.told_by == "HelmRelease models/fraud by Kustomization flux-system/models"
    assert found.message.endswith("the HelmRelease itself: it says so")
