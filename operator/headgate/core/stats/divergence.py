"""E-values for one block of two histograms: do canary and stable differ, in whatever way?

Owns the alternatives (how a distribution may differ) and their likelihood ratios. Must not know
what the bins hold.

Null hypothesis: both arms draw from one distribution, which may be another one in every block. An
alternative is a pair of histograms (q for the canary, th for stable); its closest pair in the null
is both arms at the pooled histogram p = (n_c q + n_s th) / n. The likelihood ratio of the pair
against (p, p) is an e-value: with the true histogram r, the mean factor of one canary event is
A = sum r q / p, of a stable one B = sum r th / p, and n_c A + n_s B = n sum r p / p = n, so that
A^n_c B^n_s <= ((n_c A + n_s B) / n)^n = 1 by the inequality of means.
Source: Turner, Ly, Grünwald, arXiv 2106.02693 and 2302.11401. `shape` tests one direction only;
here neither side is better, so q may be any histogram.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import accumulate
from math import exp, log
from statistics import NormalDist

from headgate.core.stats.shape import Alternative, estimate, shape_logs

TILTS = (0.1, 0.25, 0.5, 1.0)  # a shift by so many standard deviations, up and down
SPREADS = (0.4, -0.4)  # wider and narrower: standard deviation times 1.3 and 0.85
TAILS = (0.02, 0.15)  # this share of events moves to the low end, the high end, to both
GAINS = (0.15, 0.02, 0.4, 0.06, 0.005, 0.8, 0.25, 0.1)  # this share moves to a category
BUMPS = (0.05, 0.2, 0.01)  # this share moves to a few neighbouring bins

_END = 0.05  # an end is the bins with together at most this share, or the outermost one
_GROUPS = 8  # categories that are tried one by one; more share a group
_RARE = 0.01  # categories rarer than this are one group

ALTERNATIVES = 2 * len(TILTS) + len(SPREADS) + 3 * len(TAILS) + _GROUPS

_NORMAL = NormalDist()


def normal_scores(shares: Sequence[float]) -> tuple[float, ...]:
    """Give each bin the normal score of its middle rank, shifted to mean 0; all 0 in one bin."""
    scores, below = [], 0.0
    for share in shares:
        middle = min(max(below + share / 2, 1e-9), 1.0 - 1e-9)
        scores.append(_NORMAL.inv_cdf(middle))
        below += share
    mean = sum(share * score for share, score in zip(shares, scores, strict=True))
    return tuple(score - mean for score in scores)


@lru_cache(maxsize=512)
def alternatives(known: tuple[int, ...], ordered: bool) -> tuple[Alternative, ...]:
    """List how the canary's histogram may differ, given stable's counts so far.

    Args:
        known: Stable's counts in K bins, from before the block.
        ordered: Whether neighbouring bins hold neighbouring values; else they are categories.

    Returns:
        Always ALTERNATIVES entries; in a single bin all of them say "no difference".
    """
    shares = estimate(known)
    moved = _in_order(shares) if ordered else _in_categories(shares)
    return tuple(_against(histogram, shares) for histogram in moved)


def _against(moved: Sequence[float], shares: Sequence[float]) -> Alternative:
    total = sum(moved)
    ratios = [q / total / th for q, th in zip(moved, shares, strict=True)]
    return Alternative(
        tuple(ratio - 1.0 for ratio in ratios), tuple(log(ratio) for ratio in ratios)
    )


def _in_order(shares: Sequence[float]) -> Iterator[Sequence[float]]:
    scores = normal_scores(shares)
    for tilt in (sign * size for size in TILTS for sign in (1.0, -1.0)):
        yield tilted(shares, [tilt * score for score in scores])
    for spread in SPREADS:
        yield tilted(shares, [spread * score * score / 2 for score in scores])
    low, high = ends(shares, _END)
    for gain in TAILS:
        yield from (raised(shares, bins, gain) for bins in (low, high, {*low, *high}))
    width = -(-len(shares) // _GROUPS)
    places = [range(k, min(k + width, len(shares))) for k in range(0, len(shares), width)]
    for j in range(_GROUPS):
        turn, place = divmod(j, len(places))
        yield gained(shares, places[place], BUMPS[turn % len(BUMPS)])


def _in_categories(shares: Sequence[float]) -> Iterator[Sequence[float]]:
    groups = _grouped(shares)
    for j in range(ALTERNATIVES):
        turn, group = divmod(j, len(groups))
        yield gained(shares, groups[group], GAINS[turn % len(GAINS)])


def tilted(shares: Sequence[float], exponents: Sequence[float]) -> tuple[float, ...]:
    """Weigh each bin by e to its exponent; the sum may be any."""
    return tuple(share * exp(x) for share, x in zip(shares, exponents, strict=True))


def ends(shares: Sequence[float], most: float) -> tuple[AbstractSet[int], AbstractSet[int]]:
    """Return the bins at the low and at the high end: with at most this share, or the last one."""
    return _end(shares, most), frozenset(len(shares) - 1 - k for k in _end(shares[::-1], most))


def _end(shares: Sequence[float], most: float) -> AbstractSet[int]:
    return frozenset(k for k, below in enumerate(accumulate(shares)) if not k or below <= most)


def raised(shares: Sequence[float], bins: AbstractSet[int], gain: float) -> tuple[float, ...]:
    """Move a share of all events into some bins, equally many into each."""
    extra = gain / len(bins)
    return tuple((1.0 - gain) * share + extra * (k in bins) for k, share in enumerate(shares))


def gained(shares: Sequence[float], bins: Sequence[int], gain: float) -> tuple[float, ...]:
    """Move a share of all events into some bins, in their proportion."""
    there = sum(shares[k] for k in bins)
    return tuple(
        (1.0 - gain) * share + gain * share / there * (k in bins) for k, share in enumerate(shares)
    )


def _grouped(shares: Sequence[float]) -> Sequence[Sequence[int]]:
    """Group categories into at most _GROUPS: the frequent ones dealt out, the rare together."""
    order = sorted(range(len(shares)), key=lambda k: -shares[k])
    if len(order) <= _GROUPS:
        return [(k,) for k in order]
    frequent = [k for k in order if shares[k] >= _RARE]
    rare = order[len(frequent) :]
    dealt = _GROUPS - bool(rare)
    return [group for group in (*(frequent[k::dealt] for k in range(dealt)), rare) if group]


def divergence_logs(
    canary: Sequence[int], stable: Sequence[int], differing: Sequence[Alternative]
) -> Sequence[float]:
    """Log e-values of one block against "both arms alike", one per alternative.

    0 without events on either arm. The same ratio to the pooled histogram as in `shape`.
    """
    return shape_logs(canary, stable, differing)
