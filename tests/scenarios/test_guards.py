"""What stands beside the comparison: error budgets, signals of one's own, drift, ramps, returns."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.scenarios.memory import START, Behaviour, Story, deployment

from headgate.api.model_rollout import Emergency
from headgate.cli.replayed import replay_all
from headgate.collector.events import Address
from headgate.collector.profiles import Reader
from headgate.core.counters import Arm, Point, Series
from headgate.core.drift.build import Column, build
from headgate.core.drift.profile import Profile, digest, render
from headgate.core.revision import record_digest
from headgate.core.slo.budget import WINDOWS, WindowCounts
from headgate.ports import Arms, MetricsUnavailable, SignalSource
from headgate.reconcile.emergency import render_emergency
from headgate.reconcile.profiles import profile_of

MONTH = timedelta(days=30)


def counts(whole: float, short: float = 0.0, requests: int = 100_000) -> list[WindowCounts]:
    """A month in which this share failed, and shorter windows in which that share does."""
    shorter = [
        WindowCounts(w, round(requests * (1 - short)), round(requests * short), w) for w in WINDOWS
    ]
    bad = round(requests * whole)
    return [*shorter, WindowCounts(MONTH, requests - bad, bad, MONTH)]


async def serving(**changes: Any) -> Story:
    """Version 1 is stable."""
    story = Story()
    story.commit("1", **changes)
    await story.until_phase("Stable")
    return story


def condition(story: Story, type: str) -> dict[str, Any]:
    """One condition as it is now; empty if it is not there."""
    found = [c for c in story.status["conditions"] if c["type"] == type]
    return dict(found[0]) if found else {}


def events(story: Story, reason: str) -> list[str]:
    """What was told for this reason."""
    return [e["message"] for e in story.cluster.all("Event") if e["reason"] == reason]


# --- error budgets -------------------------------------------------------------------------------


async def test_an_empty_budget_starts_nothing_and_says_so() -> None:
    """Claim: no canary while nothing is left; condition, Event and status give the numbers."""
    story = await serving()
    story.budgets.counts["availability"] = counts(whole=0.02)
    story.commit("2")
    await story.run(timedelta(minutes=5))

    assert story.status["phase"] == "Stable"
    assert story.status.get("canary") is None
    assert condition(story, "BudgetAvailable")["reason"] == "BudgetExhausted"
    assert condition(story, "RolledOut")["reason"] == "BudgetExhausted"
    assert "nothing is left of the error budget" in condition(story, "RolledOut")["message"]
    assert story.status["budget"][0]["remaining"] == "-1.00"
    assert len(events(story, "BudgetExhausted")) == 1


async def test_an_emergency_starts_in_spite_of_it_and_is_on_record() -> None:
    """Claim: `emergency: true` lets the rollout start, and its record says so."""
    story = await serving()
    story.budgets.counts["availability"] = counts(whole=0.02)
    story.commit("2", rollout={"emergency": True})
    await story.until_phase("Progressing")

    record = story.cluster.all("ModelRollout")[-1]
    assert record["spec"]["policy"]["rollout"]["emergency"] is True
    assert record["spec"]["emergency"]["manager"] == "unknown"
    message = record["spec"]["emergency"]["message"]
    assert message == (
        "spec.rollout.emergency was set by somebody unknown; no entry of metadata.managedFields "
        "has the field; the commit is unknown: no annotation config.kubernetes.io/origin"
    )
    assert events(story, "Emergency") == [message]
    assert "emergency" not in story.cluster.all("ModelRollout")[0]["spec"]


FIELD = {"f:spec": {"f:rollout": {"f:emergency": {}}}}
LATE = {"manager": "argocd-controller", "time": "2026-01-05T11:59:00Z", "fieldsV1": FIELD}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        pytest.param(
            {
                "managedFields": [
                    LATE,
                    {"manager": "kubectl", "time": "2026-01-04T08:00:00Z", "fieldsV1": FIELD},
                    {"manager": "other", "time": "2026-01-05T11:59:30Z", "fieldsV1": {}},
                ],
                "annotations": {
                    "config.kubernetes.io/origin": (
                        "path: models/fraud.yaml\nrepo: https://git.example/ml\nref: 9f3c2d1\n"
                    )
                },
            },
            {
                "manager": "argocd-controller",
                "setAt": "2026-01-05T11:59:00.000000Z",
                "origin": {
                    "repo": "https://git.example/ml",
                    "ref": "9f3c2d1",
                    "path": "models/fraud.yaml",
                },
                "message": (
                    "spec.rollout.emergency was set by field manager argocd-controller at "
                    "2026-01-05T11:59:00Z; repo https://git.example/ml, ref 9f3c2d1, "
                    "path models/fraud.yaml"
                ),
            },
            id="the latest manager, and kustomize's origin",
        ),
        pytest.param(
            {"managedFields": [{**LATE, "time": "yesterday", "manager": "a\x1b[31m" + "b" * 999}]},
            {
                "manager": "a [31m" + "b" * 121 + "…",
                "message": (
                    "spec.rollout.emergency was set by field manager a [31m" + "b" * 121 + "…; the "
                    "commit is unknown: no annotation config.kubernetes.io/origin"
                ),
            },
            id="hostile names are plain and cut, odd times left out",
        ),
        pytest.param(
            {
                "managedFields": [LATE],
                "annotations": {"config.kubernetes.io/origin": "repo: [" + "x" * 3000},
            },
            {
                "manager": "argocd-controller",
                "setAt": "2026-01-05T11:59:00.000000Z",
                "message": (
                    "spec.rollout.emergency was set by field manager argocd-controller at "
                    "2026-01-05T11:59:00Z; the commit is unknown: annotation "
                    "config.kubernetes.io/origin is longer than 2048 characters"
                ),
            },
            id="an annotation that is too long",
        ),
        pytest.param(
            {"managedFields": [LATE], "annotations": {"config.kubernetes.io/origin": "repo: ["}},
            {
                "manager": "argocd-controller",
                "setAt": "2026-01-05T11:59:00.000000Z",
                "message": (
                    "spec.rollout.emergency was set by field manager argocd-controller at "
                    "2026-01-05T11:59:00Z; the commit is unknown: annotation "
                    "config.kubernetes.io/origin is not YAML"
                ),
            },
            id="an annotation that is none",
        ),
    ],
)
def test_who_asked_for_an_emergency(metadata: dict[str, Any], expected: dict[str, Any]) -> None:
    """Claim: what the object tells is kept, cleaned; what it does not is said; the API takes it."""
    found = render_emergency({"metadata": {"name": "fraud", **metadata}})

    assert found == expected
    read = Emergency.model_validate(found)
    assert read.message == expected["message"]
    assert (read.origin.manifest() if read.origin else None) == expected.get("origin")


async def test_a_low_budget_waits_and_a_refilled_one_goes_on() -> None:
    """Claim: under a tenth a new rollout waits; with more left it starts by itself."""
    story = await serving()
    story.budgets.counts["availability"] = counts(whole=0.0095)
    story.commit("2")
    await story.run(timedelta(minutes=3))
    waiting = condition(story, "BudgetAvailable")["reason"], story.status["phase"]
    story.budgets.counts["availability"] = counts(whole=0.001)
    await story.until_phase("Progressing")

    assert waiting == ("BudgetLow", "Stable")
    assert condition(story, "BudgetAvailable")["status"] == "True"


async def test_a_fast_burn_takes_no_step_and_rolls_nobody_back() -> None:
    """Claim: while stable burns fast the weight stays; when it is over the rollout goes on."""
    story = await serving()
    story.commit("2")
    await story.until_phase("Progressing")
    story.budgets.counts["availability"] = counts(whole=0.001, short=0.3)
    await story.run(timedelta(minutes=5))
    held = story.status["phase"], story.status["canary"]["weight"]
    story.budgets.counts["availability"] = counts(whole=0.001)
    await story.until_phase("Stable")

    assert held == ("Progressing", 10)
    assert story.status["stable"]["version"] == "2"


async def test_a_canary_that_burns_is_no_burn_of_stable() -> None:
    """Claim: what the canary spends closes no gate; it is judged by comparison with stable."""
    story = await serving()
    story.commit("2")
    await story.until_phase("Progressing")
    story.budgets.counts["availability"] = counts(whole=0.001, short=0.3)
    story.budgets.stable["availability"] = counts(whole=0.001)
    await story.until_phase("Baking")

    assert story.status["canary"]["weight"] == 100
    assert events(story, "FastBurn") == []


async def test_a_burn_that_nobody_can_place_is_the_services() -> None:
    """Claim: where series do not tell stable from the canary, everybody's burn holds the weight,
    and the message says whose it is."""
    story = await serving()
    story.commit("2")
    await story.until_phase("Progressing")
    story.budgets.counts["availability"] = counts(whole=0.001, short=0.3)
    story.budgets.stable["availability"] = []
    await story.run(timedelta(minutes=5))

    assert (story.status["phase"], story.status["canary"]["weight"]) == ("Progressing", 10)
    told = condition(story, "BudgetAvailable")
    assert told["reason"] == "FastBurn"
    assert told["message"].startswith(
        "objective availability: the service (its series do not tell stable from the canary) burns"
    )


async def test_the_first_weight_is_what_the_budget_allows() -> None:
    """Claim: 99.99 % with a fifth of the budget left lets a canary begin with 2 %, not with 10."""
    tight = [{"name": "availability", "target": "99.99", "errors": {}}]
    story = Story()
    story.platform.behaviours |= {"1": Behaviour(failing=0.0), "2": Behaviour(failing=0.0)}
    story.commit("1", objectives=tight)
    await story.until_phase("Stable")
    story.budgets.counts["availability"] = counts(whole=0.00008)
    story.commit("2", objectives=tight)
    await story.until_phase("Progressing")

    canary = story.status["canary"]
    assert canary["firstWeight"] == canary["weight"] == 2
    assert "that is what the error budget allows" in story.status["message"]


async def test_a_budget_that_cannot_be_read_forbids_nothing() -> None:
    """Claim: an outage of the long windows is said and stops no rollout."""
    story = await serving()
    story.budgets.up = False
    story.commit("2")
    await story.until_phase("Progressing")

    assert condition(story, "BudgetAvailable")["status"] == "Unknown"


async def test_a_canary_that_spends_its_part_of_the_budget_goes_back() -> None:
    """Claim: harm within the margin, and so none by comparison, is a breach once it has provably
    cost more than one rollout may."""
    lenient = {"margin": "10", "tolerance": "50", "steps": [{"weight": 50, "hold": "1h"}]}
    story = await serving(rollout=lenient)
    story.budgets.counts["availability"] = counts(whole=0.005, requests=40_000)
    story.platform.behaviours["2"] = Behaviour(failing=0.25)
    story.commit("2", rollout=lenient)
    await story.until_phase("RolledBack")

    reasons = {r["reason"] for r in story.status["rejected"]}
    assert reasons <= {"BudgetSpent", "ErrorsHigher", "ObjectiveBroken"}
    assert story.status["stable"]["version"] == "1"


# --- after the bake ------------------------------------------------------------------------------


async def test_a_model_that_burns_after_its_bake_gives_way_to_the_proven_one() -> None:
    """Claim: with `onBreach: RollBack` the proven predecessor is started, takes everything, bakes,
    and the broken hash is not tried again by a re-sync."""
    asked = [{"name": "availability", "target": "99", "onBreach": "RollBack", "errors": {}}]
    story = await serving(objectives=asked)
    story.commit("2", objectives=asked)
    await story.until_phase("Stable")
    assert story.status["lastProven"]["version"] == "1"

    story.budgets.counts["availability"] = counts(whole=0.001, short=0.3)
    await story.run(timedelta(minutes=3), lambda: story.status["phase"] == "Baking")
    back = story.status["canary"]["version"], story.status["canary"]["weight"]
    story.budgets.counts["availability"] = counts(whole=0.001)
    await story.run(timedelta(minutes=10), lambda: story.status["phase"] == "RolledBack")
    story.commit("2", objectives=asked)
    await story.run(timedelta(minutes=10))

    assert back == ("1", 100)
    assert story.status["phase"] == "RolledBack"
    assert story.status["stable"]["version"] == "1"
    assert story.status["stable"]["proven"] is True
    assert [r["version"] for r in story.status["rejected"]] == ["2"]
    records = story.cluster.all("ModelRollout")
    assert records[-1]["spec"]["to"]["version"] == "1"
    assert records[-1]["status"]["outcome"] == "Promoted"


async def test_by_default_a_burn_after_the_bake_only_notifies() -> None:
    """Claim: traffic stays, and an Event and the condition tell."""
    story = await serving()
    story.commit("2")
    await story.until_phase("Stable")
    story.budgets.counts["availability"] = counts(whole=0.001, short=0.3)
    await story.run(timedelta(minutes=10))

    assert (story.status["phase"], story.status["stable"]["version"]) == ("Stable", "2")
    assert condition(story, "BudgetAvailable")["reason"] == "FastBurn"
    assert len(events(story, "FastBurn")) == 1


# --- ramps ---------------------------------------------------------------------------------------


async def test_a_ramp_follows_the_evidence() -> None:
    """Claim: weights only rise, several may be skipped at once, and each was earned."""
    story = await serving()
    story.metrics.rate = 300.0
    manifest = deployment("2")
    del manifest["spec"]["rollout"]["steps"]
    manifest["spec"]["rollout"]["auto"] = {"firstWeight": 5, "hold": "10s"}
    story.cluster.put(manifest)
    story.due = story.clock.now()
    await story.run(timedelta(minutes=20), lambda: story.status["phase"] == "Baking")

    weights = [s["weight"] for s in story.cluster.all("ModelRollout")[-1]["status"]["steps"]]
    rising = [weight for weight in weights if weight]
    assert rising[0] == 5
    assert rising[-1] == 100
    assert rising == sorted(rising)
    assert len(rising) < 8


# --- signals of the spec -------------------------------------------------------------------------

ABORTED = {
    "name": "aborted",
    "ratio": {"bad": {"metric": "aborted_total"}, "total": {"metric": "answers_total"}},
}


HARM = {
    (Arm.CANARY, "total"): 10.0,
    (Arm.CANARY, "bad"): 4.0,
    (Arm.STABLE, "total"): 90.0,
    (Arm.STABLE, "bad"): 1.0,
}
"""What a canary that aborts four of ten counts each second."""


def growing(per_second: dict[tuple[Arm, str], float], source: str) -> Any:
    """Counters of one pod an arm that grow evenly, scraped every two seconds."""

    def more(asked: SignalSource, arms: Arms, now: datetime) -> Sequence[Series]:
        if asked.name != source:
            return ()
        steps = int((now - START).total_seconds()) // 2
        found = []
        for (arm, outcome), rate in per_second.items():
            known = arms.canary_hash if arm is Arm.CANARY else arms.stable_hash
            points = tuple(
                Point(START + timedelta(seconds=2 * n), float(int(rate * 2 * n)))
                for n in range(max(0, steps - 60), steps + 1)
            )
            if known:
                found.append(Series(source, arm, f"pod-{known}", outcome, outcome, points))
        return found

    return more


async def test_a_signal_of_the_spec_takes_a_canary_back() -> None:
    """Claim: worse by a signal alone, with no failed request, is a breach that names it."""
    story = await serving(signals=[ABORTED])
    story.metrics.more = growing(HARM, "signal/aborted")
    story.commit("2", signals=[ABORTED])
    await story.until_phase("RolledBack")

    record = story.cluster.all("ModelRollout")[-1]["status"]
    assert record["decision"]["signal"] == "signal/aborted"
    assert record["decision"]["reason"] == "SignalWorse"
    assert "canary had bad aborted in" in record["decision"]["message"]
    told = {s["name"]: s for s in record["signals"]}["signal/aborted"]
    assert told["query"] == "memory{signal='signal/aborted'}"
    assert float(told["lowestPoints"]) > 0


async def test_a_signal_that_freezes_holds_the_weight() -> None:
    """Claim: `onBreach: Freeze` neither rolls back nor lets the weight rise."""
    frozen = {**ABORTED, "onBreach": "Freeze"}
    story = await serving(signals=[frozen])
    story.metrics.more = growing(HARM, "signal/aborted")
    story.commit("2", signals=[frozen])
    await story.until_phase("Progressing")
    await story.run(timedelta(minutes=8))

    assert (story.status["phase"], story.status["canary"]["weight"]) == ("Progressing", 10)
    record = story.cluster.all("ModelRollout")[-1]["status"]
    assert record["decision"]["reason"] == "Frozen"


async def test_a_signal_without_series_earns_no_weight() -> None:
    """Claim: a signal that nobody counts holds the rollout and is named; it is no breach."""
    story = await serving(signals=[ABORTED])
    story.commit("2", signals=[ABORTED])
    await story.until_phase("Progressing")
    await story.run(timedelta(minutes=5))

    record = story.cluster.all("ModelRollout")[-1]["status"]
    assert (story.status["phase"], story.status["canary"]["weight"]) == ("Progressing", 10)
    assert record["decision"]["reason"] == "SignalMissing"
    assert "signal/aborted: no series of canary and stable" in record["decision"]["message"]


@pytest.mark.parametrize(
    ("failing", "phase", "weight"),
    [
        pytest.param(0.0, "Progressing", 10, id="earns no weight"),
        pytest.param(0.3, "RolledBack", None, id="hides no breach of errors"),
    ],
)
async def test_a_signal_that_cannot_be_read(failing: float, phase: str, weight: int | None) -> None:
    """Claim: its source's outage holds the weight and names the query; errors are still judged."""

    def more(asked: SignalSource, arms: Arms, now: datetime) -> Sequence[Series]:
        if asked.name == "signal/aborted":
            raise MetricsUnavailable("no answer: aborted_total")
        return ()

    story = await serving(signals=[ABORTED])
    story.metrics.more = more
    story.platform.behaviours["2"] = Behaviour(failing=failing)
    story.commit("2", signals=[ABORTED])
    await story.run(timedelta(minutes=5))

    assert story.status["phase"] == phase
    assert (story.status.get("canary") or {}).get("weight") == weight
    if not failing:
        record = story.cluster.all("ModelRollout")[-1]["status"]
        assert record["decision"]["message"] == "no answer: aborted_total"


