"""The command line: one verb, one module.

Owns the table of verbs. Must not know what a verb does: its module is imported only when the verb
is called, so that `headgate version` costs nothing. A verb's module offers `add_arguments(parser)`
and `run(args) -> int`, an exit code of `cli.exits`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import PurePath

VERBS = (
    ("status", "show deployments, their revisions, weights, evidence and conditions"),
    ("why", "explain the last decision about a deployment"),
    ("trace", "follow a deployment back to the commit of each revision"),
    ("pause", "hold the revision that is tried at its weight"),
    ("resume", "end a pause"),
    ("abort", "take the revision that is tried back, and do not try it again"),
    ("promote", "give the revision that is tried all requests without further proof"),
    ("retry", "try a rejected revision once more"),
    ("audit", "make recorded decisions again, and say whether they come out equal"),
    ("export", "write what Git should keep for the day a cluster is rebuilt"),
    ("adopt", "take over an InferenceService that runs, without a dropped request"),
    ("release", "give a model back to plain KServe, without a dropped request"),
    ("profile", "describe training data, and hold data against it"),
    ("slo", "take over objectives from OpenSLO, and print rules for them"),
    ("simulate", "simulate a rollout offline, and say how often it would end how"),
    ("crds", "print the CustomResourceDefinitions"),
    ("operator", "run the operator"),
    ("writeback", "make Git say what serves after a rollback, by the rules of ReleasePolicies"),
    ("collector", "count inputs and predictions of models for drift"),
    ("version", "print the version"),
)
"""Each verb is the name of its module in this package, with the line that `--help` shows."""

EXITS = "exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 API server unreachable"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; argparse itself exits with 0 or 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(called=words[0] if words else "")
    args = parser.parse_args(words)
    try:
        return int(import_module(f"{__name__}.{args.verb}").run(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 0


def _parser(called: str) -> argparse.ArgumentParser:
    """Build the parser of all verbs, with the arguments of the one that is called."""
    name = PurePath(sys.argv[0]).name
    parser = argparse.ArgumentParser(
        prog="kubectl headgate" if name == "kubectl-headgate" else "headgate",
        description="The gate between Git HEAD and production traffic for models on KServe.",
        epilog=EXITS,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, summary in VERBS:
        each = verbs.add_parser(verb, help=summary, description=summary, epilog=EXITS)
        if verb == called:
            import_module(f"{__name__}.{verb}").add_arguments(each)
    return parser
