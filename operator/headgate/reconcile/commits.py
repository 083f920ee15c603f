"""The commit of a rollout, read from the tool that applied the ModelDeployment.

Owns which objects are asked, and what it means that they may not be read. Must not decide
anything by it: a commit is told, and no weight or phase ever waits for it. Every read is bounded by
time and by the namespaces that the platform team has allowed; what names them is untrusted text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from headgate.core.commits import argo, flux
from headgate.core.commits.claims import (
    Tracking,
    choose,
    claimed_commit,
    detailed,
    last_writer,
    read_claims,
    trackings_of,
    written_by_another,
)
from headgate.core.commits.value import (
    Certainty,
    Commit,
    read_rendered,
    render,
    stored_commit,
    unknown,
    with_note,
)
from headgate.core.lifecycle import Phase, Revision
from headgate.core.memory import read_moment
from headgate.ports import (
    APPLICATION,
    GIT_REPOSITORY,
    HELM_RELEASE,
    KUSTOMIZATION,
    OCI_REPOSITORY,
    Kind,
    Manifest,
    Refused,
    Unavailable,
)
from headgate.reconcile.observe import Observation
from headgate.reconcile.world import World

_SOURCES = {kind.kind: kind for kind in (GIT_REPOSITORY, OCI_REPOSITORY)}
_MOST_COMMITS = 8
"""Commits that a revision keeps; the schema's bound."""


class _Untold(Exception):
    """Nobody can be asked; the text says why. `pending` if that may change within seconds."""

    def __init__(self, why: str, told_by: str = "", pending: bool = False) -> None:
        super().__init__(why)
        self.told_by, self.pending = told_by, pending


async def read_commit(owner: Manifest, world: World) -> Commit:
    """Tell the commit that a ModelDeployment comes from; never raises for what is outside."""
    claims = read_claims(owner["metadata"])
    try:
        async with asyncio.timeout(world.options.commit_within.total_seconds()):
            found = await _told(owner, world)
    except TimeoutError:
        within = f"{world.options.commit_within.total_seconds():g} s"
        return claimed_commit(claims, f"there was no answer in {within}", "", pending=True)
    except _Untold as error:
        return claimed_commit(claims, str(error), error.told_by, error.pending)
    if found.certainty is Certainty.UNKNOWN and not found.candidates and not found.hydrated:
        claimed = claimed_commit(claims, found.message, found.told_by, found.pending)
        return found if claimed.certainty is Certainty.UNKNOWN else claimed
    return detailed(found, claims)


async def _told(owner: Manifest, world: World) -> Commit:
    """Ask the tool that owns an object; raises _Untold where none can be asked."""
    trackings = trackings_of(owner, world.options.argocd_instance_label)
    writer = last_writer(owner["metadata"])
    tracking = choose(trackings, writer)
    if tracking is None:
        raise _Untold("no annotation or label of Argo CD or Flux names what applied it")
    if tracking.problem:
        raise _Untold(tracking.problem)
    other = written_by_another(tracking, writer)
    if other:
        raise _Untold(other, str(tracking))
    written = writer.at if writer is not None else None
    match tracking.kind:
        case "Application":
            return await _of_application(tracking, owner, written, world)
        case "Kustomization":
            return await _of_kustomization(tracking, owner, written, world)
    return await _of_release(tracking, owner, written, world)


async def _of_application(
    tracking: Tracking, owned: Manifest, written: datetime | None, world: World
) -> Commit:
    allowed = world.options.argocd_namespaces
    own = next(iter(allowed), "")
    tracking = replace(tracking, namespace=tracking.namespace or own)
    found = await _read(APPLICATION, tracking, allowed, "--argocd-namespaces", world)
    return argo.read_application(found, owned, written)


async def _of_kustomization(
    tracking: Tracking, owned: Manifest, written: datetime | None, world: World
) -> Commit:
    allowed = world.options.flux_namespaces
    found = await _read(KUSTOMIZATION, tracking, allowed, "--flux-namespaces", world)
    source, why = await _source(flux.source_of(found), world)
    return with_note(flux.read_kustomization(found, source, owned, written), why)


async def _of_release(
    tracking: Tracking, owned: Manifest, written: datetime | None, world: World
) -> Commit:
    """Read the release, and then the commit in which the release itself is written."""
    allowed = world.options.flux_namespaces
    release = await _read(HELM_RELEASE, tracking, allowed, "--flux-namespaces", world)
    source, why = await _source(flux.chart_source_of(release), world)
    chart = with_note(flux.read_release(release, source, owned, written), why)
    if chart.certainty is Certainty.UNKNOWN:
        return chart
    try:
        written_by = await _told_of_release(release, world)
    except _Untold as error:
        return with_note(chart, f"the commit of the HelmRelease is unknown: {error}")
    if written_by.certainty is Certainty.UNKNOWN:
        return with_note(chart, f"the commit of the HelmRelease is unknown: {written_by.message}")
    return flux.with_release(chart, release, written_by)


async def _told_of_release(release: Manifest, world: World) -> Commit:
    """Ask for the commit of a HelmRelease: one hop, and never through another HelmRelease."""
    trackings = trackings_of(release, world.options.argocd_instance_label)
    writer = last_writer(release["metadata"])
    tracking = choose([one for one in trackings if one.kind != "HelmRelease"], writer)
    if tracking is None or tracking.problem:
        why = tracking.problem if tracking is not None else "nothing names what applied it"
        raise _Untold(why)
    other = written_by_another(tracking, writer)
    if other:
        raise _Untold(other)
    written = writer.at if writer is not None else None
    ask = _of_application if tracking.kind == "Application" else _of_kustomization
    return await ask(tracking, release, written, world)


