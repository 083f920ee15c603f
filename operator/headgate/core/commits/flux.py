"""The commit of an object by its Flux Kustomization or HelmRelease.

Owns the reading of both and of the sources behind them. Must not know how they were found.

Both write `status.lastAttemptedRevision` before they apply anything, and `Ready` is Unknown until
they are done (kustomize-controller, internal/controller/kustomization_controller.go). So an object
that was written while one is under way has its commit at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from headgate.core.commits.attempts import Attempt, is_outdated, writing_attempt
from headgate.core.commits.claims import Tracking
from headgate.core.commits.value import (
    NOWHERE,
    Certainty,
    Commit,
    Place,
    address,
    at,
    cleaned,
    unknown,
)
from headgate.core.memory import read_moment
from headgate.core.wording import plain

ORIGIN_SOURCE = "org.opencontainers.image.source"
"""Annotation of an OCI artifact that names its repository (`flux push artifact --source`)."""

ORIGIN_REVISION = "org.opencontainers.image.revision"
"""Its annotation that names the commit (`flux push artifact --revision`)."""

_REVISION = re.compile(r"(?:(?P<ref>.*)@)?(?P<kind>sha1|sha256):(?P<hex>[0-9a-f]{40,64})")
_SECONDS = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)(m?)s)?")
_MOST_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class SourceName:
    """The GitRepository, OCIRepository, HelmRepository or Bucket that something is made from."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def source_of(kustomization: Mapping[str, Any]) -> SourceName | None:
    """Name the source of a Kustomization; None if it names none."""
    reference = _map(_map(kustomization.get("spec")).get("sourceRef"))
    return _source_name(reference, kustomization)


def chart_source_of(release: Mapping[str, Any]) -> SourceName | None:
    """Name where a HelmRelease takes its chart from; None if it names none."""
    spec = _map(release.get("spec"))
    chart = _map(_map(spec.get("chart")).get("spec"))
    return _source_name(_map(chart.get("sourceRef")) or _map(spec.get("chartRef")), release)


def _source_name(reference: Mapping[str, Any], owner: Mapping[str, Any]) -> SourceName | None:
    kind, name = cleaned(reference.get("kind")), cleaned(reference.get("name"))
    namespace = cleaned(reference.get("namespace")) or str(owner["metadata"]["namespace"])
    return SourceName(kind, namespace, name) if kind and name else None


def read_revision(text: object) -> Place:
    """Read `main@sha1:<hex>`, `sha1:<hex>` or `latest@sha256:<hex>`; else nothing is known.

    What follows `sha1` is a commit; a SHA-256 is the digest of an artifact.
    """
    told = cleaned(text)
    match = _REVISION.fullmatch(told)
    if match is None:
        return NOWHERE
    is_commit = match["kind"] == "sha1"
    revision = match["hex"] if is_commit else f"sha256:{match['hex']}"
    return Place(revision=revision, ref=match["ref"] or "")


# --- Kustomization -------------------------------------------------------------------------------


def read_kustomization(
    kustomization: Mapping[str, Any],
    source: Mapping[str, Any] | None,
    owned: Mapping[str, Any],
    written: datetime | None,
) -> Commit:
    """Tell the commit of `owned`, whose spec was last written at `written` (None: not known).

    `source` is the GitRepository or OCIRepository; None if it cannot be read, and then the
    repository's address is not known.
    """
    told_by = _called("Kustomization", kustomization)
    status = _map(kustomization.get("status"))
    if not _is_listed(status, owned):
        why = f"{told_by} does not list this object in its inventory"
        return unknown(why, told_by, pending=_is_under_way(status) or "inventory" not in status)
    attempts = _kustomize_attempts(status)
    applied = status.get("lastAppliedOriginRevision") or status.get("lastAppliedRevision")
    found = _by_attempts(attempts, read_revision(applied), written, told_by)
    return _located(found, kustomization, source)


def _is_listed(status: Mapping[str, Any], owned: Mapping[str, Any]) -> bool:
    """Whether the inventory has it, as `<namespace>_<name>_<group>_<kind>`."""
    metadata, group = owned["metadata"], owned["apiVersion"].partition("/")[0]
    id = f"{metadata['namespace']}_{metadata['name']}_{group}_{owned['kind']}"
    entries = _maps(_map(status.get("inventory")).get("entries"))
    return any(one.get("id") == id for one in entries)


