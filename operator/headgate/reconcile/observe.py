"""Everything a pass reads, as one value.

Owns which reads are made and what each missing answer means. Must not decide or write. An API
server that does not answer ends the pass; metrics that do not answer are data: no evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from headgate.adapters.gateway import RouteView, observe_route
from headgate.adapters.kserve import (
    REVISION_LABEL,
    is_controlled_by,
    own_labels,
    probe_path,
    read_health,
    service_name,
)
from headgate.api.accept import Invalid, parse
from headgate.api.model_deployment import ModelDeployment
from headgate.api.model_rollout import Policy
from headgate.core.commands import UNKNOWN, Verb
from headgate.core.conditions import Finding, Objection
from headgate.core.drift.profile import Profile
from headgate.core.evidence import (
    Evidence,
)
from headgate.core.lifecycle import (
    ABSENT,
    Desired,
    Health,
    Outcome,
    Phase,
    Rejection,
    Revision,
    Situation,
    State,
)
from headgate.core.memory import (
    Memory,
    RouteMemory,
    Weights,
    read_memory,
    remember_route,
    rollout_name,
)
from headgate.core.rollout import backends
from headgate.ports import (
    DEPLOYMENT,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    MODEL_REVISION,
    MODEL_ROLLOUT,
    POD,
    Arms,
    Manifest,
    MetricsUnavailable,
    Refused,
)
from headgate.reconcile.acceptance import (
    Objected,
    Resolved,
    check_gateway,
    check_hostnames,
    check_ownership,
    check_signals,
    resolve,
    resolve_proven,
)
from headgate.reconcile.commands import Told, read_commands
from headgate.reconcile.drifting import read_drifts
from headgate.reconcile.guards import Guards, look_at_budgets, with_inputs
from headgate.reconcile.judging import Candidate, Judgement, arms_of, judge_rollout
from headgate.reconcile.policy import plan_of
from headgate.reconcile.profiles import profile_of
from headgate.reconcile.world import Key, World


@dataclass(frozen=True, slots=True)
class Children:
    """What exists of ours, each by the name or hash it is looked up by."""

    revisions: Mapping[str, Manifest]
    """ModelRevisions by hash."""
    services: Mapping[str, Manifest]
    """InferenceServices by name."""
    deployments: Sequence[Manifest]
    route: Manifest | None
    """Our HTTPRoute; None if there is none, or one that is not ours."""
    foreign_route: Manifest | None
    """Somebody else's HTTPRoute in the place of ours: never read on, never written."""
    record: Manifest | None
    """The ModelRollout in charge, or the latest one."""

    def template(self, hash: str) -> Mapping[str, Any] | None:
        """Return the template of a revision that is stored; None if it is not."""
        manifest = self.revisions.get(hash)
        return manifest["spec"]["template"] if manifest else None

    def shape_of(self, revision: Revision) -> Mapping[str, Any]:
        """Return what a revision consists of: its template, or else what still runs of it."""
        service = self.services.get(revision.name)
        running = service["spec"] if service else {"predictor": {}}
        return self.template(revision.hash) or {"spec": running}


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at everything.

    `deployment` and `resolved` are None where `objection` says why the spec cannot be used.
    """

    owner: Manifest
    deployment: ModelDeployment | None
    objection: Objection | None
    resolved: Resolved | None
    memory: Memory
    children: Children
    view: RouteView | None
    judgement: Judgement
    guards: Guards
    told: Told
    """What people ask for by annotations."""
    situation: Situation | None
    """None when there is nothing to decide: no spec was ever accepted."""
    restored: Resolved | None = None
    """What Git keeps of a proven revision, where nothing serves yet and so it comes first."""

    @property
    def evidence(self) -> Evidence | None:
        """What is known of the rollout in charge."""
        return self.judgement.evidence

    def resolved_of(self, hash: str) -> Resolved | None:
        """Return what the spec says of a revision; None if it is not in the spec (any more)."""
        said = (one for one in (self.resolved, self.restored) if one is not None)
        return next((one for one in said if one.revision.hash == hash), None)

    def template_of(self, hash: str) -> Mapping[str, Any] | None:
        """Return the template a revision can be made from; None if it is stored nowhere."""
        said = self.resolved_of(hash)
        return dict(said.spec["template"]) if said is not None else self.children.template(hash)

    def is_watched(self, hash: str) -> bool:
        """Whether a revision's requests and answers are to be seen by the collector."""
        said = self.resolved_of(hash)
        if said is not None:
            return "drift" in said.spec
        stored = self.children.revisions.get(hash)
        return stored is not None and "drift" in stored["spec"]


