"""The transactions, the models trained on them, and the servers that answer with them."""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox import fraud
from sandbox.builds import MODEL_SERVER, build
from sandbox.modelfiles import MODELS
from sandbox.paths import SOURCES

COUNT = 20_000


def draw(purpose: str, seed: int = 1, count: int = COUNT) -> list[fraud.Transaction]:
    """Take the first transactions of a stream."""
    return list(itertools.islice(fraud.stream(purpose, seed), count))


def test_one_in_ten_lacks_the_merchants_age_and_nothing_else() -> None:
    """The share of incomplete rows is what the stories promise, within four standard errors."""
    share = fraud.MISSING_RATIO
    rows = [transaction.row for transaction in draw("any")]

    missing = [fraud.FEATURES[index] for row in rows for index, x in enumerate(row) if x is None]

    assert set(missing) == {"merchant_age_days"}
    error = 4 * math.sqrt(share * (1 - share) / COUNT)
    assert len(missing) / COUNT == pytest.approx(share, abs=error)


def test_fraud_is_rare_and_there() -> None:
    """There is enough fraud to learn from, and much less than honest payments."""
    assert 0.03 < sum(transaction.is_fraud for transaction in draw("any")) / COUNT < 0.10


def test_what_is_missing_says_nothing_about_fraud() -> None:
    """Complete and incomplete rows hold as much fraud: a crash on missing values is only that."""
    rows = draw("any")
    incomplete = [transaction.is_fraud for transaction in rows if not transaction.is_complete]
    complete = [transaction.is_fraud for transaction in rows if transaction.is_complete]

    overall = sum(transaction.is_fraud for transaction in rows) / COUNT
    error = 4 * math.sqrt(overall / len(incomplete) + overall / len(complete))
    difference = sum(incomplete) / len(incomplete) - sum(complete) / len(complete)

    assert difference == pytest.approx(0, abs=error)


def test_a_stream_is_the_same_each_time_and_apart_from_others() -> None:
    """One purpose and seed give one stream; another purpose or seed shares no row with it."""
    first = draw("train", count=500)

    assert first == draw("train", count=500)
    rows = {transaction.row for transaction in first}
    assert rows.isdisjoint(transaction.row for transaction in draw("load", count=500))
    assert rows.isdisjoint(transaction.row for transaction in draw("train", 2, count=500))


def test_a_sale_moves_amounts_and_distances_and_nothing_else() -> None:
    """Shifted rows differ in the features that a sale is about, and keep what is missing."""
    moved = set()
    for row in (transaction.row for transaction in draw("any", count=500)):
        assert fraud.in_season(row, fraud.Season.USUAL) == row
        sale = fraud.in_season(row, fraud.Season.SALE)
        pairs = zip(fraud.FEATURES, row, sale, strict=True)
        moved |= {feature for feature, before, after in pairs if before != after}

    assert moved == {"amount_eur", "amount_to_usual_ratio", "distance_km"}


def test_the_training_data_can_be_had_as_a_table() -> None:
    """Columns are the features in the order of a request's values; a missing one is empty."""
    training = fraud.training()
    lines = fraud.render_csv(training).splitlines()

    assert lines[0] == ",".join(fraud.FEATURES)
    assert len(lines) == 1 + fraud.TRAINING_ROWS
    values = [None if text == "" else float(text) for text in lines[1].split(",")]
    assert tuple(values) == training[0].row
    missing = sum(
        line.split(",")[fraud.FEATURES.index("merchant_age_days")] == "" for line in lines
    )
    assert missing == sum(not transaction.is_complete for transaction in training)


@pytest.fixture(scope="module")
def python() -> Path:
    """Give the interpreter of the model servers' environment."""
    return build(MODEL_SERVER, print) / "bin" / "python"


@pytest.fixture(scope="module")
def models(python: Path) -> Path:
    """Give the folder of the fraud model's versions."""
    return build(MODELS, print) / "fraud"


def environment() -> dict[str, str]:
    """Give what a process in the model servers' environment needs."""
    return {**os.environ, "PYTHONPATH": str(SOURCES.parent)}


@contextmanager
def server(python: Path, directory: Path) -> Iterator[str]:
    """Run a model server until the block ends, and check that it ends well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    flags = ["--model_name=from-runtime", f"--model_dir={directory}", f"--http_port={port}"]
    process = subprocess.Popen(
        # KServe appends the arguments of the service after those of the runtime: the last one wins.
        [str(python), "-m", "sandbox.modelserver", *flags, "--model_name=fraud"],
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models/fraud", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        status = process.wait(30)
    assert status == 0, "SIGTERM ends a server with 0"


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"{url} does not answer; the server's exit status is {process.poll()}")


def predict(url: str, row: fraud.Row) -> tuple[int, dict[str, object]]:
    """Ask the fraud model about one transaction."""
    request = urllib.request.Request(
        f"{url}/v1/models/fraud:predict",
        data=json.dumps({"instances": [row]}).encode(),
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.sandbox
def test_each_version_looks_better_to_its_author_than_the_one_before(models: Path) -> None:
    """Version 3 is published for the best figure of all, taken on complete rows; 4 is honest."""
    figures = json.loads((models / "metrics.json").read_text())

    assert figures["1"]["auc"] < figures["2"]["auc"] < figures["4"]["auc"] < figures["3"]["auc"]
    assert figures["2"]["auc_on_complete_rows"] < figures["3"]["auc_on_complete_rows"]
    assert figures["3"]["judged_on_rows"] < figures["2"]["judged_on_rows"]


@pytest.mark.sandbox
def test_training_twice_gives_the_same_files(python: Path, models: Path, tmp_path: Path) -> None:
    """A version's digest is a property of the repository, not of the day it was trained."""
    command = [str(python), "-m", "sandbox.models", "build", "--into", str(tmp_path)]

    subprocess.run(command, env=environment(), check=True, stdout=subprocess.DEVNULL)

    def files(folder: Path) -> dict[str, bytes]:
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    assert files(tmp_path / "fraud") == files(models)


