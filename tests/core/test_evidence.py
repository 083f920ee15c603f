"""The fold: what is summed, what a route change keeps, what is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from headgate.core.counters import BAD, ERRORS, GOOD, LATENCY, Arm, Point, Series
from headgate.core.evidence import (
    Evidence,
    Objective,
    ObjectiveKind,
    Settings,
    begin,
    bucket_after,
    fold,
    rebase,
    with_baseline,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
C, S = Arm.CANARY, Arm.STABLE
AVAILABILITY = Objective("availability", 0.99, ObjectiveKind.ERRORS)
FAST = Objective("fast", 0.9, ObjectiveKind.LATENCY, 0.25)
SETTINGS = Settings(0.01, 0.001, 0.005, (AVAILABILITY, FAST), (5, 25))


def at(seconds: float) -> datetime:
    """A moment of the test."""
    return START + timedelta(seconds=seconds)


def counter(
    arm: Arm, outcome: str, values: Sequence[float], signal: str = ERRORS, first: float = 0
) -> Series:
    """A counter scraped every two seconds."""
    points = tuple(Point(at(first + 2 * n), value) for n, value in enumerate(values))
    return Series(signal, arm, "a", outcome, outcome, points)


def both(canary: Sequence[int], bad: Sequence[int], stable: Sequence[int]) -> list[Series]:
    """Canary requests that were good and bad, and stable ones that were good."""
    return [counter(C, GOOD, canary), counter(C, BAD, bad), counter(S, GOOD, stable)]


def slow(arm: Arm, fast: Sequence[int], all_of_them: Sequence[int]) -> list[Series]:
    """A histogram with an edge at 0.25 s."""
    return [
        counter(arm, "0.25", fast, LATENCY),
        counter(arm, "+Inf", all_of_them, LATENCY),
    ]


def test_nothing_is_one() -> None:
    """Claim: fresh evidence has no requests, no times, and asks to be read from its beginning."""
    evidence = begin(SETTINGS, START)

    assert fold(evidence, []) == evidence
    assert (evidence.canary_requests, evidence.requests(C, ERRORS)) == (0, 0)
    assert evidence.as_of(C) is None
    assert evidence.read_from < START


def test_requests_are_counted_and_their_first_time_is_a_scrape_time() -> None:
    """Claim: the canary's first request is dated by the scrape that first showed it."""
    evidence = fold(begin(SETTINGS, START), both([0, 0, 3, 5], [0, 0, 0, 1], [0, 20, 40, 60]))

    assert evidence.canary_requests == 6
    assert evidence.first_canary_request_at == at(4)
    assert (evidence.requests(C, ERRORS), evidence.requests(S, ERRORS)) == (6, 60)
    assert (evidence.as_of(C), evidence.as_of(S)) == (at(6), at(6))


def test_a_block_waits_for_requests_and_never_for_outcomes() -> None:
    """Claim: one canary request and nine stable ones wait, the tenth closes, whatever failed."""
    waiting = fold(begin(SETTINGS, START), both([0, 1], [0, 0], [0, 9]))
    failed = fold(begin(SETTINGS, START), both([0, 0], [0, 1], [0, 9]))
    closed = fold(begin(SETTINGS, START), both([0, 1, 1], [0, 0, 0], [0, 9, 10]))

    assert (
        waiting.signals[0].harm == failed.signals[0].harm == begin(SETTINGS, START).signals[0].harm
    )
    assert waiting.requests(C, ERRORS) == failed.requests(C, ERRORS) == 1
    assert closed.signals[0].harm != waiting.signals[0].harm


def test_the_absolute_test_does_not_wait() -> None:
    """Claim: a single failed request beside an idle stable moves the canary's limit test."""
    evidence = fold(begin(SETTINGS, START), both([0, 0], [0, 1], [0, 0]))
    limits = evidence.objectives[0].limits

    assert max(limits.canary) > 2.0
    assert limits.stable == limits.alone == begin(SETTINGS, START).objectives[0].limits.stable


def test_a_canary_without_control_is_held_against_its_budget_only() -> None:
    """Claim: with no stable series only the test without control moves."""
    evidence = fold(begin(SETTINGS, START), [counter(C, GOOD, [0, 5]), counter(C, BAD, [0, 2])])
    limits, fresh = evidence.objectives[0].limits, begin(SETTINGS, START).objectives[0]

    assert max(limits.alone) > 3.0
    assert limits.canary == limits.stable == fresh.limits.canary
    assert (evidence.canary_requests, evidence.requests(C, ERRORS)) == (7, 0)


