"""
A pod's volumes as folders, and what its containers read from ConfigMaps, Secrets and the pod.

Owns the folders below one path. Knows nothing of processes.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from pathlib import Path

from sandbox.kube import Json, Kube, KubeError
from sandbox.podspec import expand, read_field, read_resource

_TOKEN_SECONDS = 3600


class Missing(Exception):
    """What a pod needs is not there; the message names it. It may come later."""


class Sources:
    """Reads what a pod's manifest refers to."""

    def __init__(self, kube: Kube, pod: Json) -> None:
        self.pod = pod
        self._kube = kube
        self._namespace = pod["metadata"]["namespace"]
        self._tokens: dict[str, tuple[float, bytes]] = {}

    async def config_map(self, name: str, optional: bool = False) -> dict[str, bytes]:
        """
        Return a ConfigMap's entries; none for an optional one that is not there.

        Raises:
            Missing: It is not there.
            KubeError: The API server did not answer, or refused.
        """
        found = await self._read("configmaps", name, optional)
        texts = {key: value.encode() for key, value in (found.get("data") or {}).items()}
        return texts | _decoded(found.get("binaryData"))

    async def secret(self, name: str, optional: bool = False) -> dict[str, bytes]:
        """Return a Secret's entries; as `config_map` otherwise."""
        return _decoded((await self._read("secrets", name, optional)).get("data"))

    async def token(self, audience: str, seconds: int) -> bytes:
        """Return a token of the pod's ServiceAccount, a new one at 80 % of its life."""
        renew_at, token = self._tokens.get(audience, (0.0, b""))
        if time.monotonic() < renew_at:
            return token
        meta = self.pod["metadata"]
        account = self.pod["spec"].get("serviceAccountName", "default")
        request: Json = {
            "expirationSeconds": seconds,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": meta["name"],
                "uid": meta["uid"],
            },
        }
        if audience:
            request["audiences"] = [audience]
        path = f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{account}/token"
        answer = await self._kube.create(
            path,
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": request},
        )
        token = answer["status"]["token"].encode()
        self._tokens[audience] = (time.monotonic() + 0.8 * seconds, token)
        return bytes(token)

    async def _read(self, plural: str, name: str, optional: bool) -> Json:
        try:
            return await self._kube.get(f"/api/v1/namespaces/{self._namespace}/{plural}/{name}")
        except KubeError as error:
            if not error.is_gone:
                raise
            if optional:
                return {}
            raise Missing(f'{plural[:-1]} "{name}" not found') from error


def _decoded(entries: Mapping[str, str] | None) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (entries or {}).items()}


async def read_variables(
    container: Json, sources: Sources, given: Mapping[str, str]
) -> dict[str, str]:
    """
    Return a container's environment: `given`, then `envFrom`, then `env` in its order.

    Raises:
        Missing: A ConfigMap, Secret or key is not there and not optional.
        KubeError: The API server did not answer, or refused.
    """
    found: dict[str, str] = {}
    for entry in container.get("envFrom") or ():
        prefix = entry.get("prefix", "")
        if ref := entry.get("configMapRef"):
            entries = await sources.config_map(ref["name"], ref.get("optional", False))
        else:
            ref = entry["secretRef"]
            entries = await sources.secret(ref["name"], ref.get("optional", False))
        found |= {prefix + key: value.decode() for key, value in entries.items()}
    for entry in container.get("env") or ():
        if reference := entry.get("valueFrom"):
            value = await _read_reference(container, sources, reference)
            if value is not None:
                found[entry["name"]] = value
        else:
            found[entry["name"]] = expand(entry.get("value", ""), {**given, **found})
    return {**given, **found}


