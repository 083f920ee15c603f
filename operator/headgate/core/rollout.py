"""The life of a revision: phases, steps, and the one function that may change a weight or a phase.

Owns the state machine (RULES below is the whole of it; the diagram in docs/design is drawn from
it) and the weights that follow from a state. Must not know Kubernetes objects, queries or clocks:
the state comes from what was stored, the situation from what was just observed, and `now` from
the caller, so deciding again after a crash gives the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from headgate.core.analysis import Analysis, Breach, Inconclusive, Pass

MAX_REJECTED = 20
"""How many rejected revisions are remembered (DESIGN: bounded)."""

STABLE_DOWN_GRACE = timedelta(seconds=60)
"""How long the stable revision must have had no endpoint before a ready candidate replaces it
unproven: long enough for a pod to restart, short against an outage nobody else will end."""


class Phase(StrEnum):
    """Where a ModelDeployment is. The values are what users see in `status.phase`."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    BAKING = "Baking"
    STABLE = "Stable"
    ROLLED_BACK = "RolledBack"
    DEGRADED = "Degraded"


class Reason(StrEnum):
    """Why a phase or a weight is what it is. Output only: never branched upon."""

    NOT_STARTED = "NotStarted"
    STARTED = "RolloutStarted"
    WAITING_FOR_CANDIDATE = "CandidateNotReadyYet"
    CAPACITY_UNAVAILABLE = "CapacityUnavailable"
    CANDIDATE_NOT_READY = "CandidateNotReady"
    CANDIDATE_READY = "CandidateReady"
    CANDIDATE_LOST = "CandidateLost"
    FIRST_REVISION = "FirstRevision"
    STABLE_NOT_READY = "StableNotReady"
    STEP_COMPLETED = "StepCompleted"
    HOLDING = "Holding"
    TRAFFIC_NOT_VERIFIED = "TrafficNotVerified"
    PAUSED = "Paused"
    RESUMED = "Resumed"
    INCONCLUSIVE = "AnalysisInconclusive"
    DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    BREACHED = "AnalysisFailed"
    NOTHING_TO_ROLL_BACK_TO = "NothingToRollBackTo"
    ALL_STEPS_COMPLETED = "AllStepsCompleted"
    PROMOTED = "Promoted"
    SUPERSEDED = "Superseded"
    ABORTED = "RevertedToStable"
    REJECTED_BEFORE = "RejectedBefore"
    SERVING = "Serving"


class OnInconclusive(StrEnum):
    """What happens when the progress deadline passes and the evidence still says neither."""

    HOLD = "Hold"
    PROMOTE = "Promote"
    ROLL_BACK = "RollBack"


class Outcome(StrEnum):
    """How a rollout stands or ended."""

    PROGRESSING = "Progressing"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SUPERSEDED = "Superseded"
    ABORTED = "Aborted"


@dataclass(frozen=True, slots=True)
class Step:
    """One weight (integer percent of requests, 1..100) and its shortest stay."""

    weight: int
    hold: timedelta


@dataclass(frozen=True, slots=True)
class Plan:
    """How to get from one revision to the next, as the spec asks."""

    steps: tuple[Step, ...]
    bake: timedelta
    interval: timedelta
    progress_deadline: timedelta
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD


@dataclass(frozen=True, slots=True)
class Revision:
    """One immutable model and serving configuration. `name` is `<deployment>-<hash>`."""

    name: str
    hash: str
    version: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A hash that was tried and went back; it is not tried again until `retry` changes."""

    hash: str
    version: str
    reason: str
    rollout: int
    """Number of the rollout that rejected it."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Desired:
    """What the spec asks for now.

    `hold` says in a sentence why the rollout must not go on, "" if it may: `spec.rollout.paused`,
    or a spec that could not be accepted. A breach rolls back all the same.
    """

    revision: Revision
    hold: str
    retry: str


