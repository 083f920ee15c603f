"""The words for what became of a write, and a refusal that carries one.

Owns the words that conditions, metrics and documentation share. They are output and never branched
upon, but for whether a word is the end of a story.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """How the write of one record stands."""

    CLAIMED = "Claimed"
    """Being made; whoever claimed it may have died."""
    PROPOSED = "Proposed"
    """A pull request is open."""
    COMMITTED = "Committed"
    """The branch has our commit."""
    MERGED = "Merged"
    """The pull request was merged."""
    NOTIFIED = "Notified"
    """The webhook took the event."""
    RESTORED = "AlreadyRestored"
    """Git had the stable version's values already; nothing was written."""
    CLOSED = "ClosedByPerson"
    """Somebody closed the pull request without merging it: it is not opened again."""
    REFUSED = "Refused"
    """It cannot be written; the reason says why."""

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self not in (State.CLAIMED, State.PROPOSED)


class Why(StrEnum):
    """Why something cannot be written."""

    GIT_CONFLICT = "GitConflict"
    """The file holds neither what was rejected nor what is stable: somebody else changed it."""
    OBJECT_NOT_FOUND = "ObjectNotFound"
    """The file is not there, or the ModelDeployment is not in it."""
    PATH_UNKNOWN = "PathUnknown"
    """Neither the policy nor the object says which file it is."""
    AMBIGUOUS = "Ambiguous"
    """More than one document or key could be meant."""
    NOT_YAML = "NotYaml"
    """The file is not YAML in UTF-8, or is too long."""
    TEMPLATED = "Templated"
    """The file is a template: what is in Git is not what is in the cluster."""
    PARTIAL_OBJECT = "PartialObject"
    """The document is a patch, not the whole object."""
    ALIASES = "AnchorsOrAliases"
    """Anchors, aliases and merge keys make one value stand in several places."""
    NOT_A_SCALAR = "NotAScalar"
    """The two versions differ in more than single values."""
    MULTI_LINE = "MultiLineValue"
    """A value spans lines, so that replacing it would not keep the formatting."""
    NOT_IN_OBJECT = "NotInObject"
    """The two versions differ in something that is not part of the object, such as a ConfigMap."""
    REVISION_GONE = "RevisionGone"
    """The cluster no longer knows what one of the two versions was made from."""
    REVERT_OF_REVERT = "RevertOfRevert"
    """What was rolled back came by a commit of ours; another one would begin a loop."""
    BRANCH_REFUSED = "BranchRefused"
    """Rules of the repository do not let us write to the branch."""
    FORGE_REFUSED = "ForgeRefused"
    """The forge will not have the request."""
    NOT_DELIVERED = "NotDelivered"
    """The webhook did not take the event for three days."""


class Refusal(Exception):
    """Something that cannot be written: a word for machines, and a sentence for people."""

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(f"{why.value}: {message}")
        self.why, self.message = why, message
