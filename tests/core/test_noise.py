"""The noise of a service, measured on its own units, and what it does to false rollbacks."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import log

import pytest
from bench.noise import ROWS, WEIGHTS, Row, Run, released, run
from bench.replay import binomial, standard_error

from headgate.core import stored
from headgate.core.noise import Noise, StepCount, UnitHistory, measure
from headgate.core.stats import evalue, mixture
from headgate.core.stats.evalue import Table
from headgate.simulation.engine import Ending

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALPHA = 0.01


def unit(name: str, counts: Sequence[tuple[int, int]], begin: int = 1) -> UnitHistory:
    """A unit's steps of a minute each, from (requests, bad)."""
    steps = [
        StepCount(START + (begin + n) * MINUTE, requests - bad, bad)
        for n, (requests, bad) in enumerate(counts)
    ]
    return UnitHistory(name, tuple(steps))


def service(rates: Sequence[float], minutes: int = 180, seed: int = 0) -> list[UnitHistory]:
    """Units that fail at these rates, 100 requests each a minute."""
    chance = random.Random(seed)
    return [
        unit(f"pod-{n:02}", [(100, binomial(100, rate, chance)) for _ in range(minutes)])
        for n, rate in enumerate(rates)
    ]


def known(noise: Noise | None) -> Noise:
    """The noise, which must have been measured."""
    assert noise is not None
    return noise


@pytest.mark.parametrize(
    "histories",
    [
        pytest.param([], id="no unit"),
        pytest.param([UnitHistory("a", ()), UnitHistory("b", ())], id="no step"),
        pytest.param(service([0.05]), id="one unit"),
        pytest.param([unit("a", [(9, 2)] * 60), unit("b", [(0, 0)] * 60)], id="one unit is idle"),
        pytest.param(service([0.0, 0.0, 0.0]), id="no failure in three hours"),
        pytest.param(service([0.05, 0.05], minutes=1), id="one step"),
        pytest.param(service([0.05, 0.05], minutes=8), id="too few steps of two units"),
    ],
)
def test_what_cannot_be_known_is_said(histories: list[UnitHistory]) -> None:
    """Claim: without units that can be compared the answer is None, never a design effect of 1."""
    assert measure(histories, 0.001, 1) is None


def test_a_quiet_service_costs_little() -> None:
    """Claim: units that are alike give an effect near one, less near where less is known, and leave
    the threshold at 1/alpha."""
    noise = known(measure(service([0.02] * 20), 0.001, 1))

    assert noise.phi_at(MINUTE) < 1.1
    assert noise.phi < 1.6
    assert noise.threshold_log(ALPHA) == pytest.approx(log(100))
    assert (noise.units, noise.placebo_runs, noise.step_seconds) == (20, 120, 60.0)


def test_one_sick_unit_is_what_a_canary_would_have_to_beat() -> None:
    """Claim: a pod that fails five times as often as the others, for good, raises the effect and
    keeps an equally sick canary from being blamed."""
    quiet = known(measure(service([0.02] * 10), 0.001, 1))
    noise = known(measure(service([0.1] + [0.02] * 9), 0.001, 1))

    assert noise.phi > 10 * quiet.phi
    assert noise.placebo_log > quiet.placebo_log


def test_tempering_is_weaker_for_a_minute_than_for_half_an_hour() -> None:
    """Claim: where units differ for good, the first minute is divided by less than the thirtieth,
    and the hour after by more."""
    noise = known(measure(service([0.02, 0.03, 0.04, 0.05, 0.06]), 0.001, 1))
    effects = [noise.phi_at(n * MINUTE) for n in (1, 5, 30, 90)]

    assert effects == sorted(effects)
    assert effects[0] < effects[2] / 4
    assert effects[2] == noise.phi
    assert effects[3] > 2 * noise.phi


