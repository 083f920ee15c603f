"""`headgate export --proven`: write what Git should keep for the day a cluster is rebuilt.

Owns the verb's arguments, what is read, and the page. Must not know which revision is proven
(`cli.kept`). Nothing is written to the cluster.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headgate.cli import exits, reach

if TYPE_CHECKING:
    from headgate.api.proven_revision import ProvenRevision
    from headgate.cli.reach import Reach
    from headgate.cli.view import Objects
    from headgate.ports import Manifest

_COMMENT = "Written by headgate export --proven; a rebuilt cluster begins with it. Do not edit."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="ModelDeployments; without one all of them"
    )
    parser.add_argument(
        "--proven",
        action="store_true",
        required=True,
        help="the proven revision of each, as spec.rollout.provenRevision",
    )
    parser.add_argument(
        "--check",
        type=Path,
        metavar="FILE",
        help="instead say whether FILE keeps what is proven, and end with 1 if not; - is stdin",
    )
    reach.add_arguments(parser, namespaces=True, outputs=("yaml", "json"))


def run(args: argparse.Namespace) -> int:
    """Export or check; FAILED if there is nothing to export, or the file differs."""
    from headgate.cli.documents import Unusable

    async def work(there: Reach) -> int:
        if args.check is not None:
            return await _check(there, args)
        return await _export(there, args)

    try:
        return reach.run("export", args, work)
    except Unusable as error:
        return reach.fail("export", str(error), exits.FAILED)


async def _export(there: Reach, args: argparse.Namespace) -> int:
    from headgate.cli.documents import write_documents
    from headgate.cli.kept import render_kept

    objects = await reach.read_all(there, children=True)
    await _check_named(there, args.names, objects)
    chosen = [one for one in objects.deployments if not args.names or _named(one, args)]
    manifests: list[Mapping[str, Any]] = []
    unproven = []
    for deployment in chosen:
        proven = _proven(deployment, objects)
        if proven is None:
            unproven.append(_name_of(deployment))
        else:
            manifests.append(render_kept(deployment, proven))
    for name in unproven:
        print(f"headgate export: {name}: nothing is proven yet, left out", file=sys.stderr)
    if manifests:
        sys.stdout.write(write_documents(manifests, args.output, _COMMENT))
    return exits.FAILED if not manifests or (args.names and unproven) else exits.OK


def _named(deployment: Manifest, args: argparse.Namespace) -> bool:
    return deployment["metadata"]["name"] in args.names


async def _check_named(there: Reach, names: Sequence[str], objects: Objects) -> None:
    present = {one["metadata"]["name"] for one in objects.deployments}
    for name in names:
        if name not in present:
            raise await reach.not_found(there, name)


def _proven(deployment: Manifest, objects: Objects) -> ProvenRevision | None:
    from headgate.cli.kept import proven_revision

    def own(manifests: Sequence[Manifest]) -> list[Manifest]:
        metadata = deployment["metadata"]
        return [
            one
            for one in manifests
            if one["spec"]["deployment"] == metadata["name"]
            and one["metadata"].get("namespace") == metadata.get("namespace")
        ]

    return proven_revision(deployment, own(objects.revisions), own(objects.rollouts))


def _name_of(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['metadata'].get('namespace', '')}/{manifest['metadata']['name']}"


async def _check(there: Reach, args: argparse.Namespace) -> int:
    """Hold a file against the cluster, deployment by deployment, each with one line."""
    from headgate.cli.documents import read_documents

    documents = _by_name(read_documents(args.check, "ModelDeployment"), there.namespace)
    objects = await _read_namespaces(there, {name.partition("/")[0] for name in documents})
    await _check_named(there, args.names, objects)
    deployments = {_name_of(one): one for one in objects.deployments}
    names = sorted(n for n, one in deployments.items() if _named(one, args)) or sorted(documents)
    differs = False
    for name in names:
        problem = _problem(documents.get(name), deployments.get(name), objects)
        differs = differs or bool(problem)
        print(f"{name}: {problem or 'keeps what is proven'}")
    return exits.FAILED if differs else exits.OK


async def _read_namespaces(there: Reach, named: set[str]) -> Objects:
    """Read the namespaces that a file is about, besides the one that was chosen (or all)."""
    from headgate.cli.reach import Reach
    from headgate.cli.view import Objects

    places = {there.namespace} if there.namespace is None else {there.namespace, *named}
    found = [
        await reach.read_all(Reach(there.cluster, place), children=True)
        for place in sorted(places, key=str)
    ]
    return Objects(
        tuple(one for each in found for one in each.deployments),
        tuple(one for each in found for one in each.revisions),
        tuple(one for each in found for one in each.rollouts),
    )


def _by_name(
    documents: Sequence[dict[str, Any]], namespace: str | None
) -> dict[str, dict[str, Any]]:
    """Name each document by namespace and name; one without a namespace is of the one given."""
    found = {}
    for document in documents:
        metadata = document.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        where = metadata.get("namespace") or namespace or ""
        found[f"{where}/{metadata.get('name', '')}"] = document
    return found


def _problem(document: dict[str, Any] | None, deployment: Manifest | None, found: Objects) -> str:
    from headgate.api.accept import Invalid
    from headgate.cli.kept import difference, read_kept
    from headgate.core.wording import plain

    if deployment is None:
        return "is in the file and not in the cluster"
    try:
        kept = read_kept(document, deployment) if document is not None else None
    except Invalid as error:
        return plain(str(error))
    return difference(kept, _proven(deployment, found))
