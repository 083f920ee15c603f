"""OpenSLO v1 documents into objectives.

Owns what of OpenSLO can be kept and what is refused. Must not know files, nor where results go.
Specification: https://github.com/OpenSLO/OpenSLO (v1), Apache-2.0.

    OpenSLO                                  Headgate
    objectives[].target | targetPercent      target
    timeWindow[0], rolling, in days or weeks window
    ratioMetric good|bad and total           series
    thresholdMetric on a histogram, lt|lte   series: the bucket at the value, of the count
    budgetingMethod Occurrences              as we count
    Timeslices, calendars, raw, gauges       refused
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from headgate.cli.slo_levels import NotUsable, check_label, check_percent
from headgate.cli.slo_selector import NotPlain, Plain, parse_plain
from headgate.core.slo.level import Own, Selector, ServiceLevel
from headgate.core.wording import plain

VERSION = "openslo/v1"
_WINDOW = re.compile(r"([0-9]{1,5})(m|h|d|w)")
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(days=7),
}

Document = Mapping[str, Any]
_Named = Mapping[tuple[str, str], Document]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one SLO: its objectives, or why there are none; and what was left behind."""

    name: str
    levels: tuple[ServiceLevel, ...]
    refusal: str = ""
    left: str = ""


def take_over(documents: Sequence[Document]) -> Sequence[Taken]:
    """Turn each SLO into objectives; SLIs and data sources are found among the documents."""
    named = {
        (str(each.get("kind")), _name(each)): each
        for each in documents
        if each.get("apiVersion") == VERSION
    }
    taken = []
    for document in documents:
        if document.get("kind") != "SLO":
            continue
        name = _name(document)
        try:
            left = "alertPolicies" if _mapping(document, "spec").get("alertPolicies") else ""
            taken.append(Taken(name, tuple(_levels(document, named)), left=left))
        except (NotUsable, NotPlain) as error:
            taken.append(Taken(name, (), str(error)))
    return taken


def _levels(document: Document, named: _Named) -> Iterator[ServiceLevel]:
    if document.get("apiVersion") != VERSION:
        raise NotUsable(f"apiVersion: wanted {VERSION}, found {_shown(document.get('apiVersion'))}")
    spec, name = _mapping(document, "spec"), check_label(_name(document), "metadata.name")
    if spec.get("budgetingMethod") != "Occurrences":
        raise NotUsable(
            "budgetingMethod: wanted Occurrences, which counts requests, "
            f"found {_shown(spec.get('budgetingMethod'))}"
        )
    window = _window(spec)
    objectives = spec.get("objectives")
    if not isinstance(objectives, list) or not objectives:
        raise NotUsable("objectives: wanted at least one")
    for n, objective in enumerate(objectives):
        path = f"objectives[{n}]"
        if not isinstance(objective, dict):
            raise NotUsable(f"{path}: wanted a mapping")
        if objective.get("indicator") or objective.get("indicatorRef"):
            raise NotUsable(f"{path}: a composite of indicators has no one count of requests")
        indicator = _indicator(spec, named)
        own = _own(indicator, objective, named, path)
        level = name if len(objectives) == 1 else f"{name}-{n + 1}"
        try:
            yield ServiceLevel(level, _target(objective, path), own, window)
        except ValueError as error:
            raise NotUsable(f"{path}: {error}") from error


def _window(spec: Document) -> timedelta:
    windows = spec.get("timeWindow")
    if not isinstance(windows, list) or len(windows) != 1 or not isinstance(windows[0], dict):
        raise NotUsable("timeWindow: wanted exactly one")
    window = windows[0]
    if window.get("calendar") or window.get("isRolling") is not True:
        raise NotUsable("timeWindow: wanted a rolling window, found one aligned to the calendar")
    duration = window.get("duration")
    match = _WINDOW.fullmatch(duration) if isinstance(duration, str) else None
    if match is None:
        raise NotUsable(
            f"timeWindow.duration: wanted days or weeks such as 30d, found {_shown(duration)}"
        )
    return int(match[1]) * _UNITS[match[2]]


