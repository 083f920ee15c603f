"""`headgate release`: what stays of a model that is given back, and that no request is dropped."""

from __future__ import annotations

import copy
from argparse import Namespace
from datetime import timedelta
from typing import Any

import pytest
import yaml
from tests.cli.taking import Taking
from tests.scenarios.memory import Behaviour, Killed

from headgate.cli.leaving import kept_service, render_left
from headgate.cli.reach import NotFound
from headgate.cli.release import release
from headgate.cli.steps import Unfinished

MARKS = {"headgate.dev/deployment", "app.kubernetes.io/managed-by"}


def called(**changes: Any) -> Namespace:
    """Return the arguments of `headgate release fraud`, changed."""
    return Namespace(**{"name": "fraud", "dry_run": False, "output": "yaml", **changes})


async def served(version: str = "2") -> Taking:
    """Let one version be proven, or one after the other, so that old revisions are about."""
    story = Taking()
    for number in range(1, int(version) + 1):
        story.commit(str(number))
        await story.until_phase("Stable")
    story.hands.acts.clear()
    return story


async def left(index: int = 0, after: bool = False) -> Taking:
    """Release the model, again after each kill, and let a minute go by."""
    story = await served()
    story.hands.kill_at, story.hands.after = index, after
    while True:
        try:
            await release(story.steps(), called())
            break
        except Killed:
            continue
    await story.run(timedelta(minutes=1))
    return story


def end(story: Taking) -> dict[str, Any]:
    """What must be so at the end, however often the command was killed."""
    kinds = ("InferenceService", "HTTPRoute", "Deployment", "ModelDeployment", "ModelRevision")
    route = story.cluster.all("HTTPRoute")[0]
    return {
        **{kind: story.names(kind) for kind in kinds},
        "marks": sorted(MARKS & (route["metadata"].get("labels") or {}).keys()),
        "owners": [m["metadata"].get("ownerReferences") for m in (route, services(story)[0])],
        "dropped": story.metrics.failed,
    }


def services(story: Taking) -> list[dict[str, Any]]:
    """All InferenceServices."""
    return story.cluster.all("InferenceService")


async def test_model_goes_on_serving_without_its_deployment() -> None:
    """Stable revision and route stay, owned by nobody; the rest goes with the deployment."""
    story = await served()
    stable = story.status["stable"]["revision"]
    assert len(services(story)) == 2

    await release(story.steps(), called())
    await story.run(timedelta(minutes=1))

    assert story.metrics.failed == 0
    assert end(story) == {
        "InferenceService": [stable],
        "HTTPRoute": ["fraud"],
        "Deployment": [f"{stable}-predictor"],
        "ModelDeployment": [],
        "ModelRevision": [],
        "marks": [],
        "owners": [None, None],
        "dropped": 0,
    }
    assert [r["spec"]["to"]["version"] for r in story.cluster.all("ModelRollout")] == ["1", "2"]


async def test_labels_of_the_service_stay_as_a_change_would_start_its_pods_anew() -> None:
    """KServe rolls all pods when a label of an InferenceService changes."""
    before = copy.deepcopy(services(await served())[-1]["metadata"]["labels"])

    assert services(await left())[0]["metadata"]["labels"].keys() == before.keys()


@pytest.mark.parametrize("after", [False, True], ids=["before the act", "after the act"])
async def test_killed_at_any_act_and_run_again_it_ends_the_same(after: bool) -> None:
    """Each act of it once the last: run again it goes on, and no request is dropped meanwhile."""
    whole = await left()
    expected, acts = end(whole), len(whole.hands.acts)
    assert acts == 4

    for index in range(1, acts + 1):
        assert end(await left(index, after)) == expected, f"killed at act {index}"


async def test_run_again_after_its_end_it_does_nothing() -> None:
    """A person who is not sure may ask once more."""
    story = await left()
    story.hands.acts.clear()

    await release(story.steps(), called())

    assert story.hands.acts == []


