"""What the shipped manifests allow, and that a real API server takes them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.runtime.cluster import install

from headgate.runtime.settings import entries
from sandbox.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

ROOT = Path(__file__).parents[2]
BASE = ROOT / "manifests" / "base"

WRITE = {"create", "patch", "delete"}
READ = {"get", "list", "watch"}

ALLOWED = {
    ("headgate.dev", "modeldeployments"): READ,
    ("headgate.dev", "modeldeployments/status"): {"patch"},
    ("headgate.dev", "modelrevisions"): READ | {"create", "delete"},
    ("headgate.dev", "modelrevisions/status"): {"patch"},
    ("headgate.dev", "modelrollouts"): {"get", "list", "create", "delete"},
    ("headgate.dev", "modelrollouts/status"): {"patch"},
    ("serving.kserve.io", "inferenceservices"): READ | WRITE,
    ("serving.kserve.io", "servingruntimes"): {"get"},
    ("serving.kserve.io", "clusterservingruntimes"): {"get"},
    ("gateway.networking.k8s.io", "httproutes"): READ | {"create", "patch"},
    ("gateway.networking.k8s.io", "gateways"): {"get"},
    ("apps", "deployments"): {"list", "watch"},
    ("", "pods"): {"list"},
    ("", "configmaps"): {"get"},
    ("", "events"): {"create"},
}
"""All that the operator may do. Who adds a line here explains it in manifests/base/rbac.yaml."""

CLUSTER_RUNTIMES = "clusterservingruntimes"
"""The one kind the operator reads that belongs to no namespace."""


def documents(path: Path) -> list[dict[str, Any]]:
    """The manifests of a file."""
    return list(yaml.safe_load_all(path.read_text()))


def rights(path: Path) -> dict[tuple[str, str], set[str]]:
    """What the roles of a file grant: verbs by group and resource."""
    granted: dict[tuple[str, str], set[str]] = {}
    for role in documents(path):
        for rule in role.get("rules", ()):
            assert set(rule) == {"apiGroups", "resources", "verbs"}
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    granted.setdefault((group, resource), set()).update(rule["verbs"])
    return granted


def test_the_base_grants_what_is_listed_and_nothing_else() -> None:
    """No wildcard, no Secret, no write to a spec that Git owns: exactly this table."""
    assert rights(BASE / "rbac.yaml") == ALLOWED


def test_secrets_are_an_overlay() -> None:
    """Only the overlay that says so may read Secrets, and only read them."""
    overlay = ROOT / "manifests" / "overlays" / "track-secrets" / "rbac.yaml"
    assert rights(overlay) == {("", "secrets"): {"get"}}


def test_the_pod_sets_only_settings_that_exist() -> None:
    """Every variable of ours in the manifests is a setting; another would stop the start."""
    known = {entry.variable for entry in entries()}
    [deployment] = documents(BASE / "deployment.yaml")
    [container] = deployment["spec"]["template"]["spec"]["containers"]

    assert {each["name"] for each in container["env"]} <= known
    assert "HEADGATE_TRACK_SECRETS" in known


def test_a_stop_has_more_time_than_it_needs() -> None:
    """The kubelet waits longer than ten seconds, and two pods never run at once."""
    [deployment] = documents(BASE / "deployment.yaml")

    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 10
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def overlay_rights(name: str) -> dict[str, dict[tuple[str, str], set[str]]]:
    """What an overlay's own roles grant, by the namespace they are in."""
    granted: dict[str, dict[tuple[str, str], set[str]]] = {}
    for role in documents(ROOT / "manifests" / "overlays" / name / "rbac.yaml"):
        for rule in role.get("rules", ()):
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    mine = granted.setdefault(role["metadata"].get("namespace", ""), {})
                    mine.setdefault((group, resource), set()).update(rule["verbs"])
    return granted


