"""
Envoy's configuration as plain JSON: values in, resources out.

Owns every word of Envoy's API. Knows neither Kubernetes nor files.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sandbox.endpoints import Endpoint
from sandbox.kube import Json

# A cluster of this name never exists, so requests sent to it get the 500 that Gateway API wants
# for a backend that cannot be resolved.
UNRESOLVED = "invalid-backend-cluster"

_TYPE = "type.googleapis.com/"
_CLUSTER = _TYPE + "envoy.config.cluster.v3.Cluster"
_ASSIGNMENT = _TYPE + "envoy.config.endpoint.v3.ClusterLoadAssignment"
_LISTENER = _TYPE + "envoy.config.listener.v3.Listener"
_ROUTES = _TYPE + "envoy.config.route.v3.RouteConfiguration"
_MANAGER = _TYPE + (
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_ROUTER = _TYPE + "envoy.extensions.filters.http.router.v3.Router"
_HTTP_OPTIONS = _TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# Never the sandbox's own limit: what users saw must come from the model servers.
_UNLIMITED = 1_000_000_000
# Below the shortest keep-alive of the usual Python servers (uvicorn: 5 s), so that Envoy never
# sends a request on a connection that the server is closing at that moment.
_UPSTREAM_IDLE = "4s"


class Comparison(enum.Enum):
    """How a path, header or query parameter is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """What happens to a request's or a response's headers, in Envoy's order: remove, then add."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """Endpoints that share a weight inside one cluster."""

    weight: int
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A named set of endpoints. Pools without endpoints take no share of the requests."""

    name: str
    pools: tuple[Pool, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A share of a route's requests: the cluster, and the edits that only this share gets."""

    cluster: str
    weight: int
    request: HeaderEdits = HeaderEdits()
    response: HeaderEdits = HeaderEdits()


@dataclass(frozen=True, slots=True)
class Mirror:
    """A copy of a share of the requests; `numerator` of `denominator` (100, 10^4 or 10^6)."""

    cluster: str
    numerator: int = 100
    denominator: int = 100


@dataclass(frozen=True, slots=True)
class Match:
    """What a request must look like; empty fields match everything."""

    path: str = "/"
    comparison: Comparison = Comparison.PREFIX
    method: str = ""
    headers: tuple[tuple[str, str, Comparison], ...] = ()
    query: tuple[tuple[str, str, Comparison], ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """
    Requests that match, and where they go.

    Attributes:
        targets: Weighted shares; with no weight above zero every request is answered with 500.
        timeout: Until the whole answer is there; None is Envoy's own 15 s, zero is no limit.
    """

    name: str
    match: Match
    targets: tuple[Target, ...]
    mirrors: tuple[Mirror, ...] = ()
    request: HeaderEdits = HeaderEdits()
    response: HeaderEdits = HeaderEdits()
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """The routes of some host names; the first that matches takes the request."""

    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Listener:
    """
    A port on 127.0.0.1 that speaks HTTP/1.1.

    Attributes:
        as_proxy: Tell virtual hosts apart by port too, as a forward proxy must.
    """

    name: str
    port: int
    hosts: tuple[VirtualHost, ...] = ()
    as_proxy: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """Everything one Envoy is told."""

    listeners: tuple[Listener, ...] = ()
    clusters: tuple[Cluster, ...] = field(default=())


def render_bootstrap(folder: str, admin_port: int) -> Json:
    """Return the bootstrap of an Envoy that reads `lds.json` and `cds.json` in `folder`."""
    return {
        "node": {"id": "gateway", "cluster": "sandbox"},
        "admin": {"address": _address("127.0.0.1", admin_port)},
        "dynamic_resources": {
            "lds_config": _source(folder, "lds.json"),
            "cds_config": _source(folder, "cds.json"),
        },
    }


def render_clusters(clusters: Iterable[Cluster], folder: str) -> Json:
    """Return the CDS document; endpoints are read from `folder/eds`."""
    return _document(_render_cluster(cluster, folder) for cluster in clusters)


def render_endpoints(cluster: Cluster) -> Json:
    """Return the EDS document of one cluster."""
    return _document(
        [
            {
                "@type": _ASSIGNMENT,
                "cluster_name": cluster.name,
                "endpoints": [
                    {
                        "locality": {"region": f"backend/{position}"},
                        "load_balancing_weight": pool.weight,
                        "lb_endpoints": [
                            {"endpoint": {"address": _address(end.address, end.port)}}
                            for end in pool.endpoints
                        ],
                    }
                    for position, pool in enumerate(cluster.pools)
                    if pool.endpoints and pool.weight
                ],
            }
        ]
    )


def render_listeners(listeners: Iterable[Listener], folder: str) -> Json:
    """Return the LDS document; routes are read from `folder/rds`."""
    return _document(_render_listener(listener, folder) for listener in listeners)


def render_routes(listener: Listener) -> Json:
    """Return the RDS document of one listener."""
    return _document(
        [
            {
                "@type": _ROUTES,
                "name": listener.name,
                "virtual_hosts": [_render_host(host) for host in listener.hosts],
            }
        ]
    )


def file_name(resource: str) -> str:
    """Return the file name of a cluster's endpoints or a listener's routes."""
    return resource.replace("/", "~") + ".json"


def _document(resources: Iterable[Json]) -> Json:
    return {"resources": list(resources)}


def _source(folder: str, name: str) -> Json:
    return {"resource_api_version": "V3", "path_config_source": {"path": f"{folder}/{name}"}}


def _address(address: str, port: int) -> Json:
    return {"socket_address": {"address": address, "port_value": port}}


def _render_cluster(cluster: Cluster, folder: str) -> Json:
    limits = dict.fromkeys(
        ("max_connections", "max_pending_requests", "max_requests", "max_retries"), _UNLIMITED
    )
    return {
        "@type": _CLUSTER,
        "name": cluster.name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": _source(folder, f"eds/{file_name(cluster.name)}")},
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "common_lb_config": {"locality_weighted_lb_config": {}},
        "ignore_health_on_host_removal": True,
        # One set of counters for each pod, so that what differs between pods can be told.
        "track_cluster_stats": {"per_endpoint_stats": True},
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP_OPTIONS,
                "common_http_protocol_options": {"idle_timeout": _UPSTREAM_IDLE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _render_listener(listener: Listener, folder: str) -> Json:
    manager: Json = {
        "@type": _MANAGER,
        "stat_prefix": listener.name,
        "rds": {
            "route_config_name": listener.name,
            "config_source": _source(folder, f"rds/{file_name(listener.name)}"),
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
        "use_remote_address": True,
        "normalize_path": True,
        "request_timeout": "0s",
        "stream_idle_timeout": "300s",
        "common_http_protocol_options": {"idle_timeout": "3600s"},
    }
    if not listener.as_proxy:
        manager["strip_any_host_port"] = True
    return {
        "@type": _LISTENER,
        "name": listener.name,
        "address": _address("127.0.0.1", listener.port),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }


def _render_host(host: VirtualHost) -> Json:
    return {
        "name": host.name,
        "domains": list(host.domains),
        "routes": [_render_route(route) for route in host.routes],
    }


def _render_route(route: Route) -> Json:
    shares = [target for target in route.targets if target.weight]
    rendered: Json = {
        "name": route.name,
        "match": _render_match(route.match),
        **_render_edits("request", route.request),
        **_render_edits("response", route.response),
    }
    if not shares:
        rendered["direct_response"] = {"status": 500}
        return rendered
    action: Json = {
        "weighted_clusters": {"clusters": [_render_share(share) for share in shares]},
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
    }
    if route.mirrors:
        action["request_mirror_policies"] = [_render_mirror(mirror) for mirror in route.mirrors]
    if route.timeout is not None:
        action["timeout"] = f"{route.timeout.total_seconds():.3f}s"
    rendered["route"] = action
    return rendered


def _render_share(target: Target) -> Json:
    return {
        "name": target.cluster,
        "weight": target.weight,
        **_render_edits("request", target.request),
        **_render_edits("response", target.response),
    }


def _render_mirror(mirror: Mirror) -> Json:
    size = {100: "HUNDRED", 10_000: "TEN_THOUSAND", 1_000_000: "MILLION"}[mirror.denominator]
    share = {"numerator": mirror.numerator, "denominator": size}
    return {"cluster": mirror.cluster, "runtime_fraction": {"default_value": share}}


def _render_edits(side: str, edits: HeaderEdits) -> Json:
    adds = [_addition(name, value, "OVERWRITE_IF_EXISTS_OR_ADD") for name, value in edits.set]
    adds += [_addition(name, value, "APPEND_IF_EXISTS_OR_ADD") for name, value in edits.add]
    rendered: Json = {}
    if adds:
        rendered[f"{side}_headers_to_add"] = adds
    if edits.remove:
        rendered[f"{side}_headers_to_remove"] = list(edits.remove)
    return rendered


def _addition(name: str, value: str, action: str) -> Json:
    # A percent sign would begin one of Envoy's own variables.
    return {"header": {"key": name, "value": value.replace("%", "%%")}, "append_action": action}


def _render_match(match: Match) -> Json:
    headers = [{"name": ":method", **_string_match(match.method, Comparison.EXACT)}]
    headers = headers if match.method else []
    headers += [{"name": name, **_string_match(v, how)} for name, v, how in match.headers]
    query = [{"name": name, **_string_match(v, how)} for name, v, how in match.query]
    rendered = _path_match(match)
    if headers:
        rendered["headers"] = headers
    if query:
        rendered["query_parameters"] = query
    return rendered


def _path_match(match: Match) -> Json:
    match match.comparison:
        case Comparison.EXACT:
            return {"path": match.path}
        case Comparison.REGEX:
            return {"safe_regex": {"regex": match.path}}
        case Comparison.PREFIX:
            stem = match.path.rstrip("/")
            return {"path_separated_prefix": stem} if stem else {"prefix": "/"}


def _string_match(value: str, how: Comparison) -> Json:
    if how is Comparison.REGEX:
        return {"string_match": {"safe_regex": {"regex": value}}}
    return {"string_match": {"exact": value}}


def cluster_names(listeners: Sequence[Listener]) -> set[str]:
    """Return the names of all clusters that some route may send to."""
    routes = [route for listener in listeners for host in listener.hosts for route in host.routes]
    targets = {target.cluster for route in routes for target in route.targets if target.weight}
    mirrors = {mirror.cluster for route in routes for mirror in route.mirrors}
    return (targets | mirrors) - {UNRESOLVED}
