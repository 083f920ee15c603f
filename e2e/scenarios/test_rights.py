"""The operator can do what manifests/base says, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.headgate import render_login
from sandbox.kube import KubeError
from sandbox.paths import ROOT
from scenarios.api import Api, collection
from scenarios.cluster import NAMESPACE, Cluster
from scenarios.release import Json, Release

pytestmark = pytest.mark.sandbox

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
Right = tuple[str, str, str]
"""Group, resource and verb; a resource that is limited to names carries them."""


def test_operator_logs_in_with_a_token_and_nothing_else(cluster: Cluster) -> None:
    """What runs here runs with the rights of its ServiceAccount: it holds no certificate."""
    login = yaml.safe_load(cluster.operator_login.read_text())

    assert [list(user["user"]) for user in login["users"]] == [["token"]]


@pytest.mark.parametrize("namespace", [NAMESPACE, "headgate-system", "kube-system"])
def test_operator_has_the_rights_of_the_manifests_exactly(
    cluster: Cluster, tmp_path: Path, namespace: str
) -> None:
    """What `kubectl auth can-i --list` shows, less what every ServiceAccount has."""
    anybody = _login_of_nobody(cluster, tmp_path)

    with Api(cluster.operator_login) as operator, Api(anybody) as nobody:
        granted = _rights(operator, namespace) - _rights(nobody, namespace)

    shipped = yaml.safe_load_all((ROOT / "manifests" / "base" / "rbac.yaml").read_text())
    role = next(manifest for manifest in shipped if manifest["kind"] == "ClusterRole")
    assert granted == set(_expanded(role["rules"]))


def _login_of_nobody(cluster: Cluster, folder: Path) -> Path:
    """Return the login of a ServiceAccount that nobody gave any right."""
    metadata = {"name": "nobody", "namespace": NAMESPACE}
    cluster.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"{collection('ServiceAccount', NAMESPACE)}/nobody/token"
    token = cluster.api.create(path, asked)["status"]["token"]
    kubeconfig = folder / "nobody"
    operator = yaml.safe_load(cluster.operator_login.read_text())
    kubeconfig.write_text(yaml.safe_dump(render_login(operator, token)))
    return kubeconfig


def _rights(login: Api, namespace: str) -> set[Right]:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    status = login.create(_REVIEWS, review)["status"]
    assert not status["incomplete"]
    return {
        *_expanded(status["resourceRules"]),
        *(
            ("", path, verb)
            for r in status["nonResourceRules"]
            for path in r["nonResourceURLs"]
            for verb in r["verbs"]
        ),
    }


def _expanded(rules: Iterable[Mapping[str, Any]]) -> Iterable[Right]:
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                limited = "/".join([resource, *rule.get("resourceNames", ())])
                yield from ((group, limited, verb) for verb in rule["verbs"])


def test_what_the_operator_may_not_do_is_refused(cluster: Cluster) -> None:
    """Tried with its own token: no spec of people's, no Secret, no workload, no more rights."""
    with Release(cluster, "forbidden") as fraud:
        fraud.commit("1", {"paused": True})
        with Api(cluster.operator_login) as operator:
            tried = {
                "change a spec": lambda: operator.merge(
                    _manifest("ModelDeployment", fraud.name, spec={"history": 1})
                ),
                "delete a ModelDeployment": lambda: operator.delete(
                    "ModelDeployment", NAMESPACE, fraud.name
                ),
                "read Secrets": lambda: operator.list("Secret", NAMESPACE),
                "read one Secret": lambda: operator.find("Secret", "kube-system", "any"),
                "list ConfigMaps": lambda: operator.list("ConfigMap", NAMESPACE),
                "change a ConfigMap": lambda: operator.merge(
                    _manifest("ConfigMap", "any", data={"a": "b"})
                ),
                "start a Pod": lambda: operator.create(
                    collection("Pod", NAMESPACE), _manifest("Pod", "mine")
                ),
                "delete a Pod": lambda: operator.delete("Pod", NAMESPACE, "any"),
                "scale a Deployment": lambda: operator.merge(
                    _manifest("Deployment", "any", spec={"replicas": 0})
                ),
                "change a Gateway": lambda: operator.merge(
                    _manifest("Gateway", "public", "gateways", spec={"listeners": []})
                ),
                "change a runtime": lambda: operator.merge(
                    _manifest("ClusterServingRuntime", "kserve-sklearnserver", None, spec={})
                ),
                "read nodes": lambda: operator.list("Node", None),
                "give itself rights": lambda: operator.merge(
                    _manifest("ClusterRole", "headgate", None, rules=[])
                ),
                "bind itself to more": lambda: operator.create(
                    collection("ClusterRoleBinding", None),
                    _manifest("ClusterRoleBinding", "mine", None),
                ),
                "be somebody else": lambda: operator.create(
                    f"{collection('ServiceAccount', 'kube-system')}/default/token", {}
                ),
            }
            refused = {what: _status_of(call) for what, call in tried.items()}

    assert refused == dict.fromkeys(tried, 403)


def _manifest(kind: str, name: str, namespace: str | None = NAMESPACE, **fields: Any) -> Json:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"kind": kind, "metadata": metadata, **fields}


def _status_of(call: Any) -> int:
    try:
        call()
    except KubeError as error:
        return error.status
    return 200
