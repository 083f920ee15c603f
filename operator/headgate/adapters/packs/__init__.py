"""Metric packs: how one source names what we count, as data.

Owns the format of the files beside it. Must not know how they are queried or judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from typing import Any

import yaml

from headgate.core.counters import BAD, GOOD


@dataclass(frozen=True, slots=True)
class ArmLabel:
    """The label that tells which backend served, and its value for one position of one route."""

    label: str
    value: str

    def of(self, namespace: str, route: str, position: int) -> str:
        """The label's value for the backend at this position of the route's first rule."""
        return self.value.format(namespace=namespace, route=route, position=position)


@dataclass(frozen=True, slots=True)
class Errors:
    """A counter of answers by class: `outcomes` says which classes are good and which bad.

    A class that is in neither is no request of its own, and is not counted.
    """

    metric: str
    label: str
    outcomes: dict[str, str]

    def outcome(self, value: str) -> str | None:
        """`good`, `bad`, or None for what is not to be counted."""
        return self.outcomes.get(value)


@dataclass(frozen=True, slots=True)
class Latency:
    """A classic histogram: cumulative buckets by upper bound, in a unit of the source's own."""

    metric: str
    label: str
    seconds_per_unit: Decimal

    def outcome(self, value: str) -> str | None:
        """The upper bound in seconds, as Prometheus writes it; raises ValueError if it is none."""
        try:
            bound = Decimal(value)
        except InvalidOperation as error:
            raise ValueError(f"{value!r} is not a bucket's upper bound") from error
        if bound.is_infinite() and bound > 0:
            return "+Inf"
        if not bound.is_finite() or bound < 0:
            raise ValueError(f"{value!r} is not a bucket's upper bound")
        return f"{(bound * self.seconds_per_unit).normalize():f}"


@dataclass(frozen=True, slots=True)
class Pack:
    """One source: the labels that place a series, and the two built-in signals."""

    name: str
    arm: ArmLabel
    instance: tuple[str, ...]
    errors: Errors
    latency: Latency


def load_pack(name: str) -> Pack:
    """Read a pack that we ship; raises ValueError, with the names there are, if there is none."""
    known = sorted(
        entry.name.removesuffix(".yaml")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".yaml")
    )
    if name not in known:
        raise ValueError(f"no metric pack {name!r}; there are: {', '.join(known)}")
    text = (files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_pack(yaml.safe_load(text))


def parse_pack(document: dict[str, Any]) -> Pack:
    """Turn a pack's file into a value; a file that is wrong is our own mistake (KeyError)."""
    errors, latency = document["errors"], document["latency"]
    outcomes = dict.fromkeys(errors["good"], GOOD) | dict.fromkeys(errors["bad"], BAD)
    return Pack(
        name=document["name"],
        arm=ArmLabel(document["arm"]["label"], document["arm"]["value"]),
        instance=tuple(document["instance"]),
        errors=Errors(errors["metric"], errors["label"], outcomes),
        latency=Latency(latency["metric"], latency["label"], Decimal(latency["seconds_per_unit"])),
    )
