"""
The current objects of a resource, held in memory by list and watch.

Owns the watch protocol: expired versions, bookmarks, servers that vanish, kinds that do not
exist yet. Knows nothing about what the objects mean.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from sandbox.kube import Json, Kube, KubeError

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_PAGE = "500"


class Key(NamedTuple):
    """The name of an object; `namespace` is empty for cluster-scoped kinds."""

    namespace: str
    name: str


def key_of(item: Json) -> Key:
    """Return the key of an object."""
    meta = item["metadata"]
    return Key(meta.get("namespace", ""), meta["name"])


class Mirror:
    """
    A copy of all objects of one resource.

    Attributes:
        objects: What the API server had when it was last heard; empty until `synced` is set.
        synced: Set after the first complete list, and from then on for good. An outage leaves
            the objects as they were.
    """

    def __init__(
        self, kube: Kube, path: str, changed: Callable[[Key], None], selector: str = ""
    ) -> None:
        """
        Take the collection's path and whom to tell about a key that may have changed.

        `selector` is a field selector; objects that leave it count as deleted.
        """
        self.objects: dict[Key, Json] = {}
        self.synced = asyncio.Event()
        self._kube = kube
        self._path = path
        self._changed = changed
        self._version = ""
        self._selector = {"fieldSelector": selector} if selector else {}

    async def run(self) -> None:
        """Keep the copy current until cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                pause = _FIRST_PAUSE_SECONDS
            except KubeError as error:
                # A lost connection does not cost a new list: the last version is asked for again,
                # and 410 answers when the server no longer knows it.
                if error.status:
                    self._version = ""
                # A kind that is not served yet is normal while a world comes up.
                level = logging.DEBUG if error.is_gone else logging.WARNING
                log.log(level, "%s: %s; again in %.1f s", self._path, error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _list(self) -> None:
        found: dict[Key, Json] = {}
        params = {"limit": _PAGE, **self._selector}
        while True:
            page = await self._kube.get(self._path, **params)
            found |= {key_of(item): item for item in page.get("items") or ()}
            if not (more := page["metadata"].get("continue")):
                break
            params["continue"] = more
        self._version = str(page["metadata"]["resourceVersion"])
        before, self.objects = self.objects, found
        self.synced.set()
        for key in before.keys() | found.keys():
            if before.get(key) != found.get(key):
                self._changed(key)

    async def _watch(self) -> None:
        """Follow the changes after the last version heard, until the server ends the watch."""
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "90",
            "resourceVersion": self._version,
            **self._selector,
        }
        async for event in self._kube.stream(self._path, params):
            item = event["object"]
            if event["type"] == "ERROR":
                raise KubeError(
                    item.get("code", 500), item.get("reason", ""), item.get("message", "")
                )
            self._version = item["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            if event["type"] == "DELETED":
                self.objects.pop(key_of(item), None)
            else:
                self.objects[key_of(item)] = item
            self._changed(key_of(item))
