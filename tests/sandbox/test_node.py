"""The node agent runs pods as real processes and tells the API server what a kubelet would."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.adapters.servers import make_certificate
from tests.sandbox.fakeapi import serving
from tests.sandbox.podcluster import PODS, Cluster, Json, becomes, python
from tests.sandbox.waiting import until

from sandbox.node import Node, read_node
from sandbox.podlogs import Identity

SLEEP = ["python", "-c", "import time; time.sleep(600)"]


def sleeper(**more: Any) -> Json:
    return {"name": "main", "image": "sandbox/python:1", "command": SLEEP, **more}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """Give a running node agent before a fake API server."""
    async with serving() as api:
        made = Cluster(api, tmp_path)
        made.start()
        try:
            yield made
        finally:
            await made.stop()


def process_of(cluster: Cluster) -> int:
    return int(cluster.container()["containerID"].removeprefix("process://"))


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_nodes_are_ready_and_have_what_pods_ask_for(cluster: Cluster) -> None:
    """Both nodes are Ready; the GPU node has its label, taint and capacity."""
    await until(lambda: "status" in cluster.api.objects.get("/api/v1/nodes/gpu-0", {}))
    node = cluster.api.objects["/api/v1/nodes/gpu-0"]
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-L4"
    assert [taint["key"] for taint in node["spec"]["taints"]] == ["nvidia.com/gpu"]
    ready = [e for e in node["status"]["conditions"] if e["type"] == "Ready"]
    assert ready[0]["status"] == "True"


async def test_a_pod_is_served_on_the_port_its_annotation_says(cluster: Cluster) -> None:
    """The container port is rewritten, published before the pod runs, and ready when it answers."""
    server = python(
        "import sys, http.server as h; "
        "h.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1].split('=')[1])), "
        "h.SimpleHTTPRequestHandler).serve_forever()",
        args=["--port=8080"],
        readinessProbe={"httpGet": {"path": "/", "port": 8080}},
    )
    await cluster.run_pod(server)
    await becomes(lambda: cluster.condition("Ready"), "True")
    ports = json.loads(cluster.pod()["metadata"]["annotations"]["sandbox.headgate.dev/ports"])
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{ports['8080']}/") as response,
    ):
        assert response.status == 200
    assert cluster.status()["phase"] == "Running"
    assert cluster.status()["podIP"].startswith("10.244.")


async def test_init_containers_come_first_and_share_volumes(cluster: Cluster) -> None:
    """An init container's file is there when the container starts, below the same mount path."""
    mount = [{"name": "m", "mountPath": "/mnt/models"}]
    write = {
        **python("import sys; open(sys.argv[1] + '/f', 'w').write('from init')"),
        "name": "init",
        "args": ["/mnt/models"],
        "volumeMounts": mount,
    }
    read = python(
        "import sys, time; print(open(sys.argv[1]).read(), flush=True); time.sleep(600)",
        args=["/mnt/models/f"],
        volumeMounts=mount,
    )
    await cluster.run_pod(read, initContainers=[write], volumes=[{"name": "m", "emptyDir": {}}])
    await becomes(cluster.log, "from init\n")
    await becomes(lambda: cluster.condition("Initialized"), "True")
    assert cluster.status()["initContainerStatuses"][0]["ready"] is True


async def test_an_init_container_that_fails_is_named_and_holds_the_others_back(
    cluster: Cluster,
) -> None:
    """The pod stays Pending in the init container's back-off, with its last words in the status."""
    fail = {
        **python("import sys; sys.exit('no such model')"),
        "name": "init",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    await cluster.run_pod(sleeper(), initContainers=[fail])
    await until(lambda: (cluster.status().get("initContainerStatuses") or [{}])[0].get("lastState"))
    (init,) = cluster.status()["initContainerStatuses"]
    assert init["lastState"]["terminated"]["exitCode"] == 1
    assert init["lastState"]["terminated"]["message"] == "no such model\n"
    assert cluster.status()["phase"] == "Pending"
    assert cluster.container()["state"] == {"waiting": {"reason": "PodInitializing"}}


async def test_environment_comes_from_everywhere_a_manifest_can_name(cluster: Cluster) -> None:
    """Values, fields, ConfigMaps, Secrets and references to earlier variables reach the process."""
    await cluster.api.put("/api/v1/namespaces/models/configmaps/c", {"data": {"k": "from map"}})
    await cluster.api.put("/api/v1/namespaces/models/secrets/s", {"data": {"k": "aGk="}})
    env = [
        {"name": "A", "value": "a"},
        {"name": "B", "value": "$(A)b"},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {
            "name": "NONE",
            "valueFrom": {"configMapKeyRef": {"name": "x", "key": "k", "optional": True}},
        },
    ]
    show = "import os, time; print([os.environ.get(n) for n in %r], flush=True); time.sleep(600)"
    names = ["B", "ME", "MAP", "SECRET", "NONE", "http_proxy"]
    await cluster.run_pod(python(show % names, env=env))
    wanted = ["ab", "p", "from map", "hi", None, "http://127.0.0.1:1"]
    await becomes(cluster.log, f"{wanted}\n")


async def test_a_missing_config_map_is_named_and_heals(cluster: Cluster) -> None:
    """The container waits with CreateContainerConfigError and starts when the ConfigMap comes."""
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]
    await cluster.run_pod(sleeper(env=env))
    waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "late" not found'}
    await becomes(lambda: cluster.container().get("state"), {"waiting": waiting})
    await cluster.api.put("/api/v1/namespaces/models/configmaps/late", {"data": {"k": "v"}})
    await until(lambda: "running" in cluster.container()["state"])


