"""`headgate why`: the sentence, the numbers, the advice and the chain of records."""

from __future__ import annotations

import copy
import json
from argparse import Namespace
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.cli import stories
from tests.scenarios.memory import Behaviour, Story

from headgate.cli import exits, why
from headgate.cli.explain import Explanation, NoSuchRollout, explain, page
from headgate.cli.lines import plain_text
from headgate.cli.reach import NotFound, Reach
from headgate.cli.view import Integrity, Link, Objects
from headgate.core.revision import record_digest
from headgate.core.slo.budget import WINDOWS, WindowCounts


def explained(story: Story, number: int | None = None) -> Explanation:
    """Explain the story's deployment as it is now."""
    return explain(stories.objects(story), "models", "fraud", number, story.clock.now())


async def starting() -> Story:
    """Let version 2 crash when it loads its model."""
    story = await stories.first("Stable")
    story.platform.behaviours["2"] = Behaviour(starts=False, problem="model.bin is no pickle")
    story.commit("2")
    await story.until_phase("Preparing")
    await story.once()
    return story


async def resynced() -> Story:
    """Commit the version that went back again, after the stable one was wanted in between."""
    story = await stories.rolled_back()
    story.commit("1")
    await story.until_phase("Stable")
    story.commit("2")
    await story.until_phase("RolledBack")
    return story


async def silent() -> Story:
    """Let nobody send a request while version 2 is tried."""
    story = await stories.second("Progressing")
    story.metrics.rate = 0
    await story.run(story.world.options.checkpoint_every)
    return story


async def budgeted(bad: int, burning: bool = False) -> Story:
    """Let so many of 1,000 requests of a month have failed, and a third of the last hours'."""
    story = await stories.first("Stable")
    if burning:
        story.commit("2")
        await story.until_phase("Progressing")
    month = timedelta(days=30)
    story.budgets.counts["availability"] = [
        *(WindowCounts(w, 70_000, 30_000 if burning else 0, w) for w in WINDOWS),
        WindowCounts(month, 100 * (1000 - bad), 100 * bad, month),
    ]
    story.commit("2")
    await story.run(timedelta(minutes=2))
    return story


async def paused_before_it_began() -> Story:
    """Commit version 2 together with a pause."""
    story = await stories.first("Stable")
    story.commit("2", rollout={"paused": True})
    await story.run(timedelta(minutes=1))
    return story


async def superseded() -> Story:
    """Commit version 3 while version 2 is tried."""
    story = await stories.second("Progressing", 4)
    story.commit("3")
    await story.once()
    return story


ANSWERS = [
    pytest.param(
        lambda: stories.first("Baking", 6),
        "Version 1 gets 100 % of the requests because it is in its bake, of which 54s are left.",
        id="first revision in its bake",
    ),
    pytest.param(
        stories.restored,
        "Version 1 gets 100 % of the requests because it was proven before, elsewhere, and nothing "
        "else is wanted.",
        id="restored in a cluster that was rebuilt",
    ),
    pytest.param(
        lambda: stories.second("Stable"),
        "Version 2 gets 100 % of the requests because it went through a whole rollout and nothing "
        "else is wanted.",
        id="promoted",
    ),
    pytest.param(
        lambda: stories.second("Baking", 10),
        "Version 2 gets 100 % of the requests because it is in its bake, of which 50s are left; "
        "version 1 is kept warm.",
        id="baking",
    ),
    pytest.param(
        starting,
        "Version 1 gets 100 % of the requests because version 2 is not ready yet: ",
        id="candidate does not start",
    ),
    pytest.param(
        silent,
        "Version 1 gets 90 % and version 2 gets 10 % of the requests because there is no evidence "
        "to go on by: the canary has not answered a request that was counted.",
        id="no traffic",
    ),
    pytest.param(
        stories.paused,
        "Version 1 gets 90 % and version 2 gets 10 % of the requests because the rollout is "
        "paused: ",
        id="paused",
    ),
    pytest.param(
        resynced,
        "Version 2 went back to version 1 because it ",
        id="a rejected version that Git still wants is explained by the rollout that rejected it",
    ),
    pytest.param(
        stories.refused,
        "Version 1 gets 100 % of the requests; the spec is not acted upon: spec.traffic.gateway",
        id="refused spec",
    ),
    pytest.param(
        lambda: budgeted(20),
        "Version 1 gets 100 % of the requests; version 2 waits: objective availability (99 % over "
        "30d): nothing is left of the error budget; ",
        id="an empty error budget",
    ),
    pytest.param(
        lambda: budgeted(1, burning=True),
        "Version 1 gets 90 % and version 2 gets 10 % of the requests because the step waits: "
        "objective availability: stable burns its error budget 30 times as fast as it may over 1h",
        id="stable burns its budget",
    ),
    pytest.param(
        paused_before_it_began,
        "Version 1 gets 100 % of the requests; version 2 waits: ",
        id="paused before it began",
    ),
]


