"""What who waits by kstatus (Flux's `wait: true`) is told in every phase of a deployment's life."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.scenarios.kstatus import Computed, Verdict, compute
from tests.scenarios.memory import Behaviour, Story

from headgate.core.lifecycle import Phase

IN_PROGRESS, FAILED, CURRENT = Verdict.IN_PROGRESS, Verdict.FAILED, Verdict.CURRENT
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)

Seen = list[tuple[str, Verdict]]


def _manifest(generation: int, observed: int | None, **conditions: str) -> dict[str, Any]:
    status: dict[str, Any] = {} if observed is None else {"observedGeneration": observed}
    status["conditions"] = [
        {"type": type, "status": value, "message": f"{type} is {value}"}
        for type, value in conditions.items()
    ]
    return {
        "kind": "ModelDeployment",
        "metadata": {"name": "fraud", "generation": generation},
        "status": status,
    }


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        pytest.param(
            {"kind": "ModelDeployment", "metadata": {"generation": 1}},
            Computed(CURRENT, "Resource is current"),
            id="no status at all is healthy at once",
        ),
        pytest.param(
            _manifest(1, -1),
            Computed(
                IN_PROGRESS,
                "ModelDeployment generation is 1, but latest observed generation is -1",
            ),
            id="our CRD's default status is in progress",
        ),
        pytest.param(
            _manifest(2, 1, Ready="True"),
            Computed(
                IN_PROGRESS, "ModelDeployment generation is 2, but latest observed generation is 1"
            ),
            id="a spec that was not seen yet is in progress",
        ),
        pytest.param(
            _manifest(1, 1, Ready="True"), Computed(CURRENT, "Resource is Ready"), id="ready"
        ),
        pytest.param(
            _manifest(1, 1, Ready="Unknown"),
            Computed(IN_PROGRESS, "Ready is Unknown"),
            id="unknown is in progress",
        ),
        pytest.param(
            _manifest(1, 1, Reconciling="True", Ready="True"),
            Computed(IN_PROGRESS, "Reconciling is True"),
            id="reconciling wins over ready",
        ),
        pytest.param(
            _manifest(1, 1, Stalled="True", Reconciling="True"),
            Computed(FAILED, "Stalled is True"),
            id="stalled first: failed at once",
        ),
        pytest.param(
            _manifest(1, 1, Reconciling="True", Stalled="True"),
            Computed(IN_PROGRESS, "Reconciling is True"),
            id="reconciling first: a failure that nobody sees before the timeout",
        ),
        pytest.param(
            _manifest(1, 1, Available="False", Failed="True"),
            Computed(CURRENT, "Resource is current"),
            id="types that kstatus does not know say nothing",
        ),
    ],
)
def test_the_rules_are_those_that_were_measured(
    manifest: dict[str, Any], expected: Computed
) -> None:
    """As the real kustomize-controller waited for each of these."""
    assert compute(manifest) == expected


class Watched(Story):
    """A story that notes what kstatus makes of every status that was ever to be seen.

    `snapshots` holds the first object of each phase, verdict and message, as it was then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, Computed]] = []
        self.snapshots: dict[tuple[str, Verdict, str], dict[str, Any]] = {}
        settle = self.cluster.after_write

        def note(verb: str, manifest: dict[str, Any]) -> None:
            if manifest["kind"] == "ModelDeployment":
                phase, computed = manifest["status"].get("phase", ""), compute(manifest)
                now = (phase, computed)
                self.seen += [now] if self.seen[-1:] != [now] else []
                key = (phase, computed.verdict, computed.message)
                self.snapshots.setdefault(key, copy.deepcopy(manifest))
            settle(verb, manifest)

        self.cluster.after_write = note

    @property
    def told(self) -> Seen:
        """Phase and verdict at each change, since the last look at this."""
        told: Seen = []
        for phase, (verdict, _) in self.seen:
            told += [(phase, verdict)] if told[-1:] != [(phase, verdict)] else []
        self.seen.clear()
        return told

    @property
    def message(self) -> str:
        """What is said with the verdict now."""
        found = self.cluster.find("ModelDeployment", "models", "fraud")
        assert found is not None
        return compute(found).message

    async def serve(self) -> None:
        """Let version 1 be stable, and forget what was told of it."""
        self.commit("1")
        await self.until_phase("Stable")
        self.seen.clear()


