"""What is not sound data decides nothing: every fault of a source, on each arm, end to end.

Through the real adapter against a fake Prometheus, the real fold and the real judge. Each fault
strikes twice: from the beginning, and after the canary had already earned its next weight, where
only the fault stands in the way. Where the data are sound although something happened (a reset, an
instance that came or went), what was counted is the truth to the request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from tests.adapters.promserver import PromServer, parse_selector
from tests.adapters.servers import Handler, answering, serving

from headgate.adapters.packs import load_pack
from headgate.adapters.prometheus import Prometheus
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.core.analysis import Breach, Inconclusive, Pass, Reason, Verdict, judge
from headgate.core.counters import ERRORS, LATENCY, Arm
from headgate.core.evidence import Evidence, Objective, ObjectiveKind, Settings, begin, fold
from headgate.ports import Arms, MetricsUnavailable, SignalSource

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SCRAPE = 5
FIRST_LOOK, SECOND_LOOK = 60, 180
"""Seconds after the start; what is older than a minute by then is stale."""
STALE_AFTER = timedelta(seconds=60)
ROUTE = Arms("models", "fraud", stable=0, canary=1)
SOURCES = [SignalSource(name, pack_signal=name) for name in (ERRORS, LATENCY)]
SETTINGS = Settings(
    alpha=0.01,
    margin=0.001,
    tolerance=0.05,
    objectives=(Objective("availability", 0.9, ObjectiveKind.ERRORS),),
    weights=(50, 100),
)
GOOD, BAD = 99, 1
"""What each backend answers between two scrapes, of each proxy."""
BOUNDS = {"10": 80, "250": 99, "+Inf": 100}

ARMS = [
    pytest.param((Arm.CANARY,), id="canary"),
    pytest.param((Arm.STABLE,), id="stable"),
    pytest.param((Arm.CANARY, Arm.STABLE), id="both"),
]


def backend(arm: Arm) -> str:
    """Return the name of the arm's cluster in Envoy."""
    return f"httproute/models/fraud/rule/0/backend/{0 if arm is Arm.STABLE else 1}"


