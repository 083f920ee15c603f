"""The write-back as a process of its own: it starts without a cluster, and ends when told."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


async def test_it_waits_for_a_cluster_and_ends_when_told(tmp_path: Path) -> None:
    """With the API server away it lives, is not ready and says why; SIGTERM ends it with 0."""
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
    own = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headgate", "writeback", "--namespace", "headgate-system"),
        *("--http-host", "127.0.0.1", "--http-port", "0", "--kubeconfig", str(kubeconfig)),
        env=own | {"PYTHONPATH": str(ROOT / "operator")},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = None
            while found is None:
                found = re.search(r"on port (\d+)", (await process.stderr.readline()).decode())
            url = f"http://127.0.0.1:{found[1]}"
            async with aiohttp.ClientSession() as session:
                async with session.get(url + "/livez") as answer:
                    alive = answer.status
                async with session.get(url + "/readyz") as answer:
                    ready = (answer.status, await answer.text())
            process.send_signal(signal.SIGTERM)
            lines = (await process.stderr.read()).decode()
            code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert (alive, ready, code) == (200, (503, "reading policies\n"), 0)
    assert '"message": "stopped"' in lines
