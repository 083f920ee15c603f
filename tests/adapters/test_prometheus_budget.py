"""Reading Prometheus for error budgets: what is asked, kept, refused and not believed."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from tests.adapters.servers import serving

from headgate.adapters.packs import ArmLabel, load_pack
from headgate.adapters.prometheus_budget import PrometheusBudgets
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.adapters.prometheus_selectors import route_pattern, spellings
from headgate.core.slo.budget import WINDOWS, WindowCounts
from headgate.core.slo.level import (
    Errors,
    Latency,
    Own,
    Selector,
    ServiceLevel,
    ThresholdIsNoEdge,
)
from headgate.ports import MetricsUnavailable, Service

NOW = datetime(2026, 11, 25, 4, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FRAUD = Service("models", "fraud")
CLUSTER = "httproute/models/fraud/rule/0/backend/{}"
PACK = load_pack("envoy-gateway")

ERRORS = ServiceLevel("errors", Decimal("0.999"), Errors())
FAST = ServiceLevel("fast", Decimal("0.99"), Latency(timedelta(milliseconds=250)))

Value = Callable[[float], float | None]


def per_second(rate: float) -> Value:
    """Return a counter that rises evenly since long ago."""
    return lambda seconds: int(rate * seconds)


@dataclass
class FakePrometheus:
    """Holds counters as functions of time, and answers the two calls as Prometheus does.

    It selects by metric name and by each matcher that it finds in the query, with Python's regular
    expressions in the place of RE2.
    """

    series: list[tuple[dict[str, str], Value]] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    answer: str | None = None
    status: int = 200

    def add(self, metric: str, value: Value, **labels: str) -> None:
        """Expose one more counter, by default of one proxy."""
        common = {"__name__": metric, "instance": "10.0.0.1:19001", "namespace": "models"}
        self.series.append((common | labels, value))

    def count(self, outcome: str, value: Value, position: int = 0, **labels: str) -> None:
        """Expose Envoy's counter of one class of answers of one backend."""
        own = {"envoy_cluster_name": CLUSTER.format(position)}
        self.add(PACK.errors.metric, value, envoy_response_code_class=outcome, **own, **labels)

    def bucket(self, le: str, value: Value, **labels: str) -> None:
        """Expose one bucket of Envoy's histogram of the first backend."""
        own = {"envoy_cluster_name": CLUSTER.format(0)}
        self.add(PACK.latency.metric, value, le=le, **own, **labels)

    def steps(self) -> list[str]:
        """Tell the steps that were asked for, and "instant" for instant queries."""
        return [each.get("step", "instant") for each in self.asked]

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one form."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append(form)
        if self.answer is not None:
            return web.Response(status=self.status, text=self.answer)
        if request.path.endswith("query_range"):
            result, kind = self.matrix(form), "matrix"
        else:
            labels = {labels["le"] for labels, _ in self.selected(form["query"])}
            result = [{"metric": {"le": le}, "value": [1, "1"]} for le in sorted(labels)]
            kind = "vector"
        found = {"status": "success", "data": {"resultType": kind, "result": result}}
        return web.Response(text=json.dumps(found))

    def matrix(self, form: Mapping[str, str]) -> list[dict[str, Any]]:
        """Sample what is selected at even steps, from start to end."""
        start, end, step = (float(form[name]) for name in ("start", "end", "step"))
        times = [start + n * step for n in range(int((end - start) / step) + 1)]
        result = []
        for labels, value in self.selected(form["query"]):
            values = [[at, str(value(at))] for at in times if value(at) is not None]
            if values:
                result.append({"metric": labels, "values": values})
        return result

    def selected(self, query: str) -> Sequence[tuple[dict[str, str], Value]]:
        """Find the series that a query selects."""
        match = re.search(r"(?:\(|^)([a-zA-Z_:]+)\{(.*)\}", query)
        assert match, query
        conditions = re.findall(r'(\w+)(=~?)"((?:[^"\\]|\\.)*)"', match[2])
        wanted = {name: (op, json.loads(f'"{text}"')) for name, op, text in conditions}

        def fits(labels: Mapping[str, str]) -> bool:
            return labels["__name__"] == match[1] and all(
                re.fullmatch(text if op == "=~" else re.escape(text), labels.get(name, ""))
                for name, (op, text) in wanted.items()
            )

        return [each for each in self.series if fits(each[0])]