def _kustomize_attempts(status: Mapping[str, Any]) -> list[Attempt]:
    """List the attempts that are known, the one under way first."""
    found = []
    since = _ready_since(status) if _is_under_way(status) else None
    attempted = _only(read_revision(status.get("lastAttemptedRevision")))
    if since is not None:
        found.append(Attempt(since, None, attempted))
    for entry in list(_maps(status.get("history")))[:_MOST_ATTEMPTS]:
        found += _history_attempts(entry)
    ended = _ready_since(status)
    if not found and ended is not None:  # Flux before 2.7 keeps no history
        found.append(Attempt(ended, ended, attempted))
    return found


def _history_attempts(entry: Mapping[str, Any]) -> Iterator[Attempt]:
    """Read one entry of the history: the first and the last time that manifests were applied."""
    told = _map(entry.get("metadata"))
    place = read_revision(told.get("originRevision") or told.get("revision"))
    took = _duration(entry.get("lastReconciledDuration"))
    for name in ("lastReconciled", "firstReconciled"):
        finished = read_moment(entry.get(name))
        if finished is not None:
            yield Attempt(finished - took, finished, _only(place))


def _by_attempts(
    attempts: Sequence[Attempt], applied: Place, written: datetime | None, told_by: str
) -> Commit:
    """Choose by the times; `applied` is what was applied last and found to be so, if anything."""
    writing = writing_attempt(attempts, written) if written is not None else None
    if writing is not None and written is not None:
        return _synced(writing, written, told_by)
    if written is not None and is_outdated(attempts, written):
        why = f"{told_by} does not tell of an attempt at {at(written)}, when it was written"
        return unknown(why, told_by, pending=True)
    if not applied.revision:
        when = f"of {at(written)}" if written is not None else "that is known by its time"
        return unknown(f"{told_by} remembers no attempt {when}, when it was written", told_by)
    said = f"{told_by} applied this commit later and found the object as it has it"
    return Commit(Certainty.CONTAINED, plain(said), applied, told_by)


def _synced(attempt: Attempt, written: datetime, told_by: str) -> Commit:
    until = f"until {at(attempt.finished)}" if attempt.finished else "and still does"
    said = (
        f"{told_by} applied it from {at(attempt.started)} {until}; "
        f"the object was written at {at(written)}"
    )
    place = attempt.places[0] if attempt.places else NOWHERE
    if not place.revision:
        return unknown(f"{told_by} does not name a commit yet", told_by, attempt.finished is None)
    return Commit(Certainty.SYNCED, plain(said), place, told_by)


def _located(
    found: Commit, kustomization: Mapping[str, Any], source: Mapping[str, Any] | None
) -> Commit:
    path = cleaned(_map(kustomization.get("spec")).get("path")).removeprefix("./")
    place = _traced_back(found.place, source)
    place = replace(place, repository=_repository(source), path=path)
    if place.revision.startswith("sha256:"):
        said = f"{found.message}; the artifact {place.revision} does not tell its commit"
        return replace(found, place=place, message=plain(said))
    return replace(found, place=place)


def _traced_back(place: Place, source: Mapping[str, Any] | None) -> Place:
    """Go from an artifact to the commit it was made from, if its source is still at it."""
    artifact = _map(_map(_map(source).get("status")).get("artifact"))
    same = read_revision(artifact.get("revision")).revision == place.revision
    if not place.revision.startswith("sha256:") or not same:
        return place
    origin = read_revision(_map(artifact.get("metadata")).get(ORIGIN_REVISION))
    return origin if origin.revision else place


def _repository(source: Mapping[str, Any] | None) -> str:
    """The address of a source; of an OCI artifact that of what it was made from, if it says so."""
    if source is None:
        return ""
    artifact = _map(_map(source.get("status")).get("artifact"))
    origin = address(_map(artifact.get("metadata")).get(ORIGIN_SOURCE))
    return origin or address(_map(source.get("spec")).get("url"))


# --- HelmRelease ---------------------------------------------------------------------------------


