"""Error budgets: burn rates, pairs of windows, gates, and what one rollout may spend."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.counters import BAD, GOOD, Point
from headgate.core.slo.budget import (
    WINDOWS,
    Budget,
    Pair,
    Severity,
    WindowCounts,
    budget_of,
    burn_rate,
    is_firing,
    pairs_of,
)
from headgate.core.slo.exposure import first_weight_cap, spending
from headgate.core.slo.gate import GateReason, gate
from headgate.core.slo.level import (
    Errors,
    Latency,
    Own,
    Selector,
    ServiceLevel,
    ThresholdIsNoEdge,
    edge_at,
)
from headgate.core.slo.ticks import TOTAL, Counter, Outcomes, Ticks, count_ticks, window_counts
from headgate.core.stats.evalue import Table, limit_logs
from headgate.core.stats.mixture import log_mean

NOW = datetime(2026, 11, 25, 4, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NINES = ServiceLevel("availability", Decimal("0.999"), Errors())
FAST = pairs_of(30 * DAY)[0]


def counts(window: timedelta, bad: int, requests: int, covered: float = 1.0) -> WindowCounts:
    """Return counts of a window, of which this share was read."""
    return WindowCounts(window, requests - bad, bad, covered * window)


def budget(bad: int, requests: int, *burning: WindowCounts, covered: float = 1.0) -> Budget:
    """Return the budget at 99.9 % over 30 d after these counts."""
    return budget_of(NINES, [counts(30 * DAY, bad, requests, covered), *burning], NOW)


BURNING = (counts(HOUR, 900, 30_000), counts(5 * MINUTE, 90, 2_500))


class TestBurn:
    """Speed of spending, and when it is too fast."""

    def test_the_factors_of_thirty_days_are_those_of_the_workbook(self) -> None:
        """14.4, 6, 3 and 1, with their windows."""
        found = [(pair.long, pair.short, pair.factor, pair.severity) for pair in pairs_of(30 * DAY)]

        assert found == [
            (HOUR, 5 * MINUTE, 14.4, Severity.PAGE),
            (6 * HOUR, 30 * MINUTE, 6.0, Severity.PAGE),
            (DAY, 2 * HOUR, 3.0, Severity.TICKET),
            (3 * DAY, 6 * HOUR, 1.0, Severity.TICKET),
        ]

    @pytest.mark.parametrize(
        ("days", "factors"),
        [
            pytest.param(90, [43.2, 18.0, 9.0, 3.0], id="longer windows burn faster"),
            pytest.param(28, [13.44, 5.6, 2.8, 1.0], id="four weeks"),
            pytest.param(7, [3.36, 1.4, 1.0, 1.0], id="never below what keeps the objective"),
            pytest.param(2, [1.0, 1.0, 1.0], id="the pair of three days does not fit"),
            pytest.param(1, [1.0, 1.0, 1.0], id="the shortest window"),
        ],
    )
    def test_factors_scale_with_the_window(self, days: int, factors: list[float]) -> None:
        """f = q P / L, at least 1, and only of pairs that fit into the window."""
        assert [pair.factor for pair in pairs_of(days * DAY)] == factors

    @pytest.mark.parametrize(
        ("given_counts", "wanted"),
        [
            pytest.param(counts(HOUR, 10, 10_000), 1.0, id="as fast as allowed"),
            pytest.param(counts(HOUR, 0, 10_000), 0.0, id="no failure burns nothing"),
            pytest.param(counts(HOUR, 100, 100), 1000.0, id="an outage"),
            pytest.param(counts(HOUR, 0, 0), None, id="no requests are no rate"),
            pytest.param(counts(HOUR, 10, 10_000, 0.3), None, id="too little of it was read"),
            pytest.param(counts(HOUR, 10, 10_000, 0.5), 1.0, id="half of it is enough"),
        ],
    )
    def test_burn_rate(self, given_counts: WindowCounts, wanted: float | None) -> None:
        """The rate is (B / N) / b, or not known; it is never taken to be zero."""
        rate = burn_rate(given_counts, 0.001)

        assert rate == (wanted if wanted is None else pytest.approx(wanted))

    @pytest.mark.parametrize(
        ("long", "short", "wanted"),
        [
            pytest.param((900, 30_000), (90, 2_500), True, id="both burn"),
            pytest.param((900, 30_000), (0, 2_500), False, id="it is over"),
            pytest.param((100, 30_000), (90, 2_500), False, id="it has just begun"),
            pytest.param((1, 30), (1, 2), False, id="one failure of thirty, 33 times too fast"),
            pytest.param((2, 30), (2, 2), False, id="two are not enough either"),
            pytest.param((5, 30), (2, 2), True, id="five of thirty are"),
            pytest.param((0, 0), (0, 0), False, id="nobody came"),
        ],
    )
    def test_a_pair_fires_on_both_windows_and_on_evidence(
        self, long: tuple[int, int], short: tuple[int, int], wanted: bool
    ) -> None:
        """Few failures in little traffic are no fast burn, however large the rate."""
        found = is_firing(FAST, counts(HOUR, *long), counts(5 * MINUTE, *short), 0.001)

        assert found is wanted

    def test_one_failure_in_a_hundred_requests_is_nowhere_near_a_page(self) -> None:
        """Against p <= 2b its e-value is 0.85, and that of two failures is 5.1; 100 is wanted."""
        values = [exp(log_mean(limit_logs(bad, 100, 0.002))) for bad in (1, 2)]

        assert values == pytest.approx([0.85, 5.1], rel=0.02)

    def test_a_budget_that_cannot_be_burnt_so_fast_does_not_fire(self) -> None:
        """At 90 % a total outage burns ten times, below 14.4: no rate is above 1."""
        outage = counts(HOUR, 1000, 1000)

        assert not is_firing(FAST, outage, counts(5 * MINUTE, 90, 90), 0.1)

    def test_false_pages_are_rare_at_the_edge(self) -> None:
        """At exactly the factor's rate, little traffic fires in 1 of 100 hours at most."""
        chance = Random(7)
        runs, fired = 4000, 0
        for _ in range(runs):
            bad = sum(chance.random() < 0.0144 for _ in range(100))
            fired += is_firing(FAST, counts(HOUR, bad, 100), counts(5 * MINUTE, 5, 8), 0.001)

        assert fired / runs <= 0.01

    @given(bad=st.integers(0, 50), more=st.integers(1, 50), requests=st.integers(101, 100_000))
    def test_more_failures_never_silence_a_pair(self, bad: int, more: int, requests: int) -> None:
        """What fires goes on firing when some of the good requests had failed too."""
        short = counts(5 * MINUTE, 50, 60)

        before = is_firing(FAST, counts(HOUR, bad, requests), short, 0.001)
        after = is_firing(FAST, counts(HOUR, bad + more, requests), short, 0.001)

        assert after or not before


