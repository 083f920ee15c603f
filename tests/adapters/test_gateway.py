"""The one HTTPRoute: rendered whole, read back, verified."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headgate.adapters.gateway import (
    Backend,
    Listener,
    conflicting_host,
    is_as_rendered,
    observe_route,
    read_listener,
    render_route,
    render_timeout,
)

OWNER = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "fraud", "namespace": "models", "uid": "u-1"},
}
LISTENER = Listener("public", "gateways", "http", ("fraud.example.com",), "/", "30s")
STABLE = Backend("11111111", "fraud-11111111-predictor", 90)
CANARY = Backend("22222222", "fraud-22222222-predictor", 10)


def route(*backends: Backend, listener: Listener = LISTENER) -> dict[str, Any]:
    """Render a route."""
    return render_route("fraud", OWNER, listener, backends)


def served(manifest: dict[str, Any], **conditions: Any) -> dict[str, Any]:
    """Return the route as a gateway has taken it up, with defaults as the API server adds them."""
    found = copy.deepcopy(manifest)
    found["metadata"] |= {"generation": 4, "resourceVersion": "9"}
    found["spec"]["rules"][0]["backendRefs"][0]["namespace"] = "models"
    wanted = {"Accepted": "True", "ResolvedRefs": "True", **conditions}
    found["status"] = {
        "parents": [
            {
                "parentRef": found["spec"]["parentRefs"][0],
                "conditions": [
                    {
                        "type": type,
                        "status": status,
                        "reason": "BackendNotFound",
                        "message": "Service x not found",
                        "observedGeneration": 4,
                    }
                    for type, status in wanted.items()
                ],
            }
        ]
    }
    return found


def test_every_backend_has_a_filter_of_its_own_and_keeps_its_place() -> None:
    """Without a filter Envoy Gateway merges them, and metrics are named by position."""
    references = route(STABLE, CANARY)["spec"]["rules"][0]["backendRefs"]

    headers = [r["filters"][0]["requestHeaderModifier"]["set"][0] for r in references]
    assert [(r["name"], r["port"], r["weight"]) for r in references] == [
        ("fraud-11111111-predictor", 80, 90),
        ("fraud-22222222-predictor", 80, 10),
    ]
    assert [h["value"] for h in headers] == ["11111111", "22222222"]


def test_backend_without_weight_is_left_out() -> None:
    """Weight 0 leaks requests on some gateways, so going back removes the backendRef."""
    references = route(replace(STABLE, weight=100), replace(CANARY, weight=0))["spec"]["rules"][0]

    assert [r["name"] for r in references["backendRefs"]] == ["fraud-11111111-predictor"]


def test_listener_round_trip() -> None:
    """What a route says can be read back, for a spec that cannot."""
    assert read_listener(route(STABLE)) == LISTENER


@pytest.mark.parametrize(
    "listener",
    [
        pytest.param(replace(LISTENER, timeout=None), id="no timeout"),
        pytest.param(replace(LISTENER, gateway_namespace=None), id="gateway in the same namespace"),
        pytest.param(replace(LISTENER, section=None), id="all listeners"),
        pytest.param(replace(LISTENER, path_prefix="/cards"), id="a path prefix"),
    ],
)
def test_optional_parts_round_trip(listener: Listener) -> None:
    """What is not asked for is not written."""
    assert read_listener(route(STABLE, listener=listener)) == listener


@pytest.mark.parametrize(
    ("timeout", "text"),
    [
        pytest.param(timedelta(seconds=90), "90s", id="whole seconds"),
        pytest.param(timedelta(milliseconds=1500), "1s500ms", id="and milliseconds"),
        pytest.param(timedelta(milliseconds=250), "250ms", id="milliseconds alone"),
        pytest.param(timedelta(days=1), "86400s", id="a day has no unit of its own"),
    ],
)
def test_timeout_in_gateway_apis_words(timeout: timedelta, text: str) -> None:
    """Our durations know days, Gateway API's do not."""
    assert render_timeout(timeout) == text


def test_defaults_of_the_server_are_no_difference() -> None:
    """Else every look would write the route again."""
    wanted = route(STABLE, CANARY)

    assert is_as_rendered(served(wanted), wanted)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(route(replace(STABLE, weight=80), CANARY), id="another weight"),
        pytest.param(route(CANARY, STABLE), id="another order"),
        pytest.param(route(STABLE), id="a backend less"),
        pytest.param(
            route(STABLE, CANARY, listener=replace(LISTENER, hostnames=("x.example.com",))),
            id="another hostname",
        ),
        pytest.param(
            route(STABLE, CANARY, listener=replace(LISTENER, timeout="5s")), id="another timeout"
        ),
    ],
)
def test_differences_are_seen(other: dict[str, Any]) -> None:
    """Whatever a hand changed is put right."""
    assert not is_as_rendered(served(other), route(STABLE, CANARY))


def test_filter_added_by_hand_is_a_difference() -> None:
    """A second rule or filter could divert requests past the weights."""
    found = served(route(STABLE, CANARY))
    found["spec"]["rules"].append({"backendRefs": []})

    assert not is_as_rendered(found, route(STABLE, CANARY))


@pytest.mark.parametrize(
    ("found", "verified", "problem"),
    [
        pytest.param(served(route(STABLE, CANARY)), True, "", id="accepted and resolved"),
        pytest.param(
            served(route(STABLE, CANARY), ResolvedRefs="False"),
            False,
            "HTTPRoute fraud: BackendNotFound: Service x not found",
            id="a backend that is not there",
        ),
        pytest.param(
            served(route(STABLE, CANARY), ResolvedRefs="Unknown"), False, "", id="not said yet"
        ),
    ],
)
def test_verification(found: dict[str, Any], verified: bool, problem: str) -> None:
    """Only what the gateway itself says of this very generation counts."""
    view = observe_route(found, "public")

    assert (view.verified, view.problem) == (verified, problem)
    assert view.weights == (("11111111", 90), ("22222222", 10))


def test_status_of_an_older_generation_verifies_nothing() -> None:
    """The gateway has not seen this one yet."""
    found = served(route(STABLE))
    found["metadata"]["generation"] = 5

    assert observe_route(found, "public").verified is False


def test_status_of_another_gateway_verifies_nothing() -> None:
    """Requests come in at ours."""
    assert observe_route(served(route(STABLE)), "internal").verified is False


@pytest.mark.parametrize(
    ("changes", "conflict"),
    [
        pytest.param({}, ("fraud.example.com", "other/fraud"), id="same gateway, host and path"),
        pytest.param({"hostnames": ("x.example.com",)}, None, id="another hostname"),
        pytest.param({"gateway": "internal"}, None, id="another gateway"),
        pytest.param({"path_prefix": "/cards"}, None, id="another path"),
    ],
)
def test_claims_of_a_hostname(changes: dict[str, Any], conflict: tuple[str, str] | None) -> None:
    """Two routes that would compete for the same requests are told apart from those that do not."""
    theirs = route(STABLE, listener=replace(LISTENER, **changes))
    theirs["metadata"]["namespace"] = "other"
    theirs["metadata"]["ownerReferences"] = [{"uid": "u-2", "controller": True}]

    assert conflicting_host([theirs], OWNER, LISTENER) == conflict
    assert conflicting_host([route(STABLE)], OWNER, LISTENER) is None
