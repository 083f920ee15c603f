"""
Child processes of a part that runs on asyncio; they never outlive it.

Owns how such a child is started and ended. Knows nothing of what the children do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox.processes import die_with_parent


async def start(
    argv: Sequence[str], *, log: Path, env: Mapping[str, str], folder: Path | None = None
) -> Process:
    """
    Start a process in a session of its own; its output is appended to `log`.

    Call it from the main thread only: the kernel ties the child to the thread that made it.

    Raises:
        OSError: The program cannot be run.
    """
    parent = os.getpid()

    def prepare() -> None:
        die_with_parent()
        if os.getppid() != parent:  # the parent ended before the kernel was asked
            os._exit(1)

    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(env),
            cwd=folder,
            start_new_session=True,
            preexec_fn=prepare,
        )


def send(child: Process, number: signal.Signals) -> None:
    """Signal the child and everything it started; one that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


async def stop(child: Process, grace_seconds: float) -> int:
    """
    End the child: SIGTERM, and SIGKILL after the grace; return its exit status.

    A status below zero is the number of the signal that ended it.
    """
    send(child, signal.SIGTERM)
    try:
        async with asyncio.timeout(grace_seconds):
            code = await child.wait()
    except TimeoutError:
        send(child, signal.SIGKILL)
        code = await child.wait()
    # Whatever the child left behind in its group goes with it.
    send(child, signal.SIGKILL)
    return code


def kill_strays(mark: str) -> int:
    """
    Kill processes that an earlier run of a part left behind; return how many.

    The kernel ends the children of a part that dies, not what those started themselves. `mark` is
    an entry NAME=VALUE of their environment that nobody else has.
    """
    wanted = mark.encode()
    killed = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
                killed += 1
    return killed
