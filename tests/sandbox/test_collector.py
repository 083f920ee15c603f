"""The collector's process stands behind its Service, as its pods would."""

from __future__ import annotations

from sandbox.collector import NAME, render_service
from sandbox.endpoints import Endpoint, read_services
from sandbox.headgate import NAMESPACE
from sandbox.kube import Json
from sandbox.kubewatch import Key

OVERLAY: list[Json] = [
    {"kind": "Deployment", "metadata": {"name": "headgate", "namespace": NAMESPACE}},
    {"kind": "Service", "metadata": {"name": "headgate-metrics", "namespace": NAMESPACE}},
    {"kind": "ServiceAccount", "metadata": {"name": NAME, "namespace": NAMESPACE}},
    {"kind": "ClusterRole", "metadata": {"name": NAME}},
    {"kind": "Deployment", "metadata": {"name": NAME, "namespace": NAMESPACE}},
    {
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "selector": {"app.kubernetes.io/component": "collector"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    },
]


def test_only_the_collectors_own_manifests_are_applied_and_no_pod() -> None:
    """The operator has been applied by its own part; pods would be a second collector."""
    applied = render_service(OVERLAY, 17_001)

    kinds = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in applied]
    assert kinds == [
        ("ServiceAccount", NAME),
        ("ClusterRole", NAME),
        ("EndpointSlice", NAME),
        ("Service", NAME),
    ]


def test_its_service_leads_to_the_process() -> None:
    """The Service selects nothing, and its one endpoint is the port of this machine."""
    *_, found, service = render_service(OVERLAY, 17_001)

    services = read_services({Key(NAMESPACE, NAME): service}, [found], [])

    assert "selector" not in service["spec"]
    assert services.endpoints(Key(NAMESPACE, NAME), 80) == (Endpoint("127.0.0.1", 17_001),)
