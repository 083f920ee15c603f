"""Requests that a proof takes, and upper bounds."""

from __future__ import annotations

from math import inf, log

import pytest

from headgate.core.stats.sizes import divergence, information, requests_to_prove, upper_bound

PROOF = log(20.0)


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [
        pytest.param(0.001, (930, 391, 175), id="base 0.1 %"),
        pytest.param(0.01, (3127, 960, 325), id="base 1 %"),
        pytest.param(0.05, (12094, 3197, 884), id="base 5 %"),
    ],
)
def test_a_proof_of_non_inferiority_takes_the_known_number_of_requests(
    rate: float, wanted: tuple[int, int, int]
) -> None:
    """Claim: margins of 0.5, 1 and 2 points at 5 %, next to much stable traffic, as tabled."""
    found = [requests_to_prove(rate, margin, PROOF) for margin in (0.005, 0.01, 0.02)]

    assert found == pytest.approx(wanted, abs=1)


def test_little_stable_traffic_makes_a_proof_dearer() -> None:
    """Claim: at equal split it takes more canary requests than beside ten times the traffic."""
    equal = requests_to_prove(0.01, 0.01, PROOF, 1.0)
    tenfold = requests_to_prove(0.01, 0.01, PROOF, 10.0)

    assert requests_to_prove(0.01, 0.01, PROOF) <= tenfold < equal
    assert information(0.01, 0.01, 1e4) == pytest.approx(information(0.01, 0.01, inf), rel=0.01)


def test_divergence_is_zero_for_equals_and_known_for_certainty() -> None:
    """Claim: KL(p||p) = 0, and a service that never fails is told from one that does 1 in 10."""
    assert divergence(0.2, 0.2) == 0.0
    assert divergence(0.0, 0.1) == pytest.approx(-log(0.9))
    assert divergence(1.0, 0.1) == pytest.approx(-log(0.1))


@pytest.mark.parametrize(
    ("bad", "requests", "wanted"),
    [
        pytest.param(0, 0, 1.0, id="nothing seen bounds nothing"),
        pytest.param(0, 600, 0.00636, id="no failure in 600"),
        pytest.param(6, 600, 0.02163, id="six failures in 600"),
    ],
)
def test_the_upper_bound_is_wilsons(bad: int, requests: int, wanted: float) -> None:
    """Claim: known values of the 97.5 % one-sided bound."""
    assert upper_bound(bad, requests) == pytest.approx(wanted, abs=1e-4)
