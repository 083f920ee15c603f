"""Kayenta's NetflixACAJudge-v1.0: two series of one metric to a label, labels to a score.

Owns missing values, outliers, effect sizes, critical metrics and group weights. Must not know
when a judgement takes place or what follows from it.
Source: spinnaker/kayenta a69573b, NetflixACAJudge, MannWhitneyClassifier, WeightedSumScorer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from math import isnan, nan
from statistics import NormalDist

from headgate.simulation.peers.mann_whitney import AllTied, Shift, shift

CONFIDENCE = 0.98
TOLERANCE = 0.25
"""Both are fixed in the judge; they are fields so that Kayenta's own vectors can be replayed."""

_NOISE = 1e-5
_MOST_NODATA_PERCENT = 50.0


class Label(StrEnum):
    """What one metric is called."""

    PASS = "Pass"  # noqa: S105 - a verdict, not a word to enter with
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL_METRIC = "NodataFailMetric"
    ERROR = "Error"


class Direction(StrEnum):
    """Which change of a metric is bad."""

    INCREASE = "increase"
    DECREASE = "decrease"
    EITHER = "either"


class NanStrategy(StrEnum):
    """What becomes of a missing value."""

    REMOVE = "remove"
    REPLACE = "replace"  # by 0


class Effect(StrEnum):
    """How large a change is: a ratio of means, or the chance that a canary value is the higher."""

    MEAN_RATIO = "meanRatio"
    CLES = "cles"

    @property
    def neutral(self) -> float:
        """The default of all four thresholds, which is the value of no change."""
        return 0.5 if self is Effect.CLES else 1.0


@dataclass(frozen=True, slots=True)
class JudgedMetric:
    """A metric of a canary config; a threshold that is None is the effect's neutral value."""

    name: str
    groups: tuple[str, ...] = ("all",)
    direction: Direction = Direction.EITHER
    nan_strategy: NanStrategy = NanStrategy.REMOVE
    outlier_factor: float | None = None  # 3.0 is the default once outliers are to be removed
    critical: bool = False
    must_have_data: bool = False
    muted: bool = False
    effect: Effect = Effect.MEAN_RATIO
    allowed_increase: float | None = None
    allowed_decrease: float | None = None
    critical_increase: float | None = None
    critical_decrease: float | None = None
    tolerance: float = TOLERANCE
    confidence: float = CONFIDENCE

    def threshold(self, value: float | None) -> float:
        """Fill in a threshold's default."""
        return self.effect.neutral if value is None else value


@dataclass(frozen=True, slots=True)
class Classification:
    """A metric's label; `critical` is True if it alone fails the canary.

    `interval` is None if there was no test, `effect` NaN if it could not be computed.
    """

    metric: JudgedMetric
    label: Label
    critical: bool = False
    effect: float = nan
    interval: Shift | None = None


# --- one metric ----------------------------------------------------------------------------------


def classify(
    metric: JudgedMetric, stable: Sequence[float], canary: Sequence[float]
) -> Classification:
    """Compare one metric's values; NaN is a missing one."""
    control, experiment = _prepared(metric, stable), _prepared(metric, canary)
    if not control or not experiment:
        return _without_data(metric)
    if sorted(control) == sorted(experiment) or len({*control, *experiment}) == 1:
        return Classification(metric, Label.PASS)
    if len(set(control)) == len(set(experiment)) == 1:
        control, experiment = _spread(control), _spread(experiment)
    try:
        interval = shift(experiment, control, metric.confidence)
    except AllTied:
        return Classification(metric, Label.ERROR)
    size = _effect(metric.effect, control, experiment)
    label = _label(metric, interval, size)
    return Classification(metric, label, _is_critical(metric, label, size), size, interval)


def _without_data(metric: JudgedMetric) -> Classification:
    if metric.nan_strategy is NanStrategy.REPLACE:
        return Classification(metric, Label.PASS)
    if metric.must_have_data and not metric.critical:
        return Classification(metric, Label.NODATA_FAIL_METRIC)
    return Classification(metric, Label.NODATA, critical=metric.critical)


