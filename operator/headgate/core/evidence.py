"""The evidence of one rollout: a pure fold over counter samples, small enough to be stored.

Owns what is summed and which tests run on it. Must not know where samples come from, what time it
is, or what a verdict leads to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from headgate.core.counters import Arm, Series


class ObjectiveKind(StrEnum):
    """What an objective counts as bad: a failed request, or one slower than its threshold."""

    ERRORS = "errors"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Objective:
    """A share of requests (0..1, exclusive) that must be good; latency ones have a threshold."""

    name: str
    target: float
    kind: ObjectiveKind
    threshold_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What a rollout is judged by. Every rate is a share (0..1), never points or percent.

    `alpha` bounds the chance that a healthy canary is ever called harmful, `promotion_alpha` the
    chance that a weight is earned by a canary worse than it may be. `weights` are the weights (in
    percent) that may have to be earned; 100 always may.
    """

    alpha: float
    margin: float
    tolerance: float
    objectives: tuple[Objective, ...] = ()
    weights: tuple[int, ...] = (5, 10, 25, 50, 100)
    promotion_alpha: float = 0.05


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a rollout so far.

    `read_from` is what the next read must start at; `as_of(arm)` the last scrape that held the arm.
    """

    settings: Settings
    begun_at: datetime
    since: datetime
    canary_requests: int
    first_canary_request_at: datetime | None
    first_canary_request_after_rebase_at: datetime | None

    @property
    def read_from(self) -> datetime:
        """The time to read samples after, for the next fold."""
        raise NotImplementedError

    def as_of(self, arm: Arm) -> datetime | None:
        """The last scrape in which this arm had a counter, or None."""
        raise NotImplementedError

    def requests(self, arm: Arm, signal: str) -> int:
        """Requests of this arm that were compared, both arms read at the same instants."""
        raise NotImplementedError

    def to_json(self) -> str:
        """Write the state as canonical JSON."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """Read what `to_json` wrote; raises ValueError for anything else."""
        raise NotImplementedError


def begin(settings: Settings, at: datetime) -> Evidence:
    """Start with nothing known; nothing scraped before `at` will count."""
    raise NotImplementedError


def rebase(evidence: Evidence, since: datetime) -> Evidence:
    """The route changed: nothing scraped before `since` counts, and no block spans it."""
    raise NotImplementedError


def fold(evidence: Evidence, series: Sequence[Series]) -> Evidence:
    """Add every sample after the cursors; the same samples twice add nothing."""
    raise NotImplementedError


def with_baseline(evidence: Evidence, series: Sequence[Series], until: datetime) -> Evidence:
    """Take stable's counts of the ten minutes before `until` as its history."""
    raise NotImplementedError
