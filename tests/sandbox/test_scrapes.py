"""Prometheus is told of pods as its own discovery would tell it."""

from __future__ import annotations

import json

from sandbox.endpoints import PORTS_ANNOTATION
from sandbox.kube import Json
from sandbox.scrapes import render_targets


def pod(name: str, phase: str = "Running", ports: dict[str, int] | None = None) -> Json:
    """Return a pod of the fraud model, with the local ports that the node agent has given it."""
    annotations = {"prometheus.kserve.io/port": "8080"}
    if ports is not None:
        annotations[PORTS_ANNOTATION] = json.dumps(ports)
    return {
        "metadata": {
            "namespace": "models",
            "name": name,
            "labels": {"headgate.dev/revision": "0f0f0f0f"},
            "annotations": annotations,
        },
        "status": {"phase": phase},
    }


def test_each_port_of_a_running_pod_is_a_target() -> None:
    """The address is this machine's; everything else is named as in a cluster."""
    targets = render_targets([pod("fraud", ports={"8080": 7001, "9081": 7002})])

    assert [target["targets"] for target in targets] == [["127.0.0.1:7001"], ["127.0.0.1:7002"]]
    labels = targets[0]["labels"]
    assert labels["__meta_kubernetes_namespace"] == "models"
    assert labels["__meta_kubernetes_pod_name"] == "fraud"
    assert labels["__meta_kubernetes_pod_container_port_number"] == "8080"
    assert labels["__meta_kubernetes_pod_label_headgate_dev_revision"] == "0f0f0f0f"
    assert labels["__meta_kubernetes_pod_annotation_prometheus_kserve_io_port"] == "8080"


def test_pods_that_do_not_run_are_no_targets() -> None:
    """A pod that waits, has ended, or has no ports yet cannot be scraped."""
    pods = [
        pod("a", "Pending", {"8080": 7001}),
        pod("b", "Succeeded", {"8080": 7002}),
        pod("c"),
    ]

    assert render_targets(pods) == []
