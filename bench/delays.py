"""Harmful canaries: how soon they are found, beside what any rule needs, G4 and G9.

Owns the grids with harm and the information limit. Must not know how figures are written.

The limit: a rule that calls a healthy canary harmful with a chance of at most alpha needs at least
log(1/alpha) nats, and a request brings w KL(p_c || p_c*) + (1 - w) KL(p_s || p_s*) of them, where
(p_c*, p_s*) is the pair of rates without harm that is hardest to tell from the true one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, hypot, log, sqrt
from statistics import mean, stdev
from typing import Any

from bench import replay
from bench.false_alarms import ALPHA, back_at
from bench.goal import Goal, Line, line, share
from bench.service import Service, course_at

from headgate.core.counters import ERRORS, Kind
from headgate.core.evidence import Settings, Signal
from headgate.core.signals import ERRORS_SHARE, SIGNALS_SHARE
from headgate.core.stats.evalue import project
from headgate.core.stats.sizes import divergence
from headgate.simulation.engine import release
from headgate.simulation.traffic import Traffic

TICK = 10
_DEFAULT = Settings(alpha=0.01, margin=0.001, tolerance=0.005)
# Errors have .40 of .65 of alpha; with so much more alpha they have the whole of 1 %, as they
# would have if nothing else were watched.
ERRORS_ONLY = replace(_DEFAULT, alpha=_DEFAULT.alpha * _DEFAULT.total_share / ERRORS_SHARE)


def limit_seconds(cell: replay.Cell, margin: float) -> float:
    """Seconds that any rule needs on average to find a cell's harm at alpha 1 %."""
    stable, weight = cell.base, cell.weight / 100.0
    canary = stable + (1.0 - stable) * cell.harm
    scale = 1_000_000
    edge = project(round(scale * weight), canary, round(scale * (1.0 - weight)), stable, margin)
    nats = weight * divergence(canary, edge + margin) + (1.0 - weight) * divergence(stable, edge)
    return log(1.0 / _DEFAULT.alpha) / (cell.rate * nats)


# --- G4: one metric ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Harmful:
    """A canary that does harm, tested with a margin (a share)."""

    cell: replay.Cell
    margin: float

    @property
    def least(self) -> float:
        """The information limit and a tick, in seconds."""
        return limit_seconds(self.cell, self.margin) + TICK


_LOADS = ((10.0, 10), (10.0, 50), (100.0, 5), (100.0, 10), (1000.0, 10), (1000.0, 50))
_HARMS = (0.005, 0.01, 0.02, 0.05, 0.2)
_SLOWEST = 400.0  # of more than this, some are not found in half an hour
MARGINS = {0.0: 1.5, 0.001: 2.2}
"""What the mean delay may be, in units of limit and tick, by the margin of the test."""

HARMFUL_CELLS = tuple(
    one
    for margin in MARGINS
    for base in (0.001, 0.01, 0.05)
    for rate, weight in _LOADS
    for harm in _HARMS
    if (one := Harmful(replay.Cell(rate, weight, base, harm=harm), margin)).least < _SLOWEST
)


def delay(harmful: Harmful, seed: int) -> int | None:
    """Seconds until harm was found by errors alone at alpha 1 %; None in half an hour."""
    settings = replace(ERRORS_ONLY, margin=harmful.margin)
    return replay.replay(harmful.cell, settings, None, seed).breach_at


@dataclass(frozen=True, slots=True)
class Delay:
    """The mean delay in a cell in which nearly all harm was found, and its standard error."""

    least: float
    seconds: float
    error: float

    @property
    def ratio(self) -> float:
        """In units of limit and tick."""
        return self.seconds / self.least


def delays(found: Mapping[Harmful, Sequence[int | None]], margin: float) -> Sequence[Delay]:
    """The cells of one margin in which at least 99 % were found, by their ratio."""
    kept = []
    for one, ends in found.items():
        seconds = [at for at in ends if at is not None]
        if one.margin == margin and len(seconds) >= 0.99 * len(ends):
            error = stdev(seconds) / sqrt(len(seconds))
            kept.append(Delay(one.least, mean(seconds), error))
    return sorted(kept, key=lambda one: one.ratio)


