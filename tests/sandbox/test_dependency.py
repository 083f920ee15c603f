"""The dependency that all models share, and its failures."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sandbox import dependency
from sandbox.history import application
from sandbox.images import find_image


async def statuses(client: TestClient[web.Request, web.Application], count: int) -> list[int]:
    """Ask for a card's history again and again."""
    found = []
    for _ in range(count):
        async with client.get("/cards") as response:
            found.append(response.status)
    return found


@pytest.mark.parametrize(
    ("share", "failures"),
    [
        pytest.param("0", 0, id="none"),
        pytest.param("0.1", 4, id="a tenth"),
        pytest.param("0.5", 20, id="half"),
        pytest.param("1", 40, id="all"),
    ],
)
async def test_it_fails_the_share_it_is_told(share: str, failures: int) -> None:
    """Failures are spread evenly, so few requests show the share already; then it recovers."""
    async with TestClient(TestServer(application())) as client:
        await client.put("/failing", data=share)
        found = await statuses(client, 40)
        await client.put("/failing", data="0")

        assert found.count(503) == pytest.approx(failures, abs=1)
        assert await statuses(client, 5) == [200] * 5


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "half", ""])
async def test_a_share_that_is_none_changes_nothing(share: str) -> None:
    """What is no number from 0 to 1 is refused."""
    async with TestClient(TestServer(application())) as client:
        async with client.put("/failing", data=share) as response:
            assert response.status == 400
        assert await statuses(client, 5) == [200] * 5


def test_a_model_is_given_the_address_of_the_service() -> None:
    """The variable names the Service that is applied, and its pod's image exists."""
    _, service, deployment = dependency.render_history()

    meta = service["metadata"]
    host = f"{meta['name']}.{meta['namespace']}.svc.cluster.local"
    assert dependency.history_variable() == {"name": "HISTORY_URL", "value": f"http://{host}/cards"}
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert find_image(container["image"]) is not None
