"""Metric packs: what we ship can be read, and means what the sources count."""

from __future__ import annotations

import runpy
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.promserver import PromServer
from tests.adapters.servers import serving

from headgate.adapters.packs import ArmLabel, Errors, load_pack, pack_names, parse_pack
from headgate.adapters.prometheus import Prometheus
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.adapters.prometheus_sources import MOST_POINTS
from headgate.core.counters import Arm
from headgate.ports import Arms, SignalSource

NAMES = pack_names()
SAMPLES = Path(__file__).parent / "samples"
ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SINCE = NOW - timedelta(seconds=60)
ARMS = Arms("models", "fraud", 0, 1, "fraud", "0a1b2c3d", "99999999")
POD = "fraud-0a1b2c3d-predictor-00001-deployment-658fd4f9cf-qcnr5"
SCRAPED = {"instance": "10.0.0.7:9090", "job": "models", "namespace": "models", "pod": POD}


@asynccontextmanager
async def scraped(pack: str) -> AsyncIterator[Prometheus]:
    """Give an adapter for a store that scraped this pack's sample twice from one target."""
    server = PromServer()
    text = (SAMPLES / f"{pack}.prom").read_text()
    for seconds in (30, 15):
        server.scrape(text, NOW.timestamp() - seconds, **SCRAPED)
    async with serving(server.handle) as url:
        prometheus = Prometheus(PrometheusSettings(url), load_pack(pack))
        try:
            yield prometheus
        finally:
            await prometheus.close()


def source(signal: str, feature: str | None = None) -> SignalSource:
    """Name a signal of the pack in use."""
    matchers = {"feature": feature} if feature else {}
    return SignalSource("seen", pack_signal=signal, matchers=matchers)


@pytest.mark.parametrize("name", NAMES)
def test_every_pack_that_we_ship_is_whole(name: str) -> None:
    """A shipped pack is read under its own name and tells arms, processes and bad from good."""
    pack = load_pack(name)
    assert pack.name == name
    assert pack.instance
    assert pack.arm.names(ARMS).keys() == {
        pack.arm.of("models", "fraud", 0, "fraud", "0a1b2c3d"),
        pack.arm.of("models", "fraud", 1, "fraud", "99999999"),
    }
    for signal in pack.signals.values():
        assert signal.text
        assert signal.types.keys() == {read.measure.metric for read in signal.reads}
        for read in signal.reads:
            if isinstance(read.measure, Errors):
                assert set(read.measure.outcomes.values()) == {"good", "bad"}
                assert signal.bad


def test_the_names_of_signals_are_these() -> None:
    """Names of packs and signals are an interface: people write them into their objects."""
    assert {name: list(load_pack(name).signals) for name in NAMES} == {
        "envoy-gateway": ["errors", "latency"],
        "headgate-collector": [
            "predictions",
            "prediction-categories",
            "inputs",
            "input-categories",
            "input-missing",
        ],
        "istio": ["errors", "latency"],
        "knative": ["errors", "latency"],
        "knative-opencensus": ["errors", "latency"],
        "kserve": ["latency", "preprocess-latency", "postprocess-latency"],
        "vllm": [
            "latency",
            "time-to-first-token",
            "inter-token-latency",
            "aborted",
            "output-length",
            "finish-reason",
        ],
    }


def test_the_page_says_what_the_packs_say() -> None:
    """docs/packs.md is what docs/packs.py prints, word for word."""
    written = runpy.run_path(str(ROOT / "docs" / "packs.py"))["render"]()
    assert (ROOT / "docs" / "packs.md").read_text() == written


