"""The laws of the work queue, in the loop's own time: an hour of back-off takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import looptime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.runtime.queue import CONFLICTS_AT_ONCE, Queue, delay_seconds

pytestmark = pytest.mark.looptime


@pytest.fixture
async def queue() -> AsyncIterator[Queue[str]]:
    """A queue whose jitter is always the whole range, with its delays being served."""
    queue: Queue[str] = Queue(jitter=lambda: 1.0)
    task = asyncio.create_task(queue.run())
    yield queue
    task.cancel()


def seconds() -> float:
    """The loop's time, rounded to what matters here."""
    return round(asyncio.get_running_loop().time(), 3)


async def nothing_comes(queue: Queue[str], within: float) -> bool:
    """Whether no key comes for so long."""
    try:
        await asyncio.wait_for(queue.get(), within)
    except TimeoutError:
        return True
    return False


async def test_many_wake_ups_before_a_pass_are_one_pass(queue: Queue[str]) -> None:
    """A key that is asked for fifty times before a worker is free is handed out once."""
    for _ in range(50):
        queue.add("a")

    assert await queue.get() == "a"
    queue.done("a", None)
    assert await nothing_comes(queue, 1000)
    assert (queue.counts.adds, queue.counts.coalesced) == (50, 49)


async def test_a_key_is_in_one_pair_of_hands(queue: Queue[str]) -> None:
    """A key that is being worked on is not handed out again, however often it is asked for."""
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")

    assert await nothing_comes(queue, 1000)


async def test_a_wake_up_during_a_pass_is_not_lost(queue: Queue[str]) -> None:
    """What changed while a pass ran gets exactly one more pass, at once and not after the delay."""
    queue.add("a")
    await queue.get()
    queue.add("a")
    started = seconds()
    queue.done("a", 3600)

    assert await queue.get() == "a"
    assert seconds() == started
    queue.done("a", None)
    assert await nothing_comes(queue, 10_000)


async def test_first_come_first_served(queue: Queue[str]) -> None:
    """Keys are served in the order in which they became ready; a busy key goes to the end."""
    for key in "abc":
        queue.add(key)
    first = await queue.get()
    queue.add("a")
    queue.done("a", None)

    assert [first, *[await queue.get() for _ in range(3)]] == ["a", "b", "c", "a"]


async def test_delays_end_in_their_order(queue: Queue[str]) -> None:
    """Delayed keys come at their own times, whatever the order in which they were delayed."""
    for key, delay in {"late": 30.0, "soon": 5.0, "middle": 10.0}.items():
        queue.add(key)
        queue.done(await queue.get(), delay)

    came = []
    for _ in range(3):
        key = await queue.get()
        came.append((key, seconds()))
        queue.done(key, None)

    assert came == [("soon", 5.0), ("middle", 10.0), ("late", 30.0)]


async def test_the_latest_delay_counts(queue: Queue[str]) -> None:
    """The next look is what the last pass asked for; what earlier passes asked for is forgotten."""
    queue.add("a")
    queue.done(await queue.get(), 10)
    queue.add("a")
    queue.done(await queue.get(), 60)

    assert await queue.get() == "a"
    assert seconds() == 60.0


async def test_a_wake_up_cuts_a_delay_short(queue: Queue[str]) -> None:
    """A change is looked at now, and the delay that it cut short does not fire a second time."""
    queue.add("a")
    queue.done(await queue.get(), 10)
    queue.add("a")

    assert await queue.get() == "a"
    assert seconds() == 0.0
    queue.done("a", None)
    assert await nothing_comes(queue, 1000)


async def test_nothing_is_kept_of_a_key_that_is_gone(queue: Queue[str]) -> None:
    """A key that ends without a delay leaves nothing behind, its failures included."""
    queue.add("a")
    queue.failed(await queue.get())
    queue.done(await queue.get(), None)

    assert (queue.depth(), queue.delayed(), queue.in_flight(), queue.failing()) == (0, 0, 0, 0)
    assert queue.most_failures() == 0


async def test_failures_wait_longer_each_time(queue: Queue[str]) -> None:
    """The ceiling of the wait doubles from 1 s to 5 min, and one success starts it anew."""
    waits = []
    for _ in range(11):
        queue.add("a")
        waits.append(queue.failed(await queue.get()))
    queue.add("a")
    queue.done(await queue.get(), None)
    queue.add("a")
    waits.append(queue.failed(await queue.get()))

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 1]


async def test_a_failing_key_comes_back_by_itself(queue: Queue[str]) -> None:
    """A failure is the queue's to remember: no event is needed for the next try."""
    queue.add("a")
    queue.failed(await queue.get())
    queue.failed(await queue.get())

    assert await queue.get() == "a"
    assert seconds() == 3.0


async def test_conflicts_are_tried_again_at_once_and_then_backed_off(queue: Queue[str]) -> None:
    """Three lost races in a row cost nothing; who goes on losing waits like any failure."""
    queue.add("a")
    waits = [queue.conflicted(await queue.get()) for _ in range(CONFLICTS_AT_ONCE + 3)]

    assert waits == [0.0, 0.0, 0.0, 1.0, 2.0, 4.0]
    assert queue.counts.conflicts == 6
    assert queue.counts.retries == 3