@pytest.mark.parametrize(
    ("signal", "found"),
    [
        pytest.param(
            {"name": "a", "pack": {"name": "none", "signal": "b"}}, "no metric pack", id="pack"
        ),
        pytest.param(
            {"name": "a", "pack": {"name": "vllm", "signal": "b"}}, "has no signal", id="signal"
        ),
    ],
)
async def test_a_signal_that_no_pack_has_is_refused(signal: dict[str, Any], found: str) -> None:
    """Claim: Accepted is False with the field, and nothing moves."""
    story = await serving()
    story.commit("2", signals=[signal])
    await story.run(timedelta(minutes=1))

    accepted = condition(story, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidSpec")
    assert accepted["message"].startswith("spec.signals[0]")
    assert found in accepted["message"]


@pytest.mark.parametrize(
    ("signal", "types", "message"),
    [
        pytest.param(
            ABORTED,
            {"aborted_total": "gauge"},
            "spec.signals[0] (aborted_total): wanted a raw counter, found a gauge",
            id="a gauge",
        ),
        pytest.param(
            {"name": "a", "histogram": {"buckets": {"metric": "a_seconds_bucket"}}},
            {"a_seconds_bucket": "summary"},
            "spec.signals[0] (a_seconds_bucket): wanted the buckets of a histogram, "
            "found a summary",
            id="a summary",
        ),
        pytest.param(
            {"name": "a", "histogram": {"buckets": {"metric": "job:a:rate5m_bucket"}}},
            {"job:a:rate5m_bucket": "unknown"},
            "spec.signals[0] (job:a:rate5m_bucket): wanted the buckets of a histogram, "
            "found what is named like a recorded rate",
            id="a recorded rate, of which no type is known",
        ),
    ],
)
async def test_series_that_are_no_counters_are_refused(
    signal: dict[str, Any], types: dict[str, str], message: str
) -> None:
    """Claim: Accepted is False with field, metric, wanted and found, and nothing moves."""
    story = await serving()
    story.metrics.types |= types
    story.commit("2", signals=[signal])
    await story.run(timedelta(minutes=1))

    accepted = condition(story, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidSpec")
    assert accepted["message"] == message
    assert story.status["stable"]["version"] == "1"


# --- drift ---------------------------------------------------------------------------------------


def profile_with(feature: str) -> Profile:
    """Amounts and scores, all alike."""
    return build(
        [Column(feature, "number", [float(n % 100) for n in range(2000)])],
        Column("score", "number", [(n % 100) / 100 for n in range(2000)]),
    )


PROFILE = profile_with("amount")
DRIFT = {"reference": {"configMap": {"name": "profile"}}, "predictions": {}, "inputs": {}}


async def watched(profile: Profile = PROFILE, **drift: Any) -> Story:
    """Version 1 is stable, with a collector and a profile."""
    story = Story(collector_url="http://collector.headgate-system")
    story.cluster.put(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "profile", "namespace": "models"},
            "data": {"profile.json": render(profile)},
        }
    )
    story.commit("1", drift={**DRIFT, **drift})
    await story.until_phase("Stable")
    return story


