"""Replay arms whose pods are scraped apart, through incidents that both share.

    python -m bench.apart [--runs 40]

Stable's pods are scraped some seconds after the canary's, or before (negative), every ten seconds;
both fail 20 % for 30 s every ten minutes. Less than a scrape apart is all there is: a whole one is
none. Exits 1 if more than 0.5 % of healthy canaries go back, by more than three standard errors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from random import Random

from bench.replay import START, binomial, poisson, standard_error

from headgate.core.analysis import Breach, judge
from headgate.core.counters import BAD, ERRORS, GOOD, Arm, Kind, Point, Series
from headgate.core.evidence import Settings, begin, fold
from headgate.core.signals import Signal
from headgate.simulation.traffic import Incidents, overlap

PODS = "signal/pod-errors"
APART = Signal(PODS, Kind.RATIO, 1000.0, paired=False)  # all of alpha: other shares are nothing
RULES = Settings(0.01, 0.001, 0.005, weights=(100,), signals=(APART,))
INCIDENTS = Incidents(0.2)
ARMS = ((Arm.CANARY, 100.0), (Arm.STABLE, 900.0))  # requests a second
HALF_HOUR, SCRAPE = 1800, 10
SKEWS = (5.0, 9.0, -5.0, -9.0)
PROMISE = 0.005


def counters(skew: float, harm: float, chance: Random) -> Sequence[Series]:
    """Half an hour of both arms' pods, stable's scraped `skew` seconds later (negative: the
    canary's); base 1 %."""
    phase, found = chance.uniform(0.0, INCIDENTS.every_seconds), []
    for arm, rate in ARMS:
        late, good, bad = max(0.0, skew if arm is Arm.STABLE else -skew), 0, 0
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay all skews; 1 if the promise is broken in one of them."""
    parser = argparse.ArgumentParser(prog="bench.apart", description=__doc__)
    parser.add_argument("--runs", type=int, default=40, help="half hours a skew")
    runs = parser.parse_args(arguments).runs
    print(
        f"{runs} half hours each: healthy canaries rolled back, % (promise: 0.5), +5 points found"
    )
    broken = False
    for skew in SKEWS:
        back, found = (
            sum(back_at(skew, harm, seed) is not None for seed in range(runs)) / runs
            for harm in (0.0, 0.05)
        )
        error = 100 * standard_error(back, runs)
        print(f"  {skew:4g} s  {100 * back:5.1f} ± {error:.1f}  {100 * found:5.1f}", flush=True)
        broken = broken or back > PROMISE + 3.0 * standard_error(PROMISE, runs)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
