"""Profiles: what is accepted, what is refused and in which words, and what names them."""

from __future__ import annotations

import json
from math import nextafter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.drift.profile import (
    MAX_BYTES,
    CategoryFeature,
    NumberFeature,
    Profile,
    ProfileError,
    digest,
    labels,
    parse,
    plain,
    reference,
    render,
)

AMOUNT = NumberFeature("amount_eur", 12000, (0.5, 20.0), (0.1, 0.6, 0.25), 0.05, 1.5)
COUNTRY = CategoryFeature("country", 12000, ("DE", "FR"), (0.5, 0.25, 0.25))
PROFILE = Profile(12000, (AMOUNT, COUNTRY), NumberFeature("score", 12000, (0.5,), (0.5, 0.5)))


def as_json(**changes: Any) -> dict[str, Any]:
    """The profile's JSON value, with changes at the top."""
    value: dict[str, Any] = json.loads(render(PROFILE)) | changes
    return value


def with_amount(**changes: Any) -> dict[str, Any]:
    """The same with changes in the first feature."""
    value = as_json()
    value["features"][0] |= changes
    return value


def with_country(**changes: Any) -> dict[str, Any]:
    """The same with changes in the second feature."""
    value = as_json()
    value["features"][1] |= changes
    return value


def test_a_profile_survives_its_json() -> None:
    """Claim: parsing what was rendered gives the same profile, and the same digest."""
    assert parse(render(PROFILE)) == PROFILE
    assert digest(parse(render(PROFILE))) == digest(PROFILE)


def test_layout_does_not_change_the_identity() -> None:
    """Claim: white space, key order, 12000.0-like numbers and defaults make no other profile."""
    value = with_amount(edges=[0.5, 20])
    value["features"][1].pop("missing")
    text = json.dumps(dict(reversed(value.items())), indent=4)

    assert digest(parse(text)) == digest(PROFILE)
    assert digest(PROFILE).startswith("sha256:")
    assert len(digest(PROFILE)) == len("sha256:") + 64


def test_a_share_changes_the_identity() -> None:
    """Claim: one moved row is another profile."""
    other = parse(json.dumps(with_amount(shares=[0.1, 0.59, 0.26])))

    assert digest(other) != digest(PROFILE)


