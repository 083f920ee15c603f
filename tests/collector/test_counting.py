"""From bodies to counts: which column is which feature, and that replicas add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collector.samples import ADDRESS, FRAUD, category, event, number, profile

from headgate.collector.counting import IDLE_SECONDS, Bins, Book, Window, series_of
from headgate.collector.events import Address, Event, Half, Result, Unusable
from headgate.core.drift import bins
from headgate.core.drift.profile import Feature, Profile

REQUEST, RESPONSE = Half.REQUEST, Half.RESPONSE
NAN = math.nan

Counts = list[list[int]]


def counted(book: Book, address: Address = ADDRESS) -> tuple[Counts, Counts]:
    """The counts of inputs and predictions of a revision."""
    tally = dict(book.tallies())[address]
    return [each.counts for each in tally.inputs], [each.counts for each in tally.answers]


def counts_of(model: Profile, half: Half, *bodies: object) -> Counts:
    """What these bodies come to, for the half that they are."""
    book = Book(10_000)
    for body in bodies:
        book.count(event(half, body), model, 0.0)
    return counted(book)[0 if half is REQUEST else 1]


def tensor(name: str, shape: list[int], data: Sequence[Any]) -> dict[str, Any]:
    """A V2 tensor."""
    return {"name": name, "shape": shape, "datatype": "FP64", "data": data}


ONE = profile(number("amount", 0.0, 10.0, 100.0))


@pytest.mark.parametrize(
    ("model", "body", "counts"),
    [
        pytest.param(
            FRAUD,
            {"instances": [[5, "DE"], [500, "IT"]]},
            [[0, 1, 0, 1, 0], [1, 0, 1, 0]],
            id="lists by position",
        ),
        pytest.param(
            FRAUD,
            {"instances": [{"country": "FR", "amount": 0, "card": "x"}, {"amount": None}]},
            [[1, 0, 0, 0, 1], [0, 1, 0, 1]],
            id="objects by name, what is absent or null is missing, what is unknown is ignored",
        ),
        pytest.param(ONE, {"instances": [10, 10.1]}, [[0, 1, 1, 0, 0]], id="bare values"),
        pytest.param(ONE, {"instances": [[10], [-1]]}, [[1, 1, 0, 0, 0]], id="lists of one"),
        pytest.param(
            ONE,
            b'{"instances": [NaN, Infinity, -Infinity, 1e999, true, "7"]}',
            [[1, 1, 0, 2, 2]],
            id="NaN and text are missing, infinity is beyond the last edge, true is one",
        ),
        pytest.param(
            ONE,
            {"instances": [10**300, -(10**4000)]},
            [[1, 0, 0, 1, 0]],
            id="numbers that no float holds",
        ),
        pytest.param(FRAUD, {"instances": []}, [[0] * 5, [0] * 4], id="no row"),
        pytest.param(
            FRAUD,
            {"instances": [[[1], {"a": 1}]]},
            [[0, 0, 0, 0, 1], [0, 0, 0, 1]],
            id="lists and objects for values are missing",
        ),
        pytest.param(
            FRAUD,
            {"inputs": [tensor("country", [2], ["DE", "DE"]), tensor("amount", [2, 1], [1, 11])]},
            [[0, 1, 1, 0, 0], [2, 0, 0, 0]],
            id="tensors by name",
        ),
        pytest.param(
            FRAUD,
            {"inputs": [tensor("country", [2], ["DE", "IT"]), tensor("card", [2, 9], [0] * 18)]},
            [[0, 0, 0, 0, 2], [1, 0, 1, 0]],
            id="a tensor that is absent is missing in every row",
        ),
        pytest.param(
            profile(number("a", 1.0), number("b", 1.0)),
            {"inputs": [tensor("x", [3, 2], [0, 2, 0, 2, 0, 2])]},
            [[3, 0, 0], [0, 3, 0]],
            id="one tensor by position",
        ),
        pytest.param(
            ONE,
            {"inputs": [tensor("whatever", [2], [1, 2])]},
            [[0, 2, 0, 0, 0]],
            id="one tensor for one feature, whatever its name",
        ),
        pytest.param(
            profile(category("stream", "true", "false"), number("messages", 1.0)),
            {"messages": [{"content": "a"}, {"content": "b"}], "stream": True},
            [[1, 0, 0, 0], [0, 1, 0]],
            id="a chat by the names of its properties",
        ),
    ],
)
def test_a_request_is_counted(model: Profile, body: object, counts: Counts) -> None:
    """Each value is one more in the bin of its feature; the last bin is what is missing."""
    assert counts_of(model, REQUEST, body) == counts


SCORE = profile(predictions=number("score", 0.5))
REASON = profile(predictions=category("finish_reason", "stop", "length"))


@pytest.mark.parametrize(
    ("model", "body", "counts"),
    [
        pytest.param(SCORE, {"predictions": [0.1, 0.9, None]}, [[1, 1, 1]], id="numbers"),
        pytest.param(SCORE, {"predictions": [[0.1], [0.9]]}, [[1, 1, 0]], id="lists of one"),
        pytest.param(SCORE, {"predictions": [{"score": 1, "x": 2}]}, [[0, 1, 0]], id="objects"),
        pytest.param(
            SCORE,
            {"outputs": [tensor("why", [1], ["x"]), tensor("score", [1], [0.2])]},
            [[1, 0, 0]],
            id="the tensor of its name",
        ),
        pytest.param(SCORE, {"outputs": [tensor("y", [2], [0, 1])]}, [[1, 1, 0]], id="a tensor"),
        pytest.param(
            REASON,
            {"choices": [{"finish_reason": "stop"}, {"finish_reason": "tool_calls"}]},
            [[1, 0, 1, 0]],
            id="why each choice ended",
        ),
        pytest.param(
            profile(predictions=number("completion_tokens", 10.0)),
            {"choices": [{"finish_reason": "stop"}], "usage": {"completion_tokens": 11}},
            [[0, 1, 0]],
            id="how long the answer was",
        ),
    ],
)
def test_an_answer_is_counted(model: Profile, body: object, counts: Counts) -> None:
    """Predictions are counted without the request, and the other way round."""
    assert counts_of(model, RESPONSE, body) == counts


@pytest.mark.parametrize(
    ("half", "body"),
    [
        pytest.param(REQUEST, {"instances": [[5]]}, id="too few columns"),
        pytest.param(REQUEST, {"instances": [[5, "DE", 1]]}, id="too many columns"),
        pytest.param(REQUEST, {"instances": [[5, "DE"], [5]]}, id="ragged rows"),
        pytest.param(REQUEST, {"instances": [[5, "DE"], {"amount": 5}]}, id="lists and objects"),
        pytest.param(REQUEST, {"instances": [5, 6]}, id="bare values for two features"),
        pytest.param(REQUEST, {"inputs": [tensor("x", [2], [1, 2])]}, id="a tensor too narrow"),
        pytest.param(
            REQUEST,
            {"inputs": [tensor("x", [1], [1]), tensor("y", [1], [1])]},
            id="tensors of other names",
        ),
        pytest.param(
            REQUEST, {"inputs": [tensor("amount", [1, 3], [1, 2, 3])]}, id="a wide tensor by name"
        ),
        pytest.param(RESPONSE, {"predictions": [[0.1, 0.9]]}, id="one prediction in two numbers"),
    ],
)
def test_other_columns_are_not_guessed(half: Half, body: object) -> None:
    """What does not fit the profile counts nothing at all, not even its first columns."""
    book = Book(10_000)
    with pytest.raises(Unusable) as refused:
        book.count(event(half, body), FRAUD, 0.0)

    assert refused.value.result is Result.SHAPE
    assert counted(book) == ([[0] * 5, [0] * 4], [[0] * 3])


@pytest.mark.parametrize(
    ("model", "half", "body"),
    [
        pytest.param(SCORE, REQUEST, {"instances": [[1]]}, id="a request without features"),
        pytest.param(ONE, RESPONSE, {"predictions": [1]}, id="an answer without predictions"),
    ],
)
def test_a_half_without_a_profile_is_ignored(model: Profile, half: Half, body: object) -> None:
    """Half a profile is fine; the other half of the calls has its own word."""
    with pytest.raises(Unusable) as refused:
        Book(10_000).count(event(half, body), model, 0.0)

    assert refused.value.result is Result.IGNORED


VALUES = st.lists(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["DE", "FR", "other", "True", "1.0", "1", "", "\ud800"])
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=2)
)


@given(values=VALUES)
@pytest.mark.parametrize(
    "feature",
    [
        pytest.param(number("a", -1.0, 0.0, 1e6), id="number"),
        pytest.param(category("c", "DE", "1", "true"), id="category"),
    ],
)
def test_live_values_are_binned_as_the_training_data(feature: Feature, values: list[Any]) -> None:
    """The collector and `headgate profile build` put every value into the same bin."""
    live = Bins(feature)
    live.add(values)

    assert tuple(live.counts) == bins.count(feature, values)


@given(values=VALUES, pieces=st.integers(1, 5))
def test_the_order_of_values_does_not_matter(values: list[Any], pieces: int) -> None:
    """A column counts the same in one event, in several, and backwards."""
    whole, parts = Bins(number("a", 0.0)), Bins(number("a", 0.0))
    whole.add(values)
    for at in range(pieces):
        parts.add(values[::-1][at::pieces])

    assert whole.counts == parts.counts


def test_an_event_that_comes_again_is_counted_once() -> None:
    """The key is id and half: the other half with the same id is another event."""
    book = Book(10_000)
    book.count(event(REQUEST, {"instances": [[5, "DE"]]}, "a"), FRAUD, 0.0)
    book.count(event(RESPONSE, {"predictions": [0.1]}, "a"), FRAUD, 0.0)
    with pytest.raises(Unusable) as refused:
        book.count(event(REQUEST, {"instances": [[50, "FR"]]}, "a"), FRAUD, 0.0)

    assert refused.value.result is Result.DUPLICATE
    assert counted(book) == ([[0, 1, 0, 0, 0], [1, 0, 0, 0]], [[1, 0, 0]])


def test_one_call_of_a_caller_may_go_through_two_models() -> None:
    """The caller's own id is used for each model of a graph, and counted for each."""
    book, other = Book(10_000), Address("models", "risk", "00000000")
    for address in (ADDRESS, other):
        book.count(event(REQUEST, {"instances": [[5, "DE"]]}, "a", address), FRAUD, 0.0)

    assert counted(book, ADDRESS) == counted(book, other)


