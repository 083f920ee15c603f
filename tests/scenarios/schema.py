"""What the real API server would refuse or prune of a status, told by the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headgate.api.model_deployment import ModelDeploymentStatus
from headgate.api.model_revision import ModelRevisionStatus
from headgate.api.model_rollout import ModelRolloutStatus

_MODELS = {
    "ModelDeployment": ModelDeploymentStatus,
    "ModelRevision": ModelRevisionStatus,
    "ModelRollout": ModelRolloutStatus,
}


def check_status(kind: str, status: Mapping[str, Any]) -> None:
    """Fail if the schema refuses this status or would drop a part of it."""
    read = _MODELS[kind].model_validate(status).manifest()
    lost = _missing(status, read, kind)
    assert not lost, f"the schema would drop {lost}"


def _missing(written: Any, read: Any, path: str) -> list[str]:
    if isinstance(written, Mapping):
        found = [] if isinstance(read, Mapping) else [path]
        for key, value in written.items():
            here = f"{path}.{key}"
            if not isinstance(read, Mapping) or key not in read:
                found.append(here)
            else:
                found += _missing(value, read[key], here)
        return found
    if isinstance(written, list):
        pairs = enumerate(zip(written, read, strict=True))
        return [m for i, (w, r) in pairs for m in _missing(w, r, f"{path}[{i}]")]
    return []