@pytest.mark.parametrize(("told", "wanted"), ANSWERS)
async def test_answer_is_one_plain_sentence(
    told: Callable[[], Awaitable[Story]], wanted: str
) -> None:
    """Who gets how many requests, and because of what, before any number."""
    answer = explained(await told()).answer

    assert answer.startswith(wanted), answer
    assert answer.endswith(".")
    assert ".." not in answer
    assert "\n" not in answer


@pytest.mark.parametrize(
    ("reason", "signal", "cause"),
    [
        (
            "ErrorsHigher",
            "errors",
            "it failed more of its requests than version 1: canary failed",
        ),
        ("LatencyHigher", "latency", "it was slower than version 1: canary failed"),
        ("ObjectiveBroken", "objective/p99", "it broke the objective p99: canary failed"),
        (
            "SignalWorse",
            "tokens",
            "its signal tokens was worse than that of version 1: canary failed",
        ),
        (
            "DistributionDiffers",
            "scores",
            "its signal scores differed from that of version 1: canary",
        ),
        ("BudgetSpent", "objective/p99", "it spent more of the error budget of p99 than one"),
        ("NewReason", "drift", "canary failed"),
    ],
)
async def test_breach_is_named_by_its_cause(reason: str, signal: str, cause: str) -> None:
    """Each reason of a breach has words; one from a newer operator is told in its own sentence."""
    story = await stories.rolled_back()
    found = stories.objects(story)
    found.rollouts[1]["status"]["decision"].update(reason=reason, signal=signal)

    answer = explain(found, "models", "fraud", 2, story.clock.now()).answer

    assert answer.startswith(f"Version 2 went back to version 1 because {cause}")


async def test_page_of_a_rollback_has_the_numbers_behind_it() -> None:
    """Decision, every change of weight with its reason, and both arms of every signal."""
    story = await stories.rolled_back()
    shown = plain_text(page(explained(story)))
    errors = story.cluster.all("ModelRollout")[1]["status"]["signals"][0]

    assert shown.startswith("Version 2 went back to version 1 because")
    assert (
        "rollout fraud-0002 of models/fraud: version 1 (ca743f42) → version 2 (0b322b52)" in shown
    )
    assert "decision: Breach (" in shown
    assert "10 %  CandidateReady" in shown
    assert "0 %  AnalysisFailed" in shown
    assert f"{errors['canary']['bad']} of {errors['canary']['requests']} (" in shown
    assert "after the first request" in shown
    assert "record: intact; before it: fraud-0001, which is as it was named then" in shown


async def test_evidence_that_is_next_to_nothing_is_shown_as_it_is() -> None:
    """After much traffic without harm an e-value is written as 0, which is not 1."""
    story = await stories.rolled_back()
    found = stories.objects(story)
    found.rollouts[1]["status"]["signals"][0]["evidence"] = "0"

    told = explain(found, "models", "fraud", None, story.clock.now())

    assert told.record is not None
    assert told.record.signals[0].evidence == 0.0