class TestBudget:
    """What is left, and what is not known."""

    @pytest.mark.parametrize(
        ("bad", "requests", "wanted"),
        [
            pytest.param(0, 1_000_000, 1.0, id="untouched"),
            pytest.param(250, 1_000_000, 0.75, id="a quarter spent"),
            pytest.param(1000, 1_000_000, 0.0, id="empty"),
            pytest.param(3000, 1_000_000, -2.0, id="overspent"),
        ],
    )
    def test_what_is_left(self, bad: int, requests: int, wanted: float) -> None:
        """R = 1 - B / (b N), weighted by requests."""
        found = budget(bad, requests)

        assert found.remaining == pytest.approx(wanted)
        assert found.spent == pytest.approx(1 - wanted)
        assert (found.bad, found.requests, found.as_of) == (bad, requests, NOW)
        assert found.allowed == pytest.approx(1000)

    @pytest.mark.parametrize(
        "given_counts",
        [
            pytest.param([], id="nothing was read"),
            pytest.param([counts(30 * DAY, 0, 0)], id="no requests"),
            pytest.param([counts(30 * DAY, 50, 9_000, covered=0.2)], id="six days of thirty"),
        ],
    )
    def test_too_little_is_neither_full_nor_empty(self, given_counts: list[WindowCounts]) -> None:
        """The share that is left is None, no pair fires and no gate closes."""
        found = budget_of(NINES, given_counts, NOW)

        assert (found.remaining, found.spent, found.firing) == (None, None, ())
        assert set(found.burns.values()) == {None}
        assert gate([found], emergency=False) is None

    def test_fifteen_days_of_thirty_are_enough(self) -> None:
        """Prometheus keeps 15 days by default, and a little less is there at times."""
        assert budget(500, 1_000_000, covered=0.48).remaining == pytest.approx(0.5)

    def test_burns_are_for_the_windows_that_fit(self) -> None:
        """A window of one day has no burn over three."""
        level = ServiceLevel("daily", Decimal("0.99"), Errors(), DAY)
        found = budget_of(level, [counts(DAY, 5, 1000)], NOW)

        assert tuple(found.burns) == WINDOWS[:-1]
        assert found.burns[DAY] == pytest.approx(0.5)
        assert found.remaining == pytest.approx(0.5)

    def test_burns_are_stables_while_there_is_a_canary(self) -> None:
        """A canary that fails does not make stable burn; the budget is everybody's."""
        whole = [counts(30 * DAY, 900, 10**6), *BURNING]
        stable = [counts(HOUR, 3, 29_000), counts(5 * MINUTE, 0, 2_400)]
        found = budget_of(NINES, whole, NOW, stable)

        assert found.remaining == pytest.approx(0.1)
        assert found.burns[HOUR] == pytest.approx(3 / 29)
        assert (found.burns[DAY], found.firing) == (None, ())

    def test_the_budget_of_a_decimal_target_is_exact(self) -> None:
        """99.9 % leaves 0.001, not 0.0010000000000000009."""
        assert NINES.budget == 0.001

    @pytest.mark.parametrize(
        ("target", "days"),
        [
            pytest.param("1", 30, id="nothing may fail"),
            pytest.param("0", 30, id="all may fail"),
            pytest.param("0.9", 91, id="window too long"),
            pytest.param("0.9", 0.5, id="window too short"),
        ],
    )
    def test_impossible_promises_are_refused(self, target: str, days: float) -> None:
        """A target is a share between 0 and 1, a window has 1 to 90 days."""
        with pytest.raises(ValueError, match=r"target|window"):
            ServiceLevel("x", Decimal(target), Errors(), days * DAY)


