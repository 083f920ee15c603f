"""Ports: free ones, kept ones, and worlds apart from each other."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import pytest

from sandbox.ports import HIGHEST, LOWEST, candidates, choose, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    """Give a port of the range that somebody listens on for the length of the test."""
    port = next(port for port in candidates(4711) if is_free(port))
    holder = socket.socket()
    holder.bind(("127.0.0.1", port))
    holder.listen()
    yield port
    holder.close()


def test_a_port_that_is_free_is_kept() -> None:
    """Addresses survive a restart of the world."""
    before = choose(["a", "b"], {}, seed=1)

    assert choose(["a", "b", "c"], before, seed=99).items() >= before.items()


def test_a_kept_port_that_was_taken_is_replaced(taken: int) -> None:
    """A stranger on an old port does not stop the world; only that port changes."""
    kept = choose(["a", "b"], {}, seed=1)

    chosen = choose(["a", "b"], {"a": kept["a"], "b": taken}, seed=1)

    assert chosen["a"] == kept["a"]
    assert chosen["b"] != taken


def test_no_two_names_share_a_port() -> None:
    """Even where an old file gave one port twice."""
    kept = choose(["a"], {}, seed=1)["a"]

    chosen = choose(["a", "b"], {"a": kept, "b": kept}, seed=1)

    assert chosen["a"] == kept != chosen["b"]


def test_the_search_begins_at_the_seed_and_visits_all() -> None:
    """Worlds with different seeds do not try the same ports first, and none gives up early."""
    assert list(itertools.islice(candidates(0), 2)) == [LOWEST, LOWEST + 1]
    assert next(candidates(100)) == LOWEST + 100
    assert sorted(candidates(5)) == list(range(LOWEST, HIGHEST + 1))
