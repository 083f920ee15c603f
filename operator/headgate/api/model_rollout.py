"""
Owns the kind ModelRollout: the record of one attempt to move from one revision to another.

The operator writes all of it. It outlives its deployment; CEL keeps `spec` from changing, and
each finished record carries its digest and names its predecessor's.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from .conditions import Conditions
from .model_deployment import Objectives, Phase, Rollout, Signals, Weight
from .names import (
    DeploymentName,
    Digest,
    DnsLabel,
    DnsName,
    Line,
    Reason,
    Sentence,
    SignalName,
    Uid,
)
from .proven_revision import ProvingRollout
from .quantities import Count, Moment, Number
from .records import Commit, ModelIdentity, RevisionReference
from .schema import ListMap, Rule
from .shape import Column, Kind, Metadata, Report, Shape
from .signals import Drift


class Policy(Shape):
    """The rules of this rollout, copied from the deployment when it started."""

    rollout: Rollout = Rollout()
    """How the new revision gets its traffic."""
    objectives: Objectives = ()
    """Service levels that are promised."""
    signals: Signals = ()
    """What else the canary is compared by."""
    drift: Drift | None = None
    """What is watched of the model's inputs and predictions."""


class PreviousRollout(Shape):
    """The finished record before this one: the chain's link."""

    name: DnsName
    """Name of the ModelRollout."""
    digest: Digest
    """Digest of its finished record."""


class Origin(Shape):
    """Where a resource is written, as kustomize notes it (config.kubernetes.io/origin)."""

    repo: Annotated[Line, Field(max_length=512)] | None = None
    """Address of the repository."""
    ref: Annotated[Line, Field(max_length=512)] | None = None
    """Commit, tag or branch."""
    path: Annotated[Line, Field(max_length=512)] | None = None
    """File in it."""


class Emergency(Shape):
    """
    Who asked to start in spite of an error budget, as far as the ModelDeployment told when the
    rollout started. These are claims of whoever wrote it, and no proof.
    """

    manager: Annotated[Line, Field(max_length=128)]
    """Field manager that set spec.rollout.emergency, such as argocd-controller; or unknown."""
    set_at: Moment | None = None
    """When it was set; absent if that is not known."""
    origin: Origin | None = None
    """Where it is written; absent if that is not known."""
    message: Sentence
    """The same in one plain sentence, with what is not known and why."""


class Restored(Shape):
    """Where a revision was proven that a cluster began with after it had lost its state."""

    proven_at: Moment
    """When it was proven, there."""
    rollout: ProvingRollout | None = None
    """The record there that proved it; absent if it was not kept."""


class ModelRolloutSpec(Shape):
    """What was attempted, and by which rules; immutable."""

    deployment: DeploymentName
    """Name of the ModelDeployment."""
    deployment_uid: Annotated[Uid, Field(alias="deploymentUID")]
    """metadata.uid of the ModelDeployment, as its name may come back."""
    number: Annotated[int, Field(ge=1)]
    """Number of this rollout; they count up from 1."""
    from_: Annotated[RevisionReference | None, Field(alias="from")] = None
    """The stable revision at the start; absent for the first revision of all."""
    to: RevisionReference
    """The revision that is tried."""
    model: ModelIdentity
    """What the model is."""
    policy: Policy
    """The rules in force."""
    generation: Annotated[int, Field(ge=1, json_schema_extra={"format": "int64"})]
    """metadata.generation of the ModelDeployment that asked for it."""
    started_at: Moment
    """When it started."""
    previous: PreviousRollout | None = None
    """The finished record before this one; absent for the first."""
    emergency: Emergency | None = None
    """Who asked for an emergency; absent where spec.rollout.emergency was false."""
    commit: Commit | None = None
    """The commit that started it, as known then; absent if an older operator did not say."""
    restored: Restored | None = None
    """Where the revision was proven; absent unless spec.rollout.provenRevision was followed."""


class Outcome(StrEnum):
    """How the rollout ended, or that it has not."""

    PROGRESSING = "Progressing"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    ABORTED = "Aborted"


class Verb(StrEnum):
    """What a person can ask for by an annotation."""

    PAUSE = "Pause"
    ABORT = "Abort"
    PROMOTE = "Promote"
    RETRY = "Retry"


class CommandRecord(Report):
    """
    A person's command that was followed, and who gave it, as far as the ModelDeployment told. These
    are claims of whoever wrote it, and no proof.
    """

    verb: Verb
    """Pause, Abort, Promote or Retry."""
    manager: Annotated[Line, Field(max_length=128)]
    """Field manager that wrote the annotation, such as headgate-cli; or unknown."""
    set_at: Moment | None = None
    """When it was written; absent if that is not known."""
    reason: Annotated[Line, Field(max_length=256)] | None = None
    """What was given as the reason; absent if nothing was."""


class StepRecord(Report):
    """One change of the canary's weight."""

    weight: Weight
    """Percent of requests to the canary from then on."""
    at: Moment
    """When the weight was decided."""
    reason: Reason
    """Why, in one word."""
    message: Sentence
    """Why, in one plain sentence."""
    command: CommandRecord | None = None
    """The person's command that it followed; absent where nobody asked for it."""


class Evidence(Report):
    """The evidence so far, as the next look or the next start of the operator needs it."""

    as_of: Moment
    """Time of the last sample that is in it."""
    state: Annotated[str, Field(max_length=65536)]
    """The sums, as canonical JSON; not meant to be read by people."""
    route_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """metadata.generation of the HTTPRoute that the last samples were taken under."""


class Arm(Report):
    """The counts of one side of a comparison."""

    requests: Count
    """Requests it answered."""
    bad: Count
    """Those of them that were bad."""


