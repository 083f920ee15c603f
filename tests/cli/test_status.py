"""`headgate status`: what it shows of real objects, to whom, and how it ends."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.apiserver import ApiServer
from tests.cli import stories
from tests.scenarios.memory import Story

from headgate.adapters.kubernetes import KubernetesCluster, find_login
from headgate.cli import exits, main, output, reach, status
from headgate.cli.lines import (
    BAR_CELLS,
    Line,
    Node,
    Span,
    bar,
    columns,
    draw,
    for_terminal,
    number,
    plain_text,
    span_of,
    text,
)
from headgate.cli.reach import Reach
from headgate.cli.tree import table, tree
from headgate.cli.view import Link, Objects, Role, StepState, Wait, view_deployments
from headgate.core.slo.budget import WindowCounts
from headgate.ports import Manifest, Refused

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1b"

PICTURES = [
    pytest.param(
        lambda: stories.first("Baking", 6),
        [
            "models/fraud  Baking (FirstRevision) for 6s",
            "└─ stable  version 1  ca743f42  ████████████████████  100 %  pods 1/1  not proven yet",
            "rollout fraud-0001  first, version 1  Progressing  began ",
            "└─ ▸  100 %  bake 1m  54s left",
        ],
        id="the first revision bakes with all requests",
    ),
    pytest.param(
        lambda: stories.second("Progressing", 4),
        [
            "├─ http://fraud.example.com/",
            "stable  version 1  ca743f42  ██████████████████░░   90 %  pods 1/1  proven",
            "canary  version 2  0b322b52  ██░░░░░░░░░░░░░░░░░░   10 %  pods 1/1",
            "rollout fraud-0002  version 1 → version 2  Progressing  began",
            "▸   10 %  hold 20s  at least 16s left",
            "○   50 %  hold 20s",
            "○  100 %  bake 1m",
            "EvidenceFlowing is False (NoTraffic): the canary has not answered",
        ],
        id="a canary in its first step",
    ),
    pytest.param(
        lambda: stories.second("Baking", 10),
        [
            "stable  version 1  ca743f42  ░░░░░░░░░░░░░░░░░░░░    0 %  pods 1/1  proven",
            "✔   10 %  hold 20s",
            "✔   50 %  hold 20s",
            "▸  100 %  bake 1m   50s left",
            "225           nothing",
        ],
        id="a canary in its bake has earned all and keeps its predecessor warm",
    ),
    pytest.param(
        stories.rolled_back,
        [
            "models/fraud  RolledBack (AnalysisFailed) for 0s",
            "rejected  version 2  0b322b52  ░░░░░░░░░░░░░░░░░░░░    0 %",
            " in fraud-0002, 0s ago",
            "last rollout fraud-0002  version 1 → version 2  RolledBack  ended 0s ago",
            "✗   10 %  hold 20s",
            "○   50 %  hold 20s",
            "to roll back  still needed",
            "Stalled is True (RolledBack)",
        ],
        id="a version that went back ended at its step and is marked",
    ),
    pytest.param(
        stories.paused,
        ["models/fraud  Paused for 0s", "▸   10 %  hold 20s  paused"],
        id="a paused rollout waits for a person",
    ),
    pytest.param(
        stories.refused,
        [
            "models/fraud  Stable (Promoted)",
            "stable  version 1",
            "Accepted is False (NotFound): spec.traffic.gateway",
        ],
        id="a spec that was refused is told while the stable version serves",
    ),
]


@pytest.mark.parametrize(("told", "wanted"), PICTURES)
async def test_tree_shows_what_is_so(
    told: Callable[[], Awaitable[Story]], wanted: list[str]
) -> None:
    """Each phase shows its weights, steps, waiting time and what is not as it should be."""
    shown = stories.picture(await told())

    for words in wanted:
        assert words in shown, shown


async def test_conditions_are_silent_when_all_is_well() -> None:
    """A stable deployment has nothing under attention, and no message twice."""
    story = await stories.first("Stable")
    shown = stories.picture(story)

    assert "attention" not in shown
    assert shown.count(story.status["message"]) == 1


async def test_condition_that_repeats_the_message_is_named_without_it() -> None:
    """After a rollback three conditions have the same sentence; a person reads it once."""
    story = await stories.rolled_back()

    assert story.condition("Stalled")["message"] == story.status["message"]
    assert stories.picture(story).count("canary failed") == 1


async def test_table_has_one_line_for_each_deployment() -> None:
    """Without a name all are shown, by namespace and name, with the phase and both versions."""
    story = await stories.second("Progressing", 2)
    other = stories.objects(story).deployments[0]
    twin = {**other, "metadata": {**other["metadata"], "namespace": "alpha", "name": "zeta"}}
    found = replace(stories.objects(story), deployments=[other, twin])
    now = story.clock.now()

    header, first, second = plain_text(table(view_deployments(found, now), now)).splitlines()

    assert header.split()[:7] == [
        "NAMESPACE",
        "NAME",
        "PHASE",
        "SINCE",
        "STABLE",
        "CANARY",
        "WEIGHT",
    ]
    assert first.split()[:9] == ["alpha", "zeta", "Progressing", "2s", "1", "2", "10", "%", "True"]
    assert second.startswith("models     fraud  Progressing")
    assert first.index("Progressing") == header.index("PHASE")


def test_deployment_nobody_looked_at_is_shown_as_such() -> None:
    """An object without status, as Git has just made it, is no error: is the operator running?"""
    story = Story()
    story.commit("1")
    now = story.clock.now()
    views = view_deployments(stories.objects(story), now)

    shown = plain_text(tree(views[0], now))

    assert "models/fraud  Unseen" in shown
    assert "spec generation 1 was not looked at yet (never)" in shown
    assert "the operator has not looked at it yet" in plain_text(table(views, now))


async def test_spec_newer_than_the_status_is_told() -> None:
    """What is shown is about generation 1, and says so when Git is at 2."""
    story = await stories.first("Stable")
    found = stories.objects(story)
    found.deployments[0]["metadata"]["generation"] = 2  # type: ignore[index]
    now = story.clock.now()

    shown = plain_text(tree(view_deployments(found, now)[0], now))

    assert "spec generation 2 was not looked at yet (last at 1)" in shown


# --- error budgets and drift ---------------------------------------------------------------------


def guarded(found: Objects, **status: Any) -> Objects:
    """Let the operator have written this of budgets and drift."""
    found.deployments[0]["status"].update(status)
    return found


def budget(remaining: str, *burning: str) -> dict[str, Any]:
    """What the status says of the budget of `availability`."""
    at = "2026-01-05T12:00:10.000000Z"
    return {
        "objective": "availability",
        "remaining": remaining,
        "burning": list(burning),
        "asOf": at,
    }


BUDGETS = [
    pytest.param([], "availability  99 % over 30d  too little is known yet", id="not known"),
    pytest.param(
        [budget("0.82")],
        "availability  99 % over 30d  82 % left  since 1m ago",
        id="most is left",
    ),
    pytest.param([budget("0.00")], "99 % over 30d  0 % left  since", id="nothing is left"),
    pytest.param(
        [budget("-1.25")],
        "99 % over 30d  nothing left, overspent by 125 %",
        id="overspent",
    ),
    pytest.param(
        [budget("0.5", "1h/5m", "1d/2h")],
        "50 % left  burns at a rate above 14.4 over 1h/5m (page); "
        "burns at a rate above 3 over 1d/2h (ticket)  since",
        id="burning over two pairs of windows",
    ),
    pytest.param(
        [budget("0.5", "9h/9m")],
        "50 % left  burns too fast over 9h/9m  since",
        id="a pair that only a newer operator knows",
    ),
]


@pytest.mark.parametrize(("written", "wanted"), BUDGETS)
async def test_budget_is_told_in_the_words_of_its_objective(
    written: list[dict[str, Any]], wanted: str
) -> None:
    """Target and window as promised, what is left, and what burns by which rate."""
    story = await stories.first("Stable")
    now = story.clock.now()
    view = view_deployments(guarded(stories.objects(story), budget=written), now)[0]

    shown = plain_text(tree(view, now))

    assert "├─ error budgets\n" in shown
    assert wanted in shown, shown


async def test_budget_of_an_objective_that_left_the_spec_is_still_told() -> None:
    """What the status has is shown, after what the spec promises."""
    story = await stories.first("Stable")
    left = {**budget("0.4"), "objective": "gone"}
    found = guarded(stories.objects(story), budget=[left, budget("0.9")])
    view = view_deployments(found, story.clock.now())[0]

    assert [(b.objective, b.target, b.remaining) for b in view.budgets] == [
        ("availability", "99", 0.9),
        ("gone", "", 0.4),
    ]


async def test_budget_that_the_operator_read_is_shown() -> None:
    """From the counts of a month to a line: 3 of 10 parts of the budget are spent."""
    story = await stories.first("Stable")
    month = timedelta(days=30)
    story.budgets.counts["availability"] = [WindowCounts(month, 99_700, 300, month)]
    await story.once()

    assert "availability  99 % over 30d  70 % left  since " in stories.picture(story)


DRIFTED = {
    "feature": "amount",
    "since": "2026-01-05T12:00:10.000000Z",
    "message": "amount: more in the bin up to +Inf",
}


@pytest.mark.parametrize(
    ("drift", "watched", "wanted"),
    [
        pytest.param([], None, "", id="nobody watches the inputs"),
        pytest.param(
            [],
            "True",
            "├─ drift\n│  └─ none: inputs are like those the model was trained on\n",
            id="as in training",
        ),
        pytest.param([], "Unknown", "InputsMatchReference is Unknown", id="they cannot be read"),
        pytest.param(
            [DRIFTED],
            "False",
            "─ amount: more in the bin up to +Inf (since 1m ago)",
            id="one feature has drifted",
        ),
    ],
)
async def test_drift_is_told_by_feature(
    drift: list[dict[str, Any]], watched: str | None, wanted: str
) -> None:
    """What differs in which feature and since when; that nothing does is said too."""
    story = await stories.first("Stable")
    found = guarded(stories.objects(story), drift=drift)
    if watched is not None:
        found.deployments[0]["status"]["conditions"].append(
            {"type": "InputsMatchReference", "status": watched, "reason": "Told", "message": "told"}
        )
    now = story.clock.now()
    shown = plain_text(tree(view_deployments(found, now)[0], now))

    assert wanted in shown, shown
    assert ("drift" in shown) == (watched in ("True", "False"))


async def test_wide_table_has_the_least_budget_all_burns_and_the_drift() -> None:
    """Of several objectives the one with least left; the plain table stays as it was."""
    story = await stories.first("Stable")
    objectives = [
        {"name": "availability", "target": "99", "errors": {}},
        {"name": "fast", "target": "95", "window": "7d", "latency": {"threshold": "300ms"}},
    ]
    found = guarded(
        stories.objects(story),
        budget=[budget("0.82"), {**budget("0.05", "1h/5m", "6h/30m"), "objective": "fast"}],
        drift=[DRIFTED, {**DRIFTED, "feature": "age"}],
    )
    found.deployments[0]["spec"]["objectives"] = objectives  # type: ignore[index]
    now = story.clock.now()

    header, row = plain_text(table(view_deployments(found, now), now, wide=True)).splitlines()
    plain = plain_text(table(view_deployments(found, now), now))

    titles = ["READY", "BUDGET LEFT", "BURNS TOO FAST", "DRIFT", "MESSAGE"]
    assert [one for one in re.split("  +", header) if one][7:] == titles
    assert "  5 % (fast)   1h/5m (fast) and 1 more  amount and 1 more  version 1" in row
    assert "BUDGET" not in plain


async def test_wide_table_says_what_is_not_known() -> None:
    """No budget, no burn and nobody who watches the inputs are three dashes."""
    story = await stories.first("Stable")
    now = story.clock.now()
    row = plain_text(table(view_deployments(stories.objects(story), now), now, wide=True))

    assert "True   -            -               -      version 1" in row.splitlines()[1]


# --- views ---------------------------------------------------------------------------------------


async def test_hold_counts_from_the_first_request_once_the_record_knows_it() -> None:
    """Before its checkpoint the record cannot tell when the step's clock began: at least so long.

    Afterwards it is exact: the hold of 20 s began with the first counted request, not at the
    verification.
    """
    early, late = await stories.second("Progressing", 4), await stories.second("Progressing", 4)
    late.options = replace(late.options, checkpoint_every=timedelta(seconds=2))
    await late.run(timedelta(seconds=10))
    views = [view_deployments(stories.objects(s), s.clock.now())[0] for s in (early, late)]

    assert views[0].wait == Wait(timedelta(seconds=16), exact=False)
    assert views[1].record is not None
    began, verified = views[1].record.step_began_at, views[1].route_verified_at
    assert began is not None
    assert verified is not None
    assert began > verified
    assert views[1].wait == Wait(began + timedelta(seconds=20) - late.clock.now(), exact=True)


async def test_revisions_are_told_apart_by_role() -> None:
    """Stable and canary first, then what was rejected; the one that is neither is old."""
    story = await stories.second("Stable")
    story.platform.behaviours["3"] = story.platform.behaviours["2"].__class__(failing=0.2)
    story.commit("3")
    await story.until_phase("RolledBack")
    story.commit("4")
    await story.until_phase("Progressing")

    view = view_deployments(stories.objects(story), story.clock.now())[0]

    roles = [(r.role, r.version, r.weight) for r in view.revisions]
    assert roles == [
        (Role.STABLE, "2", 90),
        (Role.CANARY, "4", 10),
        (Role.REJECTED, "3", 0),
        (Role.OLD, "1", 0),
    ]
    assert view.record is not None
    assert view.record.previous.link is Link.INTACT


async def test_breach_in_the_bake_ends_at_the_bake() -> None:
    """All steps were earned; what broke is the bake, so that is where the mark is."""
    story = await stories.second("Baking", 10)
    story.platform.behaviours["2"] = story.platform.behaviours["2"].__class__(failing=0.9)
    await story.until_phase("RolledBack", timedelta(minutes=5))

    record = view_deployments(stories.objects(story), story.clock.now())[0].record

    assert record is not None
    assert [step.state for step in record.steps] == [StepState.DONE, StepState.DONE]
    assert record.bake_state is StepState.ENDED_HERE


# --- text ----------------------------------------------------------------------------------------


def hostile(story: Story) -> tuple[Line, ...]:
    """Draw a deployment whose message tries to take over the terminal."""
    found = stories.objects(story)
    message = f"{ESCAPE}]0;owned\x07{ESCAPE}[2J[bold]loud[/bold]\u202e\x9b31m :smile:\nsecond line"
    found.deployments[0]["status"]["message"] = message
    now = story.clock.now()
    return tree(view_deployments(found, now)[0], now)


async def test_text_of_the_cluster_cannot_steer_a_terminal() -> None:
    """Control, direction and line characters are gone; markup and emoji codes stay as written."""
    lines = hostile(await stories.first("Stable"))
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120, color_system="standard")
    terminal.print(for_terminal(lines))
    styled = terminal.file.getvalue()  # type: ignore[attr-defined]

    for shown in (plain_text(lines), styled):
        assert "[2J[bold]loud[/bold]" in shown
        assert ":smile: second line" in shown
        assert f"{ESCAPE}]0" not in shown
        assert not {"\x07", "\u202e", "\x9b"} & set(shown)
    assert ESCAPE not in plain_text(lines)
    assert ESCAPE in styled


def test_long_line_goes_on_beneath_its_beginning() -> None:
    """On a narrow terminal the tree's branches stay readable."""
    lines = draw(Node(text("root"), (Node(text("one two three four five six")),)))
    terminal = Console(file=io.StringIO(), width=16, color_system=None)
    terminal.print(for_terminal(lines))

    shown = terminal.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.rstrip() for line in shown] == ["root", "└─ one two three", "   four five six"]


