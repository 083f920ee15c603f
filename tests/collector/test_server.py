"""The server on a loopback port, with real requests."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.collector.samples import FRAUD, PATH, SECRET, FakeObjects, headers

from headgate.collector.events import Address
from headgate.collector.service import run
from headgate.collector.settings import Settings

PATIENCE_SECONDS = 10.0
SETTINGS = Settings(host="127.0.0.1", port=0, max_body=2000, queue=50, max_series=1000)


@dataclass
class Served:
    """A collector under test and how to talk to it."""

    session: aiohttp.ClientSession
    port: int
    objects: FakeObjects
    stop: asyncio.Event
    task: asyncio.Task[None]

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def post(
        self, body: object, given: dict[str, str] | None = None, path: str = PATH
    ) -> tuple[int, str]:
        """Send one event."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(
            self.url(path), data=raw, headers=headers() if given is None else given
        ) as response:
            return response.status, await response.text()

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of an answer."""
        async with self.session.get(self.url(path)) as response:
            return response.status, await response.text()

    async def values(self) -> dict[str, float]:
        """What /metrics says, by name and the labels that tell series of a test apart."""
        _, text = await self.get("/metrics")
        return {
            _key(sample.name, sample.labels): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def results(self) -> dict[str, float]:
        """What became of the events, by `half result`; zeros left out."""
        values = await self.values()
        start = "headgate_collector_events_total "
        return {
            key.removeprefix(start): value
            for key, value in values.items()
            if key.startswith(start) and value
        }

    async def until(self, wanted: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """Ask for /metrics until it is as wanted."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                values = await self.values()
                if wanted(values):
                    return values
                await asyncio.sleep(0.01)

    async def until_known(self) -> None:
        """Wait until the profile of the revision is known, and forget what was sent for it."""
        asked = "headgate_collector_profile_requests_total found"
        await self.post({"instances": []}, headers(ce_id="first"))
        await self.until(lambda values: values[asked] == 1)


def events(values: dict[str, float]) -> float:
    """How many events became something."""
    start = "headgate_collector_events_total "
    return sum(value for key, value in values.items() if key.startswith(start))


def _key(name: str, labels: dict[str, str]) -> str:
    own = [value for label, value in labels.items() if not label.startswith("model_")]
    return " ".join([name, *own])


@pytest.fixture
def settings() -> Settings:
    """Small limits; a test that wants others has its own."""
    return SETTINGS


@pytest.fixture
async def served(settings: Settings, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Served]:
    """A collector on a free port, with a revision that has a profile; stopped at the end."""
    caplog.set_level(logging.DEBUG)
    objects, stop = FakeObjects(), asyncio.Event()
    objects.add(FRAUD)
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(settings, objects, stop, started.set_result))
    async with asyncio.timeout(PATIENCE_SECONDS):
        port = await started
    async with aiohttp.ClientSession() as session:
        yield Served(session, port, objects, stop, task)
    stop.set()
    await task


async def test_events_become_counts(served: Served) -> None:
    """Both halves of a call are found again in /metrics, in their bins."""
    await served.until_known()
    assert await served.post({"instances": [[5, "DE"], [500, "IT"]]}) == (200, "")
    assert await served.post({"predictions": [0.1, 0.9]}, headers("response")) == (200, "")
    values = await served.until(lambda now: now.get("headgate_prediction_bucket +Inf") == 2)

    assert values["headgate_input_bucket amount 10"] == 1
    assert values["headgate_input_bucket amount +Inf"] == 2
    assert values["headgate_input_category_total country other"] == 1
    assert values["headgate_prediction_bucket 0.5"] == 1
    assert values["headgate_collector_revisions"] == 1
    assert values["headgate_collector_body_bytes"] == 0


async def test_an_event_before_its_profile_is_counted_as_such(served: Served) -> None:
    """The first event only leads to the question for the profile; it is not kept for later."""
    served.objects.seconds = 0.2
    assert await served.post({"instances": [[5, "DE"]]}) == (200, "")
    await served.until(lambda now: now["headgate_collector_events_total request no-profile"] == 1)
    await served.until_known()
    await served.post({"instances": [[5, "DE"]]})
    values = await served.until(lambda now: now.get("headgate_input_bucket amount +Inf") == 1)

    assert values["headgate_collector_events_total request no-profile"] == 2


