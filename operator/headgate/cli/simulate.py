"""`headgate simulate`: a whole rollout offline, and how often it would end so.

Owns the verb's arguments, the files it reads and writes, and where chance comes from: every number
is drawn from `--seed`, so a run can be repeated. Must not know traffic, rules or sentences.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate.cli import exits

if TYPE_CHECKING:
    from headgate.core.counters import Arm, Series
    from headgate.simulation.cell import Cell
    from headgate.simulation.draws import Streams
    from headgate.simulation.engine import Course
    from headgate.simulation.lineup import Entry
    from headgate.simulation.ranges import Chosen
    from headgate.simulation.source import Source

_LONGEST_MESSAGE = 500
_MOST_RUNS = 1_000_000


class Wrong(Exception):
    """What was asked for cannot be done; the text is for people."""


class NotWritten(Exception):
    """A file could not be written; the text is for people."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the manifest, the traffic, the rules and the output."""
    from headgate.simulation.cell import OVERRIDES, PARAMETERS

    parser.description = (
        "Simulate the rollout of a ModelDeployment offline. Percentages are in percent (1 is 1 %), "
        "times are durations such as 10s or 1h30m. What says LIST may be several values with "
        "commas between, and every combination is simulated."
    )
    parser.add_argument(
        "manifest",
        nargs="?",
        metavar="FILE",
        help="YAML of a ModelDeployment; without it one with every default",
    )
    traffic = parser.add_argument_group("traffic and harm")
    for parameter in PARAMETERS:
        default = f" (default: {parameter.default})" if parameter.default else ""
        text = f"{parameter.help}{default}".replace("%", "%%")
        traffic.add_argument(f"--{parameter.name}", metavar="LIST", default="", help=text)
    rollout = parser.add_argument_group("rollout")
    for name, field in OVERRIDES.items():
        text = f"instead of the manifest's spec.rollout.{field}"
        rollout.add_argument(f"--{name}", metavar="LIST", default="", help=text)
    rollout.add_argument(
        "--duration",
        metavar="TIME",
        default="",
        help="longest time to simulate (default: 30m with --weight, else until all is over)",
    )
    _add_recordings(parser.add_argument_group("recorded traffic, instead of a synthetic one"))
    _add_runs(parser.add_argument_group("runs"))


