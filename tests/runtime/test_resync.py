"""What the resync notices, and what it must not take for a miss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.runtime.fakes import ListedCluster, Tally

from headgate.ports import ClusterUnavailable
from headgate.runtime.resync import SETTLE_SECONDS, Resync, WatchBlind
from headgate.runtime.seen import Missed, Name, Seen, Version, compare

A, B, C = (Version("uid", number) for number in "123")
FRAUD = Name("models", "fraud")
OTHER = Name("models", "other")
PERIOD = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("before", "listed", "after", "missed"),
    [
        pytest.param(A, A, A, None, id="nothing happened"),
        pytest.param(A, A, B, None, id="it changed after the list"),
        pytest.param(A, B, B, None, id="the change was heard in time"),
        pytest.param(A, B, C, None, id="two changes, and the later one was heard"),
        pytest.param(A, B, A, Missed.CHANGED, id="a change was never heard"),
        pytest.param(None, A, A, None, id="a new object was heard in time"),
        pytest.param(None, A, None, Missed.CHANGED, id="a new object was never heard"),
        pytest.param(A, None, None, None, id="a deletion was heard in time"),
        pytest.param(A, None, A, Missed.DELETED, id="a deletion was never heard: a ghost"),
        pytest.param(None, None, A, None, id="a new object came after the list"),
    ],
)
def test_only_silence_about_a_difference_is_a_miss(
    before: Version | None, listed: Version | None, after: Version | None, missed: Missed | None
) -> None:
    """A difference counts only where the watch did not move; news under way is no miss."""

    def at(version: Version | None) -> dict[Name, Version]:
        return {} if version is None else {FRAUD: version}

    assert compare(at(before), at(listed), at(after)) == ({} if missed is None else {FRAUD: missed})


class Bench:
    """A resync over a listed cluster and a watch that hears what the test says."""

    def __init__(self) -> None:
        self.cluster = ListedCluster()
        self.seen = Seen()
        self.tally = Tally()
        self.woken: list[tuple[Name, float]] = []
        self.ready = False
        self.resync = Resync(
            self.cluster,  # type: ignore[arg-type]
            (),
            self.seen,
            self._wake,
            self.tally,
            PERIOD,
        )
        self.task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin the rounds."""
        self.task = asyncio.create_task(self.resync.run(self._ready))
        return self.task

    def heard(self, name: Name, version: int) -> None:
        """Store an object and let the watch hear of it."""
        self.seen.heard(self.cluster.put(*name, version))

    def _wake(self, name: Name) -> None:
        self.woken.append((name, asyncio.get_running_loop().time()))

    def _ready(self) -> None:
        self.ready = True


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A bench that is taken down at the end."""
    bench = Bench()
    yield bench
    if bench.task is not None:
        bench.task.cancel()


@pytest.mark.looptime
async def test_ready_is_when_the_watch_knows_all(bench: Bench) -> None:
    """Everything listed is woken at once; ready comes only when the watch has told of it all."""
    listed = bench.cluster.put(*FRAUD, 1)
    bench.start()
    await asyncio.sleep(3)
    assert bench.woken == [(FRAUD, 0.0)]
    assert not bench.ready

    bench.seen.heard(listed)
    await asyncio.sleep(1)
    assert bench.ready


@pytest.mark.looptime
async def test_an_object_that_vanished_meanwhile_does_not_block_the_start(bench: Bench) -> None:
    """An object deleted between list and watch is never heard of: the list is taken again."""
    bench.cluster.put(*FRAUD, 1)
    bench.start()
    await asyncio.sleep(1)
    bench.cluster.objects.clear()
    await asyncio.sleep(2 * SETTLE_SECONDS + 2)

    assert bench.ready


@pytest.mark.looptime
async def test_every_round_wakes_everything(bench: Bench) -> None:
    """Also what nobody missed is looked at again in each round."""
    bench.heard(FRAUD, 1)
    bench.start()
    await asyncio.sleep(4 * PERIOD.total_seconds())

    assert len(bench.woken) in (4, 5)
    assert set(bench.tally.rounds) == {"ok"}
    assert bench.tally.misses == []


@pytest.mark.looptime
async def test_a_ghost_is_dropped_and_its_key_woken(bench: Bench) -> None:
    """A deletion that the watch missed is noticed, counted, and told to the queue."""
    bench.heard(FRAUD, 1)
    bench.start()
    await asyncio.sleep(1)
    bench.cluster.objects.clear()
    await asyncio.sleep(PERIOD.total_seconds() / 2 + SETTLE_SECONDS)

    assert [name for name, _ in bench.woken] == [FRAUD, FRAUD]
    assert bench.tally.misses == ["deleted"]
    assert bench.seen.number() == 0


@pytest.mark.looptime
async def test_two_bad_rounds_end_the_process(bench: Bench) -> None:
    """A watch that misses something twice running is blind; one bad round is not enough."""
    bench.heard(FRAUD, 1)
    task = bench.start()
    await asyncio.sleep(1)
    bench.cluster.put(*FRAUD, 2)
    await asyncio.sleep(PERIOD.total_seconds())
    assert not task.done()
    bench.cluster.put(*FRAUD, 3)
    await asyncio.sleep(PERIOD.total_seconds())

    assert bench.tally.misses == ["changed", "changed"]
    with pytest.raises(WatchBlind, match="missed changes in 2 rounds running"):
        await task


@pytest.mark.looptime
async def test_a_good_round_between_two_bad_ones_forgives(bench: Bench) -> None:
    """Only rounds in a row count."""
    bench.heard(FRAUD, 1)
    task = bench.start()
    await asyncio.sleep(1)
    for version in (2, 2, 3):
        bench.cluster.put(*FRAUD, version)
        await asyncio.sleep(PERIOD.total_seconds() + SETTLE_SECONDS)

    assert bench.tally.misses == ["changed", "changed"]
    assert not task.done()


@pytest.mark.looptime
async def test_an_api_server_that_is_away_is_no_miss(bench: Bench) -> None:
    """A round that cannot list neither counts against the watch nor ends anything."""
    bench.heard(FRAUD, 1)
    task = bench.start()
    await asyncio.sleep(1)
    bench.cluster.error = ClusterUnavailable("list ModelDeployment: connection refused")
    await asyncio.sleep(10 * PERIOD.total_seconds())
    bench.cluster.error = None
    await asyncio.sleep(2 * PERIOD.total_seconds())

    assert not task.done()
    assert "unavailable" in bench.tally.rounds
    assert bench.tally.rounds[-1] == "ok"
    assert bench.tally.misses == []


@pytest.mark.looptime
async def test_a_round_does_not_wake_all_keys_in_one_moment(bench: Bench) -> None:
    """In later rounds a thousand keys are spread over half a period."""
    for number in range(1000):
        bench.heard(Name("models", f"m{number}"), 1)
    bench.start()
    await asyncio.sleep(1)
    bench.woken.clear()
    await asyncio.sleep(PERIOD.total_seconds() + 2 * SETTLE_SECONDS)

    moments = [at for _, at in bench.woken]
    assert len({name for name, _ in bench.woken}) == 1000
    assert max(moments.count(at) for at in set(moments)) == 50
    assert moments[-1] - moments[0] > PERIOD.total_seconds() / 3
