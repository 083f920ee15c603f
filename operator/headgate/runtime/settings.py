"""Everything about the operator that may be set, in one frozen object.

Owns names, units, defaults, limits and texts of the settings; docs/settings.md is printed from here
(`python -m headgate.runtime.settings > docs/settings.md`). Must not know who uses them. A flag wins
over its environment variable, which wins over the default; an empty variable counts as absent.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints
from urllib.parse import urlsplit

from headgate.adapters.hosts import with_port
from headgate.api.quantities import Duration
from headgate.runtime.logs import FORMATS, LEVELS

PREFIX: Final = "HEADGATE_"
OTHERS: Final = frozenset({"HEADGATE_SANDBOX"})
"""Variables with our prefix that belong to the development tools, not to the operator."""

_DURATION: Final = re.compile(r"(?:[0-9]{1,9}(?:ms|s|m|h|d))+")
_NAMESPACE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LABEL_KEY: Final = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class SettingError(Exception):
    """A setting has a value that cannot be used; the text names flag, variable, wanted, found."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a setting accepts; `parse` raises ValueError for anything that `wanted` does not say."""

    wanted: str
    parse: Callable[[str], Any]
    unit: str = ""
    repeated: bool = False
    switch: bool = False


def _duration(least: str, most: str) -> Shape:
    def parse(text: str) -> timedelta:
        value = parse_duration(text)
        if not parse_duration(least) <= value <= parse_duration(most):
            raise ValueError(text)
        return value

    return Shape(f"a duration such as 30s or 5m, {least} to {most}", parse, unit="duration")


