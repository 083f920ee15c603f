"""Many callers' questions, few queries.

Owns which questions travel together and how an answer is parted again. Must not know what the
series mean, nor how a query is sent.

A hundred rollouts that look at the same moment would ask the same metric a hundred times. What is
asked within a few milliseconds and of one group (metric, labels and fixed matchers, about as long
a window) goes out as one query for the union, split by size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from headgate.adapters.prometheus_answer import RawSeries
from headgate.adapters.prometheus_http import TooMuch
from headgate.adapters.prometheus_query import Question, span
from headgate.ports import MetricsUnavailable

MOST_KEYS = 50
"""Arms (or features of arms) in one query. Three proxies, a histogram of 20 buckets and 120 scrapes
(ten minutes, every 5 s) are 180 kB an arm: 9 MB together, below the 16 MiB of an answer."""

LONGEST_QUERY = 8192
"""Bytes of one query: half of what VictoriaMetrics takes (`-search.maxQueryLen`, 16 KiB); the
others take more. The callers' own queries are added up, which is never less than their union."""

_Found = Sequence[RawSeries]
_Given = _Found | BaseException
Ask = Callable[[Sequence[Question]], Awaitable[_Found]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One caller: its question, its size in bytes, and the future that it waits on."""

    question: Question
    size: int
    answer: asyncio.Future[_Found]


class Batches:
    """Gathers questions for a moment and asks them together.

    A caller that is cancelled leaves the others their answer. A query that fails fails each of its
    callers, with the query as that caller alone would have asked it. What is too much at once is
    asked again in halves, so that one caller's flood is not everybody's.
    """

    def __init__(self, ask: Ask, gather: timedelta) -> None:
        """`ask` sends one query for several questions of a group; `gather` is how long to wait."""
        self._ask = ask
        self._gather = gather.total_seconds()
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[Sequence[_Given]]] = set()

    async def ask(self, question: Question) -> _Found:
        """Return the series that answer this question; raises MetricsUnavailable."""
        loop = asyncio.get_running_loop()
        one = _Waiting(question, len(question.query.encode()), loop.create_future())
        self._waiting.append(one)
        if self._timer is None:
            self._timer = loop.call_later(self._gather, self._send)
        return await one.answer

    async def close(self) -> None:
        """Stop what is under way; it is unavailable to whoever still waits for it."""
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting, self._timer = self._waiting, [], None
        _fail(waiting, None)
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _send(self) -> None:
        waiting, self._waiting, self._timer = self._waiting, [], None
        groups: dict[tuple[object, ...], list[_Waiting]] = {}
        for one in waiting:
            if not one.answer.done():
                groups.setdefault(one.question.group, []).append(one)
        for group in groups.values():
            for batch in _split(group):
                task = asyncio.create_task(self._ask_all([one.question for one in batch]))
                self._running.add(task)
                task.add_done_callback(partial(self._give, batch))

    async def _ask_all(self, questions: Sequence[Question]) -> Sequence[_Given]:
        try:
            return _parted(questions, await self._ask(questions))
        except TooMuch as error:
            if len(questions) == 1:
                return [_of_one(error, questions[0], 0)]
        half = len(questions) // 2
        halves = (questions[:half], questions[half:])
        first, second = await asyncio.gather(*map(self._ask_rest, halves))
        return [*first, *second]

    async def _ask_rest(self, questions: Sequence[Question]) -> Sequence[_Given]:
        try:
            return await self._ask_all(questions)
        except MetricsUnavailable as error:
            return [_of_one(error, one, len(questions) - 1) for one in questions]

    def _give(self, batch: Sequence[_Waiting], task: asyncio.Task[Sequence[_Given]]) -> None:
        """Hand out what came to those who still wait."""
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            _fail(batch, error)
            return
        for one, found in zip(batch, task.result(), strict=True):
            if one.answer.done():
                continue
            if isinstance(found, BaseException):
                one.answer.set_exception(found)
            else:
                one.answer.set_result(found)


def _fail(batch: Sequence[_Waiting], error: BaseException | None) -> None:
    """Tell each caller what went wrong; None is the end of all asking."""
    for one in batch:
        if not one.answer.done():
            closed = MetricsUnavailable("the source was closed")
            one.answer.set_exception(_of_one(error or closed, one.question, len(batch) - 1))


def _of_one(error: BaseException, question: Question, others: int) -> BaseException:
    if not isinstance(error, MetricsUnavailable):
        return error
    together = f" (asked together with {others} more)" if others else ""
    found = MetricsUnavailable(f"{question.query}{together}: {error}")
    found.__cause__ = error
    return found


def _split(group: Sequence[_Waiting]) -> Iterator[Sequence[_Waiting]]:
    """Part a group so that no query asks for too much or is too long, if one caller's is not."""
    batch: list[_Waiting] = []
    keys: set[tuple[str, ...]] = set()
    for one in group:
        together = keys.union(one.question.keys)
        size = one.size + sum(each.size for each in batch)
        if batch and (len(together) > MOST_KEYS or size > LONGEST_QUERY):
            yield batch
            batch, together = [], set(one.question.keys)
        batch.append(one)
        keys = together
    if batch:
        yield batch


def _parted(questions: Sequence[Question], found: _Found) -> Sequence[_Found]:
    """Give each question the series that it alone would have been answered with."""
    labels = (questions[0].label, *(label for label, _ in questions[0].scope))
    askers: dict[tuple[str, ...], list[int]] = {}
    for n, question in enumerate(questions):
        for key in question.keys:
            askers.setdefault(key, []).append(n)
    lengths = sorted({len(name) for name, *_ in askers if name.endswith("*")})
    parts: list[list[RawSeries]] = [[] for _ in questions]
    for raw in found:
        name, *rest = (raw.labels.get(label, "") for label in labels)
        spelled = (name, *(f"{name[: length - 1]}*" for length in lengths))
        for n in {n for each in spelled for n in askers.get((each, *rest), ())}:
            parts[n].append(raw)
    window = span(questions)
    return [
        part if (q.start, q.at) == window else [_within(q, raw) for raw in part]
        for part, q in zip(parts, questions, strict=True)
    ]


def _within(question: Question, raw: RawSeries) -> RawSeries:
    """Leave out samples that only another caller asked for; odd ones stay, to be noticed."""
    first, last = question.start.timestamp(), question.at.timestamp()

    def wanted(sample: Any) -> bool:
        match sample:
            case [int() | float() as seconds, _]:
                return first <= seconds <= last
        return True

    return RawSeries(raw.labels, [sample for sample in raw.values if wanted(sample)])
