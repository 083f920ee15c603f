"""
Owns the verb `headgate crds`: prints the CustomResourceDefinitions this version was built for.

It must not talk to a cluster: `headgate crds | kubectl apply --server-side -f -` does.
"""

import argparse
import sys
from pathlib import Path

import yaml

from headgate.api import crds
from headgate.api.shape import Kind

HELP = "print the CustomResourceDefinitions as YAML"


def render() -> str:
    """Return all CustomResourceDefinitions as one YAML stream, in an order that never changes."""
    return "".join(f"---\n{render_one(kind)}" for kind in crds.KINDS)


def render_one(kind: Kind) -> str:
    """Return one CustomResourceDefinition as a YAML document with sorted keys."""
    return yaml.safe_dump(crds.render(kind), width=100, allow_unicode=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.description = HELP
    parser.add_argument(
        "--directory",
        type=Path,
        metavar="FOLDER",
        help="write one file a kind into this folder instead of printing",
    )


def run(args: argparse.Namespace) -> int:
    """Print the stream, or write the files; returns 0."""
    if args.directory is None:
        sys.stdout.write(render())
        return 0
    for kind in crds.KINDS:
        (args.directory / f"{kind.plural}.yaml").write_text(render_one(kind), encoding="utf-8")
    return 0
