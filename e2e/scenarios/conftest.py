"""
The cluster that all scenarios share, and running those side by side that only wait.

A scenario that breaks for minutes what all others need has a world of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from kind import install
from sandbox.world import load_world
from scenarios.choice import BadChoice, Existing, Kind, choose
from scenarios.cluster import Bare, Cluster
from scenarios.embedded import EmbeddedWorlds
from scenarios.existing import ExistingWorlds

WORLD, BARE_WORLD = "scenarios", "scenarios-bare"
AT_ONCE = 2
"""How many scenarios run side by side, besides those that are beside all: most of their time is
waiting, but three that start pods at once leave two cores nothing for their users."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer another cluster, and a world that is up already, for who writes a scenario."""
    parser.addoption("--world", help="use this embedded world, which is up, and leave it up")
    parser.addoption(
        "--cluster",
        default=Kind.SANDBOX.value,
        help="sandbox (default): worlds of its own; kind: `python -m kind up`; existing: see docs",
    )


# pytest's plugins ask for the main thread's event loop before there is one. asyncio would make one
# that nobody closes, and the session would fail for it; once told of none, it does not.
asyncio.set_event_loop(None)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and who acts on it."""
    config.addinivalue_line(
        "markers", "side_by_side: runs at the same time as others; takes only `cluster`"
    )
    config.addinivalue_line(
        "markers", "beside_all: begins with the first scenario and ends last; takes only `worlds`"
    )
    config.addinivalue_line("markers", "at_the_end: looks back at all scenarios that ran before")
    config.stash[_WORLDS] = _worlds(config.getoption("--cluster"))
    config.pluginmanager.register(SideBySide(config.stash[_WORLDS]), "side-by-side")


def _worlds(name: str) -> EmbeddedWorlds | ExistingWorlds:
    kind = Existing(install.kubeconfig(), install.GATEWAY_URL)
    try:
        chosen = choose(name, os.environ, kind)
    except BadChoice as error:
        raise pytest.UsageError(f"--cluster: {error}") from error
    return EmbeddedWorlds() if chosen is None else ExistingWorlds(chosen)


class SideBySide:
    """
    Runs the marked tests at the same time, some at once; each still passes or fails by itself.

    The first of them starts all that are selected; each then waits for its own end. So the next
    test that is not marked begins when all of them are over. Those beside all others begin with
    the first test of the session, and are waited for when nothing else is left.
    """

    def __init__(self, worlds: EmbeddedWorlds | ExistingWorlds) -> None:
        """Start nothing."""
        self._worlds = worlds
        self._pool = ThreadPoolExecutor(AT_ONCE, "scenario")
        self._aside = ThreadPoolExecutor(1, "beside-all")
        self._running: dict[str, Future[None]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Let those come one after the other that run at the same time, and the longest last."""
        marked = [item for item in items if _is(item, "side_by_side")]
        first = items.index(marked[0]) if marked else len(items)
        alone = [item for item in items[first:] if item not in marked]
        ordered = items[:first] + marked + alone
        items[:] = sorted(
            ordered, key=lambda item: (_is(item, "at_the_end"), _is(item, "beside_all"))
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        """Wait for the end of a marked test, whoever started it."""
        self._start_beside_all(pyfuncitem.session)
        if _is(pyfuncitem, "beside_all"):
            self._running[pyfuncitem.nodeid].result()
            return True
        if not _is(pyfuncitem, "side_by_side"):
            return None
        if pyfuncitem.nodeid not in self._running:
            self._start_all(pyfuncitem)
        self._running[pyfuncitem.nodeid].result()
        return True

    def _start_beside_all(self, session: pytest.Session) -> None:
        for item in session.items:
            if not isinstance(item, pytest.Function) or item.nodeid in self._running:
                continue
            if _is(item, "beside_all"):
                started = self._aside.submit(item.obj, worlds=self._worlds)
                self._running[item.nodeid] = started

    def _start_all(self, first: pytest.Function) -> None:
        cluster = first.funcargs["cluster"]
        if not isinstance(cluster, Cluster):
            raise pytest.UsageError(f"{first.nodeid} must take the fixture `cluster`")
        for item in first.session.items:
            if isinstance(item, pytest.Function) and _is(item, "side_by_side"):
                arguments: dict[str, Any] = {"cluster": cluster}
                if hasattr(item, "callspec"):
                    arguments |= item.callspec.params
                self._running[item.nodeid] = self._pool.submit(item.obj, **arguments)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Let nothing go on that nobody waits for."""
        self._worlds.ending.set()
        for pool in (self._pool, self._aside):
            pool.shutdown(cancel_futures=True)


def _is(item: pytest.Item, marker: str) -> bool:
    return item.get_closest_marker(marker) is not None


_WORLDS = pytest.StashKey[EmbeddedWorlds | ExistingWorlds]()


@pytest.fixture(scope="session")
def worlds(request: pytest.FixtureRequest) -> EmbeddedWorlds | ExistingWorlds:
    """Give the maker of worlds, for scenarios that cannot share one."""
    return request.config.stash[_WORLDS]


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest, worlds: EmbeddedWorlds | ExistingWorlds
) -> Iterator[Cluster]:
    """Give the cluster under test: a new embedded world, unless another cluster is chosen."""
    chosen = request.config.getoption("--world")
    if isinstance(worlds, ExistingWorlds):
        with worlds.opened() as cluster:
            yield cluster
        return
    if chosen:
        with worlds.opened(load_world(chosen)) as cluster:
            yield cluster
        return
    with worlds.up(WORLD) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def bare(worlds: EmbeddedWorlds | ExistingWorlds) -> Iterator[Bare]:
    """Give a new embedded world in which Headgate is not installed."""
    if isinstance(worlds, ExistingWorlds):
        pytest.skip("a cluster without Headgate: only the embedded world can make one")
    with worlds.without_headgate(BARE_WORLD) as bare:
        yield bare


@pytest.fixture(scope="session")
def not_whole_because(request: pytest.FixtureRequest) -> str:
    """Say why what ran is not the whole suite, so that nothing follows from what did not happen."""
    config, session = request.config, request.session
    if isinstance(config.stash[_WORLDS], ExistingWorlds):
        return "--cluster: only the embedded world's API server keeps an audit log for us"
    if config.getoption("--world"):
        return "--world: whatever was done in that world before is not known"
    chosen = [str(word) for word in config.args if "::" in str(word) or str(word).endswith(".py")]
    if chosen or config.option.keyword or config.option.lf:
        return f"a selection of scenarios ran: {config.option.keyword or ' '.join(chosen)}"
    if session.testsfailed:
        return f"{session.testsfailed} scenarios failed before they did everything"
    return ""


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what users saw, and where the logs are if something failed."""
    worlds = config.stash[_WORLDS]
    for line in worlds.told:
        terminalreporter.write_line(line)
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        for folder in worlds.logs:
            terminalreporter.write_line(f"logs: {folder}")
