"""
Free ports on 127.0.0.1, outside the range that the kernel hands out by itself.

A port from the kernel's range could be taken by any outgoing connection between the moment it is
chosen and the moment its server binds it; one from below stays free.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping

LOWEST, HIGHEST = 15000, 31999


def is_free(port: int) -> bool:
    """Say whether nothing listens on 127.0.0.1:`port`, nor on all addresses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def candidates(seed: int) -> Iterator[int]:
    """Return every port of the range once, beginning where `seed` says: worlds begin apart."""
    span = HIGHEST - LOWEST + 1
    return (LOWEST + (seed + step) % span for step in range(span))


def choose(names: Iterable[str], kept: Mapping[str, int], seed: int) -> dict[str, int]:
    """
    Return a free port for each of `names`; what a name was `kept` on stays, while it is free.

    Raises:
        OSError: The whole range is taken.
    """
    supply = (port for port in candidates(seed) if is_free(port))
    chosen: dict[str, int] = {}
    for name in names:
        port = kept.get(name)
        if port is None or port in chosen.values() or not is_free(port):
            port = next((free for free in supply if free not in chosen.values()), None)
        if port is None:
            raise OSError(f"no port between {LOWEST} and {HIGHEST} is free")
        chosen[name] = port
    return chosen
