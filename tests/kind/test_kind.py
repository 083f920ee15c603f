"""The cluster in containers, as far as it can be told without one: choice, engine, manifests."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.outcomes import Skipped
from tests.apiserver import ApiServer

from kind import charts, install, servers
from kind.engine import EngineMissing, find_engine
from kind.tools import ToolFailed, Tools
from sandbox.builds import PROMETHEUS
from sandbox.modelstore import storage_uri
from sandbox.paths import ROOT
from scenarios.choice import BadChoice, Existing, choose
from scenarios.existing import ExistingFaults, ExistingWorlds, render_operator_login

FOLDER = ROOT / "e2e" / "kind"
MANIFESTS = FOLDER / "manifests"


def program(folder: Path, name: str, script: str) -> None:
    """Put a program on the PATH that a test uses."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


# --- which engine --------------------------------------------------------------------------------

NO_DAEMON = "echo Client: ok; echo 'Cannot connect to the Docker daemon' >&2; exit 1"


@pytest.mark.parametrize(
    ("programs", "environment", "expected"),
    [
        pytest.param({"docker": "exit 0"}, {}, "docker", id="docker"),
        pytest.param({"podman": "exit 0"}, {}, "podman", id="only podman"),
        pytest.param({"docker": NO_DAEMON, "podman": "exit 0"}, {}, "podman", id="no daemon"),
        pytest.param(
            {"docker": "exit 0", "podman": "exit 0"},
            {"KIND_EXPERIMENTAL_PROVIDER": "podman"},
            "podman",
            id="the one that is chosen",
        ),
    ],
)
def test_the_first_engine_that_answers_is_used(
    programs: Mapping[str, str],
    environment: Mapping[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Claim: a client without a daemon is no engine, and a choice is kept."""
    for name, script in programs.items():
        program(tmp_path, name, script)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_engine(environment) == expected


@pytest.mark.parametrize(
    ("programs", "environment", "expected"),
    [
        pytest.param(
            {"docker": NO_DAEMON},
            {},
            "docker: Cannot connect to the Docker daemon; podman: not on PATH; nerdctl: not on",
            id="a client without a daemon",
        ),
        pytest.param(
            {"docker": "exit 0"},
            {"KIND_EXPERIMENTAL_PROVIDER": "podman"},
            "podman: not on PATH",
            id="a choice that is not there is not replaced",
        ),
        pytest.param(
            {"docker": "exit 7"}, {}, "docker: it failed without a word", id="no words at all"
        ),
    ],
)
def test_without_an_engine_it_is_said_what_was_tried(
    programs: Mapping[str, str],
    environment: Mapping[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Claim: the message names each one with its problem, and the way that needs none."""
    for name, script in programs.items():
        program(tmp_path, name, script)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(EngineMissing) as caught:
        find_engine(environment)

    assert expected in str(caught.value)
    assert str(caught.value).endswith("make e2e CLUSTER=sandbox")


@pytest.mark.parametrize("verb", ["up", "down", "check"])
def test_without_an_engine_nothing_is_begun(verb: str, tmp_path: Path) -> None:
    """Claim: one line on standard error, exit code 3, and no other program is called."""
    program(tmp_path, "docker", NO_DAEMON)
    for name in ("kind", "kubectl", "helm", "openssl", "go"):
        program(tmp_path, name, f"touch {tmp_path}/called-{name}")
    environment = {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT / "e2e"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "kind", verb],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("kind: kind needs a container engine, and none answers here: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.glob("called-*")) == []


def test_a_program_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    """Claim: which command, its exit code, and what it said."""
    program(tmp_path, "helm", "echo values are wrong >&2; exit 4")
    tools = Tools("kind", "docker", tmp_path / "kubeconfig")

    with pytest.raises(ToolFailed, match=r"helm template x ended with 4:\nvalues are wrong"):
        tools.run(str(tmp_path / "helm"), "template", "x")
    with pytest.raises(ToolFailed, match="No such file"):
        tools.run(str(tmp_path / "gone"))


# --- which cluster -------------------------------------------------------------------------------


def kubeconfig(folder: Path) -> Path:
    """A file that is there."""
    file = folder / "kubeconfig"
    file.touch()
    return file


def test_the_embedded_world_needs_nothing(tmp_path: Path) -> None:
    """Claim: the default makes its own worlds, whatever the environment says."""
    kind = Existing(tmp_path / "none", "http://127.0.0.1:1")

    assert choose("sandbox", {"HEADGATE_E2E_GATEWAY": "nonsense"}, kind) is None


def test_clusters_that_are_up_are_found(tmp_path: Path) -> None:
    """Claim: kind's is where it was made, and another one is where the environment says."""
    kind = Existing(kubeconfig(tmp_path), install.GATEWAY_URL)
    given = {
        "HEADGATE_E2E_KUBECONFIG": str(kind.kubeconfig),
        "HEADGATE_E2E_GATEWAY": "http://gateway.example.com:8080/",
    }

    assert choose("kind", {}, kind) == kind
    assert choose("existing", given, kind) == Existing(
        kind.kubeconfig, "http://gateway.example.com:8080"
    )


@pytest.mark.parametrize(
    ("name", "environment", "expected"),
    [
        pytest.param(
            "minikube",
            {},
            "wanted a cluster of sandbox, kind, existing, found 'minikube'",
            id="a name that there is not",
        ),
        pytest.param("kind", {}, "it is not up: python -m kind up", id="kind that is not up"),
        pytest.param(
            "existing",
            {},
            "wanted HEADGATE_E2E_KUBECONFIG and HEADGATE_E2E_GATEWAY in the environment",
            id="nothing said of an existing one",
        ),
        pytest.param(
            "existing",
            {"HEADGATE_E2E_KUBECONFIG": "/gone", "HEADGATE_E2E_GATEWAY": "10.0.0.1"},
            "HEADGATE_E2E_GATEWAY: wanted http://HOST[:PORT], found '10.0.0.1'",
            id="an address without a scheme",
        ),
        pytest.param(
            "existing",
            {"HEADGATE_E2E_KUBECONFIG": "/gone", "HEADGATE_E2E_GATEWAY": "http://10.0.0.1"},
            "/gone: no such file",
            id="a kubeconfig that is not there",
        ),
    ],
)
def test_a_cluster_that_cannot_be_chosen_is_said(
    name: str, environment: Mapping[str, str], expected: str, tmp_path: Path
) -> None:
    """Claim: before anything is started, with what was wanted."""
    with pytest.raises(BadChoice, match=re.escape(expected)):
        choose(name, environment, Existing(tmp_path / "none", install.GATEWAY_URL))


# --- what is installed ---------------------------------------------------------------------------

SHIPPED: list[dict[str, Any]] = [
    {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "self"}},
    {"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "serving"}},
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "inferenceservice-config", "namespace": "kserve"},
        "data": {
            "_example": "…",
            "deploy": '{"defaultDeploymentMode": "Knative"}',
            "ingress": '{"enableGatewayApi": false, "urlScheme": "http"}',
        },
    },
    {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {
            "name": "inferenceservice.serving.kserve.io",
            "annotations": {"cert-manager.io/inject-ca-from": "kserve/serving-cert"},
        },
        "webhooks": [{"name": "one", "clientConfig": {"service": {"name": "s"}}}],
    },
]


def test_kserve_runs_without_cert_manager_and_in_our_mode() -> None:
    """Claim: our certificate is its own authority, and nothing of cert-manager is left."""
    rendered = charts.render_kserve(SHIPPED, b"certificate", b"key")
    found = {manifest["kind"]: manifest for manifest in rendered}

    assert set(found) == {"Secret", "ConfigMap", "MutatingWebhookConfiguration"}
    assert base64.b64decode(found["Secret"]["data"]["tls.key"]) == b"key"
    webhook = found["MutatingWebhookConfiguration"]
    assert webhook["metadata"]["annotations"] == {}
    bundle = webhook["webhooks"][0]["clientConfig"]["caBundle"]
    assert base64.b64decode(bundle) == b"certificate"
    assert webhook["webhooks"][0]["clientConfig"]["service"] == {"name": "s"}
    settings = found["ConfigMap"]["data"]
    assert json.loads(settings["deploy"]) == {"defaultDeploymentMode": "Standard"}
    assert json.loads(settings["ingress"])["kserveIngressGateway"] == "gateways/public"
    assert json.loads(settings["ingress"])["urlScheme"] == "http"


def test_the_webhooks_certificate_is_for_their_service(tmp_path: Path) -> None:
    """Claim: certificate and key belong together, and the API server's name is in it."""
    tools = Tools("kind", "docker", tmp_path / "kubeconfig")

    certificate, key = charts.make_certificate(tools, tmp_path)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "webhook.crt", tmp_path / "webhook.key")
    assert b"PRIVATE KEY" in key
    assert b"PRIVATE KEY" not in certificate
    shown = tools.run("openssl", "x509", "-noout", "-text", "-in", str(tmp_path / "webhook.crt"))
    assert f"DNS:{charts.WEBHOOK_HOST}" in shown


