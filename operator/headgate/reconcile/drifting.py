"""Live inputs against the training data's profile: what the collector counted in the last hours.

Owns which revision's counts are read and how they become ticks. Must not know what a drift leads
to. The counters themselves are the memory; what was found in them is kept for the minute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from headgate.core.counters import Block, Kind, Series, difference
from headgate.core.drift.bins import Counts
from headgate.core.drift.profile import Feature, NumberFeature, Profile, plain
from headgate.core.drift.reference import Drift, detect_all
from headgate.ports import Arms
from headgate.reconcile.sources import input_source, missing_source
from headgate.reconcile.world import World

LOOK_BACK = timedelta(hours=3)
TICK = timedelta(minutes=1)
MOST_FEATURES = 64
"""Features that are watched, the first of the profile: each is two questions to Prometheus."""

_AT_ONCE = 8


async def read_drifts(profile: Profile, arms: Arms, world: World, now: datetime) -> Sequence[Drift]:
    """Compare the last hours of one revision's inputs with its profile, once a minute.

    `arms` has that revision as its canary and nothing else. Raises MetricsUnavailable.
    """
    minute = int(now.timestamp() // TICK.total_seconds())
    kept = world.drifts.get(arms)
    if kept is None or kept[0] != minute:
        kept = (minute, await _read(profile, arms, world, now))
        for other in [one for one, (at, _) in world.drifts.items() if at != minute]:
            world.drifts.pop(other, None)
        world.drifts[arms] = kept
    return kept[1]


async def _read(profile: Profile, arms: Arms, world: World, now: datetime) -> Sequence[Drift]:
    watched = replace(profile, features=profile.features[:MOST_FEATURES], predictions=None)
    places = asyncio.Semaphore(_AT_ONCE)

    async def read(feature: Feature) -> Sequence[Counts]:
        async with places:
            return await _ticks(feature, arms, world, now)

    found = await asyncio.gather(*(read(feature) for feature in watched.features))
    ticks = {f.name: one for f, one in zip(watched.features, found, strict=True)}
    report = await asyncio.to_thread(detect_all, watched, ticks)
    return report.drifts


async def _ticks(feature: Feature, arms: Arms, world: World, now: datetime) -> Sequence[Counts]:
    """Read one feature's counts minute by minute, oldest first; missing is the last bin."""
    kind = Kind.HISTOGRAM if isinstance(feature, NumberFeature) else Kind.CATEGORIES
    seen, missing = (
        input_source("seen", kind, feature.name),
        missing_source("missing", feature.name),
    )
    since = now - LOOK_BACK
    series: list[Series] = []
    for source in (seen, missing):
        series += await world.metrics.ticks(arms, source, since, now, TICK)
    return ticks_of(feature, series, kind, since)


def ticks_of(
    feature: Feature, series: Sequence[Series], kind: Kind, since: datetime
) -> Sequence[Counts]:
    """Add up what all collectors counted between two moments, for each of them.

    A collector whose bins are not the profile's counts for nothing.
    """
    kinds = {"seen": kind, "missing": Kind.CATEGORIES}
    by_time: dict[datetime, list[int]] = {}
    for block in difference(series, {}, since, kinds).blocks:
        counts = by_time.setdefault(block.at, [0] * (_bins(feature) + 1))
        for place, count in enumerate(_placed(feature, block)):
            counts[place] += count
    return [tuple(by_time[at]) for at in sorted(by_time)]


def _bins(feature: Feature) -> int:
    return len(feature.shares)


def _placed(feature: Feature, block: Block) -> Sequence[int]:
    """One block's counts by bin, the missing ones last."""
    missing = sum(_by_class(block, "missing").values())
    if isinstance(feature, NumberFeature):
        edges = block.edges.get("seen", ())
        same = [plain(edge) for edge in edges[:-1]] == [plain(edge) for edge in feature.edges]
        arms = block.counts.get("seen", {}).values() if same else ()
        found = [sum(each) for each in zip(*arms, strict=True)]
        return [*(found or [0] * _bins(feature)), missing]
    by_name = _by_class(block, "seen")
    own = [by_name.get(name, 0) for name in feature.categories]
    return [*own, sum(by_name.values()) - sum(own), missing]


def _by_class(block: Block, signal: str) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for by_name in block.classes.get(signal, {}).values():
        for name, count in by_name.items():
            found[name] = found.get(name, 0) + count
    return found