@dataclass(frozen=True, slots=True)
class State:
    """All the memory a decision needs; every field is stored in the object's status.

    Attributes:
        stable: The revision that serves by default; None before the first one serves.
        proven: `stable` has been through a bake without a breach.
        canary: The revision under test; None between rollouts.
        step: Index into the plan's steps, meaningful while there is a canary.
        phase_since: When the phase was entered, UTC.
        scheduled_at: When the canary's pods had all been scheduled; None until then.
        progressing_since: When the canary was first given weight; None until then.
        stable_down_since: Since when the stable revision has had no endpoint; None if it has.
        number: Number of the latest rollout, from 1; 0 before the first.
        retry: The value of `spec.rollout.retry` last acted on.
    """

    phase: Phase
    phase_since: datetime
    reason: Reason = Reason.NOT_STARTED
    message: str = ""
    stable: Revision | None = None
    proven: bool = False
    canary: Revision | None = None
    step: int = 0
    scheduled_at: datetime | None = None
    progressing_since: datetime | None = None
    stable_down_since: datetime | None = None
    rejected: tuple[Rejection, ...] = ()
    number: int = 0
    retry: str = ""

    def rejection_of(self, hash: str) -> Rejection | None:
        """Return the rejection of this hash, or None if it was not rejected."""
        return next((r for r in self.rejected if r.hash == hash), None)


@dataclass(frozen=True, slots=True)
class Health:
    """What was seen of one revision's workload.

    Attributes:
        serving: At least one endpoint is ready.
        available: As many replicas as wanted are available, all of this revision.
        answered: Our own probe request was answered; None if it was not sent.
        scheduled_at: When its last pod was scheduled; None if some pod is not.
        unschedulable: The scheduler's message, when it cannot place a pod.
        problem: What is wrong with it in the platform's words ("" if nothing is known).
    """

    serving: bool = False
    available: bool = False
    answered: bool | None = None
    scheduled_at: datetime | None = None
    unschedulable: str = ""
    problem: str = ""

    @property
    def ready(self) -> bool:
        """Whether it may be given weight."""
        return self.serving and self.available and self.answered is not False


ABSENT = Health()


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything one decision may look at."""

    plan: Plan
    desired: Desired
    state: State
    health: Mapping[str, Health]
    verified: bool
    """The route in force is the one this state asks for, as the gateway itself reports."""
    analysis: Analysis | None
    """None when there was nothing to judge yet."""
    step_started_at: datetime | None
    """When the canary answered its first request under the verified route of this step."""
    now: datetime

    def health_of(self, revision: Revision | None) -> Health:
        """Return what was seen of this revision; nothing seen is not ready."""
        return self.health.get(revision.hash, ABSENT) if revision else ABSENT

    @property
    def stable_serves(self) -> bool:
        return self.health_of(self.state.stable).serving

    @property
    def stable_is_lost(self) -> bool:
        """The stable revision has had no endpoint for longer than the grace period."""
        since = self.state.stable_down_since
        return since is not None and self.now - since >= STABLE_DOWN_GRACE

    @property
    def step(self) -> Step:
        """The step in force; the last one if the plan has become shorter."""
        return self.plan.steps[min(self.state.step, len(self.plan.steps) - 1)]

    @property
    def is_last_step(self) -> bool:
        return self.state.step + 1 >= len(self.plan.steps)

    @property
    def deadline_passed(self) -> bool:
        since = self.state.progressing_since
        return since is not None and self.now - since >= self.plan.progress_deadline


@dataclass(frozen=True, slots=True)
class Decision:
    """What should be so from now on.

    Attributes:
        state: The state to store.
        backends: The absolute weights, stable first; empty before anything serves.
        running: Hashes whose workloads must run; all others may be stopped once unrouted.
        transition: What happened, or None if nothing did.
        finished: Outcome of the rollout this decision ends, or None.
        again_in: When to look again; None leaves it to the resync.
    """

    state: State
    backends: tuple[tuple[Revision, int], ...]
    running: frozenset[str]
    transition: Rule | None
    finished: Outcome | None
    again_in: timedelta | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: in these phases, when this holds, go there, for this reason.

    The first row that holds wins. `to` lists every phase the row can lead to.
    """

    event: str
    phases: frozenset[Phase]
    to: tuple[Phase, ...]
    holds: Callable[[Situation], bool] = field(repr=False)
    then: Callable[[Situation], State] = field(repr=False)
    finishes: Outcome | None = None


# --- what may hold -------------------------------------------------------------------------------


def _is_breach(s: Situation) -> bool:
    return s.analysis is not None and isinstance(s.analysis.verdict, Breach)


