"""Many callers, few queries: what travels together, what comes back to whom, and who fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.adapters.promserver import PromServer, parse_selector
from tests.adapters.servers import Handler, serving

from headgate.adapters.packs import load_pack
from headgate.adapters.prometheus import Prometheus
from headgate.adapters.prometheus_answer import RawSeries
from headgate.adapters.prometheus_batch import LONGEST_QUERY, MOST_KEYS, Batches
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.adapters.prometheus_query import Question, merged_query, span
from headgate.core.counters import Arm, Series
from headgate.ports import Arms, MetricsUnavailable, SignalSource

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SINCE = NOW - timedelta(seconds=60)
ERRORS = SignalSource("errors", pack_signal="errors")
LATENCY = SignalSource("latency", pack_signal="latency")


def arms_of(number: int, namespace: str = "models") -> Arms:
    """Return the arms of one route of many."""
    return Arms(namespace, f"route-{number}", 0, 1, f"model-{number}", "aaaaaaaa", "bbbbbbbb")


def cluster(number: int, position: int) -> dict[str, str]:
    """Return the labels of one backend's good answers."""
    return {
        "__name__": "envoy_cluster_upstream_rq_xx",
        "envoy_cluster_name": f"httproute/models/route-{number}/rule/0/backend/{position}",
        "envoy_response_code_class": "2",
        "instance": "10.0.0.1:19001",
    }


@asynccontextmanager
async def reading(handler: Handler, **options: Any) -> AsyncIterator[Prometheus]:
    """Give an adapter that reads from `handler`."""
    async with serving(handler) as url:
        options = {"timeout": timedelta(seconds=5), **options}
        prometheus = Prometheus(PrometheusSettings(url, **options), load_pack("envoy-gateway"))
        try:
            yield prometheus
        finally:
            await prometheus.close()


def filled(routes: int) -> PromServer:
    """Return a store with both backends of these routes; the n-th counts n more each scrape."""
    server = PromServer()
    for number in range(routes):
        for position in (0, 1):
            samples = [(NOW.timestamp() - 50 + 10 * k, k * number + position) for k in range(6)]
            server.add(cluster(number, position), samples)
    return server


def values(found: Sequence[Series]) -> dict[str, list[float]]:
    """Return what was counted, by arm."""
    return {one.arm.value: [point.value for point in one.points] for one in found}


async def test_a_hundred_looks_are_few_queries() -> None:
    """A hundred rollouts that look at once ask each metric in four queries, and mix up nothing."""
    server = filled(100)
    async with reading(server.handle) as prometheus:
        looks = [prometheus.read(arms_of(n), [ERRORS, LATENCY], SINCE, NOW) for n in range(100)]
        found = await asyncio.gather(*looks)
    for number, one in enumerate(found):
        assert values(one) == {
            "canary": [k * number + 1 for k in range(6)],
            "stable": [k * number for k in range(6)],
        }
    assert len(server.asked) == 2 * 200 // MOST_KEYS
    assert max(len(form["query"].encode()) for _, form in server.asked) <= LONGEST_QUERY


async def test_windows_are_united_and_parted_again() -> None:
    """Callers with other windows share a query, and each gets its own samples only."""
    server = filled(2)
    late = NOW + timedelta(seconds=1)
    server.series[0][1].append((late.timestamp(), "99"))
    async with reading(server.handle, look_back=timedelta(0)) as prometheus:
        long, short = await asyncio.gather(
            prometheus.read(arms_of(0), [ERRORS], NOW - timedelta(seconds=60), late),
            prometheus.read(arms_of(0), [ERRORS], NOW - timedelta(seconds=40), NOW),
        )
    assert values(long) == {"canary": [1] * 6, "stable": [0, 0, 0, 0, 0, 0, 99]}
    assert values(short) == {"canary": [1] * 5, "stable": [0] * 5}
    assert [form["query"][-5:] for _, form in server.asked] == ["[61s]"]
    assert [form["time"] for _, form in server.asked] == [f"{late.timestamp():.3f}"]


