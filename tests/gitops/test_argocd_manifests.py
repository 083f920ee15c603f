"""What manifests/gitops/argocd gives to an Argo CD."""

from __future__ import annotations

import runpy

import yaml
from tests.gitops.luavm import Json

from sandbox.paths import ROOT

FOLDER = ROOT / "manifests" / "gitops" / "argocd"
SCRIPTS = FOLDER / "resource_customizations" / "headgate.dev"
KINDS = {"ModelDeployment", "ModelRevision", "ModelRollout"}


def settings() -> Json:
    """Return the keys that the patch adds to argocd-cm."""
    patch: Json = yaml.safe_load((FOLDER / "argocd-cm.yaml").read_text())
    assert (patch["kind"], patch["metadata"]) == ("ConfigMap", {"name": "argocd-cm"})
    return dict(patch["data"])


def test_the_patch_is_what_the_scripts_give_now() -> None:
    """Claim: nobody has changed one without the other; render.py says how to renew it."""
    rendered = runpy.run_path(str(FOLDER / "render.py"))["render"]()

    assert (FOLDER / "argocd-cm.yaml").read_text() == rendered


def test_every_kind_has_its_health_and_no_update_for_a_mere_status() -> None:
    """Claim: per kind the very script as Argo CD's repository would have it, and /status."""
    found = settings()

    for kind in KINDS:
        script = (SCRIPTS / kind / "health.lua").read_text()
        assert found[f"resource.customizations.health.headgate.dev_{kind}"] == script
        ignored = found[f"resource.customizations.ignoreResourceUpdates.headgate.dev_{kind}"]
        assert yaml.safe_load(ignored) == {"jsonPointers": ["/status"]}
    actions = "resource.customizations.actions.headgate.dev_ModelDeployment"
    assert len(found) == 2 * len(KINDS) + 1
    assert actions in found


def test_every_action_on_offer_has_its_script() -> None:
    """Claim: the value of the actions' key, read as Argo CD reads it, has exactly the files."""
    found = yaml.safe_load(
        settings()["resource.customizations.actions.headgate.dev_ModelDeployment"]
    )
    folder = SCRIPTS / "ModelDeployment" / "actions"

    assert found["discovery.lua"] == (folder / "discovery.lua").read_text()
    scripts = {one["name"]: one["action.lua"] for one in found["definitions"]}
    assert scripts == {file.parent.name: file.read_text() for file in folder.glob("*/action.lua")}
    for name in scripts:
        assert f'actions["{name}"]' in found["discovery.lua"]
