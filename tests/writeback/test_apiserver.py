"""The write-back against a real API server, logged in with the rights that manifests/ ships."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml
from tests.adapters.githttp import LOGIN, GitHttp
from tests.adapters.gitserver import BareRepository
from tests.adapters.servers import serving
from tests.api import objects
from tests.core.test_writeback_wanted import rollback
from tests.runtime.cluster import install, kubeconfig_of
from tests.writeback.story import Receiver, TestBackends

from headgate.adapters.clock import SystemClock
from headgate.adapters.hosts import Hosts
from headgate.adapters.kubernetes import KubernetesCluster, find_login
from headgate.adapters.outbound import Outbound
from headgate.adapters.webhook import HttpWebhooks
from headgate.core.revision import record_digest
from headgate.core.writeback.reasons import State
from headgate.ports import Conflict, Refused
from headgate.writeback.backends import RealBackends
from headgate.writeback.ledger import Entry, Ledger
from headgate.writeback.policies import judge
from headgate.writeback.service import Parts, run
from headgate.writeback.settings import SETTINGS, Settings
from headgate.writeback.telemetry import Telemetry
from sandbox.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "manifests" / "overlays" / "writeback"
NAMESPACE, OWN = "written", "headgate-system"
PATH = "teams/written/fraud.yaml"
PATIENCE_SECONDS = 120.0
ACCOUNT = f"{OWN}/headgate-writeback"


def rules() -> dict[tuple[str, str], set[str]]:
    """What the roles grant: verbs by group and resource."""
    granted: dict[tuple[str, str], set[str]] = {}
    for role in yaml.safe_load_all((OVERLAY / "rbac.yaml").read_text()):
        for rule in role.get("rules", ()):
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    granted.setdefault((group, resource), set()).update(rule["verbs"])
    return granted


def pod() -> dict[str, Any]:
    """The pod of the Deployment."""
    manifest = yaml.safe_load((OVERLAY / "deployment.yaml").read_text())
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def test_the_pod_sets_only_settings_that_exist() -> None:
    """No variable but settings, and none from a kubelet that names a Service as we do settings."""
    [container] = pod()["containers"]

    assert {each["name"] for each in container["env"]} <= {each.variable for each in SETTINGS}
    assert pod()["enableServiceLinks"] is False


def test_secrets_are_read_by_name_and_in_one_namespace() -> None:
    """A rule for Secrets without names, or beyond our own namespace, is not there."""
    found = [
        (role["kind"], role["metadata"].get("namespace"), rule.get("resourceNames"))
        for role in yaml.safe_load_all((OVERLAY / "rbac.yaml").read_text())
        for rule in role.get("rules", ())
        if "secrets" in rule["resources"]
    ]
    assert found == [("Role", OWN, ["headgate-writeback"])]


@dataclass
class Real:
    """The API server as administrator, Git, a receiver, and the write-back's own login."""

    server: ApiServer
    git: BareRepository
    receiver: Receiver
    hook: str
    kubeconfig: Path
    calls: set[tuple[str, str]]

    def put(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Write an object and its status; returns it as it is stored."""
        text = json.dumps({k: v for k, v in manifest.items() if k != "status"})
        self.server.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
        if "status" in manifest:
            change = json.dumps({"status": manifest["status"]})
            self.server.kubectl(
                *("patch", manifest["kind"], manifest["metadata"]["name"], "-n", NAMESPACE),
                *("--subresource=status", "--type=merge", "-p", change),
            )
        return self.get(manifest["kind"], manifest["metadata"]["name"])

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
        """Read an object."""
        shown = ("-o", "json", "--show-managed-fields")
        found = self.server.kubectl("get", kind, name, "-n", namespace, *shown)
        return dict(json.loads(found))

    def cluster(self) -> KubernetesCluster:
        """Log in as the write-back."""

        def called(verb: str, resource: str, code: int) -> None:
            self.calls.add((verb, resource))

        login = find_login(str(self.kubeconfig))
        return KubernetesCluster(login, on_call=called, field_manager="headgate-writeback")


@pytest.fixture
async def real(apiserver: ApiServer, tmp_path: Path) -> AsyncIterator[Real]:
    """Everything installed, and one rollback that nobody has written yet."""
    install(apiserver)
    for name in ("serviceaccount.yaml", "rbac.yaml"):
        apiserver.control_plane.apply("-f", str(OVERLAY / name))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    apiserver.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    receiver = Receiver()
    config = kubeconfig_of(apiserver, ACCOUNT, apiserver.url, tmp_path / "kubeconfig")
    async with serving(receiver.handle) as hook:
        yield Real(apiserver, BareRepository(tmp_path), receiver, hook, config, set())


def roll_back(real: Real, name: str = "fraud") -> str:
    """Write what the operator leaves after a rollback; returns the record's uid."""
    place = {"metadata.namespace": NAMESPACE, "metadata.name": name}
    wanted = objects.deployment(place)
    real.git.push("main", f"teams/{NAMESPACE}/{name}.yaml", yaml.safe_dump(wanted).encode(), "7")
    found = real.put(wanted)
    for digits, version in (("01234567", "7"), ("89abcdef", "6")):
        real.put(
            objects.revision(
                {
                    "metadata.namespace": NAMESPACE,
                    "metadata.name": f"{name}-{digits}",
                    "spec.deployment": name,
                    "spec.hash": digits,
                    "spec.model.version": version,
                }
            )
        )
    record = objects.rollout(
        {
            "metadata.namespace": NAMESPACE,
            "metadata.name": f"{name}-0007",
            "spec.deployment": name,
            "spec.deploymentUID": found["metadata"]["uid"],
            "spec.from.revision": f"{name}-89abcdef",
            "spec.to.revision": f"{name}-01234567",
        }
    )
    stored = real.put(record)
    status = {
        "observedGeneration": 1,
        "outcome": "RolledBack",
        "reason": "AnalysisFailed",
        "message": "errors: 9 of 40 requests failed",
        "finishedAt": "2026-11-25T11:59:00.000000Z",
    }
    status["digest"] = record_digest({"spec": stored["spec"], "status": status})
    real.put({**record, "status": status})
    real.put(
        {
            **wanted,
            "status": {
                "observedGeneration": found["metadata"]["generation"],
                "phase": "RolledBack",
                "rollout": f"{name}-0007",
                "stable": {
                    "revision": f"{name}-89abcdef",
                    "hash": "89abcdef",
                    "version": "6",
                    "weight": 100,
                },
                "rejected": [
                    {
                        "hash": "01234567",
                        "version": "7",
                        "reason": "AnalysisFailed",
                        "rollout": f"{name}-0007",
                        "at": "2026-11-25T11:59:00.000000Z",
                    }
                ],
            },
        }
    )
    return str(stored["metadata"]["uid"])


def policy(real: Real, mode: str) -> dict[str, Any]:
    """A policy of this mode."""
    key = {"name": "headgate-writeback", "key": "key"}
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "ReleasePolicy",
        "metadata": {"name": "written"},
        "spec": {
            "namespaces": [NAMESPACE],
            "gitWriteback": {
                "mode": mode,
                "repository": "https://git.example/x.git",
                "path": "teams/{namespace}/{name}.yaml",
                "credentials": key,
                "webhook": {"url": f"{real.hook}/hook", "secretRef": key},
            },
        },
    }


