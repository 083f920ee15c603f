"""What is not sound data closes no gate and blames nobody: the reads of budgets and of drift.

Each case is one in which sound data would be a finding: an overspent budget that burns, or inputs
that are not the training data's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any

import pytest
from aiohttp import web
from tests.adapters.servers import Handler, answering, serving
from tests.adapters.test_prometheus_budget import FakePrometheus, per_second
from tests.scenarios.memory import Story
from tests.scenarios.test_no_data_anywhere import PATIENCE, SOURCE_FAULTS

from headgate.adapters.packs import load_pack
from headgate.adapters.prometheus import Prometheus
from headgate.adapters.prometheus_budget import PrometheusBudgets
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.api.model_rollout import Policy
from headgate.core.drift.build import Column, build
from headgate.core.verdict import Reason
from headgate.ports import Arms, MetricsUnavailable
from headgate.reconcile.drifting import read_drifts
from headgate.reconcile.guards import Guards, look_at_budgets
from headgate.reconcile.world import Key

NOW = datetime(2026, 11, 25, 4, 30, tzinfo=UTC)
ARMS = Arms("models", "fraud", 0, 1, "fraud", "0a1b2c3d", "99999999")
HASHES = ("0a1b2c3d", "99999999")


@dataclass(frozen=True)
class Row:
    """One objective, by which pack it is read, and its counters by what is added each second."""

    pack: str
    objective: dict[str, Any]
    counters: dict[str, dict[str, float]]
    where: Callable[[int], dict[str, str]]

    def expose(self, fake: FakePrometheus, spoiled: float | None = None) -> None:
        """Let both arms be counted; each value is `spoiled` where that is given."""
        for metric, by_label in self.counters.items():
            for text, each in by_label.items():
                name, _, value = text.partition("=")
                labels = {name: value} if name else {}
                for position in (0, 1):
                    count = per_second(each) if spoiled is None else lambda _: spoiled
                    fake.add(metric, count, **(self.where(position) | labels))


def _envoy(position: int) -> dict[str, str]:
    return {"envoy_cluster_name": f"httproute/models/fraud/rule/0/backend/{position}"}


def _istio(position: int) -> dict[str, str]:
    service = {"destination_service_name": f"fraud-{HASHES[position]}-predictor"}
    return service | {"destination_service_namespace": "models", "reporter": "source"}


def _pod(position: int) -> dict[str, str]:
    return {"pod": f"fraud-{HASHES[position]}-predictor-x"}


ERRORS = {"name": "seen", "target": "99", "onBreach": "RollBack", "errors": {}}
LATENCY = {"name": "seen", "target": "99", "onBreach": "RollBack", "latency": {"threshold": "10s"}}
OWN = {
    "name": "seen",
    "target": "99",
    "onBreach": "RollBack",
    "series": {"bad": {"metric": "bad_total"}, "total": {"metric": "all_total"}},
}
IN_MS = {"le=10000": 5, "le=+Inf": 10}
ROWS = [
    pytest.param(row, id=f"{row.pack} {name}")
    for name, row in (
        (
            "errors",
            Row(
                "envoy-gateway",
                ERRORS,
                {
                    "envoy_cluster_upstream_rq_xx": {
                        "envoy_response_code_class=2": 5,
                        "envoy_response_code_class=5": 5,
                    }
                },
                _envoy,
            ),
        ),
        (
            "latency",
            Row("envoy-gateway", LATENCY, {"envoy_cluster_upstream_rq_time_bucket": IN_MS}, _envoy),
        ),
        (
            "errors",
            Row(
                "istio",
                ERRORS,
                {"istio_requests_total": {"response_code=200": 5, "response_code=503": 5}},
                _istio,
            ),
        ),
        (
            "latency",
            Row("istio", LATENCY, {"istio_request_duration_milliseconds_bucket": IN_MS}, _istio),
        ),
        ("own", Row("envoy-gateway", OWN, {"bad_total": {"": 5}, "all_total": {"": 10}}, _pod)),
    )
]


@asynccontextmanager
async def reading(handler: Handler, faulty: bool, late: bool) -> AsyncIterator[PrometheusSettings]:
    """Serve this, and say how it is reached; what is sound may be long and slow."""
    async with serving(handler) as url:
        yield PrometheusSettings(
            url,
            timeout=timedelta(seconds=PATIENCE if late else 5.0),
            gather=timedelta(0),
            largest_answer=100_000 if faulty else 10_000_000,
        )


async def look(
    row: Row, handler: Handler, started: bool, faulty: bool = False, late: bool = False
) -> Guards:
    """Look at the budget once."""
    policy = Policy.model_validate({"rollout": {}, "objectives": [row.objective]})
    story = Story()
    async with reading(handler, faulty, late) as settings:
        story.budgets = PrometheusBudgets(settings, load_pack(row.pack))
        try:
            arms = ARMS if started else None
            return await look_at_budgets(
                Key("models", "fraud"), policy, started, arms, story.world, NOW
            )
        finally:
            await story.budgets.close()


def forbids_nothing(found: Guards) -> None:
    """No gate is closed, nobody is blamed, and no weight is limited."""
    assert (found.restraint, found.burning, found.objection) == (None, None, None)
    assert found.weight_cap == 100


@pytest.mark.parametrize("started", [False, True], ids=["before a canary", "with a canary"])
@pytest.mark.parametrize("row", ROWS)
async def test_without_a_fault_the_budget_is_a_finding(row: Row, started: bool) -> None:
    """The table is not empty talk: soundly read, the same counters close the gate."""
    fake = FakePrometheus()
    row.expose(fake)
    found = await look(row, fake.handle, started)
    assert found.restraint is not None
    assert found.restraint.reason == ("FastBurn" if started else "BudgetExhausted")
    assert found.burning is not None


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("answer", "expected"), SOURCE_FAULTS)
async def test_a_source_of_budgets_that_fails(
    row: Row, answer: Callable[[web.Request], Any], expected: str
) -> None:
    """It is said, with query and fault; it forbids nothing, with a canary or without."""
    for started in (False, True):
        found = await look(row, answering(answer), started, True, "no answer" in expected)
        forbids_nothing(found)
        assert found.budget is not None
        assert (found.budget.holds, found.budget.reason) == (None, Reason.METRICS_UNAVAILABLE)
        assert any(f"{metric}{{" in found.budget.message for metric in row.counters)
        assert expected in found.budget.message


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(nan, "a counter is not a number", id="NaN"),
        pytest.param(inf, "a counter cannot be inf", id="Inf"),
        pytest.param(-1.0, "a counter cannot be -1", id="below zero"),
    ],
)
async def test_counters_of_budgets_that_are_none(row: Row, value: float, expected: str) -> None:
    """What no counter holds is neither good nor bad."""
    for started in (False, True):
        fake = FakePrometheus()
        row.expose(fake, spoiled=value)
        found = await look(row, fake.handle, started)
        forbids_nothing(found)
        assert found.budget is not None
        assert found.budget.holds is None
        assert any(f"{metric}{{" in found.budget.message for metric in row.counters)
        assert expected in found.budget.message


@pytest.mark.parametrize("row", ROWS)
async def test_counters_of_budgets_that_are_there_twice(row: Row) -> None:
    """What two jobs scrape is not counted twice."""
    for started in (False, True):
        fake = FakePrometheus()
        row.expose(fake)
        fake.series += [({**labels, "job": "another"}, value) for labels, value in fake.series]
        found = await look(row, fake.handle, started)
        forbids_nothing(found)
        assert found.budget is not None
        assert found.budget.holds is None
        assert any(f"{metric}{{" in found.budget.message for metric in row.counters)
        assert "one counter is there twice" in found.budget.message


@pytest.mark.parametrize("started", [False, True], ids=["before a canary", "with a canary"])
@pytest.mark.parametrize("row", ROWS)
async def test_no_series_of_a_budget(row: Row, started: bool) -> None:
    """A service that nobody counts has neither spent its budget nor kept it."""
    found = await look(row, FakePrometheus().handle, started)
    forbids_nothing(found)
    assert found.budget is None
    assert [budget.remaining for budget in found.budgets] == [None]


# Live inputs against the training data

PROFILE = build([Column("amount", "number", [float(n % 100) for n in range(2000)])])
EDGES = [f"{edge:g}" for edge in getattr(PROFILE.features[0], "edges", ())]
METRIC = "headgate_input_bucket"


def inputs(value: Callable[[float], float | None]) -> FakePrometheus:
    """The collector counted each value in the highest bin only."""
    fake = FakePrometheus()
    where = {
        "model_namespace": "models",
        "model_deployment": "fraud",
        "model_revision": HASHES[1],
        "feature": "amount",
    }
    for edge in EDGES:
        fake.add(METRIC, lambda _: 0.0, le=edge, **where)
    fake.add(METRIC, value, le="+Inf", **where)
    return fake


async def drifts(handler: Handler, faulty: bool = False, late: bool = False) -> list[str]:
    """Name the features that are not as in training."""
    story = Story()
    alone = Arms("models", "fraud", None, None, "fraud", None, HASHES[1])
    async with reading(handler, faulty, late) as settings:
        story.metrics = Prometheus(settings, load_pack("envoy-gateway"))
        try:
            found = await read_drifts(PROFILE, alone, story.world, NOW)
        finally:
            await story.metrics.close()
    return [drift.feature for drift in found if drift.is_drift]


async def test_without_a_fault_the_inputs_are_a_finding() -> None:
    """The table is not empty talk: soundly read, these inputs are not the training data's."""
    assert await drifts(inputs(per_second(5)).handle) == ["amount"]


