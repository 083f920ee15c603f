"""`headgate trace`, and where the other verbs name a commit: what they show, and to what end."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.cli import stories
from tests.core.commitsamples import REPOSITORY, TRACKING_ID
from tests.scenarios.committed import SHA, by_argo, synced, syncing, written
from tests.scenarios.memory import Behaviour, Story

from headgate.cli import exits, main, trace
from headgate.cli.explain import explain, page
from headgate.cli.lines import plain_text
from headgate.cli.reach import NotFound, Reach
from headgate.cli.replayed import replay_all
from headgate.cli.traced import chains_of
from headgate.cli.traced import page as traced
from headgate.cli.view import Objects
from headgate.core.commits.claims import AUTHOR
from headgate.core.commits.claims import TRACKING_ID as TRACKING


def called(**arguments: Any) -> Namespace:
    """The arguments of a call."""
    return Namespace(**{"name": "fraud", "revision": None, "output": "text", **arguments})


def picture(story: Story, found: Objects | None = None, wanted: str | None = None) -> str:
    """Draw what `trace fraud` shows at the story's time."""
    now = story.clock.now()
    chains = chains_of(found or stories.objects(story), wanted, now)
    return plain_text(traced("models/fraud", chains, now))


async def trying() -> Story:
    """Version 1 came by Argo CD and is stable; version 2 came the same way and is tried."""
    story = await by_argo()
    syncing(story, SHA["2"])
    stamped = {TRACKING: TRACKING_ID, AUTHOR: "Ada Lovelace"}
    written(story, "2", "argocd-controller", annotations=stamped)
    await story.until_phase("Progressing")
    return story


async def test_every_revision_leads_to_its_commit() -> None:
    """Claim: object, revision, rollout, tool, repository, commit, path and author are one tree."""
    story = await trying()
    shown = picture(story).splitlines()

    assert shown[0] == "ModelDeployment models/fraud"
    stable = next(n for n, line in enumerate(shown) if "revision fraud-ca743f42" in line)
    canary = next(n for n, line in enumerate(shown) if "revision fraud-0b322b52" in line)
    assert shown[stable].endswith("version 1  stable")
    assert shown[canary].endswith("version 2  canary")
    assert [line[6:] for line in shown[canary + 1 : canary + 8]] == [
        "rollout     fraud-0002  Progressing, began 0s ago",
        "told by     Application argocd/fraud",
        f"repository  {REPOSITORY}",
        f"revision    {SHA['2']} (main)",
        "path        models",
        "author      Ada Lovelace, as the object claims",
        "synced by   automated sync policy",
    ]
    assert "known       Synced: Application argocd/fraud synced it from " in shown[canary + 8]
    assert f"revision    {SHA['1']} (main)" in "\n".join(shown[stable:canary])


async def test_an_unknown_commit_is_told_with_its_reason() -> None:
    """Claim: without a tool the chain ends where it ends, and says why."""
    shown = picture(await stories.first("Stable"))

    assert "rollout  fraud-0001  Promoted" in shown
    assert "known    Unknown: no annotation or label of Argo CD or Flux names" in shown
    assert "told by" not in shown
    assert "repository" not in shown


async def test_sources_of_which_one_has_it_are_listed() -> None:
    """Claim: where a tool does not tell which source, all are shown and none is chosen."""
    story = await trying()
    found = stories.objects(story)
    found.rollouts[-1]["spec"]["commit"] = {
        "certainty": "Unknown",
        "message": "it does not tell which",
        "toldBy": "Application argocd/fraud",
        "candidates": [
            {"repository": REPOSITORY, "revision": SHA["1"], "path": "a"},
            {"repository": REPOSITORY, "revision": SHA["2"], "path": "b"},
        ],
    }

    shown = picture(story, found)
    assert f"one of   111111111111 of {REPOSITORY}, a" in shown
    assert f"one of   222222222222 of {REPOSITORY}, b" in shown


async def test_records_of_another_time_are_shown_as_far_as_they_go() -> None:
    """Claim: a record of an older operator, one that is gone, and a deployment that is gone."""
    story = await trying()
    old = stories.objects(story)
    del old.rollouts[0]["spec"]["commit"]
    gone = replace(stories.objects(story), rollouts=())
    deleted = stories.without_deployment(stories.objects(story))

    assert "commit   not told: no record, or one of an older operator" in picture(story, old)
    assert "rollout     fraud-0001, which is gone" in picture(story, gone)
    assert f"revision    {SHA['1']} (main)" in picture(story, gone)
    assert picture(story, deleted).count("rollout     fraud-000") == 2
    assert "stable" not in picture(story, deleted)


