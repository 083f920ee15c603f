"""Helm installs, upgrades, rolls back and uninstalls on a real API server; nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.api.objects import deployment
from tests.chart.conftest import forget_kinds
from tests.chart.rendering import CHART, NAMESPACE, ROOT, HelmError, helm, kustomize

from sandbox.controlplane import KubectlError
from sandbox.processes import wait_until
from scenarios.charts import OLDER, make_older

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

PATIENCE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Cluster:
    """Helm and kubectl against the API server of these tests."""

    server: ApiServer

    def helm(self, *arguments: str, values: dict[str, Any] | None = None) -> str:
        """Run Helm on the release `headgate`."""
        options = ("--kubeconfig", str(self.server.kubeconfig), "--namespace", NAMESPACE)
        if values is None:
            return helm(*arguments, *options)
        return helm(*arguments, *options, "--values", "-", stdin=json.dumps(values))

    def install(self, chart: Path = CHART, **values: Any) -> None:
        """Install or upgrade, and wait until our kinds are served."""
        self.helm("upgrade", "--install", "headgate", str(chart), values=values)
        self.server.control_plane.wait_until_established()

    def crd_fields(self) -> set[str]:
        """Fields of a ModelDeployment's spec that the API server keeps."""
        path = "{.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties}"
        name = "modeldeployments.headgate.dev"
        return set(json.loads(self.server.kubectl("get", "crd", name, "-o", f"jsonpath={path}")))

    def crd_version(self) -> str:
        """Which Headgate the stored kind is of."""
        path = "{.metadata.annotations.headgate\\.dev/version}"
        name = "modeldeployments.headgate.dev"
        return self.server.kubectl("get", "crd", name, "-o", f"jsonpath={path}")

    def image(self) -> str:
        """Which image the operator would run."""
        path = "{.spec.template.spec.containers[0].image}"
        where = ("deployment", "headgate", "-n", NAMESPACE)
        return self.server.kubectl("get", *where, "-o", f"jsonpath={path}")

    def history(self, name: str) -> str:
        """What is stored in `spec.history` of a ModelDeployment."""
        where = ("modeldeployment", name, "-n", "models")
        return self.server.kubectl("get", *where, "-o", "jsonpath={.spec.history}")

    def create(self, name: str, history: int) -> None:
        """Create a ModelDeployment that says `spec.history`."""
        manifest = deployment({"metadata.name": name, "spec.history": history})
        self.server.kubectl("create", "-f", "-", stdin=json.dumps(manifest))

    def touch(self, name: str) -> None:
        """Write an object, as any later commit or status does: what is unknown is forgotten."""
        where = ("modeldeployment", name, "-n", "models")
        self.server.kubectl("label", *where, "touched=yes", "--overwrite")

    def guards_crds(self) -> bool:
        """Say whether the policy that keeps newer CRDs has begun to act: it is tried."""
        change = {"metadata": {"annotations": {"headgate.dev/version": OLDER}}}
        patch = ("patch", "crd", "modeldeployments.headgate.dev", "--dry-run=server", "-o", "json")
        said = json.loads(self.server.kubectl(*patch, "--type=merge", "-p", json.dumps(change)))
        return bool(said["metadata"]["annotations"]["headgate.dev/version"] != OLDER)


@pytest.fixture
def cluster(bare: ApiServer) -> Iterator[Cluster]:
    """Give a cluster without Headgate, and take away all that a test leaves."""
    yield Cluster(bare)
    cluster = Cluster(bare)
    if "headgate" in cluster.helm("list", "--short"):
        cluster.helm("uninstall", "headgate")
    left = [each for each in _base() if each["kind"] != "CustomResourceDefinition"]
    bare.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(left))
    bare.kubectl("delete", "--ignore-not-found", "inferenceservices", "-n", "models", "--all")
    forget_kinds(bare)