def _integer(least: int, most: int, unit: str) -> Shape:
    def parse(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return Shape(f"a whole number, {least} to {most}", parse, unit=unit)


def _one_of(words: Sequence[str]) -> Shape:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return Shape(f"one of {', '.join(words)}", parse)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(text)
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials inside the address")
    return text.rstrip("/")


def _flag(text: str) -> bool:
    match text.lower():
        case "true" | "1" | "yes":
            return True
        case "false" | "0" | "no":
            return False
    raise ValueError(text)


def _text(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError(text)
    return text


def _namespaces(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in re.split(r"[,\n]", text) if name.strip())
    if not names or not all(_NAMESPACE.fullmatch(name) for name in names):
        raise ValueError(text)
    return tuple(dict.fromkeys(names))


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise ValueError(text)
    return text


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(name.strip() for name in re.split(r"[,\n]", text) if name.strip())
    if not hosts:
        raise ValueError(text)
    return tuple(dict.fromkeys(with_port(host) for host in hosts))


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon or not _HEADER_NAME.fullmatch(name.strip()) or not value.strip().isprintable():
            raise ValueError("a line without `Name: value`")
        pairs.append((name.strip(), value.strip()))
    return tuple(pairs)


def _matchers(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [line.partition("=") for line in text.splitlines()]
    if not all(_LABEL.fullmatch(name) and value.isprintable() for name, _, value in pairs):
        raise ValueError(text)
    return tuple((name, value) for name, _, value in pairs)


def _label_key(text: str) -> str:
    if not _LABEL_KEY.fullmatch(text):
        raise ValueError(text)
    return text


def _domain(text: str) -> str:
    if not all(_NAMESPACE.fullmatch(label) for label in text.split(".")):
        raise ValueError(text)
    return text


URL = Shape("an http or https address without credentials, query and fragment", _url)
PATH = Shape("a path to a file", lambda text: Path(_text(text)))
TEXT = Shape("printable text", _text)
NAMESPACES = Shape("names of namespaces, commas between them", _namespaces, repeated=True)
NAMESPACE = Shape("the name of a namespace", _namespace)
DOMAIN = Shape("a DNS name", _domain)
LABEL_KEY = Shape("the key of a label", _label_key)
HOSTS = Shape("host names, each with a port if it is not 443", _hosts, repeated=True)
MATCHERS = Shape("lines of `label=value`", _matchers, repeated=True)
HEADERS = Shape("lines of `Name: value`", _headers, repeated=True)
SWITCH = Shape("true or false", _flag, switch=True)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field accepts and what it does; the value of a secret is shown nowhere."""

    shape: Shape
    help: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings; each field says its unit, its limits and what it does."""

    kubeconfig: Annotated[
        Path | None,
        Setting(
            PATH,
            "Kubeconfig file. Without it: the pod's ServiceAccount, else KUBECONFIG, else "
            "~/.kube/config.",
        ),
    ] = None
    namespaces: Annotated[
        tuple[str, ...],
        Setting(NAMESPACES, "Serve only these namespaces; without it the whole cluster."),
    ] = ()
    prometheus_url: Annotated[
        str,
        Setting(
            URL,
            "Where the HTTP API of Prometheus (or Thanos, Mimir, VictoriaMetrics) is; a path "
            "prefix is kept.",
        ),
    ] = "http://localhost:9090"
    prometheus_timeout: Annotated[
        timedelta, Setting(_duration("100ms", "1m"), "The longest one query may take.")
    ] = timedelta(seconds=5)
    prometheus_look_back: Annotated[
        timedelta,
        Setting(
            _duration("1s", "10m"),
            "How far before the wanted samples is read; more than the scrape interval and its "
            "delay.",
        ),
    ] = timedelta(seconds=60)
    prometheus_matcher: Annotated[
        tuple[tuple[str, str], ...],
        Setting(
            MATCHERS, "Labels that every series must have, for a store that holds several clusters."
        ),
    ] = ()
    prometheus_header: Annotated[
        tuple[tuple[str, str], ...],
        Setting(HEADERS, "Extra request headers, such as `X-Scope-OrgID: models`.", secret=True),
    ] = field(default=(), repr=False)
    prometheus_bearer_token_file: Annotated[
        Path | None, Setting(PATH, "File with a bearer token; read again when it changes.")
    ] = None
    prometheus_user: Annotated[str | None, Setting(TEXT, "User for basic authentication.")] = None
    prometheus_password_file: Annotated[
        Path | None,
        Setting(
            PATH, "File with the password for basic authentication; read again when it changes."
        ),
    ] = None
    prometheus_ca_file: Annotated[
        Path | None,
        Setting(PATH, "Certificates that may sign the server's, PEM. Without it: the system's."),
    ] = None
    prometheus_cert_file: Annotated[
        Path | None, Setting(PATH, "Client certificate for mutual TLS, PEM.")
    ] = None
    prometheus_key_file: Annotated[
        Path | None, Setting(PATH, "Key of the client certificate, PEM.")
    ] = None
    prometheus_insecure_skip_verify: Annotated[
        bool,
        Setting(
            SWITCH, "Take any certificate of the server: for trying out, never for production."
        ),
    ] = False
    metric_pack: Annotated[
        str, Setting(TEXT, "Which gateway's metrics are read, by the name of their pack.")
    ] = "envoy-gateway"
    service_domain: Annotated[
        str, Setting(DOMAIN, "DNS suffix of Services, for the probe requests.")
    ] = "svc.cluster.local"
    probe_proxy: Annotated[
        str | None, Setting(URL, "HTTP proxy through which the probe requests to models go.")
    ] = None
    collector_url: Annotated[
        str | None,
        Setting(
            URL,
            "Where headgate collector takes what KServe's loggers see; needed for spec.drift.",
        ),
    ] = None
    profile_host: Annotated[
        tuple[str, ...],
        Setting(
            HOSTS,
            "Hosts at which spec.drift.reference.url may name a training profile; without it none. "
            "A name must not lead to a loopback or link-local address.",
        ),
    ] = ()
    profile_ca_file: Annotated[
        Path | None,
        Setting(PATH, "Certificates that may sign those hosts', PEM. Without it: the system's."),
    ] = None
    workers: Annotated[
        int, Setting(_integer(1, 256, "passes"), "How many passes may be under way at once.")
    ] = 16
    pass_deadline: Annotated[
        timedelta,
        Setting(
            _duration("5s", "10m"), "The longest one pass may last; twice that, and /livez fails."
        ),
    ] = timedelta(seconds=60)
    resync: Annotated[
        timedelta,
        Setting(
            _duration("10s", "1h"),
            "How often all ModelDeployments are listed, compared with what the watch said, and "
            "looked at again.",
        ),
    ] = timedelta(minutes=5)
    stale_after: Annotated[
        timedelta,
        Setting(
            _duration("1s", "10m"), "Samples older than this are no evidence about the present."
        ),
    ] = timedelta(seconds=60)
    track_secrets: Annotated[
        bool,
        Setting(
            SWITCH,
            "Make the contents of Secrets that a template names part of the revision; needs the "
            "right to read them (manifests/overlays/track-secrets).",
        ),
    ] = False
    argocd_namespaces: Annotated[
        tuple[str, ...],
        Setting(
            NAMESPACES,
            "Where Argo CD's Applications may be read, to name the commit of a rollout; Argo CD's "
            "own namespace first. Needs the right to (docs/commits.md).",
        ),
    ] = ()
    argocd_instance_label: Annotated[
        str | None,
        Setting(
            LABEL_KEY,
            "The label with the Application's name, such as app.kubernetes.io/instance, where "
            "Argo CD tracks by label and not by its annotation.",
        ),
    ] = None
    flux_namespaces: Annotated[
        tuple[str, ...],
        Setting(
            NAMESPACES,
            "Where Flux's Kustomizations, HelmReleases and their sources may be read, to name the "
            "commit of a rollout. Needs the right to (docs/commits.md).",
        ),
    ] = ()
    http_host: Annotated[
        str, Setting(TEXT, "Address on which /metrics, /livez and /readyz are served.")
    ] = "0.0.0.0"  # noqa: S104 - a pod is reached by its own address, which it does not know
    http_port: Annotated[
        int, Setting(_integer(0, 65535, "port"), "Port on which they are served; 0: a free one.")
    ] = 8080
    log_level: Annotated[str, Setting(_one_of(LEVELS), "Log lines from this level up.")] = "info"
    log_format: Annotated[
        str, Setting(_one_of(FORMATS), "One JSON object a line, or text for a person.")
    ] = "json"
    leader_elect: Annotated[
        bool,
        Setting(
            SWITCH,
            "Work only while holding a Lease, for several operators of which one works and the "
            "others stand by; needs the right to write it (manifests/overlays/two-replicas).",
        ),
    ] = False
    lease_name: Annotated[str, Setting(DOMAIN, "Name of that Lease.")] = "headgate"
    lease_namespace: Annotated[
        str | None,
        Setting(NAMESPACE, "Where that Lease is. Without it: the pod's namespace."),
    ] = None
    lease_duration: Annotated[
        timedelta,
        Setting(
            _duration("2s", "10m"),
            "How long a Lease that nobody renews keeps others from working.",
        ),
    ] = timedelta(seconds=15)
    lease_renew_deadline: Annotated[
        timedelta,
        Setting(
            _duration("1s", "10m"),
            "Who could not renew the Lease for so long stops working; less than --lease-duration.",
        ),
    ] = timedelta(seconds=10)
    lease_retry: Annotated[
        timedelta,
        Setting(
            _duration("100ms", "1m"),
            "From one renewal to the next; less than half of --lease-renew-deadline.",
        ),
    ] = timedelta(seconds=2)
    shutdown_grace: Annotated[
        timedelta,
        Setting(
            _duration("0s", "8s"),
            "How long passes under way may last after SIGTERM before they are cancelled.",
        ),
    ] = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table of settings."""

    name: str
    setting: Setting
    default: Any

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    def shown(self, value: Any) -> str:
        """Write a value as one would type it, unless it is a secret."""
        match value:
            case None | ():
                return "none"
            case _ if self.setting.secret:
                return "(set)"
            case bool():
                return str(value).lower()
            case timedelta():
                return show_duration(value)
            case tuple():
                return ",".join(
                    "=".join(item) if isinstance(item, tuple) else item for item in value
                )
            case _:
                return str(value)


@cache
def entries() -> tuple[Entry, ...]:
    """All settings, in the order in which they are documented."""
    hints = get_type_hints(Settings, include_extras=True)
    return tuple(
        Entry(item.name, hints[item.name].__metadata__[0], item.default)
        for item in fields(Settings)
    )


def parse_duration(text: str) -> timedelta:
    """Read a duration in Go's style, with days: `1h30m`, `250ms`. Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError(text)
    return Duration(text).timedelta


def show_duration(value: timedelta) -> str:
    """Write a duration so that parse_duration reads it back: `5m`, `1m30s`, `250ms`."""
    milliseconds = round(value / timedelta(milliseconds=1))
    text = ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser one flag for each setting; values stay text until `read` judges them."""
    for entry in entries():
        shape = entry.setting.shape
        names = [entry.flag] + (["-n"] if entry.name == "namespaces" else [])
        default = entry.shown(entry.default)
        text = f"{entry.setting.help} Default: {default}. [{entry.variable}]".replace("%", "%%")
        common: dict[str, Any] = {"dest": entry.name, "default": None, "help": text}
        if shape.switch:
            parser.add_argument(*names, nargs="?", const="true", metavar="true|false", **common)
        else:
            action = "append" if shape.repeated else "store"
            metavar = (shape.unit or entry.name.rpartition("_")[2]).upper()
            parser.add_argument(*names, action=action, metavar=metavar, **common)


def read(flags: Mapping[str, str | Sequence[str] | None], environ: Mapping[str, str]) -> Settings:
    """
    Make the settings from parsed flags (None: not given) and the environment.

    Raises:
        SettingError: A value cannot be used, two values exclude each other, or a variable with our
            prefix names no setting (a typing error would otherwise be silent).
    """
    known = {entry.variable for entry in entries()} | OTHERS
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            raise SettingError(f"{name}: wanted one of the variables in docs/settings.md")
    values = {}
    for entry in entries():
        given, source = flags.get(entry.name), entry.flag
        if given is None:
            given, source = environ.get(entry.variable) or None, entry.variable
        if given is not None:
            values[entry.name] = _parse(entry.setting, given, source)
    settings = Settings(**values)
    _check(settings)
    return settings


def _parse(setting: Setting, given: str | Sequence[str], source: str) -> Any:
    text = given if isinstance(given, str) else "\n".join(given)
    try:
        return setting.shape.parse(text)
    except ValueError as error:
        found = "something else" if setting.secret else repr(text)
        raise SettingError(f"{source}: wanted {setting.shape.wanted}, found {found}") from error


def _check(settings: Settings) -> None:
    """Refuse combinations that cannot be meant."""
    user, password = settings.prometheus_user, settings.prometheus_password_file
    if (user is None) != (password is None):
        raise SettingError(
            "--prometheus-user, --prometheus-password-file: wanted both or none, found one"
        )
    if user is not None and settings.prometheus_bearer_token_file is not None:
        raise SettingError(
            "--prometheus-user, --prometheus-bearer-token-file: wanted one of them, found both"
        )
    if (settings.prometheus_cert_file is None) != (settings.prometheus_key_file is None):
        raise SettingError(
            "--prometheus-cert-file, --prometheus-key-file: wanted both or none, found one"
        )
    if not settings.lease_renew_deadline < settings.lease_duration:
        raise SettingError(
            "--lease-renew-deadline: wanted less than --lease-duration"
            f" ({show_duration(settings.lease_duration)}),"
            f" found {show_duration(settings.lease_renew_deadline)}"
        )
    if not 2 * settings.lease_retry < settings.lease_renew_deadline:
        raise SettingError(
            "--lease-retry: wanted less than half of --lease-renew-deadline"
            f" ({show_duration(settings.lease_renew_deadline)}),"
            f" found {show_duration(settings.lease_retry)}"
        )


def told(settings: Settings) -> str:
    """Write what differs from the defaults in one line, without secrets."""
    differing = [
        f"{entry.name}={entry.shown(getattr(settings, entry.name))}"
        for entry in entries()
        if getattr(settings, entry.name) != entry.default
    ]
    return ", ".join(differing) or "all defaults"


_PAGE = """\
# Settings of `headgate operator`

A flag wins over its environment variable, which wins over the default; an empty variable counts as
absent. A value that cannot be used ends the process with exit code 2 and one line that names where
it came from, what was wanted and what was found. Flags of lists may be repeated; their variables
take one entry a line (namespaces also with commas).

This page is printed by `python -m headgate.runtime.settings`; a test keeps it equal.

| flag | variable | default | accepts | meaning |
|---|---|---|---|---|
"""


def table() -> str:
    """Print all settings as docs/settings.md has them."""
    return _PAGE + "".join(_row(entry) for entry in entries())


def _row(entry: Entry) -> str:
    shape = entry.setting.shape
    flag = f"`{entry.flag}`" + (", `-n`" if entry.name == "namespaces" else "")
    unit = f" ({shape.unit})" if shape.unit and shape.unit != "duration" else ""
    cells = [flag, f"`{entry.variable}`", f"`{entry.shown(entry.default)}`"]
    return "| " + " | ".join([*cells, shape.wanted + unit, entry.setting.help]) + " |\n"


if __name__ == "__main__":
    print(table(), end="")
