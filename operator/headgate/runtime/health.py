"""Whether the process is alive and whether it is ready, as facts with a reason.

Owns the loop-lag monitor and the two answers. Must not know HTTP. Liveness must not depend on the
API server or on Prometheus: restarting the operator cures neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

SAMPLE_SECONDS = 0.5
LONGEST_LAG_SECONDS = 5.0


@dataclass(slots=True)
class LoopLag:
    """Measures how late the event loop wakes a sleeper, twice a second."""

    _last_seconds: float = 0.0
    _expected: float | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._expected = loop.time() + SAMPLE_SECONDS
            await asyncio.sleep(SAMPLE_SECONDS)
            self._last_seconds = max(0.0, loop.time() - self._expected)

    def seconds(self) -> float:
        """The last lag, or how overdue the present sample is, whichever is longer."""
        if self._expected is None:
            return 0.0
        overdue = asyncio.get_running_loop().time() - self._expected
        return max(self._last_seconds, overdue, 0.0)


@dataclass(slots=True)
class Health:
    """
    The two answers.

    Args:
        lag_seconds: The event loop's lag.
        oldest_pass_seconds: How long the longest pass under way has lasted.
        stuck_after: A pass that lasts longer has outlived its own cancellation.
    """

    lag_seconds: Callable[[], float]
    oldest_pass_seconds: Callable[[], float]
    stuck_after: timedelta
    not_ready_because: str | None = "starting"
    note: str = "ok"
    """What a ready process says of itself."""

    def ready(self) -> None:
        """The first lists are done."""
        self.not_ready_because, self.note = None, "ok"

    def standing_by(self) -> None:
        """Another one works, and this one would at once: for a Deployment it is ready.

        If it were not, a rolling update would wait for ever for a new pod that waits for the old.
        """
        self.not_ready_because, self.note = None, "standing by: another one works"

    def not_ready(self, reason: str) -> None:
        """Say why nothing is reconciled at present."""
        self.not_ready_because = reason

    def not_alive_because(self) -> str | None:
        """Say why the process should be restarted; None if it should not."""
        lag = self.lag_seconds()
        if lag >= LONGEST_LAG_SECONDS:
            return f"event loop lag {lag:.1f} s, wanted less than {LONGEST_LAG_SECONDS:g} s"
        oldest, limit = self.oldest_pass_seconds(), self.stuck_after.total_seconds()
        if oldest >= limit:
            return f"a pass has lasted {oldest:.0f} s, wanted less than {limit:.0f} s"
        return None
