"""From an object to its ModelDeployment, and the settings Kopf is given."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.ports import DEPLOYMENT, HTTP_ROUTE, INFERENCE_SERVICE, MODEL_REVISION
from headgate.runtime.kopf_glue import CHILDREN, Ears, parent_of, registry_of, settings_of
from headgate.runtime.seen import Name, Seen


def owned_by(name: str, **changes: Any) -> dict[str, Any]:
    """An object whose controller is the ModelDeployment of this name, changed as told."""
    reference = {"apiVersion": "headgate.dev/v1alpha1", "kind": "ModelDeployment", "uid": "u"}
    reference |= {"name": name, "controller": True, **changes}
    return {"metadata": {"namespace": "models", "name": "x", "ownerReferences": [reference]}}


def labelled(**labels: str) -> dict[str, Any]:
    """An object with only labels."""
    named = {name.replace("__", "/").replace("_", "."): text for name, text in labels.items()}
    return {"metadata": {"namespace": "models", "name": "x", "labels": named}}


@pytest.mark.parametrize(
    ("manifest", "parent"),
    [
        pytest.param(owned_by("fraud"), "fraud", id="the controller's reference names it"),
        pytest.param(
            owned_by("fraud", apiVersion="headgate.dev/v1beta1"),
            "fraud",
            id="another version of our group is ours too",
        ),
        pytest.param(labelled(headgate_dev__deployment="fraud"), "fraud", id="the label names it"),
        pytest.param(
            {
                "metadata": owned_by("fraud")["metadata"]
                | {"labels": {"headgate.dev/deployment": "other"}}
            },
            "fraud",
            id="the reference counts before the label",
        ),
        pytest.param(
            owned_by("fraud", controller=False), None, id="an owner that is no controller is none"
        ),
        pytest.param(
            owned_by("fraud", kind="InferenceService", apiVersion="serving.kserve.io/v1beta1"),
            None,
            id="another kind's child without our label belongs to nobody",
        ),
        pytest.param(
            owned_by("fraud", apiVersion="example.com/v1"),
            None,
            id="another group's ModelDeployment is not ours",
        ),
        pytest.param(labelled(app="fraud"), None, id="other labels say nothing"),
        pytest.param(labelled(headgate_dev__deployment=""), None, id="an empty label names none"),
        pytest.param(
            {"metadata": {"namespace": "models", "name": "x", "labels": None}},
            None,
            id="no labels at all",
        ),
    ],
)
def test_the_parent_of_an_object(manifest: dict[str, Any], parent: str | None) -> None:
    """A child is mapped to a ModelDeployment of its own namespace, or to none."""
    assert parent_of(manifest) == (None if parent is None else Name("models", parent))


def test_children_are_filtered_by_the_api_server() -> None:
    """Each child kind is watched with our label selector; our own objects without any."""
    settings = settings_of(lambda: 0.5)

    chosen = {
        (selector.group, selector.any_name, text)
        for selector, text in settings.watching.label_selectors.items()
    }
    ours = "app.kubernetes.io/managed-by=headgate"
    assert chosen == {(kind.group, kind.plural, ours) for kind in CHILDREN}
    assert set(CHILDREN) == {MODEL_REVISION, INFERENCE_SERVICE, DEPLOYMENT, HTTP_ROUTE}


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_a_lasting_error_ends_the_watch(jitter: float) -> None:
    """Kopf tries for two to three and a half minutes and then gives up; it must not loop on."""
    backoffs = settings_of(lambda: jitter).networking.error_backoffs
    assert not isinstance(backoffs, float)
    assert 110 <= sum(backoffs) <= 200


def test_nothing_of_kopf_can_leak() -> None:
    """Posting and peering are off, and even unused names are our own."""
    settings = settings_of(lambda: 0.5)

    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert "kopf.zalando.org" not in settings.persistence.finalizer
    assert isinstance(settings.watching.server_timeout, int)


async def test_a_registry_has_event_handlers_and_nothing_else() -> None:
    """No handler that would make Kopf write: only raw events, the login and the cleanup."""

    async def nothing() -> None: ...

    ears = Ears(lambda name: None, Seen(), lambda kind: None)
    registry = registry_of(ears, nothing, nothing)  # type: ignore[arg-type]

    assert len(registry._watching.get_all_handlers()) == 1 + len(CHILDREN)
    for writing in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert list(writing.get_all_handlers()) == []