def test_some_namespaces_need_no_cluster_role() -> None:
    """Roles with the base's rights, but for the one kind that no namespace has."""
    namespaced = {key: verbs for key, verbs in ALLOWED.items() if key[1] != CLUSTER_RUNTIMES}

    assert overlay_rights("namespaced") == {
        "models": namespaced,
        "gateways": {("gateway.networking.k8s.io", "gateways"): {"get"}},
    }


def test_two_replicas_may_write_one_lease() -> None:
    """What decides who works is one Lease beside the operator; only making it has no name."""
    [role] = [
        role
        for role in documents(ROOT / "manifests" / "overlays" / "two-replicas" / "rbac.yaml")
        if role["kind"] == "Role"
    ]
    own = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}

    assert role["metadata"]["namespace"] == "headgate-system"
    assert role["rules"] == [
        {**own, "verbs": ["create"]},
        {**own, "resourceNames": ["headgate"], "verbs": ["get", "update"]},
    ]


@pytest.fixture(scope="module")
def installed(apiserver: ApiServer) -> ApiServer:
    """The API server with manifests/overlays/sandbox applied."""
    install(apiserver)
    return apiserver


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        pytest.param("list modeldeployments.headgate.dev", True, id="read what people want"),
        pytest.param("patch modeldeployments.headgate.dev", False, id="change what people want"),
        pytest.param(
            "patch modeldeployments.headgate.dev --subresource=status", True, id="write its status"
        ),
        pytest.param("delete modeldeployments.headgate.dev", False, id="delete what people want"),
        pytest.param("create inferenceservices.serving.kserve.io", True, id="serve a revision"),
        pytest.param("get secrets", False, id="read a Secret"),
        pytest.param("create pods", False, id="run a pod"),
        pytest.param("patch deployments.apps", False, id="change a Deployment"),
        pytest.param("create rolebindings.rbac.authorization.k8s.io", False, id="grant rights"),
        pytest.param("list namespaces", False, id="list namespaces"),
    ],
)
def test_the_service_account_may(installed: ApiServer, question: str, answer: bool) -> None:
    """The API server itself answers what the ServiceAccount may do."""
    account = "--as=system:serviceaccount:headgate-system:headgate"
    try:
        said = installed.kubectl("auth", "can-i", *question.split(), account, "-A")
    except KubectlError:
        said = "no"
    assert (said.strip() == "yes") is answer


@pytest.mark.apiserver
def test_the_pod_is_admitted_under_the_restricted_standard(installed: ApiServer) -> None:
    """The namespace enforces PodSecurity `restricted`, and our pod passes; a careless one not."""
    [deployment] = documents(BASE / "deployment.yaml")
    template = deployment["spec"]["template"]
    metadata = {"name": "headgate-0", "namespace": "headgate-system"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    dry_run = ("create", "--dry-run=server", "-f", "-")

    assert "created" in installed.kubectl(*dry_run, stdin=json.dumps(pod))
    del pod["spec"]["containers"][0]["securityContext"]
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        installed.kubectl(*dry_run, stdin=json.dumps(pod))


@pytest.mark.apiserver
@pytest.mark.parametrize(
    "folder",
    [
        "base",
        *(
            f"overlays/{path.parent.name}"
            for path in sorted((ROOT / "manifests" / "overlays").glob("*/kustomization.yaml"))
        ),
    ],
)
def test_kustomize_builds_what_the_server_takes(installed: ApiServer, folder: str) -> None:
    """Each way to install is accepted whole, the CRDs included."""
    for namespace in ("models", "gateways", "argocd", "flux-system"):
        with contextlib.suppress(KubectlError):
            installed.kubectl("create", "namespace", namespace)
    said = installed.control_plane.apply("--dry-run=server", "-k", str(ROOT / "manifests" / folder))

    assert "customresourcedefinition.apiextensions.k8s.io/modeldeployments.headgate.dev" in said
    assert ("deployment.apps/headgate" in said) is (folder != "overlays/sandbox")
    assert ("headgate-secrets" in said) is (folder == "overlays/track-secrets")
