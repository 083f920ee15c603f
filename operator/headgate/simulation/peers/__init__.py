"""Decision rules of other projects, reimplemented from their sources, as pure state machines.

Owns what those rules have in common: the minute they look at and the verdicts they give. Must not
know Headgate's own rule, where traffic comes from, or chance. The versions that were read, and
what is left out, are in docs/peers.md.

Every rule is a frozen configuration with `start()` and `step(state, window, seconds_since_start)`.
A step before the state's `due_at` changes nothing, so one may step at any pace; who steps later
than `due_at` makes the rule look later than the original would.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import nan
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Minute:
    """What queries over the last interval of a rule would return.

    A p99 that is None or NaN means that the query had no observations. Where a rule takes
    `Minute | None`, None means that the metrics backend itself gave no answer.
    """

    canary_requests: int
    canary_bad: int
    stable_requests: int
    stable_bad: int
    canary_p99_seconds: float | None = None
    stable_p99_seconds: float | None = None

    def canary_success_ratio(self) -> float:
        """Share of good canary requests; NaN without requests, as 0/0 is in PromQL."""
        if not self.canary_requests:
            return nan
        return (self.canary_requests - self.canary_bad) / self.canary_requests


class Verdict(StrEnum):
    """What a rule says after a step; all but CONTINUE are final."""

    CONTINUE = "continue"
    ROLLED_BACK = "rolled back"
    PROMOTED = "promoted"
    PAUSED = "paused"  # a person has to look


class State(Protocol):
    """What every rule remembers besides its own counters."""

    @property
    def weight(self) -> int:
        """Percent of requests that the rule gives the canary now."""

    @property
    def due_at(self) -> float:
        """Seconds since the start at which the next step would change something."""

    @property
    def verdict(self) -> Verdict:
        """The verdict so far."""


S = TypeVar("S", bound=State)


class Rule(Protocol[S]):
    """A peer's rule with its settings."""

    @property
    def interval_seconds(self) -> int:
        """How often the rule looks, and the width of the window that its queries cover."""

    def start(self) -> S:
        """Begin a rollout: the canary has just been given its first weight."""

    def step(
        self, state: S, window: Minute | None, seconds_since_start: float
    ) -> tuple[S, Verdict]:
        """Look once at what the last interval's queries return."""


def number(value: float | None) -> float:
    """Turn an absent value into NaN, which every comparison denies."""
    return nan if value is None else value
