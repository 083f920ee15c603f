"""
Statuses of GatewayClasses, Gateways and HTTPRoutes.

Owns how conditions are written: only when they say something new, with their transition times
kept, and beside what other controllers wrote. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sandbox.httproutes import ADDRESS, CONTROLLER, GatewayReport, Translation
from sandbox.kube import Json, Kube, KubeError
from sandbox.kubewatch import Key
from sandbox.routerules import Condition, Objects

_API = "/apis/gateway.networking.k8s.io/v1"


async def write_statuses(kube: Kube, objects: Objects, translation: Translation) -> None:
    """
    Write every status that differs from what the API server has.

    Raises:
        KubeError: A write was refused, other than for an object that is gone.
    """
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for key in translation.classes:
        item = objects.classes.get(key)
        if item:
            await _write(kube, "gatewayclasses", item, render_class_status(item, now))
    for key, report in translation.gateways.items():
        if item := objects.gateways.get(key):
            await _write(kube, "gateways", item, render_gateway_status(item, report, now))
    for key in translation.routes:
        if item := objects.routes.get(key):
            status = render_route_status(item, translation, now)
            # A route of other gateways has no status of ours and gets none.
            if status["parents"] or item.get("status"):
                await _write(kube, "httproutes", item, status)


async def _write(kube: Kube, plural: str, item: Json, status: Json) -> None:
    before = item.get("status") or {}
    if all(before.get(name) == value for name, value in status.items()):
        return
    meta = item["metadata"]
    folder = f"namespaces/{meta['namespace']}/" if meta.get("namespace") else ""
    path = f"{_API}/{folder}{plural}/{meta['name']}/status"
    try:
        await kube.patch(path, {"metadata": {"uid": meta["uid"]}, "status": status})
    except KubeError as error:
        # Gone, or replaced by another object of the same name: the next pass sees that one.
        if error.status not in (404, 409):
            raise


def render_class_status(item: Json, now: str) -> Json:
    """Return the status of a GatewayClass of ours."""
    accepted = Condition("Accepted", True, "Accepted", "Valid GatewayClass")
    return {"conditions": _conditions([accepted], item, item.get("status") or {}, now)}


def render_gateway_status(item: Json, report: GatewayReport, now: str) -> Json:
    """Return the status of a Gateway: it is reached at this machine's loopback address."""
    before = item.get("status") or {}
    old = {entry["name"]: entry for entry in before.get("listeners") or ()}
    return {
        "addresses": [{"type": "IPAddress", "value": ADDRESS}],
        "conditions": _conditions(report.conditions, item, before, now),
        "listeners": [
            {
                "name": name,
                "supportedKinds": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}],
                "attachedRoutes": attached,
                "conditions": _conditions(conditions, item, old.get(name, {}), now),
            }
            for name, (attached, conditions) in report.listeners.items()
        ],
    }


def render_route_status(item: Json, translation: Translation, now: str) -> Json:
    """Return the status of an HTTPRoute, with what other controllers' parents say kept."""
    before = (item.get("status") or {}).get("parents") or ()
    meta = item["metadata"]
    ours = []
    for parent in translation.routes[Key(meta["namespace"], meta["name"])]:
        said = [entry for entry in before if _is_ours(entry) and entry["parentRef"] == parent.ref]
        old = said[0] if said else {}
        conditions = _conditions(parent.conditions, item, old, now)
        ours.append(
            {"parentRef": parent.ref, "controllerName": CONTROLLER, "conditions": conditions}
        )
    return {"parents": [*ours, *(entry for entry in before if not _is_ours(entry))]}


def _is_ours(entry: Json) -> bool:
    return bool(entry["controllerName"] == CONTROLLER)


def _conditions(wanted: Sequence[Condition], item: Json, before: Json, now: str) -> list[Json]:
    old = {entry["type"]: entry for entry in before.get("conditions") or ()}
    rendered = []
    for condition in wanted:
        status = "True" if condition.status else "False"
        previous = old.get(condition.type, {})
        is_same = previous.get("status") == status
        rendered.append(
            {
                "type": condition.type,
                "status": status,
                "reason": condition.reason,
                "message": condition.message,
                "observedGeneration": item["metadata"]["generation"],
                "lastTransitionTime": previous["lastTransitionTime"] if is_same else now,
            }
        )
    return rendered