def _add_recordings(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--csv", metavar="FILE", help="counters as CSV; docs/simulate.md")
    group.add_argument("--prometheus", metavar="FILE", help="JSON of /api/v1/query_range")
    group.add_argument(
        "--stable", metavar="LABEL=VALUE", help="stable's series in it (default: arm=stable)"
    )
    group.add_argument(
        "--canary", metavar="LABEL=VALUE", help="the canary's series in it (default: arm=canary)"
    )
    group.add_argument(
        "--split",
        action="store_true",
        help="leave the recorded canary out, and split stable's requests by the weights instead",
    )


def _add_runs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--seed", default="0", help="first seed, a whole number (default: 0)")
    group.add_argument(
        "--repeat", metavar="N", default="1", help="rollouts to simulate, seed by seed (default: 1)"
    )
    group.add_argument(
        "--rule",
        metavar="LIST",
        default="headgate",
        help="rules: headgate, flagger, flagger:tuned, argo, argo:tuned, kayenta, kayenta:5m",
    )
    group.add_argument("--compare", metavar="LIST", default="", help="more rules, same data")
    group.add_argument(
        "--export", metavar="FILE", help="write what Headgate read of a single run: .csv or .json"
    )
    group.add_argument(
        "-o",
        "--output",
        choices=("text", "json"),
        default="text",
        help="text (default), or one line of JSON for each rule and cell",
    )


def run(args: argparse.Namespace) -> int:
    """Simulate; what cannot be used is one line on standard error and USAGE."""
    from headgate.api.accept import Invalid
    from headgate.core.wording import plain
    from headgate.simulation.cell import Unusable
    from headgate.simulation.recorded import Unreadable

    try:
        _simulate(args)
    except (Wrong, Unusable, Unreadable, Invalid) as error:
        print(f"headgate simulate: {plain(str(error), _LONGEST_MESSAGE)}", file=sys.stderr)
        return exits.USAGE
    except NotWritten as error:
        print(f"headgate simulate: {plain(str(error), _LONGEST_MESSAGE)}", file=sys.stderr)
        return exits.FAILED
    return exits.OK


def _simulate(args: argparse.Namespace) -> None:
    from headgate.api.accept import parse
    from headgate.cli import simulated
    from headgate.simulation.cell import course_of
    from headgate.simulation.lineup import play
    from headgate.simulation.replays import Recorder

    repeat, seed = _whole(args, "repeat", 1, _MOST_RUNS), _whole(args, "seed", 0, 2**63)
    rules, combinations = _rules(args), _cells(args)
    recording = _recording(args)
    manifest = _manifest(args.manifest)
    if args.export:
        _check_export(args.export, repeat * len(rules) * len(combinations), rules[0].name)
    courses = [course_of(cell, manifest, args.duration, parse) for cell in combinations]
    report = simulated.report(args.output, seed, _recorded_name(args))
    for cell, course in zip(combinations, courses, strict=True):
        report.begin(cell, course)
        for rule in rules:
            runs = []
            for number in range(seed, seed + repeat):
                source: Source = _source(args, cell, course, recording, number)
                if args.export:
                    source = recorder = Recorder(source)
                runs.append(play(rule, course, source, _base_rate(cell, recording)))
                if args.export:
                    _export(args.export, recorder.series)
            report.add(rule, runs)
        report.end()


# --- what was asked for --------------------------------------------------------------------------


def _whole(args: argparse.Namespace, name: str, least: int, most: int) -> int:
    text: str = getattr(args, name)
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise Wrong(f"--{name}: wanted a whole number from {least}, found {text[:60]!r}")
    return int(text)


def _rules(args: argparse.Namespace) -> Sequence[Entry]:
    from headgate.simulation.lineup import entry

    found: dict[str, Entry] = {}
    for option in ("rule", "compare"):
        for word in filter(None, getattr(args, option).split(",")):
            try:
                found.setdefault(word.strip(), entry(word.strip()))
            except ValueError as error:
                raise Wrong(f"--{option}: wanted {error}, found {word[:60]!r}") from None
    if not found:
        raise Wrong("--rule: wanted at least one rule, found none")
    return list(found.values())


def _cells(args: argparse.Namespace) -> Sequence[Cell]:
    from headgate.simulation.cell import OVERRIDES, PARAMETERS, cells

    names = [parameter.name for parameter in PARAMETERS] + list(OVERRIDES)
    given = {name: getattr(args, name.replace("-", "_")) for name in names}
    if args.csv or args.prometheus:
        for parameter in PARAMETERS:
            if parameter.synthetic and given[parameter.name]:
                found = given[parameter.name][:60]
                raise Wrong(
                    f"--{parameter.name}: wanted none with recorded traffic, found {found!r}"
                )
    return cells(given)


def _manifest(path: str | None) -> Mapping[str, Any]:
    """Read the only ModelDeployment of a file."""
    import yaml

    from headgate.simulation.cell import DEFAULT_MANIFEST

    if path is None:
        return DEFAULT_MANIFEST
    try:
        documents = list(yaml.safe_load_all(_text(path)))
    except (yaml.YAMLError, RecursionError) as error:
        raise Wrong(f"{path}: wanted YAML, found {error}") from error
    found = [one for one in documents if isinstance(one, dict) and one.get("kind") == _KIND]
    if len(found) != 1:
        raise Wrong(f"{path}: wanted one {_KIND}, found {len(found)}")
    metadata = found[0].get("metadata")
    if isinstance(metadata, dict):
        metadata.setdefault("namespace", "default")
    return dict(found[0])


_KIND = "ModelDeployment"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise Wrong(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Wrong(f"{path}: wanted UTF-8 text, found {error.reason}") from error


# --- recordings ----------------------------------------------------------------------------------


def _recorded_name(args: argparse.Namespace) -> str:
    return args.csv or args.prometheus or ""


def _recording(args: argparse.Namespace) -> Sequence[Series]:
    """Read the recording; empty without one."""
    from headgate.core.counters import Arm as CoreArm
    from headgate.simulation import ranges, recorded
    from headgate.simulation.replays import has_canary

    name = _recorded_name(args)
    if not name:
        for option in ("stable", "canary", "split"):
            if getattr(args, option):
                raise Wrong(f"--{option}: wanted --csv or --prometheus with it, found neither")
        return ()
    if args.csv and args.prometheus:
        raise Wrong("--csv, --prometheus: wanted one of them, found both")
    if args.csv:
        series = recorded.read_csv(_text(name), Path(name).name)
    else:
        series = ranges.read_prometheus(_text(name), Path(name).name, _chosen(args))
    if args.split:
        series = [one for one in series if one.arm is CoreArm.STABLE]
    if has_canary(series):
        _refuse_with_canary(args)
    return series


def _refuse_with_canary(args: argparse.Namespace) -> None:
    """Nothing is drawn where a recorded canary is replayed as it was."""
    for option in ("harm", "onset"):
        if getattr(args, option):
            raise Wrong(f"--{option}: wanted --split with it, as the recording has a canary")
    if args.repeat != "1":
        raise Wrong("--repeat: wanted 1, as a recording with a canary is the same each time")


def _chosen(args: argparse.Namespace) -> Mapping[Arm, Chosen]:
    from headgate.simulation.ranges import OWN_ARMS, Chosen

    chosen = dict(OWN_ARMS)
    for arm in OWN_ARMS:
        text: str | None = getattr(args, arm.value)
        if text is None:
            continue
        label, equals, value = text.partition("=")
        if not (label and equals and value):
            raise Wrong(f"--{arm}: wanted LABEL=VALUE, found {text[:60]!r}")
        chosen[arm] = Chosen(label, value)
    return chosen


def _source(
    args: argparse.Namespace, cell: Cell, course: Course, recording: Sequence[Series], seed: int
) -> Source:
    from headgate.simulation.cell import traffic_of
    from headgate.simulation.replays import Replay, Split, has_canary
    from headgate.simulation.traffic import Gateway

    if not recording:
        return Gateway(traffic_of(cell, course), _streams(seed))
    name = Path(_recorded_name(args)).name
    if has_canary(recording):
        return Replay(recording, name)
    return Split(recording, _streams(seed), cell.share("harm"), cell.number("onset"), name)


def _streams(seed: int) -> Streams:
    """Chance from a seed, one stream for each name."""
    from random import Random  # noqa: TID251 - this is where chance is passed in from

    return lambda name: Random(f"{seed}/{name}")  # noqa: S311 - nothing secret is drawn


def _base_rate(cell: Cell, recording: Sequence[Series]) -> float:
    """What share of stable's requests fails, which only a "tuned" rule knows."""
    from headgate.simulation.replays import base_rate

    return base_rate(recording) if recording else cell.share("base-error")


_SUFFIXES = (".csv", ".json")


def _check_export(path: str, runs: int, rule: str) -> None:
    """Refuse at once what would fail at the end."""
    if runs > 1 or rule != "headgate":
        found = f"{runs} runs" if runs > 1 else rule
        raise Wrong(f"--export: wanted a single run by headgate, found {found}")
    if Path(path).suffix not in _SUFFIXES:
        raise Wrong(f"--export: wanted a file ending in .csv or .json, found {path[:60]!r}")
    if not Path(path).parent.is_dir():
        raise Wrong(f"--export: wanted a file in a folder that exists, found {path[:60]!r}")


def _export(path: str, series: Sequence[Series]) -> None:
    from headgate.simulation import ranges, recorded

    as_csv = Path(path).suffix == ".csv"
    text = recorded.write_csv(series) if as_csv else ranges.write_prometheus(series)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWritten(f"{path}: {error.strerror}") from error
