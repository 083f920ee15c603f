"""Counts as the text that Prometheus reads.

Owns names, labels and the order of lines. Must not know how counts come about. Every series of a
revision is there from its first event on, zeros included, so that an increase is never lost. Sums
of values are not told: sums of floats depend on their order, and replicas must add up exactly.
Source: Prometheus, "Exposition formats", text format 0.0.4, classic histograms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from headgate.collector.counting import Bins, Tally
from headgate.collector.events import Address
from headgate.core.drift.profile import NumberFeature

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

_FAMILIES: Final = (
    ("headgate_input", "histogram", "Values of a number feature, cumulative by upper bound."),
    ("headgate_input_category_total", "counter", "Values of a category feature."),
    ("headgate_input_missing_total", "counter", "Rows without a usable value of a feature."),
    ("headgate_prediction", "histogram", "Predicted numbers, cumulative by upper bound."),
    ("headgate_prediction_category_total", "counter", "Predicted categories."),
    ("headgate_prediction_missing_total", "counter", "Answers without a usable prediction."),
)


def render(tallies: Iterable[tuple[Address, Tally]]) -> str:
    """Write the counts of all revisions; empty before the first event."""
    lines: dict[str, list[str]] = {name: [] for name, _, _ in _FAMILIES}
    for address, tally in tallies:
        revision = (
            f'model_namespace="{address.namespace}",model_deployment="{address.deployment}",'
            f'model_revision="{address.hash}"'
        )
        for bins in tally.inputs:
            feature = f'{revision},feature="{_escaped(bins.feature.name)}"'
            _add(lines, "headgate_input", feature, bins)
        for bins in tally.answers:
            _add(lines, "headgate_prediction", revision, bins)
    return "".join(_page(lines))


def _add(lines: dict[str, list[str]], name: str, common: str, bins: Bins) -> None:
    *values, missing = bins.counts
    if isinstance(bins.feature, NumberFeature):
        _write(lines[name], f"{name}_bucket", common, "le", bins.labels, tuple(accumulate(values)))
    else:
        family = f"{name}_category_total"
        _write(lines[family], family, common, "category", bins.labels, values)
    family = f"{name}_missing_total"
    lines[family].append(f"{family}{{{common}}} {missing}\n")


def _write(
    lines: list[str],
    name: str,
    common: str,
    label: str,
    values: Sequence[str],
    counts: Sequence[int],
) -> None:
    start = f'{name}{{{common},{label}="'
    lines += [
        f'{start}{_escaped(value)}"}} {number}\n'
        for value, number in zip(values, counts, strict=True)
    ]


def _page(lines: dict[str, list[str]]) -> Iterator[str]:
    for name, kind, text in _FAMILIES:
        if lines[name]:
            yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
            yield from lines[name]


def _escaped(value: str) -> str:
    return value.translate(_ESCAPES)
