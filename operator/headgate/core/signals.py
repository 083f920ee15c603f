"""What a rollout is judged by: signals, objectives and the error rates they may have.

Owns the settings of a judgement, fixed when a rollout starts. Must not know counts, nor what a
verdict leads to.

All tests of a rollout share one alpha: their e-values are averaged with fixed weights, and a breach
is an average of 1/alpha (Vovk and Wang 2021: the only admissible merge under any dependence). A
test without data adds nothing. The shares, before they are divided by their sum:

    errors      .40   more failures than stable by more than the margin
    latency     .25   half: slower by shape; half: more over an objective's threshold by the margin
    absolute    .15   shared by the objectives: above its limit, and stable is not
    alone       .10   shared by the objectives: above twice its budget while there is no control
    signals     .20   shared by the signals of the spec: worse than stable, or different from it
    predictions .10   answers distributed otherwise than stable's
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from headgate.core.counters import ERRORS, LATENCY, Kind

ERRORS_SHARE = 0.40
LATENCY_SHARE = 0.25
ABSOLUTE_SHARE = 0.15
ALONE_SHARE = 0.10
SIGNALS_SHARE = 0.20
PREDICTIONS_SHARE = 0.10

_LARGEST_MARGIN = 0.5  # a promotion test with a larger margin would prove nothing at all


class Worse(StrEnum):
    """In which direction a canary does harm: by larger values only, or by any difference."""

    HIGHER = "higher"
    EITHER = "either"


class OnBreach(StrEnum):
    """What a signal may do by itself: take the canary back, or keep it from further weight."""

    ROLL_BACK = "rollBack"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class Signal:
    """One pair of counters, or of histograms, that both arms are compared by.

    `share` is its part of alpha before the division by the sum of all; one that only freezes has
    none, and is tested at alpha by itself. `margin` and `tolerance` (shares, 0..1) are those of the
    rollout where None; `tolerance` matters only where a ratio or a threshold is to be proven.
    `threshold` is the bucket bound over which a histogram's values are bad. Values up to `floor`
    are equal. `paired` says that both arms are read in one scrape; where each pod is scraped by
    itself, a round of scrapes counts once the next has shown that stable is in no incident.
    `unit` is for people.
    """

    name: str
    kind: Kind
    share: float
    worse: Worse = Worse.HIGHER
    on_breach: OnBreach = OnBreach.ROLL_BACK
    margin: float | None = None
    tolerance: float | None = None
    threshold: float | None = None
    floor: float = 0.0
    paired: bool = True
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind is Kind.CATEGORIES and self.worse is not Worse.EITHER:
            raise ValueError(f"signal {self.name}: classes have no order, so none is higher")
        if self.threshold is not None and self.kind is not Kind.HISTOGRAM:
            raise ValueError(f"signal {self.name}: only a histogram has a threshold")

    @property
    def is_ratio(self) -> bool:
        """Whether it counts good and bad ones."""
        return self.kind in (Kind.RATIO, Kind.SHARE, Kind.YIELD)

    @property
    def is_proven(self) -> bool:
        """Whether a weight must be earned by it: whether it can be shown to be hardly worse."""
        rolls_back = self.on_breach is OnBreach.ROLL_BACK
        return rolls_back and (self.is_ratio or self.threshold is not None)


class ObjectiveKind(StrEnum):
    """What an objective counts as bad: a failed request, a slow one, or what its series say."""

    ERRORS = "errors"
    LATENCY = "latency"
    SERIES = "series"


@dataclass(frozen=True, slots=True)
class Objective:
    """A share of requests (0..1, exclusive) that must be good; latency ones have a threshold.

    A `relative` one promises no share of its own but what stable did: it is what a bake is watched
    by where nobody stated an objective on errors. Its target then only bounds it.
    """

    name: str
    target: float
    kind: ObjectiveKind
    threshold_seconds: float | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.target < 1.0:
            raise ValueError(f"objective {self.name}: target {self.target}, wanted 0..1")
        if (self.kind is ObjectiveKind.LATENCY) != (self.threshold_seconds is not None):
            raise ValueError(f"objective {self.name}: only latency has a threshold")

    @property
    def signal(self) -> str:
        """Name of the signal whose counts it is about."""
        match self.kind:
            case ObjectiveKind.ERRORS:
                return ERRORS
            case ObjectiveKind.LATENCY:
                return LATENCY
        return f"series/{self.name}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a rollout is judged by. Every rate is a share (0..1), never points or percent.

    `alpha` bounds the chance that a healthy canary is ever called harmful, `promotion_alpha` the
    chance that a weight is earned by a canary worse than it may be. `weights` are the weights (in
    percent) that may have to be earned, i.e. the rollout's steps; 100 always may. Requests answered
    within `latency_floor_seconds` are equally fast: how a canary splits them is no harm to anybody.
    The latency of the canary's first `warm_up_requests` is not counted: a fresh process is slow for
    reasons that say nothing of the model, and a rule fixed before the rollout keeps the test valid.
    `signals` are those beyond errors and latency.
    """

    alpha: float
    margin: float
    tolerance: float
    objectives: tuple[Objective, ...] = ()
    weights: tuple[int, ...] = (5, 10, 25, 50, 100)
    promotion_alpha: float = 0.05
    latency_floor_seconds: float = 0.0
    warm_up_requests: int = 0
    signals: tuple[Signal, ...] = ()

    @property
    def measured(self) -> tuple[Signal, ...]:
        """All signals, errors and latency first."""
        return _measured(self.latency_floor_seconds, self.signals)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """The kind of each signal by its name."""
        return {signal.name: signal.kind for signal in self.measured}

    @property
    def ladder(self) -> tuple[int, ...]:
        """The weights a promotion test runs for, ascending, 100 last."""
        return _ladder(self.weights)

    @property
    def total_share(self) -> float:
        """What all shares add up to; fixed, so that no test's absence helps another."""
        objectives = ABSOLUTE_SHARE + ALONE_SHARE if self.objectives else 0.0
        return sum(signal.share for signal in self.measured) + objectives

    def margin_of(self, signal: Signal) -> float:
        """How much worse a canary may be before that counts as harm."""
        return self.margin if signal.margin is None else signal.margin

    def promotion_margin(self, weight: int, signal: Signal | None = None) -> float:
        """How much worse the canary may at most be to enter `weight`: tolerance over weight."""
        stated = signal.tolerance if signal is not None else None
        tolerance = self.tolerance if stated is None else stated
        return min(tolerance * 100.0 / weight, _LARGEST_MARGIN)


# A look asks for these some thirty times, and they never change in a rollout.


@lru_cache(maxsize=256)
def _measured(floor: float, signals: tuple[Signal, ...]) -> tuple[Signal, ...]:
    return (
        Signal(ERRORS, Kind.RATIO, ERRORS_SHARE),
        Signal(LATENCY, Kind.HISTOGRAM, LATENCY_SHARE, floor=floor, unit="s"),
        *signals,
    )


@lru_cache(maxsize=256)
def _ladder(weights: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*weights, 100}))
