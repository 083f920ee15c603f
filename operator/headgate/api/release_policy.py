"""
Owns the kind ReleasePolicy: what the platform team lets happen in Git after a rollback.

It is cluster-scoped, so that whoever may write a ModelDeployment cannot choose where the
write-back's credentials are used; an author can only opt out, by an annotation. Namespaces are
named one by one and not selected by labels: labels of a namespace are often its tenants' to change,
and a list of names needs no right to read namespaces.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from .conditions import Conditions
from .names import DnsLabel, DnsName, Line, Reason, Sentence
from .quantities import Duration, Lasting, Moment
from .schema import ListMap, ListSet, Rule
from .shape import Column, Kind, Metadata, Report, Shape

HttpUrl = Annotated[
    str,
    Field(
        max_length=512,
        pattern=r"^https?://[A-Za-z0-9.\[\]:-]+(/[A-Za-z0-9._~%-]+)*/?$",
    ),
]
"""An address without credentials, query or fragment, so that nothing secret is ever in it."""

BranchName = Annotated[
    str, Field(max_length=200, pattern=r"^[A-Za-z0-9_]([A-Za-z0-9._/-]*[A-Za-z0-9_])?$")
]
"""The name of a Git branch, of characters that no forge and no shell treats specially."""

FilePath = Annotated[
    str,
    Field(
        max_length=512,
        pattern=r"^[A-Za-z0-9_{][A-Za-z0-9._{}-]*(/[A-Za-z0-9_{][A-Za-z0-9._{}-]*)*$",
    ),
]
"""A file below the root of a repository; no part begins with a dot, so none leads out of it."""

SecretKeyName = Annotated[str, Field(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]


class WritebackMode(StrEnum):
    """What follows in Git when a revision was rolled back."""

    OFF = "Off"
    NOTIFY = "Notify"
    PULL_REQUEST = "PullRequest"
    COMMIT = "Commit"


class ForgeKind(StrEnum):
    """Whose HTTP API the repository is behind; Gitea also stands for Forgejo."""

    GITHUB = "GitHub"
    GITLAB = "GitLab"
    GITEA = "Gitea"


class SecretKey(Shape):
    """One value of a Secret in the namespace that the write-back itself runs in."""

    name: DnsName
    """Name of the Secret."""
    key: SecretKeyName
    """Key of the value in it."""


class Webhook(Shape):
    """Where a notification is sent."""

    url: HttpUrl
    """Address that a CloudEvent is posted to; its host must be one that the write-back may ask."""
    secret_ref: SecretKey
    """The key that notifications are signed with (HMAC-SHA256, as Standard Webhooks does)."""


class RateLimit(Shape):
    """How many writes this policy may make in how long a time."""

    writes: Annotated[int, Field(ge=1, le=1000)] = 10
    """Number of writes, 1 to 1000; what is beyond waits."""
    per: Annotated[Duration, Lasting("1m", "7d")] = Duration("1h")
    """The time they are counted over, 1m to 7d."""


class Committer(Shape):
    """Whose name is on the commits."""

    name: Annotated[Line, Field(min_length=1, max_length=128)] = "Headgate"
    """Name of the author and committer."""
    email: Annotated[
        str, Field(max_length=254, pattern=r"^[A-Za-z0-9._%+\[\]-]+@[A-Za-z0-9.-]+$")
    ] = "headgate@noreply.invalid"
    """E-mail address of the author and committer."""


class GitWriteback(Shape):
    """What follows in Git when a revision was rolled back."""

    mode: WritebackMode = WritebackMode.OFF
    """Off, Notify (a signed webhook), PullRequest, or Commit (straight to the branch)."""
    repository: HttpUrl | None = None
    """Address of the repository, as one clones it over https."""
    branch: BranchName = "main"
    """The branch that is applied to the cluster."""
    path: FilePath | None = None
    """
    File of the ModelDeployment; {namespace} and {name} in it stand for the deployment's. Without it
    the path that kustomize notes in config.kubernetes.io/origin, else the one file that has the
    object (Commit without a forge only).
    """
    forge: ForgeKind | None = None
    """GitHub, GitLab or Gitea, whose API makes commits and pull requests; without it plain Git."""
    api_url: HttpUrl | None = None
    """Root of the forge's API; by default the one that goes with the repository's host."""
    credentials: SecretKey | None = None
    """The access token for the repository."""
    webhook: Webhook | None = None
    """Where notifications go, those that take the place of an impossible edit included."""
    rate_limit: RateLimit = RateLimit()
    """How often this policy may write."""
    committer: Committer = Committer()
    """Whose name is on the commits."""
    sign: SecretKey | None = None
    """A private SSH key to sign commits with (Commit without a forge only)."""


class ReleasePolicySpec(Shape):
    """What the platform team lets happen, and where."""

    namespaces: Annotated[tuple[DnsLabel, ...], Field(min_length=1, max_length=64), ListSet()]
    """Namespaces whose ModelDeployments the policy is for, 1 to 64, each by its name."""
    # `mode` is absent where the API server checks the default, {}, before it fills it in.
    git_writeback: Annotated[
        GitWriteback,
        Rule(
            "!has(self.mode) || !(self.mode in ['PullRequest', 'Commit']) || has(self.repository)",
            "wanted a repository for this mode",
        ),
        Rule(
            "!has(self.mode) || self.mode != 'PullRequest' || has(self.forge)",
            "wanted a forge for PullRequest",
        ),
        Rule(
            "!has(self.mode) || self.mode != 'Notify' || has(self.webhook)",
            "wanted a webhook for Notify",
        ),
        Rule("!has(self.apiUrl) || has(self.forge)", "wanted apiUrl with a forge only"),
        Rule("!has(self.sign) || !has(self.forge)", "wanted sign without a forge only"),
    ] = GitWriteback()
    """What follows in Git when a revision was rolled back."""


class WriteReport(Report):
    """What became of one rollback in Git."""

    record: Annotated[Line, Field(max_length=320)]
    """Namespace and name of the ModelRollout."""
    state: Reason
    """Claimed, Proposed, Committed, Merged, Notified, and more; see docs/writeback.md."""
    message: Sentence
    """The same in one plain sentence."""
    url: Annotated[Line, Field(max_length=1024)] | None = None
    """The pull request or commit, where there is one."""
    at: Moment
    """When it became so."""


class ReleasePolicyStatus(Report):
    """What the write-back makes of the policy; written by it only."""

    observed_generation: Annotated[int, Field(ge=-1, json_schema_extra={"format": "int64"})] = -1
    """metadata.generation that this status is about; -1 before the first look."""
    recent: Annotated[tuple[WriteReport, ...], Field(max_length=16), ListMap("record")] = ()
    """The last rollbacks that were to be written, at most 16, the newest first."""
    conditions: Conditions = ()
    """Accepted and Ready, each with a reason."""


class ReleasePolicy(Shape):
    """
    What the platform team lets happen in Git after a rollback.

    Off by default; read by the separate process `headgate writeback`.
    """

    api_version: Literal["headgate.dev/v1alpha1"] = "headgate.dev/v1alpha1"
    kind: Literal["ReleasePolicy"] = "ReleasePolicy"
    metadata: Metadata
    spec: ReleasePolicySpec
    """What the platform team lets happen, and where."""
    status: ReleasePolicyStatus = ReleasePolicyStatus()
    """What the write-back makes of the policy; written by it only."""


RELEASE_POLICY = Kind(
    name="ReleasePolicy",
    plural="releasepolicies",
    short_name="rpol",
    scope="Cluster",
    shape=ReleasePolicy,
    columns=(
        Column("Mode", ".spec.gitWriteback.mode"),
        Column("Repository", ".spec.gitWriteback.repository"),
        Column("Accepted", '.status.conditions[?(@.type=="Accepted")].status'),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("Branch", ".spec.gitWriteback.branch", priority=1),
    ),
)
