"""
A GitOps controller in small: what `main` of the world's repository says is applied, what left it
is pruned.

Run as `python -m sandbox.gitsync --world NAME`. Owns the loop and the ApplySet; the semantics are
kubectl's (`apply --server-side --prune`), which are those that Argo CD and Flux share. All YAML and
JSON of the tree is applied; a kustomization in it is not followed. Knows no kind of object.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from sandbox.part import Part
from sandbox.processes import wait_until
from sandbox.world import World, load_world, write_json

log = logging.getLogger(__name__)

NAMESPACE = "gitsync"
FIELD_MANAGER = "gitsync"
_GROUP = "sandbox.headgate.dev"
_APPLY_SET = f"repositories.{_GROUP}/models"

# What an ApplySet's parent must be, when its members are in many namespaces: cluster-scoped. Of a
# parent in a namespace kubectl demands that all members are there too.
_PARENT_CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": f"repositories.{_GROUP}",
        "labels": {"applyset.kubernetes.io/is-parent-type": "true"},
    },
    "spec": {
        "group": _GROUP,
        "scope": "Cluster",
        "names": {"kind": "Repository", "plural": "repositories", "singular": "repository"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }
        ],
    },
}
_NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
_POLL_SECONDS = 0.5
_RETRY_SECONDS = 5.0
_SYNC_SECONDS = 60.0


def render_parent(name: str) -> dict[str, object]:
    """
    Return a new, empty parent of an ApplySet; kubectl makes one by itself only in a namespace.

    Source: the ApplySet specification, KEP-3659: its id is a hash of name, namespace, kind, group.
    """
    identity = hashlib.sha256(f"{name}..Repository.{_GROUP}".encode()).digest()
    encoded = base64.urlsafe_b64encode(identity).rstrip(b"=").decode()
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "Repository",
        "metadata": {
            "name": name,
            "labels": {"applyset.kubernetes.io/id": f"applyset-{encoded}-v1"},
            "annotations": {
                "applyset.kubernetes.io/tooling": "kubectl/v1",
                "applyset.kubernetes.io/contains-group-kinds": "",
            },
        },
    }


@dataclass(frozen=True, slots=True)
class Sync:
    """
    What the last sync did.

    Attributes:
        request: The token of the request that it answers; empty when a new commit caused it.
        commit: What was applied; empty when `main` has no commit yet.
        is_done: Whether all of it was applied and pruned.
        message: What kubectl said.
    """

    request: str
    commit: str
    is_done: bool
    message: str


class SyncError(Exception):
    """A sync that was asked for failed, or nobody answered; the message says which."""


def request_sync(world: World, patience_seconds: float = _SYNC_SECONDS) -> Sync:
    """
    Have `main` applied once more, changed or not, and return what came of it.

    Raises:
        SyncError: It failed, or took longer than `patience_seconds`.
    """
    token = uuid.uuid4().hex
    write_json(_request_file(world), token)
    if not wait_until(lambda: _read_result(world).request == token, patience_seconds):
        raise SyncError(f"nobody answered in {patience_seconds:.0f} s, see {world.log('gitsync')}")
    result = _read_result(world)
    if not result.is_done:
        raise SyncError(result.message)
    return result


def _request_file(world: World) -> Path:
    return world.run / "gitsync.request"


def _result_file(world: World) -> Path:
    return world.run / "gitsync.json"


def _read_result(world: World) -> Sync:
    try:
        return Sync(**json.loads(_result_file(world).read_text()))
    except FileNotFoundError:
        return Sync("", "", False, "")


def _read_request(world: World) -> str:
    try:
        token: str = json.loads(_request_file(world).read_text())
    except FileNotFoundError:
        return ""
    return token


class Syncer:
    """Applies the repository of `world`; one sync at a time."""

    def __init__(self, world: World) -> None:
        """Remember nothing: what was applied before a restart is applied once more."""
        self._world = world
        self._last = Sync(_read_request(world), "", True, "")
        self._retry_at = float("inf")

    def run(self) -> None:
        """Sync on each new commit, on each request, and again after a failure; never returns."""
        write_json(_result_file(self._world), asdict(self._last))
        while True:
            self.look(time.monotonic())
            time.sleep(_POLL_SECONDS)

    def look(self, now: float) -> None:
        """Sync if there is a reason to; `now` is in seconds of a monotonic clock."""
        request = _read_request(self._world)
        commit = read_commit(self._world.models)
        is_new = commit != self._last.commit or request != self._last.request
        if not is_new and now < self._retry_at:
            return
        result = self._sync(commit, request)
        self._retry_at = float("inf") if result.is_done else now + _RETRY_SECONDS
        if is_new or result != self._last:
            level = logging.INFO if result.is_done else logging.ERROR
            log.log(level, "%s: %s", commit[:12] or "no commit yet", result.message)
        self._last = result
        write_json(_result_file(self._world), asdict(result))

    def _sync(self, commit: str, request: str) -> Sync:
        if not commit:
            return Sync(request, "", True, "nothing to apply")
        tree = self._world.data / "gitsync" / "tree"
        try:
            export(self._world.models, commit, tree)
        except subprocess.CalledProcessError as error:
            return Sync(request, commit, False, f"{commit[:12]} cannot be checked out: {error}")
        # A set without members could not be applied, so a repository could never become empty.
        (tree / ".synced.yaml").write_text(yaml.safe_dump(render_marker(commit)))
        done = self._apply(tree)
        story = "; ".join((done.stdout + done.stderr).splitlines())
        return Sync(request, commit, done.returncode == 0, story)

    def _apply(self, tree: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *self._world.control_plane.kubectl_command(),
                *("--kubeconfig", str(self._world.kubeconfig), "apply", "--server-side"),
                *("--force-conflicts", "--field-manager", FIELD_MANAGER),
                *("--prune", "--applyset", _APPLY_SET, "--recursive", "--filename", str(tree)),
            ],
            env={**os.environ, "KUBECTL_APPLYSET": "true"},
            capture_output=True,
            text=True,
            check=False,
        )


def render_marker(commit: str) -> dict[str, object]:
    """Return the ConfigMap that says in the cluster which commit was applied."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "synced", "namespace": NAMESPACE},
        "data": {"commit": commit},
    }


