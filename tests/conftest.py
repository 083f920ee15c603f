"""What tests of more than one folder share."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

# A shell that runs the tests in the background lets them ignore Ctrl-C, and so would every process
# they start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

# The looptime plugin asks for the main thread's event loop before there is one. asyncio would make
# one that nobody closes, and some later test would fail for it; once told of none, it does not.
asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage where the same lines run a million times: it takes three times as long.

    Each of these lines is run by a shorter test too.
    """
    for item in items:
        if item.get_closest_marker("replay") or item.get_closest_marker("long"):
            item.add_marker("no_cover")


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Give a real API server with Headgate's CRDs, one for the session."""
    from tests.apiserver import running

    with running(tmp_path_factory.mktemp("apiserver")) as server:
        yield server
