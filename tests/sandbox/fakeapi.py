"""An API server in memory: list, watch, create, patch and delete as the sandbox needs them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Json = dict[str, Any]
_OBJECT = re.compile(r"(/api/v1|/apis/[^/]+/[^/]+)(?:/namespaces/([^/]+))?/([^/]+)/([^/]+)")


class FakeApi:
    """
    What the API server holds, by path.

    Attributes:
        objects: Path of an object → the object.
        refuse_with: Answer every request with this status as long as it is not 0.
        lists: How many lists were answered.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.refuse_with = 0
        self.lists = 0
        self.url = ""
        self._version = 100
        self._oldest = 0
        self._events: list[tuple[int, str, Json, str]] = []
        self._news = asyncio.Condition()
        self._watches: set[web.StreamResponse] = set()

    async def put(self, path: str, item: Json, kind: str = "MODIFIED") -> Json:
        """Store an object and tell the watches."""
        self._version += 1
        meta = item.setdefault("metadata", {})
        meta["resourceVersion"] = str(self._version)
        meta.setdefault("uid", f"uid-{self._version}")
        matched = _OBJECT.fullmatch(path)
        assert matched is not None, path
        meta["name"] = matched[4]
        if matched[2]:
            meta["namespace"] = matched[2]
        self.objects[path] = json.loads(json.dumps(item))
        await self._tell(kind, path)
        return self.objects[path]

    async def remove(self, path: str) -> None:
        """Delete an object and tell the watches."""
        self._version += 1
        self.objects[path]["metadata"]["resourceVersion"] = str(self._version)
        await self._tell("DELETED", path)
        self.objects.pop(path)

    async def forget_history(self) -> None:
        """Answer 410 to every watch from a version before now, and break off the open ones."""
        self._oldest = self._version
        await self.break_off()

    async def break_off(self) -> None:
        """Cut the connection of every watch."""
        for response in list(self._watches):
            if response._req is not None and response._req.transport is not None:
                response._req.transport.close()

    async def _tell(self, kind: str, path: str) -> None:
        item = json.loads(json.dumps(self.objects[path]))
        async with self._news:
            self._events.append((self._version, kind, item, path))
            self._news.notify_all()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        if self.refuse_with:
            return web.json_response({"message": "refused"}, status=self.refuse_with)
        body = await request.json() if request.can_read_body else {}
        match request.method:
            case "GET" if request.query.get("watch"):
                return await self._watch(request)
            case "GET":
                return self._get(request)
            case "POST":
                return await self._post(request.path, body)
            case "PATCH":
                return await self._patch(request.path, body)
            case _:
                return await self._delete(request.path, body)

    def _get(self, request: web.Request) -> web.Response:
        if request.path in self.objects:
            return web.json_response(self.objects[request.path])
        if _is_collection(request.path):
            self.lists += 1
            items = [item for path, item in self.objects.items() if _holds(request, path, item)]
            meta = {"resourceVersion": str(self._version)}
            return web.json_response({"items": items, "metadata": meta})
        return web.json_response({"reason": "NotFound", "message": request.path}, status=404)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        since = int(request.query["resourceVersion"])
        if since < self._oldest:
            gone = {"code": 410, "reason": "Expired", "message": "too old"}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        self._watches.add(response)
        try:
            while True:
                async with self._news:
                    while not (events := self._after(request, since)):
                        await self._news.wait()
                for version, kind, item, _ in events:
                    line = json.dumps({"type": kind, "object": item}).encode() + b"\n"
                    await response.write(line)
                    since = version
        finally:
            self._watches.discard(response)

    def _after(self, request: web.Request, since: int) -> list[tuple[int, str, Json, str]]:
        return [e for e in self._events if e[0] > since and _holds(request, e[3], e[2])]

    async def _post(self, path: str, body: Json) -> web.Response:
        if path.endswith("/token"):
            return web.json_response({"status": {"token": "a-token"}})
        meta = body["metadata"]
        name = meta.get("name") or f"{meta['generateName']}{self._version}"
        if f"{path}/{name}" in self.objects:
            return web.json_response({"reason": "AlreadyExists"}, status=409)
        return web.json_response(await self.put(f"{path}/{name}", body, "ADDED"))

    async def _patch(self, path: str, body: Json) -> web.Response:
        path = path.removesuffix("/status")
        if path not in self.objects:
            return web.json_response({"reason": "NotFound", "message": path}, status=404)
        return web.json_response(await self.put(path, _merged(self.objects[path], body)))

    async def _delete(self, path: str, body: Json) -> web.Response:
        if path not in self.objects:
            return web.json_response({"reason": "NotFound", "message": path}, status=404)
        wanted = body.get("preconditions", {}).get("uid")
        if wanted and wanted != self.objects[path]["metadata"]["uid"]:
            return web.json_response({"reason": "Conflict"}, status=409)
        await self.remove(path)
        return web.json_response({"status": "Success"})


def _is_collection(path: str) -> bool:
    return re.fullmatch(r"(/api/v1|/apis/[^/]+/[^/]+)(/namespaces/[^/]+)?/[^/]+", path) is not None


def _holds(request: web.Request, path: str, item: Json) -> bool:
    matched = _OBJECT.fullmatch(path)
    assert matched is not None
    folders = {f"{matched[1]}/{matched[3]}", f"{matched[1]}/namespaces/{matched[2]}/{matched[3]}"}
    node = request.query.get("fieldSelector", "").removeprefix("spec.nodeName=")
    return request.path in folders and (not node or item["spec"].get("nodeName") == node)


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    merged = {key: value for key, value in old.items() if new.get(key, value) is not None}
    for key, value in new.items():
        if value is not None:
            merged[key] = _merged(old.get(key), value)
    return merged


@asynccontextmanager
async def serving() -> AsyncIterator[FakeApi]:
    """Serve a fresh FakeApi on loopback."""
    api = FakeApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0.1)
    api.url = f"http://127.0.0.1:{server.port}"
    try:
        yield api
    finally:
        await api.break_off()
        await server.close()
