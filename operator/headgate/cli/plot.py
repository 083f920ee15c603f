"""`headgate why --plot`: what a record tells over time, as a picture to be drawn.

Owns which numbers are in the picture. Must not know where the record came from, nor how it is drawn
(`cli.drawing`, which needs matplotlib, the optional extra `plot`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.util import find_spec
from math import log, log10
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from headgate.core.stats import sizes

if TYPE_CHECKING:
    from headgate.cli.view import Record
    from headgate.core.evidence import Evidence
    from headgate.core.trace import TraceCounts
    from headgate.ports import Manifest

FORMATS = (".png", ".svg")
MOST_SIGNALS = 4
"""So many signals are drawn: those with the most evidence of harm."""

# Each rate rests on at least this part of the canary's requests: fewer say little.
_BINS = 15

_Point: TypeAlias = "tuple[datetime, TraceCounts]"


@dataclass(frozen=True, slots=True)
class Rate:
    """The bad share (0..1) of both arms between two moments; None without requests.

    The canary's true share is between `low` and `high` with 95 %.
    """

    begin: datetime
    end: datetime
    canary: float | None
    low: float
    high: float
    stable: float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """One signal: its rates, its e-value over time, and the one at which it alone rolls back.

    E-values are given by their logarithm to base 10.
    """

    name: str
    rates: tuple[Rate, ...]
    evidence: tuple[tuple[datetime, float], ...]
    threshold: float

    @property
    def highest(self) -> float:
        """The most evidence it ever had."""
        return max(value for _, value in self.evidence)


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that is drawn. `marks` are moments with their names, `weights` changes of it."""

    title: str
    caption: str
    begin: datetime
    end: datetime
    curves: tuple[Curve, ...]
    weights: tuple[tuple[datetime, int], ...]
    marks: tuple[tuple[datetime, str], ...]


def target(text: str) -> Path:
    """Parse `--plot`'s argument; argparse turns the error into exit code 2."""
    path = Path(text)
    if path.suffix.lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text}: wanted a name ending in .png or .svg")
    return path


def missing() -> str:
    """Say what is needed to draw and is not installed; "" if nothing is."""
    if find_spec("matplotlib") is not None:
        return ""
    return "--plot needs matplotlib: install the extra `plot` (pip install 'headgate[plot]')"


def picture(record: Record, manifest: Manifest, title: str) -> Picture:
    """Collect what a record tells over time; without evidence that can be read only its weights."""
    evidence = _evidence(manifest)
    curves = _curves(record, evidence) if evidence is not None else ()
    marks = _marks(record)
    weights = tuple((change.at, change.weight) for change in record.changes if change.at)
    moments = [
        *(at for curve in curves for at, _ in curve.evidence),
        *(at for at, _ in (*weights, *marks)),
        *(at for at in (record.started_at, record.finished_at, record.evidence_as_of) if at),
    ]
    begin = min(moments)
    return Picture(
        title=title,
        caption=_caption(record),
        begin=begin,
        end=max(*moments, begin + timedelta(seconds=1)),
        curves=curves,
        weights=weights,
        marks=marks,
    )


def _evidence(manifest: Manifest) -> Evidence | None:
    from headgate.core.evidence import Evidence

    stored = ((manifest.get("status") or {}).get("evidence") or {}).get("state")
    try:
        return Evidence.from_json(str(stored))
    except ValueError:
        return None


def _caption(record: Record) -> str:
    versions = f"version {record.to.version}"
    if record.from_ is not None:
        versions = f"version {record.from_.version} to {versions}"
    return f"rollout {record.name}: {versions}; record {record.integrity.value}"


def _marks(record: Record) -> tuple[tuple[datetime, str], ...]:
    found: list[tuple[datetime, str]] = []
    if record.first_request_at is not None:
        found.append((record.first_request_at, "first request"))
    if record.verdict is not None and record.verdict.at is not None:
        found.append((record.verdict.at, record.verdict.verdict))
    return tuple(found)


def _curves(record: Record, evidence: Evidence) -> tuple[Curve, ...]:
    """The signals that compared something: the one that decided, then by most evidence of harm."""
    settings, points = evidence.settings, evidence.trace
    thresholds = {signal.name: signal.threshold for signal in record.signals}
    curves = []
    for n, signal in enumerate(settings.measured):
        rates = tuple(_rates([(point.at, point.signals[n]) for point in points]))
        part = signal.share / settings.total_share or 1.0  # one that only freezes has no share
        threshold = thresholds.get(signal.name) or 1.0 / (part * settings.alpha)
        if rates:
            logs = tuple((p.at, p.signals[n].log_evidence / log(10)) for p in points)
            curves.append(Curve(signal.name, rates, logs, log10(threshold)))
    decided = record.verdict.signal if record.verdict is not None else ""
    curves.sort(key=lambda curve: (curve.name != decided, -curve.highest))
    return tuple(curves[:MOST_SIGNALS])


def _rates(points: Sequence[_Point]) -> Iterator[Rate]:
    """Rates between moments so far apart that each has its part of the canary's requests."""
    if not points:
        return
    wanted = max(1.0, points[-1][1].canary_requests / _BINS)
    first = points[0]
    last = next(p for p in points if p[1].canary_requests == points[-1][1].canary_requests)
    for point in points[1:]:
        if point[1].canary_requests - first[1].canary_requests >= wanted:
            yield _rate(first, point)
            first = point
    if last[1].canary_requests > first[1].canary_requests:
        yield _rate(first, last)


def _rate(first: _Point, last: _Point) -> Rate:
    before, after = first[1], last[1]
    requests = after.canary_requests - before.canary_requests
    bad = after.canary_bad - before.canary_bad
    others = after.stable_requests - before.stable_requests
    return Rate(
        begin=first[0],
        end=last[0],
        canary=bad / requests if requests else None,
        low=1.0 - sizes.upper_bound(requests - bad, requests),
        high=sizes.upper_bound(bad, requests),
        stable=(after.stable_bad - before.stable_bad) / others if others else None,
    )