@asynccontextmanager
async def budgets(fake: FakePrometheus, **settings: Any) -> AsyncIterator[PrometheusBudgets]:
    """Give the adapter, reading from the fake."""
    async with serving(fake.handle) as url:
        settings = {"timeout": timedelta(seconds=5), **settings}
        adapter = PrometheusBudgets(PrometheusSettings(url, **settings), PACK)
        try:
            yield adapter
        finally:
            await adapter.close()


async def read(
    fake: FakePrometheus, *levels: ServiceLevel, **settings: Any
) -> Mapping[str, Mapping[timedelta, WindowCounts]]:
    """Read once, and give the counts by objective and window."""
    async with budgets(fake, **settings) as adapter:
        found = await adapter.read(FRAUD, levels, NOW)
    return {name: {each.window: each for each in counts} for name, counts in found.items()}


class TestCounts:
    """Raw counters of all backends become counts per window."""

    async def test_errors(self) -> None:
        """Requests of every backend and class add up, over each window and exactly."""
        fake = FakePrometheus()
        fake.count("2", per_second(10))
        fake.count("4", per_second(2), position=1)
        fake.count("5", per_second(1), position=1, pod="other")
        found = (await read(fake, ERRORS))["errors"]

        assert sorted(found) == [*WINDOWS, 30 * DAY]
        for window, counts in found.items():
            seconds = int(window.total_seconds())
            assert counts == WindowCounts(window, 12 * seconds, seconds, window)

    async def test_nothing_is_extrapolated(self) -> None:
        """The queries are plain selectors, stepped by a minute, a quarter and an hour."""
        fake = FakePrometheus()
        fake.count("2", per_second(10))
        await read(fake, ERRORS)

        query = (
            'envoy_cluster_upstream_rq_xx{envoy_cluster_name=~"httproute/models/fraud/rule/0/'
            'backend/[0-9]+",envoy_response_code_class=~"2|3|4|5"}'
        )
        assert {each["query"] for each in fake.asked} == {query}
        spans = {each["step"]: float(each["end"]) - float(each["start"]) for each in fake.asked}
        assert spans == {"60": 7200, "900": 3 * 86400, "3600": 30 * 86400}

    async def test_latency(self) -> None:
        """Good is what the bucket at the threshold holds; 250 ms is `250` in Envoy's unit."""
        fake = FakePrometheus()
        for le, rate in (("100", 5), ("250", 9), ("500", 10), ("+Inf", 10)):
            fake.bucket(le, per_second(rate))
        found = (await read(fake, FAST))["fast"][HOUR]

        assert (found.good, found.bad) == (9 * 3600, 3600)
        assert next(each["query"] for each in fake.asked if "step" in each).endswith(
            ',le=~"250|250\\\\.0|\\\\+Inf"}'
        )

    async def test_a_bound_that_is_written_anew_is_one_counter(self) -> None:
        """Prometheus 3 writes `250.0` for `250`; nothing is counted twice when it comes."""
        fake, changed = FakePrometheus(), (NOW - HOUR).timestamp()
        fake.bucket("250", lambda at: int(9 * at) if at < changed else None)
        fake.bucket("250.0", lambda at: int(9 * at) if at >= changed else None)
        fake.bucket("+Inf", per_second(10))
        found = (await read(fake, FAST))["fast"][2 * HOUR]

        assert (found.good, found.bad) == (9 * 7200, 7200)

    async def test_a_threshold_between_edges_is_refused(self) -> None:
        """The error names the nearest edges in a unit people write."""
        fake = FakePrometheus()
        for le in ("100", "500", "+Inf"):
            fake.bucket(le, per_second(1))

        with pytest.raises(ThresholdIsNoEdge, match="nearest are 100ms and 500ms") as caught:
            await read(fake, FAST)
        assert (caught.value.below, caught.value.above) == (Decimal("0.1"), Decimal("0.5"))

    @pytest.mark.parametrize(
        ("own", "wanted"),
        [
            pytest.param({"good": 95}, (95, 5), id="good of total"),
            pytest.param({"bad": 10}, (90, 10), id="bad of total"),
        ],
    )
    async def test_own_series(self, own: dict[str, int], wanted: tuple[int, int]) -> None:
        """The user's counters, by their own labels and over all instances."""
        fake = FakePrometheus()
        fake.add("orders_total", per_second(60), shop="a", instance="x")
        fake.add("orders_total", per_second(40), shop="a", instance="y")
        fake.add("orders_total", per_second(7), shop="b", instance="x")
        fake.add("orders_total", per_second(7), shop="a", instance="z", namespace="others")
        selectors = {}
        for name, rate in own.items():
            fake.add(f"orders_{name}", per_second(rate), shop="a", instance="x")
            selectors[name] = Selector(f"orders_{name}", (("shop", "a"),))
        level = ServiceLevel(
            "own", Decimal("0.9"), Own(Selector("orders_total", (("shop", "a"),)), **selectors)
        )
        found = (await read(fake, level))["own"][HOUR]

        assert (found.good, found.bad) == tuple(3600 * each for each in wanted)

    async def test_own_series_with_one_of_several_values(self) -> None:
        """A label may have either value, and each is text."""
        fake = FakePrometheus()
        for code, rate in (("200", 90), ("502", 5), ("5.2", 3), ("404", 2)):
            fake.add("answers_total", per_second(rate), code=code)
        bad = Selector("answers_total", any_of=(("code", ("5.2", "404")),))
        level = ServiceLevel("own", Decimal("0.9"), Own(Selector("answers_total"), bad=bad))
        found = (await read(fake, level))["own"][HOUR]

        assert (found.requests, found.bad) == (100 * 3600, 5 * 3600)

    async def test_own_buckets_are_found_by_what_they_say(self) -> None:
        """A matcher le="1" finds the series that Prometheus 3 writes as le="1.0"."""
        fake = FakePrometheus()
        fake.add("latency_bucket", per_second(9), le="1.0")
        fake.add("latency_count", per_second(10))
        good = Selector("latency_bucket", (("le", "1"),))
        level = ServiceLevel("own", Decimal("0.9"), Own(Selector("latency_count"), good))
        found = (await read(fake, level))["own"][HOUR]

        assert (found.good, found.bad) == (9 * 3600, 3600)

    @pytest.mark.parametrize("level", [ERRORS, FAST], ids=lambda level: level.name)
    async def test_silence_is_not_zero_failures(self, level: ServiceLevel) -> None:
        """Without series every window is zero of zero, and covers nothing."""
        found = (await read(FakePrometheus(), level))[level.name]

        assert {(each.requests, each.covered) for each in found.values()} == {(0, timedelta(0))}

    async def test_half_a_window_is_told(self) -> None:
        """A service of three days covers three of thirty."""
        fake, born = FakePrometheus(), (NOW - 3 * DAY).timestamp()
        fake.count("2", lambda at: int(at - born) if at >= born else None)
        found = (await read(fake, ERRORS))["errors"][30 * DAY]

        assert (found.requests, found.covered) == (3 * 86400, 3 * DAY)

    async def test_short_windows_need_no_long_read(self) -> None:
        """An objective over one day is read with steps of a minute and a quarter only."""
        fake = FakePrometheus()
        fake.count("2", per_second(1))
        found = await read(fake, replace(ERRORS, window=DAY))

        assert sorted(found["errors"]) == [each for each in WINDOWS if each <= DAY]
        assert sorted(fake.steps()) == ["60", "900"]

    async def test_one_backend_alone(self) -> None:
        """Whether stable burns is asked of its own backend, over the short windows only."""
        fake = FakePrometheus()
        fake.count("2", per_second(10))
        fake.count("5", per_second(5), position=1)
        stable = replace(FRAUD, position=0)
        async with budgets(fake) as adapter:
            found = await adapter.read(stable, [ERRORS], NOW, longest=6 * HOUR)

        assert [each.window for each in found["errors"]] == [*WINDOWS[:5]]
        assert {(each.good > 0, each.bad) for each in found["errors"]} == {(True, 0)}
        assert sorted(fake.steps()) == ["60", "900"]