def _label(metric: JudgedMetric, interval: Shift, size: float) -> Label:
    bound = metric.tolerance * abs(interval.estimate)
    if (
        metric.direction is not Direction.DECREASE
        and interval.lower > bound
        and not size < metric.threshold(metric.allowed_increase)
    ):
        return Label.HIGH
    if (
        metric.direction is not Direction.INCREASE
        and interval.upper < -bound
        and not size > metric.threshold(metric.allowed_decrease)
    ):
        return Label.LOW
    return Label.PASS


def _is_critical(metric: JudgedMetric, label: Label, size: float) -> bool:
    """A size that could not be computed is NaN, and so denies neither comparison."""
    if label is Label.HIGH:
        return metric.critical and not size < metric.threshold(metric.critical_increase)
    if label is Label.LOW:
        return metric.critical and not size > metric.threshold(metric.critical_decrease)
    return False


def _prepared(metric: JudgedMetric, values: Sequence[float]) -> list[float]:
    if metric.nan_strategy is NanStrategy.REMOVE:
        kept = [value for value in values if not isnan(value)]
    else:
        kept = [0.0 if isnan(value) else value for value in values]
    if metric.outlier_factor is None or not kept:
        return kept
    low, high = _fences(kept, metric.outlier_factor)
    return [value for value in kept if low <= value <= high]


def _fences(values: Sequence[float], factor: float) -> tuple[float, float]:
    """Tukey's fences, never inside the 1st and 99th percentile."""
    ordered = sorted(values)
    p01, p25, p75, p99 = (_percentile(ordered, share) for share in (0.01, 0.25, 0.75, 0.99))
    reach = factor * (p75 - p25)
    return min(p01, p25 - reach), max(p99, p75 + reach)


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Interpolate linearly, as R's type 7."""
    at = share * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (at - below) * (ordered[above] - ordered[below])


def _spread(values: Sequence[float]) -> list[float]:
    """Take a constant apart by 1e-5 of it.

    The original adds normal noise; its expected order is taken here, so that a judgement can be
    repeated. Which of two constants is higher does not depend on it.
    """
    scale, count = _NOISE * values[0], len(values)
    normal = NormalDist()
    return [
        value + scale * normal.inv_cdf((place + 0.5) / count) for place, value in enumerate(values)
    ]


def _effect(effect: Effect, control: Sequence[float], experiment: Sequence[float]) -> float:
    if effect is Effect.CLES:
        above = sum((one > other) + 0.5 * (one == other) for one in experiment for other in control)
        return above / (len(control) * len(experiment))
    means = sum(experiment) / len(experiment), sum(control) / len(control)
    return nan if 0.0 in means else means[0] / means[1]


# --- all metrics ---------------------------------------------------------------------------------


def score(results: Sequence[Classification], weights: Mapping[str, float]) -> float:
    """Score a canary from 0 to 100.

    Groups without a weight share what is left of 100. A group in which nothing could be compared
    counts as if all had passed, unless half of all metrics have no data.
    """
    heard = [result for result in results if not result.metric.muted]
    if any(result.critical and result.label is not Label.PASS for result in heard):
        return 0.0
    silent = sum(result.label is Label.NODATA for result in heard)
    if heard and 100.0 * silent / len(heard) >= _MOST_NODATA_PERCENT:
        return 0.0
    groups: dict[str, list[Label]] = {}
    for result in heard:
        for group in result.metric.groups:
            groups.setdefault(group, []).append(result.label)
    rest = [group for group in groups if group not in weights]
    share = (100.0 - sum(weights.values())) / len(rest) if rest else 0.0
    total = sum(
        _group_score(labels) * (weights.get(g, share) / 100.0) for g, labels in groups.items()
    )
    return float(Decimal(repr(total)).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _group_score(labels: Sequence[Label]) -> float:
    counted = [label for label in labels if label not in (Label.NODATA, Label.ERROR)]
    if not counted:
        return 100.0
    return 100.0 * counted.count(Label.PASS) / len(counted)
