"""The whole default stack in one replay: G6, and all guards at once.

Owns one service on which everything is watched and everything goes wrong at the same time. Must not
know how figures are written.

Errors and latency of the gateway, errors of the pods scraped apart, three quiet signals and
predictions are judged together, with two objectives, after three hours of watching the pods; the
pods differ, both versions share incidents, and stable's pods are read half a scrape after the
canary's. Each guard against these is shown by itself in G1 to G3; here they work on the same draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from bench.false_alarms import back_at, told
from bench.goal import Goal, Line, share
from bench.service import CLASSES, POD_ERRORS, Service, course_at

from headgate.api.model_rollout import Policy
from headgate.core.counters import Kind
from headgate.core.drift.profile import CategoryFeature, Profile
from headgate.core.noise import HISTORY
from headgate.reconcile.policy import settings_of
from headgate.reconcile.sources import PREDICTIONS
from headgate.simulation.engine import Course, Ending, Run, release
from headgate.simulation.traffic import Dispersion, Incidents, Latency, Traffic

QUIET = 3
POD_SKEW = 5.0  # half a scrape
METRICS = 2 + 1 + QUIET + 1
"""Errors, latency, the pods' errors, the quiet ones and predictions."""


def _ratio(name: str) -> Mapping[str, object]:
    bad, total = ({"metric": f"model_{part}_total"} for part in ("failures", "requests"))
    return {"name": name, "ratio": {"bad": bad, "total": total}}


POLICY = Policy.model_validate(
    {
        "objectives": [
            {"name": "availability", "target": "99", "errors": {}},
            {"name": "fast", "target": "90", "latency": {"threshold": "250ms"}},
        ],
        "signals": [
            _ratio(POD_ERRORS.removeprefix("signal/")),
            *(_ratio(f"quiet-{n}") for n in range(1, QUIET + 1)),
        ],
        "drift": {"reference": {"configMap": {"name": "profile"}}, "predictions": {}},
    }
)
"""What a user would write, all else as the API's defaults."""

PROFILE = Profile(10_000, (), CategoryFeature("prediction", 10_000, CLASSES, (0.6, 0.2, 0.1, 0.1)))


def stack_at(weight: int, canary_pods: int = 1, watches_pods: bool = True) -> Course:
    """Release by all of it at one weight (percent)."""
    course = course_at(weight, POLICY)
    settings = settings_of(POLICY, PROFILE)
    # `Service` counts good and bad ones, where series of one's own count bad ones and all.
    signals = tuple(
        one if one.name == PREDICTIONS else replace(one, kind=Kind.RATIO)
        for one in settings.signals
    )
    return replace(
        course,
        settings=replace(settings, signals=signals, weights=course.settings.weights),
        pod_history=int(HISTORY.total_seconds()) if watches_pods else 0,
        canary_pods=canary_pods,
    )


# --- everything at once --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Harm:
    """What a canary does wrong: points of errors, latency, predictions; by default nothing."""

    name: str = "healthy"
    errors: float = 0.0
    slower: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Troubled:
    """A service of unlike pods with incidents and skew, and its canary's harm."""

    pods: str
    rate: float
    sigma: float
    correlation: float
    canary_pods: int
    harm: Harm = Harm()


HEALTHY = Harm()
HARMS = (
    Harm("+1 point of errors", errors=0.01),
    Harm("+5 points of errors", errors=0.05),
    Harm("+20 points of errors", errors=0.2),
    Harm("1.5 times slower", slower=1.5),
    Harm("20 % of predictions in another class", shift=0.2),
)
_SERVICES = (
    Troubled("pods alike", 100.0, 0.0, 0.0, 2),
    Troubled("pods alike", 10.0, 0.0, 0.0, 2),
    Troubled("white sigma 1", 100.0, 1.0, 0.0, 2),
    Troubled("wandering sigma 0.5", 1000.0, 0.5, 60.0, 2),
    Troubled("wandering sigma 1", 100.0, 1.0, 60.0, 2),
    Troubled("persistent sigma 0.3", 1000.0, 0.3, inf, 2),
)
TROUBLED_CELLS = (
    *_SERVICES,
    *(replace(_SERVICES[3], rate=100.0, harm=harm) for harm in HARMS),
)


