"""What a service promised: a share of good requests over a rolling window.

Owns the value and what counts as good. Must not know metric names of any source, nor any count.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from headgate.core.wording import plain

SHORTEST = timedelta(days=1)
LONGEST = timedelta(days=90)
USUAL = timedelta(days=30)

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Selector:
    """The user's own counters: a metric, and the labels its series must have, as plain text.

    A label in `any_of` may have any of its values, of which `5xx` also stands for every number of
    three digits that begins with 5. Raises ValueError if a name is none, or has two rules; values
    may be any text, and are escaped where they go.
    """

    metric: str
    matchers: tuple[tuple[str, str], ...] = ()
    any_of: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        if not _METRIC.fullmatch(self.metric):
            raise ValueError(f"wanted the name of a metric, found {plain(self.metric, 80)!r}")
        names = [name for name, _ in (*self.matchers, *self.any_of)]
        for name in names:
            if not _LABEL.fullmatch(name) or name == "__name__":
                raise ValueError(f"wanted the name of a label, found {plain(name, 80)!r}")
            if names.count(name) > 1:
                raise ValueError(f"wanted one rule for each label, found two of {name}")


@dataclass(frozen=True, slots=True)
class Errors:
    """Good is what does not fail at the gateway."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Good is what is answered within `threshold` at the gateway."""

    threshold: timedelta


@dataclass(frozen=True, slots=True)
class Own:
    """The user's own counters: all requests, and either the good or the bad ones among them.

    `arm_label` tells whose they are, by the template `arm_value`; empty where nothing does.
    """

    total: Selector
    good: Selector | None = None
    bad: Selector | None = None
    arm_label: str = ""
    arm_value: str = ""

    def __post_init__(self) -> None:
        if (self.good is None) == (self.bad is None):
            raise ValueError("series: wanted exactly one of good and bad beside total")


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """A promise. `target` is the share of good requests, in (0, 1); `window` rolls, 1 d to 90 d.

    Raises ValueError for a target or a window outside of that.
    """

    name: str
    target: Decimal
    counts: Errors | Latency | Own
    window: timedelta = USUAL

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise ValueError(f"target: wanted a share between 0 and 1, found {self.target}")
        if not SHORTEST <= self.window <= LONGEST:
            raise ValueError(f"window: wanted 1d to 90d, found {self.window}")

    @property
    def budget(self) -> float:
        """The share of requests that may fail: 1 - target, without a rounding error."""
        return float(1 - self.target)


class ThresholdIsNoEdge(ValueError):
    """A latency threshold at which the histogram does not count; `below`, `above` are the nearest.

    Either is None where there is no edge on that side.
    """

    def __init__(
        self, objective: str, threshold: Decimal, below: Decimal | None, above: Decimal | None
    ) -> None:
        near = " and ".join(_milliseconds(edge) for edge in (below, above) if edge is not None)
        super().__init__(
            f"objective {objective}: threshold {_milliseconds(threshold)} is no bucket edge of the "
            f"gateway's histogram; the nearest are {near}"
        )
        self.objective, self.threshold, self.below, self.above = objective, threshold, below, above


def _milliseconds(seconds: Decimal) -> str:
    return f"{(1000 * seconds).normalize():f}ms"


def edge_at(objective: str, threshold: timedelta, edges: Sequence[Decimal]) -> Decimal:
    """Find the finite bucket edge (seconds) that equals the threshold.

    Raises ThresholdIsNoEdge otherwise: interpolation within a bucket would be a guess.
    """
    wanted = Decimal(threshold // timedelta(microseconds=1)) / 1_000_000
    if wanted in edges:
        return wanted
    below = max((edge for edge in edges if edge < wanted), default=None)
    above = min((edge for edge in edges if edge > wanted), default=None)
    raise ThresholdIsNoEdge(objective, wanted, below, above)
