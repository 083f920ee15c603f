"""What is not sound data moves nothing: every fault, of every pack, kind of signal and read.

Whole passes over the world in memory, in which one signal's series come through the real adapter
from a fake Prometheus. Each case begins at a look that, without the fault, gives the canary its
next weight: so only the fault stands in the way. tests/adapters/test_no_data.py does the same, in
more depth, for errors and latency as the gateway counts them.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from tests.adapters.promserver import PromServer, parse_selector
from tests.adapters.servers import answering, serving
from tests.adapters.test_no_data import HUGE, drip, hang, status, text
from tests.scenarios.memory import START, MemoryMetrics, Story

from headgate.adapters.packs import load_pack
from headgate.adapters.prometheus import Prometheus
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.core.counters import BUILT_IN, Arm, Series
from headgate.core.drift.build import Column, build
from headgate.core.drift.profile import render
from headgate.ports import Arms, SignalSource, UnitSeries

SCRAPE = 10
"""Seconds; few scrapes make a quick table."""
FAULT = timedelta(seconds=30)
"""How long what is wrong is so, when the operator looks; stale is what is older than 20 s."""
OPTIONS = {
    "checkpoint_every": timedelta(0),
    "stale_after": timedelta(seconds=20),
    "collector_url": "http://collector",
}
ROLLOUT = {
    "steps": [{"weight": 10, "hold": "50s"}, {"weight": 50, "hold": "1h"}],
    "interval": "5s",
    "bake": "4s",
    "tolerance": "5",
}

ARMS = ((Arm.CANARY,), (Arm.STABLE,), (Arm.CANARY, Arm.STABLE))

PATIENCE = 0.1
"""Seconds until an answer is given up where one is given late, or never."""
SOURCE_FAULTS = [
    pytest.param(status(404), "HTTP 404", id="HTTP 4xx"),
    pytest.param(status(503), "HTTP 503", id="HTTP 5xx"),
    pytest.param(hang, "no answer in 0.1 s", id="timeout"),
    pytest.param(drip, "no answer in 0.1 s", id="slow"),
    pytest.param(text('{"status":"success","data":{"res'), "not JSON", id="malformed"),
    pytest.param(text(HUGE), "larger than 100000 bytes", id="huge answer"),
]


# What is read: the signals of each pack, unless they differ in nothing but the metric's name, each
# kind of one's own, delayed labels and drift


def _pod(arm: Arm, hash: str) -> dict[str, str]:
    pod = f"fraud-{hash}-predictor-5d4f-{arm}"
    return {"namespace": "models", "pod": pod, "instance": f"{pod}:8080"}


def _envoy(arm: Arm, hash: str) -> dict[str, str]:
    position = 0 if arm is Arm.STABLE else 1
    return {"envoy_cluster_name": f"httproute/models/fraud/rule/0/backend/{position}"} | _PROXY


def _istio(arm: Arm, hash: str) -> dict[str, str]:
    service = {"destination_service_name": f"fraud-{hash}-predictor"}
    where = {"destination_service_namespace": "models", "reporter": "source"}
    return service | where | _PROXY


def _knative(arm: Arm, hash: str) -> dict[str, str]:
    pod = {"pod_name": f"fraud-{hash}-{arm}", "instance": f"{arm}:9090"}
    return {"service_name": f"fraud-{hash}-predictor", "namespace_name": "models"} | pod


def _collector(arm: Arm, hash: str) -> dict[str, str]:
    whose = {"model_namespace": "models", "model_deployment": "fraud", "model_revision": hash}
    return whose | {"instance": "collector:8080", "pod": "collector"}


_PROXY = {"instance": "proxy:19001", "pod": "proxy"}
_Labels = Callable[[Arm, str], dict[str, str]]


@dataclass(frozen=True)
class Row:
    """One signal: what a person writes, and the counters there are, by what each scrape adds."""

    name: str
    changes: Mapping[str, Any]
    where: _Labels
    counters: Mapping[str, Mapping[str, int]]
    """Increments by metric, then by `label=value` that tells the series of a metric apart."""

    def series(self, hashes: Mapping[Arm, str]) -> dict[Arm, list[Counter]]:
        """List the sound counters of both arms."""
        return {
            arm: [
                Counter({"__name__": metric, **self.where(arm, hash), **_label(text)}, each)
                for metric, by_label in self.counters.items()
                for text, each in by_label.items()
            ]
            for arm, hash in hashes.items()
        }


def _label(text: str) -> dict[str, str]:
    name, _, value = text.partition("=")
    return {name: value} if name else {}


@dataclass(frozen=True)
class Counter:
    """One counter's life in seconds after the beginning: from `born` until `gone`, or spoiled."""

    labels: Mapping[str, str]
    each: int
    born: int = 0
    gone: int | None = None
    reset: int | None = None
    spoiled: tuple[int, str] | None = None

    def samples(self, until: int) -> list[tuple[float, float | str]]:
        """What was scraped until then."""
        found: list[tuple[float, float | str]] = []
        last = until if self.gone is None else self.gone
        for second in range(self.born, last + 1, SCRAPE):
            began = self.reset if self.reset is not None and second >= self.reset else self.born
            value: float | str = self.each * ((second - began) // SCRAPE + 1)
            if self.spoiled is not None and second > self.spoiled[0]:
                value = self.spoiled[1]
            found.append((START.timestamp() + second, value))
        return found


BUCKETS = {"le=0.1": 80, "le=10": 99, "le=+Inf": 100}


def packed(
    pack: str, signal: str, where: _Labels, counters: Mapping[str, Mapping[str, int]]
) -> Any:
    """A row for a pack's signal."""
    spec = {"name": "seen", "pack": {"name": pack, "signal": signal}}
    row = Row("signal/seen", {"signals": [spec]}, where, counters)
    return pytest.param(row, id=f"{pack} {signal}")


def own(kind: str, spec: Mapping[str, Any], counters: Mapping[str, Mapping[str, int]]) -> Any:
    """A row for a signal of one's own series."""
    row = Row("signal/seen", {"signals": [{"name": "seen", **spec}]}, _pod, counters)
    return pytest.param(row, id=f"own {kind}")


def objective(part: str, counters: Mapping[str, Mapping[str, int]]) -> Any:
    """A row for an objective on delayed labels: how many answers turned out right, or wrong."""
    series = {part: {"metric": f"labels_{part}_total"}, "total": {"metric": "labels_total"}}
    objective = {"name": "quality", "target": "90", "series": series}
    row = Row("series/quality", {"objectives": [objective]}, _pod, counters)
    return pytest.param(row, id=f"labels, {part} of all")


def drift(what: str, profile: str, counters: Mapping[str, Mapping[str, int]], **spec: Any) -> Any:
    """A row for what the collector counts of predictions or inputs."""
    reference = {"configMap": {"name": profile}}
    name = f"input/{what}" if "inputs" in spec else "drift/predictions"
    row = Row(name, {"drift": {"reference": reference, **spec}}, _collector, counters)
    return pytest.param(row, id=f"drift of {what}")


PROFILES = {
    "numbers": build(
        [Column("amount", "number", [float(n % 100) for n in range(2000)])],
        Column("score", "number", [(n % 100) / 100 for n in range(2000)]),
    ),
    "names": build(
        [Column("country", "category", [("DE", "FR")[n % 2] for n in range(2000)])],
        Column("class", "category", [("legit", "fraud")[n % 2] for n in range(2000)]),
    ),
}
ENDED = {"finished_reason=stop": 90, "finished_reason=length": 9, "finished_reason=abort": 1}
ROWS = [
    packed(
        "envoy-gateway",
        "errors",
        _envoy,
        {
            "envoy_cluster_upstream_rq_xx": {
                "envoy_response_code_class=2": 99,
                "envoy_response_code_class=5": 1,
            }
        },
    ),
    packed("envoy-gateway", "latency", _envoy, {"envoy_cluster_upstream_rq_time_bucket": BUCKETS}),
    packed(
        "istio",
        "errors",
        _istio,
        {"istio_requests_total": {"response_code=200": 99, "response_code=503": 1}},
    ),
    packed("istio", "latency", _istio, {"istio_request_duration_milliseconds_bucket": BUCKETS}),
    packed(
        "knative",
        "errors",
        _pod,
        {
            "kn_serving_invocation_duration_seconds_count": {
                "http_response_status_code=200": 99,
                "http_response_status_code=502": 1,
            }
        },
    ),
    packed("knative", "latency", _pod, {"kn_serving_invocation_duration_seconds_bucket": BUCKETS}),
    packed(
        "knative-opencensus",
        "errors",
        _knative,
        {"revision_request_count": {"response_code=200": 99, "response_code=500": 1}},
    ),
    packed(
        "knative-opencensus", "latency", _knative, {"revision_request_latencies_bucket": BUCKETS}
    ),
    packed("kserve", "latency", _pod, {"request_predict_seconds_bucket": BUCKETS}),
    packed(
        "vllm", "time-to-first-token", _pod, {"vllm:time_to_first_token_seconds_bucket": BUCKETS}
    ),
    packed("vllm", "aborted", _pod, {"vllm:request_success_total": ENDED}),
    packed("vllm", "output-length", _pod, {"vllm:request_generation_tokens_bucket": BUCKETS}),
    packed("vllm", "finish-reason", _pod, {"vllm:request_success_total": ENDED}),
    own(
        "ratio",
        {"ratio": {"bad": {"metric": "failed_total"}, "total": {"metric": "answers_total"}}},
        {"failed_total": {"": 1}, "answers_total": {"": 100}},
    ),
    own(
        "histogram with a threshold",
        {"histogram": {"buckets": {"metric": "seconds_bucket"}}, "threshold": "10"},
        {"seconds_bucket": BUCKETS},
    ),
    own(
        "histogram, either way",
        {"histogram": {"buckets": {"metric": "size_bucket"}, "worse": "Either"}},
        {"size_bucket": BUCKETS},
    ),
    own(
        "categories",
        {"categories": {"counter": {"metric": "tongues_total"}, "label": "tongue"}},
        {"tongues_total": {"tongue=de": 60, "tongue=fr": 40}},
    ),
    objective("good", {"labels_good_total": {"": 99}, "labels_total": {"": 100}}),
    objective("bad", {"labels_bad_total": {"": 1}, "labels_total": {"": 100}}),
    drift("predictions", "numbers", {"headgate_prediction_bucket": BUCKETS}, predictions={}),
    drift(
        "predicted names",
        "names",
        {"headgate_prediction_category_total": {"category=legit": 60, "category=fraud": 40}},
        predictions={},
    ),
]


# The world in which a look would give the next weight


@dataclass
class Watched(MemoryMetrics):
    """The gateway's own counters from memory, everything else from the adapter under test."""

    prometheus: Prometheus | None = None

    def serve(self, seconds: float) -> None:
        """Let users send requests, and scrape now and then."""
        super().serve(seconds)
        if int((self.clock.at - START).total_seconds()) % SCRAPE:
            self.samples.pop()

    async def read(
        self, arms: Arms, sources: Sequence[SignalSource], since: datetime, now: datetime
    ) -> Sequence[Series]:
        """Ask whoever counts it."""
        known = [source for source in sources if source.name in BUILT_IN]
        others = [source for source in sources if source.name not in BUILT_IN]
        found = list(await super().read(arms, known, since, now))
        if others and self.prometheus:
            found += await self.prometheus.read(arms, others, since, now)
        return found

    def _drawn(self, requests: int, share: float) -> int:
        """Let exactly this share fail: chance is no part of this table."""
        return round(requests * share)

    async def units(self, *_: Any) -> Sequence[UnitSeries]:
        """Tell no units."""
        return ()

    def queries(self, arms: Arms, sources: Sequence[SignalSource]) -> dict[str, str]:
        """Tell what is asked."""
        others = [source for source in sources if source.name not in BUILT_IN]
        return dict(self.prometheus.queries(arms, others)) if self.prometheus else {}


@dataclass
class Base:
    """A canary that has earned its next weight but for the hold, which is over at the next look."""

    story: Story
    begun: dict[tuple[str, str, str], dict[str, Any]]
    """All objects while nothing was known of the row's signal."""
    earned: dict[tuple[str, str, str], dict[str, Any]]
    hashes: Mapping[Arm, str]
    began: int
    """When what is wrong begins, and when the next look is."""
    looks: int
    sound: Looked | None = None
    """What a look at sound data comes to."""


@dataclass
class Serving:
    """What the fake Prometheus does now."""

    server: PromServer = field(default_factory=PromServer)
    broken: frozenset[str] = frozenset()
    answer: Callable[[web.Request], Any] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer soundly, or with the fault for metrics that are broken."""
        metric = parse_selector(str((await request.post())["query"])).metric
        if metric not in self.broken or self.answer is None:
            return await self.server.handle(request)
        return await answering(self.answer)(request)


_BASES: dict[str, Base] = {}


@asynccontextmanager
async def asking(story: Story, store: Serving, patience: float = 5.0) -> AsyncIterator[None]:
    """Let the story's signals come from this store."""
    assert isinstance(story.metrics, Watched)
    async with serving(store.handle) as url:
        settings = PrometheusSettings(
            url,
            timeout=timedelta(seconds=patience),
            look_back=timedelta(seconds=2 * SCRAPE),
            gather=timedelta(0),
            largest_answer=100_000,
        )
        story.metrics.prometheus = Prometheus(settings, load_pack("envoy-gateway"))
        try:
            yield
        finally:
            await story.metrics.prometheus.close()
            story.metrics.prometheus = None


async def prepared(row: Row, sound: bool = True) -> Base:
    """Take a canary to the look at which it would get its next weight; made once for each row.

    Without `sound` the row's series were never there before that look.
    """
    key = repr(row)
    if key not in _BASES:
        _BASES[key] = await _prepare(row)
    base = _BASES[key]
    base.story.cluster.objects = copy.deepcopy(base.earned if sound else base.begun)
    return base


async def _prepare(row: Row) -> Base:
    story = Story(**OPTIONS)
    story.metrics = Watched(story.platform, story.clock, rate=500.0)
    for name, profile in PROFILES.items():
        metadata = {"name": name, "namespace": "models"}
        content = {"profile.json": render(profile)}
        story.cluster.put(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": content}
        )
    changes = {"rollout": ROLLOUT, **copy.deepcopy(dict(row.changes))}
    store = Serving()
    async with asking(story, store):
        story.commit("1", **changes)
        await story.until_phase("Stable")
        story.commit("2", **changes)
        await story.until_phase("Progressing")
        await story.run(timedelta(seconds=2 * SCRAPE))
        begun = copy.deepcopy(story.cluster.objects)
        hashes = {arm: str(story.status[arm.value]["hash"]) for arm in Arm}
        began = int((story.clock.at - START).total_seconds()) + 2 * SCRAPE
        store.server = stored(row.series(hashes), began)
        await story.run(timedelta(seconds=2 * SCRAPE))
    for _ in range(int(FAULT.total_seconds()) // 2):
        story.clock.at += timedelta(seconds=2)
        story.metrics.serve(2)
    earned = copy.deepcopy(story.cluster.objects)
    return Base(story, begun, earned, hashes, began, began + int(FAULT.total_seconds()))


def stored(series: Mapping[Arm, Sequence[Counter]], until: int) -> PromServer:
    """Return a store in which these counters were scraped."""
    server = PromServer()
    for counters in series.values():
        for counter in counters:
            server.add(counter.labels, counter.samples(until))
    return server


@dataclass(frozen=True)
class Looked:
    """What one look came to."""

    weight: int | None
    phase: str
    verdict: str
    reason: str
    message: str
    signals: Mapping[str, Mapping[str, Any]]


async def look(base: Base, store: Serving, patience: float = 5.0) -> Looked:
    """Run the pass at which the hold is over."""
    async with asking(base.story, store, patience):
        await base.story.once()
    status = base.story.status
    record = base.story.cluster.all("ModelRollout")[-1]["status"]
    decision = record["decision"]
    return Looked(
        weight=(status.get("canary") or {}).get("weight"),
        phase=status["phase"],
        verdict=decision["verdict"],
        reason=decision["reason"],
        message=decision["message"],
        signals={one["name"]: one for one in record["signals"]},
    )


async def sound_look(row: Row) -> Looked:
    """Look while nothing is wrong; done once for each row."""
    base = await prepared(row)
    if base.sound is None:
        base.sound = await look(base, Serving(stored(row.series(base.hashes), base.looks)))
    return base.sound


def held(seen: Looked) -> None:
    """Nothing moved, and nothing was decided."""
    assert (seen.phase, seen.weight, seen.verdict) == ("Progressing", 10, "Inconclusive")


# The table


@pytest.mark.parametrize("row", ROWS)
async def test_without_a_fault_the_weight_is_earned(row: Row) -> None:
    """The table is not empty talk: at this very look, sound data give the next weight."""
    seen = await sound_look(row)
    assert (seen.phase, seen.weight, seen.verdict) == ("Progressing", 50, "Pass")
    assert int(seen.signals[row.name]["canary"]["requests"]) > 0


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("answer", "expected"), SOURCE_FAULTS)
async def test_a_source_that_fails(
    row: Row, answer: Callable[[web.Request], Any], expected: str
) -> None:
    """Whichever of its queries is not answered, the weight stays and the reason names query and
    fault."""
    late = answer in (hang, drip)
    for metric in row.counters:
        base = await prepared(row)
        store = Serving(stored(row.series(base.hashes), base.looks), frozenset({metric}), answer)
        seen = await look(base, store, PATIENCE if late else 5.0)
        held(seen)
        assert seen.reason == "MetricsUnavailable"
        assert any(f"{asked}{{" in seen.message for asked in row.counters)
        assert expected in seen.message


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("NaN", "a counter is not a number", id="NaN"),
        pytest.param("+Inf", "a counter cannot be +Inf", id="Inf"),
    ],
)
async def test_counters_that_are_none(row: Row, value: str, expected: str) -> None:
    """Values that no counter has are neither good nor bad: the source is unavailable."""
    for arms in ARMS:
        base = await prepared(row)
        spoiled = (base.began, value)
        series = changed(row, base, arms, lambda one, at=spoiled: [replace(one, spoiled=at)])
        seen = await look(base, Serving(stored(series, base.looks)))
        held(seen)
        assert seen.reason == "MetricsUnavailable"
        assert any(f"{asked}{{" in seen.message for asked in row.counters)
        assert expected in seen.message


