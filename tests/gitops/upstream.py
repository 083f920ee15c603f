"""
Write the scripts with test cases as Argo CD's own repository has them, ready to be contributed.

`PYTHONPATH=operator:e2e:. python -m tests.gitops.upstream DIRECTORY` writes
`DIRECTORY/headgate.dev/<Kind>/`: scripts, `health_test.yaml`, `actions/action_test.yaml`, and as
`testdata/` the objects that whole passes of the operator leave. The folder goes into Argo CD's
`resource_customizations/`.
"""

from __future__ import annotations

import asyncio
import copy
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml
from tests.gitops import luavm, releases
from tests.gitops.releases import Json, Tell, seen

from sandbox.paths import ROOT

SCRIPTS = ROOT / "manifests" / "gitops" / "argocd" / "resource_customizations" / "headgate.dev"

STORIES: tuple[Tell, ...] = (
    *(releases.committed, releases.first_starting, releases.first_baking, releases.first_overdue),
    *(releases.first_failing, releases.stable, releases.short_of_budget, releases.down),
    *(releases.unseen, releases.refused, releases.held, releases.held_by_budget),
    *(releases.preparing, releases.held_when_ready, releases.progressing, releases.paused),
    *(releases.superseded, releases.baking, releases.promoted, releases.rolled_back),
    *(releases.rejected_twice, releases.reverted),
)
_WRITES: Mapping[str, str] = {"pause": "progressing", "abort": "baking", "promote-now": "preparing"}
"""A story for each action whose outcome is the same whenever it is run."""


async def write(folder: Path) -> None:
    """Write scripts, cases and objects of all three kinds below `folder`."""
    shutil.copytree(SCRIPTS, folder / SCRIPTS.name, dirs_exist_ok=True)
    cases: dict[str, list[Json]] = {}
    deployments: dict[str, Json] = {}
    for tell in STORIES:
        for obj in _latest(await seen(tell)):
            kind = folder / SCRIPTS.name / obj["kind"]
            cases.setdefault(obj["kind"], []).append(_health_case(kind, tell.__name__, obj))
            if obj["kind"] == "ModelDeployment":
                deployments[tell.__name__] = obj
    for name, found in cases.items():
        _dump(folder / SCRIPTS.name / name / "health_test.yaml", {"tests": found})
    _write_actions(folder / SCRIPTS.name / "ModelDeployment" / "actions", deployments)


def _latest(story: releases.Story) -> list[Json]:
    """Return the deployment with its newest revision and its newest record."""
    found = [releases.model_deployment(story)]
    for kind in ("ModelRevision", "ModelRollout"):
        objects = story.cluster.all(kind)
        newest = sorted(objects, key=lambda one: int(one["metadata"]["uid"].removeprefix("uid-")))
        found += [copy.deepcopy(one) for one in newest[-1:]]
    # The sums of the evidence are for machines, and long.
    for obj in found:
        (obj.get("status") or {}).get("evidence", {}).pop("state", None)
    return found


def _health_case(kind: Path, name: str, obj: Json) -> Json:
    _dump(kind / "testdata" / f"{name}.yaml", obj)
    status, message = luavm.health((kind / "health.lua").read_text(), obj)
    health = {"status": status, "message": message}
    return {"healthStatus": health, "inputPath": f"testdata/{name}.yaml"}


def _write_actions(folder: Path, deployments: Mapping[str, Json]) -> None:
    discovery = (folder / "discovery.lua").read_text()
    offers: list[Json] = []
    for name, obj in deployments.items():
        _dump(folder / "testdata" / f"{name}.yaml", obj)
        actions = luavm.run(discovery, obj)
        result = [{"name": key, **action} for key, action in sorted(actions.items())]
        offers.append({"inputPath": f"testdata/{name}.yaml", "result": result})
    _dump(
        folder / "action_test.yaml",
        {
            "discoveryTests": offers,
            "actionTests": [
                _action_case(folder, action, story, deployments[story])
                for action, story in _WRITES.items()
            ],
        },
    )


def _action_case(folder: Path, action: str, story: str, obj: Json) -> Json:
    written = luavm.patch((folder / action / "action.lua").read_text(), obj)
    after = copy.deepcopy(obj)
    after["metadata"]["annotations"] = {
        **(after["metadata"].get("annotations") or {}),
        **written["metadata"]["annotations"],
    }
    output = f"testdata/{story}_{action}.yaml"
    _dump(folder / output, after)
    return {
        "action": action,
        "inputPath": f"testdata/{story}.yaml",
        "expectedOutputPath": output,
    }


def _dump(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content, sort_keys=False))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1])))
