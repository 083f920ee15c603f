"""Which hosts may be asked: the guard of everything that asks an address which others chose.

Owns the rules of names and addresses. Must not know what is asked for.

Only hosts that the platform team named in a setting are asked, at the port it named; never a
loopback, link-local (cloud metadata) or otherwise special address behind such a name, whatever DNS
says at that moment.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from headgate.adapters.text import one_line

_HOST = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?|[0-9a-f:.]+")
_MESSAGE_LENGTH = 200
_PORTS = {"https": 443, "http": 80}


class NotAllowed(Exception):
    """An address that is none, or that nobody allowed: what was wanted, what was found."""

    def __init__(self, wanted: str, found: str) -> None:
        super().__init__(f"wanted {wanted}, found {found}")
        self.wanted, self.found = wanted, found


@dataclass(frozen=True, slots=True)
class Hosts:
    """
    The hosts that may be asked.

    Args:
        allowed: `host:port`, as `with_port` gives it.
        setting: Whose setting names them and how it is called, such as `operator's setting --x`.
        plain: Those of them that may be asked without TLS.
    """

    allowed: Collection[str]
    setting: str
    plain: Collection[str] = ()

    def check(self, address: str) -> tuple[str, int]:
        """Return host and port of an address; raises NotAllowed."""
        try:
            parts = urlsplit(address)
            host = (parts.hostname or "").lower()
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError as error:
            raise NotAllowed("an https address", one_line(address, 80)) from error
        is_known = parts.scheme == "https" or (parts.scheme == "http" and self.plain)
        if not is_known or not host or "@" in parts.netloc or parts.fragment:
            wanted = "an https address without credentials"
            raise NotAllowed(wanted, one_line(address, _MESSAGE_LENGTH))
        allowed = self.allowed if parts.scheme == "https" else self.plain
        if f"{host}:{port}" not in allowed:
            named = ", ".join(sorted(allowed)) or "no host"
            suffix = "" if parts.scheme == "https" else " without TLS"
            wanted = f"a host that the {self.setting} allows{suffix} ({named})"
            raise NotAllowed(wanted, f"{host}:{port}")
        return host, port


def with_port(host: str) -> str:
    """Return `host:port` in small letters, 443 if none is named; raises ValueError if it is none.

    An IPv6 address is written in brackets.
    """
    parts = urlsplit(f"//{host}")
    if parts.netloc != host or "@" in host or not _HOST.fullmatch(parts.hostname or ""):
        raise ValueError(f"wanted a host, found {host!r}")
    return f"{parts.hostname}:{parts.port or 443}"


def is_special(address: str) -> bool:
    """Whether no name may lead to this address: the machine itself, its link, or no host at all.

    Private networks (RFC 1918) are where stores of artifacts are, so they are none.
    """
    found: Any = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = IPv4Address(int(found) & 0xFFFFFFFF) if found in _NAT64 else None
        found = found.ipv4_mapped or found.sixtofour or inner or found
    return bool(
        found in _METADATA
        or found.is_loopback
        or found.is_link_local
        or found.is_multicast
        or found.is_unspecified
        or found.is_reserved
    )


_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address is in the last 32 bits
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200")))
"""Where clouds tell a machine its credentials, besides 169.254.169.254: AWS, Google, Alibaba."""


class OpenResolver(AbstractResolver):
    """Resolves names, and leaves out special addresses: what is resolved is what is connected to.

    Addresses that are no names do not come here.
    """

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host; raises OSError if none may be asked."""
        found: Sequence[ResolveResult] = await self._resolver.resolve(host, port, family)
        fit = [one for one in found if not is_special(one["host"])]
        if not fit:
            raise OSError(errno.EPERM, f"{host} is a loopback, link-local or other special address")
        return fit

    async def close(self) -> None:
        """Free what resolving holds."""
        await self._resolver.close()
