"""The table of the state machine: cases by sentence, and laws over random lives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core import analysis as verdicts
from headgate.core.analysis import Analysis, Breach, Inconclusive, Pass
from headgate.core.lifecycle import (
    Desired,
    Health,
    OnInconclusive,
    Outcome,
    Phase,
    Plan,
    Reason,
    Rejection,
    Restraint,
    Revision,
    Situation,
    State,
    Step,
)
from headgate.core.rollout import RULES, decide, next_weight

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ONE, TWO, THREE = (
    Revision(f"fraud-{h * 8}", h * 8, v) for h, v in (("1", "1"), ("2", "2"), ("3", "3"))
)
PLAN = Plan(
    steps=(Step(10, MINUTE), Step(50, MINUTE)),
    bake=10 * MINUTE,
    interval=timedelta(seconds=10),
    progress_deadline=60 * MINUTE,
)
READY = Health(serving=True, available=True, answered=True, scheduled_at=NOW - 5 * MINUTE)
BREACH = Analysis(Breach("errors", verdicts.Reason.ERRORS_HIGHER, "canary failed", 100), (), NOW)
PASS = Analysis(Pass("worse by less than 5 points", 100), (), NOW)
UNSURE = Analysis(Inconclusive(verdicts.Reason.NOT_YET_PROVEN, "too few requests", 40), (), NOW)


def situation(state: State, **changes: Any) -> Situation:
    """Return a situation in which all is well and version 2 is wanted."""
    base = Situation(
        plan=PLAN,
        desired=Desired(TWO, "", ""),
        state=state,
        health={r.hash: READY for r in (ONE, TWO, THREE)},
        verified=True,
        analysis=None,
        step_started_at=NOW - 2 * MINUTE,
        now=NOW,
    )
    return replace(base, **changes)


def state(phase: Phase, **changes: Any) -> State:
    """Return a state with version 1 proven and version 2 as the canary."""
    base = State(
        phase,
        NOW - 20 * MINUTE,
        stable=ONE,
        proven=True,
        canary=TWO,
        number=2,
        scheduled_at=NOW - 20 * MINUTE,
        progressing_since=NOW - 20 * MINUTE,
    )
    return replace(base, **changes)


STABLE = replace(state(Phase.STABLE), canary=None)
FIRST = State(Phase.PREPARING, NOW - MINUTE, canary=TWO, number=1, scheduled_at=NOW - MINUTE)
REJECTED = (Rejection(TWO.hash, "2", "ErrorsHigher", 2, NOW),)
LOST = state(Phase.PREPARING, stable_down_since=NOW - 2 * MINUTE)
DEAD = {ONE.hash: Health(), TWO.hash: READY}
KEPT = Desired(TWO, "", "", ONE)
RESTORING = State(Phase.PREPARING, NOW - MINUTE, canary=ONE, number=1, scheduled_at=NOW - MINUTE)
LATE = replace(RESTORING, scheduled_at=NOW - 61 * MINUTE, phase_since=NOW - 62 * MINUTE)

CASES = [
    pytest.param(
        situation(State(Phase.PENDING, NOW)),
        (Phase.PREPARING, Reason.STARTED, {}, None),
        id="the first commit prepares the first revision and routes nothing",
    ),
    pytest.param(
        situation(FIRST),
        (Phase.BAKING, Reason.FIRST_REVISION, {"2": 100}, None),
        id="the first revision serves everything once it is ready",
    ),
    pytest.param(
        situation(FIRST, health={TWO.hash: Health()}),
        (Phase.PREPARING, Reason.NOT_STARTED, {}, None),
        id="the first revision gets no route before it is ready",
    ),
    pytest.param(
        situation(State(Phase.PENDING, NOW), desired=KEPT),
        (Phase.PREPARING, Reason.RESTORING, {}, None),
        id="where nothing serves, what Git keeps as proven is prepared and not its head",
    ),
    pytest.param(
        situation(State(Phase.PENDING, NOW), desired=replace(KEPT, hold="paused")),
        (Phase.PREPARING, Reason.RESTORING, {}, None),
        id="a pause does not keep what was proven from being brought back",
    ),
    pytest.param(
        situation(
            State(Phase.PENDING, NOW),
            desired=KEPT,
            restraint=Restraint("BudgetSpent", "spent", starts=True, steps=True),
        ),
        (Phase.PREPARING, Reason.RESTORING, {}, None),
        id="a spent error budget does not either",
    ),
    pytest.param(
        situation(RESTORING, desired=KEPT),
        (Phase.STABLE, Reason.RESTORED, {"1": 100}, Outcome.PROMOTED),
        id="what was proven is stable as soon as it is ready",
    ),
    pytest.param(
        situation(replace(RESTORING, canary=TWO), desired=Desired(TWO, "", "", TWO)),
        (Phase.STABLE, Reason.RESTORED, {"2": 100}, Outcome.PROMOTED),
        id="a head that is what was proven is proven at once",
    ),
    pytest.param(
        situation(RESTORING, desired=KEPT, health={TWO.hash: READY}),
        (Phase.PREPARING, Reason.NOT_STARTED, {}, None),
        id="what was proven gets no route before it is ready",
    ),
    pytest.param(
        situation(LATE, desired=KEPT, health={TWO.hash: READY}),
        (Phase.DEGRADED, Reason.CANDIDATE_NOT_READY, {}, None),
        id="what was proven and does not come up is degraded, and head is not tried",
    ),
    pytest.param(
        situation(replace(LATE, phase=Phase.DEGRADED), desired=KEPT),
        (Phase.STABLE, Reason.RESTORED, {"1": 100}, Outcome.PROMOTED),
        id="what was proven and comes up late is stable then",
    ),
    pytest.param(
        situation(replace(LATE, phase=Phase.DEGRADED), health={}),
        (Phase.PENDING, Reason.SUPERSEDED, {}, Outcome.SUPERSEDED),
        id="a person who takes out what was proven lets head begin",
    ),
    pytest.param(
        situation(FIRST, desired=KEPT),
        (Phase.PENDING, Reason.SUPERSEDED, {}, Outcome.SUPERSEDED),
        id="a first head that does not serve yet gives way to what was proven",
    ),
    pytest.param(
        situation(replace(STABLE, stable=THREE), desired=KEPT),
        (Phase.PREPARING, Reason.STARTED, {"3": 100}, None),
        id="where something serves, what Git keeps as proven means nothing",
    ),
    pytest.param(
        situation(STABLE),
        (Phase.PREPARING, Reason.STARTED, {"1": 100}, None),
        id="a new hash is prepared while stable keeps everything",
    ),
    pytest.param(
        situation(STABLE, desired=Desired(TWO, "spec.rollout.paused is true", "")),
        (Phase.STABLE, Reason.NOT_STARTED, {"1": 100}, None),
        id="a paused spec starts nothing",
    ),
    pytest.param(
        situation(state(Phase.PREPARING)),
        (Phase.PROGRESSING, Reason.CANDIDATE_READY, {"1": 90, "2": 10}, None),
        id="a ready candidate gets the first weight",
    ),
    pytest.param(
        situation(
            state(Phase.PREPARING),
            health={ONE.hash: READY, TWO.hash: replace(READY, answered=False)},
        ),
        (Phase.PREPARING, Reason.NOT_STARTED, {"1": 100}, None),
        id="a candidate whose probe is not answered gets none",
    ),
    pytest.param(
        situation(
            state(
                Phase.PREPARING,
                scheduled_at=NOW - 61 * MINUTE,
                phase_since=NOW - 62 * MINUTE,
            ),
            health={ONE.hash: READY, TWO.hash: Health(problem="exit code 1")},
        ),
        (Phase.ROLLED_BACK, Reason.CANDIDATE_NOT_READY, {"1": 100}, Outcome.ROLLED_BACK),
        id="a candidate that is not ready in time is rejected",
    ),
    pytest.param(
        situation(
            state(Phase.PREPARING, scheduled_at=None, phase_since=NOW - timedelta(days=1)),
            health={ONE.hash: READY, TWO.hash: Health(unschedulable="no GPU")},
        ),
        (Phase.PREPARING, Reason.NOT_STARTED, {"1": 100}, None),
        id="a candidate that no node takes waits without a deadline",
    ),
    pytest.param(
        situation(
            replace(FIRST, scheduled_at=NOW - 61 * MINUTE, phase_since=NOW - 62 * MINUTE), health={}
        ),
        (Phase.DEGRADED, Reason.CANDIDATE_NOT_READY, {}, None),
        id="a first revision that is not ready in time is degraded, not rejected",
    ),
    pytest.param(
        situation(LOST, health=DEAD),
        (Phase.BAKING, Reason.STABLE_NOT_READY, {"2": 100}, None),
        id="a ready candidate replaces a stable that has been gone for a minute",
    ),
    pytest.param(
        situation(replace(LOST, stable_down_since=NOW - timedelta(seconds=20)), health=DEAD),
        (Phase.PREPARING, Reason.NOT_STARTED, {"1": 100}, None),
        id="a stable that is gone for twenty seconds is waited for",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), analysis=BREACH),
        (Phase.ROLLED_BACK, Reason.BREACHED, {"1": 100}, Outcome.ROLLED_BACK),
        id="a breach rolls back at once, whatever the clock says",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), analysis=BREACH, step_started_at=None),
        (Phase.ROLLED_BACK, Reason.BREACHED, {"1": 100}, Outcome.ROLLED_BACK),
        id="a breach needs no hold",
    ),
    pytest.param(
        situation(state(Phase.PAUSED), analysis=BREACH, desired=Desired(TWO, "paused", "")),
        (Phase.ROLLED_BACK, Reason.BREACHED, {"1": 100}, Outcome.ROLLED_BACK),
        id="a breach rolls back while paused",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), analysis=BREACH, health=DEAD),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="a breach does not send users to a stable without endpoints",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), analysis=BREACH, desired=Desired(THREE, "", "")),
        (Phase.ROLLED_BACK, Reason.BREACHED, {"1": 100}, Outcome.ROLLED_BACK),
        id="a breach is remembered even when something newer is wanted",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), analysis=UNSURE),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="an inconclusive look changes nothing",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), analysis=PASS, step_started_at=NOW),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="an earned weight still waits for its hold",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), analysis=PASS, step_started_at=None),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="the hold does not begin before the canary answered",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), analysis=PASS, verified=False),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="no step is taken on a route that nobody confirmed",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), analysis=PASS),
        (Phase.PROGRESSING, Reason.STEP_COMPLETED, {"1": 50, "2": 50}, None),
        id="an earned and held step goes on to the next weight",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING, step=1), analysis=PASS),
        (Phase.BAKING, Reason.ALL_STEPS_COMPLETED, {"2": 100}, None),
        id="after the last step the canary gets everything and bakes",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), desired=Desired(TWO, "paused", "")),
        (Phase.PAUSED, Reason.PAUSED, {"1": 90, "2": 10}, None),
        id="a pause keeps the weight",
    ),
    pytest.param(
        situation(state(Phase.PAUSED)),
        (Phase.PROGRESSING, Reason.RESUMED, {"1": 90, "2": 10}, None),
        id="the end of a pause keeps the weight too",
    ),
    pytest.param(
        situation(
            state(Phase.PROGRESSING),
            analysis=UNSURE,
            plan=replace(PLAN, progress_deadline=MINUTE, on_inconclusive=OnInconclusive.ROLL_BACK),
        ),
        (Phase.ROLLED_BACK, Reason.DEADLINE_EXCEEDED, {"1": 100}, Outcome.ROLLED_BACK),
        id="RollBack gives an undecided canary up at the deadline",
    ),
    pytest.param(
        situation(
            state(Phase.PROGRESSING),
            analysis=UNSURE,
            plan=replace(PLAN, progress_deadline=MINUTE, on_inconclusive=OnInconclusive.PROMOTE),
        ),
        (Phase.PROGRESSING, Reason.DEADLINE_EXCEEDED, {"1": 50, "2": 50}, None),
        id="Promote takes the step and says that it was not earned",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), health={ONE.hash: READY, TWO.hash: Health()}),
        (Phase.PREPARING, Reason.CANDIDATE_LOST, {"1": 100}, None),
        id="a canary without endpoints loses its weight",
    ),
    pytest.param(
        situation(state(Phase.BAKING), analysis=BREACH),
        (Phase.ROLLED_BACK, Reason.BREACHED, {"1": 100}, Outcome.ROLLED_BACK),
        id="a breach in the bake goes back to the predecessor",
    ),
    pytest.param(
        situation(state(Phase.BAKING), analysis=PASS),
        (Phase.STABLE, Reason.PROMOTED, {"2": 100}, Outcome.PROMOTED),
        id="the end of a measured bake makes the canary stable",
    ),
    pytest.param(
        situation(state(Phase.BAKING), analysis=UNSURE),
        (Phase.BAKING, Reason.NOT_STARTED, {"2": 100}, None),
        id="a bake that nobody measured proves nothing",
    ),
    pytest.param(
        situation(state(Phase.BAKING, phase_since=NOW - MINUTE), analysis=PASS),
        (Phase.BAKING, Reason.NOT_STARTED, {"2": 100}, None),
        id="a bake lasts as long as it should",
    ),
    pytest.param(
        situation(replace(STABLE, phase=Phase.BAKING, proven=False, stable=TWO), analysis=BREACH),
        (Phase.DEGRADED, Reason.NOTHING_TO_ROLL_BACK_TO, {"2": 100}, None),
        id="a first revision in breach has nothing to go back to",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING), desired=Desired(ONE, "", "")),
        (Phase.STABLE, Reason.ABORTED, {"1": 100}, Outcome.ABORTED),
        id="stable wanted again ends the rollout",
    ),
    pytest.param(
        situation(state(Phase.BAKING), desired=Desired(THREE, "", "")),
        (Phase.STABLE, Reason.SUPERSEDED, {"1": 100}, Outcome.SUPERSEDED),
        id="another hash in the bake takes the unproven one back first",
    ),
    pytest.param(
        situation(replace(STABLE, phase=Phase.ROLLED_BACK, rejected=REJECTED)),
        (Phase.ROLLED_BACK, Reason.NOT_STARTED, {"1": 100}, None),
        id="a rejected hash is not tried again",
    ),
    pytest.param(
        situation(replace(STABLE, rejected=REJECTED)),
        (Phase.ROLLED_BACK, Reason.REJECTED_BEFORE, {"1": 100}, None),
        id="a commit that brings a rejected hash back is told so",
    ),
    pytest.param(
        situation(
            replace(STABLE, phase=Phase.ROLLED_BACK, rejected=REJECTED),
            desired=Desired(TWO, "", "again"),
        ),
        (Phase.PREPARING, Reason.STARTED, {"1": 100}, None),
        id="a changed retry tries it again",
    ),
    pytest.param(
        situation(
            replace(STABLE, phase=Phase.ROLLED_BACK, rejected=REJECTED),
            desired=Desired(ONE, "", ""),
        ),
        (Phase.STABLE, Reason.SERVING, {"1": 100}, None),
        id="a revert in Git ends the rolled back phase",
    ),
    pytest.param(
        situation(
            state(Phase.PROGRESSING),
            verified=False,
            concluded=Rejection(TWO.hash, "2", "ErrorsHigher", 2, NOW, "canary failed"),
        ),
        (Phase.ROLLED_BACK, Reason.BREACHED, {"1": 100}, Outcome.ROLLED_BACK),
        id="a rollback on record is carried out whatever else is seen",
    ),
    pytest.param(
        situation(state(Phase.BAKING), health=DEAD, desired=Desired(THREE, "", "")),
        (Phase.BAKING, Reason.NOT_STARTED, {"2": 100}, None),
        id="a canary that serves alone is not left for a stable that is just away",
    ),
    pytest.param(
        situation(
            state(Phase.BAKING, stable_down_since=NOW - 2 * MINUTE),
            health=DEAD,
            desired=Desired(THREE, "", ""),
        ),
        (Phase.BAKING, Reason.STABLE_NOT_READY, {"2": 100}, Outcome.SUPERSEDED),
        id="a canary that serves alone becomes stable when something else is wanted",
    ),
    pytest.param(
        situation(state(Phase.PROGRESSING, losses=2), health={ONE.hash: READY, TWO.hash: Health()}),
        (Phase.ROLLED_BACK, Reason.CANDIDATE_LOST, {"1": 100}, Outcome.ROLLED_BACK),
        id="the third loss of all endpoints rejects",
    ),
    pytest.param(
        situation(
            replace(STABLE, phase=Phase.DEGRADED, proven=False, stable=TWO),
            desired=Desired(TWO, "", "again"),
        ),
        (Phase.BAKING, Reason.JUDGED_ANEW, {"2": 100}, None),
        id="a changed retry judges a degraded first revision anew",
    ),
]


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_decision(given: Situation, expected: tuple[Any, ...]) -> None:
    """Each row: phase, reason, weights by version, and how the rollout ended, if it did."""
    decision = decide(given)

    weights = {r.version: w for r, w in decision.backends}
    found = (decision.state.phase, decision.state.reason, weights, decision.finished)
    assert found == expected


def test_rejection_names_reason_version_and_rollout() -> None:
    """What is remembered says what happened and where the record is."""
    decision = decide(situation(state(Phase.PROGRESSING), analysis=BREACH))

    assert decision.state.rejected == (Rejection(TWO.hash, "2", "ErrorsHigher", 2, NOW),)
    assert decision.state.message == "canary failed"
    assert decision.state.canary is None


def test_a_breach_without_a_way_back_is_told_in_one_sentence() -> None:
    """The verdict's full stop does not stand before what follows from it."""
    breach = Breach("errors", verdicts.Reason.ERRORS_HIGHER, "Canary failed 9 of 10 requests.", 10)
    baking = replace(STABLE, phase=Phase.BAKING, proven=False, stable=TWO)

    told = decide(situation(baking, analysis=Analysis(breach, (), NOW))).state.message

    assert told == (
        "Canary failed 9 of 10 requests; there is no earlier revision to go back to; "
        "change spec.rollout.retry to judge it anew"
    )


