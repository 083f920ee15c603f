"""
What the embedded world is built from: a recipe for each binary and environment, versions pinned.

A recipe says what its result depends on and how it is made; `cache` keeps the results. Nothing is
started here.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.cache import Cache, MissingError, fingerprint, tree
from sandbox.packages import make_environment
from sandbox.paths import ROOT, SOURCES, cache_root, log_of_build
from sandbox.toolchain import find_go, installed

Report = Callable[[str], None]

_STRIPPED = "-s -w"


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module at a version, with the checksum its content must have (as in a go.sum)."""

    path: str
    version: str
    checksum: str


KSERVE = Module(
    "github.com/kserve/kserve", "v0.20.0", "h1:Bs7HxmGV4KFqqptDcWseKv+mwD4YOYHJWcuVgPG2Gug="
)
GATEWAY_API = Module(
    "sigs.k8s.io/gateway-api", "v1.5.1", "h1:RqVRIlkhLhUO8wOHKTLnTJA6o/1un4po4/6M1nRzdd0="
)
PROMETHEUS = Module(
    "github.com/prometheus/prometheus",
    "v0.315.0",
    "h1:sFGZWmC2Hk9N1NBJGCnXYZb5hyLCq8yuAMoEjLAg6ac=",
)
FLUX_MODULES = (
    Module(
        "github.com/fluxcd/source-controller",
        "v1.9.5",
        "h1:MFPyCodUi9hZIMaKDsC/rYbNoyzpvrAdrPVixj7W9F0=",
    ),
    Module(
        "github.com/fluxcd/kustomize-controller",
        "v1.9.5",
        "h1:/XY2zy3K7fntyppEXIHG7oRMzmfgIt50eJzUfaPX1Kc=",
    ),
    Module(
        "github.com/fluxcd/helm-controller",
        "v1.6.4",
        "h1:u/Ew7LehrwDQaE/NqWdaB3XnNDCxRGDcp1FZl7RKj4g=",
    ),
    Module(
        "github.com/fluxcd/notification-controller",
        "v1.9.3",
        "h1:vBONN/Lx5aQ2nDnJxYp5Sb0Wsgh13UbuP5A1MK4dmkY=",
    ),
)
"""Whose CRDs are Flux's; the first two run, as `flux/go.mod` pins them."""
PROMETHEUS_OPERATOR = Module(
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
)
HELM = Module("helm.sh/helm/v4", "v4.3.1", "h1:UndCoLe9UPmNoL7IvWzaUXveL7T5t/ijoorEmgJdI9g=")
ARGOCD = Module(
    "github.com/argoproj/argo-cd/v3", "v3.5.7", "h1:Xm1BF+I5OgDKUG3SDK49vn2/Y5AMyaNVko+/JT08gj0="
)
GITOPS_ENGINE = Module(
    "github.com/argoproj/argo-cd/gitops-engine",
    "v0.0.0-20260914071520-c9c369efcc5b",
    "h1:0tKOg3Fxd5cqVemntg63MqCjk7wqVV32vbVGWOGyhR8=",
)
"""What lies in a folder of Argo CD's repository and is missing in its module: the same commit."""
_GITOPS_ENGINE_GO_MOD = "h1:RsOM4gdM/lsvAfIuzAhYrnHDTLA1AGooZRzVyxbVT3A="


@dataclass(frozen=True, slots=True)
class Recipe:
    """
    How one thing of the world is made.

    Attributes:
        name: Its folder in the cache.
        title: What a person reads while it is made, with the time it takes on two cores.
        inputs: What the result depends on.
        make: Fills the folder; writes a long story to `<cache>/logs/<name>.log`.
        movable: False when the result holds its own path.
    """

    name: str
    title: str
    inputs: Callable[[], Sequence[str | bytes]]
    make: Callable[[Path], None]
    movable: bool = True


def build(recipe: Recipe, report: Report) -> Path:
    """
    Return the folder of what `recipe` makes; makes it now if it is not in the cache.

    Raises:
        MissingError: The machine lacks something, or the build failed.
    """
    cache = Cache(cache_root())
    key = fingerprint([recipe.name, *recipe.inputs()])

    def make(folder: Path) -> None:
        report(f"making {recipe.title}")
        recipe.make(folder)

    place = cache.get if recipe.movable else cache.make_at
    return place(recipe.name, key, make)


def _go_build(name: str, source: Path, package: str, target: Path, *flags: str) -> None:
    go = installed(find_go(), Cache(cache_root()))
    go.run(["build", *flags, "-o", str(target), package], source, log_of_build(name))


