"""Recorded traffic as a `Source`: replayed as it was, or split anew.

Owns what a recording can stand for. Must not know file formats, nor how counts are
judged. A recording with a canary is replayed as it was, whatever the weights would have been. Of
one without, each request of stable's goes to the canary with the chance of the weight in force:
nothing is invented but the split, and the harm that is asked for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import floor

from headgate.core.counters import ERRORS, LATENCY, Arm, Series, difference
from headgate.simulation.draws import Chance, Streams, binomial
from headgate.simulation.recorded import Unreadable
from headgate.simulation.source import Book, Counts, PodHistories, Source, Window

HISTORY = timedelta(minutes=10)
"""How long stable is watched before the canary, as the operator does; a recording to be split
gives it up where it is at least twice as long."""


@dataclass(slots=True)
class Replay:
    """Counters as they were recorded; a `Source` for which weights change nothing."""

    series: Sequence[Series]
    name: str = "recording"
    start: datetime = field(init=False)
    first_second: int = field(init=False)
    edges: tuple[float, ...] = field(init=False)
    _windows: Sequence[Window] = field(init=False)
    _taken: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if not has_canary(self.series):
            raise Unreadable(self.name, "a canary", "stable only")
        canary = [one for one in self.series if one.arm is Arm.CANARY]
        self.start = min(one.points[0].at for one in canary)
        first = min(one.points[0].at for one in self.series)
        self.first_second = -floor(min(HISTORY, self.start - first).total_seconds())
        self.edges = _edges(self.series)
        self._windows = _windows(self.series, self.start, self.edges)
        self._taken = bisect_right([window.second for window in self._windows], 0.0)

    def pod_histories(self, span: int, step: int) -> PodHistories:
        """Nothing: a recording does not tell stable's pods apart."""
        return {}

    def advance(self, until: int, weight: int) -> Sequence[Window] | None:
        """Give what was counted up to `until`; None once the recording is over."""
        begin = self._taken
        if until > 0 and begin >= len(self._windows):
            return None
        while self._taken < len(self._windows) and self._windows[self._taken].second <= until:
            self._taken += 1
        return self._windows[begin : self._taken]

    def read(self, since: datetime, now: datetime) -> Sequence[Series]:
        """Give the recorded samples from `since` to `now`."""
        return [cut for one in self.series if (cut := _cut(one, since, now)).points]


@dataclass(slots=True)
class Split:
    """Stable's recorded requests, each sent to the canary with the chance of the weight in force.

    The canary fails the share `harm` of the good ones it gets from second `onset` on. A `Source`.
    """

    series: Sequence[Series]
    streams: Streams
    harm: float = 0.0
    onset: float = 0.0
    name: str = "recording"
    start: datetime = field(init=False)
    first_second: int = field(init=False)
    edges: tuple[float, ...] = field(init=False)
    _windows: Sequence[Window] = field(init=False)
    _taken: int = field(init=False, default=0)
    _second: float = field(init=False)
    _split: Chance = field(init=False)
    _harm: Chance = field(init=False)
    _book: Book = field(init=False)

    def __post_init__(self) -> None:
        stable = [one for one in self.series if one.arm is Arm.STABLE]
        if not stable:
            raise Unreadable(self.name, "series of stable", "none")
        first = min(one.points[0].at for one in stable)
        last = max(one.points[-1].at for one in stable)
        before = HISTORY if last - first >= 2 * HISTORY else timedelta(0)
        self.start, self.first_second = first + before, -floor(before.total_seconds())
        self.edges = _edges(stable)
        self._windows = _windows(stable, self.start, self.edges)
        self._split, self._harm = self.streams("split"), self.streams("harm")
        self._second = float(self.first_second)
        self._book = Book(self.edges)
        nothing = Counts(buckets=(0,) * len(self.edges))
        for arm in (Arm.STABLE,) if before else Arm:
            self._book.write(first, arm, nothing)

    def pod_histories(self, span: int, step: int) -> PodHistories:
        """Nothing: a recording does not tell stable's pods apart."""
        return {}

    def advance(self, until: int, weight: int) -> Sequence[Window] | None:
        """Split what was counted up to `until`; None once the recording is over."""
        if until > 0 and self._taken >= len(self._windows):
            return None
        found: list[Window] = []
        while self._taken < len(self._windows) and self._windows[self._taken].second <= until:
            window = self._divide(self._windows[self._taken], weight / 100.0)
            at = self.start + timedelta(seconds=window.second)
            self._book.write(at, Arm.STABLE, window.stable)
            if window.second >= 0:
                self._book.write(at, Arm.CANARY, window.canary)
            found.append(window)
            self._taken, self._second = self._taken + 1, window.second
        return found

    def read(self, since: datetime, now: datetime) -> Sequence[Series]:
        """Give the samples from `since` to `now`."""
        return self._book.read(since, now)

    def _divide(self, window: Window, share: float) -> Window:
        whole = window.stable
        bad = binomial(whole.bad, share, self._split)
        good = binomial(whole.requests - whole.bad, share, self._split)
        buckets = tuple(binomial(count, share, self._split) for count in whole.buckets)
        rest = tuple(a - b for a, b in zip(whole.buckets, buckets, strict=True))
        since = max(self._second, self.onset)
        harming = max(0.0, window.second - since) / max(window.second - self._second, 1e-9)
        harmed = binomial(good, self.harm * harming, self._harm)
        return Window(
            window.second,
            Counts(bad + good, bad + harmed, harmed, buckets),
            Counts(whole.requests - bad - good, whole.bad - bad, 0, rest),
        )


