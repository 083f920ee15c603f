"""
The command line of the embedded world: `python -m sandbox up|down|status|logs|sync|build|demo|…`.

Exit codes: 0 done; 1 the world did not start, is not healthy, or a command failed; 2 wrong usage;
130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sandbox import fraud
from sandbox import parts as table
from sandbox.builds import FOR_TESTS, Recipe, build
from sandbox.cache import MissingError, locked
from sandbox.demo import demo
from sandbox.gitsync import SyncError, request_sync
from sandbox.part import Part
from sandbox.paths import world_directory
from sandbox.processes import kill_group, last_lines, wait_until
from sandbox.status import WorldStatus, read_status, render_table
from sandbox.supervisor import Phase, State, is_claimed, start, supervise
from sandbox.world import NoWorldError, World, load_world, prepare_world

_DOWN_SECONDS = 60
_POLL_SECONDS = 0.1


def up(given: argparse.Namespace) -> int:
    """Build what is missing, start the world in the background, wait until all of it is ready."""
    selected = table.select(given.without, given.added)
    with locked(world_directory(given.world) / "up.lock"):
        if is_claimed(world_directory(given.world) / "run"):
            world = load_world(given.world)
            print(f"the world {world.name!r} is already up")
            return _report(world)
        began = time.monotonic()
        places = _build(selected)
        if given.fresh:
            _delete(world_directory(given.world))
        world = prepare_world(given.world, places, table.ports(given.added))
        _follow(world, start(world, given.without, given.added, given.lifetime_of))
        code = _report(world)
        if code == 0:
            print(f"up in {time.monotonic() - began:.1f} s")
        return code


def _build(selected: Sequence[Part], more: Sequence[Recipe] = ()) -> dict[str, Path]:
    began = time.monotonic()

    def report(line: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {line}", flush=True)

    return {each.name: build(each, report) for each in [*table.recipes(selected), *more]}


def _follow(world: World, supervisor: subprocess.Popen[bytes]) -> None:
    """Print each part's progress until the world is up, or is not going to be."""
    shown: dict[str, State] = {}
    status = read_status(world)
    while supervisor.poll() is None and status.phase is not Phase.READY:
        _show_news(status, shown)
        time.sleep(_POLL_SECONDS)
        status = read_status(world)
    _show_news(read_status(world), shown)


def _show_news(status: WorldStatus, shown: dict[str, State]) -> None:
    for part in status.parts:
        if shown.get(part.name) is not part.state and part.state is not State.WAITING:
            shown[part.name] = part.state
            print(f"  {part.name:<14} {part.state}", flush=True)


def _report(world: World) -> int:
    status = read_status(world)
    if not status.is_healthy:
        ending = status.error or last_lines(world.log("supervisor"), 15)
        print(f"the world is not up:\n{ending}", file=sys.stderr)
        return 1
    print(f"\nexport KUBECONFIG={world.kubeconfig}")
    for name, url in world.urls.items():
        print(f"{name:<12} {url}")
    print(f"{'kubectl':<12} {world.directory / 'bin' / 'kubectl'}")
    print(f"{'logs':<12} {world.logs}")
    return 0


def down(given: argparse.Namespace) -> int:
    """Stop the world; its data stays unless it is to be deleted."""
    directory = world_directory(given.world)
    if is_claimed(directory / "run"):
        _stop(load_world(given.world))
        print(f"the world {given.world!r} is down")
    else:
        print(f"the world {given.world!r} is not up")
    if given.delete:
        _delete(directory)
    return 0


def _stop(world: World) -> None:
    supervisor = read_status(world).supervisor
    if supervisor is None:
        return
    os.kill(supervisor, signal.SIGTERM)
    if not wait_until(lambda: not is_claimed(world.run), _DOWN_SECONDS):
        kill_group(supervisor)  # the kernel kills the parts with it


def _delete(directory: Path) -> None:
    """Delete a world that is down; nothing is touched that is no world's."""
    if not (directory / "world.json").exists():
        return
    for entry in directory.iterdir():
        if entry.name == "up.lock":
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def show_status(given: argparse.Namespace) -> int:
    """Print the table of all parts; 1 when one of them is not ready."""
    status = read_status(load_world(given.world))
    if given.output == "json":
        print(json.dumps(asdict(status), indent=2))
    else:
        print(f"{given.world}: {status.phase}")
        if status.parts:
            print(render_table(status.parts, time.time()))
        if status.error:
            print(status.error)
    return 0 if status.is_healthy else 1


