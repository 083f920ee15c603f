"""A world in memory: an API server, KServe, a gateway and Prometheus, as far as a pass can tell.

State in, passes, state out: a test sets what people and the platform did, lets passes run, and
looks at the objects. Time moves only when a test moves it. Faults are injected by verb.
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from headgate.core.counters import Arm, Point, Series
from headgate.core.drift.profile import Profile, digest
from headgate.core.slo.budget import WindowCounts
from headgate.core.slo.level import ServiceLevel
from headgate.ports import (
    DEPLOYMENT,
    EVENT,
    GATEWAY,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    MODEL_ROLLOUT,
    POD,
    Arms,
    ClusterUnavailable,
    Conflict,
    Kind,
    Manifest,
    MetricsUnavailable,
    Probe,
    ProfileUnavailable,
    Refused,
    Service,
    SignalSource,
    UnitSeries,
)
from headgate.reconcile import Key, Options, Report, World, reconcile

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SCRAPE = timedelta(seconds=2)
BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
_KINDS = {
    k.kind: k
    for k in (
        DEPLOYMENT,
        EVENT,
        GATEWAY,
        HTTP_ROUTE,
        INFERENCE_SERVICE,
        MODEL_DEPLOYMENT,
        MODEL_REVISION,
        MODEL_ROLLOUT,
        POD,
        Kind("", "v1", "configmaps", "ConfigMap"),
        Kind("", "v1", "secrets", "Secret"),
        Kind("serving.kserve.io", "v1alpha1", "servingruntimes", "ServingRuntime"),
        Kind("serving.kserve.io", "v1alpha1", "clusterservingruntimes", "ClusterServingRuntime"),
    )
}
_STATUSFUL = {"ModelDeployment", "ModelRevision", "ModelRollout"}


class Killed(BaseException):
    """The operator's process ended here, as by kill -9."""


@dataclass
class TestClock:
    """A clock that stands still until a test moves it."""

    __test__ = False
    at: datetime = START

    def now(self) -> datetime:
        """The time a test has set."""
        return self.at


