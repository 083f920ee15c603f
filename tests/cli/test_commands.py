"""`headgate pause`, `resume`, `abort`, `promote`, `retry`: what they write, refuse and tell."""

from __future__ import annotations

import asyncio
import json
import re
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from tests.apiserver import ApiServer
from tests.cli import stories
from tests.cli.test_status import store
from tests.cli.test_why import explained, resynced
from tests.scenarios.memory import Behaviour, Story, deployment
from tests.scenarios.test_guards import counts

from headgate.adapters.kubernetes import PERSON_MANAGER, KubernetesCluster, find_login
from headgate.cli import exits, main
from headgate.cli.command import _give
from headgate.cli.explain import page
from headgate.cli.lines import plain_text
from headgate.cli.reach import NotFound, Reach
from headgate.cli.replayed import replay_all
from headgate.ports import MODEL_DEPLOYMENT
from headgate.reconcile.commands import read_commands

ONE, TWO = "ca743f42", "0b322b52"
SOON = timedelta(seconds=10)


async def give(story: Story, *words: str) -> int:
    """Give a command as a person does, and let the operator look at once."""
    verb = words[0]
    parser = ArgumentParser()
    import_module(f"headgate.cli.{verb}").add_arguments(parser)
    code = await _give(verb, Reach(story.cluster, "models"), parser.parse_args(words[1:]))
    story.due = story.clock.now()
    return code


def annotations(story: Story) -> dict[str, str]:
    """Our annotations as they stand, without the prefix."""
    found = story.cluster.find("ModelDeployment", "models", "fraud")
    assert found is not None
    every = found["metadata"].get("annotations") or {}
    return {name.removeprefix("headgate.dev/"): value for name, value in every.items()}


async def frozen() -> Story:
    """Let the error budget be spent while version 2 is tried."""
    story = await stories.second("Progressing")
    story.budgets.counts["availability"] = counts(whole=0.02)
    await story.run(SOON)
    return story


async def paused_by_person() -> Story:
    """Let a person pause version 2 in its first step."""
    story = await stories.second("Progressing")
    await give(story, "pause", "fraud")
    await story.until_phase("Paused")
    return story


async def not_started() -> Story:
    """Let an empty error budget keep version 2 from starting."""
    story = await stories.first("Stable")
    story.budgets.counts["availability"] = counts(whole=0.02)
    story.commit("2")
    await story.run(SOON)
    return story


async def unready() -> Story:
    """Let the first revision of all not become ready."""
    story = Story()
    story.platform.behaviours["1"] = Behaviour(starts=False)
    story.commit("1")
    await story.until_phase("Preparing")
    return story


async def returning() -> Story:
    """Let version 2 break an objective after its bake, and version 1 not be ready to come back."""
    objectives = [{"name": "availability", "target": "99", "onBreach": "RollBack", "errors": {}}]
    story = Story()
    for version in ("1", "2"):
        story.commit(version, objectives=objectives)
        await story.until_phase("Stable")
    story.platform.behaviours["1"] = Behaviour(starts=False)
    story.budgets.counts["availability"] = counts(whole=0.001, short=0.3)
    await story.until_phase("Preparing")
    return story


async def aborted() -> Story:
    """Let a person abort version 2."""
    story = await stories.second("Progressing")
    await give(story, "abort", "fraud", "--reason", "wrong features")
    await story.until_phase("RolledBack")
    return story


async def aborted_while_paused() -> Story:
    """Let a person pause version 2, and then abort it."""
    story = await paused_by_person()
    await give(story, "abort", "fraud")
    await story.until_phase("RolledBack")
    return story


