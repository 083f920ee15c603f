"""Foreign text made fit for our messages.

Owns how much of what others send us may reach a log, a condition or a terminal. Must not know who
sent it.
"""

from __future__ import annotations

from headgate.core.wording import plain


def one_line(text: str | bytes, length: int) -> str:
    """Return at most `length` characters on one line, without control characters.

    Bytes are read as UTF-8, with U+FFFD for what is not. White space is collapsed.
    """
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    return plain(decoded, length)