async def served(real: Real, until: Any, keep: timedelta = timedelta(days=90)) -> None:
    """Run the whole process until something is so, and stop it in order."""
    hosts = Hosts(("git.example:443",), "setting --hosts", (real.hook.removeprefix("http://"),))
    cluster, outbound, stop = real.cluster(), Outbound(hosts), asyncio.Event()
    backends = TestBackends(real.git.address, RealBackends(outbound, hosts, None))
    parts = Parts(cluster, backends, HttpWebhooks(outbound), SystemClock(), lambda: 0.5, hosts)
    settings = Settings(
        interval=timedelta(seconds=0.2), keep=keep, http_host="127.0.0.1", http_port=0
    )
    ports: list[int] = []
    running = asyncio.create_task(run(settings, OWN, parts, Telemetry(), stop, ports.append))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await _seen(lambda: bool(ports) and bool(until()))
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{ports[0]}/readyz") as answer:
                assert answer.status == 200
            async with session.get(f"http://127.0.0.1:{ports[0]}/metrics") as answer:
                assert "headgate_writeback_looks_total" in await answer.text()
    finally:
        stop.set()
        await running
        await outbound.close()
        await cluster.close()


async def _seen(is_so: Callable[[], bool]) -> None:
    """Ask again and again, as the answer is in another process."""
    while not await asyncio.to_thread(is_so):  # noqa: ASYNC110
        await asyncio.sleep(0.2)


