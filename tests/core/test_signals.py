"""Signals beyond errors and latency: kinds, arms that are scraped apart, tempering, traces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import log

import pytest

from headgate.core.analysis import Analysis, Breach, Inconclusive, Reason, judge, judge_ramp
from headgate.core.counters import BAD, GOOD, TOTAL, Arm, Kind, Point, Series, difference
from headgate.core.evidence import Evidence, Settings, begin, fold, with_noise
from headgate.core.noise import Noise
from headgate.core.signals import Objective, ObjectiveKind, OnBreach, Signal, Worse
from headgate.core.stats.dispersion import Dispersion
from headgate.core.trace import LONGEST

START = datetime(2026, 1, 1, tzinfo=UTC)
C, S = Arm.CANARY, Arm.STABLE
SHARE = Signal("signal/aborted", Kind.SHARE, 0.2)
APART = replace(SHARE, paired=False)


def at(seconds: float) -> datetime:
    """A moment of the test."""
    return START + timedelta(seconds=seconds)


def settings(*signals: Signal) -> Settings:
    """Rules with these signals."""
    return Settings(0.01, 0.001, 0.05, weights=(10, 50), signals=signals)


def counter(
    arm: Arm,
    outcome: str,
    values: Sequence[float],
    signal: str = SHARE.name,
    offset: float = 0.0,
    instance: str = "",
) -> Series:
    """A counter scraped every ten seconds, `offset` seconds later than the others."""
    points = tuple(Point(at(10 * n + offset), value) for n, value in enumerate(values))
    return Series(signal, arm, instance or "a", outcome, outcome, points)


def flowing(rounds: int) -> list[Series]:
    """Ten canary and ninety stable requests a round that all succeed."""
    return [
        counter(arm, GOOD, [rate * n for n in range(rounds + 1)], "errors")
        for arm, rate in ((C, 10), (S, 90))
    ]


def apart(canary_bad: Sequence[int], stable_bad: Sequence[int], skew: float) -> list[Series]:
    """Pods that are scraped by themselves: 20 canary and 180 stable requests a round."""
    found = []
    for arm, bad, rate, offset in ((C, canary_bad, 20, 0.0), (S, stable_bad, 180, skew)):
        total = [rate * n for n in range(len(bad) + 1)]
        failed = [sum(bad[:n]) for n in range(len(bad) + 1)]
        pod = f"pod-{arm}"
        found += [
            counter(arm, TOTAL, total, offset=offset, instance=pod),
            counter(arm, BAD, failed, offset=offset, instance=pod),
        ]
    return found


def noise(phi: float, placebo: float = 0.0, serving: int = 4) -> Noise:
    """One design effect whenever it is asked for, measured on pods of which the canary has one."""
    return Noise(placebo, 40, serving, serving, 1, 60.0, (Dispersion(1, phi, phi, 100),))


def judged(evidence: Evidence, rounds: int, weight: int | None = 50) -> Analysis:
    """Judge just after the last round."""
    now = at(10 * rounds + 9.5)
    return judge(evidence.settings, evidence, weight, now, timedelta(seconds=60), True)


KINDS = [
    pytest.param(Kind.SHARE, {BAD: [0, 2], TOTAL: [0, 10]}, (8, 2), id="bad of all"),
    pytest.param(Kind.SHARE, {TOTAL: [0, 10]}, (10, 0), id="no bad one yet"),
    pytest.param(Kind.SHARE, {BAD: [0, 2]}, None, id="bad without all is no data"),
    pytest.param(Kind.SHARE, {BAD: [0, 12], TOTAL: [0, 10]}, None, id="more bad than all"),
    pytest.param(Kind.YIELD, {GOOD: [0, 7], TOTAL: [0, 10]}, (7, 3), id="good of all"),
    pytest.param(Kind.YIELD, {TOTAL: [0, 10]}, None, id="good that nobody counts is no data"),
    pytest.param(Kind.RATIO, {BAD: [0, 3]}, (0, 3), id="good and bad, only bad ones"),
]


@pytest.mark.parametrize(("kind", "counters", "expected"), KINDS)
def test_each_kind_of_ratio_counts_by_its_rule(
    kind: Kind, counters: dict[str, list[float]], expected: tuple[int, int] | None
) -> None:
    """Claim: what is not counted is no data, and never a share of one."""
    series = [counter(C, outcome, values) for outcome, values in counters.items()]
    block = difference(series, {}, START, {SHARE.name: kind}).blocks[0]

    assert block.counts[SHARE.name].get(C) == expected


def test_a_signal_without_a_kind_is_left_out() -> None:
    """Claim: series that nobody asked for make no block and no cursor."""
    found = difference([counter(C, BAD, [0, 1])], {}, START, {})

    assert (found.blocks, dict(found.cursors)) == ((), {})


def test_one_source_at_two_paces_keeps_its_cursors_apart() -> None:
    """Claim: signals of one instance that are scraped apart do not wait for each other."""
    series = [
        *flowing(3),
        counter(C, BAD, [0, 1, 2], offset=3),
        counter(C, TOTAL, [0, 9, 18], offset=3),
    ]
    found = difference(series, {}, START, settings(SHARE).kinds)

    assert set(found.cursors) == {"a", "signal/aborted@a"}
    assert sum("signal/aborted" in block.counts for block in found.blocks) == 2


def test_arms_that_are_scraped_apart_must_hold_a_breach_for_two_rounds() -> None:
    """Claim: one round that looks like harm is no breach, whatever its size; two of them are."""
    once = fold(begin(settings(APART), START), [*flowing(4), *apart([0, 0, 0, 20], [0] * 4, 3)])
    twice = fold(
        begin(settings(APART), START), [*flowing(5), *apart([0, 0, 0, 20, 20], [0] * 5, 3)]
    )

    assert not isinstance(judged(once, 4).verdict, Breach)
    assert isinstance(judged(twice, 5).verdict, Breach)


def test_a_control_in_an_incident_is_none() -> None:
    """Claim: arms that see a shared incident at different moments are not told apart in it."""
    series = [*flowing(6), *apart([0, 0, 0, 15, 15, 15], [0, 0, 0, 5, 130, 130], 9)]
    evidence = fold(begin(settings(APART), START), series)
    verdict = judged(evidence, 6).verdict

    assert not isinstance(verdict, Breach)


def test_a_measured_design_effect_divides_the_evidence() -> None:
    """Claim: twice the variance is half the logarithm, and less than one changes nothing."""
    series = [*flowing(2), *apart([8, 8], [0, 0], 0.0)]
    signal = replace(SHARE, paired=True)
    together = [replace(one, instance="a") for one in series]
    plain = fold(begin(settings(signal), START), together)
    tempered, same = (
        fold(with_noise(begin(settings(signal), START), SHARE.name, noise(phi)), together)
        for phi in (2.0, 0.5)
    )
    grown = max(plain.signals[2].harm) - log(0.8)

    assert max(tempered.signals[2].harm) - log(0.8) == pytest.approx(grown / 2, abs=1e-3)
    assert same.signals[2].harm == plain.signals[2].harm


LIMITED = Settings(
    0.01, 0.001, 0.05, (Objective("availability", 0.95, ObjectiveKind.ERRORS),), (50,)
)


def failing(arms: dict[Arm, tuple[int, int]]) -> list[Series]:
    """Arms that answer so many requests a round, of which so many fail, for two rounds."""
    return [
        counter(arm, outcome, [count * n for n in range(3)], "errors")
        for arm, (requests, bad) in arms.items()
        for outcome, count in ((GOOD, requests - bad), (BAD, bad))
    ]


@pytest.mark.parametrize(
    ("arms", "test", "divided_by"),
    [
        pytest.param({C: (10, 8), S: (90, 4)}, "canary", 2.0, id="its part of all requests"),
        pytest.param({C: (50, 40), S: (50, 2)}, "canary", 6.0, id="five times as many a pod"),
        pytest.param({C: (50, 40)}, "alone", 11.0, id="all requests, and no control"),
        pytest.param({C: (50, 2), S: (50, 40)}, "stable", 1.0, id="stable can only excuse it"),
    ],
)
def test_limits_are_tempered_by_how_many_requests_share_a_pod(
    arms: dict[Arm, tuple[int, int]], test: str, divided_by: float
) -> None:
    """Claim: one pod's bad minute is no more than that, however many requests were sent to it."""
    plain = fold(begin(LIMITED, START), failing(arms))
    noisy = with_noise(begin(LIMITED, START), "errors", noise(2.0, serving=10))
    tempered = fold(noisy, failing(arms))
    grown, less = (
        max(getattr(one.objectives[0].limits, test)) - log(0.8) for one in (plain, tempered)
    )

    assert grown > 5.0
    assert less == pytest.approx(grown / divided_by, abs=1e-3)


