"""What the body of one event holds: the rows of a request or of its answer.

Owns the protocols: V1, V2 with its binary tensors, and OpenAI's by way of `llm.py`. Must not know
profiles: which column is which feature is decided where it is counted. A body is hostile until it
is read; nothing of it is ever put into a message, and what it claims about its size is compared
with what is there before anything is made of that size.
Sources: KServe, "Data Plane" V1; the Open Inference Protocol V2 and its binary tensor extension.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any, Final

from headgate.collector import llm
from headgate.collector.events import Half, Result, Unusable

MAX_VALUES: Final = 200_000
"""Values in one body; more would hold up all others while they are counted."""

MAX_DIMENSIONS: Final = 8
"""Dimensions of a tensor."""

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()
_FORMATS: Final = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
"""How `struct` calls the datatypes of V2; BYTES has lengths inside."""


@dataclass(frozen=True, slots=True)
class Rows:
    """One item a row: a list by position, a mapping by name, or one bare value."""

    rows: Sequence[object]


@dataclass(frozen=True, slots=True)
class Tensor:
    """`rows` times `width` values under one name, row by row."""

    name: str
    rows: int
    width: int
    values: Sequence[object]


@dataclass(frozen=True, slots=True)
class Tensors:
    """What a V2 body holds, at least one tensor, all with the same number of rows."""

    tensors: tuple[Tensor, ...]

    @property
    def rows(self) -> int:
        """Rows of each tensor."""
        return self.tensors[0].rows


Content = Rows | Tensors


def parse_body(half: Half, body: bytes) -> Content:
    """
    Read the body of an event.

    NaN and the infinities are taken as numbers, as Python's servers write them; of a key that comes
    twice the last value counts, as KServe's own server reads it.

    Raises:
        Unusable: MALFORMED, or OVERSIZED if it has more than MAX_VALUES values. Nothing of the
            body is in the text, nor in the chain.
    """
    try:
        if half is Half.RESPONSE and llm.is_stream(body):
            return Rows(llm.parse_stream(body))
        document, tail = _split(body)
        content = _content(half, document, tail)
    except (ValueError, TypeError, LookupError, RecursionError, OverflowError, struct.error):
        raise Unusable(Result.MALFORMED, "a body of V1, V2 or OpenAI") from None
    if _size(content) > MAX_VALUES:
        raise Unusable(Result.OVERSIZED, f"at most {MAX_VALUES} values")
    return content


def _split(body: bytes) -> tuple[Mapping[str, Any], bytes]:
    """
    Return the JSON object at the beginning and what follows it.

    The length of the JSON part is found by reading it: the agent does not hand on the header that
    tells it (Inference-Header-Content-Length), and metadata has the request's for both halves.
    """
    text = body.decode("utf-8", "surrogateescape")
    space = _SPACE.match(text)
    document, end = _DECODER.raw_decode(text, space.end() if space else 0)
    if not isinstance(document, dict):
        raise ValueError("not an object")
    length = len(text[:end].encode("utf-8"))  # not UTF-8 inside the JSON: UnicodeEncodeError
    return document, body[length:]


def _content(half: Half, document: Mapping[str, Any], tail: bytes) -> Content:
    names = ("instances", "inputs") if half is Half.REQUEST else ("predictions", "outputs")
    for name in names:
        items = document.get(name)
        if isinstance(items, list):
            if name != names[0] and _are_tensors(items):
                return _tensors(items, tail)
            if name == "outputs" or tail.strip():
                raise ValueError("bytes after V1, or V2 without tensors")
            return Rows(items)
    if tail.strip():
        raise ValueError("bytes after a body without tensors")
    rows = llm.parse_request(document) if half is Half.REQUEST else llm.parse_answer(document)
    return Rows(rows)


def _are_tensors(items: Sequence[object]) -> bool:
    """Whether they are V2's, and not V1 rows under the name `inputs`."""
    first = items[0] if items else None
    return isinstance(first, dict) and {"name", "shape", "datatype"} <= first.keys()


def _tensors(items: Sequence[Any], tail: bytes) -> Tensors:
    tensors, at = [], 0
    for item in items:
        rows, width = _extent(item["shape"])
        size = _binary_size(item)
        if size is None:
            values = _flat(item["data"], rows * width)
        else:
            values = _unpacked(item["datatype"], tail[at : at + size], rows * width)
            at += size
        tensors.append(Tensor(_text(item["name"]), rows, width, values))
    if at > len(tail) or tail[at:].strip() or len({tensor.rows for tensor in tensors}) != 1:
        raise ValueError("not as many bytes as claimed, or tensors of different lengths")
    return Tensors(tuple(tensors))


def _extent(shape: Any) -> tuple[int, int]:
    """Return rows and values in a row; a scalar is one row of one."""
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("no shape")
    sizes = [_natural(size) for size in shape]
    rows, width = (sizes[0], prod(sizes[1:])) if sizes else (1, 1)
    if rows * width > MAX_VALUES:
        raise Unusable(Result.OVERSIZED, f"at most {MAX_VALUES} values")
    return rows, width


def _binary_size(item: Mapping[str, Any]) -> int | None:
    """Return how many bytes of the tail the tensor has; None if its data is in the JSON."""
    parameters = item.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    return None if size is None else _natural(size)


def _natural(size: Any) -> int:
    if type(size) is not int or size < 0:
        raise ValueError("no size")
    return size


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError("no name")
    return name


def _flat(data: Any, number: int) -> Sequence[object]:
    """Return the values of `data`, flat as it is or nested as its shape; exactly `number`."""
    if not isinstance(data, list):
        raise ValueError("no data")
    values: list[Any] = data
    for _ in range(MAX_DIMENSIONS):
        if not values or len(values) > number or set(map(type, values)) != {list}:
            break
        values = list(chain.from_iterable(values))
    if len(values) != number:
        raise ValueError("not as many values as the shape says")
    return values


def _unpacked(datatype: Any, raw: bytes, number: int) -> Sequence[object]:
    """Return exactly `number` values of a binary tensor, little-endian."""
    if datatype == "BYTES":
        return _unpacked_text(raw, number)
    values: tuple[object, ...] = struct.unpack(f"<{number}{_FORMATS[datatype]}", raw)
    return values  # struct.error unless there are exactly as many bytes


def _unpacked_text(raw: bytes, number: int) -> Sequence[object]:
    values, at = [], 0
    for _ in range(number):
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4 + length
        if at > len(raw):
            raise ValueError("a text longer than the tensor")
        values.append(raw[at - length : at].decode("utf-8", "replace"))
    if at != len(raw):
        raise ValueError("bytes left")
    return values


def _size(content: Content) -> int:
    match content:
        case Tensors(tensors):
            return sum(len(tensor.values) for tensor in tensors)
        case Rows(rows):
            return sum(len(row) if isinstance(row, list | dict) else 1 for row in rows)
