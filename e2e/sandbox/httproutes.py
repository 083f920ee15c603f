"""
What Gateways and HTTPRoutes ask for, as Envoy configuration and as status conditions.

A pure function of the API server's objects. Owns which listeners take which routes under which
host names, and the listener that stands for cluster DNS. Knows neither files nor Envoy's words.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sandbox.endpoints import Services
from sandbox.kube import Json
from sandbox.kubewatch import Key
from sandbox.routerules import Condition, Objects, Placed, Rules, age_of, say
from sandbox.xds import (
    Cluster,
    Config,
    Listener,
    Match,
    Pool,
    Route,
    Target,
    VirtualHost,
)

CONTROLLER = "gateway.envoyproxy.io/gatewayclass-controller"
SERVICE_LISTENER = "services"
ADDRESS = "127.0.0.1"


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
    for key in sorted(objects.routes, key=lambda key: age_of(objects.routes[key])):
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


def _listener_name(port: Port) -> str:
    return f"{port.gateway.namespace}/{port.gateway.name}/{port.number}"


class _Work:
    """The translation under way: what has been collected from the routes so far."""

    def __init__(self, objects: Objects, gateways: Mapping[Key, Json]) -> None:
        self.objects = objects
        self.gateways = gateways
        self.placed: dict[Port, dict[str, list[Placed]]] = defaultdict(lambda: defaultdict(list))
        self.clusters: dict[str, Cluster] = {}
        self.parents: dict[Key, tuple[Parent, ...]] = {}
        self.attached: dict[tuple[Key, str], int] = defaultdict(int)

    def listeners(self) -> Iterator[tuple[Key, Json]]:
        for key, gateway in self.gateways.items():
            for entry in gateway["spec"]["listeners"]:
                if entry["protocol"] == "HTTP":
                    yield key, entry

    def add_route(self, key: Key, route: Json) -> None:
        rules = Rules(self.objects, key, route)
        parents = [
            Parent(ref, (verdict, rules.resolved))
            for ref in route["spec"].get("parentRefs") or ()
            if (verdict := self._attach(key, route, ref, rules)) is not None
        ]
        self.parents[key] = tuple(parents)
        if any(parent.conditions[0].status for parent in parents):
            self.clusters |= rules.clusters

    def _attach(self, key: Key, route: Json, ref: Json, rules: Rules) -> Condition | None:
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
            return _accepted("NoMatchingParent", f"Gateway {say(parent)} has no such listener")
        allowed = [entry for entry in entries if self._is_allowed(key, parent, entry)]
        if not allowed:
            message = f"no listener of Gateway {say(parent)} allows namespace {key.namespace}"
            return _accepted("NotAllowedByListeners", message)
        hosts = [(entry, host) for entry in allowed for host in _common_hosts(route, entry)]
        if not hosts:
            message = f"no listener of Gateway {say(parent)} serves one of the route's hostnames"
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


def _hosts(placed: Mapping[str, list[Placed]]) -> tuple[VirtualHost, ...]:
    return tuple(
        VirtualHost(
            host, (host,), tuple(entry.route for entry in sorted(placed[host], key=_order_of))
        )
        for host in sorted(placed)
    )


def _order_of(entry: Placed) -> tuple[object, ...]:
    return entry.order


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
