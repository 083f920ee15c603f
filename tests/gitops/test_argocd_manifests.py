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


def sample(name: str) -> Json:
    """Return one of the samples; each file has one object."""
    found: Json = yaml.safe_load((FOLDER / "samples" / f"{name}.yaml").read_text())
    return found


def test_the_samples_sync_all_by_themselves_and_delete_no_model_by_mistake() -> None:
    """Claim: automation is on in both ways, and neither an empty folder nor a deleted
    ApplicationSet stops a model."""
    application = sample("application")["spec"]
    generated = sample("applicationset")["spec"]

    automated = {"prune": True, "selfHeal": True, "allowEmpty": False}
    for spec in (application, generated["template"]["spec"]):
        assert spec["syncPolicy"]["automated"] == automated
        assert spec["project"] == sample("appproject")["metadata"]["name"]
        assert "ignoreDifferences" not in spec
    assert generated["syncPolicy"]["preserveResourcesOnDeletion"] is True
    # CRDs take every object of their kind with them.
    assert sample("platform")["spec"]["syncPolicy"]["automated"]["prune"] is False


def test_a_model_team_may_bring_what_headgate_releases_and_nothing_past_it() -> None:
    """Claim: no InferenceService, no route, no record can come from a model team's repository."""
    project = sample("appproject")["spec"]

    kinds = {one["kind"] for one in project["namespaceResourceWhitelist"]}
    assert kinds == {"ModelDeployment", "ServingRuntime", "ConfigMap"}
    assert project["clusterResourceWhitelist"] == []


def test_who_may_stop_a_release_may_not_skip_its_evidence() -> None:
    """Claim: each action is granted by name to one role, and promoting to another one than the
    rest."""
    roles = {role["name"]: role["policies"] for role in sample("appproject")["spec"]["roles"]}
    names = {
        file.parent.name for file in (SCRIPTS / "ModelDeployment").glob("actions/*/action.lua")
    }

    def granted(role: str) -> set[str]:
        lines = (line.split(", ") for line in roles[role])
        return {line[3].rpartition("/")[2] for line in lines if line[3].startswith("action/")}

    assert granted("releaser") == names - {"promote-now"}
    assert granted("promoter") == {"promote-now"}


def test_the_page_names_every_key_action_and_sample() -> None:
    """Claim: docs/argocd.md leaves out none of what is here."""
    page = (ROOT / "docs" / "argocd.md").read_text()

    for key in settings():
        assert key in page or f"{key.rpartition('_')[0]}_<Kind>" in page
    for file in (SCRIPTS / "ModelDeployment").glob("actions/*/action.lua"):
        assert f"| {file.parent.name} |" in page
    for file in (FOLDER / "samples").iterdir():
        assert f"| `{file.name}` |" in page
