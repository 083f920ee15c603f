"""Good canaries, and ones that are too bad: when are they given all traffic, G7.

Owns the grid of promotions. Must not know how figures are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, log

from bench import replay
from bench.false_alarms import SETTINGS
from bench.goal import Goal, Line, middle, share

from headgate.core.stats.sizes import requests_to_prove

TICK = 10
# Nothing but the proof itself keeps a canary from 100 %.
_BLIND = replace(SETTINGS, alpha=1e-12, objectives=())


@dataclass(frozen=True, slots=True)
class Proving:
    """A canary that is as good as stable, or worse by the whole tolerance."""

    cell: replay.Cell

    @property
    def is_too_bad(self) -> bool:
        """Whether it must not be promoted."""
        return self.cell.edge > 0.0

    @property
    def name(self) -> str:
        """In words."""
        cell = self.cell
        return f"{cell.rate:g}/s at {cell.weight} %, base {100 * cell.base:g} %"

    @property
    def limit_seconds(self) -> float:
        """Seconds in which a good canary's requests bring the proof on average, at best."""
        canary = self.cell.weight / 100.0
        wanted = log(1.0 / SETTINGS.promotion_alpha)
        beside = (1.0 - canary) / canary
        requests = requests_to_prove(self.cell.base, SETTINGS.tolerance, wanted, beside)
        return requests / (self.cell.rate * canary)


_GOOD = (
    replay.Cell(100, 10, 0.01),
    replay.Cell(100, 50, 0.01),
    replay.Cell(100, 10, 0.001),
    replay.Cell(10, 50, 0.001),
)
_LOADS = ((100.0, 10, 0.01), (100.0, 50, 0.001), (10.0, 50, 0.01), (1000.0, 5, 0.05))
PROVING_CELLS = (
    *(Proving(cell) for cell in _GOOD),
    *(
        Proving(replay.Cell(rate, weight, base, edge=SETTINGS.tolerance))
        for rate, weight, base in _LOADS
    ),
)


def earned(proving: Proving, seed: int) -> float:
    """Seconds until all traffic is earned from a constant weight; infinite in half an hour."""
    settings = _BLIND if proving.is_too_bad else SETTINGS
    at = replay.replay(proving.cell, settings, 100, seed).earned_at
    return inf if at is None else float(at)


def _proving(found: Mapping[Proving, Sequence[float]]) -> Sequence[Line]:
    wrong = {one: [at < inf for at in ends] for one, ends in found.items() if one.is_too_bad}
    lines = [share("promoted wrongly, all cells", [x for ends in wrong.values() for x in ends], 5)]
    lines += [share(f"promoted wrongly, {one.name}", ends, 5) for one, ends in wrong.items()]
    for one, ends in found.items():
        if not one.is_too_bad:
            limit = one.limit_seconds
            name = f"median until promoted, {one.name}, limit {limit:.0f} s"
            lines.append(middle(name, ends, "s", 1.1 * limit + TICK))
    return lines


PROMOTED = Goal(
    "G7",
    "A good canary is promoted within 1.1 times the information limit and a tick (median), one "
    "worse by the whole tolerance in at most 5 %",
    PROVING_CELLS,
    earned,
    _proving,
    runs=40,
    note="Tolerance 0.5 points. The bad ones are stopped by nothing else: no harm test is on.",
)