WRITTEN = [
    pytest.param(
        lambda: stories.second("Progressing"),
        ["pause"],
        {"pause": TWO},
        f"version 2 ({TWO}) stays at 10 % of the requests until `headgate resume fraud -n models`; "
        "a breach still rolls back.",
        id="pause a canary",
    ),
    pytest.param(
        lambda: stories.second("Baking"),
        ["pause"],
        {"pause": TWO},
        f"version 2 ({TWO}) stays in its bake; its predecessor stays warm until `headgate resume "
        "fraud -n models`; a breach still rolls back.",
        id="pause a bake",
    ),
    pytest.param(
        lambda: stories.first("Baking"),
        ["pause"],
        {"pause": ONE},
        f"version 1 ({ONE}) stays in its bake; its predecessor",
        id="pause the bake of the first revision",
    ),
    pytest.param(
        not_started,
        ["pause"],
        {"pause": TWO},
        f"version 2 ({TWO}) is not started until",
        id="pause what waits to be started",
    ),
    pytest.param(
        paused_by_person,
        ["pause"],
        {"pause": TWO},
        f"version 2 ({TWO}) is paused already.",
        id="pause what is paused",
    ),
    pytest.param(
        paused_by_person, ["resume"], {}, "the rollout goes on.", id="resume a person's pause"
    ),
    pytest.param(
        lambda: stories.second("Progressing"),
        ["abort", "--reason", "the bank complains"],
        {"abort": TWO, "command-reason": f"abort {TWO}: the bank complains"},
        f"version 2 ({TWO}) goes back to version 1 ({ONE}) and is not tried again until `headgate "
        "retry fraud -n models`, or spec.rollout.retry changes.",
        id="abort a canary, with a reason",
    ),
    pytest.param(
        lambda: stories.second("Progressing"),
        ["promote"],
        {"promote": TWO},
        f"version 2 ({TWO}) gets all requests without further proof, as soon as it is ready; its "
        "bake is watched, and a breach rolls back.",
        id="promote a canary",
    ),
    pytest.param(
        paused_by_person,
        ["promote"],
        {"promote": TWO},
        f"the pause ends, and version 2 ({TWO}) gets all requests",
        id="promote what is paused",
    ),
    pytest.param(
        frozen,
        ["promote"],
        {"promote": TWO},
        "It may wait, as spec.rollout.emergency is not true: objective availability",
        id="promote with an empty budget",
    ),
    pytest.param(
        aborted,
        ["retry"],
        {"retry": f"{TWO}@"},
        f"version 2 ({TWO}) is tried once more, if it is what Git wants.",
        id="retry what a person aborted; the abort and its reason go",
    ),
    pytest.param(
        stories.rolled_back, ["retry"], {"retry": f"{TWO}@"}, "is tried once more", id="retry"
    ),
    pytest.param(
        aborted_while_paused,
        ["retry"],
        {"retry": f"{TWO}@", "pause": TWO},
        "; it waits until `headgate resume fraud -n models`, as the pause still stands.",
        id="retry what is paused",
    ),
    pytest.param(
        resynced,
        ["retry", "--revision", TWO],
        {"retry": f"{TWO}@"},
        "is tried once more",
        id="retry a revision by its hash",
    ),
]


