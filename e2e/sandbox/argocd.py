"""
Argo CD as parts: application controller, repository server, API server, and the Redis they share.

The real programs, set up from Argo CD's own configuration and, as a user would, with the Component
of `manifests/gitops/argocd`. It follows no repository by itself: that is said by an Application.
Knows nothing of what is in a repository.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from sandbox.builds import ARGOCD_PROGRAM, REDIS
from sandbox.gitsync import make_repository
from sandbox.part import Option, Part, answers
from sandbox.paths import ROOT
from sandbox.world import World

NAMESPACE = "argocd"
COMPONENT = ROOT / "manifests" / "gitops" / "argocd"

_POLL_SECONDS = 10
_CACHES = ("tls", "ssh", "gpg", "gnupg", "tmp")

_PROJECT = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AppProject",
    "metadata": {"name": "default", "namespace": NAMESPACE},
    "spec": {
        "sourceRepos": ["*"],
        "destinations": [{"namespace": "*", "server": "*"}],
        "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
        "orphanedResources": {"warn": False},
    },
}


def render_overlay(config: str, component: str) -> dict[str, object]:
    """
    Return the kustomization of this Argo CD: its own configuration and our Component.

    Args:
        config: Folder of Argo CD's `manifests/base/config`, relative to the kustomization.
        component: Folder of the Component, likewise.
    """
    # Sessions are signed with it; nobody logs in here.
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "argocd-secret"}}
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": [config],
        "components": [component],
        "patches": [
            {"patch": yaml.safe_dump({**secret, "stringData": {"server.secretkey": "sandbox"}})}
        ],
    }


def _folder(world: World) -> Path:
    return world.data / "argocd"


def _login(world: World) -> Path:
    return _folder(world) / "kubeconfig"


def _set_up(world: World) -> None:
    """Bring Argo CD's kinds and settings into the cluster, and its folders onto the disk."""
    make_repository(world.models)
    for name in _CACHES:
        (_folder(world) / name).mkdir(parents=True, exist_ok=True)
    control_plane, place = world.control_plane, world.places[ARGOCD_PROGRAM.name]
    control_plane.apply("-k", str(place / "crds"))
    control_plane.wait_until_established()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    control_plane.apply("-f", "-", stdin=yaml.safe_dump_all([namespace, _PROJECT]))
    control_plane.apply("-k", str(_write_overlay(world, place / "config")))
    _write_login(world)


def _write_overlay(world: World, config: Path) -> Path:
    # kustomize takes folders by relative paths only, and follows no link on the way.
    folder = (_folder(world) / "overlay").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    paths = (os.path.relpath(each.resolve(), folder) for each in (config, COMPONENT))
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(render_overlay(*paths)))
    return folder


def _write_login(world: World) -> None:
    """Write the administrator's login with Argo CD's namespace in it, where it looks for itself."""
    login = yaml.safe_load(world.kubeconfig.read_text())
    for entry in login["contexts"]:
        entry["context"]["namespace"] = NAMESPACE
    _login(world).touch(mode=0o600)
    _login(world).write_text(yaml.safe_dump(login))


def _environment(program: str) -> Callable[[World], Mapping[str, str]]:
    """Return the environment of one of the programs that the binary is, by its name."""

    def environment(world: World) -> Mapping[str, str]:
        folder, place = _folder(world), world.places[ARGOCD_PROGRAM.name]
        ours = {key: value for key, value in os.environ.items() if not key.startswith("ARGOCD_")}
        return {
            **ours,
            "PATH": f"{place / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "KUBECONFIG": str(_login(world)),
            "HOSTNAME": "argocd-0",
            "TMPDIR": str(folder / "tmp"),
            "ARGOCD_BINARY_NAME": program,
            # Its own cluster is where the kubeconfig says.
            "ARGOCD_FAKE_IN_CLUSTER": "true",
            "ARGOCD_GPG_ENABLED": "false",
            "ARGOCD_GNUPGHOME": str(folder / "gnupg"),
            "ARGOCD_TLS_DATA_PATH": str(folder / "tls"),
            "ARGOCD_SSH_DATA_PATH": str(folder / "ssh"),
            "ARGOCD_GPG_DATA_PATH": str(folder / "gpg"),
            "ARGOCD_PLUGINSOCKFILEPATH": str(folder / "tmp"),
            "ARGOCD_RECONCILIATION_TIMEOUT": f"{_POLL_SECONDS}s",
            "ARGOCD_RECONCILIATION_JITTER": "0s",
        }

    return environment


