"""Asking others: who may be asked, and what an answer is worth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from tests.adapters.githttp import LOGIN, GitHttp
from tests.adapters.gitserver import BareRepository
from tests.adapters.servers import Handler, answering, make_certificate, server_tls, serving

from headgate.adapters.git_cli import Access, GitRepository
from headgate.adapters.hosts import Hosts, NotAllowed
from headgate.adapters.outbound import LARGEST, Outbound
from headgate.adapters.webhook import HttpWebhooks
from headgate.core.writeback.reasons import Refusal, Why
from headgate.ports import ForgeUnavailable, Replacement

HOSTS = Hosts(("git.example:443", "[::1]:8443"), "setting --hosts", ("127.0.0.1:8080",))

ADDRESSES = [
    pytest.param("https://git.example/x", None, id="a host that is named"),
    pytest.param("https://GIT.example:443/x", None, id="in capitals, with its port"),
    pytest.param("http://127.0.0.1:8080/x", None, id="plain http where it is allowed"),
    pytest.param("http://git.example/x", "without TLS (127.0.0.1:8080)", id="plain http elsewhere"),
    pytest.param("https://git.example:8443/x", "--hosts allows (", id="another port"),
    pytest.param("https://git.example.evil.example/x", "--hosts allows (", id="a longer name"),
    pytest.param("https://bot:x@git.example/x", "without credentials", id="credentials"),
    pytest.param("ssh://git.example/x", "an https address", id="another scheme"),
    pytest.param("https://git.example/x#y", "an https address", id="a fragment"),
    pytest.param("https://[::1", "an https address", id="no address at all"),
]


@pytest.mark.parametrize(("address", "words"), ADDRESSES)
def test_only_hosts_that_are_named_may_be_asked(address: str, words: str | None) -> None:
    """Name, port and scheme are all the platform team's choice."""
    if words is None:
        assert HOSTS.check(address)[1] in (443, 8080)
        return
    with pytest.raises(NotAllowed) as error:
        HOSTS.check(address)
    assert words in str(error.value)


@asynccontextmanager
async def asking(handler: Handler) -> AsyncIterator[tuple[Outbound, str]]:
    """An Outbound, and the address of a server that answers so."""
    async with serving(handler) as url:
        hosts = Hosts((), "setting --hosts", (url.removeprefix("http://"),))
        outbound = Outbound(hosts, timeout=timedelta(seconds=1))
        try:
            yield outbound, url
        finally:
            await outbound.close()


FAILURES = [
    pytest.param(lambda r: web.Response(body=b"x" * (LARGEST + 1)), "at most", id="too much"),
    pytest.param(lambda r: asyncio.sleep(30), "no answer in 1 s", id="silence"),
    pytest.param(lambda r: web.Response(status=503, text="a\x1b[2Jb"), "503: a [2Jb", id="garbage"),
]


@pytest.mark.parametrize(("answer", "words"), FAILURES)
async def test_what_is_no_answer_may_come_later(answer: object, words: str) -> None:
    """Every failure says what was asked, on one line, without control characters."""
    async with asking(answering(answer)) as (outbound, url):  # type: ignore[arg-type]
        with pytest.raises(ForgeUnavailable) as error:
            await outbound.send("GET", f"{url}/x?token=1", {})

    assert words in str(error.value)
    assert str(error.value).startswith(f"GET {url}/x: ")
    assert str(error.value).isprintable()


async def test_a_redirect_is_not_followed() -> None:
    """It would carry the signature, or the token, to where nobody allowed."""
    asked: list[str] = []

    def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with asking(answering(answer)) as (outbound, url):
        with pytest.raises(ForgeUnavailable, match="HTTP 307; redirects are not followed"):
            await HttpWebhooks(outbound).post(f"{url}/hook", b"{}", {})

    assert asked == ["/hook"]


async def test_a_name_of_the_machine_itself_is_not_asked() -> None:
    """A name that is allowed, and leads to a loopback address, is a trap."""
    outbound = Outbound(Hosts(("localhost:443",), "setting --hosts"))
    with pytest.raises(ForgeUnavailable, match="loopback, link-local or other special address"):
        await outbound.send("GET", "https://localhost/x", {})
    await outbound.close()


async def test_certificates_are_checked(tmp_path: Path) -> None:
    """An unknown one ends the request; one that is trusted by --ca-file is taken."""
    certificate, key = make_certificate(tmp_path, "forge")
    handler = answering(lambda request: web.Response(text="ok"))
    async with serving(handler, server_tls(certificate, key)) as url:
        hosts = Hosts((url.removeprefix("https://"),), "setting --hosts")
        unknown, known = Outbound(hosts), Outbound(hosts, certificate)
        with pytest.raises(ForgeUnavailable, match="certificate"):
            await unknown.send("GET", url, {})
        answer = await known.send("GET", url, {})
        await unknown.close()
        await known.close()

    assert (answer.status, answer.raw) == (200, b"ok")


# --- Git over http -------------------------------------------------------------------------------


@asynccontextmanager
async def git_over_http(folder: Path, **more: str) -> AsyncIterator[tuple[GitRepository, GitHttp]]:
    """A repository with one file, by http and a password."""
    BareRepository(folder).push("main", "a.yaml", b"version: 7\n", "Bump")
    server = GitHttp(folder)
    async with serving(server.handle) as url:
        hosts = Hosts((), "setting --hosts", (url.removeprefix("http://"),))
        token = more.get("token", LOGIN[1])
        address = f"{url}/{more.get('name', 'origin.git')}"
        ours = GitRepository(Access(address, token, LOGIN[0], hosts))
        try:
            yield ours, server
        finally:
            await ours.close()


async def test_git_reads_and_writes_over_http_with_a_password(tmp_path: Path) -> None:
    """The password is sent with the first request, and a commit arrives."""
    async with git_over_http(tmp_path) as (ours, server):
        file = await ours.read("a.yaml", "main")
        assert file is not None
        made = await ours.commit(Replacement("main", file, b"version: 6\n", "Restore\n"))
        after = await ours.read("a.yaml", "main")

    assert after is not None
    assert (after.content, after.commit) == (b"version: 6\n", made.sha)
    assert "" not in server.asked


async def test_a_wrong_password_is_told_without_it(tmp_path: Path) -> None:
    """It may be renewed: it is tried again, and is in no message."""
    async with git_over_http(tmp_path, token="wr0ng-s3cret") as (ours, _):
        with pytest.raises(ForgeUnavailable, match=r"git fetch: .*Authentication failed") as error:
            await ours.read("a.yaml", "main")

    assert "wr0ng" not in str(error.value)


async def test_git_follows_no_redirect(tmp_path: Path) -> None:
    """A password is not carried elsewhere."""
    async with git_over_http(tmp_path, name="moved.git") as (ours, _):
        with pytest.raises(ForgeUnavailable, match="git fetch"):
            await ours.read("a.yaml", "main")


async def test_git_asks_no_name_of_the_machine_itself() -> None:
    """Where a name leads to is checked before Git may ask it."""
    hosts = Hosts(("localhost:443",), "setting --hosts")
    ours = GitRepository(Access("https://localhost/x.git", hosts=hosts))
    with pytest.raises(ForgeUnavailable, match="loopback, link-local or other special address"):
        await ours.read("a.yaml", "main")
    await ours.close()


async def test_a_refused_address_is_a_refusal() -> None:
    """A policy that names another host fails for good, not for now."""
    outbound = Outbound(HOSTS)
    with pytest.raises(Refusal) as refusal:
        await outbound.send("GET", "https://elsewhere.example/x", {})
    assert refusal.value.why is Why.FORGE_REFUSED
