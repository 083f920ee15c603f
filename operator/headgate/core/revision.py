"""
Owns a revision's identity: canonical JSON, the hashes made of it, and what a template refers to.

A revision's hash names objects in clusters and in records that outlive every version of this
code, so nothing here may ever answer differently for the same input: a new rule needs a new
CANONICAL version. It must not know how objects are read or written.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CANONICAL = 1
"""Version of the canonical form; it is part of every hash."""

STORAGE_SECRET = "storage-config"  # noqa: S105
"""Secret that KServe reads for a `storage` entry (its inferenceservice-config default)."""

STORAGE_SECRET_ANNOTATION = "serving.kserve.io/storageSecretName"  # noqa: S105
"""Annotation that names another Secret for it."""

HASH_DIGITS = 8


def canonical_json(value: object) -> str:
    """
    Write JSON values so that equal values give equal text, whoever wrote them.

    | input                | written as                                                      |
    |----------------------|-----------------------------------------------------------------|
    | keys of a map        | sorted by code point, no white space                            |
    | null in a map        | left out: the API server takes it as absence                    |
    | null in a list       | null: it has a place                                            |
    | empty map or list    | kept: `emptyDir: {}` means something                            |
    | 1.0, 1e2, -0.0       | 1, 100, 0: JSON and Go do not tell them apart                   |
    | other numbers        | shortest decimal that reads back as the same 64-bit float       |
    | text                 | ASCII with \\u escapes, not normalised: Kubernetes compares bytes |

    Raises:
        ValueError: NaN, an infinity, a key that is not text, or a type JSON does not have.
    """
    return json.dumps(
        _canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def _canonical(value: object) -> object:
    """Return `value` with nulls and numbers in their one form."""
    match value:
        case None | str() | int():
            return value
        case float():
            return _number(value)
        case Mapping():
            return {_key(key): _canonical(item) for key, item in value.items() if item is not None}
        case Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return [_canonical(item) for item in value]
    raise ValueError(f"wanted a JSON value, found {type(value).__name__}")


def _number(value: float) -> int | float:
    if not math.isfinite(value):
        raise ValueError(f"wanted a finite number, found {value}")
    return int(value) if value.is_integer() else value


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    raise ValueError(f"wanted text as key, found {key!r}")


def content_hash(value: Mapping[str, Any]) -> str:
    """
    Hash contents such as a ConfigMap's `{"data": …, "binaryData": …}` or a runtime's spec.

    Returns:
        SHA-256 of the canonical form and its version, 64 hexadecimal digits. A hash of a short
        secret can be guessed back: keep it where the secret's readers are.

    Raises:
        ValueError: See canonical_json.
    """
    text = canonical_json({"canonical": CANONICAL, "content": value})
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def revision_hash(
    template: Mapping[str, Any],
    digest: str | None,
    config_maps: Mapping[str, str],
    secrets: Mapping[str, str],
    runtime_hash: str | None,
    profile: str | None = None,
) -> str:
    """
    Hash everything that decides what a revision serves.

    Args:
        template: `spec.template` of the ModelDeployment. Absent and empty labels, annotations and
            metadata are the same, as the API server and our models add or drop them.
        digest: Digest of the model's artifact; None if the person gave none.
        config_maps: content_hash by name of each ConfigMap that the template names.
        secrets: The same for those Secrets that the operator may read.
        runtime_hash: content_hash of the runtime's spec; None if the template names none.
        profile: Digest of the training data's profile; None, and no part of the hash, without one.

    Returns:
        Eight hexadecimal digits.

    Raises:
        ValueError: See canonical_json.
    """
    metadata = template.get("metadata") or {}
    drift = {} if profile is None else {"profile": profile}
    return content_hash(
        {
            **drift,
            "labels": metadata.get("labels") or {},
            "annotations": metadata.get("annotations") or {},
            "spec": template["spec"],
            "digest": digest,
            "configMaps": config_maps,
            "secrets": secrets,
            "runtime": runtime_hash,
        }
    )[:HASH_DIGITS]


def revision_name(deployment: str, hash: str) -> str:
    """Name the revision, and its InferenceService, of this hash: `fraud-9c1d44e0`."""
    return f"{deployment}-{hash}"


def record_digest(record: Mapping[str, Any]) -> str:
    """
    Digest a finished rollout's record, for the next one to name.

    Args:
        record: A ModelRollout manifest. Its `spec` and `status` count, without `status.digest`,
            so that a record can be checked against the digest it carries; metadata does not.

    Returns:
        `sha256:` and 64 hexadecimal digits.

    Raises:
        ValueError: See canonical_json.
    """
    status = {key: value for key, value in record["status"].items() if key != "digest"}
    return "sha256:" + content_hash({"spec": record["spec"], "status": status})


def proven_digest(kept: Mapping[str, Any]) -> str:
    """
    Digest what is kept in Git of a proven revision, so that a slip of a hand is seen.

    Args:
        kept: The block of `spec.rollout.provenRevision`; all of it counts but its own `digest`.
            Outside the template, absent and empty entries are the same, as the API server and our
            models add them.

    Returns:
        `sha256:` and 64 hexadecimal digits. It proves nothing against who can compute it too.

    Raises:
        ValueError: See canonical_json.
    """
    told = {key: value for key, value in kept.items() if key not in ("digest", "template")}
    return "sha256:" + content_hash({**_without_empty(told), "template": kept["template"]})


def _without_empty(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Drop empty maps and lists, at any depth of maps."""
    kept = {k: _without_empty(v) if isinstance(v, Mapping) else v for k, v in entries.items()}
    return {key: value for key, value in kept.items() if value not in ([], {})}