async def observe(key: Key, owner: Manifest, world: World, now: datetime) -> Observation:
    """Read the world once; raises Unavailable if the API server does not answer."""
    deployment, objection = _parse(owner)
    retry = deployment.spec.rollout.retry if deployment else ""
    memory = read_memory(owner.get("status") or {}, retry, now)
    children = await _children(key, owner, memory, world)
    resolved: Resolved | None = None
    restored: Resolved | None = None
    if deployment is not None:
        resolved, restored, objection = await _accept(owner, deployment, children, memory, world)
    record = record_in_charge(memory.state, children.record)
    policy = _policy(record, deployment)
    guards = await _guards(key, memory, policy, deployment, resolved, children, world, now)
    if guards.objection is not None and objection is None:
        resolved, objection = None, guards.objection
    desired = _desired(deployment, objection, resolved, restored, memory.state)
    look = partial(Observation, owner, deployment, objection, resolved, restored=restored)
    told = read_commands(owner)
    if policy is None or desired is None:
        return look(memory, children, None, Judgement(None), guards, told, None)
    health = await _health(key, memory.state, children, world)
    view = _view(children.route)
    wanted = _wanted_weights(memory.state, policy, health)
    route = _route_in_force(memory, view, wanted, health, now)
    memory = Memory(memory.state, route)
    verified_at = route.verified_at if route else None
    judgement = await judge_rollout(
        key,
        memory,
        record,
        policy,
        verified_at,
        guards,
        Candidate(
            health.get(memory.state.canary.hash, ABSENT).pods if memory.state.canary else 0,
            partial(_canary_profile, memory.state.canary, children, world),
        ),
        world,
        now,
    )
    evidence = judgement.evidence
    situation = Situation(
        plan=plan_of(policy),
        desired=desired,
        state=memory.state,
        health=health,
        verified=verified_at is not None,
        analysis=judgement.analysis,
        step_started_at=evidence.first_canary_request_after_rebase_at if evidence else None,
        now=now,
        concluded=_concluded(memory.state, record, now),
        restraint=guards.restraint,
        weight_cap=guards.weight_cap,
        burning=guards.burning,
        unproven=guards.unproven,
        commands=told.commands,
    )
    return look(memory, children, view, judgement, guards, told, situation)


async def _guards(
    key: Key,
    memory: Memory,
    policy: Policy | None,
    deployment: ModelDeployment | None,
    resolved: Resolved | None,
    children: Children,
    world: World,
    now: datetime,
) -> Guards:
    """Look at error budgets and inputs, by the rules in force; an emergency is one at once."""
    if policy is None:
        return Guards()
    if deployment is not None:
        emergency = deployment.spec.rollout.emergency
        rollout = policy.rollout.model_copy(update={"emergency": emergency})
        policy = policy.model_copy(update={"rollout": rollout})
    state = memory.state
    started = state.canary is not None and state.phase is not Phase.PREPARING
    arms = arms_of(key, state, memory.route) if started and memory.route is not None else None
    guards = await look_at_budgets(key, policy, started, arms, world, now)
    serving = state.canary if started and state.canary else state.stable
    if serving is None or policy.drift is None or policy.drift.inputs is None:
        return guards
    revision = children.revisions.get(serving.hash)
    profile = await profile_of(revision, world)
    if profile is None:
        return guards
    watched = Arms(key.namespace, key.name, None, None, key.name, None, serving.hash)
    try:
        drifts = await read_drifts(profile, watched, world, now)
    except MetricsUnavailable as error:
        return replace(guards, inputs=Finding(None, "MetricsUnavailable", str(error)))
    return with_inputs(guards, policy, drifts, _is_same_data(revision, resolved))


def _is_same_data(revision: Manifest | None, resolved: Resolved | None) -> bool:
    """Whether what Git wants was trained on the data that this revision was trained on."""
    served = ((revision or {}).get("spec") or {}).get("drift")
    return resolved is None or _data(resolved.spec.get("drift")) == _data(served)


def _data(drift: Mapping[str, Any] | None) -> str | None:
    return None if drift is None else str(drift["reference"]["digest"])


