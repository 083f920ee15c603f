"""A real API server that knows the kinds of others, and none of ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest
from tests.apiserver import ApiServer, running
from tests.runtime.cluster import FOREIGN, definition

from sandbox.builds import PROMETHEUS_OPERATOR_CRDS, build

GATEWAY = ("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
RESTRICTED = "restricted"
NAMESPACES = ("headgate-system", "models", "team-a", "gateways", "gitops", RESTRICTED)


@pytest.fixture(scope="package")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Give an API server with KServe's, Gateway API's and the Prometheus operator's kinds."""
    with running(tmp_path_factory.mktemp("bare")) as server:
        forget_kinds(server)
        for foreign in (*FOREIGN, GATEWAY):
            server.kubectl("create", "-f", "-", stdin=json.dumps(definition(*foreign)))
        monitoring = build(PROMETHEUS_OPERATOR_CRDS, lambda line: print(line, file=sys.stderr))
        for kind in ("servicemonitors", "prometheusrules"):
            file = monitoring / "crd" / f"monitoring.coreos.com_{kind}.yaml"
            server.control_plane.apply("-f", str(file))
        server.control_plane.wait_until_established()
        for namespace in NAMESPACES:
            server.kubectl("create", "namespace", namespace)
        enforced = "pod-security.kubernetes.io/enforce=restricted"
        server.kubectl("label", "namespace", RESTRICTED, enforced)
        yield server


def forget_kinds(server: ApiServer) -> None:
    """Delete our CRDs and wait until they are gone."""
    kinds = server.kubectl("get", "crd", "-o", "name").split()
    ours = [name for name in kinds if name.endswith(".headgate.dev")]
    if ours:
        server.kubectl("delete", *ours, "--wait=true", "--timeout=120s")
