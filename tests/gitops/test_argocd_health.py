"""What Argo CD shows of every way a release can stand."""

from __future__ import annotations

import json

import pytest
from tests.gitops import releases
from tests.gitops.luavm import health
from tests.gitops.releases import Json, Tell, annotated, seen

from sandbox.paths import ROOT

SCRIPTS = ROOT / "manifests" / "gitops" / "argocd" / "resource_customizations" / "headgate.dev"


def told(obj: Json) -> tuple[str, str]:
    """Return status and message that the script of its kind gives an object."""
    return health((SCRIPTS / obj["kind"] / "health.lua").read_text(), obj)


def sentence(obj: Json, source: str) -> str:
    """Return the message of a condition, or of the status itself for `status`."""
    if source == "status":
        return str(obj["status"]["message"])
    return next(c["message"] for c in obj["status"]["conditions"] if c["type"] == source)


@pytest.mark.parametrize(
    ("tell", "status", "source", "says"),
    [
        pytest.param(
            *(releases.first_starting, "Progressing", "RolledOut", "preparing version 1"),
            id="the first pods start",
        ),
        pytest.param(
            *(releases.first_baking, "Progressing", "status", "it gets all requests"),
            id="the first revision is not proven before its bake is over",
        ),
        pytest.param(
            *(releases.first_overdue, "Degraded", "status", "no such bucket"),
            id="a first revision that never starts is not still starting",
        ),
        pytest.param(
            *(releases.first_failing, "Degraded", "Stalled", "no earlier revision to go back to"),
            id="a first revision that fails",
        ),
        pytest.param(
            *(releases.first_held, "Suspended", "RolledOut", "spec.rollout.paused is true"),
            id="a first revision that Git holds",
        ),
        pytest.param(
            *(releases.stable, "Healthy", "Ready", "version 1 serves"),
            id="what Git asks for serves",
        ),
        pytest.param(
            *(releases.down, "Degraded", "Ready", "out of memory"),
            id="nothing to roll out, but nobody gets an answer",
        ),
        pytest.param(
            *(releases.refused, "Degraded", "Stalled", "wanted KServe's predictor"),
            id="a spec that is refused, while another one serves",
        ),
        pytest.param(
            *(releases.without_runtime, "Degraded", "Stalled", "wanted a ServingRuntime in models"),
            id="a spec that names what is not there",
        ),
        pytest.param(
            *(releases.held, "Suspended", "RolledOut", "spec.rollout.paused is true"),
            id="a rollout that Git holds before it begins",
        ),
        pytest.param(
            *(releases.held_by_budget, "Suspended", "RolledOut", "new rollouts wait"),
            id="a rollout that waits for an error budget",
        ),
        pytest.param(
            *(releases.preparing, "Progressing", "RolledOut", "preparing version 2"),
            id="a canary starts",
        ),
        pytest.param(
            *(releases.progressing, "Progressing", "RolledOut", "gets 10 % of requests"),
            id="a canary has weight",
        ),
        pytest.param(
            *(releases.paused, "Suspended", "RolledOut", "spec.rollout.paused is true"),
            id="a canary is paused",
        ),
        pytest.param(
            *(releases.superseded, "Progressing", "RolledOut", "version 3 is ready"),
            id="a second commit in mid-canary",
        ),
        pytest.param(
            *(releases.baking, "Progressing", "status", "Earned a weight of 100 %"),
            id="a canary with all traffic bakes",
        ),
        pytest.param(
            *(releases.promoted, "Healthy", "Ready", "version 2 serves"),
            id="a canary was promoted",
        ),
        pytest.param(
            *(releases.rolled_back, "Degraded", "Stalled", "canary failed"),
            id="a canary was rolled back",
        ),
        pytest.param(
            *(releases.committed_again, "Degraded", "Stalled", "canary failed"),
            id="Git asks for a revision that was rejected before",
        ),
        pytest.param(
            *(releases.reverted, "Healthy", "Ready", "version 1 serves"),
            id="Git was reverted to what serves",
        ),
    ],
)
async def test_health_of_a_deployment_is_its_release_in_the_words_of_a_condition(
    tell: Tell, status: str, source: str, says: str
) -> None:
    """Claim: one of four health states, and the sentence is the one a condition has."""
    found = releases.model_deployment(await seen(tell))

    assert told(found) == (status, sentence(found, source))
    assert says in told(found)[1]


