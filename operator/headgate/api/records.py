"""
Owns the pieces that several kinds carry: what a model is, its template, references to revisions.

It must not know which kind carries them.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue
from pydantic.config import JsonDict

from .names import ContentHash, Digest, DnsName, Line, RevisionHash, Sentence, Version
from .schema import VALIDATIONS, ListMap, Verbatim, rule
from .shape import Report, Shape, Sparse


class Dataset(Shape):
    """A data set that the model was trained on."""

    name: Annotated[Line, Field(min_length=1, max_length=253)]
    """Name of the data set, such as tx-2026-09."""
    digest: Digest | None = None
    """Digest of its contents, if known."""


class Lineage(Shape):
    """Where the model comes from; copied into every record of a rollout."""

    training_run: Annotated[Line, Field(min_length=1, max_length=512)] | None = None
    """The training run, such as mlflow:/runs/91ab."""
    source_commit: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]{7,64}$")] | None = None
    """The commit of the training code, 7 to 64 hexadecimal digits."""
    datasets: Annotated[tuple[Dataset, ...], Field(max_length=32), ListMap("name")] = ()
    """The data sets it was trained on, at most 32."""


class ModelIdentity(Shape):
    """What the model is; copied into every revision and rollout record."""

    version: Annotated[Version, Field(min_length=1)]
    """Version of the model as its registry calls it, a string such as "7"."""
    digest: Digest | None = None
    """Digest of the model's artifact; part of the revision's hash."""
    license: Annotated[Line, Field(min_length=1, max_length=128)] | None = None
    """Licence of the model, preferably an SPDX expression such as Apache-2.0."""
    lineage: Lineage | None = None
    """Training run, source commit and data sets."""


LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
]
"""A Kubernetes label value."""


class TemplateMetadata(Sparse):
    """Labels and annotations for the InferenceService."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=64)] = Field(default_factory=dict)
    """Labels for the InferenceService, at most 64; those of headgate.dev/ are reserved."""
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=64)
    ] = Field(default_factory=dict)
    """Annotations for the InferenceService, at most 64; those of headgate.dev/ are reserved."""


# The few fields of KServe's that the API server is told of, so that it can refuse them itself.
_INFERENCE_SERVICE: JsonDict = {
    "required": ["predictor"],
    "properties": {
        "predictor": {
            "type": "object",
            "description": "KServe's predictor, verbatim.",
            "minProperties": 1,
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "canaryTrafficPercent": {
                    "type": "integer",
                    "description": "Refused: Headgate moves the traffic.",
                }
            },
            VALIDATIONS: [
                rule(
                    "!has(self.canaryTrafficPercent)",
                    "wanted no canaryTrafficPercent: Headgate moves the traffic",
                )
            ],
        },
        "canary": {
            "type": "array",
            "description": "Refused: Headgate moves the traffic.",
            "maxItems": 16,
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    },
    VALIDATIONS: [rule("!has(self.canary)", "wanted no canary: Headgate moves the traffic")],
}


class Template(Sparse):
    """The InferenceService that is made for each revision."""

    metadata: TemplateMetadata = Field(default_factory=TemplateMetadata)
    """Its labels and annotations."""
    spec: Annotated[dict[str, JsonValue], Verbatim(_INFERENCE_SERVICE)]
    """
    KServe's own InferenceService spec, verbatim; `canary` and `canaryTrafficPercent` are refused,
    as Headgate moves the traffic.
    """


class RevisionReference(Shape):
    """One revision, as others name it."""

    revision: DnsName
    """Name of the ModelRevision and of its InferenceService."""
    hash: RevisionHash
    """Hash of the revision."""
    version: Version
    """Version of the model in it."""


class ContentReference(Shape):
    """A ConfigMap or Secret with the contents that a revision was made from."""

    name: DnsName
    """Name of the object."""
    hash: ContentHash
    """SHA-256 of its contents in canonical form."""


class Certainty(StrEnum):
    """How a commit is known."""

    SYNCED = "Synced"
    CONTAINED = "Contained"
    CLAIMED = "Claimed"
    UNKNOWN = "Unknown"


Text = Annotated[Line, Field(max_length=512)]
"""An address, a path or a name from outside."""


class CommitPlace(Report):
    """Where something is written, as far as that is known."""

    repository: Text | None = None
    """Address of the repository, without credentials."""
    revision: Text | None = None
    """Full commit SHA; of a chart its version, and of an artifact that has no commit its digest."""
    ref: Text | None = None
    """Branch or tag that it was found by."""
    path: Text | None = None
    """File in it, or the folder where no more is known."""
    chart: Text | None = None
    """Helm chart that it was rendered from."""


class Commit(CommitPlace):
    """
    The commit that the ModelDeployment came from: the head of its branch when it was synced, which
    need not be the commit that changed this very file.
    """

    certainty: Certainty
    """
    Synced: the tool applied it when the object was written. Contained: the tool found the object as
    that commit has it. Claimed: only the object's annotations say so. Unknown: nobody says.
    """
    message: Sentence
    """Who tells it, or why nobody does, in one plain sentence."""
    told_by: Text | None = None
    """The object that tells it, such as Application argocd/fraud."""
    author: Annotated[Line, Field(max_length=128)] | None = None
    """Its author, as the annotation headgate.dev/author of the ModelDeployment claims."""
    initiated_by: Annotated[Line, Field(max_length=128)] | None = None
    """Who started the sync; not the author."""
    hydrated_revision: Text | None = None
    """Commit of the rendered manifests that were synced in its place."""
    candidates: Annotated[tuple[CommitPlace, ...], Field(max_length=8)] | None = None
    """Sources of which one has the object, where the tool does not tell which; at most 8."""
    pending: bool | None = None
    """Whether the tool had not told yet; then status.commit may say more."""
