"""`headgate slo`: OpenSLO documents taken over, and rules with the names that others read."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headgate.adapters.packs import load_pack
from headgate.adapters.prometheus_selectors import matching
from headgate.api.model_deployment import Objective
from headgate.cli import exits, main
from headgate.cli.slo_levels import NotUsable, parse_promises, render_level
from headgate.cli.slo_openslo import take_over
from headgate.cli.slo_rules import render_pyrra, render_rules
from headgate.cli.slo_selector import NotPlain, parse_plain
from headgate.core.slo.level import Own, Selector

PACK = load_pack("envoy-gateway")
TOTAL = 'sum(rate(http_requests_total{job="shop"}[5m]))'
GOOD = 'sum(rate(http_requests_total{job="shop",code="200"}[5m]))'


def metric(query: str, **source: Any) -> dict[str, Any]:
    """Return an OpenSLO metric of Prometheus."""
    return {"metricSource": {"type": "Prometheus", "spec": {"query": query}, **source}}


def openslo(indicator: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return an OpenSLO document; `changes` replace parts of its spec, and None removes one."""
    ratio = {"ratioMetric": {"counter": True, "good": metric(GOOD), "total": metric(TOTAL)}}
    spec = {
        "service": "shop",
        "indicator": {"metadata": {"name": "ok"}, "spec": indicator or ratio},
        "timeWindow": [{"duration": "30d", "isRolling": True}],
        "budgetingMethod": "Occurrences",
        "objectives": [{"displayName": "Good", "target": 0.999}],
        **changes,
    }
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": "shop-availability"},
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def taken(*documents: dict[str, Any]) -> list[dict[str, Any]]:
    """Take documents over, all of them, and give the objectives."""
    found = take_over(documents)
    assert [each.refusal for each in found] == [""] * len(found)
    return [render_level(level) for each in found for level in each.levels]


SERIES = {
    "good": {"metric": "http_requests_total", "matchers": {"job": "shop", "code": "200"}},
    "total": {"metric": "http_requests_total", "matchers": {"job": "shop"}},
}


