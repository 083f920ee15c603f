"""
A release that only Git and Argo CD bring about: commits, and how Argo CD sees what comes of them.

Nothing here applies a ModelDeployment; that is Argo CD's work. Judges nothing.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import yaml

from argocd.server import Json, Server
from sandbox.argocd import COMPONENT
from sandbox.argocd import NAMESPACE as ARGO_CD
from sandbox.modelteam import ModelTeam
from sandbox.world import World
from scenarios.cluster import NAMESPACE, Cluster
from scenarios.release import Release, render

_SAMPLES = COMPONENT / "samples"
_FOLDER = "models"
_SYNC_SECONDS = 60.0

SHOWN = [
    {"group": "headgate.dev", "kind": "ModelRevision"},
    {"group": "headgate.dev", "kind": "ModelRollout"},
    {"group": "serving.kserve.io", "kind": "InferenceService"},
    {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"},
]
"""What a project must permit besides, or its trees do not show it."""


def sample(name: str) -> Json:
    """Return a sample of manifests/gitops/argocd."""
    return dict(yaml.safe_load((_SAMPLES / name).read_text()))


class GitRelease(Release):
    """A ModelDeployment in the world's repository, and the Application that follows it."""

    def __init__(self, cluster: Cluster, world: World, name: str) -> None:
        """Prepare; neither a commit nor an Application is there yet."""
        super().__init__(cluster, name)
        self.server = Server(world.url("argocd-server"))
        self._world = world
        self._team = ModelTeam(world.models, cluster.folder / f"{name}-clone")

    def __enter__(self) -> Self:
        """Clone the repository and have Argo CD follow it, as the samples say."""
        super().__enter__()
        self._team.clone()
        self._team.catch_up()
        for manifest in (self._project(), self._application()):
            self.cluster.api.apply(manifest)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let Argo CD go first, or it would bring back what is deleted."""
        if error is not None:
            found = self.cluster.api.find("Application", ARGO_CD, self.name) or {}
            error.add_note(yaml.safe_dump(found.get("status"), sort_keys=False))
        self.cluster.api.delete("Application", ARGO_CD, self.name)
        super().__exit__(kind, error, trace)

    def _project(self) -> Json:
        manifest = sample("appproject.yaml")
        manifest["spec"]["sourceRepos"] = [self._world.models.as_uri()]
        manifest["spec"]["destinations"][0]["namespace"] = NAMESPACE
        manifest["spec"]["namespaceResourceWhitelist"] += SHOWN
        return manifest

    def _application(self) -> Json:
        manifest = sample("application.yaml")
        manifest["metadata"]["name"] = self.name
        source = {"repoURL": self._world.models.as_uri(), "path": f"{_FOLDER}/{self.name}"}
        manifest["spec"]["source"].update(source)
        manifest["spec"]["destination"]["namespace"] = NAMESPACE
        return manifest

    # --- what people do --------------------------------------------------------------------------

    def commit(
        self, version: str, rollout: Mapping[str, Any] | None = None, **spec: Any
    ) -> datetime:
        """Commit the ModelDeployment with this version, and wait until Argo CD has applied it."""
        at = datetime.now(UTC)
        self._committed = render(self.name, version, rollout or {}, spec)
        self._write("deployment.yaml", self._committed)
        self._push(f"{self.name}: version {version}")
        return at

    def add(self, manifest: Json) -> None:
        """Put another object beside it; the next commit has it."""
        self._write(f"{manifest['metadata']['name']}.yaml", manifest)

    def revert(self) -> None:
        """Take the last commit back, and wait until Argo CD has applied that."""
        self._team.revert()
        self._wait_synced()

    def _write(self, file: str, manifest: Json) -> None:
        folder = self._team.folder / _FOLDER / self.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(yaml.safe_dump(manifest, sort_keys=False))

    def _push(self, subject: str) -> None:
        self._team.commit(subject)
        self._wait_synced()

    @property
    def head(self) -> str:
        """The commit that the repository is at, 40 hexadecimal digits."""
        return self._team.head()

    def _wait_synced(self) -> None:
        head = self.head
        # As a webhook of the forge would: Argo CD looks at Git now, and not at its next turn.
        self.server.application(self.name, refresh="normal")
        self.wait_view(
            f"commit {head} is synced",
            lambda status: (
                status.get("sync", {}).get("revision") == head
                and status["sync"]["status"] == "Synced"
                and (status.get("operationState") or {}).get("phase") == "Succeeded"
            ),
            _SYNC_SECONDS,
        )

    def act(self, action: str, **parameters: str) -> None:
        """Run an action on the ModelDeployment through Argo CD's API server."""
        self.server.act(self.name, self.target, action, **parameters)

    # --- what became of it -----------------------------------------------------------------------

    @property
    def target(self) -> dict[str, str]:
        """How Argo CD's API names the ModelDeployment."""
        names = {"namespace": NAMESPACE, "resourceName": self.name}
        return {**names, "group": "headgate.dev", "version": "v1alpha1", "kind": "ModelDeployment"}

    @property
    def object(self) -> Json:
        """The ModelDeployment as it is in the cluster."""
        found = self.cluster.api.find("ModelDeployment", NAMESPACE, self.name)
        if found is None:
            raise ValueError(f"{self.name} is not there")
        return found

    @property
    def view(self) -> Json:
        """The status of the Application: how Argo CD sees all of it."""
        return dict(self.server.application(self.name).get("status") or {})

    @property
    def synced(self) -> int:
        """How many syncs Argo CD has on record."""
        return len(self.view.get("history") or ())

    @property
    def node(self) -> Json:
        """The ModelDeployment in Argo CD's tree, with its health."""
        found = (n for n in self.server.tree(self.name) if n["kind"] == "ModelDeployment")
        return next(found, {})

    @property
    def health(self) -> tuple[str, str]:
        """Health of the ModelDeployment in the tree, and its sentence."""
        health = self.node.get("health", {})
        return health.get("status", ""), health.get("message", "")

    def wait_view(self, what: str, holds: Callable[[Json], bool], seconds: float) -> Json:
        """Return the first status of the Application for which this holds."""

        def look() -> Json | None:
            found = self.view
            return found if holds(found) else None

        return self.cluster.wait(f"{self.name} in Argo CD: {what}", look, seconds)

    def wait_health(self, status: str, seconds: float = 30.0) -> str:
        """Wait until application and ModelDeployment have this health; return the sentence."""

        def look() -> bool:
            app = self.view.get("health", {}).get("status")
            return app == status and self.health[0] == status

        self.cluster.wait(f"{self.name} in Argo CD: health {status}", look, seconds)
        return self.health[1]

    def difference(self) -> str:
        """Return what `kubectl diff` finds between Git and the cluster; empty if nothing."""
        files = self._team.folder / _FOLDER / self.name
        kubectl = self._world.control_plane.kubectl_command()
        options = ("--server-side", "--force-conflicts", "--field-manager=argocd-controller")
        done = subprocess.run(
            [*kubectl, "diff", "--kubeconfig", str(self._world.kubeconfig), *options, "-f", files],
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr if done.returncode else ""
