"""
The programs that make the cluster: kind, kubectl, helm, openssl, the container engine.

Owns where they come from and how they are run. kind is taken from PATH, else built from its Go
module at the version below; its node image comes with it, by digest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.builds import Module, Recipe, Report, build, download
from sandbox.cache import Cache
from sandbox.paths import cache_root, log_of_build
from sandbox.toolchain import find_go, installed

KIND = Module("sigs.k8s.io/kind", "v0.33.0", "h1:AjvDv3vOygb/VKLVQW87lfktIBzkxR8Ump9DjxC8+Lk=")
NEEDED = ("kubectl", "helm", "openssl")


class ToolFailed(Exception):
    """A program is missing, or ended with a failure; the text has its last words."""


def _make_kind(folder: Path) -> None:
    go = installed(find_go(), Cache(cache_root()))
    arguments = ["build", "-ldflags=-s -w", "-o", str(folder / "kind"), "."]
    go.run(arguments, download(KIND), log_of_build("kind"))


KIND_BINARY = Recipe(
    "kind",
    "kind (about 1 min, once)",
    lambda: [find_go().version, KIND.path, KIND.version, KIND.checksum],
    _make_kind,
)


def find_kind(report: Report) -> str:
    """Return the program: that of PATH, else one that is built now and kept."""
    return shutil.which("kind") or str(build(KIND_BINARY, report) / "kind")


def missing() -> Sequence[str]:
    """Name the programs that are needed beside kind and are not on PATH."""
    return [name for name in NEEDED if shutil.which(name) is None]


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs, with the kubeconfig that all of them use."""

    kind: str
    engine: str
    kubeconfig: Path

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Run a program to its end and return what it printed; raises ToolFailed."""
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "KIND_EXPERIMENTAL_PROVIDER": self.engine,
        }
        try:
            done = subprocess.run(
                list(command),
                env=environment,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise ToolFailed(f"{command[0]}: {error.strerror or error}") from error
        if done.returncode:
            words = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise ToolFailed(f"{' '.join(command)} ended with {done.returncode}:\n{words}")
        return done.stdout

    def apply(self, manifests: str) -> None:
        """Apply manifests as they shall be, by server-side apply: CRDs are too long otherwise."""
        command = ("kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-")
        self.run(*command, stdin=manifests)

    def wait_rolled_out(self, namespace: str, name: str) -> None:
        """Wait until a Deployment serves as it is wanted."""
        self.run(
            *("kubectl", "rollout", "status", f"deployment/{name}", "-n", namespace),
            "--timeout=300s",
        )
