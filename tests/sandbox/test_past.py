"""The past that Prometheus is given: what it counts, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.serving import serving

from sandbox.past import METRIC, Past, PastError, render_past, write_past
from sandbox.world import World

UNTIL = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BACKEND = "httproute/models/fraud/rule/0/backend/0"
LABELS = {
    "__name__": METRIC,
    "job": "envoy",
    "instance": "127.0.0.1:9",
    "envoy_cluster_name": BACKEND,
    "envoy_response_code_class": "2",
}


def past(minutes: int = 5) -> Past:
    """Return minutes of 100 requests, of which 25 fail in the second and the third."""
    incident = (timedelta(minutes=1), timedelta(minutes=3))
    return Past(UNTIL, timedelta(minutes=minutes), requests=100, failed=25, incident=incident)


def test_counters_grow_by_each_minute_and_end_where_the_past_does() -> None:
    """Good and bad together are all requests, and only the incident's minutes have bad ones."""
    counts = past().counts()

    assert [(good, bad) for _, good, bad in counts] == [
        (100, 0),
        (175, 25),
        (250, 50),
        (350, 50),
        (450, 50),
    ]
    assert [at for at, _, _ in counts] == [UNTIL - timedelta(minutes=n) for n in (4, 3, 2, 1, 0)]


def test_it_is_written_under_the_labels_of_the_live_counter() -> None:
    """Job and instance are the resource's, all others the point's; only the class is another."""
    (resource,) = render_past(LABELS, past(1))["resourceMetrics"]

    (metric,) = resource["scopeMetrics"][0]["metrics"]
    good, bad = metric["sum"]["dataPoints"]
    assert _read(resource["resource"]) == {
        "service.name": "envoy",
        "service.instance.id": "127.0.0.1:9",
    }
    assert metric["name"] == METRIC
    assert (_read(good), good["asInt"]) == (
        {"envoy_cluster_name": BACKEND, "envoy_response_code_class": "2"},
        "100",
    )
    assert (_read(bad)["envoy_response_code_class"], bad["asInt"]) == ("5", "0")
    assert good["timeUnixNano"] == bad["timeUnixNano"] == f"{int(UNTIL.timestamp())}000000000"


def _read(carrier: dict[str, Any]) -> dict[str, str]:
    return {each["key"]: each["value"]["stringValue"] for each in carrier["attributes"]}


class Prometheus:
    """A server that knows these series, and answers a write with this status."""

    def __init__(self) -> None:
        """Know one series, and take what is written."""
        self.series = [LABELS]
        self.status = 200
        self.written: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"status": "success", "data": outer.series}).encode())

            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                outer.written.append((self.path, json.loads(self.rfile.read(size))))
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(b"too old sample")

            def log_message(self, format: str, *args: object) -> None:
                """Be quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    """Serve until the test is over."""
    server = Prometheus()
    with serving(server.http):
        yield server


@pytest.fixture
def world(prometheus: Prometheus, tmp_path: Path) -> World:
    """Give a world of which only Prometheus is there."""
    return World("past", tmp_path, {"prometheus": prometheus.http.server_port}, {})


def test_the_past_is_given_to_prometheus(prometheus: Prometheus, world: World) -> None:
    """It is one request to the receiver for OpenTelemetry's metrics."""
    write_past(world, BACKEND, past())

    assert prometheus.written == [("/api/v1/otlp/v1/metrics", render_past(LABELS, past()))]


def test_a_backend_that_was_never_scraped_has_no_past(prometheus: Prometheus, world: World) -> None:
    """Without a live counter nobody knows the labels: nothing is written, and it is said."""
    prometheus.series = []

    with pytest.raises(PastError, match=f"{BACKEND}.*wanted one series, found \\[\\]"):
        write_past(world, BACKEND, past())
    assert prometheus.written == []


def test_a_refused_past_is_an_error_with_prometheus_words(
    prometheus: Prometheus, world: World
) -> None:
    """A scenario must not go on as if the budget were spent."""
    prometheus.status = 400

    with pytest.raises(PastError, match="too old sample"):
        write_past(world, BACKEND, past())


def test_a_prometheus_that_is_away_is_an_error_too(tmp_path: Path) -> None:
    """Whatever does not answer is named by its address."""
    nobody = World("past", tmp_path, {"prometheus": 9}, {})

    with pytest.raises(PastError, match=r"http://127\.0\.0\.1:9/api/v1/series"):
        write_past(nobody, BACKEND, past())
