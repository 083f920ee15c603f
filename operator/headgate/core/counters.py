"""Raw counter samples into blocks of counts.

Owns the rules of differencing: resets, births, gaps, samples that are not numbers. Must not know
where samples come from, what an outcome means for a decision, or any test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from math import inf, isfinite, isnan, nan


class Arm(StrEnum):
    """Which side of the comparison served a request."""

    STABLE = "stable"
    CANARY = "canary"


ERRORS = "errors"
LATENCY = "latency"
GOOD = "good"
BAD = "bad"


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of a counter, at the time the source scraped it (aware UTC)."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One raw counter of one gateway instance.

    `signal` is `errors` or `latency`. `outcome` is `good` or `bad` for errors, and for latency the
    bucket's upper bound in seconds as Prometheus writes it (`0.25`, `+Inf`), cumulative. Several
    series may share an outcome: `key` (for example the label set) tells them apart, so that each
    is differenced by itself. `points` ascend in time, without duplicates.
    """

    signal: str
    arm: Arm
    instance: str
    outcome: str
    key: str
    points: tuple[Point, ...]


Cursors = Mapping[str, datetime]

# Two scrapes further apart say little about the time between, and an instance that is silent for
# longer has left.
MAX_GAP = timedelta(minutes=5)
# A series absent from this many scrapes in a row, while its instance was scraped, is gone.
GONE_AFTER = 3


