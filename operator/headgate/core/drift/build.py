"""Make a reference profile of columns of training data.

Owns where the edges lie and how many categories are named. Must not know files.

Edges are cut at quantiles with fine tails: with ten equal bins, 2 % of far outliers were never
found in our replays. Each edge lies between two values that occur, so that neither 32-bit floats
nor a last digit move a frequent value to the next bin. A value that is the smallest one and
frequent gets an edge below it too: what falls under the training range is then seen.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import Any, Literal

from headgate.core.drift.bins import binner, category_of
from headgate.core.drift.profile import (
    MAX_CATEGORIES,
    MAX_FEATURES,
    MAX_NAME,
    OTHER,
    CategoryFeature,
    Feature,
    NumberFeature,
    Profile,
    ProfileError,
)
from headgate.core.stats.divergence import normal_scores

QUANTILES = (0.002, 0.01, 0.05, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.95, 0.99, 0.998)
_SHARE_DECIMALS = 9


@dataclass(frozen=True, slots=True)
class Column:
    """A feature's values, one per row, in the order of the rows; None is missing."""

    name: str
    kind: Literal["number", "category"]
    values: Sequence[Any]


def build(
    columns: Sequence[Column],
    predictions: Column | None = None,
    groups: Sequence[Hashable] | None = None,
) -> Profile:
    """Describe columns of equally many rows.

    Args:
        columns: The model's inputs, in its order.
        predictions: What the model answered for the same rows.
        groups: For each row the session, user or day that it shares with rows like it; gives the
            design effects, which are 1 without.

    Raises:
        ProfileError: No rows, columns of different lengths, too many features, or a column
            without a single value.
    """
    everything = [*columns, *([] if predictions is None else [predictions])]
    rows = len(everything[0].values) if everything else 0
    if not rows:
        raise ProfileError("rows: wanted at least 1, found 0")
    if len(columns) > MAX_FEATURES:
        raise ProfileError(f"features: wanted at most {MAX_FEATURES}, found {len(columns)}")
    for column in everything:
        if len(column.values) != rows:
            raise ProfileError(f"{column.name}: wanted {rows} rows, found {len(column.values)}")
    features = [_feature(column, groups) for column in everything]
    known = features.pop() if predictions is not None else None
    return Profile(rows=rows, features=tuple(features), predictions=known)


def _feature(column: Column, groups: Sequence[Hashable] | None) -> Feature:
    """Choose the bins, then count the rows in them."""
    bare: Feature
    if column.kind == "number":
        edges = choose_edges(column.values)
        if not edges:
            raise ProfileError(f"{column.name}: wanted a number in at least one row, found none")
        bare = NumberFeature(column.name, len(column.values), edges, (0.0,) * (len(edges) + 1))
    else:
        names = choose_categories(column.values)
        if not names:
            raise ProfileError(f"{column.name}: wanted a category in at least one row, found none")
        bare = CategoryFeature(column.name, len(column.values), names, (0.0,) * (len(names) + 1))
    return _with_shares(bare, list(map(binner(bare), column.values)), groups)


def _with_shares(bare: Feature, bins: Sequence[int], groups: Sequence[Hashable] | None) -> Feature:
    found = Counter(bins)
    width = len(bare.shares)
    shares = tuple(round(found[k] / len(bins), _SHARE_DECIMALS) for k in range(width))
    missing = round(found[width] / len(bins), _SHARE_DECIMALS)
    ordered = isinstance(bare, NumberFeature)
    effect = 1.0 if groups is None else design_effect(bins, groups, width + 1, ordered)
    match bare:
        case NumberFeature(name, rows, edges):
            return NumberFeature(name, rows, edges, shares, missing, effect)
        case CategoryFeature(name, rows, categories):
            return CategoryFeature(name, rows, categories, shares, missing, effect)


def choose_edges(values: Sequence[Any]) -> tuple[float, ...]:
    """Cut at the quantiles, between values that occur; nothing without a finite number."""
    numbers = sorted(filter(isfinite, map(_finite, values)))
    if not numbers:
        return ()
    lows = [numbers[max(0, ceil(share * len(numbers)) - 1)] for share in QUANTILES]
    edges = {_above(numbers, low) for low in lows}
    if lows[0] == numbers[0]:
        edges.add(_below(numbers))
    return tuple(sorted(filter(isfinite, edges)))


def _finite(value: Any) -> float:
    """Return the value as a float, infinity if it is none or too large."""
    try:
        return float(value) if isinstance(value, int | float) else inf
    except OverflowError:
        return inf


def _above(numbers: Sequence[float], low: float) -> float:
    """Put an edge above a value: below the next larger one, or half a gap beyond the last."""
    following = bisect_right(numbers, low)
    if following < len(numbers):
        return _between(low, numbers[following])
    first = bisect_left(numbers, low)
    return _between(low, low + (low - numbers[first - 1] if first else _width(low)))


def _below(numbers: Sequence[float]) -> float:
    low = numbers[0]
    following = bisect_right(numbers, low)
    gap = numbers[following] - low if following < len(numbers) else _width(low)
    return _between(low - gap, low)


def _width(only: float) -> float:
    """How far a feature that never changes may go before it leaves its bin, twice."""
    return max(1.0, abs(only))


def _between(low: float, high: float) -> float:
    """Return the middle with as few digits as stay strictly between; `low` if nothing does."""
    middle = low / 2 + high / 2
    for digits in range(1, 18):
        rounded = float(f"{middle:.{digits}g}")
        if low < rounded < high:
            return rounded
    return low


def choose_categories(values: Sequence[Any]) -> tuple[str, ...]:
    """Name the most frequent categories, equally frequent ones in order of their names."""
    found = Counter(map(category_of, values))
    usable = [
        (-count, name)
        for name, count in found.items()
        if name is not None and name != OTHER and len(name) <= MAX_NAME and name.isprintable()
    ]
    return tuple(name for _, name in sorted(usable)[:MAX_CATEGORIES])


def design_effect(
    bins: Sequence[int], groups: Sequence[Hashable], width: int, ordered: bool
) -> float:
    """Return how many rows count as one, at least 1.

    The variance of the groups' totals against that of as many independent rows: pooled over all
    bins (Pearson), and for an ordered feature also in the direction of a shift, where rows of a
    group are often more alike. The larger of the two.
    Source: Rao, Scott (1981), The Analysis of Categorical Data from Complex Sample Surveys.
    """
    total = Counter(bins)
    shares = [total[k] / len(bins) for k in range(width)]
    members: dict[Hashable, Counter[int]] = defaultdict(Counter)
    for bin_, group in zip(bins, groups, strict=True):
        members[group][bin_] += 1
    used = [k for k in range(width) if total[k]]
    if len(used) < 2:
        return 1.0
    pooled = shift = 0.0
    scores = normal_scores(shares)
    spread = sum(share * score * score for share, score in zip(shares, scores, strict=True))
    for inside in members.values():
        size = inside.total()
        pooled += sum((inside[k] - size * shares[k]) ** 2 / shares[k] for k in used)
        shift += sum(count * scores[k] for k, count in inside.items()) ** 2
    effects = [1.0, pooled / (len(bins) * (len(used) - 1))]
    if ordered and spread:
        effects.append(shift / (len(bins) * spread))
    return round(max(effects), 3)