class TestOpenSlo:
    """What OpenSLO v1 says becomes objectives, or is refused by name."""

    def test_a_ratio_becomes_an_objective(self) -> None:
        """Target in percent, window and both series."""
        expected = {
            "name": "shop-availability",
            "target": "99.9",
            "window": "30d",
            "series": SERIES,
        }
        assert taken(openslo()) == [expected]

    @pytest.mark.parametrize("codes", ["2xx|3xx", "(2|3)..", "2[0-9][0-9]|3[0-9]{2}"])
    def test_any_of_several_values(self, codes: str) -> None:
        """Texts and classes are listed; what the API server is given, it and the rules take."""
        good = metric(f'sum(localhost_server_requests{{code=~"{codes}",instance="a:9090"}})')
        total = metric('localhost_server_requests{code="total",instance="a:9090"}')
        (found,) = taken(openslo({"ratioMetric": {"counter": True, "good": good, "total": total}}))

        assert found["series"]["good"] == {
            "metric": "localhost_server_requests",
            "matchers": {"instance": "a:9090"},
            "anyOf": {"code": ["2xx", "3xx"]},
        }
        assert Objective.model_validate(found).series is not None
        (level,) = parse_promises(deployment(found)).levels
        assert isinstance(level.counts, Own)
        assert matching(level.counts.good or level.counts.total) == {
            "instance": '="a:9090"',
            "code": '=~"2xx|2[0-9][0-9]|3xx|3[0-9][0-9]"',
        }

    def test_bad_requests_stay_bad(self) -> None:
        """`bad` of `total` is kept as it is, not turned around."""
        ratio = {"bad": metric('http_errors_total{job="shop"}'), "total": metric(TOTAL)}
        found = taken(openslo({"ratioMetric": {"counter": True, **ratio}}))

        assert found[0]["series"] == {
            "bad": {"metric": "http_errors_total", "matchers": {"job": "shop"}},
            "total": SERIES["total"],
        }

    @pytest.mark.parametrize("op", ["lt", "lte"])
    def test_a_threshold_on_a_histogram_is_a_bucket_of_the_count(self, op: str) -> None:
        """Good is the bucket at the value, and total the histogram's count."""
        indicator = {"thresholdMetric": metric('sum(rate(latency_seconds_bucket{a="b"}[5m]))')}
        found = taken(openslo(indicator, objectives=[{"op": op, "value": 0.50, "target": 0.99}]))

        assert found[0]["series"] == {
            "good": {"metric": "latency_seconds_bucket", "matchers": {"a": "b", "le": "0.5"}},
            "total": {"metric": "latency_seconds_count", "matchers": {"a": "b"}},
        }

    def test_indicators_and_sources_are_found_by_name(self) -> None:
        """`indicatorRef` names an SLI, and `metricSourceRef` a DataSource, among the documents."""
        bare = {"metricSource": {"metricSourceRef": "main", "spec": {"query": TOTAL}}}
        sli = {
            "apiVersion": "openslo/v1",
            "kind": "SLI",
            "metadata": {"name": "ok"},
            "spec": {"ratioMetric": {"counter": True, "good": metric(GOOD), "total": bare}},
        }
        source = {
            "apiVersion": "openslo/v1",
            "kind": "DataSource",
            "metadata": {"name": "main"},
            "spec": {"type": "prometheus"},
        }
        document = openslo(indicatorRef="ok")
        del document["spec"]["indicator"]
        found = taken(document, sli, source)

        assert found[0]["series"] == SERIES

    def test_several_objectives_are_numbered(self) -> None:
        """One indicator with two targets gives two objectives."""
        targets = [{"target": 0.99}, {"targetPercent": 99.95}]
        found = taken(openslo(objectives=targets, timeWindow=[{"duration": "4w"} | ROLLING]))

        assert [(each["name"], each["target"], each["window"]) for each in found] == [
            ("shop-availability-1", "99", "28d"),
            ("shop-availability-2", "99.95", "28d"),
        ]

    @pytest.mark.parametrize(
        ("document", "said"),
        [
            pytest.param(
                openslo() | {"apiVersion": "openslo/v1alpha"}, "found 'openslo/v1alpha'", id="alpha"
            ),
            pytest.param(
                openslo(budgetingMethod="Timeslices"), "found 'Timeslices'", id="time slices"
            ),
            pytest.param(
                openslo(budgetingMethod="RatioTimeslices"), "wanted Occurrences", id="ratio slices"
            ),
            pytest.param(
                openslo(timeWindow=[{"duration": "1M", "calendar": {"timeZone": "UTC"}}]),
                "aligned to the calendar",
                id="calendar",
            ),
            pytest.param(
                openslo(timeWindow=[{"duration": "1Q", "isRolling": True}]), "found '1Q'", id="1Q"
            ),
            pytest.param(
                openslo(timeWindow=[{"duration": "1h", "isRolling": True}]), "1d to 90d", id="1h"
            ),
            pytest.param(openslo(timeWindow=None), "wanted exactly one", id="no window"),
            pytest.param(openslo(objectives=[]), "at least one", id="no objective"),
            pytest.param(
                openslo(objectives=[{"target": 0.999, "targetPercent": 99.9}]),
                "one of target and targetPercent",
                id="two targets",
            ),
            pytest.param(openslo(objectives=[{"target": 0.1}]), "found 10", id="a low target"),
            pytest.param(openslo(objectives=[{"target": True}]), "a number", id="no number"),
            pytest.param(
                openslo(objectives=[{"target": 0.9, "indicatorRef": "a"}]), "composite", id="many"
            ),
            pytest.param(openslo() | {"spec": {}}, "budgetingMethod: .* found None", id="nothing"),
            pytest.param(
                openslo({"ratioMetric": {"rawType": "success", "raw": metric("ratio")}}),
                "a stored ratio has no counts",
                id="raw",
            ),
            pytest.param(
                openslo(
                    {
                        "ratioMetric": {"counter": False}
                        | {"good": metric("ok"), "total": metric("all")}
                    }
                ),
                "ratioMetric.good: wanted a counter .* found a gauge",
                id="gauges",
            ),
            pytest.param(
                openslo({"ratioMetric": {"counter": True, "total": metric("all")}}),
                "found total",
                id="neither good nor bad",
            ),
            pytest.param(
                openslo(
                    {
                        "ratioMetric": {"counter": True}
                        | {"good": metric("x", type="Datadog"), "total": metric(TOTAL)}
                    }
                ),
                "wanted Prometheus, found 'Datadog'",
                id="another source",
            ),
            pytest.param(
                openslo({"thresholdMetric": metric("queue_length")}),
                "found the gauge queue_length",
                id="threshold on a gauge",
            ),
            pytest.param(
                openslo(
                    {"thresholdMetric": metric("a_bucket")},
                    objectives=[{"op": "gt", "value": 1, "target": 0.9}],
                ),
                "wanted lt or lte",
                id="good is slow",
            ),
            pytest.param(openslo({"other": 1}), "ratioMetric or thresholdMetric", id="no metric"),
            pytest.param(
                openslo() | {"metadata": {"name": "Shop Availability"}}, "DNS label", id="name"
            ),
        ],
    )
    def test_what_cannot_be_kept_is_refused_with_the_reason(
        self, document: dict[str, Any], said: str
    ) -> None:
        """Nothing is guessed, and nothing is half taken over."""
        (found,) = take_over([document])

        assert found.levels == ()
        assert re.search(said, found.refusal), found.refusal

    def test_an_unknown_indicator_is_named(self) -> None:
        """A reference that leads nowhere is said to."""
        document = openslo(indicatorRef="missing")
        (found,) = take_over([document])

        assert found.refusal == "indicatorRef: no SLI 'missing' in these files"

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["spec", "metricSource", "ratioMetric", "target", "good", "total"]
                    ),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=8,
        ),
        st.sampled_from(["timeWindow", "objectives", "indicator", "indicatorRef", "alertPolicies"]),
    )
    def test_any_document_is_taken_over_or_refused(self, junk: Any, where: str) -> None:
        """However a document is wrong, that is told; it never ends in a traceback."""
        (found,) = take_over([openslo(**{where: deepcopy(junk)})])

        assert bool(found.levels) != bool(found.refusal)


