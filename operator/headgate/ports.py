"""The world outside, as Protocols with one exception each.

Owns what an adapter must promise. Must not know any adapter, nor what its answers are used for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from headgate.core.counters import Point, Series
from headgate.core.drift.profile import Profile
from headgate.core.slo.budget import WindowCounts
from headgate.core.slo.level import ServiceLevel
from headgate.core.writeback.wanted import PastCommit

Manifest = Mapping[str, Any]


class Unavailable(Exception):
    """Something outside did not answer as it should; trying again later may help."""


class ClusterUnavailable(Unavailable):
    """The API server timed out, refused the connection or answered 429 or 5xx.

    `retry_after` is what the server asked for, or None.
    """

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Conflict(ClusterUnavailable):
    """409: the object changed since it was read, or exists already. Read it again at once."""


class Refused(Exception):
    """The API server will not have it (400, 403, 404 of a kind, 422): the same request is refused
    again until something else changes. The text names the verb and the object, then gives the
    server's own message."""


class Forbidden(Refused):
    """403: a right is missing."""


class MetricsUnavailable(Unavailable):
    """Prometheus timed out, answered an error or something malformed. The text names the query."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An API resource by its group, version and plural, as in URLs and rules."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """`group/version`, or only the version in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version


MODEL_DEPLOYMENT = Kind("headgate.dev", "v1alpha1", "modeldeployments", "ModelDeployment")
MODEL_REVISION = Kind("headgate.dev", "v1alpha1", "modelrevisions", "ModelRevision")
MODEL_ROLLOUT = Kind("headgate.dev", "v1alpha1", "modelrollouts", "ModelRollout")
RELEASE_POLICY = Kind("headgate.dev", "v1alpha1", "releasepolicies", "ReleasePolicy")
INFERENCE_SERVICE = Kind("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
SERVING_RUNTIME = Kind("serving.kserve.io", "v1alpha1", "servingruntimes", "ServingRuntime")
CLUSTER_SERVING_RUNTIME = Kind(
    "serving.kserve.io", "v1alpha1", "clusterservingruntimes", "ClusterServingRuntime"
)
HTTP_ROUTE = Kind("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
GATEWAY = Kind("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment")
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap")
SECRET = Kind("", "v1", "secrets", "Secret")
POD = Kind("", "v1", "pods", "Pod")
EVENT = Kind("", "v1", "events", "Event")
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease")
APPLICATION = Kind("argoproj.io", "v1alpha1", "applications", "Application")
KUSTOMIZATION = Kind("kustomize.toolkit.fluxcd.io", "v1", "kustomizations", "Kustomization")
HELM_RELEASE = Kind("helm.toolkit.fluxcd.io", "v2", "helmreleases", "HelmRelease")
GIT_REPOSITORY = Kind("source.toolkit.fluxcd.io", "v1", "gitrepositories", "GitRepository")
OCI_REPOSITORY = Kind("source.toolkit.fluxcd.io", "v1", "ocirepositories", "OCIRepository")
SERVICE = Kind("", "v1", "services", "Service")
AUTOSCALER = Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
SCALED_OBJECT = Kind("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
KINDS = (
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    MODEL_ROLLOUT,
    RELEASE_POLICY,
    INFERENCE_SERVICE,
    SERVING_RUNTIME,
    CLUSTER_SERVING_RUNTIME,
    HTTP_ROUTE,
    GATEWAY,
    DEPLOYMENT,
    CONFIG_MAP,
    SECRET,
    POD,
    EVENT,
    LEASE,
    APPLICATION,
    KUSTOMIZATION,
    HELM_RELEASE,
    GIT_REPOSITORY,
    OCI_REPOSITORY,
)
"""Every kind there is for us: a manifest of another one cannot be written."""


class Cluster(Protocol):
    """The Kubernetes API, six verbs.

    Every verb raises ClusterUnavailable (with the object and the verb in its text) when the server
    cannot be reached or is overloaded, and Refused when it will not have the request.
    """

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Read one object, live; None if it, or its kind, does not exist."""

    async def list(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str]
    ) -> Sequence[Manifest]:
        """Read all objects with these labels, in chunks; `namespace` None means all of them.

        Raises Refused where the kind does not exist: an empty list would say that all are gone.
        """

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; raises Conflict if one of that name exists."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply as field manager `headgate`, by force: the whole of what we own."""

    async def patch_status(self, current: Manifest, status: Manifest) -> Manifest:
        """Replace `current`'s status by compare-and-swap on its resourceVersion.

        Keys that `current` has and `status` lacks are removed. Raises Conflict if it changed since
        or is gone.
        """

    async def delete(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """Delete the object with this uid, children in the background; absent is fine.

        Raises Conflict if another object has that name by now: it is left alone.
        """


class Leases(Protocol):
    """Where a Lease is kept; every verb raises as `Cluster`'s."""

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Read it, live; None if there is none."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Create it; raises Conflict if somebody else was first."""

    async def replace(self, manifest: Manifest) -> Manifest:
        """Put it in the place of the one with its resourceVersion; raises Conflict if that is
        another one by now."""


class PersonalCluster(Cluster, Protocol):
    """The Kubernetes API as a person may use it, who may do what the operator never does."""

    async def annotate(
        self, current: Manifest, annotations: Mapping[str, str | None], *, dry_run: bool = False
    ) -> Manifest:
        """Set or remove (None) annotations of an object, and touch nothing else of it.

        With `dry_run` the server checks it, rights too, and stores nothing.
        """


class Hands(PersonalCluster, Protocol):
    """What a person's command may do beside it, with the person's own rights."""

    async def orphan(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """Delete the object with this uid and leave its children, without an owner; absent is fine.

        Raises Conflict if another object has that name by now: it is left alone.
        """

    async def patch_metadata(self, current: Manifest, metadata: Manifest) -> Manifest:
        """Change some fields of `current`'s metadata, None takes one out; nothing else is touched.

        Raises Conflict if it changed since or is gone.
        """


@dataclass(frozen=True, slots=True)
class Arms:
    """Where a route's two arms are found.

    Gateways know them by their position in `backendRefs` of the HTTPRoute's first rule, model
    servers and collectors by deployment and hash. None: the arm cannot be told that way.
    """

    namespace: str
    route: str
    stable: int | None
    canary: int | None
    deployment: str = ""
    stable_hash: str | None = None
    canary_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by their metric and the exact values of labels, or any of some.

    Values are a person's text and are matched as text; in `any_of`, `5xx` also stands for every
    number of three digits that begins with 5. Raises ValueError naming what is wrong.
    """

    metric: str
    matchers: Mapping[str, str] = field(default_factory=dict)
    any_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not METRIC_NAME.fullmatch(self.metric):
            raise ValueError(f"metric: {self.metric!r} is not a metric name")
        check_matchers("matchers", self.matchers)
        for label, values in self.any_of.items():
            for value in values:
                check_matchers("any_of", {label: value})


@dataclass(frozen=True, slots=True)
class SignalSource:
    """What one signal reads: a signal of a pack that we ship, or series of a person's own.

    Exactly one of `pack_signal`, `total` with a part of it, `histogram`, `categories` says which.
    Matchers on the label of the arm, on labels of `scope` and on those that the platform sets for
    all series are ours: what a person says of these labels is dropped. Raises ValueError naming
    the field that is wrong.
    """

    name: str
    """`Series.signal` of what is read."""
    pack: str | None = None
    """The pack that has `pack_signal`; None is the one chosen for the installation."""
    pack_signal: str | None = None
    bad: Selector | None = None
    good: Selector | None = None
    total: Selector | None = None
    """All of them, beside the bad or the good ones."""
    histogram: Selector | None = None
    """A classic histogram, by the name of its `_bucket` series."""
    categories: Selector | None = None
    """One counter for each value of `category_label`."""
    category_label: str = ""
    arm_label: str = ""
    """The label that tells the arms apart; with a pack, in place of the pack's."""
    arm_value: str = ""
    """Its value, with {namespace}, {route}, {position}, {deployment}, {hash}, {revision}, the last
    being `<deployment>-<hash>`; a `*` at the end matches whatever follows."""
    instance: tuple[str, ...] = ("instance", "pod")
    """Labels that tell one scraped process from another; the first must be there."""
    unit: Decimal = Decimal(1)
    """What a bound is multiplied by to be in seconds, or in the unit of the threshold."""
    matchers: Mapping[str, str] = field(default_factory=dict)
    """Further labels that all series must have, such as one `feature`."""
    scope: Mapping[str, str] = field(default_factory=dict)
    """Labels by template, as `arm_value`, that keep to one tenant: {"namespace": "{namespace}"}."""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("name: wanted one")
        self._check_kind()
        self._check_arm()
        for name in (*filter(None, (self.category_label, self.arm_label)), *self.instance):
            if not LABEL_NAME.fullmatch(name):
                raise ValueError(f"label: {name!r} is not a label name")
        if not self.instance:
            raise ValueError("instance: wanted a label")
        if not (self.unit.is_finite() and self.unit > 0):
            raise ValueError(f"unit: wanted a number above 0, found {self.unit}")
        check_matchers("matchers", self.matchers)
        check_matchers("scope", self.scope)
        for template in self.scope.values():
            check_template("scope", template)

    def _check_kind(self) -> None:
        parts = (self.bad is not None) + (self.good is not None)
        if parts > 1 or bool(parts) != (self.total is not None):
            raise ValueError("total: wanted with one of bad and good, and only there")
        kinds = (self.pack_signal, self.total, self.histogram, self.categories)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("wanted one of pack_signal, total, histogram, categories")
        if self.pack is not None and self.pack_signal is None:
            raise ValueError("pack_signal: wanted the name of one of the pack's signals")
        if (self.categories is None) != (not self.category_label):
            raise ValueError("category_label: wanted with categories, and only there")
        if self.histogram and not self.histogram.metric.endswith("_bucket"):
            raise ValueError(f"histogram: wanted …_bucket, found {self.histogram.metric!r}")

    def _check_arm(self) -> None:
        if bool(self.arm_label) != bool(self.arm_value):
            raise ValueError("arm_label and arm_value: wanted both or none")
        if self.arm_value:
            check_template("arm_value", self.arm_value.removesuffix("*"))
            if not any(f"{{{name}}}" in self.arm_value for name in TELLING_FIELDS):
                told = ", ".join(f"{{{name}}}" for name in TELLING_FIELDS)
                raise ValueError(f"arm_value: wanted one of {told} to tell the arms apart")
        elif self.pack_signal is None:
            raise ValueError("arm_label: wanted for series of one's own")


METRIC_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
LABEL_NAME = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")  # `__…` is Prometheus's own
TEMPLATE_FIELDS = ("namespace", "route", "position", "deployment", "hash", "revision")
TELLING_FIELDS = ("position", "hash", "revision")
_TEMPLATE_FIELD = re.compile(r"\{([a-z]+)\}")


def check_matchers(what: str, matchers: Mapping[str, str]) -> None:
    """Raise ValueError for what is no label name, or no text that could be sent."""
    for label, value in matchers.items():
        if not LABEL_NAME.fullmatch(label):
            raise ValueError(f"{what}: {label!r} is not a label name")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{what}: the value of {label!r} is not text") from error


def check_template(what: str, template: str) -> None:
    """Raise ValueError for a field that templates do not have, or a brace that is none."""
    unknown = set(_TEMPLATE_FIELD.findall(template)) - set(TEMPLATE_FIELDS)
    rest = _TEMPLATE_FIELD.sub("", template)
    if unknown or "{" in rest or "}" in rest:
        known = ", ".join(TEMPLATE_FIELDS)
        raise ValueError(f"{what}: {template!r} has a field that is none of {known}")
    check_matchers(what, {"value": template})


def fill_template(template: str, values: Mapping[str, object]) -> str | None:
    """Replace each field by its value; None if the template needs one that is not known."""
    needed = _TEMPLATE_FIELD.findall(template)
    if any(values.get(name) in (None, "") for name in needed):
        return None
    return _TEMPLATE_FIELD.sub(lambda match: str(values[match[1]]), template)


_RECORDED_RATE = re.compile(
    r":(?:[^:]*_)?(?:rate|irate|increase|delta|ratio|quantile)\d*[smhdwy]?(?:_[^:]*)?"
)
_COUNTED = {"_bucket": ("histogram", "counter"), "_count": ("counter", "histogram", "summary")}


class NotCounted(ValueError):
    """A metric that holds no raw counters: what was wanted, what was found."""

    def __init__(self, metric: str, wanted: str, found: str) -> None:
        super().__init__(f"{metric}: wanted {wanted}, found {found}")
        self.wanted, self.found = wanted, found


def check_type(metric: str, type: str | None) -> None:
    """Raise NotCounted if what the metric is, by `Metrics.type_of`, cannot be counted.

    None and `unknown` pass: it may not be exposed yet, and recorded series have no type. Those are
    told by their name (`level:metric:operations`, Prometheus's recording rules, naming).
    """
    suffix = next((end for end in _COUNTED if metric.endswith(end)), "")
    wanted = "the buckets of a histogram" if suffix == "_bucket" else "a raw counter"
    if _RECORDED_RATE.fullmatch(metric, max(0, metric.rfind(":"))):
        raise NotCounted(metric, wanted, "what is named like a recorded rate")
    if type not in (None, "unknown", *_COUNTED.get(suffix, ("counter",))):
        raise NotCounted(metric, wanted, f"a {type}")


@dataclass(frozen=True, slots=True)
class UnitSeries:
    """A counter of one unit of an arm (a pod or an endpoint), sampled at regular moments.

    `outcome` is as in Series. Several counters may share unit and outcome (an endpoint that
    several proxies send to): `key` tells them apart, and each is differenced by itself.
    """

    unit: str
    outcome: str
    points: tuple[Point, ...]
    key: str = ""


class Metrics(Protocol):
    """A Prometheus-compatible source of raw counter samples.

    Every method raises MetricsUnavailable when the source does not answer in time, completely and
    in order, and ValueError for a source that can never be read (an unknown pack or signal).
    """

    async def read(
        self, arms: Arms, sources: Sequence[SignalSource], since: datetime, now: datetime
    ) -> Sequence[Series]:
        """Read the raw samples of both arms up to `now`, with the scrape times of the source.

        They begin some time before `since`, so that the last sample before it is among them.
        Empty when there are none: silence is not zero failures.
        """

    async def units(
        self, arms: Arms, source: SignalSource, since: datetime, now: datetime, step: timedelta
    ) -> Sequence[UnitSeries]:
        """Read the counters of each pod or endpoint of the stable arm, sampled every `step`.

        Empty where the source counts no units.
        """

    async def ticks(
        self, arms: Arms, source: SignalSource, since: datetime, now: datetime, step: timedelta
    ) -> Sequence[Series]:
        """Read the raw values of both arms as they were at each multiple of `step`."""

    async def type_of(self, metric: str, now: datetime) -> str | None:
        """Tell whether the metric is a counter, gauge, histogram, summary or unknown.

        For `…_bucket`, `…_count` and `…_sum` it is the type of the histogram or summary they
        belong to. None if the source has never heard of it. Answers may be minutes old.
        """

    def queries(self, arms: Arms, sources: Sequence[SignalSource]) -> Mapping[str, str]:
        """What is asked for each source, by its name, for people to ask it themselves."""


@dataclass(frozen=True, slots=True)
class Service:
    """Whose requests: all backends of the route of one deployment, whichever revision served.

    With `position` or `hash`, whichever the pack names arms by, those of one backend only: to see
    whether it is stable that burns. A position may have been another revision's some hours ago.
    """

    namespace: str
    route: str
    deployment: str = ""
    position: int | None = None
    hash: str | None = None


class Budgets(Protocol):
    """The counts that error budgets are made of."""

    async def read(
        self,
        service: Service,
        objectives: Sequence[ServiceLevel],
        now: datetime,
        longest: timedelta | None = None,
    ) -> Mapping[str, Sequence[WindowCounts]]:
        """Read the counts of each objective by its name, over its own window and shorter ones.

        Windows above `longest` are left out.

        They may be some minutes old, and say how much of a window they cover. Raises
        MetricsUnavailable, and ThresholdIsNoEdge where nothing is counted at a latency's threshold.
        """


class ProfileUnavailable(Unavailable):
    """There is no profile at an address, or another one, or the address may not be asked: what was
    wanted, what was found."""

    def __init__(self, wanted: str, found: str) -> None:
        super().__init__(f"wanted {wanted}, found {found}")
        self.wanted, self.found = wanted, found


class Profiles(Protocol):
    """Training profiles by their address."""

    async def read(self, address: str, wanted: str) -> Profile:
        """Return the profile at an https address, whose digest is `wanted` (`sha256:…`).

        Raises ProfileUnavailable for an address that the platform team does not allow, for a server
        that does not answer in time and completely, and for anything but that profile.
        """


@dataclass(frozen=True, slots=True)
class Probe:
    """What one probe request of ours saw; `answered` is True only for a usable answer."""

    answered: bool
    message: str


class Prober(Protocol):
    """Sends one request of ours to a revision, past the gateway."""

    async def probe(self, host: str, path: str) -> Probe:
        """GET `http://host/path`; never raises for what the network or the model does."""


class Clock(Protocol):
    """The only place that reads the time."""

    def now(self) -> datetime:
        """The wall clock in aware UTC."""


class ForgeUnavailable(Unavailable):
    """A repository, forge or webhook timed out, is overloaded or does not take our credentials.

    `retry_after` is what the server asked for, or None. The text names what was tried, and has no
    credentials in it.
    """

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Stale(Exception):
    """What was to be replaced is no longer what was read: somebody was faster. Read it again."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file at the head of a branch.

    `version` is what a write is held against (a blob's or commit's id), `commit` the branch's head
    when it was read.
    """

    path: str
    content: bytes
    version: str
    commit: str


@dataclass(frozen=True, slots=True)
class Replacement:
    """A file's new content, and the commit that brings it.

    `committer` is a name and an e-mail address; None is whoever the credentials belong to, whose
    commits some forges sign.
    """

    branch: str
    file: SourceFile
    content: bytes
    message: str
    committer: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit that was made; `url` is where people see it, or empty."""

    sha: str
    url: str = ""


class ProposalState(StrEnum):
    """How a pull request stands; closed means that nobody merged it."""

    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A pull request, by its number and address, and the description that it has now."""

    number: int
    url: str
    state: ProposalState
    body: str = ""


class Repository(Protocol):
    """A Git repository of which single files are read and replaced.

    Every method raises ForgeUnavailable when trying again later may help, and Refusal for what will
    be refused again.
    """

    async def read(self, path: str, branch: str) -> SourceFile | None:
        """Read a file at the head of a branch; None if the branch, or a plain file, is not there.

        A symbolic link is no plain file.
        """

    async def history(self, path: str, branch: str, limit: int) -> Sequence[PastCommit]:
        """Return the newest commits of a branch that touched a file, at most `limit`."""

    async def commit(self, replacement: Replacement) -> Commit:
        """Replace a file by one commit on top of the branch, never by force.

        Raises Stale if the file, or the branch it is on, is no longer what was read.
        """

    async def find(self, branch: str, words: Sequence[str]) -> Sequence[str] | None:
        """Return the YAML and JSON files that have all these words; None if it cannot search."""

    async def close(self) -> None:
        """Free what is held."""


class Forge(Repository, Protocol):
    """A repository behind a forge that knows pull requests."""

    async def branch(self, name: str, commit: str) -> None:
        """Make a branch at a commit; one of that name is left as it is."""

    async def propose(self, branch: str, base: str, title: str, body: str) -> Proposal:
        """Open a pull request from `branch` into `base`, or return the one that is open."""

    async def proposal(self, branch: str, base: str) -> Proposal | None:
        """Return the newest pull request from `branch` into `base`, whatever its state."""


class Webhooks(Protocol):
    """Receivers of notifications."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send one notification; returns when the receiver took it (2xx).

        Raises ForgeUnavailable if it did not, and Refusal if the address may not be asked.
        """
