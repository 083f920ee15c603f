"""The values a rollout is made of: phases, revisions, plans, and what was seen of them.

Owns the vocabulary of a revision's life. Must not know which phase follows which, nor Kubernetes
objects, queries or clocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from headgate.core.analysis import Analysis, Breach
from headgate.core.commands import NO_COMMANDS, Command, Commands

MAX_REJECTED = 20
"""How many rejected revisions are remembered (DESIGN: bounded)."""

MAX_LOSSES = 3
"""How often a canary may lose all of its endpoints under requests: a drained node costs one, a
rescheduled pod another, and who crashes again and again is not healthy."""

STABLE_DOWN_GRACE = timedelta(seconds=60)
"""How long the stable revision must have had no endpoint before a ready candidate replaces it
unproven: long enough for a pod to restart, short against an outage nobody else will end."""

RETRY_AHEAD = timedelta(minutes=5)
"""How far a retry's moment may lie ahead of our clock: clocks differ, and a moment that is to come
would lift what is not rejected yet. The tolerance of Kerberos (RFC 4120, 5.2.4)."""


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
    CANDIDATE_NOT_READY = "CandidateNotReady"
    CANDIDATE_READY = "CandidateReady"
    CANDIDATE_LOST = "CandidateLost"
    FIRST_REVISION = "FirstRevision"
    STABLE_NOT_READY = "StableNotReady"
    STEP_COMPLETED = "StepCompleted"
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
    JUDGED_ANEW = "JudgedAnew"
    RETURNING = "ObjectiveBrokenAfterBake"
    ABORTED_BY_PERSON = "AbortedByPerson"
    PROMOTED_BY_PERSON = "PromotedByPerson"
    RESTORING = "RestoringProven"
    RESTORED = "RestoredProven"


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
    """How to get from one revision to the next, as the spec asks.

    `ramps` says that steps may be skipped by evidence that has earned a later one. `watch` is how
    often a stable revision is looked at, None where a change or the resync is soon enough.
    """

    steps: tuple[Step, ...]
    bake: timedelta
    interval: timedelta
    progress_deadline: timedelta
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    ramps: bool = False
    watch: timedelta | None = None


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
    message: str = ""
    """The sentence of a rejection that is only on record yet; not stored in status."""
    by: str = ""
    """The field manager of the person that asked for it; "" if the evidence did."""


@dataclass(frozen=True, slots=True)
class Desired:
    """What the spec asks for now.

    `hold` says in a sentence why the rollout must not go on, "" if it may: `spec.rollout.paused`,
    or a spec that could not be accepted. A breach rolls back all the same. `proven` is what
    `spec.rollout.provenRevision` keeps: it comes first where nothing serves, and else means
    nothing.
    """

    revision: Revision
    hold: str
    retry: str
    proven: Revision | None = None


@dataclass(frozen=True, slots=True)
class Restraint:
    """Why an error budget or drifted inputs keep rollouts back: none may start, none take a step.

    Whatever restrains, signals are still judged and a breach still rolls back.
    """

    reason: str
    message: str
    starts: bool
    steps: bool


@dataclass(frozen=True, slots=True)
class State:
    """All the memory a decision needs; every field is stored in the object's status.

    Attributes:
        stable: The revision that serves by default; None before the first one serves.
        proven: `stable` has been through a bake without a breach.
        canary: The revision under test; None between rollouts.
        step: Index into the plan's steps, meaningful while there is a canary.
        losses: How often the canary lost all of its endpoints after it had been given weight.
        first_weight: Percent that the error budget allows at the first step, where it asks more.
        returning: The canary is a proven revision that comes back after the stable one broke an
            objective: it is not compared with it, and takes all traffic as soon as it is ready.
        last_proven: The revision that was proven before the stable one, or None.
        phase_since: When the phase was entered, UTC.
        scheduled_at: When the canary's pods had all been scheduled; None until then.
        progressing_since: When the canary was first given weight; None until then.
        stable_down_since: Since when the stable revision has had no endpoint; None if it has.
        number: Number of the latest rollout, from 1; 0 before the first.
        retry: The value of `spec.rollout.retry` last acted on.
        retry_followed: The token of the retry command last acted on.
        promote_spent: Hash whose promote command still stands and has had its rollout: it says
            nothing of another attempt.
    """

    phase: Phase
    phase_since: datetime
    reason: Reason = Reason.NOT_STARTED
    message: str = ""
    stable: Revision | None = None
    proven: bool = False
    canary: Revision | None = None
    step: int = 0
    losses: int = 0
    first_weight: int | None = None
    returning: bool = False
    last_proven: Revision | None = None
    scheduled_at: datetime | None = None
    progressing_since: datetime | None = None
    stable_down_since: datetime | None = None
    rejected: tuple[Rejection, ...] = ()
    number: int = 0
    retry: str = ""
    retry_followed: str = ""
    promote_spent: str = ""

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
        pods: How many pods of it are available; of several components the fewest.
    """

    serving: bool = False
    available: bool = False
    answered: bool | None = None
    scheduled_at: datetime | None = None
    unschedulable: str = ""
    problem: str = ""
    pods: int = 0

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
    concluded: Rejection | None = None
    """The record in charge says that this canary was rolled back, and the status does not yet:
    a pass ended half-way, and its decision stands."""
    retried: bool = False
    """`retry` has changed since it was last acted on."""
    restraint: Restraint | None = None
    """Why no rollout may start or take a step; None if nothing is known against it."""
    weight_cap: int = 100
    """Percent that the error budget allows a canary to begin with."""
    burning: Breach | None = None
    """An objective that asks for it burns its budget fast, and stable is all that serves."""
    unproven: Restraint | None = None
    """Why nobody may be given all requests without proof; None if nothing is known against it."""
    commands: Commands = NO_COMMANDS
    """What people ask for, stale or not."""
    lifted: Command | None = None
    """The retry that has just lifted a rejection."""

    @property
    def pause(self) -> Command | None:
        """The pause that is for the revision that is tried, or else wanted."""
        found, meant = self.commands.pause, self.state.canary or self.desired.revision
        return found if found is not None and found.hash == meant.hash else None

    @property
    def hold(self) -> str:
        """Why the rollout must not go on, by the spec or by a person; "" if it may."""
        pause = self.pause
        return self.desired.hold or (f"paused, as {pause.asked}" if pause else "")

    def health_of(self, revision: Revision | None) -> Health:
        """Return what was seen of this revision; nothing seen is not ready."""
        return self.health.get(revision.hash, ABSENT) if revision else ABSENT

    @property
    def restores(self) -> bool:
        """Nothing serves yet, and what was proven before, elsewhere, has to come first."""
        return self.desired.proven is not None and self.state.stable is None

    @property
    def wanted(self) -> Revision:
        """What is to be tried now: what the spec asks for, or what has to come before it."""
        proven = self.desired.proven
        return proven if proven is not None and self.restores else self.desired.revision

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
    def weight(self) -> int:
        """Percent of requests that the step in force gives the canary."""
        first = self.state.first_weight if not self.state.step else None
        return self.step.weight if first is None else min(first, self.step.weight)

    @property
    def following(self) -> int:
        """Index of the step to take next, the number of steps for the end: in a ramp, the furthest
        that the evidence has earned."""
        earned = self.analysis.weight if self.analysis is not None else None
        following = self.state.step + 1
        if not self.plan.ramps or earned is None:
            return following
        weights = [*(step.weight for step in self.plan.steps), 100]
        return max([following, *(n for n, weight in enumerate(weights) if weight <= earned)])

    @property
    def is_last_step(self) -> bool:
        return self.following >= len(self.plan.steps)

    @property
    def deadline_passed(self) -> bool:
        since = self.state.progressing_since
        return since is not None and self.now - since >= self.plan.progress_deadline