async def test_a_key_that_lost_a_race_does_not_jump_the_line(queue: Queue[str]) -> None:
    """At once means next in line, after those who wait already."""
    queue.add("a")
    queue.add("b")
    queue.conflicted(await queue.get())

    assert [await queue.get(), await queue.get()] == ["b", "a"]


async def test_retry_after_is_the_least_wait(queue: Queue[str]) -> None:
    """What the server asked for is kept, even against new events for the key."""
    queue.add("a")
    assert queue.failed(await queue.get(), retry_after_seconds=20) == 20.0
    queue.add("a")

    assert await queue.get() == "a"
    assert seconds() == 20.0


async def test_retry_after_does_not_shorten_the_back_off(queue: Queue[str]) -> None:
    """A server that asks for one second does not get a key back sooner that keeps failing."""
    waits = []
    for _ in range(6):
        queue.add("a")
        waits.append(queue.failed(await queue.get(), retry_after_seconds=1))

    assert waits == [1, 2, 4, 8, 16, 32]


async def test_an_event_during_a_failing_pass_is_looked_at_at_once(queue: Queue[str]) -> None:
    """Somebody may just have repaired what made the pass fail."""
    queue.add("a")
    await queue.get()
    queue.add("a")

    assert queue.failed("a") == 0.0
    assert await queue.get() == "a"
    assert seconds() == 0.0


async def test_a_cancelled_getter_takes_no_key_with_it(queue: Queue[str]) -> None:
    """A worker that is cancelled just when a key comes passes the wake-up on to the next."""
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()

    assert await asyncio.wait_for(second, 10) == "a"


async def test_a_closed_queue_hands_out_nothing(queue: Queue[str]) -> None:
    """After close no pass starts, and close waits for the one under way."""
    queue.add("a")
    await queue.get()
    closing = asyncio.create_task(queue.close())
    queue.add("b")
    assert await nothing_comes(queue, 100)
    assert not closing.done()

    queue.done("a", None)
    await asyncio.wait_for(closing, 1)


async def test_replaced_delays_do_not_pile_up(queue: Queue[str]) -> None:
    """A key that is woken ten thousand times before its far delay keeps the heap small."""
    for _ in range(10_000):
        queue.add("a")
        queue.done(await queue.get(), 7200)

    assert len(queue._heap) <= 66


async def test_waits_and_ages_are_told() -> None:
    """How long a key waited for a worker is measured from when it became ready."""
    waited: list[float] = []
    queue: Queue[str] = Queue(lambda: 1.0, waited.append)
    queue.add("a")
    await asyncio.sleep(7)
    assert queue.oldest_ready_seconds() == 7.0

    await queue.get()
    await asyncio.sleep(2)
    assert waited == [7.0]
    assert queue.oldest_in_flight_seconds() == 2.0
    assert queue.oldest_ready_seconds() == 0.0


@given(
    failures=st.integers(1, 10_000),
    jitter=st.floats(0, 1, exclude_max=True, allow_nan=False),
)
def test_the_back_off_stays_in_its_range(failures: int, jitter: float) -> None:
    """Any number of failures gives a wait in [0 s, 5 min), without overflow."""
    assert 0 <= delay_seconds(failures, jitter) < 300
    assert delay_seconds(failures, jitter) <= 2.0 ** (failures - 1 if failures < 10 else 10)


@given(
    events=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5)), max_size=40),
    outcomes=st.lists(st.sampled_from(["done", "again", "failed", "conflict"]), min_size=1),
    workers=st.integers(1, 4),
)
@settings(max_examples=50)
def test_no_wake_up_is_lost_and_no_key_is_doubled(
    events: list[tuple[str, int]], outcomes: list[str], workers: int
) -> None:
    """
    After any mix of wake-ups and outcomes, the last wake-up of each key was followed by a pass
    that began at or after it, and at no time were two passes of one key under way.
    """
    loop = looptime.patch_event_loop(asyncio.new_event_loop(), start=0)
    try:
        asked, began, doubled = loop.run_until_complete(_simulate(events, outcomes, workers))
    finally:
        loop.close()

    assert not doubled
    assert all(began[key] >= at for key, at in asked.items())


async def _simulate(
    events: list[tuple[str, int]], outcomes: list[str], workers: int
) -> tuple[dict[str, int], dict[str, int], bool]:
    """Run workers over a queue; order is counted in steps, since many steps share one moment."""
    queue: Queue[str] = Queue(jitter=lambda: 0.5)
    asked: dict[str, int] = {}
    began: dict[str, int] = {}
    busy: set[str] = set()
    step, doubled = 0, False
    script = iter(outcomes)

    async def work() -> None:
        nonlocal step, doubled
        while True:
            key = await queue.get()
            step += 1
            began[key] = step
            doubled = doubled or key in busy
            busy.add(key)
            await asyncio.sleep(1)
            busy.discard(key)
            match next(script, "done"):
                case "done":
                    queue.done(key, None)
                case "again":
                    queue.done(key, 3)
                case "failed":
                    queue.failed(key)
                case "conflict":
                    queue.conflicted(key)

    tasks = [asyncio.create_task(queue.run())]
    tasks += [asyncio.create_task(work()) for _ in range(workers)]
    for key, pause in events:
        await asyncio.sleep(pause / 2)
        step += 1
        asked[key] = step
        queue.add(key)
    await asyncio.sleep(100_000)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return asked, began, doubled
