"""What the write-back says about itself in numbers.

Owns names and labels of these metrics. No label carries the name of an object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import Counter, Gauge, Histogram

from headgate.adapters.process_metrics import fresh_registry
from headgate.reconcile.world import Transition

SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0)


class Telemetry:
    """The metrics of one write-back, in a registry of its own."""

    def __init__(self) -> None:
        """Make all metrics."""
        self.registry = fresh_registry()
        self._writes = Counter(
            "headgate_writeback_states",
            "States that records entered in Git, by mode and state.",
            ["mode", "state"],
            registry=self.registry,
        )
        self._passes = Histogram(
            "headgate_writeback_pass_seconds",
            "One pass over a record.",
            ["outcome"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._looks = Counter(
            "headgate_writeback_looks",
            "Looks at all policies and records.",
            ["result"],
            registry=self.registry,
        )
        self._requests = Counter(
            "headgate_cluster_requests",
            "Requests of ours to the API server; code 0: no answer came.",
            ["verb", "resource", "code"],
            registry=self.registry,
        )

    def became(self, mode: str, state: str) -> None:
        """Count a state that a record entered."""
        self._writes.labels(mode, state).inc()

    def passed(self, outcome: str, seconds: float) -> None:
        """Record one pass."""
        self._passes.labels(outcome).observe(seconds)

    def changed(self, transition: Transition) -> None:
        """Count nothing: a write-back has no phases."""

    def looked(self, result: str) -> None:
        """Count one look: `ok`, `unavailable` or `refused`."""
        self._looks.labels(result).inc()

    def called(self, verb: str, resource: str, code: int) -> None:
        """Count one request to the API server."""
        self._requests.labels(verb, resource, str(code)).inc()

    def observe(self, readings: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """Read these at every scrape from now on: by name, a text and the number."""
        for name, (text, read) in readings.items():
            gauge = Gauge(f"headgate_writeback_{name}", text, registry=self.registry)
            gauge.set_function(read)
