"""Objectives as a ModelDeployment writes them, read from its YAML and written as it.

Owns the fields of `spec.objectives[]`. Must not know a cluster, nor any other format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from headgate.api.quantities import Duration, Percentage
from headgate.core.slo.gate import in_words
from headgate.core.slo.level import Errors, Latency, Own, Selector, ServiceLevel
from headgate.core.wording import plain
from headgate.ports import Service

LEAST, MOST = Decimal(50), Decimal("99.999")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class NotUsable(ValueError):
    """A document that cannot be taken over; the message names the field and what was found."""


@dataclass(frozen=True, slots=True)
class Promises:
    """What one ModelDeployment promises."""

    service: Service
    levels: tuple[ServiceLevel, ...]


def parse_promises(document: Mapping[str, Any]) -> Promises:
    """Read the objectives of a ModelDeployment; raises NotUsable, naming the field."""
    metadata, spec = document.get("metadata"), document.get("spec")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise NotUsable("wanted metadata.name and spec")
    namespace = metadata.get("namespace", "default")
    for text in (*name.split("."), namespace):
        check_label(text, "metadata")
    objectives = spec.get("objectives") or []
    if not isinstance(objectives, list):
        raise NotUsable("spec.objectives: wanted a list")
    levels = tuple(_parse_level(each, f"spec.objectives[{n}]") for n, each in enumerate(objectives))
    if len({level.name for level in levels}) < len(levels):
        raise NotUsable("spec.objectives: wanted names that differ")
    return Promises(Service(namespace, name, name), levels)


def _parse_level(entry: Any, path: str) -> ServiceLevel:
    if not isinstance(entry, dict):
        raise NotUsable(f"{path}: wanted a mapping, found {_shown(entry)}")
    name = check_label(entry.get("name"), f"{path}.name")
    given = [kind for kind in ("errors", "latency", "series") if entry.get(kind) is not None]
    if len(given) != 1:
        raise NotUsable(f"{path}: wanted exactly one of errors, latency and series")
    try:
        return ServiceLevel(
            name=name,
            target=_target(entry.get("target"), f"{path}.target"),
            counts=_counts(given[0], entry[given[0]], f"{path}.{given[0]}"),
            window=Duration(_text(entry.get("window", "30d"), f"{path}.window")).timedelta,
        )
    except NotUsable:
        raise
    except ValueError as error:
        raise NotUsable(f"{path}: {error}") from error


def _counts(kind: str, content: Any, path: str) -> Errors | Latency | Own:
    if not isinstance(content, dict):
        raise NotUsable(f"{path}: wanted a mapping, found {_shown(content)}")
    match kind:
        case "errors":
            return Errors()
        case "latency":
            threshold = _text(content.get("threshold"), f"{path}.threshold")
            return Latency(Duration(threshold).timedelta)
    selectors = {
        role: _selector(content[role], f"{path}.{role}")
        for role in ("total", "good", "bad")
        if content.get(role) is not None
    }
    if "total" not in selectors:
        raise NotUsable(f"{path}.total: wanted the counter of all requests")
    return Own(selectors["total"], selectors.get("good"), selectors.get("bad"))


def _selector(content: Any, path: str) -> Selector:
    if not isinstance(content, dict):
        raise NotUsable(f"{path}: wanted metric and matchers, found {_shown(content)}")
    matchers, where = content.get("matchers") or {}, f"{path}.matchers"
    if not isinstance(matchers, dict):
        raise NotUsable(f"{where}: wanted labels and values, found {_shown(matchers)}")
    choices, where_else = content.get("anyOf") or {}, f"{path}.anyOf"
    if not isinstance(choices, dict) or not all(isinstance(v, list) for v in choices.values()):
        raise NotUsable(f"{where_else}: wanted labels and lists of values, found {_shown(choices)}")
    return Selector(
        _text(content.get("metric"), f"{path}.metric"),
        tuple((_text(name, where), _text(value, where)) for name, value in matchers.items()),
        tuple(
            (_text(name, where_else), tuple(_text(value, where_else) for value in values))
            for name, values in choices.items()
        ),
    )


def _target(value: Any, path: str) -> Decimal:
    percent = Percentage(_text(value, path)).decimal
    check_percent(percent, path)
    return percent / 100


def check_percent(percent: Decimal, path: str) -> None:
    """Raise NotUsable unless an objective may have this target."""
    if not LEAST <= percent <= MOST:
        raise NotUsable(f"{path}: wanted {LEAST} to {MOST} percent, found {percent.normalize():f}")


def check_label(value: Any, path: str) -> str:
    """Return `value`; raises NotUsable unless it is a DNS label."""
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        raise NotUsable(f"{path}: wanted a DNS label, found {_shown(value)}")
    return value


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise NotUsable(f"{path}: wanted text, found {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    return plain(repr(value), 80)


def render_level(level: ServiceLevel) -> dict[str, Any]:
    """Write one entry of `spec.objectives`."""
    rendered: dict[str, Any] = {
        "name": level.name,
        "target": f"{(100 * level.target).normalize():f}",
        "window": in_words(level.window),
    }
    match level.counts:
        case Errors():
            return rendered | {"errors": {}}
        case Latency(threshold):
            milliseconds = threshold.total_seconds() * 1000
            return rendered | {"latency": {"threshold": f"{milliseconds:.0f}ms"}}
        case Own() as own:
            return rendered | {"series": dict(_render_own(own))}


def _render_own(own: Own) -> Iterator[tuple[str, dict[str, Any]]]:
    for role, selector in (("good", own.good), ("bad", own.bad), ("total", own.total)):
        if selector is not None:
            rendered: dict[str, Any] = {"metric": selector.metric}
            if selector.matchers:
                rendered["matchers"] = dict(selector.matchers)
            if selector.any_of:
                rendered["anyOf"] = {name: list(values) for name, values in selector.any_of}
            yield role, rendered