def _local(world: World, port: str) -> str:
    return f"127.0.0.1:{world.ports[port]}"


def _command(world: World, *flags: str) -> Sequence[str]:
    program = str(world.places[ARGOCD_PROGRAM.name] / "argocd")
    redis = _local(world, "argocd-redis")
    return [program, "--redis", redis, "--loglevel", "info", "--logformat", "text", *flags]


def _repository_server(world: World) -> Sequence[str]:
    return _command(
        world,
        *("--address", "127.0.0.1", "--port", str(world.ports["argocd-repo-server"])),
        *("--metrics-address", "127.0.0.1"),
        *("--metrics-port", str(world.ports["argocd-repo-metrics"])),
        *("--disable-tls", "--client-ca-path", ""),
    )


def _application_controller(world: World) -> Sequence[str]:
    return _command(
        world,
        *("--repo-server", _local(world, "argocd-repo-server"), "--repo-server-plaintext"),
        *("--metrics-port", str(world.ports["argocd-metrics"])),
        # Sizes of a small machine, and no wait of minutes after a few heals.
        *("--status-processors", "4", "--operation-processors", "2"),
        *("--self-heal-backoff-cap-seconds", "1"),
    )


def _api_server(world: World) -> Sequence[str]:
    return _command(
        world,
        *("--repo-server", _local(world, "argocd-repo-server"), "--repo-server-plaintext"),
        *("--address", "127.0.0.1", "--port", str(world.ports["argocd-server"])),
        *("--metrics-port", str(world.ports["argocd-server-metrics"])),
        *("--insecure", "--disable-auth", "--staticassets", str(_folder(world) / "tmp")),
    )


def _is_healthy(port: str) -> Callable[[World], bool]:
    return lambda world: answers(world.url(port, "/healthz"))


def _listens(world: World) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", world.ports["argocd-redis"]), timeout=1):
            return True
    except OSError:
        return False


REDIS_PART = Part(
    name="argocd-redis",
    command=lambda world: [
        *(str(world.places[REDIS.name] / "redis"), "--address", _local(world, "argocd-redis")),
    ],
    is_ready=_listens,
    address=lambda world: _local(world, "argocd-redis"),
    recipes=(REDIS,),
    restarts=True,
)
REPOSITORY_PART = Part(
    name="argocd-repo",
    command=_repository_server,
    is_ready=_is_healthy("argocd-repo-metrics"),
    address=lambda world: _local(world, "argocd-repo-server"),
    needs=("control-plane", "argocd-redis"),
    recipes=(ARGOCD_PROGRAM,),
    before=_set_up,
    environment=_environment("argocd-repo-server"),
    restarts=True,
)
CONTROLLER_PART = Part(
    name="argocd",
    command=_application_controller,
    is_ready=_is_healthy("argocd-metrics"),
    address=lambda world: "",
    # It lists all kinds when it starts: those of others should be there.
    needs=("argocd-repo", "kserve", "headgate"),
    recipes=(ARGOCD_PROGRAM,),
    environment=_environment("argocd-application-controller"),
    restarts=True,
)
SERVER_PART = Part(
    name="argocd-server",
    command=_api_server,
    is_ready=_is_healthy("argocd-server"),
    address=lambda world: world.url("argocd-server"),
    needs=("argocd-repo",),
    recipes=(ARGOCD_PROGRAM,),
    environment=_environment("argocd-server"),
    restarts=True,
)
OPTION = Option(
    name="argocd",
    parts=(REDIS_PART, REPOSITORY_PART, CONTROLLER_PART, SERVER_PART),
    ports=(
        *("argocd-redis", "argocd-repo-server", "argocd-repo-metrics"),
        *("argocd-metrics", "argocd-server", "argocd-server-metrics"),
    ),
    instead_of=("gitsync",),
)
