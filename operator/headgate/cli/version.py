"""`headgate version`: which version this is."""

from __future__ import annotations

import argparse
import json
import platform

from headgate import __version__
from headgate.cli import exits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the output format."""
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(args: argparse.Namespace) -> int:
    """Print the version, for a person or as JSON with the Python version."""
    if args.output == "json":
        print(json.dumps({"version": __version__, "python": platform.python_version()}))
    else:
        print(f"headgate {__version__}")
    return exits.OK
