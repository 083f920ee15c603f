"""
Owns the kind ModelRevision: one immutable, fully resolved model with its serving configuration.

The operator writes all of it; CEL keeps `spec` from ever changing.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from .conditions import Conditions
from .names import ContentHash, DeploymentName, Digest, DnsName, Reason, RevisionHash
from .quantities import Moment
from .records import Commit, ContentReference, ModelIdentity, Template
from .schema import ListMap, ListSet, Rule, Verbatim
from .shape import Column, Kind, Metadata, Report, Shape
from .signals import ConfigMapKey, one_of


class RuntimeKind(StrEnum):
    """Which kind of KServe runtime serves the model."""

    SERVING_RUNTIME = "ServingRuntime"
    CLUSTER_SERVING_RUNTIME = "ClusterServingRuntime"


class RuntimeReference(Shape):
    """The KServe runtime that the revision was made with."""

    kind: RuntimeKind
    """ServingRuntime or ClusterServingRuntime."""
    name: DnsName
    """Name of the runtime."""
    hash: ContentHash | None = None
    """SHA-256 of its spec in canonical form; absent where the operator may not read it, so that a
    change of the runtime is no new revision."""


class ReferenceProfile(Shape):
    """The training data's profile that the revision is compared with."""

    model_config = one_of("configMap", "inline")

    config_map: ConfigMapKey | None = None
    """The ConfigMap that has it."""
    inline: Annotated[dict[str, JsonValue], Verbatim()] | None = None
    """The profile itself, where it was read from a web server."""
    digest: Digest
    """SHA-256 of the profile in canonical form."""


class RevisionDrift(Shape):
    """What is watched of the revision's data."""

    reference: ReferenceProfile
    """The training data's profile."""


class ModelRevisionSpec(Shape):
    """Everything the revision was made from; immutable."""

    deployment: DeploymentName
    """Name of the ModelDeployment."""
    hash: RevisionHash
    """First eight hexadecimal digits of the SHA-256 of what is below."""
    model: ModelIdentity
    """What the model is."""
    template: Template
    """The InferenceService of this revision, as the deployment had it."""
    config_maps: Annotated[tuple[ContentReference, ...], Field(max_length=64), ListMap("name")] = ()
    """ConfigMaps that the template names, with their contents' hash."""
    secrets: Annotated[tuple[DnsName, ...], Field(max_length=64), ListSet()] = ()
    """Secrets that the template names and whose contents are part of the hash, at most 64."""
    untracked: Annotated[tuple[DnsName, ...], Field(max_length=64), ListSet()] = ()
    """Secrets that the template names and that the operator may not read."""
    runtime: RuntimeReference | None = None
    """The KServe runtime, if the template names one."""
    drift: RevisionDrift | None = None
    """What is watched of its data, if the deployment asks for it."""


class RevisionPhase(StrEnum):
    """What the revision does now."""

    PREPARING = "Preparing"
    SERVING = "Serving"
    STOPPED = "Stopped"
    REJECTED = "Rejected"


class RevisionRejection(Report):
    """Why the revision is not tried again."""

    reason: Reason
    """The reason in one word."""
    rollout: DnsName
    """Name of the ModelRollout that has the record."""
    at: Moment
    """When it was rejected."""


class RevisionCommit(Report):
    """A commit that asked for the revision, and the rollout that it started."""

    rollout: DnsName
    """Name of the ModelRollout."""
    commit: Commit
    """The commit that started it."""


class ModelRevisionStatus(Report):
    """What the revision does now; written by the operator only."""

    observed_generation: Annotated[int, Field(ge=-1, json_schema_extra={"format": "int64"})] = -1
    """metadata.generation that this status is about; -1 before the first look."""
    phase: RevisionPhase | None = None
    """Preparing, Serving, Stopped or Rejected."""
    proven: bool = False
    """Whether it went through a whole rollout, bake included."""
    proven_at: Moment | None = None
    """When it was proven."""
    rejected: RevisionRejection | None = None
    """Why it is not tried again; absent unless it was rejected."""
    commits: Annotated[tuple[RevisionCommit, ...], Field(max_length=8), ListMap("rollout")] = ()
    """The commit that brought it first, and the latest ones that asked for it again; at most 8."""
    conditions: Conditions = ()
    """Conditions of the revision, each with a reason."""


class ModelRevision(Shape):
    """One immutable model with its serving configuration, made from a ModelDeployment."""

    api_version: Literal["headgate.dev/v1alpha1"] = "headgate.dev/v1alpha1"
    kind: Literal["ModelRevision"] = "ModelRevision"
    metadata: Metadata
    spec: Annotated[
        ModelRevisionSpec, Rule("self == oldSelf", "wanted no change: a revision is immutable")
    ]
    """Everything the revision was made from; immutable."""
    status: ModelRevisionStatus = ModelRevisionStatus()
    """What the revision does now; written by the operator only."""


MODEL_REVISION = Kind(
    name="ModelRevision",
    plural="modelrevisions",
    short_name="mrev",
    shape=ModelRevision,
    columns=(
        Column("Deployment", ".spec.deployment"),
        Column("Version", ".spec.model.version"),
        Column("Phase", ".status.phase"),
        Column("Proven", ".status.proven", "boolean"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
