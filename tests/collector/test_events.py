"""Whose event it is: paths and headers."""

from __future__ import annotations

import pytest
from tests.collector.samples import ADDRESS, SECRET, event, headers

from headgate.collector.events import Half, Head, Result, Unusable, parse_address, parse_head


def test_a_path_names_a_revision() -> None:
    """Namespace, deployment and hash of a path are those of the ModelRevision."""
    address = parse_address("models", "fraud", "9c1d44e0")

    assert address == ADDRESS
    assert (address.revision, str(address)) == ("fraud-9c1d44e0", "models/fraud-9c1d44e0")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(("Models", "fraud", "9c1d44e0"), id="a namespace in capitals"),
        pytest.param(("a" * 64, "fraud", "9c1d44e0"), id="a namespace too long"),
        pytest.param(("models", "9fraud", "9c1d44e0"), id="a deployment that begins with a digit"),
        pytest.param(("models", "f" * 41, "9c1d44e0"), id="a deployment too long"),
        pytest.param(("models", "fraud", "9c1d44e"), id="a hash too short"),
        pytest.param(("models", "fraud", "9C1D44E0"), id="a hash in capitals"),
        pytest.param(("models", "fraud", "9c1d44e0\n"), id="a line end after the hash"),
        pytest.param(("models", 'fraud"} 1\nx{a="', "9c1d44e0"), id="a label of one's own"),
        pytest.param(("..", "fraud", "9c1d44e0"), id="a way out of the folder"),
        pytest.param(("", "", ""), id="nothing"),
        pytest.param(("models", SECRET + "/", "9c1d44e0"), id="a secret"),
    ],
)
def test_other_paths_are_refused(path: tuple[str, str, str]) -> None:
    """What could not name a revision is refused, and the refusal does not repeat it."""
    with pytest.raises(Unusable) as refused:
        parse_address(*path)

    assert refused.value.result is Result.REFUSED
    assert str(refused.value) == (
        "wanted /v1/NAMESPACE/DEPLOYMENT/HASH, as in /v1/models/fraud/9c1d44e0"
    )


@pytest.mark.parametrize("half", list(Half))
def test_headers_name_half_and_id(half: Half) -> None:
    """Type and id of the agent's headers are all that is kept of them."""
    assert parse_head(ADDRESS, headers(half, ce_id="7")) == Head(half, "7")


def test_the_model_in_the_headers_is_optional() -> None:
    """An agent that does not name its model is believed by its path."""
    given = headers(ce_id="7")
    del given["ce-namespace"], given["ce-inferenceservicename"]

    assert parse_head(ADDRESS, given) == Head(Half.REQUEST, "7")


@pytest.mark.parametrize(
    ("changed", "result", "text"),
    [
        pytest.param(
            {"content_type": "application/cloudevents+json; charset=UTF-8"},
            Result.REFUSED,
            "wanted CloudEvents in binary mode, with ce- headers",
            id="structured mode",
        ),
        pytest.param(
            {"content_type": "Application/CloudEvents-Batch+JSON"},
            Result.REFUSED,
            "wanted CloudEvents in binary mode, with ce- headers",
            id="a batch",
        ),
        pytest.param(
            {"ce_specversion": "0.3"},
            Result.REFUSED,
            "wanted a ce-specversion of 1.0",
            id="an old version",
        ),
        pytest.param({"ce_id": ""}, Result.REFUSED, "wanted a ce-id", id="no id"),
        pytest.param(
            {"ce_type": f"org.example.{SECRET}"},
            Result.REFUSED,
            "wanted a ce-type of org.kubeflow.serving.inference.request or "
            "org.kubeflow.serving.inference.response",
            id="another type",
        ),
        pytest.param(
            {"ce_namespace": SECRET},
            Result.MISMATCH,
            "wanted a ce-namespace like the path's",
            id="another namespace",
        ),
        pytest.param(
            {"ce_inferenceservicename": "fraud-00000000"},
            Result.MISMATCH,
            "wanted a ce-inferenceservicename like the path's revision",
            id="another revision of the same model",
        ),
    ],
)
def test_other_headers_are_refused(changed: dict[str, str], result: Result, text: str) -> None:
    """The refusal says what was wanted, and nothing of what was sent."""
    with pytest.raises(Unusable) as refused:
        parse_head(ADDRESS, headers(**changed))

    assert (refused.value.result, str(refused.value)) == (result, text)


def test_an_event_does_not_show_its_body() -> None:
    """The repr of an event, as a debugger or a traceback prints it, has no payload."""
    assert SECRET not in repr(event(Half.REQUEST, {"instances": [SECRET]}))
