"""E-values for one block of two histograms: is the canary's distribution higher than stable's?

Owns the alternatives (how a distribution may become slower) and their likelihood ratios. Must not
know units or what the buckets hold.

Null hypothesis: the canary is not stochastically higher, i.e. for every edge the share above it is
at most stable's. An alternative (q, th) is a histogram for each arm whose ratio q/th never falls
from bucket to bucket. Its closest pair in the null is then both arms at the pooled histogram
p = (n_c q + n_s th) / n, and the likelihood ratio is an e-value by the argument in `evalue`: with
r = q/p, which also never falls, the bracket is n + n_c (E_canary[r] - E_stable[r]) <= n.
Source: facts of the 2xK test as in `evalue`; the monotone ratio is what extends it to an order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from math import inf, log, log1p

STRETCHES = (1.1, 1.25, 1.5, 2.0, 3.0)  # everything takes this much longer
TAILS = (0.005, 0.02, 0.08, 0.3)  # this share of requests moves beyond stable's usual range
ALTERNATIVES = len(STRETCHES) + len(TAILS)

_USUAL = 0.9  # the tail starts in the bucket after stable's 90th percentile


@dataclass(frozen=True, slots=True)
class Alternative:
    """Per bucket: the ratio q/th less one, and its logarithm."""

    excess: tuple[float, ...]
    log_ratio: tuple[float, ...]


def estimate(counts: Sequence[int]) -> tuple[float, ...]:
    """Estimate a histogram's shares from what is known before a block; all above 0, sum 1.

    One request's worth of doubt is spread evenly over the buckets.
    """
    total = sum(counts) + 1.0
    return tuple((count + 1.0 / len(counts)) / total for count in counts)


def _cumulative(shares: Sequence[float], edges: Sequence[float], at: float) -> float:
    """Share at or below `at` (at most the last finite edge), straight lines within buckets."""
    below, floor = 0.0, 0.0
    for share, edge in zip(shares, edges, strict=True):
        if at < edge:
            return below + share * (at - floor) / (edge - floor) if at > floor else below
        below, floor = below + share, edge
    return below


def _stretched(shares: Sequence[float], edges: Sequence[float], factor: float) -> list[float]:
    cumulated = [0.0]
    cumulated += [_cumulative(shares, edges, edge / factor) for edge in edges if edge < inf]
    cumulated.append(1.0)
    return [max(0.0, high - low) for low, high in pairwise(cumulated)]


def _with_tail(shares: Sequence[float], mass: float) -> list[float]:
    usual = next(k for k, below in enumerate(accumulate(shares)) if below >= _USUAL)
    first = min(usual + 1, len(shares) - 1)
    extra = mass / (len(shares) - first)
    return [(1.0 - mass) * share + extra * (k >= first) for k, share in enumerate(shares)]


def _monotone(moved: Sequence[float], shares: Sequence[float]) -> Alternative:
    """Force the ratio never to fall, without which the test would not be valid."""
    ratios = list(accumulate((q / th for q, th in zip(moved, shares, strict=True)), max))
    ratios = [max(ratio, 1e-9) for ratio in ratios]
    total = sum(ratio * th for ratio, th in zip(ratios, shares, strict=True))
    return Alternative(
        tuple(ratio / total - 1.0 for ratio in ratios),
        tuple(log(ratio / total) for ratio in ratios),
    )


@lru_cache(maxsize=512)
def alternatives(known: tuple[int, ...], edges: tuple[float, ...]) -> tuple[Alternative, ...]:
    """List the slower histograms, given stable's counts so far and the buckets' upper bounds.

    `edges` ascend and end with infinity; their unit does not matter.
    """
    shares = estimate(known)

    def moved() -> Iterator[list[float]]:
        yield from (_stretched(shares, edges, factor) for factor in STRETCHES)
        yield from (_with_tail(shares, mass) for mass in TAILS)

    return tuple(_monotone(histogram, shares) for histogram in moved())


def shape_logs(
    canary: Sequence[int], stable: Sequence[int], slower: Sequence[Alternative]
) -> Sequence[float]:
    """Log e-values of one block against "canary not slower", one per alternative.

    0 without requests on either arm.
    """
    n_c, n_s = sum(canary), sum(stable)
    if not n_c or not n_s:
        return [0.0] * len(slower)
    part = n_c / (n_c + n_s)
    seen = [(k, c, c + s) for k, (c, s) in enumerate(zip(canary, stable, strict=True)) if c or s]
    return [
        sum(c * alt.log_ratio[k] - both * log1p(part * alt.excess[k]) for k, c, both in seen)
        for alt in slower
    ]
