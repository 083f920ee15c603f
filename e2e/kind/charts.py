"""
KServe and Envoy Gateway as their own releases bring them, rendered for this cluster.

Owns what is changed of them: KServe runs in Standard mode with the Gateway API, and its webhooks
get a certificate of our own instead of cert-manager's. Both come as Go modules with the checksums
below, so that what is installed is what was looked at.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from kind.tools import Tools
from sandbox.builds import KSERVE, Module, download
from sandbox.kserve import RUNTIMES, render_configuration

Json = dict[str, Any]

ENVOY_GATEWAY = Module(
    "github.com/envoyproxy/gateway",
    "v1.9.1",
    "h1:vAVp6/AlBXJ1aOhp1mxL7fNEzVEfjADUguUhm2wzxQY=",
)
KSERVE_NAMESPACE, GATEWAY_NAMESPACE = "kserve", "envoy-gateway-system"
WEBHOOK_HOST = f"kserve-webhook-server-service.{KSERVE_NAMESPACE}.svc"
MODEL_IMAGE = "headgate-e2e/models:1"
"""Our model server, store and history; built here, loaded into the nodes."""

_WEBHOOK_SECRET = "kserve-webhook-server-cert"
_OF_CERT_MANAGER = "cert-manager.io"


def kserve_manifests(tools: Tools, folder: Path) -> list[Json]:
    """Return KServe's controller, with a certificate that is made in `folder`."""
    chart = download(KSERVE) / "charts" / "kserve-resources"
    text = tools.run("helm", "template", "kserve", str(chart), "--namespace", KSERVE_NAMESPACE)
    certificate, key = make_certificate(tools, folder)
    return render_kserve(read(text), certificate, key)


def kserve_crds(tools: Tools) -> str:
    """Return KServe's CRDs."""
    chart = download(KSERVE) / "charts" / "kserve-crd"
    return tools.run("helm", "template", "kserve-crd", str(chart))


def render_kserve(shipped: Iterable[Json], certificate: bytes, key: bytes) -> list[Json]:
    """Return KServe's manifests without cert-manager, in the mode that we need.

    `certificate` (PEM) is its own authority.
    """
    rendered = [
        _with_settings(_with_authority(manifest, certificate))
        for manifest in shipped
        if _OF_CERT_MANAGER not in manifest["apiVersion"]
    ]
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": _WEBHOOK_SECRET, "namespace": KSERVE_NAMESPACE},
        "data": {"tls.crt": _encoded(certificate), "tls.key": _encoded(key)},
    }
    return [secret, *rendered]


def _with_settings(manifest: Json) -> Json:
    is_configuration = manifest["metadata"]["name"] == "inferenceservice-config"
    if manifest["kind"] != "ConfigMap" or not is_configuration:
        return manifest
    return {**manifest, "data": render_configuration(manifest)["data"]}


def _with_authority(manifest: Json, certificate: bytes) -> Json:
    annotations = dict(manifest["metadata"].get("annotations") or {})
    annotations.pop("cert-manager.io/inject-ca-from", None)
    metadata = {**manifest["metadata"], "annotations": annotations}
    if not manifest["kind"].endswith("WebhookConfiguration"):
        return {**manifest, "metadata": metadata}
    webhooks = [
        {**one, "clientConfig": {**one["clientConfig"], "caBundle": _encoded(certificate)}}
        for one in manifest["webhooks"]
    ]
    return {**manifest, "metadata": metadata, "webhooks": webhooks}


def make_certificate(tools: Tools, folder: Path) -> tuple[bytes, bytes]:
    """Make a certificate for KServe's webhooks that signs itself, and its key."""
    certificate, key = folder / "webhook.crt", folder / "webhook.key"
    tools.run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
        *("-subj", "/CN=kserve-webhook", "-addext", f"subjectAltName=DNS:{WEBHOOK_HOST}"),
        *("-keyout", str(key), "-out", str(certificate)),
    )
    return certificate.read_bytes(), key.read_bytes()


def runtimes(tools: Tools) -> list[Json]:
    """Return KServe's storage container and its runtime, with our model server as the image."""
    config = download(KSERVE) / "config"
    shipped = [
        manifest
        for part in ("storagecontainers", "runtimes")
        for manifest in read(tools.run("kubectl", "kustomize", str(config / part)))
    ]
    return render_runtimes(shipped)


def render_runtimes(shipped: Iterable[Json]) -> list[Json]:
    """Return what is used of KServe's runtimes; our server does what its sklearnserver does."""
    rendered = []
    for manifest in shipped:
        if manifest["kind"] == "ClusterStorageContainer":
            rendered.append(manifest)
        elif manifest["metadata"]["name"] in RUNTIMES:
            containers = [_as_ours(one) for one in manifest["spec"]["containers"]]
            rendered.append({**manifest, "spec": {**manifest["spec"], "containers": containers}})
    return rendered


def _as_ours(container: Json) -> Json:
    return {
        **container,
        "image": MODEL_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "sandbox.modelserver"],
        "env": [*container.get("env", ()), {"name": "SANDBOX_LISTEN_ON", "value": "0.0.0.0"}],
    }


def envoy_gateway(tools: Tools, folder: Path) -> str:
    """Return Envoy Gateway with its CRDs and those of the Gateway API, as its chart says."""
    chart = folder / "gateway-helm"
    source = download(ENVOY_GATEWAY) / "charts" / "gateway-helm"
    # Go's module cache is read-only, and the chart's values are a template in the sources.
    shutil.rmtree(chart, ignore_errors=True)
    shutil.copytree(source, chart, copy_function=shutil.copyfile)
    for place in (chart, *(path for path in chart.rglob("*") if path.is_dir())):
        place.chmod(0o755)
    values = (chart / "values.tmpl.yaml").read_text()
    (chart / "values.yaml").write_text(fill_values(values))
    return tools.run(
        *("helm", "template", "eg", str(chart), "--namespace", GATEWAY_NAMESPACE),
        "--include-crds",
    )


def fill_values(template: str) -> str:
    """Fill in what Envoy Gateway's release fills in: its own image, at this version."""
    image = f"envoyproxy/gateway:{ENVOY_GATEWAY.version}"
    values = {"GatewayImage": image, "GatewayImagePullPolicy": "IfNotPresent"}
    for name, value in values.items():
        template = template.replace(f"${{{name}}}", value)
    return template


def read(text: str) -> list[Json]:
    """Read manifests, leaving out what is empty."""
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def write(manifests: Sequence[Json]) -> str:
    """Write manifests as kubectl reads them."""
    return yaml.safe_dump_all(list(manifests))


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
