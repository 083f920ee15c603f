"""Recorded traffic as CSV: counters, read into series and written back.

Owns the format and what is refused of it; a refusal names the place, what was wanted and what was
found. Must not know what is done with the series (`replays`), nor Prometheus' format (`ranges`).

Columns are `time` (seconds, or ISO 8601), `arm` (stable or canary), perhaps `instance`, and one of

    good, bad                 counted since the row before
    good_total, bad_total     counters
    signal, outcome, total    counters of any signal, one a row
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from io import StringIO
from math import floor, inf, isfinite

from headgate.core.counters import BAD, ERRORS, GOOD, LATENCY, Arm, Point, Series

_ARMS = ", ".join(Arm)
_FORMS = (("good", "bad"), ("good_total", "bad_total"), ("signal", "outcome", "total"))
_SHOWN = 60


class Unreadable(Exception):
    """A recording that cannot be used: where, what was wanted there, and what was found."""

    def __init__(self, where: str, wanted: str, found: object) -> None:
        text = found if isinstance(found, str) else json.dumps(found, default=str)
        text = text.encode("unicode_escape").decode("ascii")  # it may end in a terminal
        shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
        super().__init__(f"{where}: wanted {wanted}, found {shown or 'nothing'}")


def read_csv(text: str, name: str) -> Sequence[Series]:
    """Read counters, or counts, from CSV; `name` is what errors call the file."""
    rows = csv.reader(StringIO(text), strict=True)
    try:
        header = next(rows, [])
        form = _form(header, name)
        samples: dict[tuple[Arm, str, str, str], list[Point]] = {}
        for row in rows:
            if row:
                _take_row(samples, dict(_cells(header, row, name, rows.line_num)), form)
    except csv.Error as error:
        raise Unreadable(f"{name}:{rows.line_num}", "CSV", str(error)) from error
    if not samples:
        raise Unreadable(name, "at least one row below the header", "")
    return [
        Series(signal, arm, instance, outcome, outcome, tuple(points))
        for (arm, instance, signal, outcome), points in sorted(_as_counters(samples, form).items())
    ]


def _form(header: Sequence[str], name: str) -> tuple[str, ...]:
    """Tell which columns hold the numbers."""
    for form in _FORMS:
        needed = {"time", "arm", *form}
        if needed <= set(header):
            unknown = [column for column in header if column not in needed | {"instance"}]
            if unknown or len(set(header)) < len(header):
                wanted = f"no column but {', '.join((*sorted(needed), 'instance'))}, each once"
                raise Unreadable(f"{name}:1", wanted, ",".join(header))
            return form
    wanted = "columns time, arm and " + " or ".join("+".join(form) for form in _FORMS)
    raise Unreadable(f"{name}:1", wanted, ",".join(header))


def _cells(
    header: Sequence[str], row: Sequence[str], name: str, line: int
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Give each cell's column, and its place with its text."""
    if len(row) != len(header):
        raise Unreadable(f"{name}:{line}", f"{len(header)} cells", f"{len(row)}")
    for column, cell in zip(header, row, strict=True):
        yield column, (f"{name}:{line}: {column}", cell.strip())


def _take_row(
    samples: dict[tuple[Arm, str, str, str], list[Point]],
    cells: Mapping[str, tuple[str, str]],
    form: tuple[str, ...],
) -> None:
    at, arm = _time(*cells["time"]), _arm(*cells["arm"])
    instance = cells["instance"][1] if "instance" in cells else ""
    if form == _FORMS[2]:
        signal, outcome = _words(cells)
        counted = {(signal, outcome): _count(*cells["total"])}
    else:
        counted = {
            (ERRORS, outcome): _count(*cells[column])
            for outcome, column in zip((GOOD, BAD), form, strict=True)
        }
    for (signal, outcome), value in counted.items():
        points = samples.setdefault((arm, instance, signal, outcome), [])
        if points and at <= points[-1].at:
            raise Unreadable(cells["time"][0], "a later time than the row before", cells["time"][1])
        points.append(Point(at, value))


def _words(cells: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    signal, outcome = cells["signal"][1], cells["outcome"][1]
    if not signal:
        raise Unreadable(cells["signal"][0], "a signal such as errors or latency", signal)
    if signal == ERRORS and outcome not in (GOOD, BAD):
        raise Unreadable(cells["outcome"][0], "good or bad", outcome)
    if signal == LATENCY:
        outcome = bound_in_seconds(cells["outcome"][0], outcome, Decimal(1))
    return signal, outcome


def _as_counters(
    samples: dict[tuple[Arm, str, str, str], list[Point]], form: tuple[str, ...]
) -> Mapping[tuple[Arm, str, str, str], Sequence[Point]]:
    """Add counts up. The first row's cover as long as the second's, and begin from nothing."""
    if form != _FORMS[0]:
        return samples
    counters: dict[tuple[Arm, str, str, str], Sequence[Point]] = {}
    for key, points in samples.items():
        gap = points[1].at - points[0].at if len(points) > 1 else timedelta(seconds=1)
        total, summed = 0.0, [Point(points[0].at - gap, 0)]
        for point in points:
            total += point.value
            summed.append(Point(point.at, total))
        counters[key] = summed
    return counters


def _arm(where: str, text: str) -> Arm:
    if text not in tuple(Arm):
        raise Unreadable(where, _ARMS.replace(", ", " or "), text)
    return Arm(text)


def _time(where: str, text: str) -> datetime:
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        return moment(where, seconds)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Unreadable(where, "seconds, or a time such as 2026-01-31T10:00:00Z", text) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def moment(where: str, seconds: float) -> datetime:
    """Turn seconds since 1970 into a moment; raises Unreadable."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise Unreadable(where, "a time in seconds", str(seconds)) from None


def _count(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = inf
    if not isfinite(value) or value < 0 or value != floor(value):
        raise Unreadable(where, "a whole number >= 0", text)
    return value


def bound_in_seconds(where: str, text: str, unit: Decimal) -> str:
    """Return a bucket's upper bound in seconds, as Prometheus writes it."""
    try:
        bound = Decimal(text)
    except InvalidOperation:
        bound = Decimal("NaN")
    if bound.is_infinite() and bound > 0:
        return "+Inf"
    if not bound.is_finite() or bound < 0:
        raise Unreadable(where, "a bucket's upper bound", text)
    return f"{(bound * unit).normalize():f}"


def write_csv(series: Sequence[Series]) -> str:
    """Write counters as CSV, by time; `read_csv` gives the same series again."""
    rows = sorted(
        (point.at, one.arm.value, one.instance, one.signal, one.outcome, f"{point.value:.0f}")
        for one in series
        for point in one.points
    )
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("time", "arm", "instance", "signal", "outcome", "total"))
    writer.writerows((at.isoformat().replace("+00:00", "Z"), *rest) for at, *rest in rows)
    return text.getvalue()