ROLLING = {"isRolling": True}


class TestSelector:
    """Which queries are plain."""

    @pytest.mark.parametrize(
        ("query", "selector", "is_rated"),
        [
            pytest.param("up", Selector("up"), False, id="a name"),
            pytest.param("sum(up{})", Selector("up"), False, id="a sum"),
            pytest.param(
                TOTAL, Selector("http_requests_total", (("job", "shop"),)), True, id="rate"
            ),
            pytest.param(
                "sum(increase(a{b='c',}[{{.window}}]))",
                Selector("a", (("b", "c"),)),
                True,
                id="increase over a template, a comma too many",
            ),
            pytest.param(
                ' sum ( rate ( a{ b =~ "2xx" } [1h] ) ) ',
                Selector("a", (("b", "2xx"),)),
                True,
                id="a pattern that is plain text",
            ),
            pytest.param(
                'sum(a{code=~"(2xx|3xx)",b="c"})',
                Selector("a", (("b", "c"),), (("code", ("2xx", "3xx")),)),
                False,
                id="one of several",
            ),
            pytest.param(
                'a{code=~"5.."}', Selector("a", (), (("code", ("5xx",)),)), False, id="a class"
            ),
            pytest.param(
                r'a{code=~"[45]\\d\\d|404|2[0-9]{2}|(0|1).."}',
                Selector("a", (), (("code", ("4xx", "5xx", "404", "2xx", "0xx", "1xx")),)),
                False,
                id="classes and a text",
            ),
            pytest.param(
                r'a{path=~"/v1\\.0|/x\\|y"}',
                Selector("a", (), (("path", ("/v1.0", "/x|y")),)),
                False,
                id="texts with escapes",
            ),
            pytest.param(
                r'a{b="q\"\\\n", c=`\d`}',
                Selector("a", (("b", 'q"\\\n'), ("c", r"\d"))),
                False,
                id="escapes",
            ),
        ],
    )
    def test_plain(self, query: str, selector: Selector, is_rated: bool) -> None:
        """A metric with labels that equal something, at most inside sum and rate."""
        found = parse_plain(query)

        assert (found.selector, found.is_rated) == (selector, is_rated)

    @pytest.mark.parametrize(
        ("query", "said"),
        [
            pytest.param('sum(a{code=~"2xx|3.*"})', "found code=~'2xx|3.*'", id="alternatives"),
            pytest.param('a{code=~"5.*"}', "found code=~'5.*'", id="of any length"),
            pytest.param('a{code=~"[1-5].."}', "found code=~'[1-5]..'", id="a range"),
            pytest.param('a{code=~"5..+"}', "found code=~'5..+'", id="more than a class"),
            pytest.param('a{code=~"x.."}', "found code=~'x..'", id="a class of no digit"),
            pytest.param('sum(a{code=~"2xx|"})', "found code=~'2xx|'", id="or nothing"),
            pytest.param('a{code=~"(a)|(b)"}', "found code=~'(a)|(b)'", id="two groups"),
            pytest.param(r'a{code=~"\\d"}', r"found code=~'\\d'", id="a class"),
            pytest.param('a{b="1",b=~"1|2"}', "found two of b", id="one label twice"),
            pytest.param('a{code!="500"}', "found code!='500'", id="not equal"),
            pytest.param('a{code!~"5.."}', "found code!~'5..'", id="no pattern"),
            pytest.param("sum by (x) (rate(a[5m]))", "'by' where the end", id="grouping"),
            pytest.param("sum(rate(a[5m])) by (x)", "'by' where the end", id="grouping behind"),
            pytest.param("a / b", "'/' where the end", id="a division"),
            pytest.param("irate(a[5m])", "'(' where a selector", id="another function"),
            pytest.param("sum(rate(a))", "')' where a range", id="no range"),
            pytest.param("sum(a[5m])", "'[5m]' where ')'", id="range without rate"),
            pytest.param("rate(a[5m] offset 1d)", "'offset' where ')'", id="offset"),
            pytest.param("", "the end where the name", id="nothing"),
            pytest.param("1", "'1' where the name", id="a number"),
            pytest.param('{__name__="a"}', "'{' where the name", id="no name"),
            pytest.param('a{b="c}', "'\"' where a text", id="an open quote"),
            pytest.param(r'a{b="\x41"}', r"found the escape \x", id="an escape of its own"),
            pytest.param("histogram_quantile(0.9, a)", "'(' where a selector", id="a quantile"),
        ],
    )
    def test_more_than_plain_is_refused(self, query: str, said: str) -> None:
        """The message names what was found."""
        with pytest.raises(ValueError, match="wanted") as caught:
            parse_plain(query)
        assert said in str(caught.value)

    @given(st.text(max_size=60))
    def test_no_text_breaks_it(self, query: str) -> None:
        """Any text is either plain or refused with a reason, never more than that."""
        with suppress(NotPlain, ValueError):
            assert parse_plain(query).selector.metric in query