def show_logs(given: argparse.Namespace) -> int:
    """Print the last lines of one part's log, or of each."""
    world = load_world(given.world)
    files = sorted(world.logs.glob("*.log"))
    if given.part:
        files = [world.log(given.part)]
        if not files[0].exists():
            known = ", ".join(file.stem for file in world.logs.glob("*.log"))
            print(f"no log of {given.part!r}; there are {known}", file=sys.stderr)
            return 1
    for file in files:
        if len(files) > 1:
            print(f"==> {file}")
        print(last_lines(file, given.lines))
    return 0


def sync(given: argparse.Namespace) -> int:
    """Apply `main` of the repository now, changed or not, and print what kubectl said."""
    world = load_world(given.world)
    if not is_claimed(world.run):
        print(f"the world {world.name!r} is not up", file=sys.stderr)
        return 1
    try:
        print(request_sync(world).message)
    except SyncError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build_all(given: argparse.Namespace) -> int:
    """Build every program and environment, those of the tests too, and start nothing."""
    for name, place in _build(table.select(given.without, given.added), FOR_TESTS).items():
        print(f"{name:<14} {place}")
    return 0


def write_training_data(given: argparse.Namespace) -> int:
    """Write what the fraud models were trained on, one column a feature."""
    given.file.write_text(fraud.render_csv(fraud.training()))
    return 0


def tell_demo(given: argparse.Namespace) -> int:
    """Tell a model's life in a world of its own, and end that world."""
    return demo(given.demo_world, given.keep)


def run_supervisor(given: argparse.Namespace) -> int:
    """Run the world in this process; `up` does this in the background."""
    selected = table.select(given.without, given.added)
    return supervise(load_world(given.world), selected, given.lifetime_of)


def read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=up.__doc__)
    parser.add_argument("--world", default="default", help="which world (default: %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    selection = argparse.ArgumentParser(add_help=False)
    selection.add_argument(
        *("--without", "-x"), action="append", default=[], metavar="PART", help="leave a part out"
    )
    options = ", ".join(option.name for option in table.OPTIONS)
    selection.add_argument(
        *("--with", "-w"),
        dest="added",
        action="append",
        default=[],
        metavar="OPTION",
        help=f"add the parts of an option: {options}",
    )
    lifetime = argparse.ArgumentParser(add_help=False)
    lifetime.add_argument(
        "--lifetime-of", type=int, metavar="PID", help="end the world when that process ends"
    )

    command = commands.add_parser("up", help="start it", parents=[selection, lifetime])
    command.add_argument("--fresh", action="store_true", help="forget what an earlier one held")
    command.set_defaults(run=up)
    command = commands.add_parser("down", help="stop it")
    command.add_argument("--delete", action="store_true", help="and delete its data")
    command.set_defaults(run=down)
    command = commands.add_parser("status", help="show all parts")
    command.add_argument("--output", "-o", choices=("table", "json"), default="table")
    command.set_defaults(run=show_status)
    command = commands.add_parser("logs", help="show the end of the logs")
    command.add_argument("part", nargs="?")
    command.add_argument("--lines", "-n", type=int, default=40)
    command.set_defaults(run=show_logs)
    command = commands.add_parser("sync", help="apply the Git repository once more, and wait")
    command.set_defaults(run=sync)
    command = commands.add_parser("build", help="build only", parents=[selection])
    command.set_defaults(run=build_all)
    command = commands.add_parser("training-data", help="write the fraud models' training data")
    command.add_argument("file", type=Path, help="a CSV file")
    command.set_defaults(run=write_training_data)
    command = commands.add_parser("demo", help="tell a model's life, from commit to rollback")
    command.add_argument(
        "--world", dest="demo_world", default="demo", metavar="NAME", help="default: %(default)s"
    )
    command.add_argument("--keep", action="store_true", help="leave the world up afterwards")
    command.set_defaults(run=tell_demo)
    command = commands.add_parser("supervise", parents=[selection, lifetime])
    command.set_defaults(run=run_supervisor)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run one command; what the machine lacks is said in a line, not as a traceback."""
    given = read_arguments(arguments)
    try:
        code: int = given.run(given)
    except (MissingError, NoWorldError) as error:
        print(error, file=sys.stderr)
        return 1
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
