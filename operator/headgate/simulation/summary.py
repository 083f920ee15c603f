"""What many simulated rollouts say together: rates, delays and costs, with standard errors.

Owns the arithmetic over runs. Must not know how a run came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, inf, sqrt

from headgate.simulation.engine import Ending, Run


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of runs (0..1) and its standard error.

    Of no run, or of all, the error is that of half a run: nothing is known exactly.
    """

    share: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over runs and its standard error; the error of a single run is None."""

    value: float
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile in seconds and its standard error; None is "never", or not known.

    A run in which nothing happened took for ever, so a median is None if that is so in half.
    """

    seconds: float | None
    standard_error: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a rule did in one cell.

    Attributes:
        false_rollback: Rolled back before the canary did any harm.
        detection: Rolled back after the onset; None where there is no harm to detect.
        delay_median, delay_p95: From the onset to the rollback, over all runs but false rollbacks.
        failures: Failed requests of the canary until the rollout ended, by whatever cause.
        caused: Those that failed for the harm alone.
        promotion: Promoted, whether harmful or not.
        promotion_median, promotion_p95: Until the rollout ended so, over all runs.
        earned_median, earned_p95: Until the next weight was first earned.
        undecided: Neither; a pause for a person is one.
    """

    runs: int
    false_rollback: Rate
    detection: Rate | None
    delay_median: Quantile
    delay_p95: Quantile
    failures: Mean
    caused: Mean
    promotion: Rate
    promotion_median: Quantile
    promotion_p95: Quantile
    earned_median: Quantile
    earned_p95: Quantile
    undecided: Rate


def summarize(runs: Sequence[Run], onset: float | None) -> Summary:
    """Sum up at least one run; `onset` is the second in which harm begins, None without harm."""
    count = len(runs)
    back = [run for run in runs if run.ending is Ending.ROLLED_BACK]
    early = [run for run in back if onset is None or run.at <= onset]
    promoted = [run for run in runs if run.ending is Ending.PROMOTED]
    delays: list[float] = []
    if onset is not None:
        late = [run.at - onset for run in back if run.at > onset]
        delays = late + [inf] * (count - len(early) - len(late))
    times = [float(run.at) for run in promoted] + [inf] * (count - len(promoted))
    earned = [inf if run.earned_at is None else float(run.earned_at) for run in runs]
    return Summary(
        runs=count,
        false_rollback=rate(len(early), count),
        detection=None if onset is None else rate(len(back) - len(early), count),
        delay_median=quantile(delays, 0.5),
        delay_p95=quantile(delays, 0.95),
        failures=mean([run.failures for run in runs]),
        caused=mean([run.caused for run in runs]),
        promotion=rate(len(promoted), count),
        promotion_median=quantile(times, 0.5),
        promotion_p95=quantile(times, 0.95),
        earned_median=quantile(earned, 0.5),
        earned_p95=quantile(earned, 0.95),
        undecided=rate(count - len(back) - len(promoted), count),
    )


def rate(events: int, runs: int) -> Rate:
    """The share of runs in which something happened; its error is the binomial one."""
    share = events / runs
    inside = min(max(share, 0.5 / runs), 1.0 - 0.5 / runs)
    return Rate(share, sqrt(inside * (1.0 - inside) / runs))


def mean(values: Sequence[float]) -> Mean:
    """The mean of at least one value."""
    count = len(values)
    average = sum(values) / count
    if count < 2:
        return Mean(average, None)
    variance = sum((value - average) ** 2 for value in values) / (count - 1)
    return Mean(average, sqrt(variance / count))


def quantile(values: Sequence[float], level: float) -> Quantile:
    """The value below which the share `level` lies; infinite values are "never".

    The error is half the distance between the values one standard deviation of the rank away on
    either side, which assumes no distribution; None where one of them is never, or beyond the ends.
    """
    if not values:
        return Quantile(None, None)
    ordered, count = sorted(values), len(values)
    found = ordered[_index(level * count, count)]
    if found == inf:
        return Quantile(None, None)
    spread = sqrt(count * level * (1.0 - level))
    low, high = floor(level * count - spread), ceil(level * count + spread)
    if low < 1 or high > count or ordered[high - 1] == inf:
        return Quantile(found, None)
    return Quantile(found, (ordered[high - 1] - ordered[low - 1]) / 2.0)


def _index(rank: float, count: int) -> int:
    return min(count - 1, max(0, ceil(rank) - 1))