class TestKeeping:
    """Answers are kept as long as a window of their length hardly moves."""

    @pytest.mark.parametrize(
        ("later", "wanted"),
        [
            pytest.param(timedelta(seconds=20), [], id="nothing after 20 s"),
            pytest.param(timedelta(seconds=40), ["60"], id="the last two hours after 40 s"),
            pytest.param(4 * MINUTE, ["60", "900"], id="three days after 4 min"),
            pytest.param(11 * MINUTE, ["3600", "60", "900"], id="all after 11 min"),
            pytest.param(-HOUR, ["3600", "60", "900"], id="all when the clock went back"),
        ],
    )
    async def test_what_is_asked_again(self, later: timedelta, wanted: list[str]) -> None:
        """Long windows are read again every few minutes, short ones twice a minute."""
        fake = FakePrometheus()
        fake.count("2", per_second(10))
        async with budgets(fake) as adapter:
            first = await adapter.read(FRAUD, [ERRORS], NOW)
            fake.asked.clear()
            again = await adapter.read(FRAUD, [ERRORS], NOW + later)

        assert sorted(fake.steps()) == wanted
        assert first == again

    async def test_equal_objectives_are_read_once(self) -> None:
        """Two promises about the same requests take one read."""
        fake = FakePrometheus()
        fake.count("2", per_second(10))
        second = replace(ERRORS, name="stricter", target=Decimal("0.9999"))
        found = await read(fake, ERRORS, second)

        assert found["errors"] == found["stricter"]
        assert len(fake.asked) == 3

    async def test_a_failed_read_is_not_kept(self) -> None:
        """After an outage the next look asks again and is answered."""
        fake = FakePrometheus(answer="gone", status=503)
        fake.count("2", per_second(10))
        async with budgets(fake) as adapter:
            with pytest.raises(MetricsUnavailable):
                await adapter.read(FRAUD, [ERRORS], NOW)
            fake.answer = None
            found = await adapter.read(FRAUD, [ERRORS], NOW)

        assert {each.requests > 0 for each in found["errors"]} == {True}


