"""Adversity: lost writes, crashes under load, dead stable revisions, odd templates, other hands."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from tests.scenarios.memory import SCRAPE, Behaviour, Story, deployment
from tests.scenarios.test_faults import canary, serving

from headgate.adapters.gateway import Listener, is_as_rendered, render_route
from headgate.adapters.kserve import Workload, render_inference_service
from headgate.api.accept import Invalid, parse
from headgate.core.evidence import Evidence
from headgate.ports import ClusterUnavailable, Conflict, Refused
from headgate.reconcile import Key

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def weight_of(story: Story, version: str) -> int:
    """The canary's weight in the route."""
    return story.weights.get(version, 0)


async def stepped(story: Story, seconds: int, seen: list[int], version: str = "2") -> None:
    """Let time pass and note the weight after each scrape."""
    for _ in range(seconds // 2):
        await story.run(SCRAPE)
        seen.append(weight_of(story, version))


@pytest.mark.parametrize("blocked", ["patch_status", "delete"])
async def test_rollback_stays_in_force_while_nothing_but_the_route_can_be_written(
    blocked: str,
) -> None:
    """A canary that was taken back gets no request again because a later write failed."""
    story = await serving()
    for version in ("a", "b", "c", "d"):
        story.platform.behaviours[version] = Behaviour(failing=0.5)
        story.commit(version)
        await story.until_phase("RolledBack")
    story.platform.behaviours["2"] = Behaviour(failing=0.5)
    story.commit("2")
    await story.until_phase("Progressing")
    broken = [0]

    def fail(verb: str, kind: str, name: str) -> None:
        if verb == blocked and (verb == "delete" or kind == "ModelDeployment"):
            broken[0] += 1
            raise ClusterUnavailable("500")

    story.cluster.before_write = fail
    seen: list[int] = []
    await stepped(story, 120, seen)
    first = seen.index(0) if 0 in seen else len(seen)
    assert 0 in seen
    assert set(seen[first:]) == {0}


async def test_one_lost_race_at_rollback_does_not_give_the_canary_weight_again() -> None:
    """Git touches the object between our route write and our status write, once."""
    story = await canary(failing=0.3)
    writes: list[tuple[str, Any]] = []
    once = [True]

    def after(verb: str, manifest: Any) -> None:
        story.platform.settle()
        if manifest["kind"] == "HTTPRoute":
            refs = manifest["spec"]["rules"][0]["backendRefs"]
            writes.append((verb, [r["weight"] for r in refs]))

    def fail(verb: str, kind: str, name: str) -> None:
        route = story.cluster.find("HTTPRoute", "models", "fraud")
        assert route is not None
        alone = len(route["spec"]["rules"][0]["backendRefs"]) == 1
        if alone and once[0] and (verb, kind) == ("patch_status", "ModelDeployment"):
            once[0] = False
            raise Conflict("somebody labelled it")

    story.cluster.after_write = after
    story.cluster.before_write = fail
    await story.until_phase("RolledBack")
    assert [w for _, w in writes] == [[100]]


async def test_record_that_cannot_be_written_keeps_nobody_on_the_canary() -> None:
    """Traffic goes back and stays back, and the record is finished when it can be."""
    story = await canary(failing=0.3)

    def fail(verb: str, kind: str, name: str) -> None:
        if kind == "ModelRollout":
            raise ClusterUnavailable("500")

    story.cluster.before_write = fail
    seen: list[int] = []
    await stepped(story, 120, seen)
    assert set(seen[seen.index(0) :]) == {0}
    story.cluster.before_write = lambda *_: None
    story.due = story.clock.now()
    await story.run(MINUTE)

    assert story.outcomes["2:2"] == "RolledBack"
    assert story.status["rejected"][0]["version"] == "2"


async def test_canary_that_keeps_crashing_under_requests_is_rolled_back() -> None:
    """Crash, restart, crash: its users' failures count."""
    story = await serving()
    story.platform.behaviours["2"] = Behaviour()
    story.commit("2", rollout={"progressDeadline": "4h"})
    await story.until_phase("Progressing")
    behaviour = story.platform.behaviours["2"]
    for _ in range(60):
        behaviour.starts = True
        await story.run(timedelta(seconds=40))
        if story.status["phase"] == "RolledBack":
            break
        behaviour.starts = False
        await story.run(timedelta(seconds=20))
        if story.status["phase"] == "RolledBack":
            break
    assert story.status["phase"] == "RolledBack"


async def test_short_readiness_blip_late_in_a_rollout_does_not_reject_the_canary() -> None:
    """The deadline to become ready is over for who was ready in time."""
    story = await serving()
    story.commit("2", rollout={"steps": [{"weight": 10, "hold": "1h"}], "progressDeadline": "10m"})
    await story.until_phase("Progressing")
    await story.run(20 * MINUTE)
    story.metrics.rate = 1.0
    story.platform.behaviours["2"] = Behaviour(starts=False)
    await story.run(timedelta(seconds=20))
    story.platform.behaviours["2"] = Behaviour()
    await story.run(MINUTE)
    assert story.status["rejected"] == []


@pytest.mark.parametrize("wanted", ["3", "1"])
async def test_traffic_does_not_leave_a_serving_canary_for_a_dead_stable(wanted: str) -> None:
    """Superseded or reverted while stable has no endpoint: who serves keeps serving."""
    story = await serving()
    story.platform.behaviours["1"] = Behaviour(starts=False)
    story.commit("2")
    await story.until_phase("Baking")
    assert story.weights == {"2": 100}
    story.platform.behaviours["3"] = Behaviour(starts=False)
    story.commit(wanted)
    await story.run(timedelta(seconds=10))
    assert story.weights == {"2": 100}


async def test_stable_that_dies_in_mid_canary_is_replaced_as_in_preparing() -> None:
    """A canary that serves and has proof is no worse than one that has none."""
    story = await canary()
    await story.run(timedelta(seconds=10))
    story.platform.behaviours["1"] = Behaviour(starts=False)
    await story.run(30 * MINUTE)
    assert story.weights == {"2": 100}


def odd(predictor: dict[str, Any]) -> dict[str, Any]:
    """A template with this predictor."""
    return {"metadata": {}, "spec": {"predictor": predictor}}


ODD = {
    "model is text": {"model": "sklearn"},
    "model is a list": {"model": [1]},
    "format is text": {"model": {"modelFormat": "sklearn", "storageUri": "s3://x/3"}},
    "format is null": {"model": {"modelFormat": None, "storageUri": "s3://x/3"}},
    "args is null": {
        "model": {"modelFormat": {"name": "sklearn"}, "args": None, "storageUri": "s3://x/3"}
    },
    "args is a number": {
        "model": {"modelFormat": {"name": "sklearn"}, "args": 5, "storageUri": "s3://x/3"}
    },
    "runtime is a map": {
        "model": {
            "modelFormat": {"name": "sklearn"},
            "runtime": {"name": "a"},
            "storageUri": "s3://x/3",
        }
    },
}


@pytest.mark.parametrize("predictor", ODD.values(), ids=ODD.keys())
async def test_odd_template_in_mid_canary_does_not_stop_the_watch_over_the_canary(
    predictor: dict[str, Any],
) -> None:
    """What accept lets through must not end a pass as a bug."""
    story = await canary()
    await story.run(timedelta(seconds=10))
    story.commit("3", template=odd(predictor))
    story.platform.behaviours["2"].failing = 0.3
    try:
        await story.run(3 * MINUTE)
    except (AttributeError, TypeError, KeyError, IndexError) as error:
        pytest.fail(f"{type(error).__name__}: {error}; weights {story.weights}")
    assert weight_of(story, "2") == 0


async def test_forbidden_read_of_what_the_template_names_does_not_stop_the_rollback() -> None:
    """track_secrets without its rights: an objection, and the canary is still judged."""
    story = Story(track_secrets=True)
    story.commit("1")
    await story.until_phase("Stable")
    story.platform.behaviours["2"] = Behaviour(failing=0.0)
    story.commit("2")
    await story.until_phase("Progressing")

    def forbid(verb: str, kind: str) -> None:
        if kind == "Secret":
            raise Refused("get Secret models/s: HTTP 403: forbidden")

    story.cluster.before_read = forbid
    story.platform.behaviours["2"].failing = 0.3
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://x/3", "env": env}
    story.commit("3", template=odd({"model": model}))
    try:
        await story.run(3 * MINUTE)
    except Refused as error:
        pytest.fail(f"{error}; weights {story.weights}, {story.condition('Accepted')}")
    assert weight_of(story, "2") == 0


async def test_secret_with_a_name_that_no_secret_can_have_is_said() -> None:
    """The condition tells it, instead of a status that the schema refuses."""
    story = Story()
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "Bad_Name", "key": "k"}}}]
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://x/3", "env": env}
    story.commit("3", template=odd({"model": model}))
    await story.run(MINUTE)
    assert story.condition("Accepted")["status"] == "False"


