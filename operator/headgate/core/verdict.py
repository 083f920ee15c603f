"""What a look at the evidence can say.

Owns the three verdicts, their reasons and the report beside them. Must not know how they are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Reason(StrEnum):
    """Why a verdict is what it is; output only."""

    ERRORS_HIGHER = "ErrorsHigher"  # the canary fails more of its requests than stable
    LATENCY_HIGHER = "LatencyHigher"  # the canary is slower than stable
    OBJECTIVE_BROKEN = "ObjectiveBroken"  # the canary breaks an objective by itself
    EVIDENCE_STALE = "EvidenceStale"  # no scrape for too long
    METRICS_UNAVAILABLE = "MetricsUnavailable"  # the source did not answer: no evidence either way
    NO_TRAFFIC = "NoTraffic"  # the canary answered nothing that was counted
    NOT_YET_PROVEN = "NotYetProven"  # no harm seen, and too few requests to earn the next weight
    STABLE_IN_INCIDENT = "StableInIncident"  # both arms break an objective: rolling back is no cure
    SIGNAL_WORSE = "SignalWorse"  # a signal of the spec is worse than stable's
    DISTRIBUTION_DIFFERS = "DistributionDiffers"  # predictions, or another signal, are not stable's
    INPUTS_DRIFTED = "InputsDrifted"  # the canary's inputs are not what the model was trained on
    BUDGET_SPENT = "BudgetSpent"  # the canary alone has spent its part of an error budget
    FROZEN = "Frozen"  # a signal that may not roll back has seen harm
    SIGNAL_MISSING = "SignalMissing"  # what a signal or an objective is measured by is not there
    THRESHOLD_NOT_AN_EDGE = "ThresholdNotAnEdge"  # an objective's threshold is no bucket edge


@dataclass(frozen=True, slots=True)
class Breach:
    """The canary does harm. `signal` names the largest term; `requests` of it were counted."""

    signal: str
    reason: Reason
    message: str
    requests: int

    def __post_init__(self) -> None:
        if self.requests < 1:
            raise ValueError(f"a breach needs canary requests, got {self.requests}")


@dataclass(frozen=True, slots=True)
class Pass:
    """The next weight is earned, or, with nothing to earn, all is well and data is flowing."""

    message: str
    requests: int

    def __post_init__(self) -> None:
        if self.requests < 1:
            raise ValueError(f"a pass needs canary requests, got {self.requests}")


@dataclass(frozen=True, slots=True)
class Inconclusive:
    """Neither. `requests_needed` more canary requests may settle it; None where they would not."""

    reason: Reason
    message: str
    requests_needed: int | None


Verdict = Breach | Pass | Inconclusive


@dataclass(frozen=True, slots=True)
class SignalReport:
    """One signal's numbers, of both arms at the same instants (of the canary, without control).

    `difference_points` is canary minus stable in percentage points, None without requests on both.
    `log_evidence` is the natural logarithm of the e-value against "no harm"; `threshold` the
    e-value (not its logarithm) at which this signal alone is a breach. `requests_needed` are the
    further canary requests this signal needs to earn the next weight, None where it earns none.
    `design_effect` (>= 1) is what the e-value is tempered by, `placebo_runs` how many replays of
    stable's own pods its bar was raised by, `units` how many such pods both were measured on.
    """

    name: str
    canary_requests: int
    canary_bad: int
    stable_requests: int
    stable_bad: int
    difference_points: float | None
    log_evidence: float
    threshold: float
    requests_needed: int | None
    message: str
    design_effect: float = 1.0
    placebo_runs: int = 0
    units: int = 0


@dataclass(frozen=True, slots=True)
class Analysis:
    """A verdict, what each signal said, and the last scrape it rests on (None: no scrape yet).

    `weight` (percent) is the one that a Pass has earned, or that was asked for; None for none.
    """

    verdict: Verdict
    reports: tuple[SignalReport, ...]
    as_of: datetime | None
    weight: int | None = None
