"""Reference profiles: the distribution of each feature, as bins with shares.

Owns the profile's values, its JSON form and its identity. Must not know files, nor how live events
are counted. How a profile is made of columns is in `build`.

A number falls into bin k when it is above `edges[k - 1]` and at most `edges[k]` (as Prometheus'
`le`), a category into its own bin or the one named "other"; what is absent, null or no number is
missing, the bin after the last. Bins never change, so counts of replicas and of hours simply add.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf, isfinite
from typing import Any

from headgate.core.revision import canonical_json

SCHEMA = "headgate.dev/profile/v1"
OTHER = "other"
"""The bin of every category that the profile does not name."""

MAX_FEATURES = 200
MAX_EDGES = 64
MAX_CATEGORIES = 64
MAX_NAME = 128
MAX_BYTES = 900_000
"""A ConfigMap holds 1 MiB; the rest is for its metadata."""

_SUM_ERROR = 1e-6


class ProfileError(ValueError):
    """A profile cannot be used; the text names the field, what was wanted and what was found."""


@dataclass(frozen=True, slots=True)
class NumberFeature:
    """A number: `shares[k]` of `rows` rows lay in bin k, `missing` had no number.

    `design_effect` (at least 1) says how many rows count as one, because rows of one session or
    user are alike.
    """

    name: str
    rows: int
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    missing: float = 0.0
    design_effect: float = 1.0


@dataclass(frozen=True, slots=True)
class CategoryFeature:
    """A category: one share per category and a last one for every other."""

    name: str
    rows: int
    categories: tuple[str, ...]
    shares: tuple[float, ...]
    missing: float = 0.0
    design_effect: float = 1.0


Feature = NumberFeature | CategoryFeature


@dataclass(frozen=True, slots=True)
class Profile:
    """The features in the order of the model's columns, and the predictions if they are known."""

    rows: int
    features: tuple[Feature, ...]
    predictions: Feature | None = None


def labels(feature: Feature) -> tuple[str, ...]:
    """Name the bins without the missing one: upper bounds as `le` writes them, or categories."""
    match feature:
        case NumberFeature(edges=edges):
            return (*(plain(edge) for edge in edges), "+Inf")
        case CategoryFeature(categories=categories):
            return (*categories, OTHER)


