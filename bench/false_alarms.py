"""Healthy canaries, and none at all: how often is one rolled back, G1, G2, G3 and G8.

Owns the grids without harm. Must not know how figures are written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from bench import noise, replay
from bench.goal import Goal, Line, middle, share, worst
from bench.service import HALF_HOUR, POD_ERRORS, Service, course_at

from headgate.api.model_rollout import Policy
from headgate.core.counters import Kind
from headgate.core.evidence import Objective, ObjectiveKind, Settings, Signal
from headgate.core.noise import HISTORY
from headgate.simulation.cell import read
from headgate.simulation.engine import Course, Ending, Run, release
from headgate.simulation.traffic import Incidents, Traffic

ALPHA = 1.0  # percent

# --- G1: independent requests --------------------------------------------------------------------

SETTINGS = Settings(
    alpha=0.01,
    margin=0.001,
    tolerance=0.005,
    objectives=(Objective("availability", 0.99, ObjectiveKind.ERRORS),),
    weights=(100,),
)


@dataclass(frozen=True, slots=True)
class Healthy:
    """A canary that is no worse than the margin (a share) allows."""

    kind: str
    cell: replay.Cell
    margin: float = 0.001

    @property
    def name(self) -> str:
        """In words."""
        cell = self.cell
        return f"{self.kind}, {cell.rate:g}/s at {cell.weight} %, base {100 * cell.base:g} %"


RATES = (0.05, 0.2, 1.0, 10.0, 100.0, 1000.0)
_KINDS = ("independent requests", "shared incidents", "worse by exactly the margin", "margin 0")
_INDEPENDENT, _INCIDENTS, _EDGE, _NO_MARGIN = _KINDS
CELLS = (
    *(Healthy(_INDEPENDENT, replay.Cell(r, w, 0.01)) for r in RATES for w in (5, 10, 50)),
    *(Healthy(_INDEPENDENT, replay.Cell(r, 25, base)) for r in RATES for base in (0.001, 0.05)),
    *(Healthy(_INCIDENTS, replay.Cell(r, w, 0.01, incidents=True)) for r in RATES for w in (5, 50)),
    *(Healthy(_EDGE, replay.Cell(r, 25, 0.01, edge=0.001)) for r in RATES),
    *(Healthy(_NO_MARGIN, replay.Cell(r, 10, 0.01), margin=0.0) for r in RATES),
)


def is_blamed(healthy: Healthy, seed: int) -> bool:
    """Whether a healthy canary is called harmful within half an hour at one weight."""
    settings = replace(SETTINGS, margin=healthy.margin)
    return replay.replay(healthy.cell, settings, None, seed).breach_at is not None


def _healthy(found: Mapping[Healthy, Sequence[bool]]) -> Sequence[Line]:
    cells = [share(cell.name, blamed, ALPHA) for cell, blamed in found.items()]
    pooled = [
        share(kind, [one for cell in found if cell.kind == kind for one in found[cell]], ALPHA)
        for kind in _KINDS
    ]
    pooled += [
        share(
            f"{rate:g}/s",
            [one for cell in found if cell.cell.rate == rate for one in found[cell]],
            ALPHA,
        )
        for rate in dict.fromkeys(cell.cell.rate for cell in found)
    ]
    everything = [one for blamed in found.values() for one in blamed]
    return [share("all cells", everything, ALPHA), worst("worst cell", cells), *pooled]


HEALTHY = Goal(
    "G1",
    "A healthy canary is rolled back in at most 1 % of rollouts, in every cell",
    CELLS,
    is_blamed,
    _healthy,
    runs=10,
    note="Half an hour at one weight with a look every 10 s, 0.05 to 1000 requests a second, 5 to "
    "50 %, an objective of 99 %. Incidents are 30 s of 20 % failures on both versions about every "
    "ten minutes.",
)

# --- G2: pods that differ ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Noisy:
    """A service of unlike pods (`bench.noise`), and the harm its canary does, a share."""

    row: noise.Row
    harm: float = 0.0


NOISY_CELLS = tuple(Noisy(row, harm) for row in noise.ROWS for harm in (0.0, 0.05))


def noisy(cell: Noisy, seed: int) -> int | None:
    """Release on 20 unlike pods after three hours of watching them; when it was rolled back."""
    row = cell.row
    weight = round(100 * row.canary_pods / noise.PODS)
    course = course_at(weight)
    course = replace(
        course,
        settings=replace(course.settings, margin=0.0),
        pod_history=int(HISTORY.total_seconds()),
        canary_pods=row.canary_pods,
    )
    traffic = Traffic(
        row.rate,
        noise.BASE,
        harm=cell.harm,
        dispersion=row.dispersion,
        pods=noise.PODS - row.canary_pods,
        canary_pods=row.canary_pods,
    )
    return back_at(release(course, Service(traffic, seed)))


def back_at(run: Run) -> int | None:
    """The second of the rollback; None without one."""
    return run.at if run.ending is Ending.ROLLED_BACK else None


def told(name: str, ends: Sequence[int | None]) -> Sequence[Line]:
    """How much harm was found, and after which time, of the second of each rollback."""
    seconds = [inf if at is None else float(at) for at in ends]
    return (
        share(f"{name}, found", [at is not None for at in ends]),
        middle(f"{name}, median delay", seconds, "s"),
    )


def _noisy(found: Mapping[Noisy, Sequence[int | None]]) -> Sequence[Line]:
    healthy = [
        share(_row_name(cell.row), [at is not None for at in ends], 2.0)
        for cell, ends in found.items()
        if not cell.harm
    ]
    harmed = [
        line
        for cell, ends in found.items()
        if cell.harm
        for line in told(f"{_row_name(cell.row)}: +5 points", ends)
    ]
    everything = [at is not None for cell, ends in found.items() if not cell.harm for at in ends]
    return [share("all rows", everything, 2.0), *healthy, *harmed]


def _row_name(row: noise.Row) -> str:
    sigma = f", sigma {row.sigma:g}" if row.sigma else ""
    pods = "pod" if row.canary_pods == 1 else "pods"
    return f"{row.kind}{sigma}, {row.rate:g}/s, {row.canary_pods} {pods}"


NOISY = Goal(
    "G2",
    "On pods that differ, a healthy canary is rolled back in at most 2 % of rollouts",
    NOISY_CELLS,
    noisy,
    _noisy,
    runs=12,
    note="Twenty pods with failure rates of exp(sigma z) times 1 %, z drawn anew every 10 s "
    "(white), wandering with a time constant of 60 s (wander) or for good (persistent), watched "
    "for three hours before; margin 0, one or two of the pods are the canary.",
)

# --- G3: arms scraped apart ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Apart:
    """Stable's pods are scraped `skew` seconds after the canary's, or before where negative; `told`
    by the samples' times."""

    rate: float
    skew: float
    told: bool
    harm: float = 0.0

    @property
    def name(self) -> str:
        """In words."""
        times = "" if self.told else ", times do not tell"
        harm = f": +{100 * self.harm:g} points" if self.harm else ""
        return f"{self.rate:g}/s at 10 %, {self.skew:g} s apart{times}{harm}"


