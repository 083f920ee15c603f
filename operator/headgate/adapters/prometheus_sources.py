"""From what a signal reads to what is asked, and from what is answered back to series.

Owns which labels make an arm, an instance and an outcome. Must not know how questions travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, floor
from typing import TypeVar

from headgate.adapters.packs import (
    TOTAL,
    ArmLabel,
    Categories,
    Kind,
    Latency,
    Pack,
    Read,
    Signal,
    Units,
    Whole,
    load_pack,
)
from headgate.adapters.packs.model import Measure
from headgate.adapters.prometheus_answer import RawSeries
from headgate.adapters.prometheus_query import Question, quote
from headgate.core.counters import BAD, GOOD, Arm, Series
from headgate.ports import (
    Arms,
    MetricsUnavailable,
    Selector,
    SignalSource,
    UnitSeries,
    fill_template,
)

MOST_POINTS = 11_000
"""Values of one series in a range query; Prometheus refuses more (web/api/v1, `queryRange`)."""

SCRAPE_LABELS = frozenset(
    {
        *("__name__", "job", "endpoint", "service", "container", "cluster", "monitor"),
        *("prometheus", "prometheus_replica", "replica", "receive", "tenant_id"),
    }
)
"""Labels that say how a series was scraped or stored, by the defaults of Prometheus Operator,
Thanos and Mimir. Series that differ in nothing else are one counter that is there twice."""

_T = TypeVar("_T", Series, UnitSeries)


@dataclass(frozen=True, slots=True)
class Resolved:
    """One source with everything that its pack says of it."""

    name: str
    signal: Signal
    arm: ArmLabel
    scope: Mapping[str, str]
    by: Mapping[str, str]
    instance: tuple[str, ...]


def resolve(source: SignalSource, chosen: Pack) -> Resolved:
    """Look up a source's pack; `chosen` is the one for those that name none.

    Raises ValueError for a pack or signal that there is not, and for a label that it needs.
    """
    if source.pack_signal is None:
        return _resolve_own(source)
    pack = load_pack(source.pack) if source.pack is not None else chosen
    signal = pack.signal(source.pack_signal)
    missing = [label for label in signal.by if label not in source.matchers]
    if missing:
        about = f"pack {pack.name}, signal {source.pack_signal}"
        raise ValueError(f"matchers: {about} needs one value of {', '.join(missing)}")
    further = {k: v for k, v in source.matchers.items() if k not in signal.by}
    reads = tuple(replace(r, matchers={**further, **r.matchers}) for r in signal.reads)
    return Resolved(
        name=source.name,
        signal=replace(signal, reads=reads),
        arm=ArmLabel(source.arm_label, source.arm_value) if source.arm_label else pack.arm,
        scope={**pack.scope, **source.scope},
        by={label: source.matchers[label] for label in signal.by},
        instance=pack.instance,
    )


def _resolve_own(source: SignalSource) -> Resolved:
    def read(selector: Selector, measure: Measure) -> Read:
        return Read(measure, {**source.matchers, **selector.matchers}, selector.any_of)

    kind, reads = Kind.RATIO, tuple[Read, ...]()
    part = source.bad or source.good
    if part and source.total:
        outcome, total = BAD if source.bad else GOOD, source.total
        reads = (read(part, Whole(part.metric, outcome)), read(total, Whole(total.metric, TOTAL)))
    elif source.histogram:
        measure = Latency(source.histogram.metric, "le", source.unit, signed=True)
        kind, reads = Kind.HISTOGRAM, (read(source.histogram, measure),)
    elif source.categories:
        found = Categories(source.categories.metric, source.category_label)
        kind, reads = Kind.CATEGORIES, (read(source.categories, found),)
    unit = "pod" if "pod" in source.instance else source.instance[0]
    signal = Signal(kind, "", reads, labels=None, units=Units(unit, reads))
    arm = ArmLabel(source.arm_label, source.arm_value)
    return Resolved(source.name, signal, arm, source.scope, {}, source.instance)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One metric of one source: what is asked, and what makes a series of an answer."""

    source: Resolved
    measure: Measure
    question: Question

    def series(self, found: Sequence[RawSeries]) -> Sequence[Series]:
        """Place answers at their arm, instance and outcome, in a fixed order.

        Raises MetricsUnavailable for a counter that is there twice and for labels that are not.
        """

        def make(raw: RawSeries, arm: Arm, outcome: str) -> Series | None:
            points = raw.points()
            instance, key = self._instance(raw), self._key(raw)
            return Series(self.source.name, arm, instance, outcome, key, points) if points else None

        return self._place(found, make, lambda s: (s.arm, s.instance, s.key))

    def units(self, label: str, found: Sequence[RawSeries]) -> Sequence[UnitSeries]:
        """Place answers at their unit, which `label` names; otherwise as `series`."""

        def make(raw: RawSeries, arm: Arm, outcome: str) -> UnitSeries | None:
            if not raw.labels.get(label):
                raise MetricsUnavailable(f"wanted label {label}, found {dict(raw.labels)}")
            points = raw.points()
            key = f"{self._instance(raw)} {self._key(raw)}".rstrip()
            return UnitSeries(raw.labels[label], outcome, points, key) if points else None

        return self._place(found, make, lambda s: (s.unit, s.key))

    def _place(
        self,
        found: Sequence[RawSeries],
        make: Callable[[RawSeries, Arm, str], _T | None],
        place_of: Callable[[_T], tuple[str, ...]],
    ) -> Sequence[_T]:
        placed: dict[tuple[str, ...], _T] = {}
        for raw in found:
            arm, outcome = self._arm(raw), self._outcome(raw)
            one = make(raw, arm, outcome) if arm is not None and outcome is not None else None
            if one is None:
                continue
            place = place_of(one)
            if place in placed:
                raise MetricsUnavailable(f"one counter is there twice: {dict(raw.labels)}")
            placed[place] = one
        return [placed[place] for place in sorted(placed)]

    def _arm(self, raw: RawSeries) -> Arm | None:
        value = raw.labels.get(self.question.label, "")
        names = self.question.names
        prefixes = (name for name in names if name.endswith("*") and value.startswith(name[:-1]))
        return names[value] if value in names else names.get(next(prefixes, ""))

    def _outcome(self, raw: RawSeries) -> str | None:
        """Name the outcome; None if the series counts nothing of ours."""
        first, *_ = self.source.instance
        wanted = [label for label in (self.measure.label, first) if label]
        if not all(label in raw.labels for label in wanted):
            raise MetricsUnavailable(
                f"wanted labels {' and '.join(wanted)}, found {dict(raw.labels)}"
            )
        try:
            return self.measure.outcome(raw.labels.get(self.measure.label, ""))
        except ValueError as error:
            raise MetricsUnavailable(str(error)) from error

    def _instance(self, raw: RawSeries) -> str:
        return "/".join(raw.labels[name] for name in self.source.instance if name in raw.labels)

    def _key(self, raw: RawSeries) -> str:
        """The measure's own label, and what else tells series of one process apart."""
        own, labels = self.measure.label, self.source.signal.labels
        further = sorted(raw.labels) if labels is None else labels
        known = {own, self.question.label, *self.source.instance, *self.source.scope}
        if labels is None:
            known |= SCRAPE_LABELS
        parts = [raw.labels[own]] if own else []
        parts += [
            f"{name}={quote(raw.labels[name])}"
            for name in further
            if name not in known and raw.labels.get(name)
        ]
        return ",".join(parts)


