"""Replay healthy and harmful canaries of a service whose pods are noisy.

    python -m bench.noise [--runs 200] [--seed 0] [--margin 0] [--only ROW]

Each row is a kind of noise: every pod's failure rate is the base rate times exp(sigma z), with z of
its own that is drawn anew every 10 s (`white`), wanders with a time constant of 60 s (`wander`) or
stays (`persistent`). A run measures three hours of 20 healthy pods at steps of 60 s, then replays
30 minutes of a rollout in which one or two of the pods are the canary, looked at every 10 s.

Printed are false rollbacks by the binomial test, by the tempered one, and by the tempered one with
the placebo threshold, then what the last of them finds. The same kinds of noise are then released
by the whole stack, with 20 pods of stable beside the canary's: all terms, real looks, a constant
weight of 10 and of 50 %. Exits 1 if the guarded test or the stack rolls back more than the 2 % that
are promised, by more than three standard errors.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import exp, inf, log, sqrt

from bench.replay import START, binomial, poisson, standard_error

from headgate.api.model_rollout import Policy
from headgate.core.noise import HISTORY, START_EVERY, Noise, StepCount, UnitHistory, measure
from headgate.core.stats import evalue, mixture
from headgate.core.stats.evalue import Table
from headgate.simulation import engine
from headgate.simulation.cell import read
from headgate.simulation.traffic import Dispersion, Gateway, Traffic

PODS = 20
BASE = 0.01
ALPHA = 0.01
PROMISE = 0.02
HARMS = (0.01, 0.05)
WEIGHTS = (10, 50)

_LOOK = 10
_STEP = 60
_ROLLOUT = 1800


_CORRELATIONS = {"none": 0.0, "white": 0.0, "wander": 60.0, "persistent": inf}


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of noise, the requests per second of all pods, and how many pods the canary has."""

    kind: str
    sigma: float
    rate: float
    canary_pods: int

    @property
    def name(self) -> str:
        """What the row is called, also on the command line."""
        sigma = f"-{self.sigma:g}" if self.sigma else ""
        return f"{self.kind}{sigma}-{self.rate:g}rps-{self.canary_pods}pod"

    @property
    def dispersion(self) -> Dispersion | None:
        """The same for simulated traffic; None where pods are alike."""
        return Dispersion(self.sigma, _CORRELATIONS[self.kind]) if self.sigma else None


ROWS = (
    Row("none", 0.0, 100, 1),
    Row("white", 1.0, 100, 1),
    Row("white", 1.0, 1000, 2),
    Row("wander", 0.5, 1000, 2),
    Row("wander", 1.0, 100, 1),
    Row("wander", 1.0, 1000, 2),
    Row("persistent", 0.1, 1000, 2),
    Row("persistent", 0.3, 1000, 2),
)


@dataclass(frozen=True, slots=True)
class Ending:
    """Seconds until each rule called the canary harmful; None if it did not."""

    binomial: int | None
    tempered: int | None
    guarded: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """The noise that was measured, and how the rollouts after it ended: healthy, then by harm."""

    noise: Noise
    healthy: Ending
    harmed: tuple[Ending, ...]


class Pods:
    """Failure rates of all pods over time, with chance from a generator."""

    def __init__(self, row: Row, chance: random.Random) -> None:
        self._row, self._chance = row, chance
        self._z = [chance.gauss(0.0, 1.0) for _ in range(PODS)]

    def rates(self) -> Sequence[float]:
        """The rates of the next ten seconds."""
        match self._row.kind:
            case "white":
                self._z = [self._chance.gauss(0.0, 1.0) for _ in self._z]
            case "wander":
                keep = exp(-_LOOK / 60.0)
                new = sqrt(1.0 - keep * keep)
                self._z = [keep * z + new * self._chance.gauss(0.0, 1.0) for z in self._z]
        return [min(0.9, BASE * exp(self._row.sigma * z)) for z in self._z]

    def counts(self, rates: Sequence[float], seconds: int) -> Iterator[tuple[int, int]]:
        """Requests and failures of each pod."""
        for rate in rates:
            requests = poisson(self._row.rate / PODS * seconds, self._chance)
            yield requests, binomial(requests, rate, self._chance)


