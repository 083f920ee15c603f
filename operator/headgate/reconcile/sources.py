"""Which series a rollout's signals are read from, and what they mean to the core.

Owns the translation of signals: from the API's words and the packs' data to the core's signals and
the port's sources. Must not know how series are queried or judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from headgate.adapters.packs import Whole, load_pack
from headgate.adapters.packs.model import Kind as PackKind
from headgate.adapters.packs.model import Signal as PackedSignal
from headgate.api.model_deployment import Objective
from headgate.api.model_rollout import Policy
from headgate.api.signals import (
    ArmLabel,
    ArmValue,
    Direction,
    ModelSignal,
    OnInputs,
    OnSignal,
)
from headgate.api.signals import Selector as Named
from headgate.core.counters import ERRORS, LATENCY, TOTAL, Kind
from headgate.core.drift.profile import Feature, NumberFeature, Profile
from headgate.core.signals import PREDICTIONS_SHARE, SIGNALS_SHARE, OnBreach, Signal, Worse
from headgate.ports import Selector, SignalSource

COLLECTOR = "headgate-collector"
PREDICTIONS = "drift/predictions"
INPUT = "input/"
"""Room of the signals that compare the arms' inputs, feature by feature."""

_BREACHES = {OnSignal.ROLL_BACK: OnBreach.ROLL_BACK, OnSignal.FREEZE: OnBreach.FREEZE}
ARM_VALUES = {
    ArmValue.REVISION: "{revision}",
    ArmValue.HASH: "{hash}",
    ArmValue.POD: "{revision}-*",
}
"""The templates of what an arm's label may hold."""

_TENANT = {"namespace": "{namespace}"}
"""What keeps a person's own series to the namespace of the deployment."""


def signals_of(policy: Policy, profile: Profile | None) -> tuple[Signal, ...]:
    """Translate everything beyond errors and latency that a rollout is judged by.

    `profile` is the canary's reference; without one nothing is said of its data. Raises ValueError
    for a pack or a signal of one that does not exist.
    """
    series = [o for o in policy.objectives if o.series is not None]
    acting = [s for s in policy.signals if s.on_breach is OnSignal.ROLL_BACK]
    share = SIGNALS_SHARE / max(1, len(acting) + len(series))
    return (
        *(_own_signal(signal, share) for signal in policy.signals),
        *(Signal(f"series/{o.name}", _series_kind(o), share, paired=False) for o in series),
        *_data_signals(policy, profile),
    )


def _own_signal(signal: ModelSignal, share: float) -> Signal:
    kind, worse, paired, unit = _nature(signal)
    on_breach = _BREACHES[signal.on_breach]
    return Signal(
        name=f"signal/{signal.name}",
        kind=kind,
        share=share if on_breach is OnBreach.ROLL_BACK else 0.0,
        worse=worse,
        on_breach=on_breach,
        margin=signal.margin.ratio if signal.margin is not None else None,
        tolerance=signal.tolerance.ratio if signal.tolerance is not None else None,
        threshold=signal.threshold.value if signal.threshold is not None else None,
        paired=paired,
        unit=unit,
    )


def _nature(signal: ModelSignal) -> tuple[Kind, Worse, bool, str]:
    """Kind, direction, whether both arms are read in one scrape, and unit."""
    if signal.pack is not None:
        pack = load_pack(signal.pack.name)
        packed = pack.signal(signal.pack.signal)
        kind = _packed_kind(packed)
        either = packed.either or kind is Kind.CATEGORIES  # classes have no order
        worse = Worse.EITHER if either else Worse.HIGHER
        return kind, worse, pack.paired, packed.unit
    if signal.histogram is not None:
        either = signal.histogram.worse is Direction.EITHER
        worse = Worse.EITHER if either else Worse.HIGHER
        return Kind.HISTOGRAM, worse, False, signal.histogram.unit
    if signal.categories is not None:
        return Kind.CATEGORIES, Worse.EITHER, False, ""
    return Kind.SHARE, Worse.HIGHER, False, ""


def _packed_kind(signal: PackedSignal) -> Kind:
    match signal.kind:
        case PackKind.HISTOGRAM:
            return Kind.HISTOGRAM
        case PackKind.CATEGORIES:
            return Kind.CATEGORIES
    counted = {r.measure.counts for r in signal.reads if isinstance(r.measure, Whole)}
    return Kind.SHARE if TOTAL in counted else Kind.RATIO