def test_a_route_change_keeps_sums_and_starts_counting_anew() -> None:
    """Claim: sums and tests stay, no block spans the change, and waiting counts are dropped."""
    before = fold(begin(SETTINGS, START), both([0, 30, 31], [0, 0, 0], [0, 300, 309]))
    after = rebase(before, at(5))
    series = [
        counter(C, GOOD, [1000, 1002], first=6),
        counter(S, GOOD, [7, 27], first=6),
    ]
    later = fold(after, series)

    assert before.errors.waiting.canary == (1, 0)
    assert [one.harm for one in after.signals] == [one.harm for one in before.signals]
    assert after.objectives == before.objectives
    assert after.canary_requests == 31
    assert after.first_canary_request_after_rebase_at is None
    assert later.canary_requests == 33
    assert later.first_canary_request_after_rebase_at == at(8)
    assert later.first_canary_request_at == at(2)
    assert later.requests(S, ERRORS) == 320


def test_a_route_change_dated_into_the_past_counts_nothing_twice() -> None:
    """Claim: samples that were counted under the old route stay counted once."""
    series = both([0, 30, 60], [0, 0, 0], [0, 300, 600])
    before = fold(begin(SETTINGS, START), series)
    after = fold(rebase(before, at(1)), series)

    assert after.canary_requests == before.canary_requests == 60


def test_the_baseline_is_stable_before_the_rollout() -> None:
    """Claim: it is what estimates start from, lowers the limit, and leaves out the canary."""
    series = [
        counter(S, GOOD, [0, 5000, 9990]),
        counter(S, BAD, [0, 2, 10]),
        counter(C, BAD, [0, 9, 9]),
        *slow(S, [0, 5000, 9900], [0, 5002, 10000]),
    ]
    evidence = with_baseline(begin(SETTINGS, at(4)), series, at(4))

    assert evidence.errors.history == (9990, 10)
    assert evidence.latency.history == (9900, 100)
    assert evidence.errors.known == (9990, 10)
    assert evidence.canary_requests == 0
    assert 0.002 < evidence.limit(AVAILABILITY, compared=True) < 0.004
    assert evidence.limit(AVAILABILITY, compared=False) == pytest.approx(0.02)


def test_without_a_baseline_the_limit_is_twice_the_budget() -> None:
    """Claim: no history is no bound, it is not a rate of zero."""
    evidence = with_baseline(begin(SETTINGS, START), [], START)

    assert evidence.limit(AVAILABILITY, compared=True) == pytest.approx(0.02)
    assert evidence.limit(FAST, compared=True) == pytest.approx(0.2)


def test_latency_is_judged_at_its_threshold_and_by_its_shape() -> None:
    """Claim: a canary that is slow for most requests moves both latency tests and the limit."""
    series = [*slow(C, [0, 10], [0, 100]), *slow(S, [0, 950], [0, 1000])]
    evidence = fold(begin(SETTINGS, START), series)

    assert max(evidence.signals[1].shape) > 20.0
    assert max(evidence.objectives[1].harm) > 50.0
    assert max(evidence.objectives[1].limits.canary) > 50.0
    assert evidence.objectives[0].harm == ()


def test_buckets_that_change_are_no_latency_data() -> None:
    """Claim: the first histogram fixes the edges; blocks with others leave latency untouched."""
    first = fold(begin(SETTINGS, START), [*slow(C, [0, 10], [0, 10]), *slow(S, [0, 50], [0, 50])])
    changed = [
        replace(one, outcome="0.3" if one.outcome == "0.25" else "+Inf", key=f"new {one.key}")
        for one in (*slow(C, [0, 0], [0, 90]), *slow(S, [0, 50], [0, 50]))
    ]
    moved = [
        replace(s, points=tuple(Point(at(9) + (p.at - START), p.value) for p in s.points))
        for s in changed
    ]
    second = fold(first, moved)

    assert first.edges[0] == 0.25
    assert second.latency == first.latency
    assert second.signals[1].shape == first.signals[1].shape
    assert second.objectives == first.objectives


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        pytest.param(0.25, 2, id="an edge"),
        pytest.param(0.250000000001, 2, id="an edge up to rounding"),
        pytest.param(0.3, None, id="no edge"),
        pytest.param(float("inf"), None, id="the infinite edge is none"),
        pytest.param(None, None, id="no threshold"),
    ],
)
def test_a_threshold_must_be_an_edge(threshold: float | None, expected: int | None) -> None:
    """Claim: the index of the first bucket above it, or None."""
    assert bucket_after((0.1, 0.25, 1.0, float("inf")), threshold) == expected