async def test_page_has_what_each_number_rests_on() -> None:
    """The interval, from when to when was counted, the noise and the query, each once."""
    story = await stories.rolled_back()
    found = stories.objects(story)
    errors = found.rollouts[1]["status"]["signals"][0]
    errors |= {"designEffect": "1.4", "placeboRuns": 120, "pods": 12}
    shown = plain_text(page(explain(found, "models", "fraud", None, story.clock.now())))

    low, high = float(errors["lowestPoints"]), float(errors["highestPoints"])
    assert f"points  {low:+.3g} to {high:+.3g}  " in shown
    assert "signals, counted from 2026-01-05 12:01:12Z to 2026-01-05 12:01:20Z" in shown
    assert "errors  design effect 1.4, 120 placebo runs, of 12 pods" in shown
    assert "errors, objective/availability  memory{signal='errors'}" in shown
    assert "latency                         memory{signal='latency'}" in shown
    assert shown.count("memory{") == 2


OLDER = ("lowestPoints", "highestPoints", "designEffect", "placeboRuns", "pods", "query")


async def test_record_of_an_older_operator_is_told_without_what_it_does_not_have() -> None:
    """What was not recorded is not known: no number, no line, and no failure."""
    story = await stories.rolled_back()
    found = stories.objects(story)
    for signal in found.rollouts[1]["status"]["signals"]:
        for key in OLDER:
            signal.pop(key, None)
    found.rollouts[1]["status"]["evidence"]["state"] = '{"version":1}'
    told = explain(found, "models", "fraud", None, story.clock.now())
    shown = plain_text(page(told))

    assert told.record is not None
    assert {(s.lowest_points, s.design_effect, s.query) for s in told.record.signals} == {
        (None, None, "")
    }
    assert told.record.counted_since is None
    assert "├─ signals\n" in shown
    assert " to +" not in shown
    assert "asked for" not in shown
    assert "not measured" in shown


async def test_numbers_of_the_first_revision_say_that_it_has_everything() -> None:
    """Its record has weight 0 as a canary; what it has as the stable one is 100 %."""
    record = explained(await stories.first("Stable")).record

    assert record is not None
    assert [(c.weight, c.reason) for c in record.changes] == [
        (0, "RolloutStarted"),
        (100, "FirstRevision"),
        (100, "Promoted"),
    ]


ADVICE = [
    pytest.param(
        lambda: budgeted(20),
        "To release in spite of it, set spec.rollout.emergency to true; that is on record.",
        id="an empty error budget",
    ),
    pytest.param(
        lambda: budgeted(1, burning=True),
        "Cure what burns the error budget: no weight rises while it burns fast.",
        id="stable burns its budget",
    ),
    pytest.param(
        stories.rolled_back,
        'To try version 2 again as it is, change spec.rollout.retry (now "").',
        id="a rejected version",
    ),
    pytest.param(
        stories.rolled_back,
        'To let Git say what serves, restore version 1 there: spec.model.version: "1"',
        id="what Git should say after a rollback",
    ),
    pytest.param(
        stories.refused,
        "Fix spec.traffic.gateway",
        id="an objection names its field",
    ),
    pytest.param(
        silent,
        "Requests through the gateway are needed: without them nothing is proven.",
        id="no traffic",
    ),
    pytest.param(stories.paused, "Set spec.rollout.paused to false to go on.", id="paused"),
    pytest.param(
        lambda: stories.second("Baking", 10),
        "Committing version 1 again aborts the rollout and returns all requests to it.",
        id="a running rollout can be aborted",
    ),
]


@pytest.mark.parametrize(("told", "wanted"), ADVICE)
async def test_advice_says_what_would_change_it(
    told: Callable[[], Awaitable[Story]], wanted: str
) -> None:
    """What a person can do is said in the words of the spec."""
    changes = explained(await told()).changes

    assert any(change.startswith(wanted) for change in changes), changes


