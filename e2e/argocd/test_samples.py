"""The samples before the API server that has Argo CD's kinds, and the settings as they arrived."""

from __future__ import annotations

import pytest
import yaml

from argocd.conftest import Followed
from sandbox.argocd import COMPONENT, NAMESPACE

pytestmark = [pytest.mark.argocd]

_SAMPLES = sorted((COMPONENT / "samples").glob("*.yaml"))


@pytest.mark.parametrize("file", [pytest.param(file, id=file.stem) for file in _SAMPLES])
def test_a_sample_is_what_argo_cd_takes(followed: Followed, file: object) -> None:
    """Claim: every field of every sample is one that its kind has."""
    kubectl = followed.world.control_plane.kubectl

    told = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(file))

    assert told.strip().endswith("(server dry run)")


def test_the_component_adds_our_keys_and_changes_none_of_argo_cds(followed: Followed) -> None:
    """Claim: argocd-cm holds all that Argo CD's own has, and all of ours, word by word."""
    found = followed.cluster.api.find("ConfigMap", NAMESPACE, "argocd-cm")
    place = followed.world.places["argocd"]
    theirs = yaml.safe_load((place / "config" / "argocd-cm.yaml").read_text())["data"]
    ours = yaml.safe_load((COMPONENT / "argocd-cm.yaml").read_text())["data"]

    assert found is not None
    assert found["data"] == {**theirs, **ours}
    assert not theirs.keys() & ours.keys()