def troubled(cell: Troubled, seed: int) -> Run:
    """Release on such a service, two of twenty pods being the canary."""
    pods, harm = 20, cell.harm
    traffic = Traffic(
        cell.rate,
        0.005,
        harm=harm.errors,
        incidents=Incidents(0.2),
        dispersion=Dispersion(cell.sigma, cell.correlation) if cell.sigma else None,
        latency=Latency(slower=harm.slower),
        signals=QUIET,
        pods=pods - cell.canary_pods,
        canary_pods=cell.canary_pods,
    )
    course = stack_at(round(100 * cell.canary_pods / pods), cell.canary_pods)
    return release(course, Service(traffic, seed, pod_skew=POD_SKEW, shift=harm.shift))


def _troubled(found: Mapping[Troubled, Sequence[Run]]) -> Sequence[Line]:
    back = {
        cell: [run.ending is Ending.ROLLED_BACK for run in runs] for cell, runs in found.items()
    }
    healthy = {cell: ends for cell, ends in back.items() if cell.harm == HEALTHY}
    lines = [share("healthy, all services", [x for ends in healthy.values() for x in ends], 2.0)]
    lines += [
        share(f"healthy, {cell.pods}, {cell.rate:g}/s", ends, 2.0) for cell, ends in healthy.items()
    ]
    for cell, runs in found.items():
        if cell.harm != HEALTHY:
            lines += told(cell.harm.name, [back_at(run) for run in runs])
    return lines


STACK = Goal(
    "Stack",
    "With everything watched and everything wrong at once, a healthy canary is rolled back in at "
    "most 2 % of rollouts",
    TROUBLED_CELLS,
    troubled,
    _troubled,
    runs=6,
    note="Errors and latency of the gateway, pods' errors read 5 s apart, three quiet signals, "
    "predictions and two objectives on the same draws: incidents of 30 s with 20 % failures, 20 "
    "unlike pods watched for three hours, two of which are the canary at 10 %, base 0.5 %. Harm "
    "is done on wandering pods of sigma 0.5 at 100 requests a second.",
)

# --- G6: large harm ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Large:
    """Twenty points of harm at five canary requests a second or more."""

    rate: float
    weight: int
    base: float


LARGE_CELLS = (
    Large(10.0, 50, 0.01),
    Large(50.0, 10, 0.001),
    Large(100.0, 5, 0.05),
    Large(1000.0, 5, 0.01),
)


def large(cell: Large, seed: int) -> int | None:
    """When the whole stack rolled it back, on pods that are alike."""
    traffic = Traffic(cell.rate, cell.base, harm=0.2, latency=Latency(), signals=QUIET)
    course = stack_at(cell.weight, watches_pods=False)
    course = replace(course, horizon=300)
    return back_at(release(course, Service(traffic, seed, pod_skew=0.0, shift=0.0)))


def _large(found: Mapping[Large, Sequence[int | None]]) -> Sequence[Line]:
    lines = []
    for cell, ends in found.items():
        late = [at is None or at > 30 for at in ends]
        name = f"{cell.rate:g}/s at {cell.weight} %, base {100 * cell.base:g} %: later than 30 s"
        lines.append(share(name, late, 5.0))
    everything = [at is None or at > 30 for ends in found.values() for at in ends]
    return [share("later than 30 s, all cells", everything, 5.0), *lines]


LARGE = Goal(
    "G6",
    "Twenty points of harm at five canary requests a second are found within three looks (30 s) in "
    "95 % of rollouts",
    LARGE_CELLS,
    large,
    _large,
    runs=30,
    note="The whole stack. What acting on it takes is not replayed here: in the embedded world it "
    "is seconds (README).",
)
