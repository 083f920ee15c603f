"""Writes the models into a folder: `python -m sandbox.models build --into DIR`."""

import os

# One thread: sums in another order would give other trees, and so other hashes. The libraries
# read this once, when they are first imported.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from sandbox.models.train import Trained, train_all

MODEL = "fraud"


def main() -> int:
    """Train, write, and say what came out."""
    parser = argparse.ArgumentParser(prog="sandbox.models", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    build = verbs.add_parser("build", help="train every version and write it")
    build.add_argument("--into", type=Path, required=True, metavar="DIR")
    directory: Path = parser.parse_args().into
    trained = train_all()
    write(trained, directory)
    for one in trained:
        sys.stdout.write(f"{MODEL}/{one.version}  {one.figures.get('auc', '-'):>6}  ")
        sys.stdout.write(f"{one.figures['story']}\n")
    return 0


def write(trained: list[Trained], directory: Path) -> None:
    """
    Write `fraud/<version>/model.joblib` and `fraud/metrics.json` below the directory.

    The folder `fraud` appears whole or not at all: a build that is interrupted leaves nothing
    that a store would serve.
    """
    directory.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{MODEL}-", dir=directory))
    made.chmod(0o755)
    for one in trained:
        (made / one.version).mkdir()
        (made / one.version / "model.joblib").write_bytes(one.content)
    figures = {one.version: one.figures for one in trained}
    (made / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    shutil.rmtree(directory / MODEL, ignore_errors=True)
    made.rename(directory / MODEL)


if __name__ == "__main__":
    sys.exit(main())
