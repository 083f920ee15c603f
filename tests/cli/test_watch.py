"""`headgate status --watch`, and what it and `why` say of records that hold other things."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from argparse import Namespace
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any

import pytest
from tests.cli import stories
from tests.scenarios.memory import Story

from headgate.cli import exits, status
from headgate.cli.explain import explain, page
from headgate.cli.lines import plain_text
from headgate.cli.reach import Reach
from headgate.cli.tree import tree
from headgate.cli.view import view_deployments
from headgate.ports import ClusterUnavailable, Refused

pytestmark = pytest.mark.looptime

ESCAPE = "\x1b"


def called(**changes: Any) -> Namespace:
    """Return the arguments of `headgate status fraud --watch`, changed."""
    usual = {"name": "fraud", "output": "text", "watch": True, "all_namespaces": False}
    return Namespace(**{**usual, **changes})


@asynccontextmanager
async def watching(story: Story, **changes: Any) -> AsyncIterator[None]:
    """Watch for as long as the block lasts."""
    reach = Reach(story.cluster, changes.pop("namespace", "models"))
    task = asyncio.create_task(status._watch(reach, called(**changes)))
    await asyncio.sleep(3 * status.REFRESH_SECONDS)
    yield
    await asyncio.sleep(3 * status.REFRESH_SECONDS)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def change(story: Story, **fields: Any) -> None:
    """Let the operator write something else."""
    found = story.cluster.find("ModelDeployment", "models", "fraud")
    assert found is not None
    found["status"].update(fields)


async def test_pipe_gets_each_new_picture_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Six looks, two pictures: nothing is repeated while nothing changes."""
    story = await stories.first("Stable")
    async with watching(story):
        change(story, message="something else")
    told = capsys.readouterr().out

    assert told.count("models/fraud  Stable") == 2
    assert told.count("something else") == 1


async def test_json_of_a_watch_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is read by itself."""
    story = await stories.first("Stable")
    async with watching(story, output="json"):
        change(story, message="something else")
    read = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert [one["schema"] for one in read] == [status.SCHEMA] * 2
    assert read[1]["deployments"][0]["message"] == "something else"


@pytest.mark.parametrize(
    ("namespace", "wanted"),
    [
        pytest.param("empty", "No ModelDeployment in namespace empty.\n", id="one namespace"),
        pytest.param(None, "No ModelDeployment in any.\n", id="all namespaces"),
    ],
)
async def test_nothing_to_show_is_said_and_no_failure(
    namespace: str | None, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Standard output stays empty, so that a pipe gets no sentence for a row."""
    there = Reach(Story().cluster, namespace)
    args = called(name=None, watch=False)

    code = status._show(await status._read(there, args), args, there)

    assert (code, capsys.readouterr()) == (exits.OK, ("", wanted))


async def test_workloads_that_may_not_be_seen_leave_pods_unknown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who may read releases need not be allowed to read Deployments."""
    story = await stories.first("Stable")

    def refuse(verb: str, kind: str) -> None:
        if kind == "Deployment":
            raise Refused("list Deployment: HTTP 403 Forbidden")

    story.cluster.before_read = refuse
    there, args = Reach(story.cluster, "models"), called(watch=False)
    status._show(await status._read(there, args), args, there)

    assert "100 %  pods -  proven" in capsys.readouterr().out


# --- a terminal ----------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """What a terminal is to the command: a text stream that says so."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        """It is one."""
        return True


Opened = Callable[[], AbstractContextManager[Terminal]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Let standard output be a terminal of 200 columns within a block."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return lambda: contextlib.redirect_stdout(Terminal())


async def test_terminal_gets_one_picture_that_is_drawn_anew(terminal: Opened) -> None:
    """Styled, and the new message takes the place of the old one."""
    story = await stories.first("Stable")
    with terminal() as shown:
        async with watching(story):
            before = shown.getvalue()
            change(story, message="something else")
    after = shown.getvalue()[len(before) :]

    assert ESCAPE in before
    assert "No harm seen" in before
    assert "something else" in after
    assert "No harm seen" not in after


async def test_terminal_says_that_the_cluster_is_away_and_when_it_is_back(
    terminal: Opened,
) -> None:
    """The last picture stays, with a line beneath it until the cluster answers again."""
    story = await stories.first("Stable")

    def away(verb: str, kind: str) -> None:
        raise ClusterUnavailable("get ModelDeployment models/fraud: no answer in 10 s")

    with terminal() as shown:
        async with watching(story, output="wide"):
            story.cluster.before_read = away
            await asyncio.sleep(3 * status.REFRESH_SECONDS)
            lost = shown.getvalue()
            story.cluster.before_read = lambda verb, kind: None
            await asyncio.sleep(3 * status.REFRESH_SECONDS)
            back = shown.getvalue()[len(lost) :]

    gone = "the cluster does not answer, trying again: get ModelDeployment models/fraud: no answer"
    assert gone in lost
    assert "models/fraud" in back
    assert "trying again" not in back


async def test_terminal_of_an_empty_namespace_shows_what_comes(terminal: Opened) -> None:
    """A watch may begin before there is anything to watch."""
    story = Story()
    with terminal() as shown:
        async with watching(story, name=None):
            before = shown.getvalue()
            story.commit("1")
    after = shown.getvalue()[len(before) :]

    assert "No ModelDeployment in namespace models." in before
    assert "Unseen" in after


# --- records that hold other things --------------------------------------------------------------

ODD: list[Any] = [
    pytest.param(lambda record: record.pop("status"), id="no status yet"),
    pytest.param(lambda record: record["status"].pop("evidence"), id="no evidence"),
    pytest.param(
        lambda record: record["status"]["evidence"].update(state="[" * 100_000),
        id="evidence that nobody can read",
    ),
    pytest.param(
        lambda record: record["status"].update(signals=[{"name": "new"}]),
        id="a signal without numbers",
    ),
    pytest.param(
        lambda record: record["status"]["signals"][0].update(evidence="much", threshold="?"),
        id="numbers that are none",
    ),
    pytest.param(
        lambda record: record["status"].update(finishedAt="yesterday", steps=[{}]),
        id="moments that are none",
    ),
    pytest.param(
        lambda record: record["spec"]["policy"]["rollout"].update(bake="soon", steps=None),
        id="durations that are none",
    ),
    pytest.param(lambda record: record["status"].pop("decision"), id="no decision"),
    pytest.param(
        lambda record: record["status"].update(message="\ud800"), id="text without a canonical form"
    ),
]


@pytest.mark.parametrize("spoil", ODD)
async def test_record_that_holds_other_things_is_shown_as_far_as_it_can_be_read(
    spoil: Callable[[dict[str, Any]], object],
) -> None:
    """Another operator wrote it, or a hand: a person still gets the page, and no traceback."""
    story = await stories.rolled_back()
    found = stories.objects(story)
    record: Any = found.rollouts[1]
    spoil(record)
    now = story.clock.now()

    shown = plain_text(tree(view_deployments(found, now)[0], now))
    told = plain_text(page(explain(found, "models", "fraud", 2, now)))

    assert "rollout fraud-0002" in shown
    assert "rollout fraud-0002 of models/fraud" in told
    assert "\ud800" not in told
