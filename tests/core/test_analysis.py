"""Verdicts: which check speaks first, and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import exp, floor, log10

import pytest

from headgate.core.analysis import (
    Analysis,
    Breach,
    Inconclusive,
    Pass,
    Reason,
    judge,
    requests_needed,
)
from headgate.core.counters import BAD, ERRORS, GOOD, LATENCY, Arm, Point, Series
from headgate.core.evidence import (
    Evidence,
    Objective,
    ObjectiveKind,
    Settings,
    begin,
    fold,
    rebase,
    with_baseline,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
C, S = Arm.CANARY, Arm.STABLE
AVAILABILITY = Objective("availability", 0.99, ObjectiveKind.ERRORS)
FAST = Objective("fast", 0.9, ObjectiveKind.LATENCY, 0.25)
PLAIN = Settings(0.01, 0.001, 0.005, (), (5, 25, 50))
STALE_AFTER = timedelta(seconds=30)


def counter(arm: Arm, outcome: str, values: Sequence[float], signal: str = ERRORS) -> Series:
    """A counter scraped every two seconds from the start."""
    points = tuple(Point(START + timedelta(seconds=2 * n), v) for n, v in enumerate(values))
    return Series(signal, arm, "a", outcome, outcome, points)


def requests(canary: tuple[int, int], stable: tuple[int, int] | None) -> list[Series]:
    """One block of errors: (bad, all) of each arm."""
    arms = [(C, canary)] + ([(S, stable)] if stable else [])
    return [
        counter(arm, outcome, [0, count])
        for arm, (bad, total) in arms
        for outcome, count in ((GOOD, total - bad), (BAD, bad))
    ]


def latency(canary: tuple[int, int], stable: tuple[int, int], edge: str = "0.25") -> list[Series]:
    """One block of latency: (over the edge, all) of each arm; and as many good requests."""
    found = requests((0, canary[1]), (0, stable[1]))
    for arm, (over, total) in ((C, canary), (S, stable)):
        found.append(counter(arm, edge, [0, total - over], LATENCY))
        found.append(counter(arm, "+Inf", [0, total], LATENCY))
    return found


def judged(
    series: Sequence[Series],
    settings: Settings = PLAIN,
    weight: int | None = 25,
    control: bool = True,
    age: float = 5.0,
    evidence: Evidence | None = None,
) -> Analysis:
    """Judge what one look found, so many seconds after its last scrape."""
    evidence = fold(evidence or begin(settings, START), series)
    now = START + timedelta(seconds=2 + age)
    return judge(settings, evidence, weight, now, STALE_AFTER, control)


def test_a_harmful_canary_is_a_breach_with_its_numbers() -> None:
    """Claim: the sentence holds both arms' counts and a chance that the evidence bears out."""
    verdict = judged(requests((38, 1902), (41, 36118))).verdict

    assert verdict == Breach(
        "errors",
        Reason.ERRORS_HIGHER,
        "canary failed 38 of 1,902 requests, stable 41 of 36,118 in the same 2 s; "
        "chance of this without harm below 1 in 1,000,000.",
        1902,
    )


@pytest.mark.parametrize("bad", [7, 8, 9])
def test_a_claim_is_never_stronger_than_the_evidence(bad: int) -> None:
    """Claim: the chance in the sentence is the evidence, averaged over the tests that share alpha
    and rounded down to one digit."""
    analysis = judged(requests((bad, 60), (10, 1000)))
    errors, latency_report = (exp(report.log_evidence) for report in analysis.reports)
    average = (0.40 * errors + 0.25 * latency_report) / 0.65
    unit = 10 ** floor(log10(average))

    assert isinstance(analysis.verdict, Breach)
    assert analysis.verdict.message.endswith(f"below 1 in {floor(average / unit) * unit:,}.")
    assert average >= 100.0


def test_a_healthy_canary_earns_its_weight() -> None:
    """Claim: enough requests without harm are a pass that names the weight."""
    verdict = judged(requests((4, 1000), (40, 10_000))).verdict

    assert verdict == Pass(
        "Earned a weight of 25 %: canary failed 4 of 1,000 requests, "
        "stable 40 of 10,000 in the same 2 s.",
        1000,
    )


