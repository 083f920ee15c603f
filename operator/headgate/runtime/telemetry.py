"""What the operator says about itself in numbers.

Owns names and labels of the metrics. Must not know what is decided. No label carries an object's
name: series are bounded by kinds, verbs, reasons and outcomes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headgate.adapters.process_metrics import fresh_registry
from headgate.core.counters import Series
from headgate.ports import (
    Arms,
    Kind,
    Metrics,
    MetricsUnavailable,
    SignalSource,
    UnitSeries,
)
from headgate.reconcile.world import Transition
from headgate.runtime.queue import Queue

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

T = TypeVar("T")


class Telemetry:
    """The metrics of one operator, in a registry of its own."""

    def __init__(self) -> None:
        """Make all metrics; those with known labels start at zero only once they happened."""
        self.registry = fresh_registry()
        self._passes = self._histogram("pass_seconds", "One reconcile pass.", ["outcome"])
        self._waits = self._histogram("queue_wait_seconds", "From wake-up to the pass's start.", [])
        self._requests = self._counter(
            "cluster_requests_total",
            "Requests of ours to the API server, watches apart; code 0: no answer came.",
            ["verb", "resource", "code"],
        )
        self._reads = self._histogram(
            "prometheus_read_seconds", "One reading of a route's samples.", ["result"]
        )
        self._events = self._counter(
            "watch_events_total", "Objects heard of by listing or watching.", ["resource"]
        )
        self._transitions = self._counter(
            "transitions_total", "Changes of phase, by the phase entered.", ["phase", "reason"]
        )
        self._rollouts = self._counter(
            "rollouts_total", "Rollouts that ended.", ["outcome", "reason"]
        )
        self._resyncs = self._counter("resyncs_total", "Rounds of the resync.", ["result"])
        self._missed = self._counter(
            "watch_missed_total", "Differences found by the resync that the watch missed.", ["how"]
        )
        self._leader = Gauge(
            "headgate_leader",
            "1 while this process works: it holds the Lease, or needs none; 0: it stands by.",
            registry=self.registry,
        )
        self._last_event: float | None = None

    def _histogram(self, name: str, text: str, labels: Sequence[str]) -> Histogram:
        return Histogram(f"headgate_{name}", text, labels, buckets=SECONDS, registry=self.registry)

    def _counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        return Counter(f"headgate_{name}", text, labels, registry=self.registry)

    def observe(
        self, queue: Queue[Any], lag_seconds: Callable[[], float], known: Callable[[], int]
    ) -> None:
        """Read these at every scrape from now on."""
        self.registry.register(_Readings(queue, lag_seconds, known, self._event_age_seconds))

    def leading(self, leads: bool) -> None:
        """This process works from now on, or does not any more."""
        self._leader.set(leads)

    def waited(self, seconds: float) -> None:
        """A key waited this long for a worker."""
        self._waits.observe(seconds)

    def passed(self, outcome: str, seconds: float) -> None:
        """One pass ended."""
        self._passes.labels(outcome).observe(seconds)

    def changed(self, transition: Transition) -> None:
        """One transition was written."""
        self._transitions.labels(transition.phase, transition.reason).inc()
        if transition.outcome:
            self._rollouts.labels(transition.outcome, transition.reason).inc()

    def heard(self, kind: Kind) -> None:
        """The watch told of an object of this kind."""
        self._last_event = asyncio.get_running_loop().time()
        self._events.labels(kind.plural).inc()

    def resynced(self, result: str) -> None:
        """One round of the resync ended: `ok`, `missed` or `unavailable`."""
        self._resyncs.labels(result).inc()

    def missed(self, how: str, number: int) -> None:
        """The watch missed `number` objects: `deleted` or `changed`."""
        self._missed.labels(how).inc(number)

    def called(self, verb: str, resource: str, code: int) -> None:
        """One request to the API server ended; code 0 means that no answer came."""
        self._requests.labels(verb, resource, str(code)).inc()

    async def timed_read(self, call: Awaitable[T]) -> T:
        """Await a reading of Prometheus and record how long it took and how it ended."""
        loop = asyncio.get_running_loop()
        started, result = loop.time(), "cancelled"
        try:
            value = await call
            result = "ok"
        except MetricsUnavailable:
            result = "unavailable"
            raise
        finally:
            self._reads.labels(result).observe(loop.time() - started)
        return value

    def _event_age_seconds(self) -> float:
        if self._last_event is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._last_event


class _Readings(Collector):
    """Numbers that are read when somebody asks for them."""

    def __init__(
        self,
        queue: Queue[Any],
        lag_seconds: Callable[[], float],
        known: Callable[[], int],
        event_age_seconds: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._gauges: Sequence[tuple[str, str, Callable[[], float]]] = (
            ("queue_depth", "Keys that wait for a worker.", queue.depth),
            ("queue_delayed", "Keys that wait for their time.", queue.delayed),
            ("queue_failing", "Keys whose last pass failed.", queue.failing),
            ("queue_most_failures", "The longest row of failures of a key.", queue.most_failures),
            ("queue_oldest_seconds", "Wait of the first key in line.", queue.oldest_ready_seconds),
            ("passes_in_flight", "Passes under way.", queue.in_flight),
            ("pass_oldest_seconds", "The longest pass under way.", queue.oldest_in_flight_seconds),
            ("loop_lag_seconds", "How late the event loop is.", lag_seconds),
            ("watch_last_event_age_seconds", "Since the watch said anything.", event_age_seconds),
            ("modeldeployments", "ModelDeployments that the watch knows.", known),
        )

    def collect(self) -> Iterable[Metric]:
        return self._collect()

    def _collect(self) -> Iterator[Metric]:
        for name, text, read in self._gauges:
            yield GaugeMetricFamily(f"headgate_{name}", text, value=read())
        counts = self._queue.counts
        for name, text, value in (
            ("queue_adds", "Wake-ups asked for.", counts.adds),
            ("queue_coalesced", "Wake-ups that fell together with another.", counts.coalesced),
            ("queue_retries", "Passes that failed and come again.", counts.retries),
            ("queue_conflicts", "Passes that lost a race.", counts.conflicts),
        ):
            yield CounterMetricFamily(f"headgate_{name}", text, value=value)

    def describe(self) -> Iterable[Metric]:
        return ()


class CountedMetrics:
    """A Metrics that records each reading; changes nothing else."""

    def __init__(self, metrics: Metrics, telemetry: Telemetry) -> None:
        """Wrap `metrics`."""
        self._metrics = metrics
        self._telemetry = telemetry

    async def read(
        self, arms: Arms, sources: Sequence[SignalSource], since: datetime, now: datetime
    ) -> Sequence[Series]:
        """See Metrics."""
        return await self._telemetry.timed_read(self._metrics.read(arms, sources, since, now))

    def queries(self, arms: Arms, sources: Sequence[SignalSource]) -> Mapping[str, str]:
        """See Metrics."""
        return self._metrics.queries(arms, sources)

    async def units(
        self, arms: Arms, source: SignalSource, since: datetime, now: datetime, step: timedelta
    ) -> Sequence[UnitSeries]:
        """See Metrics."""
        reading = self._metrics.units(arms, source, since, now, step)
        return await self._telemetry.timed_read(reading)

    async def ticks(
        self, arms: Arms, source: SignalSource, since: datetime, now: datetime, step: timedelta
    ) -> Sequence[Series]:
        """See Metrics."""
        reading = self._metrics.ticks(arms, source, since, now, step)
        return await self._telemetry.timed_read(reading)

    async def type_of(self, metric: str, now: datetime) -> str | None:
        """See Metrics."""
        return await self._telemetry.timed_read(self._metrics.type_of(metric, now))
