"""
Prints a CycloneDX 1.6 bill of materials of an environment, from pip's own installation reports.

    python image/sbom.py OWN.json PACKAGES.json > sbom.cdx.json

Owns the form of the document. The first report is that of the product itself, the others are those
of what it is installed with (`pip install --report`). The same reports and SOURCE_DATE_EPOCH give
the same bytes. Needs nothing but Python.
"""

from __future__ import annotations

import json
import os
import re
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

Json = dict[str, Any]

NAMESPACE = uuid.UUID("4b1d7c52-7b0a-5a0e-9a55-2d6c1f3f8e10")
_SHORT = 80
"""A `License` field that is longer is the licence's whole text."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def canonical(name: str) -> str:
    """Return a package's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def purl(name: str, version: str) -> str:
    """Return the package URL of a version on PyPI."""
    return f"pkg:pypi/{canonical(name)}@{version}"


def component(entry: Mapping[str, Any], kind: str) -> Json:
    """Return one installed package as a component; what it does not say is left out."""
    said = entry["metadata"]
    name, version = canonical(said["name"]), said["version"]
    reference = purl(name, version)
    described: Json = {
        "type": kind,
        "bom-ref": reference,
        "name": name,
        "version": version,
        "purl": reference,
    }
    if said.get("summary"):
        described["description"] = said["summary"]
    if licenses := _licenses(said):
        described["licenses"] = licenses
    hashes = entry.get("download_info", {}).get("archive_info", {}).get("hashes", {})
    if "sha256" in hashes:
        described["hashes"] = [{"alg": "SHA-256", "content": hashes["sha256"]}]
    return described


def _licenses(said: Mapping[str, Any]) -> list[Json]:
    """Return what the package says: an SPDX expression, else names by its classifiers or text."""
    if said.get("license_expression"):
        return [{"expression": said["license_expression"]}]
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in said.get("classifier", ())
        if each.startswith("License :: ")
    ]
    text = str(said.get("license", "")).strip()
    names = classifiers or ([text] if text and len(text) < _SHORT else [])
    return [{"license": {"name": name}} for name in names]


def dependencies(entries: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return who needs whom, as far as it is installed; extras that nobody asked for are not."""
    references = {
        canonical(entry["metadata"]["name"]): purl(
            entry["metadata"]["name"], entry["metadata"]["version"]
        )
        for entry in entries
    }
    return [
        {
            "ref": references[canonical(entry["metadata"]["name"])],
            "dependsOn": sorted(
                {references[name] for name in _needed(entry) if name in references}
            ),
        }
        for entry in entries
    ]


def _needed(entry: Mapping[str, Any]) -> Iterable[str]:
    for requirement in entry["metadata"].get("requires_dist", ()):
        match = _NAME.match(requirement)
        if match is not None and "extra ==" not in requirement:
            yield canonical(match[0])


def render(own: Mapping[str, Any], others: Sequence[Mapping[str, Any]], epoch: int) -> Json:
    """
    Return the document.

    Args:
        own: The product, an entry of `install` in pip's report.
        others: What it is installed with.
        epoch: Seconds since 1970 that stand for the moment of the build.
    """
    ordered = sorted(others, key=lambda entry: canonical(entry["metadata"]["name"]))
    product = component(own, "application")
    parts = [component(entry, "library") for entry in ordered]
    needed = dependencies([own, *ordered])
    content = json.dumps([product, parts, needed], sort_keys=True)
    moment = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}",
        "version": 1,
        "metadata": {"timestamp": moment, "component": product},
        "components": parts,
        "dependencies": needed,
    }


def with_expression(entry: Mapping[str, Any]) -> Json:
    """Add the SPDX expression of an installed package, which reports of older pips leave out."""
    said = metadata(entry["metadata"]["name"]).get("License-Expression")
    return {**entry, "metadata": {"license_expression": said, **entry["metadata"]}}


def main(files: Sequence[str]) -> None:
    """Print the document of some reports; what they tell of is installed where this runs."""
    reports = [json.loads(Path(file).read_text(encoding="utf-8")) for file in files]
    entries = [with_expression(entry) for report in reports for entry in report["install"]]
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    print(json.dumps(render(entries[0], entries[1:], epoch), indent=2, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1:])
