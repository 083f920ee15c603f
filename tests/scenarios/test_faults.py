"""What goes wrong: metrics, models, people and other controllers. Nothing unproven gets traffic."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.scenarios.memory import Behaviour, Story, deployment

from headgate.ports import ClusterUnavailable, Conflict

MINUTE = timedelta(minutes=1)


async def serving(version: str = "1", **options: Any) -> Story:
    """Return a story in which this version is stable and proven."""
    story = Story(**options)
    story.commit(version)
    await story.until_phase("Stable")
    return story


async def canary(version: str = "2", **behaviour: Any) -> Story:
    """Return a story in which this version has just got its first weight."""
    story = await serving()
    story.platform.behaviours[version] = Behaviour(**behaviour)
    story.commit(version)
    await story.until_phase("Progressing")
    return story


async def test_metrics_outage_holds_the_weight_and_the_rollout_resumes() -> None:
    """Ten minutes without Prometheus: no advance, no rollback, and then on as before."""
    story = await canary()
    story.metrics.up = False

    await story.run(10 * MINUTE)

    assert story.weights == {"1": 90, "2": 10}
    assert story.condition("EvidenceFlowing")["reason"] == "MetricsUnavailable"
    story.metrics.up = True
    await story.until_phase("Stable")
    assert story.outcomes["2:2"] == "Promoted"


@pytest.mark.long
async def test_no_traffic_holds_for_ever() -> None:
    """Silence is neither good nor bad: an hour without a request moves nothing."""
    story = await serving()
    story.metrics.rate = 0
    story.commit("2", rollout={"progressDeadline": "2h"})
    await story.until_phase("Progressing")

    await story.run(timedelta(hours=1))

    assert story.weights == {"1": 90, "2": 10}
    assert story.status["phase"] == "Progressing"
    assert story.condition("EvidenceFlowing")["reason"] == "NoTraffic"


@pytest.mark.parametrize(
    ("policy", "phase", "outcome"),
    [
        pytest.param("Hold", "Progressing", "Progressing", id="Hold waits for somebody"),
        pytest.param("Promote", "Baking", "Progressing", id="Promote goes on without proof"),
        pytest.param("RollBack", "RolledBack", "RolledBack", id="RollBack gives up"),
    ],
)
async def test_policy_for_a_rollout_nobody_could_judge(
    policy: str, phase: str, outcome: str
) -> None:
    """After the progress deadline without a verdict, the spec's own choice is followed."""
    story = await serving()
    story.metrics.rate = 0
    rollout = {"progressDeadline": "5m", "onInconclusive": policy}
    story.commit("2", rollout=rollout)
    await story.until_phase("Progressing")

    await story.run(7 * MINUTE)

    assert story.status["phase"] == phase
    assert story.outcomes["2:2"] == outcome


async def test_candidate_that_never_starts_gets_no_weight_and_is_rejected() -> None:
    """A crash on load costs users nothing and names the container's last words."""
    story = await serving()
    story.platform.behaviours["2"] = Behaviour(starts=False, problem="ValueError: not a model")

    story.commit("2")
    await story.run(2 * MINUTE)
    assert story.weights == {"1": 100}
    assert "ValueError: not a model" in story.condition("CanaryReady")["message"]
    await story.until_phase("RolledBack", 15 * MINUTE)

    assert story.status["rejected"][0]["reason"] == "CandidateNotReady"
    assert "ValueError: not a model" in story.status["message"]
    assert story.weights == {"1": 100}


@pytest.mark.long
async def test_candidate_that_no_node_can_take_is_never_blamed() -> None:
    """Waiting for a GPU is not a failure of the model: no deadline runs."""
    story = await serving()
    story.platform.behaviours["2"] = Behaviour(schedulable=False)
    story.commit("2")

    await story.run(timedelta(hours=1))

    assert story.status["phase"] == "Preparing"
    assert story.condition("CanaryReady")["reason"] == "CapacityUnavailable"
    assert story.status["rejected"] == []
    story.platform.behaviours["2"].schedulable = True
    await story.until_phase("Progressing", 10 * MINUTE)