def _target(objective: Document, path: str) -> Decimal:
    given = {key: objective[key] for key in ("target", "targetPercent") if key in objective}
    if len(given) != 1:
        raise NotUsable(f"{path}: wanted one of target and targetPercent")
    key, value = given.popitem()
    percent = _number(value, f"{path}.{key}") * (100 if key == "target" else 1)
    check_percent(percent, f"{path}.target")
    return percent / 100


def _indicator(spec: Document, named: _Named) -> Document:
    if "indicatorRef" in spec:
        found = named.get(("SLI", str(spec["indicatorRef"])))
        if found is None:
            raise NotUsable(f"indicatorRef: no SLI {_shown(spec['indicatorRef'])} in these files")
        return _mapping(found, "spec")
    return _mapping(_mapping(spec, "indicator"), "spec")


def _own(indicator: Document, objective: Document, named: _Named, path: str) -> Own:
    if "ratioMetric" in indicator:
        return _ratio(_mapping(indicator, "ratioMetric"), named)
    if "thresholdMetric" in indicator:
        found = _query(_mapping(indicator, "thresholdMetric"), named, "thresholdMetric")
        return _threshold(found, objective, path)
    raise NotUsable("indicator: wanted ratioMetric or thresholdMetric")


def _ratio(ratio: Document, named: _Named) -> Own:
    if "raw" in ratio:
        raise NotUsable("ratioMetric.raw: a stored ratio has no counts of requests")
    roles = [role for role in ("good", "bad", "total") if role in ratio]
    if roles not in (["good", "total"], ["bad", "total"]):
        raise NotUsable(f"ratioMetric: wanted good or bad, and total, found {', '.join(roles)}")
    selectors: dict[str, Selector] = {}
    for role in roles:
        where = f"ratioMetric.{role}"
        found = _query(_mapping(ratio, role), named, where)
        if not found.is_rated and ratio.get("counter") is not True:
            raise NotUsable(f"{where}: wanted a counter (counter: true), found a gauge")
        selectors[role] = found.selector
    return Own(selectors["total"], selectors.get("good"), selectors.get("bad"))


def _threshold(found: Plain, objective: Document, path: str) -> Own:
    """Count the bucket that ends at the value; it holds what equals the value as well."""
    metric, op = found.selector.metric, objective.get("op")
    if not metric.endswith("_bucket"):
        raise NotUsable(f"thresholdMetric: wanted a histogram's buckets, found the gauge {metric}")
    if op not in ("lt", "lte"):
        raise NotUsable(f"{path}.op: wanted lt or lte, for buckets count upwards; found {op!r}")
    value = _number(objective.get("value"), f"{path}.value")
    any_of = found.selector.any_of
    if "le" in dict(any_of):
        raise NotUsable("thresholdMetric: wanted one bucket or none, found several")
    matchers = tuple(pair for pair in found.selector.matchers if pair[0] != "le")
    bound = ("le", f"{value.normalize():f}")
    count = f"{metric.removesuffix('_bucket')}_count"
    good = Selector(metric, (*matchers, bound), any_of)
    return Own(Selector(count, matchers, any_of), good=good)


def _query(metric: Document, named: _Named, where: str) -> Plain:
    source = _mapping(metric, "metricSource")
    kind = source.get("type")
    if "metricSourceRef" in source:
        found = named.get(("DataSource", str(source["metricSourceRef"])))
        kind = _mapping(found, "spec").get("type", kind) if found else kind
    if kind is not None and str(kind).lower() != "prometheus":
        raise NotUsable(f"{where}.metricSource: wanted Prometheus, found {_shown(kind)}")
    spec = source.get("spec")
    queries = [
        spec[key]
        for key in ("query", "promql")
        if isinstance(spec, dict) and isinstance(spec.get(key), str)
    ]
    if not queries:
        raise NotUsable(f"{where}.metricSource.spec: wanted a query")
    try:
        return parse_plain(queries[0])
    except ValueError as error:
        raise NotPlain(f"{where}: {error}") from error


def _number(value: Any, path: str) -> Decimal:
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise NotUsable(f"{path}: wanted a number, found {_shown(value)}")
    return number


def _mapping(document: Document, key: str) -> Document:
    found = document.get(key)
    if not isinstance(found, dict):
        raise NotUsable(f"{key}: wanted a mapping, found {_shown(found)}")
    return found


def _name(document: Document) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


def _shown(value: Any) -> str:
    return plain(repr(value), 80)
