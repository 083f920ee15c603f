"""
Python packages and environments, by uv where it is there, else by pip.

Knows no package by name.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from sandbox.cache import MissingError
from sandbox.paths import ROOT, log_of_build


def make_environment(folder: Path, requirements: Path, name: str) -> None:
    """
    Make a virtual environment in `folder` with the hashed `requirements`.

    Raises:
        MissingError: The packages cannot be installed.
    """
    venv.create(folder, with_pip=shutil.which("uv") is None, symlinks=True, clear=True)
    python = str(folder / "bin" / "python")
    # The file is complete, so nothing is resolved anew: pip would ask for the newest release of a
    # package that another one wants with an extra, and then refuse it as not pinned.
    install(python, ["--no-deps", "--require-hashes", "-r", str(requirements)], name)


def install(python: str, arguments: Sequence[str], name: str) -> None:
    """
    Install packages for the interpreter `python`; the story goes to the log of `name`.

    Raises:
        MissingError: They cannot be installed; the message holds the end of the log.
    """
    uv = shutil.which("uv")
    command = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    log = log_of_build(name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as story:
        done = subprocess.run([*command, *arguments], stdout=story, stderr=story, check=False)
    if done.returncode:
        ending = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise MissingError(f"the packages of {name} cannot be installed, see {log}:\n{ending}")


def build_wheel(folder: Path) -> Path:
    """
    Build the project's wheel into `folder` and return it.

    Raises:
        MissingError: It cannot be built.
    """
    uv = shutil.which("uv")
    by_uv = [uv or "uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)]
    by_pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command = by_uv if uv else [*by_pip, "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(f"the wheel cannot be built:\n{done.stdout}{done.stderr}")
    return next(folder.glob("*.whl"))
