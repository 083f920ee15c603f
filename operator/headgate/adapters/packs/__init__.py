"""Metric packs: how one source names what we count, as data.

Owns the format of the files beside it. Must not know how they are queried or judged.

A signal's `kind` says which keys describe it:

    ratio       metric, label, good, bad    one counter by the value of a label
    ratio       bad, total (or good)        two counters, each {metric, matchers}
    histogram   metric, seconds_per_unit    classic buckets; the label is `le`; `signed` values too
    categories  metric, label               one counter for each value of the label
    categories  metric, category            one counter that is one category

`either: true` marks a histogram whose smaller values are as telling as larger ones, `paired: true`
a source that reads both arms in one scrape.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from headgate.adapters.packs.model import (
    ArmLabel,
    Categories,
    Errors,
    Kind,
    Latency,
    Measure,
    Pack,
    Read,
    Signal,
    Units,
    Whole,
)
from headgate.core.counters import BAD, GOOD

TOTAL = "total"

__all__ = [
    "TOTAL",
    "ArmLabel",
    "Categories",
    "Errors",
    "Kind",
    "Latency",
    "Measure",
    "Pack",
    "Read",
    "Signal",
    "Units",
    "Whole",
    "load_pack",
    "pack_names",
    "parse_pack",
]


def pack_names() -> tuple[str, ...]:
    """Return the names of the packs that we ship, sorted."""
    entries = [entry.name for entry in files(__name__).iterdir()]
    return tuple(sorted(e.removesuffix(".yaml") for e in entries if e.endswith(".yaml")))


@cache
def load_pack(name: str) -> Pack:
    """Read a pack that we ship; raises ValueError, with the names there are, if there is none."""
    known = pack_names()
    if name not in known:
        raise ValueError(f"no metric pack {name!r}; there are: {', '.join(known)}")
    text = (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_pack(yaml.safe_load(text))


def parse_pack(document: Mapping[str, Any]) -> Pack:
    """Turn a pack's file into a value; a file that is wrong is our own mistake (KeyError)."""
    labels = tuple(document.get("labels", ()))
    signals = {name: _parse_signal(entry, labels) for name, entry in document["signals"].items()}
    return Pack(
        name=document["name"],
        title=document["title"],
        text=" ".join(document["text"].split()),
        arm=ArmLabel(document["arm"]["label"], document["arm"]["value"]),
        scope=document.get("scope", {}),
        instance=tuple(document["instance"]),
        signals=signals,
        paired=document.get("paired", False),
    )


def _parse_signal(entry: Mapping[str, Any], labels: tuple[str, ...]) -> Signal:
    kind = Kind(entry["kind"])
    reads = _parse_reads(kind, entry)
    units = entry.get("units")
    proper = "histogram" if kind is Kind.HISTOGRAM else "counter"
    return Signal(
        kind=kind,
        text=" ".join(entry["text"].split()),
        reads=reads,
        unit=entry.get("unit", ""),
        bad=entry.get("bad_text", ""),
        either=entry.get("either", False),
        by=tuple(entry.get("by", ())),
        labels=labels,
        units=Units(units["label"], _parse_units(units, reads)) if units else None,
        types={read.measure.metric: proper for read in reads} | entry.get("types", {}),
    )


def _parse_reads(kind: Kind, entry: Mapping[str, Any]) -> tuple[Read, ...]:
    matchers = entry.get("matchers", {})
    if "metric" not in entry:
        return _parse_two(entry, matchers)
    metric = entry["metric"]
    measure: Measure
    match kind:
        case Kind.HISTOGRAM:
            per_unit = Decimal(entry["seconds_per_unit"])
            measure = Latency(metric, "le", per_unit, entry.get("signed", False))
        case Kind.CATEGORIES if "category" in entry:
            measure = Whole(metric, entry["category"])
        case Kind.CATEGORIES:
            measure = Categories(metric, entry["label"])
        case Kind.RATIO:
            outcomes = dict.fromkeys(entry["good"], GOOD) | dict.fromkeys(entry["bad"], BAD)
            measure = Errors(metric, entry["label"], outcomes)
    return (Read(measure, matchers),)


def _parse_two(entry: Mapping[str, Any], matchers: Mapping[str, str]) -> tuple[Read, ...]:
    """Read a ratio of two metrics: what is bad, and all or what is good."""
    other = TOTAL if TOTAL in entry else GOOD
    return tuple(
        Read(Whole(entry[part]["metric"], part), matchers | entry[part].get("matchers", {}))
        for part in (BAD, other)
    )


def _parse_units(units: Mapping[str, Any], reads: tuple[Read, ...]) -> tuple[Read, ...]:
    """Read the units' own counters; without any, the signal's series name the unit themselves."""
    return _parse_two(units, units.get("matchers", {})) if BAD in units else reads
