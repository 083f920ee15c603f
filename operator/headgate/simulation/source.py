"""What is counted while a rollout is simulated, and the counters that show it.

Owns the port that traffic comes through and the book of counters behind it. Must not know how
traffic comes about, nor how it is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Protocol

from headgate.core.counters import BAD, ERRORS, GOOD, LATENCY, Arm, Point, Series
from headgate.core.noise import UnitHistory

PodHistories = Mapping[str, Sequence[UnitHistory]]
"""Each pod's steps, by the signal that they are of."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What one arm answered in a while. `harmed` of the `bad` ones failed for the harm alone.

    `buckets` are not cumulative and follow the source's edges; empty without latency.
    """

    requests: int = 0
    bad: int = 0
    harmed: int = 0
    buckets: tuple[int, ...] = ()
    quiet: tuple[int, ...] = ()

    def plus(self, other: Counts) -> Counts:
        """Add up two whiles of the same arm."""
        return Counts(
            self.requests + other.requests,
            self.bad + other.bad,
            self.harmed + other.harmed,
            _add(self.buckets, other.buckets),
            _add(self.quiet, other.quiet),
        )


@dataclass(frozen=True, slots=True)
class Window:
    """What both arms answered between two scrapes; `second` is the later one."""

    second: float
    canary: Counts
    stable: Counts


class Source(Protocol):
    """Where counts come from while a rollout is simulated."""

    @property
    def start(self) -> datetime:
        """Second 0: the scrape at which the canary's counters are first there."""

    @property
    def first_second(self) -> int:
        """How long before second 0 stable is watched; negative or 0."""

    @property
    def edges(self) -> tuple[float, ...]:
        """Upper bounds of the latency buckets in seconds; empty without latency."""

    def pod_histories(self, span: int, step: int) -> PodHistories:
        """What stable's pods counted in the `span` seconds before `first_second`, every `step`.

        Empty where pods are not told apart. To be asked for before time passes.
        """

    def advance(self, until: int, weight: int) -> Sequence[Window] | None:
        """Let time pass at this weight (percent); None once there is nothing more to come."""

    def read(self, since: datetime, now: datetime) -> Sequence[Series]:
        """Give the samples scraped from `since` to `now`; `since` never goes back."""


@dataclass(slots=True)
class Book:
    """Counters of one gateway instance and their samples since they were last read."""

    edges: tuple[float, ...]
    _values: dict[tuple[Arm, str, str], int] = field(default_factory=dict)
    _points: dict[tuple[Arm, str, str], list[Point]] = field(default_factory=dict)

    def write(self, at: datetime, arm: Arm, counts: Counts) -> None:
        """Add what was answered, and scrape."""
        self._add(at, arm, ERRORS, GOOD, counts.requests - counts.bad)
        self._add(at, arm, ERRORS, BAD, counts.bad)
        cumulative = 0
        for edge, count in zip(self.edges, counts.buckets, strict=True):
            cumulative += count
            self._add(at, arm, LATENCY, "+Inf" if edge == inf else f"{edge:g}", cumulative)
        for n, bad in enumerate(counts.quiet, start=1):
            self._add(at, arm, f"signal/quiet-{n}", GOOD, counts.requests - bad)
            self._add(at, arm, f"signal/quiet-{n}", BAD, bad)

    def _add(self, at: datetime, arm: Arm, signal: str, outcome: str, count: int) -> None:
        key = (arm, signal, outcome)
        value = self._values.get(key, 0) + count
        self._values[key] = value
        self._points.setdefault(key, []).append(Point(at, value))

    def read(self, since: datetime, now: datetime) -> Sequence[Series]:
        """Give the samples from `since` to `now`, and forget those before."""
        found = []
        for (arm, signal, outcome), points in self._points.items():
            while points and points[0].at < since:
                del points[0]
            kept = tuple(point for point in points if point.at <= now)
            if kept:
                found.append(Series(signal, arm, "gateway", outcome, outcome, kept))
        return found


def _add(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    if not one or not other:
        return one or other
    return tuple(a + b for a, b in zip(one, other, strict=True))
