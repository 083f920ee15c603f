"""
What a part of the world is: a process, what it needs, and how to see that it is ready.

Parts are data; `parts` lists them, `supervisor` runs them.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sandbox.builds import Recipe
from sandbox.world import World


def _nothing(world: World) -> None:
    """Do nothing: most parts need no preparation."""


def _same_environment(world: World) -> Mapping[str, str]:
    return os.environ


@dataclass(frozen=True, slots=True)
class Part:
    """
    One process of the world.

    Attributes:
        name: In `status`, in `--without`, and of its log.
        command: Its command line.
        is_ready: Whether it does its work by now; must answer within two seconds or so.
        address: Where it can be reached, for a person; empty if nowhere.
        needs: Names of the parts that must be ready before it starts; one left out is not waited
            for.
        recipes: What must have been built.
        before: Run before it starts, each time.
        after: Run once it is ready, before whoever needs it starts.
        environment: Of the process.
        restarts: Whether it is started again when it ends by itself; otherwise `status` tells.
        patience_seconds: How long it may take to become ready.
    """

    name: str
    command: Callable[[World], Sequence[str]]
    is_ready: Callable[[World], bool]
    address: Callable[[World], str]
    needs: tuple[str, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    before: Callable[[World], None] = _nothing
    after: Callable[[World], None] = _nothing
    environment: Callable[[World], Mapping[str, str]] = _same_environment
    restarts: bool = False
    patience_seconds: float = 60


@dataclass(frozen=True, slots=True)
class Option:
    """
    Parts that a world has only when it is asked for them.

    Attributes:
        name: In `--with`.
        parts: In the order in which they are shown; a part of two options runs once.
        ports: Names of the ports that they listen on.
        instead_of: Names of parts that must not run beside them.
    """

    name: str
    parts: tuple[Part, ...]
    ports: tuple[str, ...] = ()
    instead_of: tuple[str, ...] = ()


def answers(url: str) -> bool:
    """Say whether a GET of `url` succeeds; no proxy of the user's is asked."""
    return read_text(url) is not None


def read_text(url: str) -> str | None:
    """Return what a GET of `url` answers, None if it fails; no proxy of the user's is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return response.read().decode(errors="replace") if response.status == 200 else None
    except (OSError, urllib.error.URLError):
        return None
