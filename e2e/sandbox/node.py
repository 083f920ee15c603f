"""
The node agent: nodes that are ready, and their pods as local processes.

Run as `python -m sandbox.node`. Owns the nodes and who runs which pod; what happens to a pod is
in pods. Everything it starts ends with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import aiohttp

from sandbox import children
from sandbox.addresses import LocalPorts, PodIPs
from sandbox.images import Program
from sandbox.kube import STRATEGIC, Json, Kube, KubeError, read_kubeconfig
from sandbox.kubewatch import Key, Mirror
from sandbox.podlogs import Identity, serve_logs
from sandbox.pods import HOST_IP, MARK, PodRunner, Surroundings, delete_now
from sandbox.podstatus import render_time
from sandbox.scrapes import render_targets
from sandbox.world import write_json

log = logging.getLogger(__name__)

TARGETS = "targets.json"
"""The file of the state directory that tells Prometheus which ports of pods there are."""

_HEARTBEAT_SECONDS = 10.0
_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Node:
    """A node to offer; capacities are Kubernetes quantities."""

    name: str
    capacity: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[Json, ...] = ()


NODES = (
    Node("cpu-0", {"cpu": "8", "memory": "32Gi"}),
    Node(
        "gpu-0",
        {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"},
        {"nvidia.com/gpu.product": "NVIDIA-L4"},
        ({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},),
    ),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How the node agent is run; see `read_settings` for what each means."""

    kubeconfig: Path
    state_dir: Path
    service_proxy: str
    programs: Mapping[Program, Path]
    nodes: tuple[Node, ...]
    max_backoff: float
    drain: float
    identity: Identity | None


def read_node(text: str) -> Node:
    """
    Read a node given as JSON: name, capacity, labels and taints.

    Raises:
        ValueError: It is not JSON, or has another field.
    """
    given = json.loads(text)
    try:
        return Node(**{**given, "taints": tuple(given.get("taints") or ())})
    except TypeError as error:
        raise ValueError(f"node {text}: {error}") from error


