"""
Which cluster the scenarios run against: the embedded world, kind, or one that is there.

Owns the names and what each needs from the environment. Starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

KUBECONFIG, GATEWAY = "HEADGATE_E2E_KUBECONFIG", "HEADGATE_E2E_GATEWAY"


class Kind(StrEnum):
    """The clusters that can be chosen."""

    SANDBOX = "sandbox"
    KIND = "kind"
    EXISTING = "existing"


class BadChoice(ValueError):
    """No such cluster, or what it needs was not said; the text says what was wanted."""


@dataclass(frozen=True, slots=True)
class Existing:
    """A cluster that somebody brought up: an administrator's login, and the gateway's address."""

    kubeconfig: Path
    gateway: str


def choose(name: str, environment: Mapping[str, str], kind: Existing) -> Existing | None:
    """
    Return the cluster of this name; None for the embedded world, which makes its own.

    `kind` is where kind's cluster is. Raises BadChoice.
    """
    if name not in set(Kind):
        raise BadChoice(f"wanted a cluster of {', '.join(Kind)}, found {name!r}")
    if name == Kind.SANDBOX:
        return None
    if name == Kind.KIND:
        return _checked(kind, "it is not up: python -m kind up")
    kubeconfig, gateway = environment.get(KUBECONFIG, ""), environment.get(GATEWAY, "")
    absent = [n for n, v in ((KUBECONFIG, kubeconfig), (GATEWAY, gateway)) if not v]
    if absent:
        raise BadChoice(f"an existing cluster: wanted {' and '.join(absent)} in the environment")
    if not gateway.startswith("http://"):
        raise BadChoice(f"{GATEWAY}: wanted http://HOST[:PORT], found {gateway!r}")
    return _checked(Existing(Path(kubeconfig).expanduser(), gateway.rstrip("/")), "no such file")


def _checked(found: Existing, otherwise: str) -> Existing:
    if not found.kubeconfig.is_file():
        raise BadChoice(f"{found.kubeconfig}: {otherwise}")
    return found