def test_a_restart_at_any_look_changes_no_number_of_noisy_evidence() -> None:
    """Claim: noise is stored with the evidence, so that a process that starts anew at each look
    divides by the same effects to the last digit, and it is small."""
    by_length = tuple(Dispersion(n, n / 3, 1.1 + n / 3, 100) for n in (1, 5, 30))
    measured = Noise(3.3, 120, 20, 20, 1, 5.0, by_length)
    begun = with_noise(begin(LIMITED, START), "errors", measured)
    bad = [0, 1, 3, 3, 4, 9, 9, 10]
    series = [
        counter(C, GOOD, [7 * n for n in range(8)], "errors"),
        counter(C, BAD, bad, "errors"),
        counter(S, GOOD, [61 * n for n in range(8)], "errors"),
        counter(S, BAD, [10] * 8, "errors"),
    ]
    restarted, effects = begun, []
    for looks in range(2, 9):
        seen = [replace(one, points=one.points[:looks]) for one in series]
        restarted = Evidence.from_json(fold(restarted, seen).to_json())
        effects.append(restarted.signals[0].phi)

    assert restarted == fold(begun, series)
    assert effects[0] < effects[-1] / 2
    assert len(restarted.to_json()) - len(fold(begin(LIMITED, START), series).to_json()) < 600


