"""
The cluster, step by step: made, filled, waited for. Every step may be done again.

Owns the order. Must not know what is in a manifest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kind import charts, servers
from kind.tools import Tools
from sandbox.builds import Report
from sandbox.paths import ROOT, world_directory

NAME = "headgate-e2e"
GATEWAY_URL = "http://127.0.0.1:18080"
OPERATOR_NAMESPACE = "headgate-system"
_MANIFESTS = Path(__file__).parent / "manifests"
_OPERATOR_IMAGE = "headgate/headgate:e2e"  # as in manifests/values.yaml


def kubeconfig() -> Path:
    """Return where the cluster's login is kept: apart from everything of kubectl's own."""
    return world_directory("kind") / "kubeconfig"


def up(tools: Tools, report: Report) -> None:
    """Bring the cluster up; one that is up is brought up to date. Raises ToolFailed."""
    _make_cluster(tools, report)
    _load_images(tools, report)
    with _folder() as folder:
        report("Envoy Gateway")
        tools.apply(charts.envoy_gateway(tools, folder))
        tools.wait_rolled_out(charts.GATEWAY_NAMESPACE, "envoy-gateway")
        tools.apply(_text("gateway.yaml"))
        report("KServe")
        tools.apply(charts.kserve_crds(tools))
        _wait_established(tools)
        tools.apply(_namespace(charts.KSERVE_NAMESPACE))
        tools.apply(charts.write(charts.kserve_manifests(tools, folder)))
    tools.wait_rolled_out(charts.KSERVE_NAMESPACE, "kserve-controller-manager")
    tools.apply(charts.write(charts.runtimes(tools)))
    report("Prometheus and the model store")
    tools.apply(_text("prometheus.yaml"))
    tools.apply(charts.write(servers.render_store()))
    tools.wait_rolled_out("monitoring", "prometheus")
    tools.wait_rolled_out(*servers.STORE)
    report("Headgate, by its chart")
    tools.run(
        *("helm", "upgrade", "--install", "headgate", str(ROOT / "charts" / "headgate")),
        *("--namespace", OPERATOR_NAMESPACE, "--create-namespace"),
        *("--values", str(_MANIFESTS / "values.yaml"), "--wait", "--timeout", "5m"),
    )


def down(tools: Tools) -> None:
    """Take the cluster away; one that is not there is no failure."""
    tools.run(tools.kind, "delete", "cluster", "--name", NAME)


def _make_cluster(tools: Tools, report: Report) -> None:
    if NAME in tools.run(tools.kind, "get", "clusters").split():
        return
    report("the cluster (pulls its node image once)")
    tools.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
    config = _MANIFESTS / "cluster.yaml"
    tools.run(
        *(tools.kind, "create", "cluster", "--name", NAME, "--config", str(config)),
        *("--kubeconfig", str(tools.kubeconfig), "--wait", "180s"),
    )


def _load_images(tools: Tools, report: Report) -> None:
    dockerfile = Path(__file__).parent / "Dockerfile"
    report("the images of the operator and of the models")
    tools.run(
        *(tools.engine, "build", "--target", "headgate", "--tag", _OPERATOR_IMAGE, str(ROOT)),
    )
    tools.run(
        *(tools.engine, "build", "--file", str(dockerfile), "--tag", charts.MODEL_IMAGE, str(ROOT))
    )
    for image in (_OPERATOR_IMAGE, charts.MODEL_IMAGE):
        with _folder() as folder:
            archive = folder / "image.tar"
            tools.run(tools.engine, "save", "--output", str(archive), image)
            tools.run(tools.kind, "load", "image-archive", str(archive), "--name", NAME)


def _wait_established(tools: Tools) -> None:
    crd = "crd/inferenceservices.serving.kserve.io"
    tools.run("kubectl", "wait", "--for=condition=Established", crd, "--timeout=60s")


def _namespace(name: str) -> str:
    return charts.write([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])


def _text(manifest: str) -> str:
    return (_MANIFESTS / manifest).read_text()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="headgate-kind-") as folder:
        yield Path(folder)
