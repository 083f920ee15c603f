"""The edit that brings the stable version back into a file: exact, or refused.

Owns the compare-and-swap on content: a file is changed only while it holds all of what was
rejected. Must not know Git.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headgate.core.writeback.reasons import Refusal, Why
from headgate.core.writeback.source import (
    Change,
    changes_between,
    first_difference,
    is_same,
    source_of,
    written,
)
from headgate.core.writeback.yamltext import LONGEST, Document, documents, replaced

GROUP = "headgate.dev/"
KIND = "ModelDeployment"


@dataclass(frozen=True, slots=True)
class Target:
    """The ModelDeployment that a file is to have."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{KIND} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Edit:
    """What a file shall be; without changes it is so already."""

    content: bytes
    changes: tuple[Change, ...]


def plan_edit(
    content: bytes, target: Target, rejected: Mapping[str, Any], stable: Mapping[str, Any]
) -> Edit:
    """
    Return the file with the stable revision's values in the place of the rejected one's.

    Args:
        content: The file at the head of the branch.
        target: The object to be changed; its namespace may be left out in the file.
        rejected: `spec` of the ModelRevision that was rolled back.
        stable: `spec` of the ModelRevision that serves.

    Returns:
        The new content, which differs in the values named and in no other byte; the content as it
        is, without changes, if it holds the stable values already.

    Raises:
        Refusal: It cannot be done exactly, or the file holds neither version.
    """
    changes = changes_between(rejected, stable)
    text = _decoded(content)
    document = find(text, target)
    found, before, after = _source(document), source_of(rejected), source_of(stable)
    if is_same(found, after):
        return Edit(content, ())
    if not is_same(found, before):
        path, other = first_difference(found, before)
        message = f"{written(path)}: the file holds neither the rejected nor the stable version"
        raise Refusal(_why_other(other), message)
    edited = replaced(text, document.spans(changes))
    if not is_same(_source(find(edited, target)), after):
        raise Refusal(Why.NOT_A_SCALAR, "the edited file would not be read as the stable version")
    return Edit(edited.encode(), changes)


def find(text: str, target: Target) -> Document:
    """
    Find the one document that is the target.

    Raises:
        Refusal: None is, or more than one.
    """
    fitting = [document for document in documents(text) if _fits(document, target)]
    exact = [each for each in fitting if each.peek("metadata", "namespace") is not None]
    found = exact or fitting
    if not found:
        raise Refusal(Why.OBJECT_NOT_FOUND, f"the file has no {target}")
    if len(found) > 1:
        raise Refusal(Why.AMBIGUOUS, f"the file has {len(found)} documents for {target}")
    return found[0]


def _fits(document: Document, target: Target) -> bool:
    version = document.peek("apiVersion")
    return (
        isinstance(version, str)
        and version.startswith(GROUP)
        and document.peek("kind") == KIND
        and document.peek("metadata", "name") == target.name
        and document.peek("metadata", "namespace") in (None, target.namespace)
    )


def _decoded(content: bytes) -> str:
    if len(content) > LONGEST:
        raise Refusal(Why.NOT_YAML, f"wanted at most {LONGEST} bytes, found {len(content)}")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Refusal(Why.NOT_YAML, "the file is not UTF-8") from error


def _source(document: Document) -> dict[str, Any]:
    if document.has_aliases:
        raise Refusal(Why.ALIASES, "the document has anchors, aliases or merge keys")
    spec = document.value().get("spec")
    missing = [part for part in ("model", "template", "traffic") if not _has(spec, part)]
    if missing:
        raise Refusal(Why.PARTIAL_OBJECT, f"the document has no spec.{missing[0]}: it is a patch")
    return source_of(spec)


def _has(spec: Any, part: str) -> bool:
    return isinstance(spec, Mapping) and isinstance(spec.get(part), Mapping)


def _why_other(found: object) -> Why:
    """Tell a file that is a template for other tools from one that somebody changed."""
    is_variable = isinstance(found, str) and any(mark in found for mark in ("{{", "${", "$("))
    return Why.TEMPLATED if is_variable else Why.GIT_CONFLICT