@dataclass(frozen=True, slots=True)
class Period:
    """Which samples are wanted: those of `seconds` before `at`, or the values at each `step`."""

    at: datetime
    seconds: int
    step: int | None = None

    @classmethod
    def stepped(cls, since: datetime, now: datetime, step: timedelta) -> Period:
        """From `since` to `now` in multiples of `step`, so that two reads sample the same moments.

        The latest 11,000 moments are read where there are more. Raises ValueError for a step that
        is not whole seconds.
        """
        seconds = int(step.total_seconds())
        if seconds < 1 or step != timedelta(seconds=seconds):
            raise ValueError(f"step: wanted whole seconds, found {step}")
        last = floor(now.timestamp() / seconds) * seconds
        first = ceil(since.timestamp() / seconds) * seconds
        window = min(max(0, last - first), (MOST_POINTS - 1) * seconds)
        return cls(datetime.fromtimestamp(last, now.tzinfo), window, seconds)


def wanted(
    source: Resolved,
    reads: Sequence[Read],
    names: Mapping[str, Arm],
    arms: Arms,
    period: Period,
    platform: Mapping[str, str],
) -> Iterator[Wanted]:
    """Give what is to be asked for these reads of a source; nothing if no arm can be told.

    The labels of the arm, of the scope and of the platform are ours: matchers on them that come
    from elsewhere are dropped.
    """
    given = {"namespace": arms.namespace, "route": arms.route, "deployment": arms.deployment}
    scope = {label: fill_template(value, given) for label, value in source.scope.items()}
    if not names:
        return
    known = {label: value for label, value in scope.items() if value is not None}
    if len(known) < len(scope):
        missing = ", ".join(label for label in scope if label not in known)
        raise ValueError(f"scope: {missing} needs more than {given}")
    for label, value in source.by.items():
        known.setdefault(label, value)
    ours = {source.arm.label, *known, *platform}
    for read in reads:
        theirs = {k: v for k, v in read.matchers.items() if k not in ours}
        any_of = {label: v for label, v in read.any_of.items() if label not in ours}
        question = Question(
            metric=read.measure.metric,
            label=source.arm.label,
            names=names,
            scope=tuple(sorted(known.items())),
            matchers=tuple({**theirs, **platform}.items()),
            at=period.at,
            seconds=period.seconds,
            step=period.step,
            any_of=tuple(any_of.items()),
        )
        yield Wanted(source, read.measure, question)
