"""What cannot be served is said, gets no traffic, and heals when its cause is gone."""

from __future__ import annotations

from typing import Any

import pytest

from scenarios.cluster import NAMESPACE, Cluster, host_of
from scenarios.release import START_SECONDS, Json, Release, condition, render

pytestmark = [pytest.mark.sandbox, pytest.mark.side_by_side]

HEAL_SECONDS = 75.0
"""An object that appears wakes nobody, so an objection is looked at again every half minute."""


def test_candidate_that_never_starts_gets_no_weight_and_is_rejected(cluster: Cluster) -> None:
    """A model file cut short costs users nothing; the reason names the container and its end."""
    with Release(cluster, "broken") as fraud:
        fraud.serve("1")
        since = fraud.commit("broken", {"progressDeadline": "60s"})
        ready = fraud.wait("why it is not ready", _names_container, START_SECONDS)

        record = fraud.wait_end("broken")

        users = fraud.counts(since)
        cluster.tell(f"broken: {record['status']['message']}; users: {users}")
        assert "container kserve-container" in condition(ready, "CanaryReady")["message"]
        assert record["status"]["outcome"] == "RolledBack"
        assert fraud.status["rejected"][0]["reason"] == "CandidateNotReady"
        assert "version broken was not ready in time" in record["status"]["message"]
        assert {step["weight"] for step in record["status"]["steps"]} == {0}
        assert fraud.weights == {"1": 100}
        assert users.ended > 0
        assert users.failures == 0, users


def test_storage_that_does_not_exist_is_named_and_a_revert_heals(cluster: Cluster) -> None:
    """Nothing is where storageUri points: the candidate says so, and users stay where they are."""
    with Release(cluster, "nowhere") as fraud:
        fraud.serve("1")
        since = fraud.commit("none")
        ready = fraud.wait("why it is not ready", _names_container, START_SECONDS)
        assert "container storage-initializer" in condition(ready, "CanaryReady")["message"]
        assert fraud.weights == {"1": 100}

        fraud.commit("1")
        fraud.wait_condition("RolledOut", "RolledOut")

        users = fraud.counts(since)
        assert fraud.outcomes == [("1", "Promoted"), ("none", "Aborted")]
        assert users.ended > 0
        assert users.failures == 0, users


def _names_container(status: Json) -> bool:
    return "container" in condition(status, "CanaryReady").get("message", "")


# --- what the spec names and the cluster lacks ---------------------------------------------------


def test_missing_config_map_is_named_and_heals(cluster: Cluster) -> None:
    """Field, wanted and found are said; once the ConfigMap is there the revision is prepared."""
    wanted = {"name": "CUT", "valueFrom": {"configMapKeyRef": {"name": "cut", "key": "cut"}}}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"cut": "0.5"}}
    with Release(cluster, "no-config") as fraud:
        cluster.api.delete("ConfigMap", NAMESPACE, "cut")

        message = f"spec.template.spec: wanted ConfigMap {NAMESPACE}/cut, found none"
        _assert_refused(fraud, message, template=_template({"env": [wanted]}))

        _assert_heals(fraud, config_map | {"metadata": {"name": "cut", "namespace": NAMESPACE}})


def test_missing_runtime_is_named_and_heals(cluster: Cluster) -> None:
    """A runtime that nobody installed is found before anything is made of the template."""
    shipped = cluster.api.list("ClusterServingRuntime", None)[0]
    runtime = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime"}
    with Release(cluster, "no-runtime") as fraud:
        cluster.api.delete("ServingRuntime", NAMESPACE, "own-sklearn")

        message = (
            "spec.template.spec.predictor.model.runtime: wanted a ServingRuntime in "
            f"{NAMESPACE} or a ClusterServingRuntime named own-sklearn, found none"
        )
        _assert_refused(fraud, message, template=_template({"runtime": "own-sklearn"}))

        metadata = {"name": "own-sklearn", "namespace": NAMESPACE}
        _assert_heals(fraud, runtime | {"metadata": metadata, "spec": shipped["spec"]})


def test_missing_gateway_is_named_and_heals(cluster: Cluster) -> None:
    """Nothing is made for a spec whose requests have nowhere to come in."""
    traffic = {"gateway": {"name": "not-there"}, "hostnames": [host_of("no-gateway")]}
    with Release(cluster, "no-gateway") as fraud:
        cluster.api.delete("Gateway", NAMESPACE, "not-there")

        message = f"spec.traffic.gateway.name: wanted Gateway {NAMESPACE}/not-there, found none"
        _assert_refused(fraud, message, traffic=traffic)

        _assert_heals(
            fraud,
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "metadata": {"name": "not-there", "namespace": NAMESPACE},
                "spec": {
                    "gatewayClassName": "somebody-elses",
                    "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
                },
            },
        )


