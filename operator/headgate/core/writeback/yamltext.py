"""YAML as text whose single values can be replaced, and nothing else.

Owns where a value stands in the text and how its successor is spelled. Must not know Git, nor what
an object means.

A round trip through a YAML library loses comments, quotes, indentation or line breaks. So the text
is only *read* by the library, whose nodes know where they begin and end; the characters between two
such marks are replaced and all others stay. What cannot be done that way is refused.

Values are read as Kubernetes' own parser reads them: a date is text, and a number in base 60 or
with underscores is not taken for anything (`Opaque`), as parsers differ in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from headgate.core.writeback.reasons import Refusal, Why
from headgate.core.writeback.source import Change, Path, Scalar, written

LONGEST = 256 * 1024
"""Bytes of a file that is read: reading takes about a second for so many."""

_NULL = re.compile(r"(?:~|null|Null|NULL)?")
_TRUE = re.compile(r"true|True|TRUE|yes|Yes|YES|on|On|ON")
_FALSE = re.compile(r"false|False|FALSE|no|No|NO|off|Off|OFF")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_STR_TAG = "tag:yaml.org,2002:str"

# Text that every parser reads as itself without quotes: it begins with a letter, or is three
# numbers with dots (a version), and has no character that means something to YAML.
_PLAIN = re.compile(
    r"(?:[A-Za-z_/]|[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(?![0-9]))[A-Za-z0-9_./@%+=:-]*(?<!:)"
)
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"})


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value that parsers read differently: equal to nothing but itself."""

    text: str


class Document:
    """One document of a YAML text."""

    def __init__(self, text: str, root: yaml.Node, has_aliases: bool) -> None:
        """Take a root node with its text; see `documents`."""
        self._text, self._root = text, root
        self.has_aliases = has_aliases

    def value(self) -> Any:
        """
        Return the document as JSON values and Opaque ones.

        Raises:
            Refusal: A key comes twice or is no text.
        """
        return _value(self._root)

    def peek(self, *path: str) -> Any:
        """Return one value without looking at the rest; None if it is not there."""
        node: yaml.Node | None = self._root
        for step in path:
            node = _child(node, step)
        return _scalar(node) if isinstance(node, yaml.ScalarNode) else None

    def spans(self, changes: Sequence[Change]) -> list[tuple[int, int, str]]:
        """
        Return for each change the characters to be replaced, and by what.

        Raises:
            Refusal: A value is not there, is not the old one, or cannot be replaced by itself.
        """
        return [self._span(change) for change in changes]

    def _span(self, change: Change) -> tuple[int, int, str]:
        node = self._find(change.path)
        start, end = node.start_mark, node.end_mark
        if start.line != end.line or node.style in ("|", ">"):
            raise Refusal(Why.MULTI_LINE, f"{written(change.path)}: the value spans lines")
        if self._text[start.index] in "!&*":
            raise Refusal(Why.NOT_A_SCALAR, f"{written(change.path)}: the value has a tag")
        found = _scalar(node)
        if type(found) is not type(change.old) or found != change.old:
            raise Refusal(Why.GIT_CONFLICT, f"{written(change.path)}: found another value")
        return start.index, end.index, spelled(change.new, node.style)

    def _find(self, path: Path) -> yaml.ScalarNode:
        node: yaml.Node | None = self._root
        for step in path:
            node = _child(node, step)
        if not isinstance(node, yaml.ScalarNode) or node.start_mark.index == node.end_mark.index:
            raise Refusal(Why.NOT_A_SCALAR, f"{written(path)}: the file has no single value there")
        return node


def documents(text: str) -> list[Document]:
    """
    Read all documents of a text.

    Raises:
        Refusal: It is no YAML.
    """
    try:
        aliased = _aliased(text)
        roots = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        why = Why.TEMPLATED if "{{" in text else Why.NOT_YAML
        place = getattr(error, "problem_mark", None)
        where = f" at line {place.line + 1}" if place is not None else ""
        raise Refusal(why, f"the file is not YAML{where}") from error
    return [Document(text, root, number in aliased) for number, root in enumerate(roots) if root]


def replaced(text: str, spans: Sequence[tuple[int, int, str]]) -> str:
    """Return the text with these spans, which do not overlap, replaced."""
    for start, end, new in sorted(spans, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def spelled(value: Scalar, style: str | None) -> str:
    """
    Spell a value in one line, in the style of the one it replaces where that can be.

    Args:
        value: What it shall be read as.
        style: The style of the old one: None for plain, or its quotation mark.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if style is None and is_plain(value):
        return value
    if style == "'" and all(character.isprintable() for character in value):
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(_escaped(character) for character in value) + '"'


def is_plain(text: str) -> bool:
    """Whether a text needs no quotes in any parser and at any place."""
    return bool(_PLAIN.fullmatch(text)) and text.lower() not in _WORDS


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable() and character != "\ufeff":
        return character
    code = ord(character)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def _aliased(text: str) -> set[int]:
    """Return the numbers of the documents that have an anchor, an alias or a merge key."""
    found, number = set(), -1
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.DocumentStartEvent):
            number += 1
        if getattr(event, "anchor", None) is not None:
            found.add(number)
        if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
            found.add(number)
    return found


def _child(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    """Return one child of a node; None if it is not there. A key that comes twice is refused."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    found = [value for key, value in node.value if _is_key(key) and key.value == step]
    if len(found) > 1:
        raise Refusal(Why.AMBIGUOUS, f"the key {step} comes twice")
    return found[0] if found else None


def _is_key(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode)


def _value(node: yaml.Node) -> Any:
    match node:
        case yaml.MappingNode():
            return dict(_entries(node))
        case yaml.SequenceNode():
            return [_value(item) for item in node.value]
        case _:
            return _scalar(node)


def _entries(node: yaml.MappingNode) -> Iterator[tuple[str, Any]]:
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            why = Why.TEMPLATED if isinstance(key, yaml.MappingNode) else Why.NOT_YAML
            raise Refusal(why, f"line {key.start_mark.line + 1}: a key is no text")
        if key.value in seen:
            raise Refusal(Why.AMBIGUOUS, f"the key {key.value} comes twice")
        seen.add(key.value)
        yield key.value, _value(value)


def _scalar(node: yaml.Node) -> Scalar | Opaque | None:
    text = str(node.value)
    if node.style is not None:  # type: ignore[attr-defined]
        return text if node.tag == _STR_TAG else Opaque(text)
    # By itself or by a tag; PyYAML takes 1e3 for text, which it is nowhere else.
    if node.tag == _STR_TAG and (_INT.fullmatch(text) or not _FLOAT.fullmatch(text)):
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return bool(_TRUE.fullmatch(text))
    if _INT.fullmatch(text):
        return int(text) if len(text) < 20 else Opaque(text)
    if _FLOAT.fullmatch(text):
        return Opaque(text) if re.match(r"[-+]?0[0-9]", text) else float(text)
    return Opaque(text) if node.tag in _NUMBER_TAGS else text
