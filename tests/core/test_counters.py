"""Differencing raw counters, rule by rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import inf, nan

import pytest

from headgate.core.counters import (
    BAD,
    ERRORS,
    GOOD,
    LATENCY,
    MAX_GAP,
    Arm,
    Block,
    Point,
    Series,
    difference,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
C, S = Arm.CANARY, Arm.STABLE


def at(seconds: float) -> datetime:
    """A moment of the test."""
    return START + timedelta(seconds=seconds)


def counter(
    arm: Arm,
    outcome: str,
    values: Sequence[float | None],
    instance: str = "a",
    signal: str = ERRORS,
    key: str = "",
    every: float = 2,
) -> Series:
    """A counter scraped every two seconds from the start; None is a scrape that lacks it."""
    points = [Point(at(every * n), v) for n, v in enumerate(values) if v is not None]
    return Series(signal, arm, instance, outcome, key or outcome, tuple(points))


def errors(blocks: Sequence[Block]) -> list[Mapping[Arm, tuple[int, ...]]]:
    """Only the errors of each block."""
    return [dict(block.counts.get(ERRORS, {})) for block in blocks]


CASES = [
    pytest.param(
        [counter(C, GOOD, [5, 8, 15]), counter(C, BAD, [0, 1, 1])],
        [{C: (3, 1)}, {C: (7, 0)}],
        id="consecutive scrapes are subtracted",
    ),
    pytest.param(
        [counter(C, GOOD, [5, 2, 4])], [{C: (2, 0)}, {C: (2, 0)}], id="a reset counts its value"
    ),
    pytest.param(
        [counter(S, GOOD, [9, 9]), counter(C, GOOD, [None, 4])],
        [{S: (0, 0), C: (4, 0)}],
        id="a series born between two scrapes of its instance counts its value",
    ),
    pytest.param(
        [counter(S, GOOD, [9, 12, 14]), counter(C, BAD, [None, 2, 3])],
        [{S: (3, 0), C: (0, 2)}, {S: (2, 0), C: (0, 1)}],
        id="an arm that only fails has no good series and that is zero good",
    ),
    pytest.param(
        [counter(S, GOOD, [9, 12])], [{S: (3, 0)}], id="an arm without any series is no data"
    ),
    pytest.param(
        [counter(C, GOOD, [5, 6], key="2xx"), counter(C, GOOD, [50, 52], key="4xx")],
        [{C: (3, 0)}],
        id="series of one outcome are differenced one by one and added",
    ),
    pytest.param(
        [counter(C, GOOD, [5, 1], key="2xx"), counter(C, GOOD, [50, 52], key="4xx")],
        [{C: (3, 0)}],
        id="a reset of one series does not touch its neighbour",
    ),
    pytest.param(
        [counter(C, GOOD, [5, nan, 9]), counter(C, BAD, [0, 1, 2])],
        [{C: (4, 2)}],
        id="a scrape with a value that is not a number is covered by the next",
    ),
    pytest.param(
        [counter(C, GOOD, [5, inf, -3, 9])], [{C: (4, 0)}], id="neither infinite nor negative"
    ),
    pytest.param(
        [counter(C, GOOD, [5, 7, 9]), counter(C, BAD, [0, None, 2])],
        [{C: (4, 2)}],
        id="a scrape that lacks a known series is covered by the next",
    ),
    pytest.param(
        [counter(C, GOOD, [1, 2, 3, 4, 6]), counter(C, BAD, [7, None, None, None, None])],
        [{C: (2, 0)}],
        id="a series that is gone for three scrapes loses their time and holds nothing up",
    ),
    pytest.param([counter(C, GOOD, [5])], [], id="one scrape is no block"),
    pytest.param([], [], id="nothing is nothing"),
    pytest.param(
        [counter(C, GOOD, [1, 2]), counter(C, GOOD, [3, 9], instance="b")],
        [{C: (1, 0)}, {C: (6, 0)}],
        id="instances are never mixed",
    ),
    pytest.param(
        [counter(C, GOOD, [1, 9, 10], every=MAX_GAP.total_seconds() + 1)],
        [],
        id="scrapes too far apart say nothing",
    ),
    pytest.param(
        [counter(C, "teapot", [1, 9]), counter(C, "0.5", [1, 9], signal="colour")],
        [{}],
        id="what is not known is not counted",
    ),
]


@pytest.mark.parametrize(("series", "expected"), CASES)
def test_errors_are_differenced_by_the_rules(
    series: list[Series], expected: list[Mapping[Arm, tuple[int, ...]]]
) -> None:
    """Claim: each line of the table in `difference` holds."""
    assert errors(difference(series, {}, START).blocks) == expected


def histogram(arm: Arm, rows: Mapping[str, Sequence[float | None]]) -> list[Series]:
    """One histogram's cumulative buckets."""
    return [counter(arm, bound, values, signal=LATENCY) for bound, values in rows.items()]


