"""How many requests a proof takes, and how high a rate may be.

Owns the information rates and confidence bounds. Must not know what the numbers are for.
"""

from __future__ import annotations

from math import ceil, inf, log, log1p, sqrt

from headgate.core.stats.evalue import project


def divergence(rate: float, other: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli rates, in nats per request."""
    bad = rate * log(rate / other) if rate > 0.0 else 0.0
    good = (1.0 - rate) * (log1p(-rate) - log1p(-other)) if rate < 1.0 else 0.0
    return bad + good


def information(rate: float, margin: float, stable_per_canary: float) -> float:
    """Nats per canary request against "worse by `margin`", when both arms fail at `rate`.

    `stable_per_canary` is how many stable requests come with each canary request (may be inf).
    """
    rate = min(max(rate, 1e-9), 0.999 * (1.0 - margin))
    if stable_per_canary == inf:
        return divergence(rate, rate + margin)
    scale = 1_000_000
    p = project(scale, rate, max(1, round(scale * stable_per_canary)), rate, margin)
    return divergence(rate, p + margin) + stable_per_canary * divergence(rate, p)


def requests_to_prove(
    rate: float, margin: float, log_missing: float, stable_per_canary: float = inf
) -> int:
    """Canary requests that add `log_missing` nats of proof; at least 1."""
    return max(1, ceil(log_missing / information(rate, margin, stable_per_canary)))


def upper_bound(bad: int, requests: int, z: float = 1.96) -> float:
    """Wilson's upper confidence bound of a rate (97.5 % one-sided by default); 1 of nothing.

    Source: E. B. Wilson, 1927, JASA 22.
    """
    if not requests:
        return 1.0
    rate, doubt = bad / requests, z * z / requests
    centre = rate + doubt / 2.0
    spread = z * sqrt(rate * (1.0 - rate) / requests + doubt / (4.0 * requests))
    return min(1.0, (centre + spread) / (1.0 + doubt))
