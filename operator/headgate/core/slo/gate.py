"""What an error budget forbids.

Owns the reasons and their sentences. Must not know how a rollout moves, nor how counts are read.

    reason            given when                             it stops             emergency
    BudgetExhausted   nothing is left                        a start              goes on
    FastBurn          a page pair fires on stable            a start, an advance  waits
    BudgetLow         less than a tenth is left              a start              goes on

A budget about which too little is known forbids nothing: a new service has none to show.
Source for freezing at an empty budget: The Site Reliability Workbook, appendix B (example error
budget policy). That a tenth asks for a person is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from headgate.core.slo.budget import Budget, Severity

LOW = 0.10


class GateReason(StrEnum):
    """Why a rollout may not start, or may not advance."""

    BUDGET_EXHAUSTED = "BudgetExhausted"
    """The objective's error budget is spent: new rollouts wait, except emergencies."""
    FAST_BURN = "FastBurn"
    """Stable itself is spending the budget fast: no blame on the canary, and no step for it."""
    BUDGET_LOW = "BudgetLow"
    """Less than a tenth of the error budget is left: new rollouts wait, except emergencies."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate that is closed: why, for which objective, and in a plain sentence."""

    reason: GateReason
    objective: str
    message: str


_ORDER = tuple(GateReason)
_FOR_ALL = (GateReason.FAST_BURN,)  # the other two stop only what has not begun


def gate(budgets: Sequence[Budget], emergency: bool, started: bool = False) -> Gate | None:
    """Find the gate that stops a rollout; None if nothing does.

    `started` is whether the rollout already has weight: then only a fast burn of stable counts.
    `budgets` are to be those of stable. Of several, the first in the order of the table above and
    then of the objectives is given.
    """
    closed = [one for budget in budgets for one in _closed(budget)]
    for one in sorted(closed, key=lambda each: _ORDER.index(each.reason)):
        if one.reason in _FOR_ALL or not (started or emergency):
            return one
    return None


def _closed(budget: Budget) -> Iterator[Gate]:
    name = budget.level.name
    if budget.remaining is not None and budget.remaining <= 0.0:
        yield Gate(GateReason.BUDGET_EXHAUSTED, name, f"{_left(budget)}; new rollouts wait")
    elif budget.remaining is not None and budget.remaining < LOW:
        yield Gate(GateReason.BUDGET_LOW, name, f"{_left(budget)}; new rollouts wait")
    for pair in budget.firing:
        burn = budget.burns.get(pair.long)
        if pair.severity is Severity.PAGE and burn is not None:
            whose = "stable" if budget.alone else "the service"
            unsure = "" if budget.alone else " (its series do not tell stable from the canary)"
            message = (
                f"objective {name}: {whose}{unsure} burns its error budget {burn:.3g} times as "
                f"fast as it may over {in_words(pair.long)}, the limit is {pair.factor:g}; "
                "the rollout holds"
            )
            yield Gate(GateReason.FAST_BURN, name, message)
            return


def _left(budget: Budget) -> str:
    level, remaining = budget.level, budget.remaining or 0.0
    target = f"{(100 * level.target).normalize():f} % over {in_words(level.window)}"
    left = f"{100 * remaining:.3g} %" if remaining > 0.0 else "nothing"
    return (
        f"objective {level.name} ({target}): {left} is left of the error budget; "
        f"{budget.bad:,} of {budget.requests:,} requests failed, {budget.allowed:,.0f} may"
    )


def in_words(window: timedelta) -> str:
    """Write a window as people name it: `5m`, `1h`, `30d`."""
    minutes = window // timedelta(minutes=1)
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes >= size and minutes % size == 0:
            return f"{minutes // size}{unit}"
    return f"{minutes}m"
