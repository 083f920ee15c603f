"""Everything about the collector that may be set.

Owns names, defaults, limits and texts. Must not know who uses them. A flag wins over its
environment variable, which wins over the default; an empty variable counts as absent.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PREFIX: Final = "HEADGATE_COLLECTOR_"
OTHERS: Final = frozenset({"HEADGATE_COLLECTOR_URL"})
"""The operator's variable for where the collector is: an environment may be shared by both."""
LEVELS: Final = ("debug", "info", "warning", "error")

_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


class SettingError(Exception):
    """A setting has a value that cannot be used; the text names flag, variable, wanted, found."""


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


@dataclass(frozen=True, slots=True)
class Setting:
    """How one of them is given; `parse` raises ValueError for what `wanted` does not say."""

    name: str
    wanted: str
    parse: Callable[[str], Any]
    help: str

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def default(self) -> str:
        """The default, as one would type it."""
        value = Settings.__dataclass_fields__[self.name].default
        return "none" if value in (None, ()) else str(value)


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError(text)
    return text


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return parse


def _namespaces(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(_NAMESPACE.fullmatch(name) for name in names):
        raise ValueError(text)
    return tuple(dict.fromkeys(names))


def _level(text: str) -> str:
    if text not in LEVELS:
        raise ValueError(text)
    return text


SETTINGS: Final = (
    Setting("host", "printable text", _text, "Address to listen on."),
    Setting("port", "a port, 0 for a free one", _number(0, 65535), "Port to listen on."),
    Setting(
        "kubeconfig",
        "a path to a file",
        lambda text: Path(_text(text)),
        "Kubeconfig file. Without it: the pod's ServiceAccount, else that of kubectl.",
    ),
    Setting(
        "namespaces",
        "names of namespaces, commas between them",
        _namespaces,
        "Take events of these namespaces only; without it of all.",
    ),
    Setting(
        "max_body",
        "bytes, 1024 to 16777216",
        _number(1024, 1 << 24),
        "The longest body that is read; 32 times as many bytes of bodies are in memory at most.",
    ),
    Setting("queue", "a whole number, 1 to 100000", _number(1, 100_000), "Events that may wait."),
    Setting(
        "max_series",
        "a whole number, 100 to 1000000",
        _number(100, 1_000_000),
        "Time series of counts that are kept; revisions beyond are not counted.",
    ),
    Setting("log_level", f"one of {', '.join(LEVELS)}", _level, "Log lines from this level up."),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser one flag for each setting; values stay text until `read` judges them."""
    for setting in SETTINGS:
        text = f"{setting.help} Default: {setting.default}. [{setting.variable}]"
        names = [setting.flag] + (["-n"] if setting.name == "namespaces" else [])
        metavar = setting.name.rpartition("_")[2].upper()
        parser.add_argument(*names, dest=setting.name, default=None, metavar=metavar, help=text)


def read(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """
    Make the settings from parsed flags (None: not given) and the environment.

    Raises:
        SettingError: A value cannot be used, or a variable with our prefix names no setting.
    """
    known = {setting.variable for setting in SETTINGS}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known | OTHERS:
            raise SettingError(f"{name}: wanted one of {', '.join(sorted(known))}")
    values = {}
    for setting in SETTINGS:
        given, source = flags.get(setting.name), setting.flag
        if given is None:
            given, source = environ.get(setting.variable) or None, setting.variable
        if given is not None:
            values[setting.name] = _parsed(setting, given, source)
    return Settings(**values)


def _parsed(setting: Setting, given: str, source: str) -> Any:
    try:
        return setting.parse(given)
    except ValueError as error:
        raise SettingError(f"{source}: wanted {setting.wanted}, found {given!r}") from error
