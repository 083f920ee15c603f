"""A small model, its profile, and events about it as KServe's agent sends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from headgate.collector.events import Address, Event, Half, Head
from headgate.core.drift.profile import (
    CategoryFeature,
    Feature,
    NumberFeature,
    Profile,
    digest,
    render,
)
from headgate.ports import CONFIG_MAP, MODEL_REVISION, Kind, Manifest

ADDRESS = Address("models", "fraud", "9c1d44e0")
PATH = "/v1/models/fraud/9c1d44e0"
SECRET = "hunter2-4929-1234"
_IDS = count()


def number(name: str, *edges: float) -> NumberFeature:
    """A number feature with these edges and even shares."""
    return NumberFeature(name, 100, edges, (1 / (len(edges) + 1),) * (len(edges) + 1))


def category(name: str, *categories: str) -> CategoryFeature:
    """A category feature with even shares."""
    bins = len(categories) + 1
    return CategoryFeature(name, 100, categories, (1 / bins,) * bins)


def profile(*features: Feature, predictions: Feature | None = None) -> Profile:
    """A profile of these."""
    return Profile(100, features, predictions)


FRAUD = profile(
    number("amount", 0.0, 10.0, 100.0),
    category("country", "DE", "FR"),
    predictions=number("score", 0.5),
)
"""Two inputs and a number as prediction."""


def event(half: Half, body: object, id: str = "", address: Address = ADDRESS) -> Event:
    """An event; a body that is not bytes is written as JSON, and without an id it gets its own."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Event(address, Head(half, id or f"call-{next(_IDS)}"), raw)


def headers(half: str = "request", **more: str) -> dict[str, str]:
    """The headers of the agent; `more` replaces or adds, with `_` for `-`."""
    given = {
        "ce-specversion": "1.0",
        "ce-id": f"call-{next(_IDS)}",
        "ce-source": "http://localhost:9081/",
        "ce-type": f"org.kubeflow.serving.inference.{half}",
        "ce-time": "2026-11-25T04:00:00Z",
        "ce-inferenceservicename": "fraud-9c1d44e0",
        "ce-namespace": "models",
        "ce-component": "predictor",
        "content-type": "application/json",
    }
    return given | {name.replace("_", "-"): value for name, value in more.items()}


def revision(reference: Mapping[str, Any] | None) -> Manifest:
    """A ModelRevision with this reference."""
    spec: dict[str, Any] = {"deployment": "fraud", "hash": "9c1d44e0"}
    if reference is not None:
        spec["drift"] = {"reference": reference}
    return {"spec": spec}


@dataclass
class FakeObjects:
    """A cluster of ModelRevisions and ConfigMaps that can be slow, or away."""

    found: dict[tuple[str, str, str], Manifest] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    error: Exception | None = None
    seconds: float = 0.0

    def add(self, model: Profile, address: Address = ADDRESS) -> None:
        """Store a revision with this profile in a ConfigMap."""
        config_map = {"name": "fraud-profile", "key": "profile.json"}
        reference = {"configMap": config_map, "digest": digest(model)}
        place = (MODEL_REVISION.plural, address.namespace, address.revision)
        self.found[place] = revision(reference)
        place = (CONFIG_MAP.plural, address.namespace, "fraud-profile")
        self.found[place] = {"data": {"profile.json": render(model)}}

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """Answer as the API server does."""
        place = (kind.plural, str(namespace), name)
        self.asked.append(place)
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return self.found.get(place)
