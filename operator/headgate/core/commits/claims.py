"""What an object tells of itself: who wrote it when, from which file, and whose it is.

Owns the reading of its metadata. Must not believe it: whoever may write the object may write its
annotations and labels too, so they name what may be asked, and are claims until that confirms them.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import yaml

from headgate.core.commits.value import (
    LONGEST_NAME,
    Certainty,
    Commit,
    Place,
    address,
    at,
    cleaned,
    is_sha,
    unknown,
    with_note,
)
from headgate.core.wording import plain
from headgate.core.writers import setters_of

ORIGIN = "config.kubernetes.io/origin"
"""What kustomize notes of a resource (`buildMetadata: [originAnnotations]`)."""

COMMIT = "headgate.dev/commit"
"""The commit, where those who render manifests stamp it: a claim."""

AUTHOR = "headgate.dev/author"
"""Its author, in the same way."""

_LONGEST_ORIGIN = 2048
_STAMPED = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True, slots=True)
class Writer:
    """The field managers that wrote a spec last, in the same second, and when that was."""

    managers: frozenset[str]
    at: datetime


def last_writer(metadata: Mapping[str, Any]) -> Writer | None:
    """Tell who wrote the spec last; None if managedFields do not tell a time."""
    known = [(one.moment, one.manager) for one in setters_of(metadata, ("spec",))]
    times = [time for time, _ in known if time is not None]
    if not times:
        return None
    last = max(times)
    return Writer(frozenset(manager for time, manager in known if time == last), last)


# --- what kustomize and CI note ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claims:
    """What the object says of its source. `origin` has kustomize's repo, ref and path, each only
    if it is given, and `no_origin` why it has none of them."""

    origin: Mapping[str, str] = field(default_factory=dict)
    no_origin: str = ""
    commit: str = ""
    author: str = ""


def read_claims(metadata: Mapping[str, Any]) -> Claims:
    """Read the annotations that name a source; what cannot be one is left out."""
    annotations = metadata.get("annotations") or {}
    origin, why = read_origin(annotations.get(ORIGIN))
    commit = cleaned(annotations.get(COMMIT)).lower()
    return Claims(
        origin=origin,
        no_origin="" if origin else why,
        commit=commit if _STAMPED.fullmatch(commit) else "",
        author=cleaned(annotations.get(AUTHOR), LONGEST_NAME),
    )


def read_origin(text: Any) -> tuple[dict[str, str], str]:
    """Read kustomize's annotation; what it says of repo, ref and path, or why it says nothing."""
    if not isinstance(text, str):
        return {}, f"no annotation {ORIGIN}"
    if len(text) > _LONGEST_ORIGIN:
        return {}, f"annotation {ORIGIN} is longer than {_LONGEST_ORIGIN} characters"
    try:
        # All that is no map or list stays text: a ref of digits alone is no number.
        found = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes nothing but text
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, f"annotation {ORIGIN} is not YAML"
    given = found if isinstance(found, dict) else {}
    told = {
        "repo": address(given.get("repo")),
        "ref": cleaned(given.get("ref")),
        "path": cleaned(given.get("path")),
    }
    told = {name: value for name, value in told.items() if value}
    return told, f"annotation {ORIGIN} names no repo, ref or path"


def claimed_commit(claims: Claims, why_no_other: str, told_by: str, pending: bool) -> Commit:
    """Take the object's own word, where nobody else has one; without it, say why not."""
    origin = claims.origin
    ref = origin.get("ref", "")
    revision = ref if is_sha(ref) else claims.commit
    place = Place(
        repository=origin.get("repo", ""),
        revision=revision,
        ref="" if is_sha(ref) else ref,
        path=origin.get("path", ""),
    )
    if not revision and not place.repository:
        found = unknown(f"{why_no_other}; {_nothing_claimed(claims)}", told_by, pending)
        return replace(found, author=claims.author, place=place)
    said = f"only the object's own annotations say so: {why_no_other}"
    return Commit(
        Certainty.CLAIMED,
        plain(said),
        place,
        told_by=told_by,
        author=claims.author,
        pending=pending,
    )


def _nothing_claimed(claims: Claims) -> str:
    if claims.no_origin:
        return f"the object has {claims.no_origin} and none {COMMIT}"
    return f"the object names a path in annotation {ORIGIN}, but no commit"


def detailed(commit: Commit, claims: Claims) -> Commit:
    """Add to what a tool tells the file and the author, which only the object claims."""
    path, note = _file(commit.place.path, claims.origin)
    place = replace(commit.place, path=path)
    found = with_note(replace(commit, place=place, author=claims.author), note)
    if claims.commit and not place.revision.startswith(claims.commit):
        return with_note(found, f"its annotation {COMMIT} claims {claims.commit}")
    return found


