"""`headgate why`: why traffic is as it is, and why a version went back.

Owns the verb's arguments and exit codes. Must not know any sentence (`cli.explain`), nor how a
picture is drawn (`cli.drawing`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate.cli import exits, plot, reach

if TYPE_CHECKING:
    from headgate.cli.explain import Explanation
    from headgate.cli.reach import Reach
    from headgate.cli.view import Objects
    from headgate.ports import Manifest

SCHEMA = "headgate.dev/why/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add NAME, the choice of cluster and namespace, the format and the rollout."""
    parser.add_argument("name", metavar="NAME", help="ModelDeployment, also one that is gone")
    reach.add_arguments(parser, namespaces=False)
    parser.add_argument(
        "--rollout", type=int, metavar="N", help="number of the rollout; without it the last one"
    )
    parser.add_argument(
        "--plot",
        type=plot.target,
        metavar="FILE",
        help="also draw rates, evidence and weight over time into FILE (.png or .svg)",
    )


def run(args: argparse.Namespace) -> int:
    """Explain; FAILED if a record is not what it was when it was finished."""
    if args.plot is not None and plot.missing():
        print(f"headgate why: {plot.missing()}", file=sys.stderr)
        return exits.USAGE

    async def work(there: Reach) -> int:
        return await _explain(there, args)

    return reach.run("why", args, work)


async def _explain(there: Reach, args: argparse.Namespace) -> int:
    from headgate.adapters.clock import SystemClock
    from headgate.cli import output
    from headgate.cli.explain import NoSuchRollout, explain, page

    objects = await reach.read_one(there, args.name)
    if not objects.deployments and not objects.rollouts:
        raise await reach.not_found(there, args.name, await reach.recorded(there))
    now = SystemClock().now()
    try:
        explained = explain(objects, there.namespace or "", args.name, args.rollout, now)
    except NoSuchRollout as error:
        raise reach.NotFound(f"{there.namespace}/{args.name}: {error}") from error
    if args.output == "json":
        output.show_json(_as_json(explained))
    else:
        output.show(page(explained))
    if args.plot is not None and not _drawn(explained, objects, args.plot):
        return exits.FAILED
    if not explained.is_intact:
        print("headgate why: a record was changed after it was finished", file=sys.stderr)
        return exits.FAILED
    return exits.OK


def _drawn(explained: Explanation, objects: Objects, path: Path) -> bool:
    """Draw what was explained; False, with a line that says why, if that cannot be done."""
    from headgate.cli import drawing

    record = explained.record
    manifest = next((m for m in objects.rollouts if record and _name(m) == record.name), None)
    if record is None or manifest is None:
        print("headgate why: there is no rollout to draw yet", file=sys.stderr)
        return False
    try:
        drawing.draw(plot.picture(record, manifest, explained.answer), path)
    except OSError as error:
        print(f"headgate why: {path}: {error.strerror or error}", file=sys.stderr)
        return False
    return True


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


def _as_json(explained: Explanation) -> dict[str, Any]:
    from headgate.cli.output import to_json

    view = explained.deployment
    return {
        "schema": SCHEMA,
        "namespace": explained.namespace,
        "name": explained.name,
        "answer": explained.answer,
        "whatWouldChangeIt": list(explained.changes),
        "intact": explained.is_intact,
        "deployment": to_json(view),
        "rollout": to_json(explained.record),
        "records": [record.name for record in explained.records],
    }
