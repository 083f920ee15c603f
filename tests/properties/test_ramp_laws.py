"""Laws of a ramp's exposure: whatever traffic and failures do, no weight is entered unearned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from math import log

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headgate.api.model_deployment import Ramp, Rollout
from headgate.api.model_rollout import Policy
from headgate.api.quantities import Duration
from headgate.core.counters import Arm, Series
from headgate.core.stats import evalue, mixture
from headgate.core.stats.evalue import Table
from headgate.simulation.cell import read
from headgate.simulation.engine import Course, Ending, Run, release
from headgate.simulation.source import Book, Counts, PodHistories, Window
from headgate.simulation.traffic import START

PLAN, RULES = read(Policy(rollout=Rollout(auto=Ramp(), bake=Duration("30s"))))
LOOK = 10


@dataclass(frozen=True, slots=True)
class Moment:
    """What happens between two looks: requests of all, and the shares that each arm fails."""

    requests: int
    canary_fails: float
    stable_fails: float


@dataclass(slots=True)
class Told:
    """Traffic that goes exactly as it is told; a `Source` that remembers what it did."""

    moments: Sequence[Moment]
    start: datetime = START
    first_second: int = 0
    edges: tuple[float, ...] = ()
    windows: list[Window] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    _book: Book = field(default_factory=lambda: Book(()))

    def __post_init__(self) -> None:
        for arm in Arm:
            self._book.write(START, arm, Counts())

    def pod_histories(self, span: int, step: int) -> PodHistories:
        """Nothing: no pod is told from another."""
        return {}

    def advance(self, until: int, weight: int) -> Sequence[Window] | None:
        """Let the next moment pass at this weight."""
        if not until:
            return []
        if len(self.windows) == len(self.moments):
            return None
        moment = self.moments[len(self.windows)]
        canary = moment.requests * weight // 100
        stable = moment.requests - canary
        window = Window(
            until,
            Counts(canary, int(canary * moment.canary_fails)),
            Counts(stable, int(stable * moment.stable_fails)),
        )
        self.windows.append(window)
        self.weights.append(weight)
        at = START + timedelta(seconds=until)
        self._book.write(at, Arm.CANARY, window.canary)
        self._book.write(at, Arm.STABLE, window.stable)
        return [window]

    def read(self, since: datetime, now: datetime) -> Sequence[Series]:
        """Give the samples from `since` to `now`."""
        return self._book.read(since, now)


def released(moments: Sequence[Moment]) -> tuple[Run, Told]:
    """Ramp through these moments."""
    source = Told(moments)
    return release(Course(PLAN, RULES, LOOK * len(moments)), source), source


def proof(source: Told, raised_after: int, weight: int) -> float:
    """The log e-value against "worse by tolerance over weight", from the first so many moments.

    By the book: what was counted across a change of weights is lost, tables wait for one canary
    and ten stable requests, and estimates rest on the tables before.
    """
    margin = min(RULES.tolerance * 100 / weight, 0.5)
    logs = [0.0] * len(evalue.PROMOTION_EFFECTS)
    known_bad = known = n_c = x_c = n_s = x_s = 0
    for n in range(raised_after):
        if n and source.weights[n] != source.weights[n - 1]:
            n_c = x_c = n_s = x_s = 0
            continue
        window = source.windows[n]
        n_c, x_c = n_c + window.canary.requests, x_c + window.canary.bad
        n_s, x_s = n_s + window.stable.requests, x_s + window.stable.bad
        if n_c >= 1 and n_s >= 10:
            rate = evalue.running_rate(known_bad, known)
            factors = evalue.promotion_logs(Table(x_c, n_c, x_s, n_s), rate, margin)
            logs = [a + b for a, b in zip(logs, factors, strict=True)]
            known_bad, known = known_bad + x_s, known + n_s
            n_c = x_c = n_s = x_s = 0
    return mixture.log_mean(logs)


REQUESTS = st.sampled_from([0, 3, 40, 400, 4000])
SHARES = st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.01, 0.05, 0.3, 1.0])


@st.composite
def courses(draw: st.DrawFn) -> list[Moment]:
    """Moments in which mostly little happens, or the same to both, and now and then anything."""
    moments = []
    for _ in range(draw(st.integers(5, 45))):
        shared, own = draw(SHARES), draw(st.integers(0, 9))
        canary = draw(SHARES) if not own else shared
        moments.append(Moment(draw(REQUESTS), canary, shared))
    return moments


@given(courses())
@settings(max_examples=60, deadline=None)
def test_no_weight_is_entered_unearned(moments: list[Moment]) -> None:
    """Claim: whatever the traffic does, a weight w is only entered while the canary is shown, on
    what was counted before, to be worse by less than tolerance / w: so that all users together are
    never exposed to more than the tolerance, unproven, as of any moment a weight was raised."""
    run, source = released(moments)
    weights = source.weights

    assert weights == sorted(weights)
    for n in (n for n in range(1, len(weights)) if weights[n] > weights[n - 1]):
        assert weights[n] * RULES.promotion_margin(weights[n]) <= 100 * RULES.tolerance
        assert proof(source, n, weights[n]) >= -log(RULES.promotion_alpha) - 1e-3
    for before, after in pairwise(run.events):
        assert after.weight <= before.weight or after.verdict == "Pass"


@given(
    st.lists(
        st.builds(Moment, st.integers(0, 4000), st.just(0.0), st.sampled_from([0.0, 0.01, 0.05])),
        max_size=30,
    ),
    st.integers(1000, 4000),
)
@settings(max_examples=40, deadline=None)
def test_a_canary_that_breaks_is_exposed_for_three_looks(
    before: list[Moment], requests: int
) -> None:
    """Claim: however well it did before, and whatever weight it has earned by that, a canary that
    fails everything has no request any more after the third look."""
    run, source = released([*before, *[Moment(requests, 1.0, 0.0)] * 5])
    assume(run.full_at is None or run.full_at > LOOK * len(before))

    assert run.ending is Ending.ROLLED_BACK
    assert len(source.windows) - len(before) <= 3