def test_ascii_terminal_gets_an_ascii_tree() -> None:
    """Nothing that such a terminal cannot encode is written."""
    lines = draw(Node(text("a → b"), (Node(text(bar(50))), Node(text("✔ done")))))
    written = plain_text(lines, ascii_only=True)

    assert written.isascii()
    assert written.splitlines()[0] == "a -> b"
    assert written.splitlines()[2] == "`- x done"


@given(st.integers(0, 100))
def test_bar_is_as_long_as_its_weight(percent: int) -> None:
    """Always 20 cells; empty for 0 only and full for 100 only, so neither is ever a rounding."""
    drawn = bar(percent)
    assert len(drawn) == BAR_CELLS
    assert ("█" not in drawn) == (percent == 0)
    assert ("░" not in drawn) == (percent == 100)


@pytest.mark.parametrize(
    ("duration", "wanted"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(0), "0s"),
        (timedelta(milliseconds=250), "250ms"),
        (timedelta(seconds=14), "14s"),
        (timedelta(minutes=3, seconds=20), "3m20s"),
        (timedelta(hours=2), "2h"),
        (timedelta(days=3, hours=4, minutes=5), "3d4h"),
        (timedelta(hours=1, seconds=5), "1h"),
    ],
)
def test_duration_is_written_in_two_units(duration: timedelta, wanted: str) -> None:
    """The two largest units are enough for a person."""
    assert span_of(duration) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.2, "0.2"), (99.95, "100"), (304096.4, "304,096"), (1.9e7, "1.9e+07")]
)
def test_number_shows_its_size(value: float, wanted: str) -> None:
    """Evidence spans many orders of magnitude and has to stay readable."""
    assert number(value) == wanted


