"""
One HTTPRoute's rules: matches, weighted backends, filters, timeouts.

A pure function of the route and the cluster's Services. Owns the names that Envoy Gateway gives
to clusters and what an unresolved reference means. Which listeners take the route is decided in
httproutes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import NamedTuple

from sandbox.endpoints import Endpoint, Services
from sandbox.kube import Json
from sandbox.kubewatch import Key
from sandbox.xds import (
    UNRESOLVED,
    Cluster,
    Comparison,
    HeaderEdits,
    Match,
    Mirror,
    Pool,
    Route,
    Target,
)

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?")
_SUPPORTED_FILTERS = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"})
_BACKEND_FILTERS = _SUPPORTED_FILTERS - {"RequestMirror"}
_COMPARISONS = {
    "Exact": Comparison.EXACT,
    "PathPrefix": Comparison.PREFIX,
    "RegularExpression": Comparison.REGEX,
}


@dataclass(frozen=True, slots=True)
class Objects:
    """The API server's objects that bear on routing."""

    classes: Mapping[Key, Json] = field(default_factory=dict)
    gateways: Mapping[Key, Json] = field(default_factory=dict)
    routes: Mapping[Key, Json] = field(default_factory=dict)
    grants: Mapping[Key, Json] = field(default_factory=dict)
    namespaces: Mapping[Key, Json] = field(default_factory=dict)
    services: Services = field(default_factory=lambda: Services({}, {}))


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a status, without its times."""

    type: str
    status: bool
    reason: str
    message: str


class Placed(NamedTuple):
    """A route under a host name; `order` sorts the more specific and older first."""

    order: tuple[object, ...]
    route: Route


class Rules:
    """
    One HTTPRoute's rules, whichever parents take them.

    Attributes:
        clusters: What its routes send to, by name.
        placed: Its routes, each with its place in the order of precedence.
        resolved: The ResolvedRefs condition; a False names the first reference that leads nowhere.
        unsupported: What stands in the way of accepting it; empty when nothing does.
    """

    def __init__(self, objects: Objects, key: Key, route: Json) -> None:
        self.objects = objects
        self.key = key
        self.clusters: dict[str, Cluster] = {}
        self.placed: list[Placed] = []
        self.resolved = Condition("ResolvedRefs", True, "ResolvedRefs", "Resolved all references")
        self.unsupported = ""
        for position, rule in enumerate(route["spec"].get("rules") or ()):
            self._add(position, rule, age_of(route))

    def _add(self, position: int, rule: Json, age: tuple[str, str, str]) -> None:
        name = f"httproute/{self.key.namespace}/{self.key.name}/rule/{position}"
        self._note_unsupported(rule)
        filters = rule.get("filters") or ()
        route = Route(
            name=name,
            match=Match(),
            targets=self._targets(name, position, rule.get("backendRefs") or ()),
            mirrors=self._mirrors(name, position, filters),
            request=_edits(filters, "requestHeaderModifier"),
            response=_edits(filters, "responseHeaderModifier"),
            timeout=_timeout(rule.get("timeouts") or {}),
        )
        for number, entry in enumerate(rule.get("matches") or ({},)):
            match = _read_match(entry)
            full = replace(route, name=f"{name}/match/{number}", match=match)
            self.placed.append(Placed((*_precedence(match), *age, position, number), full))

    def _targets(self, name: str, rule: int, refs: Sequence[Json]) -> tuple[Target, ...]:
        """Return the weighted shares; list positions name clusters, as Envoy Gateway's do."""
        apart = any(ref.get("filters") for ref in refs)
        targets, pools, unresolved = [], [], 0
        for position, ref in enumerate(refs):
            weight = ref.get("weight", 1)
            if not self._resolve(ref, f"rule {rule} backendRef {position}"):
                unresolved += weight
                continue
            pool = Pool(max(weight, 1), self._endpoints(ref))
            if not apart:
                pools.append((weight, pool))
                continue
            cluster = f"{name}/backend/{position}"
            self._keep(cluster, (pool,), weight)
            filters = ref.get("filters") or ()
            targets.append(
                Target(
                    cluster,
                    weight,
                    _edits(filters, "requestHeaderModifier"),
                    _edits(filters, "responseHeaderModifier"),
                )
            )
        if pools:
            total = sum(weight for weight, _ in pools)
            self._keep(name, tuple(pool for weight, pool in pools if weight), total)
            targets.append(Target(name, total))
        return (*targets, Target(UNRESOLVED, unresolved))

    def _keep(self, cluster: str, pools: tuple[Pool, ...], weight: int) -> None:
        if weight:
            self.clusters[cluster] = Cluster(cluster, pools)

    def _mirrors(self, name: str, rule: int, filters: Sequence[Json]) -> tuple[Mirror, ...]:
        found = []
        mirrors = (entry for entry in filters if entry["type"] == "RequestMirror")
        for position, entry in enumerate(mirrors):
            spec = entry["requestMirror"]
            ref = spec["backendRef"]
            if not self._resolve(ref, f"rule {rule} mirror {position}"):
                continue
            cluster = f"{name}-mirror-{position}"
            self._keep(cluster, (Pool(1, self._endpoints(ref)),), 1)
            fraction = spec.get("fraction") or {"numerator": spec.get("percent", 100)}
            numerator, denominator = fraction["numerator"], fraction.get("denominator", 100)
            found.append(Mirror(cluster, *_envoy_fraction(numerator, denominator)))
        return tuple(found)

    def _endpoints(self, ref: Json) -> tuple[Endpoint, ...]:
        return self.objects.services.endpoints(self._service(ref), ref["port"])

    def _service(self, ref: Json) -> Key:
        return Key(ref.get("namespace", self.key.namespace), ref["name"])

    def _resolve(self, ref: Json, place: str) -> bool:
        """Whether a reference leads to a Service's port; the first that does not is reported."""
        service = self._service(ref)
        problem = None
        if ref.get("kind", "Service") != "Service" or ref.get("group"):
            problem = "InvalidKind", f"kind {ref.get('kind', 'Service')} is not a Service"
        elif service.namespace != self.key.namespace and not self._is_granted(service):
            problem = "RefNotPermitted", f"no ReferenceGrant allows Service {say(service)}"
        elif service not in self.objects.services.services:
            problem = "BackendNotFound", f"Service {say(service)} not found"
        elif self.objects.services.port(service, ref.get("port", 0)) is None:
            problem = "BackendNotFound", f"Service {say(service)} has no port {ref.get('port')}"
        if problem and self.resolved.status:
            self.resolved = Condition("ResolvedRefs", False, problem[0], f"{place}: {problem[1]}")
        return problem is None

    def _is_granted(self, service: Key) -> bool:
        return any(
            any(
                source.get("kind") == "HTTPRoute" and source.get("namespace") == self.key.namespace
                for source in grant["spec"].get("from") or ()
            )
            and any(
                to.get("kind") == "Service" and to.get("name", service.name) == service.name
                for to in grant["spec"].get("to") or ()
            )
            for key, grant in self.objects.grants.items()
            if key.namespace == service.namespace
        )

    def _note_unsupported(self, rule: Json) -> None:
        for entry in rule.get("matches") or ():
            for part in (entry.get("path") or {}, *(entry.get("headers") or ())):
                if part.get("type") == "RegularExpression" and not _is_regex(part["value"]):
                    # Envoy would refuse the whole listener's routes for it.
                    self.unsupported = f"{part['value']!r} is no regular expression"
        used = {entry["type"] for entry in rule.get("filters") or ()} - _SUPPORTED_FILTERS
        for ref in rule.get("backendRefs") or ():
            used |= {entry["type"] for entry in ref.get("filters") or ()} - _BACKEND_FILTERS
        if used:
            self.unsupported = f"filter {', '.join(sorted(used))} is not supported there"


