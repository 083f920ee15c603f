"""Error rates of arms that are scraped apart, replayed from seeds by fold and judge."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random

import pytest
from bench.replay import START, binomial, poisson, standard_error

from headgate.core.analysis import Breach, judge
from headgate.core.counters import BAD, ERRORS, GOOD, Arm, Kind, Point, Series
from headgate.core.evidence import Settings, begin, fold
from headgate.core.signals import Signal
from headgate.simulation.traffic import Incidents, overlap

pytestmark = pytest.mark.replay

PODS = "signal/pod-errors"
APART = Signal(PODS, Kind.RATIO, 1000.0, paired=False)  # all of alpha: other shares are nothing
RULES = Settings(0.01, 0.001, 0.005, weights=(100,), signals=(APART,))
INCIDENTS = Incidents(0.2)
ARMS = ((Arm.CANARY, 10.0), (Arm.STABLE, 90.0))  # requests a second
HALF_HOUR, SCRAPE = 1800, 10


def counters(skew: float, harm: float, chance: Random) -> Sequence[Series]:
    """Half an hour of both arms' pods, stable's scraped `skew` seconds later; base 1 %."""
    phase, found = chance.uniform(0.0, INCIDENTS.every_seconds), []
    for arm, rate in ARMS:
        late, good, bad = skew if arm is Arm.STABLE else 0.0, 0, 0
        points: dict[str, list[Point]] = {GOOD: [], BAD: []}
        for second in range(0, HALF_HOUR + 1, SCRAPE):
            end = second + late
            shared = INCIDENTS.share * overlap(end + phase - SCRAPE, end + phase, INCIDENTS)
            failing = 0.01 + shared + (harm if arm is Arm.CANARY else 0.0)
            requests = poisson(rate * SCRAPE, chance)
            failed = binomial(requests, failing, chance)
            good, bad = good + requests - failed, bad + failed
            at = START + timedelta(seconds=end)
            points[GOOD].append(Point(at, good))
            points[BAD].append(Point(at, bad))
        found += [
            Series(signal, arm, where, outcome, outcome, tuple(some))
            for signal, where in ((PODS, f"{arm}-pods"), (ERRORS, f"{arm}-gateway"))
            for outcome, some in points.items()
            if signal == PODS or outcome == GOOD  # the gateway sees requests and no failure
        ]
    return found


def back_at(skew: float, harm: float, seed: int) -> int | None:
    """The second of the first breach by a look every scrape; None without one."""
    series, evidence = counters(skew, harm, Random(seed)), begin(RULES, START)
    for second in range(SCRAPE, HALF_HOUR + 1, SCRAPE):
        now = START + timedelta(seconds=second + 1)
        read = [
            Series(
                one.signal,
                one.arm,
                one.instance,
                one.outcome,
                one.key,
                tuple(p for p in one.points if evidence.read_from <= p.at <= now),
            )
            for one in series
        ]
        evidence = fold(evidence, read)
        verdict = judge(RULES, evidence, None, now, timedelta(minutes=1), True).verdict
        if isinstance(verdict, Breach):
            return second
    return None


@pytest.mark.parametrize("skew", [5.0, 10.0])
def test_an_incident_that_the_arms_see_at_different_moments_is_nobody_s_harm(skew: float) -> None:
    """Claim: with 30 s of 20 % failures every ten minutes, a healthy canary is rolled back in at
    most 0.5 % of half hours."""
    runs = [back_at(skew, 0.0, seed) for seed in range(20)]
    back = [one for one in runs if one is not None]

    assert len(back) / len(runs) <= 0.005 + 3 * standard_error(0.005, len(runs))


def test_harm_is_found_between_the_incidents() -> None:
    """Claim: five points of harm are found in two minutes in the median, and in every run."""
    found = sorted(back_at(10.0, 0.05, seed) or 9999 for seed in range(12))

    assert found[6] <= 120
    assert found[-1] < 9999
