"""`headgate promote`: give the revision that is tried all requests without further proof.

Owns nothing but its name; see `cli.command`.
"""

from __future__ import annotations

import argparse

from headgate.cli import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what all commands take."""
    command.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Give the command."""
    return command.run("promote", args)