async def test_candidate_whose_probe_is_not_answered_gets_no_weight() -> None:
    """Ready pods are not enough: our own request must be answered."""
    story = await serving()
    story.platform.behaviours["2"] = Behaviour(answers=False)
    story.commit("2")

    await story.run(3 * MINUTE)

    assert story.weights == {"1": 100}
    assert story.condition("CanaryReady")["message"] == "its probe was not answered"
    assert any(h.endswith("/v1/models/fraud") for h in story.prober.hosts)


async def test_edit_in_mid_canary_starts_anew_from_the_stable_revision() -> None:
    """The unfinished canary loses its weight first, and its record says Superseded."""
    story = await canary()

    story.commit("3")
    await story.run(timedelta(seconds=2))
    assert story.weights == {"1": 100}
    await story.until_phase("Stable")

    assert story.weights == {"3": 100}
    assert story.outcomes == {"1:1": "Promoted", "2:2": "Superseded", "3:3": "Promoted"}


async def test_revert_in_mid_canary_ends_it_and_tries_nothing() -> None:
    """Desired is stable again: the canary goes and nothing is rejected."""
    story = await canary()

    story.commit("1")
    await story.run(MINUTE)

    assert story.weights == {"1": 100}
    assert story.status["phase"] == "Stable"
    assert story.outcomes["2:2"] == "Aborted"
    assert story.status["rejected"] == []


async def test_paused_keeps_the_weight_and_still_rolls_back() -> None:
    """A pause stops the steps, not the watching."""
    story = await canary()
    story.commit("2", rollout={"paused": True})
    await story.run(5 * MINUTE)
    assert story.weights == {"1": 90, "2": 10}
    assert story.status["phase"] == "Paused"

    story.platform.behaviours["2"].failing = 0.2
    await story.until_phase("RolledBack", 5 * MINUTE)

    assert story.weights == {"1": 100}


async def test_resumed_rollout_goes_on_where_it_was() -> None:
    """Evidence gathered in a pause counts."""
    story = await canary()
    story.commit("2", rollout={"paused": True})
    await story.run(5 * MINUTE)

    story.commit("2")
    await story.until_phase("Stable")

    assert story.weights == {"2": 100}


async def test_retry_tries_a_rejected_revision_again() -> None:
    """Only another hash or another `retry` brings a rejected revision back."""
    story = await canary(failing=0.2)
    await story.until_phase("RolledBack", 5 * MINUTE)
    story.platform.behaviours["2"].failing = 0.0
    await story.run(5 * MINUTE)
    assert story.status["phase"] == "RolledBack"

    story.commit("2", rollout={"retry": "dependency-fixed"})
    await story.until_phase("Stable")

    assert story.outcomes == {"1:1": "Promoted", "2:2": "RolledBack", "3:2": "Promoted"}


async def test_fixed_version_follows_a_rejected_one() -> None:
    """The next commit starts from the stable revision as if nothing had happened."""
    story = await canary(failing=0.2)
    await story.until_phase("RolledBack", 5 * MINUTE)

    story.commit("3")
    await story.until_phase("Stable")

    assert story.weights == {"3": 100}
    assert story.condition("Stalled")["status"] == "False"


async def test_breach_in_the_bake_goes_back_without_deploying_anything() -> None:
    """The predecessor stayed warm: one route write takes the new revision back."""
    story = await serving()
    story.commit("2", rollout={"bake": "1h"})
    await story.until_phase("Baking")
    story.platform.behaviours["2"] = Behaviour(failing=0.3)
    story.cluster.writes.clear()

    await story.until_phase("RolledBack", 10 * MINUTE)

    assert story.weights == {"1": 100}
    assert ("create", "InferenceService") not in {(v, k) for v, k, _ in story.cluster.writes}


async def test_fault_of_both_arms_is_not_the_canarys() -> None:
    """When stable fails just as much, rolling back cures nothing: hold."""
    story = await canary()
    story.metrics.incident = 0.3

    await story.run(5 * MINUTE)

    assert story.weights == {"1": 90, "2": 10}
    assert story.status["phase"] == "Progressing"


async def test_first_revision_that_breaches_says_there_is_nothing_to_go_back_to() -> None:
    """Degraded, loudly; traffic stays, since nothing else could serve it."""
    story = Story()
    story.platform.behaviours["1"] = Behaviour(failing=0.3)
    story.commit("1")

    await story.until_phase("Degraded", 10 * MINUTE)

    assert story.weights == {"1": 100}
    assert story.condition("Stalled")["reason"] == "NothingToRollBackTo"
    story.commit("2")
    await story.until_phase("Stable")
    assert story.weights == {"2": 100}


