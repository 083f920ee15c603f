"""
How a world is, for people and for programs: reads what the supervisor wrote.

Pure but for reading one file; starts and stops nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.supervisor import Phase, State, is_claimed
from sandbox.world import World


@dataclass(frozen=True, slots=True)
class PartStatus:
    """One line of the table. `since` is in seconds since the epoch."""

    name: str
    state: State
    pid: int | None
    since: float
    restarts: int
    address: str
    log: str


@dataclass(frozen=True, slots=True)
class WorldStatus:
    """
    The world as its supervisor last described it.

    Attributes:
        phase: STOPPED too when the supervisor is gone, whatever it wrote before.
        supervisor: Its process id; None when it does not run.
        error: Why the start failed; empty if it did not.
        parts: In the order of the parts.
    """

    phase: Phase
    supervisor: int | None
    error: str
    parts: tuple[PartStatus, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether every part is ready."""
        return self.phase is Phase.READY and all(p.state is State.READY for p in self.parts)


def read_status(world: World) -> WorldStatus:
    """Return how `world` is now."""
    is_running = is_claimed(world.run)
    try:
        content = json.loads((world.run / "state.json").read_text())
    except FileNotFoundError:
        return WorldStatus(Phase.STARTING if is_running else Phase.STOPPED, None, "", ())
    return parse_status(content, is_running=is_running)


def parse_status(content: dict[str, Any], *, is_running: bool) -> WorldStatus:
    """Return what `state.json` says; a supervisor that was killed could not take it back."""
    phase = Phase(content["phase"])
    parts = tuple(
        PartStatus(**{**part, "state": State(part["state"])}) for part in content["parts"]
    )
    if is_running:
        return WorldStatus(phase, content["supervisor"], content["error"], parts)
    gone = tuple(
        PartStatus(p.name, State.STOPPED, None, p.since, p.restarts, p.address, p.log)
        if p.state is not State.FAILED
        else p
        for p in parts
    )
    ended = Phase.FAILED if phase is Phase.FAILED else Phase.STOPPED
    return WorldStatus(ended, None, content["error"], gone)


_HEADER = ("PART", "PID", "STATE", "FOR", "RESTARTS", "ADDRESS", "LOG")


def render_table(parts: Sequence[PartStatus], now: float) -> str:
    """Return the table of `parts`; `now` is in seconds since the epoch."""
    rows = [_HEADER]
    for part in parts:
        pid = "-" if part.pid is None else str(part.pid)
        since = render_duration(now - part.since)
        restarts = str(part.restarts)
        rows.append((part.name, pid, part.state, since, restarts, part.address or "-", part.log))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def render_duration(seconds: float) -> str:
    """Return `seconds` as kubectl writes an age: 42s, 7m, 3h, 2d."""
    whole = max(0, int(seconds))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"