def test_columns_have_one_width_and_an_empty_one_has_none() -> None:
    """Cells line up; the last column is not padded."""
    rows = columns([(Span("a"), Span(""), Span("x")), (Span("bbb"), Span(""), Span("yy"))])
    assert ["".join(s.text for s in row) for row in rows] == ["a    x", "bbb  yy"]


# --- output --------------------------------------------------------------------------------------


class Screen(io.StringIO):
    """A terminal, or what claims to be one."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        """Claim it."""
        return True


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_styles_are_for_terminals_that_want_them(
    variables: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe gets none, and neither does a person who set NO_COLOR to anything but nothing."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for key, value in variables.items():
        monkeypatch.setenv(key, value)

    assert output.is_rich(Screen()) is wanted
    assert output.is_rich(io.StringIO()) is False


async def test_json_has_the_documented_shape() -> None:
    """Scripts may rely on these keys; durations are seconds and unknown things null."""
    story = await stories.second("Progressing", 4)
    view = json.loads(
        json.dumps(output.to_json(view_deployments(stories.objects(story), story.clock.now())[0]))
    )

    assert set(view) == {
        *("namespace", "name", "version", "phase", "phaseSince", "reason", "message", "url"),
        *("generation", "observedGeneration", "paused", "retry", "revisions", "routeVerifiedAt"),
        *("conditions", "budgets", "drifts", "record", "wait"),
    }
    assert view["wait"] == {"leftSeconds": 16.0, "exact": False}
    assert view["phaseSince"] == "2026-01-05T12:01:12Z"
    assert view["revisions"][1] == {
        "name": "fraud-0b322b52",
        "version": "2",
        "hash": "0b322b52",
        "role": "canary",
        "weight": 10,
        "phase": "Serving",
        "proven": False,
        "pods": {"ready": 1, "wanted": 1},
        "rejection": None,
    }
    record = view["record"]
    assert set(record) == {
        *("name", "number", "outcome", "phase", "reason", "message", "from", "to", "steps"),
        *("bakeSeconds", "bakeState", "startedAt", "firstRequestAt", "finishedAt"),
        *("evidenceAsOf", "countedSince", "stepBeganAt", "changes", "signals", "verdict"),
        *("integrity", "previous", "commit"),
    }
    assert set(record["commit"]) == {
        *("certainty", "message", "place", "toldBy", "candidates", "author", "initiatedBy"),
        *("hydrated", "pending"),
    }
    assert record["from"] == {"version": "1", "hash": "ca743f42", "revision": "fraud-ca743f42"}
    assert record["steps"][0] == {"weight": 10, "holdSeconds": 20.0, "state": "current"}


# --- reading -------------------------------------------------------------------------------------


def there(story: Story, namespace: str | None = "models") -> Reach:
    """Reach the story's cluster."""
    return Reach(story.cluster, namespace)


