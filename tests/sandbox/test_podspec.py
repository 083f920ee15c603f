"""How a container's manifest becomes a command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.images import Image, Program, find_image
from sandbox.podspec import (
    container_ports,
    expand,
    read_field,
    read_resource,
    render_command,
    rewrite_paths,
    rewrite_ports,
    rewrite_probe,
)

Json = dict[str, Any]
PYTHON = Path("/venv/bin/python")
MODELS = [("/mnt/models", Path("/state/m")), ("/mnt", Path("/state/all"))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("--name=$(NAME)", "--name=fraud", id="a known name"),
        pytest.param("$(UNKNOWN)", "$(UNKNOWN)", id="an unknown name stays"),
        pytest.param("$$(NAME)", "$(NAME)", id="two dollar signs are one, and no variable"),
        pytest.param("$NAME", "$NAME", id="a shell's variable is not ours"),
    ],
)
def test_variables_expand_as_in_a_kubelet(text: str, expected: str) -> None:
    """`$(NAME)` is replaced, everything else stays."""
    assert expand(text, {"NAME": "fraud"}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("--model_dir=/mnt/models", "--model_dir=/state/m", id="as a flag's value"),
        pytest.param("/mnt/models/1/model.joblib", "/state/m/1/model.joblib", id="below it"),
        pytest.param("/mnt/models-old", "/state/all/models-old", id="a longer name is another"),
        pytest.param("file:///mnt/models", "file:///state/m", id="in a file URL"),
        pytest.param("http://host/mnt/models", "http://host/mnt/models", id="in a web URL"),
        pytest.param("/data/mnt/models", "/data/mnt/models", id="inside another path"),
        pytest.param("/mnt/models:/mnt/x", "/state/m:/state/all/x", id="several"),
    ],
)
def test_mount_paths_become_folders(text: str, expected: str) -> None:
    """A mount path is replaced where it is a path of its own, the longest first."""
    assert rewrite_paths(text, MODELS) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--http_port=8080"], ["--http_port=32001"], id="with an equals sign"),
        pytest.param(["--port", "8080"], ["--port", "32001"], id="as the next argument"),
        pytest.param(["--http_port=9000"], ["--http_port=9000"], id="a port that is not the pod's"),
        pytest.param(["--report=8080"], ["--report=8080"], id="a flag that only ends alike"),
        pytest.param(["8080"], ["8080"], id="a bare number"),
    ],
)
def test_port_flags_get_the_local_port(arguments: list[str], expected: list[str]) -> None:
    """Only the values of flags that name a port are replaced."""
    assert rewrite_ports(arguments, {8080: 32001}) == expected


def test_an_images_own_port_counts_unless_a_flag_names_another() -> None:
    """KServe's runtimes declare no port; the image's default and the flags say which it is."""

    def pod(*args: str) -> Json:
        container = {"name": "c", "image": "kserve/sklearnserver:v0.20.0", "args": list(args)}
        return {"spec": {"containers": [container]}}

    assert container_ports(pod()) == (8080,)
    assert container_ports(pod("--http_port=9000")) == (9000,)


def test_declared_and_probed_ports_are_the_pods() -> None:
    """Every declared port and every port a probe asks gets a local one, once."""
    container = {
        "name": "c",
        "image": "sandbox/python:1",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}},
        "livenessProbe": {"httpGet": {"port": 9090, "path": "/"}},
    }
    assert container_ports({"spec": {"containers": [container]}}) == (8080, 9090)


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        pytest.param(
            {"args": ["--model_name=$(NAME)", "--http_port=8080"]},
            [str(PYTHON), "-m", "server", "--model_name=fraud", "--http_port=32001"],
            id="arguments follow the image's entry point",
        ),
        pytest.param(
            {},
            [str(PYTHON), "-m", "server", "--http_port=32001"],
            id="without a port flag the image's own is added",
        ),
        pytest.param(
            {"command": ["python", "-c", "pass"], "args": ["x"]},
            [str(PYTHON), "-c", "pass", "x"],
            id="a command takes the place of the entry point, in the image's Python",
        ),
        pytest.param(
            {"command": ["sleep", "5"]}, ["sleep", "5"], id="another program is run as it is"
        ),
    ],
)
def test_command_and_arguments(container: Json, expected: list[str]) -> None:
    """`command` and `args` mean what they mean in Kubernetes."""
    image = Image(Program.MODEL, ("-m", "server"), port=8080, port_flag="--http_port")
    found = render_command(container, image, PYTHON, {"NAME": "fraud"}, [], {8080: 32001})
    assert found == expected


@pytest.mark.parametrize(
    ("reference", "is_known"),
    [
        pytest.param("kserve/sklearnserver:v0.20.0", True, id="with a tag"),
        pytest.param("docker.io/kserve/sklearnserver", True, id="with a registry"),
        pytest.param("localhost:5000/kserve/sklearnserver:1", True, id="with a registry's port"),
        pytest.param("kserve/sklearnserver@sha256:0f", True, id="with a digest"),
        pytest.param("kserve/sklearnserver-gpu:1", False, id="a longer name"),
        pytest.param("other/kserve/sklearnserver", False, id="in another repository"),
    ],
)
def test_images_are_known_by_repository(reference: str, is_known: bool) -> None:
    """Registry, tag and digest do not matter; the repository does."""
    assert (find_image(reference) is not None) == is_known


def test_a_probe_in_a_variable_asks_the_local_port() -> None:
    """What a sidecar is told to ask is where its neighbour really listens."""
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 10}

    rewritten = json.loads(rewrite_probe(json.dumps(probe), {8080: 32001}))

    assert rewritten == {"tcpSocket": {"port": 32001}, "periodSeconds": 10}


def test_the_downward_api_reads_the_pod() -> None:
    """Names, labels and addresses are read; a path that does not exist is refused."""
    pod = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a/b": "c"}},
        "spec": {"nodeName": "cpu-0"},
        "status": {"podIP": "10.244.0.3"},
    }
    paths = ("metadata.name", "metadata.labels['a/b']", "spec.nodeName", "status.podIP")
    assert [read_field(pod, path) for path in paths] == ["p", "c", "cpu-0", "10.244.0.3"]
    with pytest.raises(LookupError, match=r"field status\.phase"):
        read_field(pod, "status.phase")


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        pytest.param("limits.cpu", "1", "2", id="cpu is rounded up to whole ones"),
        pytest.param("limits.cpu", "1m", "1500", id="in thousandths"),
        pytest.param("limits.memory", "1Mi", "2048", id="memory in binary units"),
        pytest.param("requests.memory", "0", "0", id="what is not set"),
    ],
)
def test_resources_are_read_as_the_downward_api_does(
    resource: str, divisor: str, expected: str
) -> None:
    """Quantities are divided and rounded up."""
    container = {"resources": {"limits": {"cpu": "1500m", "memory": "2Gi"}}}
    assert read_resource(container, {"resource": resource, "divisor": divisor}) == expected
