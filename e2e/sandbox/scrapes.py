"""
Which ports of pods Prometheus may scrape, as a file for its file-based service discovery.

Owns the file's content. Labels are named as Prometheus' Kubernetes discovery names them, so that
its configuration is one that a cluster may have; only the addresses are this machine's. It must
not know what is scraped, or how often.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from sandbox.endpoints import PORTS_ANNOTATION
from sandbox.kube import Json

_NOT_IN_A_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def render_targets(pods: Iterable[Json]) -> list[Json]:
    """Return a target for each port of each running pod, with all that the pod says of itself."""
    targets = []
    for pod in sorted(pods, key=_name_of):
        annotations = pod["metadata"].get("annotations") or {}
        if pod.get("status", {}).get("phase") != "Running" or PORTS_ANNOTATION not in annotations:
            continue
        for number, port in json.loads(annotations[PORTS_ANNOTATION]).items():
            labels = {**_labels_of(pod), "__meta_kubernetes_pod_container_port_number": number}
            targets.append({"targets": [f"127.0.0.1:{port}"], "labels": labels})
    return targets


def _name_of(pod: Json) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _labels_of(pod: Json) -> dict[str, str]:
    meta = pod["metadata"]
    return {
        "__meta_kubernetes_namespace": meta["namespace"],
        "__meta_kubernetes_pod_name": meta["name"],
        **_prefixed("__meta_kubernetes_pod_label_", meta.get("labels")),
        **_prefixed("__meta_kubernetes_pod_annotation_", meta.get("annotations")),
    }


def _prefixed(prefix: str, entries: Mapping[str, str] | None) -> dict[str, str]:
    return {prefix + _NOT_IN_A_LABEL.sub("_", name): v for name, v in (entries or {}).items()}
