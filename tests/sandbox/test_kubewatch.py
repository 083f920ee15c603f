"""The copy of a resource stays equal to the API server's whatever happens to the watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.sandbox.fakeapi import FakeApi, serving
from tests.sandbox.waiting import until

from sandbox.kube import Kube, Login
from sandbox.kubewatch import Key, Mirror

SERVICES = "/api/v1/services"


def path_of(name: str) -> str:
    return f"/api/v1/namespaces/models/services/{name}"


@asynccontextmanager
async def mirroring(api: FakeApi) -> AsyncIterator[tuple[Mirror, list[Key]]]:
    heard: list[Key] = []
    async with Kube(Login(api.url, None, ""), "test") as kube:
        mirror = Mirror(kube, SERVICES, heard.append)
        task = asyncio.create_task(mirror.run())
        try:
            yield mirror, heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def names(mirror: Mirror) -> set[str]:
    return {key.name for key in mirror.objects}


async def test_changes_arrive_one_by_one() -> None:
    """What is added, changed and deleted after the list is heard without another list."""
    async with serving() as api:
        await api.put(path_of("a"), {"spec": {}})
        async with mirroring(api) as (mirror, heard):
            await until(lambda: names(mirror) == {"a"})
            await api.put(path_of("b"), {"spec": {"x": 1}}, "ADDED")
            await until(lambda: names(mirror) == {"a", "b"})
            await api.put(path_of("b"), {"spec": {"x": 2}})
            await until(lambda: mirror.objects[Key("models", "b")]["spec"] == {"x": 2})
            await api.remove(path_of("a"))
            await until(lambda: names(mirror) == {"b"})
            assert heard[-1] == Key("models", "a")
            assert api.lists == 1


async def test_a_cut_connection_costs_no_list() -> None:
    """After a lost connection the watch goes on where it was, and nothing is missed."""
    async with serving() as api:
        await api.put(path_of("a"), {"spec": {}})
        async with mirroring(api) as (mirror, _):
            await until(lambda: names(mirror) == {"a"})
            await api.break_off()
            await api.put(path_of("b"), {"spec": {}}, "ADDED")
            await until(lambda: names(mirror) == {"a", "b"})
            assert api.lists == 1


async def test_an_expired_version_is_answered_by_a_list_that_finds_deletions() -> None:
    """After 410 the objects are listed anew; one deleted meanwhile is told as changed."""
    async with serving() as api:
        for name in ("a", "b"):
            await api.put(path_of(name), {"spec": {}})
        async with mirroring(api) as (mirror, heard):
            await until(lambda: names(mirror) == {"a", "b"})
            await api.break_off()
            heard.clear()
            del api.objects[path_of("a")]
            await api.put(path_of("c"), {"spec": {}})
            await api.forget_history()
            await until(lambda: names(mirror) == {"b", "c"})
            assert Key("models", "a") in heard
            assert Key("models", "b") not in heard
            assert api.lists >= 2


async def test_an_outage_keeps_what_was_known() -> None:
    """While the API server refuses, the copy stays as it was; afterwards it is current again."""
    async with serving() as api:
        await api.put(path_of("a"), {"spec": {}})
        async with mirroring(api) as (mirror, _):
            await until(lambda: names(mirror) == {"a"})
            api.refuse_with = 503
            await api.break_off()
            await asyncio.sleep(0.3)
            assert names(mirror) == {"a"}
            await api.remove(path_of("a"))
            await api.put(path_of("b"), {"spec": {}})
            api.refuse_with = 0
            await until(lambda: names(mirror) == {"b"})