async def test_first_revision_that_cannot_start_heals_when_its_cause_is_gone() -> None:
    """Without a stable revision there is nothing to protect, so it is tried for ever."""
    story = Story()
    story.platform.behaviours["1"] = Behaviour(starts=False, problem="404 s3://models/fraud/1")
    story.commit("1")
    await story.until_phase("Degraded", 15 * MINUTE)
    assert story.condition("Ready")["status"] == "False"
    assert story.weights == {}

    story.platform.behaviours["1"] = Behaviour()
    await story.until_phase("Stable")

    assert story.weights == {"1": 100}


async def test_broken_stable_is_replaced_by_a_ready_candidate() -> None:
    """Without endpoints stable gives users nothing, so nothing is compared with it."""
    story = await serving()
    story.platform.behaviours["1"] = Behaviour(starts=False)
    await story.run(2 * MINUTE)
    story.commit("2")

    await story.until_phase("Baking", 10 * MINUTE)

    assert story.weights == {"2": 100}
    assert story.status["reason"] == "StableNotReady"


async def test_short_absence_of_stable_promotes_nobody() -> None:
    """A restart of stable's only pod is no reason to trust the canary."""
    story = await canary()
    story.platform.behaviours["1"] = Behaviour(starts=False)
    await story.run(timedelta(seconds=20))
    story.platform.behaviours["1"] = Behaviour()
    await story.run(timedelta(seconds=10))

    assert story.weights["1"] == 90


async def test_canary_that_loses_its_endpoints_loses_its_weight() -> None:
    """No weight for what is not ready, and the rollout goes on when it is back."""
    story = await canary()
    story.platform.behaviours["2"].starts = False
    await story.run(timedelta(seconds=12))
    assert story.weights == {"1": 100}
    assert story.status["reason"] == "CandidateLost"

    story.platform.behaviours["2"].starts = True
    await story.until_phase("Stable")

    assert story.weights == {"2": 100}


async def test_history_keeps_only_so_many_revisions() -> None:
    """Old revisions and finished records go, the newest stay."""
    story = await serving()
    for version in ("2", "3", "4", "5", "6"):
        story.commit(version, history=2)
        await story.run(timedelta(seconds=4))
        await story.until_phase("Stable")

    kept = {r["spec"]["model"]["version"] for r in story.cluster.all("ModelRevision")}
    services = {
        s["spec"]["predictor"]["model"]["storageUri"][-1]
        for s in story.cluster.all("InferenceService")
    }
    assert kept == {"4", "5", "6"}
    assert services == kept
    assert sorted(story.outcomes) == ["5:5", "6:6"]


async def test_records_form_a_chain() -> None:
    """Each rollout names the digest of the finished one before it."""
    story = await serving()
    story.commit("2")
    await story.run(timedelta(seconds=4))
    await story.until_phase("Stable")

    first, second = story.cluster.all("ModelRollout")
    assert second["spec"]["previous"] == {
        "name": "fraud-0001",
        "digest": first["status"]["digest"],
    }


async def test_deleted_deployment_leaves_its_records() -> None:
    """By ownership all else goes; the records outlive it, and its name may come back."""
    story = await canary()
    story.cluster.remove("ModelDeployment", "models", "fraud")
    await story.run(MINUTE)

    assert story.cluster.all("InferenceService") == []
    assert story.cluster.all("HTTPRoute") == []
    assert len(story.cluster.all("ModelRollout")) == 2
    story.commit("1")
    await story.until_phase("Stable")
    assert [r["spec"]["number"] for r in story.cluster.all("ModelRollout")] == [1, 2, 3]


# --- objects deleted by hand ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["HTTPRoute", "InferenceService", "ModelRevision", "ModelRollout", "Deployment"]
)
async def test_children_deleted_by_hand_in_mid_canary_come_back(kind: str) -> None:
    """Whatever somebody deletes, the rollout ends as it would have."""
    story = await canary()
    for manifest in story.cluster.all(kind):
        story.cluster.remove(kind, "models", manifest["metadata"]["name"])
    story.due = story.clock.now()

    await story.until_phase("Stable")

    assert story.weights == {"2": 100}
    assert story.status["rejected"] == []


