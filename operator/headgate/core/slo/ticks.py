"""Counters sampled at even steps into counts per window.

Owns the rules of differencing over hours and days, which follow those of `core.counters` for
scrapes. Must not know where samples come from, nor what an objective promises.

Between two samples of one counter, with `longest` the larger of MAX_GAP and three steps:

    value >= previous                      the difference
    value < previous                       the counter was reset: the value
    no previous, its instance was there    the counter was born: the value
    no previous, nor was its instance      the first sample is where counting begins
    away for a step or two                 the difference to the last sample
    away for three steps or more           it was gone, and is born again
    instance away for more than `longest`  that time is lost, and not covered

What that can miss: what an instance counted between its last sample and its end or reset, and what
a new instance counted before its first sample. Each is at most one step's worth of that instance's
requests, per end, reset or beginning. Nothing is ever counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise

from headgate.core.counters import BAD, GONE_AFTER, GOOD, MAX_GAP, Point
from headgate.core.slo.budget import WindowCounts

TOTAL = "total"


class Outcomes(Enum):
    """Which counters a source has, and which of them must be there for anything to be known.

    A failure counter is often born with the first failure, so where it may be absent that is no
    failure. A success counter that is absent is more often a wrong name than a total outage.
    """

    GOOD_AND_BAD = frozenset[str]()
    BAD_OF_TOTAL = frozenset({TOTAL})
    GOOD_OF_TOTAL = frozenset({TOTAL, GOOD})

    @property
    def needed(self) -> frozenset[str]:
        """The outcomes without which there is no data."""
        return self.value


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter of one instance; `outcome` is GOOD, BAD or TOTAL. `points` ascend in time."""

    instance: str
    outcome: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Ticks:
    """What was counted at each sample since the one before, and the time that this covers.

    `counts` is by outcome and moment; an outcome that is absent had no counter at all. `covered`
    are times from and to, ascending, that do not overlap.
    """

    counts: Mapping[str, Mapping[datetime, int]]
    covered: tuple[tuple[datetime, datetime], ...]


def count_ticks(counters: Sequence[Counter], step: timedelta) -> Ticks:
    """Difference counters that were sampled every `step`, all at the same moments."""
    longest = max(MAX_GAP, GONE_AFTER * step)
    instances: dict[str, list[Counter]] = {}
    for counter in counters:
        instances.setdefault(counter.instance, []).append(counter)
    counts: dict[str, dict[datetime, int]] = {}
    covered: set[tuple[datetime, datetime]] = set()
    for own in instances.values():
        times = sorted({point.at for counter in own for point in counter.points})
        covered |= {(a, b) for a, b in pairwise(times) if b - a <= longest}
        for counter in own:
            of_outcome = counts.setdefault(counter.outcome, {})
            for at, delta in _deltas(counter, times, longest):
                of_outcome[at] = of_outcome.get(at, 0) + delta
    return Ticks(counts, _union(covered))


def window_counts(
    ticks: Ticks, outcomes: Outcomes, window: timedelta, now: datetime
) -> WindowCounts:
    """Add up the ticks after `now - window`, up to `now`.

    Without the counters that `outcomes` needs nothing is known: zero of zero, covering nothing.
    """
    since = now - window
    found = {
        outcome: sum(count for at, count in by_time.items() if since < at <= now)
        for outcome, by_time in ticks.counts.items()
    }
    if outcomes.needed - found.keys() or not found:
        return WindowCounts(window, 0, 0, timedelta(0))
    if TOTAL in found:
        total = found[TOTAL]
        part = min(found.get(BAD if outcomes is Outcomes.BAD_OF_TOTAL else GOOD, 0), total)
        bad = part if outcomes is Outcomes.BAD_OF_TOTAL else total - part
        good = total - bad
    else:
        good, bad = found.get(GOOD, 0), found.get(BAD, 0)
    spans = ((max(a, since), min(b, now)) for a, b in ticks.covered)
    covered = sum((b - a for a, b in spans if b > a), timedelta(0))
    return WindowCounts(window, good, bad, covered)


def _deltas(
    counter: Counter, times: Sequence[datetime], longest: timedelta
) -> Iterator[tuple[datetime, int]]:
    """Walk through the samples of the counter's instance; see the table above."""
    values = {point.at: int(point.value) for point in counter.points}
    previous: int | None = None
    away = GONE_AFTER
    for before, at in zip((None, *times), times, strict=False):
        value = values.get(at)
        if value is None:
            away += 1
            continue
        if before is not None and at - before <= longest:
            known = previous if away < GONE_AFTER else None
            yield at, value - known if known is not None and value >= known else value
        previous, away = value, 0


def _union(spans: set[tuple[datetime, datetime]]) -> tuple[tuple[datetime, datetime], ...]:
    merged: list[tuple[datetime, datetime]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return tuple(merged)