def test_what_was_proven_and_does_not_come_up_says_what_a_person_can_do() -> None:
    """The message names what is missing and the field that would let the unproven begin."""
    broken = {ONE.hash: Health(problem="container main: ImagePullBackOff"), TWO.hash: READY}

    told = decide(situation(LATE, desired=KEPT, health=broken)).state.message

    assert told == (
        "version 1 is not ready: container main: ImagePullBackOff; it was proven before, as "
        "spec.rollout.provenRevision says, and comes first: repair it, or remove "
        "spec.rollout.provenRevision to begin with what is not proven"
    )


def test_every_phase_but_the_first_can_be_reached() -> None:
    """The table has no dead end and no phase that nothing leads to."""
    reached = {phase for rule in RULES for phase in rule.to}
    left = {phase for rule in RULES for phase in rule.phases}

    assert reached >= set(Phase)
    assert left == set(Phase)


@pytest.mark.parametrize(
    ("phase", "step", "expected"),
    [
        pytest.param(Phase.PROGRESSING, 0, 50, id="the next step's weight"),
        pytest.param(Phase.PROGRESSING, 1, 100, id="everything after the last step"),
        pytest.param(Phase.PAUSED, 0, 50, id="a pause earns on"),
        pytest.param(Phase.BAKING, 1, None, id="nothing while baking"),
        pytest.param(Phase.STABLE, 0, None, id="nothing at rest"),
    ],
)
def test_weight_to_be_earned(phase: Phase, step: int, expected: int | None) -> None:
    """What the evidence must earn next follows from phase and step."""
    assert next_weight(PLAN, state(phase, step=step)) == expected


