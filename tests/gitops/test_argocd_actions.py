"""What Argo CD offers people to do with a release, and what it writes when they do it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from tests.gitops import releases
from tests.gitops.luavm import Json, ScriptError, patch, run
from tests.gitops.releases import Tell, annotated, seen

from sandbox.paths import ROOT

SCRIPTS = ROOT / "manifests" / "gitops" / "argocd" / "resource_customizations" / "headgate.dev"
ACTIONS = SCRIPTS / "ModelDeployment" / "actions"
NAMES = ("pause", "resume", "abort", "promote-now", "retry")


def offered(obj: Json) -> set[str]:
    """Return the actions that a person may choose."""
    found = run((ACTIONS / "discovery.lua").read_text(), obj)
    assert set(found) == set(NAMES)
    return {name for name, action in found.items() if not action["disabled"]}


def annotations_after(
    name: str, obj: Json, parameters: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run an action; return the annotations that it writes, None for one that it removes."""
    written = patch((ACTIONS / name / "action.lua").read_text(), obj, parameters)
    assert set(written) == {"metadata"}, "spec and status are not a person's to write"
    assert set(written["metadata"]) == {"annotations"}
    return dict(written["metadata"]["annotations"])


@pytest.mark.parametrize(
    ("tell", "expected"),
    [
        pytest.param(releases.committed, set(), id="nothing was looked at yet"),
        pytest.param(releases.first_starting, {"pause"}, id="the first revision has no way back"),
        pytest.param(releases.first_baking, set(), id="the first revision bakes"),
        pytest.param(releases.first_failing, {"retry"}, id="the first revision failed"),
        pytest.param(releases.first_overdue, {"pause"}, id="the first revision is late"),
        pytest.param(releases.stable, set(), id="nothing is under way"),
        pytest.param(releases.held, set(), id="nothing has begun"),
        pytest.param(releases.preparing, {"pause", "abort", "promote-now"}, id="a canary starts"),
        pytest.param(releases.progressing, {"pause", "abort", "promote-now"}, id="it has weight"),
        pytest.param(releases.paused, {"abort"}, id="Git has paused it"),
        pytest.param(releases.baking, {"pause", "abort"}, id="it has everything and bakes"),
        pytest.param(releases.promoted, set(), id="it was promoted"),
        pytest.param(releases.rolled_back, {"retry"}, id="it was rolled back"),
        pytest.param(releases.reverted, set(), id="Git does not want the rejected one any more"),
    ],
)
async def test_only_what_makes_sense_is_offered(tell: Tell, expected: set[str]) -> None:
    """Claim: in each phase exactly these actions can be chosen."""
    assert offered(releases.model_deployment(await seen(tell))) == expected


async def test_each_action_has_a_name_and_an_icon_for_people() -> None:
    """Claim: a button says what it does; promoting says what is given up."""
    found = run(
        (ACTIONS / "discovery.lua").read_text(),
        releases.model_deployment(await seen(releases.progressing)),
    )

    for name in NAMES:
        assert re.fullmatch(r"fa fa-fw fa-[a-z-]+", found[name]["iconClass"])
        assert found[name]["displayName"]
    assert "without the rest of the evidence" in found["promote-now"]["displayName"]


@pytest.mark.parametrize(
    ("name", "annotation"),
    [("pause", "pause"), ("abort", "abort"), ("promote-now", "promote")],
)
async def test_an_action_names_the_revision_under_test(name: str, annotation: str) -> None:
    """Claim: one annotation, bound to the hash that the person saw; nothing else is written."""
    found = releases.model_deployment(await seen(releases.progressing))
    hash = found["status"]["canary"]["hash"]

    assert annotations_after(name, found) == {f"headgate.dev/{annotation}": hash}
    # What is asked for already is not offered once more.
    assert name not in offered(annotated(found, **{annotation: hash}))
    assert name in offered(annotated(found, **{annotation: "00000000"}))


async def test_resume_takes_the_pause_away_and_nothing_else() -> None:
    """Claim: annotations of others stay, and one left over from an earlier revision can go too."""
    found = annotated(releases.model_deployment(await seen(releases.progressing)), pause="00000000")
    found["metadata"]["annotations"]["team"] = "risk"

    assert "resume" in offered(found)
    assert annotations_after("resume", found) == {"headgate.dev/pause": None}


async def test_retry_names_the_rejected_revision_and_the_moment() -> None:
    """Claim: hash and a moment in UTC to the second, as RFC 3339 has it."""
    found = releases.model_deployment(await seen(releases.rolled_back))

    written = annotations_after("retry", found)

    hash = found["status"]["rejected"][-1]["hash"]
    assert re.fullmatch(
        hash + r"@20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", written.pop("headgate.dev/retry")
    )
    assert written == {}


