"""One signal of one rollout: its counts on both arms, and the tests that run on them.

Owns how a block's counts are laid out, when enough of them make a table, and which tests the table
moves. Must not know other signals, objectives, or what a verdict leads to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from math import inf, isclose, log, sqrt

from headgate.core.counters import Arm, Block, Kind
from headgate.core.noise import Noise
from headgate.core.signals import Settings, Signal, Worse
from headgate.core.stats import divergence, evalue, mixture, shape
from headgate.core.stats.evalue import Table
from headgate.core.stats.mixture import Logs

Counts = tuple[int, ...]

OTHER = "other"
"""The class of all names beyond those that the first block knew."""

_MOST_CLASSES = 64
_CANARY_REQUESTS = 1
_STABLE_REQUESTS = 10
_USUAL = 0.9  # values over this quantile of stable's are unusual
_INCIDENT_DEVIATIONS = 5.0
CALM = 2
"""Rounds of scrapes without an incident after which stable is a control again."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts by outcome of both arms over the same moments; empty before the first."""

    canary: Counts = ()
    stable: Counts = ()

    def plus(self, canary: Counts, stable: Counts) -> Tally:
        """Add outcome by outcome."""
        return Tally(add(self.canary, canary), add(self.stable, stable))

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

    `unsure` is what the last round of a signal that is not paired said, until the next round shows
    whether stable was in an incident. `history` is stable before the rollout, and what stable did
    while the canary was not counted.
    """

    closed: Tally = Tally()
    unsure: Tally = Tally()
    waiting: Tally = Tally()
    alone: Counts = ()
    history: Counts = ()

    @property
    def known(self) -> Counts:
        """What stable did so far, the block in progress left out: what estimates may rest on."""
        return add(self.closed.stable, self.history)

    @property
    def compared(self) -> Tally:
        """All requests seen on both arms at the same instants."""
        seen = self.closed.plus(self.unsure.canary, self.unsure.stable)
        return seen.plus(self.waiting.canary, self.waiting.stable)

    def requests(self, arm: Arm) -> int:
        """How many of an arm's requests those are, without adding them up by outcome."""
        parts = (self.closed, self.unsure, self.waiting)
        return sum(sum(one.canary if arm is Arm.CANARY else one.stable) for one in parts)


@dataclass(frozen=True, slots=True)
class Measured:
    """The state of one signal; small, and all that a restart needs.

    `edges` (upper bounds) or `classes` (names, OTHER last) are fixed by the first block; `known` is
    what the shape's alternatives are made of, renewed as stable's counts grow. `harm` tests a ratio
    or the share over a threshold, `shape` a distribution; what does not apply is empty.

    `noise` is what stable's own pods do to it, None where they are not told apart; `phi` the design
    effect that the comparison was last tempered by.

    Of a signal that is not paired: `round_at` is when the last round of scrapes began, `calm` the
    rounds since stable's last incident (CALM at most), `waiting_from` when what waits began.
    """

    stream: Stream = Stream()
    edges: tuple[float, ...] = ()
    classes: tuple[str, ...] = ()
    known: Counts = ()
    harm: Logs = ()
    shape: Logs = ()
    promotion: tuple[Logs, ...] = ()
    stable_as_of: datetime | None = None
    canary_as_of: datetime | None = None
    phi: float = 1.0
    noise: Noise | None = None
    round_at: datetime | None = None
    calm: int = 0
    waiting_from: datetime | None = None

    def as_of(self, arm: Arm) -> datetime | None:
        """The last scrape in which this arm had a counter, or None."""
        return self.canary_as_of if arm is Arm.CANARY else self.stable_as_of

    @property
    def placebo_runs(self) -> int:
        """How many replays of stable's own pods the bar of this signal was raised by."""
        return self.noise.placebo_runs if self.noise is not None else 0

    @property
    def units(self) -> int:
        """How many of stable's pods its noise was measured on; 0 where they are not told apart."""
        return self.noise.units if self.noise is not None else 0

    def raised(self, alpha: float) -> float:
        """By how much the log e-value must exceed what it would, were it not for the placebos."""
        return max(0.0, self.noise.placebo_log + log(alpha)) if self.noise is not None else 0.0

    def value(self, starts: int) -> float:
        """The log e-value against "no harm": of harm and shape the one there is, or their mean."""
        found = [mixture.log_value(logs, starts) for logs in (self.shape, self.harm) if logs]
        return mixture.log_mean(found) if found else 0.0


