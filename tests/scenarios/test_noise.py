"""The noise of stable's pods, measured when a canary begins to be judged."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from tests.scenarios.memory import Behaviour, MemoryMetrics, Story

from headgate.core.counters import BAD, GOOD, Point
from headgate.core.evidence import Evidence
from headgate.ports import UnitSeries

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


async def test_the_canary_s_pods_decide_what_its_noise_is() -> None:
    """Claim: stable's pods are measured once, for as many pods as the canary has, and the record
    says by what the evidence was divided and against how many runs it was held."""
    story = Story()
    story.metrics = PodMetrics(story.platform, story.clock)
    story.commit("1")
    await story.until_phase("Stable")
    story.platform.behaviours["2"] = Behaviour(pods=2)
    story.commit("2", rollout={"steps": [{"weight": 10, "hold": "5m"}]})
    await story.until_phase("Progressing")
    await story.run(timedelta(minutes=4))
    record = story.cluster.find("ModelRollout", "models", "fraud-0002")
    assert record is not None
    errors = Evidence.from_json(record["status"]["evidence"]["state"]).signals[0]
    shown = record["status"]["signals"][0]

    assert errors.noise is not None
    assert (errors.noise.serving, errors.noise.canary_units) == (PODS, 2)
    assert (shown["name"], shown["placeboRuns"]) == ("errors", errors.noise.placebo_runs)
    assert float(shown["designEffect"]) > 1.5
