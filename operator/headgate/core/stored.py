"""Frozen values to JSON and back, by their own type hints.

Owns the form in which states are stored. Must not know any of them.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from math import inf
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def _hints(of: type) -> dict[str, Any]:
    return get_type_hints(of)


def encode(value: object) -> Any:
    """Turn a state into JSON: fields by name, times as microseconds, infinity as text."""
    match value:
        case datetime():
            return (value - _EPOCH) // timedelta(microseconds=1)
        case tuple():
            return [encode(one) for one in value]
        case float() if value == inf:
            return "inf"
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    return value


def decode(wanted: Any, raw: Any) -> Any:
    """Build a value of the wanted type from JSON; raises for what does not fit."""
    if get_origin(wanted) is UnionType:
        inner = next(one for one in get_args(wanted) if one is not NoneType)
        return None if raw is None else decode(inner, raw)
    if isinstance(wanted, type) and issubclass(wanted, tuple) and hasattr(wanted, "_fields"):
        hints = _hints(wanted)
        parts = zip(wanted._fields, raw, strict=True)
        return wanted(*(decode(hints[name], part) for name, part in parts))
    if get_origin(wanted) is tuple:
        of, *rest = get_args(wanted)
        if rest == [...]:
            return tuple(decode(of, one) for one in raw)
        return tuple(decode(one, part) for one, part in zip((of, *rest), raw, strict=True))
    if wanted is datetime:
        return _EPOCH + timedelta(microseconds=raw)
    if isinstance(wanted, type) and is_dataclass(wanted):
        hints = _hints(wanted)
        return wanted(**{name: decode(hint, raw[name]) for name, hint in hints.items()})
    if wanted is int and not isinstance(raw, int):
        raise TypeError(f"{raw!r} is no count")
    return wanted(raw)
