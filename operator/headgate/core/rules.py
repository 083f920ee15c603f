"""What may hold in a situation, and what follows: the words the table in rollout.py is written in.

Owns one small predicate or one small change of state each. Must not know in which phases they are
asked or in which order: that is the table's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from headgate.core.analysis import Breach, Inconclusive, Pass
from headgate.core.analysis import Reason as Evidenced
from headgate.core.commands import Command
from headgate.core.lifecycle import (
    MAX_LOSSES,
    MAX_REJECTED,
    RETRY_AHEAD,
    OnInconclusive,
    Phase,
    Reason,
    Rejection,
    Revision,
    Situation,
    State,
)

# --- what may hold -------------------------------------------------------------------------------


def _is_breach(s: Situation) -> bool:
    return s.analysis is not None and isinstance(s.analysis.verdict, Breach)


def breached(s: Situation) -> bool:
    # Going back to a stable revision that has no endpoint would trade failures for an outage.
    # Nor is a revision that comes back sent away for the sake of the one that was rejected.
    sound = s.stable_serves and not s.state.returning
    return s.state.canary is not None and _is_breach(s) and sound


def breached_first(s: Situation) -> bool:
    return s.state.canary is None and _is_breach(s)


def concluded(s: Situation) -> bool:
    return s.state.canary is not None and s.concluded is not None and not s.concluded.by


def concluded_by_person(s: Situation) -> bool:
    return s.state.canary is not None and s.concluded is not None and bool(s.concluded.by)


def _is_for_canary(s: Situation, command: Command | None) -> bool:
    return (
        command is not None and s.state.canary is not None and command.hash == s.state.canary.hash
    )


def asked_to_abort(s: Situation) -> bool:
    # As with a breach: nobody is sent to a revision without endpoints, and a proven one that comes
    # back is not rejected for the sake of the one that broke an objective.
    possible = s.state.stable is not None and not s.state.returning and not serves_alone(s)
    return possible and _is_for_canary(s, s.commands.abort)


def asked_to_promote(s: Situation) -> bool:
    # Proof is what a person may go without. Readiness, a route in force, a pause and a freeze are
    # not theirs to skip here: spec.rollout has the say over these. What comes back is proven.
    is_open = not s.state.returning and not is_promote_spent(s)
    wanted = is_open and _is_for_canary(s, s.commands.promote)
    allowed = not s.hold and s.unproven is None and s.verified and not _is_breach(s)
    return wanted and allowed and s.state.stable is not None and s.health_of(s.state.canary).ready


def is_promote_spent(s: Situation) -> bool:
    """Whether the promote that stands was for an earlier attempt: nobody asked for this one."""
    promote = s.commands.promote
    return promote is not None and promote.hash == s.state.promote_spent


def retry_for_rejection(s: Situation) -> Command | None:
    """Return the retry that lifts something now, once; None if none does.

    Clocks differ and jump, so the moment alone would lift again and again: what was acted on is
    remembered. While an abort of the same revision stands, nothing is lifted.
    """
    retry, at = s.commands.retry, retriable_since(s)
    if retry is None or retry.before is None or at is None or retry.token == s.state.retry_followed:
        return None
    due = at < retry.before <= max(s.now, at) + RETRY_AHEAD
    return retry if due and not is_abort_standing(s, retry.hash) else None


def is_abort_standing(s: Situation, hash: str) -> bool:
    return s.commands.abort is not None and s.commands.abort.hash == hash


def retriable_since(s: Situation) -> datetime | None:
    """Return since when what the retry is about has been rejected, or degraded without a way back;
    None if it is neither."""
    retry, state = s.commands.retry, s.state
    if retry is None:
        return None
    rejection = state.rejection_of(retry.hash)
    if rejection is not None:
        return rejection.at
    degraded = state.phase is Phase.DEGRADED and state.canary is None and state.stable is not None
    is_it = degraded and state.stable is not None and state.stable.hash == retry.hash
    return state.phase_since if is_it else None


def _is_left(s: Situation) -> bool:
    canary, wanted = s.state.canary, s.wanted.hash
    if s.state.returning and s.state.rejection_of(wanted) is not None:
        return False
    return canary is not None and wanted != canary.hash


def serves_alone(s: Situation) -> bool:
    """The canary is all that serves: leaving it now would send users to nobody."""
    routed = s.state.phase in (Phase.PROGRESSING, Phase.PAUSED, Phase.BAKING)
    return routed and s.health_of(s.state.canary).serving and not s.stable_serves


def left_while_it_serves_alone(s: Situation) -> bool:
    return _is_left(s) and serves_alone(s) and s.stable_is_lost


def reverted(s: Situation) -> bool:
    stable = s.state.stable
    wanted = stable is not None and s.desired.revision.hash == stable.hash
    return wanted and _is_left(s) and not serves_alone(s)


def superseded(s: Situation) -> bool:
    return _is_left(s) and not serves_alone(s)


def _candidate_overdue(s: Situation) -> bool:
    # Waiting for capacity is nobody's failure: the deadline counts from the scheduling of the pods.
    # A pod that only restarts was scheduled long ago, so it counts from the loss then.
    health = s.health_of(s.state.canary)
    scheduled = s.state.scheduled_at or s.state.phase_since
    since = max(scheduled, s.state.phase_since)
    overdue = s.now - since >= s.plan.progress_deadline
    return s.state.canary is not None and not health.ready and not health.unschedulable and overdue


def overdue_with_stable(s: Situation) -> bool:
    # What comes back is proven, and there is nothing better to go on with.
    return s.state.stable is not None and not s.state.returning and _candidate_overdue(s)


def overdue_first(s: Situation) -> bool:
    return s.state.stable is None and _candidate_overdue(s)


def candidate_lost(s: Situation) -> bool:
    return s.state.canary is not None and not s.health_of(s.state.canary).serving


def lost_too_often(s: Situation) -> bool:
    again = s.state.losses + 1 >= MAX_LOSSES
    return candidate_lost(s) and again and s.stable_serves and not s.state.returning


def _candidate_ready(s: Situation) -> bool:
    return s.state.canary is not None and not s.hold and s.health_of(s.state.canary).ready


def ready_to_restore(s: Situation) -> bool:
    # An outage waits for no pause: what is brought back was proven, and nothing else serves.
    canary = s.state.canary
    restored = canary is not None and s.restores and canary.hash == s.wanted.hash
    return restored and s.health_of(canary).ready


def ready_first(s: Situation) -> bool:
    return s.state.stable is None and _candidate_ready(s)


def ready_for_lost_stable(s: Situation) -> bool:
    return s.state.stable is not None and s.stable_is_lost and _candidate_ready(s)


def ready_beside_stable(s: Situation) -> bool:
    return s.stable_serves and not s.state.returning and _candidate_ready(s)


def ready_to_return(s: Situation) -> bool:
    # Going back waits for nobody, a pause included.
    return s.state.returning and s.health_of(s.state.canary).ready


def broken_after_bake(s: Situation) -> bool:
    return s.burning is not None and s.state.last_proven is not None and s.state.canary is None


def _step_held(s: Situation) -> bool:
    since = s.step_started_at
    return s.verified and since is not None and s.now - since >= s.step.hold


def _may_step(s: Situation) -> bool:
    return s.restraint is None or not s.restraint.steps


def _earned(s: Situation) -> bool:
    if not _may_step(s):
        return False
    passed = s.analysis is not None and isinstance(s.analysis.verdict, Pass)
    waived = s.plan.on_inconclusive is OnInconclusive.PROMOTE and s.verified and _stuck(s)
    return waived or (passed and _step_held(s))


_OUTAGES = (Evidenced.METRICS_UNAVAILABLE, Evidenced.EVIDENCE_STALE)


def _stuck(s: Situation) -> bool:
    """Nobody could tell in time. An outage of the metrics says nothing of the canary, and a step
    that has just begun has not been looked at yet."""
    held = s.now - s.state.phase_since >= max(s.step.hold, s.plan.interval)
    return s.deadline_passed and held and (_is_undecided(s) or not s.verified)


def _is_undecided(s: Situation) -> bool:
    match s.analysis.verdict if s.analysis else None:
        case Inconclusive(reason=reason):
            return reason not in _OUTAGES
    return False


def given_up(s: Situation) -> bool:
    return (
        s.plan.on_inconclusive is OnInconclusive.ROLL_BACK
        and s.state.canary is not None
        and _stuck(s)
        and s.stable_serves
    )


def next_step(s: Situation) -> bool:
    return not s.is_last_step and _earned(s)


def steps_over(s: Situation) -> bool:
    return s.is_last_step and _earned(s)


def bake_over(s: Situation) -> bool:
    # Evidence or nothing: a bake that nobody measured proves nothing, however long it was.
    passed = s.analysis is not None and isinstance(s.analysis.verdict, Pass)
    over = s.now - s.state.phase_since >= s.plan.bake
    return s.verified and passed and over and not s.hold


def paused(s: Situation) -> bool:
    return bool(s.hold)


def resumed(s: Situation) -> bool:
    return not s.hold


def _wants_another(s: Situation) -> bool:
    state, wanted = s.state, s.wanted.hash
    return state.canary is None and (state.stable is None or wanted != state.stable.hash)


def restorable(s: Situation) -> bool:
    rejected = s.state.rejection_of(s.wanted.hash) is not None
    return s.restores and s.state.canary is None and not rejected


def startable(s: Situation) -> bool:
    restrained = s.restraint is not None and s.restraint.starts
    return (
        _wants_another(s)
        and not s.hold
        and not restrained
        and s.state.rejection_of(s.wanted.hash) is None
    )


def wants_rejected(s: Situation) -> bool:
    return _wants_another(s) and s.state.rejection_of(s.wanted.hash) is not None


def wants_stable(s: Situation) -> bool:
    state = s.state
    return (
        state.canary is None
        and state.stable is not None
        and s.desired.revision.hash == state.stable.hash
    )


# --- what follows --------------------------------------------------------------------------------


def _enter(s: Situation, phase: Phase, reason: Reason, message: str) -> State:
    return replace(s.state, phase=phase, phase_since=s.now, reason=reason, message=message)


def _settled_phase(state: State) -> Phase:
    if state.stable is None:
        return Phase.PENDING
    return Phase.STABLE if state.proven else Phase.BAKING


def _without_canary(state: State) -> State:
    return replace(
        state,
        canary=None,
        step=0,
        losses=0,
        first_weight=None,
        returning=False,
        scheduled_at=None,
        progressing_since=None,
    )


def _settle(s: Situation, reason: Reason, message: str) -> State:
    return _without_canary(_enter(s, _settled_phase(s.state), reason, message))


def _version(revision: Revision | None) -> str:
    return revision.version if revision else "none"


def _verdict_text(s: Situation) -> str:
    return s.analysis.verdict.message if s.analysis else ""


def _reject(s: Situation, reason: str, message: str, by: str = "") -> State:
    canary = s.state.canary
    if canary is None:
        raise ValueError("nothing to reject: there is no canary")
    state = _without_canary(_enter(s, Phase.ROLLED_BACK, Reason.BREACHED, message))
    return replace(state, rejected=_with_rejection(s, canary, reason, by))


def _with_rejection(
    s: Situation, revision: Revision, reason: str, by: str = ""
) -> tuple[Rejection, ...]:
    """What is rejected with this revision: each hash once, the newest last."""
    others = tuple(r for r in s.state.rejected if r.hash != revision.hash)
    rejection = Rejection(revision.hash, revision.version, reason, s.state.number, s.now, by=by)
    return (*others, rejection)[-MAX_REJECTED:]


def roll_back(s: Situation) -> State:
    verdict = s.analysis.verdict if s.analysis else None
    reason = verdict.reason if isinstance(verdict, Breach) else Reason.INCONCLUSIVE
    return _reject(s, str(reason), _verdict_text(s))


def roll_back_as_recorded(s: Situation) -> State:
    recorded = s.concluded
    if recorded is None:
        raise ValueError("nothing on record")
    return _reject(s, recorded.reason, recorded.message)


def abort_as_recorded(s: Situation) -> State:
    recorded = s.concluded
    if recorded is None:
        raise ValueError("nothing on record")
    return _abort(s, recorded.message, recorded.by)


def abort_as_asked(s: Situation) -> State:
    command = s.commands.abort
    if command is None:
        raise ValueError("nobody asked for it")
    stable, canary = _version(s.state.stable), _version(s.state.canary)
    message = f"version {canary} goes back to version {stable}, as {command.asked}"
    return _abort(s, message, command.manager)


def _abort(s: Situation, message: str, by: str) -> State:
    state = _reject(s, Reason.ABORTED_BY_PERSON, message, by)
    return replace(state, reason=Reason.ABORTED_BY_PERSON)


def promote_as_asked(s: Situation) -> State:
    command = s.commands.promote
    if command is None:
        raise ValueError("nobody asked for it")
    message = f"version {_version(s.state.canary)} gets all requests unproven, as {command.asked}"
    return _take_over(s, Reason.PROMOTED_BY_PERSON, message)


def reject_lost(s: Situation) -> State:
    problem = s.health_of(s.state.canary).problem
    message = f"version {_version(s.state.canary)} lost its endpoints {MAX_LOSSES} times"
    text = f"{message}: {problem}" if problem else message
    return replace(_reject(s, Reason.CANDIDATE_LOST, text), reason=Reason.CANDIDATE_LOST)


def adopt(s: Situation) -> State:
    """Let the canary, which serves alone, be the stable revision: unproven, but all there is."""
    message = (
        f"version {_version(s.state.stable)} has no ready endpoint; "
        f"version {_version(s.state.canary)} serves and stays"
    )
    state = _enter(s, Phase.BAKING, Reason.STABLE_NOT_READY, message)
    return replace(
        _without_canary(state), stable=s.state.canary, proven=False, stable_down_since=None
    )


def judged_anew(s: Situation) -> bool:
    return s.retried and s.state.canary is None and wants_stable(s)


def judge_anew(s: Situation) -> State:
    why = s.lifted.asked if s.lifted else "spec.rollout.retry changed"
    message = f"version {_version(s.state.stable)} is judged anew, as {why}"
    return _enter(s, Phase.BAKING, Reason.JUDGED_ANEW, message)


def give_up(s: Situation) -> State:
    message = f"no verdict before the progress deadline: {_verdict_text(s)}"
    return replace(_reject(s, Reason.DEADLINE_EXCEEDED, message), reason=Reason.DEADLINE_EXCEEDED)


def reject_unready(s: Situation) -> State:
    problem = s.health_of(s.state.canary).problem or "its probe was not answered"
    message = f"version {_version(s.state.canary)} was not ready in time: {problem}"
    return replace(
        _reject(s, Reason.CANDIDATE_NOT_READY, message), reason=Reason.CANDIDATE_NOT_READY
    )


def degrade_unready(s: Situation) -> State:
    problem = s.health_of(s.state.canary).problem or "its probe was not answered"
    message = f"version {_version(s.state.canary)} is not ready: {problem}"
    if s.restores:
        message += f"; {_FIRST}: repair it, or remove {_KEPT} to begin with what is not proven"
    return _enter(s, Phase.DEGRADED, Reason.CANDIDATE_NOT_READY, message)


def degrade_breached(s: Situation) -> State:
    way_out = "change spec.rollout.retry to judge it anew"
    told = _verdict_text(s).rstrip(".")
    message = f"{told}; there is no earlier revision to go back to; {way_out}"
    return _enter(s, Phase.DEGRADED, Reason.NOTHING_TO_ROLL_BACK_TO, message)


def abort(s: Situation) -> State:
    message = f"version {_version(s.state.stable)} is wanted again; it serves all requests"
    return _settle(s, Reason.ABORTED, message)


def supersede(s: Situation) -> State:
    wanted, canary = s.wanted, _version(s.state.canary)
    message = f"version {wanted.version} ({wanted.hash}) is wanted instead of version {canary}"
    return _settle(s, Reason.SUPERSEDED, message)


def start(s: Situation) -> State:
    revision = s.desired.revision
    message = f"preparing version {revision.version} ({revision.hash})"
    if s.lifted is not None and s.lifted.hash == revision.hash:
        message += f" once more, as {s.lifted.asked}"
    return _prepare(s, Reason.STARTED, message)


_KEPT = "spec.rollout.provenRevision"
_FIRST = f"it was proven before, as {_KEPT} says, and comes first"


def restore(s: Situation) -> State:
    """Prepare what was proven before a cluster was lost, and not yet what the spec asks for."""
    proven = s.wanted
    message = f"preparing version {proven.version} ({proven.hash}): {_FIRST}"
    return _prepare(s, Reason.RESTORING, message)


def _prepare(s: Situation, reason: Reason, message: str) -> State:
    state = _without_canary(_enter(s, Phase.PREPARING, reason, message))
    return replace(state, canary=s.wanted, number=state.number + 1)


def serve_restored(s: Situation) -> State:
    message = f"version {_version(s.state.canary)} serves again: it was proven before"
    state = _enter(s, Phase.STABLE, Reason.RESTORED, message)
    return replace(_without_canary(state), stable=s.state.canary, proven=True)


def lose(s: Situation) -> State:
    problem = s.health_of(s.state.canary).problem
    message = f"version {_version(s.state.canary)} has no ready endpoint any more"
    text = f"{message}: {problem}" if problem else message
    # Pods that come back are scheduled anew, and so is the deadline that counts from there.
    state = _enter(s, Phase.PREPARING, Reason.CANDIDATE_LOST, text)
    return replace(state, scheduled_at=None, losses=s.state.losses + 1)


def progress(s: Situation) -> State:
    state, first = s.state, s.plan.steps[0].weight
    cap = s.weight_cap if s.weight_cap < first and not state.step else None
    weight = s.step.weight if cap is None else cap
    message = f"version {_version(state.canary)} is ready; it gets {weight} % of requests"
    if cap is not None:
        message += f" and not {first} %, as that is what the error budget allows unproven"
    entered = _enter(s, Phase.PROGRESSING, Reason.CANDIDATE_READY, message)
    since = state.progressing_since or s.now
    return replace(entered, progressing_since=since, first_weight=cap)


def serve_first(s: Situation) -> State:
    message = f"version {_version(s.state.canary)} is the first revision; it gets all requests"
    state = _enter(s, Phase.BAKING, Reason.FIRST_REVISION, message)
    return replace(_without_canary(state), stable=s.state.canary, proven=False)


def replace_lost(s: Situation) -> State:
    since = f"{s.state.stable_down_since:%H:%M:%S}"
    message = (
        f"version {_version(s.state.stable)} has no ready endpoint since {since}; "
        f"version {_version(s.state.canary)} gets all requests"
    )
    return _take_over(s, Reason.STABLE_NOT_READY, message)


def come_back(s: Situation) -> State:
    message = f"version {_version(s.state.canary)} is ready again; it gets all requests"
    return _take_over(s, Reason.RETURNING, message)


def _take_over(s: Situation, reason: Reason, message: str) -> State:
    """Give the canary all requests, whatever steps are left."""
    state, last = _enter(s, Phase.BAKING, reason, message), len(s.plan.steps) - 1
    return replace(state, step=last, progressing_since=s.state.progressing_since or s.now)


def go_back(s: Situation) -> State:
    """Reject the stable revision, and prepare the one that was proven before it."""
    broken, proven = s.state.stable, s.state.last_proven
    if broken is None or proven is None or s.burning is None:
        raise ValueError("nothing to go back from, or to")
    message = f"{s.burning.message}; version {proven.version} was proven before and comes back"
    state = _without_canary(_enter(s, Phase.PREPARING, Reason.RETURNING, message))
    return replace(
        state,
        canary=proven,
        returning=True,
        last_proven=None,
        number=s.state.number + 1,
        rejected=_with_rejection(s, broken, s.burning.reason.value),
    )


def advance(s: Situation) -> State:
    state = _enter(s, Phase.PROGRESSING, _earned_reason(s), _earned_text(s))
    return replace(state, step=s.following)


def bake(s: Situation) -> State:
    reason, message = _earned_reason(s), _earned_text(s)
    reason = Reason.ALL_STEPS_COMPLETED if reason is Reason.STEP_COMPLETED else reason
    return _enter(s, Phase.BAKING, reason, message)


def _earned_reason(s: Situation) -> Reason:
    # Promoting without proof is what the spec asked for, and never done silently.
    return Reason.DEADLINE_EXCEEDED if _stuck(s) else Reason.STEP_COMPLETED


def _earned_text(s: Situation) -> str:
    waived = (
        "not proven before the progress deadline, promoted as spec.rollout.onInconclusive says: "
    )
    return f"version {_version(s.state.canary)}: {waived if _stuck(s) else ''}{_verdict_text(s)}"


def promote(s: Situation) -> State:
    stable = s.state.canary or s.state.stable
    message = f"version {_version(stable)} is stable: {_verdict_text(s)}"
    state = _enter(s, Phase.STABLE, Reason.PROMOTED, message)
    return replace(
        _without_canary(state),
        stable=stable,
        proven=True,
        stable_down_since=None,
        last_proven=_proven_before(s.state),
    )


def _proven_before(state: State) -> Revision | None:
    """What one can go back to from here on: the stable revision so far, if it was proven."""
    before = state.stable if state.canary is not None and state.proven else None
    if before is not None and state.rejection_of(before.hash) is None:
        return before
    return state.last_proven


def pause(s: Situation) -> State:
    return _enter(s, Phase.PAUSED, Reason.PAUSED, s.hold)


def resume(s: Situation) -> State:
    # Time in which nobody wanted it to go on does not count for the progress deadline.
    state = _enter(s, Phase.PROGRESSING, Reason.RESUMED, "the rollout may go on")
    since = s.state.progressing_since
    paused = s.now - s.state.phase_since
    return replace(state, progressing_since=since + paused if since else None)


def stay_back(s: Situation) -> State:
    wanted = s.wanted
    rejection = s.state.rejection_of(wanted.hash)
    why = rejection.reason if rejection else ""
    message = (
        f"version {wanted.version} ({wanted.hash}) was rejected before ({why}); "
        "change it, or change spec.rollout.retry to try it again"
    )
    return _enter(s, Phase.ROLLED_BACK, Reason.REJECTED_BEFORE, message)


def back_in_step(s: Situation) -> State:
    message = f"version {_version(s.state.stable)} is wanted and serves"
    return _settle(s, Reason.SERVING, message)