def histories(pods: Pods) -> Sequence[UnitHistory]:
    """Three hours of all pods, as a range query would give them."""
    steps: list[list[StepCount]] = [[] for _ in range(PODS)]
    for second in range(_STEP, int(HISTORY.total_seconds()) + 1, _STEP):
        inside = [pods.rates() for _ in range(_STEP // _LOOK)]
        rates = [sum(one) / len(inside) for one in zip(*inside, strict=True)]
        at = START + timedelta(seconds=second)
        for own, (requests, bad) in zip(steps, pods.counts(rates, _STEP), strict=True):
            own.append(StepCount(at, requests - bad, bad))
    return [UnitHistory(f"pod-{n:02}", tuple(own)) for n, own in enumerate(steps)]


def rollout(row: Row, pods: Pods, harm: float, margin: float, noise: Noise) -> Ending:
    """Replay a rollout: the first of the pods are the canary and fail by `harm` more often."""
    state, requests, bad = {"plain": _FRESH, "tempered": _FRESH}, 0, 0
    found: dict[str, int] = {}
    for second in range(_LOOK, _ROLLOUT + 1, _LOOK):
        harmed = [
            rate + (1.0 - rate) * harm * (n < row.canary_pods)
            for n, rate in enumerate(pods.rates())
        ]
        table = _table(list(pods.counts(harmed, _LOOK)), row.canary_pods)
        factors = evalue.harm_logs(table, evalue.running_rate(bad, requests), margin)
        requests, bad = requests + table.stable_requests, bad + table.stable_bad
        starts = second // int(START_EVERY.total_seconds())
        for key, phi in (("plain", 1.0), ("tempered", noise.phi_at(timedelta(seconds=second)))):
            logs = mixture.start(*state[key], starts)
            state[key] = mixture.multiply(logs, [one / phi for one in factors]), starts
        plain, tempered = (mixture.log_value(*one) for one in state.values())
        for rule, reached in (
            ("binomial", plain >= log(1.0 / ALPHA)),
            ("tempered", tempered >= log(1.0 / ALPHA)),
            ("guarded", tempered >= noise.threshold_log(ALPHA)),
        ):
            if reached:
                found.setdefault(rule, second)
        if len(found) == 3:
            break
    return Ending(found.get("binomial"), found.get("tempered"), found.get("guarded"))


_FRESH = (mixture.fresh(len(evalue.HARM_EFFECTS)), 0)


def _table(counts: Sequence[tuple[int, int]], canary_pods: int) -> Table:
    canary, stable = counts[:canary_pods], counts[canary_pods:]
    return Table(
        sum(bad for _, bad in canary),
        sum(requests for requests, _ in canary),
        sum(bad for _, bad in stable),
        sum(requests for requests, _ in stable),
    )


def run(row: Row, margin: float, seed: int, harms: Sequence[float] = HARMS) -> Run:
    """Measure the noise of a service and release on it, once healthy and once for each harm."""
    pods = Pods(row, random.Random(seed))
    noise = measure(histories(pods), margin, row.canary_pods)
    if noise is None:
        raise ValueError(f"{row.name}: no noise could be measured")
    healthy, *harmed = (rollout(row, pods, harm, margin, noise) for harm in (0.0, *harms))
    return Run(noise, healthy, tuple(harmed))


def released(row: Row, weight: int, seed: int, harm: float = 0.0) -> engine.Run:
    """Release on the same kind of noise by the whole stack, at a constant weight (percent)."""
    course = engine.Course(
        *read(Policy()),
        horizon=_ROLLOUT,
        pod_history=int(HISTORY.total_seconds()),
        canary_pods=row.canary_pods,
    )
    traffic = Traffic(
        row.rate,
        BASE,
        harm,
        dispersion=row.dispersion,
        pods=PODS,
        canary_pods=row.canary_pods,
    )
    source = Gateway(traffic, lambda name: random.Random(f"{seed}/{name}"))
    return engine.release(engine.constant(course, weight), source)


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay the chosen rows; 1 if the promise is broken in one of them."""
    parser = argparse.ArgumentParser(prog="bench.noise", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="services a row")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--margin", type=float, default=0.0, help="of the harm test, a share")
    parser.add_argument("--only", choices=[row.name for row in ROWS], help="one row instead of all")
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + options.runs)
    print(f"{options.runs} services a row, base 1 %, margin {100 * options.margin:g} points")
    print("false rollbacks in 30 min, %: binomial, tempered, tempered with placebo (promise: 2)")
    print("then found, %, and median s of what was found, at +1 and +5 points")
    rows = [row for row in ROWS if options.only in (None, row.name)]
    kept = [_report(row, [run(row, options.margin, seed) for seed in seeds]) for row in rows]
    print("whole stack, the margin of the API: rolled back, promoted, %")
    kept += [
        _report_stack(row, weight, [released(row, weight, seed) for seed in seeds])
        for row in rows
        for weight in WEIGHTS
    ]
    return 0 if all(kept) else 1


def _report(row: Row, runs: Sequence[Run]) -> bool:
    rules = [
        [one.healthy.binomial for one in runs],
        [one.healthy.tempered for one in runs],
        [one.healthy.guarded for one in runs],
    ]
    false = "  ".join(_share(rule) for rule in rules)
    found = "  ".join(
        f"{_share(delays)} {_median(delays)}"
        for delays in ([one.harmed[n].guarded for one in runs] for n in range(len(HARMS)))
    )
    phi = sorted(one.noise.phi for one in runs)[len(runs) // 2]
    threshold = sorted(one.noise.threshold_log(ALPHA) for one in runs)[len(runs) // 2]
    print(f"  {row.name:26} {false}   {found}   phi {phi:6.2f} threshold e^{threshold:.1f}")
    rate = sum(one is not None for one in rules[-1]) / len(runs)
    return rate <= PROMISE + 3.0 * standard_error(PROMISE, len(runs))


def _report_stack(row: Row, weight: int, runs: Sequence[engine.Run]) -> bool:
    back, promoted = (
        sum(one.ending is ending for one in runs) / len(runs)
        for ending in (engine.Ending.ROLLED_BACK, engine.Ending.PROMOTED)
    )
    error = standard_error(back, len(runs))
    print(
        f"  {row.name:26} {weight:3} %  {100 * back:5.1f} ± {100 * error:.1f}"
        f"  {100 * promoted:5.1f}",
        flush=True,
    )
    return back <= PROMISE + 3.0 * standard_error(PROMISE, len(runs))


def _share(delays: Sequence[int | None]) -> str:
    rate = sum(one is not None for one in delays) / len(delays)
    return f"{100 * rate:5.1f} ± {100 * standard_error(rate, len(delays)):.1f}"


def _median(delays: Sequence[int | None]) -> str:
    found = sorted(one for one in delays if one is not None)
    return f"{found[len(found) // 2]:5} s" if found else "    - s"


if __name__ == "__main__":
    sys.exit(main())
