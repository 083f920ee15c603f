"""A Prometheus in memory, as far as selectors go: an independent reader of what we send.

It accepts one selector with `=` and `=~` and refuses anything else with 400, as Prometheus would;
strings are unescaped by Go's rules. So a text that broke out of its matcher would be noticed here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

LOOK_BACK = 300.0
_ESCAPES = {"\\": "\\", '"': '"', "n": "\n"}
_STRING = re.compile(r'"((?:[^"\\\n]|\\[\\"n]|\\u[0-9a-f]{4}|\\U[0-9a-f]{8})*)"')
_MATCHER = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(=~|=)")
_SAMPLE = re.compile(r"([^{\s]+)(?:\{(.*)\})?\s(\S+)")
_METRIC = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*\{")


class BadQuery(Exception):
    """What Prometheus answers with 400."""


@dataclass(frozen=True)
class Selected:
    """A selector, read back."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]
    seconds: int | None

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Whether a series is among the selected."""
        if labels["__name__"] != self.metric:
            return False
        return all(
            (labels.get(label, "") == value)
            if operator == "="
            else re.fullmatch(value, labels.get(label, ""), re.DOTALL) is not None
            for label, operator, value in self.matchers
        )


def parse_selector(text: str) -> Selected:
    """Read one selector; raises BadQuery for anything before, between or after."""
    begin = _METRIC.match(text)
    if begin is None:
        raise BadQuery("no metric")
    at, matchers = begin.end(), []
    while text[at : at + 1] != "}":
        matcher = _MATCHER.match(text, at)
        string = _STRING.match(text, matcher.end()) if matcher else None
        if matcher is None or string is None:
            raise BadQuery(f"no matcher at {at}: {text}")
        matchers.append((matcher[1], matcher[2], _unescape(string[1])))
        at = string.end()
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] != "}":
            raise BadQuery(f"unexpected at {at}: {text}")
    rest = re.fullmatch(r"(?:\[([1-9]\d*)s\])?", text[at + 1 :])
    if rest is None:
        raise BadQuery(f"unexpected after the selector: {text}")
    return Selected(begin[0][:-1], tuple(matchers), int(rest[1]) if rest[1] else None)


def _unescape(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if code[0] in "uU" else _ESCAPES[code]

    return re.sub(r"\\(u[0-9a-f]{4}|U[0-9a-f]{8}|.)", plain, text)


@dataclass
class PromServer:
    """Series by label set, each with its samples (seconds, value); counts what it is asked."""

    series: list[tuple[dict[str, str], list[tuple[float, str]]]] = field(default_factory=list)
    metadata: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def add(self, labels: Mapping[str, str], samples: Sequence[tuple[float, float | str]]) -> None:
        """Store a series; `__name__` is among the labels."""
        self.series.append((dict(labels), [(at, str(value)) for at, value in samples]))

    def scrape(self, text: str, at: float, **labels: str) -> None:
        """Store what a target exposes at this time, with the labels that scraping gives it."""
        for line in text.splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            sample = _SAMPLE.fullmatch(line.strip())
            assert sample is not None, line
            name, own, value = sample.groups()
            found = dict(re.findall(r'(\w+)="([^"]*)"', own or ""))
            whole = {"__name__": name, **labels, **found}
            for known, samples in self.series:
                if known == whole:
                    samples.append((at, value))
                    break
            else:
                self.series.append((whole, [(at, value)]))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer as Prometheus does."""
        form = {k: str(v) for k, v in {**request.query, **await request.post()}.items()}
        self.asked.append((request.path, form))
        if request.path.endswith("/metadata"):
            metric = form["metric"]
            found = {metric: self.metadata[metric]} if metric in self.metadata else {}
            return web.json_response({"status": "success", "data": found})
        try:
            entries = self._select(request.path, form)
        except BadQuery as error:
            body = {"status": "error", "errorType": "bad_data", "error": str(error)}
            return web.json_response(body, status=400)
        content = {"resultType": "matrix", "result": entries}
        return web.Response(text=json.dumps({"status": "success", "data": content}))

    def _select(self, path: str, form: Mapping[str, str]) -> list[dict[str, Any]]:
        selected = parse_selector(form["query"])
        is_range = path.endswith("/query_range")
        if is_range == (selected.seconds is not None):
            raise BadQuery("a range selector belongs into an instant query")
        entries = []
        for labels, samples in self.series:
            if not selected.takes(labels):
                continue
            if is_range:
                values = _at_steps(samples, form)
            else:
                end = float(form["time"])
                start = end - (selected.seconds or 0)
                values = [[at, value] for at, value in samples if start < at <= end]
            if values:
                entries.append({"metric": labels, "values": values})
        return entries


def _at_steps(
    samples: Sequence[tuple[float, str]], form: Mapping[str, str]
) -> list[list[float | str]]:
    start, end, step = (float(form[name]) for name in ("start", "end", "step"))
    if (end - start) / step > 11_000:
        raise BadQuery("exceeded maximum resolution of 11,000 points per timeseries")
    values: list[list[float | str]] = []
    at = start
    while at <= end:
        before = [value for moment, value in samples if at - LOOK_BACK < moment <= at]
        if before:
            values.append([at, before[-1]])
        at += step
    return values