async def _first(story: Watched) -> Seen:
    story.commit("1")
    await story.until_phase("Stable")
    return story.told


async def _first_that_waits_for_a_node(story: Watched) -> Seen:
    story.platform.behaviours["1"] = Behaviour(schedulable=False)
    story.commit("1")
    await story.run(MINUTE)
    return story.told


async def _first_that_never_starts(story: Watched) -> Seen:
    story.platform.behaviours["1"] = Behaviour(starts=False, problem="no such file")
    story.commit("1")
    await story.run(15 * MINUTE)
    return story.told


async def _first_that_fails(story: Watched) -> Seen:
    story.platform.behaviours["1"] = Behaviour(failing=0.5)
    story.commit("1")
    await story.until_phase("Degraded")
    return story.told


async def _promoted(story: Watched) -> Seen:
    await story.serve()
    story.commit("2")
    await story.until_phase("Stable")
    return story.told


async def _rolled_back(story: Watched) -> Seen:
    await story.serve()
    story.platform.behaviours["2"] = Behaviour(failing=0.5)
    story.commit("2")
    await story.until_phase("RolledBack")
    return story.told


async def _applied_again_after_a_rollback(story: Watched) -> Seen:
    await _rolled_back(story)
    for _ in range(10):
        story.commit("2")
        await story.run(MINUTE)
    return story.told


async def _reverted_after_a_rollback(story: Watched) -> Seen:
    await _rolled_back(story)
    story.commit("1")
    await story.until_phase("Stable")
    return story.told


async def _fixed_after_a_rollback(story: Watched) -> Seen:
    await _rolled_back(story)
    story.commit("3")
    await story.until_phase("Stable")
    return story.told


async def _superseded(story: Watched) -> Seen:
    await story.serve()
    story.commit("2")
    await story.until_phase("Progressing")
    story.commit("3")
    await story.until_phase("Stable")
    return story.told


async def _paused(story: Watched) -> Seen:
    await story.serve()
    story.commit("2")
    await story.until_phase("Progressing")
    story.commit("2", rollout={"paused": True})
    await story.until_phase("Paused")
    return story.told


async def _refused(story: Watched) -> Seen:
    await story.serve()
    story.cluster.remove("Gateway", "gateways", "public")
    story.commit("2")
    await story.run(MINUTE)
    return story.told


async def _first_that_is_refused(story: Watched) -> Seen:
    story.cluster.remove("Gateway", "gateways", "public")
    story.commit("1")
    await story.run(MINUTE)
    return story.told


async def _stable_lost(story: Watched) -> Seen:
    await story.serve()
    story.platform.behaviours["1"] = Behaviour(starts=False)
    story.due = story.clock.now()
    await story.run(MINUTE)
    return story.told


Tell = Callable[[Watched], Awaitable[Seen]]

UNSEEN = ("", IN_PROGRESS)