async def test_models_log_to_the_collector_under_their_own_revision() -> None:
    """Claim: the InferenceService has KServe's logger with the revision's address; the revision
    carries the profile's digest."""
    story = await watched()
    revision = story.cluster.all("ModelRevision")[0]
    service = story.cluster.all("InferenceService")[0]
    hash = revision["spec"]["hash"]

    url = f"http://collector.headgate-system/v1/models/fraud/{hash}"
    assert service["spec"]["predictor"]["logger"] == {"mode": "all", "url": url}
    assert revision["spec"]["drift"]["reference"]["digest"] == digest(PROFILE)


async def test_another_profile_is_another_revision() -> None:
    """Claim: the contents of the ConfigMap are part of the hash."""
    story = await watched()
    found = story.cluster.objects["ConfigMap", "models", "profile"]
    story.cluster.put({**found, "data": {"profile.json": render(OTHER)}})
    story.commit("1", drift={k: v for k, v in DRIFT.items() if k != "predictions"})
    await story.run(timedelta(seconds=30))

    hashes = {r["spec"]["hash"] for r in story.cluster.all("ModelRevision")}
    assert len(hashes) == 2


OTHER = build([Column("amount", "number", [float(n % 50) for n in range(2000)])])
ADDRESS = "https://models.example/fraud/profile.json"
BY_ADDRESS = {"reference": {"url": {"address": ADDRESS, "digest": digest(PROFILE)}}, "inputs": {}}


