"""
The Kubernetes API as a test uses it: one call after the other, from any thread.

Owns the paths of the kinds that the scenarios touch. Knows nothing of what the objects mean.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sandbox.kube import APPLY, MERGE, Json, Kube, KubeError, read_kubeconfig

T = TypeVar("T")

MANAGER = "scenarios"
_CALL_SECONDS = 60

_HEADGATE = "/apis/headgate.dev/v1alpha1"
_GATEWAY_API = "/apis/gateway.networking.k8s.io/v1"
_ARGO_CD = "/apis/argoproj.io/v1alpha1"
_COLLECTIONS: Mapping[str, tuple[str, str]] = {
    "ModelDeployment": (_HEADGATE, "modeldeployments"),
    "ModelRevision": (_HEADGATE, "modelrevisions"),
    "ModelRollout": (_HEADGATE, "modelrollouts"),
    "InferenceService": ("/apis/serving.kserve.io/v1beta1", "inferenceservices"),
    "ServingRuntime": ("/apis/serving.kserve.io/v1alpha1", "servingruntimes"),
    "ClusterServingRuntime": ("/apis/serving.kserve.io/v1alpha1", "clusterservingruntimes"),
    "HTTPRoute": (_GATEWAY_API, "httproutes"),
    "Gateway": (_GATEWAY_API, "gateways"),
    "GitRepository": ("/apis/source.toolkit.fluxcd.io/v1", "gitrepositories"),
    "Kustomization": ("/apis/kustomize.toolkit.fluxcd.io/v1", "kustomizations"),
    "Application": (_ARGO_CD, "applications"),
    "AppProject": (_ARGO_CD, "appprojects"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "CustomResourceDefinition": ("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "Namespace": ("/api/v1", "namespaces"),
    "Node": ("/api/v1", "nodes"),
    "Pod": ("/api/v1", "pods"),
    "Secret": ("/api/v1", "secrets"),
    "Service": ("/api/v1", "services"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
}


def collection(kind: str, namespace: str | None) -> str:
    """Return the path of all objects of a kind; `namespace` None: of the whole cluster."""
    prefix, plural = _COLLECTIONS[kind]
    return f"{prefix}/namespaces/{namespace}/{plural}" if namespace else f"{prefix}/{plural}"


class Api:
    """One login to one API server; use it as a context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        """Prepare; nothing is read from the server yet."""
        self.kubeconfig = kubeconfig
        self._kube = Kube(read_kubeconfig(kubeconfig), MANAGER)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        """Connect."""
        self._thread.start()
        self._wait(self._kube.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        self._wait(self._kube.__aexit__(kind, error, trace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def find(self, kind: str, namespace: str | None, name: str) -> Json | None:
        """Return one object, or None if there is none."""
        try:
            return self._wait(self._kube.get(f"{collection(kind, namespace)}/{name}"))
        except KubeError as error:
            if error.is_gone:
                return None
            raise

    def list(self, kind: str, namespace: str | None, selector: str = "") -> Sequence[Json]:
        """Return all objects with these labels."""
        found = self._wait(
            self._kube.get(collection(kind, namespace), labelSelector=selector),
        )
        return list(found["items"])

    def apply(self, manifest: Json, manager: str = "") -> Json:
        """Create or change an object as a GitOps tool does; raises KubeError if it is refused."""
        return self._wait(self._kube.patch(_path(manifest), manifest, APPLY, manager))

    def differences(self, manifest: Json, manager: str = "") -> Sequence[str]:
        """Name the parts of an object that applying `manifest` would change.

        As `kubectl diff --server-side --force-conflicts` finds them; status, which is nobody's to
        apply, and what the server keeps for itself in the metadata are left out.
        """
        path = _path(manifest)
        found = self._wait(self._kube.get(path))
        wanted = self._wait(self._kube.patch(path, manifest, APPLY, manager, dry_run=True))
        metadata = [
            f"metadata.{key}"
            for key in ("labels", "annotations", "finalizers", "ownerReferences", "generation")
            if found["metadata"].get(key) != wanted["metadata"].get(key)
        ]
        parts = (found.keys() | wanted.keys()) - {"metadata", "status"}
        return metadata + sorted(key for key in parts if found.get(key) != wanted.get(key))

    def merge(self, manifest: Json) -> Json:
        """Change some fields of an object, as a hand does with `kubectl patch`."""
        return self._wait(self._kube.patch(_path(manifest), manifest, MERGE))

    def create(self, path: str, body: Json) -> Json:
        """Post to a path; raises KubeError if it is refused."""
        return self._wait(self._kube.create(path, body))

    def delete(self, kind: str, namespace: str | None, name: str) -> None:
        """Delete an object and what it owns; one that is gone already is no error."""
        body = {"propagationPolicy": "Background"}
        self._wait(self._kube.delete(f"{collection(kind, namespace)}/{name}", body))

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(_CALL_SECONDS)


def _path(manifest: Json) -> str:
    metadata = manifest["metadata"]
    return f"{collection(manifest['kind'], metadata.get('namespace'))}/{metadata['name']}"