async def _read_reference(container: Json, sources: Sources, reference: Json) -> str | None:
    """Return the value; None when it is optional and not there."""
    if field := reference.get("fieldRef"):
        return read_field(sources.pod, field["fieldPath"])
    if resource := reference.get("resourceFieldRef"):
        return read_resource(container, resource)
    if ref := reference.get("configMapKeyRef"):
        entries, kind = (
            await sources.config_map(ref["name"], ref.get("optional", False)),
            "configmap",
        )
    else:
        ref = reference["secretKeyRef"]
        entries, kind = await sources.secret(ref["name"], ref.get("optional", False)), "secret"
    if ref["key"] in entries:
        return entries[ref["key"]].decode()
    if ref.get("optional", False):
        return None
    raise Missing(f'{kind} "{ref["name"]}" has no key "{ref["key"]}"')


class Volumes:
    """The volumes of one pod, one folder each."""

    def __init__(self, sources: Sources, folder: Path) -> None:
        self._sources = sources
        self._folder = folder
        self._specs: dict[str, Json] = {
            volume["name"]: volume for volume in sources.pod["spec"].get("volumes") or ()
        }

    async def prepare(self) -> None:
        """
        Make the folders, or bring their files up to date.

        Raises:
            Missing: Something a volume is made of is not there.
            KubeError: The API server did not answer, or refused.
        """
        for name, spec in self._specs.items():
            files = await self._files(spec)
            if files is None:
                self._path(name).mkdir(parents=True, exist_ok=True)
            else:
                _write_files(self._path(name), files)

    def mounts(self, container: Json, variables: Mapping[str, str]) -> list[tuple[str, Path]]:
        """Return the container's mount paths and the folders or files that stand for them."""
        found = []
        for mount in container.get("volumeMounts") or ():
            path = self._path(mount["name"])
            below = mount.get("subPath") or expand(mount.get("subPathExpr", ""), variables)
            found.append((mount["mountPath"], path / below if below else path))
        return found

    def _path(self, name: str) -> Path:
        spec = self._specs[name]
        return Path(spec["hostPath"]["path"]) if "hostPath" in spec else self._folder / name

    async def _files(self, spec: Json) -> dict[str, bytes] | None:
        """Return the files a volume holds; None for one that containers fill themselves."""
        if "emptyDir" in spec or "hostPath" in spec:
            return None
        if "projected" in spec:
            files: dict[str, bytes] = {}
            for source in spec["projected"].get("sources") or ():
                files |= await self._projected(source)
            return files
        return await self._projected(spec)

    async def _projected(self, source: Json) -> dict[str, bytes]:
        if ref := source.get("configMap"):
            entries = await self._sources.config_map(ref["name"], ref.get("optional", False))
            return _picked(ref, entries)
        if ref := source.get("secret"):
            name = ref.get("secretName") or ref["name"]
            return _picked(ref, await self._sources.secret(name, ref.get("optional", False)))
        if ref := source.get("serviceAccountToken"):
            seconds = ref.get("expirationSeconds", _TOKEN_SECONDS)
            token = await self._sources.token(ref.get("audience", ""), seconds)
            return {ref["path"]: token}
        if ref := source.get("downwardAPI"):
            return {
                item["path"]: read_field(self._sources.pod, item["fieldRef"]["fieldPath"]).encode()
                for item in ref.get("items") or ()
                if "fieldRef" in item
            }
        kinds = sorted(source.keys() - {"name"})
        raise Missing(f"volume kind {', '.join(kinds)} does not exist in the embedded world")


def _picked(ref: Json, entries: Mapping[str, bytes]) -> dict[str, bytes]:
    if not (items := ref.get("items")):
        return dict(entries)
    absent = [item["key"] for item in items if item["key"] not in entries]
    if absent and not ref.get("optional", False):
        raise Missing(f"references non-existent key: {absent[0]}")
    return {item["path"]: entries[item["key"]] for item in items if item["key"] in entries}


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        if path.exists() and path.read_bytes() == content:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(path.name + ".new")
        draft.write_bytes(content)
        draft.chmod(0o600)
        draft.replace(path)
    for path in folder.rglob("*"):
        if path.is_file() and str(path.relative_to(folder)) not in files:
            path.unlink()
