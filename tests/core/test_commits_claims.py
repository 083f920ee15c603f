"""What an object claims of its commit, and whose it says it is: untrusted text, all of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.commitsamples import (
    FIRST,
    FLUX_LABELS,
    HELM_LABELS,
    REPOSITORY,
    SECOND,
    TRACKING_ID,
    moment,
    owned,
    wrote,
)

from headgate.core.commits.claims import (
    AUTHOR,
    COMMIT,
    ORIGIN,
    Claims,
    Tracking,
    Writer,
    choose,
    claimed_commit,
    detailed,
    last_writer,
    read_claims,
    trackings_of,
    written_by_another,
)
from headgate.core.commits.claims import (
    TRACKING_ID as TRACKING,
)
from headgate.core.commits.value import (
    Certainty,
    Commit,
    Place,
    address,
    read_rendered,
    render,
    unknown,
)

LABEL = "app.kubernetes.io/instance"
FLUX = Tracking("Kustomization", "kustomize-controller", "flux-system", "models")
COPIED = "fraud:headgate.dev/ModelDeployment:models/other"


@pytest.mark.parametrize(
    ("manifest", "label", "expected", "problem"),
    [
        pytest.param(owned(), "", [], "", id="nobody"),
        pytest.param(
            owned({TRACKING: TRACKING_ID}), "", ["Application fraud"], "", id="an Application"
        ),
        pytest.param(
            owned({TRACKING: f"team-a_{TRACKING_ID}"}),
            "",
            ["Application team-a/fraud"],
            "",
            id="an Application of a namespace of its own",
        ),
        pytest.param(
            owned({TRACKING: COPIED}),
            "",
            ["Application "],
            "names headgate.dev/ModelDeployment:models/other and not "
            "headgate.dev/ModelDeployment:models/fraud: it was copied from elsewhere",
            id="an annotation that was copied from another object",
        ),
        pytest.param(
            owned({TRACKING: "fraud"}), "", ["Application "], "names no object", id="half of one"
        ),
        pytest.param(
            owned({TRACKING: TRACKING_ID.replace("fraud:", "../../secrets/x:", 1)}),
            "",
            ["Application "],
            "'../../secrets/x' is no name of an Application",
            id="a name that would lead elsewhere in a URL",
        ),
        pytest.param(
            owned(labels={LABEL: "fraud"}), "", [], "", id="a label that Argo CD does not track by"
        ),
        pytest.param(
            owned(labels={LABEL: "fraud"}), LABEL, ["Application fraud"], "", id="one that it does"
        ),
        pytest.param(
            owned(labels=FLUX_LABELS),
            "",
            ["Kustomization flux-system/models"],
            "",
            id="a Kustomization",
        ),
        pytest.param(
            owned(labels=HELM_LABELS), "", ["HelmRelease models/fraud"], "", id="a HelmRelease"
        ),
        pytest.param(
            owned(labels={"kustomize.toolkit.fluxcd.io/name": "models"}),
            "",
            ["Kustomization "],
            "the labels of kustomize.toolkit.fluxcd.io name no Kustomization",
            id="one label of two",
        ),
    ],
)
def test_whose_an_object_is_said_to_be(
    manifest: dict[str, Any], label: str, expected: list[str], problem: str
) -> None:
    """Claim: only a whole and usable name is asked; a copied one is named as such."""
    found = trackings_of(manifest, label)

    assert [str(one) for one in found] == expected
    assert problem in "".join(one.problem for one in found)
    assert all(bool(one.problem) is bool(problem) for one in found)


@given(st.text(max_size=300), st.text(max_size=80), st.text(max_size=80))
def test_no_text_leads_to_another_name(app: str, name: str, namespace: str) -> None:
    """Claim: whatever annotations and labels say, what may be asked has names Kubernetes allows."""
    labels = dict.fromkeys(FLUX_LABELS, name) | {"kustomize.toolkit.fluxcd.io/namespace": namespace}
    text = f"{app}:headgate.dev/ModelDeployment:models/fraud"
    for found in trackings_of(owned({TRACKING: text}, labels), ""):
        asked = found.namespace + found.name
        assert bool(found.problem) != bool(found.name)
        assert set(asked) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")


@pytest.mark.parametrize(
    ("writers", "expected"),
    [
        pytest.param([], None, id="nobody tells"),
        pytest.param([wrote("argocd-controller", "12:00:00")], {"argocd-controller"}, id="one"),
        pytest.param(
            [wrote("argocd-controller", "12:00:00"), wrote("kubectl-edit", "12:00:05")],
            {"kubectl-edit"},
            id="the last one",
        ),
        pytest.param(
            [wrote("argocd-controller", "12:00:05"), wrote("kubectl-edit", "12:00:05")],
            {"argocd-controller", "kubectl-edit"},
            id="both in the same second",
        ),
        pytest.param(
            [
                wrote("argocd-controller", "12:00:00"),
                {**wrote("headgate", "12:00:09"), "fieldsV1": {"f:status": {}}},
            ],
            {"argocd-controller"},
            id="who writes the status does not count",
        ),
        pytest.param(
            [{**wrote("argocd-controller", "12:00:00"), "time": "yesterday"}],
            None,
            id="a time that is none",
        ),
    ],
)
def test_who_wrote_the_spec_last(writers: list[dict[str, Any]], expected: set[str] | None) -> None:
    """Claim: it is told by managedFields, which the API server keeps, and by nothing else."""
    found = last_writer(owned(None, None, *writers)["metadata"])

    assert (set(found.managers) if found else None) == expected


def test_the_tool_that_wrote_last_is_asked() -> None:
    """Claim: of two tools the writer is asked; if neither was, that is said in place of it."""
    application = Tracking("Application", "argocd-controller", "", "fraud")
    both = (application, FLUX)
    by_flux = Writer(frozenset({"kustomize-controller"}), moment("12:00:00"))
    by_hand = Writer(frozenset({"kubectl-edit"}), moment("12:00:00"))

    assert choose(both, by_flux) == FLUX
    assert choose(both, None) == application
    assert choose((), by_flux) is None
    assert written_by_another(FLUX, by_flux) == ""
    assert written_by_another(FLUX, None) == ""
    assert written_by_another(FLUX, by_hand) == (
        "the spec was written last by field manager kubectl-edit at 2026-01-05T12:00:00Z, and not "
        "by the kustomize-controller of Kustomization flux-system/models"
    )


NONE = "the object has no annotation config.kubernetes.io/origin and none headgate.dev/commit"


@pytest.mark.parametrize(
    ("annotations", "certainty", "place", "says"),
    [
        pytest.param({}, Certainty.UNKNOWN, Place(), f"nobody is asked; {NONE}", id="nothing"),
        pytest.param(
            {ORIGIN: f"path: fraud.yaml\nrepo: {REPOSITORY}\nref: {FIRST}\n"},
            Certainty.CLAIMED,
            Place(REPOSITORY, FIRST, "", "fraud.yaml"),
            "only the object's own annotations say so: nobody is asked",
            id="kustomize's origin with a commit",
        ),
        pytest.param(
            {ORIGIN: f"path: fraud.yaml\nrepo: {REPOSITORY}\nref: main\n", COMMIT: SECOND},
            Certainty.CLAIMED,
            Place(REPOSITORY, SECOND, "main", "fraud.yaml"),
            "only the object's own annotations",
            id="a branch, and the commit that was stamped",
        ),
        pytest.param(
            {ORIGIN: "path: fraud.yaml\n"},
            Certainty.UNKNOWN,
            Place(path="fraud.yaml"),
            "the object names a path in annotation config.kubernetes.io/origin, but no commit",
            id="a path alone is no commit",
        ),
        pytest.param(
            {COMMIT: SECOND.upper()},
            Certainty.CLAIMED,
            Place(revision=SECOND),
            "only the object's own annotations",
            id="a stamped commit",
        ),
        pytest.param(
            {COMMIT: "HEAD; rm -rf /"},
            Certainty.UNKNOWN,
            Place(),
            NONE,
            id="a stamp that is no commit is none",
        ),
    ],
)
def test_what_the_object_itself_claims(
    annotations: dict[str, str], certainty: Certainty, place: Place, says: str
) -> None:
    """Claim: without a tool the object's word is taken, and called its word."""
    claims = read_claims(owned(annotations)["metadata"])
    found = claimed_commit(claims, "nobody is asked", "", pending=False)

    assert (found.certainty, found.place) == (certainty, place)
    assert says in found.message


