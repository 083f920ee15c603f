"""Values at regular moments, and what kind of metric a name is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from tests.adapters.promserver import PromServer
from tests.adapters.servers import Handler, serving

from headgate.adapters.packs import load_pack
from headgate.adapters.prometheus import Prometheus
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.core.counters import Arm
from headgate.ports import Arms, MetricsUnavailable, SignalSource

NOW = datetime(2026, 11, 25, 12, 0, 7, tzinfo=UTC)
ARMS = Arms("models", "fraud", 0, 1)
ERRORS = SignalSource("errors", pack_signal="errors")
MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def reading(handler: Handler, **options: Any) -> AsyncIterator[Prometheus]:
    """Give an adapter that reads from `handler`."""
    async with serving(handler) as url:
        prometheus = Prometheus(PrometheusSettings(url, **options), load_pack("envoy-gateway"))
        try:
            yield prometheus
        finally:
            await prometheus.close()


def counting(position: int, **labels: str) -> PromServer:
    """Return a store with one backend's good answers, one more each 30 s for two hours."""
    server = PromServer()
    known = {
        "__name__": "envoy_cluster_upstream_rq_xx",
        "envoy_cluster_name": f"httproute/models/fraud/rule/0/backend/{position}",
        "envoy_response_code_class": "2",
        "instance": "i",
        **labels,
    }
    server.add(known, [(NOW.timestamp() - 30 * k, 240 - k) for k in range(240, -1, -1)])
    return server


class TestTicks:
    """Raw values at the multiples of a step."""

    async def test_aligned(self) -> None:
        """Moments are multiples of the step, so that two reads sample the same ones."""
        server = counting(1)
        async with reading(server.handle) as prometheus:
            since = NOW - timedelta(minutes=5)
            first = await prometheus.ticks(ARMS, ERRORS, since, NOW, MINUTE)
            later = NOW + timedelta(seconds=20)
            second = await prometheus.ticks(ARMS, ERRORS, since, later, MINUTE)
        (one,) = first
        assert (one.arm, one.outcome) == (Arm.CANARY, "good")
        noon = NOW.replace(second=0)
        assert [point.at for point in one.points] == [noon - k * MINUTE for k in (4, 3, 2, 1, 0)]
        assert [point.value for point in one.points] == [231, 233, 235, 237, 239]
        assert first == second

    async def test_asked(self) -> None:
        """A range query of the plain selector: no rate and no increase."""
        server = counting(1)
        async with reading(server.handle, timeout=timedelta(seconds=3)) as prometheus:
            await prometheus.ticks(ARMS, ERRORS, NOW - timedelta(minutes=5), NOW, MINUTE)
        ((path, form),) = server.asked
        assert path == "/api/v1/query_range"
        assert form == {
            "query": 'envoy_cluster_upstream_rq_xx{envoy_cluster_name=~"'
            'httproute/models/fraud/rule/0/backend/0|httproute/models/fraud/rule/0/backend/1"}',
            "start": f"{int(NOW.timestamp()) - 7 - 240}",
            "end": f"{int(NOW.timestamp()) - 7}",
            "step": "60",
            "timeout": "3s",
        }

    async def test_longest(self) -> None:
        """Of a window with too many moments the latest are read."""
        server = counting(1)
        async with reading(server.handle) as prometheus:
            since = NOW - timedelta(days=90)
            (one,) = await prometheus.ticks(ARMS, ERRORS, since, NOW, timedelta(seconds=5))
        ((_, form),) = server.asked
        assert int(form["end"]) - int(form["start"]) == 10_999 * 5
        assert one.points[-1].value == 239

    @pytest.mark.parametrize("step", [timedelta(0), timedelta(seconds=1.5), timedelta(seconds=-1)])
    async def test_step(self, step: timedelta) -> None:
        """A step is whole seconds."""
        async with reading(PromServer().handle) as prometheus:
            with pytest.raises(ValueError, match="step: wanted whole seconds"):
                await prometheus.ticks(ARMS, ERRORS, NOW - MINUTE, NOW, step)

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            pytest.param({"status": "error", "error": "no"}, "no success: no", id="an error"),
            pytest.param(
                {"status": "success", "data": {"resultType": "vector", "result": []}},
                "wanted a matrix",
                id="another type",
            ),
            pytest.param({"status": "success", "data": {}, "warnings": ["x"]}, "x", id="a warning"),
        ],
    )
    async def test_strict(self, body: dict[str, Any], expected: str) -> None:
        """Answers are believed no sooner than those of `read`, and the query is named."""

        async def handler(_: web.Request) -> web.Response:
            return web.json_response(body)

        async with reading(handler) as prometheus:
            for ask in (prometheus.ticks, prometheus.units):
                with pytest.raises(MetricsUnavailable, match=rf"envoy_cluster_.*: .*{expected}"):
                    await ask(ARMS, ERRORS, NOW - MINUTE, NOW, MINUTE)