STORIES = [
    pytest.param(
        _first,
        [UNSEEN, ("Preparing", IN_PROGRESS), ("Baking", CURRENT), ("Stable", CURRENT)],
        "Resource is Ready",
        id="a first version is in progress until it serves",
    ),
    pytest.param(
        _first_that_waits_for_a_node,
        [UNSEEN, ("Preparing", IN_PROGRESS)],
        "no revision serves yet",
        id="without a node for it, too: that is no failure of the model",
    ),
    pytest.param(
        _first_that_never_starts,
        [UNSEEN, ("Preparing", IN_PROGRESS), ("Degraded", IN_PROGRESS)],
        "no revision serves yet",
        id="one that never starts may still, so the waiting ends at the timeout",
    ),
    pytest.param(
        _first_that_fails,
        [UNSEEN, ("Preparing", IN_PROGRESS), ("Baking", CURRENT), ("Degraded", FAILED)],
        "canary failed",
        id="one that fails with nothing to go back to has failed",
    ),
    pytest.param(
        _promoted,
        [
            ("Stable", IN_PROGRESS),
            ("Preparing", CURRENT),
            ("Progressing", CURRENT),
            ("Baking", CURRENT),
            ("Stable", CURRENT),
        ],
        "Resource is Ready",
        id="a canary is healthy throughout, however long it takes",
    ),
    pytest.param(
        _rolled_back,
        [
            ("Stable", IN_PROGRESS),
            ("Preparing", CURRENT),
            ("Progressing", CURRENT),
            ("RolledBack", FAILED),
        ],
        "canary failed",
        id="a rollback has failed at once, in its own words",
    ),
    pytest.param(
        _applied_again_after_a_rollback,
        [("RolledBack", FAILED)],
        "canary failed",
        id="and stays failed when the same commit is applied again",
    ),
    pytest.param(
        _reverted_after_a_rollback,
        [("RolledBack", IN_PROGRESS), ("Stable", CURRENT)],
        "Resource is Ready",
        id="a revert is healthy as soon as it was seen",
    ),
    pytest.param(
        _fixed_after_a_rollback,
        [
            ("RolledBack", IN_PROGRESS),
            ("Preparing", CURRENT),
            ("Progressing", CURRENT),
            ("Baking", CURRENT),
            ("Stable", CURRENT),
        ],
        "Resource is Ready",
        id="a fix is healthy from its canary on",
    ),
    pytest.param(
        _superseded,
        [
            ("Stable", IN_PROGRESS),
            ("Preparing", CURRENT),
            ("Progressing", CURRENT),
            ("Progressing", IN_PROGRESS),
            ("Stable", CURRENT),
            ("Preparing", CURRENT),
            ("Progressing", CURRENT),
            ("Baking", CURRENT),
            ("Stable", CURRENT),
        ],
        "Resource is Ready",
        id="another commit in mid-canary is in progress until it was seen",
    ),
    pytest.param(
        _paused,
        [
            ("Stable", IN_PROGRESS),
            ("Preparing", CURRENT),
            ("Progressing", CURRENT),
            ("Progressing", IN_PROGRESS),
            ("Paused", CURRENT),
        ],
        "Resource is Ready",
        id="a paused canary is healthy",
    ),
    pytest.param(
        _refused,
        [("Stable", IN_PROGRESS), ("Stable", FAILED)],
        "spec.traffic.gateway",
        id="a spec that cannot be acted upon has failed, with the field",
    ),
    pytest.param(
        _first_that_is_refused,
        [UNSEEN, ("Pending", FAILED)],
        "spec.traffic.gateway",
        id="a first one, too",
    ),
    pytest.param(
        _stable_lost,
        [("Stable", IN_PROGRESS)],
        "version 1 has no ready endpoint",
        id="a stable version without endpoints is in progress: its pods may come back",
    ),
]
"""A story, what is told in it, and the message at its end."""


@pytest.mark.parametrize(("tell", "expected", "message"), STORIES)
async def test_who_waits_is_told_rightly_in_every_phase(
    tell: Tell, expected: Seen, message: str
) -> None:
    """No phase passes for healthy that is not, and no healthy one runs into a timeout."""
    story = Watched()

    told = await tell(story)

    assert told == expected
    assert message in story.message


async def test_every_phase_has_a_verdict_in_one_of_the_stories() -> None:
    """A new phase needs a line in the table above."""
    phases = {phase for story in STORIES for phase, _ in story.values[1]}

    assert phases - {""} == set(Phase)