def _data_signals(policy: Policy, profile: Profile | None) -> list[Signal]:
    """The canary's predictions, and its inputs where they may take it back."""
    drift = policy.drift
    if drift is None or profile is None:
        return []
    found = []
    if drift.predictions is not None and profile.predictions is not None:
        on_breach = _BREACHES[drift.predictions.on_breach]
        share = PREDICTIONS_SHARE if on_breach is OnBreach.ROLL_BACK else 0.0
        kind = _kind_of(profile.predictions)
        found.append(Signal(PREDICTIONS, kind, share, Worse.EITHER, on_breach))
    if drift.inputs is not None and drift.inputs.on_breach is OnInputs.ROLL_BACK:
        found += [
            Signal(f"{INPUT}{one.name}", _kind_of(one), 0.0, Worse.EITHER, OnBreach.FREEZE)
            for one in profile.features
        ]
    return found


def _kind_of(feature: Feature) -> Kind:
    return Kind.HISTOGRAM if isinstance(feature, NumberFeature) else Kind.CATEGORIES


def sources_of(policy: Policy, signals: Sequence[Signal]) -> tuple[SignalSource, ...]:
    """List what is read for errors, latency and these signals, which `signals_of` made."""
    own = {f"signal/{signal.name}": signal for signal in policy.signals}
    series = {f"series/{o.name}": o for o in policy.objectives if o.series is not None}
    found = [SignalSource(name, pack_signal=name) for name in (ERRORS, LATENCY)]
    for signal in signals:
        if signal.name in own:
            found.append(own_source(own[signal.name]))
        elif signal.name in series:
            found.append(_series_source(series[signal.name]))
        elif signal.name == PREDICTIONS:
            found.append(_predictions_source(signal.kind))
        elif signal.name.startswith(INPUT):
            found.append(input_source(signal.name, signal.kind, signal.name.removeprefix(INPUT)))
    return tuple(found)


def own_source(signal: ModelSignal) -> SignalSource:
    """Translate a signal of the spec; raises ValueError for what can never be read."""
    name = f"signal/{signal.name}"
    if signal.pack is not None:
        return SignalSource(name, pack=signal.pack.name, pack_signal=signal.pack.signal)
    arm = _arm(signal.arm)
    if signal.histogram is not None:
        return SignalSource(name, histogram=_selector(signal.histogram.buckets), **arm)
    if signal.categories is not None:
        counter, label = _selector(signal.categories.counter), signal.categories.label
        return SignalSource(name, categories=counter, category_label=label, **arm)
    if signal.ratio is None:
        raise ValueError(f"{name}: wanted one of pack, ratio, histogram and categories")
    bad, total = _selector(signal.ratio.bad), _selector(signal.ratio.total)
    return SignalSource(name, bad=bad, total=total, **arm)


def _series_source(objective: Objective) -> SignalSource:
    series = objective.series
    if series is None:
        raise ValueError(f"objective {objective.name}: wanted series")
    name, total, arm = f"series/{objective.name}", _selector(series.total), _arm(series.arm)
    if series.good is not None:
        return SignalSource(name, good=_selector(series.good), total=total, **arm)
    if series.bad is not None:
        return SignalSource(name, bad=_selector(series.bad), total=total, **arm)
    raise ValueError(f"{name}: wanted good or bad")


def _series_kind(objective: Objective) -> Kind:
    counts_good = objective.series is not None and objective.series.good is not None
    return Kind.YIELD if counts_good else Kind.SHARE


def _selector(named: Named) -> Selector:
    return Selector(named.metric, named.matchers, named.any_of or {})


class _Arm(TypedDict):
    arm_label: str
    arm_value: str
    scope: Mapping[str, str]


def _arm(arm: ArmLabel) -> _Arm:
    return _Arm(arm_label=arm.label, arm_value=ARM_VALUES[arm.value], scope=_TENANT)


def _predictions_source(kind: Kind) -> SignalSource:
    signal = "predictions" if kind is Kind.HISTOGRAM else "prediction-categories"
    return SignalSource(PREDICTIONS, pack=COLLECTOR, pack_signal=signal)


def input_source(name: str, kind: Kind, feature: str) -> SignalSource:
    """What the collector counted of one feature."""
    signal = "inputs" if kind is Kind.HISTOGRAM else "input-categories"
    matchers = {"feature": feature}
    return SignalSource(name, pack=COLLECTOR, pack_signal=signal, matchers=matchers)


def missing_source(name: str, feature: str) -> SignalSource:
    """What the collector counted of rows without the feature."""
    matchers = {"feature": feature}
    return SignalSource(name, pack=COLLECTOR, pack_signal="input-missing", matchers=matchers)
