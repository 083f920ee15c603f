"""What HTTPRoutes mean, case by case, without an Envoy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sandbox.endpoints import Endpoint, read_services
from sandbox.httproutes import CONTROLLER, Port, Translation, translate
from sandbox.kubewatch import Key
from sandbox.routerules import Objects, read_duration
from sandbox.xds import UNRESOLVED, Cluster, Route, VirtualHost

Json = dict[str, Any]

PUBLIC = Key("gateways", "public")
EDIT = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": []}}]


def service(name: str, port: int = 80, namespace: str = "models") -> tuple[Key, Json]:
    ports = [{"name": "http", "port": port, "targetPort": 8080}]
    return Key(namespace, name), {"spec": {"ports": ports, "clusterIP": "10.96.0.9"}}


def slice_of(name: str, *ips: str, ready: bool = True) -> Json:
    return {
        "metadata": {"namespace": "models", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": ready}} for ip in ips],
    }


def pod(ip: str, local: int, phase: str = "Running") -> Json:
    written = {"sandbox.headgate.dev/ports": f'{{"8080": {local}}}'}
    return {"metadata": {"annotations": written}, "status": {"podIP": ip, "phase": phase}}


def gateway(**allowed: Any) -> Json:
    listener = {
        "name": "http",
        "port": 80,
        "protocol": "HTTP",
        "allowedRoutes": {"namespaces": allowed or {"from": "All"}},
    }
    return {"spec": {"gatewayClassName": "envoy", "listeners": [listener]}}


def route(*rules: Json, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Json:
    meta = {"namespace": "models", "name": "fraud", "creationTimestamp": created}
    parents = [{"name": "public", "namespace": "gateways"}]
    return {"metadata": meta, "spec": {"parentRefs": parents, "rules": list(rules), **spec}}


def backend(name: str, weight: int = 1, **more: Any) -> Json:
    return {"name": name, "port": 80, "weight": weight, **more}


def translated(
    *routes: Json, of: Json | None = None, grants: dict[Key, Json] | None = None
) -> Translation:
    """Translate routes in a cluster with Services a and b (one pod each) and idle (none)."""
    services = dict([service("a"), service("b"), service("idle"), service("far", 80, "other")])
    objects = Objects(
        classes={Key("", "envoy"): {"spec": {"controllerName": CONTROLLER}}},
        gateways={PUBLIC: of or gateway()},
        routes={Key("models", f"{i}"): item for i, item in enumerate(_named(routes))},
        grants=grants or {},
        namespaces={Key("", "models"): {"metadata": {"labels": {"team": "risk"}}}},
        services=read_services(
            services,
            [slice_of("a", "10.244.0.3"), slice_of("b", "10.244.0.4")],
            [pod("10.244.0.3", 32001), pod("10.244.0.4", 32002)],
        ),
    )
    return translate(objects, lambda _: 8080, 8081)


def _named(routes: tuple[Json, ...]) -> list[Json]:
    return [
        {**item, "metadata": {**item["metadata"], "name": f"{i}"}} for i, item in enumerate(routes)
    ]


def hosts(translation: Translation) -> dict[str, VirtualHost]:
    public = translation.config.listeners[0]
    assert public.name == "gateways/public/80"
    return {host.name: host for host in public.hosts}


def only_route(translation: Translation) -> Route:
    (host,) = hosts(translation).values()
    (found,) = host.routes
    return found


def clusters(translation: Translation) -> dict[str, Cluster]:
    found = {cluster.name: cluster for cluster in translation.config.clusters}
    return {name: item for name, item in found.items() if name.startswith("httproute/")}


def conditions(translation: Translation) -> dict[str, tuple[bool, str, str]]:
    (parent,) = translation.routes[Key("models", "0")]
    return {c.type: (c.status, c.reason, c.message) for c in parent.conditions}


def test_backends_with_filters_get_clusters_of_their_own() -> None:
    """Per-backend filters give one cluster per backend, named by list position."""
    rule = {"backendRefs": [backend("a", 95, filters=EDIT), backend("b", 5, filters=EDIT)]}
    found = translated(route(rule))
    shares = [(t.cluster, t.weight) for t in only_route(found).targets if t.weight]
    assert shares == [
        ("httproute/models/0/rule/0/backend/0", 95),
        ("httproute/models/0/rule/0/backend/1", 5),
    ]
    ends = {name: c.pools[0].endpoints for name, c in clusters(found).items()}
    assert ends == {
        "httproute/models/0/rule/0/backend/0": (Endpoint("127.0.0.1", 32001),),
        "httproute/models/0/rule/0/backend/1": (Endpoint("127.0.0.1", 32002),),
    }


def test_backends_without_filters_share_one_cluster() -> None:
    """Without per-backend filters the weights live inside one cluster, as in Envoy Gateway."""
    found = translated(route({"backendRefs": [backend("a", 95), backend("b", 5)]}))
    assert [t.cluster for t in only_route(found).targets if t.weight] == [
        "httproute/models/0/rule/0"
    ]
    (cluster,) = clusters(found).values()
    assert [pool.weight for pool in cluster.pools] == [95, 5]


def test_weight_zero_has_no_cluster_and_keeps_the_others_names() -> None:
    """A backend of weight 0 gets nothing, and the one after it keeps its position."""
    rule = {"backendRefs": [backend("a", 0, filters=EDIT), backend("b", 1, filters=EDIT)]}
    assert set(clusters(translated(route(rule)))) == {"httproute/models/0/rule/0/backend/1"}


@pytest.mark.parametrize(
    ("ref", "reason", "message"),
    [
        pytest.param(
            backend("lost", 1),
            "BackendNotFound",
            "rule 0 backendRef 1: Service models/lost not found",
            id="a Service that does not exist",
        ),
        pytest.param(
            {**backend("b"), "port": 81},
            "BackendNotFound",
            "rule 0 backendRef 1: Service models/b has no port 81",
            id="a port that the Service does not have",
        ),
        pytest.param(
            {**backend("b"), "kind": "Bucket"},
            "InvalidKind",
            "rule 0 backendRef 1: kind Bucket is not a Service",
            id="something that is no Service",
        ),
        pytest.param(
            backend("far", namespace="other"),
            "RefNotPermitted",
            "rule 0 backendRef 1: no ReferenceGrant allows Service other/far",
            id="a Service of another namespace without a grant",
        ),
    ],
)
def test_an_unresolved_backend_keeps_its_share_and_is_named(
    ref: Json, reason: str, message: str
) -> None:
    """A reference that leads nowhere is reported, and its share goes to the cluster of the 500."""
    found = translated(route({"backendRefs": [backend("a", 1), ref]}))
    assert conditions(found)["Accepted"][0] is True
    assert conditions(found)["ResolvedRefs"] == (False, reason, message)
    assert (UNRESOLVED, 1) in [(t.cluster, t.weight) for t in only_route(found).targets]


def test_a_grant_opens_another_namespace() -> None:
    """A ReferenceGrant in the Service's namespace makes the reference good."""
    grant = {
        "spec": {
            "from": [{"kind": "HTTPRoute", "namespace": "models"}],
            "to": [{"kind": "Service"}],
        }
    }
    rule = {"backendRefs": [backend("far", namespace="other")]}
    found = translated(route(rule), grants={Key("other", "g"): grant})
    assert conditions(found)["ResolvedRefs"][0] is True