def test_models_are_served_by_our_image() -> None:
    """Claim: the runtime keeps its arguments, and listens where a kubelet can ask it."""
    runtime = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": "kserve-sklearnserver"},
        "spec": {"containers": [{"name": "kserve-container", "args": ["--model_dir=/mnt/models"]}]},
    }
    other = {**runtime, "metadata": {"name": "kserve-tritonserver"}}

    rendered = charts.render_runtimes([runtime, other])

    assert len(rendered) == 1
    container = rendered[0]["spec"]["containers"][0]
    assert container["image"] == charts.MODEL_IMAGE
    assert container["args"] == ["--model_dir=/mnt/models"]
    assert container["env"] == [{"name": "SANDBOX_LISTEN_ON", "value": "0.0.0.0"}]


def test_envoy_gateway_gets_its_own_version() -> None:
    """Claim: what its release fills in is filled in, and nothing is left over."""
    values = charts.fill_values("image: ${GatewayImage}\npullPolicy: ${GatewayImagePullPolicy}\n")

    assert values == f"image: envoyproxy/gateway:{charts.ENVOY_GATEWAY.version}\n" + (
        "pullPolicy: IfNotPresent\n"
    )


def test_servers_have_the_addresses_that_the_stories_name() -> None:
    """Claim: a storageUri of the demo leads to the store here too."""
    service = next(m for m in servers.render_store() if m["kind"] == "Service")
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"

    assert storage_uri("fraud", "1") == f"http://{host}/fraud/1/model.joblib"
    assert service["spec"]["ports"][0]["port"] == 80


