"""What could be contributed to Argo CD's repository."""

from __future__ import annotations

from pathlib import Path

import yaml
from tests.gitops import luavm
from tests.gitops.upstream import STORIES, write

KINDS = ("ModelDeployment", "ModelRevision", "ModelRollout")


async def test_the_cases_are_whole_and_hold(tmp_path: Path) -> None:
    """Claim: read back from the files alone every case holds, and every health occurs."""
    await write(tmp_path)
    folder = tmp_path / "headgate.dev"

    seen: dict[str, set[str]] = {}
    for kind in KINDS:
        script = (folder / kind / "health.lua").read_text()
        for case in yaml.safe_load((folder / kind / "health_test.yaml").read_text())["tests"]:
            obj = yaml.safe_load((folder / kind / case["inputPath"]).read_text())
            expected = case["healthStatus"]
            assert luavm.health(script, obj) == (expected["status"], expected["message"])
            seen.setdefault(kind, set()).add(expected["status"])
    assert seen["ModelDeployment"] == {"Progressing", "Suspended", "Degraded", "Healthy"}
    assert seen["ModelRevision"] == {"Progressing", "Suspended", "Healthy"}
    assert seen["ModelRollout"] == {"Progressing", "Suspended", "Degraded", "Healthy"}

    actions = folder / "ModelDeployment" / "actions"
    cases = yaml.safe_load((actions / "action_test.yaml").read_text())
    assert len(cases["discoveryTests"]) == len(STORIES)
    for case in cases["actionTests"]:
        before = yaml.safe_load((actions / case["inputPath"]).read_text())
        after = yaml.safe_load((actions / case["expectedOutputPath"]).read_text())
        script = (actions / case["action"] / "action.lua").read_text()
        assert luavm.run(script, before)["metadata"] == after["metadata"]
