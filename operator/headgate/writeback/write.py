"""One write: by a commit, a pull request or a notification. Safe to repeat at any line.

Owns the order of reads and writes of each mode. Must not know adapters, nor who remembers what was
done. Before each write Git itself is asked whether it was made: a commit is found by its trailer,
a pull request by its branch, a notification by the receiver, who gets the same id again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headgate.api.release_policy import GitWriteback
from headgate.core.writeback.cloudevent import render_event, signed_headers
from headgate.core.writeback.edit import KIND, Edit, Target, find, plan_edit
from headgate.core.writeback.reasons import Refusal, State, Why
from headgate.core.writeback.texts import commit_message, pull_request_body, subject
from headgate.core.writeback.wanted import (
    HISTORY,
    Rollback,
    branches_of,
    check_no_revert_of_revert,
    is_written,
    path_of,
    records_in,
)
from headgate.ports import (
    Forge,
    ForgeUnavailable,
    Proposal,
    ProposalState,
    Replacement,
    Repository,
    SourceFile,
    Stale,
    Webhooks,
)

RACES = 5
"""How often a write begins anew because somebody else changed the file or the branch."""

RACE_SECONDS = 1.0
"""The longest pause before it begins anew; drawn evenly, so that two writers part."""

_DEFAULT_COMMITTER = GitWriteback().committer
_STATES = {
    ProposalState.OPEN: State.PROPOSED,
    ProposalState.MERGED: State.MERGED,
    ProposalState.CLOSED: State.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Task:
    """
    What is to be written.

    Args:
        rollback: The record.
        policy: How the platform team lets it be written.
        deployment: The ModelDeployment as it is.
        rejected: `spec` of the revision that was rolled back; None if it is gone.
        stable: `spec` of the one that serves; None if it is gone.
        jitter: Draws a number in [0, 1) evenly.
    """

    rollback: Rollback
    policy: GitWriteback
    deployment: Mapping[str, Any]
    rejected: Mapping[str, Any] | None
    stable: Mapping[str, Any] | None
    jitter: Callable[[], float]

    @property
    def target(self) -> Target:
        """The object in Git."""
        return Target(self.rollback.namespace, self.rollback.deployment)

    @property
    def committer(self) -> tuple[str, str] | None:
        """Name and address on commits; None for the default, as forges sign those of bots."""
        chosen = self.policy.committer
        return None if chosen == _DEFAULT_COMMITTER else (chosen.name, chosen.email)


@dataclass(frozen=True, slots=True)
class Done:
    """How a write stands now."""

    state: State
    message: str
    why: str = ""
    branch: str = ""
    commit: str = ""
    url: str = ""


async def commit(task: Task, repository: Repository) -> Done:
    """
    Bring the stable version back by a commit on the branch itself.

    Raises:
        Refusal: It cannot be done exactly, or rules forbid it.
        ForgeUnavailable: The repository is away, or others were faster each time.
    """
    branch = task.policy.branch
    for _ in range(RACES):
        file = await _file(task, repository, branch)
        history = await repository.history(file.path, branch, HISTORY)
        if (ours := is_written(task.rollback, history)) is not None:
            return Done(State.COMMITTED, "our commit is in Git", branch=branch, commit=ours.sha)
        check_no_revert_of_revert(task.rollback, history)
        edit = _planned(task, file)
        if not edit.changes:
            return Done(State.RESTORED, "Git had the stable version's values already")
        try:
            made = await repository.commit(_replacement(task, file, edit, branch))
        except Stale:
            await asyncio.sleep(RACE_SECONDS * task.jitter())
            continue
        message = f"version {task.rollback.stable.version} is back on {branch}"
        return Done(State.COMMITTED, message, branch=branch, commit=made.sha, url=made.url)
    raise ForgeUnavailable(f"{branch}: others were faster {RACES} times")


async def propose(task: Task, forge: Forge) -> Done:
    """
    Ask people by a pull request to bring the stable version back.

    Raises:
        Refusal: It cannot be done exactly, or the forge will not have it.
        ForgeUnavailable: The forge is away, or others were faster each time.
    """
    base = task.policy.branch
    branch, known = await topic_of(task, forge)
    if known is not None:
        return followed(known, branch)
    for _ in range(RACES):
        file = await _file(task, forge, base)
        history = await forge.history(file.path, base, HISTORY)
        if (ours := is_written(task.rollback, history)) is not None:
            return Done(State.MERGED, "our commit is in Git", branch=base, commit=ours.sha)
        check_no_revert_of_revert(task.rollback, history)
        edit = _planned(task, file)
        if not edit.changes:
            return Done(State.RESTORED, "Git had the stable version's values already")
        await forge.branch(branch, file.commit)
        try:
            await _write_topic(task, forge, file.path, branch)
        except Stale:
            await asyncio.sleep(RACE_SECONDS * task.jitter())
            continue
        body = pull_request_body(task.rollback, edit.changes)
        return followed(await forge.propose(branch, base, subject(task.rollback), body), branch)
    raise ForgeUnavailable(f"{branch}: others were faster {RACES} times")


def followed(proposal: Proposal, branch: str) -> Done:
    """Return how a write stands by its pull request."""
    told = {
        ProposalState.OPEN: f"pull request {proposal.number} is open",
        ProposalState.MERGED: f"pull request {proposal.number} was merged",
        ProposalState.CLOSED: f"pull request {proposal.number} was closed by a person: "
        "it is not opened again",
    }
    state = _STATES[proposal.state]
    return Done(state, told[proposal.state], branch=branch, url=proposal.url)


async def notify(
    task: Task, webhooks: Webhooks, secret: bytes, now: datetime, refusal: Refusal | None = None
) -> Done:
    """
    Tell the webhook; with a refusal, in the place of an edit that cannot be made.

    Raises:
        ForgeUnavailable: The receiver did not take it, or the key is unusable.
    """
    if task.policy.webhook is None:
        raise ValueError("wanted a policy with a webhook")
    body = render_event(task.rollback, task.policy.repository, task.policy.branch, refusal)
    try:
        headers = signed_headers(body, task.rollback.uid, secret, now)
    except ValueError as error:
        raise ForgeUnavailable(f"webhook: {error}") from error
    await webhooks.post(task.policy.webhook.url, body, headers)
    if refusal is None:
        return Done(State.NOTIFIED, "the webhook took the event")
    message = f"the webhook took the event, as Git cannot be edited: {refusal.message}"
    return Done(State.NOTIFIED, message, why=refusal.why.value)


async def topic_of(task: Task, forge: Forge) -> tuple[str, Proposal | None]:
    """
    Return the branch of the pull request, and the one that is there for this record.

    The usual branch may have served an earlier attempt at the same version; only a pull request
    that names this record is ours, or one that is still open.
    """
    usual, other = branches_of(task.rollback)
    for branch in (usual, other):
        known = await forge.proposal(branch, task.policy.branch)
        if known is None:
            return branch, None
        is_ours = task.rollback.uid in records_in(known.body)
        if is_ours or known.state is ProposalState.OPEN:
            return branch, known
    return other, None


async def _write_topic(task: Task, forge: Forge, path: str, branch: str) -> None:
    """Commit the edit on the topic branch, unless it is there."""
    topic = await forge.read(path, branch)
    if topic is None:
        raise Refusal(Why.OBJECT_NOT_FOUND, f"{branch} has no {path}")
    edit = _planned(task, topic)
    if edit.changes:
        await forge.commit(_replacement(task, topic, edit, branch))


async def _file(task: Task, repository: Repository, branch: str) -> SourceFile:
    path = path_of(task.policy.path, task.rollback, task.deployment)
    if path is None:
        return await _searched(task, repository, branch)
    file = await repository.read(path, branch)
    if file is None:
        raise Refusal(Why.OBJECT_NOT_FOUND, f"branch {branch} has no file {path}")
    return file


async def _searched(task: Task, repository: Repository, branch: str) -> SourceFile:
    """Find the one file that has the object."""
    paths = await repository.find(branch, (KIND, task.target.name))
    if paths is None:
        message = "wanted spec.gitWriteback.path, or the annotation config.kubernetes.io/origin"
        raise Refusal(Why.PATH_UNKNOWN, message)
    read = [await repository.read(path, branch) for path in paths]
    found = [file for file in read if file is not None and _has(file, task.target)]
    if not found:
        raise Refusal(Why.OBJECT_NOT_FOUND, f"no file on branch {branch} has {task.target}")
    if len(found) > 1:
        paths = ", ".join(file.path for file in found[:3])
        raise Refusal(Why.AMBIGUOUS, f"{len(found)} files have {task.target}: {paths}")
    return found[0]


def _has(file: SourceFile, target: Target) -> bool:
    """Whether a file has the object; one that has it twice has it."""
    try:
        find(file.content.decode(), target)
    except Refusal as refusal:
        return refusal.why is Why.AMBIGUOUS
    except UnicodeDecodeError:
        return False
    return True


def _planned(task: Task, file: SourceFile) -> Edit:
    if task.rejected is None or task.stable is None:
        gone = task.rollback.rejected if task.rejected is None else task.rollback.stable
        raise Refusal(Why.REVISION_GONE, f"ModelRevision {gone.revision} is gone")
    return plan_edit(file.content, task.target, task.rejected, task.stable)


def _replacement(task: Task, file: SourceFile, edit: Edit, branch: str) -> Replacement:
    message = commit_message(task.rollback, edit.changes)
    return Replacement(branch, file, edit.content, message, task.committer)