def test_a_stored_state_is_equal_canonical_and_small() -> None:
    """Claim: a round trip changes nothing, not even the text."""
    series = [
        *both([0, 30, 61], [0, 3, 4], [0, 300, 609]),
        *slow(C, [0, 10, 20], [0, 33, 65]),
        *slow(S, [0, 290, 600], [0, 300, 609]),
    ]
    evidence = fold(with_baseline(begin(SETTINGS, START), series, at(4)), series)
    text = evidence.to_json()

    assert Evidence.from_json(text) == evidence
    assert Evidence.from_json(text).to_json() == text
    assert len(text) < 8000


def test_the_largest_state_stays_below_its_bound() -> None:
    """Claim: twenty steps, eight objectives and twenty buckets fit the record's 64 kB by far."""
    objectives = tuple(replace(FAST, name=f"o{n}", threshold_seconds=0.25 + n) for n in range(8))
    settings = replace(SETTINGS, objectives=objectives, weights=tuple(range(5, 105, 5)))
    bounds = [f"{0.25 + n}" for n in range(19)] + ["+Inf"]
    series = [
        counter(arm, bound, [0, 10_000_000 + n], LATENCY)
        for arm in Arm
        for n, bound in enumerate(bounds)
    ]

    assert len(fold(begin(settings, START), series).to_json()) < 16_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("[]", id="another shape"),
        pytest.param('{"version": 2}', id="another version"),
        pytest.param('{"version": 1}', id="missing fields"),
    ],
)
def test_what_is_no_stored_state_is_refused(text: str) -> None:
    """Claim: ValueError, so that the caller may begin anew."""
    with pytest.raises(ValueError):  # noqa: PT011 - any text will do
        Evidence.from_json(text)


def test_a_stored_state_with_a_wrong_field_is_refused() -> None:
    """Claim: a count that is a text is no count."""
    state = json.loads(begin(SETTINGS, START).to_json())
    state["canary_requests"] = "many"

    with pytest.raises(ValueError, match="cannot be read"):
        Evidence.from_json(json.dumps(state))


@pytest.mark.parametrize(
    ("target", "kind", "threshold", "message"),
    [
        pytest.param(1.0, ObjectiveKind.ERRORS, None, "wanted 0..1", id="no budget at all"),
        pytest.param(0.9, ObjectiveKind.ERRORS, 0.2, "only latency", id="errors with threshold"),
        pytest.param(0.9, ObjectiveKind.LATENCY, None, "only latency", id="latency without one"),
    ],
)
def test_an_objective_that_means_nothing_cannot_be_made(
    target: float, kind: ObjectiveKind, threshold: float | None, message: str
) -> None:
    """Claim: refused with its name."""
    with pytest.raises(ValueError, match=f"objective x: .*{message}"):
        Objective("x", target, kind, threshold)


def test_latency_of_the_first_requests_is_not_counted() -> None:
    """Claim: a fresh process is slow at first; errors count from the first request on."""
    warm = replace(SETTINGS, warm_up_requests=20)

    cold = fold(begin(warm, START), busy(1))
    later = fold(begin(warm, START), busy(2))

    assert cold.requests(C, ERRORS) == 20
    assert cold.requests(C, LATENCY) == 0
    assert later.requests(C, LATENCY) == 20


def busy(blocks: int) -> list[Series]:
    """So many blocks of 20 canary and 180 stable requests, with their latency."""
    moments = [START + timedelta(seconds=2 * n) for n in range(blocks + 1)]
    kinds = ((ERRORS, GOOD), (LATENCY, "0.25"), (LATENCY, "+Inf"))
    return [
        Series(
            signal,
            arm,
            "a",
            outcome,
            outcome,
            tuple(Point(at, float(each * n)) for n, at in enumerate(moments)),
        )
        for arm, each in ((C, 20), (S, 180))
        for signal, outcome in kinds
    ]