def test_a_larger_weight_takes_more_proof_and_says_how_much() -> None:
    """Claim: what earns 25 % does not earn 100 %, and the sentence says what is missing."""
    verdict = judged(requests((4, 1000), (40, 10_000)), weight=100).verdict

    assert isinstance(verdict, Inconclusive)
    assert verdict.reason is Reason.NOT_YET_PROVEN
    assert verdict.requests_needed is not None
    assert 500 < verdict.requests_needed < 1500
    assert verdict.message == (
        "No harm seen: canary failed 4 of 1,000 requests, stable 40 of 10,000 in the same 2 s. "
        "A weight of 100 % needs proof that the canary is less than 0.5 points worse: "
        f"about {verdict.requests_needed:,} more of its requests."
    )


def test_a_weight_between_steps_takes_the_proof_of_the_next_one() -> None:
    """Claim: a weight that is no step is held to the stricter step above it."""
    series = requests((1, 400), (40, 10_000))

    assert isinstance(judged(series, weight=25).verdict, Pass)
    assert isinstance(judged(series, weight=26).verdict, Inconclusive)


def test_nothing_to_earn_needs_only_flowing_data() -> None:
    """Claim: while baking, one harmless request is a pass; it says that no harm was seen."""
    verdict = judged(requests((0, 1), (0, 0)), weight=None).verdict

    assert isinstance(verdict, Pass)
    assert verdict.message.startswith("No harm seen: canary failed 0 of 1 requests")


SILENCE = [
    pytest.param([], 330, "No counter of either version yet", id="nothing at all"),
    pytest.param(
        [counter(S, GOOD, [0, 500])], 330, "has answered no request since", id="stable alone"
    ),
    pytest.param(
        requests((0, 0), (0, 500)), 290, "has answered no request since", id="an idle canary"
    ),
    pytest.param(
        requests((0, 50), None), 330, "No requests of both versions", id="no stable to compare"
    ),
]


@pytest.mark.parametrize(("series", "needed", "message"), SILENCE)
def test_silence_is_inconclusive_with_what_is_needed(
    series: list[Series], needed: int, message: str
) -> None:
    """Claim: no traffic neither passes nor fails; the requests still needed are stated."""
    verdict = judged(series).verdict

    assert isinstance(verdict, Inconclusive)
    assert verdict.reason is Reason.NO_TRAFFIC
    assert message in verdict.message
    assert f"needs about {verdict.requests_needed:,} more requests" in verdict.message
    assert verdict.requests_needed == pytest.approx(needed, rel=0.7)


@pytest.mark.parametrize("bad", [0, 900], ids=["healthy", "harmful"])
def test_old_samples_decide_nothing(bad: int) -> None:
    """Claim: neither a pass nor a breach comes out of samples older than allowed."""
    verdict = judged(requests((bad, 1000), (40, 10_000)), age=31.0).verdict

    assert verdict == Inconclusive(
        Reason.EVIDENCE_STALE, "The last sample of stable is 31 s old, wanted at most 30 s.", None
    )


def test_an_arm_that_vanished_is_stale_though_the_other_flows() -> None:
    """Claim: the sentence names the arm whose samples are old."""
    values = [20 * n for n in range(30)]
    series = [counter(S, GOOD, values), counter(C, GOOD, [0, 5, 9])]
    verdict = judged(series, age=56.0).verdict

    assert isinstance(verdict, Inconclusive)
    assert verdict.reason is Reason.EVIDENCE_STALE
    assert verdict.message.startswith("The last sample of canary is 54 s old")


def test_a_route_change_must_show_a_request_before_anything_is_earned() -> None:
    """Claim: proof gathered before is kept, but silence after a route change earns nothing."""
    proven = fold(begin(PLAIN, START), requests((4, 1000), (40, 10_000)))
    moved = rebase(proven, START + timedelta(seconds=3))
    verdict = judge(PLAIN, moved, 25, START + timedelta(seconds=4), STALE_AFTER, True).verdict

    assert isinstance(verdict, Inconclusive)
    assert verdict.reason is Reason.NO_TRAFFIC


WITH_ERRORS = replace(PLAIN, objectives=(AVAILABILITY,))


def test_a_canary_that_breaks_an_objective_alone_is_a_breach() -> None:
    """Claim: without a control, above twice the budget is a breach of the objective."""
    analysis = judged(requests((12, 100), None), WITH_ERRORS, None, control=False)

    assert analysis.verdict == Breach(
        "objective/availability",
        Reason.OBJECTIVE_BROKEN,
        "canary failed 12 of 100 requests; chance of this without harm below 1 in 1,000.",
        100,
    )
    assert [report.name for report in analysis.reports] == ["objective/availability"]
    assert analysis.reports[0].difference_points is None


