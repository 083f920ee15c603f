"""
The embedded world as a cluster under test: brought up, broken on purpose, taken down.

Owns the processes' signals. Parts that nobody starts again are stopped (SIGSTOP), not killed: their
connections hang then, which is the worse way not to answer.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sandbox import audit
from sandbox.audit import Request
from sandbox.builds import build
from sandbox.cluster import audit_folder
from sandbox.dependency import Dependency, history_variable
from sandbox.headgate import HEADGATE
from sandbox.past import Past, write_past
from sandbox.paths import ROOT, world_directory
from sandbox.processes import wait_until
from sandbox.status import PartStatus, read_status
from sandbox.supervisor import State
from sandbox.world import World, load_world
from scenarios.api import Api
from scenarios.cluster import NAMESPACE, Cluster
from scenarios.installed import EmbeddedBare

OPERATOR, PROMETHEUS, CONTROL_PLANE = "headgate", "prometheus", "control-plane"
_RESTART_SECONDS = 60


class WorldError(Exception):
    """The embedded world did not start, or a part of it did not come back."""


@dataclass(frozen=True, slots=True)
class EmbeddedFaults:
    """Breaks parts of a world by signals."""

    world: World

    def kill_operator(self) -> None:
        """Kill it; the supervisor starts another one, as a kubelet would."""
        killed = self._process(OPERATOR)
        os.kill(killed, signal.SIGKILL)
        if not wait_until(lambda: self._is_replaced(killed), _RESTART_SECONDS):
            raise WorldError(f"no operator came after process {killed}")

    @contextmanager
    def prometheus_down(self) -> Iterator[None]:
        """Stop it; it takes connections and answers none."""
        with self._stopped(PROMETHEUS):
            yield

    @contextmanager
    def api_server_down(self) -> Iterator[None]:
        """Stop the whole control plane: etcd, API server, controllers and scheduler."""
        with self._stopped(CONTROL_PLANE):
            yield

    @contextmanager
    def dependency_failing(self, share: float) -> Iterator[None]:
        """Let the card's history fail a share of its requests."""
        with Dependency(self.world).failing(share):
            yield

    def start_dependency(self) -> Mapping[str, object]:
        """Start the card's history."""
        Dependency(self.world).deploy()
        return history_variable()

    def spent_budget(self, model: str, until: datetime) -> None:
        """Write the counters of its route's only backend."""
        write_past(self.world, f"httproute/{NAMESPACE}/{model}/rule/0/backend/0", _bad_day(until))

    @contextmanager
    def _stopped(self, part: str) -> Iterator[None]:
        process = self._process(part)
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    def _is_replaced(self, killed: int) -> bool:
        part = self._part(OPERATOR)
        return part.state is State.READY and part.pid not in (None, killed)

    def _process(self, part: str) -> int:
        pid = self._part(part).pid
        if pid is None:
            raise WorldError(f"{part} does not run")
        return pid

    def _part(self, name: str) -> PartStatus:
        return next(part for part in read_status(self.world).parts if part.name == name)


def _bad_day(until: datetime) -> Past:
    """A hundred requests a minute, of which a quarter failed from the third hour to the fifth."""
    day, incident = timedelta(hours=23), (timedelta(hours=3), timedelta(hours=5))
    return Past(until, day, requests=100, failed=25, incident=incident)


@dataclass(frozen=True, slots=True)
class EmbeddedWorlds:
    """
    The embedded worlds of one session; it begins with none.

    Attributes:
        told: What the scenarios of all of them said for the summary.
        logs: Where the logs are of those that were used.
        audits: Where their API servers wrote down what Headgate asked.
        ending: Set when nobody waits for a scenario any more.
    """

    told: list[str] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    audits: list[Path] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def up(self, name: str, *options: str, without: Sequence[str] = ()) -> Iterator[Cluster]:
        """Bring a new world up with these options, without these parts, and down at the end; its
        logs stay."""
        words = [word for option in options for word in ("--with", option)]
        words += [word for part in without for word in ("--without", part)]
        with self._up(name, *words) as world, self.opened(world) as cluster:
            yield cluster

    @contextmanager
    def without_headgate(self, name: str) -> Iterator[EmbeddedBare]:
        """Bring a new world without operator and collector up, and down at the end."""
        place = build(HEADGATE, lambda _: None)
        with self._up(name, "--without", OPERATOR) as world, self.opened(world) as cluster:
            yield EmbeddedBare(world, cluster, place / "bin" / "headgate")

    def asked(self) -> Iterator[Request]:
        """Yield what was asked in all of them so far."""
        for folder in self.audits:
            yield from audit.read(folder)

    @contextmanager
    def _up(self, name: str, *words: str) -> Iterator[World]:
        logs = world_directory(name) / "logs"
        if logs in self.logs:
            raise WorldError(f"{name}: HEADGATE_SANDBOX names the folder of another world")
        self.logs.append(logs)
        _run_sandbox(name, "up", "--fresh", "--lifetime-of", str(os.getpid()), *words)
        try:
            yield load_world(name)
        finally:
            _run_sandbox(name, "down")

    @contextmanager
    def opened(self, world: World) -> Iterator[Cluster]:
        """Make a cluster under test from a world that is up."""
        self.audits.append(audit_folder(world))
        with Api(world.kubeconfig) as api:
            api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            yield Cluster(
                gateway=world.url("gateway"),
                api=api,
                login=world.kubeconfig,
                operator_login=world.data / "headgate" / "kubeconfig",
                operator_log=world.log(OPERATOR),
                faults=EmbeddedFaults(world),
                folder=world.data / "scenarios",
                told=self.told,
                ending=self.ending,
            )


def _run_sandbox(name: str, *arguments: str) -> None:
    # Found as it was found here, installed or not.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "e2e")}
    command = [sys.executable, "-m", "sandbox", "--world", name, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorldError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
