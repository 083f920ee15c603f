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
from headgate.runtime.logs import FORMATS, LEVELS

__all__ = ["SETTINGS", "SettingError", "Settings", "add_arguments", "read"]

PREFIX: Final = "HEADGATE_WRITEBACK_"


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


def _setting(name: str, wanted: str, parse: Callable[[str], Any], help: str) -> Setting:
    initial = Settings.__dataclass_fields__[name].default
    return Setting(PREFIX, name, initial, wanted, parse, help)


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(with_port(host.strip()) for host in text.split(",")))


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


SETTINGS: Final = (
    _setting(
        "namespace",
        "the name of a namespace",
        parse_namespace,
        "Our own namespace: Secrets are read and writes are remembered here. Without it that of "
        "the pod's ServiceAccount.",
    ),
    _setting(
        "hosts",
        "hosts, each with its port or 443, commas between them",
        _hosts,
        "Hosts of repositories, forges and webhooks that policies may name; no other is asked.",
    ),
    _setting(
        "plain_http_hosts",
        "hosts, each with its port, commas between them",
        _hosts,
        "Hosts that may be asked without TLS. Tokens can be read on the way to them.",
    ),
    _setting(
        "ca_file",
        "a path to a file",
        parse_path,
        "PEM file with the certificates to trust in place of the system's.",
    ),
    _setting(
        "interval",
        "a time from 1s to 1h",
        _span(timedelta(seconds=1), timedelta(hours=1)),
        "Time between two looks at policies and records.",
    ),
    _setting(
        "keep",
        "a time from 1h to 3650d",
        _span(timedelta(hours=1), timedelta(days=3650)),
        "How long it is remembered what was written, after the record itself is gone.",
    ),
    _setting(
        "http_host", "printable text", parse_text, "Address for /metrics, /livez and /readyz."
    ),
    _setting("http_port", "a port, 0 for a free one", number(0, 65535), "Port for them."),
    _setting(
        "kubeconfig",
        "a path to a file",
        parse_path,
        "Kubeconfig file. Without it: the pod's ServiceAccount, else that of kubectl.",
    ),
    _setting("log_level", f"one of {', '.join(LEVELS)}", one_of(LEVELS), "Lines from it up."),
    _setting("log_format", f"one of {', '.join(FORMATS)}", one_of(FORMATS), "Form of log lines."),
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
    return Settings(**read_values(SETTINGS, flags, environ))
