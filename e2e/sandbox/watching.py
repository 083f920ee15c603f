"""
One ModelDeployment as the demo watches it: its status, its records, and its gateway's client.

Owns reading by plain GETs, as anybody with a kubeconfig may. Must not write anything.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.kube import Login

Json = dict[str, Any]

_POLL_SECONDS = 0.3
_GROUP = "/apis/headgate.dev/v1alpha1"


class StoryError(Exception):
    """The story cannot go on; the message says what did not happen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A deployment's status and the record in charge, as read one after the other at `at`."""

    at: datetime
    status: Json
    record: Json

    @property
    def number(self) -> int:
        """Number of the rollout in charge, 0 before the first."""
        return int(self.status.get("rolloutNumber", 0))

    @property
    def outcome(self) -> str:
        """How the record in charge ended; empty while it has not."""
        status = self.record.get("status", {})
        return str(status["outcome"]) if status.get("finishedAt") else ""

    @property
    def steps(self) -> list[Json]:
        """The changes of weight so far."""
        return list(self.record.get("status", {}).get("steps", ()))

    @property
    def canary_weight(self) -> int:
        """Percent of requests that the canary has in the route."""
        return int((self.status.get("canary") or {}).get("weight", 0))


@dataclass(frozen=True, slots=True)
class Deployment:
    """Reads one ModelDeployment and its records."""

    login: Login
    namespace: str
    name: str

    def look(self) -> Seen:
        """Read now; what does not exist yet is empty."""
        found = self._get(f"{_GROUP}/namespaces/{self.namespace}/modeldeployments/{self.name}")
        status = found.get("status", {})
        record: Json = {}
        if name := status.get("rollout"):
            record = self._get(f"{_GROUP}/namespaces/{self.namespace}/modelrollouts/{name}")
        return Seen(datetime.now(UTC), status, record)

    def follow(
        self,
        until: Callable[[Seen], bool],
        patience_seconds: float,
        on_step: Callable[[Json], None],
        since: Seen,
    ) -> Seen:
        """
        Look again and again until `until` holds; each change of weight not in `since` is passed on.

        Raises:
            StoryError: It did not hold in `patience_seconds`.
        """
        deadline = time.monotonic() + patience_seconds
        told = len(since.steps)
        known = since.record.get("metadata", {}).get("name")
        while True:
            seen = self.look()
            if seen.record.get("metadata", {}).get("name") != known:
                known, told = seen.record.get("metadata", {}).get("name"), 0
            for step in seen.steps[told:]:
                on_step(step)
            told = len(seen.steps)
            if until(seen):
                return seen
            if time.monotonic() > deadline:
                raise StoryError(
                    f"{self.name}: nothing more came in {patience_seconds:.0f} s; it is "
                    f"{seen.status.get('phase')}: {seen.status.get('message')}"
                )
            time.sleep(_POLL_SECONDS)

    def _get(self, path: str) -> Json:
        request = urllib.request.Request(self.login.server + path)
        if self.login.token:
            request.add_header("Authorization", f"Bearer {self.login.token}")
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.login.tls)
        )
        try:
            with opener.open(request, timeout=10) as response:
                found: Json = json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise StoryError(f"GET {path}: {error}") from error
        except OSError as error:
            raise StoryError(f"GET {path}: {error}") from error
        return found
