"""What a pass's end costs its key, and only its key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from tests.runtime.fakes import NOON, FixedClock, Tally

from headgate.ports import ClusterUnavailable, Conflict, MetricsUnavailable, Refused
from headgate.reconcile.world import GONE, Key, Report, Transition
from headgate.runtime.queue import Queue
from headgate.runtime.workers import Workers

pytestmark = pytest.mark.looptime

FRAUD = Key("models", "fraud")
OTHER = Key("models", "other")
DEADLINE = timedelta(seconds=60)

Pass = Callable[[Key, datetime], Awaitable[Report]]


class Bench:
    """Workers over a queue with a scripted pass."""

    def __init__(self) -> None:
        self.queue: Queue[Key] = Queue(jitter=lambda: 1.0)
        self.tally = Tally()
        self.began: list[tuple[Key, float]] = []
        self.workers: Workers | None = None

    def start(self, one_pass: Pass, number: int = 2) -> Workers:
        """Run `one_pass` for each key, noting when it began."""

        async def noted(key: Key, now: datetime) -> Report:
            self.began.append((key, asyncio.get_running_loop().time()))
            return await one_pass(key, now)

        self.workers = Workers(self.queue, noted, FixedClock(), self.tally, DEADLINE)
        self.workers.start(number)
        return self.workers

    def times(self, key: Key) -> list[float]:
        """When the passes of a key began."""
        return [round(at, 3) for each, at in self.began if each == key]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench whose delays are served; its workers are stopped at the end."""
    bench = Bench()
    task = asyncio.create_task(bench.queue.run())
    yield bench
    task.cancel()
    if bench.workers is not None:
        await bench.workers.stop(timedelta(0))


def failing(error: Exception, good_after: int = 1) -> Pass:
    """A pass of FRAUD that fails so many times; other keys are fine."""
    left = [good_after]

    async def one_pass(key: Key, now: datetime) -> Report:
        if key == FRAUD and left[0]:
            left[0] -= 1
            raise error
        return Report("Stable")

    return one_pass


async def test_a_pass_gets_the_clock_s_time(bench: Bench) -> None:
    """The worker reads the clock once and hands the moment on."""
    moments = []

    async def one_pass(key: Key, now: datetime) -> Report:
        moments.append(now)
        return Report("Stable")

    bench.start(one_pass)
    bench.queue.add(FRAUD)
    await asyncio.sleep(1)

    assert moments == [NOON]
    assert bench.tally.passes == ["ok"]


async def test_the_next_look_is_the_report_s(bench: Bench) -> None:
    """`again_in` brings the key back at that time."""

    async def one_pass(key: Key, now: datetime) -> Report:
        return Report("Progressing", again_in=timedelta(seconds=10))

    bench.start(one_pass)
    bench.queue.add(FRAUD)
    await asyncio.sleep(25)

    assert bench.times(FRAUD) == [0.0, 10.0, 20.0]


async def test_an_object_that_is_gone_is_forgotten(bench: Bench) -> None:
    """A pass that finds nothing leaves nothing to do."""

    async def one_pass(key: Key, now: datetime) -> Report:
        return GONE

    bench.start(one_pass)
    bench.queue.add(FRAUD)
    await asyncio.sleep(100_000)

    assert bench.times(FRAUD) == [0.0]
    assert bench.queue.delayed() == 0


@pytest.mark.parametrize(
    ("error", "outcome", "again_at"),
    [
        pytest.param(Conflict("409"), "conflict", 0.0, id="a lost race is run again at once"),
        pytest.param(ClusterUnavailable("down"), "unavailable", 1.0, id="an outage backs off"),
        pytest.param(
            ClusterUnavailable("429", timedelta(seconds=30)),
            "unavailable",
            30.0,
            id="what the server asks for is kept",
        ),
        pytest.param(MetricsUnavailable("down"), "unavailable", 1.0, id="silence backs off"),
        pytest.param(Refused("403"), "refused", 1.0, id="a refusal backs off"),
        pytest.param(KeyError("spec"), "bug", 1.0, id="a bug of ours backs off"),
        pytest.param(TimeoutError("inner"), "bug", 1.0, id="a stray timeout is a bug of ours"),
    ],
)
async def test_what_a_failure_costs(
    bench: Bench, error: Exception, outcome: str, again_at: float
) -> None:
    """Each sort of failure is counted by its name, and brings the key back at its own time."""
    bench.start(failing(error))
    bench.queue.add(FRAUD)
    await asyncio.sleep(40)

    assert bench.tally.passes == [outcome, "ok"]
    assert bench.times(FRAUD) == [0.0, again_at]


