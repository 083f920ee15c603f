"""The cluster that all scenarios share, and running those side by side that only wait."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from sandbox.paths import world_directory
from sandbox.world import load_world
from scenarios.cluster import Cluster
from scenarios.embedded import brought_up, opened

WORLD = "scenarios"
AT_ONCE = 3
"""How many scenarios run side by side: most of their time is waiting, on two cores too."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer a world that is up already, for who writes a scenario."""
    parser.addoption("--world", help="use this embedded world, which is up, and leave it up")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and who acts on it."""
    config.addinivalue_line(
        "markers", "side_by_side: runs at the same time as its neighbours; takes only `cluster`"
    )
    config.pluginmanager.register(SideBySide(), "side-by-side")


class SideBySide:
    """
    Runs the marked tests of a module at the same time; each still passes or fails by itself.

    The first of them starts all that are selected; each then waits for its own end. So the next
    test that is not marked begins when all of them are over.
    """

    def __init__(self) -> None:
        """Start nothing."""
        self._pool = ThreadPoolExecutor(AT_ONCE, "scenario")
        self._running: dict[str, Future[None]] = {}
        self._cluster: Cluster | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Wait for the end of a marked test, whoever started it."""
        if pyfuncitem.get_closest_marker("side_by_side") is None:
            return None
        if pyfuncitem.nodeid not in self._running:
            self._start_all(pyfuncitem)
        self._running[pyfuncitem.nodeid].result()
        return True

    def _start_all(self, first: pytest.Function) -> None:
        cluster = first.funcargs["cluster"]
        if not isinstance(cluster, Cluster):
            raise pytest.UsageError(f"{first.nodeid} must take the fixture `cluster`")
        self._cluster = cluster
        for item in first.session.items:
            if not isinstance(item, pytest.Function) or item.path != first.path:
                continue
            if item.get_closest_marker("side_by_side") is not None:
                arguments: dict[str, Any] = {"cluster": cluster}
                if hasattr(item, "callspec"):
                    arguments |= item.callspec.params
                self._running[item.nodeid] = self._pool.submit(item.obj, **arguments)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Let nothing go on that nobody waits for."""
        if self._cluster is not None:
            self._cluster.ending.set()
        self._pool.shutdown(cancel_futures=True)


_TOLD = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Give the cluster under test: a new embedded world, unless one is named."""
    chosen = request.config.getoption("--world")
    if chosen:
        with opened(load_world(chosen)) as cluster:
            request.config.stash[_TOLD] = cluster.told
            yield cluster
        return
    with brought_up(WORLD) as world, opened(world) as cluster:
        request.config.stash[_TOLD] = cluster.told
        yield cluster


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what users saw, and where the logs are if something failed."""
    for line in config.stash.get(_TOLD, []):
        terminalreporter.write_line(line)
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        name = config.getoption("--world") or WORLD
        terminalreporter.write_line(f"logs: {world_directory(name) / 'logs'}")
