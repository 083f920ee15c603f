"""
Names and ports that pods get: pod IPs that are only names, and free ports on loopback.

Owns which are taken. Knows no pod.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from pathlib import Path

from sandbox.ports import HIGHEST, is_free

# Between the ports of the world's parts and those the kernel gives to outgoing connections.
_LOWEST_PORT = HIGHEST + 1
_PORTS = 32_768 - _LOWEST_PORT


class PodIPs:
    """Pod IPs of 10.244.0.0/16, each given once before any is given again."""

    def __init__(self) -> None:
        """Begin at 10.244.0.3."""
        self._last = 0

    def take(self, taken: Collection[str]) -> str:
        """
        Return an address that is not among `taken`.

        Raises:
            RuntimeError: All are taken.
        """
        for _ in range(250 * 250):
            self._last = (self._last + 1) % (250 * 250)
            third, fourth = divmod(self._last, 250)
            address = f"10.244.{third}.{fourth + 2}"
            if address not in taken:
                return address
        raise RuntimeError("all pod addresses are taken")


class LocalPorts:
    """Free ports on 127.0.0.1, each given once before any is given again."""

    def __init__(self, owner: Path) -> None:
        """Take whose ports they are; two owners begin at different ports."""
        self._next = zlib.crc32(str(owner).encode()) % _PORTS
        self._taken: set[int] = set()

    def take(self) -> int:
        """
        Return a port nobody listens on; it stays taken until given back.

        Raises:
            RuntimeError: None is left.
        """
        for _ in range(_PORTS):
            port = _LOWEST_PORT + self._next
            self._next = (self._next + 1) % _PORTS
            if port not in self._taken and is_free(port):
                self._taken.add(port)
                return port
        raise RuntimeError("no free port is left for pods")

    def give_back(self, ports: Collection[int]) -> None:
        """Let the ports be taken again."""
        self._taken.difference_update(ports)
