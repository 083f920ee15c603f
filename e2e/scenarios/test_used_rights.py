"""All that was done in all scenarios, at the API servers' audit logs: just what the rules grant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import yaml

from sandbox.builds import CONTROL_PLANE, build
from sandbox.controlplane import ControlPlane
from sandbox.headgate import COLLECTOR, SERVICE_ACCOUNT
from sandbox.paths import ROOT
from scenarios.cluster import Cluster, Worlds
from scenarios.rights import Comparison, compare

pytestmark = [pytest.mark.sandbox, pytest.mark.at_the_end]

ACCOUNTS = [
    pytest.param(SERVICE_ACCOUNT, "two-replicas", id="the operator, of which there may be two"),
    pytest.param(COLLECTOR, "collector", id="the collector"),
]
"""ServiceAccounts, and the overlay that grants them all that they were given in some scenario."""


@pytest.mark.parametrize(("account", "overlay"), ACCOUNTS)
def test_no_right_is_missing(cluster: Cluster, worlds: Worlds, account: str, overlay: str) -> None:
    """Nothing was refused but what tests tried on purpose, and all that was used is in a rule."""
    found = _compare(worlds, account, overlay)
    cluster.tell(f"rights of {account}, from {found.requests:,} requests in the audit logs:")
    for line in found.lines():
        cluster.tell(line)

    assert found.requests > 0
    assert found.refused == []
    assert found.missing == []


@pytest.mark.parametrize(("account", "overlay"), ACCOUNTS)
def test_no_right_is_unused(
    worlds: Worlds, not_whole_because: str, account: str, overlay: str
) -> None:
    """The rules grant nothing that some scenario did not need; asked of the whole suite only."""
    if not_whole_because:
        pytest.skip(not_whole_because)

    assert _compare(worlds, account, overlay).unused == []


def _compare(worlds: Worlds, account: str, overlay: str) -> Comparison:
    return compare(_rendered(overlay), worlds.asked(), account)


def _rendered(overlay: str) -> Sequence[Mapping[str, Any]]:
    """Return the manifests of an overlay as kustomize renders them; no cluster is asked."""
    binary = build(CONTROL_PLANE, lambda _: None) / "controlplane"
    nowhere = ControlPlane(binary, ROOT, ROOT / "no-kubeconfig", 1)
    folder = ROOT / "manifests" / "overlays" / overlay
    return list(yaml.safe_load_all(nowhere.kubectl("kustomize", str(folder))))
