"""
Which container engine this machine has, if any.

Owns the asking and the words for its absence. A client without a daemon is no engine.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping

ENGINES = ("docker", "podman", "nerdctl")
"""What kind knows, in the order in which it is tried."""

VARIABLE = "KIND_EXPERIMENTAL_PROVIDER"
"""kind's own variable that chooses one."""

_SECONDS = 20
_LONGEST = 200


class EngineMissing(Exception):
    """There is no container engine that answers; the text says what was tried and what instead."""


def find_engine(environment: Mapping[str, str]) -> str:
    """
    Return the name of the engine to use: the one that kind's variable names, else the first.

    Raises:
        EngineMissing: None of them answers.
    """
    chosen = environment.get(VARIABLE)
    tried = []
    for name in (chosen,) if chosen else ENGINES:
        problem = _problem_of(name)
        if not problem:
            return name
        tried.append(f"{name}: {problem}")
    raise EngineMissing(
        "kind needs a container engine, and none answers here: "
        + "; ".join(tried)
        + ". The same scenarios run without one: make e2e CLUSTER=sandbox"
    )


def _problem_of(name: str) -> str:
    """Say why an engine cannot be used; "" if it can."""
    program = shutil.which(name)
    if program is None:
        return "not on PATH"
    try:
        done = subprocess.run(
            [program, "info"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {_SECONDS} s"
    except OSError as error:
        return error.strerror or str(error)
    # Docker's client prints what it knows of itself, and ends with 1 without a daemon.
    return "" if done.returncode == 0 else _last_line(done.stderr, done.stdout)


def _last_line(*outputs: str) -> str:
    for output in outputs:
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        if lines:
            return lines[-1][:_LONGEST]
    return "it failed without a word"
