"""
One world: its folder, its ports, and where its programs are. Kept in `world.json` for all to read.

Owns the layout of the folder. Starts nothing and knows no part's command line.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.controlplane import ControlPlane
from sandbox.paths import world_directory
from sandbox.ports import choose

PORTS = (
    "apiserver",
    *("kserve-webhook", "kserve-metrics", "kserve-health"),
    *("gateway", "services", "envoy-admin"),
    *("prometheus", "headgate", "collector"),
)
"""Every port that any world owns; a part that needs another one adds its name here, a part of an
option to that."""


class NoWorldError(Exception):
    """There is no such world; the message says how to make it."""


@dataclass(frozen=True, slots=True)
class World:
    """
    A world as its parts see it.

    Attributes:
        name: What it is called on the command line.
        directory: Everything of it lies in here.
        ports: On 127.0.0.1, by the names in `PORTS` and those of its options.
        places: Folders of programs and environments, by the recipe's name.
    """

    name: str
    directory: Path
    ports: Mapping[str, int]
    places: Mapping[str, Path]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's login."""
        return self.directory / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One file a part: `<part>.log`."""
        return self.directory / "logs"

    @property
    def run(self) -> Path:
        """What only means something while the world runs."""
        return self.directory / "run"

    @property
    def data(self) -> Path:
        """One folder a part."""
        return self.directory / "data"

    @property
    def models(self) -> Path:
        """The bare Git repository whose `main` branch is what the cluster should be."""
        return self.directory / "git" / "models.git"

    @property
    def control_plane(self) -> ControlPlane:
        """The control plane, and kubectl against it."""
        binary = self.places["controlplane"] / "controlplane"
        data = self.data / "controlplane"
        return ControlPlane(binary, data, self.kubeconfig, self.ports["apiserver"])

    @property
    def urls(self) -> Mapping[str, str]:
        """What a person may want to open or call, by name."""
        return {
            "apiserver": self.control_plane.url,
            "gateway": self.url("gateway"),
            "services": self.url("services"),
            "envoy-admin": self.url("envoy-admin"),
            "prometheus": self.url("prometheus"),
            "headgate": self.url("headgate"),
            "git": self.models.as_uri(),
        }

    def url(self, port: str, path: str = "") -> str:
        """Return the address of the HTTP server on the port named `port`."""
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def log(self, part: str) -> Path:
        """Return the log of a part."""
        return self.logs / f"{part}.log"

    def save(self) -> None:
        """Write `world.json` and the `kubectl` of this world's `bin` folder."""
        for folder in (self.logs, self.run, self.data, self.directory / "bin"):
            folder.mkdir(parents=True, exist_ok=True)
        content = {
            "name": self.name,
            "directory": str(self.directory),
            "kubeconfig": str(self.kubeconfig),
            "ports": dict(self.ports),
            "urls": dict(self.urls),
            "places": {name: str(place) for name, place in self.places.items()},
        }
        write_json(self.directory / "world.json", content)
        wrapper = self.directory / "bin" / "kubectl"
        command = " ".join(f"'{word}'" for word in self.control_plane.kubectl_command())
        wrapper.write_text(
            f'#!/bin/sh\nexport KUBECONFIG="${{KUBECONFIG:-{self.kubeconfig}}}"\n'
            f'exec {command} "$@"\n'
        )
        wrapper.chmod(0o755)


def prepare_world(name: str, places: Mapping[str, Path], ports: Sequence[str] = PORTS) -> World:
    """Return the world `name` with `ports` that are free now; those it had before are kept."""
    directory = world_directory(name)
    kept = _read(directory).get("ports", {})
    seed = zlib.crc32(os.fsencode(directory))
    world = World(name, directory, choose(ports, kept, seed), places)
    world.save()
    return world


def load_world(name: str) -> World:
    """
    Read the world `name`.

    Raises:
        NoWorldError: Nobody has made it.
    """
    directory = world_directory(name)
    content = _read(directory)
    if not content:
        raise NoWorldError(f"there is no world in {directory}: make one with `make sandbox`")
    places = {place: Path(folder) for place, folder in content["places"].items()}
    return World(content["name"], directory, content["ports"], places)


def _read(directory: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((directory / "world.json").read_text())
    except FileNotFoundError:
        return {}
    return content


def write_json(path: Path, content: object) -> None:
    """Write `content` to `path` so that a reader sees the old or the new, never a part."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    unfinished.rename(path)
