"""`headgate profile`: make a reference profile of training data, show it, hold data against it.

Owns the verb's arguments and what it prints. Must not know how a file is read (`cli.dataset`), nor
how a drift is found (`core.drift`).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from headgate.cli import exits, output
from headgate.cli.dataset import (
    DataError,
    DataSet,
    NeedsParquet,
    Rows,
    number_of,
    open_rows,
    place_of,
    read_columns,
)
from headgate.cli.lines import Line, Span, columns
from headgate.core.drift.bins import Counts, count
from headgate.core.drift.build import Column, build
from headgate.core.drift.profile import (
    CategoryFeature,
    Feature,
    NumberFeature,
    Profile,
    ProfileError,
    digest,
    labels,
    parse,
    plain,
    render,
)
from headgate.core.drift.reference import Drift, DriftReport, Risk, detect_all
from headgate.core.drift.table import table
from headgate.core.wording import plain as clean

KEY = "profile.json"
"""The ConfigMap's key."""

DIGEST_ANNOTATION = "headgate.dev/profile-digest"
SCHEMA = "headgate.dev/profile-check/v1"
FEW_ROWS = 1000

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-verbs build, show and check."""
    verbs = parser.add_subparsers(dest="action", required=True, metavar="build|show|check")
    _add_build(verbs.add_parser("build", help="make a profile of a data set"))
    show = verbs.add_parser("show", help="print a profile as a table")
    show.add_argument("profile", metavar="FILE", type=Path, help="profile, or a ConfigMap of one")
    _add_check(verbs.add_parser("check", help="hold a data set against a profile"))


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", type=Path, help="CSV with a header, or .parquet")
    parser.add_argument(
        "-o", dest="file", metavar="FILE", type=Path, help="write here, not to stdout"
    )
    parser.add_argument("--predictions", metavar="COLUMN", help="what the model answered")
    parser.add_argument(
        "--columns", metavar="COLS", type=_names, help="the features, in the model's order: a,b,c"
    )
    parser.add_argument(
        "--leave-out", metavar="COLS", type=_names, default=(), help="columns that are no features"
    )
    parser.add_argument(
        "--categories", metavar="COLS", type=_names, default=(), help="numbers that are categories"
    )
    parser.add_argument(
        "--design-effect-by",
        metavar="COLUMN",
        help="session or user; its rows are alike and count for less. No feature",
    )
    parser.add_argument(
        "--name-as",
        metavar="COLUMN=NAME",
        type=_renamed,
        action="append",
        default=[],
        help="the column's name in requests; may be repeated",
    )
    parser.add_argument("--configmap", metavar="NAME", help="write a ConfigMap of this name")
    parser.add_argument("-n", "--namespace", help="the ConfigMap's namespace")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("profile", metavar="FILE", type=Path, help="profile, or a ConfigMap of one")
    parser.add_argument("data", metavar="DATA", type=Path, help="CSV or .parquet, oldest row first")
    parser.add_argument("--tick", metavar="ROWS", type=_positive, default=100, help="default 100")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _renamed(text: str) -> tuple[str, str]:
    column, equals, name = text.partition("=")
    if not (column and equals and name):
        raise argparse.ArgumentTypeError(f"wanted COLUMN=NAME, found {text!r}")
    return column, name


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"wanted a count of rows, found {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Build, show or check; USAGE for data or profiles that cannot be used, FAILED for a drift."""
    action = {"build": _build, "show": _show, "check": _check}[args.action]
    try:
        return action(args)
    except (DataError, ProfileError) as error:
        return _fail(args, str(error), exits.USAGE)
    except NeedsParquet as error:
        return _fail(args, str(error), exits.FAILED)
    except OSError as error:
        return _fail(args, f"{error.filename}: {error.strerror}", exits.FAILED)


def _fail(args: argparse.Namespace, message: str, code: int) -> int:
    print(f"headgate profile {args.action}: {clean(message, 500)}", file=sys.stderr)
    return code


