"""
A world of harmless parts, supervised for real: `python tiny.py FOLDER STORY [PID]`.

Run as a process of its own, for a supervisor takes over the signals of its process.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sandbox.part import Part
from sandbox.supervisor import supervise
from sandbox.world import World

LIVES = "print('{name} lives', flush=True); open('{mark}', 'w').close(); time.sleep(600)"
FAILS = "print('{name} says why', flush=True); sys.exit(3)"
HANGS = "time.sleep(600)"
BREEDS = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); " + LIVES


def make(name: str, code: str, *needs: str, **more: object) -> Part:
    """Return a part that runs `code` and is ready when its mark exists."""

    def mark(world: World) -> Path:
        return world.data / name

    def command(world: World) -> list[str]:
        text = code.format(mark=mark(world), name=name)
        return [sys.executable, "-c", f"import subprocess, sys, time; {text}"]

    return Part(
        name=name,
        command=command,
        is_ready=lambda world: mark(world).exists(),
        address=lambda world: f"of {name}",
        before=lambda world: mark(world).unlink(missing_ok=True),
        needs=needs,
        **more,  # type: ignore[arg-type]
    )


STORIES = {
    "good": [make("second", LIVES, "first"), make("first", LIVES)],
    "restarts": [make("first", LIVES, restarts=True)],
    "stays-dead": [make("first", LIVES)],
    "fails": [make("first", LIVES), make("second", FAILS, "first")],
    "hangs": [make("first", HANGS, patience_seconds=0.3)],
    "breeds": [make("first", BREEDS)],
    "left-out": [make("second", LIVES, "somebody-left-out")],
}


def main() -> int:
    """Run the story."""
    world = World("tiny", Path(sys.argv[1]), {}, {})
    for folder in (world.run, world.data, world.logs):
        folder.mkdir(parents=True, exist_ok=True)
    lifetime_of = int(sys.argv[3]) if len(sys.argv) > 3 else None
    return supervise(world, STORIES[sys.argv[2]], lifetime_of)


if __name__ == "__main__":
    sys.exit(main())
