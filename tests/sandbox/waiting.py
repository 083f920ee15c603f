"""Waiting for what comes by itself; never forever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

PATIENCE_SECONDS = 30


async def until(holds: Callable[[], bool]) -> None:
    """Return when something holds; TimeoutError if it never does."""

    async def asked() -> bool:
        return holds()

    await until_asked(asked)


async def until_asked(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return when asking says yes; TimeoutError if it never does."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.005)