def add(one: Counts, other: Counts) -> Counts:
    """Add counts outcome by outcome; empty is nothing yet."""
    if not one or not other:
        return one or other
    return tuple(a + b for a, b in zip(one, other, strict=True))


def fresh(settings: Settings, signal: Signal) -> Measured:
    """A signal that nothing is known of."""
    is_tested = signal.is_ratio or signal.threshold is not None
    proven = ((0.0,) * len(evalue.PROMOTION_EFFECTS),) * len(settings.ladder)
    one_sided = signal.kind is Kind.HISTOGRAM and signal.worse is Worse.HIGHER
    return Measured(
        harm=mixture.fresh(len(evalue.HARM_EFFECTS)) if is_tested else (),
        shape=mixture.fresh(shape.ALTERNATIVES) if one_sided else (),
        promotion=proven if signal.is_proven else (),
    )


def bucket_after(edges: Sequence[float], threshold: float | None) -> int | None:
    """Index of the first bucket above a threshold that is one of the finite edges, else None."""
    for index, edge in enumerate(edges):
        if threshold is not None and edge < inf and isclose(edge, threshold, rel_tol=1e-6):
            return index + 1
    return None


def bad_from(measured: Measured, signal: Signal) -> int | None:
    """Index of the first outcome that is bad by itself; None where none is, or not yet known."""
    return 1 if signal.is_ratio else bucket_after(measured.edges, signal.threshold)


def floor_buckets(measured: Measured, signal: Signal) -> int:
    """How many buckets lie within the floor and count as one; at least 1."""
    floor = signal.floor * (1.0 + 1e-6)
    return max(1, sum(edge <= floor for edge in measured.edges))


def unusual_from(measured: Measured) -> int:
    """Index of the first bucket beyond stable's usual range."""
    known = measured.stream.known
    usual = _USUAL * sum(known)
    index = next((k for k, below in enumerate(accumulate(known)) if below >= usual), 0) + 1
    return max(1, min(index, len(known) - 1))


def laid_out(
    measured: Measured, signal: Signal, block: Block
) -> tuple[Measured, Mapping[Arm, Counts]]:
    """Return a block's counts of this signal by arm, in the order that the first block fixed.

    Empty if the block has none of it, or has other bounds.
    """
    if signal.kind is Kind.CATEGORIES:
        return _by_class(measured, block.classes.get(signal.name, {}))
    counts = block.counts.get(signal.name, {})
    if signal.kind is not Kind.HISTOGRAM or not counts:
        return measured, counts
    edges = block.edges[signal.name]
    measured = measured if measured.edges else replace(measured, edges=edges)
    return measured, counts if measured.edges == edges else {}


def _by_class(
    measured: Measured, arms: Mapping[Arm, Mapping[str, int]]
) -> tuple[Measured, Mapping[Arm, Counts]]:
    if arms and not measured.classes:
        names = sorted({name for by_name in arms.values() for name in by_name} - {OTHER})
        measured = replace(measured, classes=(*names[: _MOST_CLASSES - 1], OTHER))
    own = measured.classes[:-1]
    found = {}
    for arm, by_name in arms.items():
        named = tuple(by_name.get(name, 0) for name in own)
        found[arm] = (*named, sum(by_name.values()) - sum(named))
    return measured, found


def scraped(measured: Measured, stable: datetime | None, canary: datetime | None) -> Measured:
    """Remember when each arm last had a counter; None where it had none in the new scrapes."""
    if stable is None and canary is None:
        return measured
    return replace(
        measured,
        stable_as_of=_later(measured.stable_as_of, stable),
        canary_as_of=_later(measured.canary_as_of, canary),
    )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)


