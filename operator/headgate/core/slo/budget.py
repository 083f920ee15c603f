"""How fast an error budget is spent, and how much of it is left.

Owns burn rates, the window pairs and the sum over the objective's window. Must not know what
follows from them.

With b = 1 - target, and B of N requests failed:

    burn rate over a window   (B / N) / b        1.0 spends exactly the budget, if it goes on
    budget left               1 - B / (b N)      over the objective's window; below 0 is overspent

A pair of windows fires when both burn faster than f: the long one says that it matters, the short
one that it is still going on. f = q P / L is the burn that spends the share q of the budget of the
window P within the long window L.
Source: The Site Reliability Workbook (O'Reilly 2018), ch. 5 "Alerting on SLOs", technique 6,
multiwindow and multi-burn-rate alerts (1h/5m at 2 %, 6h/30m at 5 %, 3d/6h at 10 % of 30 d); the
pair 1d/2h at 10 % is Sloth's.

Requests are weighted alike, whenever they came. (Averages of ratios over time, which Sloth records
by default, count a request at night for more than one at noon.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import log

from headgate.core.slo.level import ServiceLevel
from headgate.core.stats.evalue import limit_logs
from headgate.core.stats.mixture import log_mean

WINDOWS = (
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(days=1),
    timedelta(days=3),
)
"""The windows that burn rates are reported for; those longer than the objective's are left out."""

# What is known of less than this share of a window says nothing about the window. Not a half:
# Prometheus keeps 15 days unless told otherwise, and the usual window has 30.
LEAST_COVERED = 0.4
# A pair fires on evidence of 100 to 1 only, see `is_firing`.
EVIDENCE = 100.0


class Severity(StrEnum):
    """What a pair of windows calls for."""

    PAGE = "page"
    TICKET = "ticket"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two windows that must burn faster than `factor`, both of them."""

    long: timedelta
    short: timedelta
    factor: float
    severity: Severity


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """Requests of the last `window`, as far as it was read: `covered` is how much of it was.

    Raises ValueError for counts below zero.
    """

    window: timedelta
    good: int
    bad: int
    covered: timedelta

    def __post_init__(self) -> None:
        if self.good < 0 or self.bad < 0:
            raise ValueError(f"wanted counts >= 0, found {self.good} good and {self.bad} bad")

    @property
    def requests(self) -> int:
        """Good and bad together."""
        return self.good + self.bad

    @property
    def is_known(self) -> bool:
        """Whether enough was read, and any request seen, for a rate to mean something."""
        return self.requests > 0 and self.covered >= LEAST_COVERED * self.window


@dataclass(frozen=True, slots=True)
class Budget:
    """Where an objective stands.

    `remaining` is the share of the error budget that is left: 1 is untouched, below 0 overspent.
    None means that too little is known: neither full nor empty. `bad` of `requests` failed within
    `covered`, the part of the window that was read. `burns` has one rate per window, None where
    too little is known: of stable `alone`, or of the whole service where its series do not tell
    stable from a canary.
    """

    level: ServiceLevel
    remaining: float | None
    bad: int
    requests: int
    covered: timedelta
    burns: Mapping[timedelta, float | None]
    firing: tuple[Pair, ...]
    as_of: datetime
    alone: bool = True

    @property
    def spent(self) -> float | None:
        """The share of the error budget that is spent; above 1 is overspent."""
        return None if self.remaining is None else 1.0 - self.remaining

    @property
    def allowed(self) -> float:
        """How many of the requests seen were allowed to fail."""
        return self.level.budget * self.requests


# (share of the budget, long window, short window, severity)
_PAIRS = (
    (0.02, timedelta(hours=1), timedelta(minutes=5), Severity.PAGE),
    (0.05, timedelta(hours=6), timedelta(minutes=30), Severity.PAGE),
    (0.10, timedelta(days=1), timedelta(hours=2), Severity.TICKET),
    (0.10, timedelta(days=3), timedelta(hours=6), Severity.TICKET),
)


def pairs_of(window: timedelta) -> tuple[Pair, ...]:
    """List the pairs for an objective's window: 14.4, 6, 3 and 1 for 30 d.

    Pairs whose long window does not fit are left out. A factor is at least 1, because a service
    that burns slower keeps its objective; that matters for windows below 30 d only.
    """
    return tuple(
        Pair(long, short, max(1.0, round(share * (window / long), 6)), severity)
        for share, long, short, severity in _PAIRS
        if long <= window
    )


def burn_rate(counts: WindowCounts, budget: float) -> float | None:
    """How fast the budget (a share of requests) is spent; None if too little is known."""
    return counts.bad / counts.requests / budget if counts.is_known else None


def is_firing(pair: Pair, long: WindowCounts, short: WindowCounts, budget: float) -> bool:
    """Whether both windows burn faster than the pair's factor, on more than a few failures.

    With little traffic one failure is a fast burn: 1 of 100 requests is ten times a budget of
    0.1 %. So the long window's counts must also be evidence against "the rate is at most f b": a
    mixture of likelihood ratios, an e-value, that such a rate brings to 100 with a chance of 1 in
    100 at most, at any one look. Failures that come in bursts weaken that; it is a least amount of
    evidence, not an error rate. A rate above 1 cannot be exceeded, so f b >= 1 never fires.
    """
    rates = burn_rate(long, budget), burn_rate(short, budget)
    limit = pair.factor * budget
    if limit >= 1.0 or any(rate is None or rate <= pair.factor for rate in rates):
        return False
    return log_mean(limit_logs(long.bad, long.requests, limit)) >= log(EVIDENCE)


def budget_of(
    level: ServiceLevel,
    counts: Sequence[WindowCounts],
    now: datetime,
    stable: Sequence[WindowCounts] | None = None,
    alone: bool = True,
) -> Budget:
    """Work out where an objective stands.

    `counts` has at most one entry per window: the objective's own, and those in WINDOWS. A window
    that is missing is one about which nothing is known. While a canary has traffic, `stable` are
    the counts of stable alone, and the burns are its: what the canary burns is judged elsewhere.
    `alone` is False where it should be so, and the series do not tell the two apart.
    """
    whole = {each.window: each for each in counts}.get(
        level.window, WindowCounts(level.window, 0, 0, timedelta(0))
    )
    known = {each.window: each for each in (counts if stable is None else stable)}
    spent = burn_rate(whole, level.budget)
    return Budget(
        level=level,
        remaining=None if spent is None else 1.0 - spent,
        bad=whole.bad,
        requests=whole.requests,
        covered=whole.covered,
        burns={
            window: burn_rate(known[window], level.budget) if window in known else None
            for window in WINDOWS
            if window <= level.window
        },
        firing=tuple(
            pair
            for pair in pairs_of(level.window)
            if pair.long in known
            and pair.short in known
            and is_firing(pair, known[pair.long], known[pair.short], level.budget)
        ),
        as_of=now,
        alone=alone,
    )
