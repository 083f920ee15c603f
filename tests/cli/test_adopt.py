"""`headgate adopt`: what it makes of a service that runs, and that no request is dropped for it."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
import yaml
from tests.cli.taking import HOST, Taking, called, kserve_route, service
from tests.scenarios.memory import Killed, deployment

from headgate.api.accept import Invalid, parse
from headgate.cli import exits, main
from headgate.cli.adopt import adopt
from headgate.cli.adoption import (
    Front,
    Unadoptable,
    check_adoptable,
    find_front,
    render_adopted,
    tracked_by,
)
from headgate.cli.reach import NotFound
from headgate.cli.steps import Unfinished

FRONT = Front("public", "gateways", (HOST,))


async def taken(**killed: Any) -> Taking:
    """Adopt the service, again after each kill, and let a minute go by."""
    story = Taking()
    story.plain()
    story.of("fraud-md")
    story.hands.kill_at, story.hands.after = killed.get("index", 0), killed.get("after", False)
    while True:
        try:
            await adopt(story.steps(), called())
            break
        except Killed:
            continue
    await story.run(timedelta(minutes=1))
    return story


def end(story: Taking) -> dict[str, Any]:
    """What must be so at the end, however often the command was killed."""
    kinds = ("HTTPRoute", "Deployment", "Service", "HorizontalPodAutoscaler", "ModelDeployment")
    return {kind: story.names(kind) for kind in kinds} | {"dropped": story.metrics.failed}


async def test_service_is_taken_over_without_a_dropped_request() -> None:
    """Ours serves under the same host name, and of the old one nothing is left."""
    story = await taken()

    assert story.metrics.answered > 1_000
    assert story.metrics.failed == 0
    revision = story.names("InferenceService")
    assert len(revision) == 1
    assert revision[0].startswith("fraud-md-")
    assert story.names("HTTPRoute") == ["fraud-md"]
    assert story.names("Deployment") == [f"{revision[0]}-predictor"]
    assert story.names("Service") == []
    assert story.names("HorizontalPodAutoscaler") == []


async def test_each_step_is_said_in_its_order() -> None:
    """What serves is taken away only after something else does."""
    story = await taken()

    assert story.said == [
        "did create ModelDeployment fraud-md",
        "waiting until fraud-md serves beside it and has its route",
        "did delete InferenceService fraud and leave its pods and routes",
        "waiting until it is gone",
        "did delete HTTPRoute fraud",
        "did delete HTTPRoute fraud-predictor",
        "waiting until requests are seen at fraud-md",
        "did delete HorizontalPodAutoscaler fraud-predictor",
        "did delete Deployment fraud-predictor",
        "did delete Service fraud-predictor",
        "fraud-md serves what InferenceService fraud served",
    ]


@pytest.mark.parametrize("after", [False, True], ids=["before the act", "after the act"])
async def test_killed_at_any_act_and_run_again_it_ends_the_same(after: bool) -> None:
    """Each act of it once the last: run again it goes on, and no request is dropped meanwhile."""
    expected = end(await taken())
    acts = len((await taken()).hands.acts)
    assert acts == 7

    for index in range(1, acts + 1):
        assert end(await taken(index=index, after=after)) == expected, f"killed at act {index}"


async def test_run_again_after_its_end_it_does_nothing() -> None:
    """A person who is not sure may ask once more."""
    story = await taken()
    story.hands.acts.clear()

    await adopt(story.steps(), called())

    assert story.hands.acts == []


async def test_dry_run_prints_and_does_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The ModelDeployment on standard output is accepted as it is; every step is named."""
    story = Taking()
    story.plain()
    before = copy.deepcopy(story.cluster.objects)

    await adopt(story.steps(dry=True), called(dry_run=True))

    manifest = yaml.safe_load(capsys.readouterr().out)
    assert parse(manifest).metadata.name == "fraud-md"
    assert story.cluster.objects == before
    assert story.hands.acts == []
    assert story.said[0] == "would create ModelDeployment fraud-md"
    assert "would delete InferenceService fraud and leave its pods and routes" in story.said
    assert "would delete Deployment fraud-predictor" in story.said


async def test_candidate_that_does_not_come_up_takes_nothing_away() -> None:
    """The old service goes on as it was, and the exit says that nothing was taken away."""
    story = Taking()
    story.plain()
    story.of("fraud-md")
    story.platform.behaviours["1"].starts = False

    with pytest.raises(Unfinished, match="does not serve yet, nothing was taken away"):
        await adopt(story.steps(), called(timeout=5.0))

    assert "fraud" in story.names("InferenceService")
    assert {"fraud", "fraud-predictor"} <= set(story.names("HTTPRoute"))


async def test_spec_that_is_not_accepted_ends_with_its_words() -> None:
    """The operator's objection is the person's answer, at once."""
    story = Taking()
    story.plain()
    story.of("fraud-md")

    with pytest.raises(Unfinished, match=r"fraud-md is not accepted: spec\.traffic\.gateway\.name"):
        await adopt(story.steps(), called(gateway=("gateways", "gone"), hostname=[HOST]))

    assert "fraud" in story.names("InferenceService")