@dataclass(frozen=True, slots=True)
class Block:
    """What one gateway instance counted between two consecutive scrapes.

    `errors` is (good, bad) per arm, `latency` requests per bucket and arm with the ascending upper
    bounds `edges` (the last is infinite). An arm that is absent had no counter: that is no data,
    while zeros mean that it was read and idle.
    """

    instance: str
    at: datetime
    seconds: float
    errors: Mapping[Arm, tuple[int, ...]]
    latency: Mapping[Arm, tuple[int, ...]]
    edges: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Blocks by time, the last scrape used of each instance, and of each arm."""

    blocks: tuple[Block, ...]
    cursors: Cursors
    seen: Mapping[Arm, datetime]


def difference(series: Sequence[Series], cursors: Cursors, since: datetime) -> Difference:
    """Turn raw counters into blocks.

    Only scrapes at or after `since` count. Of an instance with a cursor, the samples at the cursor
    must be among the points, or its first complete scrape starts afresh. Between two scrapes:

        value >= previous                    the difference
        value < previous                     the counter was reset: the value
        no previous, instance was scraped    the series was born: the value
        never seen, others of the arm are    nothing of that outcome: 0
        no series of the arm                 no data for the arm
        NaN, infinite, negative, absent      the scrape is skipped; the next one covers its time
        absent for three scrapes             the series is gone: that time is lost, go on without it
        further apart than MAX_GAP           that time is lost
        bounds differ, or are not cumulative no latency data
    """
    instances: dict[str, list[Series]] = {}
    for one in series:
        instances.setdefault(one.instance, []).append(one)
    blocks: list[Block] = []
    used = dict(cursors)
    seen: dict[Arm, datetime] = {}
    # an instance without a cursor may have had one: what is that old was counted, or is lost
    newest = max(cursors.values(), default=since + MAX_GAP)
    for instance, own in instances.items():
        start = max(since, cursors.get(instance, newest - MAX_GAP))
        counters = [_Counter.of(one, start) for one in own]
        for before, at in _pairs(counters, cursors.get(instance)):
            used[instance] = at
            _see(seen, counters, at)
            if before is not None:
                blocks.append(_block(instance, counters, before, at))
    blocks.sort(key=lambda block: (block.at, block.instance))
    return Difference(tuple(blocks), _living(used), seen)


@dataclass(frozen=True, slots=True)
class _Counter:
    """A series as a table from scrape time to count; None marks a sample that is no count."""

    signal: str
    arm: Arm
    outcome: str
    values: Mapping[datetime, int | None]
    born_at: datetime | None

    @classmethod
    def of(cls, series: Series, start: datetime) -> _Counter:
        values = {p.at: _count(p.value) for p in series.points if p.at >= start}
        born = min(values, default=None)
        return cls(series.signal, series.arm, series.outcome, values, born)


def _count(value: float) -> int | None:
    return int(value) if isfinite(value) and value >= 0 else None


def _pairs(
    counters: Sequence[_Counter], cursor: datetime | None
) -> Iterator[tuple[datetime | None, datetime]]:
    """Walk through the scrapes: (previous, this) for a block, (None, this) for a fresh start."""
    times = sorted({at for counter in counters for at in counter.values})
    base = cursor if cursor is not None and times and times[0] == cursor else None
    missing = [0] * len(counters)  # scrapes in a row without a sample, per counter
    for at in times:
        if at == base:
            continue
        for n, counter in enumerate(counters):
            due = counter.born_at is not None and counter.born_at <= at
            missing[n] = missing[n] + 1 if due and counter.values.get(at) is None else 0
        if any(0 < count < GONE_AFTER for count in missing):
            continue
        lost = base is None or at - base > MAX_GAP or any(missing)
        yield (None if lost else base), at
        base = at
        counters = [_after(c, at) if missing[n] else c for n, c in enumerate(counters)]
        missing = [0] * len(counters)


def _after(counter: _Counter, at: datetime) -> _Counter:
    """Forget a series that is gone: what comes later is a birth."""
    later = min((t for t in counter.values if t > at), default=None)
    return replace(counter, born_at=later)


def _see(seen: dict[Arm, datetime], counters: Sequence[_Counter], at: datetime) -> None:
    for counter in counters:
        if counter.values.get(at) is not None:
            seen[counter.arm] = max(at, seen.get(counter.arm, at))


def _living(cursors: Cursors) -> Cursors:
    newest = max(cursors.values(), default=None)
    return {name: at for name, at in sorted(cursors.items()) if newest and newest - at <= MAX_GAP}


def _block(instance: str, counters: Sequence[_Counter], before: datetime, at: datetime) -> Block:
    errors: dict[Arm, list[int]] = {}
    buckets: dict[Arm, dict[float, list[int]]] = {}
    for counter in counters:
        value = counter.values.get(at)
        if value is None:
            continue
        previous = counter.values.get(before) or 0
        delta = value - previous if value >= previous else value
        if counter.signal == ERRORS and counter.outcome in (GOOD, BAD):
            errors.setdefault(counter.arm, [0, 0])[counter.outcome == BAD] += delta
        elif counter.signal == LATENCY:
            bound = _bound(counter.outcome)
            buckets.setdefault(counter.arm, {}).setdefault(bound, []).append(delta)
    latency, edges = _histograms(buckets)
    seconds = (at - before).total_seconds()
    return Block(instance, at, seconds, {a: tuple(e) for a, e in errors.items()}, latency, edges)


def _bound(outcome: str) -> float:
    try:
        return float(outcome)
    except ValueError:
        return nan


def _histograms(
    buckets: Mapping[Arm, Mapping[float, Sequence[int]]],
) -> tuple[Mapping[Arm, tuple[int, ...]], tuple[float, ...]]:
    """Buckets of each arm, made non-cumulative; nothing unless all arms have the same bounds."""
    bounds = {tuple(sorted(of_arm)) for of_arm in buckets.values()}
    edges = bounds.pop() if len(bounds) == 1 else ()
    if not edges or any(isnan(edge) for edge in edges) or edges[-1] != inf:
        return {}, ()
    latency: dict[Arm, tuple[int, ...]] = {}
    for arm, of_arm in buckets.items():
        # a label set that lacks a bound would be read as requests faster than they were
        if len({len(deltas) for deltas in of_arm.values()}) > 1:
            continue
        cumulative = [0, *(sum(of_arm[edge]) for edge in edges)]
        counts = tuple(high - low for low, high in pairwise(cumulative))
        if min(counts) >= 0:
            latency[arm] = counts
    return latency, edges
