"""Whole rollouts offline: what happens when, laws over seeds, and other projects' rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import inf, isnan
from random import Random
from statistics import mean
from typing import Any

import pytest
from bench.replay import standard_error

from headgate.api.model_deployment import Objective, Ramp, Rollout
from headgate.api.model_rollout import Policy
from headgate.api.quantities import Duration, Percentage
from headgate.core.lifecycle import OnInconclusive
from headgate.simulation.cell import read
from headgate.simulation.engine import (
    Course,
    Ending,
    Run,
    constant,
    release,
)
from headgate.simulation.following import follow, minute, quantile
from headgate.simulation.lineup import NAMES, entry, play, rule_of
from headgate.simulation.peers import Minute, Verdict
from headgate.simulation.peers.argo import Argo, Reading
from headgate.simulation.peers.flagger import Flagger
from headgate.simulation.peers.kayenta import Kayenta
from headgate.simulation.source import Counts, Window
from headgate.simulation.traffic import Dispersion, Gateway, Incidents, Latency, Traffic

POLICY = Policy(rollout=Rollout(bake=Duration("10m")))
COURSE = Course(*read(POLICY), horizon=3 * 3600)
AT_TEN = constant(replace(COURSE, horizon=1800), 10)
HEALTHY = Traffic(rate=100, base=0.01)
HARMFUL = replace(HEALTHY, harm=0.05)


def gateway(traffic: Traffic, seed: int = 0) -> Gateway:
    """Synthetic traffic from a seed."""
    return Gateway(traffic, lambda name: Random(f"{seed}/{name}"))


def released(traffic: Traffic, course: Course = COURSE, seed: int = 0) -> Run:
    """One rollout by Headgate."""
    return release(course, gateway(traffic, seed))


def weights(run: Run) -> list[tuple[int, int]]:
    """When the canary had which weight."""
    changes = [(event.second, event.weight) for event in run.events]
    return [one for n, one in enumerate(changes) if not n or one[1] != changes[n - 1][1]]


# --- Headgate ------------------------------------------------------------------------------------


def test_a_healthy_canary_goes_all_the_way() -> None:
    """Claim: every step is held from its first request on, the bake follows, and then it is
    promoted: the times are the plan's, plus a scrape and a look for each step."""
    run = released(HEALTHY)

    assert run.ending is Ending.PROMOTED
    assert weights(run) == [(0, 5), (310, 25), (930, 50), (1550, 100)]
    assert (run.full_at, run.at) == (1550, 2150)
    assert run.earned_at is not None
    assert run.earned_at < 310
    assert [event.phase for event in run.events][-2:] == ["Baking", "Stable"]


def test_a_ramp_skips_what_is_earned() -> None:
    """Claim: with `auto` the evidence sets the pace as in the cluster: weights that more than one
    step's proof has earned are entered at once, and full traffic comes sooner than by steps."""
    policy = Policy(rollout=Rollout(auto=Ramp(), bake=Duration("10m")))
    plan, settings = read(policy)
    run = released(HEALTHY, Course(plan, settings, COURSE.horizon))
    taken = [weight for _, weight in weights(run)]

    assert run.ending is Ending.PROMOTED
    assert taken == sorted(set(taken))
    assert len(taken) < len(plan.steps) + 1
    assert run.full_at is not None
    assert run.full_at < 1550


def test_the_timeline_of_a_harmful_canary() -> None:
    """Golden: seed 0, five points of harm from second 400 on."""
    run = released(replace(HARMFUL, onset=400.0))

    assert [(e.second, e.phase, e.weight, e.verdict) for e in run.events] == [
        (0, "Progressing", 5, ""),
        (10, "Progressing", 5, "Inconclusive/NotYetProven"),
        (40, "Progressing", 5, "Pass"),
        (310, "Progressing", 25, "Pass"),
        (410, "Progressing", 25, "Inconclusive/NotYetProven"),
        (430, "RolledBack", 0, "Breach/ErrorsHigher"),
    ]
    assert (run.ending, run.at, run.blamed) == (Ending.ROLLED_BACK, 430, "errors")
    assert (run.requests, run.failures, run.caused) == (4564, 91, 43)