async def test_promoting_now_ends_a_pause_by_the_action() -> None:
    """Claim: who promotes does not have to resume first; a pause of another revision stays."""
    found = releases.model_deployment(await seen(releases.progressing))
    hash = found["status"]["canary"]["hash"]

    assert annotations_after("promote-now", annotated(found, pause=hash)) == {
        "headgate.dev/pause": None,
        "headgate.dev/promote": hash,
    }
    assert "headgate.dev/pause" not in annotations_after(
        "promote-now", annotated(found, pause="00000000")
    )


async def test_a_retry_is_not_ended_by_what_was_asked_before() -> None:
    """Claim: an abort of the same revision, which would keep it rejected, goes with the retry."""
    found = releases.model_deployment(await seen(releases.rolled_back))
    hash = found["status"]["rejected"][-1]["hash"]

    written = annotations_after("retry", annotated(found, abort=hash, promote="00000000"))

    assert written.keys() == {"headgate.dev/abort", "headgate.dev/retry"}
    assert written["headgate.dev/abort"] is None


async def test_a_first_revision_that_failed_can_be_judged_anew() -> None:
    """Claim: it is stable and cannot be rejected, so the retry names it all the same."""
    found = releases.model_deployment(await seen(releases.first_failing))

    written = annotations_after("retry", found)["headgate.dev/retry"]
    assert written.startswith(found["status"]["stable"]["hash"] + "@")


async def test_retry_means_what_git_asks_for_not_what_was_rejected_last() -> None:
    """Claim: with Git back at version 2, version 3's later rejection is not the one lifted."""
    found = releases.model_deployment(await seen(releases.committed_again))
    hashes = {one["version"]: one["hash"] for one in found["status"]["rejected"]}

    assert found["status"]["rejected"][-1]["version"] == "3"
    written = annotations_after("retry", found)["headgate.dev/retry"]
    assert written.startswith(hashes["2"] + "@")


async def test_retry_asks_which_when_one_version_was_rejected_twice() -> None:
    """Claim: a parameter is offered then; left empty it means the last one."""
    once = releases.model_deployment(await seen(releases.rolled_back))
    twice = releases.model_deployment(await seen(releases.rejected_twice))
    first, last = (one["hash"] for one in twice["status"]["rejected"])
    discovery = (ACTIONS / "discovery.lua").read_text()

    assert "params" not in run(discovery, once)["retry"]
    assert run(discovery, twice)["retry"]["params"] == [{"name": "revision"}]
    for given, expected in (({"revision": first}, first), ({"revision": ""}, last), ({}, last)):
        written = annotations_after("retry", twice, given)["headgate.dev/retry"]
        assert written.startswith(expected + "@")


@pytest.mark.parametrize(
    ("name", "tell", "parameters", "says"),
    [
        ("pause", releases.stable, {}, "no rollout is under way"),
        ("pause", releases.committed, {}, "no rollout is under way"),
        ("resume", releases.paused, {}, "only spec.rollout.paused in Git can hold this rollout"),
        ("abort", releases.rolled_back, {}, "no rollout is under way"),
        ("abort", releases.first_starting, {}, "nothing serves that could take its traffic"),
        ("promote-now", releases.promoted, {}, "no rollout is under way"),
        ("promote-now", releases.first_starting, {}, "the first revision takes no steps"),
        ("promote-now", releases.baking, {}, "has all traffic and bakes"),
        ("promote-now", releases.paused, {}, "take spec.rollout.paused away there first"),
        ("retry", releases.stable, {}, "no such revision was rejected"),
        ("retry", releases.rolled_back, {"revision": "00000000"}, "no such revision was rejected"),
        ("retry", releases.rolled_back, {"revision": "x@2030"}, "no such revision was rejected"),
    ],
)
async def test_an_action_that_makes_no_sense_says_why_and_writes_nothing(
    name: str, tell: Tell, parameters: Mapping[str, str], says: str
) -> None:
    """Claim: Argo CD runs a disabled action all the same when its API is called, so the script
    itself refuses, in a sentence without a stack."""
    found = releases.model_deployment(await seen(tell))

    with pytest.raises(ScriptError) as refused:
        patch((ACTIONS / name / "action.lua").read_text(), found, parameters)

    assert says in str(refused.value)
    assert "action.lua" not in str(refused.value)
    assert "traceback" not in str(refused.value)