def test_predictions_may_be_absent_or_null() -> None:
    """Claim: both mean that nothing is known of predictions."""
    without = as_json()
    del without["predictions"]

    assert parse(json.dumps(without)).predictions is None
    assert parse(json.dumps(as_json(predictions=None))) == parse(json.dumps(without))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param([], "profile: wanted an object, found []", id="a list"),
        pytest.param(
            as_json(schema="v2"),
            'schema: wanted headgate.dev/profile/v1, found "v2"',
            id="another version",
        ),
        pytest.param(as_json(rows=0), "rows: wanted a count of at least 1, found 0", id="no rows"),
        pytest.param(
            as_json(rows=True), "rows: wanted a count of at least 1, found true", id="rows as bool"
        ),
        pytest.param(
            as_json(extra=1), 'profile: wanted no field "extra", found one', id="unknown field"
        ),
        pytest.param(
            {"schema": "headgate.dev/profile/v1", "rows": 1},
            "features: wanted a value, found none",
            id="no features field",
        ),
        pytest.param(
            as_json(features=[], predictions=None),
            "features: wanted at least one feature or predictions, found []",
            id="nothing to watch",
        ),
        pytest.param(
            as_json(features=[as_json()["features"][0]] * 2),
            'features: wanted different names, found "amount_eur"',
            id="a name twice",
        ),
        pytest.param(
            as_json(features=["amount"]),
            'features[0]: wanted a feature, found "amount"',
            id="a feature as text",
        ),
        pytest.param(
            with_amount(type="text"),
            'features[0].type: wanted number or category, found "text"',
            id="another type",
        ),
        pytest.param(
            with_amount(edges=[20, 0.5]),
            "features[0].edges[1]: wanted more than 20, found 0.5",
            id="edges that fall",
        ),
        pytest.param(
            with_amount(edges=[0.5, float("inf")]),
            "features[0].edges[1]: wanted a finite number, found Infinity",
            id="an infinite edge",
        ),
        pytest.param(
            with_amount(edges=[0.5, 10**400]),
            f"features[0].edges[1]: wanted a finite number, found {str(10**400)[:57]}...",
            id="an edge beyond floats",
        ),
        pytest.param(
            with_amount(edges=[]),
            "features[0].edges: wanted 1 to 64 entries, found 0",
            id="no edge",
        ),
        pytest.param(
            with_amount(shares=[0.5, 0.5]),
            "features[0].shares: wanted 3 entries, found 2",
            id="too few shares",
        ),
        pytest.param(
            with_amount(shares=[0.1, 0.6, 0.1]),
            "features[0].shares: wanted a sum of 1 together with missing, found 0.85",
            id="shares that are no whole",
        ),
        pytest.param(
            with_amount(shares=[0.1, -0.6, 0.1]),
            "features[0].shares[1]: wanted a number from 0 to 1, found -0.6",
            id="a share below 0",
        ),
        pytest.param(
            with_amount(designEffect=0.5),
            "features[0].designEffect: wanted a number from 1 to 1e+06, found 0.5",
            id="a design effect below 1",
        ),
        pytest.param(
            with_amount(name=""),
            'features[0].name: wanted 1 to 128 printable characters, found ""',
            id="no name",
        ),
        pytest.param(
            with_country(categories=["DE", "other"]),
            "features[1].categories[1]: wanted any name but other, which is the rest,"
            ' found "other"',
            id="other as a category",
        ),
        pytest.param(
            with_country(categories=["DE", "DE"]),
            'features[1].categories: wanted different categories, found "DE"',
            id="a category twice",
        ),
        pytest.param(
            with_country(categories=["DE", "F\nR"]),
            'features[1].categories[1]: wanted 1 to 128 printable characters, found "F\\nR"',
            id="a category with a line break",
        ),
    ],
)
def test_a_wrong_profile_is_refused_with_the_field(value: object, message: str) -> None:
    """Claim: the message names the field, what was wanted and what was found."""
    with pytest.raises(ProfileError) as caught:
        parse(json.dumps(value))

    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff\xfe{}"])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    """Claim: broken, deeply nested or badly encoded text is a wrong profile, not a crash."""
    with pytest.raises(ProfileError, match="wanted JSON"):
        parse(text)


def test_a_profile_fits_a_configmap() -> None:
    """Claim: what a ConfigMap cannot hold is refused when it is read and when it is written."""
    names = tuple(f"{k:03}{'x' * 120}" for k in range(64))
    many = tuple(CategoryFeature(f"f{k}", 9, names, (0.0,) * 64 + (1.0,)) for k in range(200))

    with pytest.raises(ProfileError, match="wanted at most 900000 bytes"):
        render(Profile(9, many))
    with pytest.raises(ProfileError, match="wanted at most 900000 bytes"):
        parse(" " * (MAX_BYTES + 1))


def refusal(text: str) -> str | None:
    """In which words the text is refused, or None if it is a profile."""
    try:
        parse(text)
    except ProfileError as error:
        return str(error)
    return None


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_any_json_in_a_field_is_refused_or_read(value: Any) -> None:
    """Claim: whatever stands in a field, there is a profile or a ProfileError."""
    for one in (with_amount(edges=value), with_country(categories=value), as_json(features=value)):
        refused = refusal(json.dumps(one))
        assert refused is None or "wanted" in refused


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_edges_are_written_in_plain_decimals(edge: float) -> None:
    """Claim: the text of a bound has no exponent and reads back as the same number."""
    assert "e" not in plain(edge).lower()
    assert float(plain(edge)) == edge


def test_bins_are_named_as_prometheus_does() -> None:
    """Claim: upper bounds with +Inf last, or categories with the rest last."""
    assert labels(AMOUNT) == ("0.5", "20", "+Inf")
    assert labels(COUNTRY) == ("DE", "FR", "other")
    assert plain(nextafter(0.0, 1.0)).startswith("0.000")
    assert sum(reference(AMOUNT)) == pytest.approx(1.0)