async def test_a_profile_by_its_address_becomes_part_of_the_revision() -> None:
    """Claim: the revision keeps a copy, so that a server that went away changes nothing, not even
    for an operator that starts anew; the collector finds the copy."""
    story = Story(collector_url="http://collector")
    story.profiles.kept[ADDRESS] = PROFILE
    story.commit("1", drift=BY_ADDRESS)
    await story.until_phase("Stable")
    asked = len(story.profiles.asked)
    story.profiles.kept.clear()
    story.commit("1", drift=BY_ADDRESS)
    await story.run(timedelta(minutes=1))

    (revision,) = story.cluster.all("ModelRevision")
    assert condition(story, "Accepted")["status"] == "True"
    assert len(story.profiles.asked) == asked
    kept = revision["spec"]["drift"]["reference"]
    assert kept["digest"] == digest(PROFILE)
    address = Address("models", "fraud", revision["spec"]["hash"])
    assert await Reader(story.cluster).read(address) == PROFILE
    assert await profile_of(revision, story.world) == PROFILE


@pytest.mark.parametrize(
    ("kept", "found"),
    [
        pytest.param({}, "HTTP 404", id="none"),
        pytest.param({ADDRESS: OTHER}, digest(OTHER), id="another one"),
    ],
)
async def test_a_profile_that_is_not_at_its_address(kept: dict[str, Any], found: str) -> None:
    """Claim: the field, what was wanted and what was found are told, and nothing is made; what
    serves is judged on."""
    story = Story(collector_url="http://collector")
    story.profiles.kept = kept
    story.commit("1", drift=BY_ADDRESS)
    await story.run(timedelta(seconds=30))

    message = condition(story, "Accepted")["message"]
    assert message.startswith("spec.drift.reference.url: wanted")
    assert message.endswith(f"found {found}")
    assert story.cluster.all("InferenceService") == []