async def test_without_requests_the_old_pods_stay() -> None:
    """Traffic has to be seen at ours before what served it goes; run again later, it goes."""
    story = Taking()
    story.plain()
    story.of("fraud-md")
    story.metrics.rate = 0

    with pytest.raises(Unfinished, match="no request was seen at fraud-md yet"):
        await adopt(story.steps(), called(timeout=10.0))
    assert "fraud-predictor" in story.names("Deployment")

    story.metrics.rate = 100
    await adopt(story.steps(), called())
    assert "fraud-predictor" not in story.names("Deployment")
    assert story.metrics.failed == 0


async def test_service_that_git_makes_again_keeps_its_pods() -> None:
    """A GitOps tool that still has it in Git wins, and nobody's pods are taken away."""
    story = Taking()
    story.plain()
    story.of("fraud-md")
    real = story.hands.delete

    async def delete(kind: Any, namespace: Any, name: str, uid: str) -> None:
        await real(kind, namespace, name, uid)
        if name == "fraud-predictor" and kind.kind == "HTTPRoute":
            story.cluster.put(service())

    story.hands.delete = delete  # type: ignore[method-assign]

    with pytest.raises(Unfinished, match="made again: take it out of Git first"):
        await adopt(story.steps(), called())

    assert "fraud-predictor" in story.names("Deployment")
    assert story.metrics.failed == 0


async def test_service_without_routes_is_left_to_its_callers() -> None:
    """What is called inside the cluster cannot be moved by a route: it is said, and it stays."""
    story = Taking()
    story.cluster.put(service())
    story.of("fraud")

    await adopt(story.steps(), called(gateway=("gateways", "public"), hostname=[HOST]))

    assert "fraud" in story.names("InferenceService")
    assert "move its callers to the host names of fraud and delete it by hand" in story.said[-1]


@pytest.mark.parametrize("name", ["fraud", "other"])
async def test_name_that_somebody_has_is_not_taken(name: str) -> None:
    """KServe's own route, or another deployment: the person chooses, nothing is made."""
    story = Taking()
    story.plain()
    other = deployment("1")
    story.cluster.put({**other, "metadata": {"name": "other", "namespace": "models"}})

    with pytest.raises(Unadoptable, match=f"ModelDeployment or HTTPRoute {name} is there already"):
        await adopt(story.steps(), called(name=name))

    assert story.hands.acts == []


async def test_unknown_service_is_not_found() -> None:
    """Nothing is made of what is not there."""
    story = Taking()

    with pytest.raises(NotFound, match="no InferenceService models/fraud"):
        await adopt(story.steps(), called())


# --- what is made of it ------------------------------------------------------------------------


def test_deployment_has_the_template_verbatim_without_what_others_wrote() -> None:
    """Marks of tools and servers are left out; the model's public name is kept."""
    made = render_adopted(service(), "fraud-md", FRONT)

    assert made["metadata"] == {
        "name": "fraud-md",
        "namespace": "models",
        "annotations": {"headgate.dev/adopted-from": "fraud"},
    }
    assert made["spec"] == {
        "model": {"version": "1"},
        "template": {
            "metadata": {"labels": {"team": "risk"}, "annotations": {"owner": "risk-team"}},
            "spec": {
                "predictor": {
                    "minReplicas": 1,
                    "model": {
                        "modelFormat": {"name": "sklearn"},
                        "storageUri": "s3://models/fraud/1",
                        "protocolVersion": "v1",
                        "args": ["--model_name=fraud"],
                    },
                }
            },
        },
        "traffic": {
            "gateway": {"name": "public", "namespace": "gateways"},
            "hostnames": [HOST],
        },
    }
    parse(made)


@pytest.mark.parametrize(
    ("changes", "path", "wanted"),
    [
        pytest.param(
            {"predictor": {"maxReplicas": 4}},
            ("metadata", "annotations", "serving.kserve.io/autoscalerClass"),
            "hpa",
            id="what scaled by KServe's default goes on doing so",
        ),
        pytest.param(
            {"predictor": {"canaryTrafficPercent": 10}},
            ("spec", "predictor", "canaryTrafficPercent"),
            None,
            id="a share that Standard mode ignores is left out",
        ),
        pytest.param(
            {"model": {"args": ["--model_name=other"]}},
            ("spec", "predictor", "model", "args"),
            ["--model_name=other"],
            id="a name that the user gave stays",
        ),
        pytest.param(
            {"model": {"modelFormat": {"name": "vLLM"}}},
            ("spec", "predictor", "model", "args"),
            ["--served-model-name=fraud"],
            id="vLLM has another flag for it",
        ),
        pytest.param(
            {"annotations": {"headgate.dev/x": "1", "argocd.argoproj.io/tracking-id": "a"}},
            ("metadata", "annotations"),
            {"owner": "risk-team"},
            id="marks of Argo CD and of ours are left out",
        ),
    ],
)
def test_template_of_a_service(changes: dict[str, Any], path: tuple[str, ...], wanted: Any) -> None:
    """Each peculiarity of a live service, and what the template has of it."""
    found: Any = render_adopted(service(**changes), "fraud-md", FRONT)["spec"]["template"]
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None

    assert found == wanted


