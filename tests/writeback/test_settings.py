"""What may be set of the write-back, and how the verb ends when it cannot start."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from tests.writeback.test_apiserver import rules

from headgate.cli import exits, main
from headgate.core.writeback.reasons import State, Why
from headgate.writeback.settings import SETTINGS, SettingError, Settings, read

DOCS = (Path(__file__).parents[2] / "docs" / "writeback.md").read_text()


def test_a_flag_wins_over_its_variable() -> None:
    """And a variable over the default; an empty one counts as absent."""
    environ = {
        "HEADGATE_WRITEBACK_HOSTS": "github.com, ci.example.com:8443",
        "HEADGATE_WRITEBACK_INTERVAL": "2m",
        "HEADGATE_WRITEBACK_KEEP": "",
    }

    settings = read({"interval": "5s"}, environ)

    assert settings.hosts == ("github.com:443", "ci.example.com:8443")
    assert (settings.interval, settings.keep) == (timedelta(seconds=5), timedelta(days=90))
    assert read({}, {}) == Settings()


WRONG = [
    pytest.param("interval", "0s", "a time from 1s to 1h", id="no time"),
    pytest.param("hosts", "https://github.com", "hosts, each with its port", id="an address"),
    pytest.param("hosts", "", "hosts, each with its port", id="an empty list by flag"),
    pytest.param("namespace", "Headgate", "the name of a namespace", id="a namespace"),
    pytest.param("http_port", "70000", "a port", id="a port"),
    pytest.param("log_format", "xml", "one of json, text", id="a format"),
]


@pytest.mark.parametrize(("name", "value", "wanted"), WRONG)
def test_a_wrong_value_is_named_with_what_was_wanted(name: str, value: str, wanted: str) -> None:
    """Flag, wanted, found in one line."""
    flag = "--" + name.replace("_", "-")
    with pytest.raises(SettingError, match=re.escape(f"{flag}: wanted {wanted}")):
        read({name: value}, {})


def test_a_variable_that_names_no_setting_is_refused() -> None:
    """A typing error does not leave a setting at its default in silence."""
    with pytest.raises(SettingError, match="HEADGATE_WRITEBACK_HOST: wanted one of"):
        read({}, {"HEADGATE_WRITEBACK_HOST": "github.com"})


def test_every_setting_is_documented() -> None:
    """docs/writeback.md names each flag."""
    assert [s.flag for s in SETTINGS if f"`{s.flag}`" not in DOCS] == []


def test_every_reason_is_documented() -> None:
    """Whoever reads a reason finds it in docs/writeback.md, and so every state."""
    assert [word.value for word in (*State, *Why) if f"`{word.value}`" not in DOCS] == []


def test_the_rights_in_the_documentation_are_those_of_the_manifests() -> None:
    """The table in docs/writeback.md is what the overlay grants."""
    table = re.findall(r"^\| [^|]+ \| ([a-z.]*) ?\| ([a-z/, ]+) \| ([a-z, ]+) \|$", DOCS, re.M)
    found = {
        (group, resource): set(verbs.split(", "))
        for group, resources, verbs in table
        if verbs != "verbs"
        for resource in resources.split(", ")
    }
    assert found == rules()


def test_the_verb_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Outside a pod its own namespace is not known; a file that is not there is named."""
    for arguments, words in (
        (["--kubeconfig", str(tmp_path / "none")], "--kubeconfig: wanted a file"),
        ([], "--namespace: wanted our own namespace"),
        (["--interval", "1w"], "--interval: wanted a time"),
    ):
        assert main(["writeback", *arguments]) == exits.USAGE
        assert words in capsys.readouterr().err