async def test_drift_without_a_collector_or_a_profile_is_refused() -> None:
    """Claim: the field that is missing is named, before anything is made."""
    story = Story()
    story.commit("1", drift=DRIFT)
    await story.run(timedelta(seconds=30))
    without_collector = condition(story, "Accepted")["message"]
    story = Story(collector_url="http://collector")
    story.commit("1", drift=DRIFT)
    await story.run(timedelta(seconds=30))

    assert without_collector.startswith("spec.drift: wanted an operator with --collector-url")
    message = condition(story, "Accepted")["message"]
    assert message.startswith(
        "spec.drift.reference.configMap.name: wanted ConfigMap models/profile"
    )
    assert story.cluster.all("InferenceService") == []


def predictions(shift: int) -> Any:
    """Scores of both arms: stable's even over the bins, the canary's only in the upper ones."""
    edges = PROFILE.predictions.edges if PROFILE.predictions else ()

    def more(asked: SignalSource, arms: Arms, now: datetime) -> Sequence[Series]:
        if asked.name != "drift/predictions":
            return ()
        seconds = int((now - START).total_seconds()) // 2 * 2
        found = []
        for arm, hash, rate in (
            (Arm.STABLE, arms.stable_hash, 9.0),
            (Arm.CANARY, arms.canary_hash, 1.0),
        ):
            for k, edge in enumerate([*(f"{e:g}" for e in edges), "+Inf"]):
                bins = max(0, k + 1 - (shift if arm is Arm.CANARY else 0))
                points = tuple(
                    Point(START + timedelta(seconds=at), float(int(rate * bins * at)))
                    for at in range(max(0, seconds - 120), seconds + 1, 2)
                )
                if hash:
                    found.append(Series(asked.name, arm, "collector", edge, edge, points))
        return found

    return more


