"""Whole rollouts over the world in memory."""

from __future__ import annotations

from datetime import timedelta

from tests.scenarios.memory import Behaviour, Story

MINUTE = timedelta(minutes=1)


async def served(story: Story, version: str = "1") -> None:
    """Bring the first version all the way to stable and proven."""
    story.commit(version)
    await story.until_phase("Stable")


async def test_first_revision_serves_everything_and_is_proven_by_its_bake() -> None:
    """There is nothing to compare with, so readiness and the bake decide."""
    story = Story()

    await served(story)

    assert story.weights == {"1": 100}
    assert story.status["stable"]["proven"] is True
    assert story.condition("Ready")["status"] == "True"
    assert story.condition("RolledOut")["status"] == "True"
    assert story.outcomes == {"1:1": "Promoted"}


async def test_better_version_is_promoted_step_by_step() -> None:
    """A healthy canary earns each weight, and the old revision is stopped only after the bake."""
    story = Story()
    await served(story)

    story.commit("2")
    await story.until_phase("Progressing")
    assert story.weights == {"1": 90, "2": 10}
    await story.until_phase("Baking")
    assert story.weights == {"2": 100}
    await story.until_phase("Stable")
    await story.run(MINUTE)

    assert story.outcomes == {"1:1": "Promoted", "2:2": "Promoted"}
    record = story.cluster.find("ModelRollout", "models", "fraud-0002")
    assert record is not None
    assert [s["weight"] for s in record["status"]["steps"]] == [0, 10, 50, 100, 100]
    services = {s["metadata"]["name"]: s for s in story.cluster.all("InferenceService")}
    old = services[story.cluster.all("ModelRevision")[0]["metadata"]["name"]]
    stopped = [
        s for s in services.values() if "serving.kserve.io/stop" in s["metadata"]["annotations"]
    ]
    assert len(services) == 2
    assert len(stopped) == 1
    assert old is not None


async def test_failing_version_is_rolled_back_and_not_tried_again() -> None:
    """A breach sends all requests back at once, and ten re-syncs of the commit change nothing."""
    story = Story()
    await served(story)
    story.platform.behaviours["2"] = Behaviour(failing=0.10)

    story.commit("2")
    await story.until_phase("RolledBack", 10 * MINUTE)
    rolled_back_at = story.clock.now()
    for _ in range(10):
        story.commit("2")
        await story.run(MINUTE / 4)

    assert story.weights == {"1": 100}
    assert story.outcomes == {"1:1": "Promoted", "2:2": "RolledBack"}
    assert story.status["rejected"][0]["version"] == "2"
    assert story.condition("Stalled")["reason"] == "RolledBack"
    assert "canary failed" in story.status["message"]
    assert story.condition("Ready")["status"] == "True"
    record = story.cluster.find("ModelRollout", "models", "fraud-0002")
    assert record is not None
    began = story.clock.at.fromisoformat(record["status"]["firstRequestAt"])
    assert (rolled_back_at - began).total_seconds() <= 60
