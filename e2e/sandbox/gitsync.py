"""
A GitOps controller in small: what `main` of the world's repository says is applied, what left it
is pruned.

Run as `python -m sandbox.gitsync --world NAME`. Owns the loop and the ApplySet; the semantics are
kubectl's (`apply --server-side --prune`), which are those that Argo CD and Flux share. All YAML and
JSON of the tree is applied; a kustomization in it is not followed. Knows no kind of object.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tarfile
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
_APPLY_SET = "configmaps/models"
_POLL_SECONDS = 0.5
_RETRY_SECONDS = 5.0
_SYNC_SECONDS = 60.0


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
            self._look(time.monotonic())
            time.sleep(_POLL_SECONDS)

    def _look(self, now: float) -> None:
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
        export(self._world.models, commit, tree)
        # A set without members could not be applied, so a repository could never become empty.
        (tree / ".synced.yaml").write_text(yaml.safe_dump(render_marker(commit)))
        done = self._apply(tree)
        story = "; ".join((done.stdout + done.stderr).splitlines())
        return Sync(request, commit, done.returncode == 0, story)

    def _apply(self, tree: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *self._world.control_plane.kubectl_command(),
                *("--kubeconfig", str(_login(self._world)), "apply", "--server-side"),
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
    command = ["git", "--git-dir", str(repository), "archive", "--format=tar", commit]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(target, filter="data")


def make_repository(repository: Path) -> None:
    """Make the bare repository, unless it is there."""
    if not repository.exists():
        command = ["git", "init", "--quiet", "--bare", "--initial-branch=main", str(repository)]
        subprocess.run(command, check=True)


def _login(world: World) -> Path:
    return world.data / "gitsync" / "kubeconfig"


def _before(world: World) -> None:
    make_repository(world.models)
    _result_file(world).unlink(missing_ok=True)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    world.control_plane.apply("-f", "-", stdin=yaml.safe_dump(namespace))
    # The namespace of the set comes with the login: as a flag it would be demanded of all members.
    login = yaml.safe_load(world.kubeconfig.read_text())
    for context in login["contexts"]:
        context["context"]["namespace"] = NAMESPACE
    _login(world).parent.mkdir(parents=True, exist_ok=True)
    _login(world).touch(mode=0o600)
    _login(world).write_text(yaml.safe_dump(login))


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
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