def _breached(s: Situation) -> bool:
    # Going back to a stable revision that has no endpoint would trade failures for an outage.
    return s.state.canary is not None and _is_breach(s) and s.stable_serves


def _breached_first(s: Situation) -> bool:
    return s.state.canary is None and _is_breach(s)


def _reverted(s: Situation) -> bool:
    state = s.state
    return (
        state.canary is not None
        and state.stable is not None
        and s.desired.revision.hash == state.stable.hash
    )


def _superseded(s: Situation) -> bool:
    canary = s.state.canary
    return canary is not None and s.desired.revision.hash != canary.hash


def _candidate_overdue(s: Situation) -> bool:
    # Waiting for capacity is nobody's failure: the deadline counts from the scheduling of the pods.
    since = s.state.scheduled_at
    return (
        s.state.canary is not None
        and not s.health_of(s.state.canary).ready
        and since is not None
        and s.now - since >= s.plan.progress_deadline
    )


def _overdue_with_stable(s: Situation) -> bool:
    return s.state.stable is not None and _candidate_overdue(s)


def _overdue_first(s: Situation) -> bool:
    return s.state.stable is None and _candidate_overdue(s)


def _candidate_lost(s: Situation) -> bool:
    return s.state.canary is not None and not s.health_of(s.state.canary).serving


def _candidate_ready(s: Situation) -> bool:
    return s.state.canary is not None and not s.desired.hold and s.health_of(s.state.canary).ready


def _ready_first(s: Situation) -> bool:
    return s.state.stable is None and _candidate_ready(s)


def _ready_for_lost_stable(s: Situation) -> bool:
    return s.state.stable is not None and s.stable_is_lost and _candidate_ready(s)


def _ready_beside_stable(s: Situation) -> bool:
    return s.stable_serves and _candidate_ready(s)


def _step_held(s: Situation) -> bool:
    since = s.step_started_at
    return s.verified and since is not None and s.now - since >= s.step.hold


def _earned(s: Situation) -> bool:
    passed = s.analysis is not None and isinstance(s.analysis.verdict, Pass)
    waived = s.plan.on_inconclusive is OnInconclusive.PROMOTE and _stuck(s)
    return waived or (passed and _step_held(s))


def _stuck(s: Situation) -> bool:
    undecided = s.analysis is not None and isinstance(s.analysis.verdict, Inconclusive)
    return s.deadline_passed and undecided


def _given_up(s: Situation) -> bool:
    return (
        s.plan.on_inconclusive is OnInconclusive.ROLL_BACK
        and s.state.canary is not None
        and _stuck(s)
        and s.stable_serves
    )


def _next_step(s: Situation) -> bool:
    return not s.is_last_step and _earned(s)


def _steps_over(s: Situation) -> bool:
    return s.is_last_step and _earned(s)


def _bake_over(s: Situation) -> bool:
    # Evidence or nothing: a bake that nobody measured proves nothing, however long it was.
    passed = s.analysis is not None and isinstance(s.analysis.verdict, Pass)
    over = s.now - s.state.phase_since >= s.plan.bake
    return s.verified and passed and over and not s.desired.hold


def _paused(s: Situation) -> bool:
    return bool(s.desired.hold)


def _resumed(s: Situation) -> bool:
    return not s.desired.hold


def _wants_another(s: Situation) -> bool:
    state, wanted = s.state, s.desired.revision.hash
    return state.canary is None and (state.stable is None or wanted != state.stable.hash)


def _startable(s: Situation) -> bool:
    return (
        _wants_another(s)
        and not s.desired.hold
        and s.state.rejection_of(s.desired.revision.hash) is None
    )


def _wants_rejected(s: Situation) -> bool:
    return _wants_another(s) and s.state.rejection_of(s.desired.revision.hash) is not None


def _wants_stable(s: Situation) -> bool:
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
    return replace(state, canary=None, step=0, scheduled_at=None, progressing_since=None)


def _settle(s: Situation, reason: Reason, message: str) -> State:
    return _without_canary(_enter(s, _settled_phase(s.state), reason, message))


def _version(revision: Revision | None) -> str:
    return revision.version if revision else "none"


