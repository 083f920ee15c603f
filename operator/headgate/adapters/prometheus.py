"""Raw counter samples from Prometheus and what speaks its API: the `Metrics` port.

Owns how a look becomes questions and answers become series. Must not know thresholds, weights, or
how counts are judged. Nothing here extrapolates: no `rate`, no `increase`, no quantiles; a range
selector in an instant query returns the samples as scraped, with the times of their scrapes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from headgate.adapters.packs import Pack
from headgate.adapters.prometheus_answer import RawSeries, parse_answer, parse_matrix
from headgate.adapters.prometheus_batch import Batches
from headgate.adapters.prometheus_http import PrometheusHTTP, PrometheusSettings
from headgate.adapters.prometheus_query import Question, form_of
from headgate.adapters.prometheus_sources import Period, Wanted, resolve, wanted
from headgate.adapters.prometheus_types import MetricTypes
from headgate.core.counters import Arm, Series
from headgate.ports import Arms, MetricsUnavailable, SignalSource, UnitSeries

_QUERY = "/api/v1/query"
_QUERY_RANGE = "/api/v1/query_range"


class Prometheus:
    """One Prometheus-compatible source; `pack` is read where a signal names none."""

    def __init__(self, settings: PrometheusSettings, pack: Pack) -> None:
        self._settings = settings
        self._pack = pack
        self._http = PrometheusHTTP(settings)
        self._batches = Batches(self._ask, settings.gather)
        self._types = MetricTypes(self._http.get)

    async def close(self) -> None:
        """Stop what is under way and close all connections."""
        await self._batches.close()
        await self._http.close()

    async def check(self) -> None:
        """Ask for a constant; raises MetricsUnavailable if queries are not answered."""
        with self._naming("vector(1)"):
            parse_answer(await self._post(_QUERY, {"query": "vector(1)"}))

    async def read(
        self, arms: Arms, sources: Sequence[SignalSource], since: datetime, now: datetime
    ) -> Sequence[Series]:
        """Read the raw samples of both arms up to `now`, from `look_back` before `since` on.

        The look-back brings the last sample before `since`, from which the first difference is
        taken. At most `longest_window` before `now` is read. An arm that the source's label cannot
        tell is not asked for. Empty when there are no samples: silence is not zero failures.
        Series of others, and of backends that a gateway merged into one, are left out.

        Raises MetricsUnavailable, naming the query, when the source does not answer in time,
        completely and in order, or returns one counter twice (a proxy scraped by two jobs, or
        replicas of one Prometheus that are not deduplicated); ValueError for a source that can
        never be read.
        """
        window = min(now - since + self._settings.look_back, self._settings.longest_window)
        period = Period(now, max(1, math.ceil(window.total_seconds())))
        return await self._series(arms, sources, period)

    async def ticks(
        self, arms: Arms, source: SignalSource, since: datetime, now: datetime, step: timedelta
    ) -> Sequence[Series]:
        """Read the values of both arms as they were at each multiple of `step`, by a range query.

        A value is the last one scraped, for up to five minutes: a series that ended goes on for
        that long, and a reset within a step shows as less than was counted. At most the latest
        11,000 moments are read. Raises as `read`.
        """
        return await self._series(arms, [source], Period.stepped(since, now, step))

    async def units(
        self, arms: Arms, source: SignalSource, since: datetime, now: datetime, step: timedelta
    ) -> Sequence[UnitSeries]:
        """Read the counters of each pod or endpoint of the stable arm, otherwise as `ticks`."""
        resolved = resolve(source, self._pack)
        units = resolved.signal.units
        if units is None:
            return ()
        names = {n: arm for n, arm in resolved.arm.names(arms).items() if arm is Arm.STABLE}
        period = Period.stepped(since, now, step)
        asked = list(wanted(resolved, units.reads, names, arms, period, self._settings.matchers))
        series: list[UnitSeries] = []
        for one, found in zip(asked, await self._answers(asked), strict=True):
            with self._naming(one.question.query):
                series += one.units(units.label, found)
        return series

    async def type_of(self, metric: str, now: datetime) -> str | None:
        """Tell what kind of metric this is, from what its targets say; see Metrics."""
        try:
            return await self._types.type_of(metric, now)
        except MetricsUnavailable as error:
            raise MetricsUnavailable(f"Prometheus {self._settings.url}: {error}") from error

    def queries(self, arms: Arms, sources: Sequence[SignalSource]) -> Mapping[str, str]:
        """What is asked for each source, by its name, without a time: see Metrics."""
        told: dict[str, str] = {}
        for source in sources:
            resolved = resolve(source, self._pack)
            names, reads = resolved.arm.names(arms), resolved.signal.reads
            period = Period(datetime.fromtimestamp(0, UTC), 1)
            asked = wanted(resolved, reads, names, arms, period, self._settings.matchers)
            selectors = (one.question.query.rpartition("[")[0] for one in asked)
            told[source.name] = " and ".join(selectors)
        return told

    async def _series(
        self, arms: Arms, sources: Sequence[SignalSource], period: Period
    ) -> Sequence[Series]:
        asked: list[Wanted] = []
        for source in sources:
            resolved = resolve(source, self._pack)
            names, reads = resolved.arm.names(arms), resolved.signal.reads
            asked += wanted(resolved, reads, names, arms, period, self._settings.matchers)
        series: list[Series] = []
        for one, found in zip(asked, await self._answers(asked), strict=True):
            with self._naming(one.question.query):
                series += one.series(found)
        return series

    async def _answers(self, asked: Sequence[Wanted]) -> Sequence[Sequence[RawSeries]]:
        try:
            return await asyncio.gather(*(self._batches.ask(one.question) for one in asked))
        except MetricsUnavailable as error:
            raise MetricsUnavailable(f"Prometheus {self._settings.url}: {error}") from error

    async def _ask(self, questions: Sequence[Question]) -> Sequence[RawSeries]:
        path = _QUERY if questions[0].step is None else _QUERY_RANGE
        return parse_matrix(await self._post(path, form_of(questions)))

    async def _post(self, path: str, form: Mapping[str, str]) -> bytes:
        seconds = math.ceil(self._settings.timeout.total_seconds())
        return await self._http.post(path, {**form, "timeout": f"{seconds}s"})

    @contextmanager
    def _naming(self, query: str) -> Iterator[None]:
        """Tell what goes wrong with the query, whoever noticed it."""
        try:
            yield
        except MetricsUnavailable as error:
            about = f"Prometheus {self._settings.url}: {query}"
            raise MetricsUnavailable(f"{about}: {error}") from error
