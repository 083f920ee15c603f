"""The demo as a whole, in an embedded world."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.demo import demo
from sandbox.paths import ROOT, world_directory
from sandbox.supervisor import claim, is_claimed

WORLD = "demo-test"
COMMAND = [sys.executable, "-m", "sandbox", "demo", "--world", WORLD]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep worlds in a folder of the test's own; what they are built from is cached as ever."""
    monkeypatch.delenv("HEADGATE_SANDBOX", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "e2e"))
    return tmp_path


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of the processes that name `folder`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(folder) in command:
                found.append(command)
    return found


def test_a_world_that_is_in_use_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Two demos would commit over each other; the second one says how to end the first."""
    with claim(world_directory(WORLD) / "run"):
        code = demo(WORLD, keep=False)

    assert code == 1
    said = capsys.readouterr().out
    assert "The world 'demo-test' is up already" in said
    assert f"$ python -m sandbox --world {WORLD} down" in said


@pytest.mark.sandbox
def test_everything_goes_as_told_and_nothing_is_left_running(state: Path) -> None:
    """The last line says so in JSON, with the outcome of each of the four versions."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False, timeout=900)

    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["not_as_told"], done.returncode) == ([], 0), done.stdout[-3000:]
    outcomes = [(each["version"], each["outcome"]) for each in result["versions"]]
    assert outcomes == [
        ("1", "Promoted"),
        ("2", "Promoted"),
        ("3", "RolledBack"),
        ("4", "Promoted"),
    ]
    assert not is_claimed(world_directory(WORLD) / "run")
    assert processes_in(state) == []


@pytest.mark.sandbox
def test_an_interrupted_demo_leaves_nothing_running(state: Path) -> None:
    """Ctrl-C reaches all of the terminal's processes; world and users are ended all the same."""
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "It serves, so users come" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()

    assert process.returncode == 130, rest
    assert "the world 'demo-test' is down" in rest
    assert "Traceback" not in rest
    assert not is_claimed(world_directory(WORLD) / "run")
    assert processes_in(state) == []
