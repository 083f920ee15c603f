"""
The commit that a rollout's record names, and the right to read it from Argo CD's or Flux's objects.

Judges nothing.
"""

from __future__ import annotations

import yaml

from sandbox.paths import ROOT
from scenarios.api import Api
from scenarios.release import Json, Release

_RIGHTS = ROOT / "manifests" / "overlays" / "track-commits" / "rbac.yaml"
_SECONDS = 60.0


def grant(api: Api, shipped_for: str, namespace: str) -> None:
    """Grant in `namespace` what the overlay track-commits grants in `shipped_for`."""
    for manifest in yaml.safe_load_all(_RIGHTS.read_text()):
        if manifest["metadata"]["namespace"] == shipped_for:
            manifest["metadata"]["namespace"] = namespace
            api.apply(manifest)


def wait_commit(release: Release, version: str) -> Json:
    """Wait until the latest record of a version names a revision, and return the commit.

    It is in the spec of the record if it was told by then, else in its status some seconds later.

    Raises:
        Waited: It does not within a minute.
    """

    def look() -> Json | None:
        for record in reversed(release.records):
            if record["spec"]["to"]["version"] == version:
                found: Json = record["status"].get("commit") or record["spec"]["commit"]
                return found if "revision" in found else None
        return None

    return release.cluster.wait(f"the commit of version {version}", look, _SECONDS)
