"""The operator against a real API server: events become keys, and it stops when told."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.runtime.cluster import Line, install, kubeconfig_of
from tests.runtime.processes import PATIENCE_SECONDS, Process, eventually

from headgate.adapters.clock import SystemClock
from headgate.adapters.kubernetes import KubernetesCluster, find_login
from headgate.ports import (
    DEPLOYMENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    Kind,
)
from headgate.reconcile.world import Key, Report
from headgate.runtime.operator import Parts, run
from headgate.runtime.settings import Settings
from headgate.runtime.telemetry import Telemetry

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

OURS = {"app.kubernetes.io/managed-by": "headgate", "headgate.dev/deployment": "fraud"}
ACCOUNT = "headgate-system/headgate"


def deployment(namespace: str, name: str = "fraud") -> dict[str, Any]:
    """A small ModelDeployment."""
    return {
        "apiVersion": MODEL_DEPLOYMENT.api_version,
        "kind": MODEL_DEPLOYMENT.kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "model": {"version": "1"},
            "template": {"spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}}}}},
            "traffic": {"gateway": {"name": "public"}, "hostnames": ["fraud.example.com"]},
        },
    }


def child(kind: Kind, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    """A small object of a kind that an operator writes, or has written for it."""
    spec: dict[str, Any] = {}
    if kind == DEPLOYMENT:
        pod = {"containers": [{"name": "c", "image": "none"}]}
        template = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"namespace": namespace, "name": "fraud-41aa0000", "labels": labels},
        "spec": spec,
    }


def revision(namespace: str, owner: dict[str, Any]) -> dict[str, Any]:
    """A ModelRevision that names its parent by reference alone."""
    reference = {
        "apiVersion": MODEL_DEPLOYMENT.api_version,
        "kind": MODEL_DEPLOYMENT.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    manifest = child(MODEL_REVISION, namespace, {"app.kubernetes.io/managed-by": "headgate"})
    manifest["metadata"]["ownerReferences"] = [reference]
    manifest["spec"] = {
        "deployment": "fraud",
        "hash": "41aa0000",
        "model": owner["spec"]["model"],
        "template": owner["spec"]["template"],
    }
    return manifest


class Running:
    """
    An operator with a stub for a pass, and the administrator's hands on the cluster.

    The operator has a thread and a loop of its own: Kopf ends all tasks of its loop that are
    younger than itself, the test's included.
    """

    def __init__(self, namespace: str, admin: KubernetesCluster, line: Line) -> None:
        self.namespace = namespace
        self.admin = admin
        self.line = line
        self.passes: list[Key] = []
        self.hang = False
        self.telemetry = Telemetry()
        self.port = free_port()
        self.ended: asyncio.Task[None] | None = None
        self._stop: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def start(self, kubeconfig: Path, namespaces: tuple[str, ...]) -> None:
        """Start, and wait until it is ready."""
        settings = Settings(
            kubeconfig=kubeconfig,
            namespaces=namespaces,
            http_host="127.0.0.1",
            http_port=self.port,
            shutdown_grace=timedelta(seconds=1),
        )
        work = asyncio.to_thread(lambda: asyncio.run(self._run(settings)))
        self.ended = asyncio.create_task(work)
        for _ in range(PATIENCE_SECONDS * 20):
            if self.ended.done() or await self.answer("/readyz") == 200:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("never ready")

    def stop(self) -> None:
        """Ask it to stop."""
        if self._stop is not None:
            loop, event = self._stop
            loop.call_soon_threadsafe(event.set)

    async def _run(self, settings: Settings) -> None:
        stop = asyncio.Event()
        self._stop = asyncio.get_running_loop(), stop
        login = find_login(str(settings.kubeconfig))
        cluster = KubernetesCluster(login)
        parts = Parts(cluster, login, self._pass, SystemClock(), lambda: 0.5)
        try:
            await run(settings, parts, self.telemetry, stop)
        finally:
            self._stop = None
            await cluster.close()
            await asyncio.sleep(0.25)  # TLS connections say goodbye, which nobody can await

    async def answer(self, path: str) -> int:
        """The status of the operator's own server; 0 if there is none."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as response,
            ):
                return response.status
        except aiohttp.ClientError:
            return 0

    async def quiet(self) -> None:
        """Wait until nothing has happened for a while, then forget what did."""
        await asyncio.sleep(0.5)
        self.passes.clear()

    async def woken(self, what: str, name: str = "fraud") -> None:
        """Wait for a pass over our object."""
        await eventually(lambda: Key(self.namespace, name) in self.passes, what)

    async def label(self, kind: Kind, name: str) -> None:
        """Change an object that exists."""
        found = await self.admin.get(kind, self.namespace, name)
        assert found is not None
        labels = {**(found["metadata"].get("labels") or {}), "touched": "yes"}
        metadata = {"namespace": self.namespace, "name": name, "labels": labels}
        api = {"apiVersion": kind.api_version, "kind": kind.kind}
        await self.admin.apply({**api, "metadata": metadata, "spec": found["spec"]})

    def events(self, plural: str) -> float:
        """How many events of a kind were heard of."""
        value = self.telemetry.registry.get_sample_value(
            "headgate_watch_events_total", {"resource": plural}
        )
        return value or 0.0

    async def _pass(self, key: Key, now: datetime) -> Report:
        self.passes.append(key)
        if self.hang:
            await asyncio.sleep(3600)
        return Report("Stable")


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def installed(apiserver: ApiServer) -> ApiServer:
    """The API server with all kinds and with manifests/overlays/sandbox applied."""
    install(apiserver)
    return apiserver


