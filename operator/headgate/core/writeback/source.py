"""What of a revision is written in Git, and where two revisions differ in it.

Owns the comparison of `spec.model` and `spec.template`, the two parts of a ModelDeployment that its
revisions keep verbatim. Must not know YAML, nor where a file is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headgate.core.revision import canonical_json
from headgate.core.writeback.reasons import Refusal, Why

Scalar = str | int | float | bool
Path = tuple[str | int, ...]

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One value of the object: where it is below the object's root, and what it shall become."""

    path: Path
    old: Scalar
    new: Scalar


def written(path: Path) -> str:
    """Write a path as kubectl does: `spec.template.spec.predictor.model.args[1]`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).lstrip(".")


def source_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return `model` and `template` of a ModelDeployment's or ModelRevision's spec in one form.

    Nulls in maps are absent, as they are for the API server. So are empty parts of `model` and of
    `template.metadata`, which our own models add or drop; KServe's part is left as it is, where
    `emptyDir: {}` means something.
    """
    template = _mapping(spec.get("template"))
    metadata = _without_empty(_mapping(template.get("metadata")))
    rendered: dict[str, Any] = {"spec": _without_null(template.get("spec"))}
    if metadata:
        rendered["metadata"] = metadata
    return {"model": _without_empty(_mapping(spec.get("model"))), "template": rendered}


def is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sources mean the same; a value that JSON does not have makes them differ."""
    try:
        return canonical_json(one) == canonical_json(other)
    except ValueError:
        return False


def first_difference(one: Any, other: Any) -> tuple[Path, Any]:
    """Return where two sources that are not the same differ first, and what `one` has there."""
    path, found, _ = next(_differences(one, other, ("spec",)), (("spec",), one, other))
    return path, found


def changes_between(rejected: Mapping[str, Any], stable: Mapping[str, Any]) -> tuple[Change, ...]:
    """
    Return the single values by which the source of two revisions' specs differ, at least one.

    Raises:
        Refusal: They differ in something else too, or not in the object at all.
    """
    _check_surroundings(rejected, stable)
    found = _differences(source_of(rejected), source_of(stable), ("spec",))
    changes = tuple(_change(*each) for each in found)
    if not changes:
        raise Refusal(Why.NOT_IN_OBJECT, "both versions have the same model and template")
    return changes


def _change(path: Path, old: Any, new: Any) -> Change:
    for value, which in ((old, "rejected"), (new, "stable")):
        if not isinstance(value, str | int | float | bool):
            found = "nothing" if value is _ABSENT or value is None else "a map or list"
            message = f"{written(path)}: wanted one value, found {found} in the {which} version"
            raise Refusal(Why.NOT_A_SCALAR, message)
    return Change(path, old, new)


def _differences(one: Any, other: Any, path: Path) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted(one.keys() | other.keys()):
            yield from _differences(
                one.get(key, _ABSENT), other.get(key, _ABSENT), (*path, str(key))
            )
    elif _is_list(one) and _is_list(other) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _differences(left, right, (*path, index))
    elif one is _ABSENT or other is _ABSENT or not is_same({"": one}, {"": other}):
        yield path, one, other


def _check_surroundings(rejected: Mapping[str, Any], stable: Mapping[str, Any]) -> None:
    """Refuse where the object alone would not bring the stable revision back, but a third one."""
    before, after = _hashes(rejected.get("configMaps")), _hashes(stable.get("configMaps"))
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            message = f"the versions differ in the contents of ConfigMap {name} too"
            raise Refusal(Why.NOT_IN_OBJECT, message)
    before_runtime = _mapping(rejected.get("runtime"))
    after_runtime = _mapping(stable.get("runtime"))
    same_name = before_runtime.get("name") == after_runtime.get("name")
    if same_name and before_runtime.get("hash") != after_runtime.get("hash"):
        message = f"the versions differ in the runtime {before_runtime.get('name')}"
        raise Refusal(Why.NOT_IN_OBJECT, message)
    if _profile(rejected) != _profile(stable):
        raise Refusal(Why.NOT_IN_OBJECT, "the versions differ in the training data's profile")


def _hashes(references: Any) -> dict[str, Any]:
    return {each["name"]: each["hash"] for each in references or ()}


def _profile(spec: Mapping[str, Any]) -> Any:
    return _mapping(_mapping(spec.get("drift")).get("reference")).get("digest")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _without_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_null(item) for key, item in value.items() if item is not None}
    return [_without_null(item) for item in value] if _is_list(value) else value


def _without_empty(value: Any) -> Any:
    if isinstance(value, Mapping):
        inner = {key: _without_empty(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if item not in (None, {}, [])}
    return [_without_empty(item) for item in value] if _is_list(value) else value