def test_a_part_listens_where_it_is_told() -> None:
    """Claim: loopback unless a container says otherwise."""
    program = "import sandbox.store, sandbox.history; print(sandbox.store.LISTEN_ON)"
    told = {**os.environ, "PYTHONPATH": str(ROOT / "e2e")}
    told.pop("SANDBOX_LISTEN_ON", None)
    found = [
        subprocess.run(
            [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
        ).stdout.strip()
        for env in (told, {**told, "SANDBOX_LISTEN_ON": "0.0.0.0"})
    ]

    assert found == ["127.0.0.1", "0.0.0.0"]


def test_what_must_be_the_same_in_two_files_is() -> None:
    """Claim: ports, images and versions that are written twice agree."""
    mapping = yaml.safe_load((MANIFESTS / "cluster.yaml").read_text())["nodes"][0]
    port = mapping["extraPortMappings"][0]
    gateway = list(yaml.safe_load_all((MANIFESTS / "gateway.yaml").read_text()))
    proxy = next(m for m in gateway if m["kind"] == "EnvoyProxy")
    service = proxy["spec"]["provider"]["kubernetes"]["envoyService"]
    prometheus = (MANIFESTS / "prometheus.yaml").read_text()
    image = re.search(r"image: prom/prometheus:v(\d+)\.(\d+)\.(\d+)", prometheus)
    values = yaml.safe_load((MANIFESTS / "values.yaml").read_text())

    assert f"http://{port['listenAddress']}:{port['hostPort']}" == install.GATEWAY_URL
    assert service["patch"]["value"]["spec"]["ports"][0]["nodePort"] == port["containerPort"]
    assert image is not None
    # Prometheus calls v3.15.0 v0.315.0 as a Go module.
    assert PROMETHEUS.version == f"v0.{image[1]}{int(image[2]):02d}.{image[3]}"
    assert values["image"] == {"repository": "headgate/headgate", "tag": "e2e"}
    assert install._OPERATOR_IMAGE == "headgate/headgate:e2e"


def test_the_images_sources_are_there() -> None:
    """Claim: what the Dockerfile copies exists and is not ignored."""
    copied = re.findall(r"^COPY (\S+) ", (FOLDER / "Dockerfile").read_text(), re.MULTILINE)
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().split()

    assert copied == ["requirements/model-server.txt", "e2e/sandbox"]
    for path in copied:
        assert (ROOT / path).exists()
        assert f"!{path}" in ignored


@pytest.mark.apiserver
def test_a_real_api_server_takes_what_we_wrote(apiserver: ApiServer) -> None:
    """Claim: no field of our own manifests is unknown or malformed."""
    ours = charts.write([*servers.render_store(), *servers.render_history()])
    every = f"{(MANIFESTS / 'prometheus.yaml').read_text()}---\n{ours}"
    for manifest in charts.read(every):
        if manifest["kind"] == "Namespace":
            apiserver.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(manifest))
    said = apiserver.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"),
        stdin=every,
    )

    assert len(said.splitlines()) == len(charts.read(every))


