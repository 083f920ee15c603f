"""`headgate audit replay`: real records come out equal, and each tampered field is named."""

from __future__ import annotations

import copy
import io
import json
from argparse import Namespace
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli import stories
from tests.scenarios.memory import Story

from headgate.cli import audit, exits, main
from headgate.cli.reach import NotFound, Reach
from headgate.cli.replayed import Replayed, replay_all
from headgate.core.revision import record_digest

Record = dict[str, Any]


async def silent() -> Story:
    """Let nobody send a request while version 2 is tried."""
    story = await stories.second("Progressing")
    story.metrics.rate = 0
    await story.run(story.world.options.checkpoint_every)
    return story


async def unmeasured() -> Story:
    """Let Prometheus go away while version 2 is tried, and version 3 be committed then."""
    story = await stories.second("Progressing", 4)
    story.metrics.up = False
    await story.run(timedelta(seconds=10))
    story.commit("3")
    await story.once()
    return story


async def in_its_bake() -> Story:
    """Let version 2 earn all requests, and be watched without a control."""
    story = await stories.second("Baking", 10)
    await story.run(story.world.options.checkpoint_every / 2)
    return story


REAL = [
    pytest.param(lambda: stories.first("Stable"), id="a first revision"),
    pytest.param(lambda: stories.second("Stable"), id="promoted"),
    pytest.param(stories.restored, id="restored in a rebuilt cluster"),
    pytest.param(stories.rolled_back, id="rolled back"),
    pytest.param(lambda: stories.second("Progressing", 15), id="half-way"),
    pytest.param(in_its_bake, id="in its bake"),
    pytest.param(stories.paused, id="paused"),
    pytest.param(silent, id="without traffic"),
    pytest.param(unmeasured, id="without metrics"),
]


@pytest.mark.parametrize("told", REAL)
async def test_real_records_come_out_equal(told: Callable[[], Awaitable[Story]]) -> None:
    """Claim: whatever the operator decided follows from what it wrote down."""
    found = replay_all(stories.objects(await told()).rollouts)

    assert [(one.differences, one.problem) for one in found] == [((), "")] * len(found)
    assert [one.number for one in found] == list(range(1, len(found) + 1))


# --- tampering -----------------------------------------------------------------------------------


@cache
def _stored() -> str:
    """The records of a rollback, as text: a story takes a second."""
    import asyncio

    with asyncio.Runner() as runner:
        story = runner.run(stories.rolled_back())
    return json.dumps(list(stories.objects(story).rollouts))


@pytest.fixture
def records() -> list[Record]:
    """The records of a first revision and of one that was rolled back, free to be changed."""
    found: list[Record] = json.loads(_stored())
    return found


def put(record: Record, path: str, value: Any) -> None:
    """Change a field by its path, such as `status.signals.0.canary.bad`; ABSENT takes it away."""
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place: Any = record
    for key in way:
        place = place[key]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value


ABSENT = object()


def signed(record: Record) -> Record:
    """Write the digest anew, as who tampers with a record can."""
    record["status"]["digest"] = record_digest(record)
    return record


def fields(found: Replayed) -> set[str]:
    """The fields that are named as different."""
    return {one.field for one in found.differences}


BREACH = "canary failed 14 of 100 requests"
TAMPERED = [
    ("status.decision.verdict", "Pass", {"status.decision.verdict"}),
    ("status.decision.signal", "errors", {"status.decision.signal"}),
    ("status.decision.signal", ABSENT, {"status.decision.signal"}),
    ("status.decision.reason", "ErrorsHigher", {"status.decision.reason"}),
    ("status.decision.message", "It was Tuesday.", {"status.decision.message"}),
    ("status.decision.weight", 100, {"status.decision.weight"}),
    ("status.signals.0.canary.bad", 0, {"status.signals[errors].canary.bad"}),
    ("status.signals.0.stable.requests", 1, {"status.signals[errors].stable.requests"}),
    ("status.signals.0.evidence", "1", {"status.signals[errors].evidence"}),
    ("status.signals.0.threshold", "100", {"status.signals[errors].threshold"}),
    ("status.signals.0.differencePoints", "0", {"status.signals[errors].differencePoints"}),
    ("status.signals.0.lowestPoints", ABSENT, {"status.signals[errors].lowestPoints"}),
    ("status.signals.0.message", "fine", {"status.signals[errors].message"}),
    ("status.signals.0.requestsNeeded", 7, {"status.signals[errors].requestsNeeded"}),
    ("status.signals.0", ABSENT, {"status.signals[errors]"}),
    ("status.signals.0.placeboRuns", 120, {"status.signals[errors].placeboRuns"}),
    ("status.firstRequestAt", "2026-01-01T00:00:00.000000Z", {"status.firstRequestAt"}),
    (
        "spec.policy.rollout.margin",
        "0.2",
        {"status.evidence.state.settings.margin"},
    ),
    (
        "spec.policy.rollout.confidence",
        "90",
        {"status.evidence.state.settings.alpha"},
    ),
]


