"""Laws of telling a commit: whatever a status holds, there is an answer that can be stored."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.commitsamples import changed, moment, owned, sample

from headgate.api.records import Commit as StoredCommit
from headgate.core.commits.argo import read_application
from headgate.core.commits.claims import ORIGIN, claimed_commit, detailed, read_claims
from headgate.core.commits.flux import read_kustomization, read_release
from headgate.core.commits.value import Certainty, Commit, read_rendered, render

WRITTEN = moment("12:00:04")
SAMPLES = {
    "Application": sample("application"),
    "Hydrated": sample("application-hydrated"),
    "Kustomization": sample("kustomization"),
    "HelmRelease": sample("helmrelease"),
}
WORDS = st.sampled_from(
    [
        "2026-01-05T12:00:03Z",
        "2026-01-05T12:00:04",
        "yesterday",
        "2" * 40,
        f"main@sha1:{'2' * 40}",
        "Synced",
        "Running",
        "Unknown",
        "Ready",
        "x\n\x1b" * 400,
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["revision", "type", "status", "id", "path"]), inner)
    ),
    max_leaves=8,
)


def paths(value: Any, path: str = "") -> list[str]:
    """All places in nested maps, as `status.sync.revision`."""
    if not isinstance(value, dict):
        return [path]
    inner = [p for key, one in value.items() for p in paths(one, f"{path}.{key}".lstrip("."))]
    return [path, *inner] if path else inner


def usable(path: str) -> bool:
    """The API server vouches for metadata; and labels have dots, which these paths cannot."""
    return path.startswith(("spec", "status"))


PLACES = {name: [p for p in paths(one) if usable(p)] for name, one in SAMPLES.items()}


def told(name: str, manifest: dict[str, Any], source: Any) -> Commit:
    """What the reader of this kind makes of it."""
    match name:
        case "Kustomization":
            return read_kustomization(manifest, source, owned(), WRITTEN)
        case "HelmRelease":
            return read_release(manifest, source, owned(), WRITTEN)
    return read_application(manifest, owned(), WRITTEN)


def assert_storable(commit: Commit) -> None:
    """Claim: the schema takes it, nothing of it is lost, and an unknown one names no author."""
    rendered = render(commit)
    assert StoredCommit.model_validate(rendered).manifest() == rendered
    assert render(read_rendered(rendered)) == rendered
    if commit.certainty is not Certainty.UNKNOWN:
        assert commit.place.revision or commit.place.repository


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_status_gives_a_commit_that_can_be_stored(data: st.DataObject) -> None:
    """Claim: no shape of spec or status raises, and none makes a record that is refused."""
    name = data.draw(st.sampled_from(sorted(SAMPLES)))
    manifest = SAMPLES[name]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(PLACES[name]))
        parents = [place[:n] for n, letter in enumerate(place) if letter == "."]
        if all(_is_map(manifest, parent) for parent in parents):
            manifest = changed(manifest, place, data.draw(JSON))
    source = data.draw(st.none() | st.fixed_dictionaries({"spec": JSON, "status": JSON}))

    found = told(name, manifest, source)

    assert_storable(found)
    if found.certainty is Certainty.SYNCED:
        assert found.place.revision


def _is_map(manifest: dict[str, Any], path: str) -> bool:
    value: Any = manifest
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return isinstance(value, dict)


@given(
    st.dictionaries(
        st.sampled_from([ORIGIN, "headgate.dev/commit", "headgate.dev/author"]),
        st.text(max_size=3000),
    )
)
@settings(max_examples=200, deadline=None)
def test_any_annotation_gives_a_commit_that_can_be_stored(annotations: dict[str, str]) -> None:
    """Claim: what the object claims is cut and cleaned, alone and beside what a tool tells."""
    claims = read_claims({"annotations": annotations})
    beside = read_application(SAMPLES["Application"], owned(), WRITTEN)

    assert_storable(claimed_commit(claims, "nobody is asked", "", pending=False))
    assert_storable(detailed(beside, claims))
    assert detailed(beside, claims).place.revision == beside.place.revision