# --- breaking it ---------------------------------------------------------------------------------


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a kubectl on the PATH that writes down what it is asked, and answers from a file."""
    script = """
cd FOLDER; echo "$@" >> asked
case "$*" in
*"get pods"*) if [ -e deleted ]; then cat after; else cat before; fi;;
*"delete pod"*) touch deleted;;
*"-f -"*) cat >> sent;;
esac"""
    program(tmp_path, "kubectl", script.replace("FOLDER", str(tmp_path)))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def pod(uid: str) -> str:
    """The answer with one ready pod."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    return json.dumps({"items": [{"metadata": {"uid": uid}, "status": ready}]})


def test_a_killed_operator_is_another_pod(kubectl: Path) -> None:
    """Claim: it is over only when a pod is ready that was not there before."""
    (kubectl / "before").write_text(pod("one"))
    (kubectl / "after").write_text(pod("two"))

    ExistingFaults(kubectl / "kubeconfig").kill_operator()

    asked = (kubectl / "asked").read_text()
    assert "delete pod -n headgate-system -l app.kubernetes.io/component=operator" in asked
    assert "--grace-period=0 --force" in asked


def test_prometheus_answers_again_whatever_happened(kubectl: Path) -> None:
    """Claim: the Service leads nowhere in the block, and back after it, a failure included."""
    with (
        pytest.raises(ZeroDivisionError),
        ExistingFaults(kubectl / "kubeconfig").prometheus_down(),
    ):
        _ = 1 // 0

    patches = re.findall(r'"app": "(\w+)"', (kubectl / "asked").read_text())
    assert patches == ["nobody", "prometheus"]


def test_the_history_fails_its_share_and_then_none(kubectl: Path) -> None:
    """Claim: it is told through the API server, so no port of this machine is needed."""
    with ExistingFaults(kubectl / "kubeconfig").dependency_failing(0.3):
        pass

    path = "/api/v1/namespaces/history/services/cards:80/proxy/failing"
    assert (kubectl / "asked").read_text().count(f"replace --raw {path}") == 2
    assert (kubectl / "sent").read_text() == "0.30.0"


def test_what_only_a_world_can_break_is_skipped(tmp_path: Path) -> None:
    """Claim: a scenario is skipped with the reason, never passed by doing nothing."""
    faults = ExistingFaults(tmp_path / "kubeconfig")
    worlds = ExistingWorlds(Existing(tmp_path / "kubeconfig", "http://127.0.0.1"))

    with pytest.raises(Skipped, match="only the embedded world"), faults.api_server_down():
        pass
    with pytest.raises(Skipped, match="outage wants a cluster of its own"):
        worlds.up("outage")


def test_the_operators_login_holds_its_token_and_nothing_else() -> None:
    """Claim: no certificate of the administrator goes into it."""
    administrator = {
        "clusters": [{"name": "kind-headgate-e2e", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "admin", "user": {"client-key-data": "secret"}}],
    }

    login = render_operator_login(administrator, "token")

    assert login["users"] == [{"name": "headgate", "user": {"token": "token"}}]
    assert login["contexts"][0]["context"]["cluster"] == "kind-headgate-e2e"
    assert "secret" not in json.dumps(login)


# --- the workflow --------------------------------------------------------------------------------


def test_the_workflow_runs_what_ci_runs_and_the_kind_job() -> None:
    """Claim: both jobs are there, each with a limit, on the least rights."""
    text = (ROOT / ".github" / "workflows" / "ci.yaml").read_text()
    workflow = yaml.safe_load(text)
    steps = {
        name: [step.get("run", "") for step in job["steps"]]
        for name, job in workflow["jobs"].items()
    }

    assert any(".ci/run" in run for run in steps["all"])
    assert any("make e2e CLUSTER=kind" in run for run in steps["kind"])
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())
    assert re.findall(r"uses: \S+@(\S+)", text)
    assert all(re.fullmatch(r"v\d+(\.\d+)*|[0-9a-f]{40}", v) for v in re.findall(r"@(\S+)", text))
