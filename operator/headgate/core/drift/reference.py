"""Live against a training reference: has a feature drifted, since when and how?

Owns the detector and what it remembers. Must not know where counts come from, nor what follows from
a drift.

After each tick, a way's sum of bets becomes M <- e (M + w): a stake w is placed anew at each tick
and stays in the game, so a drift may begin at any time. With w = 1 / ticks the stakes of that many
ticks add up to 1, so their chance of a false alarm at M >= 1 / alpha is at most alpha (and beta for
the reference, see `table`), however the ticks are looked at; as an average run length it is at
least ticks / alpha. Ways and features are averaged, which no dependence between them can break.
Source: Shin, Ramdas, Rinaldo, arXiv 2203.03532 (e-detectors); haircut and tables as in `table`.

Events of one session or batch are alike, and a tick of them counts for less. So log e is divided by
the design effect: the dispersion of neighbouring ticks around each other (a step between two ticks
barely raises it), as the reference's own at first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt
from operator import mul

from headgate.core.drift.bins import Counts, add, size
from headgate.core.drift.profile import Feature, NumberFeature, Profile, reference
from headgate.core.drift.table import Table, table

PREDICTION_WEIGHT = 0.4
_PRIOR_PAIRS = 10.0  # ticks for which the reference's design effect is trusted
_DECIMALS = 5


@dataclass(frozen=True, slots=True)
class Risk:
    """What is promised: at most `alpha + beta` false alarms in `ticks` ticks, or in `events`.

    `events`, if given, replaces `ticks`. `tolerance` is a shift, in standard deviations, that is
    never worth an alarm.
    """

    alpha: float = 0.01
    beta: float = 0.01
    ticks: int = 10_080
    events: int | None = None
    tolerance: float = 0.0

    def stake(self, events: int) -> float:
        """Return the stake w of a tick with so many events."""
        return 1.0 / self.ticks if self.events is None else events / self.events


@dataclass(frozen=True, slots=True)
class State:
    """What must be remembered of a feature's ticks; about 0.5 kB as JSON.

    `logs` holds log M of each way (none before the first events). `run` is what the present run of
    ticks added to log M; it began with tick `since`, after which `run` was never 0 or less, and
    `counts` is its sum. The last four are sums over neighbouring ticks: their distance, its degrees
    of freedom, their distance as a shift, and how many pairs there were.
    """

    ticks: int = 0
    logs: tuple[float, ...] = ()
    run: float = 0.0
    since: int = 0
    counts: Counts = ()
    last: Counts = ()
    distance: float = 0.0
    freedom: float = 0.0
    shift: float = 0.0
    pairs: int = 0


@dataclass(frozen=True, slots=True)
class Drift:
    """What is known of one feature.

    `e` at `threshold` or above is a drift. `since` is the number of the tick (from 0) from which
    the evidence stems, `events` how many came since, `now` their shares and `reference` the
    training's (missing last). `psi` is the population stability index; of the same events without
    any drift it would be about `psi_by_chance`, so it is a description and not a test. `floor` is
    the smallest shift, in standard deviations, that this reference can show.
    """

    feature: str
    e: float
    threshold: float
    change: str
    since: int
    events: int
    now: tuple[float, ...]
    reference: tuple[float, ...]
    psi: float
    psi_by_chance: float
    design_effect: float
    floor: float

    @property
    def is_drift(self) -> bool:
        """Whether the evidence suffices."""
        return self.e >= self.threshold


@dataclass(frozen=True, slots=True)
class DriftReport:
    """All features together; `drifts` has the strongest evidence first."""

    e: float
    threshold: float
    drifts: tuple[Drift, ...]

    @property
    def is_drift(self) -> bool:
        """Whether the features' evidence, averaged, suffices."""
        return self.e >= self.threshold


def fold(feature: Feature, state: State, tick: Counts, risk: Risk, features: int = 1) -> State:
    """Take one tick's events into account; a tick without events proves nothing.

    Args:
        feature: The reference.
        state: What is known of the ticks before.
        tick: Events per bin in this tick, missing ones last, summed over replicas.
        risk: What is promised.
        features: How many features are watched together.

    Raises:
        ValueError: The tick has other bins than the feature.
    """
    if len(tick) != size(feature):
        raise ValueError(f"{feature.name}: wanted {size(feature)} bins, found {len(tick)}")
    events = sum(tick)
    if not events:
        return replace(state, ticks=state.ticks + 1)
    known = table(feature, features, risk.beta, risk.tolerance)
    state = _with_dispersion(state, known, tick, isinstance(feature, NumberFeature))
    phi, stake = design_effect(feature, state), log(risk.stake(events))
    placed = [_log_sum((m, stake)) for m in state.logs or (-inf,) * len(known.ways)]
    logs = tuple(
        round(m + sum(map(mul, way.logs, tick)) / phi, _DECIMALS)
        for m, way in zip(placed, known.ways, strict=True)
    )
    gain = _log_mean(known, logs) - _log_mean(known, placed) if logs else 0.0
    begins = state.run <= 0.0
    return replace(
        state,
        ticks=state.ticks + 1,
        logs=logs,
        run=round(max(state.run, 0.0) + gain, _DECIMALS),
        since=state.ticks if begins else state.since,
        counts=tick if begins else add(state.counts, tick),
        last=tick,
    )


