"""
Startup, readiness and liveness probes.

Owns when a container is asked and when its answers count. What an answer means for the container
is its caller's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import aiohttp

from sandbox import children
from sandbox.kube import Json
from sandbox.podspec import named_port

# Until its first success a probe asks at least this often. That makes pods ready sooner than a
# kubelet would notice, and changes no verdict: failures still count once a period.
_EAGER_SECONDS = 0.5


class Answer(NamedTuple):
    """Whether a probe passed, and if not what it said."""

    passed: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a probe asks and how often it must hear the same, as in its manifest; seconds."""

    initial_delay: float
    period: float
    timeout: float
    successes: int
    failures: int


@dataclass(frozen=True, slots=True)
class Subject:
    """The running container that is asked."""

    container: Json
    ports: Mapping[int, int]
    environment: Mapping[str, str]
    folder: Path
    log: Path


def read_timing(probe: Json) -> Timing:
    """Read a probe's timing, with the API's defaults."""
    return Timing(
        initial_delay=probe.get("initialDelaySeconds", 0),
        period=probe.get("periodSeconds", 10),
        timeout=probe.get("timeoutSeconds", 1),
        successes=probe.get("successThreshold", 1),
        failures=probe.get("failureThreshold", 3),
    )


async def follow(
    timing: Timing, ask: Callable[[], Awaitable[Answer]], said: Callable[[Answer], bool]
) -> None:
    """
    Ask for as long as `said` wants to hear more.

    `said` gets an answer each time it has been heard often enough in a row to count, as long as
    that goes on.
    """
    clock = asyncio.get_running_loop().time
    await asyncio.sleep(timing.initial_delay)
    passed_once = False
    row, row_passed = 0, False
    counted_at = float("-inf")
    while True:
        asked_at = clock()
        answer = await ask()
        passed_once = passed_once or answer.passed
        is_due = asked_at - counted_at >= timing.period - 0.001
        if answer.passed or is_due:
            counted_at = asked_at
            row = row + 1 if answer.passed == row_passed else 1
            row_passed = answer.passed
            enough = timing.successes if answer.passed else timing.failures
            if row >= enough and not said(answer):
                return
        pause = timing.period if passed_once else min(timing.period, _EAGER_SECONDS)
        await asyncio.sleep(max(asked_at + pause - clock(), 0))


async def ask(probe: Json, subject: Subject, session: aiohttp.ClientSession) -> Answer:
    """Ask once by the probe's means."""
    seconds = read_timing(probe).timeout
    try:
        if action := probe.get("httpGet"):
            return await _ask_http(action, subject, session, seconds)
        if action := probe.get("exec"):
            return await _ask_command(action["command"], subject, seconds)
        # A gRPC health check is answered by its port: the worker behind it is not asked.
        action = probe.get("tcpSocket") or probe["grpc"]
        return await _ask_port(_local_port(action["port"], subject), seconds)
    except LookupError as error:
        return Answer(False, str(error))


def _local_port(port: int | str, subject: Subject) -> int:
    number = named_port(subject.container, port)
    return subject.ports.get(number, number)


async def _ask_http(
    action: Json, subject: Subject, session: aiohttp.ClientSession, seconds: float
) -> Answer:
    scheme = action.get("scheme", "HTTP").lower()
    port = _local_port(action["port"], subject)
    url = f"{scheme}://127.0.0.1:{port}/{action.get('path', '/').lstrip('/')}"
    headers = {entry["name"]: entry["value"] for entry in action.get("httpHeaders") or ()}
    timeout = aiohttp.ClientTimeout(total=seconds)
    try:
        # A kubelet does not check the certificate of what it probes either.
        async with session.get(
            url,
            headers={"User-Agent": "kube-probe/1.36", "Connection": "close", **headers},
            timeout=timeout,
            ssl=False,
            allow_redirects=False,
        ) as response:
            if 200 <= response.status < 400:
                return Answer(True)
            return Answer(False, f"HTTP probe failed with statuscode: {response.status}")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Answer(False, f"Get {url}: {error!r}")


async def _ask_port(port: int, seconds: float) -> Answer:
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (TimeoutError, OSError) as error:
        return Answer(False, f"dial tcp 127.0.0.1:{port}: {error!r}")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Answer(True)


async def _ask_command(command: list[str], subject: Subject, seconds: float) -> Answer:
    try:
        child = await children.start(
            command, log=subject.log, env=subject.environment, folder=subject.folder
        )
    except OSError as error:
        return Answer(False, str(error))
    try:
        async with asyncio.timeout(seconds):
            code = await child.wait()
    except TimeoutError:
        return Answer(False, f"command timed out after {seconds} s")
    finally:
        children.send(child, signal.SIGKILL)
    return Answer(code == 0, "" if code == 0 else f"command exited with {code}")