class TestGate:
    """Which rollouts wait, and the sentence that says why."""

    @pytest.mark.parametrize(
        ("given_budget", "emergency", "started", "wanted"),
        [
            pytest.param(budget(0, 10**6), False, False, None, id="a full budget stops nothing"),
            pytest.param(
                budget(1000, 10**6), False, False, GateReason.BUDGET_EXHAUSTED, id="empty"
            ),
            pytest.param(budget(1000, 10**6), True, False, None, id="an emergency goes on"),
            pytest.param(budget(1000, 10**6), False, True, None, id="what has begun goes on"),
            pytest.param(budget(901, 10**6), False, False, GateReason.BUDGET_LOW, id="below 10 %"),
            pytest.param(budget(901, 10**6), True, False, None, id="an emergency at below 10 %"),
            pytest.param(budget(899, 10**6), False, False, None, id="a little more than 10 %"),
            pytest.param(
                budget(0, 10**6, *BURNING), False, True, GateReason.FAST_BURN, id="stable burns"
            ),
            pytest.param(
                budget(0, 10**6, *BURNING), True, False, GateReason.FAST_BURN, id="in emergencies"
            ),
            pytest.param(
                budget(2000, 10**6, *BURNING), True, False, GateReason.FAST_BURN, id="empty, burns"
            ),
            pytest.param(
                budget(2000, 10**6, *BURNING),
                False,
                False,
                GateReason.BUDGET_EXHAUSTED,
                id="empty comes first",
            ),
        ],
    )
    def test_reasons(
        self, given_budget: Budget, emergency: bool, started: bool, wanted: GateReason | None
    ) -> None:
        """The table of the module, case by case."""
        found = gate([budget(0, 10**6), given_budget], emergency, started)

        assert (found and found.reason) == wanted

    def test_tickets_hold_nothing(self) -> None:
        """A slow burn is for the working day; only page pairs hold a rollout."""
        slow = budget(0, 10**6, counts(DAY, 4000, 10**6), counts(2 * HOUR, 400, 10**5))

        assert [pair.severity for pair in slow.firing] == [Severity.TICKET]
        assert gate([slow], emergency=False) is None

    @pytest.mark.parametrize(
        ("given_budget", "wanted"),
        [
            pytest.param(
                budget(1234, 10**6),
                "objective availability (99.9 % over 30d): nothing is left of the error budget; "
                "1,234 of 1,000,000 requests failed, 1,000 may; new rollouts wait",
                id="exhausted",
            ),
            pytest.param(
                budget(950, 10**6),
                "objective availability (99.9 % over 30d): 5 % is left of the error budget; "
                "950 of 1,000,000 requests failed, 1,000 may; new rollouts wait",
                id="low",
            ),
            pytest.param(
                budget(0, 10**6, *BURNING),
                "objective availability: stable burns its error budget 30 times as fast as it may "
                "over 1h, the limit is 14.4; the rollout holds",
                id="fast burn",
            ),
        ],
    )
    def test_sentences(self, given_budget: Budget, wanted: str) -> None:
        """They name the objective, what is left and the numbers behind it."""
        found = gate([given_budget], emergency=False)

        assert found is not None
        assert (found.message, found.objective) == (wanted, "availability")


