"""The way from a command to the cluster and back to an exit code.

Owns the options that say which cluster and namespace, the reading of objects, and how failures
end. Must not know what is shown. What costs time to import is imported when it is needed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from headgate.cli import exits

if TYPE_CHECKING:
    from headgate.cli.view import Objects
    from headgate.ports import Hands, Manifest, PersonalCluster

_LONGEST_MESSAGE = 500
_NEAR = 3


class NotFound(Exception):
    """What was named does not exist; the text says what does."""


class NoLogin(Exception):
    """There is nothing to log in with."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Which cluster, and which namespace (None: all of them)."""

    cluster: PersonalCluster
    namespace: str | None
    hands: Hands | None = None
    """The same cluster for verbs that change something; None where nothing may be changed."""


def add_arguments(
    parser: argparse.ArgumentParser, namespaces: bool, outputs: Sequence[str] = ("text", "json")
) -> None:
    """Add the options of every verb that reads the cluster; `-A` with `namespaces` only.

    The first of `outputs` is the default.
    """
    parser.add_argument("-n", "--namespace", help="namespace; without it the context's own")
    if namespaces:
        parser.add_argument(
            "-A", "--all-namespaces", action="store_true", help="deployments of all namespaces"
        )
    parser.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig; without it kubectl's own")
    parser.add_argument("--context", help="context of the kubeconfig; without it the current one")
    default = outputs[0]
    parser.add_argument(
        "-o", "--output", choices=outputs, default=default, help=f"default: {default}"
    )


def run(verb: str, args: argparse.Namespace, work: Callable[[Reach], Awaitable[int]]) -> int:
    """Do the work with a cluster, and tell a failure in one line and one exit code."""
    from headgate.ports import ClusterUnavailable, Refused

    try:
        return asyncio.run(_with_cluster(args, work))
    except NotFound as error:
        return fail(verb, str(error), exits.NOT_FOUND)
    except (NoLogin, ClusterUnavailable) as error:
        return fail(verb, str(error), exits.UNREACHABLE)
    except Refused as error:
        hint = (
            "; are Headgate's CRDs installed (`headgate crds`)?" if "HTTP 404" in str(error) else ""
        )
        return fail(verb, f"{error}{hint}", exits.FAILED)


def fail(verb: str, message: str, code: int) -> int:
    """Say in one line on standard error why a verb failed; returns `code`."""
    from headgate.core.wording import plain

    print(f"headgate {verb}: {plain(message, _LONGEST_MESSAGE)}", file=sys.stderr)
    return code


async def _with_cluster(args: argparse.Namespace, work: Callable[[Reach], Awaitable[int]]) -> int:
    from headgate.adapters import kubeconfig
    from headgate.adapters.kubernetes import PERSON_MANAGER, KubernetesCluster, find_login

    if not kubeconfig.exists(args.kubeconfig):
        wanted = args.kubeconfig or "--kubeconfig, KUBECONFIG or ~/.kube/config"
        raise NoLogin(f"no kubeconfig: wanted {wanted}, found no file")
    everywhere = getattr(args, "all_namespaces", False)
    own = args.namespace or kubeconfig.namespace(args.kubeconfig, args.context)
    login = find_login(args.kubeconfig, args.context)
    cluster = KubernetesCluster(login, field_manager=PERSON_MANAGER)
    try:
        return await work(Reach(cluster, None if everywhere else own, cluster))
    finally:
        await cluster.close()


# --- reading -------------------------------------------------------------------------------------


async def read_all(reach: Reach, children: bool) -> Objects:
    """Read every deployment of the namespace, or of all; with what belongs to them if wanted."""
    from headgate.cli.view import Objects
    from headgate.ports import MODEL_DEPLOYMENT

    deployments = await reach.cluster.list(MODEL_DEPLOYMENT, reach.namespace, {})
    if not children:
        return Objects(deployments)
    return await _with_children(reach, deployments, {})


async def read_one(reach: Reach, name: str) -> Objects:
    """Read one deployment and what belongs to it; no deployment if there is none of that name."""
    from headgate.adapters.kserve import DEPLOYMENT_LABEL
    from headgate.ports import MODEL_DEPLOYMENT

    found = await reach.cluster.get(MODEL_DEPLOYMENT, reach.namespace, name)
    return await _with_children(reach, [found] if found else [], {DEPLOYMENT_LABEL: name})


async def _with_children(
    reach: Reach, deployments: Iterable[Manifest], labels: dict[str, str]
) -> Objects:
    from headgate.adapters.kserve import MANAGED_BY, MANAGED_BY_LABEL
    from headgate.cli.view import Objects
    from headgate.ports import DEPLOYMENT, MODEL_REVISION, MODEL_ROLLOUT, Refused

    cluster, namespace = reach.cluster, reach.namespace
    revisions, rollouts = await asyncio.gather(
        cluster.list(MODEL_REVISION, namespace, labels),
        cluster.list(MODEL_ROLLOUT, namespace, labels),
    )
    try:
        own = {MANAGED_BY_LABEL: MANAGED_BY, **labels}
        workloads = await cluster.list(DEPLOYMENT, namespace, own)
    except Refused:  # who may see releases need not be allowed to see workloads
        workloads = None
    return Objects(tuple(deployments), revisions, rollouts, workloads)


async def recorded(reach: Reach) -> set[str]:
    """Name all deployments of the namespace that have records, those that are gone among them."""
    from headgate.ports import MODEL_ROLLOUT

    rollouts = await reach.cluster.list(MODEL_ROLLOUT, reach.namespace, {})
    return {str(rollout["spec"]["deployment"]) for rollout in rollouts}


async def not_found(reach: Reach, name: str, others: Iterable[str] = ()) -> NotFound:
    """Say that there is no such deployment, and which one may have been meant."""
    from headgate.ports import MODEL_DEPLOYMENT, Refused

    try:
        found = await reach.cluster.list(MODEL_DEPLOYMENT, None, {})
    except Refused:  # the right to list may end at the namespace
        found = await reach.cluster.list(MODEL_DEPLOYMENT, reach.namespace, {})
    places = [(m["metadata"].get("namespace"), m["metadata"]["name"]) for m in found]
    here = {str(one) for where, one in places if where == reach.namespace} | set(others)
    elsewhere = sorted(str(where) for where, one in places if one == name)
    message = f"no ModelDeployment {reach.namespace}/{name}"
    if elsewhere:
        return NotFound(f"{message}; there is one in namespace {', '.join(elsewhere[:_NEAR])}")
    near = get_close_matches(name, sorted(here), n=_NEAR, cutoff=0.5)
    if near:
        return NotFound(f"{message}; did you mean {' or '.join(near)}?")
    return NotFound(f"{message}; {_present(sorted(here))}")


def _present(names: list[str]) -> str:
    if not names:
        return "there is none in this namespace (try -n or `headgate status -A`)"
    more = f" and {len(names) - _NEAR} more" if len(names) > _NEAR else ""
    return f"there is {', '.join(names[:_NEAR])}{more}"
