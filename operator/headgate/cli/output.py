"""Where a picture goes: a terminal, a pipe, a file.

Owns the choice between styled and plain text. Must not know what is shown. Without a terminal, or
with NO_COLOR set (no-color.org), not one escape sequence is written.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TextIO

from headgate.cli.lines import Line, for_terminal, plain_text


def is_rich(stream: TextIO) -> bool:
    """Whether styles may be used on this stream."""
    plain_wanted = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain_wanted


def is_ascii(stream: TextIO) -> bool:
    """Whether the stream takes nothing but ASCII for sure."""
    return "utf" not in (stream.encoding or "").lower()


def show(lines: Sequence[Line]) -> None:
    """Print a picture to standard output, as it can take it."""
    if is_rich(sys.stdout):
        from rich.console import Console

        Console(highlight=False, markup=False, emoji=False).print(
            for_terminal(lines, is_ascii(sys.stdout))
        )
        return
    written = plain_text(lines, is_ascii(sys.stdout))
    if is_ascii(sys.stdout):
        written = written.encode("ascii", "replace").decode("ascii")
    sys.stdout.write(written)
    sys.stdout.flush()


def show_json(value: dict[str, Any], indent: int | None = 2) -> None:
    """Print JSON to standard output, in ASCII; without `indent` on one line."""
    sys.stdout.write(json.dumps(value, indent=indent) + "\n")
    sys.stdout.flush()


def to_json(value: object) -> Any:
    """Turn a view into JSON: fields in camelCase, moments in ISO 8601, durations in seconds.

    A duration's key ends in `Seconds`. What is not known is null, never left out.
    """
    match value:
        case StrEnum():
            return value.value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case tuple() | list():
            return [to_json(one) for one in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            items = ((f.name, getattr(value, f.name)) for f in fields(value))
            return {_key(name, item): to_json(item) for name, item in items}
    return value


def _key(name: str, value: object) -> str:
    first, *rest = name.rstrip("_").split("_")
    camel = first + "".join(word.capitalize() for word in rest)
    return f"{camel}Seconds" if isinstance(value, timedelta) else camel
