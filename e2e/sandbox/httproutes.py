"""
What Gateways and HTTPRoutes ask for, as Envoy configuration and as status conditions.

A pure function of the API server's objects. Owns the rules of Gateway API (attachment, host
names, order of precedence, references) and the names that Envoy Gateway gives to clusters.
Knows neither files nor Envoy's words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    Config,
    HeaderEdits,
    Listener,
    Match,
    Mirror,
    Pool,
    Route,
    Target,
    VirtualHost,
)

CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
SERVICE_LISTENER = "services"
ADDRESS = "127.0.0.1"

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


class Parent(NamedTuple):
    """What one parent says about a route."""

    ref: Json
    conditions: tuple[Condition, ...]


class Port(NamedTuple):
    """A listener port of a Gateway, as its manifest numbers it."""

    gateway: Key
    number: int


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """The status of a Gateway: its own conditions, and per listener the attached routes."""

    conditions: tuple[Condition, ...]
    listeners: Mapping[str, tuple[int, tuple[Condition, ...]]]


@dataclass(frozen=True, slots=True)
class Translation:
    """What Envoy shall do and what the objects' statuses shall say."""

    config: Config
    classes: tuple[Key, ...]
    gateways: Mapping[Key, GatewayReport]
    routes: Mapping[Key, tuple[Parent, ...]]


def translate(
    objects: Objects, local_port: Callable[[Port], int], service_port: int
) -> Translation:
    """
    Translate everything at once.

    Args:
        objects: What the API server holds.
        local_port: The port on this machine for a Gateway's port; the same for the same port.
        service_port: The port on this machine where Services are reached by name.
    """
    classes = tuple(
        key
        for key, item in objects.classes.items()
        if item["spec"].get("controllerName") == CONTROLLER
    )
    gateways = {
        key: item
        for key, item in objects.gateways.items()
        if Key("", item["spec"].get("gatewayClassName", "")) in classes
    }
    work = _Work(objects, gateways)
    for key in sorted(objects.routes, key=lambda key: _age(objects.routes[key])):
        work.add_route(key, objects.routes[key])
    listeners = [
        Listener(_listener_name(port), local_port(port), _hosts(work.placed[port]))
        for port in sorted({Port(key, entry["port"]) for key, entry in work.listeners()})
    ]
    services, service_clusters = _render_services(objects.services, service_port)
    return Translation(
        config=Config((*listeners, services), (*work.clusters.values(), *service_clusters)),
        classes=classes,
        gateways={key: work.report(key) for key in gateways},
        routes=work.parents,
    )


def _age(route: Json) -> tuple[str, str, str]:
    meta = route["metadata"]
    return meta.get("creationTimestamp", ""), meta["namespace"], meta["name"]


def _listener_name(port: Port) -> str:
    return f"{port.gateway.namespace}/{port.gateway.name}/{port.number}"


class _Placed(NamedTuple):
    """A route under a host name; `order` sorts the more specific and older first."""

    order: tuple[object, ...]
    route: Route


class _Work:
    """The translation under way: what has been collected from the routes so far."""

    def __init__(self, objects: Objects, gateways: Mapping[Key, Json]) -> None:
        self.objects = objects
        self.gateways = gateways
        self.placed: dict[Port, dict[str, list[_Placed]]] = defaultdict(lambda: defaultdict(list))
        self.clusters: dict[str, Cluster] = {}
        self.parents: dict[Key, tuple[Parent, ...]] = {}
        self.attached: dict[tuple[Key, str], int] = defaultdict(int)

    def listeners(self) -> Iterator[tuple[Key, Json]]:
        for key, gateway in self.gateways.items():
            for entry in gateway["spec"]["listeners"]:
                if entry["protocol"] == "HTTP":
                    yield key, entry

    def add_route(self, key: Key, route: Json) -> None:
        rules = _Rules(self.objects, key, route)
        parents = [
            Parent(ref, (verdict, rules.resolved))
            for ref in route["spec"].get("parentRefs") or ()
            if (verdict := self._attach(key, route, ref, rules)) is not None
        ]
        self.parents[key] = tuple(parents)
        if any(parent.conditions[0].status for parent in parents):
            self.clusters |= rules.clusters

    def _attach(self, key: Key, route: Json, ref: Json, rules: _Rules) -> Condition | None:
        """Put the route under the listeners that take it; None when the parent is not ours."""
        parent = Key(ref.get("namespace", key.namespace), ref["name"])
        if ref.get("kind", "Gateway") != "Gateway" or parent not in self.gateways:
            return None
        entries = [
            entry
            for owner, entry in self.listeners()
            if owner == parent
            and ref.get("sectionName", entry["name"]) == entry["name"]
            and ref.get("port", entry["port"]) == entry["port"]
        ]
        if not entries:
            return _accepted("NoMatchingParent", f"Gateway {_say(parent)} has no such listener")
        allowed = [entry for entry in entries if self._is_allowed(key, parent, entry)]
        if not allowed:
            message = f"no listener of Gateway {_say(parent)} allows namespace {key.namespace}"
            return _accepted("NotAllowedByListeners", message)
        hosts = [(entry, host) for entry in allowed for host in _common_hosts(route, entry)]
        if not hosts:
            message = f"no listener of Gateway {_say(parent)} serves one of the route's hostnames"
            return _accepted("NoMatchingListenerHostname", message)
        if rules.unsupported:
            return _accepted("UnsupportedValue", rules.unsupported)
        for entry, host in hosts:
            self.placed[Port(parent, entry["port"])][host].extend(rules.placed)
        for name in {entry["name"] for entry, _ in hosts}:
            self.attached[parent, name] += 1
        return Condition("Accepted", True, "Accepted", "Route is accepted")

    def _is_allowed(self, route: Key, gateway: Key, entry: Json) -> bool:
        allowed = (entry.get("allowedRoutes") or {}).get("namespaces") or {}
        match allowed.get("from", "Same"):
            case "All":
                return True
            case "Selector":
                namespace = self.objects.namespaces.get(Key("", route.namespace)) or {}
                labels = namespace.get("metadata", {}).get("labels") or {}
                return _selects(allowed.get("selector") or {}, labels)
            case _:
                return route.namespace == gateway.namespace

    def report(self, key: Key) -> GatewayReport:
        """Return the status of a Gateway whose listeners all stand."""
        entries = self.gateways[key]["spec"]["listeners"]
        listeners = {}
        for entry in entries:
            is_http = entry["protocol"] == "HTTP"
            listeners[entry["name"]] = (
                self.attached[key, entry["name"]],
                _listener_conditions(is_http, entry["protocol"]),
            )
        is_valid = any(entry["protocol"] == "HTTP" for entry in entries)
        return GatewayReport(
            (
                Condition("Accepted", is_valid, *_verdict(is_valid, "Accepted", "accepted")),
                Condition("Programmed", is_valid, *_verdict(is_valid, "Programmed", "programmed")),
            ),
            listeners,
        )


