"""The CRDs in `crds/` are those of the models, and say everything the API server can check."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from headgate.api import crds
from headgate.api.shape import Kind, Metadata, Shape
from headgate.cli.crds import add_arguments, render, run

FOLDER = Path(__file__).parents[2] / "crds"
CLIENT_SIDE_APPLY = 256 * 1024
"""Bytes that annotations may have in all: client-side apply copies the object into one."""

KINDS = [pytest.param(kind, id=kind.name) for kind in crds.KINDS]


def schema_nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every node of a schema with its path."""
    yield path or ".", schema
    for name, child in schema.get("properties", {}).items():
        yield from schema_nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from schema_nodes(schema[key], f"{path}[]")


def test_the_folder_holds_exactly_the_crds_of_the_models() -> None:
    """Neither the files nor the models can change without the other."""
    files = {
        path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in FOLDER.glob("*.yaml")
    }
    assert files == {f"{kind.plural}.yaml": crds.render(kind) for kind in crds.KINDS}


def test_the_verb_prints_all_of_them() -> None:
    """`headgate crds` gives what the repository holds."""
    printed = list(yaml.safe_load_all(render()))
    assert printed == [crds.render(kind) for kind in crds.KINDS]


def test_the_files_are_what_the_verb_writes_byte_for_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regenerating by `headgate crds --directory crds` makes no noise in a diff."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(["--directory", str(tmp_path)])) == 0
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in FOLDER.glob("*.yaml")}
    assert capsys.readouterr().out == ""
    assert run(parser.parse_args([])) == 0
    assert capsys.readouterr().out == render()


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_explained(kind: Kind) -> None:
    """`kubectl explain` has words for each field, in one paragraph."""
    silent = [
        path
        for path, node in schema_nodes(crds.render_schema(kind))
        if not path.endswith("[]") and path != ".metadata" and len(node["description"]) < 5
    ]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_bounded(kind: Kind) -> None:
    """No text, list or map can grow without end; CEL's cost estimate needs that too."""
    bound = {"string": "maxLength", "array": "maxItems"}
    unbounded = [
        path
        for path, node in schema_nodes(crds.render_schema(kind))
        if path not in (".apiVersion", ".kind")
        and (
            (node["type"] in bound and "enum" not in node and bound[node["type"]] not in node)
            or ("additionalProperties" in node and "maxProperties" not in node)
        )
    ]
    assert unbounded == []


@pytest.mark.parametrize("kind", KINDS)
def test_only_words_of_a_structural_schema_are_used(kind: Kind) -> None:
    """What the API server would refuse or ignore never gets into a CRD."""
    words = {word for _, node in schema_nodes(crds.render_schema(kind)) for word in node}
    forbidden = {"$ref", "anyOf", "allOf", "const", "title", "exclusiveMinimum", "uniqueItems"}
    assert words & forbidden == set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_list_says_how_it_merges(kind: Kind) -> None:
    """Server-side apply merges lists of named things by their name."""
    named = [
        path
        for path, node in schema_nodes(crds.render_schema(kind))
        if node["type"] == "array"
        and "name" in node["items"].get("properties", {})
        and node.get("x-kubernetes-list-map-keys") != ["name"]
    ]
    assert named == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_crd_fits_into_an_annotation(kind: Kind) -> None:
    """Client-side `kubectl apply -f crds/` works."""
    assert (FOLDER / f"{kind.plural}.yaml").stat().st_size < CLIENT_SIDE_APPLY


def test_status_has_no_defaults_but_its_own() -> None:
    """The operator says what it knows; the server adds nothing to it."""
    for kind in crds.KINDS:
        status = crds.render_schema(kind)["properties"]["status"]
        defaults = {path: n["default"] for path, n in schema_nodes(status) if "default" in n}
        assert defaults == {".": {"observedGeneration": -1}}


def test_defaults_of_nested_objects_are_filled_in_from_their_fields() -> None:
    """An absent `rollout` becomes `{}`, which the server then fills field by field."""
    spec = crds.render_schema(crds.MODEL_DEPLOYMENT)["properties"]["spec"]["properties"]
    assert spec["rollout"]["default"] == {}
    assert spec["rollout"]["properties"]["bake"]["default"] == "1h"


def test_what_a_crd_cannot_say_fails_the_build() -> None:
    """A model with a real alternative is refused with its path, never silently weakened."""

    class Either(Shape):
        """An object with a field of two types."""

        value: Annotated[int | str, Field(description="A number or a text.")]

    class Whole(Shape):
        """An object of the API."""

        metadata: Metadata
        spec: Either
        status: Either

    kind = Kind(name="Whole", plural="wholes", short_name="w", shape=Whole, columns=())
    with pytest.raises(ValueError, match=r"^Whole\.spec\.value: a CRD cannot say anyOf"):
        crds.render_schema(kind)
