"""The noise of stable's pods, measured when a canary begins to be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from tests.scenarios.memory import Behaviour, MemoryMetrics, Story

from headgate.core.counters import BAD, GOOD, TOTAL, Arm, Point, Series
from headgate.core.evidence import Evidence
from headgate.core.noise import Noise
from headgate.ports import MetricsUnavailable, UnitSeries

PODS = 4


class PodMetrics(MemoryMetrics):
    """A source that tells stable's pods apart: each fails some of its hundred a minute."""

    async def units(self, *asked: Any) -> Sequence[UnitSeries]:
        """Answer with three hours of all pods."""
        _, _, since, now, step = asked
        chance = Random(0)
        return [one for pod in range(PODS) for one in _pod(f"pod-{pod}", since, now, step, chance)]


def _pod(
    name: str, since: datetime, now: datetime, step: timedelta, chance: Random
) -> Sequence[UnitSeries]:
    at, good, bad = since, 0, 0
    counters: dict[str, list[Point]] = {GOOD: [], BAD: []}
    while at <= now:
        failed = chance.choice([0, 0, 0, 9])
        good, bad = good + 100 - failed, bad + failed
        counters[GOOD].append(Point(at, good))
        counters[BAD].append(Point(at, bad))
        at += step
    return [UnitSeries(name, outcome, tuple(points), "") for outcome, points in counters.items()]


def recorded(story: Story) -> dict[str, Any]:
    """What the record of the second rollout says."""
    record = story.cluster.find("ModelRollout", "models", "fraud-0002")
    assert record is not None
    return dict(record["status"])


def noise_of(story: Story) -> Noise:
    """The noise that errors are held against."""
    errors = Evidence.from_json(recorded(story)["evidence"]["state"]).signals[0]
    assert errors.noise is not None
    return errors.noise


async def test_the_canary_s_pods_decide_what_its_noise_is() -> None:
    """Claim: stable's pods are measured once, for as many pods as the canary has, and the record
    says by what the evidence was divided and against how many runs it was held. An autoscaler that
    follows a weight is noticed with the next one."""
    story = Story()
    story.metrics = PodMetrics(story.platform, story.clock)
    story.commit("1")
    await story.until_phase("Stable")
    story.platform.behaviours["2"] = Behaviour(pods=2)
    story.commit("2", rollout={"steps": [{"weight": w, "hold": "4m"} for w in (10, 20)]})
    await story.until_phase("Progressing")
    await story.run(timedelta(minutes=2))
    noise = noise_of(story)
    shown = recorded(story)["signals"][0]

    assert (noise.serving, noise.canary_units) == (PODS, 2)
    assert (shown["name"], shown["placeboRuns"]) == ("errors", noise.placebo_runs)
    assert float(shown["designEffect"]) > 1.5

    story.platform.behaviours["2"] = Behaviour(pods=3)
    await story.run(timedelta(minutes=30), lambda: story.weights == {"1": 80, "2": 20})
    await story.run(timedelta(minutes=2))

    assert story.weights == {"1": 80, "2": 20}
    assert noise_of(story) == replace(noise, canary_units=3)


class OwnPodMetrics(MemoryMetrics):
    """A source whose pods count `shed` themselves, as `PodMetrics` counts failures."""

    answering = True

    async def ticks(self, *asked: Any) -> Sequence[Series]:
        """Answer with three hours of all pods."""
        _, source, since, now, step = asked
        if not self.answering:
            raise MetricsUnavailable("Prometheus: HTTP 503")
        chance = Random(0)
        return [
            Series(source.name, Arm.STABLE, one.unit, _OUTCOMES[one.outcome], "", one.points)
            for pod in range(PODS)
            for one in _pod(f"pod-{pod}", since, now, step, chance)
        ]


_OUTCOMES = {GOOD: TOTAL, BAD: BAD}
SHED: dict[str, Any] = {
    "name": "shed",
    "ratio": {"bad": {"metric": "shed_total"}, "total": {"metric": "requests_total"}},
}


@pytest.mark.parametrize("answering", [True, False], ids=["read", "not to be read"])
async def test_a_signal_of_the_pods_is_held_against_their_noise(answering: bool) -> None:
    """Claim: what pods count themselves tells them apart, so a ratio of them is tempered as errors
    are; where their history cannot be read, the rollout is judged without."""
    story = Story()
    story.metrics = OwnPodMetrics(story.platform, story.clock)
    story.metrics.answering = answering
    story.commit("1", signals=[SHED])
    await story.until_phase("Stable")
    story.commit("2", signals=[SHED], rollout={"steps": [{"weight": 10, "hold": "4m"}]})
    await story.until_phase("Progressing")
    await story.run(timedelta(minutes=2))
    state = Evidence.from_json(recorded(story)["evidence"]["state"])
    found = dict(zip((one.name for one in state.settings.measured), state.signals, strict=True))
    noise = found["signal/shed"].noise

    assert found["errors"].noise is None
    assert state.requests(Arm.CANARY, "errors") > 0
    if answering:
        assert noise is not None
        assert (noise.serving, noise.canary_units) == (PODS, 1)
        assert noise.phi > 1.5
    else:
        assert noise is None
