"""Mixtures over alternatives and start times."""

from __future__ import annotations

from math import exp, log

import pytest

from headgate.core.stats import mixture


def test_a_mixture_that_has_seen_nothing_is_one() -> None:
    """Claim: the stakes that run and those that wait add up to 1, after any number of starts."""
    logs = mixture.fresh(10)

    assert mixture.log_value(logs, 0) == pytest.approx(0.0, abs=1e-4)
    for made, now in ((0, 1), (1, 2), (2, 40), (40, 1000)):
        logs = mixture.start(logs, made, now)
        assert mixture.log_value(logs, now) == pytest.approx(0.0, abs=1e-4)


def test_a_product_is_the_weighted_sum_over_its_starts() -> None:
    """Claim: factor 2, a start, factor 3: 0.8 * 6 for the first, 0.1 * 3 for the second, 0.1 that
    waits."""
    logs = mixture.multiply(mixture.fresh(1), [log(2.0)])
    logs = mixture.multiply(mixture.start(logs, 0, 1), [log(3.0)])

    assert exp(mixture.log_value(logs, 1)) == pytest.approx(0.8 * 6 + 0.1 * 3 + 0.1, rel=1e-4)


def test_an_hour_of_health_does_not_bury_what_starts_later() -> None:
    """Claim: after factors that all but end the first stake, a later one still reaches 100."""
    logs = mixture.multiply(mixture.fresh(1), [-1000.0])
    logs = mixture.multiply(mixture.start(logs, 0, 12), [log(1000.0)])

    assert mixture.log_value(logs, 12) > log(100.0)


def test_starting_step_by_step_equals_starting_at_once() -> None:
    """Claim: a gap that skips start times gives the same stakes."""
    stepped = mixture.fresh(1)
    for made in range(5):
        stepped = mixture.start(stepped, made, made + 1)

    assert stepped == pytest.approx(mixture.start(mixture.fresh(1), 0, 5), abs=1e-4)


def test_stored_numbers_have_few_digits() -> None:
    """Claim: a state is what is written of it, so that a restart continues from the same."""
    (value,) = mixture.multiply(mixture.fresh(1), [1 / 3])

    assert value == round(value, 5)
