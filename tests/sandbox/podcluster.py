"""A node agent before a fake API server, for tests that run one pod."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from tests.sandbox.fakeapi import FakeApi
from tests.sandbox.waiting import until

from sandbox.images import Program
from sandbox.kube import Kube, Login
from sandbox.node import NODES, Agent, Settings
from sandbox.podlogs import Identity

Json = dict[str, Any]
PODS = "/api/v1/namespaces/models/pods"


class Cluster:
    """A fake API server with a node agent; `start` and `stop` are the agent's."""

    def __init__(
        self,
        api: FakeApi,
        state_dir: Path,
        agent: Path | None = None,
        service_proxy: str = "http://127.0.0.1:1",
    ) -> None:
        self.api = api
        self.identity: Identity | None = None
        self.state_dir = state_dir
        self._programs = dict.fromkeys((Program.WORLD, Program.MODEL), Path(sys.executable))
        if agent is not None:
            self._programs[Program.AGENT] = agent
        self._service_proxy = service_proxy
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        settings = Settings(
            kubeconfig=Path(),
            state_dir=self.state_dir,
            service_proxy=self._service_proxy,
            programs=self._programs,
            nodes=NODES,
            max_backoff=0.2,
            drain=0.1,
            identity=self.identity,
        )
        login = Login(self.api.url, None, "")
        async with Kube(login, "test") as kube, aiohttp.ClientSession() as session:
            await Agent(settings, kube, session).run()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def run_pod(self, *containers: Json, **spec: Any) -> None:
        """Bind a pod named `p` to the first node."""
        body = {"nodeName": "cpu-0", "restartPolicy": "Always", "containers": list(containers)}
        await self.api.put(f"{PODS}/p", {"spec": {**body, **spec}}, "ADDED")

    def pod(self) -> Json:
        return self.api.objects[f"{PODS}/p"]

    def status(self) -> Json:
        return dict(self.pod().get("status", {}))

    def container(self) -> Json:
        return dict((self.status().get("containerStatuses") or [{}])[0])

    def condition(self, kind: str) -> str:
        entries = self.status().get("conditions") or ()
        return next((str(e["status"]) for e in entries if e["type"] == kind), "")

    def log(self, container: str = "main") -> str:
        path = self.state_dir / "pods" / "models" / "p" / f"{container}.log"
        return path.read_text() if path.exists() else ""

    def events(self) -> list[tuple[str, str]]:
        found = [e for p, e in self.api.objects.items() if "/events/" in p]
        return [(event["reason"], event["message"]) for event in found]

    async def delete(self, grace: int = 5) -> None:
        """Ask for the pod's deletion as a client does."""
        pod = self.pod()
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        pod["metadata"]["deletionGracePeriodSeconds"] = grace
        await self.api.put(f"{PODS}/p", pod)


def python(code: str, **more: Any) -> Json:
    """Return a container that runs some Python."""
    return {"name": "main", "image": "sandbox/python:1", "command": ["python", "-c", code], **more}


async def becomes(read: Callable[[], object], wanted: object) -> None:
    """Wait until something reads as wanted, or fail showing what it read instead."""
    try:
        await until(lambda: read() == wanted)
    except TimeoutError:
        assert wanted == read()