def test_the_same_seed_gives_the_same_rollout() -> None:
    """Claim: nothing but the source brings chance."""
    assert released(HARMFUL) == released(HARMFUL)
    assert released(HARMFUL) != released(HARMFUL, seed=1)


@pytest.mark.replay
def test_one_pod_with_much_of_the_traffic_is_not_blamed_for_its_bad_minutes() -> None:
    """Claim: pods whose failures differ by a factor of e and wander do not break the stated rate
    where one of them gets half of all requests: through all terms at most 2 % are taken back."""
    wandering = replace(HEALTHY, dispersion=Dispersion(1.0))
    course = constant(replace(COURSE, horizon=800, pod_history=3 * 3600), 50)
    runs = [released(wandering, course, seed) for seed in range(24)]
    back = [run for run in runs if run.ending is Ending.ROLLED_BACK]

    assert len(back) / len(runs) <= 0.02 + 3 * standard_error(0.02, len(runs))


def test_a_constant_weight_is_kept_to_the_end() -> None:
    """Claim: what is proven early changes no weight, and counts as promoted at the end."""
    run = released(HEALTHY, AT_TEN)

    assert {event.weight for event in run.events} == {10}
    assert (run.ending, run.at, run.full_at) == (Ending.PROMOTED, 1800, None)
    assert run.earned_at is not None
    assert run.earned_at < 1800


def test_harm_in_the_bake_is_rolled_back() -> None:
    """Claim: with all traffic on the canary it is judged by itself, and stable takes over."""
    policy = Policy(
        rollout=POLICY.rollout,
        objectives=(Objective.model_validate({"name": "good", "target": "98", "errors": {}}),),
    )
    course = Course(*read(policy), COURSE.horizon)
    run = released(replace(HEALTHY, harm=0.2, onset=1700.0), course)

    assert run.ending is Ending.ROLLED_BACK
    assert 1700 < run.at < 1800
    assert (run.full_at, run.blamed) == (1550, "objective/good")


def test_silence_neither_promotes_nor_rolls_back() -> None:
    """Claim: without a request the weight stays at the first step until the horizon."""
    run = released(replace(HEALTHY, rate=0.0))

    assert (run.ending, run.at, run.requests) == (Ending.UNDECIDED, COURSE.horizon, 0)
    assert {event.weight for event in run.events} == {5}
    assert run.events[-1].verdict == "Inconclusive/NoTraffic"


@pytest.mark.parametrize(
    ("what", "ending"),
    [
        (OnInconclusive.HOLD, Ending.UNDECIDED),
        (OnInconclusive.ROLL_BACK, Ending.ROLLED_BACK),
    ],
)
def test_the_progress_deadline_is_the_plans(what: OnInconclusive, ending: Ending) -> None:
    """Claim: with too little traffic to prove anything, onInconclusive decides at the deadline."""
    plan = replace(COURSE.plan, progress_deadline=timedelta(minutes=30), on_inconclusive=what)
    run = released(replace(HEALTHY, rate=0.05), Course(plan, COURSE.settings, 7200))

    assert run.ending is ending
    if ending is Ending.ROLLED_BACK:
        assert (run.at, run.blamed) == (1800, "ProgressDeadlineExceeded")


def test_shared_incidents_are_nobodys_fault() -> None:
    """Claim: failures of both versions alike roll nothing back."""
    runs = [released(replace(HEALTHY, incidents=Incidents(0.2)), AT_TEN, s) for s in range(5)]

    assert Ending.ROLLED_BACK not in {run.ending for run in runs}


def test_pods_that_differ_are_measured_before() -> None:
    """Claim: pods that wander roll back healthy canaries where only requests are counted; in these
    four none does where stable's pods were watched before, and much harm is found all the same.
    It is no error rate: one pod against twenty was rolled back in 8 ± 3 of 100 runs, watched."""
    noisy = replace(HEALTHY, dispersion=Dispersion(1.0, 60.0))
    watched = replace(AT_TEN, pod_history=3 * 3600)

    assert Ending.ROLLED_BACK in {released(noisy, AT_TEN, seed).ending for seed in range(4)}
    assert Ending.ROLLED_BACK not in {released(noisy, watched, seed).ending for seed in range(4)}
    assert released(replace(noisy, harm=0.3), watched).ending is Ending.ROLLED_BACK


