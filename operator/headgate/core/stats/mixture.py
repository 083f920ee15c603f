"""Running products of e-values, mixed over alternatives and over start times.

Owns how block e-values accumulate. Must not know what they test.

A regression may begin at any time, and a product that has seen an hour of health is deep below 1.
So part of the stake waits: W0 starts at once, and of the rest the k-th start takes
(1 - W0) / (k (k + 1)), which adds up to the rest over endless starts. Because every start meets the
same factors, the sum over the starts made is one number per alternative: add the new stake, then
multiply. What has not started counts as its stake. Numbers are kept to a fixed number of decimals,
so that a stored state and one that never left memory continue alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, log, log1p

AT_ONCE = 0.8
_DECIMALS = 5

Logs = tuple[float, ...]


def log_sum(logs: Sequence[float]) -> float:
    """Log of a sum, given logs; minus infinity of nothing."""
    top = max(logs, default=-inf)
    return top if top == -inf else top + log(sum(exp(value - top) for value in logs))


def log_mean(logs: Sequence[float]) -> float:
    """Log of a mean, given logs (at least one)."""
    return log_sum(logs) - log(len(logs))


def fresh(alternatives: int) -> Logs:
    """A mixture that has seen nothing: only the first stake is running."""
    return (round(log(AT_ONCE), _DECIMALS),) * alternatives


def multiply(logs: Logs, factors: Sequence[float]) -> Logs:
    """Multiply each alternative's product by its factor (both as logs)."""
    return tuple(round(a + b, _DECIMALS) for a, b in zip(logs, factors, strict=True))


def start(logs: Logs, made: int, now: int) -> Logs:
    """Start the stakes number `made + 1` to `now`; none if `now` is not larger."""
    if now <= made:
        return logs
    stake = log(waiting(made) - waiting(now))
    return tuple(round(_log_add(value, stake), _DECIMALS) for value in logs)


def waiting(made: int) -> float:
    """The stake that has not started after `made` starts; counts as itself."""
    return (1.0 - AT_ONCE) / (made + 1)


def log_value(logs: Logs, made: int) -> float:
    """Log of the mixture's e-value; 0 as long as nothing was seen (up to rounding)."""
    return _log_add(log_mean(logs), log(waiting(made)))


def _log_add(a: float, b: float) -> float:
    high, low = max(a, b), min(a, b)
    return high + log1p(exp(low - high))