async def test_a_canary_that_a_person_holds_is_suspended_though_its_phase_is_another() -> None:
    """Claim: held before its first weight or at the end of its bake, it waits for that person; one
    that is not ready yet does not wait, and a pause of another revision holds nothing."""
    held = releases.model_deployment(await seen(releases.held_when_ready))
    baking = releases.model_deployment(await seen(releases.baking))
    starting = releases.model_deployment(await seen(releases.preparing))

    assert held["status"]["phase"] == "Preparing"
    message = "version 2 is ready; it is held by "
    assert told(held) == ("Suspended", message + "spec.rollout.paused")
    by_person = annotated(baking, pause=baking["status"]["canary"]["hash"])
    assert told(by_person) == ("Suspended", message + "annotation headgate.dev/pause")
    assert told(annotated(baking, pause="00000000")) == told(baking)
    assert told(annotated(starting, pause=starting["status"]["canary"]["hash"])) == told(starting)


@pytest.mark.parametrize(
    ("tell", "generation"),
    [
        pytest.param(releases.committed, 1, id="nobody has ever looked"),
        pytest.param(releases.unseen, 2, id="the status is of the commit before"),
    ],
)
async def test_a_generation_that_was_not_seen_is_in_progress(tell: Tell, generation: int) -> None:
    """Claim: what an earlier status says is never taken for what Git asks for now."""
    found = releases.model_deployment(await seen(tell))

    message = f"Waiting for Headgate to look at generation {generation}"
    assert told(found) == ("Progressing", message)


async def test_an_object_without_any_status_is_in_progress() -> None:
    """Claim: a cluster without our CRD's default does not make the script fail."""
    found = releases.model_deployment(await seen(releases.committed))
    del found["status"]

    assert told(found)[0] == "Progressing"


async def test_a_lost_budget_is_told_and_does_not_degrade_what_serves() -> None:
    """Claim: no commit could cure it, so the application stays Healthy, and says what is wrong."""
    found = releases.model_deployment(await seen(releases.short_of_budget))

    budget = sentence(found, "BudgetAvailable")
    assert "nothing is left of the error budget" in budget
    assert told(found) == ("Healthy", f"version 1 serves; {budget}")


@pytest.mark.parametrize("kind", ["ModelDeployment", "ModelRevision", "ModelRollout"])
async def test_what_is_being_deleted_is_in_progress(kind: str) -> None:
    """Claim: whatever the status still says, it is about to go."""
    story = await seen(releases.stable)
    found = next(iter(story.cluster.all(kind)))
    deleted = json.loads(json.dumps(found))
    deleted["metadata"]["deletionTimestamp"] = "2026-01-05T13:00:00Z"

    assert told(deleted)[0] == "Progressing"
    assert "being deleted" in told(deleted)[1]


@pytest.mark.parametrize(
    ("tell", "version", "status", "says"),
    [
        pytest.param(
            *(releases.preparing, "2", "Progressing", "Version 2 is being prepared"), id="starts"
        ),
        pytest.param(
            *(releases.progressing, "2", "Healthy", "Version 2 serves, not proven yet"),
            id="a canary",
        ),
        pytest.param(
            *(releases.stable, "1", "Healthy", "Version 1 serves, proven"), id="the stable one"
        ),
        pytest.param(
            *(releases.promoted, "1", "Healthy", "Version 1 is stopped, proven"),
            id="was followed by another one",
        ),
        pytest.param(
            *(releases.superseded, "2", "Healthy", "Version 2 is stopped"),
            id="was given up for another one",
        ),
        pytest.param(
            releases.rolled_back,
            "2",
            "Suspended",
            "Version 2 was rejected (ObjectiveBroken), see fraud-0002; "
            "it is not tried again unless somebody asks for that",
            id="was rejected",
        ),
    ],
)
async def test_health_of_a_revision_is_what_it_does_now(
    tell: Tell, version: str, status: str, says: str
) -> None:
    """Claim: history is never Degraded, as nothing could ever make it Healthy again."""
    assert told(releases.revision(await seen(tell), version)) == (status, says)


@pytest.mark.parametrize(
    ("tell", "number", "status", "begins"),
    [
        pytest.param(releases.progressing, 2, "Progressing", "Progressing: version 2", id="open"),
        pytest.param(releases.paused, 2, "Suspended", "Paused: spec.rollout.paused", id="paused"),
        pytest.param(releases.first_failing, 1, "Degraded", "Degraded: canary failed", id="stuck"),
        pytest.param(releases.promoted, 2, "Healthy", "Promoted: ", id="promoted"),
        pytest.param(releases.rolled_back, 2, "Healthy", "RolledBack: ", id="rolled back"),
        pytest.param(releases.superseded, 2, "Healthy", "Superseded: ", id="superseded"),
    ],
)
async def test_health_of_a_record_is_whether_it_is_complete(
    tell: Tell, number: int, status: str, begins: str
) -> None:
    """Claim: a complete record is Healthy whatever it says, and begins with what it says."""
    found = told(releases.record(await seen(tell), number))

    assert found[0] == status
    assert found[1].startswith(begins)
