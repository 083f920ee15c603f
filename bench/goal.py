"""A goal of the benchmarks: what is replayed, how often, and when its figures keep the promise.

Owns the arithmetic of figures and their standard errors. Must not know what is replayed, nor how a
table looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import erfc, exp, inf, lgamma, log, log1p, sqrt
from statistics import mean, stdev
from typing import Any

from bench.replay import standard_error

DOUBT = 3.0
"""Standard errors that a figure may be beyond a bound by chance."""

CHANCE = 0.5 * erfc(DOUBT / sqrt(2.0))
"""How likely a normal figure is to be beyond that: 0.13 %."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a figure may be at most, and what chance may make of a figure that just keeps it."""

    most: float
    by_chance: float


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of a goal, in `unit`, with its standard error over `runs` rollouts.

    `goal` is None where the figure is told and nothing is promised. `held` is what fails the
    benchmark above: the goal itself, or more where it is known to be missed, so that it gets no
    worse.
    """

    name: str
    figure: float
    error: float
    runs: int
    unit: str
    goal: Bound | None = None
    held: Bound | None = None

    @property
    def is_met(self) -> bool:
        """Whether the figure itself is within the goal."""
        return self.goal is None or self.figure <= self.goal.most

    @property
    def is_missed(self) -> bool:
        """Whether it is beyond the goal by more than chance explains."""
        return self.goal is not None and self.figure > self.goal.by_chance

    @property
    def is_broken(self) -> bool:
        """Whether it is beyond what is held by more than chance explains."""
        bound = self.held or self.goal
        return bound is not None and self.figure > bound.by_chance


@dataclass(frozen=True, slots=True)
class Goal:
    """What is promised, and the replays that show it.

    `once` replays a cell with a seed; it and the cells travel to other processes. `lines` makes the
    figures of what was found, the one that matters most first. `runs` are the seeds of each cell in
    the quick version. `note` says how it was replayed, and why it falls short where it does. `draw`
    puts what was found on a plot's axes; `plot` is that picture's caption.
    """

    name: str
    promise: str
    cells: Sequence[Any]
    once: Callable[[Any, int], Any]
    lines: Callable[[Mapping[Any, Sequence[Any]]], Sequence[Line]]
    runs: int
    note: str = ""
    plot: str = ""
    draw: Callable[[Any, Mapping[Any, Sequence[Any]]], None] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A goal with what its replays gave, and the CPU time they took in seconds."""

    goal: Goal
    found: Mapping[Any, Sequence[Any]]
    seconds: float

    @property
    def lines(self) -> Sequence[Line]:
        """The figures."""
        return self.goal.lines(self.found)


def share(
    name: str,
    events: Sequence[bool],
    most: float | None = None,
    held: float | None = None,
) -> Line:
    """The percentage of runs in which something happened; bounds are percent as well.

    The error of a rate of 0 or 1 is that of half a run. What chance may make of a bound is the
    exact binomial quantile that three standard errors stand for: of ten runs at 1 %, two.
    """
    runs, rate = len(events), sum(events) / len(events)
    inside = min(max(rate, 0.5 / runs), 1.0 - 0.5 / runs)
    error = 100.0 * standard_error(inside, runs)
    goal, kept = (
        None if bound is None else Bound(bound, 100.0 * most_by_chance(runs, bound / 100.0) / runs)
        for bound in (most, held)
    )
    return Line(name, 100.0 * rate, error, runs, "%", goal, kept)


def most_by_chance(runs: int, rate: float) -> int:
    """The largest number of events that is not less likely than CHANCE to be reached."""
    if not 0.0 < rate < 1.0:
        return runs if rate else 0
    below = 0.0
    for events in range(runs):
        ways = lgamma(runs + 1) - lgamma(events + 1) - lgamma(runs - events + 1)
        below += exp(ways + events * log(rate) + (runs - events) * log1p(-rate))
        if 1.0 - below < CHANCE:
            return events
    return runs


def average(
    name: str,
    values: Sequence[float],
    unit: str,
    most: float | None = None,
    held: float | None = None,
) -> Line:
    """The mean over at least two runs."""
    error = stdev(values) / sqrt(len(values))
    return line(name, mean(values), error, len(values), unit, most, held)


def middle(
    name: str,
    values: Sequence[float],
    unit: str,
    most: float | None = None,
    held: float | None = None,
) -> Line:
    """The median over runs; an infinite value is "never".

    Its error is half the distance between the values one standard deviation of the rank away, which
    assumes no distribution; the whole distance to the lower one where the other is never.
    """
    ordered, count = sorted(values), len(values)
    reach, found = sqrt(count) / 2.0, ordered[(count - 1) // 2]
    low = ordered[max(0, round(count / 2.0 - reach))]
    high = ordered[min(count - 1, round(count / 2.0 + reach))]
    error = (high - low) / 2.0 if high < inf else found - low
    return line(name, found, error if found < inf else 0.0, count, unit, most, held)


def line(
    name: str,
    figure: float,
    error: float,
    runs: int,
    unit: str,
    most: float | None = None,
    held: float | None = None,
) -> Line:
    """A figure with its standard error, beside bounds that it may be beyond by DOUBT of them."""
    goal, kept = (
        None if bound is None else Bound(bound, bound + DOUBT * error) for bound in (most, held)
    )
    return Line(name, figure, error, runs, unit, goal, kept)


def worst(name: str, lines: Sequence[Line]) -> Line:
    """The line with the largest figure, under another name."""
    found = max(lines, key=lambda line: line.figure)
    return replace(found, name=f"{name}: {found.name}")