def _verdict_text(s: Situation) -> str:
    return s.analysis.verdict.message if s.analysis else ""


def _reject(s: Situation, reason: str, message: str) -> State:
    canary = s.state.canary
    if canary is None:
        raise ValueError("nothing to reject: there is no canary")
    others = tuple(r for r in s.state.rejected if r.hash != canary.hash)
    rejection = Rejection(canary.hash, canary.version, reason, s.state.number, s.now)
    state = _without_canary(_enter(s, Phase.ROLLED_BACK, Reason.BREACHED, message))
    return replace(state, rejected=(*others, rejection)[-MAX_REJECTED:])


def _roll_back(s: Situation) -> State:
    verdict = s.analysis.verdict if s.analysis else None
    reason = verdict.reason if isinstance(verdict, Breach) else Reason.INCONCLUSIVE
    return _reject(s, str(reason), _verdict_text(s))


def _give_up(s: Situation) -> State:
    message = f"no verdict before the progress deadline: {_verdict_text(s)}"
    return replace(_reject(s, Reason.DEADLINE_EXCEEDED, message), reason=Reason.DEADLINE_EXCEEDED)


def _reject_unready(s: Situation) -> State:
    problem = s.health_of(s.state.canary).problem or "its probe was not answered"
    message = f"version {_version(s.state.canary)} was not ready in time: {problem}"
    return replace(
        _reject(s, Reason.CANDIDATE_NOT_READY, message), reason=Reason.CANDIDATE_NOT_READY
    )


def _degrade_unready(s: Situation) -> State:
    problem = s.health_of(s.state.canary).problem or "its probe was not answered"
    message = f"version {_version(s.state.canary)} is not ready: {problem}"
    return _enter(s, Phase.DEGRADED, Reason.CANDIDATE_NOT_READY, message)


def _degrade_breached(s: Situation) -> State:
    message = f"{_verdict_text(s)}; there is no earlier revision to go back to"
    return _enter(s, Phase.DEGRADED, Reason.NOTHING_TO_ROLL_BACK_TO, message)


def _abort(s: Situation) -> State:
    message = f"version {_version(s.state.stable)} is wanted again; it serves all requests"
    return _settle(s, Reason.ABORTED, message)


def _supersede(s: Situation) -> State:
    wanted, canary = s.desired.revision, _version(s.state.canary)
    message = f"version {wanted.version} ({wanted.hash}) is wanted instead of version {canary}"
    return _settle(s, Reason.SUPERSEDED, message)


def _start(s: Situation) -> State:
    revision = s.desired.revision
    message = f"preparing version {revision.version} ({revision.hash})"
    state = _without_canary(_enter(s, Phase.PREPARING, Reason.STARTED, message))
    return replace(state, canary=revision, number=state.number + 1)


def _lose(s: Situation) -> State:
    problem = s.health_of(s.state.canary).problem
    message = f"version {_version(s.state.canary)} has no ready endpoint any more"
    text = f"{message}: {problem}" if problem else message
    # Pods that come back are scheduled anew, and so is the deadline that counts from there.
    return replace(_enter(s, Phase.PREPARING, Reason.CANDIDATE_LOST, text), scheduled_at=None)


def _progress(s: Situation) -> State:
    state = s.state
    message = f"version {_version(state.canary)} is ready; it gets {s.step.weight} % of requests"
    entered = _enter(s, Phase.PROGRESSING, Reason.CANDIDATE_READY, message)
    return replace(entered, progressing_since=state.progressing_since or s.now)


def _serve_first(s: Situation) -> State:
    message = f"version {_version(s.state.canary)} is the first revision; it gets all requests"
    state = _enter(s, Phase.BAKING, Reason.FIRST_REVISION, message)
    return replace(_without_canary(state), stable=s.state.canary, proven=False)


def _replace_lost(s: Situation) -> State:
    message = (
        f"version {_version(s.state.stable)} has no ready endpoint since "
        f"{s.state.stable_down_since:%H:%M:%S}; version {_version(s.state.canary)} gets all requests"
    )
    state = _enter(s, Phase.BAKING, Reason.STABLE_NOT_READY, message)
    last = len(s.plan.steps) - 1
    return replace(state, step=last, progressing_since=s.state.progressing_since or s.now)


