"""How much more counts scatter between units than chance alone explains.

Owns the design effect of bad counts and its confidence bound. Must not know what a unit is, where
counts come from, nor what the number is used for.

The theory, once. In a moment k each unit i has `n_ik` requests, `x_ik` of them bad. Were all units
alike, they would share the moment's rate p_k, whatever that is, and (McCullagh and Nelder 1989,
Generalized Linear Models, §4.5)

    X2 = sum over i, k of  (x_ik - n_ik p_k)^2 / (n_ik p_k (1 - p_k))

would have a mean of one for each unit but one per moment: the degrees of freedom. What X2 has in
excess is the design effect: by so much the variance of a difference between units is larger than
the binomial one, and an e-value's logarithm divided by it is honest again. Rates that move for all
units at once cancel. What lasts in a unit hardly shows over a minute and adds up over half an hour:
so blocks of several lengths are looked at, and the effect depends on for how long one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

LENGTHS = (1, 5, 30)
"""Moments per block."""

_Z95 = 1.6449
# The quantile below is within 1 % from here on (2 % too small at 6), and a bound from less would be
# a multiple of the estimate that says more about itself than about the units.
_LEAST_FREEDOM = 10

Cell = tuple[int, int]
"""Requests, and the bad ones among them, of one unit in one moment; (0, 0) if there were none."""


@dataclass(frozen=True, slots=True)
class Dispersion:
    """The design effect in blocks of `length` moments.

    `ratio` is the estimate, 1 for units that are alike; `upper` its upper 95 % bound; `freedom` the
    degrees of freedom that both rest on.
    """

    length: int
    ratio: float
    upper: float
    freedom: int


def dispersion(moments: Sequence[Sequence[Cell]], length: int) -> Dispersion | None:
    """Measure the design effect in blocks of `length` moments each.

    Every moment lists the same units in the same order. Blocks without a bad or without a good
    request tell nothing and do not count, nor does what is left over at the beginning. None if
    fewer than ten degrees of freedom remain: that is unknown, not one.
    """
    surplus, freedom = 0.0, 0
    for block in _blocks(moments, length):
        square, free = _pearson(block)
        surplus, freedom = surplus + square, freedom + free
    if freedom < _LEAST_FREEDOM:
        return None
    return Dispersion(length, surplus / freedom, surplus / low_chi_square(freedom), freedom)


def design_effect(found: Sequence[Dispersion], age: float) -> float:
    """Say by how much to divide what is counted `age` moments after the counting began; >= 1.

    `found` ascends in length and is not empty. Up to the longest block: the largest upper bound of
    the lengths up to the first that covers the age. Beyond it nothing was measured, and what lasts
    in a unit goes on adding up: so the effect grows on as fast as it is certain to have grown.
    """
    largest = 1.0
    for one in found:
        largest = max(largest, one.upper)
        if one.length >= age:
            return largest
    last, before = found[-1], found[-2] if len(found) > 1 else found[-1]
    grown = max(0.0, last.ratio - before.upper)
    return largest + grown * (age - last.length) / max(1, last.length - before.length)


def low_chi_square(freedom: int) -> float:
    """Approximate the 5 % quantile of chi-square with that many (>= 6) degrees of freedom.

    Source: Wilson and Hilferty 1931, PNAS 17: its cube root is nearly normal.
    """
    part = 2.0 / (9.0 * freedom)
    root: float = 1.0 - part - _Z95 * sqrt(part)
    return freedom * root**3


def _blocks(moments: Sequence[Sequence[Cell]], length: int) -> Sequence[Sequence[Cell]]:
    """Add up consecutive moments, unit by unit, so that the newest moment closes a block."""
    first = len(moments) % length
    if length == 1:
        return moments
    return [
        [(sum(n for n, _ in own), sum(x for _, x in own)) for own in zip(*some, strict=True)]
        for some in (moments[at : at + length] for at in range(first, len(moments), length))
    ]


def _pearson(block: Sequence[Cell]) -> tuple[float, int]:
    """X2 of one block and its degrees of freedom.

    Exact in the mean: given the sums, the counts of units that are alike are hypergeometric, whose
    variance is larger by the factor n / (n - 1) that is taken out.
    """
    seen = [(n, x) for n, x in block if n]
    requests, bad = sum(n for n, _ in seen), sum(x for _, x in seen)
    if len(seen) < 2 or not 0 < bad < requests:
        return 0.0, 0
    rate = bad / requests
    square = sum((x - n * rate) ** 2 / n for n, x in seen) / (rate * (1.0 - rate))
    return square * (requests - 1) / requests, len(seen) - 1