async def test_one_revision_can_be_chosen_by_hash_or_name() -> None:
    """Claim: also one that neither serves nor was rejected, which is left out otherwise."""
    story = await trying()
    await story.until_phase("Stable")

    assert "fraud-ca743f42" not in picture(story)
    assert "fraud-ca743f42  version 1  old" in picture(story, wanted="ca743f42")
    assert picture(story, wanted="fraud-ca743f42") == picture(story, wanted="ca743f42")


async def test_hostile_text_is_plain() -> None:
    """Claim: what a record holds reaches the terminal without control characters, whatever its
    shape."""
    story = await trying()
    found = stories.objects(story)
    commit = found.rollouts[-1]["spec"]["commit"]
    commit |= {"author": "\x1b[2Jx", "path": ["no", "text"], "candidates": "none", "pending": 7}

    shown = picture(story, found)
    assert "\x1b" not in shown
    assert "author      [2Jx, as the object claims" in shown


async def test_the_answer_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: one entry for each revision, with all that is known of its commit."""
    story = await trying()
    code = await trace._trace(Reach(story.cluster, "models"), called(output="json"))
    told = json.loads(capsys.readouterr().out)

    assert code == exits.OK
    assert {k: told[k] for k in ("schema", "namespace", "name")} == {
        "schema": "headgate.dev/trace/v1",
        "namespace": "models",
        "name": "fraud",
    }
    stable, canary = told["revisions"]
    assert (stable["role"], canary["role"]) == ("stable", "canary")
    assert canary["rollout"] == "fraud-0002"
    assert canary["commit"]["certainty"] == "Synced"
    assert canary["commit"]["place"] == {
        "repository": REPOSITORY,
        "revision": SHA["2"],
        "ref": "main",
        "path": "models",
        "chart": "",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "fruad"}, "no ModelDeployment models/fruad; did you mean fraud?"),
        ({"revision": "00000000"}, "models/fraud: wanted revision 00000000, found none"),
    ],
)
async def test_what_does_not_exist_is_not_found(arguments: dict[str, Any], says: str) -> None:
    """Claim: a wrong name or hash is told as such."""
    story = await trying()
    with pytest.raises(NotFound, match=says):
        await trace._trace(Reach(story.cluster, "models"), called(**arguments))


def test_no_kubeconfig_is_unreachable(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: the verb is reached by its name and ends as the others do."""
    code = main(["trace", "fraud", "--kubeconfig", "/does/not/exist"])

    assert code == exits.UNREACHABLE
    assert capsys.readouterr().err.startswith("headgate trace: no kubeconfig: ")


# --- the other verbs -----------------------------------------------------------------------------

LINE = (
    f"commit {SHA['2'][:12]} of {REPOSITORY}, models by Ada Lovelace "
    "(Synced, Application argocd/fraud)"
)


async def test_status_names_the_commit_of_the_rollout() -> None:
    """Claim: one line under the rollout, and in JSON whole; nothing where no tool is at work."""
    story = await trying()

    assert f"├─ {LINE}\n" in stories.picture(story)
    assert "commit" not in stories.picture(await stories.first("Stable"))


async def test_status_says_that_a_tool_could_not_tell() -> None:
    """Claim: where a tool owns the object, an unknown commit is shown with its reason."""
    story = await by_argo(argocd_namespaces=())
    assert "the commit is unknown: Application fraud may not be asked: not configured" in (
        stories.picture(story)
    )


async def test_why_names_the_commit_and_who_tells_it() -> None:
    """Claim: also of a version that went back."""
    story = await by_argo()
    story.platform.behaviours["2"] = Behaviour(failing=0.3)
    synced(story, "2")
    await story.until_phase("RolledBack")
    told = explain(stories.objects(story), "models", "fraud", None, story.clock.now())
    shown = plain_text(page(told))

    assert f"├─ commit {SHA['2'][:12]} of {REPOSITORY}, models (Synced, Application" in shown
    assert "└─ Application argocd/fraud synced it from 20" in shown


async def test_audit_names_the_commit_as_told_and_not_as_proven() -> None:
    """Claim: the note says what it is; an unknown commit has none, and the record is equal; a
    changed commit changes the digest."""
    story = await trying()
    await story.run(timedelta(minutes=10), lambda: story.status["phase"] == "Stable")
    found = stories.objects(story).rollouts

    assert [one.is_equal for one in replay_all(found)] == [True, True]
    assert replay_all(found)[1].notes == (f"Started by {LINE}: told, not recomputed.",)
    found[1]["spec"]["commit"]["revision"] = SHA["3"]
    assert [one.field for one in replay_all(found)[1].differences] == ["status.digest"]
    without = stories.objects(await stories.first("Stable")).rollouts
    assert replay_all(without)[0].notes == ()