@pytest.mark.parametrize(
    ("share", "canary_units", "compared", "alone"),
    [
        pytest.param(1 / 21, 1, 20 / 21, 20 / 21, id="a pod with its part of all requests"),
        pytest.param(0.5, 1, 5.25, 10.0, id="a pod with half of them"),
        pytest.param(0.5, 20, 0.5, 0.5, id="as many pods as stable, each with its part"),
        pytest.param(1.0, 4, 0.0, 5.0, id="all requests and fewer pods"),
    ],
)
def test_a_pod_with_more_requests_is_noisier(
    share: float, canary_units: int, compared: float, alone: float
) -> None:
    """Claim: what is above 1 in the effect grows with the requests that share a pod's fate, and is
    never less than what was measured."""
    noise = known(measure(service([0.02, 0.04] * 10), 0.001, canary_units))
    load, measured = noise.compared_load(share), noise.phi_at(MINUTE)

    assert (load, noise.canary_load(share)) == pytest.approx((compared, alone))
    assert noise.phi_at(MINUTE, load) - 1 == pytest.approx(max(1.0, load) * (measured - 1))


def test_pods_that_have_gone_share_no_requests() -> None:
    """Claim: what is compared is divided among the pods of the last half hour."""
    old = [unit(f"old-{n}", [(100, 3)] * 100) for n in range(8)]
    young = [unit(f"young-{n}", [(100, 3)] * 80, begin=101) for n in range(4)]
    noise = known(measure([*old, *young], 0.001, 1))

    assert (noise.units, noise.serving) == (12, 4)


@pytest.mark.parametrize(
    ("units", "canary_units", "minutes", "runs"),
    [
        pytest.param(20, 1, 180, 120, id="each of twenty units in six half hours"),
        pytest.param(20, 3, 180, 36, id="six groups of three"),
        pytest.param(3, 2, 180, 18, id="never more than half of the units"),
        pytest.param(4, 0, 180, 24, id="a canary has a unit at least"),
        pytest.param(40, 1, 180, 128, id="no more runs than are wanted"),
        pytest.param(4, 1, 20, 4, id="a short history is one window"),
        pytest.param(4, 1, 40, 4, id="less than a quarter of an hour is left over"),
        pytest.param(4, 1, 50, 8, id="more of it is a window"),
        pytest.param(4, 1, 300, 24, id="three hours and no more"),
    ],
)
def test_placebos_are_groups_of_the_canary_s_size(
    units: int, canary_units: int, minutes: int, runs: int
) -> None:
    """Claim: so many runs are made, and published."""
    noise = known(measure(service([0.03] * units, minutes), 0.001, canary_units))

    assert noise.placebo_runs == runs


def test_many_units_are_sampled() -> None:
    """Claim: of a hundred units 64 are looked at, so that the cost has a bound."""
    assert known(measure(service([0.03] * 100, 30), 0.001, 1)).units == 64


def test_a_unit_that_came_later_has_no_run_before() -> None:
    """Claim: where a unit has no steps there is no data, and no placebo of it."""
    old, young = service([0.03] * 4), unit("young", [(100, 3)] * 60, begin=121)

    assert known(measure([*old, young], 0.001, 1)).placebo_runs == 4 * 6 + 2


def test_the_order_of_units_does_not_matter() -> None:
    """Claim: a metrics source may list units as it likes."""
    histories = service([0.02, 0.03, 0.05])

    assert measure(histories[::-1], 0.001, 1) == measure(histories, 0.001, 1)


def test_noise_is_stored_as_it_is() -> None:
    """Claim: written to JSON and read again, nothing is lost."""
    noise = known(measure(service([0.02] * 5), 0.001, 1))

    assert stored.decode(Noise, json.loads(json.dumps(stored.encode(noise)))) == noise


