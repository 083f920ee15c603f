"""People's commands on a rollout: what follows, what is told, and laws over random lives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.test_rollout import (
    BREACH,
    DEAD,
    FIRST,
    LOOKS,
    MINUTE,
    NOW,
    ONE,
    PASS,
    PLAN,
    READY,
    REJECTED,
    STABLE,
    THREE,
    TWO,
    UNSURE,
    situation,
    state,
)

from headgate.core.asked import find_commands
from headgate.core.commands import Command, Commands, Verb
from headgate.core.conditions import Finding
from headgate.core.lifecycle import (
    Desired,
    Health,
    Outcome,
    Phase,
    Reason,
    Rejection,
    Restraint,
    Situation,
    State,
)
from headgate.core.rollout import decide

NOBODY = "f" * 8
BY = {"manager": "headgate-cli", "set_at": NOW - MINUTE}
WHO = "field manager headgate-cli asked by headgate.dev/{} at 2026-01-05T11:59:00Z"
PAUSE, ABORT, PROMOTE = (
    Command(verb, TWO.hash, **BY) for verb in (Verb.PAUSE, Verb.ABORT, Verb.PROMOTE)
)
RETRY = Command(Verb.RETRY, TWO.hash, before=NOW, **BY)
BACK = replace(
    STABLE,
    phase=Phase.ROLLED_BACK,
    rejected=(replace(REJECTED[0], at=NOW - 10 * MINUTE),),
)
BAKING_FIRST = replace(STABLE, phase=Phase.BAKING, proven=False, stable=TWO)
DEGRADED_FIRST = replace(BAKING_FIRST, phase=Phase.DEGRADED)
RETURNING = state(Phase.PREPARING, stable=ONE, returning=True, phase_since=NOW - MINUTE)
UNREADY = {ONE.hash: READY, TWO.hash: Health(serving=True)}
LOW = Restraint("BudgetLow", "objective availability: 3 % is left", starts=True, steps=False)


def asked(before: State, *commands: Command, **changes: Any) -> Situation:
    """Return a situation in which these commands stand."""
    standing = Commands(**{command.verb.value.lower(): command for command in commands})
    return situation(before, commands=standing, **changes)


CASES = [
    pytest.param(
        asked(state(Phase.PROGRESSING), PAUSE),
        (Phase.PAUSED, Reason.PAUSED, {"1": 90, "2": 10}, None),
        id="a pause keeps the weight",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), PAUSE, analysis=PASS),
        (Phase.PAUSED, Reason.PAUSED, {"1": 90, "2": 10}, None),
        id="a pause comes before a step that is earned",
    ),
    pytest.param(
        asked(state(Phase.PAUSED), PAUSE, analysis=BREACH),
        (Phase.ROLLED_BACK, Reason.BREACHED, {"1": 100}, Outcome.ROLLED_BACK),
        id="a breach rolls back while a person pauses",
    ),
    pytest.param(
        asked(state(Phase.PREPARING), PAUSE),
        (Phase.PREPARING, Reason.NOT_STARTED, {"1": 100}, None),
        id="a pause gives a ready candidate no weight",
    ),
    pytest.param(
        asked(STABLE, PAUSE),
        (Phase.STABLE, Reason.NOT_STARTED, {"1": 100}, None),
        id="a pause of what is wanted starts nothing",
    ),
    pytest.param(
        asked(state(Phase.BAKING), PAUSE, analysis=PASS),
        (Phase.BAKING, Reason.NOT_STARTED, {"2": 100}, None),
        id="a pause in the bake keeps the predecessor warm",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), ABORT),
        (Phase.ROLLED_BACK, Reason.ABORTED_BY_PERSON, {"1": 100}, Outcome.ABORTED),
        id="an abort takes a canary back at once",
    ),
    pytest.param(
        asked(state(Phase.PREPARING), ABORT, health={ONE.hash: READY}),
        (Phase.ROLLED_BACK, Reason.ABORTED_BY_PERSON, {"1": 100}, Outcome.ABORTED),
        id="an abort ends a rollout that is still preparing",
    ),
    pytest.param(
        asked(state(Phase.PAUSED), ABORT, PAUSE),
        (Phase.ROLLED_BACK, Reason.ABORTED_BY_PERSON, {"1": 100}, Outcome.ABORTED),
        id="an abort does not wait for the end of a pause",
    ),
    pytest.param(
        asked(state(Phase.BAKING), ABORT),
        (Phase.ROLLED_BACK, Reason.ABORTED_BY_PERSON, {"1": 100}, Outcome.ABORTED),
        id="an abort in the bake goes back to the warm predecessor",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), ABORT, PROMOTE),
        (Phase.ROLLED_BACK, Reason.ABORTED_BY_PERSON, {"1": 100}, Outcome.ABORTED),
        id="an abort wins over a promote",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), ABORT, desired=Desired(THREE, "", "")),
        (Phase.ROLLED_BACK, Reason.ABORTED_BY_PERSON, {"1": 100}, Outcome.ABORTED),
        id="an abort is remembered even when something newer is wanted",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), ABORT, health=DEAD),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="an abort sends nobody to a stable without endpoints",
    ),
    pytest.param(
        asked(FIRST, ABORT, health={}),
        (Phase.PREPARING, Reason.NOT_STARTED, {}, None),
        id="an abort of the first revision changes nothing",
    ),
    pytest.param(
        asked(RETURNING, ABORT, health={ONE.hash: READY}),
        (Phase.PREPARING, Reason.NOT_STARTED, {"1": 100}, None),
        id="an abort does not reject a proven revision that comes back",
    ),
    pytest.param(
        asked(replace(STABLE, stable=TWO), ABORT, desired=Desired(TWO, "", "")),
        (Phase.STABLE, Reason.NOT_STARTED, {"2": 100}, None),
        id="an abort of what is stable changes nothing",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), PROMOTE, analysis=UNSURE),
        (Phase.BAKING, Reason.PROMOTED_BY_PERSON, {"2": 100}, None),
        id="a promote takes the rest without proof",
    ),
    pytest.param(
        asked(state(Phase.PREPARING), PROMOTE),
        (Phase.BAKING, Reason.PROMOTED_BY_PERSON, {"2": 100}, None),
        id="a promote takes all steps once the candidate is ready",
    ),
    pytest.param(
        asked(state(Phase.PREPARING), PROMOTE, health=UNREADY),
        (Phase.PREPARING, Reason.NOT_STARTED, {"1": 100}, None),
        id="a promote waits for the candidate",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), PROMOTE, verified=False),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="a promote waits for the route that is in force",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), PROMOTE, analysis=BREACH),
        (Phase.ROLLED_BACK, Reason.BREACHED, {"1": 100}, Outcome.ROLLED_BACK),
        id="a breach in the same look wins over a promote",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), PROMOTE, analysis=BREACH, health=DEAD),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="a canary in breach is not promoted for want of a way back",
    ),
    pytest.param(
        asked(state(Phase.PAUSED), PROMOTE),
        (Phase.BAKING, Reason.PROMOTED_BY_PERSON, {"2": 100}, None),
        id="a promote ends a pause that is over",
    ),
    pytest.param(
        asked(state(Phase.PAUSED), PROMOTE, PAUSE),
        (Phase.PAUSED, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="a promote waits while a person's pause stands",
    ),
    pytest.param(
        asked(state(Phase.PAUSED), PROMOTE, desired=Desired(TWO, "spec.rollout.paused", "")),
        (Phase.PAUSED, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="a promote waits while Git pauses",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), PROMOTE, unproven=LOW),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="a promote spends no budget that is low",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING, promote_spent=TWO.hash), PROMOTE, analysis=UNSURE),
        (Phase.PROGRESSING, Reason.NOT_STARTED, {"1": 90, "2": 10}, None),
        id="a promote that was for an earlier attempt says nothing of this one",
    ),
    pytest.param(
        asked(RETURNING, PROMOTE),
        (Phase.BAKING, Reason.RETURNING, {"2": 100}, None),
        id="a promote of a proven revision that comes back is not what brings it back",
    ),
    pytest.param(
        asked(BACK, RETRY),
        (Phase.PREPARING, Reason.STARTED, {"1": 100}, None),
        id="a retry lifts an older rejection",
    ),
    pytest.param(
        asked(BACK, replace(RETRY, before=NOW - 11 * MINUTE)),
        (Phase.ROLLED_BACK, Reason.NOT_STARTED, {"1": 100}, None),
        id="a retry lifts no rejection that came after it",
    ),
    pytest.param(
        asked(replace(BACK, retry_followed=RETRY.token), RETRY),
        (Phase.ROLLED_BACK, Reason.NOT_STARTED, {"1": 100}, None),
        id="a retry that was acted on is not acted on again",
    ),
    pytest.param(
        asked(BACK, replace(RETRY, before=NOW + 6 * MINUTE)),
        (Phase.ROLLED_BACK, Reason.NOT_STARTED, {"1": 100}, None),
        id="a retry of a time to come lifts nothing",
    ),
    pytest.param(
        asked(
            replace(BACK, rejected=(replace(REJECTED[0], at=NOW + 24 * 60 * MINUTE),)),
            replace(RETRY, before=NOW + (24 * 60 + 1) * MINUTE),
        ),
        (Phase.PREPARING, Reason.STARTED, {"1": 100}, None),
        id="a retry lifts a rejection that a fast clock has dated too late",
    ),
    pytest.param(
        asked(BACK, RETRY, ABORT),
        (Phase.ROLLED_BACK, Reason.NOT_STARTED, {"1": 100}, None),
        id="a retry waits while the abort of the same revision stands",
    ),
    pytest.param(
        asked(
            replace(RETURNING, rejected=(replace(REJECTED[0], hash=ONE.hash, at=NOW - MINUTE),)),
            replace(RETRY, hash=ONE.hash),
            desired=Desired(ONE, "", ""),
        ),
        (Phase.STABLE, Reason.ABORTED, {"1": 100}, Outcome.ABORTED),
        id="a retry of what broke an objective keeps it, and nothing comes back",
    ),
    pytest.param(
        asked(DEGRADED_FIRST, RETRY),
        (Phase.BAKING, Reason.JUDGED_ANEW, {"2": 100}, None),
        id="a retry judges a degraded first revision anew",
    ),
    pytest.param(
        asked(
            state(Phase.PROGRESSING),
            concluded=Rejection(
                TWO.hash, "2", "AbortedByPerson", 2, NOW, "it goes back", "headgate-cli"
            ),
        ),
        (Phase.ROLLED_BACK, Reason.ABORTED_BY_PERSON, {"1": 100}, Outcome.ABORTED),
        id="an abort on record is carried out though the command is gone",
    ),
]


@pytest.mark.parametrize(("given", "expected"), CASES)
def test_decision_with_commands(given: Situation, expected: tuple[Any, ...]) -> None:
    """Each row: phase, reason, weights by version, and how the rollout ended, if it did."""
    decision = decide(given)

    weights = {r.version: w for r, w in decision.backends}
    found = (decision.state.phase, decision.state.reason, weights, decision.finished)
    assert found == expected


def test_an_abort_is_remembered_with_who_asked_for_it() -> None:
    """Claim: hash, reason and manager are in the rejection, the rest is in the sentence."""
    decision = decide(asked(state(Phase.PROGRESSING), replace(ABORT, reason="users complain")))

    assert decision.state.rejected == (
        Rejection(TWO.hash, "2", "AbortedByPerson", 2, NOW, by="headgate-cli"),
    )
    assert decision.state.message == (
        f"version 2 goes back to version 1, as {WHO.format('abort')}: users complain"
    )
    assert decision.must_stand


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(asked(state(Phase.PROGRESSING), PAUSE), PAUSE, id="pause"),
        pytest.param(asked(state(Phase.PROGRESSING), ABORT), ABORT, id="abort"),
        pytest.param(asked(state(Phase.PROGRESSING), PROMOTE), PROMOTE, id="promote"),
        pytest.param(asked(BACK, RETRY), RETRY, id="retry"),
        pytest.param(asked(state(Phase.PROGRESSING), PROMOTE, analysis=BREACH), None, id="breach"),
        pytest.param(
            asked(state(Phase.PROGRESSING), PAUSE, desired=Desired(TWO, "paused in Git", "")),
            None,
            id="a pause in Git, whatever else pauses",
        ),
        pytest.param(
            asked(replace(STABLE, phase=Phase.ROLLED_BACK), RETRY), None, id="a start by itself"
        ),
    ],
)
def test_a_decision_names_the_command_that_made_it(
    given: Situation, expected: Command | None
) -> None:
    """Claim: what a person asked for and what happened by itself can be told apart."""
    assert decide(given).command == expected


def test_a_retry_is_acted_on_once_whatever_the_clocks_say() -> None:
    """Claim: a moment ahead of our clock lifts the rejection there is, and not the next one."""
    ahead = replace(RETRY, before=NOW + 4 * MINUTE)
    first = decide(asked(BACK, ahead)).state
    again = replace(BACK, retry_followed=first.retry_followed, rejected=REJECTED)

    assert first.rejected == ()
    assert first.message.endswith(f"({TWO.hash}) once more, as {WHO.format('retry')}")
    assert decide(asked(again, ahead)).state.rejected == REJECTED


def test_a_promote_ends_with_the_attempt_it_was_given_in() -> None:
    """Claim: what went back in spite of a promote is not promoted again when it is tried again."""
    baking = state(Phase.BAKING)
    back = decide(asked(baking, PROMOTE, analysis=BREACH)).state
    retried = decide(asked(back, PROMOTE, desired=Desired(TWO, "", "again"))).state
    ready = decide(asked(retried, PROMOTE, desired=Desired(TWO, "", "again")))

    assert back.promote_spent == TWO.hash
    assert retried.phase is Phase.PREPARING
    assert {r.version: w for r, w in ready.backends} == {"1": 90, "2": 10}


def test_a_promote_that_is_removed_may_be_given_again() -> None:
    """Claim: nothing is remembered of a command that is gone."""
    spent = state(Phase.PROGRESSING, promote_spent=TWO.hash)
    removed = decide(asked(spent)).state

    assert removed.promote_spent == ""
    assert decide(asked(removed, PROMOTE)).state.phase is Phase.BAKING


FOUND = [
    pytest.param(asked(state(Phase.PROGRESSING)), None, id="no command, no condition"),
    pytest.param(
        asked(state(Phase.PAUSED), PAUSE),
        Finding(True, "Accepted", "headgate.dev/pause: version 2 is held"),
        id="a pause holds",
    ),
    pytest.param(
        asked(STABLE, PAUSE),
        Finding(True, "Accepted", "headgate.dev/pause: version 2 is not started"),
        id="a pause keeps from starting",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), replace(PAUSE, hash=NOBODY)),
        Finding(
            False,
            "StaleCommand",
            f"headgate.dev/pause: wanted {TWO.hash} (version 2), found {NOBODY}, which is not "
            "being tried, and nothing is left to hold",
        ),
        id="a pause for another revision is stale",
    ),
    pytest.param(
        asked(RETURNING, PAUSE),
        Finding(
            False,
            "Returning",
            "headgate.dev/pause: version 2 is proven and comes back, which waits for nobody",
        ),
        id="a pause of a proven revision that comes back",
    ),
    pytest.param(
        asked(BACK, ABORT),
        Finding(True, "Accepted", "headgate.dev/abort: version 2 went back (ErrorsHigher)"),
        id="an abort that was followed, or came too late",
    ),
    pytest.param(
        asked(FIRST, ABORT, health={}),
        Finding(
            False,
            "NothingToRollBackTo",
            "headgate.dev/abort: version 2 is the first revision: there is nothing to go back to",
        ),
        id="an abort of the first revision",
    ),
    pytest.param(
        asked(BAKING_FIRST, ABORT),
        Finding(
            False,
            "NothingToRollBackTo",
            "headgate.dev/abort: version 2 is the first revision: there is nothing to go back to",
        ),
        id="an abort of the first revision in its bake",
    ),
    pytest.param(
        asked(RETURNING, ABORT),
        Finding(
            False,
            "Returning",
            "headgate.dev/abort: version 2 is proven and comes back; to keep version 1 instead, "
            f"give headgate.dev/retry for {ONE.hash}",
        ),
        id="an abort of a proven revision that comes back",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), ABORT, health=DEAD),
        Finding(
            True,
            "Waiting",
            "headgate.dev/abort waits: version 1 has no ready endpoint to go back to",
        ),
        id="an abort that waits for stable",
    ),
    pytest.param(
        asked(replace(STABLE, stable=TWO), ABORT),
        Finding(
            False,
            "StaleCommand",
            f"headgate.dev/abort: found {TWO.hash}, which is not being tried: it cannot be taken "
            "back",
        ),
        id="an abort of what is stable by now",
    ),
    pytest.param(
        asked(state(Phase.BAKING), PROMOTE),
        Finding(True, "Accepted", "headgate.dev/promote: version 2 has all requests"),
        id="a promote that was followed",
    ),
    pytest.param(
        asked(state(Phase.PREPARING), PROMOTE, health=UNREADY),
        Finding(True, "Waiting", "headgate.dev/promote waits: version 2 is not ready yet"),
        id="a promote that waits for the candidate",
    ),
    pytest.param(
        asked(state(Phase.PAUSED), PROMOTE, desired=Desired(TWO, "spec.rollout.paused", "")),
        Finding(
            False,
            "Paused",
            "headgate.dev/promote: waits while the rollout is held: spec.rollout.paused",
        ),
        id="a promote that Git holds",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING), PROMOTE, unproven=LOW),
        Finding(
            False,
            "BudgetLow",
            "headgate.dev/promote: waits, as spec.rollout.emergency is not true: objective "
            "availability: 3 % is left",
        ),
        id="a promote that the error budget holds",
    ),
    pytest.param(
        asked(state(Phase.PROGRESSING, promote_spent=TWO.hash), PROMOTE),
        Finding(
            False,
            "StaleCommand",
            "headgate.dev/promote: was for an earlier attempt; remove it and set it again to skip "
            "the proof of this one",
        ),
        id="a promote of an earlier attempt",
    ),
    pytest.param(
        asked(RETURNING, PROMOTE, PAUSE, health=UNREADY),
        Finding(
            False,
            "Returning",
            "headgate.dev/pause: version 2 is proven and comes back, which waits for nobody; "
            "headgate.dev/promote waits: version 2 is proven and gets all requests when it is "
            "ready",
        ),
        id="a promote of a proven revision that comes back",
    ),
    pytest.param(
        asked(BACK, PROMOTE),
        Finding(
            False,
            "StaleCommand",
            f"headgate.dev/promote: found {TWO.hash}, which was rejected: retry it first",
        ),
        id="a promote of what was rejected",
    ),
    pytest.param(
        asked(replace(STABLE, retry_followed=RETRY.token), RETRY),
        Finding(
            True,
            "Accepted",
            f"headgate.dev/retry: revision {TWO.hash} was allowed to be tried once more",
        ),
        id="a retry that was followed",
    ),
    pytest.param(
        asked(STABLE, RETRY),
        Finding(
            False,
            "StaleCommand",
            f"headgate.dev/retry: found {TWO.hash}, which is not rejected: there is nothing to try "
            "again",
        ),
        id="a retry of what is not rejected",
    ),
    pytest.param(
        asked(BACK, replace(RETRY, before=NOW - 11 * MINUTE)),
        Finding(
            False,
            "StaleCommand",
            "headgate.dev/retry: wanted a moment after the rejection at 2026-01-05T11:50:00Z, "
            "found 2026-01-05T11:49:00Z",
        ),
        id="a retry that is older than the rejection",
    ),
    pytest.param(
        asked(BACK, replace(RETRY, before=NOW + 60 * MINUTE)),
        Finding(
            False,
            "InvalidCommand",
            "headgate.dev/retry: wanted a moment at most 5 min ahead of the operator's clock, "
            "found 2026-01-05T13:00:00Z",
        ),
        id="a retry of a time to come",
    ),
    pytest.param(
        asked(BACK, RETRY, ABORT),
        Finding(
            False,
            "AbortStands",
            "headgate.dev/abort: version 2 went back (ErrorsHigher); headgate.dev/retry: waits "
            "until headgate.dev/abort for the same revision is removed",
        ),
        id="a retry that an abort would take back",
    ),
]


@pytest.mark.parametrize(("given", "expected"), FOUND)
def test_what_is_told_of_a_command(given: Situation, expected: Finding | None) -> None:
    """Each row: whether it is accepted, why, and what was wanted and found."""
    assert find_commands(given, ()) == expected


def test_what_is_malformed_is_told_first_and_without_a_spec_too() -> None:
    """Claim: a value that is no command is said even where nothing can be decided."""
    text = "headgate.dev/abort: wanted the hash of a revision, found 'x'"

    assert find_commands(None, (text,)) == Finding(False, "InvalidCommand", text)
    both = find_commands(asked(state(Phase.PAUSED), PAUSE), (text,))
    assert both == Finding(
        False, "InvalidCommand", f"{text}; headgate.dev/pause: version 2 is held"
    )


# --- laws ----------------------------------------------------------------------------------------

HASHES = st.sampled_from([None, None, ONE.hash, TWO.hash, THREE.hash, NOBODY])
ASKED = st.fixed_dictionaries(
    {
        "pause": HASHES,
        "abort": HASHES,
        "promote": HASHES,
        "retry": HASHES,
        "ahead": st.sampled_from([-120 * MINUTE, -MINUTE, 0 * MINUTE, 4 * MINUTE, 120 * MINUTE]),
        "jump": st.sampled_from([0 * MINUTE, 0 * MINUTE, -90 * MINUTE, 90 * MINUTE]),
    }
)


def commands_of(asked: dict[str, Any], now: Any) -> Commands:
    """Return the commands of a random look."""
    found = {}
    for verb in Verb:
        hash = asked[verb.value.lower()]
        if hash is not None:
            before = now + asked["ahead"] if verb is Verb.RETRY else None
            found[verb.value.lower()] = Command(verb, hash, before=before)
    return Commands(**found)


def lives(looks: list[tuple[dict[str, Any], dict[str, Any]]]) -> Any:
    """Live through these looks; yield each situation with what was decided in it."""
    current, now = State(Phase.PENDING, NOW), NOW
    for look, wishes in looks:
        now += look["waited"] + wishes["jump"]
        given = Situation(
            plan=PLAN,
            desired=Desired(look["wanted"], look["hold"], look["retry"]),
            state=current,
            health=look["health"],
            verified=look["verified"],
            analysis=look["analysis"],
            step_started_at=now - 2 * MINUTE,
            now=now,
            commands=commands_of(wishes, now),
        )
        decision = decide(given)
        yield given, decision
        current = decision.state


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(LOOKS, ASKED), min_size=1, max_size=40))
def test_commands_keep_the_laws(looks: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Weights sum to 100 and go to what serves, what is aborted has none, twice equals once."""
    for look, decision in lives(looks):
        weights = {r.hash: w for r, w in decision.backends}
        before, after, commands = look.state, decision.state, look.commands

        assert decide(look) == decision
        assert sum(weights.values()) in (0, 100)
        assert all(0 < weight <= 100 for weight in weights.values())
        if after.canary is not None and after.canary.hash in weights:
            assert look.health[after.canary.hash].serving
        stopped = commands.abort is not None and decision.finished is Outcome.ABORTED
        if stopped and decision.command is not None:
            assert weights == {before.stable.hash: 100}  # type: ignore[union-attr]
            assert after.rejection_of(commands.abort.hash) is not None  # type: ignore[union-attr]
        if decision.command is not None and decision.command.verb is Verb.PROMOTE:
            assert look.health[before.canary.hash].ready  # type: ignore[union-attr]
            assert look.analysis is not BREACH
            assert not look.hold
        find_commands(replace(look, state=after), ())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(LOOKS, ASKED), min_size=1, max_size=40))
def test_a_stale_command_never_changes_a_decision(
    looks: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    """Decided with commands for a revision that is not in question, or without: it is the same."""
    stale = Commands(
        **{
            verb.value.lower(): Command(verb, NOBODY, before=NOW if verb is Verb.RETRY else None)
            for verb in Verb
        }
    )
    for look, _ in lives(looks):
        without = decide(replace(look, commands=Commands()))
        assert decide(replace(look, commands=stale)) == without


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(LOOKS, ASKED), min_size=1, max_size=40))
def test_no_look_leaves_an_aborted_canary_any_weight(
    looks: list[tuple[dict[str, Any], dict[str, Any]]],
) -> None:
    """While an abort stands and stable serves, one look takes the canary of that revision back.

    Except a proven one that comes back: it was stable before.
    """
    standing = [(seen, {**wishes, "abort": TWO.hash}) for seen, wishes in looks]
    for look, decision in lives(standing):
        if look.state.canary == TWO and look.stable_serves and not look.state.returning:
            assert TWO.hash not in {revision.hash for revision, _ in decision.backends}
            assert decision.state.canary is None
