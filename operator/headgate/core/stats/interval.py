"""Intervals for a Bernoulli rate that may be looked at as often as one likes.

Owns the mixture and its inversion. Must not know what is counted, nor any limit.

The theory, once. If each of n requests fails with chance p, the ratio

    M(p) = integral of t^x (1-t)^(n-x) dBeta(a, b)(t)  /  p^x (1-p)^(n-x)
         = B(a + x, b + n - x) / B(a, b)  /  p^x (1-p)^(n-x)

of x failures is a martingale with mean 1, so by Ville's inequality it ever reaches 1/alpha with
chance alpha at most. The rates p that it has not refuted so, { p : M(p) < 1/alpha }, are an
interval, because log M is convex in p with its minimum at x/n; it holds the true rate at all times
at once with chance 1 - alpha or more.
Source: H. Robbins, 1970, Statistical methods related to the law of the iterated logarithm, Annals
of Mathematical Statistics 41 (mixtures); Howard, Ramdas, McAuliffe, Sekhon, 2021, Annals of
Statistics 49 (the beta-binomial mixture as a confidence sequence).

What it takes: one rate. Requests must fail independently, with a chance that stays the same. If it
varies, the interval need not hold the average of the chances so far. Of the difference of two arms
one thing more is to be had: a base rate that moves for both arms while their shares of traffic
move too shows as a difference where there is none. So counts should come from a time of one
weight, or the block tests in `evalue`, which allow any common drift, should decide alongside.

Requests that share a fate (those of one pod) say less than as many independent ones. So log M is
divided by their design effect before it is held against log(1/alpha), as the e-values are that
decide: for independent requests M^(1/phi) has a mean of at most 1 still (Jensen), so that the
interval only widens, by about sqrt(phi).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, lgamma, log, log1p

# Half a failure and half a success (Jeffreys): fixed beforehand, as it has to be.
_A = 0.5
_B = 0.5
_HALVINGS = 44  # to 6e-14, well below one failure in any count that fits a counter


@dataclass(frozen=True, slots=True)
class Interval:
    """All values from `low` to `high`, both included."""

    low: float
    high: float


def log_mixture(bad: int, requests: int, rate: float) -> float:
    """Log of M(rate): the evidence against "each request fails with chance `rate`".

    0 without requests; infinite where the counts are impossible (failures at rate 0).
    """
    good = requests - bad
    if (bad and rate <= 0.0) or (good and rate >= 1.0):
        return inf
    mixed = _log_beta(_A + bad, _B + good) - _log_beta(_A, _B)
    likely = (bad * log(rate) if bad else 0.0) + (good * log1p(-rate) if good else 0.0)
    return mixed - likely


def rate_interval(bad: int, requests: int, alpha: float, design_effect: float = 1.0) -> Interval:
    """Bound a failure rate, at all looks together, with chance `1 - alpha`; [0, 1] from nothing.

    `design_effect` (>= 1) is how many times as much the counts vary as those of independent
    requests. Raises ValueError if there are more failures than requests, `alpha` is not in (0, 1)
    or the design effect is below 1.
    """
    if not 0 <= bad <= requests or not 0.0 < alpha < 1.0 or not design_effect >= 1.0:
        counts = f"{bad} of {requests}, alpha {alpha}, design effect {design_effect}"
        raise ValueError(f"wanted 0 <= bad <= requests, found {counts}")
    if not requests:
        return Interval(0.0, 1.0)
    limit = -log(alpha) * design_effect
    seen = bad / requests

    def refuted(rate: float) -> bool:
        return log_mixture(bad, requests, rate) >= limit

    low = _edge(seen, 0.0, refuted) if bad else 0.0
    high = _edge(seen, 1.0, refuted) if bad < requests else 1.0
    return Interval(low, high)


def difference_interval(
    canary_bad: int,
    canary_requests: int,
    stable_bad: int,
    stable_requests: int,
    alpha: float,
    design_effect: float = 1.0,
) -> Interval:
    """Bound p_c - p_s, at all looks together, with chance `1 - alpha`; [-1, 1] from nothing.

    All differences of two rates that neither arm's own test has refuted. Each arm gets half of
    `alpha`, so that the bound needs no word on how the arms depend on each other (Bonferroni). One
    test of both arms, inverted over the difference, pays for both arms' unknown rates at once: with
    20 times as many requests of stable it is a fifth wider, with equally many a tenth narrower.
    `design_effect` and ValueError as in `rate_interval`.
    """
    canary = rate_interval(canary_bad, canary_requests, alpha / 2.0, design_effect)
    stable = rate_interval(stable_bad, stable_requests, alpha / 2.0, design_effect)
    return Interval(canary.low - stable.high, canary.high - stable.low)


def _edge(inside: float, outside: float, refuted: Callable[[float], bool]) -> float:
    """Bisect between a rate that is not refuted and one that is; errs towards a wider interval."""
    for _ in range(_HALVINGS):
        middle = 0.5 * (inside + outside)
        if refuted(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