def download(module: Module) -> Path:
    """
    Return the folder of `module` in Go's module cache.

    Raises:
        MissingError: It cannot be fetched, or is not the content that was pinned.
    """
    go = installed(find_go(), Cache(cache_root()))
    cache_root().mkdir(parents=True, exist_ok=True)
    name = f"{module.path}@{module.version}"
    answer = json.loads(
        go.run(["mod", "download", "-json", name], cache_root(), log_of_build("modules"))
    )
    if answer["Sum"] != module.checksum:
        raise MissingError(f"{name}: checksum {answer['Sum']}, wanted {module.checksum}")
    return Path(answer["Dir"])


def _controlplane_inputs() -> Sequence[str | bytes]:
    sources = tree(SOURCES / "controlplane", "*.go", "go.mod", "go.sum")
    return [find_go().version, kubernetes_version(), *sources]


def kubernetes_version() -> str:
    """Return the version of Kubernetes that the control plane's go.mod pins, such as v1.36.3."""
    text = (SOURCES / "controlplane" / "go.mod").read_text()
    match = re.search(r"^\s*k8s\.io/kubernetes (v\S+)$", text, re.MULTILINE)
    if match is None:
        raise MissingError("e2e/sandbox/controlplane/go.mod names no k8s.io/kubernetes")
    return match[1]


def _make_controlplane(folder: Path) -> None:
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    package = "k8s.io/component-base/version"
    # Without these every client would see the version v0.0.0-master.
    flags = f"{_STRIPPED} -X {package}.gitVersion={version}"
    flags += f" -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    target = folder / "controlplane"
    _go_build("controlplane", SOURCES / "controlplane", ".", target, f"-ldflags={flags}")


def _make_kserve(folder: Path) -> None:
    # Built in its own folder KServe is the main module, so its own replace lines apply.
    source = download(KSERVE)
    _go_build("kserve", source, "./cmd/manager", folder / "manager", f"-ldflags={_STRIPPED}")
    for part in ("crd", "runtimes", "storagecontainers", "configmap", "webhook"):
        _copy(source / "config" / part, folder / "config" / part)


def _make_kserve_agent(folder: Path) -> None:
    # The agent listens on an abstract socket too, whose name is free once in a network namespace:
    # of all pods of this machine, which share one, only the first would keep its agent. With an
    # empty name the kernel chooses one.
    flags = f"{_STRIPPED} -X main.unixSocketPath="
    source = download(KSERVE)
    _go_build("kserve-agent", source, "./cmd/agent", folder / "agent", f"-ldflags={flags}")


def _make_gateway_api(folder: Path) -> None:
    _copy(download(GATEWAY_API) / "config" / "crd" / "standard", folder / "crd")


def _make_prometheus(folder: Path) -> None:
    _go_build(
        "prometheus",
        download(PROMETHEUS),
        "./cmd/prometheus",
        folder / "prometheus",
        f"-ldflags={_STRIPPED}",
        "-tags=remove_all_sd",
    )


def _make_flux_crds(folder: Path) -> None:
    for module in FLUX_MODULES:
        _copy(download(module) / "config" / "crd" / "bases", folder / module.path.split("/")[-1])


def _flux_inputs() -> Sequence[str | bytes]:
    return [find_go().version, *tree(SOURCES / "flux", "go.mod", "go.sum")]


def _make_flux(folder: Path) -> None:
    # Both from one module of ours, whose go.sum pins all that they are made from: they share most.
    for module in FLUX_MODULES[:2]:
        target = folder / module.path.split("/")[-1]
        _go_build("flux", SOURCES / "flux", module.path, target, f"-ldflags={_STRIPPED}")


def _make_prometheus_operator(folder: Path) -> None:
    _copy(download(PROMETHEUS_OPERATOR) / "example" / "prometheus-operator-crd", folder / "crd")


def _make_helm(folder: Path) -> None:
    version = "helm.sh/helm/v4/internal/version.version"
    flags = f"{_STRIPPED} -X {version}={HELM.version}"
    _go_build("helm", download(HELM), "./cmd/helm", folder / "helm", f"-ldflags={flags}")


def _make_argocd(folder: Path) -> None:
    source = download(ARGOCD)
    package = f"{ARGOCD.path}/common"
    flags = f"-ldflags={_STRIPPED} -X {package}.version={ARGOCD.version.removeprefix('v')}"
    with tempfile.TemporaryDirectory() as modules:
        chosen = argocd_modules(source, Path(modules))
        _go_build("argocd", source, "./cmd", folder / "argocd", f"-modfile={chosen}", flags)
    _copy(source / "manifests" / "crds", folder / "crds")
    _copy(source / "manifests" / "base" / "config", folder / "config")
    # Called by its name, so it must be on PATH.
    (folder / "bin").mkdir()
    wrapper = folder / "bin" / "git-verify-wrapper.sh"
    shutil.copyfile(source / "hack" / wrapper.name, wrapper)
    wrapper.chmod(0o755)