async def test_missing_requests_are_counted_in_the_advice() -> None:
    """The record knows how many more requests the next weight needs."""
    story = await stories.second("Progressing", 4)
    story.options = replace(story.options, checkpoint_every=timedelta(0))
    await story.once()
    found = explained(story)
    assert found.record is not None
    needed = found.record.requests_needed

    assert needed is not None
    assert f"About {needed:,} more canary requests earn the next weight." in found.changes


async def test_retried_version_is_not_said_to_be_barred() -> None:
    """After `retry` changed, the old record stays and the bar is gone."""
    story = await stories.rolled_back()
    story.commit("2", rollout={"retry": "again"})
    await story.once()

    found = explained(story, 2)

    assert "Version 2 (0b322b52) is not barred any more." in found.changes


# --- records -------------------------------------------------------------------------------------


async def test_records_explain_what_is_gone() -> None:
    """The deployment was deleted; its records outlive it and still say why."""
    story = await stories.rolled_back()
    found = stories.without_deployment(stories.objects(story))

    told = explain(found, "models", "fraud", None, story.clock.now())

    start = "The ModelDeployment is gone and its records remain. Version 2 went back to version 1"
    assert told.answer.startswith(start)
    assert told.deployment is None
    assert told.is_intact


async def test_any_rollout_can_be_asked_for() -> None:
    """An earlier record is explained by itself, whatever is so now."""
    story = await superseded()

    assert explained(story, 1).answer == "Version 1 became the stable one as the first revision."
    assert explained(story, 2).answer.startswith(
        "Version 2 was not tried to the end because version 3 ("
    )
    with pytest.raises(NoSuchRollout, match=r"no rollout 9; there is 1, 2"):
        explained(story, 9)


def changed(found: Objects, index: int, **status: Any) -> Objects:
    """Let somebody edit the status of a record."""
    rollouts = [copy.deepcopy(dict(r)) for r in found.rollouts]
    rollouts[index]["status"].update(status)
    return replace(found, rollouts=rollouts)


async def test_edited_record_is_found_out() -> None:
    """One changed word, and neither its own digest nor what its successor named fits."""
    story = await stories.rolled_back()
    found = changed(stories.objects(story), 0, message="nothing happened")

    told = explain(found, "models", "fraud", None, story.clock.now())

    assert [r.integrity for r in told.records] == [Integrity.CHANGED, Integrity.INTACT]
    assert [r.previous.link for r in told.records] == [Link.FIRST, Link.CHANGED]
    assert not told.is_intact
    shown = plain_text(page(told))
    assert "fraud-0001, which is NOT what was named then" in shown
    assert "CHANGED since it was finished" in shown


async def test_edited_record_with_a_new_digest_is_found_out_by_the_next_one() -> None:
    """Who edits a record can write its digest anew, but not the one its successor named."""
    story = await stories.rolled_back()
    found = changed(stories.objects(story), 0, message="nothing happened")
    found = changed(found, 0, digest=record_digest(found.rollouts[0]))

    told = explain(found, "models", "fraud", None, story.clock.now())

    assert [r.integrity for r in told.records] == [Integrity.INTACT, Integrity.INTACT]
    assert told.records[1].previous.link is Link.CHANGED
    assert not told.is_intact


async def test_record_that_lost_its_digest_is_not_intact() -> None:
    """A finished record without a digest proves nothing."""
    story = await stories.rolled_back()
    found = changed(stories.objects(story), 1, digest=None)

    told = explain(found, "models", "fraud", None, story.clock.now())

    assert told.records[1].integrity is Integrity.CHANGED


async def test_forgotten_predecessor_is_no_breach_of_the_chain() -> None:
    """`history` bounds how many records are kept; the oldest one names what is gone."""
    story = await stories.rolled_back()
    found = replace(stories.objects(story), rollouts=stories.objects(story).rollouts[1:])

    told = explain(found, "models", "fraud", None, story.clock.now())

    assert told.records[0].previous.link is Link.GONE
    assert told.is_intact
    assert "fraud-0001, which is gone" in plain_text(page(told))