async def test_a_missing_volume_source_is_an_event_and_heals(cluster: Cluster) -> None:
    """A volume whose ConfigMap is missing holds the pod in ContainerCreating until it comes."""
    volume = {"name": "v", "configMap": {"name": "late"}}
    mount = [{"name": "v", "mountPath": "/etc/x"}]
    read = "import sys, time; print(open(sys.argv[1]).read(), flush=True); time.sleep(600)"
    await cluster.run_pod(python(read, args=["/etc/x/f.txt"], volumeMounts=mount), volumes=[volume])
    failed = ("FailedMount", 'MountVolume.SetUp failed: configmap "late" not found')
    await until(lambda: failed in cluster.events())
    assert cluster.container()["state"] == {"waiting": {"reason": "ContainerCreating"}}
    await cluster.api.put("/api/v1/namespaces/models/configmaps/late", {"data": {"f.txt": "in"}})
    await becomes(cluster.log, "in\n")


async def test_an_unknown_image_is_not_pulled(cluster: Cluster) -> None:
    """An image that stands for no program leaves the pod Pending in ImagePullBackOff."""
    await cluster.run_pod({"name": "main", "image": "nobody/nothing:1"})
    await becomes(
        lambda: cluster.container().get("state", {}).get("waiting", {}).get("reason"),
        "ImagePullBackOff",
    )
    assert cluster.status()["phase"] == "Pending"