async def _canary_profile(
    canary: Revision | None, children: Children, world: World
) -> Profile | None:
    """Read the profile that a rollout's signals are made by."""
    if canary is None:
        return None
    return await profile_of(children.revisions.get(canary.hash), world)


def _parse(owner: Manifest) -> tuple[ModelDeployment | None, Objection | None]:
    try:
        return parse(owner), None
    except Invalid as error:
        return None, Objection("InvalidSpec", error.field, error.wanted, error.found)


async def _children(key: Key, owner: Manifest, memory: Memory, world: World) -> Children:
    labels, cluster, number = own_labels(key.name), world.cluster, memory.state.number
    revisions, services, deployments, route = await asyncio.gather(
        cluster.list(MODEL_REVISION, key.namespace, labels),
        cluster.list(INFERENCE_SERVICE, key.namespace, labels),
        cluster.list(DEPLOYMENT, key.namespace, labels),
        cluster.get(HTTP_ROUTE, key.namespace, key.name),
    )
    record = None
    if number:
        name = rollout_name(key.name, number)
        record = await cluster.get(MODEL_ROLLOUT, key.namespace, name)
    return Children(
        revisions={r["spec"]["hash"]: r for r in revisions},
        services={s["metadata"]["name"]: s for s in services},
        deployments=deployments,
        route=route if route is not None and is_controlled_by(route, owner) else None,
        foreign_route=None if route is None or is_controlled_by(route, owner) else route,
        record=record,
    )


def tried_revision(state: State) -> Revision | None:
    """Return the revision that is being tried: the canary, or a first one in its bake."""
    alone = state.stable if state.phase in (Phase.BAKING, Phase.DEGRADED) else None
    return state.canary or alone


def record_in_charge(state: State, record: Manifest | None) -> Manifest | None:
    """Return the record if it is about what is being tried now; None if it is of another try."""
    tried = tried_revision(state)
    if record is None or tried is None or record["spec"]["to"]["hash"] != tried.hash:
        return None
    return record


def _concluded(state: State, record: Manifest | None, now: datetime) -> Rejection | None:
    """Return the rollback that is on record already, if a pass ended before the status had it."""
    status, canary = (record or {}).get("status") or {}, state.canary
    if record is None or canary is None:
        return None
    of_canary = partial(Rejection, canary.hash, canary.version)
    if status.get("outcome") == Outcome.ROLLED_BACK:
        reason = (status.get("decision") or {}).get("reason") or status["reason"]
        return of_canary(reason, state.number, now, status["message"])
    steps = status.get("steps") or [{}]
    command = steps[-1].get("command") or {}
    if status.get("outcome") == Outcome.ABORTED and command.get("verb") == Verb.ABORT:
        by = str(command.get("manager") or UNKNOWN)
        return of_canary(status["reason"], state.number, now, status["message"], by)
    return None


async def _accept(
    owner: Manifest,
    deployment: ModelDeployment,
    children: Children,
    memory: Memory,
    world: World,
) -> tuple[Resolved | None, Resolved | None, Objection | None]:
    """Resolve what is wanted, and what Git keeps that has to come first where nothing serves.

    What was proven comes up even if what Git has since cannot be used.
    """
    restored: Resolved | None = None
    try:
        await check_gateway(deployment, world)
        await check_signals(deployment, world)
        if memory.state.stable is None:
            restored = await _restored(owner, deployment, children, world)
        resolved = await resolve(deployment, children.revisions.values(), world)
        await _check_names(owner, resolved.revision, children, world)
        await check_hostnames(owner, deployment, children.route, world)
    except Objected as error:
        return None, restored, error.objection
    except Refused as error:
        # What the template names may not be read. What runs must go on being judged.
        wanted = "objects that the operator may read"
        return None, restored, Objection("Refused", "spec.template", wanted, str(error))
    return resolved, restored, None


async def _restored(
    owner: Manifest, deployment: ModelDeployment, children: Children, world: World
) -> Resolved | None:
    proven = deployment.spec.rollout.proven_revision
    if proven is None:
        return None
    restored = await resolve_proven(deployment, proven, world)
    await _check_names(owner, restored.revision, children, world)
    await check_hostnames(owner, deployment, children.route, world)
    return restored


