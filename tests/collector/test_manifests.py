"""What the shipped manifests of the collector allow, and that a real API server takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.runtime.cluster import install

from headgate.collector.service import DRAIN_SECONDS
from headgate.collector.settings import SETTINGS
from sandbox.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "manifests" / "overlays" / "collector"
ACCOUNT = "--as=system:serviceaccount:headgate-system:headgate-collector"


def document(name: str) -> dict[str, Any]:
    """The first manifest of a file."""
    first: dict[str, Any] = next(yaml.safe_load_all((OVERLAY / name).read_text()))
    return first


def pod() -> dict[str, Any]:
    """The pod of the Deployment."""
    spec: dict[str, Any] = document("deployment.yaml")["spec"]["template"]["spec"]
    return spec


def test_it_may_read_profiles_and_nothing_else() -> None:
    """Revisions and the ConfigMaps they name: no Secret, no wildcard, no write."""
    assert document("rbac.yaml")["rules"] == [
        {
            "apiGroups": ["headgate.dev"],
            "resources": ["modelrevisions"],
            "verbs": ["get"],
        },
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
    ]


def test_the_pod_sets_only_settings_that_exist() -> None:
    """No variable but settings, and none from a kubelet that names a Service as we do settings."""
    [container] = pod()["containers"]
    known = {setting.variable for setting in SETTINGS}

    assert {each["name"] for each in container.get("env", ())} <= known
    assert pod()["enableServiceLinks"] is False


def test_the_service_finds_the_pods() -> None:
    """Labels, ports and scraping fit together, and a sender stays with one replica."""
    deployment, service = document("deployment.yaml"), document("service.yaml")
    [container] = pod()["containers"]
    [port] = service["spec"]["ports"]

    assert deployment["spec"]["replicas"] == 2
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    assert port["targetPort"] == container["ports"][0]["name"]
    assert service["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(container["ports"][0]["containerPort"]),
    }
    assert service["spec"]["sessionAffinity"] == "ClientIP"


def test_a_stop_has_more_time_than_it_needs() -> None:
    """The kubelet waits longer than draining takes."""
    assert pod()["terminationGracePeriodSeconds"] > 2 * DRAIN_SECONDS


@pytest.fixture(scope="module")
def installed(apiserver: ApiServer) -> ApiServer:
    """The API server with the operator's manifests and the collector's rights."""
    install(apiserver)
    for name in ("serviceaccount.yaml", "rbac.yaml"):
        apiserver.control_plane.apply("-f", str(OVERLAY / name))
    return apiserver


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        pytest.param("get modelrevisions.headgate.dev", True, id="read a revision"),
        pytest.param("get configmaps", True, id="read a profile"),
        pytest.param("list configmaps", False, id="look through all ConfigMaps"),
        pytest.param("get secrets", False, id="read a Secret"),
        pytest.param("patch modelrevisions.headgate.dev", False, id="change a revision"),
        pytest.param("get modeldeployments.headgate.dev", False, id="read what people want"),
    ],
)
def test_the_service_account_may(installed: ApiServer, question: str, answer: bool) -> None:
    """The API server itself answers what the ServiceAccount may do."""
    try:
        said = installed.kubectl("auth", "can-i", *question.split(), ACCOUNT, "-A")
    except KubectlError:
        said = "no"
    assert (said.strip() == "yes") is answer


@pytest.mark.apiserver
def test_the_pod_is_admitted_under_the_restricted_standard(installed: ApiServer) -> None:
    """The namespace enforces PodSecurity `restricted`, and the pod passes."""
    metadata = {"name": "headgate-collector-0", "namespace": "headgate-system"}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod()}
    said = installed.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(manifest))

    assert "created" in said


@pytest.mark.apiserver
def test_kustomize_builds_what_the_server_takes(installed: ApiServer) -> None:
    """The overlay is accepted whole: the operator, its kinds, and the collector."""
    said = installed.control_plane.apply("--dry-run=server", "-k", str(OVERLAY))

    for wanted in (
        "customresourcedefinition.apiextensions.k8s.io/modeldeployments.headgate.dev",
        "deployment.apps/headgate ",
        "deployment.apps/headgate-collector ",
        "service/headgate-collector ",
        "clusterrolebinding.rbac.authorization.k8s.io/headgate-collector ",
    ):
        assert wanted in said
