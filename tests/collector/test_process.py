"""The collector as a process of its own: it starts without a cluster, and ends when told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from tests.collector.samples import PATH, SECRET, headers

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30.0


def environment() -> dict[str, str]:
    """The environment of a process that runs this tree."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    return own | {"PYTHONPATH": str(ROOT / "operator")}


@asynccontextmanager
async def started(kubeconfig: Path) -> AsyncIterator[tuple[Process, int, list[str]]]:
    """A collector process, its port, and what it logs; killed if it is still there at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headgate", "collector", "--host", "127.0.0.1", "--port", "0"),
        *("--kubeconfig", str(kubeconfig)),
        env=environment(),
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not lines or "collects on port" not in lines[-1]:
                lines.append((await process.stderr.readline()).decode())
        found = re.search(r"port (\d+)", lines[-1])
        assert found is not None
        yield process, int(found[1]), lines
        lines += (await process.stderr.read()).decode().splitlines()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_serves_without_a_cluster_and_ends_when_told(tmp_path: Path) -> None:
    """With the API server away events are answered; SIGTERM ends it; no payload is logged."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        json.dumps(
            {
                "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
                "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
                "users": [{"name": "x", "user": {}}],
                "current-context": "x",
            }
        )
    )
    async with started(kubeconfig) as (process, port, lines):
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as session:
            async with session.post(
                url + PATH, json={"instances": [SECRET]}, headers=headers()
            ) as response:
                assert response.status == 200
            async with session.get(url + "/metrics") as response:
                page = await response.text()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            code = await process.wait()

    assert code == 0
    assert 'headgate_build_info{version="' in page
    assert SECRET not in "".join(lines) + page
    assert [json.loads(line)["message"] for line in lines][-1].startswith("stopped, ")


async def test_a_new_start_begins_at_zero(tmp_path: Path) -> None:
    """Nothing is stored: a killed collector comes back without its counts, as a counter may."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("{}")
    for _ in range(2):
        async with started(kubeconfig) as (process, port, _):
            url = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession() as session:
                async with session.get(url + "/metrics") as response:
                    page = await response.text()
                async with session.post(url + PATH, data=b"{", headers=headers()) as response:
                    assert response.status == 200
            process.kill()
            await process.wait()

        assert 'headgate_collector_events_total{half="request",result="no-profile"} 0.0' in page