@pytest.mark.parametrize("row", ROWS)
async def test_a_duplicate(row: Row) -> None:
    """Counters that two jobs scrape are not counted twice: the source is unavailable."""

    def twice(one: Counter) -> list[Counter]:
        return [one, replace(one, labels={**one.labels, "job": "another"})]

    for arms in ARMS:
        base = await prepared(row)
        seen = await look(base, Serving(stored(changed(row, base, arms, twice), base.looks)))
        held(seen)
        assert seen.reason == "MetricsUnavailable"
        assert "one counter is there twice" in seen.message
        assert any(f"{asked}{{" in seen.message for asked in row.counters)


@pytest.mark.parametrize("row", ROWS)
async def test_no_series(row: Row) -> None:
    """What nobody counts on an arm earns nothing; the signal and its query are named."""
    for arms in ARMS:
        base = await prepared(row, sound=False)
        seen = await look(base, Serving(stored(changed(row, base, arms, lambda _: []), base.looks)))
        held(seen)
        assert seen.reason == "SignalMissing"
        assert seen.message.startswith(f"{row.name}: no series of {' and '.join(arms)}")
        assert all(f"{asked}{{" in seen.signals[row.name]["query"] for asked in row.counters)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("gone", [True, False], ids=["no series any more", "stale"])