def deployment(*objectives: dict[str, Any]) -> dict[str, Any]:
    """Return a ModelDeployment, as far as this verb reads it."""
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": "fraud", "namespace": "models"},
        "spec": {"objectives": list(objectives)},
    }


ERRORS = {"name": "availability", "target": "99.9", "errors": {}}
LATENCY = {"name": "fast", "target": "95", "window": "7d", "latency": {"threshold": "250ms"}}
CODES = {
    "name": "codes",
    "target": "99",
    "window": "30d",
    "series": {
        "bad": {"metric": "answers_total", "matchers": {"code": "5.."}},
        "total": {"metric": "answers_total"},
    },
}
OWN = {"name": "orders", "target": "99", "window": "1d", "series": SERIES}


class TestObjectives:
    """Objectives are read as a ModelDeployment writes them."""

    @pytest.mark.parametrize("entry", [ERRORS | {"window": "30d"}, LATENCY, OWN, CODES])
    def test_what_is_read_is_written_alike(self, entry: dict[str, Any]) -> None:
        """Reading and writing are each other's inverse."""
        (level,) = parse_promises(deployment(entry)).levels

        assert render_level(level) == entry

    @pytest.mark.parametrize(
        ("entry", "said"),
        [
            pytest.param({"name": "A"}, "name: wanted a DNS label", id="name"),
            pytest.param(ERRORS | {"target": 99.9}, "target: wanted text", id="a float"),
            pytest.param(ERRORS | {"target": "100"}, "found 100", id="perfection"),
            pytest.param(ERRORS | {"window": "91d"}, "wanted 1d to 90d", id="long window"),
            pytest.param(ERRORS | {"latency": {}}, "exactly one of", id="two kinds"),
            pytest.param({"name": "a", "target": "99"}, "exactly one of", id="no kind"),
            pytest.param(LATENCY | {"latency": {}}, "threshold: wanted text", id="no threshold"),
            pytest.param(OWN | {"series": {"good": {"metric": "a"}}}, "total", id="no total"),
            pytest.param(
                OWN | {"series": {"total": {"metric": "a b"}}}, "name of a metric", id="metric"
            ),
            pytest.param(
                OWN | {"series": {"total": {"metric": "a", "matchers": {"b": 5}}}},
                "matchers: wanted text",
                id="matcher",
            ),
            pytest.param(
                OWN | {"series": {"total": {"metric": "a", "matchers": ["b"]}}},
                "matchers: wanted labels and values",
                id="no labels",
            ),
            pytest.param("availability", "wanted a mapping", id="no mapping"),
        ],
    )
    def test_what_is_wrong_is_named(self, entry: Any, said: str) -> None:
        """The message has the path of the field."""
        with pytest.raises(NotUsable, match=said) as caught:
            parse_promises(deployment(entry))
        assert str(caught.value).startswith("spec.objectives[0]")