def argocd_modules(source: Path, folder: Path) -> Path:
    """
    Write Argo CD's own go.mod and go.sum with its one local folder replaced by what is published.

    All else stays pinned by Argo CD's go.sum, which the module's checksum covers.
    """
    published = f"{GITOPS_ENGINE.path} {GITOPS_ENGINE.version}"
    local = f"replace {GITOPS_ENGINE.path} => ./gitops-engine"
    text = (source / "go.mod").read_text()
    if local not in text:
        raise MissingError(f"{ARGOCD.path} {ARGOCD.version}: its go.mod has no line {local!r}")
    chosen = folder / "argocd.mod"
    chosen.write_text(text.replace(local, f"replace {GITOPS_ENGINE.path} => {published}"))
    sums = f"{published} {GITOPS_ENGINE.checksum}\n{published}/go.mod {_GITOPS_ENGINE_GO_MOD}\n"
    chosen.with_suffix(".sum").write_text((source / "go.sum").read_text() + sums)
    return chosen


def _redis_inputs() -> Sequence[str | bytes]:
    return [find_go().version, *tree(SOURCES / "redis", "*.go", "go.mod", "go.sum")]


def _make_redis(folder: Path) -> None:
    target = folder / "redis"
    _go_build("redis", SOURCES / "redis", ".", target, f"-ldflags={_STRIPPED}")


def _copy(source: Path, target: Path) -> None:
    # Go's module cache is read-only, and a read-only folder could not be renamed or removed later.
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        folder.chmod(0o755)


def _module_inputs(module: Module, *more: str) -> Callable[[], Sequence[str]]:
    return lambda: [find_go().version, module.path, module.version, module.checksum, *more]


def _model_server_requirements() -> Path:
    return ROOT / "requirements" / "model-server.txt"


def _make_model_server(folder: Path) -> None:
    make_environment(folder, _model_server_requirements(), "model-server")


CONTROL_PLANE = Recipe(
    "controlplane",
    "etcd, kube-apiserver, controllers, scheduler and kubectl (about 4 min, once)",
    _controlplane_inputs,
    _make_controlplane,
)
KSERVE_MANAGER = Recipe(
    "kserve",
    "KServe's controller (about 2 min, once)",
    _module_inputs(KSERVE),
    _make_kserve,
)
KSERVE_AGENT = Recipe(
    "kserve-agent",
    "KServe's agent, which logs requests (about 1 min, once)",
    _module_inputs(KSERVE, "unixSocketPath="),
    _make_kserve_agent,
)
GATEWAY_CRDS = Recipe(
    "gateway-api",
    "the Gateway API's CRDs",
    _module_inputs(GATEWAY_API),
    _make_gateway_api,
)
PROMETHEUS_SERVER = Recipe(
    "prometheus",
    "Prometheus (about 2 min, once)",
    _module_inputs(PROMETHEUS, "remove_all_sd"),
    _make_prometheus,
)
PROMETHEUS_OPERATOR_CRDS = Recipe(
    "prometheus-operator",
    "the Prometheus operator's CRDs",
    _module_inputs(PROMETHEUS_OPERATOR),
    _make_prometheus_operator,
)
HELM_PROGRAM = Recipe(
    "helm",
    "Helm (about 2 min, once)",
    _module_inputs(HELM, "stamped"),
    _make_helm,
)
MODEL_SERVER = Recipe(
    "model-server",
    "the model servers' environment (about 1 min, once)",
    lambda: [sys.version, _model_server_requirements().read_bytes()],
    _make_model_server,
    movable=False,
)
FLUX_CRDS = Recipe(
    "flux-crds",
    "Flux's CRDs",
    lambda: [word for m in FLUX_MODULES for word in (m.path, m.version, m.checksum)],
    _make_flux_crds,
)
FLUX_CONTROLLERS = Recipe(
    "flux",
    "Flux's source- and kustomize-controller (about 6 min, once)",
    _flux_inputs,
    _make_flux,
)
ARGOCD_PROGRAM = Recipe(
    "argocd",
    "Argo CD (about 4 min, once)",
    _module_inputs(ARGOCD, GITOPS_ENGINE.version, GITOPS_ENGINE.checksum),
    _make_argocd,
)
REDIS = Recipe("redis", "a Redis in memory, for Argo CD", _redis_inputs, _make_redis)
FOR_TESTS = (HELM_PROGRAM, PROMETHEUS_OPERATOR_CRDS)
"""What is no part of a world, but what the tests of the chart run and read."""