async def test_weights_changed_by_hand_are_put_right() -> None:
    """The route is ours whole; a hand at it lasts until the next look."""
    story = await canary()
    route = story.cluster.find("HTTPRoute", "models", "fraud")
    assert route is not None
    changed = {**route, "spec": {**route["spec"], "hostnames": ["evil.example.com"]}}
    story.cluster.put(changed)

    await story.run(timedelta(seconds=12))

    route = story.cluster.find("HTTPRoute", "models", "fraud")
    assert route is not None
    assert route["spec"]["hostnames"] == ["fraud.example.com"]


# --- specs that cannot be used -------------------------------------------------------------------


def _with_config_map(version: str) -> dict[str, Any]:
    spec = deployment(version)["spec"]["template"]
    source = {"configMapKeyRef": {"name": "thresholds", "key": "cut"}}
    spec["spec"]["predictor"]["model"]["env"] = [{"name": "CUT", "valueFrom": source}]
    return dict(spec)


async def test_missing_config_map_is_named_and_heals() -> None:
    """Accepted=False names field, wanted and found; traffic is untouched; it heals by itself."""
    story = await serving()
    story.commit("2", template=_with_config_map("2"))
    await story.run(2 * MINUTE)
    accepted = story.condition("Accepted")
    assert accepted["status"] == "False"
    assert accepted["message"] == (
        "spec.template.spec: wanted ConfigMap models/thresholds, found none"
    )
    assert story.weights == {"1": 100}

    story.cluster.put(config_map("0.5"))
    await story.until_phase("Progressing", 5 * MINUTE)


def config_map(cut: str) -> dict[str, Any]:
    """Return the ConfigMap the template names."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "thresholds", "namespace": "models"},
        "data": {"cut": cut},
    }


async def test_changed_config_map_is_a_new_revision() -> None:
    """What the template names is part of the hash, so it is released like any change."""
    story = Story()
    story.cluster.put(config_map("0.5"))
    story.commit("1", template=_with_config_map("1"))
    await story.until_phase("Stable")
    first = story.status["stable"]["hash"]

    story.cluster.put(config_map("0.9"))
    await story.run(6 * MINUTE)

    assert story.status["canary" if "canary" in story.status else "stable"]["hash"] != first


async def test_missing_gateway_is_named() -> None:
    """Nothing is made for a spec that has nowhere to come in."""
    story = Story()
    story.commit("1", traffic={"gateway": {"name": "nowhere"}, "hostnames": ["fraud.example.com"]})
    await story.run(MINUTE)

    assert story.condition("Accepted")["message"] == (
        "spec.traffic.gateway.name: wanted Gateway models/nowhere, found none"
    )
    assert story.cluster.all("InferenceService") == []


async def test_missing_runtime_is_named() -> None:
    """A runtime that does not exist is found before anything is made."""
    story = Story()
    template = deployment("1")["spec"]["template"]
    template["spec"]["predictor"]["model"]["runtime"] = "nope"
    story.commit("1", template=template)
    await story.run(MINUTE)

    accepted = story.condition("Accepted")
    assert accepted["reason"] == "NotFound"
    assert accepted["message"].startswith("spec.template.spec.predictor.model.runtime: wanted")


async def test_invalid_spec_in_mid_canary_holds_and_still_rolls_back() -> None:
    """A spec that cannot be read stops the steps; what runs is still watched."""
    story = await canary()
    story.commit("3", template={"metadata": {}, "spec": {}})
    await story.run(2 * MINUTE)
    assert story.condition("Accepted")["reason"] == "InvalidSpec"
    assert story.weights == {"1": 90, "2": 10}

    story.platform.behaviours["2"].failing = 0.3
    await story.until_phase("RolledBack", 5 * MINUTE)

    assert story.weights == {"1": 100}


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("HTTPRoute", "gateway.networking.k8s.io/v1"),
        ("InferenceService", "serving.kserve.io/v1beta1"),
    ],
)
async def test_foreign_object_of_our_name_is_never_taken_over(kind: str, group: str) -> None:
    """Conflict is said, nothing of theirs is written, and it heals when theirs is gone."""
    story = Story()
    story.commit("1")
    probe = Story()
    probe.commit("1")
    await probe.once()
    name = "fraud" if kind == "HTTPRoute" else probe.cluster.all(kind)[0]["metadata"]["name"]
    foreign = {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name, "namespace": "models", "labels": {}},
        "spec": {
            "parentRefs": [{"name": "public"}],
            "rules": [{"backendRefs": []}],
            "predictor": {"model": {"storageUri": "s3://theirs"}},
        },
    }
    story.cluster.put(foreign)
    before = story.cluster.find(kind, "models", name)
    assert before is not None
    version = before["metadata"]["resourceVersion"]

    await story.run(2 * MINUTE)

    after = story.cluster.find(kind, "models", name)
    assert after is not None
    assert after["metadata"]["resourceVersion"] == version
    assert story.condition("Accepted")["reason"] == "Conflict"
    story.cluster.remove(kind, "models", name)
    await story.until_phase("Stable", 10 * MINUTE)


async def test_second_deployment_with_the_same_hostname_is_refused() -> None:
    """The older claim stays in force; the newer says whose it is."""
    story = await serving()
    other = deployment("1")
    other["metadata"]["name"] = "copycat"
    story.cluster.put(other)
    story.key = type(story.key)("models", "copycat")

    await story.once()

    found = story.cluster.find("ModelDeployment", "models", "copycat")
    assert found is not None
    accepted = next(c for c in found["status"]["conditions"] if c["type"] == "Accepted")
    assert accepted["reason"] == "Conflict"
    assert "ModelDeployment models/fraud has claimed" in accepted["message"]
    assert story.cluster.find("HTTPRoute", "models", "copycat") is None


# --- the API server and the gateway --------------------------------------------------------------


async def test_gateway_that_does_not_confirm_gives_no_evidence() -> None:
    """The step's clock and the evidence start only under a verified route."""
    story = await serving()
    story.platform.gateway_up = False
    story.commit("2")
    await story.run(5 * MINUTE)

    assert story.condition("TrafficVerified")["status"] == "False"
    assert story.status["phase"] == "Progressing"
    story.platform.gateway_up = True
    await story.until_phase("Stable")