def _base() -> list[dict[str, Any]]:
    """Return manifests/base without the namespace, which is here before the tests."""
    rendered = yaml.safe_load_all(kustomize(ROOT / "manifests" / "base"))
    return [each for each in rendered if each["kind"] != "Namespace"]


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a chart of the version before, with a kind that knows one field less."""
    return make_older(tmp_path_factory.mktemp("older"))


def test_an_upgrade_brings_the_new_fields_and_a_rollback_keeps_them(
    cluster: Cluster, older: Path
) -> None:
    """CRDs go forward with the chart and not back, so newer objects lose nothing; the rest does."""
    cluster.install(older)
    assert "history" not in cluster.crd_fields()
    assert cluster.crd_version() == OLDER
    assert cluster.image() == f"headgate/headgate:{OLDER}"

    cluster.install()
    assert "history" in cluster.crd_fields()
    assert cluster.crd_version() == "0.1.0"
    cluster.create("kept", history=9)
    assert wait_until(cluster.guards_crds, PATIENCE_SECONDS)

    cluster.helm("rollback", "headgate", "1")
    assert cluster.image() == f"headgate/headgate:{OLDER}"
    assert "history" in cluster.crd_fields()
    assert cluster.crd_version() == "0.1.0"
    cluster.touch("kept")
    assert cluster.history("kept") == "9"

    cluster.install()
    assert cluster.image() == "headgate/headgate:0.1.0"
    assert cluster.history("kept") == "9"

    # Where no such policy is served, the older chart comes without its kinds.
    cluster.install(older, crds={"enabled": False})
    assert cluster.image() == f"headgate/headgate:{OLDER}"
    assert cluster.crd_version() == "0.1.0"
    assert cluster.history("kept") == "9"


def test_without_the_policy_a_rollback_takes_fields_away(cluster: Cluster, older: Path) -> None:
    """What `crds.keepNewer` is for: the older kind forgets what it does not know at a write."""
    without = {"crds": {"keepNewer": False}}
    cluster.install(older, **without)
    cluster.install(**without)
    cluster.create("lost", history=9)

    cluster.helm("rollback", "headgate", "1")
    assert "history" not in cluster.crd_fields()
    cluster.touch("lost")
    cluster.install(**without)
    assert cluster.history("lost") != "9"


def test_going_back_on_purpose_takes_two_steps(cluster: Cluster, older: Path) -> None:
    """Once the policy is off, an older chart may bring back its kinds."""
    cluster.install()
    assert wait_until(cluster.guards_crds, PATIENCE_SECONDS)
    cluster.install(crds={"keepNewer": False})
    assert wait_until(lambda: not cluster.guards_crds(), PATIENCE_SECONDS)

    cluster.install(older, crds={"keepNewer": False})

    assert cluster.crd_version() == OLDER
    assert "history" not in cluster.crd_fields()


def test_uninstalling_leaves_kinds_objects_and_serving_models(cluster: Cluster) -> None:
    """What goes is the operator; models serve on, and installing again finds everything."""
    cluster.install(collector={"enabled": True}, replicas=2)
    cluster.create("fraud", history=7)
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "fraud-0f0f0f0f", "namespace": "models"},
    }
    cluster.server.kubectl("create", "-f", "-", stdin=json.dumps(service))
    before = cluster.server.kubectl("get", "inferenceservices", "-n", "models", "-o", "yaml")

    said = cluster.helm("uninstall", "headgate")

    assert "modeldeployments.headgate.dev" in said  # Helm says what it kept
    assert cluster.history("fraud") == "7"
    after = cluster.server.kubectl("get", "inferenceservices", "-n", "models", "-o", "yaml")
    assert after == before
    left = cluster.server.kubectl(
        *("get", "-A", "-l", "app.kubernetes.io/instance=headgate", "-o", "name"),
        "deployments,services,serviceaccounts,poddisruptionbudgets,roles,rolebindings,"
        "clusterroles,clusterrolebindings,mutatingadmissionpolicies",
    )
    assert left == ""

    cluster.install()
    assert cluster.history("fraud") == "7"


def test_helm_takes_over_what_kubectl_installed(cluster: Cluster) -> None:
    """Who began with kustomize can go on with Helm; without being asked for, nothing is taken."""
    cluster.server.control_plane.apply("-f", "-", stdin=yaml.safe_dump_all(_base()))
    cluster.server.control_plane.wait_until_established()
    cluster.create("mine", history=3)

    with pytest.raises(HelmError, match="cannot be imported into the current release"):
        cluster.install()
    cluster.helm("install", "headgate", str(CHART), "--take-ownership", "--force-conflicts")

    assert cluster.history("mine") == "3"
    assert "deployed" in cluster.helm("status", "headgate")


def test_a_wrong_value_leaves_the_release_as_it_was(cluster: Cluster) -> None:
    """An upgrade that is refused by the schema changes nothing."""
    cluster.install()
    with pytest.raises(HelmError, match="additional properties 'replica' not allowed"):
        cluster.install(replica=2)

    releases = json.loads(cluster.helm("list", "--output", "json"))
    assert [(each["revision"], each["status"]) for each in releases] == [("1", "deployed")]


def test_some_namespaces_are_served_without_a_cluster_role(cluster: Cluster) -> None:
    """The API server itself says what the ServiceAccount may do, and where."""
    cluster.install(namespaces=["models"], gatewayNamespaces=["gateways"])
    account = f"--as=system:serviceaccount:{NAMESPACE}:headgate"

    def may(question: str, *where: str) -> bool:
        try:
            return cluster.server.kubectl("auth", "can-i", *question.split(), account, *where) == (
                "yes\n"
            )
        except KubectlError:
            return False

    assert may("list modeldeployments.headgate.dev", "-n", "models")
    assert may("get gateways.gateway.networking.k8s.io", "-n", "gateways")
    assert not may("list modeldeployments.headgate.dev", "-A")
    assert not may("list modeldeployments.headgate.dev", "-n", "team-a")
    assert not may("list httproutes.gateway.networking.k8s.io", "-n", "gateways")
    roles = cluster.server.kubectl(
        "get", "clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/name=headgate"
    )
    assert roles == ""
