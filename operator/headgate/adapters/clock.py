"""The wall clock: the `Clock` port.

Owns the only reading of the time. Must not know what it is used for.
"""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """The clock of the machine we run on."""

    def now(self) -> datetime:
        """The wall clock in aware UTC; it may jump when the machine's clock is set."""
        return datetime.now(UTC)
