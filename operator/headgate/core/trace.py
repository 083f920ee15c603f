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
    """Points in ascending time, at least a second times two to the power of `doublings` apart."""

    points: tuple[TracePoint, ...] = ()
    doublings: int = 0


def is_due(trace: Trace, at: datetime) -> bool:
    """Whether a point at this moment would be kept."""
    return not trace.points or at - trace.points[-1].at >= _spacing(trace.doublings)


def extended(trace: Trace, at: datetime, signals: Sequence[TraceCounts]) -> Trace:
    """Add a point that is due; when there are too many, keep those twice as far apart."""
    points = (*trace.points, TracePoint(at, tuple(signals)))
    if len(points) <= min(LONGEST, max(24, _NUMBERS // max(1, len(signals)))):
        return Trace(points, trace.doublings)
    wanted = 2 * (at - points[0].at) / (len(points) - 1)
    doublings = trace.doublings + 1
    while _spacing(doublings) < wanted:
        doublings += 1
    kept = list(points[:1])
    for point in points[1:]:
        if point.at - kept[-1].at >= _spacing(doublings):
            kept.append(point)
    return Trace(tuple(kept), doublings)


def _spacing(doublings: int) -> timedelta:
    return _FIRST_SPACING * (1 << doublings)
