"""Git as the source of the cluster."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import gitsync
from sandbox.gitsync import Syncer, export, make_repository, read_commit
from sandbox.world import World

if TYPE_CHECKING:
    from tests.apiserver import ApiServer


class Clone:
    """A working copy that commits and pushes like a person."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.folder = folder
        self._git("clone", "--quiet", str(repository), str(folder), cwd=folder.parent)

    def _git(self, *words: str, cwd: Path | None = None) -> None:
        person = {
            f"GIT_{role}_{field}": value
            for role in ("AUTHOR", "COMMITTER")
            for field, value in (("NAME", "a"), ("EMAIL", "a@example.com"))
        }
        environment = {**os.environ, **person}
        subprocess.run(
            ["git", *words],
            cwd=cwd or self.folder,
            env=environment,
            check=True,
            capture_output=True,
        )

    def push(self, files: dict[str, str]) -> None:
        """Make the repository hold `files` and nothing else."""
        for path in self.folder.rglob("*.*"):
            if ".git" not in path.parts and path.is_file():
                path.unlink()
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "-m", "change")
        self._git("push", "--quiet", "origin", "HEAD:main")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Give an empty bare repository."""
    make_repository(tmp_path / "models.git")
    return tmp_path / "models.git"


def names(folder: Path) -> set[str]:
    """Return the paths of all files."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_repository_without_commits_is_at_none(repository: Path) -> None:
    """A new world has nothing to apply, which is not an error."""
    assert read_commit(repository) == ""


def test_an_export_holds_the_commit_and_nothing_else(repository: Path, tmp_path: Path) -> None:
    """Files that left the tree do not stay behind, down to an empty tree."""
    clone, target = Clone(repository, tmp_path / "clone"), tmp_path / "tree"
    clone.push({"a.yaml": "1", "sub/b.yaml": "2"})
    export(repository, read_commit(repository), target)
    first = names(target)
    clone.push({"a.yaml": "1"})
    export(repository, read_commit(repository), target)
    second = names(target)
    clone.push({})
    export(repository, read_commit(repository), target)

    assert (first, second, names(target)) == ({"a.yaml", "sub/b.yaml"}, {"a.yaml"}, set())


def config_map(name: str, namespace: str) -> str:
    """Return a manifest."""
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        'data: {a: "1"}\n'
    )


@pytest.fixture
def world(apiserver: ApiServer, tmp_path: Path) -> World:
    """Give a world around the tests' API server, prepared for the sync, with two namespaces."""
    control_plane = apiserver.control_plane
    world = World(
        "sync",
        tmp_path / "world",
        {"apiserver": control_plane.port},
        {"controlplane": control_plane.binary.parent},
    )
    for folder in (world.run, world.data, world.models.parent):
        folder.mkdir(parents=True)
    world.kubeconfig.symlink_to(apiserver.kubeconfig)
    assert gitsync.PART.before(world) is None
    for namespace in ("sync-one", "sync-two"):
        found = apiserver.kubectl("get", "namespace", namespace, "--ignore-not-found")
        if not found:
            apiserver.kubectl("create", "namespace", namespace)
    return world


def maps(apiserver: ApiServer, namespace: str) -> list[str]:
    """Return the names of the ConfigMaps of a namespace."""
    path = "jsonpath={.items[*].metadata.name}"
    return apiserver.kubectl("get", "configmaps", "-n", namespace, "-o", path).split()


@pytest.mark.apiserver
def test_the_cluster_follows_main(world: World, apiserver: ApiServer, tmp_path: Path) -> None:
    """What is in Git is applied, what left Git is pruned, in every namespace; the rest is safe."""
    clone, syncer = Clone(world.models, tmp_path / "clone"), Syncer(world)
    apiserver.kubectl("create", "configmap", "foreign", "-n", "sync-one")
    clone.push({"a.yaml": config_map("a", "sync-one"), "sub/b.yaml": config_map("b", "sync-two")})
    syncer.look(time.monotonic())
    first = (maps(apiserver, "sync-one"), maps(apiserver, "sync-two"))
    clone.push({"a.yaml": config_map("a", "sync-one")})
    syncer.look(time.monotonic())
    second = (maps(apiserver, "sync-one"), maps(apiserver, "sync-two"))
    clone.push({})
    syncer.look(time.monotonic())

    assert first == (["a", "foreign"], ["b"])
    assert second == (["a", "foreign"], [])
    assert maps(apiserver, "sync-one") == ["foreign"]
    marker = apiserver.kubectl(
        "get", "configmap", "synced", "-n", "gitsync", "-o", "jsonpath={.data.commit}"
    )
    assert marker == read_commit(world.models)


@pytest.mark.apiserver
def test_what_was_changed_by_hand_is_set_back_on_request(
    world: World, apiserver: ApiServer, tmp_path: Path
) -> None:
    """A sync of the same commit heals drift, and says that it did what was asked."""
    clone, syncer = Clone(world.models, tmp_path / "clone"), Syncer(world)
    clone.push({"c.yaml": config_map("c", "sync-one")})
    syncer.look(time.monotonic())
    apiserver.kubectl("patch", "configmap", "c", "-n", "sync-one", "-p", '{"data": {"a": "2"}}')
    syncer.look(time.monotonic())
    path = ("get", "configmap", "c", "-n", "sync-one", "-o", "jsonpath={.data.a}")
    without_request = apiserver.kubectl(*path)
    (world.run / "gitsync.request").write_text('"token"')
    syncer.look(time.monotonic())

    assert (without_request, apiserver.kubectl(*path)) == ("2", "1")
    clone.push({})
    syncer.look(time.monotonic())


@pytest.mark.apiserver
def test_a_refused_manifest_is_told_and_tried_again(
    world: World, apiserver: ApiServer, tmp_path: Path
) -> None:
    """The server's words reach who asked; the sync does not give up, and does not hurry."""
    clone, syncer = Clone(world.models, tmp_path / "clone"), Syncer(world)
    clone.push({"d.yaml": config_map("Not_A_Name", "sync-one")})
    syncer.look(now=1000.0)
    result = (world.run / "gitsync.json").read_text()
    written = (world.run / "gitsync.json").stat().st_mtime_ns
    syncer.look(now=1001.0)
    too_early = (world.run / "gitsync.json").stat().st_mtime_ns
    syncer.look(now=1006.0)

    assert '"is_done": false' in result
    assert "Not_A_Name" in result
    assert too_early == written
    assert (world.run / "gitsync.json").stat().st_mtime_ns > written
