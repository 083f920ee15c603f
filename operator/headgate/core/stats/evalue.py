"""E-values for one block of good/bad counts: two arms at the same moment, or one arm and a limit.

Owns the likelihood ratios and the projection on the null hypothesis. Must not know how blocks are
accumulated.

The theory, once. In a block the canary failed `x_c` of `n_c` requests and stable `x_s` of `n_s`.
Before looking, an alternative names a pair of rates (`th_c`, `th_s`), and (`p_c`, `p_s`) is the
pair in the null hypothesis that is closest to it:

    minimise  n_c KL(th_c || p_c) + n_s KL(th_s || p_s)   over the null, e.g. p_c <= p_s + margin

The likelihood ratio between both pairs is an e-value: its mean is at most 1 whatever rates in the
null are true, so a product of them over blocks exceeds 1/alpha with chance alpha at most, however
often it is looked at. Why: with A and B the mean factor of one request of each arm, the mean is
A^n_c B^n_s <= ((n_c A + n_s B) / n)^n, which is linear in the true rates inside the bracket, and
the first-order condition of the minimum says that it nowhere in the (convex) null exceeds n.
Source: Turner, Ly, Grünwald, arXiv 2106.02693 and 2302.11401; the margin is an addition.

Without requests on one arm the pair can be met exactly, so the e-value is 1: silence proves
nothing, by arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log, log1p

# Share of the otherwise good requests that fails under each alternative: .2 % .. 51 %, and 90 %.
HARM_EFFECTS = (*(0.002 * 2**j for j in range(9)), 0.9)
# Share of the margin by which the canary is worse under each alternative of the promotion test.
PROMOTION_EFFECTS = (0.0, 0.25, 0.5)

_PRIOR_REQUESTS = 20.0
_PRIOR_RATE = 0.01
_RELATIVE_ERROR = 1e-12


@dataclass(frozen=True, slots=True)
class Table:
    """A 2x2 table: bad and all requests of both arms, over the same moments."""

    canary_bad: int
    canary_requests: int
    stable_bad: int
    stable_requests: int


def running_rate(bad: int, requests: int) -> float:
    """Estimate a rate from what is known before a block; in (0, 1), and 1 % from nothing."""
    return (bad + _PRIOR_RATE * _PRIOR_REQUESTS) / (requests + _PRIOR_REQUESTS)


def project(n_c: int, th_c: float, n_s: int, th_s: float, margin: float) -> float:
    """Find stable's rate p on the edge `p_c = p + margin` that is closest to (th_c, th_s).

    Newton's method inside the bracket [th_s, th_c - margin], where the derivative changes sign.
    """
    if not margin:
        return (n_c * th_c + n_s * th_s) / (n_c + n_s)
    tiny = 1e-12
    low, high = sorted((th_s, th_c - margin))
    low, high = max(low, tiny), min(high, 1.0 - margin - tiny)
    p = (n_c * (th_c - margin) + n_s * th_s) / (n_c + n_s)
    if p <= low:  # the margin reaches below zero: start where stable's own pull ends
        pull = (1.0 - th_c) / (1.0 - margin) - th_c / margin
        p = max(low, min(high, n_s * th_s / max(n_s + n_c * pull, tiny)))
    good_c, good_s = 1.0 - th_c, 1.0 - th_s
    for _ in range(80):
        a, b = good_c / (1.0 - p - margin), th_c / (p + margin)
        c, d = good_s / (1.0 - p), th_s / p
        slope = n_c * (a - b) + n_s * (c - d)
        if slope > 0.0:
            high = p
        else:
            low = p
        bend = n_c * (a * a / good_c + b * b / th_c) + n_s * (c * c / good_s + d * d / th_s)
        new = p - slope / bend
        if not low <= new <= high:
            new = 0.5 * (low + high)
        if abs(new - p) <= _RELATIVE_ERROR * new:
            return new
        p = new
    return p


def log_ratio(table: Table, th_c: float, th_s: float, margin: float) -> float:
    """Log e-value of one block for one alternative; 0 without requests on either arm.

    `th_c > th_s + margin` tests "canary at most `margin` worse", `th_c < th_s + margin` tests
    "canary at least `margin` worse".
    """
    n_c, n_s = table.canary_requests, table.stable_requests
    if not n_c or not n_s:
        return 0.0
    p_s = project(n_c, th_c, n_s, th_s, margin)
    p_c = p_s + margin
    return (
        table.canary_bad * log(th_c / p_c)
        + (n_c - table.canary_bad) * log((1.0 - th_c) / (1.0 - p_c))
        + table.stable_bad * log(th_s / p_s)
        + (n_s - table.stable_bad) * log((1.0 - th_s) / (1.0 - p_s))
    )


def _inside(rate: float, margin: float) -> float:
    """Keep an estimate where the null hypothesis' edge still exists; any estimate is valid."""
    return min(rate, 0.999 * (1.0 - margin))


def harm_logs(table: Table, stable_rate: float, margin: float) -> Sequence[float]:
    """Log e-values of one block against "p_c <= p_s + margin", one per effect size."""
    th_s = _inside(stable_rate, margin)
    edge = th_s + margin
    return [log_ratio(table, edge + (1.0 - edge) * effect, th_s, margin) for effect in HARM_EFFECTS]


def promotion_logs(table: Table, stable_rate: float, margin: float) -> Sequence[float]:
    """Log e-values of one block against "p_c >= p_s + margin", one per effect size."""
    th_s = _inside(stable_rate, margin)
    return [log_ratio(table, th_s + margin * part, th_s, margin) for part in PROMOTION_EFFECTS]


@lru_cache(maxsize=64)
def _limit_factors(limit: float) -> tuple[tuple[float, float], ...]:
    rates = [limit + (1.0 - limit) * effect for effect in HARM_EFFECTS]
    return tuple((log(th / limit), log1p(-th) - log1p(-limit)) for th in rates)


def limit_logs(bad: int, requests: int, limit: float) -> Sequence[float]:
    """Log e-values of one arm against "its rate is at most `limit`" (0 < limit < 1)."""
    good = requests - bad
    return [bad * on_bad + good * on_good for on_bad, on_good in _limit_factors(limit)]
