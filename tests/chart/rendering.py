"""The chart and the manifests as they are rendered: Helm and kubectl's kustomize, run for real."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sandbox.builds import CONTROL_PLANE, build
from scenarios.charts import CHART, HelmError, helm

__all__ = ["CHART", "HelmError", "helm"]

ROOT = Path(__file__).parents[2]
NAMESPACE = "headgate-system"

Json = dict[str, Any]
Key = tuple[str, str, str, str]

HELMS_OWN_LABELS = frozenset(
    {"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"}
)
HELMS_OWN_ANNOTATIONS = frozenset({"helm.sh/resource-policy"})


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def template(
    values: Mapping[str, Any], *arguments: str, chart: Path = CHART, namespace: str = NAMESPACE
) -> str:
    """Return what `helm template headgate` prints with these values."""
    where = ("--namespace", namespace, "--values", "-")
    return helm("template", "headgate", str(chart), *where, *arguments, stdin=json.dumps(values))


def kustomize(folder: Path) -> str:
    """Return what kubectl's built-in kustomize makes of a folder: the one behind `apply -k`."""
    program = build(CONTROL_PLANE, _say) / "controlplane"
    command = [str(program), "kubectl", "kustomize", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def objects(rendered: str) -> list[Json]:
    """Return the objects of a YAML stream; raises AssertionError if one comes twice."""
    found = [each for each in yaml.safe_load_all(rendered) if each]
    keys = [key(each) for each in found]
    assert len(keys) == len(set(keys)), keys
    return found


def key(manifest: Json) -> Key:
    """Return what an object is found by."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace", "")
    return manifest["apiVersion"], manifest["kind"], namespace, metadata["name"]


def by_key(rendered: str) -> dict[Key, Json]:
    """Return the objects by what they are found by, without what is Helm's own."""
    return {key(each): _without_helms_own(each) for each in objects(rendered)}


def _without_helms_own(manifest: Json) -> Json:
    metadata = dict(manifest["metadata"])
    for name, own in (("labels", HELMS_OWN_LABELS), ("annotations", HELMS_OWN_ANNOTATIONS)):
        left = {key: value for key, value in metadata.pop(name, {}).items() if key not in own}
        if left:
            metadata[name] = left
    return {**manifest, "metadata": metadata}


def of_kind(rendered: str, *kinds: str) -> list[Json]:
    """Return the objects of some kinds."""
    return [each for each in objects(rendered) if each["kind"] in kinds]


def containers(rendered: str) -> dict[str, Json]:
    """Return the containers of all Deployments by name."""
    pods = [each["spec"]["template"]["spec"] for each in of_kind(rendered, "Deployment")]
    return {container["name"]: container for pod in pods for container in pod["containers"]}


def variables(rendered: str, container: str = "operator") -> dict[str, Any]:
    """Return the variables of a container: a text, or where it comes from."""
    env: Sequence[Json] = containers(rendered)[container].get("env", ())
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in env}
