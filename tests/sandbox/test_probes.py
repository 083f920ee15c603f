"""When a probe's answers count; time runs by itself here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from sandbox.probes import Answer, Timing, follow, read_timing

GOOD, BAD = Answer(True), Answer(False, "no")


async def heard(timing: Timing, answers: Iterator[Answer], count: int) -> list[tuple[float, bool]]:
    """Return when (seconds from the start) and what a probe reported, `count` times."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    reports: list[tuple[float, bool]] = []

    async def ask() -> Answer:
        return next(answers)

    def said(answer: Answer) -> bool:
        reports.append((round(loop.time() - start, 1), answer.passed))
        return len(reports) < count

    await follow(timing, ask, said)
    return reports


def test_the_apis_defaults() -> None:
    """A probe without numbers has the API's."""
    assert read_timing({}) == Timing(0, 10, 1, 1, 3)


@pytest.mark.looptime
async def test_failures_count_once_a_period() -> None:
    """Three failures at a period of 10 s take 20 s, however often it was asked in between."""
    found = await heard(Timing(0, 10, 1, 1, 3), repeat(BAD), 1)
    assert found == [(20.0, False)]


@pytest.mark.looptime
async def test_the_first_success_counts_at_once() -> None:
    """A container that becomes ready between two periods is ready then."""
    answers = chain(repeat(BAD, 5), repeat(GOOD))
    assert await heard(Timing(0, 10, 1, 1, 3), answers, 1) == [(2.5, True)]


@pytest.mark.looptime
async def test_the_initial_delay_is_waited() -> None:
    """Nothing is asked before the initial delay."""
    assert await heard(Timing(7, 10, 1, 1, 3), repeat(GOOD), 1) == [(7.0, True)]


@pytest.mark.looptime
async def test_after_a_success_the_period_rules() -> None:
    """Once passed it is asked each period, and fails after three failures in a row."""
    answers = chain([GOOD, BAD, BAD, GOOD, BAD, BAD], repeat(BAD))
    found = await heard(Timing(0, 10, 1, 1, 3), answers, 3)
    assert found == [(0.0, True), (30.0, True), (60.0, False)]
