"""A real API server takes what the chart renders, and would refuse one wrong field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.chart.conftest import RESTRICTED
from tests.chart.rendering import containers, objects, of_kind, template
from tests.chart.test_rendering import ALL_PARTS, DIGEST

from sandbox.controlplane import KubectlError

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

STRICT = ("apply", "--dry-run=server", "--validate=strict", "-f", "-")
"""The server checks each object against its own schema, and an unknown field is an error."""

MATRIX: dict[str, dict[str, Any]] = {
    "defaults": {},
    "every part": ALL_PARTS,
    "some namespaces": {"namespaces": ["models", "team-a"], "gatewayNamespaces": ["gateways"]},
    "some namespaces, every part": {
        **ALL_PARTS,
        "namespaces": ["models"],
        "writeback": {"enabled": False},
    },
    "no CRDs": {"crds": {"enabled": False}},
    "a mirrored image": {
        "image": {
            "repository": "mirror.example/headgate",
            "digest": DIGEST,
            "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "mirror"}],
    },
    "credentials": {
        "prometheus": {
            "url": "https://prometheus.example/prefix",
            "secret": {
                "name": "prometheus",
                "userKey": "user",
                "passwordKey": "password",
                "caKey": "ca.crt",
                "certKey": "tls.crt",
                "keyKey": "tls.key",
                "headerKey": "headers",
            },
        }
    },
    "placement": {
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"pool": "infra"},
        "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
                    ]
                }
            }
        },
        "podLabels": {"team": "ml"},
        "podAnnotations": {"a": "b"},
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    },
    "a network policy with peers": {
        "networkPolicy": {
            "enabled": True,
            "metrics": {"from": [{"namespaceSelector": {}}]},
            "apiServer": {"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [6443]},
            "extraEgress": [{"ports": [{"port": 443}]}],
        }
    },
    "OpenShift": {"ownerReferencesPermissionEnforcement": True},
    "workload identity": {"serviceAccount": {"name": "gate", "annotations": {"cloud/role": "x"}}},
}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_server_takes_every_object_strictly(bare: ApiServer, values: dict[str, Any]) -> None:
    """`helm template | kubectl apply --dry-run=server --validate=strict` takes all of it."""
    rendered = template(
        values, "--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
    )
    said = bare.kubectl(*STRICT, stdin=rendered).splitlines()

    assert len(said) == len(objects(rendered))
    assert all(line.endswith("(server dry run)") for line in said)


def test_an_unknown_field_would_be_refused(bare: ApiServer) -> None:
    """The check above can fail: a field that no schema knows, of any kind, is an error."""
    rendered = template(ALL_PARTS)
    places = {
        "Deployment": ("spec", "replica"),
        "NetworkPolicy": ("spec", "egres"),
        "ServiceMonitor": ("spec", "endpoint"),
        "PrometheusRule": ("spec", "group"),
        "ValidatingAdmissionPolicy": ("spec", "failPolicy"),
        "CustomResourceDefinition": ("spec", "grp"),
    }
    for kind, (part, field) in places.items():
        manifest = of_kind(rendered, kind)[0]
        manifest[part][field] = 1
        with pytest.raises(KubectlError, match=rf'unknown field "{part}\.{field}"'):
            bare.kubectl(*STRICT, stdin=json.dumps(manifest))


def test_every_pod_is_admitted_under_the_restricted_standard(bare: ApiServer) -> None:
    """In a namespace that enforces `restricted` each part's pod passes; a careless one does not."""
    rendered = template(ALL_PARTS, namespace=RESTRICTED)
    accounts = yaml.safe_dump_all(of_kind(rendered, "ServiceAccount"))
    bare.control_plane.apply("-f", "-", stdin=accounts)
    deployments = of_kind(rendered, "Deployment")
    assert len(deployments) > 1
    for deployment in deployments:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "probe", "namespace": RESTRICTED},
            "spec": deployment["spec"]["template"]["spec"],
        }
        dry_run = ("create", "--dry-run=server", "-f", "-")
        assert "created" in bare.kubectl(*dry_run, stdin=json.dumps(pod))
        del pod["spec"]["containers"][0]["securityContext"]
        with pytest.raises(KubectlError, match="violates PodSecurity"):
            bare.kubectl(*dry_run, stdin=json.dumps(pod))
    bare.kubectl("delete", "-f", "-", stdin=accounts)


def test_every_pod_is_read_only_and_knows_its_size() -> None:
    """Nothing is written but /tmp, and memory is requested and limited."""
    sizes = {}
    for name, container in containers(template(ALL_PARTS)).items():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        resources = container["resources"]
        sizes[name] = (resources["requests"]["memory"], resources["limits"]["memory"])

    assert sizes == {
        "operator": ("128Mi", "256Mi"),
        "collector": ("128Mi", "384Mi"),
        "writeback": ("96Mi", "256Mi"),
    }
