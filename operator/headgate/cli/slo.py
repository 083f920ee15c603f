"""`headgate slo`: objectives from other formats, and into other formats.

Owns the two sub-verbs, their files and their exit codes. Must not know the formats.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from headgate.cli import exits
from headgate.cli.slo_levels import NotUsable, parse_promises, render_level
from headgate.core.slo.level import ServiceLevel
from headgate.core.wording import plain

_LARGEST = 4 * 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `import` and `rules`."""
    verbs = parser.add_subparsers(dest="slo_verb", required=True, metavar="VERB")
    taken = "print the `objectives:` of a ModelDeployment for OpenSLO v1 documents"
    taking = verbs.add_parser("import", help=taken, description=taken)
    taking.add_argument("files", nargs="+", metavar="FILE", help="YAML; - is standard input")
    written = "print Prometheus rules, or Pyrra's objects, for a ModelDeployment's objectives"
    writing = verbs.add_parser("rules", help=written, description=written)
    writing.add_argument("file", metavar="FILE", help="YAML; - is standard input")
    writing.add_argument(
        "--format",
        choices=("sloth", "pyrra"),
        default="sloth",
        help="rules with the names that Sloth uses, or ServiceLevelObjectives of Pyrra",
    )
    writing.add_argument(
        "--pack", default="envoy-gateway", help="the metric pack the operator reads"
    )


def run(args: argparse.Namespace) -> int:
    """Run a sub-verb; what cannot be used is told on standard error, one line each."""
    try:
        return _import(args.files) if args.slo_verb == "import" else _rules(args)
    except NotUsable as error:
        return _fail(str(error))


def _import(files: Iterable[str]) -> int:
    """Print what could be taken over; 1 if anything could not."""
    from headgate.cli.slo_openslo import take_over

    taken = take_over([document for file in files for document in _documents(file)])
    if not taken:
        return _fail("no document of kind SLO")
    levels: list[ServiceLevel] = []
    names, status = set[str](), exits.OK
    for each in taken:
        refusal = each.refusal or ("two SLOs of this name" if each.name in names else "")
        names.add(each.name)
        if refusal:
            status = _fail(f"SLO {plain(each.name, 80)}: {refusal}")
            continue
        levels += each.levels
        if each.left:
            print(f"SLO {each.name}: {each.left} not taken over", file=sys.stderr)
    if levels:
        _print({"objectives": [render_level(level) for level in levels]})
    return status


def _rules(args: argparse.Namespace) -> int:
    from headgate.adapters.packs import load_pack
    from headgate.cli.slo_rules import render_pyrra, render_rules

    try:
        pack = load_pack(args.pack)
    except ValueError as error:
        print(error, file=sys.stderr)
        return exits.USAGE
    found = [each for each in _documents(args.file) if each.get("kind") == "ModelDeployment"]
    promises = [parse_promises(document) for document in found]
    if not any(each.levels for each in promises):
        return _fail(f"{args.file}: no ModelDeployment with objectives")
    if args.format == "pyrra":
        _print(*(document for each in promises for document in render_pyrra(each, pack)))
        return exits.OK
    groups = [group for each in promises for group in render_rules(each, pack)["groups"]]
    _print({"groups": groups})
    return exits.OK


def _documents(file: str) -> Iterator[dict[str, Any]]:
    """Read all YAML documents of a file, and those in lists; raises NotUsable, naming the file."""
    try:
        if file == "-":
            text = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with Path(file).open("rb") as stream:
                text = stream.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            raise NotUsable(f"{file}: larger than {_LARGEST} bytes")
        documents = list(yaml.safe_load_all(text))
    except OSError as error:
        raise NotUsable(f"{file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, NotUsable):
            raise
        raise NotUsable(f"{file}: not YAML: {plain(str(error), 200)}") from error
    for document in documents:
        listed = document if isinstance(document, list) else [document]
        yield from (each for each in listed if isinstance(each, dict))


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else "")


_Dumper.add_representer(str, _represent)


def _print(*documents: dict[str, Any]) -> None:
    sys.stdout.write(
        yaml.dump_all(
            documents,
            Dumper=_Dumper,
            sort_keys=False,
            width=float("inf"),
            explicit_start=len(documents) > 1,
        )
    )
    sys.stdout.flush()


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return exits.FAILED
