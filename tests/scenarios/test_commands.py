"""People's commands, from the annotation to the route, the record and what is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.scenarios.memory import Behaviour, Killed, Story
from tests.scenarios.test_crashes import killed_at, live, summary
from tests.scenarios.test_guards import counts

from headgate.cli.replayed import replay_all
from headgate.ports import Conflict
from headgate.reconcile import reconcile

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


async def second(phase: str = "Progressing", **behaviour: Any) -> Story:
    """Version 1 is proven, and version 2 is in this phase."""
    story = Story()
    story.commit("1")
    await story.until_phase("Stable")
    story.platform.behaviours["2"] = Behaviour(**behaviour)
    story.commit("2")
    await story.until_phase(phase)
    return story


def record(story: Story, number: int = 2) -> dict[str, Any]:
    """The record of this rollout."""
    found = story.cluster.find("ModelRollout", "models", f"fraud-{number:04d}")
    assert found is not None
    return found


def moment(story: Story, later: timedelta = SECOND) -> str:
    """A moment as people write it, soon after now."""
    return f"{story.clock.now() + later:%Y-%m-%dT%H:%M:%SZ}"


async def test_a_pause_holds_the_weight_until_it_is_removed() -> None:
    """Claim: paused at its weight for as long as the annotation stands, and no longer."""
    story = await second()
    story.annotate(pause=story.hash_of("2"))
    await story.run(10 * MINUTE)
    told = "paused, as field manager kubectl-annotate asked by headgate.dev/pause at "

    assert (story.status["phase"], story.weights) == ("Paused", {"1": 90, "2": 10})
    assert story.status["message"].startswith(told)
    assert story.condition("CommandAccepted")["status"] == "True"
    step = record(story)["status"]["steps"][-1]
    assert step["command"]["verb"] == "Pause"
    assert step["command"]["manager"] == "kubectl-annotate"

    story.annotate(pause=None)
    await story.until_phase("Stable")
    assert story.condition("CommandAccepted") == {}
    assert story.outcomes["2:2"] == "Promoted"


async def test_an_abort_takes_the_canary_back_and_names_who_asked() -> None:
    """Claim: one look, all requests on stable, the hash rejected, the record closed and intact."""
    story = await second()
    hash = story.hash_of("2")
    story.annotate(
        "argocd-server", abort=hash, command_reason=f"abort {hash}: the partner bank complains"
    )
    await story.once()

    assert story.weights == {"1": 100}
    assert story.status["phase"] == "RolledBack"
    rejection = story.status["rejected"][0]
    assert (rejection["hash"], rejection["reason"]) == (hash, "AbortedByPerson")
    assert rejection["by"] == "argocd-server"
    status = record(story)["status"]
    assert (status["outcome"], status["reason"]) == ("Aborted", "AbortedByPerson")
    assert status["steps"][-1]["command"] == {
        "verb": "Abort",
        "manager": "argocd-server",
        "setAt": f"{story.clock.now():%Y-%m-%dT%H:%M:%S}.000000Z",
        "reason": "the partner bank complains",
    }
    event = [e for e in story.cluster.all("Event") if e["reason"] == "AbortedByPerson"]
    assert [e["type"] for e in event] == ["Warning"]
    assert "field manager argocd-server asked" in event[0]["message"]
    assert all(one.is_equal for one in replay_all(story.cluster.all("ModelRollout")))

    for _ in range(20):
        story.commit("2")
        await story.run(MINUTE / 4)
    story.annotate(abort=None)
    await story.run(5 * MINUTE)
    assert story.outcomes == {"1:1": "Promoted", "2:2": "Aborted"}
    assert story.weights == {"1": 100}


async def test_an_abort_in_the_bake_restarts_nothing() -> None:
    """Claim: the predecessor is warm in the bake, and serves again without a new pod."""
    story = await second("Baking")
    pods = {p["metadata"]["uid"] for p in story.cluster.all("Pod")}
    story.annotate(abort=story.hash_of("2"))
    await story.once()

    assert story.weights == {"1": 100}
    assert {p["metadata"]["uid"] for p in story.cluster.all("Pod")} <= pods


async def test_an_abort_of_the_first_revision_is_refused() -> None:
    """Claim: there is nothing to go back to; that is told, and the revision goes on serving."""
    story = Story()
    story.commit("1")
    await story.until_phase("Baking")
    story.annotate(abort=story.hash_of("1"))
    await story.until_phase("Stable")

    assert story.weights == {"1": 100}
    told = [
        e["message"] for e in story.cluster.all("Event") if e["reason"] == "NothingToRollBackTo"
    ]
    assert told == [
        "headgate.dev/abort: version 1 is the first revision: there is nothing to go back to"
    ]


async def test_a_promote_takes_the_rest_and_the_bake_still_watches() -> None:
    """Claim: 100 % without proof, on record; a breach in the bake rolls back all the same."""
    story = await second("Progressing", failing=0.03)
    story.annotate(promote=story.hash_of("2"))
    await story.once()
    step = record(story)["status"]["steps"][-1]

    assert story.weights == {"2": 100}
    assert (step["reason"], step["weight"]) == ("PromotedByPerson", 100)
    assert step["command"]["verb"] == "Promote"
    assert "gets all requests unproven, as field manager kubectl-annotate" in step["message"]

    await story.until_phase("RolledBack")
    assert story.weights == {"1": 100}
    assert story.outcomes["2:2"] == "RolledBack"
    assert all(one.is_equal for one in replay_all(story.cluster.all("ModelRollout")))


async def test_a_promote_before_the_candidate_is_ready_waits_for_it() -> None:
    """Claim: no weight goes to what is not ready; then all of it goes at once."""
    story = await second("Preparing", starts=False)
    story.annotate(promote=story.hash_of("2"))
    await story.run(MINUTE)
    assert story.weights == {"1": 100}
    assert story.condition("CommandAccepted")["reason"] == "Waiting"

    story.platform.behaviours["2"] = Behaviour()
    await story.until_phase("Baking")
    assert [s["weight"] for s in record(story)["status"]["steps"]] == [0, 100]
    await story.until_phase("Stable")
    assert story.outcomes["2:2"] == "Promoted"


@pytest.mark.parametrize("emergency", [False, True], ids=["frozen", "emergency"])
async def test_a_promote_waits_for_an_error_budget_unless_it_is_an_emergency(
    emergency: bool,
) -> None:
    """Claim: people may go past evidence, and past an empty budget only as Git says so."""
    story = await second()
    story.budgets.counts["availability"] = counts(whole=0.02)
    story.commit("2", rollout={"emergency": emergency})
    story.annotate(promote=story.hash_of("2"))
    await story.once()

    if emergency:
        assert story.weights == {"2": 100}
        return
    assert story.weights == {"1": 90, "2": 10}
    found = story.condition("CommandAccepted")
    assert (found["status"], found["reason"]) == ("False", "BudgetExhausted")
    assert (
        "waits, as spec.rollout.emergency is not true: objective availability" in found["message"]
    )


async def test_a_retry_tries_a_rejected_revision_once_more_and_only_once() -> None:
    """Claim: one retry, one attempt, over 30 re-syncs, restarts and a clock that is ahead."""
    story = await second("RolledBack", failing=0.3)
    story.annotate(retry=f"{story.hash_of('2')}@{moment(story, 4 * MINUTE)}")
    for _ in range(30):
        story.commit("2")
        await story.run(MINUTE / 4)

    assert story.outcomes == {"1:1": "Promoted", "2:2": "RolledBack", "3:2": "RolledBack"}
    start = record(story, 3)["status"]["steps"][0]
    assert start["command"]["verb"] == "Retry"
    assert "once more, as field manager kubectl-annotate asked" in start["message"]
    story.annotate(retry=None)
    await story.run(5 * MINUTE)
    assert story.weights == {"1": 100}
    assert len(story.outcomes) == 3


async def test_an_abort_then_a_retry_then_a_promote() -> None:
    """Claim: the story that Argo CD's actions tell, with what is left over in between."""
    story = await second()
    hash = story.hash_of("2")
    story.annotate(abort=hash)
    await story.until_phase("RolledBack")
    story.annotate(retry=f"{hash}@{moment(story)}")
    await story.run(MINUTE)
    assert story.condition("CommandAccepted")["reason"] == "AbortStands"
    assert len(story.outcomes) == 2

    story.annotate(abort=None)
    await story.until_phase("Progressing")
    story.annotate(promote=hash)
    await story.until_phase("Stable")
    assert story.outcomes == {"1:1": "Promoted", "2:2": "Aborted", "3:2": "Promoted"}
    assert story.weights == {"2": 100}