def _advance(s: Situation) -> State:
    step = s.plan.steps[s.state.step + 1]
    message = f"version {_version(s.state.canary)} earned {step.weight} %: {_verdict_text(s)}"
    state = _enter(s, Phase.PROGRESSING, _earned_reason(s), message)
    return replace(state, step=s.state.step + 1)


def _bake(s: Situation) -> State:
    message = f"version {_version(s.state.canary)} earned all requests: {_verdict_text(s)}"
    reason = _earned_reason(s)
    reason = Reason.ALL_STEPS_COMPLETED if reason is Reason.STEP_COMPLETED else reason
    return _enter(s, Phase.BAKING, reason, message)


def _earned_reason(s: Situation) -> Reason:
    # Promoting without proof is what the spec asked for, and never done silently.
    return Reason.DEADLINE_EXCEEDED if _stuck(s) else Reason.STEP_COMPLETED


def _promote(s: Situation) -> State:
    stable = s.state.canary or s.state.stable
    message = f"version {_version(stable)} is stable: {_verdict_text(s)}"
    state = _enter(s, Phase.STABLE, Reason.PROMOTED, message)
    return replace(_without_canary(state), stable=stable, proven=True, stable_down_since=None)


def _pause(s: Situation) -> State:
    return _enter(s, Phase.PAUSED, Reason.PAUSED, s.desired.hold)


def _resume(s: Situation) -> State:
    return _enter(s, Phase.PROGRESSING, Reason.RESUMED, "the rollout may go on")


def _stay_back(s: Situation) -> State:
    wanted = s.desired.revision
    rejection = s.state.rejection_of(wanted.hash)
    why = rejection.reason if rejection else ""
    message = (
        f"version {wanted.version} ({wanted.hash}) was rejected before ({why}); "
        "change it, or change spec.rollout.retry to try it again"
    )
    return _enter(s, Phase.ROLLED_BACK, Reason.REJECTED_BEFORE, message)


def _back_in_step(s: Situation) -> State:
    message = f"version {_version(s.state.stable)} is wanted and serves"
    return _settle(s, Reason.SERVING, message)


_TESTED = frozenset({Phase.PROGRESSING, Phase.PAUSED, Phase.BAKING})
_TRIED = _TESTED | {Phase.PREPARING, Phase.DEGRADED}
_SETTLED = (Phase.PENDING, Phase.BAKING, Phase.STABLE)
_RESTING = frozenset({*_SETTLED, Phase.ROLLED_BACK, Phase.DEGRADED})
_WAITING = frozenset({Phase.PREPARING, Phase.DEGRADED})

RULES: tuple[Rule, ...] = (
    Rule(
        "breach",
        _TESTED,
        (Phase.ROLLED_BACK,),
        _breached,
        _roll_back,
        finishes=Outcome.ROLLED_BACK,
    ),
    Rule(
        "breach of the first revision",
        frozenset({Phase.BAKING}),
        (Phase.DEGRADED,),
        _breached_first,
        _degrade_breached,
    ),
    Rule("stable wanted again", _TRIED, _SETTLED, _reverted, _abort, finishes=Outcome.ABORTED),
    Rule(
        "another hash wanted",
        _TRIED,
        _SETTLED,
        _superseded,
        _supersede,
        finishes=Outcome.SUPERSEDED,
    ),
    Rule(
        "no verdict before the deadline",
        frozenset({Phase.PROGRESSING}),
        (Phase.ROLLED_BACK,),
        _given_up,
        _give_up,
        finishes=Outcome.ROLLED_BACK,
    ),
    Rule(
        "candidate not ready before the deadline",
        frozenset({Phase.PREPARING}),
        (Phase.ROLLED_BACK,),
        _overdue_with_stable,
        _reject_unready,
        finishes=Outcome.ROLLED_BACK,
    ),
    Rule(
        "first candidate not ready before the deadline",
        frozenset({Phase.PREPARING}),
        (Phase.DEGRADED,),
        _overdue_first,
        _degrade_unready,
    ),
    Rule("candidate lost its endpoints", _TESTED, (Phase.PREPARING,), _candidate_lost, _lose),
    Rule("first candidate ready", _WAITING, (Phase.BAKING,), _ready_first, _serve_first),
    Rule(
        "candidate ready, stable without endpoints",
        _WAITING,
        (Phase.BAKING,),
        _ready_for_lost_stable,
        _replace_lost,
    ),
    Rule(
        "candidate ready",
        frozenset({Phase.PREPARING}),
        (Phase.PROGRESSING,),
        _ready_beside_stable,
        _progress,
    ),
    Rule("paused", frozenset({Phase.PROGRESSING}), (Phase.PAUSED,), _paused, _pause),
    Rule("resumed", frozenset({Phase.PAUSED}), (Phase.PROGRESSING,), _resumed, _resume),
    Rule(
        "step earned and held",
        frozenset({Phase.PROGRESSING}),
        (Phase.PROGRESSING,),
        _next_step,
        _advance,
    ),
    Rule(
        "last step earned and held",
        frozenset({Phase.PROGRESSING}),
        (Phase.BAKING,),
        _steps_over,
        _bake,
    ),
    Rule(
        "bake over",
        frozenset({Phase.BAKING}),
        (Phase.STABLE,),
        _bake_over,
        _promote,
        finishes=Outcome.PROMOTED,
    ),
    Rule("a new hash is wanted", _RESTING, (Phase.PREPARING,), _startable, _start),
    Rule(
        "a rejected hash is wanted",
        _RESTING - {Phase.ROLLED_BACK},
        (Phase.ROLLED_BACK,),
        _wants_rejected,
        _stay_back,
    ),
    Rule(
        "stable is wanted",
        frozenset({Phase.ROLLED_BACK}),
        _SETTLED,
        _wants_stable,
        _back_in_step,
    ),
)


