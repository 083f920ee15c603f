"""
What came of each version: read from its ModelRollout and the client's counts, held to a promise.

Owns the expectations of the demo and its machine-readable line. Pure: it must not know how records
are read, nor how anything is printed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sandbox.counts import Counts

Json = Mapping[str, Any]

ROLLBACK_SECONDS = 60.0
"""A bad canary must be gone this soon after its first request."""

GATEWAY_KINDS = frozenset({"http-502", "http-503", "http-504", "refused", "reset", "timeout"})
"""Failures that the gateway makes while backends change; a model's own are others."""

DROPPED_RATIO = 0.001
"""Share of requests that the gateway may drop in a promotion."""


@dataclass(frozen=True, slots=True)
class Told:
    """
    What came of one version.

    Attributes:
        outcome: As the record says: Promoted, RolledBack, …; empty while it is open.
        reason: Why, in one word: of the verdict that ended it, else of the record.
        evidence: The same in a sentence with its numbers.
        began_at: When it was first given weight, so not after its first request.
        seconds: From there until everybody could see the outcome.
        users: What the client counted in between, and a little longer.
    """

    version: str
    rollout: str
    outcome: str
    reason: str
    evidence: str
    began_at: datetime
    seconds: float
    users: Counts

    @property
    def ending(self) -> str:
        """Outcome and reason, which are the same word for a promotion."""
        return self.outcome if self.reason == self.outcome else f"{self.outcome}: {self.reason}"

    @property
    def by_gateway(self) -> int:
        """Failures that the gateway made, not the model."""
        return sum(count for kind, count in self.users.failed.items() if kind in GATEWAY_KINDS)

    def as_json(self) -> dict[str, object]:
        """Return it as the machine-readable line holds it."""
        return {
            "version": self.version,
            "outcome": self.outcome,
            "seconds_from_first_canary_request": round(self.seconds, 1),
            "requests": self.users.ended,
            "failed": self.users.failures,
            "failed_by_kind": dict(sorted(self.users.failed.items())),
            "reason": self.reason,
            "evidence": self.evidence,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation, whether it came true, and what was found."""

    claim: str
    holds: bool
    found: str


def exposed_since(record: Json) -> datetime | None:
    """
    Return when the version of a record was first given weight; None if it was not yet.

    The first revision of all has no canary weight: it gets everything with reason FirstRevision.
    """
    for step in record.get("status", {}).get("steps", ()):
        if step["weight"] > 0 or step["reason"] == "FirstRevision":
            return datetime.fromisoformat(step["at"])
    return None


def tell(record: Json, ended_at: datetime, users: Counts) -> Told:
    """
    Sum up a version whose record is finished, seen so at `ended_at`.

    Raises:
        ValueError: It never had weight.
    """
    began_at = exposed_since(record)
    if began_at is None:
        raise ValueError(f"{record['metadata']['name']}: its version never had weight")
    status = record["status"]
    decision = status.get("decision") or {}
    is_breach = decision.get("verdict") == "Breach"
    return Told(
        version=record["spec"]["to"]["version"],
        rollout=record["metadata"]["name"],
        outcome=status.get("outcome", ""),
        reason=decision["reason"] if is_breach else status.get("reason", ""),
        evidence=status.get("message", ""),
        began_at=began_at,
        seconds=(ended_at - began_at).total_seconds(),
        users=users,
    )


def check_promoted(told: Told) -> list[Finding]:
    """Hold a good version to: it was promoted, and no user paid for that."""
    dropped = told.by_gateway
    allowed = DROPPED_RATIO * told.users.ended
    own = told.users.failures - dropped
    return [
        Finding(
            f"version {told.version} was promoted",
            told.outcome == "Promoted",
            told.ending,
        ),
        Finding(
            f"no user had a request failed by version {told.version}",
            own == 0 and told.users.ended > 0,
            f"{own} of {told.users.ended:,}",
        ),
        Finding(
            f"the gateway dropped at most {100 * DROPPED_RATIO:g} % of the requests meanwhile",
            dropped <= allowed,
            f"{dropped} of {told.users.ended:,}" + _kinds(told.users),
        ),
    ]


def check_rolled_back(told: Told) -> list[Finding]:
    """Hold a bad version to: taken back soon, for its failures, which its users really saw."""
    return [
        Finding(
            f"version {told.version} was rolled back",
            told.outcome == "RolledBack",
            told.ending,
        ),
        Finding(
            f"less than {ROLLBACK_SECONDS:g} s after its first request",
            told.seconds < ROLLBACK_SECONDS,
            f"{told.seconds:.1f} s",
        ),
        Finding(
            "for failed requests, not for anything else",
            told.reason in ("ErrorsHigher", "ObjectiveBroken") and "failed" in told.evidence,
            told.reason,
        ),
        Finding(
            "the client counted failures too, so they were real",
            told.users.failures > 0,
            f"{told.users.failures} of {told.users.ended:,}" + _kinds(told.users),
        ),
    ]


def check_left_alone(before: Json, after: Json, users: Counts) -> list[Finding]:
    """Hold a re-synced, rejected commit to: the status stays, and users see nothing of it."""
    number, later = before.get("rolloutNumber"), after.get("rolloutNumber")
    stable = (after.get("stable") or {}).get("version")
    return [
        Finding("no further rollout began", later == number, f"number {later} after {number}"),
        Finding(
            "the version before it has all requests",
            after.get("phase") == "RolledBack" and not after.get("canary"),
            f"version {stable}, phase {after.get('phase')}",
        ),
        Finding(
            "no request failed in that time",
            users.failures == 0 and users.ended > 0,
            f"{users.failures} of {users.ended:,}" + _kinds(users),
        ),
    ]


def check_continued(before: Json, after: Json, old_pid: int, new_pid: int) -> list[Finding]:
    """Hold a killed operator to: another process finished the very rollout that was under way."""
    steps = [step["weight"] for step in after.get("status", {}).get("steps", ())]
    taken = [step["weight"] for step in before.get("status", {}).get("steps", ())]
    return [
        Finding(
            "another operator process is at work",
            new_pid != old_pid,
            f"process {new_pid} after {old_pid}",
        ),
        Finding(
            "it went on with the rollout that it found",
            after["metadata"]["uid"] == before["metadata"]["uid"],
            after["metadata"]["name"],
        ),
        Finding(
            "no step was taken twice",
            steps[: len(taken)] == taken and sorted(set(steps[:-1])) == steps[:-1],
            "weights " + ", ".join(str(weight) for weight in steps),
        ),
    ]


def describe_users(users: Counts) -> str:
    """Say in a sentence what users saw."""
    if not users.failures:
        return f"Users sent {users.ended:,} requests meanwhile and got {users.ended:,} predictions."
    share = 100.0 * users.failures / users.ended
    return (
        f"Users sent {users.ended:,} requests meanwhile; {users.failures:,} failed "
        f"({share:.2g} %{_kinds(users)})."
    )


def _kinds(users: Counts) -> str:
    return "".join(f", {kind}: {count}" for kind, count in sorted(users.failed.items()))


def render_result(
    seconds: float,
    stages: Mapping[str, float],
    versions: Sequence[Told],
    findings: Sequence[Finding],
    error: str,
) -> str:
    """Return the machine-readable line; `error` says why the story broke off, empty if not."""
    broken = [finding.claim for finding in findings if not finding.holds]
    result: dict[str, object] = {
        "ok": not broken and not error,
        "seconds": round(seconds, 1),
        "versions": [told.as_json() for told in versions],
        "stages": {name: round(lasted, 1) for name, lasted in stages.items()},
        "not_as_told": broken,
    }
    if error:
        result["error"] = error
    return json.dumps(result)
