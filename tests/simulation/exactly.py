"""Exact arithmetic about a rule: what it does over all courses of chance, without drawing any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb, exp, lgamma, log, sqrt
from typing import Any

from headgate.simulation.peers import Minute, Rule, Verdict

HEALTHY = Minute(1000, 0, 9000, 0, 0.1, 0.1)
BROKEN = Minute(1000, 500, 9000, 0, 0.1, 0.1)
SILENT = Minute(0, 0, 9000, 0, None, 0.1)

Answers = Sequence[tuple[Minute | None, float]]
"""What a window may show, and how probable that is."""


def chances(rule: Rule[Any], answers: Answers, until: int) -> dict[Verdict, float]:
    """Enumerate every course of independent windows; the chance of each verdict at a second."""
    courses = {rule.start(): 1.0}
    for second in range(rule.interval_seconds, until + 1, rule.interval_seconds):
        following: dict[Any, float] = {}
        for state, chance in courses.items():
            for window, share in answers:
                after, _ = rule.step(state, window, second)
                following[after] = following.get(after, 0.0) + chance * share
        courses = following
    found = dict.fromkeys(Verdict, 0.0)
    for state, chance in courses.items():
        found[state.verdict] += chance
    return found


def failing(chance: float) -> Answers:
    """A window that fails by itself with this chance."""
    return [(BROKEN, chance), (HEALTHY, 1.0 - chance)]


def first_verdict(
    rule: Rule[Any], window: Callable[[int], Minute | None], pace: int = 10, until: int = 7200
) -> tuple[int, Verdict]:
    """Step at a pace; the second of the first final verdict, and the verdict."""
    state, verdict = rule.start(), Verdict.CONTINUE
    for second in range(pace, until + 1, pace):
        state, verdict = rule.step(state, window(second), second)
        if verdict is not Verdict.CONTINUE:
            return second, verdict
    return until, verdict


def failing_minute(
    base: float, rate: float, weight: int, passes: Callable[[Minute], bool]
) -> float:
    """The chance that a healthy canary's minute fails: Poisson numbers of good and bad requests.

    For a number of bad requests, more good ones never make a minute fail.
    """
    mean = rate * weight / 100 * 60
    goods = _poisson(mean * (1 - base))
    total = 0.0
    for bad, chance in _poisson(mean * base):
        low, high = 0, len(goods)
        while low < high:
            middle = (low + high) // 2
            good = goods[middle][0]
            if passes(Minute(good + bad, bad, 0, 0)):
                high = middle
            else:
                low = middle + 1
        total += chance * sum(share for _, share in goods[:low])
    return total


def _poisson(mean: float) -> list[tuple[int, float]]:
    reach = 12 * sqrt(mean) + 12
    numbers = range(max(0, int(mean - reach)), int(mean + reach) + 1)
    return [(k, exp(-mean + k * log(mean) - lgamma(k + 1))) for k in numbers]


def at_least(wanted: int, trials: int, chance: float) -> float:
    """P(Bin(trials, chance) >= wanted)."""
    return sum(
        comb(trials, k) * chance**k * (1 - chance) ** (trials - k)
        for k in range(wanted, trials + 1)
    )


def standard_error(rate: float, runs: int) -> float:
    """Of a rate over so many runs; of none or all, as if one run had been otherwise."""
    inside = min(max(rate, 1 / runs), 1 - 1 / runs)
    return sqrt(inside * (1 - inside) / runs)


def agree(found: float, table: float, runs: int, digits: float = 0.0) -> bool:
    """Whether a rate is within three standard errors of one of so many runs, and its rounding."""
    return abs(found - table) <= 3 * standard_error(table, runs) + digits / 2