@pytest.mark.parametrize("margin", [0.0, 0.001])
@pytest.mark.parametrize(
    "rates",
    [
        pytest.param([0.02] * 16, id="units that are alike"),
        pytest.param([0.01 + 0.002 * n for n in range(16)], id="units that differ"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_placebo_is_the_largest_of_all_runs(
    rates: list[float], margin: float, seed: int
) -> None:
    """Claim: replaying all 96 runs by the book finds no larger one than `measure` says, although it
    replays only those in which a crude look finds most."""
    histories = service(rates, seed=seed)
    noise = known(measure(histories, margin, 1))
    logs = [
        by_the_book(histories, n, range(30 * window, 30 * window + 30), margin, noise)
        for n in range(len(rates))
        for window in range(6)
    ]

    assert noise.placebo_log == pytest.approx(max(0.0, *logs))


def by_the_book(
    histories: Sequence[UnitHistory], canary: int, window: range, margin: float, noise: Noise
) -> float:
    """The largest log evidence against one unit in one half hour, ten minutes of baseline first."""

    def table(step: int) -> Table:
        own = histories[canary].steps[step]
        others = [one.steps[step] for n, one in enumerate(histories) if n != canary]
        bad = sum(one.bad for one in others)
        return Table(own.bad, own.good + own.bad, bad, bad + sum(one.good for one in others))

    # the step that ends where the window begins is before it, and so is what led up to it
    begun = max(0, window.start - 1)
    before = [table(step) for step in range(max(0, begun - 9), window.start)]
    bad = sum(one.stable_bad for one in before)
    requests = sum(one.stable_requests for one in before)
    logs, made, largest = mixture.fresh(len(evalue.HARM_EFFECTS)), 0, 0.0
    for step in window:
        age = (step - begun) * MINUTE
        logs, made = mixture.start(logs, made, age // (5 * MINUTE)), age // (5 * MINUTE)
        block, rate = table(step), evalue.running_rate(bad, requests)
        factors = evalue.harm_logs(block, rate, margin)
        logs = mixture.multiply(logs, [one / noise.phi_at(age) for one in factors])
        largest = max(largest, mixture.log_value(logs, made))
        bad, requests = bad + block.stable_bad, requests + block.stable_requests
    return largest


# Replays


def shares(runs: Sequence[Run]) -> tuple[float, float, float]:
    """False rollbacks by the binomial test, the tempered one, and that with a placebo."""
    rules = ("binomial", "tempered", "guarded")
    false = [sum(getattr(one.healthy, rule) is not None for one in runs) for rule in rules]
    return false[0] / len(runs), false[1] / len(runs), false[2] / len(runs)


@pytest.mark.replay
def test_noisy_pods_are_rolled_back_at_most_twice_in_a_hundred() -> None:
    """Claim: over all kinds of noise a healthy canary is rolled back by at most 2 %, while the
    binomial test, which believes that requests are independent, does it to one in four."""
    runs = [run(row, 0.0, seed, harms=()) for row in ROWS for seed in range(12)]
    binomial_share, _, guarded = shares(runs)

    assert guarded <= 0.02 + 3 * standard_error(0.02, len(runs))
    assert binomial_share >= 0.25


@pytest.mark.replay
@pytest.mark.parametrize("weight", WEIGHTS)
def test_the_whole_stack_keeps_its_promise_on_noisy_pods(weight: int) -> None:
    """Claim: with all terms together, and whatever part of the requests the canary's pods get, at
    most 2 % of healthy canaries are rolled back."""
    runs = [released(row, weight, seed) for row in ROWS for seed in range(3)]
    back = [one for one in runs if one.ending is Ending.ROLLED_BACK]

    assert len(back) / len(runs) <= 0.02 + 3 * standard_error(0.02, len(runs))


@pytest.mark.replay
@pytest.mark.parametrize(
    ("row", "seconds"),
    [
        pytest.param(ROWS[0], 60, id="no noise"),
        pytest.param(ROWS[2], 90, id="a new rate every ten seconds"),
        pytest.param(ROWS[3], 90, id="rates that wander"),
        pytest.param(ROWS[7], 60, id="pods that differ for good"),
    ],
)
def test_five_points_of_harm_are_found_through_the_noise(row: Row, seconds: int) -> None:
    """Claim: the price of honesty is bounded: the median delay stays within a few looks."""
    found = [run(row, 0.001, seed, harms=(0.05,)).harmed[0].guarded or 9999 for seed in range(8)]

    assert sorted(found)[4] <= seconds