async def test_canary_without_endpoints_loses_weight_while_kserves_webhook_is_down() -> None:
    """The route goes first when it takes weight away."""
    story = await canary()
    await story.run(timedelta(seconds=10))
    name = next(
        r["metadata"]["name"]
        for r in story.cluster.all("ModelRevision")
        if r["spec"]["model"]["version"] == "2"
    )

    def down(verb: str, kind: str, named: str) -> None:
        if kind == "InferenceService":
            raise ClusterUnavailable("failed calling webhook: connection refused")

    story.cluster.before_write = down
    story.cluster.remove("InferenceService", "models", name)
    await story.run(5 * MINUTE)
    assert story.weights == {"1": 100}


async def test_route_of_somebody_else_in_the_place_of_ours_is_never_taken_over() -> None:
    """Also when a stable revision is there already."""
    story = await serving()
    story.cluster.remove("HTTPRoute", "models", "fraud")
    story.cluster.put(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": "fraud", "namespace": "models", "labels": {"theirs": "yes"}},
            "spec": {
                "parentRefs": [{"name": "public"}],
                "hostnames": ["theirs.example.com"],
                "rules": [
                    {
                        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                        "backendRefs": [{"name": "theirs", "port": 80, "weight": 1}],
                    }
                ],
            },
        }
    )
    try:
        story.due = story.clock.now()
        await story.run(MINUTE)
    except (KeyError, IndexError) as error:
        pytest.fail(f"{type(error).__name__} {error}")
    route = story.cluster.find("HTTPRoute", "models", "fraud")
    assert route is not None
    assert route["metadata"]["labels"] == {"theirs": "yes"}


