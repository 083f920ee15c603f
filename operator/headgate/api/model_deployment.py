"""
Owns the kind ModelDeployment: what should serve, how to get there, what would be a breach.

A person writes `spec` through Git; the operator writes `status` and never `spec`. What needs
more than one field to be judged is in `accept.py` and, where CEL can see it, in the rules here.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from .conditions import Conditions
from .names import DnsLabel, DnsName, Line, Reason, RevisionHash, Sentence, Token
from .names import Version as ModelVersion
from .proven_revision import ProvenRevision
from .quantities import Between, Duration, Lasting, Moment, Number, Percentage
from .records import ModelIdentity, RevisionReference, Template
from .schema import ListMap, ListSet, Rule
from .shape import Column, Kind, Metadata, Report, Shape
from .signals import ArmLabel, Drift, ModelSignal, Selector, one_of


class Gateway(Shape):
    """The Gateway that carries the traffic."""

    name: DnsName
    """Name of the Gateway."""
    namespace: DnsLabel | None = None
    """Namespace of the Gateway; the ModelDeployment's own if absent."""
    section_name: DnsName | None = None
    """Listener of the Gateway; all of them if absent."""


class Traffic(Shape):
    """Where requests come in."""

    gateway: Gateway
    """The Gateway that our HTTPRoute is attached to."""
    hostnames: Annotated[tuple[DnsName, ...], Field(min_length=1, max_length=16), ListSet()]
    """Host names that the model is served under, 1 to 16."""
    path_prefix: Annotated[
        str,
        Field(
            max_length=256,
            pattern=r"^(/|(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?)$",
        ),
    ] = "/"
    """Only requests whose path begins so reach the model."""
    timeout: Annotated[Duration, Lasting("1ms", "24h")] | None = None
    """Longest time a request may take at the gateway; without it there is no limit."""


