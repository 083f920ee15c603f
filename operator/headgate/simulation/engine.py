"""A whole rollout offline: traffic in, the real core's decisions out.

Owns the course of one simulated rollout: when it looks, what a decision does to the weights, and
what is remembered of it. Must not know a statistic of its own: what decides is `core` itself
(`begin`, `with_baseline`, `with_noise`, `rebase`, `fold`, `judge_ramp`, `decide`). No clock and no
chance: both belong to the source.

What is simpler than in a cluster: pods are ready at once, the gateway takes up a route at once,
and a look comes one second after a scrape. As in a cluster, a new weight begins with the first
scrape after it was set, so each step costs one scrape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from headgate.core.analysis import Analysis, Breach, Inconclusive, Pass, judge_ramp
from headgate.core.counters import Arm, Series
from headgate.core.evidence import (
    Evidence,
    Settings,
    begin,
    fold,
    rebase,
    with_baseline,
    with_noise,
)
from headgate.core.lifecycle import (
    Desired,
    Health,
    Phase,
    Plan,
    Revision,
    Situation,
    State,
)
from headgate.core.noise import Noise, measure
from headgate.core.rollout import Decision, decide, next_weights
from headgate.simulation.source import Counts, Source, Window

LOOK_AFTER = timedelta(seconds=1)
"""How long after a scrape a look comes."""

STALE_AFTER = timedelta(seconds=60)
"""As the operator's own default: evidence older than this decides nothing."""

POD_STEP = 60
"""Seconds between two counts of a pod, of which its noise is measured, as in the operator."""

STABLE = Revision("simulated-11111111", "11111111", "1")
CANARY = Revision("simulated-22222222", "22222222", "2")

_READY = Health(serving=True, available=True, answered=True)
_HEALTH = {STABLE.hash: _READY, CANARY.hash: _READY}
_DESIRED = Desired(CANARY, hold="", retry="")


class Ending(StrEnum):
    """How a simulated rollout ended."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    PAUSED = "paused"  # it waits for a person, who never comes
    UNDECIDED = "undecided"  # the time, or the recording, was over


@dataclass(frozen=True, slots=True)
class Event:
    """Something that changed: at which second, and what is so from then on.

    `verdict` is the kind of the last verdict, "" before the first.
    """

    second: int
    phase: str
    weight: int
    verdict: str
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """One simulated rollout.

    Attributes:
        at: Second of the ending.
        blamed: What it was rolled back for: a signal or a rule's name; "" if it was not.
        earned_at: Second of the first verdict that the next weight is earned; None if never.
        full_at: Second from which the canary had all traffic; None if never.
        requests: What the canary answered until the ending.
        failures: How many of them failed.
        caused: How many of those failed for the harm alone; always 0 for recorded traffic.
    """

    ending: Ending
    at: int
    blamed: str
    earned_at: int | None
    full_at: int | None
    requests: int
    failures: int
    caused: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """How to release.

    Attributes:
        horizon: The last second that is simulated.
        constant: The plan's only step is kept to the end; what is earned then is promoted.
        pod_history: Seconds before the rollout over which stable's pods are watched, so that the
            evidence is held against their noise; 0 leaves that out.
        canary_pods: Pods of the canary, which that is measured for.
    """

    plan: Plan
    settings: Settings
    horizon: int
    constant: bool = False
    pod_history: int = 0
    canary_pods: int = 1


def constant(course: Course, weight: int) -> Course:
    """Keep one weight (percent) until the horizon, instead of the course's own steps."""
    hold = timedelta(seconds=course.horizon)
    step = replace(course.plan.steps[0], weight=weight, hold=hold)
    plan = replace(course.plan, steps=(step,), bake=timedelta(0), ramps=False)
    settings = replace(course.settings, weights=tuple(sorted({weight, 100})))
    return replace(course, plan=plan, settings=settings, constant=True)


def release(course: Course, source: Source) -> Run:
    """Release by Headgate's own rules until it ends, the horizon comes or the traffic is over."""
    rollout = _Rollout(course, source)
    rollout.open()
    interval = max(1, round(course.plan.interval.total_seconds()))
    for second in range(interval, course.horizon + 1, interval):
        windows = source.advance(second, rollout.weight)
        if windows is None:
            break
        if rollout.look(second, windows):
            break
    return rollout.close()


