"""Durations, percentages and numbers keep their text and give their value."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.api.quantities import Duration, Number, Percentage


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("1d1h1m1s1ms", timedelta(days=1, hours=1, minutes=1, seconds=1, milliseconds=1)),
        ("0s", timedelta()),
    ],
)
def test_a_duration_gives_its_span(text: str, span: timedelta) -> None:
    """Parts add up; the text stays as it was written."""
    assert Duration(text).timedelta == span
    assert Duration(text) == text


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "1.5h", "5 m", "5m\n", "5w", "1234567s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nothing is guessed: no unit, no sign, no fraction, no space."""
    with pytest.raises(ValueError, match=r"^wanted a duration such as 90s"):
        Duration(text)


@given(st.lists(st.tuples(st.integers(0, 999_999), st.sampled_from(["ms", "s", "m", "h", "d"]))))
def test_every_duration_that_fits_has_a_span(parts: list[tuple[int, str]]) -> None:
    """No accepted text overflows or loses a part."""
    text = "".join(f"{count}{unit}" for count, unit in parts)
    if not 0 < len(text) <= Duration.longest:
        return
    seconds = {"ms": Decimal("0.001"), "s": 1, "m": 60, "h": 3600, "d": 86400}
    total = sum(count * seconds[unit] for count, unit in parts)
    assert Decimal(Duration(text).timedelta // timedelta(milliseconds=1)) == total * 1000


def test_a_percentage_gives_its_share() -> None:
    """99.9 percent is 0.999 of all, exactly as written."""
    assert Percentage("99.9").decimal == Decimal("99.9")
    assert Percentage("99.9").ratio == 0.999
    assert Percentage("0.1").ratio == 0.001


@pytest.mark.parametrize("text", ["", "-1", "99,9", "1%", ".5", "5.", "1e2", "1000", "nan"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    """Only plain decimal notation, without sign and exponent."""
    with pytest.raises(ValueError, match=r"^wanted a percentage as text"):
        Percentage(text)


@given(st.floats(allow_nan=False))
def test_every_number_of_a_report_can_be_written_and_read(value: float) -> None:
    """E-values of any size fit into a report; six digits are kept, infinity is the largest."""
    written = Number.of(value)
    bounded = max(-1.7e308, min(1.7e308, value))
    assert math.isclose(written.value, bounded, rel_tol=5e-6, abs_tol=5e-324)


def test_what_is_no_number_cannot_be_reported() -> None:
    """A value that could not be computed is absent, never written as NaN."""
    with pytest.raises(ValueError, match=r"^wanted a number, found NaN$"):
        Number.of(math.nan)