def _file(folder: str, origin: Mapping[str, str]) -> tuple[str, str]:
    """Join the tool's folder and kustomize's file, which is told from the folder it was built in.

    A file of another repository is a base: the commit tells the overlay, and a note the base.
    """
    path, repo = origin.get("path", ""), origin.get("repo", "")
    if repo:
        base = Place(repo, "", origin.get("ref", ""), path)
        return folder, f"its base is {base.path} of {repo} at {base.ref or 'an unknown ref'}"
    joined = posixpath.normpath(posixpath.join(folder, path)) if path else folder
    if joined.startswith(("..", "/")):
        return folder, ""
    return joined, f"the file as its annotation {ORIGIN} claims" if path else ""


# --- whose it is ---------------------------------------------------------------------------------

TRACKING_ID = "argocd.argoproj.io/tracking-id"
"""Argo CD's `<app>:<group>/<Kind>:<namespace>/<name>`, `<app>` being `<namespace>_<app>` for an
Application outside of Argo CD's own namespace (argo-cd, util/argo/resource_tracking.go)."""

_KUSTOMIZE = "kustomize.toolkit.fluxcd.io"
_HELM = "helm.toolkit.fluxcd.io"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Tracking:
    """The object of a tool that is said to own this one.

    `kind` is Application, Kustomization or HelmRelease, `manager` the tool's field manager;
    `namespace` "" is Argo CD's own. `problem` says why it cannot be asked, "" if it can be.
    """

    kind: str
    manager: str
    namespace: str = ""
    name: str = ""
    problem: str = ""

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {where}"


def trackings_of(manifest: Mapping[str, Any], instance_label: str) -> tuple[Tracking, ...]:
    """Find which tools are said to own an object, by its annotation and labels.

    `instance_label` is the label that Argo CD tracks by, "" where it uses its annotation.
    """
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    tracking_id = (metadata.get("annotations") or {}).get(TRACKING_ID)
    instance = labels.get(instance_label) if instance_label else None
    found = [
        _by_annotation(tracking_id, manifest) if isinstance(tracking_id, str) else None,
        _application(instance) if tracking_id is None and isinstance(instance, str) else None,
        _by_labels(labels, _KUSTOMIZE, "Kustomization", "kustomize-controller"),
        _by_labels(labels, _HELM, "HelmRelease", "helm-controller"),
    ]
    return tuple(one for one in found if one is not None)


def _by_annotation(text: str, manifest: Mapping[str, Any]) -> Tracking:
    app, _, about = cleaned(text).partition(":")
    metadata = manifest["metadata"]
    group = manifest["apiVersion"].partition("/")[0]
    own = f"{group}/{manifest['kind']}:{metadata['namespace']}/{metadata['name']}"
    if about == own:
        return _application(app)
    said = f"annotation {TRACKING_ID} names {about or 'no object'} and not {own}"
    return Tracking("Application", _ARGOCD, problem=f"{said}: it was copied from elsewhere")


_ARGOCD = "argocd-controller"


def _application(text: str) -> Tracking:
    """Split `<namespace>_<app>`; neither part may have a `_` of its own."""
    namespace, between, name = cleaned(text).rpartition("_")
    usable = _NAME.fullmatch(name) and (not between or _NAMESPACE.fullmatch(namespace))
    if not usable:
        problem = f"{cleaned(text, 64)!r} is no name of an Application"
        return Tracking("Application", _ARGOCD, problem=problem)
    return Tracking("Application", _ARGOCD, namespace, name)


def _by_labels(labels: Mapping[str, Any], prefix: str, kind: str, manager: str) -> Tracking | None:
    name, namespace = labels.get(f"{prefix}/name"), labels.get(f"{prefix}/namespace")
    if name is None and namespace is None:
        return None
    name, namespace = cleaned(name), cleaned(namespace)
    if not (_NAME.fullmatch(name) and _NAMESPACE.fullmatch(namespace)):
        problem = f"the labels of {prefix} name no {kind}"
        return Tracking(kind, manager, problem=problem)
    return Tracking(kind, manager, namespace, name)


def choose(trackings: Sequence[Tracking], writer: Writer | None) -> Tracking | None:
    """Choose the one whose tool wrote the object last, else the first; None if there is none."""
    wrote = writer.managers if writer is not None else frozenset()
    owner = next((one for one in trackings if one.manager in wrote), None)
    return owner or next(iter(trackings), None)


def written_by_another(tracking: Tracking, writer: Writer | None) -> str:
    """Say who wrote the spec last, if that was not the tool; "" if it was, or nobody knows."""
    if writer is None or tracking.manager in writer.managers:
        return ""
    who = " and ".join(sorted(writer.managers))
    return (
        f"the spec was written last by field manager {who} at {at(writer.at)}, and not by the "
        f"{tracking.manager} of {tracking}"
    )
