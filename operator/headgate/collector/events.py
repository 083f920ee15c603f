"""What one event of KServe's logger is about, from its address and its headers.

Owns the CloudEvents side: whose event it is, which half of a call, under which id. Must not know
bodies (`bodies.py`), profiles or HTTP servers. Source: CloudEvents 1.0, HTTP binding, binary mode;
KServe's agent, `pkg/logger`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import TypeAdapter, ValidationError

from headgate.api.names import DeploymentName, DnsLabel, RevisionHash
from headgate.core.revision import revision_name


class Result(StrEnum):
    """What became of one event; the label `result` of `headgate_collector_events_total`."""

    COUNTED = "counted"
    """Every value in it is in a bin."""
    DUPLICATE = "duplicate"
    """This half of this call was here before."""
    IGNORED = "ignored"
    """The profile says nothing about this half."""
    NO_PROFILE = "no-profile"
    """No profile of the revision is known, or not yet."""
    SERIES_LIMIT = "series-limit"
    """Its revision would need more series than may be kept."""
    SHED = "shed"
    """There was no room: it was answered and dropped unread."""
    OVERSIZED = "oversized"
    """Its body is longer, or says more values, than may be read."""
    INTERRUPTED = "interrupted"
    """Its body did not arrive whole, or not in time."""
    REFUSED = "refused"
    """Its path or its headers are not those of an event of KServe's logger."""
    MISMATCH = "mismatch"
    """Path and headers name different models."""
    MALFORMED = "malformed"
    """Its body is in no protocol that is understood."""
    SHAPE = "shape"
    """Its body is understood, and has other columns than the profile."""
    FAILED = "failed"
    """A fault of ours; the log has the place of it."""


class Unusable(Exception):
    """
    An event that cannot be counted, and why.

    Args:
        result: What it is counted as.
        wanted: What would have been usable, in our own words: never a part of the event.
    """

    def __init__(self, result: Result, wanted: str) -> None:
        super().__init__(f"wanted {wanted}")
        self.result = result


class Half(StrEnum):
    """Which half of a call an event tells; they come one by one, and either may never come."""

    REQUEST = "request"
    RESPONSE = "response"


TYPES: Final[Mapping[str, Half]] = {
    "org.kubeflow.serving.inference.request": Half.REQUEST,
    "org.kubeflow.serving.inference.response": Half.RESPONSE,
}
"""`ce-type` as KServe's agent writes it, still with Kubeflow's name."""

STRUCTURED: Final = "application/cloudevents"
"""Content types that begin like this carry the whole event in the body."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """The revision that an event is about, as its URL names it."""

    namespace: str
    deployment: str
    hash: str

    @property
    def revision(self) -> str:
        """Name of the ModelRevision and of its InferenceService."""
        return revision_name(self.deployment, self.hash)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.revision}"


_NAMES: Final = TypeAdapter(tuple[DnsLabel, DeploymentName, RevisionHash])


def parse_address(namespace: str, deployment: str, hash: str) -> Address:
    """Read the three names of a path; raises Unusable unless each could name what it should."""
    try:
        return Address(*_NAMES.validate_python((namespace, deployment, hash)))
    except ValidationError:
        wanted = "/v1/NAMESPACE/DEPLOYMENT/HASH, as in /v1/models/fraud/9c1d44e0"
        raise Unusable(Result.REFUSED, wanted) from None


@dataclass(frozen=True, slots=True)
class Head:
    """Which half of which call: all that is wanted of an event's headers."""

    half: Half
    id: str


@dataclass(frozen=True, slots=True, repr=False)
class Event:
    """One event that waits to be counted; its repr is silent, as the body is nobody's business."""

    address: Address
    head: Head
    body: bytes


def parse_head(address: Address, headers: Mapping[str, str]) -> Head:
    """
    Read the headers of one event.

    Args:
        address: What the path said.
        headers: Their names in lower case.

    Raises:
        Unusable: REFUSED for what is no event of the logger in binary mode; MISMATCH if the
            headers name another namespace or InferenceService than the path. Both are optional,
            as an older agent sends neither.
    """
    if headers.get("content-type", "").strip().lower().startswith(STRUCTURED):
        raise Unusable(Result.REFUSED, "CloudEvents in binary mode, with ce- headers")
    if headers.get("ce-specversion") != "1.0":
        raise Unusable(Result.REFUSED, "a ce-specversion of 1.0")
    half, id = TYPES.get(headers.get("ce-type", "")), headers.get("ce-id")
    if half is None:
        raise Unusable(Result.REFUSED, f"a ce-type of {' or '.join(TYPES)}")
    if not id:
        raise Unusable(Result.REFUSED, "a ce-id")
    if headers.get("ce-namespace", address.namespace) != address.namespace:
        raise Unusable(Result.MISMATCH, "a ce-namespace like the path's")
    if headers.get("ce-inferenceservicename", address.revision) != address.revision:
        raise Unusable(Result.MISMATCH, "a ce-inferenceservicename like the path's revision")
    return Head(half, id)