@pytest.mark.parametrize(("path", "value", "wanted"), TAMPERED)
def test_the_tampered_field_is_named(
    records: list[Record], path: str, value: Any, wanted: set[str]
) -> None:
    """Claim: even with a digest made anew, the field that does not follow is the one that is
    told, and no other."""
    put(records[1], path, value)
    signed(records[1])

    first, tampered = replay_all(records)

    assert first.is_equal
    assert fields(tampered) == wanted


def test_a_digest_that_was_left_gives_it_away(records: list[Record]) -> None:
    """Claim: who changes what nothing follows from must still write the digest anew."""
    put(records[1], "status.signals.0.query", "vector(1)")

    assert fields(replay_all(records)[1]) == {"status.digest"}


def test_a_digest_made_anew_is_not_what_the_next_record_named(records: list[Record]) -> None:
    """Claim: the chain shows a change in an earlier record that is consistent in itself."""
    put(records[0], "status.message", "nothing happened")
    signed(records[0])

    assert [fields(one) for one in replay_all(records)] == [set(), {"spec.previous.digest"}]


def test_a_record_before_that_is_gone_is_said(records: list[Record]) -> None:
    """Claim: what cannot be checked is no difference, and is not passed over in silence."""
    (found,) = replay_all(records[1:])

    assert found.is_equal
    assert found.notes == ("fraud-0001, the record before it, is not at hand.",)


