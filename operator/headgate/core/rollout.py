"""The life of a revision: the one table, and the one function that may change weight or phase.

Owns the state machine (RULES is the whole of it; the diagram in docs/design is drawn from it) and
the weights that follow from a state. Must not know Kubernetes objects, queries or clocks: the
state comes from what was stored, the situation from what was just observed, and `now` from the
caller, so deciding again after a crash gives the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from headgate.core import rules
from headgate.core.commands import Command, Verb
from headgate.core.lifecycle import (
    Outcome,
    Phase,
    Plan,
    Revision,
    Situation,
    State,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What should be so from now on.

    Attributes:
        state: The state to store.
        backends: The absolute weights, stable first; empty before anything serves.
        running: Hashes whose workloads must run; all others may be stopped once unrouted.
        transition: What happened, or None if nothing did.
        command: The person's command that made it happen; None if nobody asked for it.
        finished: Outcome of the rollout this decision ends, or None.
        again_in: When to look again; None leaves it to the resync.
    """

    state: State
    backends: tuple[tuple[Revision, int], ...]
    running: frozenset[str]
    transition: Rule | None
    finished: Outcome | None
    again_in: timedelta | None
    command: Command | None = None

    @property
    def must_stand(self) -> bool:
        """Whether a try went back: the look that decided it cannot be had again afterwards."""
        aborted = self.command is not None and self.command.verb is Verb.ABORT
        return self.finished is Outcome.ROLLED_BACK or aborted


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: in these phases, when this holds, go there, for this reason.

    The first row that holds wins. `to` lists every phase the row can lead to. `by` is the command
    that a person may have made it hold with.
    """

    event: str
    phases: frozenset[Phase]
    to: tuple[Phase, ...]
    holds: Callable[[Situation], bool] = field(repr=False)
    then: Callable[[Situation], State] = field(repr=False)
    finishes: Outcome | None = None
    by: Verb | None = None


_TESTED = frozenset({Phase.PROGRESSING, Phase.PAUSED, Phase.BAKING})
_TRIED = _TESTED | {Phase.PREPARING, Phase.DEGRADED}
_SETTLED = (Phase.PENDING, Phase.BAKING, Phase.STABLE)
_RESTING = frozenset({*_SETTLED, Phase.ROLLED_BACK, Phase.DEGRADED})
_WAITING = frozenset({Phase.PREPARING, Phase.DEGRADED})

RULES: tuple[Rule, ...] = (
    Rule(
        "rolled back on record",
        _TRIED,
        (Phase.ROLLED_BACK,),
        rules.concluded,
        rules.roll_back_as_recorded,
        finishes=Outcome.ROLLED_BACK,
    ),
    Rule(
        "aborted on record",
        _TRIED,
        (Phase.ROLLED_BACK,),
        rules.concluded_by_person,
        rules.abort_as_recorded,
        finishes=Outcome.ABORTED,
    ),
    Rule(
        "breach",
        _TESTED,
        (Phase.ROLLED_BACK,),
        rules.breached,
        rules.roll_back,
        finishes=Outcome.ROLLED_BACK,
    ),
    Rule(
        "breach of the first revision",
        frozenset({Phase.BAKING}),
        (Phase.DEGRADED,),
        rules.breached_first,
        rules.degrade_breached,
    ),
    Rule(
        "a person aborts",
        _TRIED,
        (Phase.ROLLED_BACK,),
        rules.asked_to_abort,
        rules.abort_as_asked,
        finishes=Outcome.ABORTED,
        by=Verb.ABORT,
    ),
    Rule(
        "another hash wanted, only the canary serves",
        _TESTED,
        (Phase.BAKING,),
        rules.left_while_it_serves_alone,
        rules.adopt,
        finishes=Outcome.SUPERSEDED,
    ),
    Rule(
        "stable wanted again",
        _TRIED,
        _SETTLED,
        rules.reverted,
        rules.abort,
        finishes=Outcome.ABORTED,
    ),
    Rule(
        "another hash wanted",
        _TRIED,
        _SETTLED,
        rules.superseded,
        rules.supersede,
        finishes=Outcome.SUPERSEDED,
    ),
    Rule(
        "a person promotes",
        frozenset({Phase.PREPARING, Phase.PROGRESSING, Phase.PAUSED}),
        (Phase.BAKING,),
        rules.asked_to_promote,
        rules.promote_as_asked,
        by=Verb.PROMOTE,
    ),
    Rule(
        "no verdict before the deadline",
        frozenset({Phase.PROGRESSING}),
        (Phase.ROLLED_BACK,),
        rules.given_up,
        rules.give_up,
        finishes=Outcome.ROLLED_BACK,
    ),
    Rule(
        "candidate not ready before the deadline",
        frozenset({Phase.PREPARING}),
        (Phase.ROLLED_BACK,),
        rules.overdue_with_stable,
        rules.reject_unready,
        finishes=Outcome.ROLLED_BACK,
    ),
    Rule(
        "first candidate not ready before the deadline",
        frozenset({Phase.PREPARING}),
        (Phase.DEGRADED,),
        rules.overdue_first,
        rules.degrade_unready,
    ),
    Rule(
        "candidate lost its endpoints too often",
        _TESTED,
        (Phase.ROLLED_BACK,),
        rules.lost_too_often,
        rules.reject_lost,
        finishes=Outcome.ROLLED_BACK,
    ),
    Rule(
        "candidate lost its endpoints",
        _TESTED,
        (Phase.PREPARING,),
        rules.candidate_lost,
        rules.lose,
    ),
    Rule(
        "candidate that comes back ready",
        frozenset({Phase.PREPARING}),
        (Phase.BAKING,),
        rules.ready_to_return,
        rules.come_back,
    ),
    Rule(
        "proven revision ready where nothing serves",
        _WAITING,
        (Phase.STABLE,),
        rules.ready_to_restore,
        rules.serve_restored,
        finishes=Outcome.PROMOTED,
    ),
    Rule("first candidate ready", _WAITING, (Phase.BAKING,), rules.ready_first, rules.serve_first),
    Rule(
        "candidate ready, stable without endpoints",
        _WAITING | {Phase.PROGRESSING},
        (Phase.BAKING,),
        rules.ready_for_lost_stable,
        rules.replace_lost,
    ),
    Rule(
        "candidate ready",
        frozenset({Phase.PREPARING}),
        (Phase.PROGRESSING,),
        rules.ready_beside_stable,
        rules.progress,
    ),
    Rule(
        "paused",
        frozenset({Phase.PROGRESSING}),
        (Phase.PAUSED,),
        rules.paused,
        rules.pause,
        by=Verb.PAUSE,
    ),
    Rule("resumed", frozenset({Phase.PAUSED}), (Phase.PROGRESSING,), rules.resumed, rules.resume),
    Rule(
        "step earned and held",
        frozenset({Phase.PROGRESSING}),
        (Phase.PROGRESSING,),
        rules.next_step,
        rules.advance,
    ),
    Rule(
        "last step earned and held",
        frozenset({Phase.PROGRESSING}),
        (Phase.BAKING,),
        rules.steps_over,
        rules.bake,
    ),
    Rule(
        "bake over",
        frozenset({Phase.BAKING}),
        (Phase.STABLE,),
        rules.bake_over,
        rules.promote,
        finishes=Outcome.PROMOTED,
    ),
    Rule(
        "first revision to be judged anew",
        frozenset({Phase.DEGRADED}),
        (Phase.BAKING,),
        rules.judged_anew,
        rules.judge_anew,
        by=Verb.RETRY,
    ),
    Rule(
        "objective broken after the bake",
        frozenset({Phase.STABLE}),
        (Phase.PREPARING,),
        rules.broken_after_bake,
        rules.go_back,
    ),
    Rule(
        "a proven revision is kept where nothing serves",
        _RESTING,
        (Phase.PREPARING,),
        rules.restorable,
        rules.restore,
    ),
    Rule(
        "a new hash is wanted",
        _RESTING,
        (Phase.PREPARING,),
        rules.startable,
        rules.start,
        by=Verb.RETRY,
    ),
    Rule(
        "a rejected hash is wanted",
        _RESTING - {Phase.ROLLED_BACK},
        (Phase.ROLLED_BACK,),
        rules.wants_rejected,
        rules.stay_back,
    ),
    Rule(
        "stable is wanted",
        frozenset({Phase.ROLLED_BACK}),
        _SETTLED,
        rules.wants_stable,
        rules.back_in_step,
    ),
)


# --- deciding ------------------------------------------------------------------------------------


def decide(situation: Situation) -> Decision:
    """Decide phase, weights and running revisions after one look.

    At most one row of RULES is taken a pass. A pass in which nothing holds changes only what was
    observed (scheduling, an absent stable revision), so deciding twice equals deciding once.
    """
    lifted = rules.retry_for_rejection(situation)
    retried = situation.desired.retry != situation.state.retry
    judged_anew = lifted is not None and situation.state.rejection_of(lifted.hash) is None
    state = _observed(situation, lifted)
    seen = replace(situation, state=state, retried=retried or judged_anew, lifted=lifted)
    rule = next((r for r in RULES if seen.state.phase in r.phases and r.holds(seen)), None)
    state = rule.then(seen) if rule else seen.state
    if rule and state.phase not in rule.to:
        raise AssertionError(f"{rule.event}: led to {state.phase}, not to one of {rule.to}")
    finished = rule.finishes if rule else None
    state = replace(state, promote_spent=_spent(seen, state, finished is not None))
    after = replace(seen, state=state)
    return Decision(
        state=state,
        backends=backends(after),
        running=_running(state),
        transition=rule,
        finished=finished,
        again_in=timedelta(0) if rule else _again_in(after),
        command=_command(seen, rule.by if rule else None),
    )


def _observed(s: Situation, lifted: Command | None) -> State:
    state = s.state
    if s.desired.retry != state.retry:
        kept = tuple(r for r in state.rejected if r.hash != s.wanted.hash)
        state = replace(state, rejected=kept, retry=s.desired.retry)
    if lifted is not None:
        kept = tuple(r for r in state.rejected if r.hash != lifted.hash)
        state = replace(state, rejected=kept, retry_followed=lifted.token)
    if state.canary is not None and state.scheduled_at is None:
        state = replace(state, scheduled_at=s.health_of(state.canary).scheduled_at)
    down = state.stable is not None and not s.stable_serves
    if down != (state.stable_down_since is not None):
        state = replace(state, stable_down_since=s.now if down else None)
    return state


def _command(s: Situation, verb: Verb | None) -> Command | None:
    """Return the command that made the row of this kind hold; None if nobody's did."""
    match verb:
        case Verb.ABORT:
            return s.commands.abort
        case Verb.PROMOTE:
            return s.commands.promote
        case Verb.PAUSE:
            return None if s.desired.hold else s.pause
        case Verb.RETRY:
            return s.lifted if s.lifted and s.lifted.hash == s.desired.revision.hash else None
    return None


