"""What kubectl's configuration says besides how to log in.

Owns finding kubeconfig files and the namespace of a context. Must not know what is done there.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from kubernetes.aio import config as kube_config

IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Where a pod finds the namespace it runs in."""

DEFAULT_NAMESPACE = "default"

_BAD_FILE = (
    kube_config.ConfigException,
    yaml.YAMLError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)


def exists(kubeconfig: str | None) -> bool:
    """Whether there is anything to log in with: the file given, the pod's account, kubectl's."""
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return True
    return any(path.expanduser().is_file() for path in _files(kubeconfig))


def namespace(kubeconfig: str | None, context: str | None) -> str:
    """Return the namespace that kubectl would use; `default` where none is set.

    A file that cannot be read gives `default` too: the login that follows tells what is wrong.
    """
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        try:
            return IN_CLUSTER_NAMESPACE.read_text().strip() or DEFAULT_NAMESPACE
        except OSError:
            return DEFAULT_NAMESPACE
    try:
        contexts, current = kube_config.list_kube_config_contexts(
            os.pathsep.join(str(path) for path in _files(kubeconfig))
        )
        wanted = context or current["name"]
        chosen = next(one for one in contexts if one["name"] == wanted)
        return str(chosen["context"].get("namespace") or DEFAULT_NAMESPACE)
    except (*_BAD_FILE, StopIteration):
        return DEFAULT_NAMESPACE


def _files(kubeconfig: str | None) -> list[Path]:
    named = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return [Path(part).expanduser() for part in named.split(os.pathsep) if part]
