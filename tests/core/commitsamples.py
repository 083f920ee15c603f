"""Objects of Argo CD and Flux as these write them, and the ModelDeployment that they applied."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FIRST, SECOND, HYDRATED = "1" * 40, "2" * 40, "a" * 40
REPOSITORY = "https://git.example.com/ml/models.git"
TRACKING_ID = "fraud:headgate.dev/ModelDeployment:models/fraud"
FLUX_LABELS = {
    "kustomize.toolkit.fluxcd.io/name": "models",
    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
}
HELM_LABELS = {
    "helm.toolkit.fluxcd.io/name": "fraud",
    "helm.toolkit.fluxcd.io/namespace": "models",
}


@cache
def _documents(name: str) -> list[dict[str, Any]]:
    text = (Path(__file__).parent / "samples" / f"{name}.yaml").read_text()
    return list(yaml.load_all(text, Loader=yaml.BaseLoader))


def sample(name: str, index: int = 0) -> dict[str, Any]:
    """A fresh copy of one object of a file in samples/; numbers and switches as JSON has them."""
    return _typed(copy.deepcopy(_documents(name)[index]))


def _typed(value: Any) -> Any:
    """Make `true` a bool; moments and revisions stay text, as in JSON."""
    match value:
        case dict():
            return {key: _typed(item) for key, item in value.items()}
        case list():
            return [_typed(item) for item in value]
    return {"true": True, "false": False}.get(value, value)


def changed(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return it with the value at a path such as `status.sync.status` replaced; None removes it."""
    whole = copy.deepcopy(manifest)
    *parents, last = path.split(".")
    place = whole
    for name in parents:
        place = place.setdefault(name, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return whole


def moment(time: str) -> datetime:
    """A time of 2026-01-05, such as `12:00:03`."""
    return datetime.fromisoformat(f"2026-01-05T{time}").replace(tzinfo=UTC)


def wrote(manager: str, time: str) -> dict[str, Any]:
    """The entry of managedFields of who wrote the spec at a time of 2026-01-05."""
    return {
        "manager": manager,
        "operation": "Update",
        "time": f"2026-01-05T{time}Z",
        "fieldsV1": {"f:spec": {"f:model": {}}},
    }


def owned(
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    *writers: dict[str, Any],
) -> dict[str, Any]:
    """The ModelDeployment models/fraud."""
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {
            "name": "fraud",
            "namespace": "models",
            "annotations": dict(annotations or {}),
            "labels": dict(labels or {}),
            "managedFields": list(writers),
        },
    }
