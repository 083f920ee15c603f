"""How noisy a service is before a rollout: what its own units would do as canaries.

Owns the two guards against noise that counting alone does not see, from the histories of stable's
units (pods, endpoints). Must not know where they were read, nor what a verdict leads to.

Tempering: requests of one unit share its fate (a slow disk, a noisy neighbour), so they say less
than as many independent ones. The log evidence is divided by the design effect, measured over the
last hours. Placebo: each unit, or group as large as the canary, of each half hour is tested against
the others of that time as if it were the canary. Nothing was released in it, so the largest
evidence that came out is what this service produces by itself: a canary that is exchangeable with n
such runs exceeds all of them with a chance of 1 / (n + 1). Both are needed: the effect that a few
units show may be too small, and where units differ for good there are only as many independent
runs as units.

What lies above 1 in a design effect grows with the requests that share a unit's fate: units of
which each gets n requests, and whose rates scatter by v, give 1 + n v / (p (1 - p)). So the effect
measured on stable's units is carried over to what is compared by how many requests a unit gets
there. One pod with half of all requests says little more than the same pod with a tenth of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import nlargest
from itertools import pairwise
from math import log

from headgate.core.stats import evalue, mixture, sizes
from headgate.core.stats.dispersion import LENGTHS, Cell, Dispersion, design_effect, dispersion
from headgate.core.stats.evalue import Table

HISTORY = timedelta(hours=3)
WINDOW = timedelta(minutes=30)
START_EVERY = timedelta(minutes=5)  # as in `evidence`: a placebo meets the test that a canary meets
MOST_UNITS = 64
MOST_RUNS = 128

_BASELINE = timedelta(minutes=10)
_CANARY_REQUESTS = 1
_STABLE_REQUESTS = 10
# The exact test takes most of the time, so it is run where a crude one finds most.
_EXACT_RUNS = 24


@dataclass(frozen=True, slots=True)
class StepCount:
    """What one unit counted in the step that ends `at`. Of a histogram: up to, and over a limit."""

    at: datetime
    good: int
    bad: int


@dataclass(frozen=True, slots=True)
class UnitHistory:
    """One unit's steps, ascending. Units are read at the same times; a missing step is no data."""

    unit: str
    steps: tuple[StepCount, ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """What a rollout's evidence is held against.

    `placebo_log` (>= 0) is the largest tempered log evidence of `placebo_runs` runs, 0 of none.
    `units` were looked at; `serving` had requests in the last half hour, and `canary_units` is how
    many the canary has, both at least 1. `by_length` are the design effects over so many steps of
    `step_seconds`, ascending and at least one.
    """

    placebo_log: float
    placebo_runs: int
    units: int
    serving: int
    canary_units: int
    step_seconds: float
    by_length: tuple[Dispersion, ...]

    @property
    def phi(self) -> float:
        """The design effect over the longest time measured, at least 1: the one to be shown."""
        return self.phi_at(timedelta(seconds=self.by_length[-1].length * self.step_seconds))

    def phi_at(self, age: timedelta, load: float = 1.0) -> float:
        """What divides the log evidence of a block that ends this long after the first began.

        Known before the block, so that the result is an e-value still. A minute's block is divided
        by what a minute adds, or a service whose pods differ for good would blind the first minute,
        in which most harm is found. `load` is how many times as many requests share a unit's fate
        as when it was measured; never less than was measured is taken, as pods come and go.
        """
        measured = design_effect(self.by_length, age.total_seconds() / self.step_seconds)
        return 1.0 + max(1.0, load) * (measured - 1.0)

    def compared_load(self, canary_share: float) -> float:
        """The load of a comparison in which the canary has this share (0..1) of all requests.

        Where each of c and s units gets its part, a difference of shares has the variance of
        independent requests plus v (1/c + 1/s); among stable's own units that is a load of 1.
        """
        between = canary_share * (1.0 - canary_share)
        return between * (self.serving / self.canary_units + 1.0)

    def canary_load(self, canary_share: float) -> float:
        """The load of the canary alone, with this share (0..1) of all requests."""
        return canary_share * self.serving / self.canary_units

    def threshold_log(self, alpha: float) -> float:
        """The log evidence that makes a breach: neither chance nor a placebo reaches it."""
        return max(log(1.0 / alpha), self.placebo_log)


def measure(histories: Sequence[UnitHistory], margin: float, canary_units: int) -> Noise | None:
    """Measure the noise between stable's units, over the last three hours they have.

    `margin` is that of the harm test, `canary_units` how many units the canary has (at least 1).
    None if it cannot be known: fewer than two units with requests, or too few bad ones to compare.
    Of many units 64 are looked at and of many runs 128: it takes a tenth of a second, and is to be
    done once.
    """
    serving = _serving(histories)
    busy = _busy(histories)
    times = _times(busy)
    if len(busy) < 2 or len(times) < 2:
        return None
    moments = _moments(busy, times)
    step = min(later - at for at, later in pairwise(times)).total_seconds()
    found = tuple(one for length in LENGTHS if (one := dispersion(moments, length)) is not None)
    if not found:
        return None
    runs = _placebos(moments, times, canary_units)
    noise = Noise(0.0, len(runs), len(busy), serving, max(1, canary_units), step, found)
    logs = [_run_log(run, margin, noise) for run in _worst(runs, margin)]
    return replace(noise, placebo_log=max(logs, default=0.0))


def _busy(histories: Sequence[UnitHistory]) -> Sequence[UnitHistory]:
    """Units with requests, by name, or as many of them as are wanted, evenly chosen."""
    busy = [one for one in histories if any(step.good or step.bad for step in one.steps)]
    busy.sort(key=lambda one: one.unit)
    every = max(1.0, len(busy) / MOST_UNITS)
    return [busy[int(n * every)] for n in range(min(len(busy), MOST_UNITS))]


def _serving(histories: Sequence[UnitHistory]) -> int:
    """How many units had requests in the last half hour; those before have gone."""
    newest = max((one.steps[-1].at for one in histories if one.steps), default=None)
    recent = (
        [step for step in one.steps if newest is not None and newest - step.at < WINDOW]
        for one in histories
    )
    return max(1, sum(any(step.good or step.bad for step in steps) for steps in recent))


def _times(histories: Sequence[UnitHistory]) -> Sequence[datetime]:
    """All times of any unit within the last three hours, ascending."""
    times = sorted({step.at for one in histories for step in one.steps})
    return [at for at in times if times[-1] - at < HISTORY]


def _moments(
    histories: Sequence[UnitHistory], times: Sequence[datetime]
) -> Sequence[Sequence[Cell]]:
    """Requests and bad ones by time and unit."""
    tables: Sequence[Mapping[datetime, Cell]] = [
        {step.at: (step.good + step.bad, step.bad) for step in one.steps} for one in histories
    ]
    return [[table.get(at, (0, 0)) for table in tables] for at in times]


# Placebo


@dataclass(frozen=True, slots=True)
class _Placebo:
    """A fake canary: stable's counts before, and blocks with their age since the beginning."""

    known: Cell
    blocks: tuple[tuple[timedelta, Table], ...]


def _placebos(
    moments: Sequence[Sequence[Cell]], times: Sequence[datetime], canary_units: int
) -> Sequence[_Placebo]:
    """Replay each group in each half hour, or as many of them as are wanted, evenly chosen."""
    totals = [_sum(moment) for moment in moments]
    groups = _groups(len(moments[0]), canary_units)
    places = [(window, group) for window in _windows(times) for group in groups]
    every = max(1.0, len(places) / MOST_RUNS)
    chosen = [places[int(n * every)] for n in range(min(len(places), MOST_RUNS))]
    runs = [_placebo(moments, totals, times, window, group) for window, group in chosen]
    return [run for run in runs if run.blocks]


def _groups(units: int, size: int) -> Sequence[slice]:
    """Disjoint groups of the canary's size, but never of more than half of the units."""
    size = max(1, min(size, units // 2))
    return [slice(first, first + size) for first in range(0, units - size + 1, size)]


def _windows(times: Sequence[datetime]) -> Sequence[range]:
    """Half hours back from the newest time; the oldest is left out if it is less than half one."""
    windows: list[range] = []
    end = len(times)
    while end:
        begin = bisect_right(times, times[end - 1] - WINDOW)
        if not windows or end - begin >= len(windows[0]) / 2:
            windows.append(range(begin, end))
        end = begin
    return windows


def _placebo(
    moments: Sequence[Sequence[Cell]],
    totals: Sequence[Cell],
    times: Sequence[datetime],
    window: range,
    group: slice,
) -> _Placebo:
    """Split a window's counts into the group's and the others', in blocks as a canary's are."""
    begun = times[max(0, window.start - 1)]
    before = range(bisect_right(times, begun - _BASELINE), window.start)
    known = _sum(_minus(totals[k], _sum(moments[k][group])) for k in before)
    blocks: list[tuple[timedelta, Table]] = []
    canary, stable = (0, 0), (0, 0)
    for k in window:
        own = _sum(moments[k][group])
        canary, stable = _plus(canary, own), _plus(stable, _minus(totals[k], own))
        if canary[0] >= _CANARY_REQUESTS and stable[0] >= _STABLE_REQUESTS:
            table = Table(canary[1], canary[0], stable[1], stable[0])
            blocks.append((times[k] - begun, table))
            canary, stable = (0, 0), (0, 0)
    return _Placebo(known, tuple(blocks))


def _run_log(run: _Placebo, margin: float, noise: Noise) -> float:
    """The largest log evidence of harm that a run ever had; at least 0, which it began with."""
    logs, made, largest = mixture.fresh(len(evalue.HARM_EFFECTS)), 0, 0.0
    requests, bad = run.known
    for age, table in run.blocks:
        logs, made = mixture.start(logs, made, age // START_EVERY), age // START_EVERY
        factors = evalue.harm_logs(table, evalue.running_rate(bad, requests), margin)
        phi = noise.phi_at(age)
        logs = mixture.multiply(logs, [one / phi for one in factors])
        largest = max(largest, mixture.log_value(logs, made))
        requests, bad = requests + table.stable_requests, bad + table.stable_bad
    return largest


def _worst(runs: Sequence[_Placebo], margin: float) -> Sequence[_Placebo]:
    """The runs whose largest evidence may be the largest of all."""
    return nlargest(_EXACT_RUNS, runs, key=lambda run: _crude(run, margin))


def _crude(run: _Placebo, margin: float) -> float:
    """How far the canary's rate was above the edge at best, from any start time to any block.

    In nats, as if stable's rate were known: a hundredth of the cost of the test it ranks for.
    """
    largest, made = 0.0, -1
    for first, (age, _) in enumerate(run.blocks):
        if age // START_EVERY == made:
            continue
        made, canary, stable = age // START_EVERY, (0, 0), (0, 0)
        for _, table in run.blocks[first:]:
            canary = _plus(canary, (table.canary_requests, table.canary_bad))
            stable = _plus(stable, (table.stable_requests, table.stable_bad))
            rate, edge = canary[1] / canary[0], (stable[1] + 0.5) / (stable[0] + 1.0) + margin
            if rate > edge:
                largest = max(largest, canary[0] * sizes.divergence(rate, edge))
    return largest


def _sum(cells: Iterable[Cell]) -> Cell:
    requests = bad = 0
    for n, x in cells:
        requests, bad = requests + n, bad + x
    return requests, bad


def _plus(one: Cell, other: Cell) -> Cell:
    return one[0] + other[0], one[1] + other[1]


def _minus(one: Cell, other: Cell) -> Cell:
    return one[0] - other[0], one[1] - other[1]
