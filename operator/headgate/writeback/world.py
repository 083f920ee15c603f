"""What a pass of the write-back needs from outside, and one pass over one record.

Owns the story of a record from the first look to its end. Must not know adapters, nor processes.

    record rolled back -> does it still stand? -> is there room in the rate limit? -> claim it
        -> write -> remember what became of it; a pull request is followed until people decide

Whatever fails in between is begun again: the claim says that it was begun, Git whether it was done.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from headgate.api.release_policy import GitWriteback, SecretKey, WritebackMode
from headgate.core.wording import plain
from headgate.core.writeback.reasons import Refusal, State, Why
from headgate.core.writeback.wanted import Rollback, read_rollback, stands, wait_for
from headgate.ports import (
    EVENT,
    MODEL_DEPLOYMENT,
    MODEL_REVISION,
    MODEL_ROLLOUT,
    SECRET,
    Cluster,
    Forge,
    ForgeUnavailable,
    Manifest,
    Refused,
    Repository,
    Unavailable,
    Webhooks,
)
from headgate.reconcile.world import Key, Report
from headgate.writeback.ledger import CLAIM, Entry, Ledger
from headgate.writeback.policies import Policy
from headgate.writeback.write import Done, Task, commit, followed, notify, propose, topic_of

FOLLOW = timedelta(minutes=2)
"""How often an open pull request is looked at."""

PATIENCE = timedelta(days=3)
"""How long a write is tried before it is given up."""

COMPONENT = "headgate-writeback"

log = logging.getLogger("headgate.writeback")


class Backends(Protocol):
    """Opens repositories."""

    def repository(self, policy: GitWriteback, token: str, signing_key: bytes) -> Repository:
        """Open plain Git; the caller closes it."""

    def forge(self, policy: GitWriteback, token: str) -> Forge:
        """Open the repository of a policy that names a forge; the caller closes it."""


@dataclass(slots=True)
class World:
    """
    What a pass may use.

    Args:
        cluster: The Kubernetes API, by the write-back's own login.
        ledger: What was done.
        backends: Opens repositories.
        webhooks: Takes notifications.
        namespace: The write-back's own namespace, the only one whose Secrets are read.
        holder: Who this process is, for claims.
        jitter: Draws a number in [0, 1) evenly.
        policies: By namespace, the policy that acts there; replaced at each look.
        became: Told of each state that a record enters.
    """

    cluster: Cluster
    ledger: Ledger
    backends: Backends
    webhooks: Webhooks
    namespace: str
    holder: str
    jitter: Callable[[], float]
    policies: Mapping[str, Policy] = field(default_factory=dict)
    became: Callable[[str, str], None] = lambda mode, state: None


_NOTHING = Report(phase="")


async def write_back(key: Key, world: World, now: datetime) -> Report:
    """
    Look at one ModelRollout and do what its policy says.

    Returns when to look again, if that is sooner than the next look at all records.

    Raises:
        ForgeUnavailable, ClusterUnavailable, Conflict, Refused: Begin again later.
    """
    policy = world.policies.get(key.namespace)
    manifest = await world.cluster.get(MODEL_ROLLOUT, key.namespace, key.name)
    rollback = read_rollback(manifest) if manifest is not None else None
    if policy is None or rollback is None:
        return _NOTHING
    entry = await world.ledger.read(rollback.uid)
    if entry is not None and entry.state.is_final:
        return _NOTHING
    if entry is not None and entry.is_held(world.holder, now):
        return Report(phase="", again_in=CLAIM)
    deployment = await world.cluster.get(MODEL_DEPLOYMENT, rollback.namespace, rollback.deployment)
    is_wanted = stands(rollback, deployment)
    if entry is None:
        if not is_wanted:
            return _NOTHING
        wait = await _room(policy, world, now)
        if wait is not None:
            return Report(phase="", again_in=wait)
        mode = policy.spec.mode.value
        entry = await world.ledger.open(rollback, policy.name, mode, world.holder, now)
    elif entry.state is State.CLAIMED:
        entry = await world.ledger.store(replace(entry, holder=world.holder, at=now))
    task = await _task(rollback, policy, deployment or {"metadata": {}}, world)
    done = await _attempted(task, entry, is_wanted, world, now)
    return await _remembered(entry, done, rollback, deployment, world, now)


async def _room(policy: Policy, world: World, now: datetime) -> timedelta | None:
    """Return how long the rate limit makes us wait; None if there is room."""
    entries = await world.ledger.entries()
    made = [entry.since for entry in entries if entry.policy == policy.name]
    limit = policy.spec.rate_limit
    return wait_for(made, limit.writes, limit.per.timedelta, now)


async def _task(
    rollback: Rollback, policy: Policy, deployment: Mapping[str, Any], world: World
) -> Task:
    async def spec_of(name: str) -> Mapping[str, Any] | None:
        found = await world.cluster.get(MODEL_REVISION, rollback.namespace, name)
        return None if found is None else dict(found["spec"])

    return Task(
        rollback=rollback,
        policy=policy.spec,
        deployment=deployment,
        rejected=await spec_of(rollback.rejected.revision),
        stable=await spec_of(rollback.stable.revision),
        jitter=world.jitter,
    )


async def _attempted(
    task: Task, entry: Entry, is_wanted: bool, world: World, now: datetime
) -> Done | None:
    """Make the write; None if it is no longer wanted and was not made."""
    try:
        return await _written(task, entry, is_wanted, world, now)
    except Refusal as refusal:
        return Done(State.REFUSED, refusal.message, why=refusal.why.value)
    except (Unavailable, Refused) as error:
        if entry.state is not State.CLAIMED:
            raise
        if now - entry.since > PATIENCE:
            return Done(State.REFUSED, plain(str(error)), why=Why.NOT_DELIVERED.value)
        await world.ledger.store(replace(entry, at=now, message=plain(str(error), 512)))
        raise


async def _written(
    task: Task, entry: Entry, is_wanted: bool, world: World, now: datetime
) -> Done | None:
    """Write as the policy says; what Git cannot take goes to the webhook, if there is one."""
    if entry.state is State.PROPOSED:
        return await _in_git(task, WritebackMode.PULL_REQUEST, entry, is_wanted, world)
    mode = task.policy.mode
    if mode is WritebackMode.NOTIFY:
        return await _notified(task, world, now)
    try:
        return await _in_git(task, mode, entry, is_wanted, world)
    except Refusal as refusal:
        if task.policy.webhook is None:
            raise
        return await _notified(task, world, now, refusal)


async def _notified(
    task: Task, world: World, now: datetime, refusal: Refusal | None = None
) -> Done:
    if task.policy.webhook is None:
        raise Refusal(Why.NOT_DELIVERED, "the policy has no webhook any more")
    secret = await _secret(task.policy.webhook.secret_ref, world)
    return await notify(task, world.webhooks, secret, now, refusal)


async def _in_git(
    task: Task, mode: WritebackMode, entry: Entry, is_wanted: bool, world: World
) -> Done | None:
    credentials = task.policy.credentials
    token = _text(await _secret(credentials, world), credentials) if credentials else ""
    if mode is WritebackMode.PULL_REQUEST:
        if task.policy.forge is None:
            raise Refusal(Why.FORGE_REFUSED, "the policy names no forge any more")
        forge = world.backends.forge(task.policy, token)
        try:
            return await _proposed(task, entry, is_wanted, forge)
        finally:
            await forge.close()
    sign = task.policy.sign
    key = await _secret(sign, world) if sign else b""
    repository = (
        world.backends.forge(task.policy, token)
        if task.policy.forge is not None
        else world.backends.repository(task.policy, token, key)
    )
    try:
        return await commit(task, repository) if is_wanted else await _made(task, repository)
    finally:
        await repository.close()


async def _proposed(task: Task, entry: Entry, is_wanted: bool, forge: Forge) -> Done | None:
    """Open a pull request, or look what became of it."""
    if entry.branch:
        branch, known = entry.branch, await forge.proposal(entry.branch, task.policy.branch)
    else:
        branch, known = await topic_of(task, forge)
    if known is not None:
        return followed(known, branch)
    return await propose(task, forge) if is_wanted else await _made(task, forge)


async def _made(task: Task, repository: Repository) -> Done | None:
    """Say whether a write that is no longer wanted was made before this process began it again."""
    try:
        done = await commit(replace(task, stable=None), repository)
    except Refusal:
        return None
    return done


async def _secret(reference: SecretKey, world: World) -> bytes:
    """Read one value of a Secret in the write-back's own namespace."""
    where = f"Secret {world.namespace}/{reference.name}"
    manifest: Manifest | None = await world.cluster.get(SECRET, world.namespace, reference.name)
    if manifest is None:
        raise ForgeUnavailable(f"{where} does not exist")
    value = (manifest.get("data") or {}).get(reference.key)
    if not value:
        raise ForgeUnavailable(f"{where} has no key {reference.key}")
    try:
        return base64.b64decode(value, validate=True).strip()
    except binascii.Error as error:
        raise ForgeUnavailable(f"{where}: {reference.key} is no base64") from error


