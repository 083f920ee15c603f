"""`headgate profile`: what it makes of a file, what it refuses, and what it says of other data."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from headgate.cli import exits, main
from headgate.cli.dataset import open_rows, read_columns
from headgate.cli.profile import DIGEST_ANNOTATION, KEY
from headgate.core.drift.profile import Profile, digest, parse

Write = Callable[..., Path]


def rows(count: int, seed: int, shift: float = 0.0) -> list[str]:
    """Lines of users with an amount, a country, a flag and a score."""
    chance = random.Random(seed)
    return [
        f"u{row // 3},{chance.gauss(50 + 10 * shift, 10):.2f},"
        f"{chance.choice(['DE', 'DE', 'FR'])},{chance.choice(['True', 'False'])},"
        f"{chance.random():.3f}"
        for row in range(count)
    ]


HEADER = "user,amount,country,new,score"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write lines to a file."""

    def lines(*text: str, name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in text), encoding="utf-8")
        return path

    return lines


def profile(*words: object) -> int:
    """Run the verb."""
    return main(["profile", *map(str, words)])


def built(*words: object) -> Profile:
    """Build into a file beside the data and read it."""
    path = Path(str(words[0])).with_suffix(".json")
    assert profile("build", *words, "-o", path) == exits.OK
    return parse(path.read_text(encoding="utf-8"))


