"""
The chart as tests install it: this one, and one of a version before.

Owns what the version before is like. Judges nothing.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

from sandbox.builds import HELM_PROGRAM, build
from sandbox.paths import ROOT

CHART = ROOT / "charts" / "headgate"
OLDER = "0.0.9"
"""The version of a chart before this one, whose ModelDeployments knew no `spec.history`."""


class HelmError(Exception):
    """Helm refused; the message is what it said."""


def helm(*arguments: str, stdin: str | None = None) -> str:
    """Run Helm and return what it prints; raises HelmError."""
    program = build(HELM_PROGRAM, lambda _: None) / "helm"
    done = subprocess.run(
        [str(program), *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise HelmError(f"{done.stderr}{done.stdout}".strip())
    return done.stdout


def make_older(folder: Path) -> Path:
    """Make a chart of the version before in `folder`, with a kind that knows one field less."""
    chart = folder / "headgate"
    shutil.copytree(CHART, chart)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(
        yaml.safe_dump({**about, "version": OLDER, "appVersion": OLDER})
    )
    for file in (chart / "files" / "crds").iterdir():
        crd = yaml.safe_load(file.read_text())
        crd["metadata"]["annotations"]["headgate.dev/version"] = OLDER
        if file.name == "modeldeployments.yaml":
            schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            del schema["properties"]["spec"]["properties"]["history"]
        file.write_text(yaml.safe_dump(crd))
    return chart
