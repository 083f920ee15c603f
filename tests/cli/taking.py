"""Worlds in memory for commands that change a cluster: a plain KServe service, users, and hands."""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.scenarios.memory import Behaviour, Killed, MemoryCluster, Story

from headgate.cli.steps import Steps
from headgate.ports import Conflict, Kind, Manifest
from headgate.reconcile import Key

HOST = "fraud-models.example.com"


@dataclass
class MemoryHands(MemoryCluster):
    """The API server in memory, with what a person may do beside what the operator does.

    `acts` counts what the person's command did; at number `kill_at` it is killed, before the act
    or `after` it.
    """

    acts: list[str] = field(default_factory=list)
    kill_at: int = 0
    after: bool = False
    conflicts: int = 0
    """So many changes of metadata come too late, as somebody else has just written."""

    async def orphan(self, kind: Kind, namespace: str | None, name: str, uid: str) -> None:
        """Delete an object, and let its children be nobody's."""
        gone = self.objects.pop((kind.kind, namespace or "", name), None)
        for manifest in self.objects.values():
            owners = manifest["metadata"].get("ownerReferences") or ()
            if gone is not None and any(o["uid"] == gone["metadata"]["uid"] for o in owners):
                manifest["metadata"]["ownerReferences"] = []

    async def patch_metadata(self, current: Manifest, metadata: Manifest) -> Manifest:
        """Merge a change into the metadata."""
        key = (current["kind"], current["metadata"]["namespace"], current["metadata"]["name"])
        found = self.objects[key]
        if self.conflicts:
            self.conflicts -= 1
            raise Conflict(f"{key} changed")
        assert found["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]
        found["metadata"] = merged(found["metadata"], metadata)
        found["metadata"]["resourceVersion"] = str(next(self._counter))
        return copy.deepcopy(found)


def merged(before: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as RFC 7396 says."""
    result = dict(before)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            inner = result.get(key)
            both = isinstance(value, Mapping) and isinstance(inner, Mapping)
            result[key] = merged(inner, value) if both else value
    return result


class PersonHands:
    """The hands of a person's command: each act is counted, and may be the one it is killed at."""

    def __init__(self, cluster: MemoryHands) -> None:
        self._cluster = cluster

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._cluster, name)
        if name in ("get", "list"):
            return verb

        async def counted(*words: Any) -> Any:
            cluster = self._cluster
            cluster.acts.append(name)
            if len(cluster.acts) == cluster.kill_at and not cluster.after:
                raise Killed
            answer = await verb(*words)
            if len(cluster.acts) == cluster.kill_at and cluster.after:
                raise Killed
            return answer

        return counted


class Taking(Story):
    """A story in which a model runs on plain KServe, or a person's command is at work."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        hands = MemoryHands(self.clock)
        hands.objects = self.cluster.objects
        hands.after_write = self.cluster.after_write
        self.hands = hands
        self.cluster = self.platform.cluster = hands
        self.said: list[str] = []
        # Not one request of a model fails by itself: one that fails was dropped.
        for version in ("", "1", "2"):
            self.platform.behaviours[version] = Behaviour(failing=0.0)

    def plain(self, **changes: Any) -> None:
        """Let KServe serve a model, with a route of its own."""
        self.cluster.put(service(**changes))
        self.platform.settle()
        owner = self.cluster.find("InferenceService", "models", "fraud")
        assert owner is not None
        reference = {"uid": owner["metadata"]["uid"], "controller": True, "kind": "X", "name": "x"}
        for name, host in (("fraud", HOST), ("fraud-predictor", f"predictor.{HOST}")):
            self.cluster.put(kserve_route(name, host, [reference]))
        for kind, api in (("Service", "v1"), ("HorizontalPodAutoscaler", "autoscaling/v2")):
            metadata = {
                "name": "fraud-predictor",
                "namespace": "models",
                "ownerReferences": [reference],
            }
            self.cluster.put({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": {}})

    def steps(self, dry: bool = False) -> Steps:
        """Hands for the verbs; while they wait, users come and the operator is at work."""

        async def sleep(seconds: float) -> None:
            await self.run(timedelta(seconds=2))

        hands: Any = PersonHands(self.hands)
        return Steps(hands, "models", dry, self.said.append, sleep)

    def of(self, name: str) -> None:
        """Let the operator look after the ModelDeployment of this name."""
        self.key = Key("models", name)

    def names(self, kind: str) -> list[str]:
        """Name all objects of a kind."""
        return [str(m["metadata"]["name"]) for m in self.cluster.all(kind)]


def service(**changes: Any) -> dict[str, Any]:
    """An InferenceService as a live server returns it, with what others have written into it."""
    model = {
        "modelFormat": {"name": "sklearn"},
        "name": "",
        "resources": {},
        "storageUri": "s3://models/fraud/1",
        "protocolVersion": "v1",
        **changes.pop("model", {}),
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "fraud",
            "namespace": "models",
            "labels": {"team": "risk", "app.kubernetes.io/instance": "apps"},
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "serving.kserve.io/deploymentMode": "Standard",
                "modelFormat": "sklearn",
                "owner": "risk-team",
                **changes.pop("annotations", {}),
            },
            **changes.pop("metadata", {}),
        },
        "spec": {"predictor": {"minReplicas": 1, "model": model, **changes.pop("predictor", {})}},
        "status": {"deploymentMode": "Standard"},
        **changes,
    }


def kserve_route(name: str, host: str, owners: list[Any]) -> dict[str, Any]:
    """An HTTPRoute as KServe 0.20 writes it."""
    headers = [
        {"name": "KServe-Isvc-Name", "value": "fraud"},
        {"name": "KServe-Isvc-Namespace", "value": "models"},
    ]
    edit = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": headers}}
    rule = {
        "matches": [{"path": {"type": "RegularExpression", "value": "^/.*$"}}],
        "filters": [edit],
        "timeouts": {"request": "60s"},
        "backendRefs": [{"kind": "Service", "name": "fraud-predictor", "port": 80, "weight": 100}],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "models", "ownerReferences": owners},
        "spec": {
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "hostnames": [host],
            "rules": [rule],
        },
    }


def called(**changes: Any) -> Namespace:
    """Return the arguments of `headgate adopt inferenceservice/fraud`, changed."""
    usual = {
        "what": "fraud",
        "name": None,
        "gateway": None,
        "hostname": None,
        "model_version": None,
        "dry_run": False,
        "timeout": 600.0,
        "drain": 4.0,
        "output": "yaml",
    }
    return Namespace(**{**usual, **changes})