def test_a_profile_is_printed_and_told(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: the profile goes to standard output; its digest and the rows to standard error."""
    data = write(HEADER, *rows(1500, 1))

    assert profile("build", data, "--predictions", "score", "--leave-out", "user") == exits.OK
    printed = capsys.readouterr()
    made = parse(printed.out)
    assert [feature.name for feature in made.features] == ["amount", "country", "new"]
    assert made.predictions is not None
    assert printed.err == f"{digest(made)}  3 features of 1,500 rows\n"


def test_flags_are_named_as_json_does(write: Write) -> None:
    """Claim: Python's True in a file is the category that a request's true falls into."""
    made = built(write(HEADER, *rows(200, 1)), "--columns", "new")

    assert sorted(made.features[0].categories) == ["false", "true"]


def test_columns_have_an_order_and_other_names(write: Write) -> None:
    """Claim: --columns gives the model's order, --name-as the names in requests."""
    data = write("b,a,zip", "1,2,01234", "3,4,99999")
    made = built(data, "--columns", "a,zip,b", "--categories", "zip", "--name-as", "a=amount_eur")

    assert [feature.name for feature in made.features] == ["amount_eur", "zip", "b"]
    assert made.features[1].categories == ("01234", "99999")


def test_rows_of_a_user_count_for_less(write: Write) -> None:
    """Claim: the column of users is no feature, and equal rows give their design effect."""
    lines = [f"u{row // 4},{row // 4 * 7919 % 1000}" for row in range(2000)]
    made = built(write("user,amount", *lines), "--design-effect-by", "user")

    assert [feature.name for feature in made.features] == ["amount"]
    assert made.features[0].design_effect == pytest.approx(4.0, rel=0.1)


def test_a_byte_order_mark_quotes_and_gaps_are_understood(write: Write) -> None:
    """Claim: a file of a spreadsheet reads as it looks: empty numbers are missing."""
    data = write('﻿amount,"land, in words"', '1,"a ""b"", c"', ",x", "NaN,x", "", "4,x")
    made = built(data)

    assert [feature.name for feature in made.features] == ["amount", "land, in words"]
    assert made.features[0].missing == 0.5
    assert made.features[1].categories == ("x", 'a "b", c')


@pytest.mark.parametrize(
    ("lines", "words", "message"),
    [
        pytest.param([], [], "line 1: wanted a header, found nothing", id="an empty file"),
        pytest.param(["a,b"], [], "rows: wanted at least 1, found 0", id="no rows"),
        pytest.param(
            ["a,a", "1,2"], [], "line 1: wanted each column once, found a twice", id="twice"
        ),
        pytest.param(
            ["a,", "1,2"], [], "line 1: wanted a name for column 2, found none", id="unnamed"
        ),
        pytest.param(
            ["a,b", "1,2", "3"], [], "line 3: wanted 2 fields, found 1", id="a short line"
        ),
        pytest.param(
            ["a,b", "1,2", "x,4"],
            [],
            "line 3, column a: wanted a number, found 'x'; if these are categories: --categories a",
            id="a word among numbers",
        ),
        pytest.param(["a", '"1'], [], "line 2: unexpected end of data", id="an open quote"),
        pytest.param(
            ["a,b", "1,2"],
            ["--predictions", "score"],
            "line 1: wanted a column score, found a, b",
            id="no such column",
        ),
        pytest.param(
            ["a,b", "1,2"],
            ["--predictions", "a", "--columns", "a,b"],
            "--columns: wanted each column in one role, found a in two",
            id="two roles",
        ),
        pytest.param(
            ["a,b", "1,", "2,"],
            ["--categories", "b"],
            "b: wanted a category in at least one row, found none",
            id="an empty column",
        ),
        pytest.param(
            ["a", "1"],
            ["--configmap", "Not A Name"],
            "--configmap: wanted a name of Kubernetes, found Not A Name",
            id="no name for a ConfigMap",
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    write: Write,
    capsys: pytest.CaptureFixture[str],
    lines: list[str],
    words: list[str],
    message: str,
) -> None:
    """Claim: exit code 2, nothing on standard output, and line and column on standard error."""
    assert profile("build", write(*lines), *words) == exits.USAGE
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"headgate profile build: {message}\n"


def test_other_encodings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: what is not UTF-8 is refused rather than guessed."""
    data = tmp_path / "latin.csv"
    data.write_bytes("a\nÄ\n".encode("latin-1"))

    assert profile("build", data) == exits.USAGE
    assert "wanted UTF-8" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Claim: for all sub-verbs, in one line."""
    assert profile("build", "nowhere.csv") == exits.USAGE
    assert profile("show", "nowhere.json") == exits.FAILED
    assert capsys.readouterr().err.count("nowhere") == 2


def test_a_configmap_is_ready_to_apply(write: Write, tmp_path: Path) -> None:
    """Claim: it holds the very profile, with its digest, and `show` reads it as well."""
    path = tmp_path / "configmap.yaml"
    data = write(HEADER, *rows(300, 1))
    words = ["--configmap", "fraud-profile", "-n", "models", "-o", path]

    assert profile("build", data, *words) == exits.OK
    manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
    made = parse(manifest["data"][KEY])
    assert manifest["kind"] == "ConfigMap"
    assert manifest["metadata"] == {
        "name": "fraud-profile",
        "namespace": "models",
        "annotations": {DIGEST_ANNOTATION: digest(made)},
    }
    assert profile("show", path) == exits.OK


def test_a_profile_is_shown_without_a_terminals_commands(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: one line a feature with what it can show."""
    path = write(HEADER, *rows(2000, 1)).with_suffix(".json")
    assert profile("build", path.with_suffix(".csv"), "--predictions", "score", "-o", path) == 0
    capsys.readouterr()

    assert profile("show", path) == exits.OK
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith("2,000 rows")
    assert [line.split()[0] for line in shown[2:]] == ["user", "amount", "country", "new", "score"]
    assert "\x1b" not in "".join(shown)


@pytest.mark.parametrize("text", ["{}", "kind: ConfigMap", "a: [", "\x00"])
def test_what_is_no_profile_is_refused(write: Write, text: str) -> None:
    """Claim: neither other JSON, nor other YAML, nor rubbish is taken for a profile."""
    assert profile("show", write(text, name="p.json")) == exits.USAGE


def test_the_same_kind_of_data_shows_no_drift(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: exit code 0, and nothing is blamed."""
    made = write(HEADER, *rows(3000, 1)).with_suffix(".json")
    profile("build", made.with_suffix(".csv"), "--leave-out", "user", "-o", made)
    later = write(HEADER, *rows(2000, 2), name="later.csv")
    capsys.readouterr()

    assert profile("check", made, later) == exits.OK
    assert capsys.readouterr().out.startswith("no drift shown: evidence 0.0")


def test_a_shift_is_a_drift_since_its_first_rows(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: exit code 1; the report names the feature, the change and about where it began."""
    made = write(HEADER, *rows(3000, 1)).with_suffix(".json")
    profile("build", made.with_suffix(".csv"), "--leave-out", "user", "-o", made)
    later = write(HEADER, *rows(1000, 2), *rows(1000, 3, shift=1.0), name="later.csv")
    capsys.readouterr()

    assert profile("check", made, later, "-o", "json") == exits.FAILED
    report = json.loads(capsys.readouterr().out)
    first = report["drifts"][0]
    assert report["drift"] is True
    assert first["feature"] == "amount"
    assert first["change"].startswith("higher")
    assert 8 <= first["since"] <= 12


def test_data_without_a_features_column_is_refused(write: Write) -> None:
    """Claim: a renamed column is a mistake of the file, not a drift."""
    made = write("a,b", "1,2", "3,4").with_suffix(".json")
    profile("build", made.with_suffix(".csv"), "-o", made)

    assert profile("check", made, write("a,c", "1,2", name="other.csv")) == exits.USAGE


def test_a_long_file_is_thinned_evenly(write: Write) -> None:
    """Claim: memory is bounded; what is kept has the file's distribution, in its order."""
    source = open_rows(write("x", *map(str, range(20_000))))
    data = read_columns(source, ["x"], frozenset(), most=1000)
    values = list(data.columns["x"].values)

    assert data.read == 20_000
    assert 500 <= data.kept == len(values) <= 1000
    assert values == sorted(values)
    assert values[len(values) // 2] == pytest.approx(10_000, rel=0.02)


def test_parquet_gives_the_profile_that_csv_gives(write: Write) -> None:
    """Claim: the same data in both forms has one digest."""
    pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    from pyarrow import csv, parquet

    data = write(HEADER, *rows(500, 1))
    parquet.write_table(csv.read_csv(data), data.with_suffix(".parquet"))

    assert digest(built(data.with_suffix(".parquet"))) == digest(built(data))


def test_parquet_that_is_none_or_has_odd_columns_is_refused(tmp_path: Path) -> None:
    """Claim: a wrong file and a column of moments end with exit code 2."""
    pa = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
    from pyarrow import parquet

    rubbish, moments = tmp_path / "rubbish.parquet", tmp_path / "moments.parquet"
    rubbish.write_bytes(b"PAR0 is no Parquet")
    parquet.write_table(pa.table({"at": pa.array([0, 1], pa.timestamp("s"))}), moments)

    assert profile("build", rubbish) == exits.USAGE
    assert profile("build", moments) == exits.USAGE


def test_parquet_without_its_reader_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claim: the message names the extra and the way around it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert profile("build", tmp_path / "data.parquet") == exits.FAILED
    assert "pip install 'headgate[parquet]', or write CSV" in capsys.readouterr().err
