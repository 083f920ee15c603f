"""The world outside, as Protocols with one exception each.

Owns what an adapter must promise. Must not know any adapter, nor what its answers are used for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from headgate.core.counters import Series

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
KINDS = (
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    MODEL_ROLLOUT,
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


@dataclass(frozen=True, slots=True)
class Arms:
    """Where a route's two arms are: positions in `backendRefs` of the HTTPRoute's first rule."""

    namespace: str
    route: str
    stable: int | None
    canary: int | None


class Metrics(Protocol):
    """A Prometheus-compatible source of raw counter samples."""

    async def read(self, arms: Arms, since: datetime, now: datetime) -> Sequence[Series]:
        """Read the raw samples of both arms up to `now`, with the scrape times of the source.

        They begin some time before `since`, so that the last sample before it is among them.
        Empty when there are none: silence is not zero failures. Raises MetricsUnavailable.
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
