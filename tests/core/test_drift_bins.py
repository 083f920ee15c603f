"""Bins: every value has one, and counting a column is counting its values."""

from __future__ import annotations

from collections import Counter
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.drift.bins import add, binner, category_of, count, count_rows, size
from headgate.core.drift.profile import CategoryFeature, NumberFeature

AMOUNT = NumberFeature("amount", 100, (0.0, 10.0, 20.0), (0.25,) * 4)
COUNTRY = CategoryFeature("country", 100, ("DE", "1", "true"), (0.25,) * 4)
MISSING = 4

ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["DE", "True", "1.0", 10**400, -(10**400)])
    | st.lists(st.integers(), max_size=2)
)


@pytest.mark.parametrize(
    ("value", "bin_"),
    [
        pytest.param(-3, 0, id="below all edges"),
        pytest.param(0.0, 0, id="an edge belongs to the bin below it"),
        pytest.param(0.001, 1, id="just above an edge"),
        pytest.param(10, 1, id="a whole number"),
        pytest.param(20.5, 3, id="above all edges"),
        pytest.param(10**400, 3, id="a number beyond floats"),
        pytest.param(-(10**400), 0, id="a negative number beyond floats"),
        pytest.param(inf, 3, id="infinity"),
        pytest.param(-inf, 0, id="minus infinity"),
        pytest.param(True, 1, id="true is 1"),
        pytest.param(False, 0, id="false is 0"),
        pytest.param(nan, MISSING, id="not a number"),
        pytest.param(None, MISSING, id="null"),
        pytest.param("5", MISSING, id="a number as text"),
        pytest.param([5], MISSING, id="a list"),
        pytest.param({"v": 5}, MISSING, id="an object"),
    ],
)
def test_a_number_has_its_bin(value: object, bin_: int) -> None:
    """Claim: each kind of value goes where the table says, alone and in a column."""
    assert binner(AMOUNT)(value) == bin_
    assert count(AMOUNT, [value])[bin_] == 1


@pytest.mark.parametrize(
    ("value", "bin_"),
    [
        pytest.param("DE", 0, id="a known category"),
        pytest.param("FR", 3, id="an unknown category"),
        pytest.param("other", 3, id="the rest by name"),
        pytest.param(1, 1, id="a number"),
        pytest.param(1.0, 1, id="the same as a float"),
        pytest.param("1.0", 1, id="the same as text"),
        pytest.param(True, 2, id="true"),
        pytest.param("True", 2, id="true as Python writes it"),
        pytest.param(10**5000, 3, id="a huge number"),
        pytest.param("x" * 10_000, 3, id="a long text"),
        pytest.param("", MISSING, id="an empty text"),
        pytest.param(None, MISSING, id="null"),
        pytest.param(nan, MISSING, id="not a number"),
        pytest.param(["DE"], MISSING, id="a list"),
    ],
)
def test_a_category_has_its_bin(value: object, bin_: int) -> None:
    """Claim: each kind of value goes where the table says, alone and in a column."""
    assert binner(COUNTRY)(value) == bin_
    assert count(COUNTRY, [value])[bin_] == 1


def test_a_category_written_as_a_float_is_found() -> None:
    """Claim: a profile's "1.0" is met by 1, 1.0 and "1.0"."""
    feature = CategoryFeature("k", 10, ("1.0",), (1.0, 0.0))

    assert count(feature, [1, 1.0, "1.0", "1"]) == (4, 0, 0)
    assert category_of("-2.0") == "-2"
    assert category_of("x.0") == "x.0"


@given(st.lists(ANYTHING, max_size=30))
def test_a_column_counts_as_its_values(values: list[Any]) -> None:
    """Claim: the fast way over a column and the slow way by value agree; nothing is lost."""
    for feature in (AMOUNT, COUNTRY):
        found = Counter(map(binner(feature), values))

        assert count(feature, values) == tuple(found[k] for k in range(size(feature)))
        assert sum(count(feature, values)) == len(values)


@given(st.lists(st.floats(allow_infinity=False)), st.lists(st.floats(allow_infinity=False)))
def test_replicas_add(one: list[float], other: list[float]) -> None:
    """Claim: counting apart and adding is counting together."""
    assert add(count(AMOUNT, one), count(AMOUNT, other)) == count(AMOUNT, one + other)


@pytest.mark.parametrize(
    ("rows", "amount", "country"),
    [
        pytest.param([[5, "DE"], [15, "FR"]], (0, 1, 1, 0, 0), (1, 0, 0, 1, 0), id="lists"),
        pytest.param(
            [{"country": "DE", "amount": 5}, {"amount": 15}],
            (0, 1, 1, 0, 0),
            (1, 0, 0, 0, 1),
            id="objects, one without a field",
        ),
        pytest.param([[5], [5, "DE", "more"]], (0, 2, 0, 0, 0), (1, 0, 0, 0, 1), id="ragged lists"),
        pytest.param(
            [[5, "DE"], {"amount": 5, "country": "DE"}],
            (0, 2, 0, 0, 0),
            (2, 0, 0, 0, 0),
            id="lists and objects",
        ),
        pytest.param([5], (0, 1, 0, 0, 0), (0, 0, 0, 0, 1), id="a row of one value"),
        pytest.param([], (0,) * 5, (0,) * 5, id="no rows"),
    ],
)
def test_rows_count_by_place_or_name(
    rows: list[Any], amount: tuple[int, ...], country: tuple[int, ...]
) -> None:
    """Claim: lists map by position, objects by name; what a row lacks is missing."""
    assert count_rows((AMOUNT, COUNTRY), rows) == (amount, country)


def test_without_features_there_is_nothing_to_count() -> None:
    """Claim: a profile of predictions alone takes any rows."""
    assert count_rows((), [[1], {"a": 2}]) == ()
