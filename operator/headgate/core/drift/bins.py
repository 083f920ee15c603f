"""From a value to its bin, and from rows to counts.

Owns what counts as a number, a category and as missing. Must not know where rows come from.

| value                   | in a number feature            | in a category feature         |
|-------------------------|--------------------------------|-------------------------------|
| absent, null, NaN       | missing                        | missing                       |
| number, of any size     | its bin; beyond the edges: the | its text, 1.0 and 1 alike     |
|                         | first or last (infinity too)   |                               |
| true, false             | 1, 0                           | "true", "false"               |
| text                    | missing                        | itself, True as true; "" is   |
|                         |                                | missing                       |
| a list, an object       | missing                        | missing                       |
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from math import isnan
from typing import Any

from headgate.core.drift.profile import OTHER, CategoryFeature, Feature, NumberFeature

Counts = tuple[int, ...]
"""Events per bin of a feature, the missing ones last; replicas and hours add."""

_NUMBERS = frozenset((int, float, bool))
_TEXTS = frozenset((str, type(None)))
_FULL = 512  # texts longer than any category's name are not worth a look


def size(feature: Feature) -> int:
    """Number of bins, the missing one included."""
    return len(feature.shares) + 1


def add(one: Sequence[int], other: Sequence[int]) -> Counts:
    """Merge the counts of two replicas, or of two spans of time."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def category_of(value: object) -> str | None:
    """Return the text that stands for a category; None if it is missing."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text_category(value)
        case int():
            return str(value) if abs(value) < 10**18 else OTHER
        case float():
            if isnan(value):
                return None
            return repr(value).removesuffix(".0")
    return None


def _text_category(text: str) -> str | None:
    if text in ("True", "False"):  # as Python writes what JSON calls true
        return text.lower()
    whole = text.removesuffix(".0")
    if whole != text and whole.lstrip("-").isdecimal():
        return whole
    return text[:_FULL] or None


def binner(feature: Feature) -> Callable[[object], int]:
    """Return the function that puts one value into its bin."""
    missing = len(feature.shares)
    match feature:
        case NumberFeature(edges=edges):

            def number(value: Any) -> int:
                if type(value) not in _NUMBERS or value != value:
                    return missing
                return bisect_left(edges, value)

            return number
        case CategoryFeature(categories=categories):
            index, other = _index(categories), missing - 1

            def category(value: object) -> int:
                known = index.get(value) if type(value) is str else None
                if known is not None:
                    return known
                text = category_of(value)
                return missing if text is None else index.get(text, other)

            return category


def _index(categories: Sequence[str]) -> Mapping[str, int]:
    """Map each category, and the form in which a request may carry it, to its bin."""
    forms = {category_of(name) or name: k for k, name in enumerate(categories)}
    return forms | {name: k for k, name in enumerate(categories)}


def count(feature: Feature, values: Sequence[Any]) -> Counts:
    """Count a column of values, the missing ones last.

    Columns of plain numbers or of texts are counted without a Python step per value.
    """
    if isinstance(feature, NumberFeature) and _is_plain(values):
        bins = bytes(map(bisect_left, repeat(feature.edges), values))
        return (*map(bins.count, range(len(feature.shares))), 0)
    bin_of = binner(feature)
    found: Counter[int] = Counter()
    if _TEXTS.issuperset(map(type, values)):
        for value, times in Counter(values).items():
            found[bin_of(value)] += times
    else:
        found.update(map(bin_of, values))
    return tuple(found[k] for k in range(size(feature)))


def _is_plain(values: Sequence[Any]) -> bool:
    """Whether all are numbers and none is NaN: then their sum is a number too."""
    try:
        total = sum(values)
    except (TypeError, OverflowError):
        return False
    return bool(total == total)


def count_rows(features: Sequence[Feature], rows: Sequence[object]) -> tuple[Counts, ...]:
    """Count rows, one tuple per feature.

    An object's fields are taken by name, a list's items by position, and anything else is a row of
    one value. What a row lacks is missing; what it has beyond the features is ignored.
    """
    if rows and all(type(row) is list and len(row) == len(features) for row in rows):
        columns = zip(*rows, strict=True)
    else:
        columns = zip(*(_cells(features, row) for row in rows), strict=True)
    found = tuple(count(one, column) for one, column in zip(features, columns, strict=False))
    return found or tuple((0,) * size(one) for one in features)


def _cells(features: Sequence[Feature], row: object) -> Sequence[object]:
    if isinstance(row, Mapping):
        return [row.get(one.name) for one in features]
    cells = row if isinstance(row, list | tuple) else [row]
    wanted = len(features)
    return cells if len(cells) == wanted else [*cells[:wanted], *[None] * (wanted - len(cells))]
