"""Replays spread over processes, in an order that does not matter to what comes out.

Owns how the seeds of a cell are cut into jobs. Must not know what a replay is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from time import process_time
from typing import Any

from bench.goal import Finding, Goal

_SEEDS = 10  # a job takes seconds at most, so that the last ones do not keep a process waiting


@dataclass(frozen=True, slots=True)
class Job:
    """Some seeds of one cell."""

    once: Callable[[Any, int], Any]
    cell: Any
    seeds: range


def run(job: Job) -> tuple[Sequence[Any], float]:
    """Replay a job; returns what came out seed by seed, and the CPU seconds it took."""
    begun = process_time()
    found = [job.once(job.cell, seed) for seed in job.seeds]
    return found, process_time() - begun


def replayed(
    goals: Sequence[Goal], times: float, first_seed: int, processes: int
) -> Iterator[Finding]:
    """Replay goals one after the other, each cell with `times` its quick runs (at least two)."""
    jobs = [list(_jobs(goal, times, first_seed)) for goal in goals]
    everything = [job for own in jobs for job in own]
    if processes == 1:
        yield from _gathered(goals, jobs, map(run, everything))
        return
    # Spawned processes inherit nothing that a thread of this one might hold.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from _gathered(goals, jobs, pool.map(run, everything))


def _jobs(goal: Goal, times: float, first_seed: int) -> Iterator[Job]:
    runs = max(2, round(goal.runs * times))
    for cell in goal.cells:
        for first in range(0, runs, _SEEDS):
            last = min(first + _SEEDS, runs)
            yield Job(goal.once, cell, range(first_seed + first, first_seed + last))


def _gathered(
    goals: Sequence[Goal],
    jobs: Sequence[Sequence[Job]],
    results: Iterable[tuple[Sequence[Any], float]],
) -> Iterator[Finding]:
    following = iter(results)
    for goal, own in zip(goals, jobs, strict=True):
        found: dict[Any, list[Any]] = {cell: [] for cell in goal.cells}
        seconds = 0.0
        for job in own:
            outcomes, took = next(following)
            found[job.cell] += outcomes
            seconds += took
        yield Finding(goal, found, seconds)
