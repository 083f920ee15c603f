"""
What Flux, `kubectl` and Argo CD's like make of a status: the rules of kstatus, as far as they
concern a custom kind.

Source: `pkg/kstatus/status` of cli-utils (Flux's copy 1.2, whose controllers run in `e2e-flux`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple


class Verdict(StrEnum):
    """In kstatus's own words: in progress, failed, as it should be, being deleted."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"


class Computed(NamedTuple):
    """A verdict and the message that a person reads with it."""

    verdict: Verdict
    message: str


def compute(manifest: Mapping[str, Any]) -> Computed:
    """Return what kstatus computes; what it knows nothing of is Current."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Computed(Verdict.TERMINATING, "Resource scheduled for deletion")
    generation, observed = metadata.get("generation"), status.get("observedGeneration")
    if None not in (generation, observed) and generation != observed:
        lag = f"generation is {generation}, but latest observed generation is {observed}"
        return Computed(Verdict.IN_PROGRESS, f"{manifest['kind']} {lag}")
    conditions = status.get("conditions", ())
    return _standard(conditions) or _ready(conditions)


def _standard(conditions: Sequence[Mapping[str, Any]]) -> Computed | None:
    """The first that is True decides, in the order in which they are listed."""
    verdicts = {"Reconciling": Verdict.IN_PROGRESS, "Stalled": Verdict.FAILED}
    for condition in conditions:
        if condition["type"] in verdicts and condition["status"] == "True":
            return Computed(verdicts[condition["type"]], condition["message"])
    return None


def _ready(conditions: Sequence[Mapping[str, Any]]) -> Computed:
    ready = next((c for c in conditions if c["type"] == "Ready"), None)
    if ready is None:
        return Computed(Verdict.CURRENT, "Resource is current")
    if ready["status"] == "True":
        return Computed(Verdict.CURRENT, "Resource is Ready")
    return Computed(Verdict.IN_PROGRESS, ready["message"])
