"""The line between the answer and the counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest
from tests.collector.samples import ADDRESS, FRAUD, SECRET, event

from headgate.collector.counting import Book
from headgate.collector.events import Address, Event, Half, Result
from headgate.collector.intake import Intake, Room
from headgate.core.drift.profile import Profile

REQUEST = Half.REQUEST
GOOD = {"instances": [[5, "DE"]]}


@dataclass
class Line:
    """A line under test, what it told, and the profile it finds."""

    most: int = 10
    profile: Profile | None = FRAUD
    fault: Exception | None = None
    told: Counter[tuple[Half, Result]] = field(default_factory=Counter)
    book: Book = field(default_factory=lambda: Book(10_000))
    room: Room = field(default_factory=lambda: Room(10_000))

    def __post_init__(self) -> None:
        self.intake = Intake(
            self.book,
            self._of,
            lambda half, result: self.told.update([(half, result)]),
            self.room,
            self.most,
        )

    def _of(self, address: Address, now: float) -> Profile | None:
        if self.fault is not None:
            raise self.fault
        return self.profile

    def put(self, waiting: Event) -> bool:
        """Put an event in line, as the server does."""
        return self.room.take(len(waiting.body)) and self.intake.put(waiting)


@pytest.mark.parametrize(
    ("line", "body", "result"),
    [
        pytest.param(Line(), GOOD, Result.COUNTED, id="a good event"),
        pytest.param(Line(profile=None), GOOD, Result.NO_PROFILE, id="no profile"),
        pytest.param(Line(), b"{", Result.MALFORMED, id="a broken body"),
        pytest.param(Line(book=Book(5)), GOOD, Result.SERIES_LIMIT, id="too many series"),
        pytest.param(Line(fault=KeyError(SECRET)), GOOD, Result.FAILED, id="a fault of ours"),
    ],
)
async def test_each_event_has_one_result(line: Line, body: object, result: Result) -> None:
    """What became of an event is told once, and its bytes are given back."""
    assert line.put(event(REQUEST, body))
    assert line.room.taken > 0
    await line.intake.drain()

    assert line.told == {(REQUEST, result): 1}
    assert (line.room.taken, line.intake.waiting()) == (0, 0)


async def test_a_fault_does_not_quote_the_event(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours is logged by its type and place; its message could hold a payload."""
    line = Line(fault=ValueError(f"could not read {SECRET}"))
    line.put(event(REQUEST, {"instances": [SECRET]}))
    await line.intake.drain()

    assert SECRET not in caplog.text
    assert "ValueError in test_intake.py:" in caplog.text


async def test_a_full_line_takes_no_more() -> None:
    """The line has an end; who does not get in is not counted and not waited for."""
    line = Line(most=2)

    assert [line.put(event(REQUEST, GOOD)) for _ in range(3)] == [True, True, False]
    await line.intake.drain()
    assert line.told == {(REQUEST, Result.COUNTED): 2}


def test_room_is_never_more_than_there_is() -> None:
    """What is taken and not given back is missing for the others, to the byte."""
    room = Room(10)

    assert [room.take(6), room.take(5), room.take(4), room.take(1)] == [True, False, True, False]
    room.give(6)
    assert room.take(6)


async def test_counting_begins_when_there_is_something_to_count() -> None:
    """The worker sleeps until an event comes, counts it, and sleeps again."""
    line = Line()
    worker = asyncio.create_task(line.intake.run())
    await asyncio.sleep(0)
    line.put(event(REQUEST, GOOD))
    for _ in range(5):
        await asyncio.sleep(0)
    assert line.told == {(REQUEST, Result.COUNTED): 1}
    worker.cancel()


async def test_answers_do_not_wait_for_counts() -> None:
    """Between two turns of counting everybody else has theirs, however long the line is."""
    line = Line(most=2000, room=Room(10**9))
    body = {"instances": [[5, "DE"]] * 500}
    for _ in range(100):
        line.put(event(REQUEST, body))
    worker = asyncio.create_task(line.intake.run())
    turns = 0
    while line.intake.waiting():
        await asyncio.sleep(0)
        turns += 1
    worker.cancel()

    assert turns >= 5
    assert dict(line.book.tallies())[ADDRESS].inputs[0].counts == [0, 50_000, 0, 0, 0]
