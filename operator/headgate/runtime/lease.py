"""One of several operators works: the one that holds a Lease. The others stand by.

Owns when a Lease may be taken, how it is kept, and when it is lost. Must not know what the holder
does with it. The rules are client-go's (k8s.io/client-go/tools/leaderelection): nobody trusts
another's clock, so a Lease is free once *we* have seen it unchanged for as long as its holder asked
for. A lock it is not: a process that was stopped for a while may write once more before it looks at
its clock. Every write of ours is safe without it, and `Fenced` makes even that unlikely.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from headgate.ports import (
    LEASE,
    Clock,
    Cluster,
    ClusterUnavailable,
    Kind,
    Leases,
    Manifest,
    Refused,
    Unavailable,
)

log = logging.getLogger("headgate.lease")

EARLIEST, LATEST = 0.75, 1.25
"""How much sooner or later than asked for a standby looks: two of them shall not stay in step."""

RELEASE_SECONDS = 2.0
"""The longest that handing over may hold up the end of the process."""


class LeaseLost(Exception):
    """The Lease could not be renewed in time, or another one holds it: act no more."""


@dataclass(frozen=True, slots=True)
class Terms:
    """
    Which Lease, and how long it lasts without being renewed.

    Args:
        duration: After the last renewal that they saw, others wait so long.
        renew_deadline: A holder that could not renew for so long gives up; less than `duration`.
        retry: From one renewal to the next; a standby looks twice as often.
    """

    namespace: str
    name: str
    duration: timedelta = timedelta(seconds=15)
    renew_deadline: timedelta = timedelta(seconds=10)
    retry: timedelta = timedelta(seconds=2)

    def __str__(self) -> str:
        return f"Lease {self.namespace}/{self.name}"


@dataclass(slots=True)
class Election:
    """
    The wish of one process to hold a Lease.

    Args:
        identity: Of this process alone, never used twice.
        clock: For the times that people read in the Lease; nothing is decided by them.
        jitter: Draws a number in [0, 1) evenly.
        changed: Is told whether we hold it, whenever that changes.
    """

    leases: Leases
    terms: Terms
    identity: str
    clock: Clock
    jitter: Callable[[], float]
    changed: Callable[[bool], None] = lambda _held: None
    _held: bool = False
    _renewed_at: float = 0.0
    """On the loop's clock: when the last renewal that succeeded was sent."""
    _seen: Mapping[str, Any] = field(default_factory=dict)
    _seen_at: float = 0.0
    """On the loop's clock: when the Lease was first seen as it is."""

    def is_held(self) -> bool:
        """Whether nobody else can hold it yet, by our own clock; cheap, for every write."""
        return self._held and self._left() > 0

    def holder(self) -> str:
        """Who held it when it was last seen; empty for nobody."""
        return str(self._seen.get("holderIdentity") or "")

    async def acquire(self, standing_by: Callable[[str], None]) -> None:
        """
        Wait until it is ours; `standing_by` is told who has it, each time that changes.

        An API server that does not answer is asked again. Raises Refused where a right is missing.
        """
        told: str | None = None
        while not await self._try(self._patience):
            if self.holder() != told:
                told = self.holder()
                log.info("standing by: %s is held by %s", self.terms, told or "nobody")
                standing_by(told)
            spread = EARLIEST + (LATEST - EARLIEST) * self.jitter()
            await asyncio.sleep(self.terms.retry.total_seconds() / 2 * spread)
        log.info("%s is ours, as %s", self.terms, self.identity)
        self.changed(True)

    async def keep(self) -> None:
        """Renew it until cancelled; raises LeaseLost as soon as it is not surely ours any more."""
        while True:
            await asyncio.sleep(min(self.terms.retry.total_seconds(), self._left()))
            try:
                # Who overslept asks once more before giving up: nobody may have taken it.
                renewed = await self._try(min(self._patience, self._left() or self._patience))
            except Refused as error:  # somebody took the right away: the deadline decides
                renewed = False
                log.warning("could not renew %s: %s", self.terms, error)
            if not renewed and self.holder() not in ("", self.identity):
                self._lose(f"{self.holder()} holds it")
            if not renewed and self._left() <= 0:
                self._lose(f"not renewed for {self.terms.renew_deadline.total_seconds():g} s")

    async def release(self) -> None:
        """Hand it over at once, if it is ours; what cannot be told leaves it to run out."""
        if self._held:
            self._held = False
            self.changed(False)
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                found = await self.leases.get(LEASE, self.terms.namespace, self.terms.name)
                spec = (found or {}).get("spec") or {}
                # What was cut off while it was written may be ours without our knowing.
                if found is None or spec.get("holderIdentity") != self.identity:
                    return
                spec = {**spec, "holderIdentity": "", "leaseDurationSeconds": 1}
                await self.leases.replace({**found, "spec": spec})
        except (Unavailable, Refused, TimeoutError) as error:
            log.warning("could not release %s, it runs out by itself: %s", self.terms, error)
        else:
            log.info("released %s", self.terms)

    @property
    def _patience(self) -> float:
        """Seconds for one try: half the deadline, so that a second one fits in."""
        return self.terms.renew_deadline.total_seconds() / 2

    def _left(self) -> float:
        """Seconds until it has to be renewed; 0 when it is too late."""
        age = asyncio.get_running_loop().time() - self._renewed_at
        return max(0.0, self.terms.renew_deadline.total_seconds() - age)

    def _lose(self, why: str) -> None:
        self._held = False
        self.changed(False)
        raise LeaseLost(f"{self.terms} is lost: {why}")

    async def _try(self, patience: float) -> bool:
        """Take or renew it; False if it is another's, or nobody answered in `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                return await self._take()
        except Unavailable as error:  # a lost race too: whoever won it is seen the next time
            log.debug("could not write %s: %s", self.terms, error)
        except TimeoutError:
            log.warning("%s: no answer in %.1f s", self.terms, patience)
        return False

    async def _take(self) -> bool:
        loop = asyncio.get_running_loop()
        found = await self.leases.get(LEASE, self.terms.namespace, self.terms.name)
        now = loop.time()
        if found is None:
            self._hold(await self.leases.create(self._render(None)), now)
            return True
        spec = found.get("spec") or {}
        if spec != self._seen:
            self._seen, self._seen_at = spec, now
        if self.holder() not in ("", self.identity) and now < self._seen_at + _lasts(spec):
            return False
        self._hold(await self.leases.replace(self._render(found)), now)
        return True

    def _hold(self, written: Manifest, sent_at: float) -> None:
        self._held, self._renewed_at = True, sent_at
        self._seen, self._seen_at = written["spec"], sent_at

    def _render(self, found: Manifest | None) -> Manifest:
        """Return the Lease as ours; what others wrote into its metadata stays."""
        before: Mapping[str, Any] = (found or {}).get("spec") or {}
        mine = before.get("holderIdentity") == self.identity
        now = _micro_time(self.clock.now())
        changes = int(before.get("leaseTransitions") or 0)
        spec = {
            **before,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": round(self.terms.duration.total_seconds()),
            "acquireTime": before.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": changes if mine or found is None else changes + 1,
        }
        own = {"namespace": self.terms.namespace, "name": self.terms.name}
        base = found or {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": own}
        return {**base, "spec": spec}


def _lasts(spec: Mapping[str, Any]) -> float:
    """Seconds that the holder asked for; one that says nothing asked for none."""
    return float(spec.get("leaseDurationSeconds") or 0)


def _micro_time(moment: datetime) -> str:
    """Write a moment as a Lease has it: UTC with exactly six digits."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Fenced:
    """A Cluster that writes only while the Lease is held; reads pass."""

    def __init__(self, cluster: Cluster, election: Election) -> None:
        """Stand before `cluster`."""
        self._cluster = cluster
        self._election = election
        self.get, self.list = cluster.get, cluster.list

    async def create(self, manifest: Manifest) -> Manifest:
        """See Cluster."""
        self._check()
        return await self._cluster.create(manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        """See Cluster."""
        self._check()
        return await self._cluster.apply(manifest)

    async def patch_status(self, current: Manifest, status: Manifest) -> Manifest:
        """See Cluster."""
        self._check()
        return await self._cluster.patch_status(current, status)

    async def delete(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """See Cluster."""
        self._check()
        await self._cluster.delete(kind, namespace, name, uid)

    def _check(self) -> None:
        if not self._election.is_held():
            raise ClusterUnavailable(f"{self._election.terms} is not held: nothing is written")
