"""Counts over minutes to months from Prometheus, for error budgets.

Owns the queries for them and how long an answer is kept. Must not know burn rates, nor gates.
Nothing here extrapolates: no `rate`, no `increase`, which give fractions and lose the first sample
of a new series. A range query returns each raw counter as it stood at even steps, and
`core.slo.ticks` differences them; its table says what a step can miss.

    windows                           steps of  kept for
    5m, 30m, 1h, 2h                   1 min     30 s
    6h, 1d, 3d                        15 min    3 min
    the objective's, if beyond 3 d    1 h       10 min
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TypeVar

from headgate.adapters.packs import Pack
from headgate.adapters.prometheus_answer import RawSeries, parse_answer, parse_matrix
from headgate.adapters.prometheus_http import PrometheusHTTP, PrometheusSettings
from headgate.adapters.prometheus_query import quote
from headgate.adapters.prometheus_selectors import (
    arm_pattern,
    errors_of,
    latency_of,
    matching,
    one_of,
    one_of_classes,
    route_pattern,
    spellings,
)
from headgate.adapters.prometheus_sources import SCRAPE_LABELS
from headgate.core.counters import BAD, GOOD, Point
from headgate.core.slo.budget import WINDOWS, WindowCounts
from headgate.core.slo.level import Errors, Latency, Own, Selector, ServiceLevel, edge_at
from headgate.core.slo.ticks import (
    TOTAL,
    Counter,
    Outcomes,
    Ticks,
    count_ticks,
    window_counts,
)
from headgate.ports import MetricsUnavailable, Service

_T = TypeVar("_T")
_AT_ONCE = 4
_INSTANCE = ("instance", "pod")


@dataclass(frozen=True, slots=True)
class _Table:
    """How one range of windows is sampled, and how long its answer is good for."""

    step: timedelta
    span: timedelta
    kept: timedelta


_FINE = _Table(timedelta(minutes=1), timedelta(hours=2), timedelta(seconds=30))
_MIDDLE = _Table(timedelta(minutes=15), timedelta(days=3), timedelta(minutes=3))
_EDGES_KEPT = timedelta(minutes=10)

_Counts = Errors | Latency | Own
_Key = tuple[Service, _Counts, _Table]


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, and when."""

    ticks: Ticks
    at: datetime
    until: datetime