def _is_regex(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _precedence(match: Match) -> tuple[int, int, int, int, int]:
    """Sort the more specific match first, by the order that Envoy Gateway keeps."""
    kind = (Comparison.EXACT, Comparison.REGEX, Comparison.PREFIX).index(match.comparison)
    method = 0 if match.method else 1
    return kind, -len(match.path), method, -len(match.headers), -len(match.query)


def _read_match(entry: Json) -> Match:
    path = entry.get("path") or {}
    return Match(
        path=path.get("value", "/"),
        comparison=_COMPARISONS[path.get("type", "PathPrefix")],
        method=entry.get("method", ""),
        headers=_comparisons(entry.get("headers") or ()),
        query=_comparisons(entry.get("queryParams") or ()),
    )


def _comparisons(entries: Sequence[Json]) -> tuple[tuple[str, str, Comparison], ...]:
    return tuple(
        (entry["name"], entry["value"], _COMPARISONS[entry.get("type", "Exact")])
        for entry in entries
    )


def _edits(filters: Sequence[Json], name: str) -> HeaderEdits:
    """Join the header edits of all filters of one kind."""
    specs = [entry[name] for entry in filters if entry.get(name)]
    return HeaderEdits(
        set=tuple(
            (pair["name"], pair["value"]) for spec in specs for pair in spec.get("set") or ()
        ),
        add=tuple(
            (pair["name"], pair["value"]) for spec in specs for pair in spec.get("add") or ()
        ),
        remove=tuple(header for spec in specs for header in spec.get("remove") or ()),
    )


def _envoy_fraction(numerator: int, denominator: int) -> tuple[int, int]:
    """Return the fraction over one of the three denominators that Envoy has."""
    if denominator in (100, 10_000, 1_000_000):
        return numerator, denominator
    return round(numerator * 1_000_000 / denominator), 1_000_000


def _timeout(timeouts: Json) -> timedelta | None:
    """Return the time for a whole request; without retries both timeouts bound the same thing."""
    found = [read_duration(text) for text in timeouts.values()]
    limits = [limit for limit in found if limit]
    return min(limits) if limits else min(found, default=None)


def read_duration(text: str) -> timedelta:
    """
    Read a duration of Gateway API (GEP-2257), such as "1m30s" or "250ms".

    Raises:
        ValueError: The text is no such duration.
    """
    matched = _DURATION.fullmatch(text)
    if not text or matched is None:
        raise ValueError(f"{text!r} is not a duration")
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in matched.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)


def age_of(route: Json) -> tuple[str, str, str]:
    """Return what sorts the older route first, and routes of one second by name."""
    meta = route["metadata"]
    return meta.get("creationTimestamp", ""), meta["namespace"], meta["name"]


def say(key: Key) -> str:
    """Return a key as messages name it."""
    return f"{key.namespace}/{key.name}"
