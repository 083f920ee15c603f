"""Receivers of notifications: the `Webhooks` port.

Owns what counts as delivered. Must not know what is told.
"""

from __future__ import annotations

from collections.abc import Mapping

from headgate.adapters.outbound import Outbound
from headgate.ports import ForgeUnavailable


class HttpWebhooks:
    """Posts notifications; any 2xx means that the receiver has it."""

    def __init__(self, outbound: Outbound) -> None:
        """Send by `outbound`, which is closed by whoever made it."""
        self._outbound = outbound

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send one notification; see Webhooks. A receiver that is set up wrongly is tried again."""
        answer = await self._outbound.send("POST", url, headers, body)
        if not answer.is_ok:
            hint = "; redirects are not followed" if 300 <= answer.status < 400 else ""
            raise ForgeUnavailable(f"webhook: HTTP {answer.status}{hint}: {answer.message()}")