class TestExposure:
    """What one rollout may put at risk."""

    @pytest.mark.parametrize(
        ("remaining", "target", "seconds", "wanted"),
        [
            pytest.param(1.0, 0.999, 60, 86, id="99.9 %: hardly a limit"),
            pytest.param(1.0, 0.9999, 60, 8, id="99.99 %: a tenth of that"),
            pytest.param(0.5, 0.9999, 60, 4, id="half a budget, half the weight"),
            pytest.param(1.0, 0.99, 60, 100, id="never above all"),
            pytest.param(0.0, 0.999, 60, 1, id="never below one"),
            pytest.param(-3.0, 0.999, 60, 1, id="overspent"),
            pytest.param(1.0, 0.999, 600, 8, id="slow to find and undo"),
        ],
    )
    def test_the_first_weight(
        self, remaining: float, target: float, seconds: int, wanted: int
    ) -> None:
        """w = kappa R b P / T in whole percent, rounded down: the published cases."""
        assert first_weight_cap(remaining, target, 30 * DAY, timedelta(seconds=seconds)) == wanted

    def test_time_that_does_not_pass_is_refused(self) -> None:
        """No weight follows from finding and undoing harm in no time."""
        with pytest.raises(ValueError, match="detect_and_act"):
            first_weight_cap(1.0, 0.999, 30 * DAY, timedelta(0))

    @given(
        remaining=st.floats(0.01, 1.0),
        target=st.floats(0.5, 0.99999),
        days=st.integers(1, 90),
        seconds=st.integers(1, 3600),
    )
    def test_a_dead_canary_costs_no_more_than_its_share(
        self, remaining: float, target: float, days: int, seconds: int
    ) -> None:
        """Above the least of 1 %, w T is at most kappa R b P."""
        cap = first_weight_cap(remaining, target, days * DAY, timedelta(seconds=seconds))

        share = 0.02 * remaining * (1 - target) * days * 86400
        assert cap == 1 or cap / 100 * seconds <= share * (1 + 1e-6)

    @pytest.mark.parametrize(
        ("table", "remaining", "wanted"),
        [
            pytest.param(Table(0, 0, 0, 0), 1.0, False, id="nothing was served"),
            pytest.param(Table(50, 5000, 500, 50_000), 0.0, False, id="alike, with no budget left"),
            pytest.param(Table(60, 500, 50, 50_000), 1.0, True, id="far worse"),
            pytest.param(Table(20, 500, 50, 50_000), 1.0, False, id="worse, but it may cost that"),
            pytest.param(Table(20, 500, 50, 50_000), 0.1, True, id="the same with little left"),
            pytest.param(Table(9, 9, 0, 0), 0.1, False, id="without a control nothing is excess"),
        ],
    )
    def test_a_canary_may_spend_its_share(
        self, table: Table, remaining: float, wanted: bool
    ) -> None:
        """Breach is when proven excess failures exceed kappa R b N; here 20 R of a million."""
        found = spending(table, remaining, 0.999, 1_000_000)

        assert found.allowed == pytest.approx(20 * remaining)
        assert found.is_breach is wanted


