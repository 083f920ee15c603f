"""Texts from outside, made fit for status, events and terminals.

Owns the cleaning of text that a model, the scheduler or Prometheus wrote. Must not know where a
text goes.
"""

from __future__ import annotations

import unicodedata
from datetime import timedelta

LONGEST = 1024
"""Longest text that is put into status or an Event (Kubernetes' own bound for Event messages)."""


def plain(text: str, longest: int = LONGEST) -> str:
    """Return `text` on one line, without control or invisible characters, cut at `longest`.

    The API server refuses a whole status over one such character, and a terminal obeys it.
    """
    cleaned = "".join(" " if unicodedata.category(c).startswith("C") else c for c in text)
    words = " ".join(cleaned.split())
    return words if len(words) <= longest else words[: longest - 1] + "…"


def lasting(span: timedelta) -> str:
    """Write how long something lasted: `6.2 s`, `70 s`, `40 min`, `5 h`."""
    seconds = span.total_seconds()
    if seconds < 10.0:
        return f"{seconds:.2g} s"
    for size, unit in ((1.0, "s"), (60.0, "min")):
        if seconds < 120.0 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600.0:.0f} h"
