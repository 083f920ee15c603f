"""
A cluster that is up already as the cluster under test: kind's, or somebody's own.

Owns how its parts are broken by what any administrator may do, and put right again. What only a
world of our own can break is skipped, with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.dependency import NAME as HISTORY
from sandbox.dependency import NAMESPACE as HISTORY_NAMESPACE
from sandbox.dependency import history_variable
from sandbox.processes import wait_until
from scenarios.api import Api
from scenarios.choice import Existing
from scenarios.cluster import NAMESPACE, Cluster

OPERATOR_NAMESPACE, OPERATOR = "headgate-system", "headgate"
PROMETHEUS_NAMESPACE, PROMETHEUS = "monitoring", "prometheus"
_OPERATOR_PODS = "app.kubernetes.io/component=operator"
_SECONDS = 120


def _skip(what: str) -> None:
    pytest.skip(f"{what}: only the embedded world can do that")


@dataclass(frozen=True, slots=True)
class ExistingFaults:
    """Breaks parts of a cluster by kubectl."""

    kubeconfig: Path

    def kill_operator(self) -> None:
        """Delete its pod without grace, and wait until another one is ready."""
        before = self._pods()
        self._kubectl(
            *("delete", "pod", "-n", OPERATOR_NAMESPACE, "-l", _OPERATOR_PODS),
            *("--grace-period=0", "--force"),
        )
        if not wait_until(lambda: self._is_replaced(before), _SECONDS):
            raise AssertionError("no other operator became ready")

    @contextmanager
    def prometheus_down(self) -> Iterator[None]:
        """Let its Service lead nowhere: it goes on scraping, and answers nobody."""
        self._select("nobody")
        try:
            yield
        finally:
            self._select(PROMETHEUS)

    def api_server_down(self) -> AbstractContextManager[None]:
        """Cannot be done from outside."""
        return _skipped("an API server that answers nobody")

    @contextmanager
    def dependency_failing(self, share: float) -> Iterator[None]:
        """Let the card's history fail a share of its requests."""
        self._fail(share)
        try:
            yield
        finally:
            self._fail(0.0)

    def start_dependency(self) -> Mapping[str, object]:
        """Start the card's history from the models' image."""
        from kind.charts import write
        from kind.servers import render_history

        self._kubectl("apply", "-f", "-", stdin=write(render_history()))
        self._kubectl(
            *("rollout", "status", f"deployment/{HISTORY}", "-n", HISTORY_NAMESPACE),
            f"--timeout={_SECONDS}s",
        )
        return history_variable()

    def spent_budget(self, model: str, until: datetime) -> None:
        """Cannot be done: a Prometheus takes no past from outside."""
        _skip(f"a past of {model} until {until:%H:%M}")

    def _fail(self, share: float) -> None:
        path = f"/api/v1/namespaces/{HISTORY_NAMESPACE}/services/{HISTORY}:80/proxy/failing"
        self._kubectl("replace", "--raw", path, "-f", "-", stdin=str(share))

    def _select(self, app: str) -> None:
        patch = json.dumps({"spec": {"selector": {"app": app}}})
        self._kubectl(
            *("patch", "service", PROMETHEUS, "-n", PROMETHEUS_NAMESPACE),
            *("--type=merge", "-p", patch),
        )

    def _pods(self) -> Mapping[str, bool]:
        """Whether each of the operator's pods is ready, by its uid."""
        text = self._kubectl(
            "get", "pods", "-n", OPERATOR_NAMESPACE, "-l", _OPERATOR_PODS, "-o", "json"
        )
        return {pod["metadata"]["uid"]: _is_ready(pod) for pod in json.loads(text)["items"]}

    def _is_replaced(self, before: Mapping[str, bool]) -> bool:
        return any(ready for uid, ready in self._pods().items() if uid not in before)

    def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return kubectl(self.kubeconfig, *arguments, stdin=stdin)


@contextmanager
def _skipped(what: str) -> Iterator[None]:
    _skip(what)
    yield


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def kubectl(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl as administrator; raises AssertionError with what it said."""
    command = ["kubectl", "--kubeconfig", str(kubeconfig), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class ExistingWorlds:
    """The one cluster that there is; no other can be made for a scenario that wants its own."""

    chosen: Existing
    told: list[str] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)

    def up(self, name: str) -> AbstractContextManager[Cluster]:
        """Skip who wants a cluster of its own: breaking this one would break all others."""
        pytest.skip(f"{name} wants a cluster of its own: only the embedded world can make one")

    @contextmanager
    def opened(self) -> Iterator[Cluster]:
        """Give the cluster."""
        folder = Path(tempfile.mkdtemp(prefix="headgate-scenarios-"))
        self.logs.append(folder)
        kubeconfig = self.chosen.kubeconfig
        with Api(kubeconfig) as api, _followed(kubeconfig, folder / "operator.log") as log:
            api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            yield Cluster(
                gateway=self.chosen.gateway,
                api=api,
                login=kubeconfig,
                operator_login=_operator_login(kubeconfig, folder / "operator"),
                operator_log=log,
                faults=ExistingFaults(kubeconfig),
                folder=folder,
                told=self.told,
                ending=self.ending,
            )


def _operator_login(kubeconfig: Path, file: Path) -> Path:
    """Write the operator's own login, by a token of its ServiceAccount."""
    token = kubectl(
        *(kubeconfig, "create", "token", OPERATOR, "-n", OPERATOR_NAMESPACE, "--duration=4h")
    ).strip()
    # Written out whole: what is only referred to would be looked for beside the new file.
    flat = yaml.safe_load(kubectl(kubeconfig, "config", "view", "--minify", "--flatten", "--raw"))
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(render_operator_login(flat, token)))
    return file


def render_operator_login(administrator: Mapping[str, Any], token: str) -> Mapping[str, Any]:
    """Return a kubeconfig for the administrator's cluster that holds nothing but the token."""
    clusters = administrator["clusters"]
    context = {"cluster": clusters[0]["name"], "user": OPERATOR}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": [{"name": OPERATOR, "user": {"token": token}}],
        "contexts": [{"name": OPERATOR, "context": context}],
        "current-context": OPERATOR,
    }


@contextmanager
def _followed(kubeconfig: Path, file: Path) -> Iterator[Path]:
    """Write the operator's log to a file while the block runs, over restarts of its pod."""
    follow = (
        'while true; do kubectl logs -f "deployment/$NAME" -n "$SPACE" --since=2s 2>/dev/null; '
        "sleep 1; done"
    )
    names = {"NAME": OPERATOR, "SPACE": OPERATOR_NAMESPACE, "KUBECONFIG": str(kubeconfig)}
    with file.open("wb") as target:
        process = subprocess.Popen(
            ["sh", "-c", follow],
            stdout=target,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **names},
            start_new_session=True,
        )
        try:
            yield file
        finally:
            os.killpg(process.pid, 15)
            process.wait()
