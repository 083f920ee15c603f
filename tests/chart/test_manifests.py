"""The chart and manifests/ install the same objects."""

from __future__ import annotations

from typing import Any

import pytest
from tests.chart.rendering import ROOT, by_key, kustomize, template

pytestmark = pytest.mark.apiserver

PAIRS = {
    "base": {},
    "overlays/collector": {"collector": {"enabled": True}},
    "overlays/writeback": {"writeback": {"enabled": True}},
    "overlays/track-secrets": {"trackSecrets": True},
    "overlays/namespaced": {"namespaces": ["models"], "gatewayNamespaces": ["gateways"]},
    "overlays/track-commits": {
        "commits": {"argocd": {"namespaces": ["argocd"]}, "flux": {"namespaces": ["flux-system"]}}
    },
    "overlays/two-replicas": {"replicas": 2},
    "overlays/owner-references": {"ownerReferencesPermissionEnforcement": True},
}
"""A folder of manifests/, and the values that mean the same."""

NO_COUNTERPART = {"overlays/sandbox"}
"""Without a pod: the embedded world runs the operator as a process."""


@pytest.mark.parametrize(("folder", "values"), PAIRS.items(), ids=PAIRS)
def test_kustomize_and_helm_render_the_same_objects(folder: str, values: dict[str, Any]) -> None:
    """Name by name and field by field; only labels and annotations of Helm's own are left out."""
    by_kustomize = by_key(kustomize(ROOT / "manifests" / folder))
    by_helm = by_key(template({**values, "namespace": {"create": True}}))

    assert sorted(by_kustomize) == sorted(by_helm)
    for name, wanted in by_kustomize.items():
        assert by_helm[name] == wanted, name


def test_every_overlay_has_its_values() -> None:
    """Who adds an overlay says which values mean the same."""
    folders = {
        str(file.parent.relative_to(ROOT / "manifests"))
        for pattern in ("base", "overlays/*")
        for file in (ROOT / "manifests").glob(f"{pattern}/kustomization.yaml")
    }
    assert folders == set(PAIRS) | NO_COUNTERPART
