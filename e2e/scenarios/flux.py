"""
Flux in a scenario: what it is told to sync, what it says of it, and releases that reach it by Git.

Owns Flux's objects, which are the samples of `manifests/gitops/flux` with the world's addresses and
short intervals, and how a Kustomization is read. Judges nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from sandbox.githttp import repository_url
from sandbox.gitsync import read_commit
from sandbox.modelteam import ModelTeam
from sandbox.paths import ROOT
from sandbox.world import World
from scenarios.cluster import NAMESPACE, Cluster
from scenarios.release import Json, Release, condition, render

SAMPLES = ROOT / "manifests" / "gitops" / "flux" / "models"
INTERVAL = "5s"
"""How often Flux looks and applies: as often as others do in an hour."""

TOOLKIT = "kustomize.toolkit.fluxcd.io"
APPLIER = "kustomize-controller"
_SOURCE, _SOURCE_INTERVAL = "models", "1s"
_SYNC_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class View:
    """
    What Flux said of a deployment at one moment, and how the deployment stood.

    Attributes:
        ready: Status and reason of the Kustomization's Ready, as in "False HealthCheckFailed".
        healthy: The same of its Healthy; empty while it has none.
        message: Of Ready.
        reconciling: Whether a reconciliation is under way.
        applied: The commit that was last applied and found healthy; empty before the first.
        attempted: The commit that was last tried.
        phase: Of the ModelDeployment; empty without one.
        rolled_out: Status of its RolledOut.
    """

    ready: str
    healthy: str
    message: str
    reconciling: bool
    applied: str
    attempted: str
    phase: str
    rolled_out: str


@dataclass(frozen=True, slots=True)
class Flux:
    """A cluster under test that Flux keeps as Git says. `team` commits for all scenarios."""

    cluster: Cluster
    world: World
    team: ModelTeam

    @classmethod
    def of(cls, cluster: Cluster, world: World) -> Flux:
        """Let Flux follow the world's repository, which gets its first commit now."""
        team = ModelTeam(world.models, world.data / "scenarios" / "clone")
        team.clone()
        (team.folder / "README.md").write_text("What serves.\n")
        team.commit("Begin")
        for file in ("access", "source"):
            for manifest in sample(file):
                if manifest["kind"] == "GitRepository":
                    address = {"url": repository_url(world), "interval": _SOURCE_INTERVAL}
                    manifest["spec"].update(address)
                cluster.api.apply(manifest)
        return cls(cluster, world, team)

    @property
    def head(self) -> str:
        """The commit that `main` is at, 40 hexadecimal digits."""
        return read_commit(self.world.models)

    def has_fetched(self) -> bool:
        """Say whether the source-controller has what `main` is at."""
        source = self.cluster.api.find("GitRepository", NAMESPACE, _SOURCE) or {}
        artifact = source.get("status", {}).get("artifact") or {}
        return _commit(artifact.get("revision", "")) == self.head

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as a person with all rights does; raises KubectlError."""
        return self.world.control_plane.kubectl(*arguments, stdin=stdin)


def sample(name: str) -> list[Json]:
    """Return the objects of a sample, in the scenarios' namespace."""
    text = (SAMPLES / f"{name}.yaml").read_text()
    manifests: list[Json] = [manifest for manifest in yaml.safe_load_all(text) if manifest]
    for manifest in manifests:
        manifest["metadata"]["namespace"] = NAMESPACE
        for subject in manifest.get("subjects", ()):
            subject["namespace"] = NAMESPACE
    return manifests