async def test_a_canary_with_other_predictions_goes_back() -> None:
    """Claim: predictions distributed otherwise than stable's are a breach by themselves."""
    story = await watched()
    story.metrics.more = predictions(shift=6)
    story.commit("2", drift=DRIFT)
    await story.until_phase("RolledBack")

    decision = story.cluster.all("ModelRollout")[-1]["status"]["decision"]
    assert (decision["signal"], decision["reason"]) == ("drift/predictions", "DistributionDiffers")
    assert "had predictions over" in decision["message"]


async def test_a_canary_with_like_predictions_is_promoted() -> None:
    """Claim: equal distributions stand in nobody's way."""
    story = await watched()
    story.metrics.more = predictions(shift=0)
    story.commit("2", drift=DRIFT)
    await story.until_phase("Stable")

    assert story.status["stable"]["version"] == "2"


def inputs(moved_from: timedelta) -> Any:
    """Amounts as in training, and from a moment on only the largest ones."""
    feature = PROFILE.features[0]
    edges = getattr(feature, "edges", ())

    def more(asked: SignalSource, arms: Arms, now: datetime) -> Sequence[Series]:
        if asked.name not in ("seen", "missing"):
            return ()
        minutes = int((now - START).total_seconds()) // 60
        if asked.name == "missing":
            points = tuple(Point(START + timedelta(minutes=m), 0.0) for m in range(minutes + 1))
            return [Series("missing", Arm.CANARY, "collector", "missing", "missing", points)]
        shares = feature.shares
        found = []
        for k, edge in enumerate([*(f"{e:g}" for e in edges), "+Inf"]):
            below, usual = 0.0, sum(shares[: k + 1])
            points = []
            for minute in range(minutes + 1):
                points.append(Point(START + timedelta(minutes=minute), float(round(below))))
                moved = timedelta(minutes=minute) >= moved_from
                below += 1000.0 * (float(edge == "+Inf") if moved else usual)
            found.append(Series("seen", Arm.CANARY, "collector", edge, edge, tuple(points)))
        return found

    return more