def test_buckets_become_requests_per_bucket() -> None:
    """Claim: cumulative buckets are de-cumulated per arm, the infinite one last."""
    series = [
        *histogram(C, {"0.25": [0, 3], "0.1": [0, 1], "+Inf": [0, 4]}),
        *histogram(S, {"0.25": [5, 5], "0.1": [4, 4], "+Inf": [9, 9]}),
    ]
    (block,) = difference(series, {}, START).blocks

    assert block.edges[LATENCY] == (0.1, 0.25, inf)
    assert block.counts.get(LATENCY, {}) == {C: (1, 2, 1), S: (0, 0, 0)}


BROKEN = [
    pytest.param({"0.1": [0, 1], "0.5": [0, 2]}, id="no infinite bucket"),
    pytest.param({"fast": [0, 1], "+Inf": [0, 2]}, id="a bound that is no number"),
    pytest.param({"0.1": [0, 5], "+Inf": [0, 2]}, id="buckets that are not cumulative"),
]


@pytest.mark.parametrize("rows", BROKEN)
def test_what_is_no_histogram_is_no_latency_data(rows: Mapping[str, Sequence[float]]) -> None:
    """Claim: malformed buckets give no counts, and errors beside them still count."""
    series = [*histogram(C, rows), counter(C, GOOD, [0, 2])]
    (block,) = difference(series, {}, START).blocks

    assert block.counts.get(LATENCY, {}) == {}
    assert block.counts.get(ERRORS, {}) == {C: (2, 0)}


def test_arms_with_different_buckets_are_not_compared() -> None:
    """Claim: edges that differ between arms give no latency data for the block."""
    series = [
        *histogram(C, {"0.1": [0, 1], "+Inf": [0, 1]}),
        *histogram(S, {"0.2": [0, 1], "+Inf": [0, 1]}),
    ]

    assert difference(series, {}, START).blocks[0].counts.get(LATENCY, {}) == {}


def test_a_label_set_that_lacks_a_bound_makes_no_request_faster() -> None:
    """Claim: with two label sets, one of them without a bound, the arm's buckets are no data."""
    series = [
        *histogram(C, {"0.1": [0, 1], "0.5": [0, 2], "+Inf": [0, 2]}),
        counter(C, "0.1", [0, 3], signal=LATENCY, key="other 0.1"),
        counter(C, "+Inf", [0, 3], signal=LATENCY, key="other inf"),
    ]

    assert difference(series, {}, START).blocks[0].counts.get(LATENCY, {}) == {}


def test_nothing_before_since_counts_and_no_block_spans_it() -> None:
    """Claim: the first scrape at or after `since` is where counting starts."""
    found = difference([counter(C, GOOD, [1, 10, 20, 40])], {}, at(3))

    assert errors(found.blocks) == [{C: (20, 0)}]


def test_a_cursor_continues_where_it_stood() -> None:
    """Claim: only scrapes after the cursor make blocks; the sample at the cursor is the base."""
    series = [counter(C, GOOD, [1, 10, 20, 40])]
    found = difference(series, {"a": at(4)}, START)

    assert errors(found.blocks) == [{C: (20, 0)}]
    assert found.cursors == {"a": at(6)}
    assert difference(series, found.cursors, START).blocks == ()


def test_a_read_that_lacks_the_cursor_starts_afresh() -> None:
    """Claim: a gap in what was read loses time, it never counts a whole counter as new."""
    found = difference([counter(C, GOOD, [None, None, 1000, 1001])], {"a": at(2)}, START)

    assert errors(found.blocks) == [{C: (1, 0)}]


def test_an_instance_that_left_does_not_hold_back_the_next_read() -> None:
    """Claim: its cursor is dropped once the others are far ahead, and reading its old samples
    again counts nothing."""
    gone = counter(C, GOOD, [1, 2, 3], instance="gone")
    here = counter(C, GOOD, [1, 5, 7], instance="here", every=MAX_GAP.total_seconds() / 1.5)
    first = difference([gone, here], {}, START)

    assert set(first.cursors) == {"here"}
    assert difference([gone, here], first.cursors, START).blocks == ()


def test_seen_is_the_last_scrape_that_held_an_arm() -> None:
    """Claim: an arm whose counters vanish stops being seen while the other goes on."""
    series = [counter(S, GOOD, [1, 2, 3, 4, 5]), counter(C, GOOD, [1, 2, None, None, None])]
    found = difference(series, {}, START)

    assert found.seen == {(ERRORS, S): at(8), (ERRORS, C): at(2)}
