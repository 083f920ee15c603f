"""The folder of a world."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sandbox.cache import MissingError
from sandbox.controlplane import assets
from sandbox.world import PORTS, NoWorldError, load_world, prepare_world


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put all worlds of the test below one folder."""
    monkeypatch.delenv("HEADGATE_SANDBOX", raising=False)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_what_was_prepared_can_be_loaded(tmp_path: Path) -> None:
    """Every other process sees the world that `up` made."""
    prepared = prepare_world("w", {"controlplane": tmp_path})

    assert load_world("w") == prepared


def test_world_json_holds_all_ports_and_addresses(state: Path) -> None:
    """A program in any language finds its way with this one file."""
    world = prepare_world("w", {"controlplane": state})

    content = json.loads((state / "headgate" / "sandbox" / "w" / "world.json").read_text())

    assert set(content["ports"]) == set(PORTS)
    assert content["urls"]["gateway"] == f"http://127.0.0.1:{world.ports['gateway']}"
    assert content["kubeconfig"] == str(world.directory / "kubeconfig")


def test_two_worlds_share_no_port(tmp_path: Path) -> None:
    """Several worlds may run at once, though neither listens while both are prepared."""
    one = prepare_world("one", {"controlplane": tmp_path})
    two = prepare_world("two", {"controlplane": tmp_path})

    assert not set(one.ports.values()) & set(two.ports.values())


def test_a_world_keeps_its_ports(tmp_path: Path) -> None:
    """An address that a person has open stays right after `down` and `up`."""
    first = prepare_world("w", {"controlplane": tmp_path})

    assert prepare_world("w", {"controlplane": tmp_path}).ports == first.ports


def test_a_world_nobody_made_says_how_to_make_it() -> None:
    """The message is an instruction, not a traceback."""
    with pytest.raises(NoWorldError, match="make one with `make sandbox`"):
        load_world("w")


def test_one_folder_can_be_named_outright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEADGATE_SANDBOX is the folder itself, whatever the world is called."""
    monkeypatch.setenv("HEADGATE_SANDBOX", str(tmp_path / "here"))

    assert prepare_world("w", {"controlplane": tmp_path}).directory == tmp_path / "here"


def test_the_worlds_kubectl_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """bin/kubectl needs no environment: it names program and login itself."""
    program = tmp_path / "controlplane"
    program.write_text('#!/bin/sh\necho "$KUBECONFIG $*"\n')
    program.chmod(0o755)
    world = prepare_world("w", {"controlplane": tmp_path})
    monkeypatch.delenv("KUBECONFIG", raising=False)

    done = subprocess.run(
        [world.directory / "bin" / "kubectl", "get", "pods"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"{world.kubeconfig} kubectl get pods\n"


def test_incomplete_assets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBEBUILDER_ASSETS that lack a program say which one, and what to do."""
    for name in ("etcd", "kubectl"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    with pytest.raises(MissingError, match=r"lacks kube-apiserver: complete it"):
        assets()


def test_assets_replace_server_and_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs in KUBEBUILDER_ASSETS are the ones that run."""
    for name in ("etcd", "kubectl", "kube-apiserver"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    control_plane = prepare_world("w", {"controlplane": tmp_path}).control_plane

    assert control_plane.command()[-2:] == ["--assets", str(tmp_path)]
    assert control_plane.kubectl_command() == [str(tmp_path / "kubectl")]
