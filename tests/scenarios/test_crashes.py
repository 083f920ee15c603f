"""Killed at any write, before or after it: the next start ends where it would have ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from tests.scenarios.memory import Behaviour, Killed, Story

MINUTE = timedelta(minutes=1)


@contextmanager
def killed_at(story: Story, index: int, after: bool) -> Iterator[list[int]]:
    """Kill the operator once, at the write of this index: before it is made, or just after."""
    seen = [0]
    settle = story.cluster.after_write

    def before_write(verb: str, kind: str, name: str) -> None:
        seen[0] += 1
        if not after and seen[0] == index:
            raise Killed

    def after_write(verb: str, manifest: dict[str, Any]) -> None:
        settle(verb, manifest)
        if after and seen[0] == index and verb not in ("put",):
            seen[0] += 1
            raise Killed

    story.cluster.before_write, story.cluster.after_write = before_write, after_write
    yield seen
    story.cluster.before_write, story.cluster.after_write = (lambda *_: None), settle


async def live(story: Story, duration: timedelta) -> None:
    """Let time pass; a killed operator is started again at once, as a kubelet would."""
    end = story.clock.now() + duration
    while story.clock.now() < end:
        try:
            await story.run(end - story.clock.now())
        except Killed:
            story.due = story.clock.now()


def summary(story: Story) -> dict[str, Any]:
    """What must be the same at the end, whatever happened on the way."""
    running = [
        s["metadata"]["name"]
        for s in story.cluster.all("InferenceService")
        if "serving.kserve.io/stop" not in s["metadata"]["annotations"]
    ]
    return {
        "weights": story.weights,
        "phase": story.status["phase"],
        "outcomes": story.outcomes,
        "rejected": [r["version"] for r in story.status["rejected"]],
        "running": running,
        "conditions": [(c["type"], c["status"]) for c in story.status["conditions"]],
    }


async def told(failing: float, index: int, after: bool) -> tuple[dict[str, Any], int]:
    """Tell the story of a second version with one kill; return its end and its writes."""
    story = Story()
    story.commit("1")
    await story.until_phase("Stable")
    story.platform.behaviours["2"] = Behaviour(failing=failing)
    with killed_at(story, index, after) as writes:
        story.commit("2")
        await live(story, 8 * MINUTE)
    return summary(story), writes[0]


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("failing", [0.002, 0.3], ids=["promoted", "rolled back"])
async def test_kill_at_every_write_converges_to_the_same_end(failing: float, after: bool) -> None:
    """For each write of a whole rollout: killed there once, the end state is the same."""
    expected, writes = await told(failing, index=0, after=False)
    assert writes > 8

    for index in range(1, writes + 1):
        found, _ = await told(failing, index, after)

        assert found == expected, f"killed at write {index}"
