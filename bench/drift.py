"""Replay of drift detection against a reference: false alarms, delays, cost.

Owns the simulated streams: ten standard normal features, a reference of m rows, live ticks of 100
events. `python -m bench.drift` prints the table of docs/drift.md; goals are 1 % of streams with a
false alarm in 100,000 events and a delay of 2.5 times Lorden's limit at a quarter and half a
standard deviation.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, log, pi, sin, sqrt
from statistics import NormalDist, mean, median, quantiles, stdev
from time import process_time

from bench.goal import Goal, Line, middle, share
from bench.replay import poisson, standard_error

from headgate.core.drift.bins import Counts, count, count_rows
from headgate.core.drift.build import QUANTILES, Column, build
from headgate.core.drift.profile import NumberFeature, Profile
from headgate.core.drift.reference import Risk, State, conclude, fold, weights_of
from headgate.core.stats.divergence import ALTERNATIVES, alternatives, divergence_logs
from headgate.core.stats.mixture import fresh, log_value, multiply

TICK = 100
EVENTS = 100_000
RISK = Risk(alpha=0.01, beta=0.01, events=EVENTS)
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of stream.

    `shift` (in standard deviations), `spread` and `outliers` (share beyond every edge) change the
    first `drifting` features from the first event on. `session` events in a row are equal, in the
    reference and live; `told` says whether the profile was built with the sessions known.
    """

    name: str
    rows: int = 10_000
    features: int = 10
    drifting: int = 1
    shift: float = 0.0
    spread: float = 1.0
    outliers: float = 0.0
    session: int = 1
    told: bool = True
    events: int = EVENTS

    @property
    def is_drift(self) -> bool:
        """Whether anything changes."""
        return bool(self.shift or self.outliers or self.spread != 1.0)

    @property
    def limit(self) -> float:
        """Lorden's limit in events, log(events) / KL, for the unbinned normal; inf if none."""
        if self.outliers:
            return inf
        divergence = (self.spread**2 - 1 + self.shift**2) / 2 - log(self.spread)
        return log(self.events / TICK / RISK.alpha) / divergence if divergence else inf


CASES = (
    Case("no drift"),
    Case("no drift, m=1000", rows=1000),
    Case("no drift, sessions of 5", session=5),
    Case("no drift, sessions of 5, profile not told", session=5, told=False),
    Case(".1 sd, one feature", shift=0.1),
    Case(".25 sd, one feature", shift=0.25),
    Case(".5 sd, one feature", shift=0.5),
    Case("1 sd, one feature", shift=1.0),
    Case("spread x1.5", spread=1.5),
    Case("2 % far outliers", outliers=0.02),
    Case(".1 sd, all features", shift=0.1, drifting=10),
    Case(".5 sd, one feature, m=1000", shift=0.5, rows=1000),
    Case(".5 sd, one feature, sessions of 5", shift=0.5, session=5),
)


