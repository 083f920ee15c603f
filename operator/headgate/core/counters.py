"""Raw counter samples into blocks of counts.

Owns the rules of differencing: resets, births, gaps, samples that are not numbers. Must not know
where samples come from, what an outcome means for a decision, or any test.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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
