"""The policies in force: which one is for a namespace, and what each is told about itself.

Owns acceptance, conflicts and conditions of ReleasePolicies. Must not know how anything is written.
Where two policies name the same namespace neither acts there: which of two repositories is meant
is for people to say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headgate.adapters.github import PUBLIC_API
from headgate.adapters.hosts import Hosts, NotAllowed
from headgate.api.accept import Invalid, read
from headgate.api.release_policy import ForgeKind, GitWriteback, ReleasePolicy, WritebackMode
from headgate.core.memory import render_moment
from headgate.core.wording import plain
from headgate.core.writeback.reasons import State
from headgate.ports import Manifest
from headgate.writeback.ledger import Entry

RECENT = 16
"""Writes that a policy's status shows; the schema's bound."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy that can be acted on."""

    name: str
    namespaces: tuple[str, ...]
    spec: GitWriteback


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one ReleasePolicy: it can be acted on, or an error says why not."""

    manifest: Manifest
    policy: Policy | None = None
    error: str = ""
    rivals: Mapping[str, str] = field(default_factory=dict)
    """Namespaces that another policy names too, with that policy's name."""

    @property
    def name(self) -> str:
        """Name of the object."""
        return str(self.manifest["metadata"]["name"])


def judge(manifests: Sequence[Manifest], hosts: Hosts) -> list[Judged]:
    """Read all policies and find those that contradict each other; sorted by name."""
    accepted = [_accepted(manifest, hosts) for manifest in manifests]
    claims: dict[str, list[str]] = {}
    for each in accepted:
        for namespace in each.policy.namespaces if each.policy else ():
            claims.setdefault(namespace, []).append(each.name)
    judged = [_with_rivals(each, claims) for each in accepted]
    return sorted(judged, key=lambda each: each.name)


def in_force(judged: Sequence[Judged]) -> dict[str, Policy]:
    """Return by namespace the one policy that acts there."""
    return {
        namespace: each.policy
        for each in judged
        if each.policy is not None and each.policy.spec.mode is not WritebackMode.OFF
        for namespace in each.policy.namespaces
        if namespace not in each.rivals
    }


def render_status(
    judged: Judged, entries: Sequence[Entry], unreadable: Collection[str], now: datetime
) -> dict[str, Any]:
    """
    Render a policy's status.

    Args:
        judged: The policy.
        entries: The writes of all policies.
        unreadable: Namespaces whose records the write-back may not read.
        now: For conditions that changed.
    """
    ours = [entry for entry in entries if entry.policy == judged.name]
    recent = sorted(ours, key=lambda entry: entry.at, reverse=True)[:RECENT]
    generation = judged.manifest["metadata"].get("generation", 0)
    status: dict[str, Any] = {"observedGeneration": generation}
    if recent:
        status["recent"] = [_report(entry) for entry in recent]
    before = {c["type"]: c for c in (judged.manifest.get("status") or {}).get("conditions") or ()}
    status["conditions"] = [
        _condition(kind, *found, generation, before.get(kind), now)
        for kind, found in (
            ("Accepted", _acceptance(judged)),
            ("Ready", _readiness(judged, ours, unreadable)),
        )
    ]
    return status


def _accepted(manifest: Manifest, hosts: Hosts) -> Judged:
    try:
        read_policy = read(ReleasePolicy, manifest)
        spec = read_policy.spec.git_writeback
        _check(spec, hosts)
    except Invalid as error:
        return Judged(manifest, error=str(error))
    name = read_policy.metadata.name
    return Judged(manifest, Policy(name, read_policy.spec.namespaces, spec))


def _check(spec: GitWriteback, hosts: Hosts) -> None:
    """Refuse what CEL refuses too, and hosts that the process may not ask."""
    at = "spec.gitWriteback"
    is_git = spec.mode in (WritebackMode.PULL_REQUEST, WritebackMode.COMMIT)
    if is_git and spec.repository is None:
        raise Invalid(f"{at}.repository", f"one for mode {spec.mode.value}", "nothing")
    if spec.mode is WritebackMode.PULL_REQUEST and spec.forge is None:
        raise Invalid(f"{at}.forge", "GitHub, GitLab or Gitea for PullRequest", "nothing")
    if spec.mode is WritebackMode.NOTIFY and spec.webhook is None:
        raise Invalid(f"{at}.webhook", "one for mode Notify", "nothing")
    addresses = {
        "repository": spec.repository if is_git else None,
        "apiUrl": _api(spec) if is_git else None,
        "webhook.url": spec.webhook.url if spec.webhook else None,
    }
    for name, address in addresses.items():
        if address is None or spec.mode is WritebackMode.OFF:
            continue
        try:
            hosts.check(address)
        except NotAllowed as error:
            raise Invalid(f"{at}.{name}", error.wanted, error.found) from error


def _api(spec: GitWriteback) -> str | None:
    """Return the root of the forge's API where that is another host than the repository's."""
    is_public = (spec.repository or "").startswith("https://github.com/")
    if spec.api_url is None and spec.forge is ForgeKind.GITHUB and is_public:
        return PUBLIC_API
    return spec.api_url


def _with_rivals(judged: Judged, claims: Mapping[str, Sequence[str]]) -> Judged:
    if judged.policy is None:
        return judged
    rivals = {
        namespace: next(name for name in claims[namespace] if name != judged.name)
        for namespace in judged.policy.namespaces
        if len(claims[namespace]) > 1
    }
    return Judged(judged.manifest, judged.policy, rivals=rivals)


def _acceptance(judged: Judged) -> tuple[bool, str, str]:
    if judged.policy is None:
        return False, "Invalid", judged.error
    return True, "Valid", "the policy can be acted on"


def _readiness(
    judged: Judged, entries: Sequence[Entry], unreadable: Collection[str]
) -> tuple[bool, str, str]:
    if judged.policy is None:
        return False, "NotAccepted", "the policy cannot be acted on"
    if judged.rivals:
        namespace, rival = sorted(judged.rivals.items())[0]
        message = f"namespace {namespace} is named by ReleasePolicy {rival} too: none acts there"
        return False, "Conflict", message
    if judged.policy.spec.mode is WritebackMode.OFF:
        return True, "Off", "nothing is written after a rollback"
    missing = sorted(set(judged.policy.namespaces) & set(unreadable))
    if missing:
        return False, "Forbidden", f"the records of namespace {missing[0]} may not be read"
    stuck = next((e for e in entries if e.state is State.CLAIMED and e.message), None)
    if stuck is not None:
        return False, "Failing", f"{stuck.record}: {stuck.message}"
    return True, "Watching", f"a rollback is followed by {judged.policy.spec.mode.value}"


def _report(entry: Entry) -> dict[str, Any]:
    rendered = {
        "record": entry.record,
        "state": entry.state.value,
        "message": plain(entry.message or entry.why or entry.state.value),
        "at": render_moment(entry.at),
    }
    return {**rendered, "url": entry.url} if entry.url else rendered


def _condition(
    kind: str,
    holds: bool,
    reason: str,
    message: str,
    generation: int,
    before: Mapping[str, Any] | None,
    now: datetime,
) -> dict[str, Any]:
    status = "True" if holds else "False"
    same = before is not None and before["status"] == status
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": plain(message),
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"]
        if same and before
        else render_moment(now),
    }