STALE = [
    pytest.param({"pause": "ffffffff"}, "StaleCommand", id="a pause for another revision"),
    pytest.param({"abort": "ffffffff"}, "StaleCommand", id="an abort for another revision"),
    pytest.param({"promote": "ffffffff"}, "StaleCommand", id="a promote for another revision"),
    pytest.param(
        {"retry": "ffffffff@2026-01-05T12:00:00Z"}, "StaleCommand", id="a retry for another one"
    ),
    pytest.param({"abort": ""}, "InvalidCommand", id="an empty value"),
    pytest.param({"abort": "true"}, "InvalidCommand", id="a word"),
    pytest.param({"abort": "a\x1b[31m\n" + "b" * 9999}, "InvalidCommand", id="a hostile text"),
    pytest.param({"promote": "FFFFFFFF"}, "InvalidCommand", id="capital letters"),
    pytest.param({"retry": "ffffffff"}, "InvalidCommand", id="a retry without a moment"),
    pytest.param({"retry": "ffffffff@now"}, "InvalidCommand", id="a moment that is none"),
    pytest.param(
        {"retry": "ffffffff@2026-01-05T12:00:00"}, "InvalidCommand", id="a moment without a zone"
    ),
    pytest.param(
        {"retry": "ffffffff@2026-W02-1T12:00:00Z"}, "InvalidCommand", id="a week of ISO 8601"
    ),
    pytest.param(
        {"retry": "ffffffff@0001-01-01T00:00:00+14:00"}, "InvalidCommand", id="a year before any"
    ),
    pytest.param({"command_reason": "because"}, "InvalidCommand", id="a reason for nothing"),
]


