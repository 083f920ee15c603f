"""Real objects for the commands to show: stories of the world in memory, stopped where wanted."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.scenarios.memory import Behaviour, Story

from headgate.cli.kept import proven_revision
from headgate.cli.lines import plain_text
from headgate.cli.tree import tree
from headgate.cli.view import Objects, view_deployments


async def first(phase: str, seconds: int = 0) -> Story:
    """Commit version 1 and stop `seconds` into this phase."""
    story = Story()
    story.commit("1")
    await story.until_phase(phase)
    await story.run(timedelta(seconds=seconds))
    return story


async def second(phase: str, seconds: int = 0, **behaviour: Any) -> Story:
    """Let version 1 be proven, commit version 2, and stop `seconds` into this phase of it."""
    story = await first("Stable")
    story.platform.behaviours["2"] = Behaviour(**behaviour)
    story.commit("2")
    await story.until_phase(phase)
    await story.run(timedelta(seconds=seconds))
    return story


async def rolled_back() -> Story:
    """Let version 2 fail every fifth request, so that it goes back."""
    return await second("RolledBack", failing=0.2)


async def paused() -> Story:
    """Pause version 2 in its first step."""
    story = await second("Progressing", 4)
    story.commit("2", rollout={"paused": True})
    await story.until_phase("Paused")
    return story


async def refused() -> Story:
    """Let the next spec name a gateway that does not exist, while version 1 serves."""
    story = await first("Stable")
    story.commit("2", traffic={"gateway": {"name": "gone"}, "hostnames": ["fraud.example.com"]})
    await story.run(timedelta(seconds=10))
    return story


async def restored() -> Story:
    """Let a cluster that lost everything begin with version 1, which Git keeps as proven."""
    before = objects(await first("Stable"))
    kept = proven_revision(before.deployments[0], before.revisions, before.rollouts)
    assert kept is not None
    story = Story()
    story.commit("1", rollout={"provenRevision": kept.manifest()})
    await story.until_phase("Stable")
    return story


def objects(story: Story) -> Objects:
    """Read what the commands read, as copies that a test may change."""
    kinds = ("ModelDeployment", "ModelRevision", "ModelRollout", "Deployment")
    deployments, revisions, rollouts, workloads = (
        copy.deepcopy(story.cluster.all(kind)) for kind in kinds
    )
    return Objects(deployments, revisions, rollouts, workloads)


def without_deployment(found: Objects) -> Objects:
    """Let the ModelDeployment be deleted; its records stay."""
    return replace(found, deployments=(), revisions=(), workloads=())


def picture(story: Story) -> str:
    """Draw what `status fraud` shows at the story's time, as plain text."""
    now = story.clock.now()
    return plain_text(tree(view_deployments(objects(story), now)[0], now))
