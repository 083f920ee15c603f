"""Files with manifests: read into values, written so that Git can keep them.

Owns YAML and JSON as people's files have them. Must not know what a manifest means.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_WIDTH = 100


class Unusable(Exception):
    """A file that cannot be used; the text is for people."""


def read_documents(path: Path, kind: str) -> list[dict[str, Any]]:
    """Read the objects of this kind in a file, those in lists too; `-` is standard input.

    Raises Unusable for a file that is not there, is neither YAML nor JSON, or has none of them.
    """
    import yaml

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        documents = list(yaml.load_all(text, Loader=_loader()))  # JSON is YAML too
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Unusable(f"{path}: neither YAML nor JSON: {error}") from error
    found = [one for document in documents for one in _of_kind(document, kind)]
    if not found:
        raise Unusable(f"{path}: wanted a {kind}, found none")
    return found


def _loader() -> Any:
    """The safe loader, except that a moment stays the text that it is in the object."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, found) for tag, found in known if tag != "tag:yaml.org,2002:timestamp"]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return Loader


def _of_kind(document: Any, kind: str) -> Iterator[dict[str, Any]]:
    if isinstance(document, dict) and document.get("kind") == kind:
        yield document
    elif isinstance(document, dict) and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _of_kind(item, kind)


def write_documents(manifests: Sequence[Mapping[str, Any]], output: str, comment: str = "") -> str:
    """Write manifests as YAML documents, or as one JSON List (`output` is yaml or json).

    Keys keep their order; `comment` is one line above each YAML document, "" for none.
    """
    import json

    import yaml

    if output == "json":
        whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return json.dumps(manifests[0] if len(manifests) == 1 else whole, indent=2) + "\n"
    told = f"# {comment}\n" if comment else ""
    texts = [
        yaml.safe_dump(one, sort_keys=False, width=_WIDTH, allow_unicode=True) for one in manifests
    ]
    return "---\n".join(told + text for text in texts)
