"""What each process of ours tells Prometheus about itself: its version, memory, threads, garbage.

Owns the registry that a process starts with. Must not know which process it is.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)

from headgate import __version__


def fresh_registry() -> CollectorRegistry:
    """Make a registry with the process's own metrics and `headgate_build_info`."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    build = Gauge("headgate_build_info", "The version that runs.", ["version"], registry=registry)
    build.labels(__version__).set(1)
    return registry