def _template(model: Json) -> Json:
    template: Json = render("any", "1", {}, {})["spec"]["template"]
    template["spec"]["predictor"]["model"] |= model
    return template


def _assert_refused(fraud: Release, message: str, **spec: Any) -> None:
    fraud.commit("1", **spec)

    accepted = fraud.wait_condition("Accepted", "NotFound")

    assert accepted["status"] == "False"
    assert accepted["message"] == message
    assert fraud.children("InferenceService") == []
    assert fraud.weights == {}


def _assert_heals(fraud: Release, missing: Json) -> None:
    api = fraud.cluster.api
    api.apply(missing)
    try:
        fraud.wait_condition("Accepted", "Accepted", HEAL_SECONDS)
        fraud.wait_phase("Preparing", "Baking")
        assert len(fraud.children("InferenceService")) == 1
    finally:
        api.delete(missing["kind"], NAMESPACE, missing["metadata"]["name"])


# --- what belongs to somebody else ---------------------------------------------------------------


def test_foreign_route_of_our_name_is_never_taken_over(cluster: Cluster) -> None:
    """It stays as its owner left it, the conflict is said, and it heals when the route is gone."""
    theirs = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "foreign-route", "namespace": NAMESPACE, "labels": {"team": "other"}},
        "spec": {
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "hostnames": ["theirs.scenarios.example.com"],
            "rules": [{"backendRefs": [{"name": "theirs", "port": 80}]}],
        },
    }
    with Release(cluster, "foreign-route") as fraud:
        before = cluster.api.apply(theirs)
        fraud.commit("1")

        _assert_conflict_and_heals(fraud, before)


def test_foreign_inference_service_of_our_name_is_never_taken_over(cluster: Cluster) -> None:
    """Not even one whose name is that of our next revision, to the hash."""
    with Release(cluster, "foreign-model") as fraud:
        fraud.commit("1")
        name = fraud.wait_phase("Preparing")["canary"]["revision"]
    theirs = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"team": "other"},
            "annotations": {"serving.kserve.io/stop": "true"},
        },
        "spec": _template({})["spec"],
    }
    with Release(cluster, "foreign-model") as fraud:
        before = cluster.api.apply(theirs)
        fraud.commit("1")

        _assert_conflict_and_heals(fraud, before)


def _assert_conflict_and_heals(fraud: Release, before: Json) -> None:
    api, kind, name = fraud.cluster.api, before["kind"], before["metadata"]["name"]
    try:
        accepted = fraud.wait_condition("Accepted", "Conflict")
        fraud.look_for(5)
        after = api.find(kind, NAMESPACE, name)
    finally:
        api.delete(kind, NAMESPACE, name)
    assert accepted["message"] == (
        f"metadata.name: wanted no {kind} {name} but our own, "
        "found one that this ModelDeployment does not control"
    )
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert after["spec"] == before["spec"]
    assert not [f for f in after["metadata"]["managedFields"] if "headgate" in f["manager"]]
    fraud.wait_condition("Accepted", "Accepted", HEAL_SECONDS)
    fraud.wait_phase("Preparing", "Baking")


def test_one_hostname_is_served_by_one_deployment(cluster: Cluster) -> None:
    """Of two that claim it at once one serves; the other says whose it is, and waits for it."""
    traffic = {
        "gateway": {"name": "public", "namespace": "gateways"},
        "hostnames": ["shared.scenarios.example.com"],
    }
    with Release(cluster, "claim-one") as one, Release(cluster, "claim-two") as two:
        for each in (one, two):
            each.commit("1", traffic=traffic)

        winner, loser = cluster.wait(
            "one of them serves, the other objects",
            lambda: _settled(one, two) or _settled(two, one),
            START_SECONDS,
        )
        assert loser.weights == {}
        assert (
            f"which ModelDeployment {NAMESPACE}/{winner.name} has claimed"
            in (loser.condition("Accepted")["message"])
        )
        winner.look_for(5)
        assert winner.weights == {"1": 100}

        cluster.api.delete("ModelDeployment", NAMESPACE, winner.name)
        loser.wait_condition("Accepted", "Accepted", HEAL_SECONDS)
        loser.wait_phase("Baking", seconds=START_SECONDS)
        assert loser.weights == {"1": 100}


def _settled(winner: Release, loser: Release) -> tuple[Release, Release] | None:
    objects = loser.condition("Accepted").get("reason") == "Conflict"
    return (winner, loser) if objects and winner.weights == {"1": 100} else None
