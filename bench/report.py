"""Findings as text for the terminal, as a page of tables and as plots.

Owns how a figure, its error and its verdict are written. Must not know how they came about, nor
what makes a promise broken (`bench.goal`). Equal findings give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import Any

from bench.goal import Finding, Line

PAGE = "decisions.md"

_INTRODUCTION = """\
# How well it decides

What is promised of decisions, and what replays of whole rollouts through the real decision core
gave. Traffic is synthetic, chance comes from seeds: the same command gives the same page, but for
the times under G11. A figure is followed by its standard error. **met** says that the figure itself
is within the goal, *within error* that it is beyond it by no more than three standard errors, which
so few runs do not tell from the goal, and **missed** that it is beyond by more.

Written by `{command}`, not by hand. Seeds count from {seed}; each cell
has {times:g} times the runs of the quick version, `make bench-decisions ARGS=--quick`, which every
change must pass: it fails when a figure is beyond its goal by more than three standard errors.
Where a goal is known to be missed, the looser bound that fails instead is in brackets.
"""

_STYLE: Any = {
    "font.size": 9.0,
    "svg.hashsalt": "headgate",
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}

_DIGITS = {"%": 2, "x": 3, "ms": 2}
"""Digits after the point, by the unit."""


def verdict(lines: Sequence[Line]) -> str:
    """One word for all promises of a goal."""
    if any(line.is_missed for line in lines):
        return "missed"
    return "met" if all(line.is_met for line in lines) else "within error"


def terminal(finding: Finding) -> str:
    """One goal as lines of a terminal."""
    head = f"{finding.goal.name}  {finding.goal.promise}: {verdict(finding.lines)}"
    rows = [
        f"    {line.name:80.80} {_figure(line):>18}  {_bound(line):22} of {line.runs} runs"
        f"{'  BROKEN' if line.is_broken else ''}"
        for line in finding.lines
    ]
    return "\n".join([head, *rows, f"    {finding.seconds:.0f} s of CPU"])


def page(findings: Sequence[Finding], command: str, seed: int, times: float) -> str:
    """The whole page in Markdown."""
    parts = [_INTRODUCTION.format(command=command, seed=seed, times=times), _summary(findings)]
    return "\n".join([*parts, *(_section(finding) for finding in findings)])


def _summary(findings: Sequence[Finding]) -> str:
    rows = []
    for finding in findings:
        goal, word = finding.goal, verdict(finding.lines)
        deciding = next(line for line in finding.lines if verdict([line]) == word)
        link = f"[{goal.name}](#{goal.name.lower()})"
        rows.append(
            f"| {link} | {goal.promise} | {deciding.name}: {_figure(deciding)} | {deciding.runs} |"
            f" {_emphasised(word)} |"
        )
    head = "| | promised | the figure that decides | runs | |\n|---|---|---|---|---|"
    return "\n".join([head, *rows, ""])


def _section(finding: Finding) -> str:
    goal = finding.goal
    text = [f"## {goal.name}", "", f"{goal.promise}. {goal.note}".strip(), ""]
    text += ["| replayed | figure | goal | runs | |", "|---|---|---|---|---|"]
    text += [
        f"| {line.name} | {_figure(line)} | {_bound(line)} | {line.runs} |"
        f" {_emphasised(verdict([line])) if line.goal is not None else ''} |"
        for line in finding.lines
    ]
    if goal.draw is not None:
        text += ["", f"![{goal.plot}]({picture(finding)})", "", goal.plot]
    return "\n".join([*text, ""])


def picture(finding: Finding) -> str:
    """The name of a goal's plot."""
    return f"{finding.goal.name.lower()}.svg"


def write(findings: Sequence[Finding], folder: Path, command: str, seed: int, times: float) -> None:
    """Write the page and its plots. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(page(findings, command, seed, times), encoding="utf-8")
    for finding in findings:
        if finding.goal.draw is not None:
            _draw(finding, folder / picture(finding))


def _draw(finding: Finding, path: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    assert finding.goal.draw is not None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        finding.goal.draw(figure.subplots(), finding.found)
        for artist in figure.findobj():  # a clip path is named by its address in memory
            artist.set_clip_on(False)
        figure.savefig(path, metadata={"Date": None})


def _figure(line: Line) -> str:
    if line.figure == inf:
        return "never"
    digits = _DIGITS.get(line.unit, 0)
    return f"{line.figure:.{digits}f} ± {line.error:.{digits}f} {line.unit}"


def _bound(line: Line) -> str:
    if line.goal is None:
        return ""
    held = f" (held: {line.held.most:.4g})" if line.held else ""
    return f"≤ {line.goal.most:.4g} {line.unit}{held}"


def _emphasised(word: str) -> str:
    return f"*{word}*" if word == "within error" else f"**{word}**"