def render_node(node: Node) -> Json:
    """Return the Node object to create."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {
                "kubernetes.io/hostname": node.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                **node.labels,
            },
        },
        "spec": {"taints": list(node.taints)},
    }


def render_node_status(node: Node, now: datetime, logs_port: int) -> Json:
    """Return the status that makes the scheduler use a node; `logs_port` 0: no logs are served."""
    capacity = {"pods": "500", "ephemeral-storage": "100Gi", **node.capacity}
    moment = render_time(now)
    pressures = ("MemoryPressure", "DiskPressure", "PIDPressure")
    states = {"Ready": ("True", "KubeletReady"), **dict.fromkeys(pressures, ("False", "Enough"))}
    return {
        "capacity": capacity,
        "allocatable": capacity,
        # No host name: the API server would prefer it, and no DNS knows it.
        "addresses": [{"type": "InternalIP", "address": HOST_IP}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": logs_port}} if logs_port else {},
        "conditions": [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "lastHeartbeatTime": moment,
                "lastTransitionTime": moment,
            }
            for kind, (status, reason) in states.items()
        ],
        "nodeInfo": {
            "kubeletVersion": "v1.36.3",
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
            "osImage": "local processes",
            "containerRuntimeVersion": "process://1",
            "kernelVersion": os.uname().release,
            "machineID": node.name,
            "systemUUID": node.name,
            "bootID": node.name,
        },
    }


class Agent:
    """All nodes of the world and the pods bound to them."""

    def __init__(self, settings: Settings, kube: Kube, session: aiohttp.ClientSession) -> None:
        self._settings = settings
        self._kube = kube
        self._logs_port = 0
        self._around = Surroundings(
            kube=kube,
            session=session,
            state_dir=settings.state_dir,
            service_proxy=settings.service_proxy,
            programs=settings.programs,
            ports=LocalPorts(settings.state_dir),
            drain=settings.drain,
            max_backoff=settings.max_backoff,
        )
        self._ips = PodIPs()
        self._runners: dict[Key, PodRunner] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._targets: list[Json] | None = None
        self._mirrors: dict[str, Mirror] = {
            node.name: Mirror(
                kube,
                "/api/v1/pods",
                partial(self._pod_changed, node.name),
                f"spec.nodeName={node.name}",
            )
            for node in settings.nodes
        }

    async def run(self) -> None:
        """Run nodes and pods until cancelled, then end all processes."""
        logs = None
        if self._settings.identity is not None:
            folder = self._settings.state_dir / "pods"
            logs, self._logs_port = await serve_logs(self._settings.identity, folder)
        try:
            async with asyncio.TaskGroup() as tasks:
                for node in self._settings.nodes:
                    await self._register(node)
                    tasks.create_task(self._beat(node))
                    tasks.create_task(self._mirrors[node.name].run())
                log.info("nodes %s are ready", ", ".join(n.name for n in self._settings.nodes))
        finally:
            if logs is not None:
                await logs.cleanup()
            await asyncio.gather(
                *(runner.end(grace_seconds=2.0) for runner in self._runners.values()),
                *self._leaving,
                return_exceptions=True,
            )

    async def _register(self, node: Node) -> None:
        """Create the node or bring it up to date, however long the API server takes."""
        path = f"/api/v1/nodes/{node.name}"
        while True:
            try:
                with contextlib.suppress(KubeError):
                    await self._kube.create("/api/v1/nodes", render_node(node))
                # Whole lists, so that the taint a new node gets until it is ready is gone too.
                wanted = render_node(node)
                await self._kube.patch(
                    path,
                    {"metadata": {"labels": wanted["metadata"]["labels"]}, "spec": wanted["spec"]},
                )
                status = render_node_status(node, datetime.now(UTC), self._logs_port)
                await self._kube.patch(f"{path}/status", {"status": status}, STRATEGIC)
                return
            except KubeError as error:
                log.warning("node %s: %s", node.name, error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _beat(self, node: Node) -> None:
        """Renew the node's Lease, which node-lifecycle controllers look at."""
        folder = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        while True:
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": node.name, "namespace": "kube-node-lease"},
                "spec": {
                    "holderIdentity": node.name,
                    "leaseDurationSeconds": 40,
                    "renewTime": now,
                },
            }
            try:
                await self._kube.patch(f"{folder}/{node.name}", lease)
            except KubeError as error:
                if error.is_gone:
                    with contextlib.suppress(KubeError):
                        await self._kube.create(folder, lease)
                else:
                    log.warning("lease of node %s: %s", node.name, error)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def _pod_changed(self, node: str, key: Key) -> None:
        self._write_targets()
        pod = self._mirrors[node].objects.get(key)
        runner = self._runners.get(key)
        if runner is not None and (pod is None or pod["metadata"]["uid"] != runner.uid):
            if pod is None and runner.pod["spec"]["nodeName"] != node:
                return
            self._leave(runner.vanished())
            del self._runners[key]
            runner = None
        if pod is None:
            return
        if runner is not None:
            runner.update(pod)
        elif pod["metadata"].get("deletionTimestamp"):
            # Nothing of it runs: it was bound to a node whose agent has been away.
            self._leave(self._delete(pod))
        elif pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            ip = pod.get("status", {}).get("podIP") or self._ips.take(self._taken_ips())
            self._runners[key] = PodRunner(self._around, pod, ip)

    async def _delete(self, pod: Json) -> None:
        while True:
            try:
                await delete_now(self._kube, pod)
                return
            except KubeError as error:
                if error.status == 409:
                    return
                log.warning("pod %s stays for now: %s", pod["metadata"]["name"], error)
                await asyncio.sleep(_RETRY_SECONDS)

    def _taken_ips(self) -> set[str]:
        known = (pod for mirror in self._mirrors.values() for pod in mirror.objects.values())
        return {pod.get("status", {}).get("podIP", "") for pod in known} | {
            runner.pod_ip for runner in self._runners.values()
        }

    def _write_targets(self) -> None:
        """Tell Prometheus which pods there are, whenever it is not what was told last."""
        targets = render_targets(
            pod for mirror in self._mirrors.values() for pod in mirror.objects.values()
        )
        if targets != self._targets:
            write_json(self._settings.state_dir / TARGETS, targets)
            self._targets = targets

    def _leave(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def read_settings(argv: list[str]) -> Settings:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="sandbox.node", description=__doc__)
    add = parser.add_argument
    add("--kubeconfig", type=Path, required=True)
    add("--state-dir", type=Path, required=True, help="logs in pods/NAMESPACE/POD, volumes")
    add("--service-proxy", default="", help="URL of the HTTP proxy that knows all Services")
    add("--model-python", type=Path, default=Path(sys.executable), help="of the model servers")
    add("--agent", type=Path, help="KServe's agent; without it there is no such image")
    add("--node", action="append", type=read_node, help="JSON; replaces the two usual nodes")
    add("--max-backoff", type=float, default=10.0, help="longest wait before a restart, seconds")
    add("--drain", type=float, default=2.0, help="seconds a pod serves on while it is deleted")
    add("--tls-cert", type=Path, help="serve `kubectl logs` with this certificate")
    add("--tls-key", type=Path, help="its key")
    add("--client-ca", type=Path, help="who signs the API server's client certificate")
    given = parser.parse_args(argv)
    files = (given.tls_cert, given.tls_key, given.client_ca)
    if any(files) and not all(files):
        parser.error("--tls-cert, --tls-key and --client-ca belong together")
    return Settings(
        kubeconfig=given.kubeconfig,
        state_dir=given.state_dir.absolute(),
        service_proxy=given.service_proxy,
        programs=_programs(given),
        nodes=tuple(given.node or NODES),
        max_backoff=given.max_backoff,
        drain=given.drain,
        identity=Identity(*files) if all(files) else None,
    )


def _programs(given: argparse.Namespace) -> Mapping[Program, Path]:
    # Not resolved: the link in a virtual environment is what makes Python use it.
    found = {Program.WORLD: Path(sys.executable), Program.MODEL: given.model_python.absolute()}
    if given.agent:
        found[Program.AGENT] = given.agent.absolute()
    return found


async def serve(settings: Settings) -> None:
    """Run the agent until SIGTERM or SIGINT."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    if killed := children.kill_strays(f"{MARK}={settings.state_dir}"):
        log.warning("killed %d processes of an earlier agent", killed)
    loop = asyncio.get_running_loop()
    login = read_kubeconfig(settings.kubeconfig)
    async with Kube(login, "sandbox-node") as kube, aiohttp.ClientSession() as session:
        task = asyncio.create_task(Agent(settings, kube, session).run())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


def main(argv: list[str]) -> int:
    """Run the agent."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(serve(read_settings(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