class Step(Shape):
    """One weight and its shortest stay."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """Percent of requests that reach the canary, 1 to 100; steps ascend."""
    hold: Annotated[Duration, Lasting("0s", "30d")] = Duration("1m")
    """
    Shortest stay, from the first request the canary answers; the next weight is also earned by
    evidence.
    """


class OnInconclusive(StrEnum):
    """What to do when the evidence stays inconclusive."""

    HOLD = "Hold"
    PROMOTE = "Promote"
    ROLL_BACK = "RollBack"


DEFAULT_STEPS = (
    Step(weight=5, hold=Duration("5m")),
    Step(weight=25, hold=Duration("10m")),
    Step(weight=50, hold=Duration("10m")),
)


class Ramp(Shape):
    """Let the evidence choose the weights: each is entered as soon as it is earned."""

    first_weight: Annotated[int, Field(ge=1, le=50)] = 5
    """Percent of requests that the canary begins with, 1 to 50."""
    hold: Annotated[Duration, Lasting("0s", "30d")] = Duration("1m")
    """Shortest stay at each weight."""


RAMP_WEIGHTS = (1, 2, 5, 10, 20, 35, 50, 75)
"""The weights of a ramp: close enough together that an earned one is hardly above the next."""


class Rollout(Shape):
    """How a new revision gets its traffic."""

    auto: Ramp | None = None
    """Weights that follow the evidence instead of steps; write {} for the defaults."""
    steps: (
        Annotated[
            tuple[Step, ...],
            Field(min_length=1, max_length=20),
            Rule(
                "self.map(step, step.weight).isSorted() && "
                "self.all(step, self.exists_one(other, other.weight == step.weight))",
                "wanted weights that ascend from step to step",
            ),
        ]
        | None
    ) = None
    """Weights on the way to 100, 1 to 20 of them, ascending; 5, 25 and 50 if absent."""
    bake: Annotated[Duration, Lasting("0s", "30d")] = Duration("1h")
    """
    How long the predecessor stays warm while the new revision has all traffic and a breach still
    rolls back.
    """
    interval: Annotated[Duration, Lasting("1s", "5m")] = Duration("10s")
    """Time between two looks at the evidence, 1s to 5m."""
    confidence: Annotated[Percentage, Between("50", "99.99")] = Percentage("99")
    """
    100 minus the percentage of healthy canaries that may be rolled back, however often we look;
    "50" to "99.99".
    """
    margin: Annotated[Percentage, Between("0", "50")] = Percentage("0.1")
    """
    Percentage points by which a canary may be worse than stable before that counts as harm; "0"
    to "50".
    """
    tolerance: Annotated[Percentage, Between("0.01", "50")] = Percentage("0.5")
    """
    Percentage points of extra failures that all users together may be exposed to, unproven:
    weight w is entered when the canary is shown to be worse by less than 100 * tolerance / w;
    "0.01" to "50".
    """
    latency_floor: Annotated[Duration, Lasting("0s", "10m")] = Duration("25ms")
    """
    Requests answered within this time are equally fast: a canary is slower only by what it does
    beyond the next lower bucket edge of the gateway's histogram; "0s" counts every difference.
    """
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    """
    What to do when progressDeadline is over and the evidence is inconclusive: Hold, Promote or
    RollBack.
    """
    progress_deadline: Annotated[Duration, Lasting("1s", "90d")] = Duration("2h")
    """How long a candidate may take to become available, and a rollout to become conclusive."""
    paused: bool = False
    """True keeps the weight where it is; signals are still judged and a breach still rolls back."""
    retry: Token = ""
    """Change it to try a rejected revision again; any word will do."""
    emergency: bool = False
    """True starts a rollout in spite of an error budget that is empty or low; it is recorded."""

    @property
    def stages(self) -> tuple[Step, ...]:
        """The weights in force: the steps, those of the ramp, or the default."""
        if self.auto is None:
            return self.steps or DEFAULT_STEPS
        first, hold = self.auto.first_weight, self.auto.hold
        weights = (first, *(weight for weight in RAMP_WEIGHTS if weight > first))
        return tuple(Step(weight=weight, hold=hold) for weight in weights)


class DeploymentRollout(Rollout):
    """How a new revision gets its traffic, and what a cluster begins with that lost its state."""

    proven_revision: ProvenRevision | None = None
    """
    What was proven before, written by headgate export --proven: where nothing serves yet it comes
    first, and the rest of the spec is then a canary beside it. No part of the revision's hash.
    """


class ErrorsObjective(Shape):
    """Share of requests that do not fail; a failure is an answer 5xx or none at the gateway."""


class LatencyObjective(Shape):
    """Share of requests that are answered within a threshold."""

    threshold: Annotated[Duration, Lasting("1ms", "10m")]
    """Time within which a good request is answered at the gateway, 1ms to 10m."""


class SeriesObjective(Shape):
    """Share of good ones by counters of one's own: of the good, or of the bad ones."""

    model_config = one_of("good", "bad")

    good: Selector | None = None
    """Counter of the good ones."""
    bad: Selector | None = None
    """Counter of the bad ones."""
    total: Selector
    """Counter of all, good and bad."""
    arm: ArmLabel = ArmLabel()
    """Which label tells the canary's series from stable's."""


class OnBurn(StrEnum):
    """What follows when the error budget burns fast after the bake."""

    NOTIFY = "Notify"
    ROLL_BACK = "RollBack"


class Objective(Shape):
    """A service level that is promised; missing it is a breach."""

    model_config = one_of("errors", "latency", "series")

    name: DnsLabel
    """Name of the objective, as reasons and records call it."""
    target: Annotated[Percentage, Between("50", "99.999")]
    """Percentage of requests that must be good; "50" to "99.999"."""
    window: Annotated[Duration, Lasting("1d", "90d")] = Duration("30d")
    """Rolling time over which the error budget counts, 1d to 90d."""
    on_breach: OnBurn = OnBurn.NOTIFY
    """
    What follows when the budget burns fast after the bake: Notify, or RollBack to the revision that
    was proven before.
    """
    errors: ErrorsObjective | None = None
    """Good is what does not fail; write {}."""
    latency: LatencyObjective | None = None
    """Good is what is answered within a threshold."""
    series: SeriesObjective | None = None
    """Good is what counters of one's own say."""


Objectives = Annotated[tuple[Objective, ...], Field(max_length=8), ListMap("name")]


Signals = Annotated[tuple[ModelSignal, ...], Field(max_length=16), ListMap("name")]