@pytest.fixture
async def running(
    installed: ApiServer, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Running]:
    """An operator for one namespace of its own, logged in as the ServiceAccount."""
    namespace = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-")
    installed.kubectl("create", "namespace", namespace)
    line = Line(installed.url)
    kubeconfig = kubeconfig_of(installed, ACCOUNT, await line.open(), tmp_path / "kubeconfig")
    admin = KubernetesCluster(find_login(str(installed.kubeconfig)))
    running = Running(namespace, admin, line)
    await running.start(kubeconfig, (namespace,))
    yield running
    running.stop()
    if running.ended is not None:
        await running.ended
    await line.close()
    await admin.close()
    installed.kubectl("delete", "namespace", namespace, "--wait=false")


async def test_a_change_of_the_object_wakes_its_key(running: Running) -> None:
    """Created, changed, deleted: each gives a pass over the object's own key."""
    await running.admin.create(deployment(running.namespace))
    await running.woken("a pass after the creation")
    await running.quiet()
    await running.label(MODEL_DEPLOYMENT, "fraud")
    await running.woken("a pass after the change")
    await running.quiet()

    found = await running.admin.get(MODEL_DEPLOYMENT, running.namespace, "fraud")
    assert found is not None
    uid = found["metadata"]["uid"]
    await running.admin.delete(MODEL_DEPLOYMENT, running.namespace, "fraud", uid)
    await running.woken("a pass after the deletion")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(INFERENCE_SERVICE, id="an InferenceService"),
        pytest.param(DEPLOYMENT, id="a Deployment"),
        pytest.param(HTTP_ROUTE, id="an HTTPRoute"),
    ],
)
async def test_a_labelled_child_wakes_its_parent(running: Running, kind: Kind) -> None:
    """A child that carries our labels wakes the ModelDeployment that its label names."""
    await running.admin.create(child(kind, running.namespace, OURS))
    await running.woken("a pass after the child's creation")
    await running.quiet()
    await running.label(kind, "fraud-41aa0000")
    await running.woken("a pass after the child's change")


async def test_an_owned_child_wakes_its_parent(running: Running) -> None:
    """A child without the parent's label wakes it by the controller's reference."""
    owner = await running.admin.create(deployment(running.namespace))
    await running.woken("a pass after the creation")
    await running.quiet()
    await running.admin.create(revision(running.namespace, dict(owner)))
    await running.woken("a pass after the revision's creation")