@pytest.mark.parametrize("field", ["timeout", "section", "gateway_namespace"])
def test_field_that_was_removed_is_removed_from_the_route(field: str) -> None:
    """Otherwise the gateway of before stays in force, and status says that all is well."""
    owner = {
        "apiVersion": "a/b",
        "kind": "M",
        "metadata": {"name": "n", "namespace": "ns", "uid": "u"},
    }
    full = {
        "gateway": "g",
        "gateway_namespace": "gw",
        "section": "s",
        "hostnames": ("h",),
        "path_prefix": "/",
        "timeout": "5s",
    }
    before = render_route("n", owner, Listener(**full), [])  # type: ignore[arg-type]
    after = render_route("n", owner, Listener(**{**full, field: None}), [])  # type: ignore[arg-type]
    assert not is_as_rendered(before, after)


async def test_bake_without_objectives_still_rolls_back() -> None:
    """`objectives` is optional and empty by default; `bake` promises that a breach rolls back."""
    story = await serving()
    story.commit("2", objectives=[])
    await story.until_phase("Baking")
    story.platform.behaviours["2"] = Behaviour(failing=0.5)
    await story.run(10 * MINUTE)
    assert story.weights == {"1": 100}


async def test_first_revision_that_broke_its_objective_once_can_be_proven_later() -> None:
    """A dependency's ten bad minutes in the first bake are not for ever."""
    story = Story()
    story.platform.behaviours["1"] = Behaviour(failing=0.3)
    story.commit("1")
    await story.until_phase("Degraded")
    story.platform.behaviours["1"] = Behaviour()
    await story.run(HOUR)
    story.commit("1", rollout={"retry": "again"})
    await story.run(HOUR)
    assert story.status["phase"] == "Stable"


async def test_rollout_number_never_goes_back_to_an_old_record() -> None:
    """Degraded first revision, a second one promoted, and the first wanted again."""
    story = Story()
    story.platform.behaviours["1"] = Behaviour(failing=0.3)
    story.commit("1")
    await story.until_phase("Degraded")
    story.commit("2")
    await story.until_phase("Stable")
    story.platform.behaviours["1"] = Behaviour()
    story.commit("1", rollout={"bake": "5m"})
    await story.until_phase("Progressing")
    assert story.status["rollout"] == "fraud-0003"


async def test_record_deleted_in_the_first_bake_does_not_stop_it() -> None:
    """Objects deleted by hand heal."""
    story = Story()
    story.commit("1")
    await story.until_phase("Baking")
    story.cluster.remove("ModelRollout", "models", "fraud-0001")
    await story.run(HOUR)
    assert story.status["phase"] == "Stable"