@dataclass
class MemoryCluster:
    """The API server: optimistic locking, status by itself, generations, owners."""

    clock: TestClock
    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    writes: list[tuple[str, str, str]] = field(default_factory=list)
    before_write: Callable[[str, str, str], None] = lambda verb, kind, name: None
    before_read: Callable[[str, str], None] = lambda verb, kind: None
    after_write: Callable[[str, dict[str, Any]], None] = lambda verb, manifest: None
    _counter: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Read one object."""
        self.before_read("get", kind.kind)
        return copy.deepcopy(self.objects.get((kind.kind, namespace or "", name)))

    async def list(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str]
    ) -> Sequence[Manifest]:
        """Read all objects with these labels."""
        self.before_read("list", kind.kind)
        return [
            copy.deepcopy(m)
            for (k, ns, _), m in self.objects.items()
            if k == kind.kind
            and namespace in (None, ns)
            and labels.items() <= (m["metadata"].get("labels") or {}).items()
        ]

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        key = self._begin("create", manifest)
        if key in self.objects:
            raise Conflict(f"{key} exists")
        return self._store(key, manifest, "create")

    async def apply(self, manifest: Manifest) -> Manifest:
        """Take over what we own of an object, making it if it is absent."""
        key = self._begin("apply", manifest)
        return self._store(key, manifest, "apply")

    async def patch_status(self, current: Manifest, status: Manifest) -> Manifest:
        """Replace the status if nothing changed."""
        key = self._begin("patch_status", current)
        found = self.objects.get(key)
        if found is None:
            raise Refused(f"{key} not found")
        if found["metadata"]["resourceVersion"] != current["metadata"]["resourceVersion"]:
            raise Conflict(f"{key} changed")
        self._check(key[0], status)
        found["status"] = copy.deepcopy(dict(status))
        found["metadata"]["resourceVersion"] = str(next(self._counter))
        self.after_write("patch_status", found)
        return copy.deepcopy(found)

    async def delete(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """Delete an object and what it owns."""
        self.before_write("delete", kind.kind, name)
        self.remove(kind.kind, namespace or "", name)

    async def annotate(
        self, current: Manifest, annotations: Mapping[str, str | None], *, dry_run: bool = False
    ) -> Manifest:
        """Set or remove annotations, as a person does by the command line."""
        key = self._begin("annotate", current)
        if key not in self.objects:
            raise Refused(f"patch {key}: HTTP 404: not found")
        changed = self._annotated(key, "headgate-cli", annotations)
        return changed if dry_run else self._store(key, changed, "annotate")

    def _annotated(
        self, key: tuple[str, str, str], manager: str, annotations: Mapping[str, str | None]
    ) -> dict[str, Any]:
        changed = copy.deepcopy(self.objects[key])
        found = {**(changed["metadata"].get("annotations") or {}), **annotations}
        found = {name: value for name, value in found.items() if value is not None}
        owned = {"f:annotations": {f"f:{name}": {} for name in found}}
        entry = {
            "manager": manager,
            "time": f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}",
            "fieldsV1": {"f:metadata": owned},
        }
        changed["metadata"] |= {"annotations": found, "managedFields": [entry]}
        return changed

    # --- what tests use -------------------------------------------------------------------------

    def put(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Let somebody else create or change an object."""
        return self._store(_key(manifest), manifest, "put")

    def find(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """Look at an object."""
        return self.objects.get((kind, namespace, name))

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Look at all objects of a kind, by name."""
        found = [m for (k, _, _), m in self.objects.items() if k == kind]
        return sorted(found, key=lambda m: str(m["metadata"]["name"]))

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete by hand: what it owns goes with it."""
        gone = self.objects.pop((kind, namespace, name), None)
        if gone is None:
            return
        uid = gone["metadata"]["uid"]
        for (k, ns, n), manifest in list(self.objects.items()):
            owners = manifest["metadata"].get("ownerReferences") or ()
            if any(o["uid"] == uid for o in owners):
                self.remove(k, ns, n)

    def _begin(self, verb: str, manifest: Mapping[str, Any]) -> tuple[str, str, str]:
        key = _key(manifest)
        self.before_write(verb, key[0], key[2])
        self.writes.append((verb, key[0], key[2]))
        return key

    def _store(
        self, key: tuple[str, str, str], manifest: Mapping[str, Any], verb: str
    ) -> dict[str, Any]:
        found = self.objects.get(key)
        stored = copy.deepcopy(dict(manifest))
        metadata = stored["metadata"]
        if found is not None:
            stored["status"] = stored.get("status", found.get("status"))
            metadata["uid"] = found["metadata"]["uid"]
            metadata["creationTimestamp"] = found["metadata"]["creationTimestamp"]
            same = _content(found) == _content(stored)
            metadata["generation"] = found["metadata"]["generation"] + (0 if same else 1)
            if same and found["metadata"].get("annotations") == metadata.get("annotations"):
                return copy.deepcopy(found)
        else:
            metadata["uid"] = f"uid-{next(self._counter)}"
            metadata["generation"] = 1
            metadata["creationTimestamp"] = self.clock.now().isoformat()
        if stored.get("status") is None:
            default = {"observedGeneration": -1} if key[0] in _STATUSFUL else {}
            stored["status"] = default
        metadata["resourceVersion"] = str(next(self._counter))
        self._check(key[0], stored["status"])
        self.objects[key] = stored
        self.after_write(verb, stored)
        return copy.deepcopy(stored)

    def _check(self, kind: str, status: Mapping[str, Any]) -> None:
        """Refuse a status that the CRD's schema would refuse or prune."""
        if kind in _STATUSFUL:
            from tests.scenarios.schema import check_status

            check_status(kind, status)


def _content(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in manifest.items() if k not in ("metadata", "status")}


def _key(manifest: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


@dataclass
class Behaviour:
    """How one model version behaves once it runs."""

    failing: float = 0.002
    slow: float = 0.01
    starts: bool = True
    answers: bool = True
    schedulable: bool = True
    problem: str = ""
    pods: int = 1


@dataclass
class Platform:
    """KServe and the gateway: they follow what is written, at once unless told otherwise."""

    cluster: MemoryCluster
    clock: TestClock
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    gateway_up: bool = True

    def behaviour_of(self, revision: str) -> Behaviour:
        """How the model in this InferenceService behaves, by its storageUri's last part."""
        service = self.cluster.find("InferenceService", "models", revision)
        uri = service["spec"]["predictor"]["model"]["storageUri"] if service else ""
        return self.behaviours.get(uri.rsplit("/", 1)[-1], Behaviour())

    def settle(self) -> None:
        """Let all controllers catch up."""
        for service in self.cluster.all("InferenceService"):
            self._serve(service)
        names = {s["metadata"]["name"] for s in self.cluster.all("InferenceService")}
        for deployment in self.cluster.all("Deployment"):
            # One that was left without an owner goes on: nobody collects it.
            owned = deployment["metadata"].get("ownerReferences")
            if owned and deployment["metadata"]["name"].removesuffix("-predictor") not in names:
                self.cluster.remove("Deployment", "models", deployment["metadata"]["name"])
        for route in self.cluster.all("HTTPRoute"):
            self._accept(route)

    def _serve(self, service: dict[str, Any]) -> None:
        metadata = service["metadata"]
        name, labels = metadata["name"], metadata["labels"]
        stopped = metadata.get("annotations", {}).get("serving.kserve.io/stop") == "true"
        if stopped:
            self.cluster.remove("Deployment", "models", f"{name}-predictor")
            self.cluster.remove("Pod", "models", f"{name}-pod")
            return
        behaviour = self.behaviour_of(name)
        up = behaviour.pods if behaviour.starts and behaviour.schedulable else 0
        self._put_child("Deployment", f"{name}-predictor", labels, service)
        deployment = self.cluster.find("Deployment", "models", f"{name}-predictor")
        assert deployment is not None
        deployment["status"] = {
            "observedGeneration": 1,
            "replicas": behaviour.pods,
            "updatedReplicas": behaviour.pods,
            "availableReplicas": up,
        }
        self._put_child("Pod", f"{name}-pod", labels, service)
        pod = self.cluster.find("Pod", "models", f"{name}-pod")
        assert pod is not None
        pod["status"] = self._pod_status(pod, behaviour)

    def _put_child(
        self, kind: str, name: str, labels: Mapping[str, str], service: dict[str, Any]
    ) -> None:
        if self.cluster.find(kind, "models", name):
            return
        owner = {"uid": service["metadata"]["uid"], "controller": True}
        self.cluster.put(
            {
                "apiVersion": "apps/v1" if kind == "Deployment" else "v1",
                "kind": kind,
                "metadata": {
                    "name": name,
                    "namespace": "models",
                    "labels": dict(labels),
                    "ownerReferences": [owner],
                },
                "spec": {"replicas": 1},
            }
        )

    def _pod_status(self, pod: dict[str, Any], behaviour: Behaviour) -> dict[str, Any]:
        scheduled: dict[str, Any] = {
            "type": "PodScheduled",
            "status": str(behaviour.schedulable),
            "lastTransitionTime": pod["metadata"]["creationTimestamp"],
        }
        if not behaviour.schedulable:
            scheduled |= {"reason": "Unschedulable", "message": "0/2 nodes: no nvidia.com/gpu"}
        status: dict[str, Any] = {"conditions": [scheduled]}
        if behaviour.problem:
            waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting"}
            ended = {"exitCode": 1, "message": behaviour.problem}
            status["containerStatuses"] = [
                {
                    "name": "kserve-container",
                    "ready": False,
                    "state": {"waiting": waiting},
                    "lastState": {"terminated": ended},
                }
            ]
        return status

    def _accept(self, route: dict[str, Any]) -> None:
        if not self.gateway_up:
            return
        generation = route["metadata"]["generation"]
        missing = [
            r["name"]
            for r in route["spec"]["rules"][0]["backendRefs"]
            if not self.cluster.find("Deployment", "models", r["name"])
        ]
        resolved: dict[str, Any] = {
            "type": "ResolvedRefs",
            "status": str(not missing),
            "reason": "BackendNotFound" if missing else "ResolvedRefs",
            "message": f"Service {missing[0]} not found" if missing else "",
            "observedGeneration": generation,
        }
        accepted = {
            "type": "Accepted",
            "status": "True",
            "reason": "Accepted",
            "observedGeneration": generation,
        }
        parent = dict(route["spec"]["parentRefs"][0])
        route["status"] = {"parents": [{"parentRef": parent, "conditions": [accepted, resolved]}]}


@dataclass
class MemoryMetrics:
    """Gateway counters of real requests, drawn with a fixed seed, scraped every two seconds."""

    platform: Platform
    clock: TestClock
    rate: float = 100.0
    up: bool = True
    incident: float = 0.0
    """Share of requests that fail on both arms at once."""
    more: Callable[[SignalSource, Arms, datetime], Sequence[Series]] = lambda source, arms, now: ()
    """What else is counted, by the source that is asked for."""
    types: dict[str, str] = field(default_factory=dict)
    """What metrics are, where they are not what their names say."""
    counts: dict[tuple[str, str, int], dict[str, int]] = field(default_factory=dict)
    samples: list[tuple[datetime, dict[tuple[str, str, int], dict[str, int]]]] = field(
        default_factory=list
    )
    answered: int = 0
    failed: int = 0
    generation: dict[str, int] = field(default_factory=dict)
    _chance: random.Random = field(default_factory=lambda: random.Random(7))

    def serve(self, seconds: float) -> None:
        """Let users send requests for a scrape interval, then scrape."""
        for route in self._in_force():
            name = route["metadata"]["name"]
            references = route["spec"]["rules"][0]["backendRefs"]
            live = {("models", name, p) for p in range(len(references))}
            for key in [k for k in self.counts if k[1] == name and k not in live]:
                del self.counts[key]
            for position, reference in enumerate(references):
                requests = round(self.rate * seconds * reference["weight"] / 100)
                self._answer(("models", name, position), reference["name"], requests)
        self.samples.append((self.clock.now(), copy.deepcopy(self.counts)))
        self.samples = self.samples[-600:]

    def _in_force(self) -> list[dict[str, Any]]:
        """Of routes with one host name, Envoy Gateway follows the one with a regular expression."""
        routes = self.platform.cluster.all("HTTPRoute")
        first = [r for r in routes if "RegularExpression" in str(r["spec"]["rules"])]
        hosts = {host for r in first for host in r["spec"]["hostnames"]}

        def is_shadowed(route: dict[str, Any]) -> bool:
            return bool(hosts & set(route["spec"].get("hostnames") or ()))

        return [*first, *(r for r in routes if r not in first and not is_shadowed(r))]

    def _answer(self, key: tuple[str, str, int], service: str, requests: int) -> None:
        if requests == 0:
            return
        revision = service.removesuffix("-predictor")
        behaviour = self.platform.behaviour_of(revision)
        deployment = self.platform.cluster.find("Deployment", "models", service)
        serving = deployment is not None and deployment["status"].get("availableReplicas")
        failing = max(behaviour.failing, self.incident) if serving else 1.0
        counts = self.counts.setdefault(key, {})
        bad = self._drawn(requests, failing)
        slow = self._drawn(requests, behaviour.slow)
        self.answered += requests
        self.failed += bad
        self._add(counts, "bad", bad)
        self._add(counts, "good", requests - bad)
        for edge in BUCKETS:
            fast = requests - slow if edge >= 0.02 else 0
            self._add(counts, str(edge), fast + (slow if edge >= 0.3 else 0))
        self._add(counts, "+Inf", requests)

    def _drawn(self, requests: int, share: float) -> int:
        return sum(self._chance.random() < share for _ in range(requests)) if share else 0

    @staticmethod
    def _add(counts: dict[str, int], outcome: str, more: int) -> None:
        counts[outcome] = counts.get(outcome, 0) + more

    async def read(
        self, arms: Arms, sources: Sequence[SignalSource], since: datetime, now: datetime
    ) -> Sequence[Series]:
        """Answer with raw samples as Prometheus would, of what was asked for."""
        if not self.up:
            raise MetricsUnavailable("prometheus did not answer: query envoy_cluster_upstream_rq")
        wanted = {source.name for source in sources}
        found = []
        for arm, position in ((Arm.STABLE, arms.stable), (Arm.CANARY, arms.canary)):
            if position is not None:
                found += self._series(arm, (arms.namespace, arms.route, position), since, now)
        for source in sources:
            found += self.more(source, arms, now)
        return [series for series in found if series.signal in wanted]

    async def units(self, *_: Any) -> Sequence[UnitSeries]:
        """Answer as a gateway without statistics by endpoint."""
        return ()

    async def ticks(
        self, arms: Arms, source: SignalSource, since: datetime, now: datetime, step: timedelta
    ) -> Sequence[Series]:
        """Answer with every sample, whatever the step."""
        return await self.read(arms, [source], since, now)

    async def type_of(self, metric: str, now: datetime) -> str | None:
        """Answer that all is as it should be, unless told otherwise."""
        usual = "histogram" if metric.endswith("_bucket") else "counter"
        return self.types.get(metric, usual)

    def queries(self, arms: Arms, sources: Sequence[SignalSource]) -> dict[str, str]:
        """Name each source."""
        return {source.name: f"memory{{signal={source.name!r}}}" for source in sources}

    def _series(
        self, arm: Arm, key: tuple[str, str, int], since: datetime, now: datetime
    ) -> list[Series]:
        points: dict[str, list[Point]] = {}
        for at, counts in self.samples:
            # As a range selector with one scrape of slack would.
            if since - 2 * SCRAPE <= at <= now:
                for outcome, value in counts.get(key, {}).items():
                    points.setdefault(outcome, []).append(Point(at, float(value)))
        return [
            Series(
                "errors" if outcome in ("good", "bad") else "latency",
                arm,
                "envoy-0",
                outcome,
                f"{key}{outcome}",
                tuple(values),
            )
            for outcome, values in points.items()
        ]


@dataclass
class MemoryBudgets:
    """What was counted over long windows, by the objective's name; nothing unless told."""

    counts: dict[str, Sequence[WindowCounts]] = field(default_factory=dict)
    stable: dict[str, Sequence[WindowCounts]] = field(default_factory=dict)
    """What stable alone counted, where that is not what all counted."""
    up: bool = True

    async def read(
        self,
        service: Service,
        objectives: Sequence[ServiceLevel],
        now: datetime,
        longest: timedelta | None = None,
    ) -> dict[str, Sequence[WindowCounts]]:
        """Answer with what was put in."""
        if not self.up:
            raise MetricsUnavailable("prometheus did not answer: budgets")
        known = self.counts if service.hash is None else {**self.counts, **self.stable}
        return {o.name: known.get(o.name, ()) for o in objectives}


@dataclass
class MemoryProber:
    """Asks the model itself."""

    platform: Platform
    hosts: list[str] = field(default_factory=list)

    async def probe(self, host: str, path: str) -> Probe:
        """Answer as the model would."""
        self.hosts.append(f"{host}{path}")
        behaviour = self.platform.behaviour_of(host.split(".")[0].removesuffix("-predictor"))
        return Probe(behaviour.answers, "200" if behaviour.answers else "503: not loaded")


@dataclass
class MemoryProfiles:
    """Profiles by their address."""

    kept: dict[str, Profile] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def read(self, address: str, wanted: str) -> Profile:
        """Answer with what was put in."""
        self.asked.append(address)
        if address not in self.kept:
            raise ProfileUnavailable("a profile at that address", "HTTP 404")
        found = digest(self.kept[address])
        if found != wanted:
            raise ProfileUnavailable(f"the profile {wanted}", found)
        return self.kept[address]


class Story:
    """One ModelDeployment's life, told by what people commit and how models behave."""

    def __init__(self, **options: Any) -> None:
        self.clock = TestClock()
        self.cluster = MemoryCluster(self.clock)
        self.platform = Platform(self.cluster, self.clock)
        self.metrics = MemoryMetrics(self.platform, self.clock)
        self.budgets = MemoryBudgets()
        self.prober = MemoryProber(self.platform)
        self.profiles = MemoryProfiles()
        # Controllers settle between passes, so waiting within one would wait for ever.
        self.options = Options(**{"verify_within": timedelta(0), **options})
        self.key = Key("models", "fraud")
        self.reports: list[Report] = []
        self.due = self.clock.now()
        self.cluster.after_write = lambda verb, manifest: self.platform.settle()
        self.cluster.put(
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "metadata": {"name": "public", "namespace": "gateways"},
                "spec": {"listeners": [{"name": "http"}]},
            }
        )

    @property
    def world(self) -> World:
        """The world as a fresh operator process would see it."""
        return World(
            self.cluster,
            self.metrics,
            self.budgets,
            self.prober,
            self.clock,
            self.profiles,
            self.options,
        )

    def commit(self, version: str, **changes: Any) -> None:
        """Let Git bring this version; the same version again is a re-sync."""
        manifest = deployment(version, **changes)
        live = self.cluster.find("ModelDeployment", "models", "fraud")
        for kept in ("annotations", "managedFields"):  # what Git does not have stays as it is
            if live is not None and kept in live["metadata"]:
                manifest["metadata"][kept] = live["metadata"][kept]
        self.cluster.put(manifest)
        self.due = self.clock.now()

    def annotate(self, manager: str = "kubectl-annotate", **values: str | None) -> None:
        """Let somebody write annotations of ours (None removes one), as `command_reason="…"`."""
        names = {f"headgate.dev/{name.replace('_', '-')}": v for name, v in values.items()}
        key = ("ModelDeployment", "models", "fraud")
        self.cluster.put(self.cluster._annotated(key, manager, names))
        self.due = self.clock.now()

    def hash_of(self, version: str) -> str:
        """The hash of a version that there is a revision of."""
        revisions = self.cluster.all("ModelRevision")
        found = [r for r in revisions if r["spec"]["model"]["version"] == version]
        return str(found[-1]["spec"]["hash"])

    async def once(self) -> Report:
        """Run one pass now."""
        report = await reconcile(self.key, self.world, self.clock.now())
        self.reports.append(report)
        again = report.again_in if report.again_in is not None else timedelta(minutes=5)
        self.due = self.clock.now() + again
        return report

    async def run(self, duration: timedelta, until: Callable[[], bool] | None = None) -> None:
        """Let time pass in scrape intervals: users, controllers and due passes of the operator."""
        end = self.clock.now() + duration
        while self.clock.now() < end and not (until and until()):
            self.clock.at += SCRAPE
            self.platform.settle()
            self.metrics.serve(SCRAPE.total_seconds())
            for _ in range(20):
                if self.due > self.clock.now():
                    break
                self.platform.settle()
                try:
                    await self.once()
                except (Conflict, ClusterUnavailable):
                    self.due = self.clock.now() + SCRAPE

    async def until_phase(self, phase: str, limit: timedelta = timedelta(hours=2)) -> None:
        """Run until the spec in Git was seen and the phase is this; fails after `limit`.

        Stable means that the version in Git is the one that serves.
        """
        await self.run(limit, lambda: self._is_in(phase))
        assert self._is_in(phase), self.status

    def _is_in(self, phase: str) -> bool:
        found = self.cluster.find("ModelDeployment", "models", "fraud")
        if found is None or found["status"].get("phase") != phase:
            return False
        version = found["spec"]["model"]["version"]
        settled = phase != "Stable" or self.status["stable"]["version"] == version
        return settled and self.status["observedGeneration"] == found["metadata"]["generation"]

    @property
    def status(self) -> dict[str, Any]:
        """The deployment's status."""
        found = self.cluster.find("ModelDeployment", "models", "fraud")
        return dict(found["status"]) if found else {}

    def condition(self, type: str) -> dict[str, Any]:
        """One of the deployment's conditions; empty if it has no such one."""
        return next((c for c in self.status.get("conditions", ()) if c["type"] == type), {})

    @property
    def weights(self) -> dict[str, int]:
        """Weight by version, as the route has it."""
        route = self.cluster.find("HTTPRoute", "models", "fraud")
        if route is None:
            return {}
        versions = {
            f"{r['metadata']['name']}-predictor": r["spec"]["model"]["version"]
            for r in self.cluster.all("ModelRevision")
        }
        references = route["spec"]["rules"][0]["backendRefs"]
        return {versions.get(r["name"], r["name"]): r["weight"] for r in references}

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome by the version each rollout tried, in order."""
        return {
            f"{r['spec']['number']}:{r['spec']['to']['version']}": r["status"].get("outcome", "")
            for r in self.cluster.all("ModelRollout")
        }


def deployment(version: str, **changes: Any) -> dict[str, Any]:
    """Return the ModelDeployment that people commit for this version."""
    rollout = {
        "steps": [{"weight": 10, "hold": "20s"}, {"weight": 50, "hold": "20s"}],
        "bake": "60s",
        "interval": "10s",
        "progressDeadline": "10m",
        **changes.pop("rollout", {}),
    }
    spec = {
        "model": {"version": version},
        "template": {
            "metadata": {},
            "spec": {
                "predictor": {
                    "minReplicas": 1,
                    "model": {
                        "modelFormat": {"name": "sklearn"},
                        "storageUri": f"s3://models/fraud/{version}",
                    },
                }
            },
        },
        "traffic": {
            "gateway": {"name": "public", "namespace": "gateways"},
            "hostnames": ["fraud.example.com"],
        },
        "rollout": rollout,
        "objectives": [{"name": "availability", "target": "99", "errors": {}}],
        **changes,
    }
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "fraud", "namespace": "models"},
        "spec": spec,
    }