def reference_of(case: Case, chance: random.Random) -> Profile:
    """Draw a training set and describe it."""
    groups = [row // case.session for row in range(case.rows)]
    columns = []
    for feature in range(case.features):
        drawn = [chance.gauss(0.0, 1.0) for _ in range(groups[-1] + 1)]
        columns.append(Column(f"x{feature}", "number", [drawn[group] for group in groups]))
    return build(columns, groups=groups if case.session > 1 and case.told else None)


def shares_of(feature: NumberFeature, case: Case, drifts: bool) -> list[float]:
    """Return the true shares of a feature's bins, cumulative, with the missing bin's."""
    shift, spread, outliers = (
        (case.shift, case.spread, case.outliers) if drifts else (0.0, 1.0, 0.0)
    )
    below = [_NORMAL.cdf((edge - shift) / spread) * (1.0 - outliers) for edge in feature.edges]
    return [*below, 1.0, 1.0]


def stream(case: Case, profile: Profile, chance: random.Random) -> Iterator[Sequence[Counts]]:
    """Yield ticks of counts, one per feature."""
    known = [
        (len(one.shares) + 1, shares_of(one, case, k < case.drifting))
        for k, one in enumerate(profile.features)
        if isinstance(one, NumberFeature)
    ]
    drawn = TICK // case.session
    for _ in range(case.events // TICK):
        tick = []
        for size, below in known:
            bins = bytes(chance.choices(range(size), cum_weights=below, k=drawn))
            tick.append(tuple(case.session * bins.count(k) for k in range(size)))
        yield tick


def alarm_at(case: Case, seed: int, risk: Risk = RISK) -> int | None:
    """Return after how many events the features' average calls a drift; None if it never does."""
    chance = random.Random(seed)
    profile = reference_of(case, chance)
    weights = weights_of(profile)
    states = [State()] * len(profile.features)
    for number, tick in enumerate(stream(case, profile, chance), 1):
        states = [
            fold(feature, state, counts, risk, case.features)
            for feature, state, counts in zip(profile.features, states, tick, strict=True)
        ]
        e = sum(
            conclude(feature, state, risk, case.features).e * weight
            for feature, state, weight in zip(profile.features, states, weights, strict=True)
        )
        if e >= 1.0 / risk.alpha:
            return number * TICK
    return None


def difference_at(shift: float, seed: int, swing: float = 0.4, blocks: int = 180) -> int | None:
    """Return the block in which canary's predictions are called unlike stable's; None if never.

    Blocks of 10 s with 100 canary and 900 stable answers; both arms' mean swings by `swing`
    standard deviations within 20 minutes, the canary's is `shift` higher.
    """
    chance = random.Random(seed)
    edges = [_NORMAL.inv_cdf(share) for share in QUANTILES]
    known, logs = [0] * (len(edges) + 1), fresh(ALTERNATIVES)
    for block in range(1, blocks + 1):
        base = swing * sin(2.0 * pi * block / 120)
        canary = _answers(edges, base + shift, 100, chance)
        stable = _answers(edges, base, 900, chance)
        against = alternatives(tuple(known), True)
        logs = multiply(logs, divergence_logs(canary, stable, against))
        if log_value(logs, 0) >= log(1.0 / RISK.alpha):
            return block
        known = [a + b for a, b in zip(known, stable, strict=True)]
    return None


def _answers(
    edges: Sequence[float], average: float, events: float, chance: random.Random
) -> tuple[int, ...]:
    below = [0.0, *(_NORMAL.cdf(edge - average) for edge in edges), 1.0]
    return tuple(poisson(events * (b - a), chance) for a, b in pairwise(below))


def difference_row(shift: float, streams: int, seed: int) -> str:
    """Replay canary against stable and write a line of the second table."""
    found = [difference_at(shift, seed + number) for number in range(streams)]
    blocks = sorted(block for block in found if block is not None)
    rate = len(blocks) / streams
    delay = f"{10 * median(blocks):.0f} s" if len(blocks) > streams / 2 else ""
    return (
        f"| {shift:g} sd | {streams} | {rate:.1%} ± {standard_error(rate, streams):.1%} | {delay} |"
    )


def nanoseconds(features: int = 10, rows: int = 20_000, times: int = 5) -> dict[str, float]:
    """Measure CPU time per event and feature of counting, the best of some runs."""
    chance = random.Random(7)
    numbers = [[chance.gauss(0.0, 1.0) for _ in range(rows)] for _ in range(features)]
    profile = build([Column(f"x{k}", "number", column) for k, column in enumerate(numbers)])
    lists = [list(row) for row in zip(*numbers, strict=True)]
    objects = [{f"x{k}": value for k, value in enumerate(row)} for row in lists]

    def columns() -> None:
        for feature, column in zip(profile.features, numbers, strict=True):
            count(feature, column)

    def best(work: Callable[[], object]) -> float:
        return min(_seconds(work) for _ in range(times)) / rows / features * 1e9

    return {
        "columns": best(columns),
        "rows as lists": best(lambda: count_rows(profile.features, lists)),
        "rows as objects": best(lambda: count_rows(profile.features, objects)),
    }


def _seconds(work: Callable[[], object]) -> float:
    begun = process_time()
    work()
    return process_time() - begun


def tick_seconds() -> float:
    """Measure CPU time per feature and tick of the detector."""
    case = Case("cost", events=20_000)
    chance = random.Random(5)
    profile = reference_of(case, chance)
    ticks = list(stream(case, profile, chance))
    state, feature = State(), profile.features[0]
    begun = process_time()
    for tick in ticks:
        state = fold(feature, state, tick[0], RISK, case.features)
    return (process_time() - begun) / len(ticks)


def row_of(case: Case, streams: int, seed: int) -> str:
    """Replay a case and write its line of the table."""
    alarms = [alarm_at(case, seed + number) for number in range(streams)]
    found = sorted(alarm for alarm in alarms if alarm is not None)
    rate = len(found) / streams
    text = f"| {case.name} | {streams} | {rate:.1%} ± {standard_error(rate, streams):.1%} |"
    if not case.is_drift or len(found) < 2:
        return f"{text} | | |"
    p95 = quantiles(found, n=20)[-1]
    ratio = "" if case.limit == inf else f"{median(found) / case.limit:.1f}"
    error = stdev(found) / sqrt(len(found))
    return f"{text} {median(found):.0f} ({p95:.0f}) | {mean(found):.0f} ± {error:.0f} | {ratio} |"


@dataclass(frozen=True, slots=True)
class Streams:
    """So many streams of a case for each seed."""

    case: Case
    number: int


_BY_NAME = {case.name: case for case in CASES}
_STILL = ("no drift", "no drift, m=1000", "no drift, sessions of 5")
_MOVING = (".25 sd, one feature", ".5 sd, one feature")
_DELAYS = 8  # a drift is found in a fraction of the time that a stream without one takes


def alarms(streams: Streams, seed: int) -> tuple[int | None, ...]:
    """After how many events each stream alarmed."""
    first = seed * streams.number
    return tuple(alarm_at(streams.case, first + n) for n in range(streams.number))


def _goal_lines(found: Mapping[Streams, Sequence[tuple[int | None, ...]]]) -> Sequence[Line]:
    by_case = {one.case: [at for seed in seeds for at in seed] for one, seeds in found.items()}
    still = {case: found for case, found in by_case.items() if not case.is_drift}
    everything = [at is not None for found in still.values() for at in found]
    lines = [share("streams without a drift that alarm", everything, 1.0)]
    for case, ends in by_case.items():
        if not case.is_drift:
            lines.append(share(case.name, [at is not None for at in ends], 1.0))
            continue
        ratios = [(inf if at is None else at) / case.limit for at in ends]
        lines.append(middle(f"{case.name}: median delay / Lorden's limit", ratios, "x", 2.5))
    return lines


DRIFT = Goal(
    "G10",
    "Without a drift at most 1 % of streams alarm in 100,000 events; a shift of 0.25 to 0.5 sd is "
    "found within 2.5 times Lorden's limit",
    (
        *(Streams(_BY_NAME[name], 1) for name in _STILL),
        *(Streams(_BY_NAME[name], _DELAYS) for name in _MOVING),
    ),
    alarms,
    _goal_lines,
    runs=3,
    note="Ten features, ticks of 100 events, references of 10,000 and 1,000 rows; more kinds of "
    "drift are in docs/drift.md.",
)


def main() -> None:
    """Print the table and the costs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    args = parser.parse_args()
    print("| stream | streams | alarms in 100,000 events | median (p95) events | mean | / limit |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        if args.only in case.name:
            print(row_of(case, args.streams, args.seed), flush=True)
    if not args.only:
        print("| canary against stable | runs | called different in 30 min | median |")
        print("|---|---|---|---|")
        for shift in (0.0, 0.1, 0.25):
            print(difference_row(shift, args.streams, args.seed), flush=True)
    for name, cost in nanoseconds().items():
        print(f"counting {name}: {cost:.0f} ns per event and feature")
    print(f"detector: {tick_seconds() * 1e6:.0f} µs per feature and tick")


if __name__ == "__main__":
    main()
