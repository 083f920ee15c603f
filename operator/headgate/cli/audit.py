"""`headgate audit replay`: make recorded decisions again, and say whether they come out equal.

Owns the verb's arguments, where records are read, and the page. Must not know how a decision is
made again (`cli.replayed`). With `--file` no cluster is asked for anything.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate.cli import exits, reach
from headgate.cli.documents import Unusable, read_documents

if TYPE_CHECKING:
    from headgate.cli.lines import Line
    from headgate.cli.reach import Reach
    from headgate.cli.replayed import Replayed
    from headgate.ports import Manifest

SCHEMA = "headgate.dev/audit/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-verb replay."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="replay")
    text = "make recorded decisions again, from the records alone"
    each = verbs.add_parser("replay", help=text, description=text)
    which = each.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "name", nargs="?", metavar="NAME", help="ModelDeployment, also one that is gone"
    )
    which.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="records as YAML or JSON (kubectl get mro -o yaml), instead of a cluster; - is stdin",
    )
    reach.add_arguments(each, namespaces=False)
    each.add_argument("--rollout", type=int, metavar="N", help="one of them; without it all")


def run(args: argparse.Namespace) -> int:
    """Replay; FAILED if one record is not what follows from itself."""
    if args.file is None:

        async def work(there: Reach) -> int:
            return await _of_cluster(there, args)

        return reach.run("audit", args, work)
    try:
        return _tell(read_documents(args.file, "ModelRollout"), args)
    except Unusable as error:
        return reach.fail("audit", str(error), exits.FAILED)
    except reach.NotFound as error:
        return reach.fail("audit", str(error), exits.NOT_FOUND)


async def _of_cluster(there: Reach, args: argparse.Namespace) -> int:
    objects = await reach.read_one(there, args.name)
    if not objects.rollouts and not objects.deployments:
        raise await reach.not_found(there, args.name, await reach.recorded(there))
    if not objects.rollouts:
        raise reach.NotFound(f"{there.namespace}/{args.name} has no record yet")
    return _tell(objects.rollouts, args)


def _tell(records: Sequence[Manifest], args: argparse.Namespace) -> int:
    """Replay the chosen records and print what came out."""
    from headgate.cli import output
    from headgate.cli.replayed import replay_all

    found = [one for one in replay_all(records) if args.rollout in (None, one.number)]
    if not found:
        raise reach.NotFound(f"no rollout {args.rollout} among {len(records)} records")
    if args.output == "json":
        output.show_json(_as_json(found))
    else:
        output.show(page(found))
    return exits.OK if all(one.is_equal for one in found) else exits.FAILED


def page(found: Sequence[Replayed]) -> Sequence[Line]:
    """Say of each record whether it is equal, and of what is not, what it should be."""
    from headgate.cli.lines import Line, Span

    lines = []
    for one in found:
        said = f"{one.name}: {one.decision or 'no decision yet'}: "
        wrong = f"cannot be made again: {one.problem}" if one.problem else "NOT equal"
        answer = Span("equal", "green") if one.is_equal else Span(wrong, "bold red")
        lines.append(Line("", (Span(said), answer)))
        for field in one.differences:
            told = f"{field.field}: recorded {field.recorded}, recomputed {field.recomputed}"
            lines.append(Line("  ", (Span(told),)))
        lines += [Line("  ", (Span(note, "dim"),)) for note in one.notes]
    return lines


def _as_json(found: Sequence[Replayed]) -> dict[str, Any]:
    from headgate.cli.output import to_json

    records = [{**to_json(one), "equal": one.is_equal} for one in found]
    return {"schema": SCHEMA, "equal": all(one.is_equal for one in found), "records": records}
