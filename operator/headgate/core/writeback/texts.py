"""What people read in Git: commit messages and pull requests.

Owns the sentences. Must not know a forge. Texts of a record come from models and metrics, so each
is one line without control characters, and is quoted where a forge would take it for markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.core.memory import render_moment
from headgate.core.wording import plain
from headgate.core.writeback.source import Change, written
from headgate.core.writeback.wanted import DEPLOYMENT_TRAILER, TO_TRAILER, TRAILER, Rollback

_LONGEST_SUBJECT = 72


def subject(rollback: Rollback) -> str:
    """Return the title of the commit and of the pull request."""
    text = f"Restore version {rollback.stable.version} of {rollback.deployment}"
    return plain(text, _LONGEST_SUBJECT)


def commit_message(rollback: Rollback, changes: Sequence[Change]) -> str:
    """Return the whole commit message; its last lines are trailers."""
    why = plain(f"{rollback.reason}: {rollback.message}")
    changed = "\n".join(f"- {written(change.path)}" for change in changes)
    return (
        f"{subject(rollback)}\n\n"
        f"Headgate rolled version {rollback.rejected.version} of ModelDeployment "
        f"{rollback.namespace}/{rollback.deployment} back.\n{why}\n\n"
        f"This restores what already serves, so that nothing is rolled out by it. Changed:\n"
        f"{changed}\n\n"
        f"{TRAILER}: {rollback.uid}\n"
        f"{DEPLOYMENT_TRAILER}: {rollback.namespace}/{rollback.deployment}\n"
        f"Rollback-Of: {rollback.rejected.hash}\n"
        f"{TO_TRAILER}: {rollback.stable.hash}\n"
    )


def pull_request_body(rollback: Rollback, changes: Sequence[Change]) -> str:
    """Return the description of the pull request, in Markdown."""
    rows = "\n".join(f"- `{_code(written(change.path))}`" for change in changes)
    return (
        f"Headgate rolled **version {rollback.rejected.version}** of ModelDeployment "
        f"`{rollback.namespace}/{rollback.deployment}` back to version "
        f"{rollback.stable.version}.\n\n"
        f"> `{_code(plain(f'{rollback.reason}: {rollback.message}'))}`\n\n"
        f"Version {rollback.stable.version} serves all requests now; this makes Git say so too. "
        f"Merging it rolls nothing out. To try version {rollback.rejected.version} again, close "
        f"this and change `spec.rollout.retry`; what was closed is not opened again.\n\n"
        f"Changed:\n{rows}\n\n"
        f"| | |\n|---|---|\n"
        f"| record | `{rollback.namespace}/{rollback.name}` |\n"
        f"| digest | `{_code(rollback.digest)}` |\n"
        f"| rolled back | {render_moment(rollback.finished_at)} |\n"
        f"| explain | `headgate why {rollback.deployment} -n {rollback.namespace}` |\n\n"
        f"{TRAILER}: {rollback.uid}\n"
    )


def _code(text: str) -> str:
    """Keep text inside a code span, where neither links nor mentions are made of it."""
    return text.replace("`", "'")
