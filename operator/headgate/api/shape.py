"""
Owns what all objects of the API share: how they are read and written, and their metadata.

It must not know any kind.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic.alias_generators import to_camel

from .quantities import Moment

GROUP = "headgate.dev"
VERSION = "v1alpha1"


class Shape(BaseModel):
    """
    Part of an object that a person writes: frozen, and a field we do not know is an error.

    Attributes are snake_case here and camelCase in manifests.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        alias_generator=to_camel,
        use_attribute_docstrings=True,
    )

    def manifest(self) -> dict[str, Any]:
        """Render as JSON values with camelCase keys; a field that is None is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Report(Shape):
    """
    Part of an object that the operator writes.

    A field we do not know is ignored, so that an operator which was rolled back can read what a
    newer one reported.
    """

    model_config = ConfigDict(extra="ignore")


class Sparse(Shape):
    """A part of which nothing empty is written: server-side apply counts `{}` as a change."""

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value}


class OwnerReference(Report):
    """The object that this one belongs to."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class Metadata(Sparse, Report):
    """What we read of Kubernetes' own metadata; the API server checks it, so it is not typed."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Moment | None = None
    deletion_timestamp: Moment | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; priority 1 is shown by `-o wide` only."""

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """How one kind is called and shown by the API server."""

    name: str
    plural: str
    short_name: str
    shape: type[Shape]
    columns: tuple[Column, ...]
    rules: tuple[tuple[str, str], ...] = ()
    """CEL rules on the whole object, each with its message."""
    scope: Literal["Namespaced", "Cluster"] = "Namespaced"
    """Whether its objects are in namespaces."""
