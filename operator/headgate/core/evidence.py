"""The evidence of one rollout: a pure fold over counter samples, small enough to be stored.

Owns what is summed and which tests run on it. Must not know where samples come from, what time it
is, or what a verdict leads to.

Per block (one gateway instance, two scrapes): requests are summed; the absolute tests take the
block at once; the comparing tests wait until enough *requests* are in (never looking at outcomes),
so that little traffic does not spend its proof on tables without a canary request. Estimates that
the tests start from are made of blocks that are already closed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf, isclose

from headgate.core import stored
from headgate.core.counters import ERRORS, Arm, Block, Series, difference
from headgate.core.stats import evalue, mixture, shape, sizes
from headgate.core.stats.evalue import Table
from headgate.core.stats.mixture import Logs

BASELINE = timedelta(minutes=10)
START_EVERY = timedelta(minutes=5)

_CANARY_REQUESTS = 1
_STABLE_REQUESTS = 10
_LARGEST_MARGIN = 0.5  # a promotion test with a larger margin would prove nothing at all
_BUDGETS = 2.0  # a canary may spend its error budget this many times as fast
_HISTORIES = 2.0  # ... or fail this many times as often as stable did before
_VERSION = 1

Counts = tuple[int, ...]


class ObjectiveKind(StrEnum):
    """What an objective counts as bad: a failed request, or one slower than its threshold."""

    ERRORS = "errors"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Objective:
    """A share of requests (0..1, exclusive) that must be good; latency ones have a threshold.

    A `relative` one promises no share of its own but what stable did: it is what a bake is watched
    by where nobody stated an objective on errors. Its target then only bounds it.
    """

    name: str
    target: float
    kind: ObjectiveKind
    threshold_seconds: float | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        if not 0.0 < self.target < 1.0:
            raise ValueError(f"objective {self.name}: target {self.target}, wanted 0..1")
        if (self.kind is ObjectiveKind.LATENCY) != (self.threshold_seconds is not None):
            raise ValueError(f"objective {self.name}: only latency has a threshold")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a rollout is judged by. Every rate is a share (0..1), never points or percent.

    `alpha` bounds the chance that a healthy canary is ever called harmful, `promotion_alpha` the
    chance that a weight is earned by a canary worse than it may be. `weights` are the weights (in
    percent) that may have to be earned, i.e. the rollout's steps; 100 always may. Requests answered
    within `latency_floor_seconds` are equally fast: how a canary splits them is no harm to anybody.
    The latency of the canary's first `warm_up_requests` is not counted: a fresh process is slow for
    reasons that say nothing of the model, and a rule fixed before the rollout keeps the test valid.
    """

    alpha: float
    margin: float
    tolerance: float
    objectives: tuple[Objective, ...] = ()
    weights: tuple[int, ...] = (5, 10, 25, 50, 100)
    promotion_alpha: float = 0.05
    latency_floor_seconds: float = 0.0
    warm_up_requests: int = 0

    @property
    def ladder(self) -> tuple[int, ...]:
        """The weights a promotion test runs for, ascending, 100 last."""
        return tuple(sorted({*self.weights, 100}))

    def promotion_margin(self, weight: int) -> float:
        """How much worse the canary may at most be to enter `weight`: tolerance over weight."""
        return min(self.tolerance * 100.0 / weight, _LARGEST_MARGIN)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts by outcome of both arms over the same moments; empty before the first."""

    canary: Counts = ()
    stable: Counts = ()

    def plus(self, canary: Counts, stable: Counts) -> Tally:
        """Add outcome by outcome."""
        return Tally(_add(self.canary, canary), _add(self.stable, stable))

    @property
    def is_enough(self) -> bool:
        """Whether the requests of both arms make a block worth testing; outcomes do not count."""
        return sum(self.canary) >= _CANARY_REQUESTS and sum(self.stable) >= _STABLE_REQUESTS

    def table(self, bad_from: int) -> Table:
        """The 2x2 table in which the outcomes from this index on are bad."""
        return Table(
            sum(self.canary[bad_from:]),
            sum(self.canary),
            sum(self.stable[bad_from:]),
            sum(self.stable),
        )


@dataclass(frozen=True, slots=True)
class Stream:
    """One signal's counts: in closed blocks, waiting for more requests, and without a control.

    `history` is stable before the rollout.
    """

    closed: Tally = Tally()
    waiting: Tally = Tally()
    alone: Counts = ()
    history: Counts = ()

    @property
    def known(self) -> Counts:
        """What stable did so far, the block in progress left out: what estimates may rest on."""
        return _add(self.closed.stable, self.history)

    @property
    def compared(self) -> Tally:
        """All requests seen on both arms at the same instants."""
        return self.closed.plus(self.waiting.canary, self.waiting.stable)


@dataclass(frozen=True, slots=True)
class Limits:
    """One objective's absolute tests: both arms while compared, and the canary without control."""

    canary: Logs
    stable: Logs
    alone: Logs