@pytest.mark.parametrize(("values", "reason"), STALE)
async def test_what_is_no_command_changes_nothing_and_is_told(
    values: dict[str, str], reason: str
) -> None:
    """Claim: same weights at the same moments as without it; a condition and one Event say why."""
    plain, asked = await second(), await second()
    asked.annotate(**values)
    seen = []
    for story in (plain, asked):
        weights = []
        for _ in range(8):
            await story.run(20 * SECOND)
            weights.append((story.weights, story.status["phase"]))
        seen.append(weights)

    assert seen[0] == seen[1]
    found = asked.condition("CommandAccepted")
    assert (found["status"], found["reason"]) == ("False", reason)
    assert all(word in found["message"] for word in ("headgate.dev/", "found "))
    assert "\x1b" not in found["message"]
    assert len([e for e in asked.cluster.all("Event") if e["reason"] == reason]) == 1


async def test_who_asked_is_unknown_where_nothing_says_it() -> None:
    """Claim: a server that keeps no managedFields has the command followed all the same."""
    story = await second()
    story.annotate(abort=story.hash_of("2"))
    live_object = story.cluster.find("ModelDeployment", "models", "fraud")
    assert live_object is not None
    live_object["metadata"].pop("managedFields")
    await story.once()

    assert record(story)["status"]["steps"][-1]["command"] == {
        "verb": "Abort",
        "manager": "unknown",
    }
    assert story.status["rejected"][0]["by"] == "unknown"
    assert "as somebody asked by headgate.dev/abort" in story.status["message"]


async def test_a_command_is_followed_while_the_spec_is_not_accepted() -> None:
    """Claim: a broken commit in Git does not keep a person from stopping what is tried."""
    story = await second()
    story.commit("2", traffic={"gateway": {"name": "gone"}, "hostnames": ["fraud.example.com"]})
    await story.run(20 * SECOND)
    story.annotate(abort=story.hash_of("2"))
    await story.once()

    assert story.weights == {"1": 100}
    assert story.condition("Accepted")["status"] == "False"