SLOTH_RECORDS = [
    *(
        f"slo:sli_error:ratio_rate{each}"
        for each in ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"]
    ),
    "slo:objective:ratio",
    "slo:error_budget:ratio",
    "slo:time_period:days",
    "slo:current_burn_rate:ratio",
    "slo:period_burn_rate:ratio",
    "slo:period_error_budget_remaining:ratio",
    "sloth_slo_info",
]


def rules_of(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all rules of these objectives."""
    groups = render_rules(parse_promises(deployment(*entries)), PACK)["groups"]
    return [rule for group in groups for rule in group["rules"]]


class TestRules:
    """Rules that what reads Sloth's can read."""

    def test_names_and_labels_are_sloths(self) -> None:
        """The records in their order, the labels, and the two alerts of one SLO over 30 d."""
        rules = rules_of(ERRORS)
        groups = render_rules(parse_promises(deployment(ERRORS)), PACK)["groups"]

        assert [rule["record"] for rule in rules if "record" in rule] == SLOTH_RECORDS
        assert [group["name"] for group in groups] == [
            f"sloth-slo-{kind}-models.fraud-availability"
            for kind in ("sli-recordings", "meta-recordings", "alerts")
        ]
        own = {
            "sloth_id": "models.fraud-availability",
            "sloth_service": "models.fraud",
            "sloth_slo": "availability",
        }
        assert rules[0]["labels"] == {**own, "sloth_window": "5m"}
        assert rules[8]["labels"] == own
        assert rules[14]["labels"].keys() == own.keys() | {
            "sloth_mode",
            "sloth_objective",
            "sloth_spec",
            "sloth_version",
        }
        assert [rule["labels"]["sloth_severity"] for rule in rules[15:]] == ["page", "ticket"]

    def test_the_error_ratio(self) -> None:
        """Failures of all backends; 0 before the first failure, absent without requests."""
        of = 'sum(rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name=~"httproute/models/fraud'
        rest = '/rule/0/backend/[0-9]+",envoy_response_code_class=~"'
        bad, total = f'{of}{rest}5"}}[5m]))', f'{of}{rest}2|3|4|5"}}[5m]))'

        expected = f"({bad} or 0 * {total})\n/\n({total} > 0)"
        assert rules_of(ERRORS)[0]["expr"] == expected

    def test_the_latency_ratio(self) -> None:
        """The bucket at the threshold in the source's unit, in both ways to write it."""
        expression = rules_of(LATENCY)[0]["expr"]

        assert expression.startswith("1 - (\n  sum(rate(envoy_cluster_upstream_rq_time_bucket{")
        assert ',le=~"250|250\\\\.0"}[5m]))\n  /\n  (sum(rate(' in expression
        assert expression.endswith(',le="+Inf"}[5m])) > 0)\n)')

    @pytest.mark.parametrize(
        ("entry", "factors"),
        [
            pytest.param(ERRORS, ["14.4 * 0.001", "6 * 0.001", "3 * 0.001", "1 * 0.001"], id="30d"),
            pytest.param(LATENCY, ["3.36 * 0.05", "1.4 * 0.05", "1 * 0.05", "1 * 0.05"], id="7d"),
            pytest.param(OWN, ["1 * 0.01", "1 * 0.01", "1 * 0.01"], id="1d has no pair of 3d"),
        ],
    )
    def test_alerts_have_the_factors_of_the_window(
        self, entry: dict[str, Any], factors: list[str]
    ) -> None:
        """Each pair asks for both of its windows, and for none that is not recorded."""
        rules = rules_of(entry)
        recorded = {rule["record"] for rule in rules if "record" in rule}
        text = "".join(rule["expr"] for rule in rules if "alert" in rule)

        found = re.findall(r"(slo:sli_error:\w+)\{.*?\} > \(([^)]*)\)", text)
        assert [factor for _, factor in found] == [each for each in factors for _ in range(2)]
        assert {name for name, _ in found} <= recorded

    def test_a_hostile_matcher_stays_text(self) -> None:
        """Quotes in a user's value are escaped in PromQL, and survive YAML."""
        matchers = {"shop": 'a"} or vector(1) #'}
        entry = OWN | {"series": {"bad": {"metric": "b"}, "total": {"metric": "t"}}}
        entry["series"]["total"]["matchers"] = matchers
        expression = rules_of(entry)[0]["expr"]

        assert 't{shop="a\\"} or vector(1) #"}[5m]' in expression
        assert yaml.safe_load(yaml.safe_dump(expression)) == expression


class TestPyrra:
    """ServiceLevelObjectives as Pyrra's own check takes them."""

    def test_errors(self) -> None:
        """A ratio of two selectors, target and window as text."""
        (found,) = render_pyrra(parse_promises(deployment(ERRORS)), PACK)

        assert (found["apiVersion"], found["kind"]) == (
            "pyrra.dev/v1alpha1",
            "ServiceLevelObjective",
        )
        assert found["metadata"]["name"] == "fraud-availability"
        assert (found["spec"]["target"], found["spec"]["window"]) == ("99.9", "30d")
        ratio = found["spec"]["indicator"]["ratio"]
        assert ratio["errors"]["metric"].endswith('envoy_response_code_class=~"5"}')
        assert ratio["total"]["metric"].endswith('envoy_response_code_class=~"2|3|4|5"}')

    def test_latency(self) -> None:
        """Pyrra wants one bound that is a number, and the histogram's count beside it."""
        (found,) = render_pyrra(parse_promises(deployment(LATENCY)), PACK)
        latency = found["spec"]["indicator"]["latency"]

        assert latency["success"]["metric"].endswith(',le="250"}')
        assert latency["total"]["metric"].startswith("envoy_cluster_upstream_rq_time_count{")

    def test_own_buckets(self) -> None:
        """Good requests that are a bucket are a latency to Pyrra."""
        series = {
            "good": {"metric": "a_bucket", "matchers": {"le": "0.5"}},
            "total": {"metric": "a_count"},
        }
        (found,) = render_pyrra(parse_promises(deployment(OWN | {"series": series})), PACK)

        assert found["spec"]["indicator"] == {
            "latency": {
                "success": {"metric": 'a_bucket{le="0.5"}'},
                "total": {"metric": "a_count"},
            }
        }

    def test_good_requests_that_are_no_bucket_are_refused(self) -> None:
        """Pyrra has no indicator for them, and nothing close is put in the place."""
        with pytest.raises(NotUsable, match=r"orders: Pyrra counts bad requests"):
            render_pyrra(parse_promises(deployment(OWN)), PACK)


class TestVerb:
    """Files in, YAML out, and exit codes that scripts may rely on."""

    def write(self, folder: Path, *documents: Any) -> str:
        """Write documents to a file."""
        file = folder / "in.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        return str(file)

    def test_import(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What can be kept is printed, the rest is told, and the exit code is 1."""
        second = openslo(budgetingMethod="Timeslices") | {"metadata": {"name": "slices"}}
        file = self.write(tmp_path, [openslo(alertPolicies=["a"])], second)

        assert main(["slo", "import", file]) == exits.FAILED
        out, err = capsys.readouterr()
        assert [each["name"] for each in yaml.safe_load(out)["objectives"]] == ["shop-availability"]
        assert err.splitlines() == [
            "SLO shop-availability: alertPolicies not taken over",
            "SLO slices: budgetingMethod: wanted Occurrences, which counts requests, "
            "found 'Timeslices'",
        ]

    def test_what_import_prints_rules_can_read(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The printed objectives fit into a ModelDeployment as they are."""
        assert main(["slo", "import", self.write(tmp_path, openslo())]) == exits.OK
        objectives = yaml.safe_load(capsys.readouterr().out)["objectives"]
        file = self.write(tmp_path, deployment(*objectives))

        assert main(["slo", "rules", file]) == exits.OK
        assert len(yaml.safe_load(capsys.readouterr().out)["groups"]) == 3

    def test_pyrra(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """One document per objective, for kubectl."""
        file = self.write(tmp_path, {"kind": "Service"}, deployment(ERRORS, LATENCY))

        assert main(["slo", "rules", "--format", "pyrra", file]) == exits.OK
        printed = list(yaml.safe_load_all(capsys.readouterr().out))
        assert [each["metadata"]["name"] for each in printed] == [
            "fraud-availability",
            "fraud-fast",
        ]

    def test_standard_input(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """`-` reads what is piped in."""
        piped = io.TextIOWrapper(io.BytesIO(yaml.safe_dump(openslo()).encode()))
        monkeypatch.setattr("sys.stdin", piped)

        assert main(["slo", "import", "-"]) == exits.OK
        assert "shop-availability" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("text", "words", "said"),
        [
            pytest.param("a: [", ["slo", "import"], "not YAML", id="no YAML"),
            pytest.param("!!python/name:os.system", ["slo", "import"], "not YAML", id="a tag"),
            pytest.param(
                "kind: Service", ["slo", "import"], "no document of kind SLO", id="no SLO"
            ),
            pytest.param("kind: A", ["slo", "rules"], "no ModelDeployment", id="no deployment"),
            pytest.param(
                "kind: ModelDeployment", ["slo", "rules"], "wanted metadata.name", id="no name"
            ),
        ],
    )
    def test_failures(
        self,
        text: str,
        words: list[str],
        said: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """One line on standard error, nothing on standard output, and 1."""
        file = tmp_path / "in.yaml"
        file.write_text(text)

        assert main([*words, str(file)]) == exits.FAILED
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err

    def test_a_file_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        """It is named, with the system's reason."""
        assert main(["slo", "import", "/nowhere.yaml"]) == exits.FAILED
        assert capsys.readouterr().err == "/nowhere.yaml: No such file or directory\n"

    def test_an_unknown_pack(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """That is wrong usage, and the packs there are are named."""
        file = self.write(tmp_path, deployment(ERRORS))

        assert main(["slo", "rules", "--pack", "nginx", file]) == exits.USAGE
        assert "envoy-gateway" in capsys.readouterr().err