def _with_dispersion(state: State, known: Table, tick: Counts, ordered: bool) -> State:
    """Add the distance of this tick from the last one.

    Expected values are those of shuffling both ticks' events: of Pearson's statistic (bins - 1)
    n / (n - 1), of the squared standardised difference of mean scores 1.
    """
    if not state.last:
        return state
    n_a, n_b = sum(state.last), sum(tick)
    n = n_a + n_b
    both = [
        (a, b, score) for a, b, score in zip(state.last, tick, known.scores, strict=True) if a + b
    ]
    if len(both) < 2:
        return state
    pearson = sum((a * n_b - b * n_a) ** 2 / (a + b) for a, b, _ in both) / (n_a * n_b)
    mean = sum((a + b) * score for a, b, score in both) / n
    spread = sum((a + b) * (score - mean) ** 2 for a, b, score in both) / (n - 1)
    gap = sum((a / n_a - b / n_b) * score for a, b, score in both)
    shift = gap * gap / (spread * (1 / n_a + 1 / n_b)) if ordered and spread else 0.0
    return replace(
        state,
        distance=round(state.distance + pearson * (n - 1) / n, _DECIMALS),
        freedom=state.freedom + len(both) - 1,
        shift=round(state.shift + shift, _DECIMALS),
        pairs=state.pairs + 1,
    )


def design_effect(feature: Feature, state: State) -> float:
    """Return how many events count as one, at least 1, from what is known so far.

    The larger of what all bins together say and what a shift says; the latter has one number a pair
    only, so one standard error is taken off before it is believed.
    """
    prior, pairs = feature.design_effect, state.pairs
    weight = pairs / (_PRIOR_PAIRS + pairs)
    everywhere = state.distance / state.freedom if state.freedom else prior
    shift = state.shift / pairs * (1.0 - sqrt(2.0 / pairs)) if pairs > 1 else prior
    return max(1.0, *(weight * found + (1.0 - weight) * prior for found in (everywhere, shift)))


def _log_mean(known: Table, logs: Sequence[float]) -> float:
    return _log_sum([log(way.stake) + m for way, m in zip(known.ways, logs, strict=True)])


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs, default=-inf)
    return top if top == -inf else top + log(sum(exp(one - top) for one in logs))


def conclude(
    feature: Feature, state: State, risk: Risk, features: int = 1, weight: float = 1.0
) -> Drift:
    """Say what is known; `weight` is the feature's part of the promise, which it alone spends."""
    known = table(feature, features, risk.beta, risk.tolerance)
    seen = reference(feature)
    events = sum(state.counts)
    shares = [(m + log(way.stake), way) for m, way in zip(state.logs, known.ways, strict=False)]
    leading = max(shares, key=lambda share: share[0], default=None)
    return Drift(
        feature=feature.name,
        e=exp(min(_log_sum([m for m, _ in shares]), 700.0)),
        threshold=1.0 / (risk.alpha * weight),
        change=leading[1].change if leading else "",
        since=state.since,
        events=events,
        now=tuple(count / events for count in state.counts) if events else (),
        reference=seen,
        psi=psi(feature, state.counts) if events else 0.0,
        psi_by_chance=(len(seen) - 1) * (1 / events + feature.design_effect / feature.rows)
        if events
        else inf,
        design_effect=design_effect(feature, state),
        floor=known.floor,
    )


def psi(feature: Feature, counts: Counts) -> float:
    """Return the population stability index of counts against the reference.

    Half an event is added to each bin of both, so that an empty bin stays finite. Its size depends
    on how many rows and events there are.
    Source: Yurdakul (2018), Statistical Properties of Population Stability Index, WMU thesis 3208.
    """
    bins, events = len(counts), sum(counts)
    total = 0.0
    for share, count in zip(reference(feature), counts, strict=True):
        p = (share * feature.rows + 0.5) / (feature.rows + 0.5 * bins)
        q = (count + 0.5) / (events + 0.5 * bins)
        total += (q - p) * log(q / p)
    return total


def detect(
    feature: Feature,
    ticks: Sequence[Counts],
    risk: Risk = Risk(),
    features: int = 1,
    weight: float = 1.0,
) -> Drift:
    """Compare a feature's ticks, oldest first, with its reference."""
    state = State()
    for tick in ticks:
        state = fold(feature, state, tick, risk, features)
    return conclude(feature, state, risk, features, weight)


def detect_all(
    profile: Profile,
    inputs: Mapping[str, Sequence[Counts]],
    predictions: Sequence[Counts] = (),
    risk: Risk = Risk(),
) -> DriftReport:
    """Compare everything that was counted with a profile.

    Args:
        profile: The reference.
        inputs: Ticks by the feature's name; features without ticks count as "nothing seen".
        predictions: Ticks of what the model answered.
        risk: What is promised for all of them together.
    """
    named = [(one, inputs.get(one.name, ())) for one in profile.features]
    weights = weights_of(profile)
    if profile.predictions is not None:
        named.append((profile.predictions, predictions))
    drifts = [
        detect(feature, ticks, risk, len(named), weight)
        for (feature, ticks), weight in zip(named, weights, strict=True)
    ]
    e = sum(drift.e * weight for drift, weight in zip(drifts, weights, strict=True))
    drifts.sort(key=lambda drift: -drift.e / drift.threshold)
    return DriftReport(e, 1.0 / risk.alpha, tuple(drifts))


def weights_of(profile: Profile) -> tuple[float, ...]:
    """Split the promise: PREDICTION_WEIGHT for predictions, the rest evenly over features."""
    count = len(profile.features)
    if profile.predictions is None:
        return (1.0 / count,) * count
    if not count:
        return (1.0,)
    return (*((1.0 - PREDICTION_WEIGHT) / count,) * count, PREDICTION_WEIGHT)
