"""Settings of a process, as its command line and its environment give them.

Owns how one is named, given, shown and refused. Must not know which there are. A flag wins over its
environment variable, which wins over the default; an empty variable counts as absent.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


class SettingError(Exception):
    """A setting has a value that cannot be used; the text names flag, variable, wanted, found."""


@dataclass(frozen=True, slots=True)
class Setting:
    """
    How one of them is given.

    Attributes:
        prefix: Of its environment variable.
        initial: Its value where nothing is given.
        wanted: What `parse` accepts; it raises ValueError for anything else.
    """

    prefix: str
    name: str
    initial: Any
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
        return self.prefix + self.name.upper()

    @property
    def default(self) -> str:
        """The default, as one would type it."""
        if isinstance(self.initial, timedelta):
            days, seconds = self.initial.days, self.initial.seconds
            return f"{days}d" if days else f"{seconds}s"
        return "none" if self.initial in (None, (), "") else str(self.initial)


def parse_text(text: str) -> str:
    """Take printable text as it is; raises ValueError."""
    if not text.isprintable():
        raise ValueError(text)
    return text


def parse_path(text: str) -> Path:
    """Read a path; raises ValueError for what cannot be printed."""
    return Path(parse_text(text))


def parse_namespace(text: str) -> str:
    """Take the name of a namespace; raises ValueError."""
    if not _NAMESPACE.fullmatch(text):
        raise ValueError(text)
    return text


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return parse


def one_of(words: Collection[str]) -> Callable[[str], str]:
    """Return a parser that takes these words only."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return parse


def add_flags(parser: argparse.ArgumentParser, settings: Iterable[Setting]) -> None:
    """Give the parser one flag for each; values stay text until `read_values` judges them."""
    for setting in settings:
        text = f"{setting.help} Default: {setting.default}. [{setting.variable}]"
        names = [setting.flag] + (["-n"] if setting.name == "namespaces" else [])
        metavar = setting.name.rpartition("_")[2].upper()
        parser.add_argument(*names, dest=setting.name, default=None, metavar=metavar, help=text)


def read_values(
    settings: Collection[Setting],
    flags: Mapping[str, str | None],
    environ: Mapping[str, str],
    others: Collection[str] = (),
) -> dict[str, Any]:
    """
    Return by name the values that are given, from parsed flags (None: not given) or `environ`.

    `others` are variables with our prefix that are settings of somebody else.

    Raises:
        SettingError: A value cannot be used, or a variable with our prefix names no setting.
    """
    known = {setting.variable for setting in settings}
    prefixes = tuple({setting.prefix for setting in settings})
    for name in sorted(environ):
        if name.startswith(prefixes) and name not in known and name not in others:
            raise SettingError(f"{name}: wanted one of {', '.join(sorted(known))}")
    values = {}
    for setting in settings:
        given, source = flags.get(setting.name), setting.flag
        if given is None:
            given, source = environ.get(setting.variable) or None, setting.variable
        if given is not None:
            values[setting.name] = _parsed(setting, given, source)
    return values


def _parsed(setting: Setting, given: str, source: str) -> Any:
    try:
        return setting.parse(given)
    except ValueError as error:
        raise SettingError(f"{source}: wanted {setting.wanted}, found {given!r}") from error
