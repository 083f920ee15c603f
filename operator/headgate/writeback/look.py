"""The look at all policies and records, every half a minute.

Owns which records are handed to passes, the policies' status, and what is forgotten. Must not know
what a pass does. A list and no watch: Git may wait half a minute, only namespaces that a policy
names are read, and without a policy nothing is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from headgate.adapters.hosts import Hosts
from headgate.core.writeback.reasons import State
from headgate.core.writeback.wanted import is_rollback
from headgate.ports import MODEL_ROLLOUT, RELEASE_POLICY, Cluster, Conflict, Manifest, Refused
from headgate.reconcile.world import Key
from headgate.writeback.ledger import Entry, outlived
from headgate.writeback.policies import Judged, in_force, judge, render_status
from headgate.writeback.world import World

log = logging.getLogger("headgate.writeback")


@dataclass(slots=True)
class Look:
    """
    Looks at everything once.

    Args:
        world: Gets the policies in force.
        hosts: Which hosts a policy may name.
        wake: Asks for a pass over a record.
        keep: How long a finished entry is kept after its record is gone.
    """

    world: World
    hosts: Hosts
    wake: Callable[[Key], None]
    keep: timedelta
    _present: set[str] = field(default_factory=set)
    _followed: set[str] = field(default_factory=set)  # open pull requests: their pass comes back
    _unreadable: set[str] = field(default_factory=set)

    async def run(self, now: datetime) -> None:
        """Look; raises ClusterUnavailable, and Refused where policies may not be listed."""
        cluster = self.world.cluster
        judged = judge(await cluster.list(RELEASE_POLICY, None, {}), self.hosts)
        self.world.policies = in_force(judged)
        entries = await self.world.ledger.entries()
        finished = {entry.uid for entry in entries if entry.state.is_final}
        finished |= self._followed & {e.uid for e in entries if e.state is State.PROPOSED}
        self._present.clear()
        self._unreadable.clear()
        for namespace in sorted(self.world.policies):
            await self._wake_all(cluster, namespace, finished)
        self._followed = {e.uid for e in entries if e.state is State.PROPOSED}
        await self._report(judged, entries, now)
        await self._forget(entries, now)

    async def _wake_all(self, cluster: Cluster, namespace: str, finished: set[str]) -> None:
        """Ask for a pass over each record of a namespace that may want one."""
        try:
            records = await cluster.list(MODEL_ROLLOUT, namespace, {})
        except Refused as error:
            log.warning("%s", error)
            self._unreadable.add(namespace)
            return
        for record in records:
            metadata = record["metadata"]
            self._present.add(metadata["uid"])
            is_over = is_rollback(record.get("status") or {})
            if is_over and metadata["uid"] not in finished:
                self.wake(Key(namespace, metadata["name"]))

    async def _report(
        self, judged: Sequence[Judged], entries: Sequence[Entry], now: datetime
    ) -> None:
        for each in judged:
            status = render_status(each, entries, self._unreadable, now)
            if _content(status) == _content(each.manifest.get("status") or {}):
                continue
            try:
                await self.world.cluster.patch_status(each.manifest, status)
            except Conflict:
                continue  # somebody changed it: the next look says what is so then

    async def _forget(self, entries: Sequence[Entry], now: datetime) -> None:
        """Drop old entries, but none while the records of some namespace are not known."""
        if self._unreadable or not self.world.policies:
            return
        for entry in outlived(entries, self._present, self.keep, now):
            await self.world.ledger.drop(entry)


def _content(status: Manifest) -> dict[str, Any]:
    """Return what of a status is worth a write."""
    return {
        key: status[key] for key in ("observedGeneration", "recent", "conditions") if key in status
    }
