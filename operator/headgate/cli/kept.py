"""What Git should keep of a cluster: the proven revision of each ModelDeployment.

Owns which revision that is and what is said of it. Must not know how objects are read or printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headgate.api.accept import PROVEN, Invalid, parse
from headgate.api.proven_revision import ProvenRevision
from headgate.core.revision import CANONICAL, proven_digest
from headgate.ports import MODEL_DEPLOYMENT, Manifest


def proven_revision(
    deployment: Manifest, revisions: Sequence[Manifest], rollouts: Sequence[Manifest]
) -> ProvenRevision | None:
    """Return what is proven of a deployment; None if nothing is.

    That is the stable revision if it went through its bake, else the one that was proven last.
    What was rejected after its bake is not proven any more.
    """
    status = deployment.get("status") or {}
    rejected = {one["hash"] for one in status.get("rejected") or ()}
    proven = [
        one
        for one in revisions
        if (one.get("status") or {}).get("proven") and one["spec"]["hash"] not in rejected
    ]
    if not proven:
        return None
    stable = (status.get("stable") or {}).get("hash")
    last = (status.get("lastProven") or {}).get("hash")

    def rank(revision: Manifest) -> tuple[bool, bool, str]:
        hash, at = revision["spec"]["hash"], revision["status"].get("provenAt")
        return hash == stable, hash == last, str(at or "")

    return _kept(max(proven, key=rank), rollouts)


_KEPT = ("hash", "model", "template", "configMaps", "secrets", "untracked", "runtime", "drift")


def _kept(revision: Manifest, rollouts: Sequence[Manifest]) -> ProvenRevision:
    spec, metadata = revision["spec"], revision["metadata"]
    at = revision["status"].get("provenAt") or metadata["creationTimestamp"]
    block: dict[str, Any] = {
        "canonical": CANONICAL,
        **{name: spec[name] for name in _KEPT if spec.get(name) is not None},
        "provenAt": at,
        "digest": f"sha256:{'0' * 64}",
    }
    proving = _proving(spec["hash"], rollouts)
    if proving is not None:
        name, digest = proving["metadata"]["name"], proving["status"]["digest"]
        block["rollout"] = {"name": name, "digest": digest}
    read = ProvenRevision.model_validate(block, by_alias=True)
    return read.model_copy(update={"digest": proven_digest(read.manifest())})


def _proving(hash: str, rollouts: Sequence[Manifest]) -> Manifest | None:
    """The latest finished record that this hash was promoted by."""
    found = [
        one
        for one in rollouts
        if one["spec"]["to"]["hash"] == hash
        and (one.get("status") or {}).get("outcome") == "Promoted"
        and one["status"].get("digest")
    ]
    return max(found, key=lambda one: int(one["spec"]["number"]), default=None)


def render_kept(deployment: Manifest, proven: ProvenRevision) -> dict[str, Any]:
    """Render the part of the ModelDeployment that Git should have: a patch of it by its name."""
    metadata = deployment["metadata"]
    block = {key: value for key, value in proven.manifest().items() if value not in ([], {})}
    return {
        "apiVersion": MODEL_DEPLOYMENT.api_version,
        "kind": MODEL_DEPLOYMENT.kind,
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {"rollout": {"provenRevision": block}},
    }


def read_kept(document: Mapping[str, Any], deployment: Manifest) -> ProvenRevision | None:
    """Read what a file keeps for a deployment, whole or as a patch; None if it keeps nothing.

    Raises Invalid, naming the field, for what the operator would not accept.
    """
    block = document
    for name in PROVEN.split("."):
        found = block.get(name)
        if found is None:
            return None
        if not isinstance(found, Mapping):
            raise Invalid(PROVEN, "a map", type(found).__name__)
        block = found
    spec = deployment["spec"]
    rollout = {**(spec.get("rollout") or {}), "provenRevision": block}
    return parse({**deployment, "spec": {**spec, "rollout": rollout}}).spec.rollout.proven_revision


def difference(kept: ProvenRevision | None, proven: ProvenRevision | None) -> str:
    """Say in one clause how a file differs from what is proven; "" if it does not.

    When, and by which record, may differ: a cluster that was rebuilt has records of its own.
    """
    if (kept.hash if kept else None) == (proven.hash if proven else None):
        return ""
    return f"keeps {_named(kept)}, proven is {_named(proven)}"


def _named(revision: ProvenRevision | None) -> str:
    return f"version {revision.model.version} ({revision.hash})" if revision else "nothing"