def points(*values: float | None, step: timedelta = MINUTE) -> tuple[Point, ...]:
    """Return samples at every step up to NOW; None is a step without one."""
    first = NOW - (len(values) - 1) * step
    return tuple(
        Point(first + n * step, value) for n, value in enumerate(values) if value is not None
    )


def ticks(*counters: Counter) -> Ticks:
    """Difference counters that were sampled each minute."""
    return count_ticks(counters, MINUTE)


class TestTicks:
    """Counters at even steps become counts, and nothing is counted twice."""

    @pytest.mark.parametrize(
        ("good", "bad", "wanted"),
        [
            pytest.param((10, 20, 30), (1, 2, 3), (20, 2), id="differences"),
            pytest.param((10, 5, 30), (1, 2, 3), (30, 2), id="a reset counts from zero"),
            pytest.param((10, 20, 30), (None, None, 3), (20, 3), id="born with the first failure"),
            pytest.param((10, 20, 30), (), (20, 0), id="no failure counter is no failure"),
            pytest.param((10, None, 30), (1, None, 3), (20, 2), id="a step without samples"),
            pytest.param((10, 20, 30), (1, None, 3), (20, 2), id="away for one step"),
            pytest.param((10,), (1,), (0, 0), id="one sample is where counting begins"),
            pytest.param((10, 20), (4, 4), (10, 0), id="nothing failed"),
        ],
    )
    def test_rules(
        self, good: tuple[float, ...], bad: tuple[float, ...], wanted: tuple[int, int]
    ) -> None:
        """Resets, births and gaps follow the table of the module."""
        own = [Counter("a", GOOD, points(*good)), Counter("a", BAD, points(*bad))]
        found = window_counts(ticks(*own), Outcomes.GOOD_AND_BAD, HOUR, NOW)

        assert (found.good, found.bad) == wanted

    def test_a_counter_that_was_gone_is_born_again(self) -> None:
        """After three steps away its value is counted in full, as that of a new backend."""
        gone = Counter("a", BAD, points(5, None, None, None, 7, 8))
        found = ticks(gone, Counter("a", GOOD, points(1, 2, 3, 4, 5, 6)))

        assert sum(found.counts[BAD].values()) == 8

    def test_a_new_instance_counts_from_its_first_sample(self) -> None:
        """What it counted before is unknown, perhaps of last year, and is not taken over."""
        found = ticks(
            Counter("a", GOOD, points(1, 2, 3)), Counter("b", GOOD, points(None, 900, 901))
        )

        assert sum(found.counts[GOOD].values()) == 3

    def test_a_long_silence_is_neither_counted_nor_covered(self) -> None:
        """Ten minutes without any sample are not known, so the window covers less."""
        found = ticks(Counter("a", GOOD, points(0, 10, *[None] * 10, 500, 510)))
        whole = window_counts(found, Outcomes.GOOD_AND_BAD, 13 * MINUTE, NOW)

        assert (whole.good, whole.covered) == (20, 2 * MINUTE)

    def test_windows_take_the_last_ticks(self) -> None:
        """A window has the ticks that end within it, and covers itself at most."""
        found = ticks(Counter("a", GOOD, points(0, 1, 3, 7, 15)))
        last = window_counts(found, Outcomes.GOOD_AND_BAD, 2 * MINUTE, NOW)

        assert last == WindowCounts(2 * MINUTE, 12, 0, 2 * MINUTE)

    @pytest.mark.parametrize(
        ("outcomes", "present", "wanted"),
        [
            pytest.param(Outcomes.BAD_OF_TOTAL, (BAD, TOTAL), (8, 2), id="bad of total"),
            pytest.param(Outcomes.BAD_OF_TOTAL, (TOTAL,), (10, 0), id="no bad counter: no failure"),
            pytest.param(Outcomes.BAD_OF_TOTAL, (BAD,), (0, 0), id="no total: no data"),
            pytest.param(Outcomes.GOOD_OF_TOTAL, (GOOD, TOTAL), (8, 2), id="good of total"),
            pytest.param(Outcomes.GOOD_OF_TOTAL, (TOTAL,), (0, 0), id="no good counter: no data"),
            pytest.param(Outcomes.GOOD_AND_BAD, (), (0, 0), id="nothing: no data"),
        ],
    )
    def test_what_is_absent(
        self, outcomes: Outcomes, present: tuple[str, ...], wanted: tuple[int, int]
    ) -> None:
        """A counter that is absent is a zero only where it is born with the first failure."""
        values = {GOOD: (0, 8), BAD: (0, 2), TOTAL: (0, 10)}
        found = ticks(*(Counter("a", name, points(*values[name])) for name in present))
        whole = window_counts(found, outcomes, MINUTE, NOW)

        assert (whole.good, whole.bad) == wanted
        assert bool(whole.covered) is any(wanted)

    @given(deltas=st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=40))
    def test_what_is_counted_never_exceeds_what_was_served(
        self, deltas: list[tuple[int, bool]]
    ) -> None:
        """With resets at any step the sum is at most all that was served, and exact without."""
        value, values = 0, [0]
        for delta, reset in deltas:
            value = delta if reset else value + delta
            values.append(value)
        found = sum(ticks(Counter("a", GOOD, points(*values))).counts[GOOD].values())

        served = sum(delta for delta, _ in deltas)
        assert found <= served
        assert found == served or any(reset for _, reset in deltas)