def test_a_slower_canary_is_blamed_for_it() -> None:
    """Claim: latency is compared where it is there."""
    traffic = replace(HEALTHY, latency=Latency(slower=1.5))

    assert released(traffic, AT_TEN).blamed == "latency"


def test_scrapes_may_be_rarer_than_looks() -> None:
    """Claim: a look without a new scrape changes nothing, and harm is found all the same."""
    run = released(replace(HARMFUL, scrape=30), AT_TEN)

    assert run.ending is Ending.ROLLED_BACK
    assert run.at % 30 == 0


def test_more_harm_is_never_found_later_on_average() -> None:
    """Law: over the same seeds the mean delay does not rise with the harm, and no harm at all is
    not found."""

    def delay(harm: float) -> float:
        runs = [released(replace(HEALTHY, harm=harm), AT_TEN, seed) for seed in range(8)]
        return mean(run.at if run.ending is Ending.ROLLED_BACK else 1800 for run in runs)

    delays = [delay(harm) for harm in (0.0, 0.01, 0.03, 0.1, 0.5)]

    assert delays == sorted(delays, reverse=True)
    assert delays[0] == 1800
    assert delays[-1] <= 20


# --- other projects' rules -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FakeState:
    """What the fake rule remembers: the minutes it was shown, and when."""

    weight: int = 5
    due_at: float = 60.0
    verdict: Verdict = Verdict.CONTINUE
    shown: tuple[tuple[float, Minute], ...] = ()


@dataclass(frozen=True, slots=True)
class Scripted:
    """A rule that says what its script says, look by look, and raises the weight in between."""

    script: Sequence[Verdict]
    seen: list[tuple[float, Minute]]
    interval_seconds: int = 60

    def start(self) -> FakeState:
        """Begin at 5 %."""
        return FakeState()

    def step(
        self, state: FakeState, window: Minute | None, seconds: float
    ) -> tuple[FakeState, Verdict]:
        """Take the next line of the script."""
        assert window is not None
        self.seen.append((seconds, window))
        verdict = self.script[min(len(self.seen), len(self.script)) - 1]
        weight = 0 if verdict is Verdict.ROLLED_BACK else state.weight + 5
        weight = state.weight if verdict is Verdict.PAUSED else weight
        return FakeState(weight, seconds + self.interval_seconds, verdict), verdict


def followed(*script: Verdict, horizon: int = 300) -> tuple[Run, list[tuple[float, Minute]]]:
    """One rollout by a script."""
    seen: list[tuple[float, Minute]] = []
    return follow(Scripted(script, seen), gateway(HEALTHY), horizon), seen


def test_a_rule_is_shown_its_interval_when_it_is_due() -> None:
    """Claim: once a minute, the sums of that minute at the weight the rule set before."""
    run, seen = followed(Verdict.CONTINUE)

    assert [second for second, _ in seen] == [60, 120, 180, 240, 300]
    assert [m.canary_requests / (m.canary_requests + m.stable_requests) for _, m in seen] == [
        pytest.approx(share, abs=0.02) for share in (0.05, 0.1, 0.15, 0.2, 0.25)
    ]
    assert sum(m.canary_requests for _, m in seen) == run.requests
    assert (run.ending, run.at) == (Ending.UNDECIDED, 300)


def test_a_rule_that_rolls_back_ends_the_rollout() -> None:
    """Claim: nothing reaches the canary afterwards."""
    run, seen = followed(Verdict.CONTINUE, Verdict.ROLLED_BACK)

    assert (run.ending, run.at, run.blamed) == (Ending.ROLLED_BACK, 120, "its checks")
    assert weights(run) == [(0, 5), (60, 10), (120, 0)]
    assert len(seen) == 2


