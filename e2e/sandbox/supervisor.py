"""
The one process that starts the parts, watches them, and ends them all when it ends.

Owns the order of starting, restarts with back-off, and `run/state.json`, from which others read how
the world is. Knows no part by name. Single-threaded on purpose: the kernel kills a child when the
thread that started it ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from sandbox.cache import MissingError
from sandbox.controlplane import KubectlError
from sandbox.part import Part
from sandbox.processes import last_lines, spawn, stop, wait_until
from sandbox.world import World, write_json

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_STOP_SECONDS = 10
_CLAIM_SECONDS = 0.5
_LOG_LINES = 15
_FIRST_BACKOFF_SECONDS, _LONGEST_BACKOFF_SECONDS = 0.5, 30.0
_FORGIVEN_AFTER_SECONDS = 60.0

_EXPECTED = (KubectlError, MissingError, OSError, subprocess.SubprocessError, TimeoutError)


class State(StrEnum):
    """How a part is."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing off"
    DEAD = "dead"
    FAILED = "failed"
    STOPPED = "stopped"


class Phase(StrEnum):
    """How the world is as a whole."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"


class StartError(Exception):
    """A part did not become ready; the message holds the end of its log."""


class AlreadyRunningError(Exception):
    """Another supervisor runs this world."""


@dataclass(slots=True)
class Running:
    """A part and what became of it. `since` is in seconds since the epoch."""

    part: Part
    since: float
    state: State = State.WAITING
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    was_ready: bool = False
    not_before: float = 0.0

    def enter(self, state: State) -> None:
        """Change the state, and note when."""
        self.state, self.since = state, time.time()
        log.info("%s: %s", self.part.name, state)


def backoff_seconds(restarts: int) -> float:
    """Return how long to wait before restart number `restarts` + 1: doubles, and is bounded."""
    return min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(restarts, 16), _LONGEST_BACKOFF_SECONDS)


class Supervisor:
    """Runs `parts` of `world` until it is told to stop."""

    def __init__(self, world: World, parts: Sequence[Part], lifetime_of: int | None = None) -> None:
        """Prepare; `lifetime_of` is a process id: the world ends when that process does."""
        self._world = world
        self._running = {part.name: Running(part, since=time.time()) for part in parts}
        self._lifetime_of = lifetime_of
        self._phase = Phase.STARTING
        self._error = ""
        self._stopping = False

    def run(self) -> int:
        """
        Start everything, watch it, stop it on SIGTERM or SIGINT.

        Returns:
            0 after an orderly stop, 1 when a part did not start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        try:
            while not self._should_stop():
                for running in self._running.values():
                    self._step(running)
                if all(each.was_ready for each in self._running.values()):
                    self._phase = Phase.READY
                self._publish()
                time.sleep(_POLL_SECONDS)
        except StartError as error:
            log.error("%s", error)
            self._error = str(error)
        self._stop_all()
        self._phase = Phase.FAILED if self._error else Phase.STOPPED
        self._publish()
        return 1 if self._error else 0

    def _on_signal(self, number: int, frame: object) -> None:
        self._stopping = True

    def _should_stop(self) -> bool:
        if self._lifetime_of is not None and not _is_alive(self._lifetime_of):
            self._stopping = True
        return self._stopping

    def _step(self, running: Running) -> None:
        match running.state:
            case State.WAITING if self._may_start(running.part):
                self._start(running)
            case State.BACKING_OFF if time.time() >= running.not_before:
                running.restarts += 1
                self._start(running)
            case State.STARTING | State.READY if _has_ended(running):
                self._ended(running)
            case State.STARTING:
                self._check(running)
            case _:
                pass

    def _may_start(self, part: Part) -> bool:
        needed = (self._running[name] for name in part.needs if name in self._running)
        return all(each.state is State.READY for each in needed)

    def _start(self, running: Running) -> None:
        part, log_file = running.part, self._world.log(running.part.name)
        running.enter(State.STARTING)
        self._publish()
        try:
            part.before(self._world)
            environment = part.environment(self._world)
            running.process = spawn(part.command(self._world), log_file, environment)
        except _EXPECTED as error:
            self._fail(running, f"cannot be started: {error}")

    def _check(self, running: Running) -> None:
        try:
            if running.part.is_ready(self._world):
                running.part.after(self._world)
                running.was_ready = True
                running.enter(State.READY)
                return
        except _EXPECTED as error:
            self._fail(running, f"is up, but cannot be set up: {error}")
            return
        if time.time() - running.since > running.part.patience_seconds:
            self._fail(running, f"was not ready in {running.part.patience_seconds:.0f} s")

    def _ended(self, running: Running) -> None:
        code = running.process.returncode if running.process else None
        if running.process:
            stop(running.process, 0)  # children that it left behind
        if not running.was_ready:
            self._fail(running, f"ended with {code} before it was ready")
        elif running.part.restarts:
            self._back_off(running)
        else:
            log.error("%s ended with %s", running.part.name, code)
            running.enter(State.DEAD)

    def _back_off(self, running: Running) -> None:
        if time.time() - running.since > _FORGIVEN_AFTER_SECONDS:
            running.restarts = 0
        running.not_before = time.time() + backoff_seconds(running.restarts)
        running.enter(State.BACKING_OFF)

    def _fail(self, running: Running, reason: str) -> None:
        """Give up on a part: the whole start before it was ever ready, else only this attempt."""
        if running.process:
            stop(running.process, _STOP_SECONDS)
        if running.was_ready and running.part.restarts:
            log.error("%s %s", running.part.name, reason)
            self._back_off(running)
            return
        running.enter(State.FAILED)
        log_file = self._world.log(running.part.name)
        ending = last_lines(log_file, _LOG_LINES)
        raise StartError(f"{running.part.name} {reason}\n--- end of {log_file}\n{ending}")

    def _stop_all(self) -> None:
        for running in reversed(self._running.values()):
            if running.process:
                stop(running.process, _STOP_SECONDS)
            if running.state is not State.FAILED:
                running.enter(State.STOPPED)
            self._publish()

    def _publish(self) -> None:
        content = {
            "supervisor": os.getpid(),
            "phase": self._phase,
            "error": self._error,
            "parts": [self._describe(running) for running in self._running.values()],
        }
        write_json(self._world.run / "state.json", content)

    def _describe(self, running: Running) -> dict[str, Any]:
        return {
            "name": running.part.name,
            "state": running.state,
            "pid": running.process.pid if running.process else None,
            "since": running.since,
            "restarts": running.restarts,
            "address": running.part.address(self._world),
            "log": str(self._world.log(running.part.name)),
        }


