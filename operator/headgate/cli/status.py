"""`headgate status`: what serves, what is under test, and what is waited for.

Owns the verb's arguments, its exit codes and the watching. Must not know how a picture is drawn
(`cli.tree`) or what a field means (`cli.view`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headgate.cli import exits, reach

if TYPE_CHECKING:
    from headgate.cli.lines import Line
    from headgate.cli.reach import Reach
    from headgate.cli.view import Objects

REFRESH_SECONDS = 2.0
SCHEMA = "headgate.dev/status/v1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add NAME, the choice of cluster and namespace, the format and the watching."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="ModelDeployment; all without it")
    reach.add_arguments(parser, namespaces=True, outputs=("text", "wide", "json"))
    parser.add_argument(
        "-w",
        "--watch",
        action="store_true",
        help=f"look again every {REFRESH_SECONDS:g} s until interrupted",
    )


def run(args: argparse.Namespace) -> int:
    """Show once, or until Ctrl-C, which ends a watch as it should end: with 0."""
    if args.name and args.all_namespaces:
        print("headgate status: NAME and -A exclude each other", file=sys.stderr)
        return exits.USAGE

    async def work(there: Reach) -> int:
        if args.watch:
            return await _watch(there, args)
        return _show(await _read(there, args), args, there)

    try:
        return reach.run("status", args, work)
    except KeyboardInterrupt:
        if args.watch:
            return exits.OK
        raise


async def _read(there: Reach, args: argparse.Namespace) -> Objects:
    """Read what is asked for; raises NotFound for a name that does not exist."""
    if args.name is None:
        return await reach.read_all(there, children=args.output == "json")
    objects = await reach.read_one(there, args.name)
    if not objects.deployments:
        raise await reach.not_found(there, args.name)
    return objects


def _show(objects: Objects, args: argparse.Namespace, there: Reach) -> int:
    from headgate.cli import output

    if args.output == "json":
        output.show_json(_as_json(objects), indent=None if args.watch else 2)
    elif objects.deployments:
        output.show(_picture(objects, args))
    else:
        print(_nothing(there), file=sys.stderr)
    return exits.OK


def _nothing(there: Reach) -> str:
    return f"No ModelDeployment in {f'namespace {there.namespace}' if there.namespace else 'any'}."


def _picture(objects: Objects, args: argparse.Namespace) -> Sequence[Line]:
    from headgate.adapters.clock import SystemClock
    from headgate.cli.tree import table, tree
    from headgate.cli.view import view_deployments

    now = SystemClock().now()
    views = view_deployments(objects, now)
    if args.name is not None:
        return tree(views[0], now)
    return table(views, now, wide=args.output == "wide")


def _as_json(objects: Objects) -> dict[str, Any]:
    from headgate.adapters.clock import SystemClock
    from headgate.cli.output import to_json
    from headgate.cli.view import view_deployments

    views = view_deployments(objects, SystemClock().now())
    return {"schema": SCHEMA, "deployments": to_json(views)}


# --- watching ------------------------------------------------------------------------------------


async def _watch(there: Reach, args: argparse.Namespace) -> int:
    """Look again and again: a terminal shows one picture, a pipe gets each that is new."""
    from headgate.cli.output import is_rich

    objects = await _read(there, args)
    if args.output != "json" and is_rich(sys.stdout):
        return await _watch_live(there, args, objects)
    while True:
        _show(objects, args, there)
        objects = await _next(there, args, objects)


async def _next(there: Reach, args: argparse.Namespace, shown: Objects) -> Objects:
    """Wait until something else is so; a cluster that is away is told, and asked again."""
    from headgate.ports import ClusterUnavailable

    told = False
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            objects = await _read(there, args)
        except ClusterUnavailable as error:
            if not told:
                print(f"headgate status: {_away(error)}", file=sys.stderr)
            told = True
            continue
        if objects != shown:
            return objects


async def _watch_live(there: Reach, args: argparse.Namespace, objects: Objects) -> int:
    from rich.console import Console
    from rich.live import Live

    from headgate.cli.lines import Line, for_terminal, text
    from headgate.cli.output import is_ascii
    from headgate.ports import ClusterUnavailable

    console = Console(highlight=False, markup=False, emoji=False)
    away = ""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            empty = (Line("", text(_nothing(there))),)
            lines = [*(_picture(objects, args) if objects.deployments else empty)]
            lines += [Line("", text(away, style="bold red"))] if away else []
            live.update(for_terminal(lines, is_ascii(sys.stdout)), refresh=True)
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                objects, away = await _read(there, args), ""
            except ClusterUnavailable as error:
                away = _away(error)


def _away(error: Exception) -> str:
    from headgate.core.wording import plain

    return f"the cluster does not answer, trying again: {plain(str(error), 200)}"