async def _source(name: flux.SourceName | None, world: World) -> tuple[Manifest | None, str]:
    """Read the source of a Kustomization or a chart, for its address; or say why it is not known.

    HelmRepositories and Buckets are not read: they name no repository.
    """
    kind = _SOURCES.get(name.kind) if name is not None else None
    if name is None or kind is None:
        return None, f"its source is {name}" if name is not None else ""
    tracking = Tracking(name.kind, "", name.namespace, name.name)
    allowed = world.options.flux_namespaces
    try:
        return await _read(kind, tracking, allowed, "--flux-namespaces", world), ""
    except _Untold as error:
        return None, f"the repository is unknown: {error}"


async def _read(
    kind: Kind, named: Tracking, allowed: Sequence[str], setting: str, world: World
) -> Manifest:
    """Read what tells a commit; raises _Untold with the reason and what would cure it."""
    if not allowed:
        raise _Untold(f"{named} may not be asked: not configured: {setting}", str(named))
    if named.namespace not in allowed:
        raise _Untold(f"{named} may not be asked: its namespace is not in {setting}", str(named))
    try:
        found = await world.cluster.get(kind, named.namespace, named.name)
    except Refused as error:
        right = f"get on {kind.plural}.{kind.group} in namespace {named.namespace}"
        raise _Untold(f"the right is missing to {right}: {error}", str(named)) from error
    except Unavailable as error:
        raise _Untold(f"{named} could not be read: {error}", str(named), pending=True) from error
    if found is None:
        raise _Untold(f"{named} does not exist", str(named))
    return found


# --- what is kept --------------------------------------------------------------------------------


async def commit_at_start(
    owner: Manifest, tried: Revision, returning: bool, records: Sequence[Manifest], world: World
) -> Commit:
    """Tell the commit of a rollout that starts now; `records` are those of its deployment.

    A revision that comes back by itself keeps the commit that brought it.
    """
    newest_first = sorted(records, key=lambda record: -int(record["spec"]["number"]))
    if returning:
        return _commit_it_came_with(tried, newest_first)
    found = await read_commit(owner, world)
    metadata = owner["metadata"]
    same = (metadata["uid"], metadata["generation"])
    for record in newest_first:
        spec, name = record["spec"], record["metadata"]["name"]
        if (spec["deploymentUID"], spec["generation"]) == same:
            again = "so the same revision is tried again"
            other = "so what it names has changed since"
            why = again if spec["to"]["hash"] == tried.hash else other
            return with_note(found, f"the ModelDeployment is as in {name}, {why}")
    return found


def _commit_it_came_with(tried: Revision, newest_first: Sequence[Manifest]) -> Commit:
    for record in newest_first:
        stored = stored_commit(record)
        if record["spec"]["to"]["hash"] == tried.hash and stored is not None:
            name = record["metadata"]["name"]
            note = f"this is how it came in {name}; now it comes back by itself"
            return with_note(replace(read_rendered(stored), pending=False), note)
    return unknown("the revision comes back by itself, and no record tells how it came")


async def settle(
    seen: Observation, record: Manifest | None, phase: Phase, world: World
) -> Manifest | None:
    """Ask once more for a commit that the tool had not told at the start, and keep the answer.

    Only while the candidate is prepared, when no traffic depends on the next pass, and only for
    some seconds. What cannot be read or written is left to the next pass.
    """
    owner = seen.owner
    if record is None or not _may_settle(record, owner, phase, world):
        return record
    found = await read_commit(owner, world)
    if found.pending:
        return record
    status = {**(record.get("status") or {}), "commit": render(found)}
    try:
        return await world.cluster.patch_status(record, status)
    except (Unavailable, Refused):
        return record


def _may_settle(record: Manifest, owner: Manifest, phase: Phase, world: World) -> bool:
    spec = record["spec"]
    started = read_moment(spec["startedAt"])
    young = started is not None and world.clock.now() - started < world.options.commit_settles
    return (
        young
        and phase is Phase.PREPARING
        and bool((stored_commit(record) or {}).get("pending"))
        and spec["generation"] == owner["metadata"]["generation"]
    )


def commit_in_words(record: Manifest) -> str:
    """Say the commit on record in one line; "" where it is not known."""
    commit = read_rendered(stored_commit(record) or {})
    return "" if commit.certainty is Certainty.UNKNOWN else str(commit)


def commits_of_revision(
    before: Sequence[Mapping[str, Any]], record: Manifest
) -> list[dict[str, Any]]:
    """Return the commits of the revision that `record` tries: the first, and the latest ones.

    A commit that is listed already is not listed again, unless it is the same rollout's.
    """
    stored, name = stored_commit(record), record["metadata"]["name"]
    others = [dict(entry) for entry in before if entry["rollout"] != name]
    if stored is None or any(_is_same(entry["commit"], stored) for entry in others):
        return [dict(entry) for entry in before]
    place = next((n for n, entry in enumerate(before) if entry["rollout"] == name), len(others))
    others.insert(place, {"rollout": name, "commit": dict(stored)})
    return [*others[:1], *others[1:][-(_MOST_COMMITS - 1) :]]


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both are the same known commit of the same place."""
    names = ("repository", "revision", "path", "chart")
    return bool(one.get("revision")) and all(one.get(n) == other.get(n) for n in names)