async def test_a_long_window_is_asked_by_itself() -> None:
    """Whoever looks back a minute does not get an hour read for another one's sake."""
    server = filled(2)
    async with reading(server.handle) as prometheus:
        await asyncio.gather(
            prometheus.read(arms_of(0), [ERRORS], NOW - timedelta(minutes=50), NOW),
            prometheus.read(arms_of(1), [ERRORS], SINCE, NOW),
        )
    windows = sorted(form["query"].partition("[")[2] for _, form in server.asked)
    assert windows == ["120s]", "3060s]"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param({"status": 503, "text": "busy"}, "HTTP 503: busy", id="HTTP 503"),
        pytest.param({"text": "{"}, "the answer is not JSON", id="malformed"),
    ],
)
async def test_a_failing_batch_fails_each_caller(answer: dict[str, Any], expected: str) -> None:
    """Each is told its own query, as it alone would have asked, and nobody else's route."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(**answer)

    async with reading(handler) as prometheus:
        looks = [prometheus.read(arms_of(n), [ERRORS], SINCE, NOW) for n in range(3)]
        found = await asyncio.gather(*looks, return_exceptions=True)
    for number, error in enumerate(found):
        assert isinstance(error, MetricsUnavailable)
        own = {f"route-{n}" for n in range(3) if f"route-{n}/" in str(error)}
        assert own == {f"route-{number}"}
        assert f"(asked together with 2 more): {expected}" in str(error)


async def test_one_callers_odd_series_is_its_own_loss() -> None:
    """A counter that cannot be one fails the caller it belongs to, and nobody else."""
    server = filled(2)
    server.series[0][1][2] = (NOW.timestamp() - 30, "-5")
    async with reading(server.handle) as prometheus:
        looks = [prometheus.read(arms_of(n), [ERRORS], SINCE, NOW) for n in range(2)]
        first, second = await asyncio.gather(*looks, return_exceptions=True)
    assert isinstance(first, MetricsUnavailable)
    assert "backend/0|httproute" in str(first)
    assert "cannot be -5" in str(first)
    assert not isinstance(second, BaseException)
    assert values(second)["stable"] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param({"text": " " * 60_000}, "larger than 50000 bytes", id="too large for us"),
        pytest.param({"status": 422, "text": "samples"}, "HTTP 422: samples", id="for the source"),
    ],
)
async def test_one_callers_flood_is_its_own(answer: dict[str, Any], expected: str) -> None:
    """What is too much at once is asked in halves, until only who asks for it goes without."""
    server = filled(8)

    async def handler(request: web.Request) -> web.StreamResponse:
        if "route-5/" in str((await request.post())["query"]):
            return web.Response(**answer)
        return await server.handle(request)

    async with reading(handler, largest_answer=50_000) as prometheus:
        looks = [prometheus.read(arms_of(n), [ERRORS], SINCE, NOW) for n in range(8)]
        found = await asyncio.gather(*looks, return_exceptions=True)
    (flood,) = [one for one in found if isinstance(one, BaseException)]
    assert flood is found[5]
    assert isinstance(flood, MetricsUnavailable)
    assert expected in str(flood)
    assert "together" not in str(flood)


async def test_one_callers_cancellation_is_its_own() -> None:
    """A caller that gives up leaves the others their answer, before and during the query."""
    server, gate, arrived = filled(4), asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await gate.wait()
        return await server.handle(request)

    async with reading(slow) as prometheus:
        looks = [
            asyncio.create_task(prometheus.read(arms_of(n), [ERRORS], SINCE, NOW)) for n in range(4)
        ]
        await asyncio.sleep(0)
        looks[0].cancel()
        await arrived.wait()
        looks[1].cancel()
        gate.set()
        found = await asyncio.gather(*looks, return_exceptions=True)
    assert [type(one) for one in found[:2]] == [asyncio.CancelledError] * 2
    assert [values(one)["stable"][-1] for one in found[2:] if isinstance(one, list)] == [10, 15]
    assert "route-0" not in server.asked[0][1]["query"]


async def test_closing_tells_those_who_wait() -> None:
    """Whoever waits when the source is closed is told that it is away, and does not hang."""
    arrived = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        arrived.set()
        await asyncio.sleep(60)
        return web.Response()

    async with reading(silent) as prometheus:
        under_way = asyncio.create_task(prometheus.read(arms_of(0), [ERRORS], SINCE, NOW))
        await arrived.wait()
        waiting = asyncio.create_task(prometheus.read(arms_of(1), [ERRORS], SINCE, NOW))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await prometheus.close()
        for task in (under_way, waiting):
            with pytest.raises(MetricsUnavailable, match="was closed"):
                await task


async def test_an_error_of_ours_reaches_every_caller() -> None:
    """What is no outage is no MetricsUnavailable, and nobody waits for ever."""

    async def broken(_: Sequence[Question]) -> Sequence[RawSeries]:
        raise ZeroDivisionError

    batches = Batches(broken, timedelta(0))
    asked = [batches.ask(question(f"n{n}", "a", 60, 0)) for n in range(2)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [ZeroDivisionError] * 2


async def test_namespaces_travel_together() -> None:
    """Tenants share a query, and none sees a series of another one of the same name."""
    server = PromServer()
    sample = [(NOW.timestamp() - 5, 1)]
    for namespace in ("red", "blue"):
        for hash in ("aaaaaaaa", "bbbbbbbb"):
            labels = {"__name__": "request_predict_seconds_bucket", "le": "+Inf"}
            labels |= {
                "namespace": namespace,
                "pod": f"model-1-{hash}-predictor-x",
                "instance": "i",
            }
            server.add(labels, [(at, value + (namespace == "red")) for at, value in sample])
    source = SignalSource("s", pack="kserve", pack_signal="latency")
    async with reading(server.handle) as prometheus:
        red, blue = await asyncio.gather(
            prometheus.read(arms_of(1, "red"), [source], SINCE, NOW),
            prometheus.read(arms_of(1, "blue"), [source], SINCE, NOW),
        )
    assert values(red) == {"stable": [2], "canary": [2]}
    assert values(blue) == {"stable": [1], "canary": [1]}
    assert len(server.asked) == 1


def question(name: str, scope: str, seconds: int, ago: int) -> Question:
    """Return a question for one series, or for all that begin so."""
    at = NOW - timedelta(seconds=ago)
    return Question("m", "arm", {name: Arm.STABLE}, (("ns", scope),), (), at, seconds)


NAME = st.text(alphabet='ab.*|"\\{}', min_size=1, max_size=3)
QUESTIONS = st.lists(
    st.builds(question, NAME, st.sampled_from("xy"), st.integers(32, 120), st.integers(0, 9)),
    min_size=1,
    max_size=6,
)
STORED = st.lists(st.tuples(NAME, st.sampled_from("xyz")), max_size=8, unique=True)


@given(asked=QUESTIONS, stored=STORED)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_together_is_as_alone(asked: list[Question], stored: list[tuple[str, str]]) -> None:
    """Whatever is asked together, each caller gets what it would have got alone."""
    samples = [[NOW.timestamp() - ago, str(ago)] for ago in range(130, -1, -7)]
    series = [
        RawSeries({"__name__": "m", "arm": name, "ns": scope}, samples) for name, scope in stored
    ]

    async def ask(questions: Sequence[Question]) -> Sequence[RawSeries]:
        selected = parse_selector(merged_query(questions))
        start, end = (moment.timestamp() for moment in span(questions))
        return [
            RawSeries(s.labels, [v for v in s.values if start <= v[0] <= end])
            for s in series
            if selected.takes(s.labels)
        ]

    async def together() -> Sequence[Sequence[RawSeries]]:
        batches = Batches(ask, timedelta(0))
        return await asyncio.gather(*(batches.ask(one) for one in asked))

    async def alone() -> Sequence[Sequence[RawSeries]]:
        return [await ask([one]) for one in asked]

    assert asyncio.run(together()) == asyncio.run(alone())
