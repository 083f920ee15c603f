"""`headgate pause`, `resume`, `abort`, `promote` and `retry`: a person's commands on a rollout.

Owns their arguments, the one write and how it is told. Must not know what a verb writes or refuses
(`cli.commanding`). The write is made with the person's own rights, and nobody else's.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from headgate.cli import exits, reach

if TYPE_CHECKING:
    from headgate.cli.commanding import Writing
    from headgate.cli.reach import Reach
    from headgate.ports import Manifest

SCHEMA = "headgate.dev/command/v1"
_LONGEST_REASON = 256
_LONGEST_MESSAGE = 2000


def add_arguments(parser: argparse.ArgumentParser, reasons: bool = True) -> None:
    """Add NAME, the choice of cluster, the revision, and the reason where one is kept."""
    parser.add_argument("name", metavar="NAME", help="ModelDeployment")
    reach.add_arguments(parser, namespaces=False)
    parser.add_argument(
        "--revision",
        type=_hash,
        metavar="HASH",
        help="the revision it is meant for; refused if another one is in question",
    )
    if reasons:
        parser.add_argument(
            "--reason", type=_reason, default="", metavar="TEXT", help="why; kept in the record"
        )
    parser.add_argument(
        "--dry-run", action="store_true", help="ask the API server, and change nothing"
    )


def _hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{8}", text):
        raise argparse.ArgumentTypeError(f"wanted 8 hexadecimal digits, found {text!r}")
    return text


def _reason(text: str) -> str:
    if not text.isprintable() or len(text) > _LONGEST_REASON:
        wanted = f"one line of at most {_LONGEST_REASON} characters"
        raise argparse.ArgumentTypeError(f"wanted {wanted}")
    return text.strip()


def run(verb: str, args: argparse.Namespace) -> int:
    """Give the command; FAILED, and nothing is written, where it makes no sense."""

    async def work(there: Reach) -> int:
        return await _give(verb, there, args)

    return reach.run(verb, args, work)


async def _give(verb: str, there: Reach, args: argparse.Namespace) -> int:
    from headgate.adapters.clock import SystemClock
    from headgate.cli.commanding import Senseless, write
    from headgate.cli.view import Objects, view_deployments
    from headgate.core.wording import plain
    from headgate.ports import MODEL_DEPLOYMENT

    manifest = await there.cluster.get(MODEL_DEPLOYMENT, there.namespace, args.name)
    if manifest is None:
        raise await reach.not_found(there, args.name)
    view = view_deployments(Objects((manifest,)), SystemClock().now())[0]
    try:
        writing = write(verb, view, manifest, args.revision, getattr(args, "reason", ""))
    except Senseless as error:
        told = plain(f"{view.namespace}/{view.name}: {error}", _LONGEST_MESSAGE)
        print(f"headgate {verb}: {told}", file=sys.stderr)
        return exits.FAILED
    if writing.annotations:
        await there.cluster.annotate(manifest, writing.annotations, dry_run=args.dry_run)
    _tell(verb, manifest, writing, args)
    return exits.OK


def _tell(verb: str, manifest: Manifest, writing: Writing, args: argparse.Namespace) -> None:
    from headgate.cli import output
    from headgate.core.wording import plain

    metadata = manifest["metadata"]
    place = f"{metadata['namespace']}/{metadata['name']}"
    if args.output == "json":
        output.show_json(_as_json(verb, manifest, writing, args.dry_run))
        return
    trial = "only tried: " if args.dry_run else ""
    print(plain(f"{place}: {trial}{writing.says}.", _LONGEST_MESSAGE))


def _as_json(verb: str, manifest: Manifest, writing: Writing, dry_run: bool) -> dict[str, Any]:
    metadata, revision = manifest["metadata"], writing.revision
    return {
        "schema": SCHEMA,
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "verb": verb,
        "version": revision.version if revision else None,
        "hash": revision.hash if revision else None,
        "annotations": dict(writing.annotations),
        "dryRun": dry_run,
        "message": writing.says,
    }