async def test_first_revision_is_not_blamed_for_the_second_ones_breach() -> None:
    """Unproven stable, second rolled back in its bake, Git reverted to the first."""
    story = Story()
    story.commit("1", rollout={"bake": "2h"})
    await story.until_phase("Baking")
    await story.run(MINUTE)
    story.commit("2")
    await story.run(HOUR, lambda: story.weights == {"2": 100})
    assert story.weights == {"2": 100}
    await story.run(timedelta(seconds=20))
    story.platform.behaviours["2"] = Behaviour(failing=0.3)
    await story.until_phase("RolledBack")
    story.commit("1", rollout={"bake": "2m"})
    await story.run(10 * MINUTE)
    assert story.status["phase"] == "Stable"


@pytest.mark.long
@pytest.mark.parametrize("policy", ["Promote", "RollBack"])
async def test_time_paused_does_not_count_for_the_deadline(policy: str) -> None:
    """Paused over night by a person: resuming is no verdict."""
    story = await serving()
    rollout = {
        "onInconclusive": policy,
        "progressDeadline": "30m",
        "steps": [{"weight": 5, "hold": "10m"}, {"weight": 50, "hold": "10m"}],
    }
    story.metrics.rate = 2.0
    story.commit("2", rollout=rollout)
    await story.until_phase("Progressing")
    story.commit("2", rollout={**rollout, "paused": True})
    await story.run(2 * HOUR)
    assert story.status["phase"] == "Paused"
    story.commit("2", rollout=rollout)
    await story.run(MINUTE)
    assert story.status["phase"] == "Progressing"
    assert story.weights == {"1": 95, "2": 5}


@pytest.mark.long
async def test_promote_on_inconclusive_still_holds_each_step() -> None:
    """`hold` is the shortest stay of a weight, whatever earned it."""
    story = await serving()
    story.metrics.rate = 2.0
    steps = [{"weight": w, "hold": "10m"} for w in (1, 20, 50)]
    story.commit(
        "2", rollout={"onInconclusive": "Promote", "progressDeadline": "20m", "steps": steps}
    )
    await story.until_phase("Progressing")
    start = story.clock.now()
    await story.run(2 * HOUR, lambda: story.weights == {"2": 100})
    assert story.clock.now() - start >= 30 * MINUTE


async def test_transformer_keeps_its_place_in_the_route_when_a_revision_was_deleted() -> None:
    """A ModelRevision deleted by hand does not send users past the transformer."""
    story = await serving()
    old = story.cluster.all("ModelRevision")[0]
    services = story.cluster.all("InferenceService")
    services[0]["spec"]["transformer"] = {"containers": [{"name": "t"}]}
    old["spec"]["template"]["spec"]["transformer"] = {"containers": [{"name": "t"}]}
    name = old["metadata"]["name"]
    story.cluster.put(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": f"{name}-transformer",
                "namespace": "models",
                "labels": dict(services[0]["metadata"]["labels"]),
            },
            "spec": {"replicas": 1},
            "status": {
                "observedGeneration": 1,
                "replicas": 1,
                "updatedReplicas": 1,
                "availableReplicas": 1,
            },
        }
    )
    story.platform.settle = lambda: None  # type: ignore[method-assign]
    story.commit("9", rollout={"paused": True})
    await story.once()
    route = story.cluster.find("HTTPRoute", "models", "fraud")
    assert route is not None
    first = route["spec"]["rules"][0]["backendRefs"][0]["name"]
    story.cluster.remove("ModelRevision", "models", name)
    await story.once()
    route = story.cluster.find("HTTPRoute", "models", "fraud")
    assert route is not None
    second = route["spec"]["rules"][0]["backendRefs"][0]["name"]
    assert first.endswith("-transformer")
    assert second == first


def test_old_style_predictor_keeps_its_public_name() -> None:
    """`predictor.sklearn` is KServe's too; its public name must not change with each revision."""
    manifest = deployment("1", template=odd({"sklearn": {"storageUri": "s3://x/1"}}))
    manifest["metadata"]["namespace"] = "models"
    try:
        parse(manifest)
    except Invalid:
        return
    owner = {"apiVersion": "a/b", "kind": "M", "metadata": {"name": "n", "uid": "u"}}
    workload = Workload(
        "fraud", "models", "fraud-00000000", "00000000", manifest["spec"]["template"]
    )
    text = str(render_inference_service(workload, owner, False))
    assert "model_name=fraud" in text