@dataclass(frozen=True, slots=True)
class References:
    """Names of the ConfigMaps and Secrets a template depends on: sorted, each once."""

    config_maps: tuple[str, ...]
    secrets: tuple[str, ...]
    optional_config_maps: frozenset[str] = frozenset()
    """Those of config_maps that may be missing: every mention says `optional: true`."""
    optional_secrets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Mention:
    secret: bool
    name: str
    optional: bool


# Where the Kubernetes and KServe APIs name an object: the key of the map, and in it the key of
# the name. Found at any depth, so that every container, volume, worker and component counts.
_CONFIG_MAP_KEYS = {"configMap": "name", "configMapKeyRef": "name", "configMapRef": "name"}
_SECRET_KEYS = {
    "secretKeyRef": "name",
    "secretRef": "name",
    "nodePublishSecretRef": "name",
    "azureFile": "secretName",
}
_VERBATIM_KEYS = frozenset({"labels", "annotations", "nodeSelector", "matchLabels", "parameters"})
"""Maps with keys of the user's choice: a key in them is no reference."""


def references(
    template_spec: Mapping[str, Any], annotations: Mapping[str, str] | None = None
) -> References:
    """
    Find every ConfigMap and Secret that a KServe InferenceService spec names.

    Env and envFrom, volumes and projected volumes, image pull secrets, CSI and other volume
    secrets, and KServe's storage Secret. Not found: what a service account, a runtime or a
    cluster-wide setting refers to.

    Args:
        template_spec: `spec.template.spec` of the ModelDeployment.
        annotations: `spec.template.metadata.annotations`; they may name the storage Secret.
    """
    mentions = set(_mentions(template_spec, (annotations or {}).get(STORAGE_SECRET_ANNOTATION)))
    config_maps = {mention for mention in mentions if not mention.secret}
    secrets = mentions - config_maps
    return References(
        _names(config_maps), _names(secrets), _optional(config_maps), _optional(secrets)
    )


def _names(mentions: set[_Mention]) -> tuple[str, ...]:
    return tuple(sorted({mention.name for mention in mentions}))


def _optional(mentions: set[_Mention]) -> frozenset[str]:
    required = {mention.name for mention in mentions if not mention.optional}
    return frozenset(mention.name for mention in mentions) - required


def _mentions(node: object, storage_secret: str | None) -> Iterator[_Mention]:
    """Walk maps and lists at any depth; a component's own annotation names the storage Secret."""
    match node:
        case Mapping():
            own = _text(node.get("annotations"), STORAGE_SECRET_ANNOTATION) or storage_secret
            for key, value in node.items():
                yield from _mentioned(key, value, own)
                if key not in _VERBATIM_KEYS:
                    yield from _mentions(value, own)
        case list() | tuple():
            for item in node:
                yield from _mentions(item, storage_secret)


def _mentioned(key: str, value: object, storage_secret: str | None) -> Iterator[_Mention]:
    """Read the names that one entry of a map gives."""
    if key in _CONFIG_MAP_KEYS:
        yield from _mention(False, value, _CONFIG_MAP_KEYS[key])
    elif key in _SECRET_KEYS:
        yield from _mention(True, value, _SECRET_KEYS[key])
    elif key == "secret":
        yield from _mention(True, value, "secretName")
        yield from _mention(True, value, "name")
    elif key == "imagePullSecrets" and isinstance(value, list | tuple):
        for item in value:
            yield from _mention(True, item, "name")
    elif key == "storage" and isinstance(value, Mapping):
        yield _Mention(True, storage_secret or STORAGE_SECRET, "key" not in value)


def _mention(secret: bool, value: object, key: str) -> Iterator[_Mention]:
    name = _text(value, key)
    if name:
        yield _Mention(secret, name, isinstance(value, Mapping) and value.get("optional") is True)


def _text(value: object, key: str) -> str | None:
    """Return the text under `key`; None where there is none or it is something else."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else None