async def test_a_bug_is_logged_once_with_its_traceback(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the object and the exception; an outage needs no traceback."""
    bench.start(failing(KeyError("spec")))
    bench.queue.add(FRAUD)
    await asyncio.sleep(10)

    [record] = [each for each in caplog.records if each.name == "headgate.worker"]
    assert record.levelno == logging.ERROR
    assert record.__dict__["object"] == "models/fraud"
    assert record.getMessage() == "a bug ended the pass: 'spec'; again in 1.0 s"
    assert record.exc_info is not None
    assert record.exc_info[0] is KeyError


async def test_one_key_s_bug_holds_up_no_other(bench: Bench) -> None:
    """With a single worker and a key that always fails, another key is served at once."""
    bench.start(failing(RuntimeError("always"), good_after=10**9), number=1)
    bench.queue.add(FRAUD)
    bench.queue.add(OTHER)
    await asyncio.sleep(100)

    assert bench.times(OTHER) == [0.0]
    assert bench.times(FRAUD) == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0]


async def test_a_pass_that_hangs_is_cut_off(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A pass may not outlast the deadline; it counts as failed, and its worker is free again."""

    async def one_pass(key: Key, now: datetime) -> Report:
        if key == FRAUD:
            await asyncio.sleep(10**6)
        return Report("Stable")

    bench.start(one_pass, number=1)
    bench.queue.add(FRAUD)
    bench.queue.add(OTHER)
    await asyncio.sleep(61)

    assert bench.tally.passes == ["timeout", "ok"]
    assert bench.times(OTHER) == [60.0]
    assert "gave up on the pass: wanted at most 60 s; again in 1.0 s" in caplog.text


async def test_a_transition_is_counted_and_told(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A transition gives one line that names object, rollout, revision, phase and reason."""
    caplog.set_level(logging.INFO)
    told = Transition(
        phase="RolledBack",
        reason="ErrorsBreached",
        message="9 of 60 requests failed, stable 0 of 540",
        rollout="fraud-0007",
        revision="fraud-41aa0000",
        outcome="RolledBack",
        warning=True,
    )

    async def one_pass(key: Key, now: datetime) -> Report:
        return Report("RolledBack", told)

    bench.start(one_pass)
    bench.queue.add(FRAUD)
    await asyncio.sleep(1)

    assert bench.tally.transitions == [told]
    [record] = [each for each in caplog.records if each.name == "headgate.rollout"]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == told.message
    said = {name: record.__dict__[name] for name in ("object", "rollout", "revision", "reason")}
    assert said == {
        "object": "models/fraud",
        "rollout": "fraud-0007",
        "revision": "fraud-41aa0000",
        "reason": "ErrorsBreached",
    }


async def test_stopping_lets_a_pass_finish(bench: Bench) -> None:
    """A pass that ends within the grace ends whole; no new one begins."""
    ended = []

    async def one_pass(key: Key, now: datetime) -> Report:
        await asyncio.sleep(3)
        ended.append(key)
        return Report("Stable")

    workers = bench.start(one_pass, number=1)
    bench.queue.add(FRAUD)
    bench.queue.add(OTHER)
    await asyncio.sleep(1)

    assert await workers.stop(timedelta(seconds=5)) == 0
    assert ended == [FRAUD]
    assert asyncio.get_running_loop().time() == pytest.approx(3.0)


async def test_stopping_does_not_wait_for_ever(bench: Bench) -> None:
    """A pass that outlasts the grace is cancelled and counted; stopping again costs nothing."""

    async def one_pass(key: Key, now: datetime) -> Report:
        await asyncio.sleep(10**6)
        return Report("Stable")

    workers = bench.start(one_pass)
    bench.queue.add(FRAUD)
    await asyncio.sleep(1)

    assert await workers.stop(timedelta(seconds=5)) == 1
    assert await workers.stop(timedelta(seconds=5)) == 0
    assert asyncio.get_running_loop().time() == pytest.approx(6.0)
