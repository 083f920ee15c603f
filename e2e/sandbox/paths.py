"""
Where the embedded world keeps its things: three roots, decided by the environment.

Owns no file and creates nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

SOURCES = Path(__file__).resolve().parent
"""This package."""


def cache_root() -> Path:
    """Return the folder of everything built or downloaded once, shared by all worlds of a user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "headgate"


def log_of_build(name: str) -> Path:
    """Return the file that tells how `name` was built."""
    return cache_root() / "logs" / f"{name}.log"


def world_directory(name: str) -> Path:
    """Return the folder of the world `name`; `HEADGATE_SANDBOX` names one folder outright."""
    chosen = os.environ.get("HEADGATE_SANDBOX")
    if chosen:
        return Path(chosen).resolve()
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "headgate" / "sandbox" / name
