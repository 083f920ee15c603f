"""What the real kustomize-controller makes of every status that our stories end in or pass through.

No operator runs here, nor anything that a model needs: the statuses are those that the operator
wrote in the world in memory, put on real objects that Flux applies and waits for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.scenarios.kstatus import Verdict
from tests.scenarios.test_kstatus import STORIES, Watched

from sandbox.world import load_world
from scenarios.cluster import NAMESPACE
from scenarios.embedded import EmbeddedWorlds
from scenarios.flux import Flux, sample
from scenarios.release import condition

# Marked as what needs the whole world too, for it is as little part of `make test`.
pytestmark = [pytest.mark.flux, pytest.mark.sandbox]

WORLD = "e2e-flux-verdicts"
NOT_NEEDED = ("kserve", "gateway", "node", "prometheus", "headgate")
TIMEOUT = "30s"
PATIENCE_SECONDS = 150.0

Snapshots = dict[str, tuple[Verdict, dict[str, Any]]]
"""By a name that tells phase and verdict: what kstatus should say, and the object."""


@pytest.fixture(scope="module")
def flux() -> Iterator[Flux]:
    """Give a control plane and Flux, with nothing else in it."""
    with EmbeddedWorlds().up(WORLD, "flux", without=NOT_NEEDED) as cluster:
        yield Flux.of(cluster, load_world(WORLD))


async def record() -> Snapshots:
    """Return every status of every story, each kind of phase, verdict and message once."""
    found: dict[tuple[str, Verdict, str], dict[str, Any]] = {}
    for story in STORIES:
        watched = Watched()
        await story.values[0](watched)
        found = {**watched.snapshots, **found}
    return {
        f"{(phase or 'new').lower()}-{verdict.lower()}-{number}": (verdict, manifest)
        for number, ((phase, verdict, _), manifest) in enumerate(found.items())
    }


def commit(flux: Flux, folder: str, name: str, manifest: dict[str, Any]) -> None:
    """Put a story's object into Git and into the cluster, with the status that it had."""
    metadata = {"name": name, "namespace": NAMESPACE}
    known = {key: manifest[key] for key in ("apiVersion", "kind", "spec")}
    committed = {**known, "metadata": metadata}
    file = flux.team.folder / folder / f"{name}.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(committed))
    generation = flux.cluster.api.apply(committed)["metadata"]["generation"]
    status = dict(manifest["status"])
    seen = status["observedGeneration"] == manifest["metadata"]["generation"]
    if status["observedGeneration"] != -1:
        status["observedGeneration"] = generation if seen else generation - 1
    flux.kubectl(
        *("patch", "modeldeployment", name, "-n", NAMESPACE, "--subresource=status"),
        *("--type=merge", "-p", json.dumps({"status": status})),
    )


def follow(flux: Flux, folder: str) -> None:
    """Let Flux apply a folder, and wait for what is in it."""
    (manifest,) = sample("wait")
    manifest["metadata"]["name"] = folder
    del manifest["spec"]["dependsOn"]
    manifest["spec"].update({"path": f"./{folder}", "timeout": TIMEOUT, "interval": "1h"})
    flux.cluster.api.apply(manifest)


def verdict(flux: Flux, folder: str) -> str:
    """Return what Flux says of a folder in the end: status, reason and message."""

    def look() -> str:
        found = flux.cluster.api.find("Kustomization", NAMESPACE, folder) or {}
        ready = condition(found.get("status", {}), "Ready")
        ended = ready.get("status") in ("True", "False")
        return f"{ready['status']} {ready['reason']}: {ready['message']}" if ended else ""

    return flux.cluster.wait(f"Flux's word about {folder}", look, PATIENCE_SECONDS)


async def test_flux_reads_every_status_as_the_table_says(flux: Flux) -> None:
    """Healthy ones together are ready, those in progress time out, each failed one fails alone."""
    snapshots = await record()
    folders: dict[str, list[str]] = {}
    for name, (expected, manifest) in snapshots.items():
        folder = name if expected is Verdict.FAILED else expected.lower()
        commit(flux, folder, name, manifest)
        folders.setdefault(folder, []).append(name)
    flux.team.commit("What the stories told")
    flux.cluster.wait("Flux to fetch the commit", flux.has_fetched, PATIENCE_SECONDS)
    for folder in folders:
        follow(flux, folder)

    said = {folder: verdict(flux, folder) for folder in folders}

    waiting = said.pop(Verdict.IN_PROGRESS.lower())
    assert said.pop(Verdict.CURRENT.lower()).startswith("True ReconciliationSucceeded: ")
    assert waiting.startswith("False HealthCheckFailed: ")
    assert ": timeout waiting for: [" in waiting
    for name in folders[Verdict.IN_PROGRESS.lower()]:
        assert f"ModelDeployment/{NAMESPACE}/{name} status: 'InProgress'" in waiting
    assert len(said) >= 3, snapshots.keys()
    for name, text in said.items():
        assert text.startswith("False HealthCheckFailed: ")
        assert ": failed early due to stalled resources: [" in text
        assert f"ModelDeployment/{NAMESPACE}/{name} status: 'Failed'" in text