def changed_state(record: Record, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the stored evidence itself."""
    state = json.loads(record["status"]["evidence"]["state"])
    change(state)
    record["status"]["evidence"]["state"] = json.dumps(state)
    signed(record)


def test_counts_that_were_changed_in_the_evidence_show_in_every_number(
    records: list[Record],
) -> None:
    """Claim: the evidence and what is told of it must tell the same."""

    def fewer(state: dict[str, Any]) -> None:
        stream = state["signals"][0]["stream"]
        stream["closed"]["canary"][1] -= 1

    changed_state(records[1], fewer)

    assert "status.signals[errors].canary.bad" in fields(replay_all(records)[1])
    assert "status.decision.message" in fields(replay_all(records)[1])


def test_rules_that_were_changed_in_the_evidence_are_not_the_policy_s(
    records: list[Record],
) -> None:
    """Claim: evidence judged by another alpha than the rollout began with is found out."""
    changed_state(records[1], lambda state: state["settings"].update(alpha=0.5))

    assert "status.evidence.state.settings.alpha" in fields(replay_all(records)[1])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("status.decision.inputs.control", False, id="no control"),
        pytest.param("status.decision.inputs.staleAfterSeconds", "-1", id="stale at once"),
        pytest.param("status.decision.at", "2026-01-06T00:00:00.000000Z", id="a day later"),
    ],
)
def test_inputs_that_were_changed_lead_elsewhere(
    records: list[Record], path: str, value: Any
) -> None:
    """Claim: what the decision was made from decides it."""
    put(records[1], path, value)

    found = replay_all(records)[1]

    assert "status.decision.verdict" in fields(found) or "status.signals[errors]" in fields(found)


# --- what rests on more than the record ----------------------------------------------------------


@pytest.mark.parametrize("reason", ["MetricsUnavailable", "BudgetSpent", "InputsDrifted"])
def test_a_breach_cannot_be_passed_off_as_something_else(
    records: list[Record], reason: str
) -> None:
    """Claim: the evidence's own breach comes first, so these reasons are no way around it."""
    put(records[1], "status.decision.reason", reason)

    assert "status.decision.reason" in fields(replay_all(records)[1])


async def half_way(reason: str) -> list[Record]:
    """The records of a rollout on its way, the last passed off as a breach for this reason."""
    story = await stories.second("Progressing", 15)
    records = copy.deepcopy(list(stories.objects(story).rollouts))
    put(records[1], "status.decision.verdict", "Breach")
    put(records[1], "status.decision.reason", reason)
    return records


@pytest.mark.parametrize("reason", ["BudgetSpent", "InputsDrifted"])
async def test_a_reason_that_does_not_follow_is_found_out(reason: str) -> None:
    """Claim: a record that holds no spent budget and no drift is no breach for either of them."""
    records = await half_way(reason)

    assert {"status.decision.verdict", "status.decision.reason"} <= fields(replay_all(records)[1])


async def test_a_reason_from_outside_is_named_as_such() -> None:
    """Claim: of a breach by the error budget, recorded by an operator that did not say what was
    left, the numbers are checked, and what it rests on is said."""
    records = await half_way("BudgetSpent")
    put(records[1], "status.decision.inputs.budgets", ABSENT)

    found = replay_all(records)[1]

    assert found.is_equal
    assert found.notes[-1].startswith("BudgetSpent rests on the error budget at that time, which")


NEVER_PROMISED = {"objective": "beauty", "remaining": "0.5", "requests": 1}
NO_COUNT = {"objective": "availability", "remaining": "0.5", "requests": "many"}
UNREADABLE = [
    ("status.evidence.state", ABSENT, "status.evidence.state is missing"),
    ("status.evidence.state", "{}", "status.evidence.state: stored evidence cannot be read"),
    ("status.evidence.state", '{"version":0}', "status.evidence.state: version 0, wanted"),
    ("status.evidence.state", "[" * 100_000, "status.evidence.state: "),
    ("status.decision.inputs", ABSENT, "status.decision.inputs is missing"),
    ("status.decision.inputs.control", "yes", "status.decision cannot be judged anew"),
    ("status.decision.inputs.staleAfterSeconds", "soon", "status.decision cannot be judged anew"),
    ("status.decision.inputs.nextWeight", 1000, "status.decision cannot be judged anew"),
    ("status.decision.inputs.ramp", 7, "status.decision cannot be judged anew"),
    ("status.decision.inputs.budgets", 7, "status.decision cannot be judged anew"),
    ("status.decision.inputs.budgets", [{}], "status.decision cannot be judged anew"),
    ("status.decision.inputs.budgets", [NEVER_PROMISED], "status.decision cannot be judged anew"),
    ("status.decision.inputs.budgets", [NO_COUNT], "status.decision cannot be judged anew"),
    ("status.decision.inputs.driftedInputs", 7, "status.decision cannot be judged anew"),
    ("status.decision.at", "2026-01-05", "status.decision cannot be judged anew"),
    ("status.decision", "Breach", "decision is missing, or not what it should be"),
    ("status.signals", "none", "status.signals is not what it should be"),
    ("status.steps", [1], "status.steps is not what it should be"),
    ("status", "lost", "status is missing"),
    ("spec", ABSENT, "spec is missing"),
    ("spec.policy", ABSENT, "policy is missing"),
    ("spec.policy.rollout.margin", "much", "spec.policy.rollout.margin cannot be read"),
]


@pytest.mark.parametrize(("path", "value", "problem"), UNREADABLE)
def test_what_cannot_be_made_again_is_a_failure_with_its_reason(
    records: list[Record], path: str, value: Any, problem: str
) -> None:
    """Claim: a record without what its decision was made from proves nothing, whoever wrote it."""
    put(records[1], path, value)

    found = {one.name: one for one in replay_all(records)}["fraud-0002"]

    assert not found.is_equal
    assert problem in found.problem


# --- the verb ------------------------------------------------------------------------------------


def written(path: Path, value: Any, as_json: bool = False) -> str:
    """Write a file of records, and name it."""
    text = json.dumps(value) if as_json else yaml.safe_dump(value, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return str(path)


def replayed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the verb: exit code, standard output, standard error."""
    code = main(["audit", "replay", *words])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("listed", [False, True])
def test_a_file_is_enough(
    records: list[Record],
    as_json: bool,
    listed: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Claim: what kubectl prints, one record or a list, is replayed without a cluster."""
    value = {"kind": "List", "items": records} if listed else records[1]
    code, out, err = replayed(capsys, "--file", written(tmp_path / "r", value, as_json))

    assert (code, err) == (exits.OK, "")
    assert out.splitlines()[-1 if listed else 0] == (
        "fraud-0002: Breach ObjectiveBroken (version 2): equal"
    )


def test_moments_without_quotes_stay_as_they_are(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: a tool that writes moments without quotes changes no digest."""
    text = yaml.safe_dump_all(records).replace("'2026", "2026").replace("Z'", "Z")
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")

    assert replayed(capsys, "--file", str(tmp_path / "r.yaml"))[0] == exits.OK


def test_the_difference_is_printed(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: field, what is recorded, what follows; and the exit code is 1."""
    put(records[1], "status.decision.verdict", "Pass\u001b[31m")
    signed(records[1])
    code, out, _ = replayed(capsys, "--file", written(tmp_path / "r", records[1], True))

    assert code == exits.FAILED
    assert "NOT equal" in out
    assert "  status.decision.verdict: recorded Pass [31m, recomputed Breach\n" in out


def test_json_has_the_documented_shape(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: scripts may rely on these keys."""
    put(records[1], "status.decision.verdict", "Pass")
    path = written(tmp_path / "r", {"kind": "List", "items": records})
    code, out, _ = replayed(capsys, "--file", path, "--rollout", "2", "-o", "json")
    told: Mapping[str, Any] = json.loads(out)

    assert code == exits.FAILED
    assert (told["schema"], told["equal"]) == ("headgate.dev/audit/v1", False)
    (record,) = told["records"]
    assert set(record) == {
        *("name", "number", "decision", "equal", "problem", "differences", "notes")
    }
    assert {
        "field": "status.decision.verdict",
        "recorded": "Pass",
        "recomputed": "Breach",
    } in record["differences"]


def test_standard_input_is_a_file(
    records: list[Record], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: `kubectl get mro -o yaml | headgate audit replay --file -`."""
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump_all(records)))

    assert replayed(capsys, "--file", "-")[0] == exits.OK


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param(None, "No such file or directory", id="no file"),
        pytest.param("", "wanted a ModelRollout, found none", id="empty"),
        pytest.param("kind: Pod", "wanted a ModelRollout, found none", id="another kind"),
        pytest.param("a: [", "neither YAML nor JSON", id="no YAML"),
        pytest.param("!!python/object/apply:os.getcwd []", "neither YAML nor JSON", id="code"),
        pytest.param("[" * 5000, "neither YAML nor JSON", id="too deep"),
    ],
)
def test_a_file_without_records_is_a_failure(
    text: str | None, wanted: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: one line that says what was wanted, and nothing in the file is run."""
    path = tmp_path / "r.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    code, out, err = replayed(capsys, "--file", str(path))

    assert (code, out) == (exits.FAILED, "")
    assert wanted in err
    assert err.count("\n") == 1


def test_another_number_is_not_found(
    records: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: --rollout chooses among those that are there."""
    path = written(tmp_path / "r", records[1])

    assert replayed(capsys, "--file", path, "--rollout", "9") == (
        exits.NOT_FOUND,
        "",
        "headgate audit: no rollout 9 among 1 records\n",
    )


@pytest.mark.parametrize("words", [[], ["fraud", "--file", "r.yaml"]])
def test_either_a_name_or_a_file(words: list[str]) -> None:
    """Claim: neither, and both, are wrong usage."""
    with pytest.raises(SystemExit) as ended:
        main(["audit", "replay", *words])

    assert ended.value.code == exits.USAGE


def called(**changes: Any) -> Namespace:
    """Return the arguments of `headgate audit replay fraud`, changed."""
    usual = {"name": "fraud", "output": "text", "rollout": None, "file": None}
    return Namespace(**{**usual, **changes})


async def test_a_name_is_looked_up_in_the_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: all records that remain are replayed, also when the deployment is gone."""
    story = await stories.rolled_back()
    story.cluster.objects.pop(("ModelDeployment", "models", "fraud"))

    code = await audit._of_cluster(Reach(story.cluster, "models"), called())

    assert code == exits.OK
    assert capsys.readouterr().out == (
        "fraud-0001: Pass Passed (version 1): equal\n"
        "fraud-0002: Breach ObjectiveBroken (version 2): equal\n"
    )


async def test_a_name_that_is_not_there_is_not_found() -> None:
    """Claim: a near name is offered."""
    story = await stories.rolled_back()

    with pytest.raises(NotFound, match="did you mean fraud"):
        await audit._of_cluster(Reach(story.cluster, "models"), called(name="fruad"))
