"""
Owns the shape of a condition, as Kubernetes defines it (meta/v1 Condition).

Which conditions exist and what they say is decided in `core/conditions.py`.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .names import Reason
from .quantities import Moment
from .schema import ListMap
from .shape import Report


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Report):
    """One aspect of the object's state."""

    type: Reason
    """What the condition is about, such as Ready or RolledOut."""
    status: ConditionStatus
    """True, False, or Unknown."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """metadata.generation of the spec this was found for."""
    last_transition_time: Moment
    """When status last changed."""
    reason: Reason
    """Why, in one word for machines; each is explained in the documentation."""
    message: Annotated[str, Field(max_length=4096)]
    """Why, in words for people."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=32), ListMap("type")]
"""All conditions, told apart by type; their order is kept, as kstatus takes the first True."""
