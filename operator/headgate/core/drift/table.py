"""What one live event says about each way of drifting, looked up by its bin.

Owns the ways a feature may drift, and the bets on them with the reference's own error taken off.
Must not know when bets are placed or how they accumulate.

A way of drifting is a histogram q. One event in bin k multiplies its bet by

    e(k) = 1 + lam (q(k) / p(k) - 1 - c),    c = z sqrt(var(q / p) / m) + tolerance,

whose mean is at most 1 as long as the true histogram is the one the reference was drawn from. The
haircut c pays for a reference of m rows instead of infinitely many: with z at 1 - beta / (features
x ways), no way of any feature gains by the reference's own error, but with chance beta. Without it
a reference of 1,000 rows raised an alarm in every stream of our replays. m is the number of rows
over their design effect. What is left to win decides the stake lam = 1 - c / chi2(q, p); a way
closer than about z / sqrt(m) standard deviations has no stake: this reference cannot show it.

The normal bound does not hold for bins with a handful of rows, so p is raised there, by up to five
rows where there was none. Raising p anywhere only lowers e.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt
from statistics import NormalDist

from headgate.core.drift.profile import CategoryFeature, Feature, NumberFeature, labels, reference
from headgate.core.stats.divergence import ends, gained, normal_scores, raised, tilted

SHIFTS = (0.1, 0.25, 0.5, 1.0)  # in standard deviations, up and down
SPREADS = (0.4, -0.4)  # standard deviation times 1.3 and 0.85
TAIL = 0.02  # share of far outliers
MISSING = 0.05  # share of events that lose their value
GAIN = 0.1  # share of events that move to one bin or category
LOSS = 0.7  # share of a frequent category that moves to the others

_FAR = 0.005  # far outliers lie where the reference has at most this share
_POINTS = 0.2  # of an ordered feature's stake, for one bin gaining (a default filled in)
_FREQUENT = 8  # categories whose loss is watched
_FEW, _DOUBT = 25.0, 5.0
_LARGEST_STAKE = 0.95

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Way:
    """One way of drifting: words for it, its share of the stake, and log e by bin."""

    change: str
    stake: float
    logs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """All ways that can be claimed; `floor` is the smallest shift, in standard deviations."""

    ways: tuple[Way, ...]
    scores: tuple[float, ...]
    floor: float


@lru_cache(maxsize=1024)
def table(feature: Feature, features: int, beta: float, tolerance: float) -> Table:
    """Prepare the lookup of one feature.

    Args:
        feature: The reference.
        features: How many features are watched together; they share beta.
        beta: The chance that the reference's own error causes an alarm.
        tolerance: A shift, in standard deviations, that is accepted for good.
    """
    rows = feature.rows / feature.design_effect
    seen = reference(feature)
    known = _raised_where_few(seen, rows)
    moved = list(_ways(feature, known))
    z = _NORMAL.inv_cdf(1.0 - beta / (features * len(moved)))
    haircut = z / sqrt(rows) + tolerance
    found = [(change, stake, _logs(q, known, seen, haircut)) for change, stake, q in moved]
    usable = [one for one in found if any(one[2])]
    stakes = sum(stake for _, stake, _ in usable)
    ways = (Way(change, stake / stakes, logs) for change, stake, logs in usable)
    scores = (*normal_scores(_normal(feature.shares)), 0.0)
    return Table(tuple(ways), scores, haircut)


def _normal(shares: Sequence[float]) -> tuple[float, ...]:
    total = sum(shares)
    return tuple(share / total for share in shares) if total else tuple(shares)


def _raised_where_few(shares: Sequence[float], rows: float) -> tuple[float, ...]:
    """Add rows to bins that have few: five to none, fewer to more, none from _FEW on."""
    return tuple(share + _DOUBT * max(0.0, 1.0 - share * rows / _FEW) / rows for share in shares)


def _logs(
    moved: Sequence[float], known: Sequence[float], seen: Sequence[float], haircut: float
) -> tuple[float, ...]:
    """Log e by bin; all 0 if the reference cannot show this way."""
    total = sum(moved)
    gains = [q / total / p - 1.0 for q, p in zip(moved, known, strict=True)]
    mean = sum(p * gain for p, gain in zip(seen, gains, strict=True))
    variance = sum(p * (gain - mean) ** 2 for p, gain in zip(seen, gains, strict=True))
    off = haircut * sqrt(max(variance, 0.0))
    wins = sum(q / total * gain for q, gain in zip(moved, gains, strict=True))
    stake = min(1.0 - off / wins, _LARGEST_STAKE / (1.0 + off)) if wins > off else 0.0
    return tuple(log(1.0 + stake * (gain - off)) for gain in gains)


def _ways(
    feature: Feature, known: Sequence[float]
) -> Iterator[tuple[str, float, tuple[float, ...]]]:
    """Yield words, stake and histogram (missing last; its sum may be any) of each way."""
    match feature:
        case NumberFeature():
            yield from _in_order(known, labels(feature))
        case CategoryFeature():
            yield from _in_categories(known, labels(feature))


def _in_order(
    known: Sequence[float], names: Sequence[str]
) -> Iterator[tuple[str, float, tuple[float, ...]]]:
    present, missing = known[:-1], known[-1]
    total = sum(present)
    shares = _normal(present)
    scores = normal_scores(shares)
    shapes = [
        *(
            (f"{word} by about {size:g} sd", tilted(shares, [sign * size * s for s in scores]))
            for size in SHIFTS
            for word, sign in (("higher", 1.0), ("lower", -1.0))
        ),
        *(
            (word, tilted(shares, [spread * s * s / 2 for s in scores]))
            for word, spread in zip(("wider", "narrower"), SPREADS, strict=True)
        ),
    ]
    low, high = ends(shares, _FAR)
    for word, bins in (("low", low), ("high", high), ("low and high", low | high)):
        shapes.append((f"more {word} outliers", raised(shares, bins, TAIL)))
    for change, moved in shapes:
        factor = total / sum(moved)
        yield change, 1.0, (*(share * factor for share in moved), missing)
    everything = range(len(known))
    yield "more missing", 1.0, gained(known, everything[-1:], MISSING)
    each = _POINTS / (1.0 - _POINTS) * (len(shapes) + 1) / len(present)
    for k, name in enumerate(names):
        yield f"more in the bin up to {name}", each, gained(known, (k,), GAIN)


def _in_categories(
    known: Sequence[float], names: Sequence[str]
) -> Iterator[tuple[str, float, tuple[float, ...]]]:
    for k, name in enumerate(names):
        yield f"more {name}", 1.0, gained(known, (k,), GAIN)
    yield "more missing", 1.0, gained(known, (len(names),), MISSING)
    frequent = sorted(range(len(names)), key=lambda k: -known[k])[:_FREQUENT]
    for k in frequent:
        yield f"less {names[k]}", 1.0, _less(known, k)


def _less(known: Sequence[float], bin_: int) -> tuple[float, ...]:
    return tuple(share * (1.0 - LOSS * (k == bin_)) for k, share in enumerate(known))
