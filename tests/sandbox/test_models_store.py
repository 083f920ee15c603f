"""The model store: what it serves, and what it keeps to itself."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from tests.sandbox.serving import ask

from sandbox.modelstore import render_store, storage_uri
from sandbox.store import application

CONTENT = bytes(range(256)) * 500


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Serve a folder that lies beside a secret."""
    (tmp_path / "secret").write_text("not for all")
    folder = tmp_path / "served"
    (folder / "fraud" / "1").mkdir(parents=True)
    (folder / "fraud" / "1" / "model.joblib").write_bytes(CONTENT)
    (folder / "fraud" / "metrics.json").write_text("{}")
    (folder / "way-out").symlink_to(tmp_path / "secret")
    runner = web.AppRunner(application(folder))
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    yield listener.getsockname()[1]
    await runner.cleanup()


async def test_a_model_arrives_as_it_is(port: int) -> None:
    """Every byte comes, under the only content type that KServe's initializer accepts."""
    for path, content in (("/fraud/1/model.joblib", CONTENT), ("/fraud/metrics.json", b"{}")):
        status, head, body = await ask(port, path)

        assert (status, body) == (200, content)
        assert "content-type: application/octet-stream" in head.lower()


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        pytest.param("/../secret", "GET", 404, id="a path that climbs out"),
        pytest.param("/fraud/../../secret", "GET", 404, id="a path that climbs out from within"),
        pytest.param("/%2e%2e/secret", "GET", 404, id="dots in disguise"),
        pytest.param("/..%2fsecret", "GET", 404, id="a slash in disguise"),
        pytest.param("/way-out", "GET", 404, id="a link that leads out"),
        pytest.param("/fraud", "GET", 403, id="no listing of folders"),
        pytest.param("/fraud/9/model.joblib", "GET", 404, id="no such version"),
        pytest.param("/fraud/1/model.joblib", "PUT", 405, id="nothing is written"),
        pytest.param("/fraud/1/model.joblib", "DELETE", 405, id="nothing is deleted"),
    ],
)
async def test_everything_else_is_refused(port: int, path: str, method: str, status: int) -> None:
    """What is not a file below the folder is refused, and the secret beside it stays one."""
    found, _, body = await ask(port, path, method)

    assert found == status
    assert b"not for all" not in body


async def test_it_says_that_it_is_there(port: int) -> None:
    """The readiness probe of its pod is answered whatever the folder holds."""
    assert (await ask(port, "/healthz"))[0] == 200


def test_the_name_that_models_are_fetched_by_is_that_of_the_service() -> None:
    """The storageUri's host is the Service that is applied, and its selector finds the pod."""
    _, service, deployment = render_store(Path("/somewhere"))

    meta = service["metadata"]
    host = f"{meta['name']}.{meta['namespace']}.svc.cluster.local"
    assert storage_uri("fraud", "2") == f"http://{host}/fraud/2/model.joblib"
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"] == template["metadata"]["labels"]
    assert template["spec"]["volumes"][0]["hostPath"]["path"] == "/somewhere"