@pytest.mark.parametrize(
    ("body", "given", "path", "status", "result"),
    [
        pytest.param({}, headers(), PATH, 200, "request malformed", id="a body in no protocol"),
        pytest.param(
            {"instances": [[1]]}, headers(), PATH, 200, "request shape", id="other columns"
        ),
        pytest.param(
            {"instances": []}, headers(ce_id="first"), PATH, 200, "request duplicate", id="again"
        ),
        pytest.param({}, {}, PATH, 400, "unknown refused", id="no event at all"),
        pytest.param(
            {},
            headers(content_type="application/cloudevents+json"),
            PATH,
            400,
            "unknown refused",
            id="structured mode",
        ),
        pytest.param(
            {},
            headers(),
            "/v1/models/fraud/9c1d44e0%22%0Ax",
            400,
            "unknown refused",
            id="a path that would be a label of its own",
        ),
        pytest.param(
            {},
            headers(ce_namespace="other"),
            PATH,
            400,
            "unknown mismatch",
            id="another namespace than the path's",
        ),
        pytest.param(b"x" * 2001, headers(), PATH, 413, "request oversized", id="a long body"),
    ],
)
async def test_what_cannot_be_counted_has_its_word(
    served: Served, body: object, given: dict[str, str], path: str, status: int, result: str
) -> None:
    """Body faults are answered 200 and found in /metrics; others are told to the sender too."""
    await served.until_known()
    await served.post({"instances": []}, headers(ce_id="first"))
    await served.until(lambda now: now["headgate_collector_events_total request counted"] == 1)
    answered, _ = await served.post(body, given, path)
    name = f"headgate_collector_events_total {result}"
    await served.until(lambda now: now[name] == 1)

    assert answered == status


async def test_the_longest_body_is_taken(served: Served) -> None:
    """The limit itself is within the limit."""
    await served.until_known()
    body = b'{"instances": []}'.ljust(2000)
    assert (await served.post(body))[0] == 200
    await served.until(lambda now: now["headgate_collector_events_total request counted"] == 1)


