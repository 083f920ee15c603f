"""The page that Prometheus reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.collector.samples import ADDRESS, FRAUD, category, event, number, profile

from headgate.collector.counting import Book
from headgate.collector.events import Address, Half
from headgate.collector.exposition import render
from headgate.core.drift.profile import Profile


def page(model: Profile, *bodies: tuple[Half, object]) -> str:
    """The page of a replica that counted these."""
    book = Book(10_000)
    book.open(ADDRESS, model, 0.0)
    for half, body in bodies:
        book.count(event(half, body), model, 0.0)
    return render(book.tallies())


PAGE = """\
# HELP headgate_input Values of a number feature, cumulative by upper bound.
# TYPE headgate_input histogram
headgate_input_bucket{REVISION,feature="amount",le="0"} 0
headgate_input_bucket{REVISION,feature="amount",le="10"} 1
headgate_input_bucket{REVISION,feature="amount",le="100"} 1
headgate_input_bucket{REVISION,feature="amount",le="+Inf"} 2
# HELP headgate_input_category_total Values of a category feature.
# TYPE headgate_input_category_total counter
headgate_input_category_total{REVISION,feature="country",category="DE"} 0
headgate_input_category_total{REVISION,feature="country",category="FR"} 2
headgate_input_category_total{REVISION,feature="country",category="other"} 1
# HELP headgate_input_missing_total Rows without a usable value of a feature.
# TYPE headgate_input_missing_total counter
headgate_input_missing_total{REVISION,feature="amount"} 1
headgate_input_missing_total{REVISION,feature="country"} 0
# HELP headgate_prediction Predicted numbers, cumulative by upper bound.
# TYPE headgate_prediction histogram
headgate_prediction_bucket{REVISION,le="0.5"} 0
headgate_prediction_bucket{REVISION,le="+Inf"} 1
# HELP headgate_prediction_missing_total Answers without a usable prediction.
# TYPE headgate_prediction_missing_total counter
headgate_prediction_missing_total{REVISION} 0
"""
REVISION = 'model_namespace="models",model_deployment="fraud",model_revision="9c1d44e0"'


def test_the_whole_page() -> None:
    """Buckets are cumulative with plain decimals, and what was never seen is a zero."""
    shown = page(
        FRAUD,
        (Half.REQUEST, {"instances": [[10, "FR"], [200, "FR"], [None, "IT"]]}),
        (Half.RESPONSE, {"predictions": [0.9]}),
    )

    assert shown == PAGE.replace("REVISION", REVISION)


def test_every_series_is_there_from_the_first_event_on() -> None:
    """A revision that was only just heard of shows all its series, at zero."""
    shown = page(FRAUD)

    assert len(shown.splitlines()) == len(PAGE.splitlines())
    assert all(line.endswith(" 0") for line in shown.splitlines() if line[0] != "#")


def test_predicted_categories_have_their_own_family() -> None:
    """Categories of predictions are counters under the names of the profile."""
    reason = profile(predictions=category("finish_reason", "stop"))
    shown = page(reason, (Half.RESPONSE, {"choices": [{"finish_reason": "stop"}]}))

    assert f'headgate_prediction_category_total{{{REVISION},category="stop"}} 1' in shown


def test_a_replica_without_counts_has_an_empty_page() -> None:
    """No family without a sample."""
    assert render(Book(100).tallies()) == ""


NAMES = st.text(min_size=1, max_size=8).filter(str.isprintable) | st.sampled_from(
    ['"', "\\", '\\"', "a\\nb", "}", "{", ",", 'x="1"', "é", "# TYPE"]
)


@given(
    names=st.lists(NAMES, min_size=2, max_size=4, unique=True),
    edges=st.lists(
        st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4, unique=True
    ),
)
def test_prometheus_reads_back_what_is_written(names: list[str], edges: list[float]) -> None:
    """Any feature, category and edge that a profile may have survives the way to a parser."""
    edges.sort()
    first, *categories = [name for name in names if name != "other"]
    model = profile(number(first, *edges), category("c" + first, *categories, "x" * 9))
    families = list(text_string_to_metric_families(page(model)))
    labels = [sample.labels for family in families for sample in family.samples]

    assert {each["feature"] for each in labels} == {first, "c" + first}
    assert [float(each["le"]) for each in labels if "le" in each] == [*edges, float("inf")]
    assert not any("e" in each.get("le", "") for each in labels)
    assert [each["category"] for each in labels if "category" in each] == [
        *categories,
        "x" * 9,
        "other",
    ]


def test_families_are_not_interleaved() -> None:
    """With several revisions the lines of one family still stand together."""
    book = Book(10_000)
    for hash in ("00000001", "00000000"):
        book.open(Address("models", "fraud", hash), FRAUD, 0.0)
    families = [family.name for family in text_string_to_metric_families(render(book.tallies()))]

    assert len(families) == len(set(families)) == 5