@pytest.mark.parametrize(("answer", "expected"), SOURCE_FAULTS)
async def test_a_source_of_inputs_that_fails(
    answer: Callable[[web.Request], Any], expected: str
) -> None:
    """It is unavailable, by its query, and never a drift."""
    with pytest.raises(MetricsUnavailable) as raised:
        await drifts(answering(answer), True, "no answer" in expected)
    assert "headgate_input_" in str(raised.value)
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(nan, "a counter is not a number", id="NaN"),
        pytest.param(inf, "a counter cannot be inf", id="Inf"),
        pytest.param(-1.0, "a counter cannot be -1", id="below zero"),
    ],
)
async def test_inputs_that_are_no_counters(value: float, expected: str) -> None:
    """What no counter holds is no drift."""
    with pytest.raises(MetricsUnavailable) as raised:
        await drifts(inputs(lambda _: value).handle)
    assert METRIC in str(raised.value)
    assert expected in str(raised.value)


@pytest.mark.parametrize(
    "fake",
    [
        pytest.param(FakePrometheus, id="no series"),
        pytest.param(lambda: inputs(lambda _: None), id="buckets without the last one"),
        pytest.param(lambda: inputs(lambda _: 100.0), id="nothing new"),
    ],
)
async def test_inputs_that_nobody_counts(fake: Callable[[], FakePrometheus]) -> None:
    """Silence is no drift."""
    assert await drifts(fake().handle) == []