def read_commit(repository: Path) -> str:
    """Return the commit that `main` of a bare repository is at; empty when it has none yet."""
    command = ["git", "--git-dir", str(repository), "rev-parse", "--verify", "--quiet", "main"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def export(repository: Path, commit: str, target: Path) -> None:
    """Make `target` hold the files of `commit` and nothing else."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    git = ["git", "--git-dir", str(repository), "--work-tree", str(target)]
    own_index = {**os.environ, "GIT_INDEX_FILE": str(target.with_name(target.name + ".index"))}
    for step in (["read-tree", commit], ["checkout-index", "--all"]):
        subprocess.run([*git, *step], cwd=target, env=own_index, check=True)


def make_repository(repository: Path) -> None:
    """Make the bare repository, unless it is there."""
    if not repository.exists():
        command = ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(repository)]
        subprocess.run(command, check=True)


def _before(world: World) -> None:
    make_repository(world.models)
    _result_file(world).unlink(missing_ok=True)
    control_plane = world.control_plane
    control_plane.apply("-f", "-", stdin=yaml.safe_dump_all([_NAMESPACE, _PARENT_CRD]))
    control_plane.wait_until_established()
    # Only ever made, never applied again: its annotations are what kubectl knows of the members.
    if not control_plane.kubectl("get", _APPLY_SET, "--ignore-not-found", "-o", "name"):
        words = ("apply", "--server-side", "--field-manager=kubectl-applyset", "-f", "-")
        control_plane.kubectl(*words, stdin=yaml.safe_dump(render_parent("models")))


def main(arguments: Sequence[str]) -> int:
    """Run the loop until SIGTERM."""
    parser = argparse.ArgumentParser(prog="sandbox.gitsync")
    parser.add_argument("--world", required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    Syncer(load_world(parser.parse_args(arguments).world)).run()
    return 0


PART = Part(
    name="gitsync",
    command=lambda world: [sys.executable, "-m", "sandbox.gitsync", "--world", world.name],
    is_ready=lambda world: _result_file(world).exists(),
    address=lambda world: world.models.as_uri(),
    needs=("control-plane",),
    before=_before,
    restarts=True,
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