def called(**changes: Any) -> Namespace:
    """Return the arguments of `headgate status fraud`, changed."""
    usual = {"name": "fraud", "output": "text", "watch": False, "all_namespaces": False}
    return Namespace(**{**usual, **changes})


@pytest.mark.parametrize(
    ("namespace", "name", "wanted"),
    [
        ("models", "fruad", "no ModelDeployment models/fruad; did you mean fraud?"),
        ("other", "fraud", "no ModelDeployment other/fraud; there is one in namespace models"),
        ("models", "zzz", "no ModelDeployment models/zzz; there is fraud"),
        ("other", "zzz", "there is none in this namespace (try -n or `headgate status -A`)"),
    ],
)
async def test_unknown_name_is_answered_with_what_there_is(
    namespace: str, name: str, wanted: str
) -> None:
    """A slip of the pen and the wrong namespace are the usual causes."""
    story = await stories.first("Stable")

    error = await reach.not_found(there(story, namespace), name)

    assert wanted in str(error)


async def test_status_without_the_right_to_see_workloads_shows_the_rest() -> None:
    """Who may see releases need not be allowed to list Deployments: pods are unknown then."""
    story = await stories.first("Stable")

    def refuse(verb: str, kind: str) -> None:
        if kind == "Deployment":
            raise Refused("list Deployment models: HTTP 403: forbidden")

    story.cluster.before_read = refuse
    found = await reach.read_one(there(story), "fraud")

    assert found.workloads is None
    assert view_deployments(found, story.clock.now())[0].revisions[0].pods is None