def _has_ended(running: Running) -> bool:
    return running.process is not None and running.process.poll() is not None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def claim(directory: Path) -> IO[str]:
    """
    Take the world for this process; it is free again when the file is closed or the process ends.

    Raises:
        AlreadyRunningError: Another process has it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lock = (directory / "supervisor.lock").open("w")
    # Whoever only looks holds the lock for a moment too.
    if wait_until(lambda: _try_lock(lock), _CLAIM_SECONDS):
        return lock
    lock.close()
    raise AlreadyRunningError(f"{directory.parent} is already up")


def is_claimed(directory: Path) -> bool:
    """Say whether a supervisor runs the world whose `run` folder is `directory`."""
    if not directory.exists():
        return False
    with (directory / "supervisor.lock").open("w") as lock:
        return not _try_lock(lock)


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def supervise(world: World, parts: Sequence[Part], lifetime_of: int | None) -> int:
    """Run the world in this process; the exit code is of `Supervisor.run`."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with claim(world.run):
        return Supervisor(world, parts, lifetime_of).run()


def start(
    world: World, without: Sequence[str], added: Sequence[str], lifetime_of: int | None
) -> subprocess.Popen[bytes]:
    """Start the supervisor of `world` in the background; it belongs to nobody's terminal."""
    (world.run / "state.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "sandbox", "--world", world.name, "supervise"]
    command += [word for name in without for word in ("--without", name)]
    command += [word for name in added for word in ("--with", name)]
    command += [] if lifetime_of is None else ["--lifetime-of", str(lifetime_of)]
    with world.log("supervisor").open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