@dataclass
class Proxy:
    """One proxy's life: its counters go up from `born` until `gone`, from zero again at `reset`."""

    name: str
    born: int = 0
    gone: int = SECOND_LOOK
    reset: int | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    """What stands in place of the count, for all scrapes after `spoiled`."""
    spoiled: int | None = None

    def write(self, server: PromServer, arm: Arm) -> None:
        """Store what Prometheus scraped of this proxy for one arm."""
        where = {"envoy_cluster_name": backend(arm), "instance": self.name, "job": "envoy"}
        for code, each in (("2", GOOD), ("5", BAD)):
            labels = {"__name__": "envoy_cluster_upstream_rq_xx", "envoy_response_code_class": code}
            server.add({**labels, **where}, self._samples(each))
        for bound, each in BOUNDS.items():
            labels = {"__name__": "envoy_cluster_upstream_rq_time_bucket", "le": bound}
            server.add({**labels, **where}, self._samples(each))

    def _samples(self, each: int) -> list[tuple[float, float | str]]:
        found: list[tuple[float, float | str]] = []
        for second in range(self.born, self.gone + 1, SCRAPE):
            began = self.reset if self.reset is not None and second >= self.reset else self.born
            value: float | str = each * ((second - began) // SCRAPE + 1)
            if self.spoiled is not None and second > self.spoiled:
                value = self.texts["value"]
            found.append((START.timestamp() + second, value))
        return found


def world(proxies: Mapping[Arm, list[Proxy]]) -> PromServer:
    """Return a store in which these proxies were scraped."""
    server = PromServer()
    for arm, several in proxies.items():
        for proxy in several:
            proxy.write(server, arm)
    return server


def healthy(*arms: Arm) -> dict[Arm, list[Proxy]]:
    """Return one sound proxy for each arm."""
    return {arm: [Proxy("proxy-a")] for arm in arms or tuple(Arm)}


async def look(
    prometheus: Prometheus, evidence: Evidence, seconds: int
) -> tuple[Evidence, Verdict]:
    """Look once, as a pass does: metrics that cannot be read are Inconclusive."""
    now = START + timedelta(seconds=seconds)
    try:
        series = await prometheus.read(ROUTE, SOURCES, evidence.read_from, now)
    except MetricsUnavailable as error:
        return evidence, Inconclusive(Reason.METRICS_UNAVAILABLE, str(error), None)
    evidence = fold(evidence, series)
    return evidence, judge(evidence.settings, evidence, 50, now, STALE_AFTER, True).verdict


async def looks(handler: Handler, first: Handler | None) -> tuple[list[Verdict], Evidence]:
    """Look twice; the first time through `first`, or not at all."""
    current = first or handler

    async def serve(request: web.Request) -> web.StreamResponse:
        return await current(request)

    verdicts = []
    async with serving(serve) as url:
        options = PrometheusSettings(
            url,
            timeout=timedelta(seconds=0.3),
            look_back=timedelta(seconds=10),
            largest_answer=100_000,
        )
        prometheus = Prometheus(options, load_pack("envoy-gateway"))
        evidence = begin(SETTINGS, START)
        try:
            if first is not None:
                evidence, verdict = await look(prometheus, evidence, FIRST_LOOK)
                verdicts.append(verdict)
            current = handler
            evidence, verdict = await look(prometheus, evidence, SECOND_LOOK)
            verdicts.append(verdict)
        finally:
            await prometheus.close()
    return verdicts, evidence


async def test_without_a_fault_the_weight_is_earned() -> None:
    """The table below is not empty talk: without a fault both looks pass, with all counted."""
    server = world(healthy())
    verdicts, evidence = await looks(server.handle, server.handle)
    assert [type(verdict) for verdict in verdicts] == [Pass, Pass]
    assert evidence.requests(Arm.CANARY, ERRORS) == 100 * SECOND_LOOK // SCRAPE


# Faults of the source: an answer that is none


def broken(arms: tuple[Arm, ...], answer: Callable[[web.Request], Any]) -> Handler:
    """Answer like this whatever asks for one of these arms, and soundly what does not."""
    server = world(healthy())

    async def handler(request: web.Request) -> web.StreamResponse:
        selected = parse_selector(str((await request.post())["query"]))
        labels = [{"__name__": selected.metric, "envoy_cluster_name": backend(arm)} for arm in arms]
        if not any(selected.takes(one) for one in labels):
            return await server.handle(request)
        return await answering(answer)(request)

    return handler


async def hang(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.sleep(60)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    """Answer a byte at a time, for ever."""
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(1000):
        await response.write(b" ")
        await asyncio.sleep(0.05)
    return response


def status(code: int) -> Callable[[web.Request], web.Response]:
    """Answer with this code."""
    return lambda _: web.json_response({"status": "error", "error": "no"}, status=code)


def text(body: str) -> Callable[[web.Request], web.Response]:
    """Answer with this body."""
    return lambda _: web.Response(text=body)


HUGE = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}}) + " " * (
    200_000
)

SOURCE_FAULTS = [
    pytest.param(status(400), "HTTP 400", id="HTTP 400"),
    pytest.param(status(404), "HTTP 404", id="HTTP 404"),
    pytest.param(status(429), "HTTP 429", id="HTTP 429"),
    pytest.param(status(500), "HTTP 500", id="HTTP 500"),
    pytest.param(hang, "no answer in 0.3 s", id="timeout"),
    pytest.param(drip, "no answer in 0.3 s", id="slow"),
    pytest.param(text('{"status":"success","data":{"res'), "not JSON", id="malformed: cut off"),
    pytest.param(text("<html>login</html>"), "not JSON", id="malformed: a login page"),
    pytest.param(text('{"status":"success"}'), "no data", id="malformed: no data"),
    pytest.param(text(HUGE), "larger than 100000 bytes", id="huge answer"),
]


