"""The Mann-Whitney interval for a shift between two samples, as Kayenta computes it.

Owns the statistic, its tie correction and the root finding. Must not know metrics or thresholds.
Source: spinnaker/kayenta a69573b, kayenta-mannwhitney, which follows R's `wilcox.test`.

For a shift s, W(s) compares x - s with y: the rank sum of x - s, centred and divided by its
standard deviation, with half a point of continuity correction. W falls in steps as s grows; the
interval's ends are where it crosses +z and -z, the estimate (Hodges-Lehmann) where it crosses 0.
Two traits of the original matter for small samples and are kept: an end that W never reaches is
put at the extreme difference instead of at infinity, and a root is exact to 1e-4 only, in the
unit of the data.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import sqrt
from statistics import NormalDist

_ROOT_TOLERANCE = 1e-4
_EPSILON = 2.220446049250313e-16
_MOST_STEPS = 1000


class AllTied(ArithmeticError):
    """Every value is the same, so that there is no interval; Kayenta's judge says Error."""


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much x is higher than y: an interval and an estimate, in the unit of the data."""

    lower: float
    upper: float
    estimate: float


def shift(x: Sequence[float], y: Sequence[float], confidence: float) -> Shift:
    """Compute the interval; both samples have at least one value and no NaN.

    Raises:
        AllTied: At an end of the range all values coincide, as for one value against one.
    """
    low, high = min(x) - max(y), max(x) - min(y)
    ordered = sorted(x), sorted(y)
    z = NormalDist().inv_cdf(0.5 * (1.0 - confidence))

    def root(quantile: float) -> float:
        at_low, at_high = (standardised(*ordered, end) - quantile for end in (low, high))
        if quantile and at_low <= 0.0:
            return low
        if quantile and at_high >= 0.0:
            return high
        return brent(lambda by: standardised(*ordered, by) - quantile, low, high, at_low, at_high)

    return Shift(root(-z), root(z), root(0.0))


def standardised(x: Sequence[float], y: Sequence[float], by: float) -> float:
    """Standardise the rank sum of x, lowered by `by`, among itself and y; both are sorted."""
    m, n = len(x), len(y)
    lowered = [value - by for value in x]
    pooled = sorted([*lowered, *y])
    ranks = 0.0
    for value, group in groupby(lowered):
        first, last = bisect_left(pooled, value), bisect_right(pooled, value)
        ranks += 0.5 * (first + last + 1) * sum(1 for _ in group)
    above = ranks - m * (m + 1) / 2 - m * n / 2
    variance = m * n / 12 * (m + n + 1 - _ties(pooled) / ((m + n) * (m + n - 1)))
    if variance == 0.0:
        raise AllTied(f"all of {m} and {n} values are the same")
    correction = 0.5 * ((above > 0.0) - (above < 0.0))
    return (above - correction) / sqrt(variance)


def _ties(pooled: Sequence[float]) -> int:
    if len(set(pooled)) == len(pooled):
        return 0
    sizes = (sum(1 for _ in group) for _, group in groupby(pooled))
    return sum(size**3 - size for size in sizes)


def brent(
    function: Callable[[float], float], low: float, high: float, at_low: float, at_high: float
) -> float:
    """Find where a function crosses zero between two points at which it has opposite signs.

    Brent's method with the original's tolerance; on a step function, which step it stops at is
    part of the rule, so the order of operations is kept as well. If the signs do not differ, it
    ends somewhere in the range, as the original does.
    Source: Brent (1973), Algorithms for Minimization without Derivatives, ch. 4 (zeroin).
    """
    if at_low == 0.0:
        return low
    if at_high == 0.0:
        return high
    a, b, fa, fb = low, high, at_low, at_high
    c, fc = a, fa
    for _ in range(_MOST_STEPS + 1):
        before = b - a
        if abs(fc) < abs(fb):
            a, b, c = b, c, b
            fa, fb, fc = fb, fc, fb
        tolerance = 2.0 * _EPSILON * abs(b) + 0.5 * _ROOT_TOLERANCE
        step = 0.5 * (c - b)
        if abs(step) <= tolerance or fb == 0.0:
            return b
        if abs(before) >= tolerance and abs(fa) > abs(fb):
            step = _interpolated((a, b, c), (fa, fb, fc), before, tolerance)
        if abs(step) < tolerance:
            step = tolerance if step > 0.0 else -tolerance
        a, fa = b, fb
        b += step
        fb = function(b)
        if fb * fc > 0.0:
            c, fc = a, fa
    return b


def _interpolated(
    points: tuple[float, float, float],
    values: tuple[float, float, float],
    before: float,
    tolerance: float,
) -> float:
    """Step by a line or an inverse parabola if that stays well inside, else by halving."""
    (a, b, c), (fa, fb, fc) = points, values
    gap = c - b
    if a == c:
        ratio = fb / fa
        p, q = gap * ratio, 1.0 - ratio
    else:
        q, ratio, other = fa / fc, fb / fc, fb / fa
        p = other * (gap * q * (q - ratio) - (b - a) * (ratio - 1.0))
        q = (q - 1.0) * (ratio - 1.0) * (other - 1.0)
    p, q = abs(p), -q if p > 0.0 else q
    if p < 0.75 * gap * q - 0.5 * abs(tolerance * q) and p < abs(0.5 * before * q):
        return p / q
    return 0.5 * gap