APART_CELLS = tuple(
    Apart(rate, skew, told, harm)
    for rate in (100.0, 1000.0)
    for skew, told, harm in (
        (9.0, True, 0.0),
        (-9.0, True, 0.0),
        (10.0, False, 0.0),
        (-10.0, False, 0.0),
        (10.0, False, 0.02),
    )
)
_ALL_OF_ALPHA = 1000.0  # beside which the shares of other tests are nothing


def apart(cell: Apart, seed: int) -> int | None:
    """Release with shared incidents, judged by pods that are scraped apart; when it went back.

    Each cell has incidents of its own, as it matters at which moments they come.
    """
    course = course_at(10)
    signal = Signal(POD_ERRORS, Kind.RATIO, _ALL_OF_ALPHA, paired=False)
    course = replace(course, settings=replace(course.settings, signals=(signal,)))
    traffic = Traffic(cell.rate, 0.01, harm=cell.harm, incidents=Incidents(0.2))
    own = 1_000_000 * APART_CELLS.index(cell) + seed
    return back_at(release(course, Service(traffic, own, cell.skew, stamped=cell.told)))


def _apart(found: Mapping[Apart, Sequence[int | None]]) -> Sequence[Line]:
    healthy = {
        cell: [at is not None for at in ends] for cell, ends in found.items() if not cell.harm
    }
    harmed = [told(cell.name, ends) for cell, ends in found.items() if cell.harm]
    return [
        share("all cells", [one for ends in healthy.values() for one in ends], 0.5),
        *(share(cell.name, ends, 0.5) for cell, ends in healthy.items()),
        *(line for lines in harmed for line in lines),
    ]


SKEWED = Goal(
    "G3",
    "With shared incidents and arms scraped apart, a healthy canary is rolled back in at most"
    " 0.5 % of rollouts",
    APART_CELLS,
    apart,
    _apart,
    runs=20,
    note="Counters of pods that are scraped by themselves have all of alpha; both versions fail "
    "20 % for 30 s about every ten minutes. What a round of scrapes says counts once the next has "
    "shown that stable was calm before, in and after it.",
)

# --- G8: nobody asks -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Silent:
    """A service with hardly any requests, or a canary that gets none."""

    rate: float
    starved: bool = False

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.rate:g}/s{', none to the canary' if self.starved else ''}"


@dataclass(frozen=True, slots=True)
class Silence:
    """How a rollout without traffic ended, and the last it said."""

    ending: Ending
    verdict: str
    message: str

    @property
    def says_what_is_missing(self) -> bool:
        """Whether it holds and tells how many requests are needed."""
        holds = self.ending is Ending.UNDECIDED and self.verdict.startswith("Inconclusive")
        return holds and re.search(r"about [\d,]+ more", self.message) is not None


SILENT_CELLS = (Silent(0.0), Silent(100.0, starved=True), Silent(0.01), Silent(0.05))


def silence(cell: Silent, seed: int) -> Silence:
    """Release by the default steps on no traffic; what was said at the end of half an hour."""
    course = Course(*read(Policy()), horizon=HALF_HOUR)
    run = release(course, Service(Traffic(cell.rate, 0.01), seed, starved=cell.starved))
    return Silence(run.ending, run.events[-1].verdict, run.events[-1].message)


def _silent(found: Mapping[Silent, Sequence[Silence]]) -> Sequence[Line]:
    back = [one.ending is Ending.ROLLED_BACK for ends in found.values() for one in ends]
    lines = [share("rolled back", back, 0.0)]
    for cell, ends in found.items():
        lines.append(
            share(
                f"{cell.name}: not undecided, or without the requests still needed",
                [not one.says_what_is_missing for one in ends],
                0.0,
            )
        )
    return lines


SILENT = Goal(
    "G8",
    "Without traffic nothing is rolled back, and the verdict says how many requests are needed",
    SILENT_CELLS,
    silence,
    _silent,
    runs=4,
    note="The default steps, half an hour.",
)
