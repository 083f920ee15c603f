"""What a metric pack says, as values.

Owns how one label of a series becomes an outcome, and which labels tell arms and processes apart.
Must not know files, queries, or how counts are judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from headgate.core.counters import Arm
from headgate.ports import Arms, fill_template


class Kind(StrEnum):
    """What a signal counts: bad ones among all, values up to bounds, or one of a few categories."""

    RATIO = "ratio"
    HISTOGRAM = "histogram"
    CATEGORIES = "categories"


@dataclass(frozen=True, slots=True)
class ArmLabel:
    """The label that tells which arm a series is of, and the template of its value.

    A `*` at the end of the template stands for whatever follows.
    """

    label: str
    value: str

    def of(
        self, namespace: str, route: str, position: int | None, deployment: str = "", hash: str = ""
    ) -> str:
        """The label's value for one revision of one route; raises ValueError if it needs more."""
        given = {"namespace": namespace, "route": route, "position": position}
        revision = f"{deployment}-{hash}" if deployment and hash else ""
        given |= {"deployment": deployment, "hash": hash, "revision": revision}
        value = fill_template(self.value, given)
        if value is None:
            raise ValueError(f"{self.label}: {self.value!r} needs more than {given}")
        return value

    def names(self, arms: Arms) -> Mapping[str, Arm]:
        """The label's values of those arms that can be told by it; none if it tells both alike."""
        found: dict[str, Arm] = {}
        for arm, position, hash in (
            (Arm.STABLE, arms.stable, arms.stable_hash),
            (Arm.CANARY, arms.canary, arms.canary_hash),
        ):
            try:
                value = self.of(arms.namespace, arms.route, position, arms.deployment, hash or "")
            except ValueError:
                continue
            if value in found:
                return {}
            found[value] = arm
        return found


@dataclass(frozen=True, slots=True)
class Errors:
    """A counter by the value of a label: `outcomes` says which values are good and which bad.

    `5xx` there stands for every number of three digits that begins with 5. A value that is in
    neither is no request of its own, and is not counted.
    """

    metric: str
    label: str
    outcomes: Mapping[str, str]

    def outcome(self, value: str) -> str | None:
        """`good`, `bad`, or None for what is not to be counted."""
        found = self.outcomes.get(value)
        if found is None and len(value) == 3 and value.isdecimal():
            return self.outcomes.get(f"{value[0]}xx")
        return found


@dataclass(frozen=True, slots=True)
class Latency:
    """A classic histogram: cumulative buckets by upper bound, in a unit of the source's own.

    `seconds_per_unit` turns a bound into seconds, or into what the signal's threshold is in.
    Bounds below zero are none unless the values are `signed`: no time is negative.
    """

    metric: str
    label: str
    seconds_per_unit: Decimal
    signed: bool = False

    def outcome(self, value: str) -> str | None:
        """The upper bound in seconds, as Prometheus writes it; raises ValueError if it is none."""
        try:
            bound = Decimal(value)
        except InvalidOperation as error:
            raise ValueError(f"{value!r} is not a bucket's upper bound") from error
        if bound.is_infinite() and bound > 0:
            return "+Inf"
        if not bound.is_finite() or (bound < 0 and not self.signed):
            raise ValueError(f"{value!r} is not a bucket's upper bound")
        scaled = (bound * self.seconds_per_unit).normalize()
        return f"{scaled:f}" if scaled else "0"


@dataclass(frozen=True, slots=True)
class Categories:
    """One counter for each value of a label; the value is the outcome."""

    metric: str
    label: str

    def outcome(self, value: str) -> str | None:
        """The category as it is written."""
        return value


@dataclass(frozen=True, slots=True)
class Whole:
    """A metric that counts one outcome, whatever its labels say."""

    metric: str
    counts: str
    label: str = ""

    def outcome(self, value: str) -> str | None:
        """The one outcome."""
        return self.counts


Measure = Errors | Latency | Categories | Whole


@dataclass(frozen=True, slots=True)
class Read:
    """One metric of a signal, with the labels its series must have."""

    measure: Measure
    matchers: Mapping[str, str] = field(default_factory=dict)
    any_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Labels that must have one of these values; `5xx` stands for the class as well."""


@dataclass(frozen=True, slots=True)
class Units:
    """Counters of single pods or endpoints: the label that names the unit, and what is read."""

    label: str
    reads: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class Signal:
    """What is read for one signal.

    `either` says that smaller values are as telling as larger ones. `by` are labels of which
    whoever reads must give one value each, such as the feature. `labels` tell series of one process
    apart beside the measure's own; None: all labels do, except those that only say how a series was
    scraped. `types` is what each metric must be.
    """

    kind: Kind
    text: str
    reads: tuple[Read, ...]
    unit: str = ""
    bad: str = ""
    either: bool = False
    by: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = ()
    units: Units | None = None
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pack:
    """One source: the labels that place a series, and the signals by their stable names."""

    name: str
    title: str
    text: str
    arm: ArmLabel
    scope: Mapping[str, str]
    """Labels by template that keep to one tenant, where the arm's value alone does not."""
    instance: tuple[str, ...]
    signals: Mapping[str, Signal]
    paired: bool = False
    """Whether one scrape reads both arms at the same instant, as of a gateway or a collector."""

    def signal(self, name: str) -> Signal:
        """The signal of that name; raises ValueError, with the names there are, if it has none."""
        if name not in self.signals:
            known = ", ".join(self.signals)
            raise ValueError(f"pack {self.name} has no signal {name!r}; there are: {known}")
        return self.signals[name]

    @property
    def errors(self) -> Errors | None:
        """The counter of answers by class; None if the source has none."""
        return next((m for m in self._measures("errors") if isinstance(m, Errors)), None)

    @property
    def latency(self) -> Latency | None:
        """The histogram of response times; None if the source has none."""
        return next((m for m in self._measures("latency") if isinstance(m, Latency)), None)

    def _measures(self, name: str) -> tuple[Measure, ...]:
        signal = self.signals.get(name)
        return tuple(read.measure for read in signal.reads) if signal else ()
