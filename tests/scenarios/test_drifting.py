"""How often live inputs are compared with the training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from tests.scenarios.memory import Story

from headgate.core.counters import Series
from headgate.core.drift.build import Column, build
from headgate.ports import Arms, SignalSource
from headgate.reconcile.drifting import read_drifts

PROFILE = build([Column("amount", "number", [float(n % 100) for n in range(2000)])], None)
OLD = Arms("models", "fraud", None, None, "fraud", None, "11111111")
NEW = replace(OLD, canary_hash="22222222")


async def test_drifts_are_looked_for_once_a_minute() -> None:
    """Claim: hours of ticks are read again when there is a new tick, or for another revision, and
    not at every look; what was found in an earlier minute is dropped."""
    story, asked = Story(), list[str]()

    def more(source: SignalSource, arms: Arms, now: datetime) -> Sequence[Series]:
        asked.append(f"{arms.canary_hash} {now:%M:%S} {source.name}")
        return []

    story.metrics.more = more
    world = story.world
    minute = story.clock.now().replace(second=0, microsecond=0)
    for arms, seconds in ((OLD, 2), (OLD, 12), (NEW, 22), (OLD, 59), (NEW, 60), (NEW, 119)):
        found = await read_drifts(PROFILE, arms, world, minute + timedelta(seconds=seconds))

        assert [drift.feature for drift in found] == ["amount"]

    assert [one.rpartition(" ")[0] for one in asked] == [
        f"{arms.canary_hash} {minute + timedelta(seconds=seconds):%M:%S}"
        for arms, seconds in ((OLD, 2), (OLD, 2), (NEW, 22), (NEW, 22), (NEW, 60), (NEW, 60))
    ]
    assert set(world.drifts) == {NEW}