def test_without_control_the_budget_is_the_measure() -> None:
    """Claim: within twice the budget is no breach, and nothing is ever earned by it."""
    verdict = judged(requests((2, 100), None), WITH_ERRORS, 100, control=False).verdict

    assert verdict == Pass("No harm seen: canary failed 2 of 100 requests.", 100)


def test_without_objective_and_control_nothing_can_be_a_breach() -> None:
    """Claim: a first revision that fails everything is still only a flowing one."""
    verdict = judged(requests((90, 100), None), PLAIN, None, control=False).verdict

    assert verdict == Pass("No harm seen: canary answered 100 requests.", 100)


def test_a_fault_of_both_versions_is_no_reason_to_roll_back() -> None:
    """Claim: both above the limit is inconclusive, and says why rolling back would not help."""
    verdict = judged(requests((60, 200), (600, 2000)), WITH_ERRORS).verdict

    assert verdict == Inconclusive(
        Reason.STABLE_IN_INCIDENT,
        "canary failed 60 of 200 requests, stable 600 of 2,000 in the same 2 s: "
        "both break the objective, so rolling back would not help.",
        None,
    )


def test_a_canary_that_is_worse_than_a_broken_stable_is_a_breach() -> None:
    """Claim: an incident of stable excuses the objective only, not the comparison."""
    verdict = judged(requests((180, 200), (600, 2000)), WITH_ERRORS).verdict

    assert isinstance(verdict, Breach)
    assert verdict.signal == "errors"


LOOSE = replace(PLAIN, objectives=(replace(AVAILABILITY, target=0.9),))
BEFORE = [counter(S, GOOD, [0, 60_000]), counter(S, BAD, [0, 6])]


def test_history_makes_the_limit_sharper_than_the_objective() -> None:
    """Claim: 4 failures of 30 break a limit learnt from a stable that hardly fails, and do not
    break an objective of 90 %."""
    known = with_baseline(begin(LOOSE, START), BEFORE, START + timedelta(seconds=2))
    series = requests((4, 30), (0, 80))
    sharp, loose = judged(series, LOOSE, evidence=known), judged(series, LOOSE)

    assert isinstance(sharp.verdict, Breach)
    assert sharp.verdict.signal == "objective/availability"
    assert sharp.reports[2].log_evidence > loose.reports[2].log_evidence + 5.0


def test_a_limit_blames_nobody_before_the_comparison_agrees() -> None:
    """Claim: an incident may reach the canary first by chance; above its limit beside a stable
    that is hardly better, or hardly counted, it is inconclusive and says so."""
    known = with_baseline(begin(LOOSE, START), BEFORE, START + timedelta(seconds=2))
    verdict = judged(requests((4, 30), (0, 40)), LOOSE, evidence=known).verdict

    assert verdict == Inconclusive(
        Reason.NOT_YET_PROVEN,
        "canary failed 4 of 30 requests, stable 0 of 40 in the same 2 s: "
        "the canary breaks the objective, but is not yet shown to be worse than stable.",
        None,
    )


WITH_LATENCY = replace(PLAIN, objectives=(FAST,))


def test_a_slow_canary_is_a_breach_of_latency() -> None:
    """Claim: more requests over the threshold than stable, in the words of the threshold."""
    verdict = judged(latency((300, 1000), (500, 10_000)), WITH_LATENCY).verdict

    assert isinstance(verdict, Breach)
    assert verdict.reason in (Reason.LATENCY_HIGHER, Reason.OBJECTIVE_BROKEN)
    assert verdict.message.startswith(
        "canary took over 0.25 s for 300 of 1,000 requests, stable 500 of 10,000 in the same 2 s;"
    )


def test_slower_within_the_floor_harms_nobody() -> None:
    """Both answer in a blink: how they split the blink is no reason to go back; beyond it is."""
    settings = replace(PLAIN, latency_floor_seconds=0.025)

    series = latency((400, 500), (0, 4500), edge="0.005")
    series += [counter(arm, "0.025", [0, n], LATENCY) for arm, n in ((C, 500), (S, 4500))]

    strict, within = judged(series), judged(series, settings)
    beyond = judged(latency((400, 500), (0, 4500), edge="0.025"), settings)

    assert isinstance(strict.verdict, Breach)
    assert strict.verdict.message.startswith("canary took over 0.005 s for 400 of 500 requests")
    assert not isinstance(within.verdict, Breach)
    assert isinstance(beyond.verdict, Breach)
    assert beyond.verdict.reason is Reason.LATENCY_HIGHER