async def test_a_crashing_container_is_restarted_with_back_off(cluster: Cluster) -> None:
    """Restarts are counted, the last end is shown, and between them it waits."""
    await cluster.run_pod(python("import sys; sys.exit(3)"))
    await until(lambda: cluster.container().get("restartCount", 0) >= 2)
    assert cluster.container()["lastState"]["terminated"]["exitCode"] == 3
    await until(
        lambda: cluster.container()["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    assert cluster.status()["phase"] == "Running"
    assert cluster.condition("Ready") == "False"


async def test_a_pod_that_runs_once_succeeds(cluster: Cluster) -> None:
    """With restartPolicy Never a container that ends well makes the pod Succeeded."""
    await cluster.run_pod(python("pass"), restartPolicy="Never")
    await becomes(lambda: cluster.status().get("phase"), "Succeeded")


async def test_a_failing_liveness_probe_restarts_the_container(cluster: Cluster) -> None:
    """After its failures the container is killed and started anew."""
    # A busy machine may take a second to run any command: that would be another failure.
    probe: Json = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    probe["timeoutSeconds"] = 30
    await cluster.run_pod(sleeper(livenessProbe=probe))
    await until(lambda: cluster.container().get("restartCount", 0) >= 1)
    assert ("Unhealthy", "Liveness probe failed: command exited with 1") in cluster.events()


async def test_a_deleted_pod_serves_on_and_then_leaves(cluster: Cluster) -> None:
    """After the deletion mark the process lives through the drain, and then all of it is gone."""
    note = (
        "import signal, sys, time; "
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye', flush=True), sys.exit(0))); "
        "print('up', flush=True); time.sleep(600)"
    )
    await cluster.run_pod(python(note))
    await becomes(cluster.log, "up\n")
    await until(lambda: "running" in cluster.container()["state"])
    process = process_of(cluster)
    await cluster.delete()
    await until(lambda: f"{PODS}/p" not in cluster.api.objects)
    assert not is_alive(process)
    assert cluster.log() == "up\nbye\n"


async def test_a_pod_that_will_not_stop_is_killed_after_its_grace(cluster: Cluster) -> None:
    """SIGKILL follows when SIGTERM is ignored for the grace period."""
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('up', flush=True); time.sleep(600)"
    )
    await cluster.run_pod(python(stubborn))
    await becomes(cluster.log, "up\n")
    await until(lambda: "running" in cluster.container()["state"])
    process = process_of(cluster)
    await cluster.delete(grace=1)
    await until(lambda: f"{PODS}/p" not in cluster.api.objects)
    assert not is_alive(process)


async def test_a_pod_removed_by_force_leaves_no_process(cluster: Cluster) -> None:
    """A pod that is simply gone from the API server is ended too."""
    await cluster.run_pod(sleeper())
    await until(lambda: "running" in cluster.container().get("state", {}))
    process = process_of(cluster)
    await cluster.api.remove(f"{PODS}/p")
    await until(lambda: not is_alive(process))


async def test_a_new_agent_runs_the_pods_of_the_old_one(cluster: Cluster) -> None:
    """After a restart of the agent the pod runs again, with its IP, counted as restarted."""
    await cluster.run_pod(sleeper())
    await until(lambda: "running" in cluster.container().get("state", {}))
    first, ip = process_of(cluster), cluster.status()["podIP"]
    await cluster.stop()
    assert not is_alive(first)
    cluster.start()
    await until(
        lambda: (
            "running" in cluster.container()["state"] and cluster.container()["restartCount"] == 1
        )
    )
    assert process_of(cluster) != first
    assert cluster.status()["podIP"] == ip


async def test_a_pod_deleted_while_the_agent_was_away_is_cleared(cluster: Cluster) -> None:
    """What was to be deleted and no longer runs is removed at once."""
    await cluster.stop()
    await cluster.run_pod(sleeper())
    await cluster.delete()
    cluster.start()
    await until(lambda: f"{PODS}/p" not in cluster.api.objects)


async def test_an_outage_of_the_api_server_stops_no_pod(cluster: Cluster) -> None:
    """While the API server refuses, the process lives on; its status is caught up afterwards."""
    await cluster.run_pod(sleeper(readinessProbe={"exec": {"command": ["test", "-e", "ready"]}}))
    await until(lambda: "running" in cluster.container().get("state", {}))
    process = process_of(cluster)
    cluster.api.refuse_with = 503
    await cluster.api.break_off()
    (work,) = (cluster.state_dir / "volumes").glob("*/work-main")
    (work / "ready").touch()
    await asyncio.sleep(1.2)
    assert is_alive(process)
    cluster.api.refuse_with = 0
    await becomes(lambda: cluster.condition("Ready"), "True")
    assert process_of(cluster) == process


async def test_pods_die_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    """Even SIGKILL of the agent leaves no process of its pods."""
    async with serving() as api:
        cluster = Cluster(api, tmp_path)
        await cluster.run_pod(sleeper())
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(render_kubeconfig(api.url)))
        agent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sandbox.node", "--kubeconfig", str(kubeconfig)),
            *("--state-dir", str(tmp_path / "state")),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(lambda: "running" in cluster.container().get("state", {}))
        process = process_of(cluster)
        agent.send_signal(signal.SIGKILL)
        await agent.wait()
        await until(lambda: not is_alive(process))


async def test_logs_are_served_to_the_api_server_only(tmp_path: Path) -> None:
    """The node says where logs are; a client with the cluster's certificate reads them."""
    certificate, key = make_certificate(tmp_path, "cluster")
    async with serving() as api, aiohttp.ClientSession() as session:
        cluster = Cluster(api, tmp_path)
        cluster.identity = Identity(certificate, key, certificate)
        cluster.start()
        try:
            await cluster.run_pod(python("print(*range(9), sep='\\n')"), restartPolicy="Never")
            await becomes(lambda: cluster.status().get("phase"), "Succeeded")
            node = api.objects["/api/v1/nodes/cpu-0"]["status"]
            port = node["daemonEndpoints"]["kubeletEndpoint"]["Port"]
            url = f"https://127.0.0.1:{port}/containerLogs/models/p/main?tailLines=2"
            tls = ssl.create_default_context(cafile=str(certificate))
            with pytest.raises((aiohttp.ClientError, OSError)):
                await session.get(url, ssl=tls)
            tls.load_cert_chain(certificate, key)
            async with session.get(url, ssl=tls) as response:
                assert await response.text() == "7\n8\n"
        finally:
            await cluster.stop()


def render_kubeconfig(url: str) -> Json:
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {}}],
    }


def test_a_node_is_given_as_json() -> None:
    """A node of one's own has a name, capacity, labels and taints, and nothing else."""
    assert read_node('{"name": "n", "capacity": {"cpu": "1"}}') == Node("n", {"cpu": "1"})
    with pytest.raises(ValueError, match="colour"):
        read_node('{"name": "n", "colour": "red"}')