@dataclass(slots=True)
class _Rollout:
    """A rollout while it runs. `weight` is the canary's, in percent."""

    course: Course
    source: Source
    state: State = field(init=False)
    weight: int = 0
    evidence: Evidence = field(init=False)
    analysis: Analysis | None = None
    second: int = 0
    counted: Counts = field(default_factory=Counts)
    events: list[Event] = field(default_factory=list)
    unsure: Event | None = None
    ending: Ending | None = None
    blamed: str = ""
    earned_at: int | None = None
    full_at: int | None = None

    def open(self) -> None:
        """Watch stable for a while, then give the canary its first weight at second 0."""
        start = self.source.start
        found = self._noise()
        self.source.advance(0, 0)
        history = self.source.read(start + timedelta(seconds=self.source.first_second), start)
        self.evidence = with_baseline(begin(self.course.settings, start), history, start)
        for signal, noise in found.items():
            self.evidence = with_noise(self.evidence, signal, noise)
        self.state = State(Phase.STABLE, start, stable=STABLE, proven=True, number=1)
        while self.state.phase is not Phase.PROGRESSING:
            self._take(decide(self._situation(start)), start)

    def _noise(self) -> Mapping[str, Noise]:
        """Measure how unlike stable's pods are in each signal; none that is not watched."""
        course, found = self.course, dict[str, Noise]()
        if not course.pod_history:
            return found
        histories = self.source.pod_histories(course.pod_history, POD_STEP)
        for signal in course.settings.measured:
            margin = course.settings.margin_of(signal)
            noise = measure(histories.get(signal.name, ()), margin, course.canary_pods)
            if noise is not None:
                found[signal.name] = noise
        return found

    def look(self, second: int, windows: Sequence[Window]) -> bool:
        """Look once; whether the rollout has ended."""
        self.second = second
        self.counted = canary_total(self.counted, windows)
        now = self.source.start + timedelta(seconds=second) + LOOK_AFTER
        if windows:
            self.evidence = fold(self.evidence, self._series(now))
        self.analysis = self._judge(now)
        self._remember(self.analysis)
        self._take(decide(self._situation(now)), now)
        return self.ending is not None

    def close(self) -> Run:
        """Say how it ended."""
        ending = self.ending
        if ending is None:
            earned = self.course.constant and _is_pass(self.analysis)
            ending = Ending.PROMOTED if earned else Ending.UNDECIDED
            self._note(self.analysis.verdict.message if self.analysis else "")
        return Run(
            ending,
            self.second,
            self.blamed,
            self.earned_at,
            self.full_at,
            self.counted.requests,
            self.counted.bad,
            self.counted.harmed,
            tuple(self.events),
        )

    @property
    def _control(self) -> bool:
        """Whether stable is in the route, so that the canary can be compared with it."""
        return self.weight < 100

    def _series(self, now: datetime) -> Sequence[Series]:
        found = self.source.read(self.evidence.read_from, now)
        return found if self._control else [one for one in found if one.arm is Arm.CANARY]

    def _judge(self, now: datetime) -> Analysis:
        control, plan = self._control, self.course.plan
        weights = next_weights(plan, self.state) if control else ()
        stale_after = max(STALE_AFTER, 3 * plan.interval)
        return judge_ramp(self.course.settings, self.evidence, weights, now, stale_after, control)

    def _situation(self, now: datetime) -> Situation:
        return Situation(
            plan=self.course.plan,
            desired=_DESIRED,
            state=self.state,
            health=_HEALTH,
            verified=True,
            analysis=self.analysis,
            step_started_at=self.evidence.first_canary_request_after_rebase_at,
            now=now,
        )

    def _remember(self, analysis: Analysis) -> None:
        """Note a verdict of another kind than before, once two looks in a row gave it: the first
        look after each step finds no request yet."""
        if self.earned_at is None and _is_pass(analysis) and self.state.phase is Phase.PROGRESSING:
            self.earned_at = self.second
        event = self._event(analysis.verdict.message)
        if event.verdict == self.events[-1].verdict:
            self.unsure = None
        elif self.unsure is None or self.unsure.verdict != event.verdict:
            self.unsure = event
        else:
            self.events.append(self.unsure)
            self.unsure = None

    def _take(self, decision: Decision, now: datetime) -> None:
        """Make a decision true: the state, the weights, and what was scraped for the old ones."""
        self.state = decision.state
        if decision.transition is None:
            return
        before, shares = self.weight, dict(decision.backends)
        self.weight = shares.get(CANARY, 0)
        if self.state.phase is Phase.STABLE:
            self.ending = Ending.PROMOTED
        elif self.state.phase is Phase.ROLLED_BACK:
            self.ending, self.blamed = Ending.ROLLED_BACK, self._culprit()
        elif self.weight != before:
            self.evidence = rebase(self.evidence, now)
        if self.weight == 100 and self.full_at is None:
            self.full_at = self.second
        self._note(self.state.message)

    def _culprit(self) -> str:
        match self.analysis.verdict if self.analysis else None:
            case Breach(signal=signal):
                return signal
        return str(self.state.reason)

    def _note(self, message: str) -> None:
        """Add an event; of several in one second the last says most."""
        self.unsure, event = None, self._event(message)
        if self.events and self.events[-1].second == event.second:
            self.events.pop()
        self.events.append(event)

    def _event(self, message: str) -> Event:
        kind = _kind(self.analysis)
        return Event(self.second, str(self.state.phase), self.weight, kind, message)


def _is_pass(analysis: Analysis | None) -> bool:
    return analysis is not None and isinstance(analysis.verdict, Pass)


def _kind(analysis: Analysis | None) -> str:
    match analysis.verdict if analysis else None:
        case Breach(reason=reason):
            return f"Breach/{reason}"
        case Inconclusive(reason=reason):
            return f"Inconclusive/{reason}"
        case Pass():
            return "Pass"
    return ""


def canary_total(counted: Counts, windows: Sequence[Window]) -> Counts:
    """Add what the canary answered in some windows."""
    for window in windows:
        counted = counted.plus(window.canary)
    return counted