def matrix(*entries: Any, **more: Any) -> str:
    """Return an answer with these entries."""
    content = {"resultType": "matrix", "result": list(entries)}
    return json.dumps({"status": "success", "data": content, **more})


def entry(values: list[Any], **labels: str) -> dict[str, Any]:
    """Return one series of stable's good answers."""
    metric = {
        "envoy_cluster_name": CLUSTER.format(0),
        "envoy_response_code_class": "2",
        "instance": "a",
    }
    return {"metric": {k: v for k, v in (metric | labels).items() if v}, "values": values}


class TestRefusals:
    """What cannot be trusted is unavailable, and never a number."""

    @pytest.mark.parametrize(
        ("answer", "status", "said"),
        [
            pytest.param("no", 500, "HTTP 500", id="server error"),
            pytest.param("bad query", 400, "HTTP 400: bad query", id="refused query"),
            pytest.param("<html>", 200, "not JSON", id="no JSON"),
            pytest.param(matrix(warnings=["a store is away"]), 200, "incomplete", id="partial"),
            pytest.param(
                '{"status":"success","data":{"resultType":"vector","result":[]}}',
                200,
                "wanted a matrix",
                id="another type",
            ),
            pytest.param(matrix(entry([[1, "x"]])), 200, "not a number", id="no number"),
            pytest.param(matrix(entry([[1, "+Inf"]])), 200, "cannot be", id="infinite"),
            pytest.param(matrix(entry([[2, "1"], [1, "1"]])), 200, "order", id="out of order"),
            pytest.param(matrix(entry([[1, "1"]], instance="")), 200, "labels", id="no instance"),
            pytest.param(
                matrix(entry([[1, "1"]], job="a"), entry([[1, "1"]], job="b")),
                200,
                "there twice",
                id="a proxy that two jobs scrape",
            ),
        ],
    )
    async def test_answers(self, answer: str, status: int, said: str) -> None:
        """The reason comes with the query."""
        fake = FakePrometheus(answer=answer, status=status)

        with pytest.raises(MetricsUnavailable, match=said) as caught:
            await read(fake, ERRORS)
        assert "envoy_cluster_upstream_rq_xx{" in str(caught.value)

    async def test_bounds_that_are_none(self) -> None:
        """A histogram with a bound that is no number cannot be read."""
        fake = FakePrometheus()
        fake.bucket("fast", per_second(1))

        with pytest.raises(MetricsUnavailable, match="'fast' is not a bucket's upper bound"):
            await read(fake, FAST)

    async def test_a_source_that_answers_too_much(self) -> None:
        """Series of another route are not ours, whoever returns them."""
        strange = entry([[1, "5"], [61, "900"]], envoy_cluster_name="httproute/other/fraud/x")
        found = await read(FakePrometheus(answer=matrix(strange)), ERRORS)

        assert {each.requests for each in found["errors"].values()} == {0}


