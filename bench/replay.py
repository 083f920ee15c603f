"""Replays of whole rollouts through the real decision core, with chance from a seed.

Owns the simulated gateway: Poisson arrivals, failures, latency, shared incidents, one counter per
outcome, scraped and looked at as the operator does. Nothing here decides anything.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf, log, sqrt

from headgate.core.analysis import Breach, Pass, judge
from headgate.core.counters import BAD, ERRORS, GOOD, LATENCY, Arm, Point, Series
from headgate.core.evidence import Evidence, Settings, begin, fold

START = datetime(2026, 1, 1, tzinfo=UTC)
STALE_AFTER = timedelta(minutes=1)
EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, inf)


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
    chance = random.Random(seed)
    counters: dict[tuple[str, Arm, str], int] = {}
    points: dict[tuple[str, Arm, str], list[Point]] = {}
    failures = 0
    phase = chance.uniform(0.0, 600.0)
    for second in range(0, cell.duration + 1, cell.scrape):
        at = START + timedelta(seconds=second)
        for arm in Arm:
            requests, bad = (0, 0) if not second else _requests(cell, arm, second, phase, chance)
            failures += bad if arm is Arm.CANARY else 0
            _count(counters, cell, arm, requests, bad, chance)
        for key, value in counters.items():
            points.setdefault(key, []).append(Point(at, value))
        if second and second % cell.look == 0:
            yield second, failures, [_series(key, found) for key, found in points.items()]
            points = {key: found[-1:] for key, found in points.items()}


def _requests(
    cell: Cell, arm: Arm, second: int, phase: float, chance: random.Random
) -> tuple[int, int]:
    canary = arm is Arm.CANARY
    share = cell.weight / 100 if canary else 1 - cell.weight / 100
    requests = poisson(cell.rate * share * cell.scrape, chance)
    bad_rate = cell.base
    if cell.incidents and (second + phase) % 600 < 30:
        bad_rate += (1 - bad_rate) * 0.2
    if canary and second > cell.onset:
        bad_rate += cell.edge + (1 - bad_rate) * cell.harm
    return requests, binomial(requests, bad_rate, chance)


def _count(
    counters: dict[tuple[str, Arm, str], int],
    cell: Cell,
    arm: Arm,
    requests: int,
    bad: int,
    chance: random.Random,
) -> None:
    def add(signal: str, outcome: str, count: int) -> None:
        counters[signal, arm, outcome] = counters.get((signal, arm, outcome), 0) + count

    add(ERRORS, GOOD, requests - bad)
    add(ERRORS, BAD, bad)
    if cell.slower is None:
        return
    median = 0.1 * (cell.slower if arm is Arm.CANARY else 1.0)
    left, cumulative, below = requests, 0, 0.0
    for edge in EDGES:
        share = 1.0 if edge == inf else 0.5 + 0.5 * math.erf(log(edge / median) / (0.6 * sqrt(2)))
        here = binomial(left, min(1.0, (share - below) / max(1.0 - below, 1e-12)), chance)
        left, cumulative, below = left - here, cumulative + here, share
        add(LATENCY, "+Inf" if edge == inf else f"{edge:g}", cumulative)


def _series(key: tuple[str, Arm, str], points: Sequence[Point]) -> Series:
    signal, arm, outcome = key
    return Series(signal, arm, "gateway", outcome, outcome, tuple(points))


def poisson(mean: float, chance: random.Random) -> int:
    """Draw a Poisson number: exact up to a mean of 50, then by its normal limit."""
    if mean > 50.0:
        return max(0, round(chance.gauss(mean, sqrt(mean))))
    number, left = 0, chance.expovariate(1.0)
    while left < mean:
        number, left = number + 1, left + chance.expovariate(1.0)
    return number


def binomial(trials: int, rate: float, chance: random.Random) -> int:
    """Draw a binomial number: exact up to a variance of 400, then by its normal limit."""
    if rate > 0.5:
        return trials - binomial(trials, 1.0 - rate, chance)
    if rate <= 0.0 or not trials:
        return 0
    variance = trials * rate * (1.0 - rate)
    if variance > 400.0:
        return min(trials, max(0, round(chance.gauss(trials * rate, sqrt(variance)))))
    found, at, gap = 0, 0, math.log1p(-rate)
    while True:  # jump from success to success
        at += int(math.log(1.0 - chance.random()) / gap) + 1
        if at > trials:
            return found
        found += 1


def standard_error(rate: float, runs: int) -> float:
    """The standard error of an observed or claimed rate after so many runs."""
    return sqrt(rate * (1.0 - rate) / runs)
