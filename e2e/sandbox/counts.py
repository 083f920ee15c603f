"""
Owns what users saw, in numbers: counts of requests, failures by kind, and a latency histogram.

Counts add up, and a report is a file with one of them for each second. It must not know HTTP or
who sent the requests.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

K = TypeVar("K")

FIRST_EDGE_SECONDS = 0.0001
EDGE_RATIO = 1.1
"""Each bucket of the histogram is this much wider: a quantile is at most 10 % too high."""


@dataclass(frozen=True, slots=True)
class Counts:
    """
    What the users of some stretch of time saw.

    `sent` counts requests by when they were sent, all others by when they ended.
    """

    sent: int = 0
    ended: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    """Requests that ended badly, by kind: `http-500`, `reset`, `refused`, `timeout`, …"""
    latency: Mapping[int, int] = field(default_factory=dict)
    """Requests that ended well, by `bucket`; from sending to the last byte of the answer."""
    ended_by: Mapping[str, int] = field(default_factory=dict)
    """Requests by the revision that answered; empty where the gateway does not say it."""
    failed_by: Mapping[str, int] = field(default_factory=dict)
    behind: int = 0
    """Requests that the sender itself sent late: it, not the server, was short of time."""
    skipped: int = 0
    """Requests that were due and never sent, because too many were under way."""

    @property
    def failures(self) -> int:
        """Requests that ended badly, whatever the kind."""
        return sum(self.failed.values())

    @property
    def failed_ratio(self) -> float | None:
        """Share of ended requests that failed, 0..1; None if none ended."""
        return self.failures / self.ended if self.ended else None

    def __add__(self, other: "Counts") -> "Counts":
        """Put two stretches of time together."""
        return Counts(
            sent=self.sent + other.sent,
            ended=self.ended + other.ended,
            failed=_sum(self.failed, other.failed),
            latency=_sum(self.latency, other.latency),
            ended_by=_sum(self.ended_by, other.ended_by),
            failed_by=_sum(self.failed_by, other.failed_by),
            behind=self.behind + other.behind,
            skipped=self.skipped + other.skipped,
        )

    def quantile_seconds(self, q: float) -> float | None:
        """
        Bound the latency that a share q (0..1) of the good requests did not exceed.

        It is the upper edge of the bucket with the ceil(q·n)-th smallest, so never too low. None
        if no request ended well.
        """
        rank = max(1, math.ceil(q * sum(self.latency.values())))
        reached = 0
        for index, count in sorted(self.latency.items()):
            reached += count
            if reached >= rank:
                return upper_edge_seconds(index)
        return None

    def __str__(self) -> str:
        """Say it in one line for a person."""
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(self.failed.items()))
        text = f"{self.ended:,} requests, {self.failures:,} failed" + (f" ({kinds})" * bool(kinds))
        for q in (0.5, 0.99):
            seconds = self.quantile_seconds(q)
            if seconds is not None:
                text += f", p{q * 100:g} {seconds * 1000:.1f} ms"
        if self.behind or self.skipped:
            text += f"; the client itself was late with {self.behind:,}, skipped {self.skipped:,}"
        return text


@dataclass(frozen=True, slots=True)
class Interval:
    """The counts of one stretch of time; moments are aware UTC."""

    since: datetime
    until: datetime
    counts: Counts


def bucket(seconds: float) -> int:
    """Find the bucket of a latency; bucket 0 holds all up to FIRST_EDGE_SECONDS."""
    if seconds <= FIRST_EDGE_SECONDS:
        return 0
    return math.ceil(math.log(seconds / FIRST_EDGE_SECONDS, EDGE_RATIO))


def upper_edge_seconds(index: int) -> float:
    """Give the largest latency of a bucket."""
    return float(FIRST_EDGE_SECONDS * EDGE_RATIO**index)


def total(intervals: Iterable[Interval]) -> Counts:
    """Add up stretches of time."""
    return sum((interval.counts for interval in intervals), start=Counts())


def render_line(interval: Interval) -> str:
    """Write an interval as one line of a report; mappings that are empty are left out."""
    counts = interval.counts
    fields: dict[str, object] = {
        "since": interval.since.timestamp(),
        "until": interval.until.timestamp(),
    }
    for name in Counts.__dataclass_fields__:
        value = getattr(counts, name)
        if value or isinstance(value, int):
            fields[name] = value
    return json.dumps(fields)


def parse_line(line: str) -> Interval:
    """Read what `render_line` wrote; raise ValueError or KeyError for anything else."""
    fields: dict[str, Any] = json.loads(line)
    since, until = fields.pop("since"), fields.pop("until")
    latency = {int(index): count for index, count in fields.pop("latency", {}).items()}
    counts = Counts(latency=latency, **fields)
    return Interval(datetime.fromtimestamp(since, UTC), datetime.fromtimestamp(until, UTC), counts)


def read_report(path: Path) -> list[Interval]:
    """Read a report, also while it is being written; none if it does not exist yet."""
    if not path.exists():
        return []
    whole_lines = path.read_text().split("\n")[:-1]
    return [parse_line(line) for line in whole_lines]


def _sum(one: Mapping[K, int], other: Mapping[K, int]) -> Mapping[K, int]:
    return Counter(one) + Counter(other)