TOLD = Commit(Certainty.SYNCED, "it says so", Place(REPOSITORY, SECOND, "main", "models"), "App")


@pytest.mark.parametrize(
    ("claims", "path", "note"),
    [
        pytest.param(Claims(), "models", "", id="nothing to add"),
        pytest.param(
            Claims({"path": "fraud.yaml"}),
            "models/fraud.yaml",
            "; the file as its annotation config.kubernetes.io/origin claims",
            id="the file in the tool's folder",
        ),
        pytest.param(
            Claims({"path": "../base/fraud.yaml"}),
            "base/fraud.yaml",
            "; the file as its annotation config.kubernetes.io/origin claims",
            id="the file beside it",
        ),
        pytest.param(
            Claims({"path": "../../etc/passwd"}),
            "models",
            "",
            id="a path that leaves the repository",
        ),
        pytest.param(
            Claims({"path": "fraud.yaml", "repo": "https://git.example.com/base", "ref": "v1"}),
            "models",
            "; its base is fraud.yaml of https://git.example.com/base at v1",
            id="a base of another repository",
        ),
        pytest.param(
            Claims(commit=FIRST),
            "models",
            f"; its annotation headgate.dev/commit claims {FIRST}",
            id="a claim that contradicts the tool",
        ),
        pytest.param(Claims(commit=SECOND[:7]), "models", "", id="a claim that agrees with it"),
    ],
)
def test_what_a_claim_adds_to_what_a_tool_tells(claims: Claims, path: str, note: str) -> None:
    """Claim: the tool's commit stands; the file is added, and a contradiction is told."""
    found = detailed(TOLD, claims)

    assert (found.place.revision, found.place.path) == (SECOND, path)
    assert found.message == f"it says so{note}"


