"""
How a release can stand: real objects, as whole passes of the operator leave them.

Each story runs the operator over the world in memory until something is so; nothing here writes a
status by hand. Knows no GitOps tool.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from tests.scenarios.memory import Behaviour, Story, deployment
from tests.scenarios.test_guards import counts

MINUTE = timedelta(minutes=1)

Json = dict[str, Any]
Tell = Callable[[], Awaitable[Story]]


_SEEN: dict[Tell, Story] = {}


async def seen(tell: Tell) -> Story:
    """Return how a story stands at its end; it is told once, so it must be looked at only."""
    if tell not in _SEEN:
        _SEEN[tell] = await tell()
    return _SEEN[tell]


async def committed() -> Story:
    """The first commit has just been applied; the operator has not looked."""
    story = Story()
    story.commit("1")
    return story


async def first_starting() -> Story:
    """The pods of the first version start."""
    story = Story()
    story.platform.behaviours["1"] = Behaviour(starts=False)
    story.commit("1")
    await story.until_phase("Preparing")
    return story


async def first_baking() -> Story:
    """The first version has everything and is watched."""
    story = await committed()
    await story.until_phase("Baking")
    return story


async def first_overdue() -> Story:
    """The first version did not become ready by its deadline."""
    story = Story()
    story.platform.behaviours["1"] = Behaviour(starts=False, problem="no such bucket")
    story.commit("1")
    await story.until_phase("Degraded")
    return story


async def first_failing() -> Story:
    """The first version breaks its objective, and there is nothing to go back to."""
    story = Story()
    story.platform.behaviours["1"] = Behaviour(failing=0.3)
    story.commit("1")
    await story.until_phase("Degraded")
    return story


async def first_held() -> Story:
    """The first version was committed with `paused: true`."""
    story = Story()
    story.commit("1", rollout={"paused": True})
    await story.run(MINUTE / 2)
    return story


async def stable() -> Story:
    """Version 1 serves and is proven."""
    story = await committed()
    await story.until_phase("Stable")
    return story


async def short_of_budget() -> Story:
    """Version 1 serves, and its error budget is gone."""
    story = await stable()
    story.budgets.counts["availability"] = counts(whole=0.02)
    story.due = story.clock.now()
    await story.run(MINUTE)
    return story


async def down() -> Story:
    """Version 1 is stable, and its last pod is gone."""
    story = await stable()
    story.platform.behaviours["1"] = Behaviour(starts=False, problem="out of memory")
    story.platform.settle()
    await story.once()
    return story


async def unseen() -> Story:
    """Version 2 has just been committed; the status is still of version 1."""
    story = await stable()
    story.commit("2")
    return story


async def refused() -> Story:
    """Version 2 has a template that is no InferenceService."""
    story = await stable()
    story.commit("2", template={"metadata": {}, "spec": {}})
    await story.run(MINUTE / 2)
    return story


async def without_runtime() -> Story:
    """Version 2 names a runtime that is not there."""
    story = await stable()
    template = deployment("2")["spec"]["template"]
    template["spec"]["predictor"]["model"]["runtime"] = "nope"
    story.commit("2", template=template)
    await story.run(MINUTE / 2)
    return story


async def held() -> Story:
    """Version 2 was committed with `paused: true`, so it does not begin."""
    story = await stable()
    story.commit("2", rollout={"paused": True})
    await story.run(MINUTE / 2)
    return story


async def held_by_budget() -> Story:
    """Version 2 was committed, and nothing is left of the error budget."""
    story = await stable()
    story.budgets.counts["availability"] = counts(whole=0.02)
    story.commit("2")
    await story.run(MINUTE / 2)
    return story


async def preparing() -> Story:
    """The pods of version 2 start beside version 1."""
    story = await stable()
    story.platform.behaviours["2"] = Behaviour(starts=False)
    story.commit("2")
    await story.until_phase("Preparing")
    return story


async def progressing() -> Story:
    """Version 2 has its first weight."""
    story = await stable()
    story.commit("2")
    await story.until_phase("Progressing")
    return story


async def held_when_ready() -> Story:
    """Git pauses version 2 while its pods start, and then they are ready."""
    story = await preparing()
    story.commit("2", rollout={"paused": True})
    story.platform.behaviours["2"] = Behaviour()
    await story.run(MINUTE / 2)
    return story


async def paused() -> Story:
    """Git pauses version 2 in the middle."""
    story = await progressing()
    story.commit("2", rollout={"paused": True})
    await story.until_phase("Paused")
    return story


async def superseded() -> Story:
    """Version 3 is committed while version 2 is tried."""
    story = await progressing()
    story.commit("3")
    await story.until_phase("Progressing")
    return story


async def baking() -> Story:
    """Version 2 has everything, and version 1 stays warm."""
    story = await progressing()
    await story.until_phase("Baking")
    return story


async def promoted() -> Story:
    """Version 2 is the stable one, and version 1 is stopped."""
    story = await progressing()
    await story.until_phase("Stable")
    await story.run(MINUTE)
    return story


async def rolled_back() -> Story:
    """Version 2 failed requests and was taken back."""
    story = await stable()
    story.platform.behaviours["2"] = Behaviour(failing=0.3)
    story.commit("2")
    await story.until_phase("RolledBack")
    return story


async def rejected_twice() -> Story:
    """Two configurations of version 2 failed, one after the other."""
    story = await rolled_back()
    template = deployment("2")["spec"]["template"]
    template["spec"]["predictor"]["model"]["env"] = [{"name": "THREADS", "value": "2"}]
    story.commit("2", template=template)
    await story.run(20 * MINUTE, lambda: len(story.status.get("rejected", ())) == 2)
    await story.until_phase("RolledBack")
    return story


async def committed_again() -> Story:
    """Version 2 was rejected, version 3 too, and Git goes back to version 2."""
    story = await rolled_back()
    story.platform.behaviours["3"] = Behaviour(failing=0.3)
    story.commit("3")
    await story.run(20 * MINUTE, lambda: len(story.status.get("rejected", ())) == 2)
    story.commit("2")
    await story.until_phase("RolledBack")
    return story


async def reverted() -> Story:
    """Version 2 was taken back, and Git says version 1 again."""
    story = await rolled_back()
    story.commit("1")
    await story.until_phase("Stable")
    return story


def model_deployment(story: Story) -> Json:
    """Return the ModelDeployment as it stands."""
    found = story.cluster.find("ModelDeployment", "models", "fraud")
    assert found is not None
    return copy.deepcopy(found)


def revision(story: Story, version: str) -> Json:
    """Return the newest ModelRevision of a version."""
    found = [
        one
        for one in story.cluster.all("ModelRevision")
        if one["spec"]["model"]["version"] == version
    ]
    return copy.deepcopy(max(found, key=lambda one: int(one["metadata"]["resourceVersion"])))


def record(story: Story, number: int) -> Json:
    """Return the ModelRollout of this number."""
    found = story.cluster.find("ModelRollout", "models", f"fraud-{number:04d}")
    assert found is not None
    return copy.deepcopy(found)


def annotated(obj: Json, **annotations: str) -> Json:
    """Return the object with annotations of ours, as an action or a hand left them."""
    mine = {f"headgate.dev/{name}": value for name, value in annotations.items()}
    found = obj["metadata"].get("annotations") or {}
    return {**obj, "metadata": {**obj["metadata"], "annotations": {**found, **mine}}}