@pytest.mark.parametrize(("told", "words", "written", "says"), WRITTEN)
async def test_what_a_command_writes_and_tells(
    told: Callable[[], Awaitable[Story]],
    words: list[str],
    written: dict[str, str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Claim: just these annotations stand afterwards, and one sentence says what follows."""
    story = await told()
    capsys.readouterr()

    assert await give(story, words[0], "fraud", *words[1:]) == exits.OK

    found = annotations(story)
    assert found.keys() == written.keys()
    assert all(found[name].startswith(value) for name, value in written.items())
    shown = capsys.readouterr().out
    assert shown.startswith("models/fraud: ")
    assert says in shown
    assert shown.count("\n") == 1


REFUSED = [
    pytest.param(
        lambda: stories.first("Stable"),
        ["pause"],
        f"nothing is being tried; version 1 ({ONE}) serves; to keep the next one from starting, "
        "set spec.rollout.paused in Git",
        id="pause nothing",
    ),
    pytest.param(
        stories.paused, ["pause"], "it is paused by spec.rollout.paused already", id="Git pauses"
    ),
    pytest.param(
        stories.paused,
        ["resume"],
        "spec.rollout.paused is true: set it to false in Git",
        id="resume what Git pauses",
    ),
    pytest.param(
        lambda: stories.second("Progressing"), ["resume"], "it is not paused", id="resume nothing"
    ),
    pytest.param(
        lambda: stories.first("Stable"),
        ["abort"],
        f"nothing is being tried; version 1 ({ONE}) serves; to go back from what is stable, commit "
        "another version",
        id="abort what is stable",
    ),
    pytest.param(
        lambda: stories.first("Baking"),
        ["abort"],
        f"version 1 ({ONE}) is the first revision: there is nothing to go back to",
        id="abort the first revision in its bake",
    ),
    pytest.param(
        unready,
        ["abort"],
        f"version 1 ({ONE}) is the first revision: there is nothing to go back to",
        id="abort the first revision before it serves",
    ),
    pytest.param(
        stories.rolled_back,
        ["abort"],
        f"nothing is being tried; version 1 ({ONE}) serves: canary failed",
        id="abort what went back by itself",
    ),
    pytest.param(
        lambda: stories.second("Progressing"),
        ["abort", "--revision", ONE],
        f"wanted revision {ONE}, found version 2 ({TWO}) in question",
        id="abort another revision",
    ),
    pytest.param(
        lambda: stories.first("Stable"),
        ["promote"],
        f"nothing is being tried; version 1 ({ONE}) serves; to skip the proof",
        id="promote nothing",
    ),
    pytest.param(
        lambda: stories.second("Baking"),
        ["promote"],
        f"version 2 ({TWO}) has all requests already; it is in its bake",
        id="promote a bake",
    ),
    pytest.param(
        stories.paused,
        ["promote"],
        "spec.rollout.paused is true: set it to false in Git first",
        id="promote what Git pauses",
    ),
    pytest.param(
        returning,
        ["pause"],
        f"version 1 ({ONE}) is proven and comes back, which waits for nobody",
        id="pause what comes back",
    ),
    pytest.param(
        returning,
        ["abort"],
        f"version 1 ({ONE}) is proven and comes back; to keep version 2 ({TWO}): `headgate retry "
        f"fraud -n models --revision {TWO}`",
        id="abort what comes back",
    ),
    pytest.param(
        returning,
        ["promote"],
        f"version 1 ({ONE}) is proven and gets all requests as soon as it is ready",
        id="promote what comes back",
    ),
    pytest.param(
        lambda: stories.first("Stable"),
        ["retry"],
        f"version 1 ({ONE}) is not rejected; no revision is",
        id="retry nothing",
    ),
    pytest.param(
        stories.rolled_back,
        ["retry", "--revision", "ffffffff"],
        f"revision ffffffff is not rejected; rejected are {TWO} (version 2): --revision names one "
        "of them",
        id="retry a revision that there is not",
    ),
]


@pytest.mark.parametrize(("told", "words", "why"), REFUSED)
async def test_what_makes_no_sense_is_refused(
    told: Callable[[], Awaitable[Story]],
    words: list[str],
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Claim: exit code 1, one line that says why, and nothing written."""
    story = await told()

    assert await give(story, words[0], "fraud", *words[1:]) == exits.FAILED

    shown = capsys.readouterr()
    assert shown.err.startswith(f"headgate {words[0]}: models/fraud: {why}")
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert annotations(story) == {}


async def test_what_comes_back_can_be_kept_from_it() -> None:
    """Claim: the command that the refusal names keeps the version that broke the objective."""
    story = await returning()
    story.budgets.counts.clear()

    assert await give(story, "retry", "fraud", "--revision", TWO) == exits.OK
    await story.until_phase("Stable")

    assert story.weights == {"2": 100}
    assert story.status.get("canary") is None
    assert story.status["rejected"] == []


async def test_a_dry_run_asks_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: the API server is asked, so that rights are checked, and nothing is stored."""
    story = await stories.second("Progressing")
    before = len(story.cluster.writes)

    assert await give(story, "abort", "fraud", "--dry-run") == exits.OK
    await story.run(timedelta(seconds=4))

    assert capsys.readouterr().out.startswith("models/fraud: only tried: version 2")
    assert ("annotate", "ModelDeployment", "fraud") in story.cluster.writes[before:]
    assert annotations(story) == {}
    assert story.weights == {"1": 90, "2": 10}


async def test_json_says_what_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: a program gets verb, revision, annotations and the sentence."""
    story = await stories.second("Progressing")
    await give(story, "abort", "fraud", "-o", "json")

    assert json.loads(capsys.readouterr().out) == {
        "schema": "headgate.dev/command/v1",
        "namespace": "models",
        "name": "fraud",
        "verb": "abort",
        "version": "2",
        "hash": TWO,
        "annotations": {"headgate.dev/abort": TWO},
        "dryRun": False,
        "message": f"version 2 ({TWO}) goes back to version 1 ({ONE}) and is not tried again until "
        "`headgate retry fraud -n models`, or spec.rollout.retry changes",
    }


async def test_an_unknown_name_is_not_found() -> None:
    """Claim: a near name is offered, as by every other verb."""
    story = await stories.first("Baking")

    with pytest.raises(NotFound, match=r"no ModelDeployment models/fruad; did you mean fraud\?"):
        await give(story, "pause", "fruad")


async def test_all_commands_one_after_the_other() -> None:
    """Claim: pause, resume, abort, retry, promote: each leaves what the next one needs."""
    story = await stories.second("Progressing")
    seen = []
    for words, phase in (
        (["pause"], "Paused"),
        (["resume"], "Progressing"),
        (["abort", "--reason", "first"], "RolledBack"),
        (["retry"], "Progressing"),
        (["pause"], "Paused"),
        (["promote", "--reason", "fix for tonight"], "Baking"),
    ):
        assert await give(story, words[0], "fraud", *words[1:]) == exits.OK
        await story.until_phase(phase)
        seen.append(story.weights)
    await story.until_phase("Stable")

    one, both, two = {"1": 100}, {"1": 90, "2": 10}, {"2": 100}
    assert seen == [both, both, one, both, both, two]
    assert story.outcomes == {"1:1": "Promoted", "2:2": "Aborted", "3:2": "Promoted"}
    told = explained(story)
    assert told.answer.startswith("Version 2 gets 100 % of the requests because")
    assert explained(story, 3).answer == (
        "Version 2 became the stable one: it got all requests unproven, as field manager "
        f"headgate-cli asked by headgate.dev/promote at {_given_at(story, 3, 'Promote')}: fix for "
        "tonight, and passed its bake."
    )


def _given_at(story: Story, number: int, verb: str) -> str:
    """When a command of this kind was given, as the sentences have it."""
    steps = story.cluster.all("ModelRollout")[number - 1]["status"]["steps"]
    given = [s["command"]["setAt"] for s in steps if s.get("command", {}).get("verb") == verb]
    return re.sub(r"\.\d+Z", "Z", given[0])


async def test_why_status_and_audit_say_who_asked() -> None:
    """Claim: a person's abort is told as that, with who, and does not pass for the evidence's."""
    story = await aborted()
    answer, shown = explained(story).answer, plain_text(page(explained(story)))

    assert answer.startswith(
        "Version 2 went back to version 1, as field manager headgate-cli asked by "
        "headgate.dev/abort at "
    )
    assert answer.endswith(": wrong features; version 1 gets 100 % of the requests.")
    assert "To try it once more without a commit, give `headgate retry fraud -n models`." in shown
    assert "AbortedByPerson (headgate-cli) in fraud-0002" in stories.picture(story)
    record = story.cluster.all("ModelRollout")[-1]
    found = replay_all([record])[0]
    assert found.is_equal
    assert found.notes[-1] == (
        f"Abort at {record['status']['finishedAt']} was a person's command, given by field manager "
        "headgate-cli: it does not follow from the evidence."
    )


ADVICE = [
    pytest.param(
        paused_by_person, "To go on, give `headgate resume fraud -n models`.", id="a person's pause"
    ),
    pytest.param(
        lambda: stories.second("Progressing"),
        "To stop it at once, give `headgate abort fraud -n models`.",
        id="a running rollout",
    ),
    pytest.param(
        stories.rolled_back,
        "To try it once more without a commit, give `headgate retry fraud -n models`.",
        id="a rejected version",
    ),
]


@pytest.mark.parametrize(("told", "wanted"), ADVICE)
async def test_why_names_the_command_that_would_change_it(
    told: Callable[[], Awaitable[Story]], wanted: str
) -> None:
    """Claim: who reads why something is so is told the very command."""
    assert wanted in explained(await told()).changes


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["pause"], id="no name"),
        pytest.param(["abort", "fraud", "--revision", "2"], id="a version instead of a hash"),
        pytest.param(["abort", "fraud", "--reason", "a\nb"], id="a reason of two lines"),
        pytest.param(["abort", "fraud", "--reason", "a" * 257], id="a reason that is too long"),
        pytest.param(["resume", "fraud", "--reason", "x"], id="a reason that nobody would keep"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: before anything is asked of a cluster."""
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == exits.USAGE
    assert "usage: headgate" in capsys.readouterr().err


# --- a real API server ---------------------------------------------------------------------------

NAMESPACE = "commands-of-people"


@pytest.fixture
def served(apiserver: ApiServer) -> Iterator[ApiServer]:
    """Store a ModelDeployment on a real API server, under the name of a GitOps controller."""
    apiserver.kubectl("create", "namespace", NAMESPACE)
    manifest = deployment("1")
    manifest["metadata"]["namespace"] = NAMESPACE
    apiserver.kubectl(
        "apply", "--server-side", "--field-manager=git", "-f", "-", stdin=json.dumps(manifest)
    )
    yield apiserver
    forget(apiserver, NAMESPACE)


def forget(apiserver: ApiServer, namespace: str) -> None:
    """Delete all of ours: no controller empties a namespace here, and others list what there is."""
    apiserver.kubectl("delete", "md,mrev,mro", "--all", "-n", namespace)


async def read(apiserver: ApiServer) -> dict[str, Any]:
    """Read the ModelDeployment by the client that the operator has."""
    cluster = KubernetesCluster(find_login(str(apiserver.kubeconfig)))
    try:
        found = await cluster.get(MODEL_DEPLOYMENT, NAMESPACE, "fraud")
        assert found is not None
        return dict(found)
    finally:
        await cluster.close()


@pytest.mark.apiserver
async def test_annotations_on_a_real_api_server(served: ApiServer) -> None:
    """Claim: they name who wrote them, leave the spec alone, and survive what Git applies."""
    cluster = KubernetesCluster(find_login(str(served.kubeconfig)), field_manager=PERSON_MANAGER)
    before = await read(served)
    try:
        tried = await cluster.annotate(before, {"headgate.dev/abort": TWO}, dry_run=True)
        assert tried["metadata"]["annotations"] == {"headgate.dev/abort": TWO}
        assert "annotations" not in (await read(served))["metadata"]
        await cluster.annotate(before, {"headgate.dev/abort": TWO})
        served.kubectl(
            "annotate",
            "md",
            "fraud",
            "-n",
            NAMESPACE,
            f"headgate.dev/retry={ONE}@2026-01-05T12:00:00Z",
        )
        manifest = deployment("1")
        manifest["metadata"]["namespace"] = NAMESPACE
        served.kubectl(
            *("apply", "--server-side", "--field-manager=git", "--force-conflicts", "-f", "-"),
            stdin=json.dumps(manifest),
        )
        found = await read(served)
        told = read_commands(found).commands
        assert told.abort is not None
        assert told.retry is not None
        assert (told.abort.hash, told.abort.manager) == (TWO, "headgate-cli")
        assert (told.retry.hash, told.retry.manager) == (ONE, "kubectl-annotate")
        assert told.abort.set_at is not None
        assert found["spec"] == before["spec"]
        assert found["metadata"]["generation"] == before["metadata"]["generation"]

        await cluster.annotate(found, {"headgate.dev/abort": None})
        assert read_commands(await read(served)).commands.abort is None
    finally:
        await cluster.close()


@pytest.mark.apiserver
async def test_what_commands_leave_in_records_is_stored_and_told_by_a_real_api_server(
    apiserver: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: the schema takes who asked, in records and status; and the next command is given from
    what is stored."""
    namespace = f"{NAMESPACE}-recorded"
    story = await stories.second("Progressing")
    for words, phase in (
        (["pause"], "Paused"),
        (["abort", "--reason", "a test"], "RolledBack"),
        (["retry"], "RolledBack"),
        (["resume"], "Progressing"),
    ):
        await give(story, words[0], "fraud", *words[1:])
        await story.until_phase(phase)
    await give(story, "promote", "fraud")
    await story.until_phase("Baking")
    await give(story, "abort", "fraud")
    await story.until_phase("RolledBack")
    assert story.status["commands"]["retry"].startswith(f"{TWO}@")
    found = stories.objects(story)
    apiserver.kubectl("create", "namespace", namespace)
    manifests = [*found.deployments, *found.revisions, *found.rollouts]
    await store(apiserver, manifests, namespace)
    capsys.readouterr()

    login = ("-n", namespace, "--kubeconfig", str(apiserver.kubeconfig))
    given = await asyncio.to_thread(main, ["retry", "fraud", *login])
    refused = await asyncio.to_thread(main, ["abort", "fraud", *login])
    replayed = await asyncio.to_thread(main, ["audit", "replay", "fraud", *login])

    told = capsys.readouterr()
    assert (given, refused, replayed) == (exits.OK, exits.FAILED, exits.OK)
    assert f"version 2 ({TWO}) is tried once more" in told.out
    assert "nothing is being tried" in told.err
    assert told.out.count("was a person's command, given by field manager headgate-cli") == 5
    stored = json.loads(apiserver.kubectl("get", "md", "fraud", "-n", namespace, "-o", "json"))
    assert stored["status"]["rejected"][0]["by"] == "headgate-cli"
    assert stored["status"]["desired"]["hash"] == TWO
    assert stored["metadata"]["annotations"].keys() == {"headgate.dev/retry"}
    forget(apiserver, namespace)
