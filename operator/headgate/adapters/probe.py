"""One GET request of ours to a revision: the `Prober` port.

Owns what counts as an answer. Must not know which revision it asks, nor what follows from it.
"""

from __future__ import annotations

from datetime import timedelta

import aiohttp

from headgate import __version__
from headgate.adapters.text import one_line
from headgate.ports import Probe

TIMEOUT = timedelta(seconds=5)
"""One probe, from the name's resolution to the last byte read."""

BODY_BYTES = 4096
"""Read of a body; the rest is not waited for."""

MESSAGE_LENGTH = 200
"""Characters of a body that are told."""


class HttpProber:
    """Asks over plain HTTP, with a fresh connection each time, so that an old one proves nothing.

    `proxy` is the URL of an HTTP forward proxy, for an operator outside the pod network; None
    asks directly. Proxies of the environment are not used.
    """

    def __init__(self, *, proxy: str | None = None, timeout: timedelta = TIMEOUT) -> None:
        self._proxy = proxy
        self._timeout = timeout.total_seconds()

    async def probe(self, host: str, path: str) -> Probe:
        """GET `http://host/path`; answered is True for 2xx only.

        Redirects are not followed: another place's answer says nothing about this revision. Never
        raises for what the network or the model does; the message says what was seen.
        """
        url = f"http://{host}/{path.lstrip('/')}"
        try:
            return await self._get(url)
        except TimeoutError:
            return Probe(False, f"GET {url}: no answer in {self._timeout:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = one_line(str(error), MESSAGE_LENGTH) or type(error).__name__
            return Probe(False, f"GET {url}: {reason}")

    async def _get(self, url: str) -> Probe:
        session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers={"User-Agent": f"headgate/{__version__}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        async with (
            session,
            session.get(url, proxy=self._proxy, allow_redirects=False) as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_chunked(BODY_BYTES):
                body += chunk
                if len(body) >= BODY_BYTES:
                    break
        said = one_line(bytes(body), MESSAGE_LENGTH)
        message = f"GET {url}: HTTP {response.status}: {said}".rstrip(": ")
        return Probe(200 <= response.status < 300, message)
