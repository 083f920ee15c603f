"""Signals of people's own: what may be named, what is added, and that text stays text."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.promserver import PromServer, parse_selector
from tests.adapters.servers import serving

from headgate.adapters.packs import load_pack, pack_names
from headgate.adapters.prometheus import Prometheus
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.adapters.prometheus_query import render_query
from headgate.adapters.prometheus_sources import Period, resolve, wanted
from headgate.core.counters import Arm, Series
from headgate.ports import Arms, MetricsUnavailable, Selector, SignalSource, check_type

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SINCE = NOW - timedelta(seconds=60)
ARMS = Arms("models", "fraud", 0, 1, "fraud", "aaaaaaaa", "bbbbbbbb")
POD = "fraud-{hash}-predictor-7c9-x"
OWN = {"arm_label": "pod", "arm_value": "{revision}-predictor-*"}
RATIO = {"bad": Selector("bad_total"), "total": Selector("all_total"), **OWN}
STABLE_POD, CANARY_POD = POD.format(hash="aaaaaaaa"), POD.format(hash="bbbbbbbb")


CODES = ("200", "404", "4.4", "500", "503", "5xx", "50", "5000")


def own(**fields: Any) -> SignalSource:
    """Return a signal of somebody's own series."""
    return SignalSource("signal/x", **{**OWN, **fields})


@asynccontextmanager
async def reading(server: PromServer, **options: Any) -> AsyncIterator[Prometheus]:
    """Give an adapter that reads from this store."""
    async with serving(server.handle) as url:
        prometheus = Prometheus(PrometheusSettings(url, **options), load_pack("envoy-gateway"))
        try:
            yield prometheus
        finally:
            await prometheus.close()


async def read(server: PromServer, source: SignalSource, **options: Any) -> list[Series]:
    """Read one signal once."""
    async with reading(server, **options) as prometheus:
        return list(await prometheus.read(ARMS, [source], SINCE, NOW))


def stored(*series: Mapping[str, Any]) -> PromServer:
    """Return a store with these series, each with one sample of its `value`."""
    server = PromServer()
    for one in series:
        labels = {"instance": "10.0.0.9:8080", "pod": CANARY_POD, **one}
        value = labels.pop("value")
        server.add(labels, [(NOW.timestamp() - 5, value)])
    return server