@pytest.mark.parametrize(
    ("pack", "signal", "expected"),
    [
        pytest.param("envoy-gateway", "errors", {"good": 3, "bad": 7}, id="Envoy, errors"),
        pytest.param(
            "envoy-gateway",
            "latency",
            {"0.0005": 1, "0.001": 2, "0.005": 4, "0.01": 5, "1": 5, "3600": 5, "+Inf": 5},
            id="Envoy, latency: what it answered itself is not there",
        ),
        pytest.param("istio", "errors", {"good": 94, "bad": 6}, id="Istio, errors"),
        pytest.param("istio", "latency", {"0.025": 60, "1": 89, "+Inf": 90}, id="Istio, latency"),
        pytest.param("knative", "errors", {"good": 40, "bad": 3}, id="Knative, errors"),
        pytest.param(
            "knative", "latency", {"0.025": 32, "0.5": 41, "+Inf": 43}, id="Knative, latency"
        ),
        pytest.param(
            "knative-opencensus", "errors", {"good": 50, "bad": 4}, id="old Knative, errors"
        ),
        pytest.param(
            "knative-opencensus", "latency", {"0.05": 48, "+Inf": 50}, id="old Knative, latency"
        ),
        pytest.param(
            "kserve", "latency", {"0.005": 4, "0.025": 9, "0.5": 10, "+Inf": 10}, id="KServe"
        ),
        pytest.param("vllm", "aborted", {"good": 7, "bad": 1}, id="vLLM, aborted"),
        pytest.param(
            "vllm",
            "finish-reason",
            {"stop": 5, "length": 2, "abort": 1, "error": 0, "repetition": 0},
            id="vLLM, finish reason",
        ),
        pytest.param(
            "vllm", "time-to-first-token", {"0.04": 6, "0.25": 8, "+Inf": 8}, id="vLLM, first token"
        ),
        pytest.param(
            "vllm", "inter-token-latency", {"0.025": 300, "+Inf": 312}, id="vLLM, between tokens"
        ),
        pytest.param("vllm", "latency", {"0.5": 5, "2": 8, "+Inf": 8}, id="vLLM, end to end"),
        pytest.param(
            "vllm", "output-length", {"20": 3, "50": 7, "+Inf": 8}, id="vLLM, output length"
        ),
        pytest.param(
            "headgate-collector", "predictions", {"0.5": 8, "+Inf": 10}, id="collector, predictions"
        ),
        pytest.param(
            "headgate-collector",
            "prediction-categories",
            {"fraud": 2, "legit": 8},
            id="collector, predicted categories",
        ),
    ],
)
async def test_what_a_source_counts(pack: str, signal: str, expected: Mapping[str, int]) -> None:
    """Samples of each source, taken where the truth is known, come out as the truth."""
    async with scraped(pack) as prometheus:
        found = await prometheus.read(ARMS, [source(signal)], SINCE, NOW)
    assert {(one.signal, one.arm) for one in found} == {("seen", Arm.STABLE)}
    assert all(len(one.points) == 2 for one in found)
    counts: Counter[str] = Counter()
    for one in found:
        counts[one.outcome] += int(one.points[-1].value)
    assert {outcome: counts[outcome] for outcome in expected} == expected
    if "+Inf" not in expected:
        assert counts.keys() == expected.keys()


@pytest.mark.parametrize(
    ("signal", "feature", "expected"),
    [
        pytest.param("inputs", "amount_eur", {"-1.5": 1, "10": 7, "+Inf": 9}, id="below zero too"),
        pytest.param("inputs", "age", {"30": 8, "+Inf": 10}, id="another feature"),
        pytest.param("input-missing", "amount_eur", {"missing": 1}, id="missing"),
        pytest.param("input-categories", "country", {"DE": 6, "other": 4}, id="categories"),
        pytest.param("inputs", "no such", {}, id="nothing of an unknown feature"),
    ],
)
async def test_features(signal: str, feature: str, expected: Mapping[str, int]) -> None:
    """The collector's inputs are read one feature each."""
    async with scraped("headgate-collector") as prometheus:
        found = await prometheus.read(ARMS, [source(signal, feature)], SINCE, NOW)
    assert {one.outcome: one.points[-1].value for one in found} == expected


async def test_a_feature_must_be_named() -> None:
    """Bins of several features would add up to nonsense."""
    async with scraped("headgate-collector") as prometheus:
        with pytest.raises(ValueError, match="signal inputs needs one value of feature"):
            await prometheus.read(ARMS, [source("inputs")], SINCE, NOW)


async def test_all_features_travel_together() -> None:
    """Questions that differ in the feature only are one query."""
    server = PromServer()
    server.scrape((SAMPLES / "headgate-collector.prom").read_text(), NOW.timestamp(), **SCRAPED)
    sources = [source("inputs", "age"), source("inputs", "amount_eur")]
    async with serving(server.handle) as url:
        prometheus = Prometheus(PrometheusSettings(url), load_pack("headgate-collector"))
        found = await prometheus.read(ARMS, sources, SINCE, NOW)
        await prometheus.close()
    assert [one.outcome for one in found] == ["+Inf", "30", "+Inf", "-1.5", "10"]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("pack", "signal", "expected"),
    [
        pytest.param(
            "envoy-gateway",
            "errors",
            {
                ("127.0.0.1:29779", "good"): 3,
                ("127.0.0.1:29779", "bad"): 2,
                ("127.0.0.1:29780", "good"): 0,
                ("127.0.0.1:29780", "bad"): 5,
            },
            id="Envoy: requests without a connection count as well",
        ),
        pytest.param("envoy-gateway", "latency", {}, id="Envoy has no histogram by endpoint"),
        pytest.param("istio", "errors", {}, id="Istio counts no units"),
        pytest.param("knative", "errors", {(POD, "good"): 40, (POD, "bad"): 3}, id="Knative"),
        pytest.param("vllm", "aborted", {(POD, "good"): 7, (POD, "bad"): 1}, id="vLLM"),
    ],
)
async def test_units(pack: str, signal: str, expected: Mapping[tuple[str, str], int]) -> None:
    """Units are the pods or endpoints of stable, each with its own counters."""
    async with scraped(pack) as prometheus:
        step = timedelta(seconds=15)
        found = await prometheus.units(ARMS, source(signal), SINCE, NOW, step)
    counts: Counter[tuple[str, str]] = Counter()
    for one in found:
        counts[one.unit, one.outcome] += int(one.points[-1].value)
    assert counts == expected
    assert len(counts) == len(expected)


