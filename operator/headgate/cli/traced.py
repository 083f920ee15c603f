"""The way back from a revision: the rollout that tried it, who told its commit, and the commit.

Owns which record speaks for a revision, and the picture of `headgate trace`. Must not know how
objects were read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from headgate.cli.lines import Line, Node, Span, Spans, ago, columns, draw, text
from headgate.cli.view import Objects, Record, Revision, view_deployments, view_records
from headgate.core.commits.value import Certainty, Commit, Place, read_rendered
from headgate.core.wording import plain

_LONGEST = 253
_USUAL = frozenset({"stable", "canary", "rejected"})


@dataclass(frozen=True, slots=True)
class Chain:
    """One revision's way back.

    `role` is "" where the deployment is gone; `rollout` the name of the record that speaks for it,
    "" without one; `outcome` and `started_at` are not known of a record that is gone. `commit` is
    None where nobody ever said.
    """

    revision: str
    version: str
    hash: str
    role: str
    rollout: str
    outcome: str
    started_at: datetime | None
    commit: Commit | None


def chains_of(objects: Objects, wanted: str | None, now: datetime) -> tuple[Chain, ...]:
    """Trace the revisions of a deployment, those that serve first.

    `wanted` chooses one by hash or name, which may then also be an old one. Of a deployment that is
    gone the records speak, the newest first.
    """
    view = next(iter(view_deployments(objects, now)), None)
    records = view_records(objects, next(iter(objects.deployments), None))
    if view is None:
        revisions = {r.to.hash: _gone(r) for r in records}
        chains = tuple(reversed(revisions.values()))
    else:
        chains = tuple(_chain(one, records, objects) for one in view.revisions)
    if wanted is not None:
        return tuple(one for one in chains if wanted in (one.hash, one.revision))
    return tuple(one for one in chains if not one.role or one.role in _USUAL)


def _gone(record: Record) -> Chain:
    to = record.to
    told = (record.name, record.outcome, record.started_at, record.commit)
    return Chain(to.revision, to.version, to.hash, "", *told)


def _chain(revision: Revision, records: Sequence[Record], objects: Objects) -> Chain:
    """Let the newest record of a revision speak, else what the revision itself keeps."""
    own = (revision.name, revision.version, revision.hash, revision.role.value)
    record = next((r for r in reversed(records) if r.to.hash == revision.hash), None)
    if record is not None:
        return Chain(*own, record.name, record.outcome, record.started_at, record.commit)
    kept = next(_kept(revision.hash, objects), None)
    if kept is None:
        return Chain(*own, "", "", None, None)
    rollout, commit = kept
    return Chain(*own, rollout, "", None, commit)


def _kept(hash: str, objects: Objects) -> Iterator[tuple[str, Commit]]:
    """Find the commits that a revision keeps, the latest first."""
    for manifest in objects.revisions:
        if manifest["spec"].get("hash") != hash:
            continue
        for entry in reversed((manifest.get("status") or {}).get("commits") or ()):
            rollout = plain(str(entry.get("rollout")), _LONGEST)
            yield rollout, read_rendered(entry.get("commit") or {})


# --- the picture ---------------------------------------------------------------------------------


def page(place: str, chains: Sequence[Chain], now: datetime) -> tuple[Line, ...]:
    """Draw the way back of each revision, under the deployment they belong to."""
    nodes = tuple(_revision(chain, now) for chain in chains)
    return draw(Node(text(f"ModelDeployment {place}", style="bold"), nodes))


def _revision(chain: Chain, now: datetime) -> Node:
    title: Spans = (
        Span(f"revision {chain.revision}", "bold"),
        Span(f"  version {chain.version}"),
        Span(f"  {chain.role}" if chain.role else "", "cyan"),
    )
    rows = [(Span(name), Span(value)) for name, value in _rows(chain, now) if value]
    return Node(title, tuple(Node(row) for row in columns(rows)))


def _rows(chain: Chain, now: datetime) -> Iterator[tuple[str, str]]:
    began = f", began {ago(chain.started_at, now)}" if chain.started_at else ""
    outcome = f"  {chain.outcome}{began}" if chain.outcome else ", which is gone"
    yield "rollout", f"{chain.rollout}{outcome}" if chain.rollout else "no record of it is left"
    commit = chain.commit
    if commit is None:
        yield "commit", "not told: no record, or one of an older operator"
        return
    known = commit.certainty is not Certainty.UNKNOWN
    yield "told by", commit.told_by or ("the object's own annotations" if known else "")
    yield from _place(commit.place)
    yield "rendered to", commit.hydrated
    yield "author", f"{commit.author}, as the object claims" if commit.author else ""
    yield "synced by", commit.initiated_by
    for place in commit.candidates:
        yield "one of", str(place)
    yield "known", f"{commit.certainty.value}: {commit.message}"


def _place(place: Place) -> Iterator[tuple[str, str]]:
    yield "repository", place.repository
    both = place.revision and place.ref
    yield "revision", f"{place.revision} ({place.ref})" if both else place.revision
    yield "ref", "" if both else place.ref
    yield "path", place.path
    yield "chart", place.chart