def test_latency_is_watched_without_an_objective() -> None:
    """Claim: the shape test needs no threshold; the sentence uses stable's usual range."""
    verdict = judged(latency((300, 1000), (500, 10_000))).verdict

    assert isinstance(verdict, Breach)
    assert (verdict.signal, verdict.reason) == ("latency", Reason.LATENCY_HIGHER)
    assert verdict.message.startswith("canary took over 0.25 s for 300 of 1,000 requests")


def test_a_latency_objective_gates_the_next_weight() -> None:
    """Claim: errors are proven, latency is not yet; the sentence is about latency."""
    analysis = judged(latency((100, 1000), (1000, 10_000)), WITH_LATENCY)
    errors, _, objective = analysis.reports

    assert isinstance(analysis.verdict, Inconclusive)
    assert analysis.verdict.reason is Reason.NOT_YET_PROVEN
    assert "over 0.25 s for 100 of 1,000" in analysis.verdict.message
    assert errors.requests_needed == 0
    assert objective.requests_needed == analysis.verdict.requests_needed


def test_a_threshold_that_is_no_bucket_edge_earns_nothing_and_names_the_nearest() -> None:
    """Claim: interpolation would be a guess, so the objective says what to write instead."""
    analysis = judged(latency((10, 1000), (100, 10_000), edge="0.2"), WITH_LATENCY)
    message = (
        "objective/fast: threshold 0.25 s, wanted an edge of the latency buckets; "
        "the nearest are 0.2 s."
    )

    assert analysis.verdict == Inconclusive(Reason.THRESHOLD_NOT_AN_EDGE, message, None)
    assert analysis.reports[-1].message == message
    assert analysis.reports[-1].canary_requests == 0


def test_a_latency_objective_without_a_histogram_earns_nothing() -> None:
    """Claim: a missing signal is named, and it is neither a pass nor a breach."""
    verdict = judged(requests((4, 1000), (40, 10_000)), WITH_LATENCY).verdict

    assert verdict == Inconclusive(
        Reason.SIGNAL_MISSING, "objective/fast: no latency histogram of both versions yet.", None
    )


def test_harm_in_errors_is_found_though_latency_is_missing() -> None:
    """Claim: a source that is silent does not stop a rollback that another one proves."""
    assert isinstance(judged(requests((38, 1902), (41, 36118)), WITH_LATENCY).verdict, Breach)


def test_reports_hold_the_numbers_of_every_signal() -> None:
    """Claim: counts, difference in points, and the e-value each signal would need alone."""
    settings = replace(PLAIN, objectives=(AVAILABILITY, FAST))
    reports = judged(latency((10, 1000), (50, 10_000)), settings).reports

    assert [report.name for report in reports] == [
        "errors",
        "latency",
        "objective/availability",
        "objective/fast",
    ]
    assert (reports[1].canary_bad, reports[1].stable_bad) == (10, 50)
    assert reports[1].difference_points == pytest.approx(0.5)
    assert [round(report.threshold) for report in reports] == [225, 360, 1200, 1200]
    assert all(report.message.endswith(".") for report in reports)


@pytest.mark.parametrize("count", [0, -1])
def test_a_verdict_without_samples_cannot_be_expressed(count: int) -> None:
    """Claim: neither a breach nor a pass can be made of nothing."""
    with pytest.raises(ValueError, match="a breach needs canary requests"):
        Breach("errors", Reason.ERRORS_HIGHER, "so it seems", count)
    with pytest.raises(ValueError, match="a pass needs canary requests"):
        Pass("so it seems", count)


def test_the_plan_of_a_rollout_is_known_before_it_starts() -> None:
    """Claim: the requests each step takes grow with its weight; the first figure is some 40."""
    plan = [requests_needed(PLAIN, weight, 0.01) for weight in (5, 25, 50, 100)]

    assert plan == sorted(plan)
    assert 30 <= plan[0] <= 45
    assert plan[1] == pytest.approx(325, rel=0.1)
    assert plan[3] == pytest.approx(4900, rel=0.1)
