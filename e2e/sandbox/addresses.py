"""
Names and ports that pods get: pod IPs that are only names, and free ports on loopback.

Owns which are taken. Knows no pod.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Collection
from pathlib import Path

_LOWEST_PORT = 20_000


class PodIPs:
    """Pod IPs of 10.244.0.0/16, each given once before any is given again."""

    def __init__(self) -> None:
        self._last = 1

    def take(self, taken: Collection[str]) -> str:
        """Return an address that is not among `taken`."""
        for _ in range(254 * 250):
            self._last += 1
            third, fourth = divmod(self._last, 250)
            address = f"10.244.{third % 254}.{fourth + 2}"
            if address not in taken:
                return address
        raise RuntimeError("all pod addresses are taken")


class LocalPorts:
    """
    Free ports on 127.0.0.1 below the range that outgoing connections use.

    Inside that range a connection could take the port between its choice and its use.
    """

    def __init__(self, owner: Path) -> None:
        """Take whose ports they are; two owners begin at different ports."""
        try:
            first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
        except (OSError, ValueError):
            first = 32_768
        # Where there is no room below, any port must do.
        self._span = first - _LOWEST_PORT if first > _LOWEST_PORT + 1_000 else 12_000
        self._next = zlib.crc32(str(owner).encode()) % self._span
        self._taken: set[int] = set()

    def take(self) -> int:
        """Return a port nobody listens on; it stays taken until given back."""
        for _ in range(self._span):
            port = _LOWEST_PORT + self._next
            self._next = (self._next + 1) % self._span
            if port not in self._taken and _is_free(port):
                self._taken.add(port)
                return port
        raise RuntimeError("no free port is left for pods")

    def give_back(self, ports: Collection[int]) -> None:
        """Let the ports be taken again."""
        self._taken.difference_update(ports)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
