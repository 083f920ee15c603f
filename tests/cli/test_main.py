"""The command line as a whole: verbs, help, exit codes, and what is not imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from headgate import __version__
from headgate.cli import VERBS, exits, main

ROOT = Path(__file__).parents[2]


def run(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process of its own."""
    return python("-m", "headgate", *words, **environ)


def python(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run an interpreter that finds the package."""
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A person gets a line, a program gets JSON."""
    assert main(["version"]) == exits.OK
    assert capsys.readouterr().out == f"headgate {__version__}\n"
    assert main(["version", "-o", "json"]) == exits.OK
    assert json.loads(capsys.readouterr().out)["version"] == __version__


def test_version_imports_nothing_heavy() -> None:
    """A small verb does not pay for Kopf, the Kubernetes client, pydantic or aiohttp."""
    program = "import sys, headgate.cli as c; c.main(['version']); print(*sys.modules)"
    imported = set(python("-c", program).stdout.split())

    assert "headgate.cli.version" in imported
    assert not imported & {"kopf", "kubernetes", "pydantic", "aiohttp", "rich"}


def test_every_verb_has_a_module_and_a_summary() -> None:
    """The table of verbs and the modules agree."""
    for verb, summary in VERBS:
        assert find_spec(f"headgate.cli.{verb}") is not None, verb
        assert summary


def test_help_names_all_verbs_and_exit_codes() -> None:
    """`--help` works without importing any verb."""
    done = run("--help")

    assert done.returncode == exits.OK
    for verb, summary in VERBS:
        assert verb in done.stdout
        assert summary.split()[0] in done.stdout
    assert "4 API server unreachable" in done.stdout.replace("\n", " ")


@pytest.mark.parametrize("words", [(), ("fly",), ("version", "--fast")])
def test_wrong_usage_is_exit_code_2(words: tuple[str, ...]) -> None:
    """No verb, an unknown verb, an unknown flag."""
    done = run(*words)
    assert done.returncode == exits.USAGE
    assert "usage: headgate" in done.stderr


@pytest.mark.parametrize(
    ("words", "environ", "message"),
    [
        pytest.param(
            ("--workers", "many"),
            {},
            "--workers: wanted a whole number, 1 to 256, found 'many'",
            id="a wrong flag",
        ),
        pytest.param(
            (),
            {"HEADGATE_HTTP_PORT": "http"},
            "HEADGATE_HTTP_PORT: wanted a whole number, 0 to 65535 (port), found 'http'",
            id="a wrong variable",
        ),
        pytest.param(
            ("--kubeconfig", "/does/not/exist"),
            {},
            "--kubeconfig: wanted a file, found none at /does/not/exist",
            id="a kubeconfig that is not there",
        ),
        pytest.param(
            ("--metric-pack", "none"),
            {},
            "metrics: no metric pack 'none'; there are: envoy-gateway, "
            "headgate-collector, istio, knative, knative-opencensus, kserve, vllm",
            id="an unknown metric pack",
        ),
    ],
)
def test_a_wrong_setting_is_exit_code_2(
    words: tuple[str, ...], environ: dict[str, str], message: str
) -> None:
    """The operator does not start; one line says what is wrong."""
    done = run("operator", *words, **environ)

    assert done.returncode == exits.USAGE
    assert done.stderr.splitlines()[-1] == f"headgate operator: {message.replace(' (port)', '')}"


def test_help_of_the_operator_lists_the_settings() -> None:
    """Each flag is there with its default and its variable."""
    done = run("operator", "--help")

    text = " ".join(done.stdout.split())
    assert done.returncode == exits.OK
    assert "--http-port" in text
    assert "Default: 8080. [HEADGATE_HTTP_PORT]" in text
