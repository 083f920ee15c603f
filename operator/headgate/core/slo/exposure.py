"""How much of an error budget one rollout may put at risk, and how much it has spent.

Owns two limits. Must not know steps, nor how counts are read.

kappa is the share of the budget that is left (R, of b = 1 - target) which one rollout may cost.
Before: at weight w, a canary that fails everything until it is found and undone, after T, spends
w T of the traffic of that time. With steady traffic the rate cancels, and w T <= kappa R b P.
After: the canary's excess failures, as far as they are proven, may not exceed kappa R b N, where N
is what the window P serves.
Source: kappa and the worst case are ours; the rest is arithmetic on The Site Reliability Workbook,
ch. 5 (burn rates) and ch. 16 (the cost of a canary).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import floor

from headgate.core.stats.evalue import Table
from headgate.core.stats.interval import difference_interval

KAPPA = 0.02


def first_weight_cap(
    remaining: float,
    target: float,
    window: timedelta,
    detect_and_act: timedelta,
    kappa: float = KAPPA,
) -> int:
    """Limit the first weight, in percent, 1 to 100.

    `detect_and_act` is the longest time from a canary's first failure until it has no traffic
    left: timeout, scrape, look, confirmation and the route's change together. The least is 1 %,
    because nothing is learned at 0; that an empty budget forbids a start is the gate's business.
    Raises ValueError if `detect_and_act` is not above zero.
    """
    if detect_and_act <= timedelta(0):
        raise ValueError(f"detect_and_act: wanted more than nothing, found {detect_and_act}")
    budget = (1.0 - target) * max(0.0, remaining)
    share = kappa * budget * (window / detect_and_act)
    return max(1, min(100, floor(100.0 * share + 1e-9)))


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """What a rollout may draw on: the share of an objective's error budget that is left (1 is all,
    below 0 overspent), its target (a share), and how many requests its window serves."""

    objective: str
    remaining: float
    target: float
    served: int


@dataclass(frozen=True, slots=True)
class Spending:
    """What a canary has cost: failures beyond what stable would have had, and how many it may."""

    proven: float
    allowed: float

    @property
    def is_breach(self) -> bool:
        """Whether more is proven than allowed."""
        return self.proven > self.allowed


def spending(
    counts: Table,
    remaining: float,
    target: float,
    period_requests: int,
    alpha: float = 0.01,
    kappa: float = KAPPA,
) -> Spending:
    """Compare the canary's proven excess failures with its share of the budget.

    `counts` are both arms' since the rollout began; `period_requests` is what the objective's
    window serves. `proven` is the canary's requests times the lower end of the interval for
    p_c - p_s that holds at all looks together with chance `1 - alpha`, and at least 0. With an
    overspent budget nothing is allowed, so any proven excess is a breach; without requests on
    either arm nothing is proven. The interval takes rates that do not move, see `core.stats`.
    """
    excess = difference_interval(
        counts.canary_bad, counts.canary_requests, counts.stable_bad, counts.stable_requests, alpha
    )
    return Spending(
        proven=counts.canary_requests * max(0.0, excess.low),
        allowed=kappa * max(0.0, remaining) * (1.0 - target) * period_requests,
    )
