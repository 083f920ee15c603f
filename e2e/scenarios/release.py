"""
One ModelDeployment under test: what is committed, what became of it, and what its users saw.

Owns the waiting and the words by which scenarios are told. Judges nothing: the client's counts are
for the tests to judge by.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import yaml

from sandbox.counts import Counts
from sandbox.demo_story import GATEWAY_KINDS, Told, exposed_since, tell
from sandbox.fraud import Season
from sandbox.load import Load
from sandbox.modelstore import storage_uri
from sandbox.paths import ROOT
from scenarios.cluster import NAMESPACE, Cluster, host_of, last_of

Json = dict[str, Any]

STORY = ROOT / "manifests" / "examples" / "demo" / "models" / "fraud.yaml"
"""The ModelDeployment of the demo; scenarios change what they say they change."""

QUICK: Mapping[str, Any] = {
    "steps": [{"weight": 10, "hold": "3s"}, {"weight": 50, "hold": "3s"}],
    "interval": "2s",
    "bake": "6s",
    "tolerance": "5",
    "progressDeadline": "5m",
}
"""Rules by which a good canary takes half a minute."""

ALL_STEPS = [
    *("RolloutStarted", "CandidateReady", "StepCompleted", "AllStepsCompleted", "Promoted"),
]
"""Why the weight changed, time after time, in a rollout by QUICK that nothing disturbed."""

START_SECONDS = 150.0
"""Patience with a model server that starts on a busy machine."""
ROLLOUT_SECONDS = 180.0
_STATUS_SECONDS = 30.0
_SETTLE = timedelta(seconds=2)
_LOG_LINES = 25


def render(name: str, version: str, rollout: Mapping[str, Any], spec: Mapping[str, Any]) -> Json:
    """Return the ModelDeployment of a scenario; `spec` replaces whole fields of the spec."""
    manifest: Json = yaml.safe_load(STORY.read_text())
    manifest["metadata"] = {"name": name, "namespace": NAMESPACE}
    changed = manifest["spec"]
    changed["model"]["version"] = version
    changed["template"]["spec"]["predictor"]["model"]["storageUri"] = storage_uri("fraud", version)
    changed["traffic"]["hostnames"] = [host_of(name)]
    changed["rollout"] = {**QUICK, **rollout}
    changed["objectives"] = [{"name": "availability", "target": "99", "errors": {}}]
    changed.update(copy.deepcopy(dict(spec)))
    return manifest


def template(version: str, *env: Mapping[str, Any], **predictor: Any) -> Json:
    """Return `spec.template` of a version with more environment, or more of a predictor."""
    manifest: Json = copy.deepcopy(yaml.safe_load(STORY.read_text())["spec"]["template"])
    found = manifest["spec"]["predictor"]
    found["model"]["storageUri"] = storage_uri("fraud", version)
    found["model"]["env"] = [*found["model"].get("env", ()), *env]
    found.update(predictor)
    return manifest


class Release:
    """A ModelDeployment, deleted at the end; on failure it says how it stood."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        """Prepare; nothing exists before the first commit."""
        self.cluster = cluster
        self.name = name
        self._users: Load | None = None
        self._crowds = 0
        self._committed: Json = {}

    def __enter__(self) -> Self:
        """Begin from nothing, whatever an earlier run left behind."""
        self.lose()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say how it stood if something failed; then delete it and stop its users."""
        if error is not None:
            error.add_note(self._describe())
        if self._users is not None:
            self._users.stop()
        self.cluster.api.delete("ModelDeployment", NAMESPACE, self.name)

    # --- what people do --------------------------------------------------------------------------

    def commit(
        self, version: str, rollout: Mapping[str, Any] | None = None, **spec: Any
    ) -> datetime:
        """Apply the ModelDeployment with this version of the model; returns when."""
        at = datetime.now(UTC)
        self._committed = render(self.name, version, rollout or {}, spec)
        self.cluster.api.apply(self._committed)
        return at

    @property
    def committed(self) -> Json:
        """What was committed last, as a GitOps tool reads it from Git."""
        return copy.deepcopy(self._committed)

    def sync(self, note: str) -> None:
        """Apply the last commit once more, with a note of the kind GitOps tools leave behind."""
        metadata = {**self._committed["metadata"], "annotations": {"example.com/sync": note}}
        self.cluster.api.apply({**self._committed, "metadata": metadata})

    def serve(self, version: str = "1", rate: float = 30.0, **spec: Any) -> None:
        """Commit the first version, let users come once it serves, wait until it is proven."""
        self.commit(version, {"bake": "1s"}, **spec)
        self.wait_phase("Baking", seconds=START_SECONDS)
        self.users_come(rate)
        self.wait_phase("Stable")

    def users_come(self, rate: float) -> None:
        """Let users send `rate` requests a second from now on."""
        self._crowds += 1
        self._users = self.cluster.users(self.name, rate, seed=self._crowds)
        self._users.start()

    def change_season(self, season: Season) -> None:
        """Let users send transactions of another season from now on."""
        if self._users is None:
            raise ValueError(f"{self.name} has no users")
        self._users.change_season(season)

    def users_go(self) -> None:
        """Let them stop; `counts` is still about them until others come."""
        if self._users is not None:
            self._users.stop()

    def counts(self, since: datetime, until: datetime | None = None) -> Counts:
        """Return what users saw; without an end, up to now and a little longer."""
        if self._users is None:
            raise ValueError(f"{self.name} has no users")
        end = until or datetime.now(UTC)
        settled = end + _SETTLE
        self.cluster.wait("the counts", lambda: datetime.now(UTC) > settled, 10)
        return self._users.counts(since, end + timedelta(seconds=1))

    # --- what became of it -----------------------------------------------------------------------

    @property
    def status(self) -> Json:
        """The status as it is now; empty if there is none."""
        found = self.cluster.api.find("ModelDeployment", NAMESPACE, self.name) or {}
        return dict(found.get("status") or {})

    def condition(self, type: str) -> Json:
        """Return one condition; empty if it is not there."""
        return condition(self.status, type)

    @property
    def records(self) -> Sequence[Json]:
        """The ModelRollouts of this deployment, oldest first; earlier ones of its name left out."""
        owner = self.cluster.api.find("ModelDeployment", NAMESPACE, self.name)
        uid = owner["metadata"]["uid"] if owner else ""
        found = [
            record
            for record in self.cluster.api.list("ModelRollout", NAMESPACE, self._labels)
            if record["spec"]["deploymentUID"] == uid
        ]
        return sorted(found, key=lambda record: int(record["spec"]["number"]))

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """Version and outcome of each rollout, oldest first."""
        return [(r["spec"]["to"]["version"], r["status"].get("outcome", "")) for r in self.records]

    @property
    def weights(self) -> dict[str, int]:
        """What the HTTPRoute says now: percent by version; empty without a route."""
        api = self.cluster.api
        route = api.find("HTTPRoute", NAMESPACE, self.name)
        revisions = api.list("ModelRevision", NAMESPACE, self._labels)
        versions = {r["metadata"]["name"]: r["spec"]["model"]["version"] for r in revisions}
        backends = route["spec"]["rules"][0]["backendRefs"] if route else ()
        return {
            versions.get(b["name"].removesuffix("-predictor"), b["name"]): b["weight"]
            for b in backends
        }

    def look_for(self, seconds: float, pause: float = 0.0) -> list[dict[str, int]]:
        """Return the weights of the route as they were, look by look, for so long.

        Between two looks are `pause` seconds and a little more.
        """
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        seen: list[dict[str, int]] = []

        def look() -> bool:
            seen.append(self.weights)
            self.cluster.ending.wait(pause)
            return datetime.now(UTC) > until

        self.cluster.wait(f"{self.name}: time passes", look, seconds + pause + _STATUS_SECONDS)
        return seen

    def children(self, kind: str) -> Sequence[Json]:
        """Return all objects of a kind that belong to it."""
        return self.cluster.api.list(kind, NAMESPACE, self._labels)

    def events(self, about: str) -> Sequence[Json]:
        """Return the Events about this deployment, in its present life, that mention something."""
        owner = self.cluster.api.find("ModelDeployment", NAMESPACE, self.name)
        uid = owner["metadata"]["uid"] if owner else ""
        return [
            event
            for event in self.cluster.api.list("Event", NAMESPACE)
            if event["involvedObject"].get("uid") == uid and about in event["message"]
        ]

    # --- waiting ---------------------------------------------------------------------------------

    def wait(self, what: str, holds: Callable[[Json], bool], seconds: float) -> Json:
        """Return the first status for which this holds; `what` says it in words."""

        def look() -> Json | None:
            status = self.status
            return status if status and holds(status) else None

        return self.cluster.wait(f"{self.name}: {what}", look, seconds)

    def wait_phase(self, *phases: str, seconds: float = _STATUS_SECONDS) -> Json:
        """Return the first status in one of these phases."""
        return self.wait(" or ".join(phases), lambda s: s.get("phase") in phases, seconds)

    def wait_condition(self, type: str, reason: str, seconds: float = _STATUS_SECONDS) -> Json:
        """Return the condition as soon as it has this reason."""

        def holds(status: Json) -> bool:
            return bool(condition(status, type).get("reason") == reason)

        return condition(self.wait(f"{type} for {reason}", holds, seconds), type)

    def wait_canary(self, version: str, seconds: float = START_SECONDS) -> Json:
        """Return the first status in which this version has weight as a canary."""

        def holds(status: Json) -> bool:
            canary = status.get("canary") or {}
            return canary.get("version") == version and canary.get("weight", 0) > 0

        return self.wait(f"weight for version {version}", holds, seconds)

    def wait_end(self, version: str, seconds: float = ROLLOUT_SECONDS) -> Json:
        """Return the finished record of the latest rollout, once it is one of this version."""

        def look() -> Json | None:
            record = self.records[-1] if self.records else None
            if record is None or record["spec"]["to"]["version"] != version:
                return None
            return record if record.get("status", {}).get("finishedAt") else None

        return self.cluster.wait(f"{self.name}: the end of version {version}", look, seconds)

    def told(self, record: Json) -> Told:
        """Sum a finished rollout up with what users saw from its first weight on, and say it."""
        ended_at, began_at = datetime.now(UTC), exposed_since(record)
        if began_at is None:
            raise ValueError(f"{record['metadata']['name']} never had weight")
        told = tell(record, ended_at, self.counts(began_at, ended_at))
        self.cluster.tell(
            f"{self.name}: version {told.version} {told.outcome} ({told.reason}) "
            f"after {told.seconds:.0f} s, users: {told.users}"
        )
        return told

    # --- failures --------------------------------------------------------------------------------

    @property
    def _labels(self) -> str:
        return f"headgate.dev/deployment={self.name}"

    def lose(self) -> None:
        """Let the cluster forget all of it, records too: what a lost etcd leaves of it is Git."""
        api = self.cluster.api
        api.delete("ModelDeployment", NAMESPACE, self.name)
        self.cluster.wait(
            f"{self.name} is gone",
            lambda: not self.children("InferenceService") and not self.children("ModelRevision"),
            _STATUS_SECONDS,
        )
        for record in self.children("ModelRollout"):
            api.delete("ModelRollout", NAMESPACE, record["metadata"]["name"])

    def _describe(self) -> str:
        """Return how it stands, for the report of a failed test."""
        try:
            objects = [
                *filter(None, [self.cluster.api.find("ModelDeployment", NAMESPACE, self.name)]),
                *self.children("ModelRevision"),
                *self.children("ModelRollout"),
            ]
            route = {"weights": self.weights}
        except Exception as problem:  # what failed first is what matters
            return f"{self.name} cannot be described: {problem!r}"
        words = (f"{NAMESPACE}/{self.name}", f'"{self.name}"', '"level": "error"')
        log = last_of(self.cluster.operator_log, _LOG_LINES, words)
        told = [yaml.safe_dump(_brief(one), sort_keys=False, width=120) for one in objects]
        return "---\n".join([json.dumps(route) + "\n", *told, f"operator's log:\n{log}\n"])


def dropped_by_gateway(users: Counts) -> int:
    """Return how many requests failed at the gateway and not in a model."""
    return sum(users.failed.get(kind, 0) for kind in GATEWAY_KINDS)


def condition(status: Json, type: str) -> Json:
    """Return one condition of a status; empty if it is not there."""
    found = (c for c in status.get("conditions", ()) if c["type"] == type)
    return dict(next(found, {}))


def _brief(manifest: Json) -> Json:
    """Return kind, name and status, without what only programs read."""
    status = copy.deepcopy(manifest.get("status") or {})
    if "evidence" in status:
        status["evidence"]["state"] = "…"
    return {
        "kind": manifest["kind"],
        "name": manifest["metadata"]["name"],
        "generation": manifest["metadata"].get("generation"),
        "status": status,
    }