def read_release(
    release: Mapping[str, Any],
    chart_source: Mapping[str, Any] | None,
    owned: Mapping[str, Any],
    written: datetime | None,
) -> Commit:
    """Tell the chart that `owned` was rendered from, by `status.history` of the HelmRelease.

    The version of a chart is no commit: what was changed to it is where the HelmRelease itself is
    written (see `with_release`). Without an inventory the label alone says that it is its own.
    """
    told_by = _called("HelmRelease", release)
    status = _map(release.get("status"))
    listed = _is_listed(status, owned)
    if "inventory" in status and not listed:
        why = f"{told_by} does not list this object in its inventory"
        return unknown(why, told_by, pending=_is_under_way(status))
    attempts = _helm_attempts(release, status, chart_source)
    found = _by_attempts(attempts, NOWHERE, written, told_by)
    if found.certainty is Certainty.SYNCED and not listed:
        said = f"{found.message}; that it owns the object is only what the object's labels claim"
        return replace(found, certainty=Certainty.CLAIMED, message=plain(said))
    return found


def _helm_attempts(
    release: Mapping[str, Any], status: Mapping[str, Any], source: Mapping[str, Any] | None
) -> list[Attempt]:
    """List the releases that are known, the one under way first; each lasts until the next one."""
    found, until = [], _ready_since(status)
    if _is_under_way(status) and until is not None:
        place = _chart(release, {"chartVersion": status.get("lastAttemptedRevision")}, source)
        found.append(Attempt(until, None, _only(place)))
    for entry in list(_maps(status.get("history")))[:_MOST_ATTEMPTS]:
        started = read_moment(entry.get("lastDeployed"))
        if started is not None:
            ended = max(until, started) if until is not None else started
            found.append(Attempt(started, ended, _only(_chart(release, entry, source))))
            until = started
    return found


def _chart(
    release: Mapping[str, Any], entry: Mapping[str, Any], source: Mapping[str, Any] | None
) -> Place:
    spec = _map(_map(_map(release.get("spec")).get("chart")).get("spec"))
    digest = cleaned(entry.get("ociDigest"))
    version = cleaned(entry.get("chartVersion"))
    name = cleaned(entry.get("chartName")) or cleaned(spec.get("chart"))
    revision = f"{version}@{digest}" if version and digest else version
    return Place(repository=_repository(source), revision=revision, chart=name)


def with_release(chart: Commit, release: Mapping[str, Any], written_by: Commit) -> Commit:
    """Name the commit in which a HelmRelease is written as that of what it renders.

    `chart` is what `read_release` told, `written_by` the commit of the HelmRelease itself.
    """
    told_by = f"{_called('HelmRelease', release)} by {written_by.told_by}"
    version = f"{chart.place.chart} {chart.place.revision}".strip()
    said = f"{chart.message}; the HelmRelease itself: {written_by.message}"
    # As sure as the weaker of the two.
    order = [*Certainty]
    certainty = max(chart.certainty, written_by.certainty, key=order.index)
    place = replace(written_by.place, chart=version)
    return replace(
        written_by, certainty=certainty, place=place, told_by=told_by, message=plain(said)
    )


# --- what both have ------------------------------------------------------------------------------


def _called(kind: str, manifest: Mapping[str, Any]) -> str:
    metadata = manifest["metadata"]
    return str(Tracking(kind, "", str(metadata["namespace"]), str(metadata["name"])))


def _condition(status: Mapping[str, Any], type: str) -> Mapping[str, Any]:
    return next((c for c in _maps(status.get("conditions")) if c.get("type") == type), {})


def _is_under_way(status: Mapping[str, Any]) -> bool:
    return _condition(status, "Ready").get("status") == "Unknown"


def _ready_since(status: Mapping[str, Any]) -> datetime | None:
    return read_moment(_condition(status, "Ready").get("lastTransitionTime"))


def _only(place: Place) -> tuple[Place, ...]:
    return (place,) if place.revision else ()


def _duration(text: object) -> timedelta:
    """Read a duration as Go writes it, such as `1m2.5s`; anything else is no time at all."""
    match = _SECONDS.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return timedelta(0)
    hours, minutes, seconds, milli = match.groups()
    last = float(seconds or 0) / (1000 if milli else 1)
    return timedelta(hours=int(hours or 0), minutes=int(minutes or 0), seconds=last)


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: object) -> Iterator[Mapping[str, Any]]:
    for one in value if isinstance(value, list) else ():
        if isinstance(one, Mapping):
            yield one