# --- deciding ------------------------------------------------------------------------------------


def decide(situation: Situation) -> Decision:
    """Decide phase, weights and running revisions after one look.

    At most one row of RULES is taken a pass. A pass in which nothing holds changes only what was
    observed (scheduling, an absent stable revision), so deciding twice equals deciding once.
    """
    seen = replace(situation, state=_observed(situation))
    rule = next((r for r in RULES if seen.state.phase in r.phases and r.holds(seen)), None)
    state = rule.then(seen) if rule else seen.state
    if rule and state.phase not in rule.to:
        raise AssertionError(f"{rule.event}: led to {state.phase}, not to one of {rule.to}")
    after = replace(seen, state=state)
    return Decision(
        state=state,
        backends=backends(after),
        running=_running(state),
        transition=rule,
        finished=rule.finishes if rule else None,
        again_in=timedelta(0) if rule else _again_in(after),
    )


def _observed(s: Situation) -> State:
    state = s.state
    if s.desired.retry != state.retry:
        kept = tuple(r for r in state.rejected if r.hash != s.desired.revision.hash)
        state = replace(state, rejected=kept, retry=s.desired.retry)
    if state.canary is not None and state.scheduled_at is None:
        state = replace(state, scheduled_at=s.health_of(state.canary).scheduled_at)
    down = state.stable is not None and not s.stable_serves
    if down != (state.stable_down_since is not None):
        state = replace(state, stable_down_since=s.now if down else None)
    return state


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
            weight = s.step.weight
            split = ((stable, 100 - weight), (canary, weight))
            return split if weight < 100 else ((canary, 100),)
    return whole


def next_weight(plan: Plan, state: State) -> int | None:
    """Return the weight the evidence must earn next, in percent; None when there is none."""
    if state.phase not in (Phase.PROGRESSING, Phase.PAUSED):
        return None
    following = state.step + 1
    return plan.steps[following].weight if following < len(plan.steps) else 100


def _running(state: State) -> frozenset[str]:
    return frozenset(r.hash for r in (state.stable, state.canary) if r is not None)


_READINESS_POLL = timedelta(seconds=2)
_UNVERIFIED_POLL = timedelta(seconds=1)


def _again_in(s: Situation) -> timedelta | None:
    match s.state.phase:
        case Phase.PREPARING:
            return _READINESS_POLL
        case Phase.DEGRADED if s.state.canary is not None:
            return _READINESS_POLL
        case Phase.PROGRESSING | Phase.PAUSED | Phase.BAKING:
            return s.plan.interval if s.verified else _UNVERIFIED_POLL
    return None
