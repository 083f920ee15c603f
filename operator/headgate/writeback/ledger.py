"""What was done for which record: one ConfigMap each, in the write-back's own namespace.

Owns the ConfigMap's form, the claim on a record, and its compare-and-swap. Must not know what a
write is. A ConfigMap and not a field of the record, as the write-back may change nothing of the
operator's; in its own namespace, where tenants cannot forge or delete it; immutable once the story
is over, and kept for auditors for a while after the record is gone.

A claim lasts a few minutes, so that two processes do not do the same at once and a dead one holds
nobody up. Nothing depends on it but that: each write is held against what Git has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from headgate.core.memory import render_moment
from headgate.core.writeback.reasons import State
from headgate.core.writeback.wanted import Rollback
from headgate.ports import CONFIG_MAP, Cluster, Manifest

LABELS = {"app.kubernetes.io/managed-by": "headgate-writeback"}
CLAIM = timedelta(minutes=3)
"""How long a claim lasts; an attempt is given up well before."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of the write of one record; texts are empty where there is nothing to say."""

    uid: str
    record: str
    deployment: str
    digest: str
    policy: str
    mode: str
    state: State
    since: datetime
    """When it was claimed first."""
    at: datetime
    """When it was last written."""
    holder: str = ""
    why: str = ""
    message: str = ""
    branch: str = ""
    commit: str = ""
    url: str = ""
    version: str = ""
    """The ConfigMap's resourceVersion; empty before it is stored."""

    @property
    def name(self) -> str:
        """Name of the ConfigMap."""
        return f"headgate-write-{self.uid}".lower()

    def is_held(self, by: str, now: datetime) -> bool:
        """Whether another process than `by` is at it."""
        return self.holder not in ("", by) and now - self.at < CLAIM


class Ledger:
    """All entries of one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        """Keep entries in `namespace`."""
        self._cluster, self._namespace = cluster, namespace

    async def entries(self) -> list[Entry]:
        """Read all entries; one that cannot be read is left out."""
        found = await self._cluster.list(CONFIG_MAP, self._namespace, LABELS)
        return [entry for manifest in found if (entry := _read(manifest)) is not None]

    async def read(self, uid: str) -> Entry | None:
        """Read one entry, live; None if there is none."""
        name = f"headgate-write-{uid}".lower()
        manifest = await self._cluster.get(CONFIG_MAP, self._namespace, name)
        return None if manifest is None else _read(manifest)

    async def open(
        self, rollback: Rollback, policy: str, mode: str, holder: str, now: datetime
    ) -> Entry:
        """Claim a record that nobody claimed before; raises Conflict if somebody was faster."""
        entry = Entry(
            uid=rollback.uid,
            record=str(rollback),
            deployment=f"{rollback.namespace}/{rollback.deployment}",
            digest=rollback.digest,
            policy=policy,
            mode=mode,
            state=State.CLAIMED,
            since=now,
            at=now,
            holder=holder,
        )
        stored = await self._cluster.create(self._render(entry))
        return replace(entry, version=stored["metadata"]["resourceVersion"])

    async def store(self, entry: Entry) -> Entry:
        """Replace an entry by compare-and-swap; raises Conflict if it changed since."""
        stored = await self._cluster.apply(self._render(entry))
        return replace(entry, version=stored["metadata"]["resourceVersion"])

    async def drop(self, entry: Entry) -> None:
        """Forget an entry."""
        manifest = await self._cluster.get(CONFIG_MAP, self._namespace, entry.name)
        if manifest is not None:
            uid = manifest["metadata"]["uid"]
            await self._cluster.delete(CONFIG_MAP, self._namespace, entry.name, uid)

    def _render(self, entry: Entry) -> dict[str, Any]:
        metadata = {"name": entry.name, "namespace": self._namespace, "labels": dict(LABELS)}
        if entry.version:
            metadata["resourceVersion"] = entry.version
        values = {each.name: getattr(entry, each.name) for each in fields(entry)}
        data = {
            name: render_moment(value) if isinstance(value, datetime) else str(value)
            for name, value in values.items()
            if name != "version"
        }
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        return {**manifest, "immutable": True} if entry.state.is_final else manifest


def outlived(
    entries: Sequence[Entry], present: Collection[str], keep: timedelta, now: datetime
) -> list[Entry]:
    """Return the finished entries whose record is gone and that were kept long enough."""
    return [
        entry
        for entry in entries
        if entry.state.is_final and entry.uid not in present and now - entry.at > keep
    ]


def _read(manifest: Manifest) -> Entry | None:
    data: Mapping[str, str] = manifest.get("data") or {}
    try:
        texts = {each.name: data.get(each.name, "") for each in fields(Entry)}
        return Entry(
            **{
                **texts,
                "state": State(data["state"]),
                "since": datetime.fromisoformat(data["since"]),
                "at": datetime.fromisoformat(data["at"]),
                "version": manifest["metadata"]["resourceVersion"],
            }
        )
    except (KeyError, ValueError, TypeError):
        return None
