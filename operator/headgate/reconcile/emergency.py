"""Who asked for an emergency, and where it is written, as far as the object itself tells.

Owns the reading of these claims and their bounds. Must not believe them: whoever may write the
object may write them too, so they are for people, and decide nothing.
"""

from __future__ import annotations

from typing import Any

from headgate.core.commands import UNKNOWN
from headgate.core.commits.claims import ORIGIN, read_origin
from headgate.core.commits.value import Certainty, Commit
from headgate.core.memory import render_moment
from headgate.core.writers import setter_of
from headgate.ports import Manifest

_FIELD = ("spec", "rollout", "emergency")


def render_emergency(owner: Manifest, commit: Commit | None = None) -> dict[str, Any]:
    """Tell who set `spec.rollout.emergency`, when, and from which file of which commit.

    What is not known is left out, and the message says why; texts are cut and made plain. A
    `commit` that a tool has told is named before what the object claims.
    """
    metadata = owner["metadata"]
    setter = setter_of(metadata, _FIELD)
    at = setter.moment
    origin, why = read_origin((metadata.get("annotations") or {}).get(ORIGIN))
    who = f"field manager {setter.manager}" if setter.manager else "somebody unknown"
    when = f" at {setter.at}" if at else ""
    nobody = "" if setter.manager else "; no entry of metadata.managedFields has the field"
    claimed = ", ".join(f"{name} {text}" for name, text in origin.items())
    told = commit is not None and commit.certainty in (Certainty.SYNCED, Certainty.CONTAINED)
    where = str(commit) if told else claimed
    found: dict[str, Any] = {
        "manager": setter.manager or UNKNOWN,
        "message": (
            f"spec.rollout.emergency was set by {who}{when}{nobody}; "
            f"{where or f'the commit is unknown: {why}'}"
        ),
    }
    if at is not None:
        found["setAt"] = render_moment(at)
    return {**found, "origin": origin} if origin else found
