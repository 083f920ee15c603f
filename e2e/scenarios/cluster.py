"""
The cluster under test as scenarios see it: addresses, a login, what can be broken in it.

Owns no world: `embedded` makes one from the sandbox; a cluster somewhere else needs another maker,
and scenarios that break what it cannot break are skipped there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sandbox.audit import Request
from sandbox.load import Load, Plan
from scenarios.api import Api

T = TypeVar("T")

NAMESPACE = "scenarios"
"""Where every scenario has its objects."""

_POLL_SECONDS = 0.25


class Faults(Protocol):
    """What can be broken. Each returns, or ends, when the part is at work again."""

    def kill_operator(self) -> None:
        """End the operator as by `kill -9`, and wait until another process has taken over."""
        ...

    def prometheus_down(self) -> AbstractContextManager[None]:
        """Let Prometheus answer nobody while the block runs."""
        ...

    def api_server_down(self) -> AbstractContextManager[None]:
        """Let the API server answer nobody while the block runs."""
        ...

    def dependency_failing(self, share: float) -> AbstractContextManager[None]:
        """Let what all models ask before they answer fail a share of its requests meanwhile."""
        ...

    def start_dependency(self) -> Mapping[str, object]:
        """Start it, and return the entry for `env` of a model that asks it."""
        ...

    def spent_budget(self, model: str, until: datetime) -> None:
        """Let Prometheus remember a day of a model, up to a moment, in which 2 % failed."""
        ...


class Waited(AssertionError):
    """What was waited for did not come; the message says what was found instead."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    A cluster with KServe, a gateway, Prometheus and Headgate.

    Attributes:
        gateway: Address of the public gateway; routes are told apart by host name.
        api: The administrator.
        login: Kubeconfig of the administrator, for commands that people run.
        operator_login: Kubeconfig of the operator itself, with nothing but its token.
        operator_log: The operator's log.
        faults: What can be broken in it.
        folder: For the reports of the load clients.
        told: Lines for the summary: what users saw.
        ending: Set when nobody waits for a scenario any more.
    """

    gateway: str
    api: Api = field(repr=False)
    login: Path = field(repr=False)
    operator_login: Path = field(repr=False)
    operator_log: Path = field(repr=False)
    faults: Faults = field(repr=False)
    folder: Path = field(repr=False)
    told: list[str] = field(default_factory=list, repr=False)
    ending: threading.Event = field(default_factory=threading.Event, repr=False)

    def users(self, model: str, rate: float, seed: int = 0) -> Load:
        """
        Return users of a model, `rate` requests a second; they begin with `start`.

        Another seed sends other requests and is counted in another file.
        """
        plan = Plan(self.gateway, host_of(model), model, rate, seed=seed)
        return Load(plan, self.folder / f"{model}-{seed}.jsonl")

    def tell(self, line: str) -> None:
        """Say in the summary at the end what somebody should read."""
        self.told.append(line)

    def wait(self, what: str, look: Callable[[], T | None], seconds: float) -> T:
        """
        Look again and again until something is found, and return it.

        Raises:
            Waited: Nothing was found in `seconds`; `what` says what was wanted.
        """
        deadline = time.monotonic() + seconds
        while not self.ending.is_set():
            found = look()
            if found:
                return found
            if time.monotonic() > deadline:
                raise Waited(f"wanted within {seconds:.0f} s: {what}")
            time.sleep(_POLL_SECONDS)
        raise Waited(f"given up: {what}")


class Worlds(Protocol):
    """Makes clusters for scenarios that cannot share one."""

    def up(self, name: str) -> AbstractContextManager[Cluster]:
        """Bring a new cluster up, and down at the end of the block."""
        ...

    def without_headgate(self, name: str) -> AbstractContextManager[Bare]:
        """Bring a new cluster up in which Headgate is not installed, and down at the end."""
        ...

    def asked(self) -> Iterator[Request]:
        """Yield what Headgate's ServiceAccounts asked of the API servers of all clusters."""
        ...


class Operator(Protocol):
    """One operator that a test runs."""

    def leads(self) -> bool:
        """Whether it works, by its own metrics; one that stands by does not."""
        ...

    def kill(self) -> None:
        """End it as by `kill -9`."""
        ...

    def stop(self) -> float:
        """Let it end, as a kubelet would; returns how many seconds it took."""
        ...


class Bare(Protocol):
    """A cluster in which tests install Headgate, and remove it again."""

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        ...

    def installed(self, overlay: str, account: str = "") -> AbstractContextManager[Installation]:
        """Install the rights of an overlay of manifests/ while the block runs, and no pod.

        `account` is the name of the ServiceAccount that gets them, if it is not the overlay's own.
        """
        ...

    def charted(self, chart: Path) -> AbstractContextManager[Charted]:
        """Install a chart by Helm while the block runs; operators are processes, not its pods."""
        ...

    def asked(self) -> Iterator[Request]:
        """Yield what Headgate's ServiceAccounts asked of its API server."""
        ...


class Installation(Protocol):
    """Headgate's rights in a cluster; all operators that it started end with it."""

    @property
    def manifests(self) -> Sequence[Mapping[str, Any]]:
        """What was applied."""
        ...

    def start(self, *words: str) -> Operator:
        """Start an operator with further words on its command line, and wait until it is ready."""
        ...


class Charted(Installation, Protocol):
    """Headgate as its chart installs it."""

    def upgrade(self, chart: Path) -> None:
        """Go on to another version of the chart, as `helm upgrade` does."""
        ...


def host_of(model: str) -> str:
    """Return the host name under which the model of a scenario is served."""
    return f"{model}.scenarios.example.com"


def last_of(log: Path, count: int, about: Sequence[str]) -> str:
    """Return the last `count` lines of a log that hold one of the words."""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if any(word in line for word in about)][-count:])
