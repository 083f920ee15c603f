"""Stories with servers behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.adapters.forges import Origin
from tests.adapters.gitserver import BareRepository
from tests.adapters.servers import serving
from tests.writeback.story import FAKES, Receiver, Story


async def _story(folder: Path, forge: str) -> AsyncIterator[Story]:
    receiver = Receiver()
    origin = Origin() if forge else BareRepository(folder)
    async with AsyncExitStack() as stack:
        hook = await stack.enter_async_context(serving(receiver.handle))
        url = ""
        if isinstance(origin, Origin):
            url = await stack.enter_async_context(serving(FAKES[forge](origin).handle))
        story = Story(folder, url, hook, forge, origin, receiver)
        story.secrets()
        yield story
        await story.close()


@pytest.fixture
async def git_story(tmp_path: Path) -> AsyncIterator[Story]:
    """A story with plain Git."""
    async for story in _story(tmp_path, ""):
        yield story


@pytest.fixture
async def gitea_story(tmp_path: Path) -> AsyncIterator[Story]:
    """A story with one forge, where which one does not matter."""
    async for story in _story(tmp_path, "Gitea"):
        yield story


@pytest.fixture(params=list(FAKES))
async def forge_story(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Story]:
    """A story with each forge."""
    async for story in _story(tmp_path, request.param):
        yield story


@pytest.fixture(params=["", *FAKES])
async def any_story(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Story]:
    """A story with each kind of repository."""
    async for story in _story(tmp_path, request.param):
        yield story