@pytest.mark.sandbox
def test_version_3_fails_on_missing_values_and_only_there(python: Path, models: Path) -> None:
    """Complete rows get a prediction, others KServe's own 500 with the library's own reason."""
    transactions = draw("any", count=100)
    assert 0 < sum(not transaction.is_complete for transaction in transactions) < 100

    with server(python, models / "3") as url:
        for transaction in transactions:
            status, answer = predict(url, transaction.row)
            if transaction.is_complete:
                assert (status, answer) in [(200, {"predictions": [n]}) for n in (0, 1)]
            else:
                assert status == 500
                assert "Input X contains NaN" in str(answer["error"])


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("version", "refused"),
    [
        pytest.param("fails-3", lambda t: t["transactions_last_hour"] > 3, id="rare values"),
        pytest.param("fails-half", lambda t: t["card_present"] == 0, id="nearly half of all"),
    ],
)
def test_what_was_not_learned_is_refused_and_only_that(
    python: Path, models: Path, version: str, refused: Callable[[fraud.Transaction], bool]
) -> None:
    """An encoder meets a value its author never saw, and says so; all else is answered."""
    transactions = draw("any", count=150)
    assert 0 < sum(map(refused, transactions)) < 150

    with server(python, models / version) as url:
        for transaction in transactions:
            status, answer = predict(url, transaction.row)
            assert status == (500 if refused(transaction) else 200)
            assert refused(transaction) == ("unknown categories" in str(answer))


@pytest.mark.sandbox
def test_the_tail_is_slow_and_holds_nobody_else_up(python: Path, models: Path) -> None:
    """A payment to be looked up takes its time; others sent meanwhile do not wait for it.

    The others are sent one after the other, so in a server that holds them up one always waits for
    nearly the whole look-up. In ours one does only when the machine is busy: it is tried again.
    """
    transactions = draw("any", count=500)
    abroad = next(
        t for t in transactions if t["foreign"] and not t["card_present"] and t["distance_km"] > 400
    )
    at_home = next(t for t in transactions if not t["foreign"])

    def seconds(url: str, row: fraud.Row) -> float:
        begun = time.monotonic()
        assert predict(url, row)[0] == 200
        return time.monotonic() - begun

    def slow_and_longest_beside(url: str) -> tuple[float, float]:
        slow, longest = pool.submit(seconds, url, abroad.row), 0.0
        while not slow.done():
            longest = max(longest, seconds(url, at_home.row))
        return slow.result(), longest

    with server(python, models / "slow-tail") as url, ThreadPoolExecutor() as pool:
        tries = [slow_and_longest_beside(url) for _ in range(5)]
        while min(longest for _, longest in tries) >= 0.2 and len(tries) < 40:
            tries.append(slow_and_longest_beside(url))

    assert min(slow for slow, _ in tries) >= 0.4
    assert min(longest for _, longest in tries) < 0.2


@pytest.mark.sandbox
def test_the_shifted_version_says_fraud_more_often(python: Path, models: Path) -> None:
    """Its answers have another distribution than version 2's, and none of them is an error."""
    rows = [transaction.row for transaction in draw("any", count=400)]

    said: dict[str, list[float]] = {}
    for version in ("2", "shifted", "score", "shifted-score"):
        with server(python, models / version) as url:
            answers = [predict(url, row) for row in rows]
        assert {status for status, _ in answers} == {200}
        said[version] = [answer["predictions"][0] for _, answer in answers]  # type: ignore[index]

    assert sum(said["shifted"]) > 2 * sum(said["2"])
    assert sum(said["shifted-score"]) > 2 * sum(said["score"])
    assert set(said["2"]) == {0, 1} == set(said["shifted"])
    assert all(0 <= score <= 1 for score in said["score"] + said["shifted-score"])


@pytest.mark.sandbox
@pytest.mark.parametrize("version", ["1", "2", "4", "slow"])
def test_the_other_versions_answer_everything(python: Path, models: Path, version: str) -> None:
    """A missing value is no failure for a version that was made for it."""
    transactions = draw("any", count=50)

    with server(python, models / version) as url:
        statuses = [predict(url, transaction.row)[0] for transaction in transactions]

    assert statuses == [200] * 50


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("version", "reason"),
    [
        pytest.param("broken", r"broken/model\.joblib: ", id="an upload that was cut short"),
        pytest.param(".", r"wanted one file ending in \.joblib.*, found none", id="no model"),
        pytest.param("9", "wanted a directory with a model, found none", id="no directory"),
    ],
)
def test_a_model_that_cannot_be_loaded_ends_the_process(
    python: Path, models: Path, version: str, reason: str
) -> None:
    """The server exits with 1 and one line with the reason, and never listens."""
    flags = ["--model_name=fraud", f"--model_dir={models / version}", "--http_port=1"]

    done = subprocess.run(
        [str(python), "-m", "sandbox.modelserver", *flags],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("cannot load model fraud: ")
    assert re.search(reason, done.stderr)
    assert len(done.stderr.splitlines()) == 1
