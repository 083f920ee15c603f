"""`headgate release NAME`: give a model back to plain KServe, without a dropped request.

Owns the verb's arguments and the order of its steps. What serves is let go first: the stable
revision's InferenceService and the HTTPRoute belong to nobody then, so that deleting the
ModelDeployment takes everything but them. Run again, it goes on where it ended.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from headgate.cli import exits, reach

if TYPE_CHECKING:
    from headgate.cli.reach import Reach
    from headgate.cli.steps import Steps
    from headgate.ports import Manifest

_GONE_SECONDS = 60.0
_SETTLED = ("Stable", "RolledBack", "Baking", "Degraded")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("name", metavar="NAME", help="the ModelDeployment")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what stays and the steps, do nothing"
    )
    reach.add_arguments(parser, namespaces=False, outputs=("yaml", "json"))


def run(args: argparse.Namespace) -> int:
    """Release; FAILED if a rollout is under way, or the ModelDeployment does not go."""
    from headgate.cli.steps import Steps, Unfinished

    async def work(there: Reach) -> int:
        if there.hands is None or there.namespace is None:
            raise ValueError("release needs a cluster that may be changed, and one namespace")
        await release(Steps(there.hands, there.namespace, args.dry_run), args)
        return exits.OK

    try:
        return reach.run("release", args, work)
    except Unfinished as error:
        return reach.fail("release", str(error), exits.FAILED)


async def release(steps: Steps, args: argparse.Namespace) -> None:
    """Take every step that is not done yet; raises Unfinished or NotFound."""
    from headgate.cli.documents import write_documents
    from headgate.cli.leaving import kept_service, render_left
    from headgate.ports import HTTP_ROUTE, INFERENCE_SERVICE, MODEL_DEPLOYMENT

    hands, name = steps.hands, args.name
    owner = await hands.get(MODEL_DEPLOYMENT, steps.namespace, name)
    route = await hands.get(HTTP_ROUTE, steps.namespace, name)
    kept = kept_service(route) if route is not None else None
    service = await hands.get(INFERENCE_SERVICE, steps.namespace, kept) if kept else None
    if owner is None and (route is None or not _is_left(route, service)):
        raise await reach.not_found(_reach(steps), name)
    if owner is not None and "deletionTimestamp" not in owner["metadata"]:
        _check_settled(owner, kept)
    if route is None or service is None:
        raise _unfinished(f"{name} has no route to an InferenceService: there is nothing to leave")
    written = [render_left(service), render_left(route)]
    sys.stdout.write(write_documents(written, args.output))
    sys.stdout.flush()
    if owner is not None:
        await _let_go(steps, owner, service, route)
        await _delete(steps, owner)
    await _forget_labels(steps, name)
    steps.tell(f"InferenceService {kept} and HTTPRoute {name} serve on; both belong to you now")


def _reach(steps: Steps) -> Reach:
    from headgate.cli.reach import Reach

    return Reach(steps.hands, steps.namespace)


def _unfinished(text: str) -> Exception:
    from headgate.cli.steps import Unfinished

    return Unfinished(text)


def _is_left(route: Manifest, service: Manifest | None) -> bool:
    """Whether an earlier run has let these go: our marks are on them, and nobody owns them."""
    from headgate.adapters.kserve import DEPLOYMENT_LABEL

    labels = (service or {"metadata": {}})["metadata"].get("labels") or {}
    return not route["metadata"].get("ownerReferences") and DEPLOYMENT_LABEL in labels


def _check_settled(owner: Manifest, kept: str | None) -> None:
    """Refuse while a rollout moves traffic, or the status is about another spec."""
    status, name = owner.get("status") or {}, owner["metadata"]["name"]
    stable, phase = status.get("stable") or {}, status.get("phase")
    if not stable and not status.get("canary"):
        raise _unfinished(f"{name} serves nothing: there is nothing to leave")
    if status.get("canary") or phase not in _SETTLED:
        raise _unfinished(f"a rollout of {name} is under way ({phase}): wait for its end")
    if status.get("observedGeneration") != owner["metadata"].get("generation"):
        raise _unfinished(f"the operator has not looked at the present spec of {name} yet")
    if stable.get("revision") != kept:
        raise _unfinished(f"{name} has no HTTPRoute that leads to {stable.get('revision')} alone")


async def _let_go(steps: Steps, owner: Manifest, service: Manifest, route: Manifest) -> None:
    """Take the owner off what stays, so that it outlives the ModelDeployment."""
    from headgate.cli.leaving import other_owners
    from headgate.ports import HTTP_ROUTE, INFERENCE_SERVICE

    def without_owner(manifest: Manifest) -> Manifest | None:
        rest = other_owners(manifest, owner)
        same = len(rest) == len(manifest["metadata"].get("ownerReferences") or ())
        return None if same else {"ownerReferences": rest or None}

    for kind, manifest in ((INFERENCE_SERVICE, service), (HTTP_ROUTE, route)):
        name = manifest["metadata"]["name"]
        await steps.change(f"let go of {kind.kind} {name}", kind, name, without_owner)


async def _delete(steps: Steps, owner: Manifest) -> None:
    """Delete the ModelDeployment with all that it still owns, and wait until it is gone."""
    from headgate.ports import MODEL_DEPLOYMENT

    name, uid = owner["metadata"]["name"], owner["metadata"]["uid"]

    async def gone() -> bool | None:
        found = await steps.hands.get(MODEL_DEPLOYMENT, steps.namespace, name)
        return True if found is None or found["metadata"]["uid"] != uid else None

    await steps.do(
        f"delete ModelDeployment {name} with its other revisions",
        lambda: steps.hands.delete(MODEL_DEPLOYMENT, steps.namespace, name, uid),
    )
    if await steps.wait("it is gone", gone, _GONE_SECONDS) is None and not steps.dry:
        raise _unfinished(f"ModelDeployment {name} is not gone yet: run this again")


async def _forget_labels(steps: Steps, name: str) -> None:
    """Take our marks off the route; those of the InferenceService stay, or its pods would roll."""
    from headgate.adapters.kserve import DEPLOYMENT_LABEL, MANAGED_BY_LABEL
    from headgate.ports import HTTP_ROUTE

    def without_marks(route: Manifest) -> Manifest | None:
        marks = {DEPLOYMENT_LABEL, MANAGED_BY_LABEL}
        ours = marks & (route["metadata"].get("labels") or {}).keys()
        return {"labels": dict.fromkeys(sorted(ours))} if ours else None

    what = f"take Headgate's labels off HTTPRoute {name}"
    await steps.change(what, HTTP_ROUTE, name, without_marks)