async def raw(served: Served, text: bytes, wait: bool = True) -> bytes:
    """Send bytes and return the beginning of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(text)
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await reader.read(4096) if wait else b""
    writer.close()
    await writer.wait_closed()
    return answer


def request(length: str, **more: str) -> bytes:
    """The head of an event, as text."""
    lines = [f"{name}: {value}" for name, value in headers(**more).items()]
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "host: x", *lines, length, "", ""]).encode()


async def test_a_claim_of_100_mb_is_refused_unread(served: Served) -> None:
    """The length in the headers is enough to refuse; no byte of it is waited for."""
    answer = await raw(served, request("content-length: 100000000"))

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert await served.results() == {"request oversized": 1}


async def test_a_body_without_a_length_is_read_up_to_the_limit(served: Served) -> None:
    """In chunks, the first one beyond the limit ends the reading."""
    chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
    answer = await raw(served, request("transfer-encoding: chunked") + 3 * chunk)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert await served.results() == {"request oversized": 1}


async def test_a_compressed_body_is_not_unpacked(served: Served) -> None:
    """A bomb stays as small as it is: what is not JSON as it comes is malformed."""
    await served.until_known()
    bomb = gzip.compress(b"[" * 1_000_000)
    assert len(bomb) < 2000
    assert (await served.post(bomb, headers(content_encoding="gzip")))[0] == 200

    await served.until(lambda now: now["headgate_collector_events_total request malformed"] == 1)


async def test_a_body_that_breaks_off_is_counted_as_that(served: Served) -> None:
    """A sender that goes away in the middle leaves nothing behind but one count."""
    await raw(served, request("content-length: 1000") + b"{", wait=False)
    values = await served.until(
        lambda now: now["headgate_collector_events_total request interrupted"] == 1
    )

    assert values["headgate_collector_body_bytes"] == 0


async def test_a_slow_cluster_slows_no_answer(served: Served) -> None:
    """While the API server takes its time, events are answered and dropped, and counted as that."""
    served.objects.seconds = 1e6
    for _ in range(40):
        assert (await served.post({"instances": [[5, "DE"]]}))[0] == 200
    await served.until(lambda now: now["headgate_collector_events_total request no-profile"] == 40)

    assert len(served.objects.asked) == 1


async def test_without_room_an_event_is_answered_and_dropped(served: Served) -> None:
    """Bodies that arrive slowly take all the room there is: the next events are shed at once."""
    slow = []
    for _ in range(32):
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(request("content-length: 2000") + b"{")
        slow.append(writer)
    await served.until(lambda now: now["headgate_collector_body_bytes"] == 64_000)
    assert await served.post({"instances": [[5, "DE"]]}) == (200, "")
    assert (await served.results())["request shed"] == 1

    for writer in slow:
        writer.close()
        await writer.wait_closed()
    await served.until(lambda now: now["headgate_collector_body_bytes"] == 0)


@pytest.mark.parametrize("settings", [Settings(host="127.0.0.1", port=0, namespaces=("other",))])
async def test_other_namespaces_are_refused(served: Served) -> None:
    """A collector of one namespace takes no event of another."""
    status, text = await served.post({"instances": [[5, "DE"]]})

    assert (status, text) == (400, "wanted one of the namespaces other\n")
    assert served.objects.asked == []


@pytest.mark.parametrize(
    "settings", [Settings(host="127.0.0.1", port=0, max_series=100, queue=10_000)]
)
async def test_more_revisions_than_fit_are_counted_as_that(served: Served) -> None:
    """The page has a bound; what is beyond it is not counted, and that is."""
    many = [Address("models", "fraud", f"{at:08x}") for at in range(12)]
    for address in many:
        served.objects.add(FRAUD, address)
    limited = 0.0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while limited < 4:
            for address in many:
                path = f"/v1/models/fraud/{address.hash}"
                given = headers(ce_inferenceservicename=address.revision)
                await served.post({"instances": [[5, "DE"]]}, given, path)
            values = await served.values()
            limited = values["headgate_collector_events_total request series-limit"]

    assert values["headgate_collector_series"] == 96
    assert values["headgate_collector_revisions"] == 8


async def test_it_says_that_it_is_alive_and_ready(served: Served) -> None:
    """Both answers are about this process alone: the cluster may be away."""
    served.objects.error = OSError("down")

    assert await served.get("/livez") == (200, "ok\n")
    assert await served.get("/readyz") == (200, "ok\n")
    assert (await served.get("/v1/models/fraud/9c1d44e0"))[0] == 405
    assert (await served.get("/debug"))[0] == 404


MARKED: list[Any] = [
    pytest.param({"instances": [[5, SECRET]]}, {}, id="a category"),
    pytest.param({"instances": [{SECRET: SECRET}]}, {}, id="a name"),
    pytest.param({"instances": [[SECRET, SECRET, SECRET]]}, {}, id="other columns"),
    pytest.param({SECRET: 1}, {}, id="another body"),
    pytest.param(f'{{"instances": ["{SECRET}'.encode(), {}, id="a broken body"),
    pytest.param(f"\xff{SECRET}".encode("latin-1"), {}, id="bytes"),
    pytest.param({"messages": [{"content": SECRET}]}, {}, id="a prompt"),
    pytest.param({}, {"ce_id": SECRET}, id="an id"),
    pytest.param({}, {"ce_type": SECRET}, id="a type"),
    pytest.param({}, {"ce_namespace": SECRET}, id="a namespace"),
    pytest.param({}, {"content_type": f"application/cloudevents+{SECRET}"}, id="a content type"),
    pytest.param({}, {"ce_metadata": json.dumps({"authorization": [SECRET]})}, id="metadata"),
]


@pytest.mark.parametrize(("body", "more"), MARKED)
async def test_nothing_of_an_event_is_seen_again(
    served: Served, caplog: pytest.LogCaptureFixture, body: object, more: dict[str, str]
) -> None:
    """A marker in any part of an event is in no answer, no log line of any level, no metric."""
    await served.until_known()
    before = events(await served.values())
    _, text = await served.post(body, headers(**more))
    await served.until(lambda now: events(now) == before + 1)
    _, page = await served.get("/metrics")

    assert SECRET not in text + page + caplog.text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"{SECRET} / HTTP/9.9\r\n\r\n".encode(), id="no request line"),
        pytest.param(f"POST {PATH} HTTP/1.1\r\n{SECRET}\r\n\r\n".encode(), id="no header"),
        pytest.param(
            request("transfer-encoding: chunked") + f"{SECRET}\r\n".encode(), id="no chunk"
        ),
        pytest.param(f"POST /v1/{SECRET} HTTP/1.1\r\nhost: x\r\n\r\n".encode(), id="no path"),
    ],
)
async def test_what_is_no_http_is_not_logged(
    served: Served, caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    """The HTTP library would quote a request it cannot read; nobody listens to it."""
    await raw(served, text)
    _, page = await served.get("/metrics")

    assert SECRET not in page + caplog.text


async def test_a_stop_counts_what_is_in_line(served: Served) -> None:
    """Told to stop, it counts what it has taken, takes nothing more, and ends."""
    await served.until_known()
    await asyncio.gather(*(served.post({"instances": [[5, "DE"]]}) for _ in range(20)))
    served.stop.set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await served.task

    with pytest.raises(aiohttp.ClientConnectionError):
        await served.get("/livez")
