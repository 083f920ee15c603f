"""What the operator itself leaves after a rollback is what the write-back reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import yaml
from tests.cli import stories
from tests.scenarios.memory import Story
from tests.scenarios.test_guards import counts, serving

from headgate.core.writeback.edit import Target, plan_edit
from headgate.core.writeback.wanted import Rollback, read_rollback, stands


def found(story: Story) -> tuple[dict[str, Any], list[Rollback]]:
    """The deployment, and the rollbacks that are to be written."""
    [deployment] = story.cluster.all("ModelDeployment")
    records = [read_rollback(each) for each in story.cluster.all("ModelRollout")]
    return deployment, [each for each in records if each and stands(each, deployment)]


def restored(story: Story, rollback: Rollback) -> dict[str, Any]:
    """The deployment's file, edited from the revisions that the operator keeps."""
    [deployment] = story.cluster.all("ModelDeployment")
    specs = {m["metadata"]["name"]: m["spec"] for m in story.cluster.all("ModelRevision")}
    content = yaml.safe_dump({k: deployment[k] for k in ("apiVersion", "kind", "metadata", "spec")})
    edit = plan_edit(
        content.encode(),
        Target(rollback.namespace, rollback.deployment),
        specs[rollback.rejected.revision],
        specs[rollback.stable.revision],
    )
    spec: dict[str, Any] = yaml.safe_load(edit.content)["spec"]
    return spec


async def test_a_canary_that_went_back_is_to_be_written() -> None:
    """Version 2 in Git, version 1 serves: the edit asks for version 1 and changes nothing else."""
    story = await stories.rolled_back()

    deployment, [rollback] = found(story)

    assert (rollback.rejected.version, rollback.stable.version) == ("2", "1")
    spec = restored(story, rollback)
    assert spec["model"]["version"] == "1"
    assert {k: v for k, v in spec.items() if k not in ("model", "template")} == {
        k: v for k, v in deployment["spec"].items() if k not in ("model", "template")
    }


async def test_what_the_edit_asks_for_is_in_sync_at_once() -> None:
    """The operator takes the restored spec for the stable version: nothing is rolled out by it."""
    story = await stories.rolled_back()
    deployment, [rollback] = found(story)
    records = len(story.cluster.all("ModelRollout"))

    story.cluster.put({**deployment, "spec": restored(story, rollback)})
    story.due = story.clock.now()
    await story.run(timedelta(minutes=10))

    assert story.status["phase"] == "Stable"
    assert len(story.cluster.all("ModelRollout")) == records
    assert found(story)[1] == []


async def test_a_proven_version_that_came_back_after_the_bake_is_to_be_written() -> None:
    """Its record ended well; what Git still wants is what it took the place of."""
    asked = [{"name": "availability", "target": "99", "onBreach": "RollBack", "errors": {}}]
    story = await serving(objectives=asked)
    story.commit("2", objectives=asked)
    await story.until_phase("Stable")
    story.budgets.counts["availability"] = counts(whole=0.001, short=0.3)
    await story.run(timedelta(minutes=3), lambda: story.status["phase"] == "Baking")
    assert found(story)[1] == []
    story.budgets.counts["availability"] = counts(whole=0.001)
    await story.run(timedelta(minutes=10), lambda: story.status["phase"] == "RolledBack")

    _, [rollback] = found(story)

    assert (rollback.rejected.version, rollback.stable.version) == ("2", "1")
    assert (rollback.reason, rollback.returned) == ("ObjectiveBrokenAfterBake", True)
    assert "version 1 was proven before and comes back" in rollback.message
    assert restored(story, rollback)["model"]["version"] == "1"


async def test_while_all_is_well_nothing_is_to_be_written() -> None:
    """A promotion, and a rollout on its way, want nothing of Git."""
    for story in (await stories.second("Stable"), await stories.second("Progressing", 4)):
        assert found(story)[1] == []