async def test_running_rollout_is_open() -> None:
    """What is not finished has no digest yet, and nobody calls that an edit."""
    told = explained(await stories.second("Progressing", 4))

    assert told.records[-1].integrity is Integrity.OPEN
    assert told.is_intact


# --- the verb ------------------------------------------------------------------------------------


def called(**changes: Any) -> Namespace:
    """Return the arguments of `headgate why fraud`, changed."""
    usual = {"name": "fraud", "output": "text", "rollout": None, "plot": None}
    return Namespace(**{**usual, **changes})


async def test_json_has_the_documented_shape(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts may rely on these keys."""
    story = await stories.rolled_back()

    code = await why._explain(Reach(story.cluster, "models"), called(output="json"))

    told = json.loads(capsys.readouterr().out)
    assert code == exits.OK
    assert set(told) == {
        *("schema", "namespace", "name", "answer", "whatWouldChangeIt", "intact"),
        *("deployment", "rollout", "records"),
    }
    assert told["schema"] == "headgate.dev/why/v1"
    assert told["records"] == ["fraud-0001", "fraud-0002"]
    assert told["rollout"]["verdict"]["verdict"] == "Breach"
    assert told["rollout"]["signals"][0]["name"] == "errors"


async def test_edited_record_fails_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """It is explained all the same, and the exit code says that it cannot be trusted."""
    story = await stories.rolled_back()
    record = story.cluster.find("ModelRollout", "models", "fraud-0002")
    assert record is not None
    record["status"]["message"] = "nothing happened"

    code = await why._explain(Reach(story.cluster, "models"), called())

    told = capsys.readouterr()
    assert code == exits.FAILED
    assert "Version 2 went back" in told.out
    assert told.err == "headgate why: a record was changed after it was finished\n"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"name": "fruad"}, "no ModelDeployment models/fruad; did you mean fraud?"),
        ({"rollout": 7}, "models/fraud: no rollout 7; there is 1, 2"),
    ],
)
async def test_what_does_not_exist_is_not_found(arguments: dict[str, Any], wanted: str) -> None:
    """Names are compared with those of records too, as their deployment may be gone."""
    story = await stories.rolled_back()
    story.cluster.objects.pop(("ModelDeployment", "models", "fraud"))

    with pytest.raises(NotFound) as raised:
        await why._explain(Reach(story.cluster, "models"), called(**arguments))

    assert str(raised.value) == wanted


# --- what is read from conditions and the last decision ------------------------------------------


async def waiting(reason: str, message: str, needed: int | None = None) -> Explanation:
    """Explain a first step whose last decision was this."""
    story = await stories.second("Progressing", 15)
    found = stories.objects(story)
    status = found.rollouts[1]["status"]
    status["decision"] = {"verdict": "Inconclusive", "reason": reason, "message": message}
    status["signals"] = [{"name": "errors", "requestsNeeded": needed}]
    for condition in found.deployments[0]["status"]["conditions"]:
        if condition["type"] == "EvidenceFlowing":
            condition["status"] = "True"
    return explain(found, "models", "fraud", None, story.clock.now() + timedelta(minutes=1))


WAITING = [
    pytest.param(
        "StableInIncident",
        "Both break the objective.",
        "the next weight of 50 % is not earned: both break the objective.",
        "The stable version breaks the same objective: cure the incident first.",
        id="an incident of both",
    ),
    pytest.param(
        "MetricsUnavailable",
        "no answer: errors",
        "the next weight of 50 % is not earned: no answer: errors.",
        "See whether the operator reaches Prometheus; its log names the query.",
        id="no answer",
    ),
    pytest.param(
        "EvidenceStale",
        "The last sample of canary is 90 s old, wanted at most 60 s.",
        "the next weight of 50 % is not earned: the last sample of canary is 90 s old",
        "See whether Prometheus still scrapes the gateway; the last sample is old.",
        id="old samples",
    ),
    pytest.param(
        "SignalMissing",
        "objective/fast: no latency histogram yet.",
        "the next weight of 50 % is not earned: objective/fast: no latency histogram yet.",
        "See whether the gateway exports its latency histogram and it is scraped.",
        id="no histogram",
    ),
    pytest.param(
        "NotYetProven",
        "No harm seen.",
        "version 2 must prove itself by about 2,000 more requests before it gets 50 %.",
        "About 2,000 more canary requests earn the next weight.",
        id="too few requests",
    ),
    pytest.param(
        "NewReason",
        "Mercury is in retrograde.",
        "the next weight of 50 % is not earned: mercury is in retrograde.",
        "Committing version 1 again aborts the rollout and returns all requests to it.",
        id="a reason that only a newer operator knows",
    ),
]


@pytest.mark.parametrize(("reason", "message", "answer", "advice"), WAITING)
async def test_what_a_step_waits_for_is_said_with_what_helps(
    reason: str, message: str, answer: str, advice: str
) -> None:
    """The last decision's own words, and what a person can do about it."""
    told = await waiting(reason, message, 2000 if reason == "NotYetProven" else None)

    assert answer in told.answer, told.answer
    assert advice in told.changes, told.changes


ENDED = [
    pytest.param(
        {"outcome": "RolledBack", "reason": "CandidateNotReady"},
        "Version 2 went back to version 1 because it was not ready in time",
        "Its pods say why: kubectl logs -n models -l headgate.dev/revision=0b322b52",
        id="never ready",
    ),
    pytest.param(
        {"outcome": "RolledBack", "reason": "ProgressDeadlineExceeded"},
        "Version 2 went back to version 1 because there was no verdict before the progress",
        "More traffic, a longer progressDeadline or a larger tolerance gives a verdict.",
        id="never decided",
    ),
    pytest.param(
        {"outcome": "RolledBack", "reason": "CandidateLost", "message": "Version 2 has no pod."},
        "Version 2 went back to version 1 because version 2 has no pod",
        'To try version 2 again as it is, change spec.rollout.retry (now "").',
        id="a reason without a sentence of its own",
    ),
]


@pytest.mark.parametrize(("status", "answer", "advice"), ENDED)
async def test_why_a_version_went_back_without_a_breach(
    status: dict[str, Any], answer: str, advice: str
) -> None:
    """No verdict made it go back, so no counts are told."""
    story = await stories.rolled_back()
    found = changed(stories.objects(story), 1, **status)

    told = explain(found, "models", "fraud", None, story.clock.now())

    assert told.answer.startswith(answer), told.answer
    assert advice in told.changes, told.changes


async def test_deployment_that_nobody_looked_at_says_so() -> None:
    """Git has just made it: there is no record, and the operator may not run."""
    story = Story()
    story.commit("1")

    told = explained(story)

    assert told.answer == "The operator has not looked at it yet: is it running?"
    assert told.record is None
    assert told.changes == (
        "The newest spec was not looked at yet; see whether the operator runs.",
    )
    assert plain_text(page(told)).startswith(told.answer)


async def test_inputs_that_drifted_come_with_what_helps() -> None:
    """Rolling back does not change what users send."""
    story = await stories.first("Stable")
    found = stories.objects(story)
    found.deployments[0]["status"]["conditions"].append(
        {"type": "InputsMatchReference", "status": "False", "reason": "InputsDrifted"}
    )

    told = explain(found, "models", "fraud", None, story.clock.now())

    assert "Train on inputs as they are now: rolling back does not change them." in told.changes


async def test_record_of_a_restored_revision_says_where_it_was_proven() -> None:
    """Asked for the rollout itself, it is no first revision that nobody knew."""
    found = explained(await stories.restored(), 1)

    assert found.answer == (
        "Version 1 became the stable one at once: it was proven before, elsewhere."
    )
