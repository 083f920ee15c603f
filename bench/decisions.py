"""Replay all that is promised of decisions, G1 to G11, and say what holds.

    python -m bench.decisions [--quick] [--only G4,G7] [--times 10] [--write docs/benchmarks]

Prints every figure with its standard error and exits 1 if one is beyond its bound by more than
three of them. `--quick` is what every change must pass, some minutes of one core; without it there
are `--times` as many runs of every cell, and the page with its plots is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.cost import COST
from bench.delays import DELAYED, TEN
from bench.drift import DRIFT
from bench.false_alarms import HEALTHY, NOISY, SILENT, SKEWED
from bench.goal import Finding, Goal
from bench.matched import MATCHED
from bench.promotions import PROMOTED
from bench.report import terminal, write
from bench.spread import replayed
from bench.stack import LARGE, STACK

GOALS: Sequence[Goal] = (
    HEALTHY,
    NOISY,
    SKEWED,
    DELAYED,
    MATCHED,
    LARGE,
    PROMOTED,
    SILENT,
    TEN,
    DRIFT,
    COST,
    STACK,
)
"""All goals, in their order."""

FOLDER = Path("docs/benchmarks")


def main(arguments: Sequence[str] | None = None, goals: Sequence[Goal] = GOALS) -> int:
    """Replay the chosen goals; 1 if a bound is broken."""
    options = _options(arguments, goals)
    chosen = [goal for goal in goals if not options.only or goal.name in options.only]
    findings: list[Finding] = []
    for finding in replayed(chosen, options.times, options.seed, options.processes):
        print(terminal(finding), flush=True)
        findings.append(finding)
    if options.write is not None:
        command = f"make bench-decisions ARGS='--times {options.times:g}'"
        write(findings, options.write, command, options.seed, options.times)
    print(f"{sum(one.seconds for one in findings):.0f} s of CPU in all")
    broken = [one.goal.name for one in findings if any(line.is_broken for line in one.lines)]
    print(f"broken: {', '.join(broken)}" if broken else "every bound holds")
    return 1 if broken else 0


def _options(arguments: Sequence[str] | None, goals: Sequence[Goal]) -> argparse.Namespace:
    names = [goal.name for goal in goals]
    parser = argparse.ArgumentParser(prog="bench.decisions", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the runs of CI, and write nothing")
    parser.add_argument("--times", type=float, default=10.0, help="times the runs of --quick")
    parser.add_argument("--only", default="", help=f"some of {','.join(names)}; writes nothing")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, default=2, help="replay in so many at a time")
    parser.add_argument("--write", type=Path, default=FOLDER, help="folder of the page")
    options = parser.parse_args(arguments)
    options.only = [name for name in options.only.split(",") if name]
    if unknown := set(options.only) - set(names):
        parser.error(f"--only: wanted some of {', '.join(names)}, found {', '.join(unknown)}")
    if not 0 < options.times <= 10_000 or not 1 <= options.processes <= 64:
        parser.error("wanted --times above 0 and 1 to 64 --processes")
    if options.quick:
        options.times = 1.0
    if options.quick or options.only:
        options.write = None
    return options


if __name__ == "__main__":
    sys.exit(main())
