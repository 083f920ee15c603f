"""Making profiles: where edges lie, which categories are named, what rows of a session count."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.drift.bins import count
from headgate.core.drift.build import (
    QUANTILES,
    Column,
    build,
    choose_categories,
    choose_edges,
    design_effect,
)
from headgate.core.drift.profile import (
    CategoryFeature,
    NumberFeature,
    ProfileError,
    parse,
    reference,
    render,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def test_a_continuous_feature_is_cut_at_the_quantiles() -> None:
    """Claim: of 100,000 different numbers each quantile is one edge, and shares are theirs."""
    (feature,) = build([Column("x", "number", list(range(100_000)))]).features

    assert isinstance(feature, NumberFeature)
    assert len(feature.edges) == len(QUANTILES)
    assert feature.shares[0] == 0.002
    assert sum(feature.shares[:7]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        pytest.param([0, 1, 1, 1], (-0.5, 0.5, 1.5), id="zero or one"),
        pytest.param([7, 7, 7], (4, 10), id="always the same"),
        pytest.param([0.0, 0.0], (-0.5, 0.5), id="always 0"),
        pytest.param([None, float("nan"), 3, 5], (2, 4, 6), id="missing ones do not matter"),
        pytest.param([float("inf"), 10**400, 3, 5], (2, 4, 6), id="nor do infinite ones"),
        pytest.param([None], (), id="nothing"),
    ],
)
def test_edges_lie_between_values(values: list[Any], edges: tuple[float, ...]) -> None:
    """Claim: a few values are kept apart, and what leaves their range is seen on both sides."""
    assert choose_edges(values) == edges


def test_single_precision_moves_no_value_to_another_bin() -> None:
    """Claim: a frequent 0.1 stays in its bin when a client sends it as a 32-bit float."""
    (feature,) = build([Column("x", "number", [0.1, 0.2, 0.3] * 100)]).features
    (single,) = struct.unpack("f", struct.pack("f", 0.1))

    assert single != 0.1
    assert count(feature, [single]) == count(feature, [0.1])


@given(st.lists(st.none() | NUMBERS, min_size=1, max_size=60))
def test_a_built_number_feature_is_a_valid_profile(values: list[float | None]) -> None:
    """Claim: whatever the numbers, edges ascend, shares are a whole and the profile reads back."""
    if all(value is None for value in values):
        with pytest.raises(ProfileError, match="wanted a number in at least one row"):
            build([Column("x", "number", values)])
        return
    profile = build([Column("x", "number", values)])

    assert parse(render(profile)) == profile
    assert sum(reference(profile.features[0])) == pytest.approx(1.0)


def test_the_most_frequent_categories_are_named() -> None:
    """Claim: 64 at most, by frequency and then by name; the rest, unfit names too, is other."""
    values = ["b", "a", "a", "b", "c", "other", "x" * 200, "line\nbreak", None, ""]
    (feature,) = build([Column("k", "category", values)]).features

    assert isinstance(feature, CategoryFeature)
    assert feature.categories == ("a", "b", "c")
    assert feature.shares == (0.2, 0.2, 0.1, 0.3)
    assert feature.missing == 0.2
    assert len(choose_categories([str(k) for k in range(100)])) == 64


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        pytest.param([], "rows: wanted at least 1, found 0", id="no columns"),
        pytest.param([("a", [])], "rows: wanted at least 1, found 0", id="no rows"),
        pytest.param([("a", [1]), ("b", [1, 2])], "b: wanted 1 rows, found 2", id="ragged"),
        pytest.param(
            [(f"f{k}", [1]) for k in range(201)],
            "features: wanted at most 200, found 201",
            id="too many",
        ),
    ],
)
def test_columns_that_make_no_profile(columns: list[tuple[str, list[int]]], message: str) -> None:
    """Claim: the message names what is wrong."""
    with pytest.raises(ProfileError) as caught:
        build([Column(name, "number", values) for name, values in columns])

    assert str(caught.value) == message


def test_rows_of_a_session_count_as_one() -> None:
    """Claim: five equal rows a session have a design effect of about 5, different ones of 1."""
    sessions = [row // 5 for row in range(5000)]
    alike = [session * 7919 % 1000 for session in sessions]
    (same,) = build([Column("x", "number", alike)], groups=sessions).features
    (free,) = build([Column("x", "number", list(range(5000)))], groups=list(range(5000))).features

    assert same.design_effect == pytest.approx(5.0, rel=0.1)
    assert free.design_effect == pytest.approx(1.0, abs=0.05)


def test_one_used_bin_has_no_design_effect() -> None:
    """Claim: where nothing varies, nothing can be alike."""
    assert design_effect([2, 2, 2], ["a", "a", "b"], 4, True) == 1.0


def test_predictions_are_described_apart() -> None:
    """Claim: the last column becomes the predictions, the others stay features in their order."""
    profile = build(
        [Column("b", "number", [1, 2]), Column("a", "category", ["x", "y"])],
        Column("score", "number", [0.1, 0.9]),
    )

    assert [feature.name for feature in profile.features] == ["b", "a"]
    assert profile.predictions is not None
    assert profile.predictions.name == "score"
