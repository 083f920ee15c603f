"""
Owns how a person says what is measured beyond errors and latency: series, signals, drift.

A person names series and labels, never a free PromQL expression: what is asked of Prometheus is
written by Headgate, which adds the arm, so that a signal can neither read another tenant's data
unseen nor say something else than it seems to. It must not know how series are read.
"""

import re
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from .names import Digest, DnsLabel, DnsName
from .quantities import Between, Number, Percentage
from .schema import VALIDATIONS, rule
from .shape import Shape

MetricName = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")
]
"""The name of a metric in Prometheus."""

LabelName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
"""The name of a label in Prometheus."""

LabelValue = Annotated[str, Field(max_length=256, pattern=r"^\P{C}*$")]
"""The value of a label, as text: it is never a pattern."""


_T = TypeVar("_T")
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")


def _label_names(matchers: dict[str, _T]) -> dict[str, _T]:
    """Refuse keys that are no label's name; a CRD cannot say it of a map."""
    for name in matchers:
        if not _LABEL_NAME.fullmatch(name):
            raise PydanticCustomError(
                "quantity", "wanted {wanted}", {"wanted": "names of labels as keys"}
            )
    return matchers


def one_of(*names: str) -> ConfigDict:
    """Say that exactly one of these fields is wanted."""
    listed = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)
    words = f"{', '.join(names[:-1])} and {names[-1]}"
    wanted = rule(f"{listed} == 1", f"wanted exactly one of {words}")
    return ConfigDict(json_schema_extra={VALIDATIONS: [wanted]})


class Selector(Shape):
    """Raw counters in Prometheus: a metric and labels that its series must have."""

    metric: MetricName
    """Name of the metric; a counter, or the buckets of a histogram."""
    matchers: Annotated[
        dict[str, LabelValue], Field(max_length=16), AfterValidator(_label_names)
    ] = Field(default_factory=dict)
    """Labels and their values, compared as text; at most 16."""
    any_of: (
        Annotated[
            dict[str, Annotated[tuple[LabelValue, ...], Field(min_length=1, max_length=16)]],
            Field(max_length=8),
            AfterValidator(_label_names),
        ]
        | None
    ) = None
    """
    Labels that may have any of several values, compared as text, but that 5xx also stands for every
    number of three digits that begins with 5; at most 8 labels of at most 16 values.
    """


class ArmValue(StrEnum):
    """What the label of an arm holds: the InferenceService, the hash, or the name of a pod."""

    REVISION = "Revision"
    HASH = "Hash"
    POD = "Pod"


class ArmLabel(Shape):
    """Which label tells whose series it is, the canary's or stable's."""

    label: LabelName = "pod"
    """Name of the label."""
    value: ArmValue = ArmValue.POD
    """
    What it holds: Revision (the InferenceService, such as fraud-9c1d02ab), Hash (its last eight
    digits), or Pod (a pod's name, which begins with the InferenceService's).
    """


class RatioSignal(Shape):
    """A share of bad ones: two counters, of which one counts them all."""

    bad: Selector
    """Counter of the bad ones."""
    total: Selector
    """Counter of all, the bad ones included."""


class Direction(StrEnum):
    """In which direction a canary does harm."""

    HIGHER = "Higher"
    EITHER = "Either"


class HistogramSignal(Shape):
    """A classic histogram: a canary is worse by larger values, or by any difference."""

    buckets: Selector
    """The buckets; the metric's name ends in _bucket."""
    worse: Direction = Direction.HIGHER
    """Higher: larger values are harm, as with times. Either: any difference is."""
    unit: Annotated[str, Field(max_length=16, pattern=r"^[A-Za-z0-9 /%]*$")] = ""
    """Unit of the values, for people."""


class CategoriesSignal(Shape):
    """A counter for each class, such as a reason or a language; any difference is harm."""

    counter: Selector
    """The counters."""
    label: LabelName
    """Label that names the class."""


class PackSignal(Shape):
    """A signal that a metric pack knows, such as time-to-first-token of vllm."""

    name: DnsLabel
    """Name of the pack: istio, knative, kserve, vllm."""
    signal: DnsLabel
    """Name of the signal in it."""


class OnSignal(StrEnum):
    """What follows when a signal shows harm."""

    ROLL_BACK = "RollBack"
    FREEZE = "Freeze"


class ModelSignal(Shape):
    """Something measured on both arms at the same time, by which a canary can be worse."""

    model_config = one_of("pack", "ratio", "histogram", "categories")

    name: DnsLabel
    """Name of the signal, as reasons and records call it."""
    pack: PackSignal | None = None
    """A signal of a shipped metric pack."""
    ratio: RatioSignal | None = None
    """Bad ones out of all."""
    histogram: HistogramSignal | None = None
    """Values in buckets."""
    categories: CategoriesSignal | None = None
    """Classes by name."""
    arm: ArmLabel = ArmLabel()
    """Which label tells the arms apart; a pack knows its own."""
    threshold: Number | None = None
    """
    Values over it are bad, and a weight is earned by proof that the canary has hardly more of them;
    an edge of the buckets, in their unit.
    """
    margin: Annotated[Percentage, Between("0", "50")] | None = None
    """Percentage points of bad ones that are no harm yet; rollout.margin if absent."""
    tolerance: Annotated[Percentage, Between("0.01", "50")] | None = None
    """As rollout.tolerance, for this signal; that one if absent."""
    on_breach: OnSignal = OnSignal.ROLL_BACK
    """RollBack takes the canary back; Freeze keeps it from further weight."""


class ConfigMapKey(Shape):
    """A key of a ConfigMap in the deployment's namespace."""

    name: DnsName
    """Name of the ConfigMap."""
    key: Annotated[str, Field(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "profile.json"
    """Key in its data."""


class ProfileAddress(Shape):
    """A profile on a web server; the address may go once the revision is made."""

    address: Annotated[str, Field(max_length=1024, pattern=r"^https://[!-~]+$")]
    """An https address at a host that the operator may ask (its setting --profile-host)."""
    digest: Digest
    """Digest of the profile, as `headgate profile build` and `show` print it."""


class Reference(Shape):
    """The training data's profile, made by `headgate profile build`."""

    model_config = one_of("configMap", "url")

    config_map: ConfigMapKey | None = None
    """A ConfigMap that has it; its contents are part of the revision."""
    url: ProfileAddress | None = None
    """A web server that has it; its digest is part of the revision, which keeps a copy."""


class PredictionsDrift(Shape):
    """Compare the canary's predictions with stable's at the same moment."""

    on_breach: OnSignal = OnSignal.ROLL_BACK
    """RollBack takes the canary back; Freeze keeps it from further weight."""


class OnInputs(StrEnum):
    """What follows when the inputs are not what the model was trained on."""

    NOTIFY = "Notify"
    FREEZE = "Freeze"
    ROLL_BACK = "RollBack"
    ALWAYS_ROLL_BACK = "AlwaysRollBack"


class InputsDrift(Shape):
    """Compare live inputs, feature by feature, with the reference."""

    on_breach: OnInputs = OnInputs.FREEZE
    """
    Notify tells, Freeze also keeps rollouts from starting and going on. RollBack takes a canary
    back whose inputs differ from stable's in the drifted feature, AlwaysRollBack any canary.
    """


class Drift(Shape):
    """What is watched of a model's data; needs the collector."""

    reference: Reference
    """The training data's profile."""
    predictions: PredictionsDrift | None = None
    """Compare the canary's predictions with stable's; write {} for the defaults."""
    inputs: InputsDrift | None = None
    """Compare live inputs with the reference; write {} for the defaults."""