def counted(
    measured: Measured, signal: Signal, block: Block, counts: Mapping[Arm, Counts]
) -> Measured:
    """Put a block's counts where they belong; stable without canary is compared with nothing."""
    if not signal.paired:
        return _counted_apart(measured, block, counts)
    canary, stable = counts.get(Arm.CANARY), counts.get(Arm.STABLE)
    stream = measured.stream
    if canary is None:
        return measured
    if stable is None:
        return replace(measured, stream=replace(stream, alone=add(stream.alone, canary)))
    return replace(measured, stream=replace(stream, waiting=stream.waiting.plus(canary, stable)))


def _counted_apart(measured: Measured, block: Block, counts: Mapping[Arm, Counts]) -> Measured:
    """Let the arms' blocks wait for each other, but no longer than two scrapes.

    Each pod is scraped by itself, so a table holds moments that differ by up to a scrape. What
    waited longer for the other arm would be of other moments: stable's goes to its history, the
    canary's is lost. This looks at times and requests only.
    """
    stream = measured.stream
    waiting, since = stream.waiting, measured.waiting_from or block.at
    late = (block.at - since).total_seconds() > 2.0 * block.seconds
    if late and not (sum(waiting.canary) and sum(waiting.stable)):
        history = add(stream.history, waiting.stable)
        stream, waiting, since = replace(stream, history=history), Tally(), block.at
    waiting = waiting.plus(counts.get(Arm.CANARY, ()), counts.get(Arm.STABLE, ()))
    return replace(measured, stream=replace(stream, waiting=waiting), waiting_from=since)


def tempered(measured: Measured, age: timedelta) -> Measured:
    """Say how much the table that is waiting is to be tempered, this long after the beginning."""
    noise, waiting = measured.noise, measured.stream.waiting
    if noise is None:
        return measured
    canary, stable = sum(waiting.canary), sum(waiting.stable)
    load = noise.compared_load(canary / (canary + stable))
    return replace(measured, phi=noise.phi_at(age, load))


def closed(
    measured: Measured, signal: Signal, settings: Settings, block: Block, starts: int
) -> Measured:
    """Move all tests of the signal by the table that is waiting, and start a new one.

    Where arms are scraped apart, it is the round before that the tests are moved by.
    """
    waiting = measured.stream.waiting
    if signal.paired:
        emptied = replace(measured, stream=replace(measured.stream, waiting=Tally()))
        return _moved(emptied, signal, settings, waiting, starts)
    measured = _with_round(measured, signal, settings, block, starts)
    unsure = measured.stream.unsure.plus(waiting.canary, waiting.stable)
    stream = replace(measured.stream, unsure=unsure, waiting=Tally())
    return replace(measured, stream=stream, waiting_from=None)


def _moved(
    measured: Measured, signal: Signal, settings: Settings, counts: Tally, starts: int
) -> Measured:
    """Move all tests of the signal by a table, and count it among the closed ones."""
    stream, known = measured.stream, measured.stream.known
    harm, promotion = _with_ratio(measured, signal, settings, counts, known)
    by_shape, renewed = measured.shape, measured.known
    if not signal.is_ratio:
        by_shape, renewed = _with_shape(measured, signal, counts, known, starts)
    return replace(
        measured,
        stream=replace(stream, closed=stream.closed.plus(counts.canary, counts.stable)),
        known=renewed,
        harm=harm,
        shape=by_shape,
        promotion=promotion,
    )


def _with_ratio(
    measured: Measured, signal: Signal, settings: Settings, waiting: Tally, known: Counts
) -> tuple[Logs, tuple[Logs, ...]]:
    """The tests of harm and of each weight, moved by a table."""
    first = bad_from(measured, signal)
    if first is None or not measured.harm:
        return measured.harm, measured.promotion
    table, rate = waiting.table(first), rate_of(known, first)
    factors = evalue.harm_logs(table, rate, settings.margin_of(signal))
    margins = [settings.promotion_margin(weight, signal) for weight in settings.ladder]
    return (
        multiplied(measured.harm, factors, measured.phi),
        promoted(measured.promotion, margins, table, rate, measured.phi),
    )


