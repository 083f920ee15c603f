"""A ModelDeployment that Argo CD applies: what Argo CD tells of it, and who wrote it when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.core.commitsamples import REPOSITORY, TRACKING_ID
from tests.scenarios.memory import Story, deployment

from headgate.core.commits.claims import TRACKING_ID as TRACKING

ARGO = {"argocd_namespaces": ("argocd",)}
SHA = {"1": "1" * 40, "2": "2" * 40, "3": "3" * 40}


def stamp(time: datetime) -> str:
    """A moment as Kubernetes writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def told(story: Story) -> None:
    """Let Argo CD know of nothing but the object."""
    story.cluster.put(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": "fraud", "namespace": "argocd"},
            "spec": {"source": {"repoURL": REPOSITORY, "path": "models", "targetRevision": "main"}},
            "status": {"resources": [{**OWN, "status": "OutOfSync"}]},
        }
    )


OWN = {"group": "headgate.dev", "kind": "ModelDeployment", "namespace": "models", "name": "fraud"}


def syncing(story: Story, revision: str) -> None:
    """Let Argo CD say that it is syncing this revision now."""
    application = story.cluster.find("Application", "argocd", "fraud")
    assert application is not None
    application["status"]["operationState"] = {
        "phase": "Running",
        "startedAt": stamp(story.clock.now()),
        "operation": {"initiatedBy": {"automated": True}, "sync": {"revision": revision}},
    }


def written(story: Story, version: str, manager: str, **metadata: Any) -> None:
    """Let a field manager write this version now."""
    changes = metadata.pop("changes", {})
    manifest = deployment(version, **changes)
    fields = {"f:spec": {"f:model": {}}}
    entry = {"manager": manager, "time": stamp(story.clock.now()), "fieldsV1": fields}
    manifest["metadata"] |= {"managedFields": [entry], **metadata}
    story.cluster.put(manifest)
    story.due = story.clock.now()


def synced(story: Story, version: str, **changes: Any) -> None:
    """Let Argo CD sync this version, as it does: it says so, then it writes the object."""
    syncing(story, SHA[version])
    tracked = {TRACKING: TRACKING_ID}
    written(story, version, "argocd-controller", annotations=tracked, changes=changes)


async def by_argo(**options: Any) -> Story:
    """Version 1 came by Argo CD and is stable."""
    story = Story(**{**ARGO, **options})
    told(story)
    synced(story, "1")
    await story.until_phase("Stable")
    return story
