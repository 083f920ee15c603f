"""Reading profiles by https: who may be asked, and what is believed."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from tests.adapters.servers import make_certificate, server_tls, serving

from headgate.adapters.profile_http import HttpProfiles, is_special, with_port
from headgate.core.drift.build import Column, build
from headgate.core.drift.profile import digest, render
from headgate.ports import ProfileUnavailable

PROFILE = build([Column("amount", "number", [float(n % 100) for n in range(2000)])])
OTHER = build([Column("amount", "number", [float(n % 50) for n in range(2000)])])
WANTED = digest(PROFILE)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "profiles")


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """The server's TLS."""
    return server_tls(*certificate)


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answering(body: str | bytes, status: int = 200, **headers: str) -> Answer:
    """Answer everything so."""

    async def handler(_: web.Request) -> web.Response:
        content = body.encode() if isinstance(body, str) else body
        return web.Response(body=content, status=status, headers=headers)

    return handler


async def hang(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(60)
    return web.Response()


async def test_a_profile_is_read_once(certificate: tuple[Path, Path], tls: ssl.SSLContext) -> None:
    """White space does not matter; what was read is known by its digest; nothing that would let
    anybody in is sent along."""
    asked: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(text=render(PROFILE).replace(",", ", \n"))

    async with serving(handler, tls) as url:
        profiles = HttpProfiles([url.removeprefix("https://")], certificate[0])
        first = await profiles.read(f"{url}/a/profile.json?v=1", WANTED)
        second = await profiles.read(f"{url}/a/profile.json?v=1", WANTED)

    assert first == second == PROFILE
    assert [request.path_qs for request in asked] == ["/a/profile.json?v=1"]
    assert not {"Authorization", "Cookie"} & asked[0].headers.keys()


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        pytest.param(
            answering(render(OTHER)),
            f"wanted the profile {WANTED}, found {digest(OTHER)}",
            id="another profile",
        ),
        pytest.param(
            answering("not found", 404),
            "wanted a profile at that address, found HTTP 404",
            id="HTTP 404",
        ),
        pytest.param(
            answering("", 302, Location="https://elsewhere.example/profile.json"),
            "wanted a profile at that address, found HTTP 302; redirects are not followed",
            id="a redirect",
        ),
        pytest.param(hang, "wanted a profile at that address, found no answer in 0.3 s", id="slow"),
        pytest.param(
            answering(b" " * (256 * 1024 + 1)),
            "wanted at most 262144 bytes, found more",
            id="too large",
        ),
        pytest.param(
            answering(gzip.compress(b"[" * 10_000_000), **{"Content-Encoding": "gzip"}),
            "wanted a profile as `headgate profile build` writes it, found profile: wanted JSON",
            id="packed: it is not unpacked",
        ),
        pytest.param(
            answering("[" * 100_000),
            "wanted a profile as `headgate profile build` writes it, found profile: wanted JSON",
            id="nested without end",
        ),
        pytest.param(
            answering("<html>login\x1b[31m</html>"),
            "wanted a profile as `headgate profile build` writes it, found profile: wanted JSON",
            id="a login page",
        ),
    ],
)
async def test_what_is_no_such_profile(
    handler: Answer, message: str, certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    """What was wanted and what was found are told; it is asked again later, not at once."""
    asked: list[str] = []

    async def counted(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return await handler(request)

    late = timedelta(seconds=0.3 if handler is hang else 10)
    async with serving(counted, tls) as url:
        profiles = HttpProfiles([url.removeprefix("https://")], certificate[0], late)
        for _ in range(2):
            with pytest.raises(ProfileUnavailable) as raised:
                await profiles.read(f"{url}/profile.json", WANTED)
            assert str(raised.value).startswith(message)
            assert str(raised.value).isprintable()
    assert asked == ["/profile.json"]


async def test_a_profile_that_comes_later(
    certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    """A failure is believed for a while only."""
    answers = iter([answering("", 503), answering(render(PROFILE))])

    async def handler(request: web.Request) -> web.StreamResponse:
        return await next(answers)(request)

    async with serving(handler, tls) as url:
        host, at_once = url.removeprefix("https://"), timedelta(0)
        profiles = HttpProfiles([host], certificate[0], again=at_once)
        with pytest.raises(ProfileUnavailable, match="found HTTP 503"):
            await profiles.read(f"{url}/profile.json", WANTED)
        assert await profiles.read(f"{url}/profile.json", WANTED) == PROFILE


@pytest.mark.parametrize(
    ("address", "found"),
    [
        pytest.param("https://elsewhere.example/p.json", "elsewhere.example:443", id="another"),
        pytest.param("https://models.example.:443/p.json", "models.example.:443", id="a dot more"),
        pytest.param("https://models.example:8443/p.json", "models.example:8443", id="a port"),
        pytest.param("https://169.254.169.254/latest", "169.254.169.254:443", id="metadata"),
        pytest.param("https://[::1]/p.json", "::1:443", id="loopback"),
        pytest.param("https://2130706433/p.json", "2130706433:443", id="loopback as a number"),
        pytest.param("https://models.example@evil/p", None, id="credentials"),
        pytest.param("https://models.example:https/p", None, id="no port"),
        pytest.param("http://models.example/p.json", None, id="without TLS"),
        pytest.param("file:///etc/passwd", None, id="a file"),
        pytest.param("https://", None, id="no host"),
    ],
)
async def test_hosts_that_nobody_named(address: str, found: str | None) -> None:
    """Nothing is sent; the setting that would allow it is named, with what it has."""
    profiles = HttpProfiles(["Models.example", "other.example:9000"])
    with pytest.raises(ProfileUnavailable) as raised:
        await profiles.read(address, WANTED)
    if found is None:
        assert raised.value.wanted.startswith("an https address")
    else:
        assert raised.value.found == found
        assert raised.value.wanted == (
            "a host that the operator's setting --profile-host allows "
            "(models.example:443, other.example:9000)"
        )


async def test_no_host_by_default() -> None:
    """Without the setting nobody is asked."""
    with pytest.raises(ProfileUnavailable, match=r"--profile-host allows \(no host\), found a:443"):
        await HttpProfiles(()).read("https://a/p.json", WANTED)


async def test_a_name_that_leads_to_ourselves(
    certificate: tuple[Path, Path], tls: ssl.SSLContext
) -> None:
    """A host that is named is not asked where its name leads to this machine."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text=render(PROFILE))

    async with serving(handler, tls) as url:
        host = f"localhost:{url.rpartition(':')[2]}"
        with pytest.raises(ProfileUnavailable, match="localhost is a loopback, link-local"):
            await HttpProfiles([host], certificate[0]).read(f"https://{host}/p.json", WANTED)
    assert asked == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("0.0.0.0", True),
        ("169.254.169.254", True),
        ("100.100.100.200", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("::1", True),
        ("::", True),
        ("fe80::1%eth0", True),
        ("fd00:ec2::254", True),
        ("::ffff:169.254.169.254", True),
        ("64:ff9b::a9fe:a9fe", True),
        ("2002:7f00:1::", True),
        ("10.0.0.7", False),
        ("192.168.1.1", False),
        ("93.184.216.34", False),
        ("2606:2800:220:1::1", False),
        ("64:ff9b::5db8:d822", False),
    ],
)
def test_special_addresses(address: str, expected: bool) -> None:
    """The machine, its link and a cloud's metadata are special; private networks are not."""
    assert is_special(address) is expected


@pytest.mark.parametrize("text", ["", "https://a", "a/b", "a b", "*.example", "u@a", "a:x"])
def test_what_is_no_host(text: str) -> None:
    """A setting that names no host is refused."""
    with pytest.raises(ValueError, match=r"wanted a host|Port could not be cast|contains invalid"):
        with_port(text)
