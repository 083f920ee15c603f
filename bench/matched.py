"""Ours beside Flagger, Argo Rollouts and Kayenta on the same seeds: failures until action, G5.

Owns the comparison where a peer keeps the same rate of false rollbacks. Must not know how any rule
decides (`headgate.simulation.lineup`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import mean
from typing import Any

from bench.goal import Goal, Line, line
from bench.replay import standard_error
from bench.service import course_at, gateway

from headgate.simulation.engine import Ending
from headgate.simulation.lineup import HEADGATE, Entry, entry, play
from headgate.simulation.summary import mean as summed
from headgate.simulation.traffic import Traffic

OURS = Entry(HEADGATE)
PEERS = {"argo:tuned": 8.0, "flagger:tuned": 10.0, "kayenta": 11.0}
"""By how many times fewer failures ours is to let through."""

HARMS = (0.01, 0.02, 0.05, 0.2)
_MATCHED = 0.01
_HEALTHY = 4  # healthy rollouts for each harmful one, as they say which cells are compared


@dataclass(frozen=True, slots=True)
class Place:
    """A kind of traffic, in which all rules are tried."""

    rate: float
    weight: int
    base: float


PLACES = tuple(
    Place(rate, weight, base)
    for base in (0.001, 0.01, 0.05)
    for rate, weight in ((10.0, 10), (100.0, 5), (100.0, 10), (1000.0, 10))
)


@dataclass(frozen=True, slots=True)
class Tried:
    """What one seed gave: a peer's false rollbacks, and failures caused by rule and harm."""

    false: Mapping[str, int]
    caused: Mapping[str, Sequence[int]]


def tried(place: Place, seed: int) -> Tried:
    """Release by every rule on the same traffic, healthy by the peers and once for each harm."""
    course, base = course_at(place.weight), place.base
    traffic = Traffic(place.rate, base)
    false = {}
    for name in PEERS:
        runs = (
            play(entry(name), course, gateway(traffic, _HEALTHY * seed + n), base)
            for n in range(_HEALTHY)
        )
        false[name] = sum(run.ending is Ending.ROLLED_BACK for run in runs)
    caused = {
        str(one): [
            play(one, course, gateway(replace(traffic, harm=harm), seed), base).caused
            for harm in HARMS
        ]
        for one in (OURS, *(entry(name) for name in PEERS))
    }
    return Tried(false, caused)


@dataclass(frozen=True, slots=True)
class Pair:
    """Mean failures caused by ours and by a peer in one cell with one harm.

    `doubt` is the variance of the logarithm of their ratio.
    """

    harm: float
    ours: float
    theirs: float
    doubt: float


def pairs(found: Mapping[Place, Sequence[Tried]], peer: str) -> Iterator[Pair]:
    """All cells in which at most 1 % of the peer's healthy canaries were rolled back."""
    for seeds in found.values():
        if sum(one.false[peer] for one in seeds) > _MATCHED * _HEALTHY * len(seeds):
            continue
        for n, harm in enumerate(HARMS):
            both = [summed([one.caused[name][n] for one in seeds]) for name in (HEADGATE, peer)]
            # none in all runs counts as half of one
            ours, theirs = (max(one.value, 0.5 / len(seeds)) for one in both)
            errors = [(one.standard_error or 0.0) for one in both]
            doubt = (errors[0] / ours) ** 2 + (errors[1] / theirs) ** 2
            yield Pair(harm, ours, theirs, doubt)


def _matched(found: Mapping[Place, Sequence[Tried]]) -> Sequence[Line]:
    lines, runs = [], len(next(iter(found.values())))
    for peer, times in PEERS.items():
        compared = list(pairs(found, peer))
        ratio = exp(mean(log(one.ours / one.theirs) for one in compared))
        error = ratio * sum(one.doubt for one in compared) ** 0.5 / len(compared)
        fewer = sum(one.ours < one.theirs for one in compared)
        name = f"{peer}: ours / its failures, fewer in {fewer} of {len(compared)} cells"
        lines.append(line(name, ratio, error, runs, "x", 1.0 / times))
        healthy = _HEALTHY * sum(map(len, found.values()))
        false = sum(one.false[peer] for seeds in found.values() for one in seeds) / healthy
        error = 100.0 * standard_error(false, healthy)
        name = f"{peer}: healthy canaries rolled back, all cells"
        lines.append(line(name, 100.0 * false, error, healthy, "%"))
    return lines


def _draw(axes: Any, found: Mapping[Place, Sequence[Tried]]) -> None:
    looks = zip(PEERS, ("o", "^", "s"), ("#a3200d", "#44546a", "#6f88a6"), strict=True)
    for peer, marker, colour in looks:
        compared = list(pairs(found, peer))
        axes.plot(
            [one.theirs for one in compared],
            [one.ours for one in compared],
            marker,
            markersize=4,
            color=colour,
            label=peer,
        )
    most = max(one.theirs for peer in PEERS for one in pairs(found, peer))
    ends = [1.0, most]
    axes.plot(ends, ends, color="#000000", linewidth=0.8, label="as many")
    axes.plot(ends, [end / 10 for end in ends], color="#000000", linewidth=0.8, linestyle="--")
    axes.set(xscale="log", yscale="log", xlabel="failures caused by the other rule's canary")
    axes.set(ylabel="failures caused by ours")
    axes.legend(frameon=False)


MATCHED = Goal(
    "G5",
    "At no more than 1 % of false rollbacks, a harmful canary causes at most 1/8 of the failures "
    "of Argo Rollouts' rule, 1/10 of Flagger's, 1/11 of Kayenta's (geometric mean)",
    PLACES,
    tried,
    _matched,
    runs=8,
    note="All defaults of ours; the others' rules are reimplemented from their sources, Argo and "
    "Flagger tuned by a base rate that nobody knows so well. Same seeds, constant weight, half an "
    "hour. Only cells in which the other rule rolls back at most 1 % of healthy canaries. Ours is "
    "the whole default rule, in which errors have 0.40 of 0.90 of alpha.",
    plot="Mean failures that a harmful canary causes until a rule acts, cell by cell; dashed, a "
    "tenth.",
    draw=_draw,
)