class TestRead:
    """Series of one's own become a signal, arm by arm."""

    async def test_ratio(self) -> None:
        """Bad and total are two metrics; the outcome says which is which."""
        server = stored(
            {"__name__": "bad_total", "value": 3},
            {"__name__": "all_total", "value": 90},
            {"__name__": "all_total", "pod": STABLE_POD, "value": 900},
            {"__name__": "all_total", "pod": "fraud-cccccccc-predictor-1", "value": 7},
        )
        found = await read(server, SignalSource("signal/x", **RATIO))
        assert [(s.signal, s.arm, s.outcome, s.points[0].value) for s in found] == [
            ("signal/x", Arm.CANARY, "bad", 3),
            ("signal/x", Arm.CANARY, "total", 90),
            ("signal/x", Arm.STABLE, "total", 900),
        ]

    async def test_one_metric_twice(self) -> None:
        """The bad may be a part of the total's own metric."""
        server = stored(
            {"__name__": "asked_total", "code": "500", "value": 3},
            {"__name__": "asked_total", "code": "200", "value": 90},
        )
        bad, total = Selector("asked_total", {"code": "500"}), Selector("asked_total")
        found = await read(server, own(bad=bad, total=total))
        assert [(s.outcome, s.key, s.points[0].value) for s in found] == [
            ("bad", 'code="500"', 3),
            ("total", 'code="200"', 90),
            ("total", 'code="500"', 3),
        ]

    async def test_histogram(self) -> None:
        """Bounds are multiplied by the unit; further labels keep series apart."""
        name = "work_seconds_bucket"
        server = stored(
            {"__name__": name, "le": "250", "path": "/a", "value": 1},
            {"__name__": name, "le": "+Inf", "path": "/a", "value": 2},
            {"__name__": name, "le": "+Inf", "path": "/b", "value": 5},
        )
        found = await read(server, own(histogram=Selector(name), unit=Decimal("0.001")))
        assert [(s.outcome, s.key) for s in found] == [
            ("+Inf", '+Inf,path="/a"'),
            ("+Inf", '+Inf,path="/b"'),
            ("0.25", '250,path="/a"'),
        ]

    async def test_categories(self) -> None:
        """Each value of the label is an outcome."""
        server = stored(
            {"__name__": "said_total", "word": "yes", "value": 1},
            {"__name__": "said_total", "word": "no", "value": 2},
        )
        found = await read(server, own(categories=Selector("said_total"), category_label="word"))
        assert {s.outcome: s.points[0].value for s in found} == {"yes": 1, "no": 2}

    @pytest.mark.parametrize("label", ["job", "service", "prometheus_replica"])
    async def test_scraped_twice(self, label: str) -> None:
        """What differs only in how it was scraped is one counter that is there twice."""
        name = "all_total"
        server = stored(
            {"__name__": name, label: "a", "value": 1}, {"__name__": name, label: "b", "value": 1}
        )
        with pytest.raises(MetricsUnavailable, match=r"all_total\{.*one counter is there twice"):
            await read(server, SignalSource("signal/x", **RATIO))

    async def test_category_label_missing(self) -> None:
        """Series without the label that names the category are no categories."""
        server = stored({"__name__": "said_total", "value": 1})
        with pytest.raises(MetricsUnavailable, match="wanted labels word and instance"):
            await read(server, own(categories=Selector("said_total"), category_label="word"))

    async def test_ours_wins(self) -> None:
        """Nobody reads another arm, namespace or cluster by naming it in a matcher."""
        matchers = {"pod": "victim", "namespace": "theirs", "cluster": "other", "code": "500"}
        source = own(
            bad=Selector("bad_total", matchers),
            total=Selector("all_total"),
            matchers=matchers,
            scope={"namespace": "{namespace}"},
        )
        server = PromServer()
        await read(server, source, matchers={"cluster": "ours"})
        names = "fraud-aaaaaaaa-predictor-.*|fraud-bbbbbbbb-predictor-.*"
        expected = {
            ("pod", "=~", names),
            ("namespace", "=~", "models"),
            ("code", "=", "500"),
            ("cluster", "=", "ours"),
        }
        assert [set(parse_selector(form["query"]).matchers) for _, form in server.asked] == [
            expected
        ] * 2

    async def test_another_tenant(self) -> None:
        """Series of the same names in another namespace are not seen."""
        name = "all_total"
        server = stored(
            {"__name__": name, "namespace": "models", "value": 1},
            {"__name__": name, "namespace": "other", "value": 2},
        )
        source = SignalSource("signal/x", **RATIO, scope={"namespace": "{namespace}"})
        assert [s.points[0].value for s in await read(server, source)] == [1]

    async def test_own_arm_of_a_pack(self) -> None:
        """A pack's signal may be told apart by another label than the pack's."""
        server = stored(
            {"__name__": "request_predict_seconds_bucket", "le": "+Inf", "value": 4}
            | {"namespace": "models", "version": "bbbbbbbb"}
        )
        source = SignalSource(
            "latency", "kserve", "latency", arm_label="version", arm_value="{hash}"
        )
        found = await read(server, source)
        assert [(s.arm, s.points[0].value) for s in found] == [(Arm.CANARY, 4)]

    async def test_units(self) -> None:
        """Each pod of stable is a unit of its own."""
        server = stored(
            {"__name__": "all_total", "pod": STABLE_POD + "1", "value": 5},
            {"__name__": "all_total", "pod": STABLE_POD + "2", "value": 6},
            {"__name__": "all_total", "value": 7},
        )
        source, step = SignalSource("signal/x", **RATIO), timedelta(seconds=5)
        async with reading(server) as prometheus:
            found = await prometheus.units(ARMS, source, SINCE, NOW, step)
        assert [(u.unit, u.outcome, u.points[-1].value) for u in found] == [
            (STABLE_POD + "1", "total", 5),
            (STABLE_POD + "2", "total", 6),
        ]

    async def test_any_of_several_values(self) -> None:
        """A label may have any of the texts that are named; a class of numbers is itself too."""
        server = stored(
            *({"__name__": "all_total", "code": code, "value": 1} for code in CODES),
            *({"__name__": "bad_total", "code": code, "value": 1} for code in CODES),
        )
        bad = Selector("bad_total", any_of={"code": ("5xx", "4.4"), "pod": ("elsewhere",)})
        found = await read(server, own(bad=bad, total=Selector("all_total")))

        told = [one.key for one in found if one.outcome == "bad"]
        assert told == ['code="4.4"', 'code="500"', 'code="503"', 'code="5xx"']
        asked = [form["query"] for _, form in server.asked if form["query"].startswith("bad")]
        assert [query.count("elsewhere") for query in asked] == [0]

    async def test_scope_that_is_not_known(self) -> None:
        """Without what keeps to one tenant nothing is asked."""
        source = SignalSource("signal/x", **RATIO, scope={"d": "{deployment}"}, instance=("i",))
        arms = Arms("models", "fraud", 0, 1)
        told = SignalSource("signal/x", **{**RATIO, "arm_value": "{position}"}, scope=source.scope)
        async with reading(PromServer()) as prometheus:
            assert await prometheus.read(arms, [source], SINCE, NOW) == []
            with pytest.raises(ValueError, match="scope: d needs more"):
                await prometheus.read(arms, [told], SINCE, NOW)


