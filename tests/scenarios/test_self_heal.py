"""GitOps tools that never rest: a storm of applied commits ends as one applied once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.scenarios.memory import SCRAPE, Behaviour, Story, deployment

MINUTE = timedelta(minutes=1)


class Storm:
    """Two field managers that apply the same commit in turns, each with its own annotation."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.applied = 0

    def apply(self, version: str) -> None:
        """Apply once more; the other manager's annotation takes the place of the last one's."""
        manager = ("argocd-controller", "kustomize-controller")[self.applied % 2]
        manifest = deployment(version)
        manifest["metadata"]["annotations"] = {"example.com/applied-by": manager}
        self.story.cluster.put(manifest)
        self.story.due = self.story.clock.now()
        self.applied += 1

    async def until(self, version: str, phase: str) -> None:
        """Apply at every scrape until it is in this phase."""
        for _ in range(600):
            self.apply(version)
            await self.story.run(SCRAPE)
            if self.story.status.get("phase") == phase:
                return
        raise AssertionError(f"never {phase}: {self.story.status}")


def told(story: Story) -> dict[str, object]:
    """How it ended, without times and numbers."""
    records = story.cluster.all("ModelRollout")
    return {
        "weights": story.weights,
        "outcomes": story.outcomes,
        "steps": [[(s["weight"], s["reason"]) for s in r["status"]["steps"]] for r in records],
        "rejected": [(r["hash"], r["reason"]) for r in story.status.get("rejected", ())],
        "phase": story.status["phase"],
        "generation": story.status["observedGeneration"],
        "conditions": [(c["type"], c["status"], c["reason"]) for c in story.status["conditions"]],
    }


async def serving() -> Story:
    """Version 1 is stable; version 2 is good, version 3 fails one request in twenty."""
    story = Story()
    story.platform.behaviours["3"] = Behaviour(failing=0.05)
    story.commit("1")
    await story.until_phase("Stable")
    return story


@pytest.mark.parametrize(
    ("version", "last"),
    [
        pytest.param("2", "Stable", id="a canary that is promoted, bake included"),
        pytest.param("3", "RolledBack", id="a canary that is taken back"),
    ],
)
async def test_a_storm_ends_as_a_quiet_release(version: str, last: str) -> None:
    """Applied at every scrape by two managers: the same steps, outcome and conditions."""
    quiet, stormy = await serving(), await serving()
    quiet.commit(version)
    await quiet.until_phase(last)
    storm = Storm(stormy)
    await storm.until(version, "Progressing")
    await storm.until(version, last)

    assert storm.applied > 5
    assert told(stormy) == told(quiet)


async def test_a_thousand_applies_of_a_rejected_version_write_nothing() -> None:
    """Not one more try, not one write: not to a child, not to a status."""
    story = await serving()
    storm = Storm(story)
    await storm.until("3", "RolledBack")
    await story.run(MINUTE)
    before, writes = told(story), len(story.cluster.writes)

    for _ in range(1000):
        storm.apply("3")
        await story.once()

    assert told(story) == before
    assert story.cluster.writes[writes:] == []