class SignalReport(Report):
    """What one signal says."""

    name: SignalName
    """Name of the signal, such as errors, latency or objective/availability."""
    canary: Arm
    """Counts of the canary."""
    stable: Arm
    """Counts of the stable revision over the same time."""
    difference_points: Number | None = None
    """
    Share of bad requests of the canary minus that of stable, in percentage points; absent without
    a stable arm.
    """
    lowest_points: Number | None = None
    """
    Lower end of the interval of that difference at 95 %, valid however often one looks while either
    arm's rate stays as it is.
    """
    highest_points: Number | None = None
    """Upper end of it."""
    evidence: Number
    """E-value for harm: 1 is none, and the larger the more."""
    threshold: Number
    """E-value at which the canary is rolled back."""
    requests_needed: Count | None = None
    """Estimate of canary requests until the next weight is earned; absent if there is none."""
    design_effect: Number | None = None
    """
    How many times as much its counts vary between stable's pods as those of independent requests;
    absent where that could not be measured.
    """
    placebo_runs: Count | None = None
    """Replays of stable's own pods as canaries that its bar was held against."""
    pods: Count | None = None
    """Pods of stable that both were measured on."""
    query: Annotated[Line, Field(max_length=1024)] | None = None
    """What Prometheus was asked for."""
    message: Sentence
    """The same in one plain sentence."""


class Verdict(StrEnum):
    """What the evidence says."""

    PASS = "Pass"  # noqa: S105
    BREACH = "Breach"
    INCONCLUSIVE = "Inconclusive"


class BudgetInput(Report):
    """What was left of an objective's error budget."""

    objective: DnsLabel
    """Name of the objective."""
    remaining: Number
    """Share of the budget that was left, to the last digit; below 0 it was overspent."""
    requests: Count
    """Requests that its window serves."""


class DecisionInputs(Report):
    """What the decision was made from besides the evidence, so that it can be made again."""

    control: bool
    """Whether stable was there to compare with."""
    next_weight: Weight | None = None
    """Percent that was to be earned; absent if none was."""
    ramp: Annotated[tuple[Weight, ...], Field(max_length=20)] = ()
    """The weights that might have been earned at once, where they follow the evidence."""
    stale_after_seconds: Number
    """The oldest that evidence might be."""
    budgets: (
        Annotated[tuple[BudgetInput, ...], Field(max_length=8), ListMap("objective")] | None
    ) = None
    """Error budgets that were known; absent if the operator did not say."""
    drifted_inputs: Annotated[tuple[Line, ...], Field(max_length=64)] | None = None
    """Features whose inputs were not as in training; absent if the operator did not say."""


class DecisionReport(Report):
    """The last decision that changed something, or why nothing changed."""

    verdict: Verdict
    """Pass, Breach or Inconclusive."""
    signal: SignalName | None = None
    """The signal that decided; absent if none did."""
    reason: Reason
    """Why, in one word."""
    message: Sentence
    """Why, in one plain sentence with the numbers."""
    at: Moment
    """When it was decided."""
    weight: Weight
    """Percent of requests to the canary from then on."""
    inputs: DecisionInputs | None = None
    """What it was made from besides the evidence; absent if the evidence had no part in it."""


class ModelRolloutStatus(Report):
    """How it goes or went; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=-1, json_schema_extra={"format": "int64"})] = -1
    """metadata.generation that this status is about; -1 before the first look."""
    outcome: Outcome | None = None
    """Progressing, or how it ended: Promoted, RolledBack, Superseded or Aborted."""
    reason: Reason | None = None
    """Why, in one word."""
    message: Sentence | None = None
    """Why, in one plain sentence."""
    phase: Phase | None = None
    """Phase of the deployment while this rollout was in charge."""
    steps: Annotated[tuple[StepRecord, ...], Field(max_length=64)] = ()
    """Changes of the canary's weight in order, at most 64."""
    evidence: Evidence | None = None
    """Checkpoint of the evidence."""
    signals: Annotated[tuple[SignalReport, ...], Field(max_length=32), ListMap("name")] = ()
    """What each signal says."""
    decision: DecisionReport | None = None
    """The last decision."""
    first_request_at: Moment | None = None
    """When the canary answered its first request under a verified route."""
    finished_at: Moment | None = None
    """When it ended."""
    commit: Commit | None = None
    """The commit that started it, where the tool told it some seconds after the start."""
    digest: Digest | None = None
    """Digest of the finished record; the next rollout names it."""
    conditions: Conditions = ()
    """Conditions of the rollout, each with a reason."""


class ModelRollout(Shape):
    """The record of one attempt to move traffic from one revision to another."""

    api_version: Literal["headgate.dev/v1alpha1"] = "headgate.dev/v1alpha1"
    kind: Literal["ModelRollout"] = "ModelRollout"
    metadata: Metadata
    spec: Annotated[
        ModelRolloutSpec, Rule("self == oldSelf", "wanted no change: a rollout is immutable")
    ]
    """What was attempted, and by which rules; immutable."""
    status: ModelRolloutStatus = ModelRolloutStatus()
    """How it goes or went; written by the operator only."""


MODEL_ROLLOUT = Kind(
    name="ModelRollout",
    plural="modelrollouts",
    short_name="mro",
    shape=ModelRollout,
    columns=(
        Column("Deployment", ".spec.deployment"),
        Column("From", ".spec.from.version"),
        Column("To", ".spec.to.version"),
        Column("Outcome", ".status.outcome"),
        Column("Reason", ".status.reason"),
        Column("Commit", ".spec.commit.revision", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
