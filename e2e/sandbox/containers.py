"""
The life of one container: start, probe, restart, stop.

Owns the process and what is known about it. How the command came about and who reads the view
are its pod's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import aiohttp

from sandbox import children, probes
from sandbox.kube import Json
from sandbox.podstatus import Running, Terminated, View, Waiting

log = logging.getLogger(__name__)

# The kubelet's back-off: 10 s, doubling; forgotten after twice the longest wait.
_FIRST_BACKOFF_SECONDS = 10.0
_PROBE_KILL_GRACE_SECONDS = 5.0
_MESSAGE_BYTES = 2048


class CannotStart(Exception):
    """
    A container that cannot be started as things are.

    Attributes:
        reason: What the container waits for, as a kubelet names it.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything needed to start the process, and to ask it afterwards."""

    command: Sequence[str]
    subject: probes.Subject


class Listener(Protocol):
    """Who hears about a container."""

    def changed(self) -> None:
        """Its view is another one."""

    def happened(self, kind: str, reason: str, message: str) -> None:
        """Something worth an Event: `kind` is Normal or Warning."""


@dataclass(frozen=True, slots=True)
class Policy:
    """
    When a container is started again.

    Attributes:
        restart: Always, OnFailure or Never.
        max_backoff: The longest wait before a restart, in seconds.
    """

    restart: str
    max_backoff: float

    def wants_restart(self, exit_code: int) -> bool:
        """Whether a container that ended this way runs again."""
        return self.restart == "Always" or (self.restart == "OnFailure" and exit_code != 0)


class Container:
    """One container of a pod."""

    def __init__(
        self,
        spec: Json,
        view: View,
        policy: Policy,
        prepare: Callable[[Json], Awaitable[Launch]],
        listener: Listener,
    ) -> None:
        """
        Take the manifest, what is known from an earlier life, and where the command comes from.

        `prepare` raises CannotStart for a container that cannot be started as things are.
        """
        self.spec = spec
        self.view = view
        self.started = asyncio.Event()
        self._policy = policy
        self._prepare = prepare
        self._listener = listener
        self._stopping = asyncio.Event()
        self._process: Process | None = None
        self._probe_session: aiohttp.ClientSession | None = None
        self._crashes = 0

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Keep the container running as its policy says; return when it ended for good."""
        self._probe_session = session
        refusals = 0
        while not self._stopping.is_set():
            try:
                launch = await self._prepare(self.spec)
            except CannotStart as error:
                refusals += 1
                self._refuse(error, refusals)
                await self._pause(min(0.5 * 2**refusals, self._policy.max_backoff))
                continue
            refusals = 0
            ended = await self._run_once(launch)
            if self._stopping.is_set() or not self._policy.wants_restart(ended.exit_code):
                return
            await self._back_off(ended)

    async def stop(self, grace_seconds: float) -> None:
        """End it for good: SIGTERM, then SIGKILL after the grace."""
        self._stopping.set()
        self.started.set()
        process = self._process
        if process is not None:
            await self._pre_stop(grace_seconds)
            await children.stop(process, grace_seconds)

    @property
    def has_failed(self) -> bool:
        """Whether it ended for good and not well."""
        return isinstance(self.view.state, Terminated) and self.view.state.exit_code != 0

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return isinstance(self.view.state, Running)

    async def _run_once(self, launch: Launch) -> Terminated:
        started_at = _now()
        log_file = launch.subject.log
        offset = log_file.stat().st_size if log_file.exists() else 0
        try:
            process = await children.start(
                launch.command,
                log=log_file,
                env=launch.subject.environment,
                folder=launch.subject.folder,
            )
        except OSError as error:
            ended = Terminated(128, started_at, _now(), str(error))
            self._show(state=ended, is_ready=False, is_started=False)
            return ended
        self._process = process
        self._show(state=Running(_now(), process.pid))
        self._listener.happened("Normal", "Started", f"Started container {self.view.name}")
        prober = asyncio.create_task(self._probe(launch))
        try:
            if self._stopping.is_set():
                children.send(process, signal.SIGKILL)
            code = await process.wait()
        finally:
            prober.cancel()
            children.send(process, signal.SIGKILL)
            self._process = None
        exit_code = code if code >= 0 else 128 - code
        message = self._last_words(launch, offset) if exit_code else ""
        ended = Terminated(exit_code, started_at, _now(), message)
        self._show(state=ended, is_ready=False, is_started=False)
        with contextlib.suppress(asyncio.CancelledError):
            await prober
        return ended

    async def _back_off(self, ended: Terminated) -> None:
        """Wait before a restart, as a kubelet does: not at all for the first one."""
        if ended.finished_at - ended.started_at > timedelta(seconds=2 * self._policy.max_backoff):
            self._crashes = 0
        waits = min(_FIRST_BACKOFF_SECONDS * 2 ** max(self._crashes - 1, 0), 300.0)
        waits = min(waits, self._policy.max_backoff) if self._crashes else 0.0
        self._crashes += 1
        self.view = replace(self.view, last=ended, restarts=self.view.restarts + 1)
        if waits:
            message = f"back-off {waits:.0f}s restarting failed container={self.view.name}"
            self._show(state=Waiting("CrashLoopBackOff", message))
            self._listener.happened("Warning", "BackOff", message)
            await self._pause(waits)

    def _refuse(self, error: CannotStart, times: int) -> None:
        reason = error.reason
        if reason == "ErrImagePull" and times > 1:
            reason = "ImagePullBackOff"
        waiting = Waiting(reason, str(error))
        if self.view.state != waiting:
            self._show(state=waiting, is_ready=False, is_started=False)
            self._listener.happened("Warning", "Failed", f"Error: {reason}: {error}")

    async def _probe(self, launch: Launch) -> None:
        if "startupProbe" in self.spec:
            await self._follow("startupProbe", launch, self._judge_startup)
        self._show(is_started=True, is_ready="readinessProbe" not in self.spec)
        self.started.set()
        async with asyncio.TaskGroup() as tasks:
            if "readinessProbe" in self.spec:
                tasks.create_task(self._follow("readinessProbe", launch, self._judge_readiness))
            if "livenessProbe" in self.spec:
                tasks.create_task(self._follow("livenessProbe", launch, self._judge_liveness))

    async def _follow(
        self, name: str, launch: Launch, said: Callable[[probes.Answer], bool]
    ) -> None:
        probe, session = self.spec[name], self._probe_session
        if session is None:
            raise RuntimeError("a container is probed before it runs")
        await probes.follow(
            probes.read_timing(probe), lambda: probes.ask(probe, launch.subject, session), said
        )

    def _judge_startup(self, answer: probes.Answer) -> bool:
        if not answer.passed:
            self._kill(f"Startup probe failed: {answer.message}")
        return False

    def _judge_readiness(self, answer: probes.Answer) -> bool:
        if self.view.is_ready and not answer.passed:
            message = f"Readiness probe failed: {answer.message}"
            self._listener.happened("Warning", "Unhealthy", message)
        self._show(is_ready=answer.passed)
        return True

    def _judge_liveness(self, answer: probes.Answer) -> bool:
        if not answer.passed:
            self._kill(f"Liveness probe failed: {answer.message}")
        return answer.passed

    def _kill(self, why: str) -> None:
        self._listener.happened("Warning", "Unhealthy", why)
        if (process := self._process) is not None:
            children.send(process, signal.SIGTERM)
            asyncio.get_running_loop().call_later(_PROBE_KILL_GRACE_SECONDS, self._finish, process)

    def _finish(self, process: Process) -> None:
        if process is self._process:
            children.send(process, signal.SIGKILL)

    async def _pre_stop(self, grace_seconds: float) -> None:
        hook = (self.spec.get("lifecycle") or {}).get("preStop") or {}
        if seconds := (hook.get("sleep") or {}).get("seconds"):
            await asyncio.sleep(min(seconds, grace_seconds))
        elif "exec" in hook or "httpGet" in hook:
            probe = {**hook, "timeoutSeconds": grace_seconds}
            launch = await self._prepare(self.spec)
            if self._probe_session is not None:
                await probes.ask(probe, launch.subject, self._probe_session)

    def _last_words(self, launch: Launch, offset: int) -> str:
        """Return the end of what this run logged, where the manifest asks for it."""
        if self.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        with launch.subject.log.open("rb") as file:
            file.seek(offset)
            return file.read()[-_MESSAGE_BYTES:].decode(errors="replace")

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _show(
        self,
        *,
        state: Waiting | Running | Terminated | None = None,
        is_started: bool | None = None,
        is_ready: bool | None = None,
    ) -> None:
        before = self.view
        self.view = replace(
            before,
            state=before.state if state is None else state,
            is_started=before.is_started if is_started is None else is_started,
            is_ready=before.is_ready if is_ready is None else is_ready,
        )
        if self.view != before:
            self._listener.changed()


def _now() -> datetime:
    return datetime.now(UTC)