async def test_a_pass_writes_nothing_of_its_own_accord_while_commands_stand() -> None:
    """Claim: the condition is of the state: looking again at a standing command writes nothing."""
    story = await second("RolledBack", failing=0.3)
    story.annotate(abort=story.hash_of("2"), pause="ffffffff", promote="nonsense")
    await story.run(MINUTE)
    story.cluster.writes.clear()
    for _ in range(5):
        await story.once()

    assert story.cluster.writes == []


async def test_metadata_is_never_written() -> None:
    """Claim: annotations are the person's: no write of ours touches the ModelDeployment but its
    status."""
    story = await second()
    story.annotate(abort=story.hash_of("2"))
    await story.until_phase("RolledBack")

    verbs = {verb for verb, kind, _ in story.cluster.writes if kind == "ModelDeployment"}
    assert verbs == {"patch_status"}


# --- crashes -------------------------------------------------------------------------------------


def _abort(story: Story) -> None:
    story.annotate(abort=story.hash_of("2"))


def _promote(story: Story) -> None:
    story.annotate(promote=story.hash_of("2"))


def _retry(story: Story) -> None:
    story.annotate(retry=f"{story.hash_of('2')}@{moment(story)}")


CUT = [
    pytest.param("Progressing", 0.002, _abort, id="abort in mid-canary"),
    pytest.param("Baking", 0.002, _abort, id="abort in the bake"),
    pytest.param("Progressing", 0.002, _promote, id="promote"),
    pytest.param("RolledBack", 0.3, _retry, id="retry"),
]


async def _told(
    phase: str, failing: float, command: Callable[[Story], None], index: int, after: bool
) -> tuple[dict[str, Any], int]:
    """Give a command and kill the operator once at the write of this index after it."""
    story = await second(phase, failing=failing)
    with killed_at(story, index, after) as writes:
        command(story)
        await live(story, 5 * MINUTE)
    return {**summary(story), "by": [r.get("by") for r in story.status["rejected"]]}, writes[0]


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize(("phase", "failing", "command"), CUT)
async def test_kill_at_every_write_after_a_command_ends_the_same(
    phase: str, failing: float, command: Callable[[Story], None], after: bool
) -> None:
    """For each write after the command: killed there once, the end state is the same."""
    expected, writes = await _told(phase, failing, command, index=0, after=False)
    assert writes > 2

    for index in range(1, writes + 1):
        found, _ = await _told(phase, failing, command, index, after)

        assert found == expected, f"killed at write {index}"


@pytest.mark.parametrize("index", range(1, 5))
async def test_an_abort_that_was_begun_is_finished_though_it_was_taken_back(index: int) -> None:
    """Claim: the record has it first, so killed after any write of the pass, and the annotation
    removed before the next one, the abort is carried out."""
    story = await second()
    with killed_at(story, index, after=True):
        story.annotate(abort=story.hash_of("2"))
        with pytest.raises(Killed):
            await story.once()
        story.annotate(abort=None)
        await live(story, MINUTE / 2)

    assert story.weights == {"1": 100}
    assert story.outcomes["2:2"] == "Aborted"
    assert story.status["rejected"][0]["by"] == "kubectl-annotate"


async def test_two_operators_follow_a_command_once() -> None:
    """Claim: a pass that looked before the other one wrote loses the race and changes nothing."""
    story = await second()
    story.annotate(abort=story.hash_of("2"))
    stale = copy.deepcopy(story.cluster.objects)
    await story.once()
    current = copy.deepcopy(story.cluster.objects)
    story.cluster.objects = stale
    story.cluster.before_write = lambda *_: story.cluster.objects.update(current)
    with pytest.raises(Conflict):
        await reconcile(story.key, story.world, story.clock.now())
    story.cluster.before_write = lambda *_: None
    await story.run(MINUTE)

    assert story.weights == {"1": 100}
    assert story.outcomes == {"1:1": "Promoted", "2:2": "Aborted"}
    assert len(story.status["rejected"]) == 1