async def test_table_reads_deployments_only() -> None:
    """A cluster may hold thousands of records with all their evidence."""
    story = await stories.first("Stable")
    read: list[str] = []
    story.cluster.before_read = lambda verb, kind: read.append(kind)

    await reach.read_all(there(story), children=False)

    assert read == ["ModelDeployment"]


@pytest.mark.looptime
async def test_watch_waits_until_something_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe gets no repetition; a cluster that goes away is told once and asked again."""
    story = await stories.first("Stable")
    shown = await status._read(there(story), called())
    asked = 0

    def away(verb: str, kind: str) -> None:
        nonlocal asked
        asked += 1
        if asked <= 2:
            from headgate.ports import ClusterUnavailable

            raise ClusterUnavailable("get ModelDeployment models/fraud: no answer in 10 s")
        if asked > 10:
            story.cluster.find("ModelDeployment", "models", "fraud")["status"]["reason"] = "Other"  # type: ignore[index]

    story.cluster.before_read = away
    found = await asyncio.wait_for(status._next(there(story), called(), shown), 60)

    assert found.deployments[0]["status"]["reason"] == "Other"
    told = capsys.readouterr().err
    assert told.count("the cluster does not answer, trying again") == 1


# --- the command ---------------------------------------------------------------------------------


def command(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "headgate", *words],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment(**variables: str) -> dict[str, str]:
    """Return an environment that finds the package and nobody's own cluster."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KUBE", "NO_COLOR"))}
    return {**kept, "PYTHONPATH": str(ROOT / "operator"), "PYTHONUTF8": "1", **variables}


