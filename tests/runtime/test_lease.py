"""Which of several operators works: taken, kept, lost, handed over; on nobody else's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.runtime.fakes import NOON

from headgate.adapters.kubernetes import KubernetesCluster, find_login
from headgate.ports import LEASE, ClusterUnavailable, Conflict, Forbidden, Kind, Manifest
from headgate.runtime.lease import Election, Fenced, LeaseLost, Terms

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

TERMS = Terms("headgate-system", "headgate")


class LoopClock:
    """A wall clock that began at noon and goes as the loop's does."""

    def now(self) -> datetime:
        """See Clock."""
        return NOON + timedelta(seconds=asyncio.get_running_loop().time())


@dataclass
class Kept:
    """A Lease as an API server keeps it, which can be broken: by errors, delays, other hands."""

    lease: Manifest | None = None
    error: Exception | None = None
    delay: float = 0.0
    refuse_writes: bool = False
    writes: int = 0
    version: int = 0

    @property
    def spec(self) -> Mapping[str, Any]:
        """What it says now."""
        assert self.lease is not None
        found: Mapping[str, Any] = self.lease["spec"]
        return found

    def write(self, **spec: Any) -> None:
        """Change it by another hand."""
        self.version += 1
        metadata = {"namespace": TERMS.namespace, "name": TERMS.name}
        metadata["resourceVersion"] = str(self.version)
        base = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata}
        before = {} if self.lease is None else self.lease["spec"]
        self.lease = {**base, "spec": {**before, **spec}}

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """See Leases."""
        await self._answer()
        assert (kind, namespace, name) == (LEASE, TERMS.namespace, TERMS.name)
        return self.lease

    async def create(self, manifest: Manifest) -> Manifest:
        """See Leases."""
        await self._answer()
        if self.lease is not None:
            raise Conflict("there is one")
        return self._take(manifest)

    async def replace(self, manifest: Manifest) -> Manifest:
        """See Leases."""
        await self._answer()
        if manifest["metadata"]["resourceVersion"] != str(self.version) or self.lease is None:
            raise Conflict("it changed")
        return self._take(manifest)

    async def _answer(self) -> None:
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error

    def _take(self, manifest: Manifest) -> Manifest:
        if self.refuse_writes:
            raise Forbidden("no right")
        self.writes += 1
        self.write(**manifest["spec"])
        assert self.lease is not None
        return self.lease


@dataclass
class Candidate:
    """One operator's election, and what it told."""

    kept: Kept
    identity: str = "one"
    told: list[bool] = field(default_factory=list)
    stood_by: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.election = Election(
            self.kept, TERMS, self.identity, LoopClock(), lambda: 0.5, self.told.append
        )

    async def acquire(self) -> float:
        """Acquire, and return how many seconds it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self.election.acquire(self.stood_by.append)
        return loop.time() - began

    async def lose(self) -> tuple[float, str]:
        """Keep it until it is lost; returns after how many seconds, and why."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(LeaseLost) as lost:
            await self.election.keep()
        return loop.time() - began, str(lost.value)


async def seconds(number: float) -> None:
    """Let time pass."""
    await asyncio.sleep(number)


@pytest.mark.looptime
async def test_a_lease_that_nobody_made_is_made() -> None:
    """The first operator holds it at once, and the Lease says since when and for how long."""
    kept = Kept()
    one = Candidate(kept)

    assert await one.acquire() == 0
    assert kept.spec == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-20T12:00:00.000000Z",
        "renewTime": "2026-11-20T12:00:00.000000Z",
        "leaseTransitions": 0,
    }
    assert one.election.is_held()
    assert (one.told, one.stood_by) == ([True], [])


@pytest.mark.looptime
async def test_a_standby_waits_as_long_as_the_holder_asked_for() -> None:
    """A holder that is gone blocks a new one for 15 s, seen by the new one's clock, no longer."""
    kept = Kept()
    await Candidate(kept).acquire()
    two = Candidate(kept, "two")

    waited = await two.acquire()

    assert 15 <= waited < 16.1
    assert two.stood_by == ["one"]
    assert kept.spec["holderIdentity"] == "two"
    assert kept.spec["leaseTransitions"] == 1


@pytest.mark.looptime
@pytest.mark.parametrize(
    "renewed",
    [
        pytest.param("1999-01-01T00:00:00.000000Z", id="a holder whose clock is years behind"),
        pytest.param("2099-01-01T00:00:00.000000Z", id="a holder whose clock is years ahead"),
        pytest.param("", id="a holder that says no time"),
    ],
)
async def test_nobody_trusts_the_holders_clock(renewed: str) -> None:
    """What counts is how long we saw it unchanged: not a second less, and none more."""
    kept = Kept()
    kept.write(holderIdentity="other", leaseDurationSeconds=15, renewTime=renewed)

    assert 15 <= await Candidate(kept).acquire() < 16.1