@pytest.mark.apiserver
async def test_the_process_does_its_work_with_exactly_the_rights_it_has(real: Real) -> None:
    """Commit, notify, remember, tell, forget: every right is used, and none is missing."""
    value = base64.b64encode(b"k3y").decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "headgate-writeback", "namespace": OWN},
        "data": {"key": value},
    }
    real.server.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    uid = roll_back(real)
    real.server.kubectl("apply", "-f", "-", stdin=json.dumps(policy(real, "Commit")))

    def is_committed() -> bool:
        recent = (real.get("ReleasePolicy", "written").get("status") or {}).get("recent") or ()
        return any(each["state"] == "Committed" for each in recent)

    await served(real, is_committed)

    edited = yaml.safe_load(real.git.content("main", PATH))
    assert edited["spec"]["model"]["version"] == "6"
    stored = real.get("ConfigMap", f"headgate-write-{uid}", OWN)
    assert (stored["immutable"], stored["data"]["state"]) == (True, "Committed")
    managers = {each["manager"] for each in stored["metadata"]["managedFields"]}
    assert managers == {"headgate-writeback"}
    told = json.loads(real.server.kubectl("get", "events", "-n", NAMESPACE, "-o", "json"))
    assert [each["reason"] for each in told["items"]] == ["GitCommitted"]
    conditions = real.get("ReleasePolicy", "written")["status"]["conditions"]
    assert [(each["type"], each["status"]) for each in conditions] == [
        ("Accepted", "True"),
        ("Ready", "True"),
    ]

    # The record goes, and what is kept an hour no longer than that goes after it.
    real.server.kubectl("delete", "modelrollout", "fraud-0007", "-n", NAMESPACE)

    def is_forgotten() -> bool:
        names = real.server.kubectl("get", "configmaps", "-n", OWN, "-o", "name")
        return uid not in names

    await served(real, is_forgotten, keep=timedelta(0))

    used = {(resource, verb) for verb, resource in real.calls}
    granted = {
        (resource, verb)
        for (_, resource), verbs in rules().items()
        for verb in verbs
        if not resource.endswith("/status")
    } | {("releasepolicies", "patch")}
    assert used == granted


