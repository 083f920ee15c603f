"""How a Prometheus is reached: URL, TLS, credentials, time and size.

Owns what a person may set about the connection. Must not know any query, nor what answers mean.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from headgate import __version__
from headgate.adapters.text import one_line
from headgate.ports import MetricsUnavailable

_CHUNK = 65536
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MESSAGE_LENGTH = 200


class TooMuch(MetricsUnavailable):
    """The answer is larger than we take, or than the source gives: asking for less may help."""


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Where the metrics are, and how to get in. Raises ValueError naming the field that is wrong.

    Files are read again whenever they change, so that what is in them may rotate.
    """

    url: str
    """Base URL with its path prefix, such as `http://mimir/prometheus`; no credentials in it."""
    timeout: timedelta = timedelta(seconds=5)
    """One request, from connecting to the last byte."""
    look_back: timedelta = timedelta(seconds=60)
    """How far before `since` samples are read: at least the scrape interval and its delay, so that
    the last sample before `since` is there to start from."""
    longest_window: timedelta = timedelta(hours=1)
    """Most history one read asks for; what is older is not counted."""
    gather: timedelta = timedelta(milliseconds=50)
    """How long a question waits for others to be asked with it, in one query."""
    largest_answer: int = 16 * 1024 * 1024
    """Bytes of one answer, unpacked."""
    matchers: Mapping[str, str] = field(default_factory=dict)
    """Labels every series must have, for a store that holds several clusters."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request, such as `X-Scope-OrgID`."""
    bearer_token_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    """CA certificates (PEM) to trust instead of the system's."""
    client_certificate_file: Path | None = None
    client_key_file: Path | None = None
    insecure_skip_verify: bool = False
    """Take any certificate: for trying out, never for production."""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url: wanted http://… or https://…, found {self.url!r}")
        if parts.username is not None or parts.password is not None:
            raise ValueError("url: credentials belong into files, not into the URL")
        if parts.query or parts.fragment:
            raise ValueError("url: wanted no query and no fragment; headers can name a tenant")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file: wanted both or none")
        if self.bearer_token_file and self.username is not None:
            raise ValueError("bearer_token_file: wanted this or a username, found both")
        if self.client_key_file and not self.client_certificate_file:
            raise ValueError("client_key_file: wanted client_certificate_file as well")
        if ":" in (self.username or ""):
            raise ValueError("username: wanted no colon (RFC 7617)")
        for name, value in self.headers.items():
            if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
                raise ValueError(f"headers: {name!r} has characters that a header cannot have")
        for label in self.matchers:
            if not _LABEL_NAME.fullmatch(label):
                raise ValueError(f"matchers: {label!r} is not a label name")
        if min(self.timeout, self.longest_window) <= timedelta(0):
            raise ValueError("timeout, longest_window: wanted more than nothing")
        if min(self.look_back, self.gather) < timedelta(0):
            raise ValueError("look_back, gather: wanted no less than nothing")

    @property
    def tls_files(self) -> tuple[Path, ...]:
        """The files a TLS connection is made from."""
        files = (self.ca_file, self.client_certificate_file, self.client_key_file)
        return tuple(file for file in files if file)


class PrometheusHTTP:
    """Asks one Prometheus; every failure is MetricsUnavailable with the reason only."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._retired: aiohttp.ClientSession | None = None
        self._made_from: tuple[tuple[int, int, int], ...] = ()

    async def close(self) -> None:
        """Close all connections."""
        for session in (self._session, self._retired):
            if session is not None:
                await session.close()
        self._session = self._retired = None

    async def post(self, path: str, form: Mapping[str, str]) -> bytes:
        """Send a form and return the body of a 200; nothing else is a success."""
        return await self._request("POST", path, form=form)

    async def get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """Ask with parameters, otherwise as `post`: for what Prometheus only has by GET."""
        return await self._request("GET", path, parameters=parameters)

    async def _request(
        self,
        method: str,
        path: str,
        form: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> bytes:
        url = self._settings.url.rstrip("/") + path
        headers = {**self._settings.headers, **self._authorization()}
        session = await self._current_session()
        try:
            # A redirect would take the credentials along to a place nobody has configured.
            async with session.request(
                method, url, data=form, params=parameters, headers=headers, allow_redirects=False
            ) as response:
                body = await self._read(response)
        except TimeoutError as error:
            limit = self._settings.timeout.total_seconds()
            raise MetricsUnavailable(f"no answer in {limit:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise MetricsUnavailable(
                one_line(str(error), _MESSAGE_LENGTH) or type(error).__name__
            ) from error
        if response.status != 200:
            hint = "; redirects are not followed" if 300 <= response.status < 400 else ""
            said = one_line(body, _MESSAGE_LENGTH)
            # 422 is a query that cannot be carried out, such as one of too many samples.
            kind = TooMuch if response.status == 422 else MetricsUnavailable
            raise kind(f"HTTP {response.status}{hint}: {said}".rstrip(": "))
        return body

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > self._settings.largest_answer:
                limit = self._settings.largest_answer
                raise TooMuch(f"the answer is larger than {limit} bytes")
        return bytes(body)

    def _authorization(self) -> dict[str, str]:
        """Read the credentials; small files, so reading them each time is the whole rotation."""
        settings = self._settings
        if settings.bearer_token_file:
            return {"Authorization": f"Bearer {_read_secret(settings.bearer_token_file)}"}
        if settings.username is not None and settings.password_file:
            password = _read_secret(settings.password_file)
            return {"Authorization": aiohttp.encode_basic_auth(settings.username, password)}
        return {}

    async def _current_session(self) -> aiohttp.ClientSession:
        """Return a session made from the TLS files as they are now."""
        made_from = _fingerprint(self._settings.tls_files)
        if self._session is None or made_from != self._made_from:
            # Reading the system's certificates takes some 50 ms, for nothing where there is no TLS.
            is_tls = self._settings.url.startswith("https:")
            connector = aiohttp.TCPConnector(ssl=self._tls() if is_tls else True)
            fresh = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout.total_seconds()),
                headers={"User-Agent": f"headgate/{__version__}"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            retired, self._retired = self._retired, self._session
            self._session, self._made_from = fresh, made_from
            if retired is not None:
                await retired.close()
        return self._session

    def _tls(self) -> ssl.SSLContext:
        settings = self._settings
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
            if settings.client_certificate_file:
                context.load_cert_chain(settings.client_certificate_file, settings.client_key_file)
        except OSError as error:
            files = ", ".join(map(str, settings.tls_files))
            raise MetricsUnavailable(f"TLS files {files}: {error}") from error
        if settings.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _fingerprint(files: tuple[Path, ...]) -> tuple[tuple[int, int, int], ...]:
    """Tell whether files were replaced; a mounted Secret swaps a link, hence the inode."""
    try:
        stats = [file.stat() for file in files]
    except OSError as error:
        raise MetricsUnavailable(f"TLS file: {error}") from error
    return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


def _read_secret(file: Path) -> str:
    """Read one line; its text never reaches a message."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise MetricsUnavailable(f"credentials: {error}") from error
    except UnicodeDecodeError:
        raise MetricsUnavailable(f"credentials: {file} is not UTF-8 text") from None
    if not secret or not secret.isprintable():
        raise MetricsUnavailable(f"credentials: wanted one line in {file}")
    return secret
