"""The benchmarks' runner on grids of seconds: what is written, and what fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import pytest
from bench.decisions import GOALS, main
from bench.false_alarms import HEALTHY, SILENT, Silent
from bench.goal import Goal, Line, average, middle, most_by_chance, share, worst
from bench.promotions import PROMOTED
from bench.replay import Cell
from bench.report import page, verdict
from bench.spread import replayed
from hypothesis import given
from hypothesis import strategies as st


def is_struck(percent: float, seed: int) -> bool:
    """An event with a known chance."""
    return Random(seed).random() < percent / 100.0


def struck(found: Mapping[float, Sequence[bool]]) -> Sequence[Line]:
    """One line for each chance."""
    return [share(f"{percent:g} % of seeds", events, 20.0) for percent, events in found.items()]


def scatter(axes: Any, found: Mapping[float, Sequence[bool]]) -> None:
    """Draw how often it happened."""
    axes.plot(list(found), [sum(events) for events in found.values()], "o", label="seeds")
    axes.legend()


def goal(*percents: float) -> Goal:
    """At most 20 % of 20 seeds, for events of these chances."""
    return Goal(
        "G0", "Few are struck", percents, is_struck, struck, 20, "A note.", "Strikes.", scatter
    )


# --- figures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "rate", "most"),
    [
        pytest.param(10, 0.01, 2, id="two of ten are not yet beyond 1 %"),
        pytest.param(10, 0.0, 0, id="none is what never means"),
        pytest.param(1000, 0.01, 21, id="ten are usual of a thousand, more than 21 rare"),
        pytest.param(3, 1.0, 3, id="all is what always means"),
    ],
)
def test_what_chance_makes_of_a_rate_is_the_exact_binomial(
    runs: int, rate: float, most: int
) -> None:
    """Claim: one more than this is less likely than three standard errors of a normal figure."""
    assert most_by_chance(runs, rate) == most


@given(st.integers(1, 300), st.floats(0.0, 1.0))
def test_chance_never_allows_less_than_the_rate_itself(runs: int, rate: float) -> None:
    """Law: what just keeps a promise is never called broken."""
    assert most_by_chance(runs, rate) >= int(rate * runs)


@pytest.mark.parametrize(
    ("line", "word", "is_broken"),
    [
        pytest.param(share("", [False] * 50, 1.0), "met", False, id="none of fifty"),
        pytest.param(share("", [True] + [False] * 49, 1.0), "within error", False, id="one of 50"),
        pytest.param(share("", [True] * 9 + [False] * 41, 1.0), "missed", True, id="nine of 50"),
        pytest.param(
            share("", [True] * 9 + [False] * 41, 1.0, held=20.0), "missed", False, id="held looser"
        ),
        pytest.param(average("", [2.0, 4.0], "s", 2.9), "within error", False, id="3 ± 1 s"),
        pytest.param(average("", [3.0, 3.1], "s", 2.8), "missed", True, id="3.05 ± .05 s"),
        pytest.param(middle("", [1.0, 2.0, 3.0], "s", 2.0), "met", False, id="a median at it"),
        pytest.param(middle("", [1.0, inf, inf], "s", 2.0), "missed", True, id="a median of never"),
        pytest.param(
            middle("", [1.0, 1.0, 9.0, inf, inf], "s", 2.0), "within error", False, id="9 - 8 s"
        ),
        pytest.param(share("", [True] * 9), "met", False, id="told, not promised"),
    ],
)
def test_a_figure_is_judged_by_its_goal_and_by_what_is_held(
    line: Line, word: str, is_broken: bool
) -> None:
    """Claim: beyond the goal by chance, beyond it for sure, and beyond what fails, are three."""
    assert (verdict([line]), line.is_broken) == (word, is_broken)


def test_the_worst_line_keeps_its_numbers() -> None:
    """Claim: the largest figure is told under both names."""
    lines = [share("calm", [False] * 9, 1.0), share("rough", [True] * 9, 1.0)]

    found = worst("worst cell", lines)

    assert found == replace(lines[1], name="worst cell: rough")


# --- the runner ----------------------------------------------------------------------------------


def test_processes_change_nothing() -> None:
    """Claim: what comes out follows the cells and the seeds, however many processes there are."""
    one, two = (next(iter(replayed([goal(5.0, 60.0)], 2.0, 7, many))) for many in (1, 2))

    assert one.found == two.found
    assert [len(seeds) for seeds in one.found.values()] == [40, 40]


def test_a_kept_promise_is_written_with_its_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: the page says the figure, its error, the runs and the verdict; and exit 0."""
    arguments = ["--times", "1", "--processes", "1", "--write", str(tmp_path)]

    assert main(arguments, [goal(5.0)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "every bound holds"
    written = (tmp_path / "decisions.md").read_text()
    row = "| 5 % of seeds | 0.00 ± 3.49 % | ≤ 20 % | 20 | **met** |"
    assert row in written
    assert "| [G0](#g0) | Few are struck | 5 % of seeds: 0.00 ± 3.49 % | 20 | **met** |" in written
    assert "![Strikes.](g0.svg)" in written
    assert "`make bench-decisions ARGS='--times 1'`, not by hand. Seeds count from 0" in written


def test_the_same_command_writes_the_same_bytes(tmp_path: Path) -> None:
    """Claim: neither page nor plot holds a date, a random name or an address."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        assert main(["--times", "1", "--processes", "1", "--write", str(folder)], [goal(5.0)]) == 0

    for name in ("decisions.md", "g0.svg"):
        one, other = ((folder / name).read_bytes() for folder in folders)
        assert one == other
        assert one


def test_a_broken_bound_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: more than three standard errors beyond the bound is exit 1, and the goal is named."""
    arguments = ["--times", "1", "--processes", "1", "--write", str(tmp_path)]

    assert main(arguments, [goal(5.0), replace(goal(5.0, 90.0), name="G99")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "broken: G99"
    assert [line.strip()[:13] for line in lines if "BROKEN" in line] == ["90 % of seeds"]
    assert "**missed**" in (tmp_path / "decisions.md").read_text()


@pytest.mark.parametrize(
    "arguments",
    [pytest.param(["--quick"], id="quick"), pytest.param(["--only", "G0"], id="a part")],
)
def test_what_is_not_the_whole_writes_nothing(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claim: the committed page is only ever replaced by a whole one."""
    monkeypatch.chdir(tmp_path)

    assert main([*arguments, "--processes", "1"], [goal(5.0)]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--only", "G7"], "wanted some of G0, found G7", id="an unknown goal"),
        pytest.param(["--times", "0"], "wanted --times above 0", id="no runs at all"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: the message says what was wanted."""
    with pytest.raises(SystemExit):
        main(arguments, [goal(5.0)])

    assert said in capsys.readouterr().err


# --- the goals themselves ------------------------------------------------------------------------


def test_all_goals_are_there() -> None:
    """Claim: G1 to G11 in their order, and the whole stack after them."""
    assert [one.name for one in GOALS] == [*(f"G{n}" for n in range(1, 12)), "Stack"]


def test_a_tiny_grid_goes_through_the_real_core() -> None:
    """Claim: real replays give figures with a verdict: nobody is rolled back without a request,
    and a good canary at a thousand requests a second is promoted."""
    fast = next(cell for cell in HEALTHY.cells if cell.cell.rate == 1000.0)
    kinds = dict.fromkeys(one.kind for one in HEALTHY.cells)
    short = replace(fast, cell=replace(fast.cell, duration=60))
    good, bad = (
        replace(PROMOTED.cells[0], cell=Cell(1000.0, 50, 0.001, edge=edge, duration=60))
        for edge in (0.0, 0.005)
    )
    tiny = [
        replace(HEALTHY, cells=[replace(short, kind=kind) for kind in kinds]),
        replace(SILENT, cells=[Silent(0.0)]),
        replace(PROMOTED, cells=[good, bad]),
    ]

    healthy, silent, promoted = replayed(tiny, 0.05, 0, 1)

    assert [line.figure for line in healthy.lines] == [0.0] * 7
    assert [line.figure for line in silent.lines] == [0.0, 0.0]
    assert promoted.lines[-1].figure <= 60.0
    text = page([healthy, silent, promoted], "a command", 0, 0.05)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## G1",
        "## G8",
        "## G7",
    ]
