"""Recorded traffic from Prometheus: the answer to a range query for raw counters.

Owns which labels say what a series counts, and what is refused. Must not know what is done with the
series. Rates are no counters: what `rate()` gives cannot be read, as its counts are lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf, isnan
from typing import Any

from headgate.core.counters import BAD, ERRORS, GOOD, LATENCY, Arm, Point, Series
from headgate.simulation.recorded import Unreadable, bound_in_seconds, moment

_CODES = (
    "response_code",
    "envoy_response_code",
    "response_code_class",
    "envoy_response_code_class",
    "code",
    "status",
    "status_code",
)
"""Labels that hold the code or the class of an answer, by Envoy, Istio, Knative and others."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The series of an arm: their `label` is `value`, or begins with what stands before its `*`."""

    label: str
    value: str

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels is of this arm."""
        found = labels.get(self.label)
        if found is None or not self.value.endswith("*"):
            return found == self.value
        return found.startswith(self.value[:-1])


OWN_ARMS = {arm: Chosen("arm", arm.value) for arm in Arm}
"""How our own exports name the arms."""


def read_prometheus(
    text: str, name: str, arms: Mapping[Arm, Chosen] = OWN_ARMS
) -> Sequence[Series]:
    """Read the answer to a range query for raw counters; `name` is what errors call the file.

    Failures are answers of class 5 by the label of their code, or `outcome` bad; histograms are
    told by `le`. Series of neither arm, and of answers of class 1, are left out.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise Unreadable(name, "JSON", "too many levels") from None
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise Unreadable(f"{name}:{line}", "JSON", str(error)) from error
    found: list[Series] = []
    for where, entry in _entries(document, name):
        one = _read_series(where, entry, arms)
        if one is not None and one.points:
            found.append(one)
    if not found:
        wanted = " or ".join(f'{one.label}="{one.value}"' for one in arms.values())
        raise Unreadable(name, f"series with {wanted}", f"none of {_labels_of(document, name)}")
    return _unique(found, name)


def _entries(document: Any, name: str) -> Iterator[tuple[str, Any]]:
    match document:
        case {"status": str(status)} if status != "success":
            raise Unreadable(f"{name}: status", "success", status)
        case {"data": inner}:
            document = inner
    match document:
        case {"resultType": str(kind)} if kind != "matrix":
            raise Unreadable(f"{name}: resultType", "matrix, of a range query", kind)
        case {"result": list(entries)} | list(entries):
            yield from ((f"{name}: result[{n}]", entry) for n, entry in enumerate(entries))
        case _:
            raise Unreadable(name, "the JSON of /api/v1/query_range", document)


def _labels_of(document: Any, name: str) -> str:
    labels = {
        label
        for _, entry in _entries(document, name)
        if isinstance(entry, dict) and isinstance(entry.get("metric"), dict)
        for label in entry["metric"]
    }
    return ", ".join(sorted(labels)) or "no series"


def _read_series(where: str, entry: Any, arms: Mapping[Arm, Chosen]) -> Series | None:
    match entry:
        case {"metric": dict(labels), "values": list(values)}:
            pass
        case _:
            raise Unreadable(where, "metric and values", entry)
    for label, value in labels.items():
        if not isinstance(value, str):
            raise Unreadable(f"{where}.metric.{label}", "text", value)
    arm = next((arm for arm, chosen in arms.items() if chosen.fits(labels)), None)
    counted = _counted(f"{where}.metric", labels) if arm is not None else None
    if arm is None or counted is None:
        return None
    signal, outcome = counted
    instance = "/".join(labels[one] for one in ("instance", "pod") if one in labels)
    key = json.dumps({k: v for k, v in labels.items() if k != "arm"}, sort_keys=True)
    points = tuple(_points(where, values))
    return Series(signal, arm, instance, outcome, key, points)


def _counted(where: str, labels: Mapping[str, str]) -> tuple[str, str] | None:
    """Tell signal and outcome of a series; None if it counts no request."""
    signal, metric = labels.get("signal", ERRORS), labels.get("__name__", "")
    if "outcome" in labels:
        outcome = labels["outcome"]
        if signal == LATENCY:
            outcome = bound_in_seconds(f"{where}.outcome", outcome, Decimal(1))
        elif signal == ERRORS and outcome not in (GOOD, BAD):
            raise Unreadable(f"{where}.outcome", "good or bad", outcome)
        return signal, outcome
    if "le" in labels:
        return LATENCY, bound_in_seconds(f"{where}.le", labels["le"], _unit(where, metric))
    code = next((labels[label] for label in _CODES if label in labels), None)
    if code is None:
        raise Unreadable(where, f"a label outcome, le or one of {', '.join(_CODES)}", dict(labels))
    if code[:1] not in "12345" or not code:
        raise Unreadable(where, "a code such as 503, 5xx or 5", code)
    return None if code[0] == "1" else (ERRORS, BAD if code[0] == "5" else GOOD)


def _unit(where: str, metric: str) -> Decimal:
    """Seconds per unit of a histogram, by its name; Envoy's says nothing and is milliseconds."""
    if "milliseconds" in metric or metric == "envoy_cluster_upstream_rq_time_bucket":
        return Decimal("0.001")
    if "seconds" in metric:
        return Decimal(1)
    raise Unreadable(where, "seconds or milliseconds in the histogram's name", metric)


def _points(where: str, values: Sequence[Any]) -> Iterator[Point]:
    latest = -inf
    for n, sample in enumerate(values):
        place = f"{where}.values[{n}]"
        match sample:
            case [int() | float() as seconds, str(text)] if not isinstance(seconds, bool):
                pass
            case _:
                raise Unreadable(place, '[seconds, "number"]', sample)
        if seconds <= latest:
            raise Unreadable(place, "a later time than the sample before", str(seconds))
        latest = seconds
        value = _number(place, text)
        if not isnan(value):  # a marker that the series ended
            yield Point(moment(place, seconds), value)


def _number(where: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if value < 0 or value == inf:
        raise Unreadable(where, "a counter, a number >= 0", text)
    return value


def _unique(found: Sequence[Series], name: str) -> Sequence[Series]:
    keyed: dict[tuple[Arm, str, str], Series] = {}
    for one in found:
        if keyed.setdefault((one.arm, one.instance, one.key), one) is not one:
            raise Unreadable(name, "each series once", one.key)
    return [keyed[key] for key in sorted(keyed)]


def write_prometheus(series: Sequence[Series]) -> str:
    """Write counters as the answer to a range query; `read_prometheus` gives them again."""
    result = [
        {
            "metric": {
                "__name__": "headgate_simulated_total",
                "arm": one.arm.value,
                "instance": one.instance,
                "outcome": one.outcome,
                "signal": one.signal,
            },
            "values": [[point.at.timestamp(), f"{point.value:.0f}"] for point in one.points],
        }
        for one in series
    ]
    data = {"resultType": "matrix", "result": result}
    return json.dumps({"status": "success", "data": data}) + "\n"