def test_a_rule_that_pauses_waits_for_ever() -> None:
    """Claim: it is not asked again, and the canary keeps its weight and its requests."""
    run, seen = followed(Verdict.PAUSED)

    assert (run.ending, run.at, len(seen)) == (Ending.PAUSED, 300, 1)
    assert run.events[-1].weight == 5
    assert run.requests > 4 * seen[0][1].canary_requests


def test_all_rules_see_the_same_traffic() -> None:
    """Claim: at a constant weight what stable answered is the same for each rule, so a comparison
    is on the same data."""
    runs = {name: play(entry(name), AT_TEN, gateway(HARMFUL), 0.01) for name in NAMES}

    assert {run.ending for run in runs.values()} == {Ending.ROLLED_BACK}
    assert runs["headgate"].at < min(run.at for name, run in runs.items() if name != "headgate")
    argo, tuned = runs["argo"], runs["argo:tuned"]
    assert (argo.at, argo.requests, argo.failures) == (tuned.at, tuned.requests, tuned.failures)


def test_rules_are_put_on_the_plans_steps() -> None:
    """Claim: Flagger repeats a weight for its hold, Argo pauses at it, Kayenta stays at the first;
    with latency each watches it as well."""
    flagger, argo, kayenta = (
        rule_of(entry(name), COURSE, 0.01, watches_latency=True)
        for name in ("flagger", "argo", "kayenta")
    )

    assert isinstance(flagger, Flagger)
    assert flagger.weights == (5,) * 5 + (25,) * 10 + (50,) * 10
    assert flagger.max_latency_ms == 500
    assert isinstance(argo, Argo)
    assert [(s.weight, s.pause_seconds) for s in argo.steps] == [(5, 300), (25, 600), (50, 600)]
    assert [metric.reading for metric in argo.metrics] == list(Reading)
    assert isinstance(kayenta, Kayenta)
    assert (kayenta.weight, kayenta.duration_seconds) == (5, 1500)
    assert kayenta.latency is not None


@pytest.mark.parametrize("word", ["", "spinnaker", "flagger:wild", "headgate:tuned", "argo:"])
def test_other_names_are_no_rules(word: str) -> None:
    """Claim: the error lists the names there are."""
    with pytest.raises(ValueError, match="flagger:tuned"):
        entry(word)


# --- what a rule of another project sees ---------------------------------------------------------


def test_a_minute_adds_up() -> None:
    """Claim: counts are sums, and p99 is read off the summed buckets."""
    windows = [
        Window(10, Counts(100, 1, 0, (90, 10, 0)), Counts(900, 9, 0, (900, 0, 0))),
        Window(20, Counts(100, 3, 1, (90, 10, 0)), Counts(900, 0, 0, (900, 0, 0))),
    ]

    assert minute(windows, (0.1, 0.2, inf)) == Minute(
        200, 4, 1800, 9, pytest.approx(0.19), pytest.approx(0.099)
    )


@pytest.mark.parametrize(
    ("buckets", "value"),
    [
        pytest.param((10, 0, 0), 0.05, id="in the middle of the first bucket"),
        pytest.param((5, 5, 0), 0.1, id="at an edge"),
        pytest.param((0, 0, 10), 0.2, id="the last bucket has no upper edge"),
    ],
)
def test_quantiles_are_prometheus_own(buckets: Sequence[int], value: float) -> None:
    """Claim: straight lines within a bucket, as histogram_quantile draws them."""
    assert quantile(0.5, buckets, (0.1, 0.2, inf)) == pytest.approx(value)


@pytest.mark.parametrize("buckets", [(), (0, 0)])
def test_a_quantile_of_nothing_is_no_number(buckets: Any) -> None:
    """Claim: NaN, as histogram_quantile gives."""
    assert isnan(quantile(0.99, buckets, (0.1, inf)))


def test_the_confidence_of_the_manifest_counts() -> None:
    """Claim: asking for less confidence finds the same harm no later."""
    quick = Policy(rollout=Rollout(confidence=Percentage("90")))
    course = constant(Course(*read(quick), 1800), 10)
    traffic = replace(HEALTHY, harm=0.02)

    assert released(traffic, course).at <= released(traffic, AT_TEN).at