TEXT = st.text(max_size=12) | st.text(alphabet='\\"{}|.*+?()[]^$,=~\n\r\x00 a�', max_size=12)
LABEL = st.from_regex(r"\A[a-zA-Z][a-zA-Z0-9_]{0,5}\Z").filter(lambda text: text != "l")


class TestEscaping:
    """No text of anybody breaks out of its matcher, as an independent parser reads it."""

    @given(value=TEXT, other=TEXT, matchers=st.dictionaries(LABEL, TEXT, max_size=3))
    def test_text_stays_text(self, value: str, other: str, matchers: dict[str, str]) -> None:
        """The query has exactly the matchers that were meant, and selects exactly the text."""
        name = value.rstrip("*")
        query = render_query("m", "l", [name], matchers, 60, {"s": [value]})
        selected = parse_selector(query)
        assert selected.metric == "m"
        assert [(label, operator) for label, operator, _ in selected.matchers] == [
            ("l", "=~"),
            ("s", "=~"),
            *((label, "=") for label in matchers),
        ]
        labels = {**matchers, "__name__": "m", "l": name, "s": value}
        if "s" not in matchers or matchers["s"] == value:
            assert selected.takes(labels)
        assert selected.takes({**labels, "l": other}) <= (other == name)
        assert selected.takes({**labels, "s": other}) <= (other == value)
        assert query.isprintable()

    @given(prefix=TEXT, rest=TEXT)
    def test_prefix(self, prefix: str, rest: str) -> None:
        """A star at the end takes whatever follows the text before it, which stays text."""
        selected = parse_selector(render_query("m", "l", [prefix + "*"], {}, None))
        assert selected.takes({"__name__": "m", "l": prefix + rest})
        assert selected.takes({"__name__": "m", "l": rest}) == rest.startswith(prefix)

    @given(
        metric=TEXT,
        label=TEXT,
        value=st.text(st.characters(exclude_categories=[]), max_size=8),
        arm_label=TEXT | st.just("pod"),
        arm_value=TEXT.map(lambda text: text + "{hash}"),
    )
    def test_whatever_is_accepted(
        self, metric: str, label: str, value: str, arm_label: str, arm_value: str
    ) -> None:
        """A source is refused by ValueError, or its query is one selector of its metric."""
        try:
            source = SignalSource(
                "x",
                categories=Selector(metric, {label: value}),
                category_label="c",
                arm_label=arm_label,
                arm_value=arm_value,
            )
        except ValueError:
            return
        resolved = resolve(source, load_pack("envoy-gateway"))
        names = resolved.arm.names(ARMS)
        for one in wanted(resolved, resolved.signal.reads, names, ARMS, Period(NOW, 60), {}):
            assert parse_selector(one.question.query).metric == metric


