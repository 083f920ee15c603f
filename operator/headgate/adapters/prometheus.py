"""Raw counter samples from Prometheus and what speaks its API: the `Metrics` port.

Owns the queries and the strict reading of their answers. Must not know thresholds, weights, or how
counts are judged. Nothing here extrapolates: no `rate`, no `increase`, no quantiles; a range
selector in an instant query returns the samples as scraped, with the times of their scrapes.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from headgate.adapters.packs import Pack
from headgate.adapters.prometheus_http import PrometheusHTTP, PrometheusSettings
from headgate.adapters.text import one_line
from headgate.core.counters import ERRORS, LATENCY, Arm, Point, Series
from headgate.ports import Arms, MetricsUnavailable

_T = TypeVar("_T")
_QUERY = "/api/v1/query"
_REGEX_SPECIAL = str.maketrans({char: f"\\{char}" for char in r"\.+*?()|[]{}^$"})
_STRING_SPECIAL = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_MESSAGE_LENGTH = 200


@dataclass(frozen=True, slots=True)
class RawSeries:
    """One entry of a range selector's answer: its labels, and its samples as scraped."""

    labels: Mapping[str, str]
    points: tuple[Point, ...]


def quote(text: str) -> str:
    """Return `text` as a PromQL string."""
    return f'"{text.translate(_STRING_SPECIAL)}"'


def render_query(
    metric: str, label: str, values: Sequence[str], matchers: Mapping[str, str], seconds: int
) -> str:
    """Return the selector of all samples whose `label` is one of `values`, as text, not pattern."""
    one_of = "|".join(value.translate(_REGEX_SPECIAL) for value in values)
    conditions = [f"{label}=~{quote(one_of)}"]
    conditions += [f"{name}={quote(value)}" for name, value in matchers.items()]
    return f"{metric}{{{','.join(conditions)}}}[{seconds}s]"


def parse_matrix(raw: bytes) -> Sequence[RawSeries]:
    """Read the answer to a range selector; empty when no series matches.

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
    return RawSeries(labels, tuple(_parse_points(values)))


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
    match sample:
        case [int() | float() as seconds, str(text)] if not isinstance(seconds, bool):
            pass
        case _:
            raise MetricsUnavailable(f"not a sample: {one_line(str(sample), 80)}")
    try:
        value = float(text)
    except ValueError as error:
        raise MetricsUnavailable(f"not a number: {one_line(text, 80)}") from error
    if math.isinf(value) or value < 0:
        raise MetricsUnavailable(f"a counter cannot be {text}")
    return float(seconds), value


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise MetricsUnavailable(f"not a time: {seconds}") from error


class Prometheus:
    """One Prometheus-compatible source, read through one metric pack."""

    def __init__(self, settings: PrometheusSettings, pack: Pack) -> None:
        self._settings = settings
        self._pack = pack
        self._http = PrometheusHTTP(settings)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def check(self) -> None:
        """Ask for a constant; raises MetricsUnavailable if queries are not answered."""
        await self._ask({"query": "vector(1)"}, parse_answer)

    async def read(self, arms: Arms, since: datetime, now: datetime) -> Sequence[Series]:
        """Read the raw samples of both arms up to `now`, from `look_back` before `since` on.

        The look-back brings the last sample before `since`, from which the first difference is
        taken. At most `longest_window` before `now` is read. An arm without a position is not
        asked for. Empty when there are no samples: silence is not zero failures. Series of other
        routes, and of backends that the gateway merged into one, are left out.

        Raises MetricsUnavailable, naming the query, when the source does not answer in time,
        completely and in order, or returns one counter twice (a proxy scraped by two jobs, or
        replicas of one Prometheus that are not deduplicated).
        """
        names = {
            self._pack.arm.of(arms.namespace, arms.route, position): arm
            for arm, position in ((Arm.STABLE, arms.stable), (Arm.CANARY, arms.canary))
            if position is not None
        }
        if not names:
            return ()
        errors, latency = await asyncio.gather(
            self._read_signal(ERRORS, names, since, now),
            self._read_signal(LATENCY, names, since, now),
        )
        return (*errors, *latency)

    async def _read_signal(
        self, signal: str, names: Mapping[str, Arm], since: datetime, now: datetime
    ) -> Sequence[Series]:
        source = self._pack.errors if signal == ERRORS else self._pack.latency
        window = min(now - since + self._settings.look_back, self._settings.longest_window)
        query = render_query(
            source.metric,
            self._pack.arm.label,
            sorted(names),
            self._settings.matchers,
            max(1, math.ceil(window.total_seconds())),
        )
        form = {"query": query, "time": f"{now.timestamp():.3f}"}
        return await self._ask(form, lambda raw: self._place(signal, names, parse_matrix(raw)))

    async def _ask(self, form: Mapping[str, str], parse: Callable[[bytes], _T]) -> _T:
        """Send one query; what goes wrong is told with the query, whoever noticed it."""
        seconds = math.ceil(self._settings.timeout.total_seconds())
        try:
            return parse(await self._http.post(_QUERY, {**form, "timeout": f"{seconds}s"}))
        except MetricsUnavailable as error:
            about = f"Prometheus {self._settings.url}: {form['query']}"
            raise MetricsUnavailable(f"{about}: {error}") from error

    def _place(
        self, signal: str, names: Mapping[str, Arm], found: Sequence[RawSeries]
    ) -> Sequence[Series]:
        """Turn answers into series of an arm, an instance and an outcome, in a fixed order."""
        placed: dict[tuple[Arm, str, str], Series] = {}
        for raw in found:
            arm = names.get(raw.labels.get(self._pack.arm.label, ""))
            series = self._series(signal, arm, raw) if arm else None
            if series is None:
                continue
            place = (series.arm, series.instance, series.key)
            if place in placed:
                raise MetricsUnavailable(f"one counter is there twice: {dict(raw.labels)}")
            placed[place] = series
        return [placed[place] for place in sorted(placed)]

    def _series(self, signal: str, arm: Arm, raw: RawSeries) -> Series | None:
        """Name the instance and the outcome; None if the series counts nothing of ours."""
        source = self._pack.errors if signal == ERRORS else self._pack.latency
        first, *_ = self._pack.instance
        if source.label not in raw.labels or first not in raw.labels:
            wanted = f"{source.label} and {first}"
            raise MetricsUnavailable(f"wanted labels {wanted}, found {dict(raw.labels)}")
        key = raw.labels[source.label]
        try:
            outcome = source.outcome(key)
        except ValueError as error:
            raise MetricsUnavailable(str(error)) from error
        if outcome is None or not raw.points:
            return None
        instance = "/".join(raw.labels[name] for name in self._pack.instance if name in raw.labels)
        return Series(signal, arm, instance, outcome, key, raw.points)
