"""
Owns the verb `headgate crds`: prints the CustomResourceDefinitions this version was built for.

It must not talk to a cluster: `headgate crds | kubectl apply --server-side -f -` does.
"""

import argparse
import sys

import yaml

from headgate.api import crds

HELP = "print the CustomResourceDefinitions as YAML"


def render() -> str:
    """Return all CustomResourceDefinitions as one YAML stream, in an order that never changes."""
    return yaml.safe_dump_all(
        [crds.render(kind) for kind in crds.KINDS],
        width=100,
        explicit_start=True,
        allow_unicode=True,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Set the verb's help; it has no arguments of its own."""
    parser.description = HELP


def run(args: argparse.Namespace) -> int:
    """Print the stream; returns 0."""
    sys.stdout.write(render())
    return 0
