"""How the evidence grew: a few points in time, thinned evenly, for people to look at.

Owns the points and their thinning. Must not decide: no verdict rests on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

LONGEST = 120
"""Points of a trace with few signals."""

_NUMBERS = 480  # signals times points, so that the stored state stays small
_FIRST_SPACING = timedelta(seconds=1)


class TraceCounts(NamedTuple):
    """One signal at one moment: counts since the beginning, and its log e-value."""

    canary_bad: int
    canary_requests: int
    stable_bad: int
    stable_requests: int
    log_evidence: float


class TracePoint(NamedTuple):
    """All signals at one moment, in the order of the evidence's settings."""

    at: datetime
    signals: tuple[TraceCounts, ...]


class Trace(NamedTuple):
    """Points in ascending time, `doublings` times thinned to every second one."""

    points: tuple[TracePoint, ...] = ()
    doublings: int = 0


def is_due(trace: Trace, at: datetime) -> bool:
    """Whether a point at this moment would be kept."""
    spacing = _FIRST_SPACING * 2**trace.doublings
    return not trace.points or at - trace.points[-1].at >= spacing


def extended(trace: Trace, at: datetime, signals: Sequence[TraceCounts]) -> Trace:
    """Add a point that is due; every second one goes when there are too many."""
    points = (*trace.points, TracePoint(at, tuple(signals)))
    if len(points) > min(LONGEST, max(24, _NUMBERS // max(1, len(signals)))):
        return Trace(points[::2], trace.doublings + 1)
    return Trace(points, trace.doublings)