def _verdict(is_valid: bool, reason: str, word: str) -> tuple[str, str]:
    if is_valid:
        return reason, f"Gateway is {word}"
    return "ListenersNotValid" if word == "accepted" else "Invalid", "No listener speaks HTTP"


def _listener_conditions(is_http: bool, protocol: str) -> tuple[Condition, ...]:
    if is_http:
        return (
            Condition("Accepted", True, "Accepted", "Listener is accepted"),
            Condition("Programmed", True, "Programmed", "Listener is programmed"),
            Condition("ResolvedRefs", True, "ResolvedRefs", "Listener references are resolved"),
        )
    message = f"protocol {protocol} is not served here, only HTTP"
    return (
        Condition("Accepted", False, "UnsupportedProtocol", message),
        Condition("Programmed", False, "Invalid", message),
        Condition("ResolvedRefs", True, "ResolvedRefs", "Listener references are resolved"),
    )


def _accepted(reason: str, message: str) -> Condition:
    return Condition("Accepted", False, reason, message)


def _say(key: Key) -> str:
    return f"{key.namespace}/{key.name}"


def _selects(selector: Json, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    for entry in selector.get("matchExpressions") or ():
        value, values = labels.get(entry["key"]), entry.get("values") or ()
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds.get(entry["operator"], False):
            return False
    return True


def _common_hosts(route: Json, listener: Json) -> tuple[str, ...]:
    """Return the host names that both sides want; "*" when neither names any."""
    wanted = tuple(route["spec"].get("hostnames") or ())
    served = listener.get("hostname") or "*"
    if not wanted or served == "*":
        return wanted or (served,)
    found = []
    for host in wanted:
        if host == served or _covers(served, host):
            found.append(host)
        elif _covers(host, served):
            found.append(served)
    return tuple(found)


def _covers(wildcard: str, host: str) -> bool:
    return wildcard.startswith("*.") and host.endswith(wildcard[1:])


def _hosts(placed: Mapping[str, list[_Placed]]) -> tuple[VirtualHost, ...]:
    return tuple(
        VirtualHost(
            host, (host,), tuple(entry.route for entry in sorted(placed[host], key=_order_of))
        )
        for host in sorted(placed)
    )


def _order_of(entry: _Placed) -> tuple[object, ...]:
    return entry.order


class _Rules:
    """One HTTPRoute's rules, whichever parents take them."""

    def __init__(self, objects: Objects, key: Key, route: Json) -> None:
        self.objects = objects
        self.key = key
        self.clusters: dict[str, Cluster] = {}
        self.placed: list[_Placed] = []
        self.resolved = Condition("ResolvedRefs", True, "ResolvedRefs", "Resolved all references")
        self.unsupported = ""
        for position, rule in enumerate(route["spec"].get("rules") or ()):
            self._add(position, rule, _age(route))

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
            self.placed.append(_Placed((*_precedence(match), *age, position, number), full))

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
            problem = "RefNotPermitted", f"no ReferenceGrant allows Service {_say(service)}"
        elif service not in self.objects.services.services:
            problem = "BackendNotFound", f"Service {_say(service)} not found"
        elif self.objects.services.port(service, ref.get("port", 0)) is None:
            problem = "BackendNotFound", f"Service {_say(service)} has no port {ref.get('port')}"
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


def _render_services(services: Services, port: int) -> tuple[Listener, tuple[Cluster, ...]]:
    """Return the listener that stands for cluster DNS and Service addresses."""
    hosts, clusters = [], []
    for key in sorted(services.services):
        spec = services.services[key]["spec"]
        for entry in spec.get("ports") or ():
            number = entry["port"]
            name = f"service/{key.namespace}/{key.name}/{number}"
            clusters.append(Cluster(name, (Pool(1, services.endpoints(key, number)),)))
            route = Route(name, Match(), (Target(name, 1),), timeout=timedelta())
            hosts.append(VirtualHost(name, _service_domains(key, spec, number), (route,)))
    return Listener(SERVICE_LISTENER, port, tuple(hosts), as_proxy=True), tuple(clusters)


def _service_domains(service: Key, spec: Json, port: int) -> tuple[str, ...]:
    stem = f"{service.name}.{service.namespace}"
    names = [stem, f"{stem}.svc", f"{stem}.svc.cluster.local"]
    if spec.get("clusterIP", "None") != "None":
        names.append(spec["clusterIP"])
    domains = [f"{name}:{port}" for name in names]
    return (*domains, *names) if port == 80 else tuple(domains)