def test_name_and_all_namespaces_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """A name is in one namespace."""
    assert main(["status", "fraud", "-A"]) == exits.USAGE
    assert "exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize("verb", [("status",), ("why", "fraud")])
def test_without_kubeconfig_one_line_says_where_it_was_looked_for(
    verb: tuple[str, ...], tmp_path: Path
) -> None:
    """The first thing a stranger meets."""
    done = command(*verb, HOME=str(tmp_path))

    assert done.returncode == exits.UNREACHABLE
    assert done.stdout == ""
    wanted = "no kubeconfig: wanted --kubeconfig, KUBECONFIG or ~/.kube/config, found no file"
    assert done.stderr == f"headgate {verb[0]}: {wanted}\n"


@pytest.mark.parametrize("verb", [("status",), ("why", "fraud")])
def test_cluster_that_does_not_answer_is_exit_code_4(verb: tuple[str, ...], tmp_path: Path) -> None:
    """Nobody listens on port 1: one line, no traceback."""
    login = tmp_path / "config"
    login.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    done = command(*verb, "--kubeconfig", str(login))

    assert done.returncode == exits.UNREACHABLE
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"headgate {verb[0]}: ")
    assert "127.0.0.1" in done.stderr


def test_help_costs_no_client() -> None:
    """Arguments are read before anything heavy is imported."""
    program = (
        "import sys, headgate.cli as c\n"
        "try: c.main(['status', '--help'])\n"
        "finally: print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "headgate.cli.status" in done.stdout
    assert not {"kubernetes", "aiohttp", "pydantic", "rich"} & set(done.stdout.split())


# --- a real API server ---------------------------------------------------------------------------

NAMESPACE = "status-of-models"


@pytest.fixture(scope="module")
def served(apiserver: ApiServer) -> Iterator[dict[str, str]]:
    """Store a whole story on a real API server; gives the variables that lead to it."""
    story = asyncio.run(stories.rolled_back())
    found = stories.objects(story)
    manifests = [*found.deployments, *found.revisions, *found.rollouts]
    apiserver.kubectl("create", "namespace", NAMESPACE)
    asyncio.run(store(apiserver, manifests))
    yield {"KUBECONFIG": str(apiserver.kubeconfig)}
    apiserver.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


async def store(
    apiserver: ApiServer, manifests: list[Manifest], namespace: str = NAMESPACE
) -> None:
    """Create the objects and write their status, as the operator does."""
    cluster = KubernetesCluster(find_login(str(apiserver.kubeconfig)))
    try:
        for manifest in manifests:
            labels = manifest["metadata"].get("labels", {})
            metadata = {
                "name": manifest["metadata"]["name"],
                "namespace": namespace,
                "labels": labels,
            }
            made = await cluster.create(
                {**{k: manifest[k] for k in ("apiVersion", "kind", "spec")}, "metadata": metadata}
            )
            observed = {"observedGeneration": made["metadata"]["generation"]}
            change = observed if manifest["kind"] == "ModelDeployment" else {}
            await cluster.patch_status(made, {**manifest["status"], **change})
    finally:
        await cluster.close()


@pytest.mark.apiserver
def test_status_shows_what_a_real_api_server_stores(served: dict[str, str]) -> None:
    """Through the real client, as a process, into a pipe: a tree without an escape sequence."""
    done = command("status", "fraud", "-n", NAMESPACE, **served)

    assert done.returncode == exits.OK, done.stderr
    assert f"{NAMESPACE}/fraud  RolledBack (AnalysisFailed)" in done.stdout
    assert "rejected  version 2" in done.stdout
    assert ESCAPE not in done.stdout

    everywhere = command("status", "-A", "-o", "json", **served)
    read = json.loads(everywhere.stdout)
    assert read["schema"] == status.SCHEMA
    mine = [d for d in read["deployments"] if d["namespace"] == NAMESPACE]
    assert [d["record"]["outcome"] for d in mine] == ["RolledBack"]

    unknown = command("status", "fruad", "-n", NAMESPACE, **served)
    assert unknown.returncode == exits.NOT_FOUND
    assert "did you mean fraud?" in unknown.stderr


CALLS = [
    pytest.param(["status", "fraud"], exits.OK, "RolledBack (AnalysisFailed)", "", id="one"),
    pytest.param(["status"], exits.OK, "NAMESPACE         NAME   PHASE", "", id="all of it"),
    pytest.param(["status", "-o", "wide"], exits.OK, "BUDGET LEFT", "", id="all of it, wide"),
    pytest.param(
        ["status", "-n", "nobody"],
        exits.OK,
        "",
        "No ModelDeployment in namespace nobody.",
        id="a namespace that does not exist is empty",
    ),
    pytest.param(
        ["status", "fruad"],
        exits.NOT_FOUND,
        "",
        f"headgate status: no ModelDeployment {NAMESPACE}/fruad; did you mean fraud?",
        id="an unknown name",
    ),
    pytest.param(
        ["status", "fraud", "-n", "nobody"],
        exits.NOT_FOUND,
        "",
        "headgate status: no ModelDeployment nobody/fraud; there is one in namespace " + NAMESPACE,
        id="the wrong namespace",
    ),
    pytest.param(["why", "fraud"], exits.OK, "Version 2 went back to version 1", "", id="why"),
    pytest.param(
        ["why", "fraud", "--rollout", "7"],
        exits.NOT_FOUND,
        "",
        f"headgate why: {NAMESPACE}/fraud: no rollout 7; there is 1, 2",
        id="an unknown rollout",
    ),
    pytest.param(
        ["why", "fruad"],
        exits.NOT_FOUND,
        "",
        f"headgate why: no ModelDeployment {NAMESPACE}/fruad; did you mean fraud?",
        id="why of an unknown name",
    ),
    pytest.param(
        ["audit", "replay", "fraud"],
        exits.OK,
        "fraud-0002: Breach ObjectiveBroken (version 2): equal",
        "",
        id="audit",
    ),
    pytest.param(
        ["audit", "replay", "fruad"],
        exits.NOT_FOUND,
        "",
        f"headgate audit: no ModelDeployment {NAMESPACE}/fruad; did you mean fraud?",
        id="audit of an unknown name",
    ),
    pytest.param(
        ["export", "--proven", "fraud"],
        exits.OK,
        "provenRevision:",
        "",
        id="export",
    ),
    pytest.param(
        ["export", "--proven", "fruad"],
        exits.NOT_FOUND,
        "",
        f"headgate export: no ModelDeployment {NAMESPACE}/fruad; did you mean fraud?",
        id="export of an unknown name",
    ),
    pytest.param(
        ["adopt", "inferenceservice/fruad"],
        exits.NOT_FOUND,
        "",
        f"headgate adopt: no InferenceService {NAMESPACE}/fruad",
        id="adopt what is not there",
    ),
    pytest.param(
        ["release", "fruad"],
        exits.NOT_FOUND,
        "",
        f"headgate release: no ModelDeployment {NAMESPACE}/fruad; did you mean fraud?",
        id="release what is not there",
    ),
    pytest.param(
        ["release", "fraud"],
        exits.FAILED,
        "",
        "headgate release: fraud has no HTTPRoute that leads to fraud-ca743f42 alone",
        id="release what has no route",
    ),
]


@pytest.mark.apiserver
@pytest.mark.parametrize(("words", "code", "out", "err"), CALLS)
def test_each_call_answers_or_says_in_one_line_why_not(
    served: dict[str, str],
    words: list[str],
    code: int,
    out: str,
    err: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is asked for on standard output, or one line on standard error; never both."""
    named = [] if "-n" in words else ["-n", NAMESPACE]

    assert main([*words, *named, "--kubeconfig", served["KUBECONFIG"]]) == code

    told = capsys.readouterr()
    assert out in told.out
    assert bool(told.out) == bool(out)
    assert told.err == (f"{err}\n" if err else "")


BROKEN_LOGINS = [
    pytest.param("{", "is not usable", id="no YAML"),
    pytest.param("[1, 2]", "is not usable", id="a list"),
    pytest.param("kind: Config", "is not usable", id="no context"),
]


@pytest.mark.parametrize("verb", [("status",), ("why", "fraud"), ("audit", "replay", "fraud")])
@pytest.mark.parametrize(("content", "wanted"), BROKEN_LOGINS)
def test_kubeconfig_that_cannot_be_used_is_exit_code_4(
    verb: tuple[str, ...],
    content: str,
    wanted: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line that names the file; what is in it is not repeated, as it may hold a token."""
    login = tmp_path / "config"
    login.write_text(f"{content}\n# token: secret\n")

    code = main([*verb, "--kubeconfig", str(login)])

    told = capsys.readouterr()
    assert (code, told.out) == (exits.UNREACHABLE, "")
    assert told.err.startswith(f"headgate {verb[0]}: kubeconfig {login} {wanted}")
    assert told.err.count("\n") == 1
    assert "secret" not in told.err


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["status", "-o", "yaml"], id="a format that there is not"),
        pytest.param(["status", "fraud", "other"], id="two names"),
        pytest.param(["why"], id="why of nothing"),
        pytest.param(["why", "fraud", "-o", "wide"], id="wide is for tables"),
        pytest.param(["why", "fraud", "--rollout", "last"], id="a rollout that is no number"),
        pytest.param(["why", "fraud", "--plot", "p.pdf"], id="a picture of another kind"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is asked of a cluster, with the usage beside it."""
    with pytest.raises(SystemExit) as ended:
        main(words)

    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (exits.USAGE, "")
    assert "usage: headgate" in told.err


@pytest.mark.apiserver
def test_login_that_is_refused_is_exit_code_4(
    served: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token that nobody issued: the server answers, and the line says that it knows nobody."""
    config = yaml.safe_load(Path(served["KUBECONFIG"]).read_text())
    for user in config["users"]:
        user["user"] = {"token": "nobody"}
    login = tmp_path / "config"
    login.write_text(yaml.safe_dump(config))

    code = main(["status", "-n", NAMESPACE, "--kubeconfig", str(login)])

    told = capsys.readouterr()
    assert (code, told.out) == (exits.UNREACHABLE, "")
    assert "401" in told.err
    assert told.err.count("\n") == 1


@pytest.mark.apiserver
def test_why_finds_records_intact_after_a_real_api_server(served: dict[str, str]) -> None:
    """What the server stores gives the digest that was computed before it was stored."""
    done = command("why", "fraud", "-n", NAMESPACE, "-o", "json", **served)

    assert done.returncode == exits.OK, done.stderr
    read = json.loads(done.stdout)
    assert read["intact"] is True
    assert read["rollout"]["integrity"] == "intact"
    assert read["rollout"]["previous"] == {"name": "fraud-0001", "link": "intact"}
    assert read["answer"].startswith("Version 2 went back to version 1 because it ")


def ended(process: subprocess.Popen[Any]) -> tuple[Any, Any]:
    """Wait for the end and return what was printed since; a process that does not end is killed."""
    try:
        return process.communicate(timeout=30)
    finally:
        process.kill()


@pytest.mark.apiserver
def test_watch_ends_cleanly_on_interrupt(served: dict[str, str]) -> None:
    """In a pipe the picture comes once while nothing changes, and Ctrl-C is exit code 0."""
    words = [sys.executable, "-m", "headgate", "status", "fraud", "-n", NAMESPACE, "-w"]
    with subprocess.Popen(
        words, env=environment(**served), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "RolledBack" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, errors = ended(process)

    assert process.returncode == exits.OK
    assert "models/fraud" not in rest
    assert errors == ""


@pytest.mark.apiserver
def test_watch_on_a_terminal_is_styled_and_ends_cleanly(served: dict[str, str]) -> None:
    """A real pseudo-terminal gets colours and one picture that is drawn anew."""
    controller, terminal = pty.openpty()
    words = [sys.executable, "-m", "headgate", "status", "fraud", "-n", NAMESPACE, "-w"]
    variables = environment(**served, TERM="xterm", COLUMNS="200")
    with subprocess.Popen(
        words, env=variables, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        seen, end = b"", time.monotonic() + 30
        while b"Stalled is True" not in seen and time.monotonic() < end:
            seen += os.read(controller, 65536)
        process.send_signal(signal.SIGINT)
        ended(process)
        code = process.returncode
    os.close(controller)

    assert "RolledBack" in seen.decode()
    assert ESCAPE in seen.decode()
    assert b"Traceback" not in seen
    assert code == exits.OK