@pytest.mark.looptime
async def test_a_holder_that_renews_is_never_overtaken() -> None:
    """Whatever time it writes, backwards too: a change is a sign of life."""
    kept = Kept()
    kept.write(holderIdentity="other", leaseDurationSeconds=15, renewTime="0")
    two = Candidate(kept, "two")
    waiting = asyncio.create_task(two.acquire())
    for number in range(100):
        await seconds(5)
        kept.write(renewTime=str(-number))

    assert not waiting.done()
    assert await waiting < 516.1


@pytest.mark.looptime
async def test_a_holder_keeps_it_for_an_hour_with_one_standby() -> None:
    """Renewed every two seconds; the standby looks and never writes."""
    kept = Kept()
    one, two = Candidate(kept), Candidate(kept, "two")
    await one.acquire()
    keeping = asyncio.create_task(one.election.keep())
    waiting = asyncio.create_task(two.acquire())
    await seconds(3600)

    assert not keeping.done()
    assert not waiting.done()
    assert kept.writes == pytest.approx(1801, abs=2)
    assert kept.spec["leaseTransitions"] == 0
    keeping.cancel()
    waiting.cancel()


@pytest.mark.looptime
async def test_a_released_lease_is_taken_within_a_second_or_so() -> None:
    """Who stops in an orderly way is not waited for."""
    kept = Kept()
    one, two = Candidate(kept), Candidate(kept, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await seconds(7.3)

    await one.election.release()
    released = asyncio.get_running_loop().time()
    await waiting

    assert asyncio.get_running_loop().time() - released <= 1.0
    assert not one.election.is_held()
    assert one.told == [True, False]
    assert kept.spec["holderIdentity"] == "two"


@pytest.mark.looptime
async def test_a_standby_that_stops_releases_nothing() -> None:
    """Only the holder's own name is taken out of the Lease."""
    kept = Kept()
    await Candidate(kept).acquire()
    before = kept.lease

    await Candidate(kept, "two").election.release()

    assert kept.lease == before


@pytest.mark.looptime
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Kept(error=ClusterUnavailable("down")), id="an API server that is down"),
        pytest.param(Kept(delay=3600), id="an API server that never answers"),
    ],
)
async def test_release_never_holds_up_the_end(broken: Kept) -> None:
    """Handing over is tried for two seconds; then the Lease runs out by itself."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    await Candidate(broken).election.release()

    assert loop.time() - began <= 2.0


@pytest.mark.looptime
@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(
            lambda kept: setattr(kept, "error", ClusterUnavailable("down")),
            id="refused connections",
        ),
        pytest.param(lambda kept: setattr(kept, "delay", 3600.0), id="answers that never come"),
        pytest.param(lambda kept: setattr(kept, "refuse_writes", True), id="a right taken away"),
        pytest.param(lambda kept: setattr(kept, "error", Conflict("race")), id="lost races only"),
    ],
)
async def test_what_cannot_be_renewed_is_lost_before_others_may_take_it(
    break_it: Callable[[Kept], None],
) -> None:
    """Ten seconds after the last renewal, five before any other may hold it."""
    kept = Kept()
    one = Candidate(kept)
    await one.acquire()
    break_it(kept)

    lost_after, why = await one.lose()

    assert lost_after == pytest.approx(10.0)
    assert why == "Lease headgate-system/headgate is lost: not renewed for 10 s"
    assert not one.election.is_held()
    assert one.told == [True, False]


@pytest.mark.looptime
async def test_an_outage_shorter_than_the_deadline_costs_nothing() -> None:
    """The API server is away for nine seconds, again and again: the holder stays the same."""
    kept = Kept()
    one = Candidate(kept)
    await one.acquire()
    keeping = asyncio.create_task(one.election.keep())
    for _ in range(20):
        kept.error = ClusterUnavailable("down")
        await seconds(7.9)
        kept.error = None
        await seconds(4.1)

    assert not keeping.done()
    assert one.election.is_held()
    keeping.cancel()


@pytest.mark.looptime
async def test_who_was_overtaken_while_it_slept_knows_at_its_first_look() -> None:
    """A process that was stopped for a minute finds another's name, and does nothing more."""
    kept = Kept()
    one = Candidate(kept)
    await one.acquire()
    await seconds(60)
    kept.write(holderIdentity="two", renewTime="later")

    assert not one.election.is_held(), "it may not even finish a write before it looks"
    lost_after, why = await one.lose()

    assert lost_after == 0
    assert why == "Lease headgate-system/headgate is lost: two holds it"


@pytest.mark.looptime
async def test_a_sleep_that_nobody_used_goes_on() -> None:
    """Nobody took it meanwhile: it is renewed at once, and is held again."""
    kept = Kept()
    one = Candidate(kept)
    await one.acquire()
    await seconds(60)
    keeping = asyncio.create_task(one.election.keep())
    await seconds(1)

    assert one.election.is_held()
    assert not keeping.done()
    keeping.cancel()