async def test_what_is_not_ours_is_not_even_sent(running: Running) -> None:
    """The API server filters by our label: other people's Deployments cost us nothing."""
    before = running.events("deployments")
    foreign = child(DEPLOYMENT, running.namespace, {"headgate.dev/deployment": "fraud"})
    await running.admin.create(foreign)
    await running.admin.create(deployment(running.namespace))
    await running.woken("a pass after the creation")
    await running.quiet()
    await running.label(DEPLOYMENT, "fraud-41aa0000")
    await asyncio.sleep(1)

    assert running.passes == []
    assert running.events("deployments") == before


async def test_watching_writes_nothing(running: Running) -> None:
    """No annotation, finalizer or field manager appears on an object that is merely watched."""
    created = await running.admin.create(deployment(running.namespace))
    await running.woken("a pass after the creation")
    await asyncio.sleep(1)

    assert await running.admin.get(MODEL_DEPLOYMENT, running.namespace, "fraud") == created


async def test_changes_during_an_outage_are_heard_after_it(running: Running) -> None:
    """An API server that vanishes ends nothing; what changed meanwhile is noticed afterwards."""
    await running.admin.create(deployment(running.namespace))
    await running.woken("a pass after the creation")
    running.line.cut()
    await running.quiet()
    await running.label(MODEL_DEPLOYMENT, "fraud")
    await asyncio.sleep(2)
    assert running.passes == []
    assert await running.answer("/livez") == 200
    running.line.mend()

    await running.woken("a pass after the outage")
    assert running.ended is not None
    assert not running.ended.done()


async def test_stopping_takes_less_than_ten_seconds(running: Running) -> None:
    """A pass that hangs and a scraper that keeps its connection open do not hold up the end."""
    running.hang = True
    await running.admin.create(deployment(running.namespace))
    await running.woken("a pass that hangs")
    async with aiohttp.ClientSession() as scraper:
        async with scraper.get(f"http://127.0.0.1:{running.port}/metrics") as response:
            assert response.status == 200
        running.stop()
        assert running.ended is not None
        await asyncio.wait_for(running.ended, 10)

    assert await running.answer("/livez") == 0


@pytest.fixture
def kubeconfig(installed: ApiServer, tmp_path: Path) -> Path:
    """The login of the operator's ServiceAccount."""
    return kubeconfig_of(installed, ACCOUNT, installed.url, tmp_path / "kubeconfig")


async def test_a_signal_ends_the_process_cleanly(kubeconfig: Path, tmp_path: Path) -> None:
    """SIGTERM: exit code 0 within ten seconds, and every line of the log is JSON."""
    process = await Process.start(tmp_path / "log", "--kubeconfig", str(kubeconfig))
    try:
        await eventually(lambda: process.said(r"on port (\d+)") is not None, "a port")
        found = process.said(r"on port (\d+)")
        assert found is not None
        ready = f"http://127.0.0.1:{found[1]}/readyz"
        async with aiohttp.ClientSession() as session:
            for _ in range(PATIENCE_SECONDS * 10):
                async with session.get(ready) as response:
                    if response.status == 200:
                        break
                await asyncio.sleep(0.1)
        process.process.send_signal(signal.SIGTERM)
        assert await process.ended() == 0
    finally:
        if process.process.returncode is None:
            process.process.kill()
            await process.process.wait()

    assert process.lines()[-1]["message"] == "stopped"
    assert [line for line in process.lines() if line["level"] in ("error", "critical")] == []


async def test_a_login_without_rights_ends_the_start(installed: ApiServer, tmp_path: Path) -> None:
    """A ServiceAccount that may not read our kinds: exit code 1, and a line for each kind."""
    installed.control_plane.apply("-f", "-", stdin=json.dumps(NOBODY))
    path = kubeconfig_of(installed, "default/nobody", installed.url, tmp_path / "nobody")
    process = await Process.start(tmp_path / "log", "--kubeconfig", str(path))

    assert await asyncio.wait_for(process.process.wait(), PATIENCE_SECONDS) == 1
    critical = [line["message"] for line in process.lines() if line["level"] == "critical"]
    assert len(critical) == 6
    assert all("HTTP 403" in line and "manifests/base" in line for line in critical)


NOBODY = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "nobody", "namespace": "default"},
}
