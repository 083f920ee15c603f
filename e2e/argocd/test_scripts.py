"""
The scripts and samples before the real Argo CD: its own Lua machine, its own reading of rights.

Needs the program, and no world.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.gitops import luavm, releases
from tests.gitops.releases import Json, Tell, seen

from sandbox.argocd import COMPONENT
from sandbox.builds import ARGOCD_PROGRAM, build

pytestmark = [pytest.mark.argocd]

_SCRIPTS = COMPONENT / "resource_customizations" / "headgate.dev"
_ROLES = "proj:models:"

# For commands that make a client of a cluster and then do not ask it.
_NOWHERE = """
apiVersion: v1
kind: Config
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: nowhere, context: {cluster: nowhere, user: ""}}]
current-context: nowhere
"""


@pytest.fixture(scope="session")
def program() -> Path:
    """Give Argo CD's program."""
    return build(ARGOCD_PROGRAM, print) / "argocd"


def settings(program: Path, *arguments: str, login: Path | None = None) -> str:
    """Run `argocd admin settings`, which asks no cluster; returns all that it prints."""
    found = subprocess.run(
        [program, "admin", "settings", *arguments],
        env={**os.environ, "KUBECONFIG": str(login or "")},
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout + found.stderr


def overrides(program: Path, verb: str, file: Path, *arguments: str) -> str:
    """Run `argocd admin settings resource-overrides` on an object in a file."""
    chosen = ("--argocd-cm-path", str(COMPONENT / "argocd-cm.yaml"))
    return settings(program, "resource-overrides", verb, str(file), *arguments, *chosen)


def written(folder: Path, obj: Json) -> Path:
    """Write an object to a file, as `kubectl get --output yaml` does."""
    file = folder / f"{obj['kind']}.yaml"
    file.write_text(yaml.safe_dump(obj))
    return file


@pytest.mark.parametrize(
    "tell",
    [
        pytest.param(tell, id=tell.__name__)
        for tell in (
            releases.committed,
            releases.first_failing,
            releases.stable,
            releases.short_of_budget,
            releases.refused,
            releases.progressing,
            releases.paused,
            releases.baking,
            releases.rejected_twice,
        )
    ],
)
async def test_argo_cd_reads_the_scripts_as_the_tests_do(
    program: Path, tell: Tell, tmp_path: Path
) -> None:
    """Claim: health of all three kinds and the offered actions are those of the unit tests."""
    story = await seen(tell)
    kinds = ("ModelDeployment", "ModelRevision", "ModelRollout")
    for obj in (found for kind in kinds for found in story.cluster.all(kind)):
        status, message = luavm.health((_SCRIPTS / obj["kind"] / "health.lua").read_text(), obj)

        told = overrides(program, "health", written(tmp_path, obj))

        assert f"STATUS: {status}\nMESSAGE: {message}" in told

    found = releases.model_deployment(story)
    expected = luavm.run((_SCRIPTS / "ModelDeployment/actions/discovery.lua").read_text(), found)
    listed = overrides(program, "list-actions", written(tmp_path, found))
    rows = dict(re.findall(r"^(\S+) +(true|false)$", listed, re.MULTILINE))
    assert rows == {name: str(action["disabled"]).lower() for name, action in expected.items()}


async def test_argo_cd_runs_an_action_and_changes_annotations_only(
    program: Path, tmp_path: Path
) -> None:
    """Claim: the object that Argo CD would write differs from the one it read by one line."""
    found = releases.model_deployment(await seen(releases.progressing))
    hash = found["status"]["canary"]["hash"]

    told = overrides(program, "run-action", written(tmp_path, found), "pause")

    changed = [line for line in told.splitlines() if line[:1] in "+-<>"]
    assert any(f"headgate.dev/pause: {hash}" in line for line in changed), told
    assert not any("spec" in line for line in changed), told


@pytest.mark.parametrize(
    ("role", "action", "expected"),
    [
        ("releaser", "pause", "Yes"),
        ("releaser", "resume", "Yes"),
        ("releaser", "abort", "Yes"),
        ("releaser", "retry", "Yes"),
        ("releaser", "promote-now", "No"),
        ("promoter", "promote-now", "Yes"),
        ("promoter", "abort", "No"),
    ],
)
def test_only_who_may_skip_the_evidence_can_promote(
    program: Path, role: str, action: str, expected: str, tmp_path: Path
) -> None:
    """Claim: Argo CD itself reads the project's roles so."""
    project = yaml.safe_load((COMPONENT / "samples" / "appproject.yaml").read_text())
    lines = [line for each in project["spec"]["roles"] for line in each["policies"]]
    file = tmp_path / "policy.csv"
    file.write_text("\n".join(lines))

    login = tmp_path / "kubeconfig"
    login.write_text(_NOWHERE)
    asked = (f"action/headgate.dev/ModelDeployment/{action}", "applications", "models/fraud")
    told = settings(
        *(program, "rbac", "can", _ROLES + role, *asked, "--policy-file", str(file)),
        login=login,
    )

    assert told.split()[-1] == expected