# --- laws ----------------------------------------------------------------------------------------

HEALTHS = st.builds(
    Health,
    serving=st.booleans(),
    available=st.booleans(),
    answered=st.sampled_from([None, True, False]),
    scheduled_at=st.sampled_from([None, NOW - MINUTE]),
)
LOOKS = st.fixed_dictionaries(
    {
        "wanted": st.sampled_from([ONE, TWO, THREE]),
        "proven": st.sampled_from([None, None, ONE, TWO]),
        "hold": st.sampled_from(["", "", "", "paused"]),
        "retry": st.sampled_from(["", "", "", "again"]),
        "health": st.fixed_dictionaries({r.hash: HEALTHS for r in (ONE, TWO, THREE)}),
        "verified": st.booleans(),
        "analysis": st.sampled_from([None, PASS, PASS, PASS, UNSURE, BREACH]),
        "waited": st.sampled_from([timedelta(seconds=10), 2 * MINUTE, 70 * MINUTE]),
    }
)


@settings(max_examples=300, deadline=None)
@given(st.lists(LOOKS, min_size=1, max_size=40))
def test_any_life_keeps_the_laws(looks: list[dict[str, Any]]) -> None:
    """Weights sum to 100, go only to what serves, and never to what was rejected."""
    current, now = State(Phase.PENDING, NOW), NOW
    for look in looks:
        now += look["waited"]
        before = current
        given = Situation(
            plan=PLAN,
            desired=Desired(look["wanted"], look["hold"], look["retry"], look["proven"]),
            state=current,
            health=look["health"],
            verified=look["verified"],
            analysis=look["analysis"],
            step_started_at=now - 2 * MINUTE,
            now=now,
        )

        decision = decide(given)

        assert decide(given) == decision
        current = decision.state
        weights = {r.hash: w for r, w in decision.backends}
        assert sum(weights.values()) in (0, 100)
        assert (sum(weights.values()) == 0) == (current.stable is None)
        if current.canary is not None and weights.get(current.canary.hash, 0) > 0:
            assert look["health"][current.canary.hash].serving
            assert current.rejection_of(current.canary.hash) is None
        assert set(weights) <= decision.running
        assert current.number >= before.number
        if before.stable is not None and not before.canary and look["analysis"] is BREACH:
            assert current.stable == before.stable
        if before.stable is None and current.stable is not None and look["proven"] is not None:
            # Where nothing serves, nothing but what was proven becomes stable.
            assert current.stable == look["proven"]
            assert current.proven
        if look["analysis"] in (None, UNSURE) and before.stable is not None:
            # Without proof the stable revision changes for nobody.
            assert current.stable == before.stable
