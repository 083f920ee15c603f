"""
Rights as rules grant them, and as an API server's audit log says they were used.

Owns both translations and the comparison. Reads no cluster and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.audit import Request
from sandbox.headgate import NAMESPACE
from scenarios.api import MANAGER

EVERYWHERE = "*"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """
    One verb on one resource.

    Attributes:
        namespace: Where; EVERYWHERE for a right in the whole cluster.
        group: API group; empty for the core.
        resource: Plural, with `/<subresource>` if it is about one.
        verb: As in rules.
    """

    namespace: str
    group: str
    resource: str
    verb: str

    def covers(self, used: Right) -> bool:
        """Whether what was used is what this grants."""
        here = self.namespace in (EVERYWHERE, used.namespace)
        mine, other = (self.group, self.resource, self.verb), (used.group, used.resource, used.verb)
        return here and mine == other


def granted(manifests: Iterable[Mapping[str, Any]], account: str) -> frozenset[Right]:
    """Return what the bindings among `manifests` grant a ServiceAccount of Headgate's namespace."""
    found = [manifest for manifest in manifests if manifest]
    roles = {_place(manifest): manifest for manifest in found if "rules" in manifest}
    rights: set[Right] = set()
    for binding in found:
        subjects = [(s["namespace"], s["name"]) for s in binding.get("subjects", ())]
        if (NAMESPACE, account) not in subjects:
            continue
        kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
        where = binding["metadata"].get("namespace", EVERYWHERE)
        role = roles[kind, "" if kind == "ClusterRole" else where, name]
        rights |= {right for rule in role["rules"] for right in _expanded(rule, where)}
    return frozenset(rights)


def _place(manifest: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _expanded(rule: Mapping[str, Any], namespace: str) -> Iterable[Right]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            yield from (Right(namespace, group, resource, verb) for verb in rule["verbs"])


def asked_by(requests: Iterable[Request], account: str) -> list[Request]:
    """Return what a ServiceAccount of Headgate's asked about resources; tests' own left out.

    Tests that try its token say who they are. Paths that are no resource (discovery) are for
    everybody and need no right of ours.
    """
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    return [
        request
        for request in requests
        if request.user == user and request.agent != MANAGER and request.resource
    ]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was granted, what was used, and what was refused."""

    granted: frozenset[Right]
    used: frozenset[Right]
    refused: Sequence[str]
    requests: int

    @property
    def missing(self) -> list[Right]:
        """What was used and is in no rule."""
        return sorted(u for u in self.used if not any(g.covers(u) for g in self.granted))

    @property
    def unused(self) -> list[Right]:
        """What is in a rule and was never used."""
        return sorted(g for g in self.granted if not any(g.covers(u) for u in self.used))

    def lines(self) -> list[str]:
        """Both sets, resource by resource, for a person to read."""
        rows = sorted({(right.group, right.resource) for right in self.granted | self.used})
        return [
            f"  {resource + '.' + group if group else resource}:"
            f" granted {_verbs(self.granted, group, resource)};"
            f" used {_verbs(self.used, group, resource)}"
            for group, resource in rows
        ]


def _verbs(rights: Iterable[Right], group: str, resource: str) -> str:
    verbs = {r.verb for r in rights if (r.group, r.resource) == (group, resource)}
    return ", ".join(sorted(verbs)) or "none"


def compare(
    manifests: Iterable[Mapping[str, Any]], requests: Iterable[Request], account: str
) -> Comparison:
    """Compare what `manifests` grant a ServiceAccount with what it asked for."""
    asked = asked_by(requests, account)
    refused = [request for request in asked if request.code in (401, 403)]
    used = {Right(r.namespace, r.group, r.resource, r.verb) for r in asked if r not in refused}
    return Comparison(
        granted(manifests, account),
        frozenset(used),
        sorted({str(request) for request in refused}),
        len(asked),
    )
