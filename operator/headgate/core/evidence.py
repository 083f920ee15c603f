"""The evidence of one rollout: a pure fold over counter samples, small enough to be stored.

Owns what is summed over all signals and which objectives are tested on them. Must not know where
samples come from, what time it is, or what a verdict leads to.

Per block (one instance, two scrapes): requests are summed; the absolute tests take the block at
once; the comparing tests wait until enough *requests* are in (never looking at outcomes), so that
little traffic does not spend its proof on tables without a canary request. Estimates that the tests
start from are made of blocks that are already closed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from headgate.core import measured as signals
from headgate.core import stored
from headgate.core.counters import ERRORS, LATENCY, Arm, Block, Kind, Series, difference
from headgate.core.measured import Counts, Measured, Stream, Tally, add, bucket_after
from headgate.core.noise import Noise
from headgate.core.signals import Objective, ObjectiveKind, OnBreach, Settings, Signal, Worse
from headgate.core.stats import evalue, mixture, sizes
from headgate.core.stats.mixture import Logs
from headgate.core.trace import Trace, TraceCounts, TracePoint, extended, is_due

__all__ = [
    "BASELINE",
    "START_EVERY",
    "Counts",
    "Evidence",
    "Limits",
    "Objective",
    "ObjectiveKind",
    "OnBreach",
    "Settings",
    "Signal",
    "Stream",
    "Tally",
    "Tests",
    "TraceCounts",
    "TracePoint",
    "Worse",
    "begin",
    "bucket_after",
    "fold",
    "rebase",
    "with_baseline",
    "with_canary_units",
    "with_noise",
]

BASELINE = timedelta(minutes=10)
START_EVERY = timedelta(minutes=5)

_BUDGETS = 2.0  # a canary may spend its error budget this many times as fast
_HISTORIES = 2.0  # ... or fail this many times as often as stable did before
_VERSION = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """One objective's absolute tests: both arms while compared, and the canary without control."""

    canary: Logs
    stable: Logs
    alone: Logs


