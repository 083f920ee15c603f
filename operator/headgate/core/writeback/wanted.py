"""Which record wants a write, and whether it may be made now.

Owns the rules that keep a write-back from looping: one write per record, none for what is no longer
so, none against our own commits, a rate limit. Must not know how anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from headgate.core.lifecycle import Outcome, Phase, Reason
from headgate.core.revision import record_digest
from headgate.core.writeback.reasons import Refusal, Why

OPT_OUT = "headgate.dev/git-writeback"
"""Annotation of a ModelDeployment; `Off` is all that its author may say."""

ORIGIN = "config.kubernetes.io/origin"
"""Annotation in which kustomize notes the file that a resource is from."""

TRAILER = "Rollback-Record"
"""Trailer of our commits: the uid of the ModelRollout that they are for."""

DEPLOYMENT_TRAILER = "Rollback-Deployment"
"""Trailer of our commits: namespace and name of the ModelDeployment."""

TO_TRAILER = "Rollback-To"
"""Trailer of our commits: the hash of the revision that they restore."""

HISTORY = 20
"""Commits of a file that are searched for ours."""

_TRAILER = re.compile(rf"^{TRAILER}: ([0-9a-zA-Z-]+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Version:
    """One side of a rollback: the ModelRevision's name, its hash, and the model's version."""

    revision: str
    hash: str
    version: str


@dataclass(frozen=True, slots=True)
class Rollback:
    """A finished record that ended with a rollback."""

    namespace: str
    name: str
    uid: str
    number: int
    deployment: str
    deployment_uid: str
    rejected: Version
    stable: Version
    reason: str
    message: str
    finished_at: datetime
    digest: str
    returned: bool = False
    """The proven version came back after the bake: the record is of its return, and the rejected
    version was rejected by an earlier one."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class PastCommit:
    """One commit of the history of a file."""

    sha: str
    message: str


def read_rollback(manifest: Mapping[str, Any]) -> Rollback | None:
    """
    Read a ModelRollout; None unless it ended with a rollback to a version that served before.

    That is one whose canary went back, and one in which a proven version came back because its
    successor broke an objective after the bake. A record whose digest is not that of its content
    was changed after it was finished, and wants nothing.
    """
    spec, status = manifest.get("spec") or {}, manifest.get("status") or {}
    if not is_rollback(status) or not spec.get("from"):
        return None
    if record_digest(manifest) != status.get("digest"):
        return None
    metadata, back = manifest["metadata"], _return_of(status)
    rejected, stable = (spec["from"], spec["to"]) if back else (spec["to"], spec["from"])
    told = back or status
    return Rollback(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        number=spec["number"],
        deployment=spec["deployment"],
        deployment_uid=spec["deploymentUID"],
        rejected=_version(rejected),
        stable=_version(stable),
        reason=told.get("reason", ""),
        message=told.get("message", ""),
        finished_at=datetime.fromisoformat(status["finishedAt"]),
        digest=status["digest"],
        returned=back is not None,
    )


def is_rollback(status: Mapping[str, Any]) -> bool:
    """Whether a record's status says that it is over and ended with a rollback."""
    if not status.get("finishedAt"):
        return False
    return status.get("outcome") == Outcome.ROLLED_BACK.value or _return_of(status) is not None


def _return_of(status: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the step in which a proven version came back after the bake; None for others."""
    if status.get("outcome") != Outcome.PROMOTED.value:
        return None
    steps: Sequence[Mapping[str, Any]] = status.get("steps") or ()
    return next((step for step in steps if step.get("reason") == Reason.RETURNING.value), None)


def stands(rollback: Rollback, deployment: Mapping[str, Any] | None) -> bool:
    """
    Whether a rollback is still how its deployment is, and its author lets Git be written.

    It is while the spec in the cluster wants what this record rejected and what was stable then
    serves. A record may be finished before its deployment's status is, so that False may still
    become True.
    """
    if deployment is None or deployment["metadata"].get("uid") != rollback.deployment_uid:
        return False
    annotations = deployment["metadata"].get("annotations") or {}
    if str(annotations.get(OPT_OUT, "")).lower() == "off":
        return False
    status = deployment.get("status") or {}
    rejections = status.get("rejected") or ()
    is_rejected = any(
        each.get("hash") == rollback.rejected.hash
        and (rollback.returned or each.get("rollout") == rollback.name)
        for each in rejections
    )
    return (
        is_rejected
        and status.get("phase") == Phase.ROLLED_BACK.value
        and status.get("rollout") == rollback.name
        and (status.get("stable") or {}).get("hash") == rollback.stable.hash
        and status.get("observedGeneration") == deployment["metadata"].get("generation")
    )


def branches_of(rollback: Rollback) -> tuple[str, str]:
    """
    Return the name of the branch for a record, always the same so that repeats are no-ops.

    The second one is for a version that was rejected before and tried again: the first may be that
    of a pull request which was merged or closed then.
    """
    where = f"{rollback.namespace}-{rollback.deployment}"
    name = f"headgate/rollback/{where}-{rollback.rejected.hash}"
    return name, f"{name}-{rollback.number}"


def records_in(message: str) -> tuple[str, ...]:
    """Return the uids of the records that a commit message says it is for."""
    return tuple(_TRAILER.findall(message))


def is_written(rollback: Rollback, history: Sequence[PastCommit]) -> PastCommit | None:
    """Return the commit that was made for this record, if one is in the file's history."""
    return next((each for each in history if rollback.uid in records_in(each.message)), None)


def check_no_revert_of_revert(rollback: Rollback, history: Sequence[PastCommit]) -> None:
    """
    Refuse when a commit of ours brought what was rolled back.

    Raises:
        Refusal: One did.
    """
    ours = f"{DEPLOYMENT_TRAILER}: {rollback.namespace}/{rollback.deployment}"
    restored = f"{TO_TRAILER}: {rollback.rejected.hash}"
    for commit in history:
        lines = [line.strip() for line in commit.message.splitlines()]
        if ours in lines and restored in lines:
            message = f"the rejected version came by our own commit {commit.sha[:12]}"
            raise Refusal(Why.REVERT_OF_REVERT, message)


def wait_for(
    writes: Sequence[datetime], limit: int, per: timedelta, now: datetime
) -> timedelta | None:
    """Return how long to wait until one more write is within the limit; None if it is now."""
    recent = sorted(at for at in writes if now - at < per)
    if len(recent) < limit:
        return None
    return recent[len(recent) - limit] + per - now


def path_of(template: str | None, rollback: Rollback, deployment: Mapping[str, Any]) -> str | None:
    """
    Return the file that has the deployment; None if nobody says.

    The policy's path wins. The origin annotation is the author's to write, so it only chooses
    among files of the policy's own repository, and the file must have this very object.
    """
    if template is not None:
        named = template.replace("{namespace}", rollback.namespace)
        return named.replace("{name}", rollback.deployment)
    annotations = deployment["metadata"].get("annotations") or {}
    origin = re.search(r"^path: (\S+)$", str(annotations.get(ORIGIN, "")), re.MULTILINE)
    return origin[1] if origin and is_below_root(origin[1]) else None


def is_below_root(path: str) -> bool:
    """Whether a path names a file below a repository's root, in characters that mean only that."""
    return len(path) <= 512 and bool(
        re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", path)
    )


def _version(reference: Mapping[str, Any]) -> Version:
    return Version(reference["revision"], reference["hash"], reference["version"])