async def test_inputs_unlike_the_training_data_freeze_and_roll_nothing_back() -> None:
    """Claim: a new rollout does not start, traffic stays, and condition, Event and status tell."""
    story = await watched()
    story.metrics.more = inputs(timedelta(minutes=2))
    await story.run(timedelta(minutes=15))
    story.commit("2", drift={k: v for k, v in DRIFT.items() if k != "predictions"})
    await story.run(timedelta(minutes=20))

    assert story.status["stable"]["version"] == "1"
    assert condition(story, "InputsMatchReference")["reason"] == "InputsDrifted"
    assert story.status["drift"][0]["feature"] == "amount"
    assert len(events(story, "InputsDrifted")) == 1
    assert story.status.get("rejected", []) == []


# --- decisions made again ------------------------------------------------------------------------


async def overspent() -> Story:
    """A canary within its margin and its limits spends more than is left for one rollout."""
    spec: dict[str, Any] = {
        "rollout": {"margin": "10", "tolerance": "50", "steps": [{"weight": 50, "hold": "1h"}]},
        "objectives": [{"name": "availability", "target": "50", "errors": {}}],
    }
    story = Story()
    story.platform.behaviours |= {"1": Behaviour(failing=0.2), "2": Behaviour(failing=0.4)}
    story.commit("1", **spec)
    await story.until_phase("Stable")
    story.metrics.rate = 20.0
    story.commit("2", **spec)
    await story.until_phase("Progressing")
    story.budgets.counts["availability"] = counts(whole=0.49, requests=10_000)
    await story.until_phase("RolledBack")
    return story


async def drifted(feature: str = "amount") -> Story:
    """Inputs change while a canary serves, and the spec asks to roll back whoever serves them."""
    drift = {"reference": DRIFT["reference"], "inputs": {"onBreach": "AlwaysRollBack"}}
    story = await watched(profile_with(feature), **drift)
    story.metrics.more = inputs(timedelta(minutes=2))
    story.commit("2", drift=drift)
    await story.run(timedelta(minutes=20), lambda: story.status["phase"] == "RolledBack")
    return story


@pytest.mark.parametrize("feature", ["amount", "Amount (€)", "tx_amount"])
async def test_a_drifted_feature_rolls_back_whatever_its_name(feature: str) -> None:
    """Claim: features are named by those who made the data; the record takes any of their names."""
    story = await drifted(feature)

    decision = story.cluster.all("ModelRollout")[-1]["status"]["decision"]
    assert story.status["phase"] == "RolledBack"
    assert (decision["signal"], decision["reason"]) == (f"input/{feature}", "InputsDrifted")


GUARDED = [
    pytest.param(overspent, "BudgetSpent", id="an error budget"),
    pytest.param(drifted, "InputsDrifted", id="drifted inputs"),
]


@pytest.mark.parametrize(("told", "reason"), GUARDED)
async def test_what_guards_decide_is_made_again_from_the_record(
    told: Callable[[], Awaitable[Story]], reason: str
) -> None:
    """Claim: the record holds what the rule looked at, so that nothing has to be believed."""
    records = (await told()).cluster.all("ModelRollout")
    found = replay_all(records)

    assert records[-1]["status"]["decision"]["reason"] == reason
    assert [(one.differences, one.problem) for one in found] == [((), ""), ((), "")]
    assert found[1].decision == f"Breach {reason} (version 2)"
    assert not any("rests on" in note for note in found[1].notes)


TAMPERED = [
    pytest.param(
        overspent, "budgets", lambda there: there[0].update(remaining="0.5"), id="more was left"
    ),
    pytest.param(
        overspent, "budgets", lambda there: there[0].update(requests=10**9), id="more was served"
    ),
    pytest.param(overspent, "budgets", lambda there: there.clear(), id="no budget was known"),
    pytest.param(drifted, "driftedInputs", lambda there: there.clear(), id="nothing had drifted"),
    pytest.param(
        drifted, "driftedInputs", lambda there: there.insert(0, "age"), id="another feature"
    ),
]


@pytest.mark.parametrize(("told", "key", "change"), TAMPERED)
async def test_what_guards_looked_at_cannot_be_changed(
    told: Callable[[], Awaitable[Story]], key: str, change: Callable[[Any], None]
) -> None:
    """Claim: other budgets or inputs lead to another decision, also with a digest made anew."""
    records = copy.deepcopy((await told()).cluster.all("ModelRollout"))
    status = records[1]["status"]
    change(status["decision"]["inputs"][key])
    status["digest"] = record_digest(records[1])
    differing = {one.field for one in replay_all(records)[1].differences}

    assert differing & {"status.decision.reason", "status.decision.signal"}