class TestRefused:
    """What can never be read is refused where it is written, by the name of the field."""

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            pytest.param({}, "wanted one of pack_signal", id="nothing to read"),
            pytest.param({"pack": "vllm"}, "wanted one of pack_signal", id="a pack alone"),
            pytest.param(
                {"pack": "vllm", "histogram": Selector("a_bucket"), **OWN},
                "pack_signal: wanted",
                id="a pack beside series of one's own",
            ),
            pytest.param(
                {"bad": Selector("a"), **OWN}, "total: wanted with", id="bad without total"
            ),
            pytest.param(
                {**RATIO, "histogram": Selector("a_bucket")}, "wanted one of", id="two kinds"
            ),
            pytest.param(
                {"histogram": Selector("seconds"), **OWN}, "wanted …_bucket", id="no buckets"
            ),
            pytest.param({"categories": Selector("a"), **OWN}, "category_label", id="no category"),
            pytest.param({**RATIO, "category_label": "c"}, "category_label", id="odd category"),
            pytest.param(
                {"bad": Selector("a"), "total": Selector("b")}, "arm_label: wanted", id="no arm"
            ),
            pytest.param({**RATIO, "arm_value": ""}, "wanted both or none", id="half an arm"),
            pytest.param(
                {**RATIO, "arm_value": "{namespace}"}, "to tell the arms apart", id="one arm"
            ),
            pytest.param({**RATIO, "arm_value": "{hash}{x}"}, "a field that is", id="odd field"),
            pytest.param(
                {**RATIO, "arm_value": "{hash}{hash.__class__}"}, "a field", id="a way into Python"
            ),
            pytest.param({**RATIO, "arm_value": "{hash}{"}, "a field", id="odd brace"),
            pytest.param({**RATIO, "arm_label": 'a"b'}, "not a label name", id="odd arm label"),
            pytest.param({**RATIO, "instance": ("a b",)}, "not a label name", id="odd instance"),
            pytest.param({**RATIO, "instance": ()}, "instance: wanted", id="no instance"),
            pytest.param({**RATIO, "unit": Decimal(0)}, "unit: wanted", id="no unit"),
            pytest.param({**RATIO, "unit": Decimal("NaN")}, "unit: wanted", id="unit is NaN"),
            pytest.param({**RATIO, "matchers": {"a=": ""}}, "matchers: 'a='", id="odd matcher"),
            pytest.param(
                {**RATIO, "matchers": {"__name__": "x"}}, "not a label name", id="another metric"
            ),
            pytest.param({**RATIO, "scope": {"n": "{x}"}}, "scope: '{x}'", id="odd scope"),
            pytest.param({**RATIO, "name": ""}, "name: wanted", id="no name"),
        ],
    )
    def test_source(self, fields: dict[str, Any], expected: str) -> None:
        """The error names the field."""
        with pytest.raises(ValueError, match=expected):
            SignalSource(**{"name": "signal/x", **fields})

    @pytest.mark.parametrize(
        ("metric", "matchers"),
        [
            ("", {}),
            ("a-b", {}),
            ("a{b", {}),
            ("a\n", {}),
            ("1a", {}),
            ("rate(a[5m])", {}),
            ("a", {"b-c": ""}),
            ("a", {"b\n": ""}),
            ("a", {"b": "\ud800"}),
        ],
    )
    def test_selector(self, metric: str, matchers: dict[str, str]) -> None:
        """Names are names, and values are text that can be sent."""
        with pytest.raises(ValueError, match=r"not a (metric|label) name|not text"):
            Selector(metric, matchers)

    @pytest.mark.parametrize(
        ("metric", "type", "expected"),
        [
            pytest.param("a_total", "counter", None, id="a counter"),
            pytest.param("a_total", None, None, id="not exposed yet"),
            pytest.param("a_total", "unknown", None, id="type not known"),
            pytest.param("vllm:request_success_total", "counter", None, id="a colon is no record"),
            pytest.param("a_bucket", "histogram", None, id="buckets"),
            pytest.param("a_count", "summary", None, id="the count of a summary"),
            pytest.param("a", "gauge", "wanted a raw counter, found a gauge", id="a gauge"),
            pytest.param("a", "summary", "found a summary", id="quantiles"),
            pytest.param("a", "histogram", "found a histogram", id="not the buckets"),
            pytest.param("a_count", "gauge", "found a gauge", id="a gauge that is named a count"),
            pytest.param("a_bucket", "counter", None, id="buckets that are declared as counters"),
            pytest.param("a_bucket", "gauge", "wanted the buckets of a hist", id="no histogram's"),
            pytest.param("job:a:rate5m", None, "a recorded rate", id="a recorded rate"),
            pytest.param("job:a:error_ratio", "unknown", "a recorded rate", id="a recorded ratio"),
        ],
    )
    def test_type(self, metric: str, type: str | None, expected: str | None) -> None:
        """Gauges, summaries and recorded rates cannot be a signal."""
        if expected is None:
            check_type(metric, type)
            return
        with pytest.raises(ValueError, match=f"{metric}: .*{expected}"):
            check_type(metric, type)

    @pytest.mark.parametrize("name", pack_names())
    def test_packs(self, name: str) -> None:
        """What a pack says of its metrics' types is countable."""
        for signal in load_pack(name).signals.values():
            for metric, type in signal.types.items():
                check_type(metric, type)

    async def test_unknown(self) -> None:
        """An unknown pack or signal is no outage: it will not go away."""
        async with reading(PromServer()) as prometheus:
            for pack, signal in (("nowhere", "errors"), ("kserve", "errors"), (None, "x")):
                source = SignalSource("errors", pack, signal)
                with pytest.raises(ValueError, match="there are: "):
                    await prometheus.read(ARMS, [source], SINCE, NOW)