@pytest.mark.parametrize(
    ("uri", "version"),
    [("s3://models/fraud/7", "7"), ("hf://org/model", "model"), ("", "1"), ("pvc://a/b c", "1")],
)
def test_version_is_the_last_part_of_the_address(uri: str, version: str) -> None:
    """A guess that a person can change; what cannot be a version is 1."""
    made = render_adopted(service(model={"storageUri": uri}), "fraud-md", FRONT)

    assert made["spec"]["model"]["version"] == version


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"status": {"deploymentMode": "Knative"}},
            "wanted deployment mode Standard, found Knative",
            id="Knative mode",
        ),
        pytest.param(
            {"metadata": {"ownerReferences": [{"kind": "App", "name": "a", "controller": True}]}},
            "belongs to App a already",
            id="one that another controller has made",
        ),
        pytest.param(
            {"annotations": {"serving.kserve.io/stop": "true"}}, "is stopped", id="a stopped one"
        ),
    ],
)
def test_what_cannot_be_adopted_is_told(changes: dict[str, Any], message: str) -> None:
    """Each reason names the object and what stands in the way."""
    with pytest.raises(Unadoptable, match=message):
        check_adoptable(service(**changes))


def test_canary_of_kserve_is_ended_first() -> None:
    """Two that move one model's traffic would fight."""
    with pytest.raises(Unadoptable, match="has a canary"):
        check_adoptable(service(spec={"predictor": {}, "canary": [{"trafficPercent": 10}]}))


def test_what_parse_refuses_is_refused_before_anything_is_made() -> None:
    """Scale to zero cannot prove anything; the field is named."""
    with pytest.raises(Invalid, match="minReplicas"):
        parse(render_adopted(service(predictor={"minReplicas": 0}), "fraud-md", FRONT))


OWN = kserve_route("public", "fraud.example.com", [])


def test_front_is_read_from_the_routes_that_lead_there() -> None:
    """KServe's and a person's own route: all host names, one gateway, one longest time."""
    routes = [kserve_route("fraud", HOST, []), kserve_route("fraud-predictor", "x.y", []), OWN]

    front = find_front(routes, service())

    assert front == Front("public", "gateways", (HOST, "fraud.example.com"), None, "60s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"rules": [{**OWN["spec"]["rules"][0], "matches": [{"path": {"value": "/a"}}]}]},
            "does more than lead all requests",
            id="a route for some paths only",
        ),
        pytest.param(
            {"rules": [{**OWN["spec"]["rules"][0], "filters": [{"type": "URLRewrite"}]}]},
            "does more than lead all requests",
            id="a route that rewrites",
        ),
        pytest.param(
            {"parentRefs": [{"name": "a"}, {"name": "b"}]},
            "wanted one gateway",
            id="a route at two gateways",
        ),
        pytest.param({"hostnames": []}, "wanted one gateway", id="a route of all host names"),
    ],
)
def test_route_that_does_more_has_to_be_decided_by_a_person(
    change: dict[str, Any], message: str
) -> None:
    """Nothing is guessed of where requests come in."""
    route = {**OWN, "spec": {**OWN["spec"], **change}}

    with pytest.raises(Unadoptable, match=message):
        find_front([route], service())


def test_two_gateways_have_to_be_chosen_from() -> None:
    """Each is named."""
    other = copy.deepcopy(OWN)
    other["spec"]["parentRefs"] = [{"name": "private", "namespace": "gateways"}]

    with pytest.raises(Unadoptable, match="gateways/private, gateways/public"):
        find_front([OWN, other], service())


@pytest.mark.parametrize(
    ("mark", "tool"),
    [
        ("argocd.argoproj.io/tracking-id", "Argo CD"),
        ("kustomize.toolkit.fluxcd.io/name", "Flux"),
        ("meta.helm.sh/release-name", "Helm"),
        ("team", ""),
    ],
)
def test_tool_that_would_make_it_again_is_known_by_its_marks(mark: str, tool: str) -> None:
    """It is said before anything is taken away."""
    assert tracked_by(service(annotations={mark: "x"})) == tool


@pytest.mark.parametrize(
    "words",
    [
        ["adopt", "fraud"],
        ["adopt", "deployment/fraud"],
        ["adopt", "inferenceservice/"],
        ["adopt", "isvc/fraud", "--gateway", "public"],
    ],
)
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    """What is to be adopted, and where it is served, cannot be misread."""
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == exits.USAGE