@pytest.mark.parametrize("arms", ARMS)
@pytest.mark.parametrize("earned", [False, True], ids=["from the beginning", "after it earned"])
@pytest.mark.parametrize(("answer", "expected"), SOURCE_FAULTS)
async def test_a_source_that_fails(
    answer: Callable[[web.Request], Any], expected: str, earned: bool, arms: tuple[Arm, ...]
) -> None:
    """No verdict either way, the reason names query and fault, and nothing is counted meanwhile."""
    sound = world(healthy()).handle if earned else None
    verdicts, evidence = await looks(broken(arms, answer), sound)
    if earned:
        assert isinstance(verdicts[0], Pass)
    last = verdicts[-1]
    assert isinstance(last, Inconclusive)
    assert last.reason is Reason.METRICS_UNAVAILABLE
    assert 'envoy_cluster_upstream_rq_xx{envoy_cluster_name=~"' in last.message or (
        'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name=~"' in last.message
    )
    assert expected in last.message
    requests = 100 * FIRST_LOOK // SCRAPE if earned else 0
    assert [evidence.requests(arm, ERRORS) for arm in Arm] == [requests, requests]


# Faults of the data: an answer that is whole, of counters that are none


@pytest.mark.parametrize("arms", ARMS)
@pytest.mark.parametrize("earned", [False, True], ids=["from the beginning", "after it earned"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("NaN", "a counter is not a number", id="NaN"),
        pytest.param("+Inf", "a counter cannot be +Inf", id="Inf"),
        pytest.param("-Inf", "a counter cannot be -Inf", id="Inf below zero"),
        pytest.param("-1", "a counter cannot be -1", id="below zero"),
    ],
)
async def test_counters_that_are_none(
    value: str, expected: str, earned: bool, arms: tuple[Arm, ...]
) -> None:
    """Values that no counter has make the signal unavailable: they are neither good nor bad."""
    proxies = healthy()
    for arm in arms:
        spoiled = FIRST_LOOK if earned else -1
        proxies[arm] = [Proxy("proxy-a", spoiled=spoiled, texts={"value": value})]
    verdicts, _ = await looks(world(proxies).handle, world(healthy()).handle if earned else None)
    last = verdicts[-1]
    assert isinstance(last, Inconclusive)
    assert last.reason is Reason.METRICS_UNAVAILABLE
    assert "envoy_cluster_name=~" in last.message
    assert expected in last.message


@pytest.mark.parametrize("arms", ARMS)
@pytest.mark.parametrize("earned", [False, True], ids=["from the beginning", "after it earned"])
@pytest.mark.parametrize("label", ["job", "replica"])
async def test_a_duplicate(label: str, earned: bool, arms: tuple[Arm, ...]) -> None:
    """A proxy that is scraped twice, or stored twice, is unavailable and not counted twice."""
    server = world(healthy())
    for labels, samples in list(server.series):
        if labels["envoy_cluster_name"] in map(backend, arms):
            server.series.append(({**labels, label: "another"}, samples))
    verdicts, evidence = await looks(server.handle, world(healthy()).handle if earned else None)
    last = verdicts[-1]
    assert isinstance(last, Inconclusive)
    assert last.reason is Reason.METRICS_UNAVAILABLE
    assert "envoy_cluster_name=~" in last.message
    assert "one counter is there twice" in last.message
    requests = 100 * FIRST_LOOK // SCRAPE if earned else 0
    assert evidence.requests(Arm.CANARY, ERRORS) == requests


# Absence


@pytest.mark.parametrize("arms", ARMS)
async def test_no_series(arms: tuple[Arm, ...]) -> None:
    """Silence of an arm is no evidence: neither requests nor failures."""
    proxies = {arm: several for arm, several in healthy().items() if arm not in arms}
    verdicts, evidence = await looks(world(proxies).handle, None)
    (last,) = verdicts
    assert isinstance(last, Inconclusive)
    assert last.reason is Reason.NO_TRAFFIC
    assert [evidence.requests(arm, ERRORS) for arm in arms] == [0] * len(arms)


