"""
A past for the gateway's counters: what they would show, had the world been up for a day already.

Error budgets look days back, and a world is minutes old. Owns how such samples are written and how
Prometheus takes them: by its OTLP receiver, older ones after newer ones. The labels are those of
the live counter, so past and present are one series. It must not know budgets.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sandbox.servers import Json
from sandbox.world import World

METRIC, CLASS = "envoy_cluster_upstream_rq_xx", "envoy_response_code_class"

_EVERY = timedelta(minutes=1)
_SECONDS = 10
# The labels that Prometheus makes of these, and of a data point's attributes all others.
_RESOURCE = {"service.name": "job", "service.instance.id": "instance"}


class PastError(Exception):
    """Prometheus has no such counter, or did not take its past; the message says why."""


@dataclass(frozen=True, slots=True)
class Past:
    """
    Steady traffic that went well but for one incident.

    Attributes:
        until: When it ends; must be before the live counter's first sample.
        length: How long it was.
        requests: In each minute.
        failed: Of these, in each minute of the incident; at most `requests`.
        incident: From when to when the incident was, since the past began.
    """

    until: datetime
    length: timedelta
    requests: int
    failed: int
    incident: tuple[timedelta, timedelta]

    def counts(self) -> Sequence[tuple[datetime, int, int]]:
        """Return good and bad requests so far, minute by minute."""
        begin, end = self.incident
        found, good, bad = [], 0, 0
        for minute in range(1, self.length // _EVERY + 1):
            age = minute * _EVERY
            failed = self.failed if begin < age <= end else 0
            good, bad = good + self.requests - failed, bad + failed
            found.append((self.until - self.length + age, good, bad))
        return found


def write_past(world: World, backend: str, past: Past) -> None:
    """
    Give the counters of a backend, by its Envoy cluster's name, that past.

    Raises:
        PastError: No request of it was scraped yet, or Prometheus refused.
    """
    matcher = f'{METRIC}{{envoy_cluster_name="{backend}",{CLASS}="2"}}'
    query = urllib.parse.urlencode({"match[]": matcher})
    found = _ask(urllib.request.Request(world.url("prometheus", f"/api/v1/series?{query}")))
    series = json.loads(found)["data"]
    if len(series) != 1:
        raise PastError(f"{matcher}: wanted one series, found {series}")
    body = json.dumps(render_past(series[0], past)).encode()
    url = world.url("prometheus", "/api/v1/otlp/v1/metrics")
    _ask(urllib.request.Request(url, body, {"Content-Type": "application/json"}))


def render_past(labels: Mapping[str, str], past: Past) -> Json:
    """Return an OTLP request with the past of the counters of answers, classes 2 and 5.

    `labels` are those of one live series of them, as Prometheus names them.
    """
    points = [
        _point({**labels, CLASS: name}, at, count)
        for at, good, bad in past.counts()
        for name, count in (("2", good), ("5", bad))
    ]
    cumulative = {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": points}
    resource = _attributes({name: labels[label] for name, label in _RESOURCE.items()})
    scope = {"metrics": [{"name": METRIC, "sum": cumulative}]}
    return {"resourceMetrics": [{"resource": {"attributes": resource}, "scopeMetrics": [scope]}]}


def _point(labels: Mapping[str, str], at: datetime, count: int) -> Json:
    elsewhere = ("__name__", *_RESOURCE.values())
    own = {name: value for name, value in labels.items() if name not in elsewhere}
    nanoseconds = round(at.timestamp()) * 10**9
    # Numbers of 64 bits are strings in OTLP's JSON.
    return {
        "timeUnixNano": str(nanoseconds),
        "asInt": str(count),
        "attributes": _attributes(own),
    }


def _attributes(values: Mapping[str, str]) -> list[Json]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]


def _ask(request: urllib.request.Request) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_SECONDS) as response:
            answer: bytes = response.read()
    except urllib.error.HTTPError as error:
        raise PastError(f"{request.full_url}: {error}: {error.read()[:500]!r}") from error
    except OSError as error:
        raise PastError(f"{request.full_url}: {error}") from error
    return answer
