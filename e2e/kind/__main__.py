"""`python -m kind up|down|check`: a cluster in containers for the scenarios."""

from __future__ import annotations

import argparse
import os
import sys

from kind import install
from kind.engine import EngineMissing, find_engine
from kind.tools import ToolFailed, Tools, find_kind, missing
from sandbox.cache import MissingError


def main(argv: list[str] | None = None) -> int:
    """Do it; 0 done, 1 failed, 3 where this machine lacks what is needed."""
    parser = argparse.ArgumentParser(prog="kind", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="bring the cluster up, with everything in it")
    verbs.add_parser("down", help="take it away")
    verbs.add_parser("check", help="say whether this machine can have it")
    verb = parser.parse_args(argv).verb
    try:
        tools = find_tools()
    except (EngineMissing, MissingError) as error:
        print(f"kind: {error}", file=sys.stderr)
        return 3
    try:
        if verb == "up":
            install.up(tools, _report)
            _report(f"up: KUBECONFIG={tools.kubeconfig}, gateway {install.GATEWAY_URL}")
        elif verb == "down":
            install.down(tools)
        else:
            _report(f"{tools.engine} answers, nothing is missing")
    except (ToolFailed, MissingError) as error:
        print(f"kind: {error}", file=sys.stderr)
        return 1
    return 0


def find_tools() -> Tools:
    """
    Find all programs; the engine first, as nothing else helps without one.

    Raises:
        EngineMissing: No container engine answers.
        MissingError: Another program is not there.
    """
    engine = find_engine(os.environ)
    lacking = missing()
    if lacking:
        raise MissingError(f"wanted on PATH: {', '.join(lacking)}")
    return Tools(find_kind(_report), engine, install.kubeconfig())


def _report(line: str) -> None:
    print(f"kind: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
