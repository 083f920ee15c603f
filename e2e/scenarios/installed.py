"""
Headgate as tests install it in an embedded world: rights from `manifests/`, operators as processes.

Owns what of a rendering is applied, logins and processes. Judges nothing.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox import audit
from sandbox.audit import Request
from sandbox.cluster import audit_folder
from sandbox.headgate import NAMESPACE, SERVICE_ACCOUNT, environment, write_login
from sandbox.part import answers, read_text
from sandbox.paths import ROOT
from sandbox.ports import choose
from sandbox.processes import last_lines, spawn, stop, wait_until
from sandbox.world import World
from scenarios.charts import CHART, helm
from scenarios.cluster import NAMESPACE as MODELS
from scenarios.cluster import Cluster

_START_SECONDS, _STOP_SECONDS = 60, 20
_PODS = ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")
_STAYS = ("CustomResourceDefinition", "Namespace")
"""What uninstalling leaves: the kinds with all their objects, and where others may have theirs."""


@dataclass(slots=True)
class EmbeddedOperator:
    """An operator's process."""

    process: subprocess.Popen[bytes]
    url: str

    def leads(self) -> bool:
        """Read its own gauge."""
        return "headgate_leader 1.0" in (read_text(f"{self.url}/metrics") or "").splitlines()

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """Send SIGTERM, and wait for the end."""
        began = time.monotonic()
        stop(self.process, _STOP_SECONDS)
        return time.monotonic() - began


@dataclass(slots=True)
class EmbeddedInstallation:
    """Rights that were applied, and the operators that were started with them."""

    world: World
    binary: Path
    account: str
    manifests: Sequence[Mapping[str, Any]]
    operators: list[EmbeddedOperator] = field(default_factory=list)

    def start(self, *words: str) -> EmbeddedOperator:
        """Start one; raises AssertionError with the end of its log if it is not ready in time."""
        port = choose(["operator"], {}, seed=hash(self.world.directory))["operator"]
        login, log = self._login, self.world.log("headgate")
        command = [str(self.binary), "operator", *words]
        process = spawn(command, log, environment(self.world, login, port))
        operator = EmbeddedOperator(process, f"http://127.0.0.1:{port}")
        self.operators.append(operator)

        def is_decided() -> bool:
            return process.poll() is not None or answers(f"{operator.url}/readyz")

        if not wait_until(is_decided, _START_SECONDS) or process.poll() is not None:
            raise AssertionError(f"the operator is not ready:\n{last_lines(log, 20)}")
        return operator

    def install(self) -> None:
        """Apply everything and log in."""
        control_plane = self.world.control_plane
        control_plane.apply("-f", "-", stdin=yaml.safe_dump_all(self.manifests))
        control_plane.wait_until_established()
        write_login(self.world, NAMESPACE, self.account, self._login)

    def uninstall(self) -> None:
        """End all operators, and delete what was applied as `helm uninstall` does."""
        for operator in self.operators:
            operator.stop()
        gone = [each for each in self.manifests if each["kind"] not in _STAYS]
        words = ("delete", "--ignore-not-found", "-f", "-")
        self.world.control_plane.kubectl(*words, stdin=yaml.safe_dump_all(gone))

    @property
    def _login(self) -> Path:
        return self.world.data / "operators" / self.account


@dataclass(slots=True)
class EmbeddedChart(EmbeddedInstallation):
    """The same by Helm, with the chart's own ServiceAccount and rules."""

    chart: Path = CHART

    def install(self) -> None:
        """Install the chart, or go on to it, and log in."""
        # Whoever was here before may have left the kinds: they are never deleted. An older chart
        # brings older ones here, and no pod of it finds a node: operators are our processes.
        options = ("--create-namespace", "--take-ownership", "--force-conflicts")
        chosen = ("--set", "crds.keepNewer=false,nodeSelector.processes=only")
        self._helm("upgrade", "headgate", str(self.chart), "--install", *options, *chosen)
        self.world.control_plane.wait_until_established()
        write_login(self.world, NAMESPACE, self.account, self._login)

    def upgrade(self, chart: Path) -> None:
        """See Charted."""
        self.chart = chart
        self.install()

    def uninstall(self) -> None:
        """End all operators, and let Helm take away what it installed."""
        for operator in self.operators:
            operator.stop()
        self._helm("uninstall", "headgate")

    def _helm(self, *words: str) -> None:
        helm(*words, "--kubeconfig", str(self.world.kubeconfig), "--namespace", NAMESPACE)


@dataclass(frozen=True, slots=True)
class EmbeddedBare:
    """An embedded world without Headgate."""

    world: World
    cluster: Cluster
    binary: Path

    @contextmanager
    def installed(self, overlay: str, account: str = "") -> Iterator[EmbeddedInstallation]:
        """See Bare."""
        account = account or SERVICE_ACCOUNT
        folder = ROOT / "manifests" / "overlays" / overlay
        rendered = self.world.control_plane.kubectl("kustomize", str(folder))
        manifests = render(yaml.safe_load_all(rendered), account)
        installation = EmbeddedInstallation(self.world, self.binary, account, manifests)
        installation.install()
        try:
            yield installation
        finally:
            installation.uninstall()

    @contextmanager
    def charted(self, chart: Path) -> Iterator[EmbeddedChart]:
        """See Bare."""
        account = SERVICE_ACCOUNT
        installation = EmbeddedChart(self.world, self.binary, account, (), chart=chart)
        installation.install()
        try:
            yield installation
        finally:
            installation.uninstall()

    def asked(self) -> Iterator[Request]:
        """See Bare."""
        return audit.read(audit_folder(self.world))


def render(manifests: Iterator[Any], account: str) -> list[dict[str, Any]]:
    """
    Return what is applied of an overlay where processes take the place of pods.

    The namespace `models` of the overlays is that of the scenarios, and the operator's
    ServiceAccount is called `account`.
    """
    applied = []
    for manifest in manifests:
        if not manifest or manifest["kind"] in _PODS:
            continue
        metadata = manifest["metadata"]
        if metadata.get("namespace") == "models":
            metadata["namespace"] = MODELS
        named = [metadata] if manifest["kind"] == "ServiceAccount" else []
        for each in (*named, *manifest.get("subjects", ())):
            if each["name"] == SERVICE_ACCOUNT:
                each["name"] = account
        applied.append(manifest)
    return applied
