"""People's commands as they are written: annotations of the ModelDeployment.

Owns their names and the reading of their values. Must not know which revision is tried, nor what a
command does. Anybody who may annotate may write anything here: what is malformed is no command, is
told, and ends no pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from headgate.core.commands import NO_COMMANDS, Command, Commands, Verb
from headgate.core.wording import plain
from headgate.core.writers import Setter, setter_of
from headgate.ports import Manifest

PREFIX = "headgate.dev/"
ANNOTATIONS: Mapping[Verb, str] = {verb: f"{PREFIX}{verb.value.lower()}" for verb in Verb}
"""Where each command stands: `headgate.dev/pause` and so on."""

REASON = f"{PREFIX}command-reason"
"""Why a command was given: `VERB HASH: text`, so that it is taken for no other one's."""

LONGEST_REASON = 256
_HASH = r"[0-9a-f]{8}"
# RFC 3339, as fromisoformat also takes weeks, ordinal days and hours alone.
_MOMENT = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)"
_BOUND = re.compile(_HASH)
_RETRY = re.compile(f"({_HASH})@({_MOMENT})")
_REASON = re.compile(f"({'|'.join(v.value.lower() for v in Verb)}) ({_HASH}): (.+)", re.DOTALL)
_LONGEST_VALUE = 64
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Told:
    """The commands that stand, and a sentence on each annotation that is none."""

    commands: Commands = NO_COMMANDS
    malformed: tuple[str, ...] = ()


class _Malformed(Exception):
    """A value that is no command; the text says what was wanted and what was found."""


def read_commands(owner: Manifest) -> Told:
    """Read all commands of a ModelDeployment; never raises for what it says."""
    metadata = owner["metadata"]
    annotations = metadata.get("annotations") or {}
    found: dict[str, Command] = {}
    malformed = []
    for verb, name in ANNOTATIONS.items():
        if name in annotations:
            try:
                setter = setter_of(metadata, ("metadata", "annotations", name))
                found[verb.value.lower()] = _command(verb, annotations, setter)
            except _Malformed as error:
                malformed.append(f"{name}: {error}")
    malformed += _unusable_reason(annotations)
    return Told(Commands(**found), tuple(malformed))


def _command(verb: Verb, annotations: Mapping[str, Any], setter: Setter) -> Command:
    hash, before = (
        _retry(annotations[ANNOTATIONS[verb]])
        if verb is Verb.RETRY
        else (
            _bound(annotations[ANNOTATIONS[verb]]),
            None,
        )
    )
    reason = _reason_for(annotations.get(REASON), verb, hash)
    manager = {"manager": setter.manager} if setter.manager else {}
    return Command(verb, hash, set_at=setter.moment, before=before, reason=reason, **manager)


def _bound(value: Any) -> str:
    if not isinstance(value, str) or not _BOUND.fullmatch(value):
        raise _Malformed(f"wanted the hash of a revision (8 hexadecimal digits), {_found(value)}")
    return value


def _retry(value: Any) -> tuple[str, datetime]:
    wanted = "HASH@MOMENT, such as 0b322b52@2026-01-05T12:00:00Z"
    matched = _RETRY.fullmatch(value) if _is_short(value) else None
    if matched is None:
        raise _Malformed(f"wanted {wanted}, {_found(value)}")
    try:
        return matched[1], datetime.fromisoformat(matched[2].upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _Malformed(f"wanted {wanted}, {_found(value)}") from error


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_VALUE


def _found(value: Any) -> str:
    return f"found {plain(repr(value), _SHOWN)}"


def _reason_for(value: Any, verb: Verb, hash: str) -> str:
    matched = _REASON.fullmatch(value) if isinstance(value, str) else None
    if matched is None or (matched[1], matched[2]) != (verb.value.lower(), hash):
        return ""
    return plain(matched[3], LONGEST_REASON)


def _unusable_reason(annotations: Mapping[str, Any]) -> Iterator[str]:
    value = annotations.get(REASON)
    if value is not None and not (isinstance(value, str) and _REASON.fullmatch(value)):
        yield f"{REASON}: wanted VERB HASH: TEXT, {_found(value)}"