def test_a_comparison_that_the_placebos_reach_confirms_no_broken_objective() -> None:
    """Claim: what stable's own pods do to each other is no reason to blame the canary's limit."""
    series = failing({C: (20, 8), S: (180, 4)})
    verdicts = [
        judged(
            fold(with_noise(begin(LIMITED, START), "errors", noise(1.0, placebo)), series), 2
        ).verdict
        for placebo in (0.0, 30.0)
    ]

    assert isinstance(verdicts[0], Breach)
    assert isinstance(verdicts[1], Inconclusive)
    assert verdicts[1].reason is Reason.NOT_YET_PROVEN
    assert "not yet shown to be worse than stable" in verdicts[1].message


def test_a_placebo_raises_the_bar_by_what_it_exceeds_alpha() -> None:
    """Claim: below 1/alpha it changes nothing; above, the signal must beat it."""
    signal = replace(SHARE, paired=True)
    series = [replace(one, instance="a") for one in [*flowing(2), *apart([8, 8], [0, 0], 0.0)]]
    values = [
        judged(
            fold(
                with_noise(begin(settings(signal), START), SHARE.name, noise(1.0, placebo)), series
            ),
            2,
        )
        .reports[2]
        .log_evidence
        for placebo in (0.0, log(100.0), log(100.0) + 3.0)
    ]

    assert values[0] == pytest.approx(values[1])
    assert values[2] == pytest.approx(values[0] - 3.0)


def test_a_signal_that_freezes_has_no_part_in_a_breach() -> None:
    """Claim: it holds the weight with its own reason, and its share is nobody's."""
    frozen = replace(SHARE, share=0.0, on_breach=OnBreach.FREEZE)
    series = [replace(one, instance="a") for one in [*flowing(3), *apart([15] * 3, [0] * 3, 0.0)]]
    verdict = judged(fold(begin(settings(frozen), START), series), 3, weight=10).verdict

    assert isinstance(verdict, Inconclusive)
    assert verdict.reason is Reason.FROZEN


def test_classes_are_compared_by_name_and_new_ones_are_other() -> None:
    """Claim: a class that one version answers far more often is a breach that names it."""
    reason = Signal("signal/finish", Kind.CATEGORIES, 0.2, Worse.EITHER)
    series = flowing(3)
    for arm, name, rate in ((C, "stop", 2), (C, "length", 18), (S, "stop", 160), (S, "length", 20)):
        series.append(counter(arm, name, [rate * n for n in range(4)], reason.name))
    found = judged(fold(begin(settings(reason), START), series), 3)

    assert isinstance(found.verdict, Breach)
    assert found.verdict.reason is Reason.DISTRIBUTION_DIFFERS
    assert "canary had finish" in found.verdict.message


def test_a_ramp_earns_the_largest_weight_the_evidence_allows() -> None:
    """Claim: of all weights that follow the last that is earned; without one the first is told."""
    rules = replace(settings(), weights=(1, 2, 5, 10, 50))
    few = fold(begin(rules, START), flowing(2))
    many = fold(begin(rules, START), flowing(40))
    weights, stale = (2, 5, 10, 50, 100), timedelta(seconds=60)
    nothing = judge_ramp(rules, begin(rules, START), weights, at(1), stale, True)

    assert judge_ramp(rules, few, weights, at(25), stale, True).weight in weights[:4]
    assert judge_ramp(rules, many, weights, at(405), stale, True).weight == 100
    assert nothing.weight == 2


def test_the_trace_is_bounded_and_survives_a_restart() -> None:
    """Claim: a long rollout keeps at most so many points, evenly, and stored ones are the same."""
    evidence = begin(settings(), START)
    for start in range(0, 400, 40):
        series = [
            replace(one, points=tuple(p for p in one.points if p.at >= evidence.read_from))
            for one in flowing(start + 40)
        ]
        evidence = Evidence.from_json(fold(evidence, series).to_json())
    whole = fold(begin(settings(), START), flowing(400))
    gaps = {
        (b.at - a.at).total_seconds()
        for a, b in zip(evidence.trace, evidence.trace[1:], strict=False)
    }

    assert evidence.trace == whole.trace
    assert 24 <= len(evidence.trace) <= LONGEST
    assert max(gaps) <= 2 * min(gaps)
    assert len(evidence.to_json()) < 65_536