async def _check_names(
    owner: Manifest, revision: Revision, children: Children, world: World
) -> None:
    namespace, name = owner["metadata"]["namespace"], revision.name
    # A foreign object need not carry our labels, so what the lists lack is asked for by name.
    service = children.services.get(name) or await world.cluster.get(
        INFERENCE_SERVICE, namespace, name
    )
    stored = children.revisions.get(revision.hash) or await world.cluster.get(
        MODEL_REVISION, namespace, name
    )
    route = children.route or children.foreign_route
    held = {HTTP_ROUTE: route, INFERENCE_SERVICE: service, MODEL_REVISION: stored}
    check_ownership(owner, name, held)


def _policy(record: Manifest | None, deployment: ModelDeployment | None) -> Policy | None:
    """Return the rules in force: those a running rollout began with, else the spec's."""
    if record is not None:
        # CRDs are upgraded before the operator, so a default of a field that is not known here may
        # be in it; a rollout that nobody judges any more would be worse than one without it.
        return Policy.model_validate(record["spec"]["policy"], extra="ignore")
    if deployment is None:
        return None
    spec = deployment.spec
    return Policy(
        rollout=spec.rollout, objectives=spec.objectives, signals=spec.signals, drift=spec.drift
    )


def _desired(
    deployment: ModelDeployment | None,
    objection: Objection | None,
    resolved: Resolved | None,
    restored: Resolved | None,
    state: State,
) -> Desired | None:
    proven = restored.revision if restored is not None else None
    if deployment is not None and resolved is not None:
        rollout = deployment.spec.rollout
        hold = "spec.rollout.paused is true" if rollout.paused else ""
        return Desired(resolved.revision, hold, rollout.retry, proven)
    # A spec that cannot be used changes nothing: what runs is what is wanted, and it is held.
    current = proven or state.canary or state.stable
    hold = f"the spec is not accepted: {objection.message}" if objection else ""
    return Desired(current, hold, state.retry, proven) if current else None


async def _health(key: Key, state: State, children: Children, world: World) -> dict[str, Health]:
    revisions = [r for r in (state.stable, state.canary) if r is not None]
    found = await asyncio.gather(
        *(_health_of(key, r, r is state.canary, state, children, world) for r in revisions)
    )
    return {r.hash: h for r, h in zip(revisions, found, strict=True)}


async def _health_of(
    key: Key, revision: Revision, is_canary: bool, state: State, children: Children, world: World
) -> Health:
    template = children.shape_of(revision)
    service = children.services.get(revision.name)
    waiting = is_canary and state.phase in (Phase.PREPARING, Phase.DEGRADED)
    seen = read_health(template, revision.name, service, children.deployments, (), None)
    if seen.ready and not waiting:
        return seen
    labels = {**own_labels(key.name), REVISION_LABEL: revision.hash}
    pods = await world.cluster.list(POD, key.namespace, labels)
    answered = None
    path = probe_path(template, key.name) if seen.available and waiting else None
    if path is not None:
        host = f"{service_name(revision.name, template)}.{key.namespace}"
        answer = await world.prober.probe(f"{host}.{world.options.service_domain}", path)
        answered = answer.answered
    return read_health(template, revision.name, service, children.deployments, pods, answered)


def _view(route: Manifest | None) -> RouteView | None:
    if route is None:
        return None
    parents = route["spec"].get("parentRefs") or [{"name": ""}]
    return observe_route(route, parents[0]["name"])


def _wanted_weights(state: State, policy: Policy, health: Mapping[str, Health]) -> Weights:
    # Only the state's own weights matter here: desire and verdict have no say in them.
    nobody = Desired(Revision("", "", ""), "", "")
    situation = Situation(
        plan_of(policy), nobody, state, health, False, None, None, state.phase_since
    )
    return tuple((r.hash, w) for r, w in backends(situation))


def _route_in_force(
    memory: Memory,
    view: RouteView | None,
    wanted: Weights,
    health: Mapping[str, Health],
    now: datetime,
) -> RouteMemory | None:
    """Return what is known of the route; evidence counts from the first sight of it in force.

    A route is not in force while one of its revisions has no endpoint: an arm that cannot answer
    is an outage and no comparison, so evidence starts anew when it is back.
    """
    if view is None or memory.route is None:
        return None
    known = memory.route
    serving = all(health.get(hash, ABSENT).serving for hash, _ in wanted)
    if view.weights != wanted or not view.verified or not serving:
        return remember_route(known, known.name, view.generation, view.weights, None)
    same = known.generation == view.generation and known.weights == view.weights
    verified_at = known.verified_at if same and known.verified_at else now
    return remember_route(known, known.name, view.generation, view.weights, verified_at)