class ModelDeploymentSpec(Shape):
    """What should serve, how to get there, and what would be a breach."""

    model: ModelIdentity
    """What the model is."""
    template: Template
    """How it is served: the InferenceService of each revision."""
    traffic: Traffic
    """Where requests come in."""
    rollout: Annotated[
        DeploymentRollout,
        Rule("!(has(self.auto) && has(self.steps))", "wanted steps or auto, not both"),
    ] = DeploymentRollout()
    """How a new revision gets its traffic."""
    objectives: Objectives = ()
    """Service levels that are promised, at most 8."""
    signals: Signals = ()
    """What else a canary is compared by, at most 16; errors and latency always are."""
    drift: Drift | None = None
    """What is watched of the model's inputs and predictions."""
    history: Annotated[int, Field(ge=1, le=20)] = 3
    """How many old revisions and finished rollouts are kept, 1 to 20."""


class Phase(StrEnum):
    """Where the deployment is in the life of its revisions."""

    PENDING = "Pending"
    STABLE = "Stable"
    PREPARING = "Preparing"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    BAKING = "Baking"
    ROLLED_BACK = "RolledBack"
    DEGRADED = "Degraded"


Weight = Annotated[int, Field(ge=0, le=100)]


class StableStatus(RevisionReference, Report):
    """The revision that serves by default."""

    weight: Weight
    """Percent of requests that it gets."""
    proven: bool = False
    """Whether it went through a whole rollout, bake included."""
    not_ready_since: Moment | None = None
    """Since when it has had no ready endpoint; absent while it has one."""


class CanaryStatus(RevisionReference, Report):
    """The revision under test."""

    weight: Weight
    """Percent of requests that it gets."""
    step: Annotated[int, Field(ge=0, le=20)]
    """Index of the step it is at, from 0."""
    first_weight: Annotated[int, Field(ge=1, le=100)] | None = None
    """Percent that the error budget allows at the first step, where that is less than it asks."""
    returning: bool | None = None
    """True for a proven revision that comes back after one that broke an objective."""
    scheduled_at: Moment | None = None
    """When all of its pods had a node; the progress deadline counts from here."""
    losses: Annotated[int, Field(ge=0)] | None = None
    """How often it lost all of its endpoints after it had been given weight; absent for never."""
    progressing_since: Moment | None = None
    """When it was first given weight; absent until then."""


class Rejection(Report):
    """A revision that is not tried again until its hash or spec.rollout.retry changes."""

    hash: RevisionHash
    """Hash of the revision."""
    version: ModelVersion
    """Version of the model in it."""
    reason: Reason
    """Why it was rejected, in one word."""
    rollout: DnsName
    """Name of the ModelRollout that has the record."""
    at: Moment
    """When it was rejected."""
    by: Annotated[Line, Field(max_length=128)] | None = None
    """Field manager that aborted it by command; absent where the evidence decided."""


class CommandsStatus(Report):
    """What was acted on of the commands that people write as annotations, so that it is once."""

    retry: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]{8}@[0-9T:.Z-]+$")] | None = None
    """Revision and moment of the last headgate.dev/retry that was acted on."""
    promote: RevisionHash | None = None
    """
    Revision whose headgate.dev/promote still stands and has had its rollout; absent if it asks for
    something, or is not there.
    """


class WeightStatus(Report):
    """The share of one revision in the route."""

    hash: RevisionHash
    """Hash of the revision."""
    weight: Weight
    """Percent of requests that it gets."""


class BudgetStatus(Report):
    """What is left of an error budget, to a hundredth of it."""

    objective: DnsLabel
    """Name of the objective."""
    remaining: Number
    """Share of the budget that is left; 1 is all, below 0 it is overspent."""
    burning: Annotated[tuple[Line, ...], Field(max_length=4)] = ()
    """The pairs of windows over which it burns too fast, such as 1h/5m."""
    as_of: Moment
    """When that was first so."""


class DriftStatus(Report):
    """A feature whose live inputs are not what the model was trained on."""

    feature: Annotated[Line, Field(max_length=253)]
    """Name of the feature."""
    since: Moment
    """The moment of the first sample in it that is unlike the reference."""
    message: Sentence
    """What differs, in one plain sentence."""


