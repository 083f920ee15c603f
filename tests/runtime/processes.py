"""`headgate operator` as a process of its own, and waiting for what it does by itself."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from tests.runtime.cluster import ROOT

PATIENCE_SECONDS = 20


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that the operator does by itself."""
    for _ in range(PATIENCE_SECONDS * 20):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not in {PATIENCE_SECONDS} s: {what}")


class Process:
    """`headgate operator` as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    @classmethod
    async def start(cls, log: Path, *words: str) -> Process:
        """Start it with its log in a file."""
        environ = {name: text for name, text in os.environ.items() if name != "KUBECONFIG"}
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "headgate", "operator", "--http-host", "127.0.0.1", "--http-port", "0"),
                *words,
                stdout=stream,
                stderr=stream,
                env={**environ, "PYTHONPATH": str(ROOT / "operator")},
            )
        return cls(process, log)

    def lines(self) -> list[dict[str, str]]:
        """The log so far; every line must be JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def said(self, pattern: str) -> re.Match[str] | None:
        """The first log message that matches."""
        found = (re.search(pattern, line["message"]) for line in self.lines())
        return next((each for each in found if each), None)

    async def ended(self) -> int:
        """Wait for the end, at most ten seconds, and return the exit code."""
        return await asyncio.wait_for(self.process.wait(), 10)
