"""Random numbers of two kinds, from chance that is passed in.

Owns how they are drawn. Must not know what they stand for, nor where chance comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, log1p, sqrt
from typing import Protocol

_EXACT_MEAN = 50.0
_EXACT_VARIANCE = 400.0


class Chance(Protocol):
    """What is drawn from; `random.Random` is one."""

    def random(self) -> float:
        """Draw from [0, 1)."""

    def uniform(self, a: float, b: float) -> float:
        """Draw evenly between two bounds."""

    def gauss(self, mu: float, sigma: float) -> float:
        """Draw from a normal distribution."""

    def expovariate(self, lambd: float) -> float:
        """Draw from an exponential distribution."""


Streams = Callable[[str], Chance]
"""Gives the stream of a name; the same name always gives one that begins alike."""


def poisson(mean: float, chance: Chance) -> int:
    """Draw a Poisson number: exact up to a mean of 50, then by its normal limit."""
    if mean > _EXACT_MEAN:
        return max(0, round(chance.gauss(mean, sqrt(mean))))
    number, left = 0, chance.expovariate(1.0)
    while left < mean:
        number, left = number + 1, left + chance.expovariate(1.0)
    return number


def binomial(trials: int, rate: float, chance: Chance) -> int:
    """Draw a binomial number: exact up to a variance of 400, then by its normal limit."""
    if rate > 0.5:
        return trials - binomial(trials, 1.0 - rate, chance)
    if rate <= 0.0 or not trials:
        return 0
    variance = trials * rate * (1.0 - rate)
    if variance > _EXACT_VARIANCE:
        return min(trials, max(0, round(chance.gauss(trials * rate, sqrt(variance)))))
    found, at, gap = 0, 0, log1p(-rate)
    while True:  # jump from success to success
        at += int(log(1.0 - chance.random()) / gap) + 1
        if at > trials:
            return found
        found += 1
