"""From what events hold to counts, for one replica.

Owns which column is which feature, what is counted twice and what is too much. Must not know HTTP,
where profiles come from or how counts are shown. Counts only ever grow, so those of several
replicas add up. An event is counted whole or not at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from headgate.collector.bodies import Content, Rows, Tensors, parse_body
from headgate.collector.events import Address, Event, Half, Result, Unusable
from headgate.core.drift.bins import binner
from headgate.core.drift.profile import CategoryFeature, Feature, NumberFeature, Profile, labels

WINDOW: Final = 65_536
"""Events remembered at most, to know one that comes again; at least half as many always are."""

IDLE_SECONDS: Final = 3600.0
"""A revision that was not heard of for so long makes room for another, if room is wanted."""


class Bins:
    """The counts of one feature; the last one is what is missing."""

    __slots__ = ("_bin", "_known", "counts", "feature", "labels")

    def __init__(self, feature: Feature) -> None:
        """Begin at zero."""
        self.feature = feature
        self.labels = labels(feature)
        self.counts = [0] * (len(self.labels) + 1)
        self._bin = binner(feature)
        self._known = {label: self._bin(label) for label in self.labels}

    def add(self, column: Sequence[Any]) -> None:
        """
        Count each value of a column as `bins.count` would; any value has a bin, so nothing raises.

        Finite numbers and known categories are nearly all there is and find their bin here, which
        takes half the time of a call for each.
        """
        counts, bin = self.counts, self._bin
        match self.feature:
            case NumberFeature(edges=edges):
                for value in column:
                    kind = type(value)
                    if kind is int or (kind is float and value == value):
                        counts[bisect_left(edges, value)] += 1
                    else:
                        counts[bin(value)] += 1
            case CategoryFeature():
                known = self._known
                for value in column:
                    at = known.get(value) if type(value) is str else None
                    counts[bin(value) if at is None else at] += 1


class Tally:
    """The counts of one revision, all there from the first moment."""

    __slots__ = ("answers", "inputs", "series")

    def __init__(self, profile: Profile) -> None:
        """Begin at zero."""
        self.inputs = tuple(Bins(feature) for feature in profile.features)
        self.answers = () if profile.predictions is None else (Bins(profile.predictions),)
        self.series = series_of(profile)

    def add(self, half: Half, content: Content) -> None:
        """Count one event; raises Unusable (SHAPE, IGNORED) with nothing counted."""
        bins = self.inputs if half is Half.REQUEST else self.answers
        if not bins:
            raise Unusable(Result.IGNORED, f"a profile with something about a {half}")
        found = columns([each.feature for each in bins], content)
        for each, column in zip(bins, found, strict=True):
            each.add(column)


def series_of(profile: Profile) -> int:
    """How many time series the counts of one revision are."""
    features = profile.features + ((profile.predictions,) if profile.predictions else ())
    return sum(len(feature.shares) + 1 for feature in features)


def columns(features: Sequence[Feature], content: Content) -> Sequence[Sequence[Any]]:
    """
    Return one column for each feature, all of the same length.

    | content                                       | a column is found                      |
    |-----------------------------------------------|----------------------------------------|
    | rows that are lists, each as long as features | by position                            |
    | rows that are objects                         | by name; what is absent is missing     |
    | bare values, and one feature                  | as they are                            |
    | one tensor, as wide as there are features     | by position                            |
    | tensors with names of features, one wide      | by name; what is absent is missing     |

    Raises:
        Unusable: SHAPE for everything else: a guess would count one feature as another.
    """
    found = _of_rows(features, content.rows) if isinstance(content, Rows) else None
    if isinstance(content, Tensors):
        found = _of_tensors(features, content)
    if found is None:
        raise Unusable(Result.SHAPE, f"{len(features)} columns, by position or by name")
    return found


def _of_rows(features: Sequence[Feature], rows: Sequence[Any]) -> Sequence[Sequence[Any]] | None:
    kinds = set(map(type, rows))
    if kinds == {dict}:
        return [[row.get(feature.name) for row in rows] for feature in features]
    if kinds == {list}:
        if set(map(len, rows)) != {len(features)}:
            return None
        return list(zip(*rows, strict=True))
    if kinds & {dict, list} or len(features) != 1:
        return None if rows else [()] * len(features)
    return [rows]


def _of_tensors(features: Sequence[Feature], content: Tensors) -> Sequence[Sequence[Any]] | None:
    first, *others = content.tensors
    width = len(features)
    if not others and first.width == width:
        return [first.values[at::width] for at in range(width)]
    by_name = {tensor.name: tensor for tensor in content.tensors}
    named = [by_name.get(feature.name) for feature in features]
    if not any(named) or any(tensor is not None and tensor.width != 1 for tensor in named):
        return None
    absent = [None] * content.rows
    return [tensor.values if tensor is not None else absent for tensor in named]


class Window:
    """Which events were here lately, in bounded memory and without their ids.

    Two generations of digests: when the younger is full it becomes the elder, which is forgotten.
    """

    def __init__(self, size: int = WINDOW) -> None:
        """Remember at most `size` events and always the last half of that."""
        self._half = max(1, size // 2)
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def has(self, mark: bytes) -> bool:
        """Whether this event was here lately."""
        return mark in self._young or mark in self._old

    def add(self, mark: bytes) -> None:
        """Remember it."""
        if len(self._young) >= self._half:
            self._young, self._old = set(), self._young
        self._young.add(mark)


def mark_of(event: Event) -> bytes:
    """
    Return 16 bytes that stand for one half of one call to one revision.

    `ce-id` may be the caller's own, who may use it again for another model of the same graph;
    the address keeps those apart.
    """
    address, head = event.address, event.head
    text = "\0".join((address.namespace, address.deployment, address.hash, head.half, head.id))
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).digest()


@dataclass(slots=True)
class _Kept:
    tally: Tally
    heard_at: float


class Book:
    """All counts of one replica."""

    def __init__(self, max_series: int, window: int = WINDOW) -> None:
        """Keep at most `max_series` time series."""
        self._max_series = max_series
        self._window = Window(window)
        self._kept: dict[Address, _Kept] = {}
        self.series = 0

    def open(self, address: Address, profile: Profile, now: float) -> Tally:
        """
        Return the counts of a revision, from zero if it is new.

        Args:
            address: The revision.
            profile: Its profile; a revision never changes, so only the first one is looked at.
            now: Seconds on any clock that only goes forward.

        Raises:
            Unusable: SERIES_LIMIT if there is no room and none to be had from idle revisions.
        """
        kept = self._kept.get(address)
        if kept is None:
            self._make_room(series_of(profile), now)
            kept = self._kept[address] = _Kept(Tally(profile), now)
            self.series += kept.tally.series
        kept.heard_at = now
        return kept.tally

    def count(self, event: Event, profile: Profile, now: float) -> None:
        """Read and count one event; raises Unusable with nothing counted."""
        tally = self.open(event.address, profile, now)
        mark = mark_of(event)
        if self._window.has(mark):
            raise Unusable(Result.DUPLICATE, "an event that was not here before")
        tally.add(event.head.half, parse_body(event.head.half, event.body))
        self._window.add(mark)

    def tallies(self) -> Iterator[tuple[Address, Tally]]:
        """All revisions in a stable order, with their counts as they are now."""
        return ((address, self._kept[address].tally) for address in sorted(self._kept))

    def revisions(self) -> int:
        """How many revisions have counts."""
        return len(self._kept)

    def _make_room(self, wanted: int, now: float) -> None:
        """Forget idle revisions, longest idle first, but only as many as must be."""
        free = self._max_series - self.series
        idle = sorted(
            (kept.heard_at, address)
            for address, kept in self._kept.items()
            if now - kept.heard_at > IDLE_SECONDS
        )
        leaving: list[Address] = []
        for _, address in idle:
            if free >= wanted:
                break
            leaving.append(address)
            free += self._kept[address].tally.series
        if free < wanted:
            raise Unusable(Result.SERIES_LIMIT, f"at most {self._max_series} series")
        for address in leaving:
            self.series -= self._kept.pop(address).tally.series
