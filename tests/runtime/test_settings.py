"""Settings: where a value comes from, what is refused, and that the documentation is true."""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

import pytest

from headgate.runtime.settings import (
    SettingError,
    Settings,
    add_arguments,
    entries,
    parse_duration,
    read,
    show_duration,
    table,
    told,
)

ROOT = Path(__file__).parents[2]


def parsed(*words: str) -> dict[str, object]:
    """What argparse makes of a command line."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return vars(parser.parse_args(words))


def chosen(*words: str, **environ: str) -> Settings:
    """The settings of a command line and an environment."""
    return read(parsed(*words), environ)  # type: ignore[arg-type]


def test_the_documentation_is_printed_from_the_settings() -> None:
    """docs/settings.md is `python -m headgate.runtime.settings`, word for word."""
    assert (ROOT / "docs" / "settings.md").read_text() == table()


def test_every_setting_has_its_own_names_and_a_sentence() -> None:
    """No two settings share a flag or variable, and each explains itself in a sentence."""
    assert len({entry.flag for entry in entries()}) == len(entries())
    assert all(entry.setting.help.endswith(".") for entry in entries())
    assert [entry.name for entry in entries() if entry.setting.secret] == ["prometheus_header"]


def test_nothing_given_is_the_defaults() -> None:
    """Neither flags nor variables: the defaults, and they say so."""
    assert chosen() == Settings()
    assert told(chosen()) == "all defaults"


def test_a_default_can_be_typed() -> None:
    """Every default that is shown is accepted when it is typed, and means the same."""
    words = [
        word
        for entry in entries()
        if entry.default not in (None, ())
        for word in (entry.flag, entry.shown(entry.default))
    ]
    assert chosen(*words) == Settings()


def test_a_flag_wins_over_its_variable() -> None:
    """Flag, then variable, then default; an empty variable is no value."""
    assert chosen("--workers", "4", HEADGATE_WORKERS="8").workers == 4
    assert chosen(HEADGATE_WORKERS="8").workers == 8
    assert chosen(HEADGATE_WORKERS="").workers == 16


def test_lists_repeat_as_flags_and_take_lines_as_variables() -> None:
    """Namespaces, headers and matchers say the same both ways."""
    by_flag = chosen(
        *("-n", "a", "-n", "b,c"),
        *("--prometheus-header", "X-Scope-OrgID: models, all"),
        *("--prometheus-header", "X-Other: 2"),
        *("--prometheus-matcher", "cluster=eu=1"),
    )
    by_variable = chosen(
        HEADGATE_NAMESPACES="a,b\nc",
        HEADGATE_PROMETHEUS_HEADER="X-Scope-OrgID: models, all\nX-Other: 2",
        HEADGATE_PROMETHEUS_MATCHER="cluster=eu=1",
    )

    assert by_flag == by_variable
    assert by_flag.namespaces == ("a", "b", "c")
    assert by_flag.prometheus_header == (("X-Scope-OrgID", "models, all"), ("X-Other", "2"))
    assert by_flag.prometheus_matcher == (("cluster", "eu=1"),)


def test_a_switch_needs_no_value() -> None:
    """A switch alone means true, and false can be said as well."""
    assert chosen("--track-secrets").track_secrets
    assert not chosen("--track-secrets", "false", HEADGATE_TRACK_SECRETS="true").track_secrets


@pytest.mark.parametrize(
    ("words", "environ", "message"),
    [
        pytest.param(
            ["--workers", "many"],
            {},
            "--workers: wanted a whole number, 1 to 256, found 'many'",
            id="a word for a number",
        ),
        pytest.param(
            [],
            {"HEADGATE_WORKERS": "0"},
            "HEADGATE_WORKERS: wanted a whole number, 1 to 256, found '0'",
            id="a variable out of range is named as a variable",
        ),
        pytest.param(
            ["--resync", "300"],
            {},
            "--resync: wanted a duration such as 30s or 5m, 10s to 1h, found '300'",
            id="a duration without a unit",
        ),
        pytest.param(
            ["--resync", "1s"],
            {},
            "--resync: wanted a duration such as 30s or 5m, 10s to 1h, found '1s'",
            id="a resync that would hammer the API server",
        ),
        pytest.param(
            ["--log-level", "verbose"],
            {},
            "--log-level: wanted one of debug, info, warning, error, found 'verbose'",
            id="an unknown level",
        ),
        pytest.param(
            ["-n", "Models"],
            {},
            "--namespaces: wanted names of namespaces, commas between them, found 'Models'",
            id="a name that cannot be a namespace",
        ),
        pytest.param(
            ["--prometheus-url", "prometheus:9090"],
            {},
            "--prometheus-url: wanted an http or https address without credentials, query and "
            "fragment, found 'prometheus:9090'",
            id="an address without a scheme",
        ),
        pytest.param(
            [],
            {"HEADGATE_TRACK_SECRETS": "maybe"},
            "HEADGATE_TRACK_SECRETS: wanted true or false, found 'maybe'",
            id="an undecided switch",
        ),
        pytest.param(
            [],
            {"HEADGATE_PROMETEUS_URL": "http://x"},
            "HEADGATE_PROMETEUS_URL: wanted one of the variables in docs/settings.md",
            id="a typing error in a variable's name",
        ),
        pytest.param(
            ["--prometheus-user", "u"],
            {},
            "--prometheus-user, --prometheus-password-file: wanted both or none, found one",
            id="a user without a password",
        ),
        pytest.param(
            [
                *("--prometheus-user", "u", "--prometheus-password-file", "p"),
                *("--prometheus-bearer-token-file", "t"),
            ],
            {},
            "--prometheus-user, --prometheus-bearer-token-file: wanted one of them, found both",
            id="two ways to log in",
        ),
        pytest.param(
            ["--prometheus-key-file", "k"],
            {},
            "--prometheus-cert-file, --prometheus-key-file: wanted both or none, found one",
            id="a key without a certificate",
        ),
        pytest.param(
            ["--lease-duration", "10s"],
            {},
            "--lease-renew-deadline: wanted less than --lease-duration (10s), found 10s",
            id="a lease that others may take before its holder gives up",
        ),
        pytest.param(
            ["--lease-renew-deadline", "4s"],
            {},
            "--lease-retry: wanted less than half of --lease-renew-deadline (4s), found 2s",
            id="a lease with one try to renew it",
        ),
        pytest.param(
            ["--lease-namespace", "a,b"],
            {},
            "--lease-namespace: wanted the name of a namespace, found 'a,b'",
            id="a lease in two namespaces",
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


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--prometheus-header", "token hunter2"], id="a malformed header"),
        pytest.param(["--prometheus-header", "X-A: hunter2\x00"], id="a header with a NUL"),
    ],
)
def test_a_wrong_secret_is_not_repeated(words: list[str]) -> None:
    """A header may carry a token: neither the message nor the repr nor the log shows it."""
    with pytest.raises(SettingError, match="found something else") as refused:
        chosen(*words)
    assert "hunter2" not in str(refused.value)


def test_secrets_are_not_told() -> None:
    """What is logged at the start says that a header is set, and not which."""
    settings = chosen("--prometheus-header", "Authorization: hunter2", "--workers", "2")

    assert told(settings) == "prometheus_header=(set), workers=2"
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("90s", timedelta(seconds=90)),
        ("1h30m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
    ],
)
def test_durations_are_read_as_go_writes_them(text: str, value: timedelta) -> None:
    """A duration is read, and what is written is read back as the same."""
    assert parse_duration(text) == value
    assert parse_duration(show_duration(value)) == value


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "1.5h", "5 m", "5m ", "PT5M"])
def test_other_durations_are_refused(text: str) -> None:
    """No unit, signs, fractions, blanks or ISO 8601."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is the whole message
        parse_duration(text)
    assert str(refused.value) == text