def plain(number: float) -> str:
    """Write a number in plain decimals, the shortest that reads back as the same number."""
    text = format(Decimal(repr(float(number))), "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def reference(feature: Feature) -> tuple[float, ...]:
    """Return the shares of all bins, the missing one last; their sum is 1."""
    return (*feature.shares, feature.missing)


def digest(profile: Profile) -> str:
    """Return the profile's identity, `sha256:<64 hex>`; white space and key order do not matter."""
    return f"sha256:{hashlib.sha256(render(profile).encode()).hexdigest()}"


def render(profile: Profile) -> str:
    """Write a profile as canonical JSON on one line.

    Raises:
        ProfileError: It is larger than a ConfigMap can hold.
    """
    predictions = profile.predictions
    text = canonical_json(
        {
            "schema": SCHEMA,
            "rows": profile.rows,
            "features": [_feature_json(feature) for feature in profile.features],
            "predictions": None if predictions is None else _feature_json(predictions),
        }
    )
    if len(text) > MAX_BYTES:
        raise ProfileError(f"profile: wanted at most {MAX_BYTES} bytes, found {len(text)}")
    return text


def _feature_json(feature: Feature) -> dict[str, Any]:
    common = {
        "name": feature.name,
        "rows": feature.rows,
        "shares": feature.shares,
        "missing": feature.missing,
        "designEffect": feature.design_effect,
    }
    match feature:
        case NumberFeature(edges=edges):
            return {"type": "number", "edges": edges, **common}
        case CategoryFeature(categories=categories):
            return {"type": "category", "categories": categories, **common}


def parse(text: str | bytes) -> Profile:
    """Read a profile from JSON.

    Raises:
        ProfileError: It is no JSON, too large, or a field is not as described above.
    """
    if len(text) > MAX_BYTES:
        raise ProfileError(f"profile: wanted at most {MAX_BYTES} bytes, found {len(text)}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"profile: wanted JSON, found {error}") from error
    return _profile(value)


def _profile(value: object) -> Profile:
    found = _map(value, "profile", {"schema", "rows", "features"}, {"predictions"})
    if found["schema"] != SCHEMA:
        raise _wrong("schema", SCHEMA, found["schema"])
    listed = _list(found["features"], "features", 0, MAX_FEATURES)
    features = tuple(_feature(one, f"features[{k}]") for k, one in enumerate(listed))
    _all_different([feature.name for feature in features], "features", "names")
    predictions = found.get("predictions")
    profile = Profile(
        rows=_count(found["rows"], "rows"),
        features=features,
        predictions=None if predictions is None else _feature(predictions, "predictions"),
    )
    if not features and predictions is None:
        raise _wrong("features", "at least one feature or predictions", [])
    return profile


_COMMON = {"name", "type", "rows", "shares"}


def _feature(value: object, at: str) -> Feature:
    kind = value.get("type") if isinstance(value, dict) else None
    match kind:
        case "number":
            found = _map(value, at, _COMMON | {"edges"}, {"missing", "designEffect"})
            edges = _edges(found["edges"], f"{at}.edges")
            return NumberFeature(edges=edges, **_rest(found, at, bins=len(edges) + 1))
        case "category":
            found = _map(value, at, _COMMON | {"categories"}, {"missing", "designEffect"})
            categories = _categories(found["categories"], f"{at}.categories")
            return CategoryFeature(categories=categories, **_rest(found, at, len(categories) + 1))
    if not isinstance(value, dict):
        raise _wrong(at, "a feature", value)
    raise _wrong(f"{at}.type", "number or category", kind)


def _rest(found: Mapping[str, Any], at: str, bins: int) -> dict[str, Any]:
    shares = tuple(
        _number(share, f"{at}.shares[{k}]", 0.0, 1.0)
        for k, share in enumerate(_list(found["shares"], f"{at}.shares", bins, bins))
    )
    missing = _number(found.get("missing", 0.0), f"{at}.missing", 0.0, 1.0)
    total = sum(shares) + missing
    if abs(total - 1.0) > _SUM_ERROR:
        raise _wrong(f"{at}.shares", "a sum of 1 together with missing", round(total, 9))
    return {
        "name": _name(found["name"], f"{at}.name"),
        "rows": _count(found["rows"], f"{at}.rows"),
        "shares": shares,
        "missing": missing,
        "design_effect": _number(found.get("designEffect", 1.0), f"{at}.designEffect", 1.0, 1e6),
    }


def _edges(value: object, at: str) -> tuple[float, ...]:
    edges: list[float] = []
    for k, edge in enumerate(_list(value, at, 1, MAX_EDGES)):
        number = _number(edge, f"{at}[{k}]", -inf, inf)
        if edges and number <= edges[-1]:
            raise _wrong(f"{at}[{k}]", f"more than {plain(edges[-1])}", edge)
        edges.append(number)
    return tuple(edges)


def _categories(value: object, at: str) -> tuple[str, ...]:
    listed = _list(value, at, 1, MAX_CATEGORIES)
    names = tuple(_name(one, f"{at}[{k}]") for k, one in enumerate(listed))
    _all_different(names, at, "categories")
    if OTHER in names:
        raise _wrong(
            f"{at}[{names.index(OTHER)}]", f"any name but {OTHER}, which is the rest", OTHER
        )
    return names


def _map(value: object, at: str, required: set[str], optional: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(at, "an object", value)
    inside = "" if at == "profile" else f"{at}."
    for key in sorted(required - value.keys()):
        raise ProfileError(f"{inside}{key}: wanted a value, found none")
    for key in sorted(value.keys() - required - optional):
        raise ProfileError(f"{at}: wanted no field {_shown(key)}, found one")
    return value


def _list(value: object, at: str, least: int, most: int) -> Sequence[object]:
    if not isinstance(value, list):
        raise _wrong(at, "a list", value)
    if not least <= len(value) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise ProfileError(f"{at}: wanted {wanted} entries, found {len(value)}")
    return value


def _number(value: object, at: str, least: float, most: float) -> float:
    """Read a number; an infinite `most` asks for a finite one only."""
    wanted = "a finite number" if most == inf else f"a number from {least:g} to {most:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(at, wanted, value)
    try:
        number = float(value)
    except OverflowError:
        raise _wrong(at, wanted, value) from None
    if not isfinite(number) or not least <= number <= most:
        raise _wrong(at, wanted, value)
    return number


def _count(value: object, at: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**53:
        raise _wrong(at, "a count of at least 1", value)
    return value


def _name(value: object, at: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or not value.isprintable():
        raise _wrong(at, f"1 to {MAX_NAME} printable characters", value)
    return value


def _all_different(names: Sequence[str], at: str, what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise _wrong(at, f"different {what}", name)
        seen.add(name)


def _wrong(at: str, wanted: str, found: object) -> ProfileError:
    return ProfileError(f"{at}: wanted {wanted}, found {_shown(found)}")


def _shown(value: object) -> str:
    """Show what was found in at most 60 characters."""
    text = json.dumps(value) if isinstance(value, str | int | float | bool | None) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
