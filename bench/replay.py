"""Replays of whole rollouts through the real decision core, with chance from a seed.

Owns the cells of the grids and how one is looked at; the gateway is `headgate.simulation.traffic`.
Nothing here decides anything.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from math import sqrt

from headgate.core.analysis import Breach, Pass, judge
from headgate.core.counters import Series
from headgate.core.evidence import Evidence, Settings, begin, fold
from headgate.simulation.draws import binomial, poisson
from headgate.simulation.traffic import (
    START,
    Gateway,
    Incidents,
    Latency,
    Traffic,
)

__all__ = [
    "START",
    "Cell",
    "Ending",
    "binomial",
    "looks",
    "poisson",
    "replay",
    "standard_error",
    "stream",
]

STALE_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of traffic and harm.

    `rate` is requests per second of both arms, `weight` the canary's percent, `base` the share of
    requests that fail anyway, `harm` the share of the otherwise good ones that the canary fails
    from `onset` seconds on. `edge` is added to the canary's failure rate as it is. `incidents`
    adds 30 s of 20 % failures on both arms every ten minutes. `slower` stretches the canary's
    latency; None leaves latency out. `scrape` and `look` are in seconds.
    """

    rate: float
    weight: int
    base: float
    harm: float = 0.0
    edge: float = 0.0
    onset: int = 0
    incidents: bool = False
    slower: float | None = None
    duration: int = 1800
    scrape: int = 10
    look: int = 10


@dataclass(frozen=True, slots=True)
class Ending:
    """When a rollout was called harmful or earned its weight, in seconds; None if it was not.

    `failures` counts the canary's failed requests until then, `signal` what was blamed.
    """

    breach_at: int | None
    earned_at: int | None
    failures: int
    signal: str | None


def replay(cell: Cell, settings: Settings, next_weight: int | None, seed: int) -> Ending:
    """Run one rollout at a constant weight until a breach, an earned weight or its end."""
    evidence = begin(settings, START)
    for at, failures, series in looks(cell, seed):
        evidence, verdict = _look(evidence, series, next_weight, at)
        match verdict:
            case Breach():
                return Ending(at, None, failures, verdict.signal)
            case Pass() if next_weight is not None:
                return Ending(None, at, failures, None)
    return Ending(None, None, failures, None)


def _look(
    evidence: Evidence, series: Sequence[Series], next_weight: int | None, at: int
) -> tuple[Evidence, object]:
    evidence = fold(evidence, series)
    now = START + timedelta(seconds=at + 1)
    settings = evidence.settings
    return evidence, judge(settings, evidence, next_weight, now, STALE_AFTER, True).verdict


def looks(cell: Cell, seed: int) -> Iterator[tuple[int, int, Sequence[Series]]]:
    """Yield (seconds, canary failures so far, the samples a look reads)."""
    gateway = Gateway(_traffic(cell), partial(stream, seed), first_second=0)
    failures, since = 0, START
    for second in range(cell.look, cell.duration + 1, cell.look):
        failures += sum(window.canary.bad for window in gateway.advance(second, cell.weight))
        now = START + timedelta(seconds=second)
        yield second, failures, gateway.read(since, now)
        since = now - timedelta(seconds=second % cell.scrape)


def stream(seed: int, name: str) -> random.Random:
    """The chance of one name in the rollout of a seed."""
    return random.Random(f"{seed}/{name}")


def _traffic(cell: Cell) -> Traffic:
    return Traffic(
        rate=cell.rate,
        base=cell.base,
        harm=cell.harm,
        edge=cell.edge,
        onset=cell.onset,
        incidents=Incidents(0.2) if cell.incidents else None,
        latency=Latency(slower=cell.slower) if cell.slower is not None else None,
        scrape=cell.scrape,
    )


def standard_error(rate: float, runs: int) -> float:
    """The standard error of an observed or claimed rate after so many runs."""
    return sqrt(rate * (1.0 - rate) / runs)
