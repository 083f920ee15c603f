"""Texts from outside, made fit for status, events and terminals.

Owns the cleaning of text that a model, the scheduler or Prometheus wrote. Must not know where a
text goes.
"""

from __future__ import annotations

import unicodedata

LONGEST = 1024
"""Longest text that is put into status or an Event (Kubernetes' own bound for Event messages)."""


def plain(text: str, longest: int = LONGEST) -> str:
    """Return `text` on one line, without control or invisible characters, cut at `longest`.

    The API server refuses a whole status over one such character, and a terminal obeys it.
    """
    cleaned = "".join(" " if unicodedata.category(c).startswith("C") else c for c in text)
    words = " ".join(cleaned.split())
    return words if len(words) <= longest else words[: longest - 1] + "…"