async def test_two_claims_made_at_once_are_noticed_later() -> None:
    """The check is not only for the moment of the claim."""
    story = await serving()
    other = deployment("1")
    other["metadata"]["name"] = "copycat"
    other["spec"]["traffic"]["hostnames"] = ["other.example.com"]
    story.cluster.put(other)
    story.key = Key("models", "copycat")
    await story.run(10 * MINUTE)
    # same hostname claimed at another gateway first, then the gateway is changed
    route = story.cluster.find("HTTPRoute", "models", "copycat")
    assert route is not None
    story.cluster.put(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "inner", "namespace": "gateways"},
            "spec": {"listeners": [{"name": "http"}]},
        }
    )
    other["spec"]["traffic"]["gateway"]["name"] = "inner"
    other["spec"]["traffic"]["hostnames"] = ["fraud.example.com"]
    story.cluster.put(other)
    story.due = story.clock.now()
    await story.run(2 * MINUTE)
    other["spec"]["traffic"]["gateway"]["name"] = "public"
    story.cluster.put(other)
    story.due = story.clock.now()
    await story.run(MINUTE)
    found = story.cluster.find("ModelDeployment", "models", "copycat")
    assert found is not None
    accepted = next(c for c in found["status"]["conditions"] if c["type"] == "Accepted")
    assert accepted["reason"] == "Conflict"


@pytest.mark.long
async def test_candidate_for_which_no_pod_is_ever_made_does_not_prepare_for_ever() -> None:
    """KServe refuses the runtime, or a quota the pods: the deadline must come."""
    story = await serving()
    settle = story.platform._put_child

    def no_pod(kind: str, name: str, labels: Any, service: Any) -> None:
        settle(kind, name, labels, service)

    story.platform._put_child = no_pod  # type: ignore[method-assign]
    original = story.platform._serve

    def serve(service: Any) -> None:
        if service["spec"]["predictor"]["model"]["storageUri"].endswith("/2"):
            return
        original(service)

    story.platform._serve = serve  # type: ignore[method-assign]
    story.commit("2")
    await story.run(24 * HOUR)
    assert story.status["phase"] == "RolledBack"


async def test_history_of_stable_is_not_the_rejected_canarys() -> None:
    """The baseline before a canary is of the revision that was stable, not of whoever was at its
    position."""
    story = await serving()
    story.platform.behaviours["2"] = Behaviour(failing=0.002)
    story.commit("2")
    await story.until_phase("Baking")
    await story.run(timedelta(seconds=10))
    story.platform.behaviours["2"].failing = 0.4
    await story.until_phase("RolledBack")
    story.commit("3")
    await story.until_phase("Progressing")
    await story.run(timedelta(seconds=30))
    record = story.cluster.find("ModelRollout", "models", story.status["rollout"])
    assert record is not None
    evidence = Evidence.from_json(record["status"]["evidence"]["state"])
    good, bad = evidence.errors.history
    assert bad / (good + bad) < 0.01


@pytest.mark.parametrize("path", ["/a/"])
async def test_same_path_written_otherwise_is_the_same_claim(path: str) -> None:
    """Gateway API ignores a trailing slash of a PathPrefix."""
    story = Story()
    traffic = {**deployment("1")["spec"]["traffic"], "pathPrefix": "/a"}
    story.commit("1", traffic=traffic)
    await story.until_phase("Stable")
    other = deployment("1", traffic={**traffic, "pathPrefix": path})
    other["metadata"]["name"] = "copycat"
    story.cluster.put(other)
    story.key = Key("models", "copycat")
    story.due = story.clock.now()
    await story.run(timedelta(minutes=2))
    assert story.cluster.find("HTTPRoute", "models", "copycat") is None


async def test_route_whose_lists_were_emptied_by_hand_heals() -> None:
    """Also while the spec is not accepted."""
    story = await serving()
    route = story.cluster.find("HTTPRoute", "models", "fraud")
    assert route is not None
    mine = copy.deepcopy(route)
    mine["spec"]["parentRefs"] = []
    story.cluster.remove("Gateway", "gateways", "public")
    story.platform.gateway_up = False
    story.cluster.put(mine)
    try:
        await story.once()
    except (KeyError, IndexError) as error:
        pytest.fail(f"{type(error).__name__}: {error}")