def _spent(s: Situation, state: State, finished: bool) -> str:
    """Return the hash whose promote that stands is of no use any more, "" for none.

    It asks for one attempt to be taken to the end. What is tried anew is asked for anew.
    """
    promote, tried, stable = s.commands.promote, s.state.canary, state.stable
    if promote is None:
        return ""
    ended = finished and tried is not None and tried.hash == promote.hash
    is_tried = state.canary is not None and state.canary.hash == promote.hash
    settled = stable is not None and stable.hash == promote.hash
    over = settled or state.rejection_of(promote.hash) is not None
    before = s.state.promote_spent if s.state.promote_spent == promote.hash else ""
    return promote.hash if ended or (over and not is_tried) else before


def backends(s: Situation) -> tuple[tuple[Revision, int], ...]:
    """Return the absolute weights of this situation's state, stable first; they sum to 100.

    A canary without a ready endpoint gets none, whatever the phase. Empty before anything serves.
    """
    stable, canary = s.state.stable, s.state.canary
    whole = ((stable, 100),) if stable else ()
    if canary is None or not s.health_of(canary).serving:
        return whole
    match s.state.phase:
        case Phase.BAKING:
            return ((canary, 100),)
        case Phase.PROGRESSING | Phase.PAUSED if stable is not None:
            weight = s.weight
            split = ((stable, 100 - weight), (canary, weight))
            return split if weight < 100 else ((canary, 100),)
    return whole


