"""The commit of an object by its Argo CD Application.

Owns the reading of an Application (argoproj.io/v1alpha1). Must not know how it was found.

An operation names its revision before it applies anything: `operation.sync` when it starts,
`syncResult` once Argo CD has resolved it. So an object that was written while the newest operation
ran has its commit at once; an older one is found in `status.history`, by its times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from headgate.core.commits.attempts import Attempt, is_outdated, writing_attempt
from headgate.core.commits.value import (
    LONGEST_NAME,
    NOWHERE,
    Certainty,
    Commit,
    Place,
    address,
    at,
    cleaned,
    is_sha,
    unknown,
)
from headgate.core.memory import read_moment
from headgate.core.wording import plain

_MOST_ATTEMPTS = 20


def read_application(
    application: Mapping[str, Any], owned: Mapping[str, Any], written: datetime | None
) -> Commit:
    """Tell the commit of `owned`, whose spec was last written at `written` (None: not known)."""
    told_by = _called(application)
    status = _map(application.get("status"))
    entry = _entry_of(status, owned)
    if entry is None:
        why = f"{told_by} does not list this object among its resources"
        return unknown(why, told_by, pending=True)
    attempts = _attempts(application, status, owned)
    writing = writing_attempt(attempts, written) if written is not None else None
    if writing is not None and written is not None:
        return _synced(application, writing, written, told_by)
    if _is_compared(status, entry, written):
        return _contained(application, status, told_by)
    return unknown(*_nothing(attempts, written, told_by))


def _nothing(
    attempts: Sequence[Attempt], written: datetime | None, told_by: str
) -> tuple[str, str, bool]:
    """Say why nothing is known, by whom, and whether more may be told in some seconds."""
    if written is None:
        why = f"nobody tells when the object was written, and {told_by} does not find it in sync"
        return why, told_by, False
    if is_outdated(attempts, written):
        why = f"{told_by} does not tell of a sync at {at(written)}, when the object was written"
        return why, told_by, True
    why = f"{told_by} remembers no sync of {at(written)} any more, when the object was written"
    return why, told_by, False


def _called(application: Mapping[str, Any]) -> str:
    metadata = application["metadata"]
    return f"Application {metadata['namespace']}/{metadata['name']}"


def _entry_of(status: Mapping[str, Any], owned: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find the object among the Application's resources: its own word, not the object's."""
    metadata = owned["metadata"]
    wanted = {
        "group": owned["apiVersion"].partition("/")[0],
        "kind": owned["kind"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
    }
    result = _map(_map(status.get("operationState")).get("syncResult"))
    listed = (*_maps(status.get("resources")), *_maps(result.get("resources")))
    return next((one for one in listed if wanted.items() <= one.items()), None)


def _is_compared(
    status: Mapping[str, Any], entry: Mapping[str, Any], written: datetime | None
) -> bool:
    """Whether Argo CD has found the object as Git has it, since it was written."""
    compared = read_moment(status.get("reconciledAt"))
    newer = compared is not None and (written is None or compared >= written)
    return newer and entry.get("status") == "Synced"


# --- attempts ------------------------------------------------------------------------------------


def _attempts(
    application: Mapping[str, Any], status: Mapping[str, Any], owned: Mapping[str, Any]
) -> list[Attempt]:
    """List what Argo CD remembers of its operations, the newest first."""
    state = _map(status.get("operationState"))
    newest = _operation(application, state) if _may_have_written(state, owned) else None
    history = list(_maps(status.get("history")))[-_MOST_ATTEMPTS:]
    past = [_past(application, one) for one in reversed(history)]
    return [one for one in (newest, *past) if one is not None]


def _may_have_written(state: Mapping[str, Any], owned: Mapping[str, Any]) -> bool:
    """Whether an operation is no dry run, and either of all objects or of this one."""
    sync = _map(_map(state.get("operation")).get("sync"))
    chosen = list(_maps(sync.get("resources")))
    own = (owned["apiVersion"].partition("/")[0], owned["kind"], owned["metadata"]["name"])
    of_this = any((one.get("group"), one.get("kind"), one.get("name")) == own for one in chosen)
    return sync.get("dryRun") is not True and (not chosen or of_this)


def _operation(application: Mapping[str, Any], state: Mapping[str, Any]) -> Attempt | None:
    started = read_moment(state.get("startedAt"))
    if started is None:
        return None
    operation = _map(state.get("operation"))
    result = _map(state.get("syncResult"))
    sync = _map(operation.get("sync"))
    known = result if result.get("revision") or result.get("revisions") else sync
    running = state.get("phase") in ("Running", "Terminating")
    finished = None if running else read_moment(state.get("finishedAt")) or started
    places = _places(known, _spec(application))
    return Attempt(started, finished, places, _initiator(operation.get("initiatedBy")))


def _past(application: Mapping[str, Any], entry: Mapping[str, Any]) -> Attempt | None:
    finished = read_moment(entry.get("deployedAt"))
    if finished is None:
        return None
    started = read_moment(entry.get("deployStartedAt")) or finished
    places = _places(entry, _spec(application))
    return Attempt(started, finished, places, _initiator(entry.get("initiatedBy")))


def _initiator(told: object) -> str:
    initiated = _map(told)
    name = cleaned(initiated.get("username"), LONGEST_NAME)
    return name or ("automated sync policy" if initiated.get("automated") is True else "")


def _spec(application: Mapping[str, Any]) -> Mapping[str, Any]:
    return _map(application.get("spec"))


def _places(told: Mapping[str, Any], spec: Mapping[str, Any]) -> tuple[Place, ...]:
    """List the sources that may hold manifests, with their revisions; `told` may name its own.

    Sources that only lend their files to others (a `ref` without path and chart) hold none.
    """
    sources = list(_maps(told.get("sources"))) or list(_maps(spec.get("sources")))
    revisions = told.get("revisions")
    if sources:
        listed = revisions if isinstance(revisions, list) else []
        padded = [*listed, *[""] * len(sources)]
        pairs = list(zip(sources, padded, strict=False))
    else:
        source = _map(told.get("source")) or _map(spec.get("source")) or _hydrated_source(spec)
        pairs = [(source, told.get("revision"))]
    found = [_place(source, revision) for source, revision in pairs if _holds(source, pairs)]
    return tuple(found)


def _holds(source: Mapping[str, Any], all_sources: Sequence[Any]) -> bool:
    return (
        len(all_sources) == 1
        or not source.get("ref")
        or bool(source.get("path") or source.get("chart"))
    )


def _place(source: Mapping[str, Any], revision: object) -> Place:
    told = cleaned(revision)
    chart = cleaned(source.get("chart"))
    # Only a whole commit id is one; of a chart it is the version. `HEAD` is not resolved yet.
    return Place(
        repository=address(source.get("repoURL")),
        revision=told if is_sha(told) or chart or told.startswith("sha256:") else "",
        ref=cleaned(source.get("targetRevision")),
        path=cleaned(source.get("path")),
        chart=chart,
    )


def _hydrated_source(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an Application with a source hydrator syncs from: the rendered branch."""
    hydrator = _map(spec.get("sourceHydrator"))
    sync, dry = _map(hydrator.get("syncSource")), _map(hydrator.get("drySource"))
    return {
        "repoURL": sync.get("repoURL") or dry.get("repoURL"),
        "targetRevision": sync.get("targetBranch"),
        "path": sync.get("path"),
    }


# --- commits -------------------------------------------------------------------------------------


def _synced(
    application: Mapping[str, Any], attempt: Attempt, written: datetime, told_by: str
) -> Commit:
    until = f"until {at(attempt.finished)}" if attempt.finished else "and still does"
    said = (
        f"{told_by} synced it from {at(attempt.started)} {until}; "
        f"the object was written at {at(written)}"
    )
    found = Commit(Certainty.SYNCED, plain(said), told_by=told_by)
    found = replace(found, initiated_by=attempt.initiated_by)
    return _placed(application, found, attempt.places, pending=attempt.finished is None)


def _contained(application: Mapping[str, Any], status: Mapping[str, Any], told_by: str) -> Commit:
    said = f"{told_by} compared this commit later and found the object as it has it"
    found = Commit(Certainty.CONTAINED, plain(said), told_by=told_by)
    places = _places(_map(status.get("sync")), _spec(application))
    return _placed(application, found, places, pending=False)


def _placed(
    application: Mapping[str, Any], found: Commit, places: Sequence[Place], pending: bool
) -> Commit:
    """Say which of the places it is; several of one commit are one commit without a path."""
    told_by = found.told_by
    if len(places) > 1:
        same = {(one.repository, one.revision, one.ref) for one in places}
        candidates = tuple(places)
        if len(same) > 1:
            why = f"{told_by} has {len(places)} sources, and does not tell which one has the object"
            return replace(unknown(why, told_by), candidates=candidates)
        place = replace(places[0], path="", chart="")
        return _checked(replace(found, place=place, candidates=candidates), pending)
    place = places[0] if places else NOWHERE
    return _checked(_dry(application, replace(found, place=place)), pending)


def _checked(found: Commit, pending: bool) -> Commit:
    if found.place.revision:
        return found
    why = f"{found.told_by} does not name a commit yet"
    return replace(unknown(why, found.told_by, pending), place=found.place)


def _dry(application: Mapping[str, Any], found: Commit) -> Commit:
    """Go from the rendered commit back to the one that it was rendered from, if Argo CD knows."""
    hydrator = _map(_spec(application).get("sourceHydrator"))
    if not hydrator or not found.place.revision:
        return found
    hydrated, told_by = found.place.revision, found.told_by
    dry = next(_dry_places(application, hydrated), None)
    if dry is not None:
        said = f"{found.message}; its manifests were rendered to {hydrated}"
        return replace(found, place=dry, hydrated=hydrated, message=plain(said))
    why = f"{told_by} synced the rendered commit {hydrated}, and does not tell what it is made from"
    return replace(unknown(why, told_by), place=found.place, hydrated=hydrated)


def _dry_places(application: Mapping[str, Any], hydrated: str) -> Iterator[Place]:
    status = _map(_map(application.get("status")).get("sourceHydrator"))
    for name in ("lastSuccessfulOperation", "currentOperation"):
        operation = _map(status.get(name))
        revision = cleaned(operation.get("drySHA"))
        if operation.get("hydratedSHA") == hydrated and is_sha(revision):
            own = _map(operation.get("sourceHydrator")) or _spec(application)["sourceHydrator"]
            dry = _map(own.get("drySource"))
            yield Place(
                address(dry.get("repoURL")),
                revision,
                cleaned(dry.get("targetRevision")),
                cleaned(dry.get("path")),
            )


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: object) -> Iterator[Mapping[str, Any]]:
    for one in value if isinstance(value, list) else ():
        if isinstance(one, Mapping):
            yield one
