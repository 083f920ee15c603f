"""
Argo CD's API server as its interface uses it: one application, its tree, its differences, actions.

Owns the HTTP calls and nothing else. What the answers should be is for the tests to say.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

Json = dict[str, Any]

_CALL_SECONDS = 60


class Refused(Exception):
    """Argo CD refused; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Server:
    """An Argo CD that asks nobody to log in."""

    url: str

    def application(self, name: str, refresh: str = "") -> Json:
        """
        Return an Application.

        Args:
            refresh: `normal` to have Git and the cluster compared first, `hard` to forget what was
                rendered before; empty for what is known.
        """
        words = {"refresh": refresh} if refresh else {}
        return self._get(f"/applications/{quote(name)}", words)

    def tree(self, name: str) -> Sequence[Json]:
        """Return all nodes of an application's tree, each with its health; orphans left out."""
        return list(self._get(f"/applications/{quote(name)}/resource-tree", {}).get("nodes") or ())

    def orphans(self, name: str) -> Sequence[Json]:
        """Return what is in the application's namespace and belongs to no application."""
        found = self._get(f"/applications/{quote(name)}/resource-tree", {})
        return list(found.get("orphanedNodes") or ())

    def differences(self, name: str) -> list[str]:
        """Return the kinds and names of what is not in the cluster as Git has it."""
        found = self._get(f"/applications/{quote(name)}/managed-resources", {})
        return [
            f"{item['kind']}/{item['name']}"
            for item in found.get("items") or ()
            if json.loads(item["normalizedLiveState"]) != json.loads(item["predictedLiveState"])
        ]

    def actions(self, name: str, target: Mapping[str, str]) -> dict[str, Json]:
        """Return what can be done with a resource of an application, by the action's name."""
        path = f"/applications/{quote(name)}/resource/actions"
        found = self._get(path, target)
        return {action["name"]: action for action in found.get("actions") or ()}

    def act(self, name: str, target: Mapping[str, str], action: str, **parameters: str) -> None:
        """Run an action on a resource of an application, as a click on its button does."""
        given = [{"name": key, "value": value} for key, value in parameters.items()]
        body = {"name": name, "action": action, "resourceActionParameters": given, **target}
        self._call("POST", f"/applications/{quote(name)}/resource/actions/v2", body)

    def _get(self, path: str, words: Mapping[str, str]) -> Json:
        return self._call("GET", f"{path}?{urlencode(words)}" if words else path, None)

    def _call(self, method: str, path: str, body: Json | None) -> Json:
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        # No proxy of the user's is asked.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_CALL_SECONDS) as response:
                return dict(json.loads(response.read() or b"{}"))
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path}: {error.read().decode(errors='replace')}") from error