async def test_an_arm_that_fell_silent(row: Row, gone: bool) -> None:
    """What was earned is not enough once the signal's samples of an arm are old."""
    for arms in ARMS:
        base = await prepared(row)
        ended = base.began

        def silent(one: Counter, at: int = ended) -> list[Counter]:
            return [] if gone else [replace(one, gone=at)]

        seen = await look(base, Serving(stored(changed(row, base, arms, silent), base.looks)))
        held(seen)
        assert seen.reason == "EvidenceStale"
        assert row.name in seen.message
        assert arms[0] in seen.message
        assert all(f"{asked}{{" in seen.signals[row.name]["query"] for asked in row.counters)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("event", ["a reset", "a new instance", "a vanished instance"])
async def test_sound_data(row: Row, event: str) -> None:
    """A restart, a process that is new or that left makes nothing up: no breach, no request more
    than there were, and none of them worse."""
    sound = await sound_look(row)
    for arms in ARMS:
        base = await prepared(row)
        middle = base.began + SCRAPE

        def happened(one: Counter, at: int = middle) -> list[Counter]:
            instance = one.labels["instance"]
            second = replace(one, labels={**one.labels, "instance": f"{instance}-2"})
            if event == "a reset":
                return [replace(one, reset=at)]
            if event == "a new instance":
                return [one, replace(second, born=at)]
            return [one, replace(second, gone=at)]

        seen = await look(base, Serving(stored(changed(row, base, arms, happened), base.looks)))
        assert seen.phase == "Progressing"
        assert seen.verdict != "Breach"
        for arm in Arm:
            truth, found = (one.signals[row.name][arm.value] for one in (sound, seen))
            most = 2 if arm in arms and event != "a reset" else 1
            assert 0 < int(found["requests"]) <= most * int(truth["requests"])
            share = int(truth["bad"]) / int(truth["requests"])
            assert int(found["bad"]) <= 1.01 * share * int(found["requests"])


def changed(
    row: Row, base: Base, arms: tuple[Arm, ...], change: Callable[[Counter], list[Counter]]
) -> dict[Arm, list[Counter]]:
    """The row's counters with a change to those of some arms."""
    return {
        arm: [new for one in counters for new in (change(one) if arm in arms else [one])]
        for arm, counters in row.series(base.hashes).items()
    }
