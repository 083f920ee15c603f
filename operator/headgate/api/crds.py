"""
Owns the CustomResourceDefinitions: renders them from the pydantic models.

A v1 CRD's schema is narrower than the JSON Schema that pydantic writes: no references, no
alternatives, no closed objects. What has no place in it is dropped where the API server says the
same in another way, and refused here where it does not. It must not know any single field.
"""

from collections.abc import Mapping
from typing import Any

from headgate import __version__

from .model_deployment import MODEL_DEPLOYMENT
from .model_revision import MODEL_REVISION
from .model_rollout import MODEL_ROLLOUT
from .release_policy import RELEASE_POLICY
from .schema import VALIDATIONS, rule
from .shape import GROUP, VERSION, Column, Kind

KINDS = (MODEL_DEPLOYMENT, MODEL_REVISION, MODEL_ROLLOUT, RELEASE_POLICY)

VERSION_ANNOTATION = "headgate.dev/version"
"""Which Headgate a CRD is of, so that an older chart cannot put an older one in its place."""

Schema = dict[str, Any]

# Dropped: names that only pydantic needs, empty maps of fields, and `additionalProperties: false`
# (the API server prunes and, when asked for strict fields, refuses what is not declared).
_DROPPED = frozenset({"title", "$defs", "properties", "additionalProperties"})
_KEPT = frozenset(
    {
        "type",
        "format",
        "description",
        "default",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "required",
        VALIDATIONS,
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-preserve-unknown-fields",
    }
)


def render(kind: Kind) -> dict[str, Any]:
    """
    Render the CustomResourceDefinition of a kind.

    Raises:
        ValueError: A model uses something that a CRD cannot say; names it.
    """
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "annotations": {VERSION_ANNOTATION: __version__},
        },
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["headgate"],
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "shortNames": [kind.short_name],
                "singular": kind.name.lower(),
            },
            "scope": kind.scope,
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": render_schema(kind)},
                    "subresources": {"status": {}},
                }
            ],
        },
    }


def _column(column: Column) -> dict[str, Any]:
    rendered = {"jsonPath": column.path, "name": column.name, "type": column.type}
    return {**rendered, "priority": column.priority} if column.priority else rendered


def render_schema(kind: Kind) -> Schema:
    """
    Render the structural schema of a kind.

    Fields of `status` have no defaults, as the operator writes all that it knows; `status` itself
    has one, so that nobody takes an object for healthy that the operator has not seen yet.

    Raises:
        ValueError: A model uses something that a CRD cannot say; names it.
    """
    source = kind.shape.model_json_schema(by_alias=True)
    schema = _structural(source, source["$defs"], kind.name)
    schema["properties"].update(_built_in(kind))
    status = _without_defaults(schema["properties"]["status"])
    schema["properties"]["status"] = {**status, "default": {"observedGeneration": -1}}
    schema["required"] = ["spec"]
    if kind.rules:
        schema[VALIDATIONS] = [rule(expression, message) for expression, message in kind.rules]
    return schema


def _built_in(kind: Kind) -> Schema:
    """Render what the API server itself checks in every object."""
    return {
        "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
        "kind": {"type": "string", "description": kind.name},
        "metadata": {"type": "object"},
    }


def _structural(node: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    """Turn one node of pydantic's schema, and all below it, into a structural one."""
    node = _inlined(node, definitions)
    rendered: Schema = {}
    for key, value in node.items():
        if key in _KEPT:
            rendered[key] = value
        elif key == "properties" and value:
            rendered[key] = {
                name: _structural(child, definitions, f"{path}.{name}")
                for name, child in value.items()
            }
        elif key == "items" or (key == "additionalProperties" and value is not False):
            rendered[key] = _structural(value, definitions, f"{path}[]")
        elif key == "const":
            rendered["enum"] = [value]
        elif key not in _DROPPED:
            raise ValueError(f"{path}: a CRD cannot say {key}: {value!r}")
    return _with_plain_words(rendered)


def _inlined(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Put definitions in the place of references, and drop null from alternatives."""
    if "anyOf" in node:
        options = [option for option in node["anyOf"] if option != {"type": "null"}]
        if len(options) == 1:
            rest = {key: value for key, value in node.items() if key != "anyOf"}
            if rest.get("default", ...) is None:
                del rest["default"]
            return _inlined({**options[0], **rest}, definitions)
    if "$ref" in node:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        rules = [*target.get(VALIDATIONS, ()), *rest.get(VALIDATIONS, ())]
        merged = {**target, **rest, **({VALIDATIONS: rules} if rules else {})}
        return _inlined(merged, definitions)
    return node


def _with_plain_words(schema: Schema) -> Schema:
    """Join a description's lines, and let an object's default come from its fields'."""
    if "description" in schema:
        paragraphs = schema["description"].split("\n\n")
        schema["description"] = "\n\n".join(" ".join(text.split()) for text in paragraphs)
    if isinstance(schema.get("default"), dict):
        schema["default"] = {}
    return schema


def _without_defaults(schema: Schema) -> Schema:
    """Return the schema with no default in it or below it."""
    rendered = {key: value for key, value in schema.items() if key != "default"}
    if "properties" in rendered:
        rendered["properties"] = {
            name: _without_defaults(child) for name, child in rendered["properties"].items()
        }
    if "items" in rendered:
        rendered["items"] = _without_defaults(rendered["items"])
    return rendered
