"""A training profile by its https address: the `Profiles` port.

Owns which hosts may be asked, and that what comes is what was promised. Must not know deployments,
nor what is done with a profile.

Whoever may write a ModelDeployment chooses the address, and the operator, which may reach more than
they do, asks it. So only hosts that the platform team named are asked, at the port it named; never
a loopback, link-local (cloud metadata) or otherwise special address behind such a name, whatever
DNS says at that moment; redirects are not followed; nothing is sent along that would let anybody
in; and what comes must have the digest that Git has.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import aiohttp

from headgate import __version__
from headgate.adapters.hosts import Hosts, NotAllowed, OpenResolver, is_special, with_port
from headgate.adapters.text import one_line
from headgate.core.drift.profile import Profile, ProfileError, digest, parse
from headgate.ports import ProfileUnavailable

TIMEOUT = timedelta(seconds=10)
"""One request, from the name's resolution to the last byte read."""

LARGEST = 256 * 1024
"""Bytes of a profile: it is kept in the ModelRevision, which each pass reads. One of a hundred
features has about 60 kB."""

AGAIN = timedelta(seconds=30)
"""How long a failure is remembered: whoever waits here judges no canary meanwhile."""

_REMEMBERED = 256
_MESSAGE_LENGTH = 200
_K = TypeVar("_K")
_V = TypeVar("_V")
_SETTING = "operator's setting --profile-host"

__all__ = ["HttpProfiles", "is_special", "with_port"]


class HttpProfiles:
    """Reads profiles from the hosts that are named; each is read once, by its digest."""

    def __init__(
        self,
        hosts: Sequence[str],
        ca_file: Path | None = None,
        timeout: timedelta = TIMEOUT,
        again: timedelta = AGAIN,
    ) -> None:
        """`hosts` are names or addresses, each with its port, or 443; `ca_file` has CAs to trust.

        An address that is listed itself is asked, whatever kind of address it is.
        """
        self._hosts = Hosts(frozenset(with_port(host) for host in hosts), _SETTING)
        self._ca_file = ca_file
        self._timeout, self._again = timeout.total_seconds(), again.total_seconds()
        self._known: dict[str, Profile] = {}
        self._failed: dict[tuple[str, str], tuple[float, ProfileUnavailable]] = {}

    async def read(self, address: str, wanted: str) -> Profile:
        """Return the profile at an https address, whose digest is `sha256:…`; see Profiles."""
        if wanted in self._known:
            return self._known[wanted]
        self._check(address)
        now = asyncio.get_running_loop().time()
        until, failure = self._failed.get((address, wanted), (now, None))
        if failure is not None and now < until:
            raise ProfileUnavailable(failure.wanted, failure.found)
        try:
            profile = await self._fetch(address, wanted)
        except ProfileUnavailable as error:
            _keep(self._failed, (address, wanted), (now + self._again, error))
            raise
        _keep(self._known, wanted, profile)
        return profile

    async def _fetch(self, address: str, wanted: str) -> Profile:
        try:
            body = await self._get(address)
        except TimeoutError as error:
            raise ProfileUnavailable(_WANTED, f"no answer in {self._timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            said = one_line(str(error), _MESSAGE_LENGTH) or type(error).__name__
            raise ProfileUnavailable(_WANTED, said) from error
        return _checked(body, wanted)

    def _check(self, address: str) -> None:
        """Refuse an address that is none, or that nobody allowed."""
        try:
            self._hosts.check(address)
        except NotAllowed as error:
            raise ProfileUnavailable(error.wanted, error.found) from error

    async def _get(self, address: str) -> bytes:
        connector = aiohttp.TCPConnector(
            ssl=ssl.create_default_context(cafile=self._ca_file),
            resolver=OpenResolver(),
            use_dns_cache=False,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            # What is unpacked could be far larger than what was sent.
            headers={"User-Agent": f"headgate/{__version__}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        async with session, session.get(address, allow_redirects=False) as response:
            if response.status != 200:
                hint = "; redirects are not followed" if 300 <= response.status < 400 else ""
                raise ProfileUnavailable(_WANTED, f"HTTP {response.status}{hint}")
            body = bytearray()
            async for chunk in response.content.iter_chunked(65536):
                body += chunk
                if len(body) > LARGEST:
                    raise ProfileUnavailable(f"at most {LARGEST} bytes", "more")
        return bytes(body)


_WANTED = "a profile at that address"


def _keep(kept: dict[_K, _V], key: _K, value: _V) -> None:
    """Put the newest in, and the oldest out if there are too many."""
    if key not in kept and len(kept) >= _REMEMBERED:
        del kept[next(iter(kept))]
    kept[key] = value


def _checked(body: bytes, wanted: str) -> Profile:
    try:
        profile = parse(body)
        found = digest(profile)
    except ProfileError as error:
        said = one_line(str(error), _MESSAGE_LENGTH)
        raise ProfileUnavailable("a profile as `headgate profile build` writes it", said) from error
    if found != wanted:
        raise ProfileUnavailable(f"the profile {wanted}", found)
    return profile