def _build(args: argparse.Namespace) -> int:
    """Make the profile and print it, or write it; what it is of goes to standard error."""
    if args.configmap is not None and not _is_name(args.configmap):
        raise DataError(f"--configmap: wanted a name of Kubernetes, found {args.configmap}")
    source = open_rows(args.data)
    apart = {args.predictions, args.design_effect_by} - {None}
    for name in (*args.leave_out, *args.categories, *(column for column, _ in args.name_as)):
        place_of(source.header, name)
    features = args.columns or [
        name for name in source.header if name not in apart and name not in args.leave_out
    ]
    for name in features:
        if name in apart or features.count(name) > 1:
            raise DataError(f"--columns: wanted each column in one role, found {name} in two")
    groups = {args.design_effect_by} - {None}
    data = read_columns(source, [*features, *sorted(apart)], {*args.categories, *groups})
    profile = _described(data, features, args)
    text = render(profile) + "\n"
    if args.configmap is not None:
        text = _configmap(args.configmap, args.namespace, text, digest(profile))
    if args.file is None:
        sys.stdout.write(text)
    else:
        args.file.write_text(text, encoding="utf-8")
    print(_summary(profile, data), file=sys.stderr)
    return exits.OK


def _described(data: DataSet, features: Sequence[str], args: argparse.Namespace) -> Profile:
    names = dict(args.name_as)

    def column(name: str) -> Column:
        kept = data.columns[name]
        kind = "category" if kept.kind == "category" else "number"
        return Column(names.get(name, name), kind, kept.values)  # type: ignore[arg-type]

    by = args.design_effect_by
    return build(
        [column(name) for name in features],
        None if args.predictions is None else column(args.predictions),
        None if by is None else data.columns[by].values,
    )


def _summary(profile: Profile, data: DataSet) -> str:
    kept = "" if data.kept == data.read else f" ({data.kept:,} of them kept, spread evenly)"
    few = "" if profile.rows >= FEW_ROWS else f"; under {FEW_ROWS:,} rows show large drifts only"
    return f"{digest(profile)}  {len(profile.features)} features of {data.read:,} rows{kept}{few}"


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) is not None


def _configmap(name: str, namespace: str | None, text: str, identity: str) -> str:
    import yaml

    metadata: dict[str, Any] = {"name": name, "annotations": {DIGEST_ANNOTATION: identity}}
    if namespace is not None:
        metadata["namespace"] = namespace
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: text}}
    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=2**30)


def read_profile(path: Path) -> Profile:
    """Read a profile, alone or in a ConfigMap.

    Raises:
        ProfileError: It is neither, or not a valid profile.
        OSError: The file cannot be read.
    """
    text = path.read_bytes()
    if text.lstrip()[:1] == b"{":
        return parse(text)
    import yaml

    try:
        manifest = yaml.safe_load(text)
        return parse(manifest["data"][KEY])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        wanted = f"wanted a profile, or a ConfigMap with data.{KEY}"
        raise ProfileError(f"{path}: {wanted}, found neither") from error


def _show(args: argparse.Namespace) -> int:
    profile = read_profile(args.profile)
    everything = [*profile.features, *([profile.predictions] if profile.predictions else [])]
    rows = [_cells("feature", "type", "bins", "missing", "alike", "shows shifts from", "middle")]
    risk = Risk()
    for feature in everything:
        known = table(feature, len(everything), risk.beta, risk.tolerance)
        rows.append(
            _cells(
                clean(feature.name) + (" (predictions)" if feature is profile.predictions else ""),
                "number" if isinstance(feature, NumberFeature) else "category",
                str(len(feature.shares)),
                f"{feature.missing:.2%}",
                f"{feature.design_effect:g}",
                f"{known.floor:.2g} sd",
                _middle(feature),
            )
        )
    head = f"{digest(profile)}  {profile.rows:,} rows"
    output.show([Line("", (Span(head),)), *(Line("", row) for row in columns(rows))])
    return exits.OK


