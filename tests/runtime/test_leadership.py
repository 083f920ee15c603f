"""Two operator processes and one Lease, against a real API server with the rights of manifests/."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from tests.runtime.cluster import ROOT, install, kubeconfig_of
from tests.runtime.processes import Process, eventually

from sandbox.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

NAMESPACE = "headgate-system"
QUICK = (
    *("--leader-elect", "--lease-namespace", NAMESPACE, "--lease-duration", "3s"),
    *("--lease-renew-deadline", "2s", "--lease-retry", "500ms", "--shutdown-grace", "1s"),
)


class Operators:
    """Operators that log in as the ServiceAccount, each with a log of its own."""

    def __init__(self, server: ApiServer, kubeconfig: Path, folder: Path) -> None:
        self.server = server
        self.kubeconfig = kubeconfig
        self.folder = folder
        self.started: list[Process] = []

    async def start(self) -> Process:
        """Start one, and wait until it serves."""
        log = self.folder / f"{len(self.started)}.log"
        words = ("--kubeconfig", str(self.kubeconfig), "--namespaces", "default", *QUICK)
        process = await Process.start(log, *words)
        self.started.append(process)
        await eventually(lambda: process.said(r"on port (\d+)") is not None, "a port")
        return process

    async def answer(self, process: Process, path: str) -> str:
        """What one of them answers; empty while it does not."""
        port = process.said(r"on port (\d+)")
        assert port is not None
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port[1]}{path}") as response,
            ):
                return await response.text()
        except aiohttp.ClientError:
            return ""

    def lease(self) -> dict[str, object]:
        """The Lease's spec."""
        found = self.server.kubectl("get", "lease", "headgate", "-n", NAMESPACE, "-o", "json")
        spec: dict[str, object] = json.loads(found)["spec"]
        return spec


@pytest.fixture
async def operators(apiserver: ApiServer, tmp_path: Path) -> AsyncIterator[Operators]:
    """No operator yet, no Lease yet, and the rights that two replicas need."""
    install(apiserver)
    rights = ROOT / "manifests" / "overlays" / "two-replicas" / "rbac.yaml"
    apiserver.control_plane.apply("-f", str(rights))
    with contextlib.suppress(KubectlError):
        apiserver.kubectl("delete", "lease", "headgate", "-n", NAMESPACE)
    account = f"{NAMESPACE}/headgate"
    login = kubeconfig_of(apiserver, account, apiserver.url, tmp_path / "kubeconfig")
    operators = Operators(apiserver, login, tmp_path)
    yield operators
    for process in operators.started:
        if process.process.returncode is None:
            process.process.send_signal(signal.SIGCONT)
            process.process.kill()
            await process.process.wait()


async def one_and_standby(operators: Operators) -> tuple[Process, Process]:
    """Start two, one after the other."""
    first = await operators.start()
    await eventually(lambda: first.said("is ours") is not None, "the first has the Lease")
    second = await operators.start()
    await eventually(lambda: second.said("standing by") is not None, "the second stands by")
    return first, second


async def test_the_standby_is_ready_and_takes_over_from_one_that_stops(
    operators: Operators,
) -> None:
    """Whoever stops releases the Lease; the other works, and both say by a gauge who does."""
    first, second = await one_and_standby(operators)
    assert await operators.answer(second, "/readyz") == "standing by: another one works\n"
    assert "headgate_leader 0.0" in await operators.answer(second, "/metrics")
    assert "headgate_leader 1.0" in await operators.answer(first, "/metrics")
    assert second.said("listed|woken|watch") is None

    first.process.send_signal(signal.SIGTERM)

    assert await first.ended() == 0
    assert first.said("released Lease headgate-system/headgate") is not None
    await eventually(lambda: second.said("is ours") is not None, "the second has the Lease")
    assert "headgate_leader 1.0" in await operators.answer(second, "/metrics")
    assert operators.lease()["leaseTransitions"] == 1
    for process in (first, second):
        assert [x for x in process.lines() if x["level"] in ("error", "critical")] == []


async def test_the_standby_takes_over_from_one_that_was_killed(operators: Operators) -> None:
    """Nobody released it: it runs out, seen by the standby's own clock."""
    first, second = await one_and_standby(operators)

    first.process.kill()

    await eventually(lambda: second.said("is ours") is not None, "the second has the Lease")


async def test_one_that_was_stopped_and_overtaken_ends(operators: Operators) -> None:
    """It wakes to another's name in the Lease, writes nothing more, and exits with 1."""
    first, second = await one_and_standby(operators)

    first.process.send_signal(signal.SIGSTOP)
    await eventually(lambda: second.said("is ours") is not None, "the second has the Lease")
    first.process.send_signal(signal.SIGCONT)

    assert await first.ended() == 1
    [last] = [line for line in first.lines() if line["level"] == "critical"]
    assert "Lease headgate-system/headgate is lost: " in last["message"]
    assert second.process.returncode is None


async def test_a_standby_stops_at_once(operators: Operators) -> None:
    """SIGTERM ends it with 0, and the other one keeps the Lease."""
    _, second = await one_and_standby(operators)
    before = operators.lease()["holderIdentity"]

    second.process.send_signal(signal.SIGTERM)

    assert await second.ended() == 0
    assert operators.lease()["holderIdentity"] == before


async def test_without_the_right_it_says_what_to_apply(operators: Operators) -> None:
    """The base's rights do not include Leases: exit code 1, and one line that names the overlay."""
    operators.server.kubectl("delete", "rolebinding", "headgate-leader", "-n", NAMESPACE)

    process = await operators.start()

    assert await process.ended() == 1
    [said] = [line["message"] for line in process.lines() if line["level"] == "critical"]
    assert said.startswith("wanted to hold Lease headgate-system/headgate, found: ")
    assert "HTTP 403" in said
    assert said.endswith("is manifests/overlays/two-replicas applied?")