class TestUnits:
    """Counters of single endpoints of the stable arm."""

    async def test_stable_only(self) -> None:
        """Only stable is asked for; several proxies' counters of an endpoint are kept apart."""
        server = PromServer()
        for position in (0, 1):
            for proxy in ("a", "b"):
                labels = {
                    "__name__": "envoy_cluster_endpoint_rq_success",
                    "envoy_cluster_name": f"httproute/models/fraud/rule/0/backend/{position}",
                    "envoy_endpoint_address": "10.0.0.5:8080",
                    "instance": proxy,
                }
                server.add(labels, [(NOW.timestamp() - 30, 5 + position)])
        async with reading(server.handle) as prometheus:
            found = await prometheus.units(ARMS, ERRORS, NOW - MINUTE, NOW, timedelta(seconds=10))
        assert [(u.unit, u.outcome, u.key) for u in found] == [
            ("10.0.0.5:8080", "good", "a"),
            ("10.0.0.5:8080", "good", "b"),
        ]
        assert {p.value for u in found for p in u.points} == {5}
        assert all("backend/1" not in form["query"] for _, form in server.asked)

    async def test_no_name(self) -> None:
        """A counter without the label that names the unit is unavailable, not a unit of its own."""
        server = PromServer()
        labels = {
            "__name__": "envoy_cluster_endpoint_rq_error",
            "envoy_cluster_name": "httproute/models/fraud/rule/0/backend/0",
            "instance": "a",
        }
        server.add(labels, [(NOW.timestamp() - 30, 5)])
        async with reading(server.handle) as prometheus:
            with pytest.raises(MetricsUnavailable, match=r"rq_error.*label envoy_endpoint_address"):
                await prometheus.units(ARMS, ERRORS, NOW - MINUTE, NOW, timedelta(seconds=10))


class TestTypes:
    """What the targets say a metric is."""

    @pytest.mark.parametrize(
        ("metric", "known", "expected"),
        [
            pytest.param("a_total", {"a_total": ["counter"]}, "counter", id="a counter"),
            pytest.param("a_total", {"a": ["counter"]}, "counter", id="as OpenMetrics names it"),
            pytest.param("a_total", {"a": ["gauge"]}, None, id="another metric's name"),
            pytest.param("a", {"a": ["gauge"]}, "gauge", id="a gauge"),
            pytest.param("a_bucket", {"a": ["histogram"]}, "histogram", id="buckets"),
            pytest.param("a_bucket", {"a": ["counter"]}, None, id="no family of buckets"),
            pytest.param("a_count", {"a": ["summary"]}, "summary", id="a summary's count"),
            pytest.param("a_count", {"a_count": ["gauge"]}, "gauge", id="a gauge called count"),
            pytest.param("a", {"a": ["info"]}, "gauge", id="a type of OpenMetrics"),
            pytest.param("a", {"a": ["unknown"]}, "unknown", id="not known to the target"),
            pytest.param("a", {"a": ["counter", "gauge"]}, "unknown", id="targets differ"),
            pytest.param("a", {"a": ["counter", "counter"]}, "counter", id="targets agree"),
            pytest.param("a", {}, None, id="never heard of"),
            pytest.param("_total", {}, None, id="only a suffix"),
        ],
    )
    async def test_type(
        self, metric: str, known: dict[str, list[str]], expected: str | None
    ) -> None:
        """The metric's own type, or that of the family it belongs to."""
        metadata = {
            name: [{"type": type, "help": "", "unit": ""} for type in types]
            for name, types in known.items()
        }
        async with reading(PromServer(metadata=metadata).handle) as prometheus:
            assert await prometheus.type_of(metric, NOW) == expected

    async def test_remembered(self) -> None:
        """A type is believed for five minutes, that there is none for one."""
        server = PromServer(metadata={"a": [{"type": "counter"}]})
        async with reading(server.handle) as prometheus:
            for seconds in (0, 299, 300):
                await prometheus.type_of("a", NOW + timedelta(seconds=seconds))
            assert len(server.asked) == 2
            for seconds in (0, 59, 60):
                await prometheus.type_of("b", NOW + timedelta(seconds=seconds))
            assert len(server.asked) == 4

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            pytest.param({"status": 404, "text": "no"}, "HTTP 404", id="not there"),
            pytest.param({"text": "{"}, "not JSON", id="malformed"),
            pytest.param({"text": '{"status":"success","data":[]}'}, "no data", id="a list"),
            pytest.param(
                {"text": '{"status":"success","data":{"a":{}}}'}, "list of types", id="no list"
            ),
            pytest.param(
                {"text": '{"status":"success","data":{"a":[{}]}}'}, "has no type", id="no type"
            ),
        ],
    )
    async def test_unavailable(self, answer: dict[str, Any], expected: str) -> None:
        """What cannot be read is unavailable, is not remembered, and names the metric."""
        asked = 0

        async def handler(_: web.Request) -> web.Response:
            nonlocal asked
            asked += 1
            return web.Response(**answer)

        async with reading(handler) as prometheus:
            for _ in range(2):
                with pytest.raises(MetricsUnavailable, match=f"metadata of a: .*{expected}"):
                    await prometheus.type_of("a", NOW)
        assert asked == 2

    async def test_no_name(self) -> None:
        """What is no metric's name is never asked for."""
        server = PromServer()
        async with reading(server.handle) as prometheus:
            with pytest.raises(ValueError, match="not a metric name"):
                await prometheus.type_of("a&match[]=x", NOW)
        assert server.asked == []
