"""`headgate trace`: from a deployment over its revisions and rollouts to commit, path and author.

Owns the verb's arguments and exit codes. Must not know how a chain is found or drawn
(`cli.traced`). Only Headgate's own objects are read: what is told was stored when it was known.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from headgate.cli import exits, reach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from headgate.cli.reach import Reach
    from headgate.cli.traced import Chain

SCHEMA = "headgate.dev/trace/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add NAME, the choice of cluster and namespace, the format and the revision."""
    parser.add_argument("name", metavar="NAME", help="ModelDeployment, also one that is gone")
    reach.add_arguments(parser, namespaces=False)
    parser.add_argument(
        "--revision",
        metavar="HASH",
        help="one revision, by its hash or name; without it all that serve or were rejected",
    )


def run(args: argparse.Namespace) -> int:
    """Trace; a commit that is not known is an answer, with its reason, and no failure."""

    async def work(there: Reach) -> int:
        return await _trace(there, args)

    return reach.run("trace", args, work)


async def _trace(there: Reach, args: argparse.Namespace) -> int:
    from headgate.adapters.clock import SystemClock
    from headgate.cli import output
    from headgate.cli.traced import chains_of, page

    objects = await reach.read_one(there, args.name)
    if not objects.deployments and not objects.rollouts:
        raise await reach.not_found(there, args.name, await reach.recorded(there))
    now = SystemClock().now()
    found = chains_of(objects, args.revision, now)
    if not found:
        wanted = f"revision {args.revision}" if args.revision else "a revision"
        raise reach.NotFound(f"{there.namespace}/{args.name}: wanted {wanted}, found none")
    if args.output == "json":
        output.show_json(_as_json(there, args.name, found))
    else:
        output.show(page(f"{there.namespace}/{args.name}", found, now))
    return exits.OK


def _as_json(there: Reach, name: str, found: Sequence[Chain]) -> dict[str, Any]:
    from headgate.cli.output import to_json

    revisions = [to_json(chain) for chain in found]
    return {"schema": SCHEMA, "namespace": there.namespace, "name": name, "revisions": revisions}
