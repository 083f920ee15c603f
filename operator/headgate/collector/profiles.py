"""Which profile a revision's events are counted by.

Owns where a profile is found, that it is the one the revision was made with, and how often is
asked. Must not know events: who counts never waits for an answer from here.

The ModelRevision `<deployment>-<hash>` says it in `spec.drift.reference`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from headgate.adapters.profiles import Objects, ProfileUnusable, read_reference
from headgate.collector.events import Address
from headgate.core.drift.profile import Profile, digest
from headgate.ports import MODEL_REVISION, Refused, Unavailable

REMEMBERED: Final = 1024
"""Revisions with a profile, and as many without, that are remembered at most."""

WAITING: Final = 256
"""Revisions that may wait to be asked for."""

SPACING_SECONDS: Final = 0.05
"""Between two requests of ours, so that made-up paths cannot become load for the API server."""

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 300.0
"""After a first answer without a profile we ask again in a second, then twice as late each time."""

DEADLINE_SECONDS: Final = 15.0
"""The longest one asking may take."""

log = logging.getLogger("headgate.collector")


class NoProfile(Exception):
    """A revision has no profile that can be used; the text says why, in names and digests only."""


class Reader:
    """Reads the profile of a revision from the cluster; one profile is kept once, by its digest."""

    def __init__(self, objects: Objects) -> None:
        """Read with `objects`."""
        self._objects = objects
        self._by_digest: dict[str, Profile] = {}

    async def read(self, address: Address) -> Profile:
        """Return the profile; raises NoProfile, Unavailable or Refused."""
        namespace = address.namespace
        revision = await self._objects.get(MODEL_REVISION, namespace, address.revision)
        if revision is None:
            raise NoProfile("no such ModelRevision")
        reference = _at(revision, "spec", "drift", "reference")
        if not isinstance(reference, Mapping):
            raise NoProfile("its ModelRevision names no reference")
        wanted = reference.get("digest")
        if wanted is not None and not isinstance(wanted, str):
            raise NoProfile("the digest of its reference is no text")
        if wanted in self._by_digest:
            return self._by_digest[wanted]
        try:
            profile = await read_reference(reference, namespace, self._objects)
        except ProfileUnusable as error:
            raise NoProfile(str(error)) from error
        while len(self._by_digest) >= REMEMBERED:
            del self._by_digest[next(iter(self._by_digest))]
        return self._by_digest.setdefault(digest(profile), profile)


def _at(value: object, *keys: str) -> Any:
    """Return what is under these keys, one below the other; None if anything is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


@dataclass(slots=True)
class _Missing:
    """When to ask again; None while a question is under way."""

    again_at: float | None
    failures: int = 0


class Profiles:
    """What is known of the profiles, at once; what is not known is asked for in the background."""

    def __init__(self, reader: Reader, told: Callable[[str], None]) -> None:
        """
        Know nothing yet.

        Args:
            reader: Where profiles are read.
            told: Is called after each question with `found`, `none` or `unavailable`.
        """
        self._reader = reader
        self._told = told
        self._found: dict[Address, Profile] = {}
        self._missing: dict[Address, _Missing] = {}
        self._asked: asyncio.Queue[Address] = asyncio.Queue(WAITING)

    def of(self, address: Address, now: float) -> Profile | None:
        """Return the profile if it is known; else see to it that it is asked for in its time."""
        profile = self._found.get(address)
        if profile is not None:
            return profile
        missing = self._missing.get(address) or _Missing(again_at=now)
        if missing.again_at is not None and missing.again_at <= now and not self._asked.full():
            missing.again_at = None
            _keep(self._missing, address, missing)
            self._asked.put_nowait(address)
        return None

    async def run(self) -> None:
        """Ask for one profile after the other until cancelled."""
        while True:
            address = await self._asked.get()
            await self._ask(address)
            await asyncio.sleep(SPACING_SECONDS)

    async def _ask(self, address: Address) -> None:
        result = "none"
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                profile = await self._reader.read(address)
        except NoProfile as error:
            self._later(address, str(error))
        except Refused as error:
            self._later(address, str(error))
        except (Unavailable, TimeoutError) as error:
            result = "unavailable"
            self._later(address, str(error) or "no answer in time")
        else:
            result = "found"
            self._missing.pop(address, None)
            _keep(self._found, address, profile)
            log.info("%s is counted by a profile of %d features", address, len(profile.features))
        self._told(result)

    def _later(self, address: Address, why: str) -> None:
        """Ask again later; said once, as events that are not counted are counted."""
        missing = self._missing.get(address) or _Missing(None)
        wait = min(LONGEST_SECONDS, FIRST_SECONDS * 2**missing.failures)
        if not missing.failures:
            log.warning("%s is not counted: %s", address, why)
        missing.failures = min(missing.failures + 1, 16)
        missing.again_at = asyncio.get_running_loop().time() + wait
        _keep(self._missing, address, missing)


def _keep(kept: dict[Address, Any], address: Address, value: object) -> None:
    """Put the newest in, and the oldest out if there are too many."""
    if address not in kept and len(kept) >= REMEMBERED:
        del kept[next(iter(kept))]
    kept[address] = value
