"""GitOps tools that apply the same commit for ever: as if they applied it once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import pytest

from scenarios.cluster import Cluster
from scenarios.release import ALL_STEPS, Release, dropped_by_gateway

pytestmark = [pytest.mark.sandbox, pytest.mark.side_by_side]

MANAGERS = ("argocd-controller", "kustomize-controller")
EVERY_SECONDS, QUICKLY_SECONDS = 1.0, 0.1
AGAIN = 100
"""So often is a rejected version applied again."""


class Storm:
    """
    Two field managers take turns in applying what was committed last, by force.

    Each time what is there is compared with it first, as `kubectl diff` does.
    """

    def __init__(self, fraud: Release) -> None:
        """Prepare; it begins with the block."""
        self.every_seconds = EVERY_SECONDS
        self.applied = 0
        self.phases: set[str] = set()
        self.differences: list[str] = []
        self.generations: set[tuple[str, int]] = set()
        self._fraud = fraud
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._blow)
        self._problem: BaseException | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it; what went wrong in it is raised unless something else went wrong before."""
        self._over.set()
        self._thread.join()
        if self._problem is not None and error is None:
            raise self._problem

    def wait(self, what: str, holds: Callable[[], bool], seconds: float) -> None:
        """Wait for something while it blows; what went wrong in it is not waited out."""
        self._fraud.cluster.wait(what, lambda: holds() or self._problem is not None, seconds)
        if self._problem is not None:
            raise self._problem

    def _blow(self) -> None:
        try:
            while not self._over.wait(self.every_seconds):
                self._apply(MANAGERS[self.applied % len(MANAGERS)])
        except BaseException as problem:
            self._problem = problem

    def _apply(self, manager: str) -> None:
        api, commit = self._fraud.cluster.api, self._fraud.committed
        phase = self._fraud.status.get("phase", "")
        self.differences += [f"{phase}: {part}" for part in api.differences(commit, manager)]
        found = api.apply(commit, manager)
        version = commit["spec"]["model"]["version"]
        self.generations.add((version, found["metadata"]["generation"]))
        self.phases.add(phase)
        self.applied += 1


def test_applied_every_second_ends_as_applied_once(cluster: Cluster) -> None:
    """A canary, its bake and a rollback, all of it under two tools that never rest.

    The end is that of a quiet release, no applied commit ever differs from what is there, and a
    hundred more of the rejected version are not one more try.
    """
    with Release(cluster, "stormy") as fraud:
        fraud.serve("1", rate=50)
        since = fraud.commit("2")
        with Storm(fraud) as storm:
            record = fraud.wait_end("2")
            users = fraud.counts(since)
            assert record["status"]["outcome"] == "Promoted", record["status"]["message"]
            assert [step["reason"] for step in record["status"]["steps"]] == ALL_STEPS
            assert users.failures == dropped_by_gateway(users), users
            quiet = storm.applied

        fraud.commit("3")
        with Storm(fraud) as second:
            assert fraud.wait_end("3")["status"]["outcome"] == "RolledBack"
            before = fraud.wait_phase("RolledBack")
            second.wait("a few more", lambda: second.applied >= 5, 60)
            rejected = second.applied
            second.every_seconds = QUICKLY_SECONDS
            second.wait("a hundred more", lambda: second.applied >= rejected + AGAIN, 180)

        after = fraud.status
        cluster.tell(
            f"stormy: applied {quiet} times in canary and bake, {rejected} times until the "
            f"rollback was over, {second.applied - rejected} times more; differences: "
            f"{storm.differences + second.differences}"
        )
        assert fraud.outcomes == [("1", "Promoted"), ("2", "Promoted"), ("3", "RolledBack")]
        assert fraud.weights == {"2": 100}
        assert (after["phase"], after["rejected"]) == ("RolledBack", before["rejected"])
        assert {"Progressing", "Baking"} <= storm.phases
        assert {"Progressing", "RolledBack"} <= second.phases
        assert storm.differences == second.differences == []
        # One generation for each version: nothing but a commit ever changed the spec.
        assert len(storm.generations) == len(second.generations) == 1
