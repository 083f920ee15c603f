"""What is remembered is what was stored, and a status that others touched is survived."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.lifecycle import Phase, Reason, Rejection, Revision, State
from headgate.core.memory import Memory, RouteMemory, read_memory, remember_route, render_memory

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))
HASHES = st.text("0123456789abcdef", min_size=8, max_size=8)
REVISIONS = st.builds(lambda h, v: Revision(f"fraud-{h}", h, v), HASHES, st.sampled_from("1234"))
REJECTIONS = st.builds(
    Rejection,
    hash=HASHES,
    version=st.sampled_from("1234"),
    reason=st.just("ErrorsHigher"),
    rollout=st.integers(1, 9999),
    at=MOMENTS,
    by=st.sampled_from(["", "headgate-cli"]),
)
STABLE, CANARY = Revision("fraud-1", "1" * 8, "1"), Revision("fraud-2", "2" * 8, "2")


@st.composite
def states(draw: st.DrawFn) -> State:
    """Any state: what belongs to a canary is only there with one."""
    stable, canary = draw(st.none() | REVISIONS), draw(st.none() | REVISIONS)
    moments = st.none() | MOMENTS
    return State(
        phase=draw(st.sampled_from(Phase)),
        phase_since=draw(MOMENTS),
        reason=draw(st.sampled_from(Reason)),
        message=draw(st.sampled_from(["", "canary failed 3 of 10 requests"])),
        stable=stable,
        proven=draw(st.booleans()) if stable else False,
        stable_down_since=draw(moments) if stable else None,
        canary=canary,
        step=draw(st.integers(0, 5)) if canary else 0,
        losses=draw(st.integers(0, 3)) if canary else 0,
        scheduled_at=draw(moments) if canary else None,
        progressing_since=draw(moments) if canary else None,
        rejected=tuple(draw(st.lists(REJECTIONS, max_size=3))),
        number=draw(st.integers(0, 20000)),
        retry=draw(st.sampled_from(["", "again"])),
        retry_followed=draw(st.sampled_from(["", f"{'1' * 8}@2026-01-05T12:00:00.000000Z"])),
        promote_spent=draw(st.sampled_from(["", "1" * 8])),
    )


ROUTES = st.builds(
    RouteMemory,
    name=st.just("fraud"),
    generation=st.integers(1, 100),
    weights=st.lists(st.tuples(HASHES, st.integers(0, 100)), max_size=2).map(tuple),
    verified_at=st.none() | MOMENTS,
    first_since=st.none() | MOMENTS,
)


@given(states(), st.none() | ROUTES)
def test_what_is_stored_is_what_is_read(state: State, route: RouteMemory | None) -> None:
    """Nothing a decision needs is lost between two passes."""
    memory = Memory(state, route)

    assert read_memory(render_memory(memory, "fraud"), "", NOW) == memory


def test_an_object_without_status_starts_with_nothing() -> None:
    """The CRD's default status is no memory; `retry` counts as acted on."""
    memory = read_memory({"observedGeneration": -1}, "again", NOW)

    assert memory == Memory(State(Phase.PENDING, NOW, retry="again"), None)


def test_what_others_left_out_or_wrote_is_survived() -> None:
    """A restored or edited status must not end every pass as a bug."""
    memory = read_memory({"phase": "Stable", "reason": "FromTheFuture"}, "", NOW)

    assert memory.state == State(Phase.STABLE, NOW, reason=Reason.NOT_STARTED)


def test_an_unknown_phase_is_refused() -> None:
    """Where nothing is known, nothing may be done."""
    with pytest.raises(ValueError, match="'Shadowing' is not a valid Phase"):
        read_memory({"phase": "Shadowing"}, "", NOW)


@pytest.mark.parametrize(
    ("weights", "since"),
    [
        pytest.param((("1" * 8, 90), ("2" * 8, 10)), NOW, id="the same first revision is kept"),
        pytest.param((("2" * 8, 100),), NOW + timedelta(hours=1), id="another one starts anew"),
    ],
)
def test_since_when_the_first_backend_is_what_it_is(
    weights: tuple[tuple[str, int], ...], since: datetime
) -> None:
    """Counters are named by position, so history begins where the position changed hands."""
    before = RouteMemory("fraud", 1, (("1" * 8, 100),), NOW, NOW)

    after = remember_route(before, "fraud", 2, weights, NOW + timedelta(hours=1))

    assert after.first_since == since