@pytest.mark.looptime
async def test_a_lease_deleted_by_hand_is_made_again() -> None:
    """The holder goes on; a standby that is quicker would win the race, and one of them only."""
    kept = Kept()
    one, two = Candidate(kept), Candidate(kept, "two")
    await one.acquire()
    waiting = asyncio.create_task(two.acquire())
    await seconds(3.1)
    keeping = asyncio.create_task(one.election.keep())
    kept.lease = None
    await seconds(5)

    assert one.election.is_held() is not two.election.is_held()
    for task in (waiting, keeping):
        task.cancel()
    await asyncio.gather(waiting, keeping, return_exceptions=True)


@pytest.mark.looptime
async def test_of_many_that_start_at_once_one_holds_it() -> None:
    """At no moment two; when the holder dies another one follows, one after the other."""
    kept = Kept(delay=0.01)
    all_of_them = {name: Candidate(kept, name) for name in "abcde"}
    tasks = {name: asyncio.create_task(_work(each)) for name, each in all_of_them.items()}
    holders = []
    for _ in range(len(all_of_them)):
        await seconds(40)
        held = [name for name, each in all_of_them.items() if each.election.is_held()]
        assert len(held) == 1
        holders += held
        tasks[held[0]].cancel()

    assert sorted(holders) == sorted(all_of_them)
    assert kept.spec["leaseTransitions"] == len(all_of_them) - 1


async def _work(candidate: Candidate) -> None:
    await candidate.acquire()
    await candidate.election.keep()


@pytest.mark.looptime
async def test_other_peoples_metadata_stays() -> None:
    """Labels that a person or a policy put on the Lease are not ours to remove."""
    kept = Kept()
    await Candidate(kept).acquire()
    assert kept.lease is not None
    lease = {**kept.lease, "metadata": {**kept.lease["metadata"], "labels": {"team": "ml"}}}
    kept.lease = lease
    written: list[Manifest] = []
    replace = kept.replace

    async def heard(manifest: Manifest) -> Manifest:
        written.append(manifest)
        return await replace(manifest)

    kept.replace = heard  # type: ignore[method-assign]
    await Candidate(kept, "two").acquire()

    assert written[0]["metadata"]["labels"] == {"team": "ml"}


# --- what is fenced -------------------------------------------------------------------------------


class Written:
    """A cluster that only counts."""

    def __init__(self) -> None:
        self.verbs: list[str] = []

    def __getattr__(self, verb: str) -> Any:
        async def call(*_: Any) -> Any:
            self.verbs.append(verb)

        return call


@pytest.mark.looptime
async def test_without_the_lease_nothing_is_written() -> None:
    """Each of the four writes is refused as unavailable once the deadline is over; reads pass."""
    one, cluster = Candidate(Kept()), Written()
    fenced: Any = Fenced(cluster, one.election)  # type: ignore[arg-type]
    writes = {
        "create": lambda: fenced.create({}),
        "apply": lambda: fenced.apply({}),
        "patch_status": lambda: fenced.patch_status({}, {}),
        "delete": lambda: fenced.delete(LEASE, "a", "b", "c"),
    }
    await one.acquire()
    for write in writes.values():
        await write()
    assert cluster.verbs == list(writes)

    await seconds(10)
    for write in writes.values():
        with pytest.raises(ClusterUnavailable, match="headgate-system/headgate is not held"):
            await write()
    await fenced.get(LEASE, "a", "b")
    await fenced.list(LEASE, "a", {})
    assert cluster.verbs == [*writes, "get", "list"]


# --- a real API server ----------------------------------------------------------------------------


@pytest.mark.apiserver
async def test_a_real_api_server_lets_one_of_two_have_it(apiserver: ApiServer) -> None:
    """Created, renewed, taken over and released; every write is one the server accepts."""
    terms = Terms(
        "default",
        "election",
        duration=timedelta(seconds=2),
        renew_deadline=timedelta(seconds=1.5),
        retry=timedelta(milliseconds=200),
    )
    cluster = KubernetesCluster(find_login(str(apiserver.kubeconfig)))
    one, two = (Election(cluster, terms, name, LoopClock(), lambda: 0.5) for name in ("one", "two"))
    await asyncio.gather(*(_first(one, two)))
    first, second = (one, two) if one.is_held() else (two, one)
    keeping = asyncio.create_task(first.keep())
    following = asyncio.create_task(second.acquire(lambda _: None))
    await seconds(3)
    assert first.is_held()
    assert not following.done()

    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await first.release()
    await asyncio.wait_for(following, 20)

    found = await cluster.get(LEASE, "default", "election")
    assert found is not None
    assert found["spec"]["holderIdentity"] == second.identity
    assert found["spec"]["leaseTransitions"] == 1
    await cluster.delete(LEASE, "default", "election", found["metadata"]["uid"])
    await cluster.close()


def _first(*elections: Election) -> list[asyncio.Task[None]]:
    """Let all of them try until one holds it."""
    tasks = [asyncio.create_task(each.acquire(lambda _: None)) for each in elections]

    async def cancel_others() -> None:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    return [asyncio.create_task(cancel_others())]
