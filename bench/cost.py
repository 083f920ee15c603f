"""What decisions and drift cost, G11.

    python -m bench.cost [--rate 500] [--seconds 10]

Prints CPU time per metric and look, the state of a metric, CPU time per event and feature and
whether replicas add up, then loads a real collector (`bench.collector`, whose options these are).
Exits 1 only where a time is ten times what is promised or a size is beyond it: times belong to the
machine.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import mean
from time import process_time

from bench import collector
from bench.drift import nanoseconds
from bench.goal import Goal, Line, average, line, share
from bench.report import terminal
from bench.service import HALF_HOUR, Service
from bench.spread import replayed
from bench.stack import METRICS, QUIET, stack_at

from headgate.core.analysis import judge
from headgate.core.counters import Series
from headgate.core.drift.bins import Counts, count
from headgate.core.drift.build import Column, build
from headgate.core.evidence import begin, fold
from headgate.core.trace import Trace
from headgate.simulation.engine import LOOK_AFTER, STALE_AFTER
from headgate.simulation.traffic import Latency, Traffic

_LOOK = 10
_FLOOR = 10.0  # times the promise, which only a fault of ours would exceed on any machine
_REPLICAS = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """What one half hour of the whole stack cost, and counting for drift.

    `look_ms` and `event_ns` are CPU time per metric and look, and per event and feature. Bytes are
    per metric as stored: what the tests need, and the trace that is kept for people. `adds_up` is
    whether replicas' counts give what one alone would have counted.
    """

    look_ms: float
    state_bytes: float
    trace_bytes: float
    event_ns: float
    adds_up: bool


def cost(weight: int, seed: int) -> Cost:
    """Fold and judge half an hour of looks, and count events."""
    settings = stack_at(weight).settings
    traffic = Traffic(100.0, 0.01, latency=Latency(), signals=QUIET)
    service = Service(traffic, seed, pod_skew=0.0, shift=0.0)
    reads = list(_reads(service, weight))
    evidence = begin(settings, service.start)
    begun = process_time()
    for now, series in reads:
        evidence = fold(evidence, series)
        judge(settings, evidence, 100, now, STALE_AFTER, True)
    spent = process_time() - begun
    tests = len(replace(evidence, history=Trace()).to_json())
    return Cost(
        look_ms=1000.0 * spent / len(reads) / METRICS,
        state_bytes=tests / METRICS,
        trace_bytes=(len(evidence.to_json()) - tests) / METRICS,
        event_ns=nanoseconds(times=3)["columns"],
        adds_up=_adds_up(random.Random(seed)),
    )


def _reads(service: Service, weight: int) -> Sequence[tuple[datetime, Sequence[Series]]]:
    service.advance(0, weight)
    found, since = [], service.start
    for second in range(_LOOK, HALF_HOUR + 1, _LOOK):
        service.advance(second, weight)
        now = service.start + timedelta(seconds=second) + LOOK_AFTER
        found.append((now, service.read(since, now)))
        since = now - timedelta(seconds=_LOOK) - LOOK_AFTER
    return found


def _adds_up(chance: random.Random) -> bool:
    """Whether events spread over replicas are counted as by one."""
    values = [chance.gauss(0.0, 1.0) for _ in range(3000)]
    feature = build([Column("x", "number", values)]).features[0]
    parts: Sequence[Counts] = [count(feature, values[n::_REPLICAS]) for n in range(_REPLICAS)]
    return tuple(map(sum, zip(*parts, strict=True))) == tuple(count(feature, values))


def _costs(found: Mapping[int, Sequence[Cost]]) -> Sequence[Line]:
    costs = [one for seeds in found.values() for one in seeds]

    def told(name: str, values: Sequence[float], unit: str, most: float) -> Line:
        return average(name, values, unit, most, held=_FLOOR * most)

    state, trace = (
        mean(values)
        for values in ([one.state_bytes for one in costs], [one.trace_bytes for one in costs])
    )
    return [
        told("CPU per metric and look", [one.look_ms for one in costs], "ms", 0.5),
        line("state per metric", state, 0.0, len(costs), "bytes", 2000.0),
        line("trace per metric, for people", trace, 0.0, len(costs), "bytes"),
        told("counting, CPU per event and feature", [one.event_ns for one in costs], "ns", 200.0),
        share("replicas that do not add up", [not one.adds_up for one in costs], 0.0),
    ]


COST = Goal(
    "G11",
    "A look costs at most 0.5 ms and a metric 2 kB, an event 200 ns a feature, and replicas add up",
    (10,),
    cost,
    _costs,
    runs=3,
    note=f"One core, plain CPython; half an hour of the whole stack with {METRICS} metrics, and "
    "events counted column by column. Times are those of the machine that wrote this page.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the costs, then the collector's; 1 if one is far beyond what is promised."""
    finding = next(iter(replayed([COST], 1.0, 0, 1)))
    print(terminal(finding), flush=True)
    collector.main(arguments)
    return 1 if any(line.is_broken for line in finding.lines) else 0


if __name__ == "__main__":
    sys.exit(main())
