"""What a rollout tells people while it goes: the sentence first, then what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.scenarios.memory import Behaviour, Story

from headgate.ports import Arms, SignalSource

MINUTE = timedelta(minutes=1)


async def second(**behaviour: float) -> Story:
    """Version 1 is proven, and version 2 is being tried."""
    story = Story()
    story.commit("1")
    await story.until_phase("Stable")
    story.platform.behaviours["2"] = Behaviour(**behaviour)
    story.commit("2")
    await story.until_phase("Progressing")
    return story


def event(story: Story, reason: str) -> str:
    """The last thing that was told for this reason."""
    return [e["message"] for e in story.cluster.all("Event") if e["reason"] == reason][-1]


async def test_the_event_of_a_rollback_has_its_numbers_after_its_sentence() -> None:
    """Claim: counts and chance in a sentence, then interval, e-value, bar and query."""
    story = await second(failing=0.2)
    await story.until_phase("RolledBack")
    message, told = event(story, "AnalysisFailed"), story.status["message"]
    numbers = message.removeprefix(told)

    assert told.startswith("canary failed ")
    assert " in the same " in told
    assert told.endswith(".")
    assert numbers.startswith(" objective/availability: difference +")
    for words in (" at 95 %)", "; e-value ", ", rolls back at 600", "; asked: memory{"):
        assert words in numbers, numbers


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        pytest.param("CandidateReady", "version 2 is ready; it gets 10 % of requests", id="ready"),
        pytest.param(
            "RolloutStarted", "preparing version 2 (0b322b52)", id="before there is any evidence"
        ),
    ],
)
async def test_an_event_that_no_verdict_made_has_no_numbers(reason: str, wanted: str) -> None:
    """Claim: numbers stand where they are the reason, and nowhere else."""
    assert event(await second(), reason) == wanted


async def test_the_event_of_an_earned_weight_says_what_earned_it() -> None:
    """Claim: a step has the numbers of the first signal, and what it was asked by."""
    story = await second()
    await story.until_phase("Baking")
    message = event(story, "AllStepsCompleted")

    assert "Earned a weight of 100 %: canary failed " in message
    assert ". errors: difference " in message
    assert message.endswith("; asked: memory{signal='errors'}")


async def test_query_texts_are_made_only_when_a_record_is_written() -> None:
    """Claim: of the looks within a minute only those that store something ask for the texts."""
    story = await second()
    await story.run(timedelta(seconds=4))
    asked = 0
    answer = story.metrics.queries

    def counted(arms: Arms, sources: Sequence[SignalSource]) -> dict[str, str]:
        nonlocal asked
        asked += 1
        return answer(arms, sources)

    story.metrics.queries = counted  # type: ignore[method-assign]
    await story.run(timedelta(seconds=12))
    while_nothing_happened = asked
    await story.until_phase("Baking")

    assert while_nothing_happened == 0
    assert asked > 0
