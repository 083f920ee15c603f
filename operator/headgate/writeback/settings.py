"""Everything about the write-back process that may be set.

Owns names, defaults, limits and texts. Must not know who uses them. A flag wins over its
environment variable, which wins over the default; an empty variable counts as absent.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from headgate.adapters.hosts import with_port

PREFIX: Final = "HEADGATE_WRITEBACK_"
LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("json", "text")

_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


class SettingError(Exception):
    """A setting has a value that cannot be used; the text names flag, variable, wanted, found."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The write-back's settings."""

    namespace: str = ""
    hosts: tuple[str, ...] = ()
    plain_http_hosts: tuple[str, ...] = ()
    ca_file: Path | None = None
    interval: timedelta = timedelta(seconds=30)
    keep: timedelta = timedelta(days=90)
    http_host: str = "0.0.0.0"  # noqa: S104 - a pod is reached by its own address
    http_port: int = 8080
    kubeconfig: Path | None = None
    log_level: str = "info"
    log_format: str = "json"


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
        if isinstance(value, timedelta):
            days, seconds = value.days, value.seconds
            return f"{days}d" if days else f"{seconds}s"
        return "none" if value in (None, (), "") else str(value)


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError(text)
    return text


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise ValueError(text)
    return text


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(with_port(host.strip()) for host in text.split(",")))


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError(text)
    return value


def _span(least: timedelta, most: timedelta) -> Callable[[str], timedelta]:
    def parse(text: str) -> timedelta:
        match = re.fullmatch(r"(\d{1,5})(s|m|h|d)", text)
        if match is None:
            raise ValueError(text)
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
        span = timedelta(**{unit: int(match[1])})
        if not least <= span <= most:
            raise ValueError(text)
        return span

    return parse


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return parse


SETTINGS: Final = (
    Setting(
        "namespace",
        "the name of a namespace",
        _namespace,
        "Our own namespace: Secrets are read and writes are remembered here. Without it that of "
        "the pod's ServiceAccount.",
    ),
    Setting(
        "hosts",
        "hosts, each with its port or 443, commas between them",
        _hosts,
        "Hosts of repositories, forges and webhooks that policies may name; no other is asked.",
    ),
    Setting(
        "plain_http_hosts",
        "hosts, each with its port, commas between them",
        _hosts,
        "Hosts that may be asked without TLS. Tokens can be read on the way to them.",
    ),
    Setting(
        "ca_file",
        "a path to a file",
        lambda text: Path(_text(text)),
        "PEM file with the certificates to trust in place of the system's.",
    ),
    Setting(
        "interval",
        "a time from 1s to 1h",
        _span(timedelta(seconds=1), timedelta(hours=1)),
        "Time between two looks at policies and records.",
    ),
    Setting(
        "keep",
        "a time from 1h to 3650d",
        _span(timedelta(hours=1), timedelta(days=3650)),
        "How long it is remembered what was written, after the record itself is gone.",
    ),
    Setting("http_host", "printable text", _text, "Address for /metrics, /livez and /readyz."),
    Setting("http_port", "a port, 0 for a free one", _port, "Port for them."),
    Setting(
        "kubeconfig",
        "a path to a file",
        lambda text: Path(_text(text)),
        "Kubeconfig file. Without it: the pod's ServiceAccount, else that of kubectl.",
    ),
    Setting("log_level", f"one of {', '.join(LEVELS)}", _one_of(LEVELS), "Lines from it up."),
    Setting("log_format", f"one of {', '.join(FORMATS)}", _one_of(FORMATS), "Form of log lines."),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser one flag for each setting; values stay text until `read` judges them."""
    for setting in SETTINGS:
        text = f"{setting.help} Default: {setting.default}. [{setting.variable}]"
        metavar = setting.name.rpartition("_")[2].upper()
        parser.add_argument(
            setting.flag, dest=setting.name, default=None, metavar=metavar, help=text
        )


def read(flags: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """
    Make the settings from parsed flags (None: not given) and the environment.

    Raises:
        SettingError: A value cannot be used, or a variable with our prefix names no setting.
    """
    known = {setting.variable for setting in SETTINGS}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
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