@pytest.mark.apiserver
async def test_the_verb_commits_to_a_git_server_by_http(real: Real, tmp_path: Path) -> None:
    """The whole road as it is installed: process, login, policy, Secret, git over http, commit."""
    server = GitHttp(tmp_path)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "headgate-writeback", "namespace": OWN},
        "data": {"key": base64.b64encode(LOGIN[1].encode()).decode()},
    }
    real.server.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    roll_back(real, "scores")
    own = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    async with serving(server.handle) as url:
        wanted = policy(real, "Commit")
        wanted["spec"]["gitWriteback"]["repository"] = f"{url}/origin.git"
        del wanted["spec"]["gitWriteback"]["webhook"]
        real.server.kubectl("apply", "-f", "-", stdin=json.dumps(wanted))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "headgate", "writeback", "--namespace", OWN),
            *("--kubeconfig", str(real.kubeconfig), "--interval", "1s", "--http-port", "0"),
            *("--http-host", "127.0.0.1", "--plain-http-hosts", url.removeprefix("http://")),
            env=own | {"PYTHONPATH": str(ROOT / "operator")},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await _seen(lambda: "Rollback-Record" in real.git.messages("main")[0])
            process.terminate()
            _, lines = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    edited = yaml.safe_load(real.git.content("main", "teams/written/scores.yaml"))
    assert edited["spec"]["model"]["version"] == "6"
    assert process.returncode == 0
    assert LOGIN[1] not in lines.decode()
    assert "" not in server.asked


@pytest.mark.apiserver
async def test_the_ledger_is_compared_and_swapped_by_the_server(real: Real) -> None:
    """Of two processes one gets the claim; what is finished can no longer be changed."""
    cluster = real.cluster()
    ledger = Ledger(cluster, OWN)
    now = SystemClock().now()
    record = replace(rollback(), uid="ledger-test")
    first: Entry = await ledger.open(record, "p", "Commit", "pod-1", now)
    with pytest.raises(Conflict):
        await ledger.open(record, "p", "Commit", "pod-2", now)
    second = await ledger.store(replace(first, message="later"))
    with pytest.raises(Conflict):
        await ledger.store(replace(first, message="too late"))
    done = await ledger.store(replace(second, state=State.COMMITTED, holder=""))
    with pytest.raises(Refused, match="immutable"):
        await ledger.store(replace(done, message="forged"))

    assert (await ledger.read("ledger-test")) == done
    await ledger.drop(done)
    assert await ledger.read("ledger-test") is None
    await cluster.close()


@pytest.mark.apiserver
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        pytest.param(("get", "modelrollouts.headgate.dev", "-A"), True, id="read records"),
        pytest.param(("patch", "modelrollouts.headgate.dev", "-A"), False, id="write records"),
        pytest.param(
            ("patch", "modeldeployments.headgate.dev", "--subresource=status", "-A"),
            False,
            id="write the operator's status",
        ),
        pytest.param(("update", "releasepolicies.headgate.dev"), False, id="write policies"),
        pytest.param(("list", "secrets", "-n", OWN), False, id="list its own Secrets"),
        pytest.param(("get", "secrets/other", "-n", OWN), False, id="read another Secret"),
        pytest.param(
            ("get", "secrets/headgate-writeback", "-n", OWN), True, id="read its own Secret"
        ),
        pytest.param(
            ("get", "secrets/headgate-writeback", "-n", "default"), False, id="read elsewhere"
        ),
        pytest.param(("list", "namespaces"), False, id="list namespaces"),
    ],
)
async def test_the_service_account_may(real: Real, question: tuple[str, ...], answer: bool) -> None:
    """The API server itself answers what the ServiceAccount may do."""
    account = "--as=system:serviceaccount:headgate-system:headgate-writeback"
    try:
        said = real.server.kubectl("auth", "can-i", *question, account)
    except KubectlError:
        said = "no"

    assert (said.strip() == "yes") is answer


def test_the_example_is_a_policy_that_can_be_acted_on() -> None:
    """What people copy is valid, and names a Secret that the rules let us read."""
    manifest = yaml.safe_load((ROOT / "manifests/examples/release-policy.yaml").read_text())
    allowed = ("github.com:443", "api.github.com:443", "ci.example.com:443")
    hosts = Hosts(allowed, "setting --hosts")

    [judged] = judge([manifest], hosts)

    assert judged.error == ""
    assert judged.policy is not None
    assert judged.policy.spec.credentials is not None
    assert judged.policy.spec.credentials.name == "headgate-writeback"