def _cells(*texts: str) -> tuple[Span, ...]:
    return tuple(Span(text) for text in texts)


def _middle(feature: Feature) -> str:
    """Say where most values lie: between the quartiles' edges, or the largest categories."""
    match feature:
        case NumberFeature(edges=edges, shares=shares):
            below = [sum(shares[: k + 1]) / (sum(shares) or 1.0) for k in range(len(edges))]
            low = next((e for e, b in zip(edges, below, strict=True) if b >= 0.25), edges[-1])
            high = next((e for e, b in zip(edges, below, strict=True) if b >= 0.75), edges[-1])
            return f"{plain(low)} to {plain(high)}" if low < high else f"about {plain(low)}"
        case CategoryFeature():
            named = sorted(zip(feature.shares, labels(feature), strict=True), reverse=True)
            return ", ".join(f"{clean(name, 20)} {share:.0%}" for share, name in named[:3] if share)


def _check(args: argparse.Namespace) -> int:
    """Hold data against a profile, as live events would be; FAILED if it drifted."""
    profile = read_profile(args.profile)
    inputs, predictions, rows = _ticks(profile, open_rows(args.data), args.tick)
    if not rows:
        raise DataError(f"{args.data}: wanted at least one row, found none")
    report = detect_all(profile, inputs, predictions, Risk(events=max(100_000, rows)))
    if args.output == "json":
        output.show_json(
            {"schema": SCHEMA, "rows": rows, "tickRows": args.tick, "drift": report.is_drift}
            | output.to_json(report)
        )
    else:
        output.show(_report_lines(report, rows, args.tick))
    return exits.FAILED if report.is_drift else exits.OK


def _ticks(
    profile: Profile, source: Rows, size: int
) -> tuple[Mapping[str, list[Counts]], list[Counts], int]:
    """Count rows, `size` to a tick; predictions only if the data has them."""
    places = [place_of(source.header, feature.name) for feature in profile.features]
    asked = profile.predictions
    answers = asked is not None and asked.name in source.header
    inputs: dict[str, list[Counts]] = {feature.name: [] for feature in profile.features}
    predictions: list[Counts] = []
    rows = 0
    while batch := [row for _, row in islice(source.rows, size)]:
        rows += len(batch)
        for feature, place in zip(profile.features, places, strict=True):
            inputs[feature.name].append(_count(feature, [row[place] for row in batch]))
        if asked is not None and answers:
            place = place_of(source.header, asked.name)
            predictions.append(_count(asked, [row[place] for row in batch]))
    return inputs, predictions, rows


def _count(feature: Feature, cells: Sequence[Any]) -> Counts:
    """Count cells of a file, in which numbers may be texts; what is none is missing."""
    if isinstance(feature, NumberFeature):
        return count(feature, [number_of(cell) for cell in cells])
    return count(feature, cells)


def _report_lines(report: DriftReport, rows: int, tick: int) -> Sequence[Line]:
    if report.is_drift:
        head = f"drift: evidence {report.e:.3g}, {report.threshold:g} is enough"
    else:
        head = f"no drift shown: evidence {report.e:.3g} of {report.threshold:g}"
    table_ = [
        _cells("feature", "evidence", "of", "change", "since row", "psi (by chance)", "alike")
    ]
    table_ += [_drift_cells(drift, tick) for drift in report.drifts]
    lines = [Line("", (Span(f"{head}, in {rows:,} rows"),))]
    return [*lines, *(Line("", row) for row in columns(table_))]


def _drift_cells(drift: Drift, tick: int) -> tuple[Span, ...]:
    return _cells(
        clean(drift.feature),
        f"{drift.e:.3g}",
        f"{drift.threshold:.4g}",
        clean(drift.change) if drift.is_drift else "",
        f"{drift.since * tick + 1:,}" if drift.is_drift else "",
        f"{drift.psi:.3f} ({drift.psi_by_chance:.3f})" if drift.events else "nothing seen",
        f"{drift.design_effect:.2f}",
    )
