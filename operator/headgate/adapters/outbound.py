"""HTTP to others: guarded, bounded, and with one meaning for each kind of failure.

Owns the session, its limits, and which failures may pass by themselves. Must not know any API.
Redirects are not followed: they would carry credentials to where nobody allowed.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from headgate import __version__
from headgate.adapters.hosts import Hosts, NotAllowed, OpenResolver
from headgate.adapters.text import one_line
from headgate.core.writeback.reasons import Refusal, Why
from headgate.ports import ForgeUnavailable

TIMEOUT = timedelta(seconds=20)
"""One request, from the name's resolution to the last byte read."""

LARGEST = 4 * 1024 * 1024
"""Bytes of an answer that are read."""

LONGEST_WAIT = timedelta(hours=1)
"""The longest that a server may ask us to wait."""

_MESSAGE_LENGTH = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: its status, its headers in small letters, and the body."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def is_ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Parse the body; raises ForgeUnavailable if it is no JSON."""
        try:
            return json.loads(self.raw)
        except (ValueError, RecursionError) as error:
            raise ForgeUnavailable(f"HTTP {self.status}: the answer is not JSON") from error

    def message(self) -> str:
        """What the server says of an error, on one line."""
        try:
            body = json.loads(self.raw)
        except (ValueError, RecursionError):
            return one_line(self.raw, _MESSAGE_LENGTH)
        if not isinstance(body, dict):
            return one_line(self.raw, _MESSAGE_LENGTH)
        parts = [body.get("message"), body.get("error"), body.get("errors")]
        return one_line("; ".join(_said(part) for part in parts if part), _MESSAGE_LENGTH)


class Outbound:
    """Sends requests to the hosts that are allowed; one session for all of them."""

    def __init__(
        self, hosts: Hosts, ca_file: Path | None = None, timeout: timedelta = TIMEOUT
    ) -> None:
        """Nothing is opened yet. `ca_file` has certificates to trust in place of the system's."""
        self._hosts, self._ca_file = hosts, ca_file
        self._timeout = timeout.total_seconds()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        """
        Send one request and read its answer, whatever the status, but for what may pass by itself.

        Args:
            method: The HTTP method.
            url: The whole address, with everything in it escaped already.
            headers: Sent as they are.
            body: Sent as it is.

        Raises:
            ForgeUnavailable: No answer in time, too long a one, 401, 408, 429, 5xx, or a rate
                limit's 403. What the server asked to wait is in it.
            Refusal: The address may not be asked.
        """
        try:
            self._hosts.check(url)
        except NotAllowed as error:
            raise Refusal(Why.FORGE_REFUSED, str(error)) from error
        about = f"{method} {URL(url).origin()}{URL(url).path}"
        try:
            answer = await self._exchange(method, url, headers, body)
        except TimeoutError as error:
            raise ForgeUnavailable(f"{about}: no answer in {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = one_line(str(error), _MESSAGE_LENGTH) or type(error).__name__
            raise ForgeUnavailable(f"{about}: {said}") from error
        if _may_pass(answer):
            text = f"{about}: HTTP {answer.status}: {answer.message()}"
            raise ForgeUnavailable(text, _retry_after(answer))
        return answer

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        if self._session is None:
            self._session = self._opened()
        address = URL(url, encoded=True)
        async with (
            asyncio.timeout(self._timeout),
            self._session.request(
                method, address, headers=headers, data=body, allow_redirects=False
            ) as response,
        ):
            raw = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                raw += chunk
                if len(raw) > LARGEST:
                    raise ValueError(f"wanted at most {LARGEST} bytes, found more")
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, found, bytes(raw))

    def _opened(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            ssl=ssl.create_default_context(cafile=self._ca_file),
            resolver=OpenResolver(),
            use_dns_cache=False,
        )
        return aiohttp.ClientSession(
            connector=connector,
            # What is unpacked could be far larger than what was sent.
            headers={"User-Agent": f"headgate/{__version__}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )


def _may_pass(answer: Answer) -> bool:
    """Whether the same request may be taken later: when a token is renewed, or a limit is over."""
    is_limited = (
        "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"
    )
    return (
        answer.status in (401, 408, 429)
        or answer.status >= 500
        or (answer.status == 403 and is_limited)
    )


def _retry_after(answer: Answer) -> timedelta | None:
    """Read the seconds to wait; the date that HTTP allows too is taken as none given."""
    text = answer.headers.get("retry-after", "")
    if not re.fullmatch(r"\d{1,6}", text):
        return None
    return min(timedelta(seconds=int(text)), LONGEST_WAIT)


def _said(part: Any) -> str:
    match part:
        case str():
            return part
        case list():
            return ", ".join(_said(each) for each in part)
        case {"message": str() as text}:
            return text
        case _:
            return json.dumps(part)
