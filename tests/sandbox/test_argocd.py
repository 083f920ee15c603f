"""Argo CD as parts of a world: what is rendered for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.argocd import COMPONENT, OPTION, render_overlay
from sandbox.builds import GITOPS_ENGINE, argocd_modules
from sandbox.cache import MissingError
from sandbox.parts import ALL, select


def test_argo_cd_stands_in_for_the_small_controller() -> None:
    """Two controllers that follow one repository would each prune what the other applies."""
    names = [part.name for part in select([], [OPTION.name])]

    assert "gitsync" not in names
    assert {part.name for part in ALL} - set(names) == {"gitsync"}
    assert names[-4:] == ["argocd-redis", "argocd-repo", "argocd", "argocd-server"]


def test_its_settings_are_its_own_and_our_component() -> None:
    """What a user adds to an Argo CD is what this one runs with; nothing is set besides."""
    overlay: dict[str, Any] = render_overlay("../config", "../component")

    assert overlay["resources"] == ["../config"]
    assert overlay["components"] == ["../component"]
    patched = yaml.safe_load(overlay["patches"][0]["patch"])
    assert (patched["kind"], list(patched["stringData"])) == ("Secret", ["server.secretkey"])
    component = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())
    assert component["kind"] == "Component"
    assert component["patches"] == [{"path": "argocd-cm.yaml"}]


def test_its_modules_are_pinned_but_for_the_folder_that_is_missing(tmp_path: Path) -> None:
    """go.mod and go.sum are Argo CD's; the local folder is replaced by the published commit."""
    (tmp_path / "go.mod").write_text(
        f"module x\n\nreplace {GITOPS_ENGINE.path} => ./gitops-engine\n"
    )
    (tmp_path / "go.sum").write_text("other v1.0.0 h1:abc=\n")
    chosen = tmp_path / "chosen"
    chosen.mkdir()

    file = argocd_modules(tmp_path, chosen)

    published = f"{GITOPS_ENGINE.path} {GITOPS_ENGINE.version}"
    assert file.read_text() == f"module x\n\nreplace {GITOPS_ENGINE.path} => {published}\n"
    sums = file.with_suffix(".sum").read_text().splitlines()
    assert sums[:2] == ["other v1.0.0 h1:abc=", f"{published} {GITOPS_ENGINE.checksum}"]


def test_another_argo_cd_whose_go_mod_is_not_so_is_refused(tmp_path: Path) -> None:
    """An upgrade that no longer needs the replacement is noticed, not silently built otherwise."""
    (tmp_path / "go.mod").write_text("module x\n")
    (tmp_path / "go.sum").write_text("")

    with pytest.raises(MissingError, match="has no line 'replace "):
        argocd_modules(tmp_path, tmp_path)