def _delays(found: Mapping[Harmful, Sequence[int | None]]) -> Sequence[Line]:
    lines = []
    for margin, most in MARGINS.items():
        kept = delays(found, margin)
        runs = len(next(iter(found.values())))
        name = f"margin {100 * margin:g} points, {len(kept)} cells"
        late = kept[ceil(0.95 * len(kept)) - 1]
        error = late.error / late.least
        lines.append(line(f"{name}: 95 % of them within", late.ratio, error, runs, "x", most))
        middle = kept[len(kept) // 2]
        lines.append(line(f"{name}: median", middle.ratio, middle.error / middle.least, runs, "x"))
    return lines


def _draw_delays(axes: Any, found: Mapping[Harmful, Sequence[int | None]]) -> None:
    ends = [10.0, _SLOWEST]
    axes.plot(ends, ends, color="#000000", linewidth=0.8, label="limit and one tick")
    looks = ((0.0, "o", "#a3200d"), (0.001, "^", "#44546a"))
    for margin, marker, colour in looks:
        kept, most = delays(found, margin), MARGINS[margin]
        axes.errorbar(
            [one.least for one in kept],
            [one.seconds for one in kept],
            [one.error for one in kept],
            fmt=marker,
            markersize=3.5,
            linewidth=0.7,
            color=colour,
            label=f"margin {100 * margin:g} points",
        )
        axes.plot(ends, [most * end for end in ends], color=colour, linewidth=0.7, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="information limit and one tick, s")
    axes.set(ylabel="mean delay, s")
    axes.legend(frameon=False)


DELAYED = Goal(
    "G4",
    "Harm is found within 1.5 times the information limit and a tick at margin 0, within 2.2 times "
    "at the default margin, in 95 % of the cells in which 99 % is found",
    HARMFUL_CELLS,
    delay,
    _delays,
    runs=20,
    note="Errors alone have alpha, 1 %. Base 0.1, 1 and 5 %, harm 0.5 to 20 points, 10 to 1000 "
    "requests a second at 5 to 50 %, where limit and tick are below 400 s. Of few runs the slowest "
    "cells are also the unluckiest, so that what 95 % keep is overstated.",
    plot="Mean delay of each cell with its standard error; dashed, what is promised.",
    draw=_draw_delays,
)

# --- G9: ten metrics -----------------------------------------------------------------------------

_OTHERS = 9
_OTHER = "signal/quiet-1"


@dataclass(frozen=True, slots=True)
class Watched:
    """A canary that does harm in one signal, watched by it alone or by ten."""

    signals: str
    harm: float


_ALONE, _TEN, _OWN = "errors alone", "errors of ten", "one of the nine others of ten"
WATCHED_CELLS = (
    Watched(_TEN, 0.0),
    *(Watched(kind, harm) for harm in (0.01, 0.03) for kind in (_ALONE, _TEN, _OWN)),
)


def watched(cell: Watched, seed: int) -> int | None:
    """When a canary at 100 requests a second and 10 % was rolled back."""
    course = course_at(10)
    traffic = Traffic(100.0, 0.01, harm=cell.harm)
    if cell.signals == _ALONE:
        settings = replace(ERRORS_ONLY, weights=course.settings.weights)
        return back_at(release(replace(course, settings=settings), Service(traffic, seed)))
    names = (f"signal/quiet-{n}" for n in range(1, _OTHERS + 1))
    others = tuple(Signal(name, Kind.RATIO, SIGNALS_SHARE / _OTHERS) for name in names)
    course = replace(course, settings=replace(course.settings, signals=others))
    harmed = _OTHER if cell.signals == _OWN else ERRORS
    service = Service(replace(traffic, signals=_OTHERS), seed, harmed=harmed)
    return back_at(release(course, service))


def _watched(found: Mapping[Watched, Sequence[int | None]]) -> Sequence[Line]:
    healthy = [at is not None for at in found[Watched(_TEN, 0.0)]]
    lines = [share("a healthy canary rolled back", healthy, ALPHA)]
    for harm in (0.01, 0.03):
        alone = found[Watched(_ALONE, harm)]
        for kind, most in ((_TEN, 1.5), (_OWN, None)):
            name = f"+{100 * harm:g} points in {kind}, delay to that of errors alone"
            lines.append(_slower(name, found[Watched(kind, harm)], alone, most))
    return lines


def _slower(
    name: str, ends: Sequence[int | None], alone: Sequence[int | None], most: float | None
) -> Line:
    """The ratio of two mean delays; what was not found in half an hour took half an hour."""
    means, errors = [], []
    for one in (ends, alone):
        seconds = [1800 if at is None else at for at in one]
        means.append(mean(seconds))
        errors.append(stdev(seconds) / sqrt(len(seconds)) / means[-1])
    ratio = means[0] / means[1]
    error = ratio * hypot(*errors)
    return line(name, ratio, error, len(ends), "x", most)


TEN = Goal(
    "G9",
    "Ten gating metrics keep alpha and take at most 1.5 times as long as one",
    WATCHED_CELLS,
    watched,
    _watched,
    runs=12,
    note="100 requests a second at 10 %, base 1 %. Errors have 0.40 of the shares and each of the "
    "nine others 0.022, so that harm in one of those takes longer: it is told, not promised.",
)
