"""The arithmetic over many runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.simulation.engine import Ending, Run
from headgate.simulation.summary import Mean, Quantile, mean, quantile, rate, summarize


def run(ending: Ending, at: int, caused: int = 0, earned_at: int | None = None) -> Run:
    """A run that ended so."""
    return Run(ending, at, "", earned_at, None, 100, caused + 1, caused, ())


BACK, PROMOTED, OPEN = Ending.ROLLED_BACK, Ending.PROMOTED, Ending.UNDECIDED


def test_rollbacks_before_the_onset_are_false() -> None:
    """Claim: a rollback is detection only after the harm began; delays count from there, and what
    was never found took for ever."""
    runs = [run(BACK, 50), run(BACK, 130, 4), run(BACK, 110, 2), run(PROMOTED, 900, 90)]
    found = summarize(runs, onset=100.0)

    assert (found.false_rollback.share, found.promotion.share) == (0.25, 0.25)
    assert found.detection is not None
    assert found.detection.share == 0.5
    assert found.delay_median.seconds == 30
    assert found.delay_p95.seconds is None
    assert found.caused.value == 24


def test_without_harm_every_rollback_is_false() -> None:
    """Claim: there is nothing to detect, and no delay."""
    found = summarize([run(BACK, 50), run(OPEN, 100), run(PROMOTED, 80, 0, 20)], onset=None)

    assert found.detection is None
    assert found.delay_median == Quantile(None, None)
    assert [r.share for r in (found.false_rollback, found.undecided)] == pytest.approx([1 / 3] * 2)
    assert found.promotion_median.seconds is None
    assert found.earned_median.seconds is None


@pytest.mark.parametrize(
    ("events", "runs", "error"),
    [
        pytest.param(50, 100, 0.05, id="half"),
        pytest.param(0, 100, sqrt(0.005 * 0.995 / 100), id="none, as if half a one"),
        pytest.param(100, 100, sqrt(0.005 * 0.995 / 100), id="all, as if all but half a one"),
        pytest.param(0, 1, 0.5, id="a single run says nothing"),
    ],
)
def test_rates_have_binomial_errors(events: int, runs: int, error: float) -> None:
    """Claim: the error is never 0."""
    assert rate(events, runs).standard_error == pytest.approx(error)


def test_a_mean_of_one_has_no_error() -> None:
    """Claim: what cannot be known is None."""
    assert mean([4.0]) == Mean(4.0, None)
    assert mean([3.0, 5.0]) == Mean(4.0, 1.0)


def test_quantiles_have_errors_by_rank() -> None:
    """Claim: of 1..100 the median is 50, give or take five ranks."""
    assert quantile([float(n) for n in range(1, 101)], 0.5) == Quantile(50.0, 5.0)
    assert quantile([1.0, inf, inf], 0.5) == Quantile(None, None)
    assert quantile([1.0, 2.0, inf], 0.5) == Quantile(2.0, None)


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=60), level=st.floats(0.01, 0.99))
def test_a_quantile_is_one_of_the_values(values: Sequence[float], level: float) -> None:
    """Law: at least the share `level` is no larger."""
    found = quantile(values, level).seconds

    assert found in values
    assert sum(value <= (found or 0.0) for value in values) >= level * len(values) - 1e-9