def test_an_event_that_could_not_be_counted_may_come_again() -> None:
    """Only what was counted is remembered."""
    book = Book(10_000)
    with pytest.raises(Unusable):
        book.count(event(REQUEST, b"{", "a"), FRAUD, 0.0)
    book.count(event(REQUEST, {"instances": [[5, "DE"]]}, "a"), FRAUD, 0.0)

    assert counted(book)[0] == [[0, 1, 0, 0, 0], [1, 0, 0, 0]]


@given(size=st.integers(2, 40), number=st.integers(0, 200))
def test_the_window_is_bounded_and_keeps_the_last_half(size: int, number: int) -> None:
    """The last half of the window is always known, and never more than a window."""
    window = Window(size)
    marks = [bytes([at]) for at in range(number)]
    for mark in marks:
        window.add(mark)

    assert all(window.has(mark) for mark in marks[-(size // 2) :])
    assert sum(map(window.has, marks)) <= size


EVENTS = st.lists(
    st.tuples(
        st.sampled_from([ADDRESS, Address("models", "risk", "00000000")]),
        st.sampled_from(
            [
                (REQUEST, {"instances": [[5, "DE"], [None, "IT"]]}),
                (REQUEST, {"instances": [{"amount": 70}]}),
                (REQUEST, {"inputs": [tensor("amount", [1], [7])]}),
                (REQUEST, {"instances": [1]}),
                (RESPONSE, {"predictions": [0.1, 0.7]}),
                (RESPONSE, b"{"),
            ]
        ),
        st.integers(0, 2),
    ),
    max_size=40,
)


def total(books: Sequence[Book]) -> dict[Address, list[list[int]]]:
    """The counts of several replicas together, as Prometheus sums them."""
    sums: dict[Address, list[list[int]]] = {}
    for book in books:
        for address, tally in book.tallies():
            one = [each.counts for each in (*tally.inputs, *tally.answers)]
            before = sums.get(address, [[0] * len(counts) for counts in one])
            pairs = zip(before, one, strict=True)
            sums[address] = [list(map(sum, zip(*pair, strict=True))) for pair in pairs]
    return sums


def take(book: Book, taken: Event) -> Result:
    """What one replica makes of an event."""
    try:
        book.count(taken, FRAUD, 0.0)
    except Unusable as error:
        return error.result
    return Result.COUNTED


@given(events=EVENTS, seats=st.lists(st.integers(0, 2), min_size=40, max_size=40))
def test_replicas_add_up_exactly(events: list[Any], seats: list[int]) -> None:
    """A stream split over three replicas comes to the counts, and the results, of one.

    In any way, halves of a call apart; an event that comes again goes where it was before, as the
    Service's affinity to a sender's address sees to.
    """
    one, three = Book(10_000), [Book(10_000) for _ in range(3)]
    alone, together = [], []
    for at, (address, (half, body), repeats) in enumerate(events):
        sent = event(half, body, f"call-{at}", address)
        for _ in range(1 + repeats):
            alone.append(take(one, sent))
            together.append(take(three[seats[at]], sent))

    assert total(three) == total([one])
    assert together == alone


def test_revisions_are_bounded_by_their_series() -> None:
    """A revision that does not fit is not counted, and those that are in stay in."""
    book = Book(2 * series_of(FRAUD))
    first, second, third = (Address("models", "fraud", f"0000000{at}") for at in range(3))
    body = {"instances": [[5, "DE"]]}
    book.count(event(REQUEST, body, address=first), FRAUD, 0.0)
    book.count(event(REQUEST, body, address=second), FRAUD, 10.0)
    with pytest.raises(Unusable) as refused:
        book.count(event(REQUEST, body, address=third), FRAUD, IDLE_SECONDS)

    assert refused.value.result is Result.SERIES_LIMIT
    assert [address for address, _ in book.tallies()] == [first, second]
    assert (book.revisions(), book.series) == (2, 2 * series_of(FRAUD))


def test_the_longest_idle_revision_makes_room() -> None:
    """After an hour without an event a revision may go, if another one needs its place."""
    book = Book(2 * series_of(FRAUD))
    first, second, third = (Address("models", "fraud", f"0000000{at}") for at in range(3))
    body = {"instances": [[5, "DE"]]}
    for at, address in enumerate((first, second)):
        book.count(event(REQUEST, body, address=address), FRAUD, float(at))
    book.count(event(REQUEST, body, address=third), FRAUD, IDLE_SECONDS + 10.0)

    assert [address for address, _ in book.tallies()] == [second, third]
    assert book.series == 2 * series_of(FRAUD)