def _with_shape(
    measured: Measured, signal: Signal, waiting: Tally, known: Counts, starts: int
) -> tuple[Logs, Counts]:
    """The test of the distribution, moved by a table, and what its alternatives were made of."""
    renewed = _renewed(measured.known, known, len(waiting.stable))
    if signal.worse is Worse.HIGHER:
        within = floor_buckets(measured, signal)
        slower = shape.alternatives(merged(renewed, within), measured.edges[within - 1 :])
        canary, stable = merged(waiting.canary, within), merged(waiting.stable, within)
        factors = shape.shape_logs(canary, stable, slower)
    else:
        ordered = signal.kind is Kind.HISTOGRAM
        other = divergence.alternatives(renewed, ordered)
        factors = divergence.divergence_logs(waiting.canary, waiting.stable, other)
    before = measured.shape or mixture.start(mixture.fresh(len(factors)), 0, starts)
    return multiplied(before, factors, measured.phi), renewed


def _with_round(
    measured: Measured, signal: Signal, settings: Settings, block: Block, starts: int
) -> Measured:
    """Notice an incident of stable in the waiting table; with a new round, settle the one before.

    Arms that are read at different moments see the edges of a shared incident at different moments.
    So what one round says counts once the next shows that stable was calm before, in and after it;
    all else goes to stable's history. That looks at stable only, and takes no factor of a table
    that does count, so that the product is an e-value still.
    """
    since = measured.round_at
    is_new = since is None or (block.at - since).total_seconds() > 0.5 * block.seconds
    unusual = _is_incident(measured, signal)
    if is_new:
        settled = measured.calm >= CALM and not unusual
        measured = _settled(measured, signal, settings, starts, settled)
        measured = replace(measured, round_at=block.at, calm=min(CALM, measured.calm + 1))
    return replace(measured, calm=0) if unusual else measured


def _settled(
    measured: Measured, signal: Signal, settings: Settings, starts: int, counts: bool
) -> Measured:
    """Let the round that was unsure count, or not."""
    unsure, stream = measured.stream.unsure, replace(measured.stream, unsure=Tally())
    if not unsure.is_enough:
        return measured
    if not counts:
        return replace(measured, stream=replace(stream, history=add(stream.history, unsure.stable)))
    return _moved(replace(measured, stream=stream), signal, settings, unsure, starts)


def _is_incident(measured: Measured, signal: Signal) -> bool:
    """Whether stable has far more bad or unusual requests in the waiting table than it used to."""
    first = bad_from(measured, signal) or unusual_from(measured)
    table, rate = measured.stream.waiting.table(first), rate_of(measured.stream.known, first)
    usual = table.stable_requests * rate
    return table.stable_bad > usual + _INCIDENT_DEVIATIONS * sqrt(usual * (1.0 - rate))


def merged(counts: Counts, first: int) -> Counts:
    """Count the first so many buckets as one."""
    return (sum(counts[:first]), *counts[first:])


def _renewed(used: Counts, known: Counts, buckets: int) -> Counts:
    """What a shape's alternatives are made of: renewed when stable's counts grew by a quarter.

    Any choice made before the block is valid; this one keeps alternatives for many blocks.
    """
    known = known or (0,) * buckets
    return known if not used or sum(known) > 1.25 * sum(used) + 50 else used


def multiplied(logs: Logs, factors: Sequence[float], phi: float) -> Logs:
    """Multiply a mixture by a block's factors, each to the power of 1/phi.

    A power below one keeps an e-value one (Jensen), and takes the dependence out that makes counts
    vary phi times as much as independent requests would.
    """
    return mixture.multiply(logs, [factor / phi for factor in factors] if phi > 1.0 else factors)


def promoted(
    states: tuple[Logs, ...], margins: Sequence[float], table: Table, rate: float, phi: float
) -> tuple[Logs, ...]:
    """Move the test of each weight, one margin each; none of none."""
    if not states:
        return states
    return tuple(
        multiplied(logs, evalue.promotion_logs(table, rate, margin), phi)
        for logs, margin in zip(states, margins, strict=True)
    )


def rate_of(known: Counts, first: int) -> float:
    """Estimate stable's share of bad outcomes from what was known before a block."""
    return evalue.running_rate(sum(known[first:]), sum(known))
