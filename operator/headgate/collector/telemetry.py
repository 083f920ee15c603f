"""What the collector says about itself in numbers.

Owns names and labels of these metrics; the counts of revisions are `exposition`'s. No label carries
anything of an event but which half it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from headgate.adapters.process_metrics import fresh_registry
from headgate.collector.events import Half, Result

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
UNKNOWN: Final = "unknown"
"""Which half an event was whose headers could not be read."""

PROFILE_RESULTS: Final = ("found", "none", "unavailable")


class Telemetry:
    """The metrics of one collector, in a registry of its own; all counters start at zero."""

    def __init__(self) -> None:
        """Make all metrics."""
        self.registry = fresh_registry()
        events = Counter(
            "headgate_collector_events",
            "Events, by what became of them.",
            ["half", "result"],
            registry=self.registry,
        )
        self._events = {
            (half, result): events.labels(half, result)
            for half in (*Half, UNKNOWN)
            for result in Result
        }
        asked = Counter(
            "headgate_collector_profile_requests",
            "Questions for the profile of a revision, by their answer.",
            ["result"],
            registry=self.registry,
        )
        self._asked = {result: asked.labels(result) for result in PROFILE_RESULTS}
        self._answers = Histogram(
            "headgate_collector_answer_seconds",
            "From the headers of an event to the answer.",
            buckets=SECONDS,
            registry=self.registry,
        )

    def became(self, half: Half | None, result: Result) -> None:
        """Count one event; None if nobody knows which half it was."""
        self._events[half or UNKNOWN, result].inc()

    def asked(self, result: str) -> None:
        """Count one question for a profile."""
        self._asked[result].inc()

    def answered(self, seconds: float) -> None:
        """Record how long the sender of an event had to wait."""
        self._answers.observe(seconds)

    def observe(self, readings: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """Read these at every scrape from now on: by name, a text and the number."""
        for name, (text, read) in readings.items():
            gauge = Gauge(f"headgate_collector_{name}", text, registry=self.registry)
            gauge.set_function(read)
