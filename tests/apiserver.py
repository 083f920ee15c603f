"""
A real kube-apiserver for tests: etcd and the API server, Headgate's CRDs, nothing else.

Without controllers, unless asked for: what a test sees was written by the test. Costs about three
seconds once a session; the binary comes from the embedded world's cache and is built when it is not
there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.builds import CONTROL_PLANE, build
from sandbox.controlplane import ControlPlane
from sandbox.paths import ROOT
from sandbox.ports import choose
from sandbox.processes import last_lines, spawn, stop, wait_until

START_SECONDS = 60
STOP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A running API server. `kubeconfig` is the administrator's, `url` its address."""

    control_plane: ControlPlane

    @property
    def kubeconfig(self) -> Path:
        """The administrator's login."""
        return self.control_plane.kubeconfig

    @property
    def url(self) -> str:
        """The address of the API server."""
        return self.control_plane.url

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as administrator; raises KubectlError with what the server said."""
        return self.control_plane.kubectl(*arguments, stdin=stdin)

    def apply_crds(self, folder: Path) -> None:
        """Apply the CRDs of `folder` and wait until they are served; none is fine."""
        if any(folder.glob("*.yaml")):
            self.control_plane.apply("-f", str(folder))
            self.control_plane.wait_until_established()


def _is_ready_in_time(control_plane: ControlPlane, process: subprocess.Popen[bytes]) -> bool:
    def is_decided() -> bool:
        return process.poll() is not None or control_plane.is_ready()

    return wait_until(is_decided, START_SECONDS) and process.poll() is None


@contextmanager
def running(folder: Path, *flags: str, controllers: bool = False) -> Iterator[ApiServer]:
    """Run an API server with its data in `folder`, and stop it at the end.

    `flags` are further ones of `controlplane serve`. With `controllers` garbage is collected, and
    Deployments make pods that nobody runs.
    """
    binary = build(CONTROL_PLANE, lambda line: print(line, file=sys.stderr)) / "controlplane"
    port = choose(["apiserver"], {}, seed=os.getpid() * 7)["apiserver"]
    control_plane = ControlPlane(binary, folder / "data", folder / "kubeconfig", port)
    log = folder / "controlplane.log"
    chosen = () if controllers else ("--controllers=false",)
    process = spawn(control_plane.command(*chosen, *flags), log)
    try:
        if not _is_ready_in_time(control_plane, process):
            raise AssertionError(f"the API server did not start:\n{last_lines(log, 20)}")
        server = ApiServer(control_plane)
        server.apply_crds(ROOT / "crds")
        yield server
    finally:
        stop(process, STOP_SECONDS)