class PrometheusBudgets:
    """One Prometheus-compatible source, read for error budgets through one metric pack."""

    def __init__(self, settings: PrometheusSettings, pack: Pack) -> None:
        self._settings = settings
        self._pack, self._errors, self._latency = pack, errors_of(pack), latency_of(pack)
        self._http = PrometheusHTTP(settings)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._kept: dict[_Key, _Read] = {}
        self._edges: dict[Service, tuple[Mapping[Decimal, frozenset[str]], datetime]] = {}

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def read(
        self,
        service: Service,
        objectives: Sequence[ServiceLevel],
        now: datetime,
        longest: timedelta | None = None,
    ) -> Mapping[str, Sequence[WindowCounts]]:
        """Read the counts of each objective, by its name: its own window and those in WINDOWS.

        Those longer than `longest` are left out, if it is given, and not asked for.

        A window's counts end when they were read, which is up to ten minutes before `now` for the
        longest. Without series the counts are zero and cover nothing: that is not zero failures.

        Raises:
            MetricsUnavailable: The source does not answer in time and completely; names the query.
            ThresholdIsNoEdge: A latency objective's threshold is not a bound of the histogram.
        """
        self._forget(now)
        wanted = {
            (service, level.counts, table): level.name
            for level in objectives
            for table in _tables(level, longest).values()
        }
        known = {key: self._kept[key] for key in wanted if self._is_fresh(key, now)}
        missing = {key: name for key, name in wanted.items() if key not in known}
        reads = await asyncio.gather(*(self._read(key, n, now) for key, n in missing.items()))
        fresh = dict(zip(missing, reads, strict=True))
        self._kept |= fresh
        known |= fresh
        return {
            level.name: tuple(
                window_counts(read.ticks, _outcomes(level.counts), window, read.at)
                for window, table in _tables(level, longest).items()
                for read in (known[service, level.counts, table],)
            )
            for level in objectives
        }

    def _is_fresh(self, key: _Key, now: datetime) -> bool:
        kept = self._kept.get(key)
        return kept is not None and kept.at <= now < kept.until

    def _forget(self, now: datetime) -> None:
        """Drop what is no longer good, so that deleted deployments leave nothing behind."""
        self._kept = {key: kept for key, kept in self._kept.items() if now < kept.until}
        self._edges = {key: kept for key, kept in self._edges.items() if now < kept[1]}

    async def _read(self, key: _Key, objective: str, now: datetime) -> _Read:
        service, counts, table = key
        match counts:
            case Errors():
                counters = await self._read_errors(service, table, now)
            case Latency():
                counters = await self._read_latency(service, counts, objective, table, now)
            case Own():
                counters = await self._read_own(service, counts, table, now)
        ticks = await asyncio.to_thread(count_ticks, counters, table.step)
        return _Read(ticks, now, now + table.kept)

    async def _read_errors(
        self, service: Service, table: _Table, now: datetime
    ) -> Sequence[Counter]:
        source = self._errors
        matchers = self._of_route(service) | {source.label: one_of_classes(sorted(source.outcomes))}

        def place(raw: bytes) -> Sequence[Counter]:
            return self._place(service, parse_matrix(raw), source.label, source.outcome)

        return await self._range(source.metric, matchers, table, now, place)

    async def _read_latency(
        self, service: Service, wanted: Latency, objective: str, table: _Table, now: datetime
    ) -> Sequence[Counter]:
        """Read the bucket at the threshold and the one of all; nothing if there is no histogram."""
        source = self._latency
        edges = await self._edges_of(service, now)
        if not any(edge.is_finite() for edge in edges):
            return ()
        bound = edge_at(objective, wanted.threshold, [e for e in edges if e.is_finite()])
        labels = sorted(edges[bound]) + sorted(edges.get(Decimal("Infinity"), {"+Inf"}))
        matchers = self._of_route(service) | {source.label: one_of(labels)}

        def outcome(label: str) -> str:
            return GOOD if _number(label).is_finite() else TOTAL

        def place(raw: bytes) -> Sequence[Counter]:
            return self._place(service, parse_matrix(raw), source.label, outcome)

        return await self._range(source.metric, matchers, table, now, place)

    async def _read_own(
        self, service: Service, wanted: Own, table: _Table, now: datetime
    ) -> Sequence[Counter]:
        """Read the user's own series, which are theirs alone: no route is added to them.

        Of one revision, those that their label says to be its.
        """
        part, outcome = (wanted.good, GOOD) if wanted.good else (wanted.bad, BAD)
        # Whatever a person's matchers say: what is counted is their own namespace's.
        ours = {"namespace": f"={quote(service.namespace)}"}
        if service.hash is not None and wanted.arm_label:
            ours[wanted.arm_label] = f"=~{quote(arm_pattern(wanted.arm_value, service))}"
        selectors = [(wanted.total, TOTAL), *([(part, outcome)] if part else [])]
        answers = await asyncio.gather(
            *(
                self._range(
                    each.metric, matching(each) | ours, table, now, partial(_own_counters, outcome)
                )
                for each, outcome in selectors
            )
        )
        return [counter for counters in answers for counter in counters]

    async def _edges_of(self, service: Service, now: datetime) -> Mapping[Decimal, frozenset[str]]:
        """List the bucket bounds there are, in seconds, with the ways to write each."""
        if service in self._edges:
            return self._edges[service][0]
        source = self._latency
        selector = self._render(source.metric, self._of_route(service))
        query = f"count by ({source.label}) ({selector})"
        form = {"query": query, "time": f"{now.timestamp():.3f}"}
        bounds = await self._ask("/api/v1/query", form, lambda raw: _bounds(raw, source.label))
        edges: dict[Decimal, frozenset[str]] = {}
        for label, bound in bounds.items():
            seconds = bound * source.seconds_per_unit if bound.is_finite() else bound
            edges[seconds] = edges.get(seconds, frozenset()) | spellings(label)
        if edges:
            self._edges[service] = edges, now + _EDGES_KEPT
        return edges

    async def _range(
        self,
        metric: str,
        matchers: Mapping[str, str],
        table: _Table,
        now: datetime,
        parse: Callable[[bytes], _T],
    ) -> _T:
        form = {
            "query": self._render(metric, matchers),
            "start": f"{(now - table.span).timestamp():.3f}",
            "end": f"{now.timestamp():.3f}",
            "step": f"{table.step.total_seconds():.0f}",
        }
        return await self._ask("/api/v1/query_range", form, parse)

    async def _ask(self, path: str, form: Mapping[str, str], parse: Callable[[bytes], _T]) -> _T:
        """Send one query; what goes wrong is told with the query, whoever noticed it.

        Months of samples take a second to read, so that happens beside the event loop.
        """
        seconds = math.ceil(self._settings.timeout.total_seconds())
        try:
            async with self._places:
                raw = await self._http.post(path, {**form, "timeout": f"{seconds}s"})
                return await asyncio.to_thread(parse, raw)
        except MetricsUnavailable as error:
            about = f"Prometheus {self._settings.url}: {form['query']}"
            raise MetricsUnavailable(f"{about}: {error}") from error

    def _render(self, metric: str, matchers: Mapping[str, str]) -> str:
        """Write a selector; the operator's own matchers are always there, and win."""
        fixed = {name: f"={quote(value)}" for name, value in self._settings.matchers.items()}
        conditions = (f"{name}{rest}" for name, rest in {**matchers, **fixed}.items())
        return f"{metric}{{{','.join(conditions)}}}"

    def _of_route(self, service: Service) -> dict[str, str]:
        return {self._pack.arm.label: f"=~{quote(route_pattern(self._pack, service))}"}

    def _place(
        self,
        service: Service,
        found: Sequence[RawSeries],
        label: str,
        outcome: Callable[[str], str | None],
    ) -> Sequence[Counter]:
        """Turn answers into counters; one counter that is there twice would count twice.

        A counter whose bound is written in another way since some day is one counter still.
        """
        arms = re.compile(route_pattern(self._pack, service))
        placed: dict[tuple[str, str, str], tuple[str, tuple[Point, ...]]] = {}
        for raw in found:
            if not {label, self._pack.instance[0]} <= raw.labels.keys():
                wanted = f"{label} and {self._pack.instance[0]}"
                raise MetricsUnavailable(f"wanted labels {wanted}, found {dict(raw.labels)}")
            arm, key = raw.labels.get(self._pack.arm.label, ""), raw.labels[label]
            what = outcome(key)
            if not arms.fullmatch(arm) or what is None:
                continue
            place = (arm, _instance(self._pack.instance, raw.labels), min(spellings(key)))
            points = placed.get(place, (what, ()))[1] + raw.points()
            placed[place] = what, tuple(sorted(points, key=lambda point: point.at))
            if len({point.at for point in points}) < len(points):
                raise MetricsUnavailable(f"one counter is there twice: {dict(raw.labels)}")
        return [Counter(place[1], *placed[place]) for place in sorted(placed)]