async def test_stable_revision_that_was_proven_outlives_a_rejected_one() -> None:
    """History keeps what can be gone back to rather than what was refused."""
    story = Story()
    story.commit("1", history=1)
    await story.until_phase("Stable")
    story.platform.behaviours["2"] = Behaviour(failing=0.3)
    story.commit("2", history=1)
    await story.until_phase("RolledBack")
    story.commit("3", history=1)
    await story.until_phase("Stable")
    kept = {r["spec"]["model"]["version"] for r in story.cluster.all("ModelRevision")}
    assert kept == {"1", "3"}


@pytest.mark.long
async def test_healthy_canary_in_long_holds_is_not_given_up_at_a_step_change() -> None:
    """The deadline is over while all is well; the first look after a new weight has no request
    yet, and that is no reason to reject it."""
    story = await serving()
    story.commit(
        "2",
        rollout={
            "onInconclusive": "RollBack",
            "progressDeadline": "5m",
            "steps": [{"weight": 10, "hold": "10m"}, {"weight": 50, "hold": "10m"}],
            "interval": "10s",
        },
    )
    await story.run(
        HOUR,
        lambda: (
            story.status["phase"] in ("RolledBack", "Stable")
            and story.status["observedGeneration"] == 2
            and "canary" not in story.status
            and story.outcomes.get("2:2", "Progressing") != "Progressing"
        ),
    )
    assert story.outcomes["2:2"] == "Promoted"


async def test_outage_of_metrics_past_the_deadline_rejects_nobody() -> None:
    """None ended, all resume: also where inconclusive means rolling back."""
    story = await serving()
    story.commit(
        "2",
        rollout={
            "onInconclusive": "RollBack",
            "progressDeadline": "10m",
            "steps": [{"weight": 10, "hold": "9m"}],
        },
    )
    await story.until_phase("Progressing")
    await story.run(8 * MINUTE)
    story.metrics.up = False
    await story.run(4 * MINUTE)
    assert story.status["rejected"] == []


async def test_gateway_that_never_confirms_ends_by_the_policy() -> None:
    """The deadline counts too where there is nothing to judge."""
    story = await serving()
    story.platform.gateway_up = False
    story.commit("2", rollout={"onInconclusive": "RollBack", "progressDeadline": "10m"})
    await story.run(HOUR)
    assert story.status["phase"] == "RolledBack"


async def test_listener_that_is_refused_does_not_block_the_rollback() -> None:
    """An admission policy refuses the new hostname in mid-canary; weights still go back."""
    story = await canary()
    await story.run(timedelta(seconds=4))
    original = story.cluster.apply

    async def apply(manifest: Any) -> Any:
        if manifest["kind"] == "HTTPRoute" and "x.corp" in manifest["spec"]["hostnames"]:
            raise Refused("HTTPRoute models/fraud: hostname x.corp is not yours")
        return await original(manifest)

    story.cluster.apply = apply  # type: ignore[method-assign]
    story.commit("2", traffic={**deployment("2")["spec"]["traffic"], "hostnames": ["x.corp"]})
    story.platform.behaviours["2"].failing = 0.3
    await story.run(5 * MINUTE)
    assert story.weights == {"1": 100}


@pytest.mark.parametrize(
    "labels",
    [{"serving.kserve.io/inferenceservice": "x"}, {"component": "predictor"}],
    ids=["owner", "component"],
)
def test_label_by_which_kserve_selects_is_refused(labels: dict[str, str]) -> None:
    """kserve/kserve 6113: what carries them may be deleted or selected by another Service."""
    template = odd({"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://x/1"}})
    template["metadata"] = {"labels": labels}
    with pytest.raises(Invalid):
        parse(deployment("1", template=template))


async def test_dots_as_a_config_map_name_in_mid_canary_do_not_stop_the_rollback() -> None:
    """`..` is answered with another object by the API server, for ever."""
    story = await canary()
    await story.run(timedelta(seconds=4))

    def dots(verb: str, kind: str) -> None:
        if kind == "ConfigMap":
            raise ClusterUnavailable("get ConfigMap models/..: the answer is not a ConfigMap")

    story.cluster.before_read = dots
    env = [{"configMapRef": {"name": ".."}}]
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://x/3", "envFrom": env}
    story.commit("3", template=odd({"model": model}))
    story.platform.behaviours["2"].failing = 0.3
    await story.run(5 * MINUTE)
    assert weight_of(story, "2") == 0
