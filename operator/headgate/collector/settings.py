"""Everything about the collector that may be set.

Owns names, defaults, limits and texts. Must not know who uses them. A flag wins over its
environment variable, which wins over the default; an empty variable counts as absent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from headgate.adapters.settings import (
    Setting,
    SettingError,
    add_flags,
    number,
    one_of,
    parse_namespace,
    parse_path,
    parse_text,
    read_values,
)

__all__ = ["SETTINGS", "SettingError", "Settings", "add_arguments", "read"]

PREFIX: Final = "HEADGATE_COLLECTOR_"
OTHERS: Final = frozenset({"HEADGATE_COLLECTOR_URL"})
"""The operator's variable for where the collector is: an environment may be shared by both."""
LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Settings:
    """The collector's settings."""

    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached by its own address, which it does not know
    port: int = 8080
    kubeconfig: Path | None = None
    namespaces: tuple[str, ...] = ()
    max_body: int = 1 << 20
    queue: int = 10_000
    max_series: int = 20_000
    log_level: str = "info"


def _setting(name: str, wanted: str, parse: Callable[[str], Any], help: str) -> Setting:
    initial = Settings.__dataclass_fields__[name].default
    return Setting(PREFIX, name, initial, wanted, parse, help)


def _namespaces(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parse_namespace(name.strip()) for name in text.split(",")))


SETTINGS: Final = (
    _setting("host", "printable text", parse_text, "Address to listen on."),
    _setting("port", "a port, 0 for a free one", number(0, 65535), "Port to listen on."),
    _setting(
        "kubeconfig",
        "a path to a file",
        parse_path,
        "Kubeconfig file. Without it: the pod's ServiceAccount, else that of kubectl.",
    ),
    _setting(
        "namespaces",
        "names of namespaces, commas between them",
        _namespaces,
        "Take events of these namespaces only; without it of all.",
    ),
    _setting(
        "max_body",
        "bytes, 1024 to 16777216",
        number(1024, 1 << 24),
        "The longest body that is read; 32 times as many bytes of bodies are in memory at most.",
    ),
    _setting("queue", "a whole number, 1 to 100000", number(1, 100_000), "Events that may wait."),
    _setting(
        "max_series",
        "a whole number, 100 to 1000000",
        number(100, 1_000_000),
        "Time series of counts that are kept; revisions beyond are not counted.",
    ),
    _setting(
        "log_level", f"one of {', '.join(LEVELS)}", one_of(LEVELS), "Log lines from this level up."
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser one flag for each setting; values stay text until `read` judges them."""
    add_flags(parser, SETTINGS)


def read(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """
    Make the settings from parsed flags (None: not given) and the environment.

    Raises:
        SettingError: A value cannot be used, or a variable with our prefix names no setting.
    """
    return Settings(**read_values(SETTINGS, flags, environ, OTHERS))