def _text(value: bytes, reference: SecretKey) -> str:
    """Return a token as text; it goes into a header, so it has visible ASCII characters only."""
    if not re.fullmatch(rb"[!-~]+", value):
        raise ForgeUnavailable(f"Secret {reference.name}: {reference.key} is no token")
    return value.decode()


async def _remembered(
    entry: Entry,
    done: Done | None,
    rollback: Rollback,
    deployment: Manifest | None,
    world: World,
    now: datetime,
) -> Report:
    if done is None:
        await world.ledger.drop(entry)
        return _NOTHING
    changed = (done.state, done.message) != (entry.state, entry.message)
    if changed:
        entry = replace(
            entry,
            state=done.state,
            at=now,
            holder="",
            why=done.why,
            message=plain(done.message, 512),
            branch=done.branch,
            commit=done.commit,
            url=done.url,
        )
        await world.ledger.store(entry)
        world.became(entry.mode, done.state.value)
        log.info("%s", entry.message, extra=_about(rollback, done))
        if deployment is not None:
            await _tell(deployment, rollback, done, world, now)
    return Report(phase="", again_in=FOLLOW if done.state is State.PROPOSED else None)


def _about(rollback: Rollback, done: Done) -> dict[str, str]:
    return {
        "object": f"{rollback.namespace}/{rollback.deployment}",
        "rollout": rollback.name,
        "revision": rollback.rejected.revision,
        "phase": done.state.value,
        "reason": done.why,
    }


async def _tell(
    deployment: Manifest, rollback: Rollback, done: Done, world: World, now: datetime
) -> None:
    """Post an Event on the ModelDeployment: its owner cannot read our namespace."""
    metadata = deployment["metadata"]
    suffix = hashlib.sha256(f"{rollback.uid} {done.state.value}".encode()).hexdigest()[:16]
    is_bad = done.state in (State.REFUSED, State.CLOSED) or done.why
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{metadata['name']}.{suffix}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": deployment["apiVersion"],
            "kind": deployment["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "reason": done.why or f"Git{done.state.value}",
        "message": plain(f"{rollback.name}: {done.message} {done.url}"),
        "type": "Warning" if is_bad else "Normal",
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": "headgate.dev/writeback",
    }
    try:
        await world.cluster.create(event)
    except (Unavailable, Refused):
        return  # A courtesy: the ledger and the policy's status have it.