def test_the_author_is_what_the_object_claims() -> None:
    """Claim: an author is named only where the object has one, cleaned and cut."""
    claims = read_claims(owned({AUTHOR: "Ada \x1b[31m Lovelace" + "x" * 200})["metadata"])

    assert claims.author.startswith("Ada [31m Lovelacexxx")
    assert len(claims.author) == 128
    assert detailed(TOLD, claims).author == claims.author
    assert detailed(TOLD, Claims()).author == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (REPOSITORY, REPOSITORY),
        ("https://token@git.example.com/ml.git", "https://git.example.com/ml.git"),
        (
            "https://bot:token@git.example.com:8443/ml?private_token=x#y",
            "https://git.example.com:8443/ml",
        ),
        ("ssh://git@git.example.com/ml.git", "ssh://git@git.example.com/ml.git"),
        ("ssh://bot:token@git.example.com/ml.git", "ssh://git.example.com/ml.git"),
        ("git@git.example.com:ml/models.git", "git@git.example.com:ml/models.git"),
        ("oci://registry.example.com/ml", "oci://registry.example.com/ml"),
        ("file:///srv/models.git", "file:///srv/models.git"),
        ("https://[broken/ml", ""),
        (7, ""),
    ],
)
def test_an_address_keeps_no_secret(url: Any, expected: str) -> None:
    """Claim: user, password, query and fragment are dropped, but for the user of everybody."""
    assert address(url) == expected


def test_a_commit_is_stored_and_read_back() -> None:
    """Claim: nothing is lost between a record and its readers; what is not known is left out."""
    whole = Commit(
        Certainty.SYNCED,
        "it says so",
        Place(REPOSITORY, SECOND, "main", "models", "chart 1.2"),
        "Application argocd/fraud",
        (Place(REPOSITORY, FIRST),),
        "Ada",
        "alice",
        FIRST,
        pending=True,
    )

    assert read_rendered(render(whole)) == whole
    assert render(unknown("nobody says")) == {"certainty": "Unknown", "message": "nobody says"}
    assert read_rendered({"certainty": "Foretold"}).certainty is Certainty.UNKNOWN


def test_a_commit_in_one_line() -> None:
    """Claim: the line for an Event has commit, place, author and who says so."""
    assert str(TOLD) == f"commit {SECOND[:12]} of {REPOSITORY}, models (Synced, App)"
    assert str(detailed(TOLD, Claims(author="Ada"))).endswith(", models by Ada (Synced, App)")
    assert str(unknown("nobody says")) == "the commit is unknown: nobody says"
