"""Headgate for one namespace, with Roles alone and a ServiceAccount of its own."""

from __future__ import annotations

import pytest

from scenarios.cluster import NAMESPACE, Bare
from scenarios.release import Release, template
from scenarios.rights import EVERYWHERE, compare

pytestmark = pytest.mark.sandbox

ACCOUNT = "headgate-of-one-namespace"


def test_roles_alone_are_enough_and_none_is_too_much(bare: Bare) -> None:
    """From the first version to a second one and its forgetting, without any ClusterRole.

    What its ServiceAccount asked is what its Roles grant, namespace by namespace. Refused was one
    thing only: to read the cluster's runtime, which the template names on purpose, and of which the
    status says that it is not tracked.
    """
    with (
        bare.installed("namespaced", ACCOUNT) as headgate,
        Release(bare.cluster, "roles") as fraud,
    ):
        kinds = {manifest["kind"] for manifest in headgate.manifests}
        assert {"ClusterRole", "ClusterRoleBinding"} & kinds == set()
        headgate.start("--namespaces", NAMESPACE)

        _live(bare, fraud)

        found = compare(headgate.manifests, bare.asked(), ACCOUNT)
        bare.cluster.tell(f"rights of {ACCOUNT}, from {found.requests:,} requests:")
        for line in found.lines():
            bare.cluster.tell(line)
        assert EVERYWHERE not in {right.namespace for right in found.granted}
        assert found.missing == []
        assert found.unused == []
        assert {line.split(" by ")[0] for line in found.refused} == {
            "403 get clusterservingruntimes.serving.kserve.io kserve-sklearnserver"
        }


def _live(bare: Bare, fraud: Release) -> None:
    """Let a ModelDeployment do all that one can do: serve, release, go back, forget."""
    _name_a_gateway_of_its_own(fraud)
    fraud.serve("1", template=_with("1"), history=1)
    fraud.commit("2", template=_with("2"), history=1)
    assert fraud.wait_end("2")["status"]["outcome"] == "Promoted"
    accepted = fraud.condition("Accepted")
    assert accepted["status"] == "True"
    assert accepted["message"].startswith("ClusterServingRuntime kserve-sklearnserver is not")

    fraud.commit("4", template=_with("4"), history=1)
    assert fraud.wait_end("4")["status"]["outcome"] == "Promoted"

    def is_forgotten() -> bool:
        left = {r["spec"]["model"]["version"] for r in fraud.children("ModelRevision")}
        return left == {"2", "4"} and len(fraud.records) == 1

    bare.cluster.wait("version 1 and all but the last record are forgotten", is_forgotten, 30)


def _name_a_gateway_of_its_own(fraud: Release) -> None:
    """Ask for a Gateway in the deployment's namespace, where none is: it is looked for there."""
    traffic = {"gateway": {"name": "own"}, "hostnames": ["own.scenarios.example.com"]}
    fraud.commit("1", template=_with("1"), traffic=traffic)
    assert fraud.wait_condition("Accepted", "NotFound")["message"] == (
        f"spec.traffic.gateway.name: wanted Gateway {NAMESPACE}/own, found none"
    )


def _with(version: str) -> dict[str, object]:
    """A template that names a runtime of the cluster, and a ConfigMap that need not exist."""
    cut = {"name": "cut", "key": "cut", "optional": True}
    named = template(version, {"name": "CUT", "valueFrom": {"configMapKeyRef": cut}})
    named["spec"]["predictor"]["model"]["runtime"] = "kserve-sklearnserver"
    return named
