"""Settings of the collector, and the command that reads them."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from headgate.cli import exits, main
from headgate.collector.settings import SETTINGS, SettingError, Settings, add_arguments, read

ROOT = Path(__file__).parents[2]


def chosen(*words: str, **environ: str) -> Settings:
    """The settings of a command line and an environment."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read(vars(parser.parse_args(words)), environ)


def test_every_setting_has_a_flag_a_variable_and_a_place_in_the_documentation() -> None:
    """docs/collector.md has a row for each, with its default."""
    page = (ROOT / "docs" / "collector.md").read_text()

    assert {setting.name for setting in SETTINGS} == set(Settings.__dataclass_fields__)
    for setting in SETTINGS:
        assert f"| `{setting.flag}` | `{setting.variable}` | `{setting.default}` |" in page


def test_a_flag_wins_over_its_variable() -> None:
    """Flag, then variable, then default; an empty variable is no value."""
    assert chosen("--queue", "4", HEADGATE_COLLECTOR_QUEUE="8").queue == 4
    assert chosen(HEADGATE_COLLECTOR_QUEUE="8", HEADGATE_COLLECTOR_PORT="").queue == 8
    assert chosen(HEADGATE_WORKERS="many") == Settings()
    assert chosen("-n", "a, b,a").namespaces == ("a", "b")
    assert chosen("--kubeconfig", "x").kubeconfig == Path("x")


@pytest.mark.parametrize(
    ("words", "environ", "message"),
    [
        pytest.param(
            ["--port", "http"],
            {},
            "--port: wanted a port, 0 for a free one, found 'http'",
            id="a word for a port",
        ),
        pytest.param(
            [],
            {"HEADGATE_COLLECTOR_PORT": "tcp://10.0.0.7:8080"},
            "HEADGATE_COLLECTOR_PORT: wanted a port, 0 for a free one, found 'tcp://10.0.0.7:8080'",
            id="what a kubelet sets for a Service of that name",
        ),
        pytest.param(
            ["--max-body", "100000000"],
            {},
            "--max-body: wanted bytes, 1024 to 16777216, found '100000000'",
            id="a body that would fill the memory",
        ),
        pytest.param(
            ["-n", "Models"],
            {},
            "--namespaces: wanted names of namespaces, commas between them, found 'Models'",
            id="a name that cannot be a namespace",
        ),
        pytest.param(
            ["--log-level", "trace"],
            {},
            "--log-level: wanted one of debug, info, warning, error, found 'trace'",
            id="an unknown level",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    words: list[str], environ: dict[str, str], message: str
) -> None:
    """The message names the flag or variable, what was wanted and what was found."""
    with pytest.raises(SettingError) as refused:
        chosen(*words, **environ)
    assert str(refused.value) == message


def test_a_typing_error_in_a_variable_is_refused() -> None:
    """A variable with our prefix that names no setting would otherwise be silent."""
    with pytest.raises(SettingError, match=r"^HEADGATE_COLLECTOR_QUEU: wanted one of "):
        chosen(HEADGATE_COLLECTOR_QUEU="8")


def test_the_operators_variable_is_no_setting_of_ours() -> None:
    """An environment that operator and collector share ends neither of them."""
    assert chosen(HEADGATE_COLLECTOR_URL="http://headgate-collector") == chosen()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--queue", "0"], id="a value"),
        pytest.param(["--kubeconfig", "/nowhere/at/all"], id="a file that is not there"),
    ],
)
def test_wrong_usage_ends_with_its_exit_code(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on standard error, and 2."""
    assert main(["collector", *words]) == exits.USAGE
    assert capsys.readouterr().err.startswith(f"headgate collector: {words[0]}: wanted ")