class TestLevel:
    """What may be promised."""

    def test_a_threshold_at_an_edge_is_taken(self) -> None:
        """250 ms is the edge 0.25 s."""
        edges = [Decimal("0.1"), Decimal("0.25")]

        assert edge_at("fast", timedelta(milliseconds=250), edges) == Decimal("0.25")

    @pytest.mark.parametrize(
        ("milliseconds", "wanted"),
        [
            pytest.param(300, "threshold 300ms is no bucket edge .* nearest are 250ms and 500ms$"),
            pytest.param(50, "threshold 50ms .* nearest are 100ms$", id="below all"),
            pytest.param(9000, "threshold 9000ms .* nearest are 500ms$", id="above all"),
        ],
    )
    def test_another_threshold_is_refused_with_the_nearest(
        self, milliseconds: int, wanted: str
    ) -> None:
        """Between two edges nothing is known, so nothing is guessed."""
        edges = [Decimal("0.1"), Decimal("0.250"), Decimal("0.5")]

        with pytest.raises(ThresholdIsNoEdge, match=wanted):
            edge_at("fast", timedelta(milliseconds=milliseconds), edges)

    @pytest.mark.parametrize(
        ("metric", "label"),
        [
            pytest.param('up} or vector(1) #{"', "job", id="a query for a metric"),
            pytest.param("up", 'job="x"} or up{a', id="a query for a label"),
            pytest.param("up", "__name__", id="another metric through the label"),
            pytest.param("", "job", id="no metric"),
        ],
    )
    def test_names_that_are_none_are_refused(self, metric: str, label: str) -> None:
        """No text that is not a name gets into a query as a name."""
        with pytest.raises(ValueError, match="wanted the name"):
            Selector(metric, ((label, "x"),))

    def test_own_series_need_good_or_bad(self) -> None:
        """One of them, not both and not none."""
        total = Selector("requests_total")

        with pytest.raises(ValueError, match="exactly one"):
            Own(total)
        with pytest.raises(ValueError, match="exactly one"):
            Own(total, total, total)

    def test_values_compare(self) -> None:
        """Promises are values: equal if they say the same, so that reads can be shared."""
        assert Latency(timedelta(seconds=1)) == Latency(1000 * timedelta(milliseconds=1))
        assert Pair(HOUR, MINUTE, 1.0, Severity.PAGE) == Pair(HOUR, MINUTE, 1.0, Severity.PAGE)