def _tables(level: ServiceLevel, longest: timedelta | None) -> Mapping[timedelta, _Table]:
    """Choose the table that each window is counted from."""
    most = min(level.window, longest or level.window)
    long = _Table(timedelta(hours=1), level.window, timedelta(minutes=10))
    windows = sorted({*WINDOWS, level.window})
    return {
        window: _FINE if window <= _FINE.span else _MIDDLE if window <= _MIDDLE.span else long
        for window in windows
        if window <= most
    }


def _outcomes(counts: _Counts) -> Outcomes:
    match counts:
        case Errors():
            return Outcomes.GOOD_AND_BAD
        case Own(bad=Selector()):
            return Outcomes.BAD_OF_TOTAL
    return Outcomes.GOOD_OF_TOTAL


def _own_counters(outcome: str, raw: bytes) -> Sequence[Counter]:
    """Read a user's counters; what is there twice, but for how it was scraped, counts twice."""
    known: set[frozenset[tuple[str, str]]] = set()
    counters = []
    for one in parse_matrix(raw):
        labels = frozenset((k, v) for k, v in one.labels.items() if k not in SCRAPE_LABELS)
        if labels in known:
            raise MetricsUnavailable(f"one counter is there twice: {dict(one.labels)}")
        known.add(labels)
        counters.append(Counter(_instance(_INSTANCE, one.labels), outcome, one.points()))
    return counters


def _instance(names: Sequence[str], labels: Mapping[str, str]) -> str:
    return "/".join(labels[name] for name in names if name in labels)


def _number(label: str) -> Decimal:
    """Read a bucket's bound in the source's unit; raises MetricsUnavailable if it is none."""
    try:
        bound = Decimal(label)
    except InvalidOperation:
        bound = Decimal("NaN")
    if bound.is_nan() or bound < 0:
        raise MetricsUnavailable(f"{label[:80]!r} is not a bucket's upper bound")
    return bound


def _bounds(raw: bytes, name: str) -> Mapping[str, Decimal]:
    """Read buckets' bounds out of an answer with one value per bound, by the way it is written."""
    content = parse_answer(raw)
    result = content.get("result")
    if content.get("resultType") != "vector" or not isinstance(result, list):
        raise MetricsUnavailable(f"wanted a vector, found {content.get('resultType')!r}")
    bounds: dict[str, Decimal] = {}
    for entry in result:
        match entry:
            case {"metric": dict(found)} if isinstance(found.get(name), str):
                bounds[found[name]] = _number(found[name])
            case _:
                raise MetricsUnavailable(f"a series has no label {name}")
    return bounds
