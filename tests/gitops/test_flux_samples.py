"""The samples for Flux, against the CRDs of the Flux that they are written for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sandbox.builds import FLUX_CRDS, build
from sandbox.controlplane import KubectlError
from sandbox.paths import ROOT

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

SAMPLES = ROOT / "manifests" / "gitops" / "flux"
FILES = sorted(SAMPLES.rglob("*.yaml"))
NAMESPACES = ("flux-system", "models")


def objects(file: Path) -> list[dict[str, Any]]:
    """Return the manifests of a file."""
    return [manifest for manifest in yaml.safe_load_all(file.read_text()) if manifest]


def kustomization(name: str) -> dict[str, Any]:
    """Return the Kustomization of a sample for models."""
    found = objects(SAMPLES / "models" / f"{name}.yaml")
    assert [manifest["kind"] for manifest in found] == ["Kustomization"]
    return found[0]


@pytest.fixture(scope="module")
def flux(apiserver: ApiServer) -> Iterator[ApiServer]:
    """Give the API server with Flux's CRDs and the samples' namespaces; they go afterwards."""
    crds = build(FLUX_CRDS, lambda line: print(line, file=sys.stderr))
    apiserver.control_plane.apply("-f", str(crds), "--recursive")
    apiserver.control_plane.wait_until_established()
    for namespace in NAMESPACES:
        manifest = f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"
        apiserver.control_plane.apply("-f", "-", stdin=manifest)
    yield apiserver
    apiserver.kubectl("delete", "-f", str(crds), "--recursive", "--wait=false")


@pytest.mark.apiserver
@pytest.mark.parametrize(
    "file", [pytest.param(file, id=str(file.relative_to(SAMPLES))) for file in FILES]
)
def test_a_sample_is_taken_as_it_is(flux: ApiServer, file: Path) -> None:
    """No field is unknown, misplaced or of the wrong type, and each object says where it lives."""
    words = ("apply", "--server-side", "--dry-run=server", "--validate=strict")
    said = flux.kubectl(*words, "-f", str(file))

    found = objects(file)
    assert said.count("serverside-applied (server dry run)") == len(found)
    assert {manifest["metadata"]["namespace"] for manifest in found} <= set(NAMESPACES)


@pytest.mark.apiserver
def test_a_misspelt_field_would_be_refused(flux: ApiServer) -> None:
    """The test above sees what it is there to see."""
    broken = kustomization("wait")
    broken["spec"]["timeOut"] = broken["spec"].pop("timeout")

    with pytest.raises(KubectlError, match="timeOut"):
        flux.kubectl(
            *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"),
            stdin=yaml.safe_dump(broken),
        )


def test_waiting_for_the_rollout_differs_in_nothing_but_how_it_waits() -> None:
    """One sample can take the other's place: same objects, rights and order."""
    wait, rolled_out = kustomization("wait"), kustomization("rolled-out")
    for name in ("timeout", "healthCheckExprs"):
        wait["spec"].pop(name, None)
        rolled_out["spec"].pop(name)

    assert wait == rolled_out


def test_flux_may_write_nothing_that_the_operator_owns() -> None:
    """The model team's ServiceAccount reaches ModelDeployments and what they name, alone."""
    rules = [
        rule for m in objects(SAMPLES / "models" / "access.yaml") for rule in m.get("rules", ())
    ]

    assert [(rule["apiGroups"], rule["resources"]) for rule in rules] == [
        (["headgate.dev"], ["modeldeployments"]),
        ([""], ["configmaps"]),
    ]


def test_a_release_brings_the_crds_up_to_date() -> None:
    """Helm alone leaves them as they were first installed; both ways to get the chart agree."""
    releases = [
        manifest["spec"]
        for name in ("release", "repository")
        for manifest in objects(SAMPLES / "headgate" / f"{name}.yaml")
        if manifest["kind"] == "HelmRelease"
    ]

    assert len(releases) == 2
    for spec in releases:
        assert [spec[phase]["crds"] for phase in ("install", "upgrade")] == ["CreateReplace"] * 2
    for spec in releases:
        spec.pop("chartRef", None)
        spec.pop("chart", None)
    assert releases[0] == releases[1]
