"""
Owns what a pydantic model says to the CRD beyond its types: rules, list keys, verbatim fields.

Each class is put into an `Annotated[...]` and only adds words to the JSON schema that
`crds.py` turns into a CustomResourceDefinition. It must not know any kind.
"""

from dataclasses import dataclass, field

from pydantic import GetJsonSchemaHandler
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

VALIDATIONS = "x-kubernetes-validations"


def rule(expression: str, message: str) -> JsonDict:
    """
    Render one CEL rule; the API server puts the field's path before `message`.

    Args:
        expression: CEL, true for a good value; `self` is the field, `oldSelf` its old value.
        message: What was wanted, in one line.
    """
    return {"rule": expression, "message": message}


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule on one field."""

    expression: str
    message: str

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Append the rule to those the field already has."""
        schema = handler(core)
        return {
            **schema,
            VALIDATIONS: [*schema.get(VALIDATIONS, ()), rule(self.expression, self.message)],
        }


@dataclass(frozen=True, slots=True)
class ListMap:
    """A list whose items are told apart by the value of `key`, as server-side apply merges it."""

    key: str

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the list type and its key."""
        words = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}
        return {**handler(core), **words}


@dataclass(frozen=True, slots=True)
class ListSet:
    """A list of values that may each appear once."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the list type."""
        return {**handler(core), "x-kubernetes-list-type": "set"}


@dataclass(frozen=True, slots=True, eq=False)
class Verbatim:
    """An object of another API, kept as it was written: its fields are not ours to describe.

    CEL sees only what `declared` says of it; the rest is for `accept.py`.
    """

    declared: JsonDict = field(default_factory=dict)

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Replace the schema by an open object with the declared words."""
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True, **self.declared}