@pytest.mark.parametrize(
    ("told", "key", "reason"),
    [
        pytest.param(overspent, "budgets", "BudgetSpent", id="an error budget"),
        pytest.param(drifted, "driftedInputs", "InputsDrifted", id="drifted inputs"),
    ],
)
async def test_an_older_record_is_read_and_says_what_is_not_known(
    told: Callable[[], Awaitable[Story]], key: str, reason: str
) -> None:
    """Claim: a record without these inputs is no failure; what could not be checked is named."""
    records = copy.deepcopy((await told()).cluster.all("ModelRollout"))
    status = records[1]["status"]
    for absent in ("budgets", "driftedInputs"):
        del status["decision"]["inputs"][absent]
    status["digest"] = record_digest(records[1])
    found = replay_all(records)[1]

    assert found.is_equal
    assert found.notes[-1].startswith(f"{reason} rests on ")
    assert "which is not in the record" in found.notes[-1]


def by_arm(source: str, moved: Sequence[Arm], before: Any) -> Any:
    """Count amounts by arm too: even over the bins, and only the largest where they have moved."""
    edges = getattr(PROFILE.features[0], "edges", ())

    def more(asked: SignalSource, arms: Arms, now: datetime) -> Sequence[Series]:
        if asked.name != source:
            return list(before(asked, arms, now))
        seconds = int((now - START).total_seconds()) // 2 * 2
        found = []
        for arm, hash, rate in (
            (Arm.STABLE, arms.stable_hash, 9.0),
            (Arm.CANARY, arms.canary_hash, 1.0),
        ):
            for k, edge in enumerate([*(f"{e:g}" for e in edges), "+Inf"]):
                below = float(edge == "+Inf") * 10 if arm in moved else k + 1.0
                points = tuple(
                    Point(START + timedelta(seconds=at), float(int(rate * below * at)))
                    for at in range(max(0, seconds - 120), seconds + 1, 2)
                )
                if hash:
                    found.append(Series(source, arm, "collector", edge, edge, points))
        return found

    return more


async def differing(*moved: Arm) -> Story:
    """Inputs have drifted, on these arms, and the spec asks to roll back a canary that differs."""
    drift = {"reference": DRIFT["reference"], "inputs": {"onBreach": "RollBack"}}
    story = await watched(**drift)
    story.metrics.more = by_arm("input/amount", moved, inputs(timedelta(minutes=2)))
    story.commit("2", drift=drift, rollout={"steps": [{"weight": 10, "hold": "1h"}]})
    await story.run(timedelta(minutes=10), lambda: story.status["phase"] == "RolledBack")
    return story


async def test_a_canary_that_makes_its_inputs_drift_goes_back() -> None:
    """Claim: what stable is not asked and the canary is, is the canary's doing; and the record is
    made again with both halves of the reason."""
    story = await differing(Arm.CANARY)
    records = story.cluster.all("ModelRollout")
    decision = records[-1]["status"]["decision"]

    assert story.status["phase"] == "RolledBack"
    assert (decision["signal"], decision["reason"]) == ("input/amount", "InputsDrifted")
    assert decision["message"].startswith("canary had amount over ")
    assert decision["message"].endswith(
        "; and inputs are not what the model was trained on (amount)."
    )
    assert [one.is_equal for one in replay_all(records)] == [True, True]


async def test_a_drift_of_both_arms_is_not_the_canary_s() -> None:
    """Claim: rolling back cannot cure what stable sees too: nobody is blamed, and it is told."""
    story = await differing(Arm.CANARY, Arm.STABLE)

    assert story.status["phase"] == "Progressing"
    assert story.status["canary"]["weight"] == 10
    assert condition(story, "InputsMatchReference")["reason"] == "InputsDrifted"
    assert story.status.get("rejected", []) == []


async def test_an_outage_of_a_signal_is_told_again_from_the_record() -> None:
    """Claim: what a source answered is in no record; the replay says so, and checks the rest."""

    def more(asked: SignalSource, arms: Arms, now: datetime) -> Sequence[Series]:
        if asked.name == "signal/aborted":
            raise MetricsUnavailable("no answer: aborted_total")
        return ()

    story = await serving(signals=[ABORTED])
    story.metrics.more = more
    story.commit("2", signals=[ABORTED])
    await story.run(timedelta(minutes=3))
    found = replay_all(story.cluster.all("ModelRollout"))[-1]

    assert found.decision == "Inconclusive MetricsUnavailable (version 2)"
    assert found.is_equal
    assert found.notes[-1].startswith(
        "MetricsUnavailable rests on what the metrics source answered, which is not in the record"
    )
