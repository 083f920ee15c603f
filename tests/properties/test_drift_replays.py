"""Error rates and delays of drift detection, from seeds; `bench/drift.py` is the full size.

Bounds are the promise plus three standard errors at this number of runs.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import median

import pytest
from bench.drift import CASES, TICK, Case, alarm_at
from bench.replay import standard_error

pytestmark = pytest.mark.replay

BY_NAME = {case.name: case for case in CASES}


def alarms(case: Case, runs: int) -> list[int | None]:
    """Replay a case from the seeds 0..runs-1."""
    return [alarm_at(case, seed) for seed in range(runs)]


@pytest.mark.parametrize("name", ["no drift", "no drift, m=1000", "no drift, sessions of 5"])
def test_without_a_drift_alarms_are_as_rare_as_promised(name: str) -> None:
    """Claim: at most alpha + beta = 2 % of streams alarm, also from a small reference and when five
    events of each session are equal; here three features and 20,000 events."""
    case = replace(BY_NAME[name], features=3, events=20_000)
    found = [alarm for alarm in alarms(case, 20) if alarm is not None]

    assert len(found) / 20 <= 0.02 + 3 * standard_error(0.02, 20)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        pytest.param(".25 sd, one feature", 2.5, id="a quarter of a deviation"),
        pytest.param(".5 sd, one feature", 2.5, id="half a deviation"),
    ],
)
def test_a_shift_in_one_of_ten_features_is_found_near_the_limit(name: str, most: float) -> None:
    """Claim: the median delay is at most 2.5 times Lorden's limit, and a tick."""
    case = BY_NAME[name]
    found = [alarm for alarm in alarms(case, 15) if alarm is not None]

    assert len(found) == 15
    assert median(found) <= most * case.limit + TICK


@pytest.mark.parametrize("name", ["1 sd, one feature", "spread x1.5", "2 % far outliers"])
def test_other_drifts_are_found_too(name: str) -> None:
    """Claim: a large shift, a wider spread and a few outliers are found within 5,000 events."""
    found = alarms(replace(BY_NAME[name], events=5_000), 8)

    assert None not in found
