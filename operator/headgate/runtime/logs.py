"""Log lines: one JSON object per event, or one readable line.

Owns the shape of a line and which loggers are heard. Must not know secrets or whole objects: a line
carries the name of an object, never its body.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

FIELDS = ("object", "rollout", "revision", "phase", "reason")
"""What a line may say besides its message, by `extra=`."""

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "text")

QUIET = {
    "kopf": logging.WARNING,  # one INFO line for each event of each object otherwise
    "kopf.objects": logging.ERROR,
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.WARNING,
    "kubernetes": logging.ERROR,  # says again what our own line says
}
"""Loggers of others and the lowest level at which they are heard, whatever our own level is: Kopf
writes whole objects at DEBUG."""


class JsonFormatter(logging.Formatter):
    """One JSON object in one line; keys: time, level, logger, message, then FIELDS, then trace."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record; `trace` is there only for a logged exception."""
        line: dict[str, str] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _fields(record)
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`time LEVEL logger object: message (rollout=…, reason=…)`, and a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Render the record for a person at a terminal."""
        fields = _fields(record)
        where = f" {fields.pop('object')}" if "object" in fields else ""
        rest = ", ".join(f"{name}={value}" for name, value in fields.items())
        line = f"{_time(record)} {record.levelname:<7} {record.name}{where}: {record.getMessage()}"
        line += f" ({rest})" if rest else ""
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(level: str, form: str, stream: TextIO = sys.stderr) -> None:
    """Send all log lines to `stream`, from `level` up, as `json` or `text`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(quiet)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, str]:
    """Collect what the line says besides its message; Kopf names its object by `k8s_ref`."""
    fields = {name: str(record.__dict__[name]) for name in FIELDS if record.__dict__.get(name)}
    reference = record.__dict__.get("k8s_ref")
    if reference and "object" not in fields:
        fields["object"] = f"{reference.get('namespace') or '-'}/{reference.get('name')}"
    return fields
