"""
One pod as local processes, from its binding to its deletion.

Owns the order of things: address and ports, volumes, init containers, containers, status,
termination. What a container does is in containers; what the status says is in podstatus.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from sandbox.addresses import LocalPorts
from sandbox.containers import CannotStart, Container, Launch, Policy
from sandbox.endpoints import PORTS_ANNOTATION
from sandbox.images import Image, Program, find_image
from sandbox.kube import STRATEGIC, Json, Kube, KubeError
from sandbox.paths import SOURCES
from sandbox.podspec import container_ports, render_command, rewrite_paths, rewrite_probe
from sandbox.podstatus import (
    PodView,
    Terminated,
    View,
    Waiting,
    read_termination,
    read_time,
    render_status,
    render_time,
)
from sandbox.probes import Subject
from sandbox.volumes import Missing, Sources, Volumes, read_variables

log = logging.getLogger(__name__)

HOST_IP = "127.0.0.1"
MARK = "SANDBOX_NODE_STATE"
"""The variable by which a node agent knows the processes of an earlier one."""
_RETRY_SECONDS = 0.5
_REFRESH_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What all pods of the world share.

    Attributes:
        service_proxy: URL of the HTTP proxy that knows all Services.
        drain: Seconds a pod serves on after its deletion was asked for, so that gateways can
            take it out first.
        max_backoff: The longest wait before a restart, in seconds.
    """

    kube: Kube
    session: aiohttp.ClientSession
    state_dir: Path
    service_proxy: str
    programs: Mapping[Program, Path]
    ports: LocalPorts
    drain: float
    max_backoff: float


