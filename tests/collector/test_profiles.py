"""Where the profile of a revision comes from, and how often is asked for it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.collector.samples import ADDRESS, FRAUD, FakeObjects, number, profile, revision

from headgate.collector.events import Address
from headgate.collector.profiles import (
    LONGEST_SECONDS,
    REMEMBERED,
    WAITING,
    NoProfile,
    Profiles,
    Reader,
)
from headgate.core.drift.profile import digest, render
from headgate.ports import ClusterUnavailable, Refused

OTHER = profile(number("amount", 1.0))
PLACE = ("modelrevisions", "models", "fraud-9c1d44e0")
MAP = ("configmaps", "models", "fraud-profile")
REFERENCE = {"configMap": {"name": "fraud-profile", "key": "profile.json"}}


async def test_a_profile_is_read_from_a_config_map() -> None:
    """ModelRevision, then the ConfigMap it names, in its own namespace."""
    objects = FakeObjects()
    objects.add(FRAUD)

    assert await Reader(objects).read(ADDRESS) == FRAUD
    assert objects.asked == [PLACE, MAP]


async def test_a_profile_may_stand_in_the_revision() -> None:
    """Inline it needs no ConfigMap and no digest."""
    objects = FakeObjects({PLACE: revision({"inline": json.loads(render(FRAUD))})})

    assert await Reader(objects).read(ADDRESS) == FRAUD


async def test_a_known_digest_is_not_read_again() -> None:
    """Revisions with the same reference share one profile and one reading of it."""
    objects = FakeObjects()
    second = Address("models", "fraud", "00000000")
    objects.add(FRAUD)
    objects.add(FRAUD, second)
    reader = Reader(objects)

    assert await reader.read(ADDRESS) is await reader.read(second)
    assert objects.asked.count(MAP) == 1


@pytest.mark.parametrize(
    ("found", "why"),
    [
        pytest.param({}, "no such ModelRevision", id="no revision"),
        pytest.param(
            {PLACE: revision(None)}, "its ModelRevision names no reference", id="no drift"
        ),
        pytest.param(
            {PLACE: revision({"digest": "sha256:0"})},
            "configMap: wanted a ConfigMap with a key, or a profile, found neither",
            id="a reference to nothing",
        ),
        pytest.param(
            {PLACE: revision(REFERENCE)},
            "configMap.name: wanted ConfigMap models/fraud-profile, found none",
            id="no ConfigMap",
        ),
        pytest.param(
            {PLACE: revision(REFERENCE), MAP: {"data": {"other": "{}"}}},
            "configMap.key: wanted key profile.json of fraud-profile, found other",
            id="another key",
        ),
        pytest.param(
            {PLACE: revision(REFERENCE), MAP: {"data": {"profile.json": "{}"}}},
            "configMap: wanted a profile as `headgate profile build` writes it, found "
            "features: wanted a value, found none",
            id="a profile that is none",
        ),
        pytest.param(
            {
                PLACE: revision(REFERENCE | {"digest": digest(FRAUD)}),
                MAP: {"data": {"profile.json": render(OTHER)}},
            },
            f"digest: wanted {digest(FRAUD)}, found {digest(OTHER)}",
            id="a ConfigMap that was changed since the revision was made",
        ),
    ],
)
async def test_an_unusable_reference_has_a_reason(
    found: dict[tuple[str, str, str], Mapping[str, Any]], why: str
) -> None:
    """Each way of having no profile is told in one line of names and digests."""
    with pytest.raises(NoProfile) as refused:
        await Reader(FakeObjects(found)).read(ADDRESS)
    assert str(refused.value) == why


@asynccontextmanager
async def asking(objects: FakeObjects) -> AsyncIterator[tuple[Profiles, Counter[str]]]:
    """Profiles that ask these objects in the background, and the answers they had."""
    told: Counter[str] = Counter()
    profiles = Profiles(Reader(objects), lambda result: told.update([result]))
    task = asyncio.create_task(profiles.run())
    yield profiles, told
    task.cancel()


def now() -> float:
    """The loop's clock."""
    return asyncio.get_running_loop().time()


@pytest.mark.looptime
async def test_who_counts_never_waits_for_a_profile() -> None:
    """The first question has no answer yet; when the cluster has answered, the next one has."""
    objects = FakeObjects(seconds=3.0)
    objects.add(FRAUD)
    async with asking(objects) as (profiles, told):
        assert profiles.of(ADDRESS, now()) is None
        await asyncio.sleep(5.0)
        assert profiles.of(ADDRESS, now()) is None
        await asyncio.sleep(2.0)

        assert profiles.of(ADDRESS, now()) == FRAUD
        assert told == {"found": 1}
        assert len(objects.asked) == 2


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("error", "result"),
    [
        pytest.param(None, "none", id="no revision"),
        pytest.param(ClusterUnavailable("down"), "unavailable", id="an API server that is down"),
        pytest.param(Refused("forbidden"), "none", id="rights that are missing"),
    ],
)
async def test_it_is_asked_later_and_later(error: Exception | None, result: str) -> None:
    """A stream of events for a revision without a profile asks seldom, and never gives up."""
    objects = FakeObjects(error=error)
    async with asking(objects) as (profiles, told):
        for _ in range(3600):
            assert profiles.of(ADDRESS, now()) is None
            await asyncio.sleep(1.0)
        questions = len(objects.asked)
        objects.error = None
        objects.add(FRAUD)
        await asyncio.sleep(LONGEST_SECONDS)
        profiles.of(ADDRESS, now())
        await asyncio.sleep(1.0)

        assert 15 <= questions <= 25
        assert profiles.of(ADDRESS, now()) == FRAUD
        assert told == {result: questions, "found": 1}


@pytest.mark.looptime
async def test_a_question_without_an_answer_ends() -> None:
    """A cluster that never answers holds up one question for a while, and not the next ones."""
    objects = FakeObjects(seconds=1e6)
    async with asking(objects) as (profiles, told):
        profiles.of(ADDRESS, now())
        await asyncio.sleep(20.0)
        assert told == {"unavailable": 1}


@pytest.mark.looptime
async def test_made_up_paths_are_no_load() -> None:
    """However many revisions are named that do not exist, few questions a second are asked."""
    objects = FakeObjects()
    async with asking(objects) as (profiles, _):
        for at in range(10 * REMEMBERED):
            profiles.of(Address("models", "fraud", f"{at:08x}"), now())
        await asyncio.sleep(5.0)
        asked = len(objects.asked)
        await asyncio.sleep(60.0)

        assert asked <= 101
        assert len(objects.asked) == WAITING


@pytest.mark.looptime
async def test_made_up_paths_do_not_push_out_a_known_profile() -> None:
    """What is known stays known, whoever else asks."""
    objects = FakeObjects()
    objects.add(FRAUD)
    async with asking(objects) as (profiles, told):
        profiles.of(ADDRESS, now())
        await asyncio.sleep(1.0)
        for at in range(3 * REMEMBERED):
            profiles.of(Address("models", "fraud", f"{at:08x}"), now())
            await asyncio.sleep(0.06)

        assert profiles.of(ADDRESS, now()) == FRAUD
        assert told["found"] == 1


@pytest.mark.looptime
async def test_why_a_revision_is_not_counted_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line for a revision, not one for each event or each question."""
    async with asking(FakeObjects()) as (profiles, _):
        for _ in range(100):
            profiles.of(ADDRESS, now())
            await asyncio.sleep(1.0)

    assert [record.getMessage() for record in caplog.records] == [
        "models/fraud-9c1d44e0 is not counted: no such ModelRevision"
    ]
