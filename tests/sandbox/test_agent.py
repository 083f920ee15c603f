"""KServe's real agent beside a server, as KServe's webhook puts it there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.sandbox.fakeapi import serving
from tests.sandbox.podcluster import Cluster, Json, becomes, python
from tests.sandbox.waiting import until

from sandbox.builds import KSERVE_AGENT, build

pytestmark = pytest.mark.sandbox

LOG_URL = "http://collector.headgate-system/v1/models/fraud/0f0f0f0f"
PROBE = {"tcpSocket": {"port": 8080}, "timeoutSeconds": 1, "periodSeconds": 10}
SERVER = """
import os
from aiohttp import web
async def answer(request):
    is_bad = b"NaN" in await request.read()
    return web.json_response({"predictions": [0]}, status=500 if is_bad else 200)
app = web.Application()
app.router.add_post("/v1/models/fraud:predict", answer)
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
"""


@asynccontextmanager
async def service_proxy(events: list[dict[str, Any]]) -> AsyncIterator[str]:
    """Stand for the proxy that knows all Services, and take what is sent to the collector."""

    async def take(request: web.Request) -> web.Response:
        attributes = {k.lower(): v for k, v in request.headers.items() if k.lower() != "host"}
        url = f"http://{request.headers['Host']}{request.path}"
        events.append({**attributes, "url": url, "body": await request.read()})
        return web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    running = TestServer(app, host="127.0.0.1")
    await running.start_server()
    try:
        yield f"http://127.0.0.1:{running.port}"
    finally:
        await running.close()


def injected() -> Json:
    """Return the container that KServe 0.20 injects for `predictor.logger`."""
    flags = {
        "--log-url": LOG_URL,
        "--source-uri": "",
        "--log-mode": "all",
        "--inference-service": "fraud-0f0f0f0f",
        "--namespace": "models",
        "--endpoint": "",
        "--component": "predictor",
        "--logger-tls-skip-verify": "false",
        "--component-port": "8080",
    }
    queue = [{"name": "K-Network-Probe", "value": "queue"}]
    return {
        "name": "agent",
        "image": "kserve/agent:latest",
        "args": [word for pair in flags.items() for word in pair],
        "env": [{"name": "SERVING_READINESS_PROBE", "value": json.dumps(PROBE)}],
        "ports": [{"name": "agent-port", "containerPort": 9081}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 9081, "httpHeaders": queue}},
    }


@pytest.mark.parametrize(
    ("body", "status", "halves"),
    [
        pytest.param({"instances": [[1]]}, 200, ["request", "response"], id="a good answer"),
        pytest.param({"instances": ["NaN"]}, 500, ["request"], id="a failure has one half"),
    ],
)
async def test_what_is_asked_and_answered_reaches_the_log_url(
    tmp_path: Path, body: Json, status: int, halves: list[str]
) -> None:
    """A request through the agent's port is answered by the server, and told by Service name."""
    agent = await asyncio.to_thread(build, KSERVE_AGENT, print) / "agent"
    events: list[dict[str, Any]] = []
    async with serving() as api, service_proxy(events) as proxy, aiohttp.ClientSession() as session:
        cluster = Cluster(api, tmp_path, agent, proxy)
        cluster.start()
        try:
            server = python(SERVER, env=[{"name": "PORT", "value": "8080"}], readinessProbe=PROBE)
            await cluster.run_pod(server, injected())
            await becomes(lambda: cluster.condition("Ready"), "True")
            ports = json.loads(
                cluster.pod()["metadata"]["annotations"]["sandbox.headgate.dev/ports"]
            )
            url = f"http://127.0.0.1:{ports['9081']}/v1/models/fraud:predict"
            async with session.post(url, json=body) as response:
                assert response.status == status
            await until(lambda: len(events) >= len(halves))
        finally:
            await cluster.stop()

    prefix = "org.kubeflow.serving.inference."
    assert sorted(event["ce-type"] for event in events) == [prefix + half for half in halves]
    assert {event["url"] for event in events} == {LOG_URL}
    assert len({event["ce-id"] for event in events}) == 1
    asked = next(event for event in events if event["ce-type"].endswith("request"))
    assert json.loads(asked["body"]) == body


async def test_two_pods_have_an_agent_each(tmp_path: Path) -> None:
    """Agents share this machine's network namespace, and none of them minds."""
    agent = await asyncio.to_thread(build, KSERVE_AGENT, print) / "agent"
    async with serving() as api:
        cluster = Cluster(api, tmp_path, agent)
        cluster.start()
        try:
            first, second = injected(), {**injected(), "name": "second"}
            second["args"] = [*second["args"], "--port", "9082"]
            del first["readinessProbe"], second["readinessProbe"]
            await cluster.run_pod(first, second)
            await becomes(lambda: cluster.condition("Ready"), "True")
            await asyncio.sleep(1)
            states = cluster.status()["containerStatuses"]
        finally:
            await cluster.stop()

    assert [(state["restartCount"], "running" in state["state"]) for state in states] == [
        (0, True),
        (0, True),
    ]