class RouteStatus(Report):
    """The route as last written and verified."""

    name: DnsName
    """Name of the HTTPRoute."""
    generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """metadata.generation of the HTTPRoute that was written."""
    verified_at: Moment | None = None
    """When the gateway was seen to have accepted that generation; absent until then."""
    first_since: Moment | None = None
    """Since when the first backend is the revision it is."""
    weights: Annotated[tuple[WeightStatus, ...], Field(max_length=8)] = ()
    """The revisions it leads to, in the order of its backendRefs."""


class ModelDeploymentStatus(Report):
    """What serves now; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=-1, json_schema_extra={"format": "int64"})] = -1
    """metadata.generation that this status is about; -1 before the first look."""
    phase: Phase | None = None
    """Where the deployment is in the life of its revisions."""
    phase_since: Moment | None = None
    """When that phase was entered."""
    reason: Reason | None = None
    """Why, in one word."""
    message: Sentence | None = None
    """Why, in one plain sentence."""
    desired: RevisionReference | None = None
    """The revision that the spec asks for; absent while the spec is not accepted."""
    stable: StableStatus | None = None
    """The revision that serves by default; absent before the first one does."""
    canary: CanaryStatus | None = None
    """The revision under test; absent when none is."""
    retry: Token | None = None
    """Value of spec.rollout.retry that was last acted on."""
    commands: CommandsStatus | None = None
    """What was acted on of people's commands; absent if nothing was."""
    rollout: DnsName | None = None
    """Name of the ModelRollout in charge."""
    rollout_number: Annotated[int, Field(ge=0)] | None = None
    """Number of the last rollout; they count up from 1."""
    rejected: Annotated[tuple[Rejection, ...], Field(max_length=20), ListMap("hash")] = ()
    """Revisions that are not tried again, at most 20."""
    last_proven: RevisionReference | None = None
    """The revision that was proven before the stable one, which is what one can go back to."""
    budget: Annotated[tuple[BudgetStatus, ...], Field(max_length=8), ListMap("objective")] = ()
    """What is left of each objective's error budget, at most 8."""
    drift: Annotated[tuple[DriftStatus, ...], Field(max_length=16), ListMap("feature")] = ()
    """Features that have drifted from the reference, at most 16."""
    route: RouteStatus | None = None
    """The route as last written and verified."""
    url: Annotated[Line, Field(max_length=1024)] | None = None
    """Where the model is served."""
    untracked: Annotated[tuple[DnsName, ...], Field(max_length=64), ListSet()] = ()
    """Secrets that the template names and whose contents are not part of the hash, at most 64."""
    conditions: Conditions = ()
    """Stalled, Reconciling, Ready, RolledOut, Accepted and more, each with a reason."""


class ModelDeployment(Shape):
    """
    A model to serve, released by statistical evidence.

    Headgate makes an immutable revision of the template, serves it by KServe next to the stable
    one, and moves traffic step by step while the evidence allows it.
    """

    api_version: Literal["headgate.dev/v1alpha1"] = "headgate.dev/v1alpha1"
    kind: Literal["ModelDeployment"] = "ModelDeployment"
    metadata: Metadata
    spec: ModelDeploymentSpec
    """What should serve, how to get there, and what would be a breach."""
    status: ModelDeploymentStatus = ModelDeploymentStatus()
    """What serves now; written by the operator only."""


MODEL_DEPLOYMENT = Kind(
    name="ModelDeployment",
    plural="modeldeployments",
    short_name="md",
    shape=ModelDeployment,
    columns=(
        Column("Phase", ".status.phase"),
        Column("Stable", ".status.stable.version"),
        Column("Canary", ".status.canary.version"),
        Column("Weight", ".status.canary.weight", "integer"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("RolledOut", '.status.conditions[?(@.type=="RolledOut")].status'),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Reason", ".status.reason", priority=1),
    ),
    rules=(
        (
            "size(self.metadata.name) <= 40",
            "metadata.name: wanted at most 40 characters, as KServe puts it into host names",
        ),
        (
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name: wanted a DNS label that begins with a letter",
        ),
    ),
)
