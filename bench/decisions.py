"""Replay the decision rule at full size and print its error rates with standard errors.

    python -m bench.decisions [--runs 2000] [--seed 0] [--only healthy|harm|promotion|cost]

Prints one line a cell; exits 1 if a promised rate is exceeded by more than three standard errors.
Costs are printed and never judged: they belong to the machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt

from bench.replay import START, Cell, Ending, looks, replay, standard_error

from headgate.core.evidence import Evidence, Objective, ObjectiveKind, Settings, begin, fold

AVAILABILITY = Objective("availability", 0.99, ObjectiveKind.ERRORS)
FAST = Objective("fast", 0.9, ObjectiveKind.LATENCY, 0.25)
SETTINGS = Settings(
    alpha=0.01, margin=0.001, tolerance=0.005, objectives=(AVAILABILITY,), weights=(100,)
)
BLIND = replace(SETTINGS, alpha=1e-12, objectives=())

RATES = (0.2, 1.0, 10.0, 100.0, 1000.0)
HEALTHY = (
    *(Cell(rate, weight, 0.01) for rate in RATES for weight in (5, 25, 50)),
    *(Cell(rate, 10, base) for rate in RATES for base in (0.001, 0.05)),
    *(Cell(rate, weight, 0.01, incidents=True) for rate in RATES for weight in (5, 50)),
    *(Cell(rate, 25, 0.01, edge=0.001) for rate in RATES),
    Cell(20, 10, 0.01, slower=1.0),
)
HARM = (
    *(Cell(100, 10, 0.01, harm=harm) for harm in (0.005, 0.01, 0.02, 0.05, 0.2)),
    *(Cell(100, 10, 0.001, harm=harm) for harm in (0.005, 0.02, 0.1)),
    *(Cell(10, 10, 0.01, harm=harm) for harm in (0.02, 0.05, 0.2)),
    Cell(1, 10, 0.01, harm=0.99),
    Cell(0.2, 5, 0.01, harm=0.99),
    Cell(100, 10, 0.01, harm=0.05, onset=600),
    Cell(100, 10, 0.01, slower=1.25),
)
PROMOTION = (Cell(100, 10, 0.01), Cell(100, 10, 0.001), Cell(10, 50, 0.01))
WRONG = (
    Cell(100, 10, 0.01, edge=0.005),
    Cell(100, 50, 0.001, edge=0.005),
    Cell(10, 50, 0.01, edge=0.005),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="bench.decisions", description=__doc__)
    parser.add_argument("--runs", type=int, default=400, help="rollouts a cell")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--only", choices=sorted(PARTS), help="one part instead of all")
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + options.runs)
    chosen = [options.only] if options.only else list(PARTS)
    broken = [name for name in chosen if not PARTS[name](seeds)]
    print(f"broken: {', '.join(broken)}" if broken else "every promise holds")
    return 1 if broken else 0


def healthy(seeds: range) -> bool:
    """A healthy canary is rolled back with a chance of at most alpha, in every cell."""
    print("healthy canaries rolled back, %, in 30 min (promise: 1)")
    cells = [_rate(cell, SETTINGS, None, seeds, _is_breach, 0.01) for cell in HEALTHY]
    return all(cells)


def harm(seeds: range) -> bool:
    """How soon harm is found; reported, and promised only for twenty points (30 s)."""
    print("harm: detected %, median and p95 delay in s, mean failures let through")
    prompt = True
    for cell in HARM:
        found = [replay(cell, SETTINGS, None, seed) for seed in seeds]
        delays = sorted((one.breach_at or 10**6) - cell.onset for one in found)
        detected = sum(map(_is_breach, found)) / len(found)
        failures = sum(one.failures for one in found) / len(found)
        median, late = delays[len(delays) // 2], delays[int(0.95 * len(delays))]
        print(
            f"  {_name(cell):58} {100 * detected:6.1f} ± {_error(detected, found):.1f}"
            f"  {_seconds(median)}  {_seconds(late)}  {failures:8.1f}"
        )
        if cell.harm >= 0.2 and cell.rate * cell.weight / 100 >= 5:
            prompt = prompt and late <= 30
    return prompt


def promotion(seeds: range) -> bool:
    """A canary worse by the tolerance is promoted with a chance of at most 5 %."""
    print("good canaries: median and p95 s until 100 % is earned")
    for cell in PROMOTION:
        found = [replay(cell, SETTINGS, 100, seed) for seed in seeds]
        times = sorted(one.earned_at or 10**6 for one in found)
        median, late = times[len(times) // 2], times[int(0.95 * len(times))]
        print(f"  {_name(cell):58} {_seconds(median)}  {_seconds(late)}")
    print(
        "canaries worse by the tolerance promoted, %, were nothing else to stop them (promise: 5)"
    )
    cells = [_rate(cell, BLIND, 100, seeds, _is_earned, 0.05) for cell in WRONG]
    return all(cells)


def cost(seeds: range) -> bool:
    """One look after a restart: 70 s of scrapes every 2 s, errors and latency, four weights."""
    settings = replace(SETTINGS, objectives=(AVAILABILITY, FAST), weights=(5, 25, 50))
    cell = Cell(1000, 10, 0.01, slower=1.0, duration=70, scrape=2, look=70)
    (_, _, series) = next(iter(looks(cell, seeds[0])))
    evidence = begin(settings, START)
    took = []
    for _ in range(20):
        before = time.process_time()
        folded = fold(evidence, series)
        took.append(time.process_time() - before)
    text = folded.to_json()
    kept = Evidence.from_json(text) == folded
    print(f"cost: {1000 * sorted(took)[10]:.1f} ms for 35 blocks, state {len(text)} bytes")
    return kept


def _rate(
    cell: Cell,
    settings: Settings,
    weight: int | None,
    seeds: range,
    counts: Callable[[Ending], bool],
    promise: float,
) -> bool:
    found = [replay(cell, settings, weight, seed) for seed in seeds]
    rate = sum(map(counts, found)) / len(found)
    print(f"  {_name(cell):58} {100 * rate:6.2f} ± {_error(rate, found):.2f}", flush=True)
    return rate <= promise + 3 * standard_error(promise, len(found))


def _is_breach(ending: Ending) -> bool:
    return ending.breach_at is not None


def _is_earned(ending: Ending) -> bool:
    return ending.earned_at is not None


def _error(rate: float, found: Sequence[Ending]) -> float:
    """Standard error in percent; of no event, as if there had been half a one."""
    floor = max(rate, 0.5 / len(found))
    return 100 * sqrt(floor * max(1 - floor, 0.5 / len(found)) / len(found))


def _seconds(value: int) -> str:
    return "   never" if value >= 10**5 else f"{value:6d} s"


def _name(cell: Cell) -> str:
    extras = [
        f"harm {100 * cell.harm:g} pt" if cell.harm else "",
        f"worse by {100 * cell.edge:g} pt" if cell.edge else "",
        f"from {cell.onset} s" if cell.onset else "",
        "incidents" if cell.incidents else "",
        f"latency x{cell.slower:g}" if cell.slower else "",
    ]
    words = ", ".join(extra for extra in extras if extra)
    return f"{cell.rate:g}/s at {cell.weight} %, base {100 * cell.base:g} %{words and ', '}{words}"


PARTS = {"healthy": healthy, "harm": harm, "promotion": promotion, "cost": cost}

if __name__ == "__main__":
    sys.exit(main())
