"""What kind of metric a name is, as the targets that expose it say.

Owns the reading of metadata and how long it is believed. Must not know who asks, or why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from headgate.adapters.prometheus_answer import parse_answer
from headgate.ports import METRIC_NAME, MetricsUnavailable

PATH = "/api/v1/metadata"
BELIEVED = timedelta(minutes=5)
UNKNOWN_BELIEVED = timedelta(minutes=1)
"""A metric that nobody exposes yet may be there at the next scrape."""
MOST_KNOWN = 1000

# OpenMetrics has more types; what is no counter, histogram or summary there goes up and down.
_TYPES = {
    "counter": "counter",
    "gauge": "gauge",
    "histogram": "histogram",
    "summary": "summary",
    "gaugehistogram": "gauge",
    "info": "gauge",
    "stateset": "gauge",
}
_FAMILY = {
    "_bucket": ("histogram",),
    "_count": ("histogram", "summary"),
    "_sum": ("histogram", "summary"),
    "_total": ("counter",),
}


class MetricTypes:
    """The types of metrics, asked for once in some minutes."""

    def __init__(self, get: Callable[[str, dict[str, str]], Awaitable[bytes]]) -> None:
        """`get` sends one request to a path with parameters; raises MetricsUnavailable."""
        self._get = get
        self._known: dict[str, tuple[datetime, str | None]] = {}

    async def type_of(self, metric: str, now: datetime) -> str | None:
        """See Metrics; raises ValueError for what is no metric's name."""
        if not METRIC_NAME.fullmatch(metric):
            raise ValueError(f"metric: {metric!r} is not a metric name")
        if metric in self._known:
            until, type = self._known[metric]
            if now < until:
                return type
        type = await self._find(metric)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[metric] = (now + (BELIEVED if type else UNKNOWN_BELIEVED), type)
        return type

    async def _find(self, metric: str) -> str | None:
        """Ask for the name itself, then for the family whose series are named so."""
        for family, types in _families(metric):
            found = await self._ask(family)
            if found is not None and (not types or found in types):
                return found
        return None

    async def _ask(self, family: str) -> str | None:
        try:
            content = parse_answer(await self._get(PATH, {"metric": family}))
            return _parse_type(content.get(family, []))
        except MetricsUnavailable as error:
            raise MetricsUnavailable(f"metadata of {family}: {error}") from error


def _families(metric: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield metric, ()
    for suffix, types in _FAMILY.items():
        if metric.endswith(suffix) and metric != suffix:
            yield metric.removesuffix(suffix), types


def _parse_type(entries: Any) -> str | None:
    """Read the one type that all targets give; unknown if they differ."""
    if not isinstance(entries, list):
        raise MetricsUnavailable("wanted a list of types")
    found = set()
    for entry in entries:
        match entry:
            case {"type": str(type)}:
                found.add(_TYPES.get(type, "unknown"))
            case _:
                raise MetricsUnavailable("an entry has no type")
    if not found:
        return None
    return found.pop() if len(found) == 1 else "unknown"
