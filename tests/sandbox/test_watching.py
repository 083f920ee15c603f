"""How the demo reads a deployment, and how long it waits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.sandbox.serving import serving

from sandbox.kube import Login
from sandbox.watching import Deployment, StoryError

BASE = "/apis/headgate.dev/v1alpha1/namespaces/models"
DEPLOYMENT, ROLLOUT = f"{BASE}/modeldeployments/fraud", f"{BASE}/modelrollouts/fraud-0001"


class Server:
    """An API server that holds what a test puts into `objects`, and fails while `broken`."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.objects: dict[str, Any] = {}
        self.broken = False
        self.looks = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.looks += self.path == DEPLOYMENT
                found = outer.objects.get(self.path)
                self.send_response(500 if outer.broken else 200 if found is not None else 404)
                self.end_headers()
                self.wfile.write(json.dumps(found or {}).encode())

            def log_message(self, format: str, *args: object) -> None:
                """Be quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def put(self, steps: list[str], finished: bool = False) -> None:
        """Make the first rollout have these messages as its steps."""
        status: dict[str, Any] = {"steps": [{"message": text} for text in steps]}
        if finished:
            status |= {"outcome": "Promoted", "finishedAt": "2026-03-01T12:00:00Z"}
        self.objects[DEPLOYMENT] = {
            "status": {"rolloutNumber": 1, "rollout": "fraud-0001", "canary": {"weight": 10}}
        }
        self.objects[ROLLOUT] = {"metadata": {"name": "fraud-0001"}, "status": status}


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve until the test is over."""
    server = Server()
    with serving(server.http):
        yield server


@pytest.fixture
def deployment(server: Server) -> Deployment:
    """Return the deployment as that server has it."""
    url = f"http://127.0.0.1:{server.http.server_port}"
    return Deployment(Login(server=url, tls=None, token="t"), "models", "fraud")


def test_what_does_not_exist_yet_is_empty(deployment: Deployment) -> None:
    """Before the first commit there is nothing, and that is no error."""
    seen = deployment.look()

    assert (seen.number, seen.outcome, seen.steps, seen.canary_weight) == (0, "", [], 0)


def test_an_outcome_counts_when_the_record_is_finished(
    server: Server, deployment: Deployment
) -> None:
    """A record says `Progressing` while it is open, which is not how it ended."""
    server.put(["prepared"])
    server.objects[ROLLOUT]["status"]["outcome"] = "Progressing"
    open_record = deployment.look()
    server.put(["prepared", "promoted"], finished=True)

    assert (open_record.outcome, deployment.look().outcome) == ("", "Promoted")
    assert (open_record.number, open_record.canary_weight) == (1, 10)


def test_each_step_is_told_once(server: Server, deployment: Deployment) -> None:
    """What was known before is not told again, and what comes while waiting is."""
    server.put(["prepared"])
    since = deployment.look()
    server.put(["prepared", "ready"])
    told: list[str] = []

    def on_step(step: dict[str, Any]) -> None:
        told.append(step["message"])
        server.put(["prepared", "ready", "earned"], finished=True)

    seen = deployment.follow(lambda seen: bool(seen.outcome), 30, on_step, since)

    assert (told, seen.outcome) == (["ready", "earned"], "Promoted")


def test_a_new_record_is_told_from_its_beginning(server: Server, deployment: Deployment) -> None:
    """The steps of the rollout before it are another story."""
    before = deployment.look()
    server.put(["prepared", "ready"])
    told: list[str] = []

    deployment.follow(lambda seen: True, 30, lambda step: told.append(step["message"]), before)

    assert told == ["prepared", "ready"]


def test_patience_ends_with_what_the_deployment_says(
    server: Server, deployment: Deployment
) -> None:
    """Whoever reads the demo learns where it stopped."""
    server.put([])
    server.objects[DEPLOYMENT]["status"] |= {"phase": "Preparing", "message": "its pods start"}
    before = deployment.look()

    with pytest.raises(StoryError, match="it is Preparing: its pods start"):
        deployment.follow(lambda seen: False, 0.0, lambda step: None, before)
    assert server.looks == 2


def test_an_api_server_that_fails_ends_the_story(server: Server, deployment: Deployment) -> None:
    """The demo reads a cluster of its own; when that fails there is nothing to tell."""
    server.broken = True

    with pytest.raises(StoryError, match=f"GET {DEPLOYMENT}: HTTP Error 500"):
        deployment.look()
