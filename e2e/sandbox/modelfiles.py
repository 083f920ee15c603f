"""
Owns how the models of the stories come into the cache: trained once, in the servers' environment.

The result is the folder that the model store serves. It must not know what is inside a model.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sandbox.builds import MODEL_SERVER, Recipe, build
from sandbox.cache import MissingError, tree
from sandbox.paths import SOURCES


def _inputs() -> Sequence[str | bytes]:
    generator = (SOURCES / "fraud.py").read_bytes()
    return [*MODEL_SERVER.inputs(), generator, *tree(SOURCES / "models", "*.py")]


def _make(folder: Path) -> None:
    python = build(MODEL_SERVER, lambda _: None) / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "sandbox.models", "build", "--into", str(folder)],
        env={**os.environ, "PYTHONPATH": str(SOURCES.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MissingError(f"the models cannot be trained:\n{done.stderr[-2000:]}")


MODELS = Recipe("models", "the fraud models (15 s, once)", _inputs, _make)
