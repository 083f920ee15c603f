"""`headgate simulate`: what it prints, what it refuses, and that a run can be taken up again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from headgate.cli import exits, main

MANIFEST = """\
apiVersion: headgate.dev/v1alpha1
kind: ModelDeployment
metadata: {name: fraud}
spec:
  model: {version: "7"}
  template: {spec: {predictor: {model: {modelFormat: {name: sklearn}}}}}
  traffic: {gateway: {name: public}, hostnames: [fraud.example.com]}
  rollout:
    steps: [{weight: 10, hold: 1m}, {weight: 50, hold: 1m}]
    bake: 2m
---
kind: Another
"""
GOLDEN = Path(__file__).parent / "timeline.txt"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints when all is well."""
    code = main(["simulate", *words])
    said = capsys.readouterr()

    assert (code, said.err) == (exits.OK, "")
    return said.out


def records(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    """The records it prints, one a line."""
    return [json.loads(line) for line in run(capsys, *words, "-o", "json").splitlines()]


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    """A manifest of its own steps."""
    path = tmp_path / "fraud.yaml"
    path.write_text(MANIFEST)
    return str(path)


# --- what it prints ------------------------------------------------------------------------------


def test_the_timeline_is_readable(capsys: pytest.CaptureFixture[str], manifest: str) -> None:
    """Golden: seed 0, five points of harm in the second step; write timeline.txt anew with
    `headgate simulate` and these words when a sentence changes."""
    words = ("--harm", "5", "--onset", "90s", "--compare", "flagger:tuned")

    assert run(capsys, manifest, *words) == GOLDEN.read_text()


def test_a_healthy_canary_is_promoted_by_its_own_manifest(
    capsys: pytest.CaptureFixture[str], manifest: str
) -> None:
    """Claim: steps, holds and bake are the manifest's, whatever else is in the file."""
    (found,) = records(capsys, manifest)

    assert found["steps"] == [
        {"weight": 10, "holdSeconds": 60.0},
        {"weight": 50, "holdSeconds": 60.0},
    ]
    assert found["run"]["ending"] == "promoted"
    assert found["run"]["endedAtSecond"] == found["run"]["fullAtSecond"] + 120


def test_one_record_for_each_rule_and_cell(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: lists span a grid, every rule runs in every cell, and a record says what it is of."""
    found = records(
        capsys,
        *("--weight", "10", "--duration", "5m", "--rate", "20,50", "--harm", "0,20"),
        *("--rule", "headgate,argo:tuned", "--compare", "argo:tuned,kayenta", "--repeat", "2"),
    )

    assert {one["schema"] for one in found} == {"headgate.dev/simulation/v1"}
    assert [(one["cell"]["rate"], one["cell"]["harm"]) for one in found[::3]] == [
        ("20", "0"),
        ("20", "20"),
        ("50", "0"),
        ("50", "20"),
    ]
    assert [(one["rule"], one["tuning"]) for one in found] == [
        ("headgate", ""),
        ("argo", "tuned"),
        ("kayenta", ""),
    ] * 4
    assert {one["summary"]["runs"] for one in found} == {2}
    assert {one["run"] for one in found} == {None}


def test_repeating_once_is_the_single_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Law: a summary of one says what its run says, and run n of many is the run of seed n."""
    words = ("--weight", "10", "--harm", "5", "--duration", "5m")
    single = [records(capsys, *words, "--seed", str(seed))[0] for seed in range(3)]
    (once,) = records(capsys, *words, "--repeat", "1")
    (thrice,) = records(capsys, *words, "--repeat", "3")

    assert once == single[0]
    assert once["summary"]["delayMedian"]["seconds"] == once["run"]["endedAtSecond"]
    caused = [one["run"]["caused"] for one in single]
    assert thrice["summary"]["caused"]["value"] == pytest.approx(sum(caused) / 3)


def test_many_runs_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: one row a rule, with standard errors."""
    said = run(
        capsys, "--weight", "20", "--harm", "20", "--duration", "5m", "--repeat", "4", "--compare",
        "flagger",
    )  # fmt: skip
    head, *rows = [line for line in said.splitlines()[1:] if line]

    assert head.split()[:3] == ["rule", "false", "rollback"]
    assert [row.split()[0] for row in rows] == ["headgate", "flagger"]
    assert "100 % ±" in rows[0]
    assert "±" in rows[0].split("detected")[0]


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (("--margin", "1"), "marginPoints", 1.0),
        (("--tolerance", "2"), "tolerancePoints", 2.0),
        (("--confidence", "95"), "confidencePercent", 95.0),
        (("--interval", "30s"), "intervalSeconds", 30.0),
    ],
)
def test_the_policy_can_be_tried_out(
    capsys: pytest.CaptureFixture[str], words: Sequence[str], field: str, value: float
) -> None:
    """Claim: an option replaces the manifest's field, in the API's own units."""
    (found,) = records(capsys, *words, "--duration", "2m")

    assert found["policy"][field] == value


def test_every_kind_of_trouble_can_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: all parameters work together."""
    (found,) = records(
        capsys,
        *("--weight", "25", "--duration", "2m", "--dispersion", "0.5", "--correlation", "always"),
        *("--pods", "4", "--canary-pods", "2", "--incidents", "20", "--latency", "50ms"),
        *("--slower", "2", "--tail", "5", "--tail-latency", "3s", "--signals", "2"),
        *("--scrape", "5s", "--skew", "2s", "--onset", "20s", "--seed", "7"),
    )

    assert found["run"]["ending"] == "rolled back"
    assert found["run"]["blamed"] == "latency"
    assert (found["seed"], found["cell"]["tailLatency"]) == (7, "3s")


def test_quiet_signals_have_their_part_of_the_proof(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: a weight is earned only once every signal has earned it, so more of them take longer,
    and harm to the errors is blamed on the errors."""
    words = ("--weight", "10", "--repeat", "6")
    alone, many = (
        records(capsys, *words, "--signals", n)[0]["summary"]["earnedMedian"]["seconds"]
        for n in ("0", "10")
    )
    (harmed,) = records(capsys, "--weight", "10", "--harm", "10", "--signals", "10")

    assert many > alone
    assert harmed["run"]["blamed"] == "errors"


def test_an_objective_on_latency_brings_latency(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Claim: a manifest that watches latency is simulated with it, unless it is left out."""
    path = tmp_path / "fast.yaml"
    objective = "  objectives: [{name: fast, target: '90', latency: {threshold: 250ms}}]\n---\n"
    path.write_text(MANIFEST.replace("---\n", objective))

    assert records(capsys, str(path))[0]["run"]["ending"] == "promoted"
    (without,) = records(capsys, str(path), "--latency", "none", "--duration", "10m")
    assert without["run"]["ending"] == "undecided"
    assert without["run"]["events"][-1]["verdict"] == "Inconclusive/SignalMissing"


# --- recordings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["csv", "prometheus"])
@pytest.mark.parametrize("harm", ["0", "5"])
def test_what_was_exported_ends_the_same_when_replayed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, manifest: str, option: str, harm: str
) -> None:
    """Law: simulate, export, replay: the same timeline to the second and the same counts."""
    path = str(tmp_path / {"csv": "a.csv", "prometheus": "a.json"}[option])
    words = (manifest, "--latency", "100ms", "--signals", "1")
    (before,) = records(capsys, *words, "--harm", harm, "--onset", "90s", "--export", path)
    (after,) = records(capsys, manifest, f"--{option}", path)

    assert after["run"] == {**before["run"], "caused": 0}
    assert after["recording"] == path


def test_a_recorded_canary_can_be_left_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, manifest: str
) -> None:
    """Claim: stable's requests are then split, harm can be tried on them, and runs differ by their
    seed."""
    path = str(tmp_path / "a.csv")
    run(capsys, "--weight", "10", "--duration", "20m", "--export", path)
    words = (manifest, "--csv", path, "--split", "--harm", "20", "--repeat", "5")
    (found,) = records(capsys, *words, "--compare", "")

    assert found["summary"]["detection"]["share"] == 1.0
    assert found["summary"]["caused"]["value"] > 0


def test_a_recording_of_one_gateway_by_labels(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Claim: arms are chosen by a label of the export."""
    values = [[1767225600 + 10 * n, str(n * 100)] for n in range(90)]
    bad = [[at, str(int(value) // 2)] for at, value in values]
    result = [
        {"metric": {"cluster": cluster, "code": code}, "values": counted}
        for cluster, code, counted in (
            ("a", "200", values),
            ("b", "200", values),
            ("b", "503", bad),
            ("c", "503", bad),
        )
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(result))
    (found,) = records(
        capsys, "--prometheus", str(path), "--stable", "cluster=a", "--canary", "cluster=b"
    )

    assert (found["run"]["ending"], found["run"]["blamed"]) == ("rolled back", "errors")


# --- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("--rate", "x"), "--rate: wanted a number from 0 to", id="no number"),
        pytest.param(("--rate", "1,"), "--rate: wanted a number", id="an empty value"),
        pytest.param(("--rate", "nan"), "--rate: wanted a number", id="not a number"),
        pytest.param(
            ("--weight", "0"), "--weight: wanted a whole number from 1 to 99", id="weight"
        ),
        pytest.param(("--weight", "5.5"), "--weight: wanted a whole number", id="half a percent"),
        pytest.param(("--base-error", "100"), "(percent), found '100'", id="all fail anyway"),
        pytest.param(("--harm", "101"), "--harm: wanted a number from 0 to 100", id="harm"),
        pytest.param(("--onset", "10"), "--onset: wanted a duration", id="no unit"),
        pytest.param(("--scrape", "1500ms"), "in whole seconds", id="part of a second"),
        pytest.param(("--pod-history", "1m"), "from 10m to 24h, or none", id="pod history"),
        pytest.param(("--correlation", "never"), "or always, found 'never'", id="correlation"),
        pytest.param(("--duration", "1s"), "--duration: wanted a duration from 10s", id="short"),
        pytest.param(("--margin", "x"), "spec.rollout.margin: wanted", id="margin"),
        pytest.param(("--interval", "1h"), "spec.rollout.interval: wanted", id="interval"),
        pytest.param(("--repeat", "0"), "--repeat: wanted a whole number from 1", id="no run"),
        pytest.param(("--repeat", "-1"), "--repeat: wanted a whole number", id="fewer"),
        pytest.param(("--seed", "x"), "--seed: wanted a whole number from 0", id="seed"),
        pytest.param(("--rule", "spinnaker"), "--rule: wanted one of headgate, flag", id="rule"),
        pytest.param(("--rule", ","), "--rule: wanted at least one rule", id="no rule"),
        pytest.param(("--compare", "argo:x"), "--compare: wanted one of", id="tuning"),
        pytest.param(("--export", "a.txt", "--duration", "10s"), "ending in .csv or", id="suffix"),
        pytest.param(
            ("--export", "a.csv", "--repeat", "2"), "--export: wanted a single", id="runs"
        ),
        pytest.param(
            ("--export", "/no/a.csv", "--duration", "10s"), "a folder that exists", id="folder"
        ),
        pytest.param(("--split",), "--split: wanted --csv or --prometheus", id="split what"),
        pytest.param(("--csv", "a", "--prometheus", "b"), "wanted one of them", id="both"),
        pytest.param(("--csv", "/no/such"), "/no/such: No such file", id="no recording"),
        pytest.param(("--csv", "a", "--rate", "5"), "--rate: wanted none with", id="made up"),
        pytest.param(("/no/such.yaml",), "/no/such.yaml: No such file", id="no manifest"),
    ],
)
def test_wrong_words_are_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: Sequence[str], said: str
) -> None:
    """Claim: what was wanted and what was found, and nothing on standard output."""
    code = main(["simulate", *words])
    shown = capsys.readouterr()

    assert (code, shown.out) == (exits.USAGE, "")
    assert shown.err.startswith("headgate simulate: ")
    assert said in shown.err
    assert shown.err.count("\n") == 1


def test_an_export_that_cannot_be_written_is_a_failure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Claim: the rollout is told all the same, and the exit code is 1."""
    folder = tmp_path / "a.csv"
    folder.mkdir()

    assert main(["simulate", "--duration", "10s", "--export", str(folder)]) == exits.FAILED
    assert "Is a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: [", "wanted YAML", id="not YAML"),
        pytest.param("kind: Pod\n", "wanted one ModelDeployment, found 0", id="another kind"),
        pytest.param(MANIFEST * 2, "wanted one ModelDeployment, found 2", id="two"),
        pytest.param(
            MANIFEST.replace("weight: 50", "weight: 5"),
            "spec.rollout.steps[1].weight: wanted a weight above 10",
            id="a step down",
        ),
        pytest.param("\x00", "wanted YAML", id="a control character"),
    ],
)
def test_wrong_manifests_name_their_field(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, said: str
) -> None:
    """Claim: a manifest that the operator would refuse is refused here, in the same words."""
    path = tmp_path / "wrong.yaml"
    path.write_text(text)

    assert main(["simulate", str(path)]) == exits.USAGE
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(("--harm", "1"), "--harm: wanted --split with it", id="harm"),
        pytest.param(("--repeat", "2"), "--repeat: wanted 1, as", id="again"),
        pytest.param(("--stable", "arm"), "--stable: wanted LABEL=VALUE", id="no value"),
        pytest.param(("--stable", "a=b"), 'wanted series with a="b" or', id="none"),
    ],
)
def test_a_recorded_canary_is_what_it_was(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: Sequence[str], said: str
) -> None:
    """Claim: nothing is drawn from a recording with a canary, so asking for it is refused."""
    path = tmp_path / "a.json"
    metric = {"arm": "canary", "code": "200"}
    if words[0] == "--stable":
        metric = {"arm": "another", "code": "200"}
    path.write_text(json.dumps([{"metric": metric, "values": [[0, "1"]]}]))

    assert main(["simulate", "--prometheus", str(path), *words]) == exits.USAGE
    assert said in capsys.readouterr().err