@dataclass(slots=True)
class Recorder:
    """Another source, of which everything that is read is kept."""

    source: Source
    _kept: dict[tuple[str, Arm, str, str], Series] = field(init=False, default_factory=dict)

    @property
    def start(self) -> datetime:
        """Second 0 of the source."""
        return self.source.start

    @property
    def first_second(self) -> int:
        """How long before second 0 stable is watched."""
        return self.source.first_second

    @property
    def edges(self) -> tuple[float, ...]:
        """Upper bounds of the source's latency buckets."""
        return self.source.edges

    @property
    def series(self) -> Sequence[Series]:
        """All that was read so far."""
        return [self._kept[key] for key in sorted(self._kept)]

    def pod_histories(self, span: int, step: int) -> PodHistories:
        """What the source's pods counted; it is not kept."""
        return self.source.pod_histories(span, step)

    def advance(self, until: int, weight: int) -> Sequence[Window] | None:
        """Let time pass in the source."""
        return self.source.advance(until, weight)

    def read(self, since: datetime, now: datetime) -> Sequence[Series]:
        """Read from the source, and keep it."""
        found = self.source.read(since, now)
        for one in found:
            key = (one.signal, one.arm, one.instance, one.key)
            before = self._kept[key].points if key in self._kept else ()
            fresh = tuple(p for p in one.points if not before or p.at > before[-1].at)
            self._kept[key] = replace(one, points=(*before, *fresh))
        return found


def has_canary(series: Sequence[Series]) -> bool:
    """Whether a canary was recorded, so that the recording can be replayed as it was."""
    return any(one.arm is Arm.CANARY and one.points for one in series)


def _cut(series: Series, since: datetime, now: datetime) -> Series:
    points = series.points
    begin = bisect_left(points, since, key=lambda point: point.at)
    end = bisect_right(points, now, key=lambda point: point.at)
    return replace(series, points=points[begin:end])


def _edges(series: Iterable[Series]) -> tuple[float, ...]:
    return tuple(sorted({float(one.outcome) for one in series if one.signal == LATENCY}))


def _windows(
    series: Sequence[Series], start: datetime, edges: tuple[float, ...]
) -> Sequence[Window]:
    """Difference a recording; what was counted at one moment by several instances is one window."""
    first = min(one.points[0].at for one in series)
    found: dict[datetime, Window] = {}
    for block in difference(series, {}, first).blocks:
        second = (block.at - start).total_seconds()
        latency = block.counts.get(LATENCY, {}) if block.edges.get(LATENCY) == edges else {}
        errors = block.counts.get(ERRORS, {})
        canary, stable = (
            _counts(errors.get(arm, (0, 0)), latency.get(arm, (0,) * len(edges)))
            for arm in (Arm.CANARY, Arm.STABLE)
        )
        before = found.get(block.at, Window(second, Counts(), Counts()))
        found[block.at] = Window(second, before.canary.plus(canary), before.stable.plus(stable))
    return [found[at] for at in sorted(found)]


def _counts(errors: Sequence[int], buckets: tuple[int, ...]) -> Counts:
    good, bad = errors
    return Counts(good + bad, bad, 0, buckets)


def base_rate(series: Sequence[Series]) -> float:
    """The share of stable's recorded requests that failed; 0 of none."""
    stable = [one for one in series if one.arm is Arm.STABLE]
    if not stable:
        return 0.0
    first = min(one.points[0].at for one in stable)
    bad = requests = 0
    for window in _windows(stable, first, _edges(stable)):
        bad, requests = bad + window.stable.bad, requests + window.stable.requests
    return bad / requests if requests else 0.0