def test_a_service_without_endpoints_is_resolved() -> None:
    """No ready pod is no configuration mistake: the cluster is there and empty."""
    found = translated(route({"backendRefs": [backend("idle")]}))
    assert conditions(found)["ResolvedRefs"] == (True, "ResolvedRefs", "Resolved all references")
    (cluster,) = clusters(found).values()
    assert cluster.pools[0].endpoints == ()


@pytest.mark.parametrize(
    ("listener", "spec", "reason"),
    [
        pytest.param(
            {"from": "Same"}, {}, "NotAllowedByListeners", id="only the Gateway's own namespace"
        ),
        pytest.param(
            {"from": "Selector", "selector": {"matchLabels": {"team": "ads"}}},
            {},
            "NotAllowedByListeners",
            id="only namespaces with another label",
        ),
        pytest.param(
            {"from": "Selector", "selector": {"matchLabels": {"team": "risk"}}},
            {},
            "Accepted",
            id="namespaces with this label",
        ),
        pytest.param(
            {"from": "All"},
            {"parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "x"}]},
            "NoMatchingParent",
            id="a listener that does not exist",
        ),
    ],
)
def test_a_listener_chooses_its_routes(listener: Json, spec: Json, reason: str) -> None:
    """A route that no listener takes says why, and gets no traffic."""
    found = translated(route({"backendRefs": [backend("a")]}, **spec), of=gateway(**listener))
    assert conditions(found)["Accepted"][1] == reason
    assert bool(hosts(found)) == (reason == "Accepted")


def test_an_unsupported_filter_refuses_the_route() -> None:
    """A filter that would be ignored is refused by name instead."""
    rule = {"backendRefs": [backend("a")], "filters": [{"type": "URLRewrite", "urlRewrite": {}}]}
    accepted = conditions(translated(route(rule)))["Accepted"]
    assert accepted == (False, "UnsupportedValue", "filter URLRewrite is not supported there")


def test_the_more_specific_match_comes_first() -> None:
    """Exact before longest prefix, then method, then headers, then query; then the older route."""

    def at(path: str, kind: str = "PathPrefix", **more: Any) -> Json:
        return {"matches": [{"path": {"type": kind, "value": path}, **more}]}

    header = [{"name": "x", "value": "1"}]
    younger = route(at("/m"), at("/m", method="GET"), at("/"), created="2026-02-01T00:00:00Z")
    older = route(
        at("/m"),
        at("/m/long"),
        at("/m", "Exact"),
        at("/m", headers=header),
        at("/m/.*", "RegularExpression"),
    )
    (host,) = hosts(translated(younger, older)).values()
    assert [
        (r.name.split("/")[2], r.match.path, r.match.comparison.value) for r in host.routes
    ] == [
        ("1", "/m", "exact"),
        ("1", "/m/.*", "regex"),
        ("1", "/m/long", "prefix"),
        ("0", "/m", "prefix"),
        ("1", "/m", "prefix"),
        ("1", "/m", "prefix"),
        ("0", "/m", "prefix"),
        ("0", "/", "prefix"),
    ]
    assert [r.match.method for r in host.routes][3] == "GET"
    assert host.routes[4].match.headers != ()


def test_routes_of_one_host_name_are_merged() -> None:
    """Each host name is one virtual host, with the rules of all routes that name it."""
    one = route({"backendRefs": [backend("a")]}, hostnames=["x.example.com", "y.example.com"])
    two = route({"backendRefs": [backend("b")]}, hostnames=["x.example.com"])
    assert {name: len(host.routes) for name, host in hosts(translated(one, two)).items()} == {
        "x.example.com": 2,
        "y.example.com": 1,
    }


def test_mirrors_are_named_and_measured() -> None:
    """A mirror gets its own cluster and its share."""
    mirror = {"backendRef": {"name": "b", "port": 80}, "percent": 25}
    rule = {
        "backendRefs": [backend("a")],
        "filters": [{"type": "RequestMirror", "requestMirror": mirror}],
    }
    found = translated(route(rule))
    (entry,) = only_route(found).mirrors
    assert (entry.cluster, entry.numerator, entry.denominator) == (
        "httproute/models/0/rule/0-mirror-0",
        25,
        100,
    )
    assert entry.cluster in clusters(found)


@pytest.mark.parametrize(
    ("timeouts", "expected"),
    [
        pytest.param({}, None, id="none given: Envoy's own"),
        pytest.param({"request": "10s"}, timedelta(seconds=10), id="request"),
        pytest.param(
            {"request": "10s", "backendRequest": "250ms"},
            timedelta(milliseconds=250),
            id="the shorter one, as nothing is tried twice",
        ),
        pytest.param({"request": "0s"}, timedelta(), id="zero is no limit"),
        pytest.param(
            {"request": "0s", "backendRequest": "1m30s"},
            timedelta(seconds=90),
            id="no limit but for the backend",
        ),
    ],
)
def test_timeouts(timeouts: Json, expected: timedelta | None) -> None:
    """A rule's timeouts become one limit for the whole answer."""
    rule = {"backendRefs": [backend("a")], **({"timeouts": timeouts} if timeouts else {})}
    assert only_route(translated(route(rule))).timeout == expected


@pytest.mark.parametrize("text", ["", "10", "1.5s", "s", "-1s", "1s1h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Only GEP-2257 durations are read."""
    with pytest.raises(ValueError, match="is not a duration"):
        read_duration(text)


def test_every_service_is_reached_by_its_names() -> None:
    """The service listener knows every Service by DNS name and cluster IP, with its port."""
    services = translated().config.listeners[-1]
    host = next(host for host in services.hosts if host.name == "service/models/a/80")
    assert services.as_proxy
    assert "a.models.svc.cluster.local" in host.domains
    assert "a.models.svc.cluster.local:80" in host.domains
    assert "10.96.0.9:80" in host.domains


def test_a_finished_pod_lends_its_address_to_nobody() -> None:
    """The local ports of a pod that has ended are not used for a later pod of the same IP."""
    found = read_services(
        dict([service("a")]),
        [slice_of("a", "10.244.0.3")],
        [pod("10.244.0.3", 32001), pod("10.244.0.3", 32009, "Failed")],
    )
    assert found.endpoints(Key("models", "a"), 80) == (Endpoint("127.0.0.1", 32001),)


def test_endpoints_that_are_not_ready_are_left_out() -> None:
    """An endpoint that is terminating or not yet ready gets nothing."""
    found = read_services(dict([service("a")]), [slice_of("a", "10.244.0.3", ready=False)], [])
    assert found.endpoints(Key("models", "a"), 80) == ()


def test_ports_are_local_to_a_gateways_port() -> None:
    """Each Gateway port is asked for once by its own name."""
    asked: list[Port] = []

    def local(port: Port) -> int:
        asked.append(port)
        return 9000

    classes = {Key("", "envoy"): {"spec": {"controllerName": CONTROLLER}}}
    found = translate(Objects(classes=classes, gateways={PUBLIC: gateway()}), local, 8081)
    assert asked == [Port(PUBLIC, 80)]
    assert found.config.listeners[0].port == 9000
