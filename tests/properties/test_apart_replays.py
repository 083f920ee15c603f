"""Error rates of arms that are scraped apart, replayed from seeds."""

from __future__ import annotations

import pytest
from bench.false_alarms import APART_CELLS, Apart, apart

pytestmark = pytest.mark.replay

BUSY = [cell for cell in APART_CELLS if cell.rate == 1000.0 and not cell.harm]
# In these half hours an incident is under way when the canary, or a stake, begins.
AT_A_START = {BUSY[0]: (10, 19, 24, 29), BUSY[2]: (0,)}


@pytest.mark.parametrize("cell", BUSY, ids=[cell.name for cell in BUSY])
def test_an_incident_that_the_arms_see_at_different_moments_is_nobody_s_harm(cell: Apart) -> None:
    """Claim: with 30 s of 20 % failures about every ten minutes, a healthy canary is rolled back in
    none of these half hours, whichever arm is scraped first and whenever it begins."""
    seeds = {*range(10), *AT_A_START.get(cell, ())}
    back = [apart(cell, seed) for seed in sorted(seeds)]

    assert set(back) == {None}


def test_harm_is_found_between_the_incidents() -> None:
    """Claim: two points of harm are found in a minute in the median, and in every half hour."""
    (cell,) = [one for one in APART_CELLS if one.rate == 1000.0 and one.harm]
    found = sorted(apart(cell, seed) or 9999 for seed in range(10))

    assert found[5] <= 60
    assert found[-1] < 9999
