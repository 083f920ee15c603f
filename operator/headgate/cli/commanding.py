"""A person's command on a rollout: which annotations say it, and whether it makes sense now.

Owns what each verb writes, refuses and tells. Must not know how objects are read or written. It
goes by what the operator last wrote into status: a command is bound to the revision that it finds
there, so that one which comes too late does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from headgate.cli.view import Deployment, Reference, Role
from headgate.core.commands import Verb
from headgate.core.memory import render_moment
from headgate.core.wording import plain
from headgate.ports import Manifest
from headgate.reconcile.commands import ANNOTATIONS, LONGEST_REASON, REASON

_AFTER = timedelta(seconds=1)


class Senseless(Exception):
    """The command would do nothing, or not what it says; the text says why and what would."""


@dataclass(frozen=True, slots=True)
class Writing:
    """What is to be written (None removes an annotation; nothing if it is so already), and in a
    sentence what follows from it."""

    annotations: Mapping[str, str | None]
    says: str
    revision: Reference | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """What a verb goes by: the deployment as it is shown, its annotations and its spec."""

    view: Deployment
    manifest: Manifest
    chosen: str | None

    @property
    def annotations(self) -> Mapping[str, Any]:
        return self.manifest["metadata"].get("annotations") or {}

    @property
    def status(self) -> Mapping[str, Any]:
        return self.manifest.get("status") or {}

    def reference(self, field: str) -> Reference | None:
        """Return `status.stable`, `.canary` or `.desired`; None if there is none."""
        entry = self.status.get(field)
        return Reference(entry["version"], entry["hash"], entry["revision"]) if entry else None

    def standing(self, verb: Verb) -> str | None:
        value = self.annotations.get(ANNOTATIONS[verb])
        return str(value) if value is not None else None

    def check(self, revision: Reference) -> Reference:
        """Raise Senseless unless it is the revision that was chosen, if one was."""
        if self.chosen is not None and self.chosen != revision.hash:
            found = _name(revision)
            raise Senseless(f"wanted revision {self.chosen}, found {found} in question")
        return revision


def write(
    verb: str, view: Deployment, manifest: Manifest, chosen: str | None, reason: str
) -> Writing:
    """Work out what `pause`, `resume`, `abort`, `promote` or `retry` writes for a deployment.

    `chosen` is the hash that a person named, None for the revision in question.

    Raises:
        Senseless: It would do nothing, or not what it says.
    """
    found = _Found(view, manifest, chosen)
    if verb == "resume":
        return _resume(found)
    if not view.phase:
        raise Senseless("the operator has not looked at it yet: is it running?")
    writing = {
        Verb.PAUSE: _pause,
        Verb.ABORT: _abort,
        Verb.PROMOTE: _promote,
        Verb.RETRY: _retry,
    }[Verb(verb.capitalize())](found)
    if not writing.annotations or writing.revision is None:
        return writing
    told = f"{verb} {writing.revision.hash}: {plain(reason, LONGEST_REASON)}" if reason else None
    # A reason that is left over is another command's.
    left = {REASON: told} if told or REASON in found.annotations else {}
    return Writing({**writing.annotations, **left}, writing.says, writing.revision)


def _pause(found: _Found) -> Writing:
    view = found.view
    revision = found.check(_to_hold(found))
    if _returns(found):
        raise Senseless(f"{_name(revision)} is proven and comes back, which waits for nobody")
    if view.paused:
        raise Senseless("it is paused by spec.rollout.paused already")
    if found.standing(Verb.PAUSE) == revision.hash:
        return Writing({}, f"{_name(revision)} is paused already", revision)
    canary = view.having(Role.CANARY)
    if view.phase == "Baking":
        what = "stays in its bake; its predecessor stays warm"
    elif canary is None:
        what = "is not started"
    else:
        what = f"stays at {canary.weight} % of the requests"
    says = f"{_name(revision)} {what} until `{_call('resume', view)}`; a breach still rolls back"
    return Writing({ANNOTATIONS[Verb.PAUSE]: revision.hash}, says, revision)


def _to_hold(found: _Found) -> Reference:
    canary, stable = found.reference("canary"), found.reference("stable")
    if canary is not None:
        return canary
    desired = found.reference("desired")
    is_another = desired is not None and (stable is None or desired.hash != stable.hash)
    if stable is not None and found.view.phase == "Baking" and not is_another:
        return stable
    if desired is not None and is_another and _rejection(found, desired.hash) is None:
        return desired
    raise _nothing(found, "to keep the next one from starting, set spec.rollout.paused in Git")


def _resume(found: _Found) -> Writing:
    standing = found.standing(Verb.PAUSE)
    git = "spec.rollout.paused is true: set it to false in Git"
    if standing is None:
        raise Senseless(git if found.view.paused else "it is not paused")
    if found.chosen is not None and found.chosen != standing:
        raise Senseless(f"wanted revision {found.chosen}, found a pause of {plain(standing, 64)}")
    says = f"it stays paused, as {git}" if found.view.paused else "the rollout goes on"
    return Writing({ANNOTATIONS[Verb.PAUSE]: None}, says)


def _abort(found: _Found) -> Writing:
    canary, stable = found.reference("canary"), found.reference("stable")
    first = canary if stable is None else stable if _bakes_alone(found) else None
    if first is not None:
        raise Senseless(f"{_name(first)} is the first revision: there is nothing to go back to")
    if canary is None or stable is None:
        raise _nothing(found, "to go back from what is stable, commit another version")
    if _returns(found):
        keep = f"{_call('retry', found.view)} --revision {stable.hash}"
        raise Senseless(
            f"{_name(canary)} is proven and comes back; to keep {_name(stable)}: `{keep}`"
        )
    found.check(canary)
    says = (
        f"{_name(canary)} goes back to {_name(stable)} and is not tried again until "
        f"`{_call('retry', found.view)}`, or spec.rollout.retry changes"
    )
    return Writing({ANNOTATIONS[Verb.ABORT]: canary.hash}, says, canary)


def _promote(found: _Found) -> Writing:
    canary, view = found.reference("canary"), found.view
    if canary is None:
        raise _nothing(found, "to skip the proof of what starts next, wait until it has started")
    found.check(canary)
    if _returns(found):
        raise Senseless(f"{_name(canary)} is proven and gets all requests as soon as it is ready")
    if view.phase == "Baking":
        raise Senseless(f"{_name(canary)} has all requests already; it is in its bake")
    if view.paused:
        raise Senseless("spec.rollout.paused is true: set it to false in Git first")
    name = ANNOTATIONS[Verb.PROMOTE]
    if (found.status.get("commands") or {}).get("promote") == canary.hash:
        remove = f"kubectl annotate md {view.name} -n {view.namespace} {name}-"
        raise Senseless(f"{name} still stands from an earlier attempt; first `{remove}`")
    resumed = {ANNOTATIONS[Verb.PAUSE]: None} if found.standing(Verb.PAUSE) is not None else {}
    paused = "the pause ends, and " if resumed else ""
    says = (
        f"{paused}{_name(canary)} gets all requests without further proof, as soon as it is ready; "
        "its bake is watched, and a breach rolls back"
    )
    return Writing({name: canary.hash, **resumed}, f"{says}{_frozen(found)}", canary)


def _frozen(found: _Found) -> str:
    """Say what a promote will wait for; "" if nothing is known against it."""
    rollout = found.manifest["spec"].get("rollout") or {}
    for type in ("BudgetAvailable", "InputsMatchReference"):
        condition = found.view.condition(type)
        if condition is not None and condition.status == "False" and not rollout.get("emergency"):
            return f". It may wait, as spec.rollout.emergency is not true: {condition.message}"
    return ""


def _retry(found: _Found) -> Writing:
    revision, since = _to_retry(found)
    says = f"{_name(revision)} is tried once more, if it is what Git wants"
    if found.standing(Verb.PAUSE) == revision.hash:
        says += f"; it waits until `{_call('resume', found.view)}`, as the pause still stands"
    # A moment of the operator's own clock: that of whoever asks may be another.
    moment = render_moment(since + _AFTER)
    left_over = {
        ANNOTATIONS[verb]: None
        for verb in (Verb.ABORT, Verb.PROMOTE)
        if found.standing(verb) is not None
    }
    written = {ANNOTATIONS[Verb.RETRY]: f"{revision.hash}@{moment}"}
    return Writing({**written, **left_over}, says, revision)


def _to_retry(found: _Found) -> tuple[Reference, datetime]:
    stable, desired = found.reference("stable"), found.reference("desired")
    if found.view.phase == "Degraded" and stable is not None and found.reference("canary") is None:
        return found.check(stable), _since(found.status["phaseSince"])
    wanted = found.chosen or (desired.hash if desired else None)
    entry = _rejection(found, wanted)
    if entry is None and found.chosen is None and desired is None:
        entry = next(reversed(found.status.get("rejected") or ()), None)
    if entry is None:
        what = f"revision {found.chosen}" if found.chosen else _name(desired)
        raise Senseless(f"{what} is not rejected; {_rejected(found)}")
    name = f"{found.view.name}-{entry['hash']}"
    return Reference(entry["version"], entry["hash"], name), _since(entry["at"])


def _since(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _rejected(found: _Found) -> str:
    entries = found.status.get("rejected") or ()
    if not entries:
        return "no revision is"
    named = ", ".join(f"{e['hash']} (version {e['version']})" for e in entries)
    return f"rejected are {named}: --revision names one of them"


def _rejection(found: _Found, hash: str | None) -> Mapping[str, Any] | None:
    entries = found.status.get("rejected") or ()
    return next((entry for entry in entries if entry["hash"] == hash), None)


def _returns(found: _Found) -> bool:
    """Whether the canary is a proven revision that comes back after one that broke an objective."""
    return bool((found.status.get("canary") or {}).get("returning"))


def _bakes_alone(found: _Found) -> bool:
    alone = found.view.phase in ("Baking", "Degraded") and found.reference("canary") is None
    return alone and not (found.status.get("stable") or {}).get("proven")


def _nothing(found: _Found, advice: str) -> Senseless:
    """Say that no revision is being tried, and why that is."""
    view = found.view
    stable = found.reference("stable")
    serves = f"; {_name(stable)} serves" if stable else ""
    if view.phase == "RolledBack":
        return Senseless(f"nothing is being tried{serves}: {view.message}")
    return Senseless(f"nothing is being tried{serves}; {advice}")


def _name(revision: Reference | None) -> str:
    return f"version {revision.version} ({revision.hash})" if revision else "what Git wants"


def _call(verb: str, view: Deployment) -> str:
    return f"headgate {verb} {view.name} -n {view.namespace}"
