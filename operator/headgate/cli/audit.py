"""`headgate audit replay`: make recorded decisions again, and say whether they come out equal.

Owns the verb's arguments, where records are read, and the page. Must not know how a decision is
made again (`cli.replayed`). With `--file` no cluster is asked for anything.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate.cli import exits, reach

if TYPE_CHECKING:
    from headgate.cli.lines import Line
    from headgate.cli.reach import Reach
    from headgate.cli.replayed import Replayed
    from headgate.ports import Manifest

SCHEMA = "headgate.dev/audit/v1"
_LONGEST_MESSAGE = 500


class Unusable(Exception):
    """A file that holds no records; the text is for people."""


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
        return _tell(read_file(args.file), args)
    except Unusable as error:
        return _fail(str(error), exits.FAILED)
    except reach.NotFound as error:
        return _fail(str(error), exits.NOT_FOUND)


async def _of_cluster(there: Reach, args: argparse.Namespace) -> int:
    objects = await reach.read_one(there, args.name)
    if not objects.rollouts and not objects.deployments:
        raise await reach.not_found(there, args.name, await reach.recorded(there))
    if not objects.rollouts:
        raise reach.NotFound(f"{there.namespace}/{args.name} has no record yet")
    return _tell(objects.rollouts, args)


def read_file(path: Path) -> Sequence[Manifest]:
    """Read the ModelRollouts of a file, lists of them too. Raises Unusable."""
    import yaml

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        documents = list(yaml.load_all(text, Loader=_loader()))  # JSON is YAML too
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unusable(f"{path}: neither YAML nor JSON: {error}") from error
    found = [one for document in documents for one in _records(document)]
    if not found:
        raise Unusable(f"{path}: wanted a ModelRollout, found none")
    return found


def _loader() -> Any:
    """The safe loader, except that a moment stays the text that it is in the record."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, found) for tag, found in known if tag != "tag:yaml.org,2002:timestamp"]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return Loader


def _records(document: Any) -> Iterator[Manifest]:
    if isinstance(document, dict) and document.get("kind") == "ModelRollout":
        yield document
    elif isinstance(document, dict) and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _records(item)


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


def _fail(message: str, code: int) -> int:
    from headgate.core.wording import plain

    print(f"headgate audit: {plain(message, _LONGEST_MESSAGE)}", file=sys.stderr)
    return code