class PodRunner:
    """Runs one pod; made for a pod that is bound to a node of ours."""

    def __init__(self, around: Surroundings, pod: Json, pod_ip: str) -> None:
        meta = pod["metadata"]
        self.uid: str = meta["uid"]
        self.pod = pod
        self.pod_ip = pod_ip
        self._around = around
        self._path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self.folder = around.state_dir / "pods" / meta["namespace"] / meta["name"]
        self._volume_dir = around.state_dir / "volumes" / self.uid
        self._sources = Sources(around.kube, pod)
        self._volumes = Volumes(self._sources, self._volume_dir)
        self._ports = {number: around.ports.take() for number in container_ports(pod)}
        started = pod.get("status", {}).get("startTime")
        self._started_at = read_time(started) if started else datetime.now(UTC)
        self._dirty = asyncio.Event()
        self._stopping = asyncio.Event()
        self._background: set[asyncio.Task[None]] = set()
        spec = pod["spec"]
        self._init = [
            self._container(entry, is_init=True) for entry in spec.get("initContainers") or ()
        ]
        self._main = [self._container(entry, is_init=False) for entry in spec["containers"]]
        self._life = asyncio.create_task(self._live())
        self._reporter = asyncio.create_task(self._report())
        self._ending: asyncio.Task[None] | None = None
        self.changed()

    def changed(self) -> None:
        """Have the status written anew."""
        self._dirty.set()

    def happened(self, kind: str, reason: str, message: str) -> None:
        """Record an Event of the pod; one that cannot be written is only logged."""
        self._spawn(self._record(kind, reason, message))

    def update(self, pod: Json) -> None:
        """Take the pod as the API server has it now; a deletion mark begins its end."""
        self.pod = self._sources.pod = pod
        if pod["metadata"].get("deletionTimestamp") and self._ending is None:
            grace = pod["metadata"].get("deletionGracePeriodSeconds", 30)
            self._ending = asyncio.create_task(self._terminate(float(grace)))

    async def end(self, grace_seconds: float) -> None:
        """End the processes and touch nothing at the API server."""
        self._stopping.set()
        everything = [*self._init, *self._main]
        await asyncio.gather(*(container.stop(grace_seconds) for container in everything))
        await asyncio.gather(self._life, return_exceptions=True)
        tasks = [self._reporter, *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._around.ports.give_back(self._ports.values())

    async def vanished(self) -> None:
        """End a pod that is no longer there."""
        if self._ending is not None:
            await self._ending
            return
        await self.end(grace_seconds=1.0)
        shutil.rmtree(self._volume_dir, ignore_errors=True)

    def _container(self, spec: Json, *, is_init: bool) -> Container:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        is_sidecar = is_init and spec.get("restartPolicy") == "Always"
        if is_init and not is_sidecar and policy == "Always":
            policy = "OnFailure"
        reason = "PodInitializing" if not is_init and self._init else "ContainerCreating"
        if is_init:
            reason = "PodInitializing"
        restarts, last = self._earlier_life(spec["name"], is_init=is_init)
        return Container(
            spec,
            View(
                name=spec["name"],
                image=spec["image"],
                state=Waiting(reason),
                last=last,
                restarts=restarts,
                is_sidecar=is_sidecar,
            ),
            Policy("Always" if is_sidecar else policy, self._around.max_backoff),
            self._prepare,
            self,
        )

    def _earlier_life(self, name: str, *, is_init: bool) -> tuple[int, Terminated | None]:
        """Return restarts and last end of a container that an earlier agent ran."""
        field = "initContainerStatuses" if is_init else "containerStatuses"
        for entry in self.pod.get("status", {}).get(field) or ():
            if entry["name"] != name:
                continue
            restarts, state = entry["restartCount"], entry["state"]
            if running := state.get("running"):
                since, now = read_time(running["startedAt"]), datetime.now(UTC)
                return restarts + 1, Terminated(137, since, now, "the node agent was gone")
            if ended := state.get("terminated") or entry.get("lastState", {}).get("terminated"):
                # An init container that was done begins anew without counting as restarted.
                again = 0 if is_init or "waiting" in state else 1
                return restarts + again, read_termination(ended)
            return restarts, None
        return 0, None

    async def _live(self) -> None:
        try:
            await self._claim()
            await self._mount()
            if await self._run_init():
                session = self._around.session
                self._spawn(self._refresh())
                await asyncio.gather(*(container.run(session) for container in self._main))
        except Exception:
            log.exception("pod %s failed by our own mistake", self._path)
            raise

    async def _claim(self) -> None:
        """Make the ports known before anything can be Running."""
        mapping = json.dumps({str(number): port for number, port in self._ports.items()})
        await self._insist(
            lambda: self._around.kube.patch(
                self._path, {"metadata": {"annotations": {PORTS_ANNOTATION: mapping}}}
            )
        )

    async def _mount(self) -> None:
        shutil.rmtree(self._volume_dir, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        told = ""
        while not self._stopping.is_set():
            try:
                await self._volumes.prepare()
                return
            except (Missing, KubeError) as error:
                if isinstance(error, Missing) and str(error) != told:
                    told = str(error)
                    self.happened("Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _run_init(self) -> bool:
        """Run the init containers in order; whether the others may start."""
        for container in self._init:
            run = asyncio.create_task(container.run(self._around.session))
            self._background.add(run)
            run.add_done_callback(self._background.discard)
            if container.view.is_sidecar:
                await container.started.wait()
            else:
                await run
            if self._stopping.is_set() or container.has_failed:
                return False
        return not self._stopping.is_set()

    async def _refresh(self) -> None:
        """Bring files of ConfigMaps, Secrets and tokens up to date, as a kubelet does."""
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                await self._volumes.prepare()
            except (Missing, KubeError) as error:
                log.info("volumes of %s stay as they are: %s", self._path, error)

    async def _prepare(self, spec: Json) -> Launch:
        image = find_image(spec["image"])
        program = self._around.programs.get(image.program) if image else None
        if image is None or program is None:
            message = f"image {spec['image']!r} does not exist in the embedded world"
            raise CannotStart("ErrImagePull", message)
        given = {**self._given(program), **image.variables}
        try:
            variables = await read_variables(spec, self._sources, given)
        except (Missing, LookupError) as error:
            raise CannotStart("CreateContainerConfigError", str(error)) from error
        except KubeError as error:
            raise CannotStart("ContainerCreating", str(error)) from error
        mounts = self._volumes.mounts(spec, variables)
        # First, so that `$(PORT)` in the arguments is the local port too.
        variables = self._localized(variables, image, mounts)
        command = render_command(spec, image, program, variables, mounts, self._ports)
        return Launch(command, self._subject(spec, variables, mounts))

    def _localized(
        self, variables: Mapping[str, str], image: Image, mounts: list[tuple[str, Path]]
    ) -> dict[str, str]:
        """Return the environment with this machine's folders, and its ports where one is named."""
        found = {name: rewrite_paths(value, mounts) for name, value in variables.items()}
        port = found.get("PORT", "")
        if port.isdecimal() and int(port) in self._ports:
            found["PORT"] = str(self._ports[int(port)])
        if probe := found.get(image.probe_variable):
            found[image.probe_variable] = rewrite_probe(probe, self._ports)
        return found

    def _subject(
        self, spec: Json, variables: Mapping[str, str], mounts: list[tuple[str, Path]]
    ) -> Subject:
        work = self._volume_dir / f"work-{spec['name']}"
        work.mkdir(parents=True, exist_ok=True)
        wanted = rewrite_paths(spec.get("workingDir", ""), mounts)
        return Subject(
            container=spec,
            ports=self._ports,
            environment={"HOME": str(work), "TMPDIR": str(work), **variables},
            folder=Path(wanted) if wanted and Path(wanted).is_dir() else work,
            log=self.folder / f"{spec['name']}.log",
        )

    def _given(self, program: Path) -> dict[str, str]:
        """Return what every container finds in its environment."""
        server = self._around.kube.login.server.partition("://")[2]
        host, _, port = server.rpartition(":")
        proxy = self._around.service_proxy
        path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {
            "PATH": path,
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(SOURCES.parent),
            "PYTHONUNBUFFERED": "1",
            MARK: str(self._around.state_dir),
            "HOSTNAME": self.pod["metadata"]["name"],
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            **{name: proxy for name in ("http_proxy", "HTTP_PROXY") if proxy},
            **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
        }

    async def _report(self) -> None:
        """Write the status whenever it differs from what was written last."""
        written: Json = {}
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            status = self._status()
            if status == written:
                continue
            try:
                self.pod = await self._write(status)
                written = status
            except KubeError as error:
                if not error.is_gone:
                    log.warning("status of %s not written: %s", self._path, error)
                    await asyncio.sleep(_RETRY_SECONDS)
                    self._dirty.set()

    def _status(self) -> Json:
        view = PodView(
            init=tuple(container.view for container in self._init),
            main=tuple(container.view for container in self._main),
            pod_ip=self.pod_ip,
            host_ip=HOST_IP,
            started_at=self._started_at,
        )
        return render_status(self.pod, view, datetime.now(UTC))

    async def _write(self, status: Json) -> Json:
        body = {"metadata": {"uid": self.uid}, "status": status}
        return await self._around.kube.patch(f"{self._path}/status", body, STRATEGIC)

    async def _terminate(self, grace: float) -> None:
        containers = [*self._init, *self._main]
        if any(container.is_running for container in containers):
            self.happened("Normal", "Killing", "Stopping all containers")
            await asyncio.sleep(min(self._around.drain, grace))
        await self.end(max(grace - self._around.drain, 1.0))
        await self._insist(lambda: self._write(self._status()))
        await self._insist(self._delete)
        shutil.rmtree(self._volume_dir, ignore_errors=True)

    async def _delete(self) -> Json:
        await delete_now(self._around.kube, self.pod)
        return {}

    async def _insist(self, call: Callable[[], Awaitable[Json]]) -> None:
        """Call until the API server has done it, or the pod is gone or another one."""
        while True:
            try:
                await call()
                return
            except KubeError as error:
                if error.status in (404, 409, 422):
                    return
                log.warning("pod %s: %s", self._path, error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _record(self, kind: str, reason: str, message: str) -> None:
        meta, now = self.pod["metadata"], render_time(datetime.now(UTC))
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": self.uid,
            },
            "type": kind,
            "reason": reason,
            "message": message[:1024],
            "source": {"component": "kubelet", "host": self.pod["spec"]["nodeName"]},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._around.kube.create(f"/api/v1/namespaces/{meta['namespace']}/events", event)
        except KubeError as error:
            log.info("event %s of %s not written: %s", reason, self._path, error)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def delete_now(kube: Kube, pod: Json) -> None:
    """
    Remove a pod whose processes are gone; a pod of the same name that is another is left.

    Raises:
        KubeError: The API server did not answer, or refused.
    """
    meta = pod["metadata"]
    await kube.delete(
        f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}",
        {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": meta["uid"]},
        },
    )