class FluxRelease(Release):
    """A ModelDeployment that reaches the cluster by a commit and a Kustomization of its own."""

    def __init__(self, flux: Flux, name: str, how: str = "wait", timeout: str = "3m") -> None:
        """Prepare; nothing exists before the first commit. `how` names the sample to wait by."""
        super().__init__(flux.cluster, name)
        self.flux = flux
        (self._kustomization,) = sample(how)
        self._kustomization["metadata"]["name"] = name
        spec = self._kustomization["spec"]
        # Nothing else is synced here that it could wait for.
        del spec["dependsOn"]
        intervals = {"interval": INTERVAL, "retryInterval": INTERVAL, "timeout": timeout}
        spec.update({"path": f"./{name}", **intervals})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say how it stood if something failed; then let Flux delete what it applied."""
        if error is not None:
            error.add_note(yaml.safe_dump(self.kustomization.get("status", {})))
        self.forget()
        super().__exit__(kind, error, trace)

    # --- what people do --------------------------------------------------------------------------

    def commit(
        self, version: str, rollout: Mapping[str, Any] | None = None, **spec: Any
    ) -> datetime:
        """Commit and push the ModelDeployment with this version; returns when."""
        at = datetime.now(UTC)
        self._committed = render(self.name, version, rollout or {}, spec)
        self.write("model.yaml", self._committed)
        self.flux.team.commit(f"Release version {version} of {self.name}")
        self.cluster.wait("Flux to fetch the commit", self.flux.has_fetched, _SYNC_SECONDS)
        self.cluster.api.apply(self._kustomization)
        return at

    def revert(self) -> None:
        """Take the last commit back by another one, and push that."""
        self.flux.team.revert()
        self._committed = yaml.safe_load(self.file.read_text())

    def write(self, name: str, manifest: Json) -> None:
        """Put a manifest beside the ModelDeployment, for the next commit."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(yaml.safe_dump(manifest, sort_keys=False))

    def reconcile(self, token: str) -> None:
        """Ask Flux to apply now, changed or not, and wait until it has begun and ended."""
        asked = {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}
        metadata = {**self._kustomization["metadata"], **asked}
        self.cluster.api.merge({**self._identity, "metadata": metadata})
        self.cluster.wait(f"Flux to answer {token}", lambda: self._answered(token), _SYNC_SECONDS)

    def _answered(self, token: str) -> bool:
        status = self.kustomization.get("status", {})
        return status.get("lastHandledReconcileAt") == token and not self.view.reconciling

    def forget(self) -> None:
        """Delete the Kustomization; Flux deletes what it applied, as it prunes."""
        self.cluster.api.delete("Kustomization", NAMESPACE, self.name)
        what = f"the Kustomization {self.name} is gone"
        self.cluster.wait(what, lambda: not self.kustomization, _SYNC_SECONDS)

    # --- what became of it -----------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder of the working copy that the Kustomization applies."""
        return self.flux.team.folder / self.name

    @property
    def file(self) -> Path:
        """The committed ModelDeployment."""
        return self.folder / "model.yaml"

    @property
    def _identity(self) -> Json:
        return {key: self._kustomization[key] for key in ("apiVersion", "kind", "metadata")}

    @property
    def kustomization(self) -> Json:
        """The Kustomization as it is now; empty if there is none."""
        return self.cluster.api.find("Kustomization", NAMESPACE, self.name) or {}

    @property
    def live(self) -> Json:
        """The ModelDeployment as it is now; empty if there is none."""
        return self.cluster.api.find("ModelDeployment", NAMESPACE, self.name) or {}

    @property
    def view(self) -> View:
        """What Flux says now, and how the deployment stood a moment before."""
        ours = self.status
        status = self.kustomization.get("status", {})
        ready, healthy = condition(status, "Ready"), condition(status, "Healthy")
        return View(
            ready=_brief(ready),
            healthy=_brief(healthy),
            message=str(ready.get("message", "")),
            reconciling=condition(status, "Reconciling").get("status") == "True",
            applied=_commit(status.get("lastAppliedRevision", "")),
            attempted=_commit(status.get("lastAttemptedRevision", "")),
            phase=str(ours.get("phase", "")),
            rolled_out=str(condition(ours, "RolledOut").get("status", "")),
        )

    def watch(self, what: str, holds: Callable[[View], bool], seconds: float) -> list[View]:
        """Return all views, each once, up to the first for which this holds."""
        seen: list[View] = []

        def look() -> bool:
            now = self.view
            seen.extend([now] if seen[-1:] != [now] else [])
            return holds(now)

        try:
            self.cluster.wait(f"{self.name}: {what}", look, seconds)
        except AssertionError as error:
            error.add_note("\n".join(map(str, seen)))
            raise
        return seen

    def watch_applied(self, seconds: float = _SYNC_SECONDS) -> list[View]:
        """Return all views up to the one that calls Git's head applied and healthy."""
        head = self.flux.head

        def holds(view: View) -> bool:
            return view.applied == head and view.ready.startswith("True") and not view.reconciling

        return self.watch(f"Flux calls {head[:12]} healthy", holds, seconds)

    def watch_failed(self, seconds: float = _SYNC_SECONDS) -> list[View]:
        """Return all views up to the one in which Flux has found Git's head unhealthy."""
        head = self.flux.head

        def holds(view: View) -> bool:
            return view.attempted == head and view.ready.startswith("False")

        return self.watch(f"Flux calls {head[:12]} unhealthy", holds, seconds)

    @property
    def reconciliations(self) -> int:
        """How often Flux has applied what it applied last, with the same result."""
        history = self.kustomization.get("status", {}).get("history") or [{}]
        return int(history[0].get("totalReconciliations", 0))

    @property
    def difference(self) -> str:
        """What `kubectl diff` says of the live object against Git; empty if nothing."""
        done = subprocess.run(
            [
                *self.flux.world.control_plane.kubectl_command(),
                *("--kubeconfig", str(self.flux.world.kubeconfig), "diff", "--server-side"),
                *("--force-conflicts", "--field-manager=difference", "-f", str(self.file)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    @property
    def touched(self) -> Sequence[str]:
        """What of all that the operator made bears a mark of Flux: kind and name of each."""
        kinds = ("InferenceService", "HTTPRoute", "ModelRevision", "ModelRollout", "Deployment")
        return [
            f"{kind} {child['metadata']['name']}"
            for kind in kinds
            for child in self.children(kind)
            if _is_marked(child)
        ]


def _brief(found: Json) -> str:
    return f"{found['status']} {found['reason']}" if found else ""


def _commit(revision: str) -> str:
    """Return the commit of a revision such as `main@sha1:<40 hex>`."""
    return revision.rpartition(":")[2]


def _is_marked(manifest: Json) -> bool:
    metadata = manifest["metadata"]
    notes = [*metadata.get("labels", {}), *metadata.get("annotations", {})]
    managers = [entry["manager"] for entry in metadata.get("managedFields", ())]
    return APPLIER in managers or any(note.startswith(TOOLKIT) for note in notes)