@dataclass(frozen=True, slots=True)
class Tests:
    """States of all running tests. `by_objective` tuples follow `Settings.objectives`.

    `harm_by_objective` and `promotion_by_objective` are empty tuples for objectives on errors,
    which `harm` and `promotion` cover. `starts` counts the start times that have passed.
    """

    starts: int
    harm: Logs
    shape: Logs
    harm_by_objective: tuple[Logs, ...]
    limits: tuple[Limits, ...]
    promotion: tuple[Logs, ...]
    promotion_by_objective: tuple[tuple[Logs, ...], ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a rollout so far. Nothing scraped before `since` counts from here on,
    nor before `counted_until`, where the counting under earlier routes ended.

    `canary_requests` counts from the beginning, with or without a control. Times are scrape times.
    `edges` are the latency buckets' upper bounds, fixed by the first block; `shape_known` is what
    the shape test's alternatives are made of, renewed as stable's counts grow.
    """

    settings: Settings
    begun_at: datetime
    since: datetime
    counted_until: datetime
    cursors: tuple[tuple[str, datetime], ...]
    stable_as_of: datetime | None
    canary_as_of: datetime | None
    canary_requests: int
    first_canary_request_at: datetime | None
    first_canary_request_after_rebase_at: datetime | None
    errors: Stream
    latency: Stream
    edges: tuple[float, ...]
    shape_known: Counts
    tests: Tests

    @property
    def read_from(self) -> datetime:
        """The next fold needs all samples after this time: the cursors, with a little to spare."""
        return min((at for _, at in self.cursors), default=self.since) - timedelta(seconds=1)

    def as_of(self, arm: Arm) -> datetime | None:
        """The last scrape in which this arm had a counter, or None."""
        return self.canary_as_of if arm is Arm.CANARY else self.stable_as_of

    def requests(self, arm: Arm, signal: str) -> int:
        """Requests of this arm that were counted on both arms at the same instants."""
        tally = (self.errors if signal == ERRORS else self.latency).compared
        return sum(tally.canary if arm is Arm.CANARY else tally.stable)

    def bad_from(self, objective: Objective) -> int | None:
        """Index of the first bad outcome; None if the threshold is not (yet) a bucket edge."""
        if objective.kind is ObjectiveKind.ERRORS:
            return 1
        return bucket_after(self.edges, objective.threshold_seconds)

    @property
    def floor_buckets(self) -> int:
        """How many latency buckets lie within the floor and count as one; at least 1."""
        floor = self.settings.latency_floor_seconds * (1.0 + 1e-6)
        return max(1, sum(edge <= floor for edge in self.edges))

    def limit(self, objective: Objective, compared: bool) -> float:
        """The rate above which the canary breaks an objective by itself.

        Twice the error budget; while compared, also at most twice what stable did before, if it
        was watched: that finds small regressions of a service far better than its objective.
        """
        budget = min(_BUDGETS * (1.0 - objective.target), 0.99)
        stream, bad_from = self.stream(objective), self.bad_from(objective)
        # A relative objective knows stable also from the comparison, which is over in the bake.
        of_stable = stream.history
        if objective.relative:
            of_stable = _add(of_stable, stream.compared.stable)
        if not (compared or objective.relative) or not of_stable or bad_from is None:
            return budget
        bad, requests = sum(of_stable[bad_from:]), sum(of_stable)
        return min(budget, _HISTORIES * sizes.upper_bound(bad, requests))

    def stream(self, objective: Objective) -> Stream:
        """The counts that an objective is about."""
        return self.errors if objective.kind is ObjectiveKind.ERRORS else self.latency

    def to_json(self) -> str:
        """Write the state as canonical JSON: equal states give equal texts."""
        state = {"version": _VERSION, **stored.encode(self)}
        return json.dumps(state, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """Read what `to_json` wrote; raises ValueError for anything else, other versions too."""
        try:
            state = json.loads(text)
            if state["version"] != _VERSION:
                raise ValueError(f"version {state['version']}, wanted {_VERSION}")
            evidence: Evidence = stored.decode(cls, state)
            return evidence
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ValueError(f"stored evidence cannot be read: {error!r}") from error


def bucket_after(edges: Sequence[float], threshold: float | None) -> int | None:
    """Index of the first bucket above a threshold that is one of the finite edges, else None."""
    for index, edge in enumerate(edges):
        if threshold is not None and edge < inf and isclose(edge, threshold, rel_tol=1e-6):
            return index + 1
    return None


def begin(settings: Settings, at: datetime) -> Evidence:
    """Start with nothing known; nothing scraped before `at` will count."""
    return Evidence(
        settings=settings,
        begun_at=at,
        since=at,
        counted_until=at,
        cursors=(),
        stable_as_of=None,
        canary_as_of=None,
        canary_requests=0,
        first_canary_request_at=None,
        first_canary_request_after_rebase_at=None,
        errors=Stream(),
        latency=Stream(),
        edges=(),
        shape_known=(),
        tests=_fresh_tests(settings),
    )


def rebase(evidence: Evidence, since: datetime) -> Evidence:
    """The route changed: nothing scraped before `since` counts, and no block spans it.

    Sums and test states stay; what waited for more requests is dropped, because the split of
    traffic that it was counted under is over.
    """
    return replace(
        evidence,
        since=since,
        counted_until=max([evidence.counted_until, *(at for _, at in evidence.cursors)]),
        cursors=(),
        first_canary_request_after_rebase_at=None,
        errors=replace(evidence.errors, waiting=Tally()),
        latency=replace(evidence.latency, waiting=Tally()),
    )


def fold(evidence: Evidence, series: Sequence[Series]) -> Evidence:
    """Add every sample after the cursors; the same samples twice add nothing.

    `series` must hold all samples after `read_from`, those at the cursors included. Cutting the
    samples at any scrape time and folding in two goes, with the state stored between, gives the
    same evidence as one go.
    """
    start = max(evidence.since, evidence.counted_until)
    found = difference(series, dict(evidence.cursors), start)
    for block in found.blocks:
        evidence = _absorb(evidence, block)
    return replace(
        evidence,
        cursors=tuple(sorted(found.cursors.items())),
        stable_as_of=_later(evidence.stable_as_of, found.seen.get(Arm.STABLE)),
        canary_as_of=_later(evidence.canary_as_of, found.seen.get(Arm.CANARY)),
    )


def with_baseline(evidence: Evidence, series: Sequence[Series], until: datetime) -> Evidence:
    """Take stable's counts of the (up to) ten minutes before `until` as its history.

    Replaces an earlier baseline. It lowers the absolute limits and is what the first estimates
    rest on; without it they rest on nothing and learn.
    """
    stable = [
        replace(one, points=tuple(p for p in one.points if p.at <= until))
        for one in series
        if one.arm is Arm.STABLE
    ]
    errors: Counts = ()
    latency: Counts = ()
    for block in difference(stable, {}, until - BASELINE).blocks:
        errors = _add(errors, block.errors.get(Arm.STABLE, ()))
        evidence = _with_edges(evidence, block)
        if block.edges == evidence.edges:
            latency = _add(latency, block.latency.get(Arm.STABLE, ()))
    return replace(
        evidence,
        errors=replace(evidence.errors, history=errors),
        latency=replace(evidence.latency, history=latency),
    )


# One block


def _absorb(evidence: Evidence, block: Block) -> Evidence:
    """Add one block: start times, requests, absolute tests, then the tests of closed blocks."""
    evidence = _with_edges(_with_starts(evidence, block.at), block)
    if evidence.canary_requests < evidence.settings.warm_up_requests:
        block = replace(block, latency={})
    canary = sum(block.errors.get(Arm.CANARY, ()))
    if canary:
        evidence = replace(
            evidence,
            canary_requests=evidence.canary_requests + canary,
            first_canary_request_at=evidence.first_canary_request_at or block.at,
            first_canary_request_after_rebase_at=(
                evidence.first_canary_request_after_rebase_at or block.at
            ),
        )
    evidence = _with_limits(evidence, block)
    errors, latency = _counted(evidence.errors, block.errors), evidence.latency
    if block.edges == evidence.edges:
        latency = _counted(latency, block.latency)
    evidence = replace(evidence, errors=errors, latency=latency)
    if errors.waiting.is_enough:
        evidence = _close_errors(evidence)
    return _close_latency(evidence) if latency.waiting.is_enough else evidence


def _with_starts(evidence: Evidence, at: datetime) -> Evidence:
    """Let the stakes start whose time has come, in every mixture."""
    tests, due = evidence.tests, (at - evidence.begun_at) // START_EVERY
    if due <= tests.starts:
        return evidence

    def start(logs: Logs) -> Logs:
        return mixture.start(logs, tests.starts, due)

    started = replace(
        tests,
        starts=due,
        harm=start(tests.harm),
        shape=start(tests.shape),
        harm_by_objective=tuple(start(logs) for logs in tests.harm_by_objective),
        limits=tuple(
            Limits(start(one.canary), start(one.stable), start(one.alone)) for one in tests.limits
        ),
    )
    return replace(evidence, tests=started)


def _with_edges(evidence: Evidence, block: Block) -> Evidence:
    """The first histogram fixes the buckets; a block with others is no data."""
    if evidence.edges or not block.edges:
        return evidence
    return replace(evidence, edges=block.edges)


def _with_limits(evidence: Evidence, block: Block) -> Evidence:
    """Multiply the absolute tests by one block."""
    limits = list(evidence.tests.limits)
    for n, objective in enumerate(evidence.settings.objectives):
        bad_from, counts = evidence.bad_from(objective), block.errors
        if objective.kind is ObjectiveKind.LATENCY:
            counts = block.latency if block.edges == evidence.edges else {}
        if bad_from is None or Arm.CANARY not in counts:
            continue
        canary, before = counts[Arm.CANARY], limits[n]
        limit = evidence.limit(objective, compared=Arm.STABLE in counts)
        if Arm.STABLE in counts:
            limits[n] = replace(
                before,
                canary=_limited(before.canary, canary, bad_from, limit),
                stable=_limited(before.stable, counts[Arm.STABLE], bad_from, limit),
            )
        else:
            limits[n] = replace(before, alone=_limited(before.alone, canary, bad_from, limit))
    return replace(evidence, tests=replace(evidence.tests, limits=tuple(limits)))


def _limited(logs: Logs, counts: Counts, bad_from: int, limit: float) -> Logs:
    requests = sum(counts)
    if not requests:
        return logs
    return mixture.multiply(logs, evalue.limit_logs(sum(counts[bad_from:]), requests, limit))


def _counted(stream: Stream, counts: Mapping[Arm, Counts]) -> Stream:
    """Put a block's counts where they belong; stable without canary is compared with nothing."""
    canary, stable = counts.get(Arm.CANARY), counts.get(Arm.STABLE)
    if canary is None:
        return stream
    if stable is None:
        return replace(stream, alone=_add(stream.alone, canary))
    return replace(stream, waiting=stream.waiting.plus(canary, stable))


def _close(stream: Stream) -> Stream:
    closed = stream.closed.plus(stream.waiting.canary, stream.waiting.stable)
    return replace(stream, closed=closed, waiting=Tally())


def _close_errors(evidence: Evidence) -> Evidence:
    stream, tests, settings = evidence.errors, evidence.tests, evidence.settings
    table, rate = stream.waiting.table(1), _rate(stream.known, 1)
    tests = replace(
        tests,
        harm=mixture.multiply(tests.harm, evalue.harm_logs(table, rate, settings.margin)),
        promotion=_promoted(settings, tests.promotion, table, rate),
    )
    return replace(evidence, errors=_close(stream), tests=tests)


def _close_latency(evidence: Evidence) -> Evidence:
    stream, tests, settings = evidence.latency, evidence.tests, evidence.settings
    harm, promotion = list(tests.harm_by_objective), list(tests.promotion_by_objective)
    for n, objective in enumerate(settings.objectives):
        bad_from = evidence.bad_from(objective)
        if objective.kind is ObjectiveKind.LATENCY and bad_from is not None:
            table, rate = stream.waiting.table(bad_from), _rate(stream.known, bad_from)
            factors = evalue.harm_logs(table, rate, settings.margin)
            harm[n] = mixture.multiply(harm[n], factors)
            promotion[n] = _promoted(settings, promotion[n], table, rate)
    known = _renewed(evidence.shape_known, stream.known, len(evidence.edges))
    within = evidence.floor_buckets
    slower = shape.alternatives(_merged(known, within), evidence.edges[within - 1 :])
    canary, stable = (_merged(c, within) for c in (stream.waiting.canary, stream.waiting.stable))
    factors = shape.shape_logs(canary, stable, slower)
    tests = replace(
        tests,
        shape=mixture.multiply(tests.shape, factors),
        harm_by_objective=tuple(harm),
        promotion_by_objective=tuple(promotion),
    )
    return replace(evidence, latency=_close(stream), tests=tests, shape_known=known)


def _merged(counts: Counts, first: int) -> Counts:
    """Count the first so many buckets as one."""
    return (sum(counts[:first]), *counts[first:])


def _renewed(used: Counts, known: Counts, buckets: int) -> Counts:
    """What the shape's alternatives are made of: renewed when stable's counts grew by a quarter.

    Any choice made before the block is valid; this one keeps alternatives for many blocks.
    """
    known = known or (0,) * buckets
    return known if not used or sum(known) > 1.25 * sum(used) + 50 else used


def _promoted(
    settings: Settings, states: tuple[Logs, ...], table: Table, rate: float
) -> tuple[Logs, ...]:
    margins = [settings.promotion_margin(weight) for weight in settings.ladder]
    return tuple(
        mixture.multiply(logs, evalue.promotion_logs(table, rate, margin))
        for logs, margin in zip(states, margins, strict=True)
    )


def _rate(known: Counts, bad_from: int) -> float:
    return evalue.running_rate(sum(known[bad_from:]), sum(known))


def _fresh_tests(settings: Settings) -> Tests:
    harm = mixture.fresh(len(evalue.HARM_EFFECTS))
    promotion = ((0.0,) * len(evalue.PROMOTION_EFFECTS),) * len(settings.ladder)
    slow = [o.kind is ObjectiveKind.LATENCY for o in settings.objectives]
    return Tests(
        starts=0,
        harm=harm,
        shape=mixture.fresh(shape.ALTERNATIVES),
        harm_by_objective=tuple(harm if is_slow else () for is_slow in slow),
        limits=(Limits(harm, harm, harm),) * len(slow),
        promotion=promotion,
        promotion_by_objective=tuple(promotion if is_slow else () for is_slow in slow),
    )


def _add(one: Counts, other: Counts) -> Counts:
    """Add counts outcome by outcome; empty is nothing yet."""
    if not one or not other:
        return one or other
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)