async def test_each_step_is_said_in_its_order() -> None:
    """What serves is let go before what owns it is deleted."""
    story = await left()
    service = story.names("InferenceService")[0]

    assert story.said == [
        f"did let go of InferenceService {service}",
        "did let go of HTTPRoute fraud",
        "did delete ModelDeployment fraud with its other revisions",
        "waiting until it is gone",
        "did take Headgate's labels off HTTPRoute fraud",
        f"InferenceService {service} and HTTPRoute fraud serve on; both belong to you now",
    ]


async def test_what_others_write_meanwhile_is_read_anew() -> None:
    """KServe writes status all the time: nine changes that come too late are no failure."""
    story = await served()
    story.hands.conflicts = 9

    await release(story.steps(), called())

    assert story.names("ModelDeployment") == []


async def test_yaml_for_git_is_what_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """Applied, it changes nothing: the service's labels are in it, the route's marks are not."""
    story = await served()
    before = copy.deepcopy(story.cluster.objects)

    await release(story.steps(dry=True), called(dry_run=True))

    service, route = yaml.safe_load_all(capsys.readouterr().out)
    live = story.cluster.find("InferenceService", "models", service["metadata"]["name"])
    assert live is not None
    assert service["spec"] == live["spec"]
    assert service["metadata"]["labels"] == live["metadata"]["labels"]
    assert service["metadata"]["annotations"] == live["metadata"]["annotations"]
    assert "ownerReferences" not in service["metadata"]
    assert "status" not in service
    assert "labels" not in route["metadata"]
    assert route["spec"] == story.cluster.all("HTTPRoute")[0]["spec"]
    assert story.cluster.objects == before
    assert story.said[0] == f"would let go of InferenceService {service['metadata']['name']}"
    assert "would delete ModelDeployment fraud with its other revisions" in story.said


async def test_rollout_under_way_is_not_cut() -> None:
    """Which of two revisions should stay is for the rollout to say."""
    story = await served("1")
    story.platform.behaviours["2"] = Behaviour(failing=0.0)
    story.commit("2")
    await story.until_phase("Progressing")

    with pytest.raises(Unfinished, match=r"under way \(Progressing\): wait for its end"):
        await release(story.steps(), called())

    assert story.hands.acts == []


async def test_spec_that_nobody_has_looked_at_is_waited_for() -> None:
    """A commit of this second may be about to move traffic."""
    story = await served("1")
    story.commit("2")

    with pytest.raises(Unfinished, match="has not looked at the present spec"):
        await release(story.steps(), called())


async def test_deployment_that_serves_nothing_leaves_nothing() -> None:
    """There is no route and so nothing to give back: deleting it is enough."""
    story = Taking()
    story.commit("1", rollout={"paused": True})
    await story.once()

    with pytest.raises(Unfinished, match="fraud serves nothing: there is nothing to leave"):
        await release(story.steps(), called())


async def test_unknown_name_is_not_found() -> None:
    """A route of that name that is somebody else's is no trace of ours."""
    story = await served("1")

    with pytest.raises(NotFound, match="did you mean fraud"):
        await release(story.steps(), called(name="frau"))


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["fraud-01-predictor"], "fraud-01"),
        (["fraud-01-transformer"], "fraud-01"),
        (["fraud-01-predictor", "fraud-02-predictor"], None),
        (["other"], None),
        ([], None),
    ],
)
def test_service_that_stays_has_all_requests(names: list[str], kept: str | None) -> None:
    """A route that is split, or leads elsewhere, does not say which one stays."""
    rule = {"backendRefs": [{"name": name} for name in names]}

    assert kept_service({"spec": {"rules": [rule]}}) == kept


def test_marks_of_kubectl_are_not_for_git() -> None:
    """What kubectl notes of the last apply is not part of the object."""
    noted = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"}
    manifest = {
        "apiVersion": "v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "a", "namespace": "b", "annotations": noted, "uid": "c"},
        "spec": {},
    }

    assert render_left(manifest)["metadata"] == {
        "name": "a",
        "namespace": "b",
        "annotations": {"a": "b"},
    }
