"""
Where the requests for a Service go: Service port → endpoint slices → pods' local ports.

Owns the port annotation and the endpoint look-up. Pod IPs are only names in the embedded world;
the node agent says in an annotation on which local port a container port really listens. A process
that is no pod has an EndpointSlice of its own, which says the same of itself.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sandbox.kube import Json
from sandbox.kubewatch import Key

PORTS_ANNOTATION = "sandbox.headgate.dev/ports"
_SERVICE_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address that answers, as this machine reaches it."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Services:
    """The Services of a cluster, and where each of their ports leads."""

    services: Mapping[Key, Json]
    slices: Mapping[Key, tuple[Json, ...]]
    local_ports: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def port(self, service: Key, number: int) -> Json | None:
        """Return the Service's port entry; None when the Service or the port is not there."""
        entries = (self.services.get(service) or {}).get("spec", {}).get("ports") or ()
        return next((entry for entry in entries if entry["port"] == number), None)

    def endpoints(self, service: Key, number: int) -> tuple[Endpoint, ...]:
        """Return the ready endpoints of a Service's port, in a stable order; empty when none."""
        entry = self.port(service, number)
        if entry is None:
            return ()
        found = {
            self._local(item, address, port["port"])
            for item in self.slices.get(service, ())
            for port in item.get("ports") or ()
            if (port.get("name") or "") == (entry.get("name") or "") and port.get("port")
            for endpoint in item.get("endpoints") or ()
            if endpoint.get("conditions", {}).get("ready", True)
            for address in endpoint.get("addresses") or ()
        }
        return tuple(sorted(found))

    def _local(self, item: Json, address: str, port: int) -> Endpoint:
        known = self.local_ports.get(address) or _annotated_ports(item)
        local = known.get(port)
        return Endpoint("127.0.0.1", local) if local else Endpoint(address, port)


def read_services(
    services: Mapping[Key, Json], slices: Iterable[Json], pods: Iterable[Json]
) -> Services:
    """Index what the API server holds, for look-ups."""
    by_service: dict[Key, list[Json]] = defaultdict(list)
    for item in slices:
        meta = item["metadata"]
        if owner := (meta.get("labels") or {}).get(_SERVICE_LABEL):
            by_service[Key(meta["namespace"], owner)].append(item)
    return Services(
        services=services,
        slices={key: tuple(items) for key, items in by_service.items()},
        local_ports=_read_local_ports(pods),
    )


def _read_local_ports(pods: Iterable[Json]) -> dict[str, dict[int, int]]:
    ports: dict[str, dict[int, int]] = {}
    for pod in pods:
        status = pod.get("status", {})
        written = _annotated_ports(pod)
        # A finished pod keeps its address in its status while another may have it by now.
        if written and status.get("podIP") and status.get("phase") not in ("Succeeded", "Failed"):
            ports[status["podIP"]] = written
    return ports


def _annotated_ports(manifest: Json) -> dict[int, int]:
    written = (manifest["metadata"].get("annotations") or {}).get(PORTS_ANNOTATION)
    return {int(k): int(v) for k, v in json.loads(written).items()} if written else {}
