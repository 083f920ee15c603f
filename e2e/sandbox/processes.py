"""
Processes that cannot outlive who started them.

Owns starting, stopping and reading logs. Knows no part of the world by name.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_POLL_SECONDS = 0.02


def die_with_parent() -> None:
    """
    Ask the kernel to kill this process when its parent ends, however that ends.

    To be called in the child; the parent is the *thread* that forked, so long-lived children must
    be started by a thread that lives as long. Only direct children are reached: a part that starts
    processes itself uses `spawn` too.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """
    Start `command` in a session of its own, writing to the end of `log`.

    Raises:
        OSError: The program cannot be run.
    """
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent()
        if os.getppid() != parent:  # the parent ended before the kernel was asked
            os._exit(1)

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=folder,
            start_new_session=True,
            preexec_fn=prepare,
        )


def stop(process: subprocess.Popen[bytes], patience_seconds: float) -> None:
    """Ask `process` to end; after `patience_seconds` its whole group is killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
    kill_group(process.pid)
    process.wait()


def kill_group(group: int) -> None:
    """Kill what is left of a process group; none left is fine."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def last_lines(log: Path, count: int) -> str:
    """Return the last `count` lines of `log`; empty when there is no log."""
    if not log.exists():
        return ""
    with log.open("rb") as content:
        content.seek(0, os.SEEK_END)
        content.seek(max(0, content.tell() - count * 400))
        return "\n".join(content.read().decode(errors="replace").splitlines()[-count:])


def wait_until(is_true: Callable[[], bool], patience_seconds: float) -> bool:
    """Poll `is_true` until it is, or `patience_seconds` have passed; says which."""
    deadline = time.monotonic() + patience_seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True