@dataclass(frozen=True, slots=True)
class Tests:
    """The tests of one objective. `harm` and `promotion` compare the arms at its latency threshold;
    they are empty where its signal compares them already.
    """

    limits: Limits
    harm: Logs = ()
    promotion: tuple[Logs, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about a rollout so far. Nothing scraped before `since` counts from here on,
    nor before `counted_until`, where the counting under earlier routes ended.

    `canary_requests` counts from the beginning, with or without a control. Times are scrape times.
    `signals` follow `settings.measured`, `objectives` follow `settings.objectives`; `starts` counts
    the start times that have passed, of all mixtures.
    """

    settings: Settings
    begun_at: datetime
    since: datetime
    counted_until: datetime
    cursors: tuple[tuple[str, datetime], ...]
    canary_requests: int
    first_canary_request_at: datetime | None
    first_canary_request_after_rebase_at: datetime | None
    starts: int
    signals: tuple[Measured, ...]
    objectives: tuple[Tests, ...]
    history: Trace

    @property
    def read_from(self) -> datetime:
        """The next fold needs all samples after this time: the cursors, with a little to spare."""
        return min((at for _, at in self.cursors), default=self.since) - timedelta(seconds=1)

    @property
    def trace(self) -> tuple[TracePoint, ...]:
        """How the evidence grew, for people."""
        return self.history.points

    @property
    def errors(self) -> Stream:
        """The counts of failed requests."""
        return self.signals[0].stream

    @property
    def latency(self) -> Stream:
        """The counts of requests by latency."""
        return self.signals[1].stream

    @property
    def edges(self) -> tuple[float, ...]:
        """The latency buckets' upper bounds, fixed by the first block."""
        return self.signals[1].edges

    def as_of(self, arm: Arm) -> datetime | None:
        """The last scrape in which this arm had a counter of errors or latency, or None."""
        found = (self.signals[0].as_of(arm), self.signals[1].as_of(arm))
        return max((at for at in found if at is not None), default=None)

    def place(self, signal: str) -> int:
        """Index of a signal by its name; raises ValueError if it is not measured."""
        for n, one in enumerate(self.settings.measured):
            if one.name == signal:
                return n
        raise ValueError(f"{signal} is not measured")

    def measured(self, signal: str) -> Measured:
        """The state of a signal by its name; raises ValueError if it is not measured."""
        return self.signals[self.place(signal)]

    def requests(self, arm: Arm, signal: str) -> int:
        """Requests of this arm that were counted on both arms at the same instants."""
        return self.measured(signal).stream.requests(arm)

    def bad_from(self, objective: Objective) -> int | None:
        """Index of the first bad outcome; None if the threshold is not (yet) a bucket edge."""
        if objective.kind is not ObjectiveKind.LATENCY:
            return 1
        return bucket_after(self.edges, objective.threshold_seconds)

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
            of_stable = add(of_stable, stream.compared.stable)
        if not (compared or objective.relative) or not of_stable or bad_from is None:
            return budget
        bad, requests = sum(of_stable[bad_from:]), sum(of_stable)
        return min(budget, _HISTORIES * sizes.upper_bound(bad, requests))

    def stream(self, objective: Objective) -> Stream:
        """The counts that an objective is about."""
        return self.measured(objective.signal).stream

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


def begin(settings: Settings, at: datetime) -> Evidence:
    """Start with nothing known; nothing scraped before `at` will count."""
    return Evidence(
        settings=settings,
        begun_at=at,
        since=at,
        counted_until=at,
        cursors=(),
        canary_requests=0,
        first_canary_request_at=None,
        first_canary_request_after_rebase_at=None,
        starts=0,
        signals=tuple(signals.fresh(settings, one) for one in settings.measured),
        objectives=tuple(_fresh_tests(settings, one) for one in settings.objectives),
        history=Trace(),
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
        signals=tuple(
            replace(
                one,
                stream=replace(one.stream, unsure=Tally(), waiting=Tally()),
                waiting_from=None,
            )
            for one in evidence.signals
        ),
    )


def fold(evidence: Evidence, series: Sequence[Series]) -> Evidence:
    """Add every sample after the cursors; the same samples twice add nothing.

    `series` must hold all samples after `read_from`, those at the cursors included. Cutting the
    samples at any scrape time and folding in two goes, with the state stored between, gives the
    same evidence as one go.
    """
    start = max(evidence.since, evidence.counted_until)
    kinds = evidence.settings.kinds
    found = difference(series, dict(evidence.cursors), start, kinds)
    for block in found.blocks:
        evidence = _absorb(evidence, block)
    measured = tuple(
        signals.scraped(one, found.seen.get((name, Arm.STABLE)), found.seen.get((name, Arm.CANARY)))
        for name, one in zip(kinds, evidence.signals, strict=True)
    )
    return replace(evidence, cursors=tuple(sorted(found.cursors.items())), signals=measured)


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
    settings = evidence.settings
    found = difference(stable, {}, until - BASELINE, settings.kinds)
    measured = list(evidence.signals)
    for n, signal in enumerate(settings.measured):
        one, history = measured[n], Counts()
        for block in found.blocks:
            one, counts = signals.laid_out(one, signal, block)
            history = add(history, counts.get(Arm.STABLE, ()))
        measured[n] = replace(one, stream=replace(one.stream, history=history))
    return replace(evidence, signals=tuple(measured))


def with_noise(evidence: Evidence, signal: str, noise: Noise) -> Evidence:
    """Temper a signal from here on by its measured noise, and raise its bar to the placebos'."""
    place = evidence.place(signal)
    return _with_signal(evidence, place, replace(evidence.signals[place], noise=noise))


def with_canary_units(evidence: Evidence, units: int) -> Evidence:
    """Say how many units the canary has from here on; 0 (none is ready) changes nothing.

    To be asked when the weights change, as autoscalers follow them, and before what is counted by
    then is folded in: so no outcome has a say in it.
    """
    measured = tuple(
        replace(one, noise=replace(one.noise, canary_units=units)) if one.noise and units else one
        for one in evidence.signals
    )
    return replace(evidence, signals=measured)


# One block


def _absorb(evidence: Evidence, block: Block) -> Evidence:
    """Add one block: start times, requests, absolute tests, then the tests of closed blocks."""
    evidence = _with_requests(_with_starts(evidence, block.at), block)
    names = {*block.counts, *block.classes}
    for n, signal in enumerate(evidence.settings.measured):
        if signal.name in names:
            evidence = _measure(evidence, n, signal, block)
    return _with_trace(evidence, block.at)


def _with_requests(evidence: Evidence, block: Block) -> Evidence:
    canary = sum(block.counts.get(ERRORS, {}).get(Arm.CANARY, ()))
    if not canary:
        return evidence
    return replace(
        evidence,
        canary_requests=evidence.canary_requests + canary,
        first_canary_request_at=evidence.first_canary_request_at or block.at,
        first_canary_request_after_rebase_at=(
            evidence.first_canary_request_after_rebase_at or block.at
        ),
    )


def _is_warming_up(evidence: Evidence, signal: Signal, block: Block) -> bool:
    """Whether the canary was still new before this block: then it may be slow."""
    before = evidence.canary_requests - sum(block.counts.get(ERRORS, {}).get(Arm.CANARY, ()))
    timed = signal.kind is Kind.HISTOGRAM and signal.worse is Worse.HIGHER
    return timed and before < evidence.settings.warm_up_requests


def _measure(evidence: Evidence, place: int, signal: Signal, block: Block) -> Evidence:
    """Count one signal of a block, and move its tests if enough requests have come together."""
    one, counts = signals.laid_out(evidence.signals[place], signal, block)
    if _is_warming_up(evidence, signal, block):
        counts = {}
    if one is not evidence.signals[place]:  # its layout is known from here on
        evidence = _with_signal(evidence, place, one)
    evidence = _with_limits(evidence, signal, block.at, counts)
    one = signals.counted(one, signal, block, counts)
    if one.stream.waiting.is_enough:
        one = signals.tempered(one, block.at - evidence.begun_at)
        if signal.name == LATENCY:
            evidence = _with_thresholds(evidence, one)
        one = signals.closed(one, signal, evidence.settings, block, evidence.starts)
    return _with_signal(evidence, place, one)


def _with_signal(evidence: Evidence, place: int, one: Measured) -> Evidence:
    before = evidence.signals
    return replace(evidence, signals=(*before[:place], one, *before[place + 1 :]))


def _with_starts(evidence: Evidence, at: datetime) -> Evidence:
    """Let the stakes start whose time has come, in every mixture."""
    made, due = evidence.starts, (at - evidence.begun_at) // START_EVERY
    if due <= made:
        return evidence

    def start(logs: Logs) -> Logs:
        return mixture.start(logs, made, due)

    return replace(
        evidence,
        starts=due,
        signals=tuple(
            replace(one, harm=start(one.harm), shape=start(one.shape)) for one in evidence.signals
        ),
        objectives=tuple(
            replace(
                one,
                harm=start(one.harm),
                limits=Limits(
                    start(one.limits.canary), start(one.limits.stable), start(one.limits.alone)
                ),
            )
            for one in evidence.objectives
        ),
    )


def _with_limits(
    evidence: Evidence, signal: Signal, at: datetime, counts: Mapping[Arm, Counts]
) -> Evidence:
    """Multiply the absolute tests of the objectives on this signal by one block."""
    tests = list(evidence.objectives)
    for n, objective in enumerate(evidence.settings.objectives):
        if not counts or objective.signal != signal.name or evidence.bad_from(objective) is None:
            continue
        limits = _limited(evidence, objective, signal, at, counts, tests[n].limits)
        tests[n] = replace(tests[n], limits=limits)
        evidence = replace(evidence, objectives=tuple(tests))
    return evidence


def _limited(
    evidence: Evidence,
    objective: Objective,
    signal: Signal,
    at: datetime,
    counts: Mapping[Arm, Counts],
    before: Limits,
) -> Limits:
    """Move the tests of the arms in a block: together where both were read, the canary else alone.

    Where each pod is scraped by itself, no block has both; the canary then counts for both tests.
    Stable's test is not tempered: all it can do is to excuse the canary.
    """
    bad_from = evidence.bad_from(objective) or 0
    canary, stable = counts.get(Arm.CANARY), counts.get(Arm.STABLE)
    phi = _alone_phi(evidence, objective, at, counts)
    limit = evidence.limit(objective, compared=True)
    if canary is not None and stable is not None:
        return replace(
            before,
            canary=_multiplied(before.canary, canary, bad_from, limit, phi),
            stable=_multiplied(before.stable, stable, bad_from, limit),
        )
    after = before
    if canary is not None:
        budget = evidence.limit(objective, compared=False)
        after = replace(after, alone=_multiplied(before.alone, canary, bad_from, budget, phi))
    if signal.paired:
        return after
    if canary is not None:
        return replace(after, canary=_multiplied(before.canary, canary, bad_from, limit, phi))
    return replace(after, stable=_multiplied(before.stable, stable or (), bad_from, limit))


def _alone_phi(
    evidence: Evidence, objective: Objective, at: datetime, counts: Mapping[Arm, Counts]
) -> float:
    """The design effect of what the canary alone did in a block."""
    noise = evidence.measured(objective.signal).noise
    requests = sum(map(sum, counts.values()))
    if noise is None or not requests:
        return 1.0
    load = noise.canary_load(sum(counts.get(Arm.CANARY, ())) / requests)
    return noise.phi_at(at - evidence.begun_at, load)


def _multiplied(logs: Logs, counts: Counts, bad_from: int, limit: float, phi: float = 1.0) -> Logs:
    requests = sum(counts)
    if not requests:
        return logs
    factors = evalue.limit_logs(sum(counts[bad_from:]), requests, limit)
    return signals.multiplied(logs, factors, phi)


def _with_thresholds(evidence: Evidence, latency: Measured) -> Evidence:
    """Move the tests of the latency objectives by the table that is waiting."""
    settings, waiting, known = evidence.settings, latency.stream.waiting, latency.stream.known
    margins = [settings.promotion_margin(weight) for weight in settings.ladder]
    tests = list(evidence.objectives)
    for n, objective in enumerate(settings.objectives):
        bad_from = evidence.bad_from(objective)
        if objective.kind is ObjectiveKind.LATENCY and bad_from is not None:
            table, rate = waiting.table(bad_from), signals.rate_of(known, bad_from)
            factors = evalue.harm_logs(table, rate, settings.margin)
            tests[n] = replace(
                tests[n],
                harm=signals.multiplied(tests[n].harm, factors, latency.phi),
                promotion=signals.promoted(tests[n].promotion, margins, table, rate, latency.phi),
            )
    return replace(evidence, objectives=tuple(tests))


def _with_trace(evidence: Evidence, at: datetime) -> Evidence:
    if not is_due(evidence.history, at):
        return evidence
    measured = zip(evidence.settings.measured, evidence.signals, strict=True)
    points = [_traced(signal, one, evidence.starts) for signal, one in measured]
    return replace(evidence, history=extended(evidence.history, at, points))


def _traced(signal: Signal, one: Measured, starts: int) -> TraceCounts:
    first = signals.bad_from(one, signal) or signals.unusual_from(one)
    table = one.stream.compared.table(first)
    return TraceCounts(
        table.canary_bad,
        table.canary_requests,
        table.stable_bad,
        table.stable_requests,
        round(one.value(starts), 3),
    )


def _fresh_tests(settings: Settings, objective: Objective) -> Tests:
    logs = mixture.fresh(len(evalue.HARM_EFFECTS))
    limits = Limits(logs, logs, logs)
    if objective.kind is not ObjectiveKind.LATENCY:
        return Tests(limits)
    proven = ((0.0,) * len(evalue.PROMOTION_EFFECTS),) * len(settings.ladder)
    return Tests(limits, logs, proven)