def test_an_arm_is_named_as_the_gateway_names_it() -> None:
    """Envoy Gateway names a backend's cluster by route and list position."""
    pack = load_pack("envoy-gateway")
    assert pack.arm.of("models", "fraud", 1) == "httproute/models/fraud/rule/0/backend/1"


@pytest.mark.parametrize(
    ("template", "arms", "expected"),
    [
        pytest.param("x/{position}", ARMS, {"x/0": "stable", "x/1": "canary"}, id="position"),
        pytest.param("{hash}", Arms("n", "r", 0, 1), {}, id="no hash is known"),
        pytest.param("{position}", Arms("n", "r", None, 3), {"3": "canary"}, id="one position"),
        pytest.param("{position}", Arms("n", "r", 2, 2), {}, id="both alike"),
        pytest.param(
            "{revision}-*",
            Arms("n", "r", None, None, "fraud", None, "aa"),
            {"fraud-aa-*": "canary"},
            id="a revision by its hash",
        ),
    ],
)
def test_arms_that_can_be_told(template: str, arms: Arms, expected: Mapping[str, str]) -> None:
    """An arm of which the template needs what is not known is not asked for."""
    assert ArmLabel("label", template).names(arms) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("250", "0.25", id="whole"),
        pytest.param("250.0", "0.25", id="as Prometheus 3 writes it"),
        pytest.param("0.5", "0.0005", id="below one"),
        pytest.param("1000", "1", id="one second"),
        pytest.param("3.6e+06", "3600", id="with an exponent"),
        pytest.param("-0", "0", id="zero below zero"),
        pytest.param("+Inf", "+Inf", id="the last one"),
    ],
)
def test_a_bound_is_told_in_seconds(text: str, expected: str) -> None:
    """One bound has one text, however the source writes it."""
    latency = load_pack("envoy-gateway").latency
    assert latency is not None
    assert latency.outcome(text) == expected


@pytest.mark.parametrize("text", ["", "x", "NaN", "-5", "-Inf"])
def test_a_bound_that_is_none(text: str) -> None:
    """What is no upper bound is an error, not a bucket."""
    latency = load_pack("envoy-gateway").latency
    assert latency is not None
    with pytest.raises(ValueError, match="not a bucket's upper bound"):
        latency.outcome(text)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *(("200", "good"), ("404", "good"), ("500", "bad"), ("599", "bad"), ("5xx", "bad")),
        *(("0", None), ("5", None), ("", None), ("٥٠٠", None), ("2000", None)),
    ],
)
def test_codes_by_class(code: str, expected: str | None) -> None:
    """A class takes codes of three digits; what is no answer counts as nothing."""
    errors = load_pack("istio").errors
    assert errors is not None
    assert errors.outcome(code) == expected


@pytest.mark.parametrize("name", ["nowhere", "../packs/envoy-gateway", ""])
def test_an_unknown_pack(name: str) -> None:
    """The error says which packs there are; a name is never a path."""
    with pytest.raises(ValueError, match=r"there are: .*envoy-gateway"):
        load_pack(name)


def test_an_unknown_signal() -> None:
    """The error says which signals the pack has."""
    with pytest.raises(ValueError, match="kserve has no signal 'errors'; there are: latency"):
        load_pack("kserve").signal("errors")


def test_a_ratio_of_two_metrics() -> None:
    """A pack may count the bad and all in two metrics, each with labels of its own."""
    document: dict[str, Any] = {
        "name": "x",
        "title": "X",
        "text": "x",
        "arm": {"label": "a", "value": "{hash}"},
        "instance": ["instance"],
        "signals": {
            "errors": {
                "kind": "ratio",
                "text": "x",
                "matchers": {"side": "server"},
                "bad": {"metric": "failed_total", "matchers": {"why": "model"}},
                "total": {"metric": "asked_total"},
            }
        },
    }
    pack = parse_pack(document)
    reads = pack.signal("errors").reads
    assert [(r.measure.metric, r.measure.outcome("any"), r.matchers) for r in reads] == [
        ("failed_total", "bad", {"side": "server", "why": "model"}),
        ("asked_total", "total", {"side": "server"}),
    ]
    assert pack.errors is None


def test_the_limit_of_range_queries_is_prometheus_s() -> None:
    """Prometheus refuses more than 11,000 points of a series."""
    assert MOST_POINTS == 11_000
