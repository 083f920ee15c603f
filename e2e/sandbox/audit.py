"""
What Headgate's ServiceAccounts asked of the API server: its audit log, written and read.

Owns the policy, the flags and the file's format. Judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG = "audit.log"
_POLICY = "policy.yaml"
_MEGABYTES, _BACKUPS = 100, 3
"""A file is put aside at this size, and so many that were put aside are kept."""

_RULES = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:{namespace}"]
- level: None
"""


@dataclass(frozen=True, slots=True)
class Request:
    """
    One request as the API server saw it, or the beginning of one that goes on (a watch).

    Attributes:
        user: As in rules: `system:serviceaccount:<namespace>:<name>`.
        agent: What the client called itself.
        verb: As in rules.
        namespace: Of the object; empty for the whole cluster.
        group: API group of the resource; empty for the core.
        resource: Plural, with `/<subresource>` if it is about one; empty for a mere path.
        name: Of the object; empty for all of them.
        path: Of the URL, with its query.
        code: HTTP status.
    """

    user: str
    agent: str
    verb: str
    namespace: str
    group: str
    resource: str
    name: str
    path: str
    code: int

    def __str__(self) -> str:
        about = "/".join(part for part in (self.namespace, self.name) if part)
        what = f"{self.resource}.{self.group}".rstrip(".") if self.resource else self.path
        asked = " ".join(filter(None, (str(self.code), self.verb, what, about)))
        return f"{asked} by {self.user} ({self.agent})"


def write_policy(folder: Path, namespace: str) -> None:
    """Write the policy: what the ServiceAccounts of `namespace` ask, without any content."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _POLICY).write_text(_RULES.format(namespace=namespace))


def flags(folder: Path) -> list[str]:
    """Return the flags of `controlplane serve` by which the log is written into `folder`."""
    wanted = {
        "audit-policy-file": folder / _POLICY,
        "audit-log-path": folder / LOG,
        "audit-log-maxsize": _MEGABYTES,
        "audit-log-maxbackup": _BACKUPS,
    }
    return [f"--apiserver-arg=--{name}={value}" for name, value in wanted.items()]


def read(folder: Path) -> Iterator[Request]:
    """Yield all requests that are still on file, files put aside included; none is fine."""
    for file in sorted(folder.glob("audit*.log"), key=lambda path: path.stat().st_mtime):
        with file.open(encoding="utf-8", errors="replace") as lines:
            yield from (_request(json.loads(line)) for line in lines if line.endswith("}\n"))


def _request(event: dict[str, Any]) -> Request:
    about = event.get("objectRef") or {}
    resource, part = about.get("resource", ""), about.get("subresource", "")
    return Request(
        user=event["user"]["username"],
        agent=event.get("userAgent", ""),
        verb=event["verb"],
        namespace=about.get("namespace", ""),
        group=about.get("apiGroup", ""),
        resource=f"{resource}/{part}" if part else resource,
        name=about.get("name", ""),
        path=event["requestURI"],
        code=(event.get("responseStatus") or {}).get("code", 0),
    )
