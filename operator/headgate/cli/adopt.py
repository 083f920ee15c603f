"""`headgate adopt inferenceservice/NAME`: take over a model that runs, without a dropped request.

Owns the verb's arguments and the order of its steps. What serves the requests is never taken away
before something else does: our revision comes up beside the InferenceService; that is then deleted
without its children, so that its pods and routes go on; then its routes go, and ours, which has the
same host names, has the requests; only then its pods go. Run again, it goes on where it ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headgate.cli import exits, reach

if TYPE_CHECKING:
    from headgate.cli.adoption import Front
    from headgate.cli.reach import Reach
    from headgate.cli.steps import Steps
    from headgate.ports import Kind, Manifest

_KINDS = ("inferenceservice", "inferenceservices", "isvc")
_GONE_SECONDS = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument(
        "what", metavar="inferenceservice/NAME", type=_named, help="the service that runs"
    )
    parser.add_argument(
        "--name",
        help="of the ModelDeployment; without it NAME, or NAME-md where KServe has a route",
    )
    parser.add_argument(
        "--gateway", metavar="NS/NAME", type=_gateway, help="without it that of its HTTPRoutes"
    )
    parser.add_argument(
        "--hostname",
        action="append",
        metavar="HOST",
        help="may be given several times; without it those of its HTTPRoutes",
    )
    parser.add_argument("--model-version", help="without it the last part of its storageUri")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the ModelDeployment and the steps, do nothing"
    )
    parser.add_argument(
        "--timeout", type=float, default=1800, metavar="SECONDS", help="of each wait; default 1800"
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=10,
        metavar="SECONDS",
        help="between the last request to the old pods and their end; default 10",
    )
    reach.add_arguments(parser, namespaces=False, outputs=("yaml", "json"))


def _named(text: str) -> str:
    kind, slash, name = text.partition("/")
    if not slash or not name or kind.lower() not in _KINDS:
        raise argparse.ArgumentTypeError(f"wanted inferenceservice/NAME, found {text!r}")
    return name


def _gateway(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not slash or not name or not namespace:
        raise argparse.ArgumentTypeError(f"wanted NAMESPACE/NAME, found {text!r}")
    return namespace, name


def run(args: argparse.Namespace) -> int:
    """Adopt; FAILED if it ended before the old pods did, and says where."""
    from headgate.api.accept import Invalid
    from headgate.cli.adoption import Unadoptable
    from headgate.cli.steps import Steps, Unfinished

    async def work(there: Reach) -> int:
        if there.hands is None or there.namespace is None:
            raise ValueError("adopt needs a cluster that may be changed, and one namespace")
        await adopt(Steps(there.hands, there.namespace, args.dry_run), args)
        return exits.OK

    try:
        return reach.run("adopt", args, work)
    except (Unadoptable, Unfinished, Invalid) as error:
        return reach.fail("adopt", str(error), exits.FAILED)


async def adopt(steps: Steps, args: argparse.Namespace) -> None:
    """Take every step that is not done yet; raises Unadoptable, Invalid or Unfinished."""
    from headgate.cli.adoption import leads_to, tracked_by
    from headgate.ports import HTTP_ROUTE, INFERENCE_SERVICE

    service = await steps.hands.get(INFERENCE_SERVICE, steps.namespace, args.what)
    name = await _make_deployment(steps, service, args)
    if service is not None and tracked_by(service):
        steps.tell(
            f"InferenceService {args.what} is kept by {tracked_by(service)}: take it out of Git, "
            "without pruning, or it is made again"
        )
    await _wait_serving(steps, name, args.timeout)
    routes = await steps.hands.list(HTTP_ROUTE, steps.namespace, {})
    old = [r for r in routes if leads_to(r, args.what) and r["metadata"]["name"] != name]
    if service is not None and not old:
        steps.tell(
            f"no HTTPRoute leads to InferenceService {args.what}: move its callers to the host "
            f"names of {name} and delete it by hand"
        )
        return
    if service is not None:
        await _let_go(steps, service, args.what)
    for route in old:
        await _delete(steps, HTTP_ROUTE, route)
    await _wait_requests(steps, name, args.timeout)
    await _remove_workload(steps, args.what, args.drain)
    steps.tell(f"{name} serves what InferenceService {args.what} served")


# --- the deployment ------------------------------------------------------------------------------


async def _make_deployment(steps: Steps, service: Manifest | None, args: argparse.Namespace) -> str:
    """Print the ModelDeployment, and make it unless it is there; returns its name."""
    from headgate.api.accept import parse

    present = await _adopting(steps, args)
    if present is not None:
        _print(_as_written(present), args)
        steps.tell(f"ModelDeployment {present['metadata']['name']} is there")
        return str(present["metadata"]["name"])
    if service is None:
        raise reach.NotFound(f"no InferenceService {steps.namespace}/{args.what}")
    manifest = await _rendered(steps, service, args)
    parse(manifest)
    _print(manifest, args)
    name = manifest["metadata"]["name"]
    await steps.do(f"create ModelDeployment {name}", lambda: steps.hands.create(manifest))
    return str(name)


async def _adopting(steps: Steps, args: argparse.Namespace) -> Manifest | None:
    """Find the ModelDeployment that an earlier run has made, or Git has brought."""
    from headgate.cli.adoption import ADOPTED
    from headgate.ports import MODEL_DEPLOYMENT

    for found in await steps.hands.list(MODEL_DEPLOYMENT, steps.namespace, {}):
        metadata = found["metadata"]
        if (metadata.get("annotations") or {}).get(ADOPTED) == args.what:
            return found
    return None


async def _rendered(steps: Steps, service: Manifest, args: argparse.Namespace) -> dict[str, Any]:
    from headgate.cli.adoption import Unadoptable, check_adoptable, leads_to, render_adopted
    from headgate.ports import HTTP_ROUTE, MODEL_DEPLOYMENT

    check_adoptable(service)
    routes = await steps.hands.list(HTTP_ROUTE, steps.namespace, {})
    leading = [route for route in routes if leads_to(route, args.what)]
    taken = {route["metadata"]["name"] for route in routes}
    name = args.name or (f"{args.what}-md" if args.what in taken else args.what)
    if name in taken or await steps.hands.get(MODEL_DEPLOYMENT, steps.namespace, name):
        raise Unadoptable(
            f"a ModelDeployment or HTTPRoute {name} is there already, and not of {args.what}: "
            "choose another name by --name"
        )
    manifest = render_adopted(service, name, _front(leading, service, args))
    if args.model_version:
        manifest["spec"]["model"]["version"] = args.model_version
    return manifest


def _front(leading: list[Manifest], service: Manifest, args: argparse.Namespace) -> Front:
    from headgate.cli.adoption import Front, find_front

    if args.gateway and args.hostname:
        return Front(args.gateway[1], args.gateway[0], tuple(args.hostname))
    found = find_front(leading, service)
    if args.gateway:
        return Front(args.gateway[1], args.gateway[0], found.hostnames, None, found.timeout)
    hostnames = tuple(args.hostname or found.hostnames)
    return Front(found.gateway, found.gateway_namespace, hostnames, found.section, found.timeout)


def _as_written(live: Manifest) -> dict[str, Any]:
    from headgate.cli.adoption import ADOPTED

    metadata = live["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace")}
    annotations = {ADOPTED: (metadata.get("annotations") or {})[ADOPTED]}
    return {
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {**kept, "annotations": annotations},
        "spec": live["spec"],
    }


def _print(manifest: Mapping[str, Any], args: argparse.Namespace) -> None:
    from headgate.cli.adoption import OBJECTIVES
    from headgate.cli.documents import write_documents

    sys.stdout.write(write_documents([manifest], args.output))
    if args.output == "yaml" and "objectives" not in manifest["spec"]:
        sys.stdout.write(OBJECTIVES)
    sys.stdout.flush()


# --- the steps -----------------------------------------------------------------------------------


async def _status(steps: Steps, name: str) -> dict[str, Any]:
    """Read what the operator says of this very spec; empty while it has said nothing."""
    from headgate.ports import MODEL_DEPLOYMENT

    found = await steps.hands.get(MODEL_DEPLOYMENT, steps.namespace, name)
    status = dict((found or {}).get("status") or {})
    current = found is not None and status.get("observedGeneration") == found["metadata"].get(
        "generation"
    )
    return status if current else {}


def _condition(status: Mapping[str, Any], type: str) -> Mapping[str, Any]:
    return next((c for c in status.get("conditions") or () if c["type"] == type), {})


def _serves(status: Mapping[str, Any]) -> bool:
    verified = _condition(status, "TrafficVerified").get("status") == "True"
    stable = status.get("stable") or {}
    return verified and stable.get("weight") == 100 and not status.get("canary")


async def _wait_serving(steps: Steps, name: str, seconds: float) -> None:
    from headgate.cli.steps import Unfinished

    async def look() -> dict[str, Any] | None:
        status = await _status(steps, name)
        accepted = _condition(status, "Accepted")
        if accepted.get("status") == "False":
            raise Unfinished(f"{name} is not accepted: {accepted.get('message', '')}")
        if status.get("phase") == "Degraded":
            raise Unfinished(f"{name} is degraded: {status.get('message', '')}")
        return status if _serves(status) else None

    found = await steps.wait(f"{name} serves beside it and has its route", look, seconds)
    if found is None and not steps.dry:
        raise Unfinished(f"{name} does not serve yet, nothing was taken away: run this again")


async def _let_go(steps: Steps, service: Manifest, name: str) -> None:
    """Delete the InferenceService without its children, and wait until nobody looks after them."""
    from headgate.cli.steps import Unfinished
    from headgate.ports import INFERENCE_SERVICE

    uid = service["metadata"]["uid"]

    async def gone() -> bool | None:
        found = await steps.hands.get(INFERENCE_SERVICE, steps.namespace, name)
        return True if found is None or found["metadata"]["uid"] != uid else None

    await steps.do(
        f"delete InferenceService {name} and leave its pods and routes",
        lambda: steps.hands.orphan(INFERENCE_SERVICE, steps.namespace, name, uid),
    )
    if await steps.wait("it is gone", gone, _GONE_SECONDS) is None and not steps.dry:
        raise Unfinished(f"InferenceService {name} is not gone yet: run this again")


async def _delete(steps: Steps, kind: Kind, manifest: Manifest) -> None:
    metadata = manifest["metadata"]
    await steps.do(
        f"delete {kind.kind} {metadata['name']}",
        lambda: steps.hands.delete(kind, steps.namespace, metadata["name"], metadata["uid"]),
    )


async def _wait_requests(steps: Steps, name: str, seconds: float) -> None:
    """Wait until a request was counted at ours: then the gateway sends them there."""
    from headgate.cli.steps import Unfinished

    async def look() -> bool | None:
        status = await _status(steps, name)
        flowing = _condition(status, "EvidenceFlowing").get("status") == "True"
        return True if flowing or status.get("phase") == "Stable" else None

    found = await steps.wait(f"requests are seen at {name}", look, seconds)
    if found is None and not steps.dry:
        raise Unfinished(
            f"no request was seen at {name} yet; the old pods still run: run this again later"
        )


async def _remove_workload(steps: Steps, name: str, drain: float) -> None:
    """Delete what ran the model before, once its last requests had time to end."""
    from headgate.cli.adoption import services_of
    from headgate.cli.steps import Unfinished
    from headgate.ports import (
        AUTOSCALER,
        DEPLOYMENT,
        INFERENCE_SERVICE,
        SCALED_OBJECT,
        SERVICE,
    )

    if not steps.dry and await steps.hands.get(INFERENCE_SERVICE, steps.namespace, name):
        raise Unfinished(f"InferenceService {name} was made again: take it out of Git first")
    left = []
    # What scales goes first, or it would scale what is going.
    for kind in (SCALED_OBJECT, AUTOSCALER, DEPLOYMENT, SERVICE):
        for one in services_of(name):
            found = await steps.hands.get(kind, steps.namespace, one)
            if found is not None and (steps.dry or not _is_owned(found)):
                left.append((kind, found))
    if left and not steps.dry:
        await steps.sleep(drain)
    for kind, found in left:
        await _delete(steps, kind, found)


def _is_owned(manifest: Manifest) -> bool:
    return any(o.get("controller") for o in manifest["metadata"].get("ownerReferences") or ())
