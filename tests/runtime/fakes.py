"""What the tests of the runtime put in the place of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from headgate.ports import Kind, Manifest
from headgate.reconcile.world import Transition

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


class FixedClock:
    """A clock that stands still at noon."""

    def now(self) -> datetime:
        """Noon."""
        return NOON


@dataclass
class Tally:
    """Keeps what the runtime would count."""

    passes: list[str] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    rounds: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)

    def passed(self, outcome: str, seconds: float) -> None:
        """A pass ended."""
        self.passes.append(outcome)

    def changed(self, transition: Transition) -> None:
        """Something changed."""
        self.transitions.append(transition)

    def resynced(self, result: str) -> None:
        """A round ended."""
        self.rounds.append(result)

    def missed(self, how: str, number: int) -> None:
        """The watch missed something."""
        self.misses += [how] * number


class ListedCluster:
    """A cluster of which only lists are read: `objects` by namespace and name, or an error."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.error: Exception | None = None
        self.refused: dict[str, Exception] = {}
        self.asked: list[tuple[str, str | None]] = []

    def put(self, namespace: str, name: str, version: int) -> Manifest:
        """Store an object; its uid follows from its name."""
        metadata = {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
        }
        self.objects[namespace, name] = {"metadata": metadata}
        return self.objects[namespace, name]

    async def list(
        self, kind: Kind, namespace: str | None, labels: Mapping[str, str]
    ) -> Sequence[Manifest]:
        """List as the port does."""
        self.asked.append((kind.plural, namespace))
        if self.error is not None:
            raise self.error
        if kind.plural in self.refused:
            raise self.refused[kind.plural]
        if labels:
            return []
        return [each for (place, _), each in self.objects.items() if namespace in (None, place)]

    def __getattr__(self, verb: str) -> Any:
        """Refuse every other verb: nothing here may write."""
        raise AssertionError(f"{verb} was not expected")
