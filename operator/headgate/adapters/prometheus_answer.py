"""What Prometheus answers: read strictly, or not at all.

Owns what a whole, sound answer is. Must not know what was asked, nor what the series mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from headgate.adapters.text import one_line
from headgate.core.counters import Point
from headgate.ports import MetricsUnavailable

_MESSAGE_LENGTH = 200


@dataclass(frozen=True, slots=True)
class RawSeries:
    """One entry of a matrix: its labels, and its samples as they came, not yet looked at."""

    labels: Mapping[str, str]
    values: Sequence[Any]

    def points(self) -> tuple[Point, ...]:
        """Read the samples; raises MetricsUnavailable if they are no counter's.

        Whoever the series belongs to reads them, so that one odd series of somebody's own is
        nobody else's loss.
        """
        return tuple(_parse_points(self.values))


def parse_matrix(raw: bytes) -> Sequence[RawSeries]:
    """Read the answer to a range selector or a range query; empty when no series matches.

    Raises MetricsUnavailable for anything but a whole, successful answer: half an answer would
    look like less traffic or fewer errors than there were.
    """
    content = parse_answer(raw)
    if content.get("resultType") != "matrix" or not isinstance(content.get("result"), list):
        raise MetricsUnavailable(f"wanted a matrix, found {content.get('resultType')!r}")
    return [_parse_series(entry) for entry in content["result"]]


def parse_answer(raw: bytes) -> dict[str, Any]:
    """Read the envelope of a successful answer and return its `data`.

    Warnings fail it: Thanos warns, and VictoriaMetrics says `isPartial`, when a store is missing.
    """
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MetricsUnavailable("the answer is not JSON") from error
    if not isinstance(answer, dict) or answer.get("status") != "success":
        said = answer.get("error", "") if isinstance(answer, dict) else ""
        raise MetricsUnavailable(f"no success: {one_line(str(said), _MESSAGE_LENGTH)}")
    if answer.get("warnings"):
        said = one_line(str(answer["warnings"]), _MESSAGE_LENGTH)
        raise MetricsUnavailable(f"the answer may be incomplete: {said}")
    if answer.get("isPartial"):
        raise MetricsUnavailable("the answer is incomplete: isPartial")
    if not isinstance(answer.get("data"), dict):
        raise MetricsUnavailable("the answer has no data")
    content: dict[str, Any] = answer["data"]
    return content


def _parse_series(entry: Any) -> RawSeries:
    match entry:
        case {"metric": dict(labels), "values": list(values)}:
            pass
        case {"histograms": _}:
            raise MetricsUnavailable("wanted classic buckets, found a native histogram")
        case _:
            raise MetricsUnavailable("a series has no labels or no values")
    if not all(isinstance(value, str) for value in labels.values()):
        raise MetricsUnavailable("a label is not text")
    return RawSeries(labels, values)


def _parse_points(values: Sequence[Any]) -> Iterator[Point]:
    """Read samples in the order of time, each once.

    NaN is how VictoriaMetrics returns a staleness marker, which Prometheus leaves out: the series
    ended there. It is left out here too. Markers are written once, so two in a row are nonsense.
    """
    latest, ended = -math.inf, False
    for sample in values:
        seconds, value = _parse_sample(sample)
        if seconds <= latest:
            raise MetricsUnavailable(f"samples are doubled or not in order at {seconds}")
        latest = seconds
        if math.isnan(value):
            if ended:
                raise MetricsUnavailable(f"a counter is not a number at {seconds}")
            ended = True
            continue
        ended = False
        yield Point(_moment(seconds), value)


def _parse_sample(sample: Any) -> tuple[float, float]:
    # Plain comparisons: this runs for every sample there is, and `match` takes twice the time.
    if not isinstance(sample, list) or len(sample) != 2:
        raise MetricsUnavailable(f"not a sample: {one_line(str(sample), 80)}")
    seconds, text = sample
    if type(seconds) not in (int, float) or not isinstance(text, str):
        raise MetricsUnavailable(f"not a sample: {one_line(str(sample), 80)}")
    try:
        value = float(text)
    except ValueError as error:
        raise MetricsUnavailable(f"not a number: {one_line(text, 80)}") from error
    if math.isinf(value) or value < 0:
        raise MetricsUnavailable(f"a counter cannot be {text}")
    try:
        return float(seconds), value
    except OverflowError as error:
        raise MetricsUnavailable("not a time: a number without end") from error


@lru_cache(maxsize=8192)
def _moment(seconds: float) -> datetime:
    """Read a time; all series of a target have the same ones, hence the cache."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise MetricsUnavailable(f"not a time: {seconds}") from error