class TestEscaping:
    """Text from outside is text wherever it goes."""

    async def test_names_and_values(self) -> None:
        """Quotes, backslashes, new lines and patterns of a user match only themselves."""
        hostile = 'a"} or {__name__=~".+\\'
        fake = FakePrometheus()
        fake.add("up_total", per_second(1), job=hostile)
        fake.add("up_total", per_second(5), job="other")
        total = Selector("up_total", (("job", hostile),))
        level = ServiceLevel("own", Decimal("0.9"), Own(total, bad=Selector("down_total")))
        found = (await read(fake, level))["own"][HOUR]

        assert found.requests == 3600
        assert (
            fake.asked[0]["query"]
            == 'up_total{job="a\\"} or {__name__=~\\".+\\\\",namespace="models"}'
        )

    async def test_the_operators_matchers_win(self) -> None:
        """A user's matcher cannot replace those that keep clusters and tenants apart."""
        fake = FakePrometheus()
        total = Selector("up_total", (("cluster", "theirs"),))
        level = ServiceLevel("own", Decimal("0.9"), Own(total, bad=Selector("down_total")))
        await read(fake, level, matchers={"cluster": "ours"})

        assert {each["query"] for each in fake.asked} == {
            'up_total{cluster="ours",namespace="models"}',
            'down_total{namespace="models",cluster="ours"}',
        }

    async def test_own_series_of_one_revision(self) -> None:
        """The arm's label is added by us, and wins over what a person says of it."""
        fake = FakePrometheus()
        fake.add("up_total", per_second(10), pod="fraud-0a1b-predictor-x")
        fake.add("up_total", per_second(90), pod="fraud-99ff-predictor-y")
        fake.add("down_total", per_second(1), pod="fraud-0a1b-predictor-x")
        fake.add("down_total", per_second(60), pod="fraud-99ff-predictor-y")
        total = Selector("up_total", (("pod", ".*"),))
        own = Own(total, bad=Selector("down_total"), arm_label="pod", arm_value="{revision}-*")
        level = ServiceLevel("own", Decimal("0.9"), own)
        async with budgets(fake) as adapter:
            stable = replace(FRAUD, deployment="fraud", position=0, hash="0a1b")
            found = await adapter.read(stable, [level], NOW, WINDOWS[-1])

        assert {each["query"] for each in fake.asked} == {
            'up_total{pod=~"fraud-0a1b-.*",namespace="models"}',
            'down_total{namespace="models",pod=~"fraud-0a1b-.*"}',
        }
        hour = {each.window: each for each in found["own"]}[HOUR]
        assert (hour.good, hour.bad) == (9 * 3600, 3600)

    async def test_one_backend_of_the_route(self) -> None:
        """Stable's own burn is that of its backend, whatever the canary's does."""
        fake = FakePrometheus()
        fake.count("2", per_second(90))
        fake.count("5", per_second(1), position=1)
        async with budgets(fake) as adapter:
            found = await adapter.read(replace(FRAUD, position=0), [ERRORS], NOW, WINDOWS[-1])

        hour = {each.window: each for each in found["errors"]}[HOUR]
        assert (hour.good, hour.bad) == (90 * 3600, 0)

    @pytest.mark.parametrize(
        ("template", "service", "wanted"),
        [
            pytest.param("{namespace}/{route}", Service("a.b", "c"), r"a\.b/c", id="dots"),
            pytest.param("r/{position}", FRAUD, "r/[0-9]+", id="any position"),
            pytest.param(
                "{deployment}-{hash}", Service("m", "r", "d"), "d-[0-9a-f]+", id="any revision"
            ),
            pytest.param(
                "{revision}-*", Service("m", "r", "d"), "d-[0-9a-f]+-.*", id="pods of any revision"
            ),
            pytest.param("r/{position}", replace(FRAUD, position=3), "r/3", id="one position"),
            pytest.param(
                "{revision}", Service("m", "r", "d", hash="0a1b"), "d-0a1b", id="one revision"
            ),
            pytest.param("{route}", Service("m", "(.*)|x"), r"\(\.\*\)\|x", id="a pattern"),
        ],
    )
    def test_patterns_of_a_route(self, template: str, service: Service, wanted: str) -> None:
        """Only what a pack leaves open is a pattern."""
        pack = replace(PACK, arm=ArmLabel("arm", template))

        assert route_pattern(pack, service) == wanted

    @pytest.mark.parametrize(
        ("label", "wanted"),
        [
            pytest.param("250", {"250", "250.0"}, id="whole"),
            pytest.param("0.50", {"0.50", "0.5"}, id="fraction"),
            pytest.param("1e+03", {"1e+03", "1000", "1000.0"}, id="power"),
            pytest.param("+Inf", {"+Inf"}, id="infinite"),
            pytest.param("2xx", {"2xx"}, id="no number"),
        ],
    )
    def test_spellings(self, label: str, wanted: set[str]) -> None:
        """A bound is known in each way it may have been written."""
        assert spellings(label) == wanted