def next_weight(plan: Plan, state: State) -> int | None:
    """Return the weight the evidence must earn next, in percent; None when there is none."""
    if state.phase not in (Phase.PROGRESSING, Phase.PAUSED):
        return None
    following = state.step + 1
    return plan.steps[following].weight if following < len(plan.steps) else 100


def next_weights(plan: Plan, state: State) -> tuple[int, ...]:
    """Return the weights that may be entered next, ascending: all that follow if the plan ramps."""
    first = next_weight(plan, state)
    if first is None or not plan.ramps:
        return () if first is None else (first,)
    return (*(step.weight for step in plan.steps[state.step + 1 :]), 100)


def _running(state: State) -> frozenset[str]:
    return frozenset(r.hash for r in (state.stable, state.canary) if r is not None)


def _next_look(s: Situation) -> timedelta:
    """Look at multiples of the interval, so that all rollouts' questions go out as one.

    What would come at once is left out: two looks closer than half an interval see one scrape.
    """
    interval = s.plan.interval
    left = interval - (s.now - _EPOCH) % interval
    return left if left >= interval / 2 else left + interval


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READINESS_POLL = timedelta(seconds=2)
_UNVERIFIED_POLL = timedelta(seconds=1)


def _again_in(s: Situation) -> timedelta | None:
    match s.state.phase:
        case Phase.PREPARING:
            return _READINESS_POLL
        case Phase.DEGRADED if s.state.canary is not None:
            return _READINESS_POLL
        case Phase.PROGRESSING | Phase.PAUSED | Phase.BAKING:
            return _next_look(s) if s.verified else _UNVERIFIED_POLL
        case Phase.STABLE:
            return s.plan.watch
    return None
