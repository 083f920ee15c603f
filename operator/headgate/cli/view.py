"""What `status` and `why` show, read from the objects of the API.

Owns which field of which object means what to a person. Must not know how it is drawn, nor how
the objects were read. Fields are taken as they come: the command may be older or newer than the
operator, and a record must stay readable when its deployment is long gone. Every text is cleaned
of control characters here, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from headgate.api.quantities import Duration
from headgate.core.commits.value import Commit, read_rendered, stored_commit
from headgate.core.evidence import Evidence
from headgate.core.revision import record_digest
from headgate.core.slo.budget import Pair, pairs_of
from headgate.core.slo.gate import in_words
from headgate.core.slo.level import USUAL
from headgate.core.wording import plain
from headgate.ports import Manifest

REVISION_LABEL = "headgate.dev/revision"
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Objects:
    """Everything that was read; `workloads` is None if they may not be read."""

    deployments: Sequence[Manifest] = ()
    revisions: Sequence[Manifest] = ()
    rollouts: Sequence[Manifest] = ()
    workloads: Sequence[Manifest] | None = None


class Role(StrEnum):
    """What a revision is to its deployment."""

    STABLE = "stable"
    CANARY = "canary"
    REJECTED = "rejected"
    OLD = "old"


class StepState(StrEnum):
    """Where a rollout is with one of its steps."""

    DONE = "done"
    CURRENT = "current"
    TO_COME = "toCome"
    ENDED_HERE = "endedHere"
    NOT_REACHED = "notReached"


class Integrity(StrEnum):
    """Whether a record is as it was when it was finished."""

    INTACT = "intact"
    CHANGED = "changed"
    OPEN = "open"


class Link(StrEnum):
    """Whether the record before is the one that was named when this one began."""

    FIRST = "first"
    INTACT = "intact"
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; `status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str

    @property
    def is_as_it_should_be(self) -> bool:
        """Stalled and Reconciling should be False, all others True."""
        return self.status == ("False" if self.type in ("Stalled", "Reconciling") else "True")


@dataclass(frozen=True, slots=True)
class Pods:
    """Pods of a revision's workload."""

    ready: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why and when a revision was rejected, and the record that has it. `by` is the field manager
    of the person that asked for it, "" where the evidence decided."""

    reason: str
    rollout: str
    at: datetime | None
    by: str


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision. `pods` is None where none are known; `weight` is percent of requests."""

    name: str
    version: str
    hash: str
    role: Role
    weight: int
    phase: str
    proven: bool
    pods: Pods | None
    rejection: Rejection | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the plan: percent to the canary, and its shortest stay."""

    weight: int
    hold: timedelta
    state: StepState


@dataclass(frozen=True, slots=True)
class Wait:
    """What time alone must still bring. `exact` is False where it may last longer than `left`."""

    left: timedelta
    exact: bool


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal's numbers, as in the record. `evidence` reaching `threshold` alone is a breach.

    The difference is between `lowest_points` and `highest_points` with 95 %. `design_effect`,
    `placebo_runs` and `pods` are None where the noise between stable's pods was not measured, or
    by an operator that did not say; `query` is "" where it is not known.
    """

    name: str
    canary_requests: int
    canary_bad: int
    stable_requests: int
    stable_bad: int
    difference_points: float | None
    evidence: float
    threshold: float
    requests_needed: int | None
    message: str
    lowest_points: float | None
    highest_points: float | None
    design_effect: float | None
    placebo_runs: int | None
    pods: int | None
    query: str


