"""The embedded world with the real Argo CD in it, which all stories share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sandbox.argocd import NAMESPACE as ARGO_CD
from sandbox.world import World, load_world
from scenarios.cluster import Cluster
from scenarios.committed import grant
from scenarios.embedded import EmbeddedWorlds

WORLD, OPTION = "argocd", "argocd"

_WORLDS = pytest.StashKey[EmbeddedWorlds]()


@dataclass(frozen=True, slots=True)
class Followed:
    """A cluster, and the world that it is: its repository is what Argo CD follows."""

    cluster: Cluster
    world: World


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer a world that is up already, for who writes a story."""
    parser.addoption("--world", help="use this embedded world, up with argocd, and leave it up")


# pytest's plugins ask for the main thread's event loop before there is one. asyncio would make one
# that nobody closes, and the session would fail for it; once told of none, it does not.
asyncio.set_event_loop(None)


def pytest_configure(config: pytest.Config) -> None:
    """Begin with no world."""
    config.stash[_WORLDS] = EmbeddedWorlds()


@pytest.fixture(scope="session")
def followed(request: pytest.FixtureRequest) -> Iterator[Followed]:
    """Give the cluster under test: a new embedded world with Argo CD, unless one is named."""
    worlds = request.config.stash[_WORLDS]
    chosen = request.config.getoption("--world")
    if chosen:
        world = load_world(chosen)
        with worlds.opened(world) as cluster:
            yield Followed(cluster, world)
        return
    with worlds.up(WORLD, OPTION) as cluster:
        grant(cluster.api, ARGO_CD, ARGO_CD)
        yield Followed(cluster, load_world(WORLD))


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