async def test_api_server_that_vanishes_for_a_minute_costs_only_that_minute() -> None:
    """Traffic keeps its split; afterwards the rollout goes on."""
    story = await canary()

    def vanish(verb: str, kind: str) -> None:
        raise ClusterUnavailable("connection refused")

    story.cluster.before_read = vanish
    await story.run(MINUTE)
    assert story.weights == {"1": 90, "2": 10}
    story.cluster.before_read = lambda verb, kind: None

    await story.until_phase("Stable")
    assert story.outcomes["2:2"] == "Promoted"


async def test_converged_deployment_writes_nothing() -> None:
    """A pass over what is as it should be only reads."""
    story = await serving()
    await story.run(MINUTE)
    story.cluster.writes.clear()

    for _ in range(5):
        await story.once()

    assert story.cluster.writes == []


async def test_looks_between_transitions_do_not_churn_status() -> None:
    """Ten looks in a long hold cost at most a checkpoint a minute."""
    story = await serving()
    story.commit("2", rollout={"steps": [{"weight": 10, "hold": "30m"}]})
    await story.until_phase("Progressing")
    await story.run(timedelta(seconds=10))
    story.cluster.writes.clear()

    await story.run(5 * MINUTE)

    kinds = [k for _, k, _ in story.cluster.writes]
    assert "ModelDeployment" not in kinds
    assert kinds.count("ModelRollout") <= 5


async def test_two_operators_do_nothing_twice() -> None:
    """A write that raced with another operator's is a Conflict, and the next pass goes on."""
    story = await canary()
    lost = 0
    for _ in range(60):
        story.clock.at += timedelta(seconds=2)
        story.platform.settle()
        story.metrics.serve(2)
        for _ in range(2):
            try:
                await story.once()
            except Conflict:
                lost += 1
    await story.until_phase("Stable")
    assert story.outcomes["2:2"] == "Promoted"
    assert len(story.cluster.all("ModelRollout")) == 2