@dataclass(frozen=True, slots=True)
class Given:
    """A person's command that was followed: Pause, Abort, Promote or Retry, and the claim of who
    gave it. `set_at` is None, and `reason` "", where that is not known."""

    verb: str
    manager: str
    set_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Change:
    """One change that the record tells of; `weight` is the percentage of the tried revision.

    `command` is the one that it followed, None where nobody asked for it.
    """

    weight: int
    at: datetime | None
    reason: str
    message: str
    command: Given | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The last decision of a record."""

    verdict: str
    signal: str
    reason: str
    message: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Reference:
    """A revision as records name it."""

    version: str
    hash: str
    revision: str


@dataclass(frozen=True, slots=True)
class Previous:
    """The record before, as this one names it."""

    name: str
    link: Link


@dataclass(frozen=True, slots=True)
class Record:
    """One ModelRollout. `from_` is None for a first revision, `verdict` before the first look.

    The signals count from `counted_since` on, None where the evidence cannot be read. `commit` is
    None where an older operator did not say.
    """

    name: str
    number: int
    outcome: str
    phase: str
    reason: str
    message: str
    from_: Reference | None
    to: Reference
    steps: tuple[Step, ...]
    bake: timedelta
    bake_state: StepState
    started_at: datetime | None
    first_request_at: datetime | None
    finished_at: datetime | None
    evidence_as_of: datetime | None
    counted_since: datetime | None
    step_began_at: datetime | None
    changes: tuple[Change, ...]
    signals: tuple[Signal, ...]
    verdict: Verdict | None
    integrity: Integrity
    previous: Previous
    commit: Commit | None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.finished_at is None

    def command(self, verb: str) -> Change | None:
        """Return the last change that followed such a command of a person, or None."""
        given = [c for c in self.changes if c.command is not None and c.command.verb == verb]
        return given[-1] if given else None

    @property
    def requests_needed(self) -> int | None:
        """Further canary requests until the next weight is earned; None if none are asked for."""
        needed = [s.requests_needed for s in self.signals if s.requests_needed]
        return max(needed, default=None)


@dataclass(frozen=True, slots=True)
class Burn:
    """A pair of windows, such as 1h/5m, over which a budget is spent faster than `factor`.

    `factor` is a burn rate: 1 spends exactly the budget over the objective's window. `severity` is
    page or ticket; "" and None for a pair that a newer operator knows.
    """

    windows: str
    factor: float | None
    severity: str


@dataclass(frozen=True, slots=True)
class Budget:
    """An objective's error budget. `target` is in percent as written, "" if the spec has it not.

    `remaining` is the share that is left: 1 is all, below 0 it is overspent, None is not known.
    It was first so at `as_of`.
    """

    objective: str
    target: str
    window: timedelta
    remaining: float | None
    burning: tuple[Burn, ...]
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class Drift:
    """A feature whose live inputs are not as in training."""

    feature: str
    since: datetime | None
    message: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """One ModelDeployment with its revisions and the record in charge (None before the first)."""

    namespace: str
    name: str
    version: str
    phase: str
    phase_since: datetime | None
    reason: str
    message: str
    url: str
    generation: int
    observed_generation: int
    paused: bool
    retry: str
    revisions: tuple[Revision, ...]
    route_verified_at: datetime | None
    conditions: tuple[Condition, ...]
    budgets: tuple[Budget, ...]
    drifts: tuple[Drift, ...]
    record: Record | None
    wait: Wait | None

    def having(self, role: Role) -> Revision | None:
        """Return the first revision of this role, or None."""
        return next((r for r in self.revisions if r.role is role), None)

    def condition(self, type: str) -> Condition | None:
        """Return the condition of this type, or None."""
        return next((c for c in self.conditions if c.type == type), None)

    @property
    def is_seen(self) -> bool:
        """Whether the operator has looked at the spec as it is now."""
        return self.observed_generation >= self.generation

    @property
    def unusual(self) -> tuple[Condition, ...]:
        """Conditions that are not as they should be, but for what a rollout on its way implies."""
        moving = self.phase in ("Preparing", "Progressing", "Paused", "Baking")
        return tuple(
            c
            for c in self.conditions
            if not c.is_as_it_should_be and not (moving and c.type == "RolledOut")
        )


def view_deployments(objects: Objects, now: datetime) -> tuple[Deployment, ...]:
    """View all deployments that were read, by namespace and name."""
    views = (_deployment(manifest, objects, now) for manifest in objects.deployments)
    return tuple(sorted(views, key=lambda view: (view.namespace, view.name)))


def view_records(objects: Objects, deployment: Manifest | None = None) -> tuple[Record, ...]:
    """View all records that were read, oldest first; the one in charge follows the live state."""
    manifests = sorted(objects.rollouts, key=lambda m: int(m["spec"]["number"]))
    by_name = {str(m["metadata"]["name"]): m for m in manifests}
    return tuple(_record(m, by_name, deployment) for m in manifests)


# --- deployments ---------------------------------------------------------------------------------


def _deployment(manifest: Manifest, objects: Objects, now: datetime) -> Deployment:
    metadata, spec, status = manifest["metadata"], manifest["spec"], _map(manifest, "status")
    rollout, route = _map(spec, "rollout"), _map(status, "route")
    own = Objects(
        deployments=(manifest,),
        revisions=[r for r in objects.revisions if _belongs(r, manifest)],
        rollouts=[r for r in objects.rollouts if _belongs(r, manifest)],
        workloads=objects.workloads,
    )
    records = {record.name: record for record in view_records(own, manifest)}
    record = records.get(status.get("rollout", ""))
    verified_at = _moment(route.get("verifiedAt"))
    return Deployment(
        namespace=_text(metadata.get("namespace")),
        name=_text(metadata["name"]),
        version=_text(_map(spec, "model").get("version")),
        phase=_text(status.get("phase")),
        phase_since=_moment(status.get("phaseSince")),
        reason=_text(status.get("reason")),
        message=_text(status.get("message")),
        url=_text(status.get("url")),
        generation=int(metadata.get("generation", 0)),
        observed_generation=int(status.get("observedGeneration", -1)),
        paused=bool(rollout.get("paused", False)),
        retry=_text(rollout.get("retry")),
        revisions=_revisions(manifest, own),
        route_verified_at=verified_at,
        conditions=tuple(_condition(c) for c in status.get("conditions") or ()),
        budgets=_budgets(spec.get("objectives") or (), status.get("budget") or ()),
        drifts=tuple(_drift(entry) for entry in status.get("drift") or ()),
        record=record,
        wait=_wait(status, record, verified_at, now),
    )


def _belongs(child: Manifest, deployment: Manifest) -> bool:
    parent, metadata = deployment["metadata"], child["metadata"]
    here = metadata.get("namespace") == parent.get("namespace")
    return bool(here and child["spec"].get("deployment") == parent["name"])


def _wait(
    status: Mapping[str, Any], record: Record | None, verified_at: datetime | None, now: datetime
) -> Wait | None:
    """Find what the hold or the bake still lasts; None where time alone changes nothing.

    The hold counts from the canary's first request under the verified route. The record knows it
    at its next checkpoint; until then it is at least what is left since the verification.
    """
    if record is None or not record.is_running:
        return None
    since = _moment(status.get("phaseSince"))
    if status.get("phase") == "Baking" and since is not None:
        return Wait(max(timedelta(0), since + record.bake - now), exact=True)
    step = next((s for s in record.steps if s.state is StepState.CURRENT), None)
    if step is None or status.get("phase") not in ("Progressing", "Paused"):
        return None
    if verified_at is None:
        return Wait(step.hold, exact=False)
    began = record.step_began_at
    exact = began is not None and began >= verified_at
    start = began if began is not None and exact else verified_at
    return Wait(max(timedelta(0), start + step.hold - now), exact)


def _condition(entry: Mapping[str, Any]) -> Condition:
    return Condition(
        _text(entry.get("type")),
        _text(entry.get("status")),
        _text(entry.get("reason")),
        _text(entry.get("message")),
    )


# --- budgets and drift ---------------------------------------------------------------------------


def _budgets(
    promised: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]
) -> tuple[Budget, ...]:
    """View the budget of each objective, in the order of the spec; then those that it left."""
    known = {str(entry.get("objective")): entry for entry in found}
    specs = {str(entry.get("name")): entry for entry in promised}
    names = dict.fromkeys([*specs, *known])
    return tuple(_budget(name, specs.get(name, {}), known.get(name, {})) for name in names)


def _budget(name: str, spec: Mapping[str, Any], entry: Mapping[str, Any]) -> Budget:
    window = _duration(spec.get("window")) or USUAL
    pairs = {f"{in_words(p.long)}/{in_words(p.short)}": p for p in pairs_of(window)}
    return Budget(
        objective=_text(name),
        target=_text(spec.get("target")),
        window=window,
        remaining=_float(entry.get("remaining")),
        burning=tuple(_burn(_text(one), pairs) for one in entry.get("burning") or ()),
        as_of=_moment(entry.get("asOf")),
    )


def _burn(windows: str, pairs: Mapping[str, Pair]) -> Burn:
    pair = pairs.get(windows)
    return Burn(windows, pair.factor, pair.severity.value) if pair else Burn(windows, None, "")


def _drift(entry: Mapping[str, Any]) -> Drift:
    return Drift(
        _text(entry.get("feature")), _moment(entry.get("since")), _text(entry.get("message"))
    )


# --- revisions -----------------------------------------------------------------------------------


def _revisions(deployment: Manifest, own: Objects) -> tuple[Revision, ...]:
    """View stable, canary, then rejected and old ones, the newest first."""
    status = _map(deployment, "status")
    stored = {str(m["spec"]["hash"]): m for m in own.revisions}
    named: dict[str, tuple[Role, Mapping[str, Any]]] = {}
    for role in (Role.STABLE, Role.CANARY):
        if entry := status.get(role.value):
            named[entry["hash"]] = (role, entry)
    for entry in reversed(status.get("rejected") or ()):
        named.setdefault(entry["hash"], (Role.REJECTED, entry))
    for manifest in sorted(stored.values(), key=_created, reverse=True):
        entry = {"version": _map(manifest["spec"], "model").get("version")}
        named.setdefault(str(manifest["spec"]["hash"]), (Role.OLD, entry))
    workloads = _in_namespace(own.workloads, deployment)
    return tuple(
        _revision(hash, role, entry, stored.get(hash), _pods(hash, workloads), deployment)
        for hash, (role, entry) in named.items()
    )


def _revision(
    hash: str,
    role: Role,
    entry: Mapping[str, Any],
    stored: Manifest | None,
    pods: Pods | None,
    deployment: Manifest,
) -> Revision:
    status = _map(stored or {}, "status")
    rejection = None
    if role is Role.REJECTED:
        reason, rollout = _text(entry.get("reason")), _text(entry.get("rollout"))
        rejection = Rejection(reason, rollout, _moment(entry.get("at")), _text(entry.get("by")))
    return Revision(
        name=_text(entry.get("revision") or f"{deployment['metadata']['name']}-{hash}"),
        version=_text(entry.get("version")),
        hash=_text(hash),
        role=role,
        weight=int(entry.get("weight", 0)),
        phase=_text(status.get("phase")),
        proven=bool(entry.get("proven", status.get("proven", False))),
        pods=pods,
        rejection=rejection,
    )


def _in_namespace(
    workloads: Sequence[Manifest] | None, deployment: Manifest
) -> Sequence[Manifest] | None:
    if workloads is None:
        return None
    namespace = deployment["metadata"].get("namespace")
    return [w for w in workloads if w["metadata"].get("namespace") == namespace]


def _pods(hash: str, workloads: Sequence[Manifest] | None) -> Pods | None:
    """Add up the pods of all parts of a revision (predictor, transformer, explainer)."""
    found = [
        w for w in workloads or () if _map(w["metadata"], "labels").get(REVISION_LABEL) == hash
    ]
    if not found:
        return None
    statuses = [_map(w, "status") for w in found]
    ready = sum(int(s.get("readyReplicas", s.get("availableReplicas", 0))) for s in statuses)
    return Pods(ready, sum(int(w["spec"].get("replicas", 1)) for w in found))


def _created(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("creationTimestamp", ""))


# --- records -------------------------------------------------------------------------------------


def _record(
    manifest: Manifest, by_name: Mapping[str, Manifest], deployment: Manifest | None
) -> Record:
    spec, status = manifest["spec"], _map(manifest, "status")
    name, stored = str(manifest["metadata"]["name"]), _map(status, "evidence")
    evidence = _evidence(stored.get("state"))
    live = _map(deployment or {}, "status")
    in_charge = live.get("rollout") == name and live.get("canary") is not None
    changes = tuple(_change(c) for c in status.get("steps") or ())
    steps, bake_state = _steps(manifest, changes, live if in_charge else {})
    plan = _map(_map(spec, "policy"), "rollout")
    return Record(
        name=_text(name),
        number=int(spec["number"]),
        outcome=_text(status.get("outcome") or "Progressing"),
        phase=_text(status.get("phase")),
        reason=_text(status.get("reason")),
        message=_text(status.get("message")),
        from_=_reference(spec["from"]) if spec.get("from") else None,
        to=_reference(spec["to"]),
        steps=steps,
        bake=_duration(plan.get("bake")),
        bake_state=bake_state,
        started_at=_moment(spec.get("startedAt")),
        first_request_at=_moment(status.get("firstRequestAt")),
        finished_at=_moment(status.get("finishedAt")),
        evidence_as_of=_moment(stored.get("asOf")),
        counted_since=evidence.begun_at if evidence else None,
        step_began_at=evidence.first_canary_request_after_rebase_at if evidence else None,
        changes=changes,
        signals=tuple(_signal(s) for s in status.get("signals") or ()),
        verdict=_verdict(status.get("decision")),
        integrity=_integrity(manifest),
        previous=_previous(spec.get("previous"), by_name),
        commit=view_commit(manifest),
    )


def view_commit(record: Manifest) -> Commit | None:
    """View the commit that a record names; None where an older operator did not say."""
    stored = stored_commit(record)
    return read_rendered(stored) if stored is not None else None


def _reference(entry: Mapping[str, Any]) -> Reference:
    return Reference(_text(entry["version"]), _text(entry["hash"]), _text(entry["revision"]))


_WHOLE = frozenset({"FirstRevision", "Promoted", "RestoredProven"})
"""Reasons after which the tried revision has all requests, no longer as canary but as stable."""


def _change(entry: Mapping[str, Any]) -> Change:
    reason = _text(entry.get("reason"))
    weight = 100 if reason in _WHOLE else int(entry.get("weight", 0))
    given = _given(_map(entry, "command"))
    return Change(weight, _moment(entry.get("at")), reason, _text(entry.get("message")), given)


def _given(entry: Mapping[str, Any]) -> Given | None:
    if not entry:
        return None
    verb, manager, reason = (_text(entry.get(key)) for key in ("verb", "manager", "reason"))
    return Given(verb, manager, _moment(entry.get("setAt")), reason)


def _signal(entry: Mapping[str, Any]) -> Signal:
    canary, stable = _map(entry, "canary"), _map(entry, "stable")
    evidence = _float(entry.get("evidence"))
    return Signal(
        name=_text(entry.get("name")),
        canary_requests=int(canary.get("requests", 0)),
        canary_bad=int(canary.get("bad", 0)),
        stable_requests=int(stable.get("requests", 0)),
        stable_bad=int(stable.get("bad", 0)),
        difference_points=_float(entry.get("differencePoints")),
        evidence=1.0 if evidence is None else evidence,
        threshold=_float(entry.get("threshold")) or 0.0,
        requests_needed=entry.get("requestsNeeded"),
        message=_text(entry.get("message")),
        lowest_points=_float(entry.get("lowestPoints")),
        highest_points=_float(entry.get("highestPoints")),
        design_effect=_float(entry.get("designEffect")),
        placebo_runs=entry.get("placeboRuns"),
        pods=entry.get("pods"),
        query=_text(entry.get("query")),
    )


def _verdict(entry: Mapping[str, Any] | None) -> Verdict | None:
    if not entry:
        return None
    return Verdict(
        _text(entry.get("verdict")),
        _text(entry.get("signal")),
        _text(entry.get("reason")),
        _text(entry.get("message")),
        _moment(entry.get("at")),
    )


def _steps(
    record: Manifest, changes: Sequence[Change], live: Mapping[str, Any]
) -> tuple[tuple[Step, ...], StepState]:
    """Say of each step of the plan, and of the bake, where the rollout is with it.

    The bake is one more place after the last step; a first revision has nothing but the bake.
    """
    spec, status = record["spec"], _map(record, "status")
    rollout = _map(_map(spec, "policy"), "rollout")
    entries = (rollout.get("steps") or ()) if spec.get("from") else ()
    weights = [int(entry["weight"]) for entry in entries]
    if status.get("finishedAt"):
        promoted = status.get("outcome") == "Promoted"
        last = len(weights) if promoted else _last_place(weights, changes)
        here = StepState.DONE if promoted else StepState.ENDED_HERE
        states = _states(len(weights) + 1, last, here, StepState.NOT_REACHED)
    else:
        place = _place(weights, changes, live, live.get("phase") or status.get("phase"))
        states = _states(len(weights) + 1, place, StepState.CURRENT, StepState.TO_COME)
    steps = tuple(
        Step(weight, _duration(entry.get("hold")), state)
        for weight, entry, state in zip(weights, entries, states, strict=False)
    )
    return steps, states[-1]


def _states(places: int, here: int, at: StepState, after: StepState) -> list[StepState]:
    return [StepState.DONE if n < here else at if n == here else after for n in range(places)]


def _place(
    weights: Sequence[int], changes: Sequence[Change], live: Mapping[str, Any], phase: object
) -> int:
    """Return where a running rollout is; -1 before its first step and after it lost its pods."""
    if phase == "Baking":
        return len(weights)
    if phase not in ("Progressing", "Paused"):
        return -1
    step = _map(live, "canary").get("step")
    return _last_place(weights, changes) if step is None else int(step)


def _last_place(weights: Sequence[int], changes: Sequence[Change]) -> int:
    """Return the furthest place that the changes of weight tell of; -1 if it never had any."""
    had = [change.weight for change in changes]
    if had.count(100) > weights.count(100):
        return len(weights)
    return max((n for n, weight in enumerate(weights) if weight in had), default=-1)


def _evidence(state: object) -> Evidence | None:
    """Read the checkpoint; None if there is none, or another version wrote it."""
    try:
        return Evidence.from_json(str(state))
    except (ValueError, RecursionError):
        return None


def _integrity(record: Manifest) -> Integrity:
    status = _map(record, "status")
    if not status.get("finishedAt") and not status.get("digest"):
        return Integrity.OPEN
    return Integrity.INTACT if _digest(record) == status.get("digest") else Integrity.CHANGED


def _previous(named: Mapping[str, Any] | None, by_name: Mapping[str, Manifest]) -> Previous:
    if not named:
        return Previous("", Link.FIRST)
    before = by_name.get(str(named["name"]))
    if before is None:
        return Previous(_text(named["name"]), Link.GONE)
    same = _digest(before) == named["digest"]
    return Previous(_text(named["name"]), Link.INTACT if same else Link.CHANGED)


def _digest(record: Manifest) -> str:
    """Compute the digest anew; "" where the record cannot even be written canonically."""
    try:
        return record_digest({"spec": record["spec"], "status": _map(record, "status")})
    except ValueError:
        return ""


# --- values --------------------------------------------------------------------------------------


def _map(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return entry.get(key) or {}


def _text(value: object) -> str:
    return "" if value is None else plain(str(value), _LONGEST)


def _moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value)) if value else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found is not None and found.tzinfo is None else found


def _float(value: object) -> float | None:
    try:
        return None if value is None else float(str(value))
    except ValueError:
        return None


def _duration(value: object) -> timedelta:
    try:
        return Duration(str(value)).timedelta if value else timedelta(0)
    except ValueError:
        return timedelta(0)
