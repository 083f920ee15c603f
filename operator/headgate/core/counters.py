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


class Kind(StrEnum):
    """What the counters of a signal count.

    Good and bad ones; bad ones of all, or good ones of all, which say nothing without all; sizes up
    to bounds; or classes by name.
    """

    RATIO = "ratio"
    SHARE = "share"
    YIELD = "yield"
    HISTOGRAM = "histogram"
    CATEGORIES = "categories"


ERRORS = "errors"
LATENCY = "latency"
GOOD = "good"
BAD = "bad"
TOTAL = "total"

BUILT_IN: Mapping[str, Kind] = {ERRORS: Kind.RATIO, LATENCY: Kind.HISTOGRAM}
"""The two signals that every rollout has. They are read in one scrape of one gateway instance."""


@dataclass(frozen=True, slots=True)
class Point:
    """One sample of a counter, at the time the source scraped it (aware UTC)."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One raw counter of one instance (a gateway, a pod, a collector).

    `signal` is `errors`, `latency` or the name of another one. `outcome` depends on its kind:
    `good` or `bad` of a ratio (or `bad` and `total`, which holds the bad ones too); of a histogram
    the bucket's upper bound as Prometheus writes it (`0.25`, `+Inf`), cumulative; else the class's
    name. Several series may share an outcome: `key` (for example the label set) tells them apart,
    so that each is differenced by itself. `points` ascend in time, without duplicates.
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
    """What one instance counted between two consecutive scrapes, by signal and arm.

    `counts` are (good, bad) of a ratio, and of a histogram the requests per bucket with the
    ascending upper bounds `edges` (the last is infinite). `classes` are requests by name. An arm
    that is absent had no counter: that is no data, while zeros mean that it was read and idle.
    """

    instance: str
    at: datetime
    seconds: float
    counts: Mapping[str, Mapping[Arm, tuple[int, ...]]]
    edges: Mapping[str, tuple[float, ...]]
    classes: Mapping[str, Mapping[Arm, Mapping[str, int]]]


@dataclass(frozen=True, slots=True)
class Difference:
    """Blocks by time, the last scrape used of each instance, and of each signal and arm."""

    blocks: tuple[Block, ...]
    cursors: Cursors
    seen: Mapping[tuple[str, Arm], datetime]


def difference(
    series: Sequence[Series],
    cursors: Cursors,
    since: datetime,
    kinds: Mapping[str, Kind] = BUILT_IN,
) -> Difference:
    """Turn raw counters into blocks; a signal without a kind is left out.

    The built-in signals of an instance are one scrape and make one block. Every other signal is
    scraped when it is, so it has blocks, and a cursor `signal@instance`, of its own. Only scrapes
    at or after `since` count. Of an instance with a cursor, the samples at the cursor must be among
    the points, or its first complete scrape starts afresh. Between two scrapes:

        value >= previous                    the difference
        value < previous                     the counter was reset: the value
        no previous, instance was scraped    the series was born: the value
        never seen, others of the arm are    nothing of that outcome: 0
        no series of the arm                 no data for the arm
        NaN, infinite, negative, absent      the scrape is skipped; the next one covers its time
        absent for three scrapes             the series is gone: that time is lost, go on without it
        further apart than MAX_GAP           that time is lost
        bounds differ, or are not cumulative no histogram
        fewer in total than bad ones         no data for the arm
    """
    instances: dict[str, list[Series]] = {}
    for one in series:
        if one.signal in kinds:
            instances.setdefault(_place(one), []).append(one)
    blocks: list[Block] = []
    used = dict(cursors)
    seen: dict[tuple[str, Arm], datetime] = {}
    # an instance without a cursor may have had one: what is that old was counted, or is lost
    newest = max(cursors.values(), default=since + MAX_GAP)
    for instance, own in instances.items():
        start = max(since, cursors.get(instance, newest - MAX_GAP))
        counters = [_Counter.of(one, start) for one in own]
        for before, at in _pairs(counters, cursors.get(instance)):
            used[instance] = at
            _see(seen, counters, at)
            if before is not None:
                blocks.append(_block(instance, counters, before, at, kinds))
    blocks.sort(key=lambda block: (block.at, block.instance))
    return Difference(tuple(blocks), _living(used), seen)


def _place(series: Series) -> str:
    """What is scraped together: the built-in signals of an instance, else one signal of it."""
    return series.instance if series.signal in BUILT_IN else f"{series.signal}@{series.instance}"


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


def _see(seen: dict[tuple[str, Arm], datetime], counters: Sequence[_Counter], at: datetime) -> None:
    for counter in counters:
        if counter.values.get(at) is not None:
            place = (counter.signal, counter.arm)
            seen[place] = max(at, seen.get(place, at))


def _living(cursors: Cursors) -> Cursors:
    newest = max(cursors.values(), default=None)
    return {name: at for name, at in sorted(cursors.items()) if newest and newest - at <= MAX_GAP}


def _block(
    instance: str,
    counters: Sequence[_Counter],
    before: datetime,
    at: datetime,
    kinds: Mapping[str, Kind],
) -> Block:
    deltas: dict[str, dict[Arm, dict[str, list[int]]]] = {}
    for counter in counters:
        value = counter.values.get(at)
        if value is None:
            continue
        previous = counter.values.get(before) or 0
        delta = value - previous if value >= previous else value
        of_arm = deltas.setdefault(counter.signal, {}).setdefault(counter.arm, {})
        of_arm.setdefault(counter.outcome, []).append(delta)
    counts: dict[str, Mapping[Arm, tuple[int, ...]]] = {}
    edges: dict[str, tuple[float, ...]] = {}
    classes: dict[str, Mapping[Arm, Mapping[str, int]]] = {}
    for signal, arms in deltas.items():
        match kinds[signal]:
            case Kind.RATIO:
                counts[signal] = _good_and_bad(arms)
            case Kind.SHARE:
                counts[signal] = _parts(arms, BAD)
            case Kind.YIELD:
                good = _parts(arms, GOOD)
                counts[signal] = {arm: found[::-1] for arm, found in good.items()}
            case Kind.HISTOGRAM:
                counts[signal], edges[signal] = _histograms(arms)
            case Kind.CATEGORIES:
                classes[signal] = {
                    arm: {name: sum(found) for name, found in by_name.items()}
                    for arm, by_name in arms.items()
                }
    return Block(instance, at, (at - before).total_seconds(), counts, edges, classes)


_Deltas = Mapping[Arm, Mapping[str, Sequence[int]]]


def _good_and_bad(arms: _Deltas) -> Mapping[Arm, tuple[int, ...]]:
    """Good and bad of each arm that has one of both."""
    return {
        arm: (sum(by_outcome.get(GOOD, ())), sum(by_outcome.get(BAD, ())))
        for arm, by_outcome in arms.items()
        if not by_outcome.keys().isdisjoint((GOOD, BAD))
    }


def _parts(arms: _Deltas, outcome: str) -> Mapping[Arm, tuple[int, ...]]:
    """The rest and the part with this outcome, of each arm whose total is known and not exceeded.

    Bad ones that nobody counted yet are none. Good ones that nobody counted are a name that is
    wrong more often than a service without a single good answer: no data.
    """
    found: dict[Arm, tuple[int, ...]] = {}
    for arm, by_outcome in arms.items():
        known = TOTAL in by_outcome and (outcome == BAD or outcome in by_outcome)
        part, total = sum(by_outcome.get(outcome, ())), sum(by_outcome.get(TOTAL, ()))
        if known and part <= total:
            found[arm] = (total - part, part)
    return found


def _bound(outcome: str) -> float:
    try:
        return float(outcome)
    except ValueError:
        return nan


def _histograms(
    arms: _Deltas,
) -> tuple[Mapping[Arm, tuple[int, ...]], tuple[float, ...]]:
    """Buckets of each arm, made non-cumulative; nothing unless all arms have the same bounds."""
    buckets: dict[Arm, dict[float, list[int]]] = {}
    for arm, by_bound in arms.items():
        for bound, deltas in by_bound.items():
            buckets.setdefault(arm, {}).setdefault(_bound(bound), []).extend(deltas)
    bounds = {tuple(sorted(of_arm)) for of_arm in buckets.values()}
    edges = bounds.pop() if len(bounds) == 1 else ()
    if not edges or any(isnan(edge) for edge in edges) or edges[-1] != inf:
        return {}, ()
    counts: dict[Arm, tuple[int, ...]] = {}
    for arm, of_arm in buckets.items():
        # a label set that lacks a bound would be read as requests faster than they were
        if len({len(deltas) for deltas in of_arm.values()}) > 1:
            continue
        cumulative = [0, *(sum(of_arm[edge]) for edge in edges)]
        buckets_of_arm = tuple(high - low for low, high in pairwise(cumulative))
        if min(buckets_of_arm) >= 0:
            counts[arm] = buckets_of_arm
    return counts, edges