@pytest.mark.parametrize("arms", ARMS)
@pytest.mark.parametrize(
    "gone",
    [
        pytest.param(True, id="no series any more"),
        pytest.param(False, id="stale"),
    ],
)
async def test_an_arm_that_fell_silent(gone: bool, arms: tuple[Arm, ...]) -> None:
    """What was earned is not enough once an arm's samples are old: the evidence is stale."""
    proxies = healthy()
    for arm in arms:
        proxies[arm] = [] if gone else [Proxy("proxy-a", gone=FIRST_LOOK + 2 * SCRAPE)]
    verdicts, _ = await looks(world(proxies).handle, world(healthy()).handle)
    assert isinstance(verdicts[0], Pass)
    last = verdicts[-1]
    assert isinstance(last, Inconclusive)
    assert last.reason is Reason.EVIDENCE_STALE


# Events that leave the data sound: the verdict is that of the truth

WHOLE = 100 * SECOND_LOOK // SCRAPE
SOUND = [
    pytest.param(lambda: [Proxy("proxy-a", reset=100)], 0, id="a reset"),
    pytest.param(
        # its first scrape is where counting begins: what it answered before is not known in time
        lambda: [Proxy("proxy-a"), Proxy("proxy-b", born=100)],
        100 * (SECOND_LOOK - 100) // SCRAPE,
        id="a new instance",
    ),
    pytest.param(
        lambda: [Proxy("proxy-a"), Proxy("proxy-b", gone=100)],
        100 * 100 // SCRAPE,
        id="a vanished instance",
    ),
]


@pytest.mark.parametrize("arms", ARMS)
@pytest.mark.parametrize("earned", [False, True], ids=["in one look", "between two looks"])
@pytest.mark.parametrize(("proxies", "more"), SOUND)
async def test_sound_data(
    proxies: Callable[[], list[Proxy]], more: int, earned: bool, arms: tuple[Arm, ...]
) -> None:
    """A restart, a proxy that is new or that left is counted as what it is: nothing is made up.

    The verdict is the one without it. A second proxy that has counters of one arm only compares
    nothing, so that what it counted is not used at all.
    """
    server = world({arm: proxies() if arm in arms else [Proxy("proxy-a")] for arm in Arm})
    verdicts, evidence = await looks(server.handle, server.handle if earned else None)
    assert {type(verdict) for verdict in verdicts} == {Pass}
    expected = WHOLE + (more if len(arms) == 2 else 0)
    tally = evidence.errors.compared
    assert (sum(tally.canary), sum(tally.stable)) == (expected, expected)
    assert (tally.canary[1], tally.stable[1]) == (expected * BAD // 100, expected * BAD // 100)


@pytest.mark.parametrize("arms", ARMS)
async def test_a_reset_at_the_wrong_moment(arms: tuple[Arm, ...]) -> None:
    """A reset seen by one counter first (bad fell, good did not) makes no failures up."""
    proxies = {arm: [Proxy("proxy-a", reset=100 if arm in arms else None)] for arm in Arm}
    server = world(proxies)
    for n, (labels, samples) in enumerate(server.series):
        if labels.get("envoy_response_code_class") == "2":
            # The good ones fall one scrape later than the bad ones.
            late = [(at, v) for at, v in samples if at != START.timestamp() + 100]
            server.series[n] = (labels, late)
    verdicts, evidence = await looks(server.handle, server.handle)
    assert not any(isinstance(verdict, Breach) for verdict in verdicts)
    for arm in arms:
        counts = evidence.errors.compared
        own = counts.canary if arm is Arm.CANARY else counts.stable
        assert sum(own[1:]) <= BAD * SECOND_LOOK // SCRAPE
