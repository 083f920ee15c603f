"""What people do with a release in Argo CD: each click is an annotation, and never a diff."""

from __future__ import annotations

import pytest

from argocd.conftest import Followed
from argocd.release import GitRelease
from argocd.server import Refused
from scenarios.release import START_SECONDS

pytestmark = [pytest.mark.argocd]

_SLOW = {"steps": [{"weight": 10, "hold": "10m"}, {"weight": 50, "hold": "10m"}]}


def offered(fraud: GitRelease) -> set[str]:
    """Return the actions that can be chosen now."""
    found = fraud.server.actions(fraud.name, fraud.target)
    return {name for name, action in found.items() if not action.get("disabled")}


def commands(fraud: GitRelease) -> dict[str, str]:
    """Return the annotations of ours that are on the ModelDeployment."""
    found = fraud.object["metadata"].get("annotations") or {}
    return {key: value for key, value in found.items() if key.startswith("headgate.dev/")}


def test_people_pause_resume_abort_retry_and_promote_from_argo_cd(followed: Followed) -> None:
    """Each action is offered when it makes sense, is followed, and leaves Git and cluster equal."""
    with GitRelease(followed.cluster, followed.world, "acted") as fraud:
        fraud.serve("1", rate=30)
        assert offered(fraud) == set()
        with pytest.raises(Refused, match="no rollout is under way"):
            fraud.act("pause")

        fraud.commit("2", _SLOW)
        hash = fraud.wait_canary("2")["canary"]["hash"]
        generation = fraud.object["metadata"]["generation"]
        assert offered(fraud) == {"pause", "abort", "promote-now"}

        fraud.act("pause")
        assert commands(fraud) == {"headgate.dev/pause": hash}
        fraud.wait_health("Suspended")
        assert offered(fraud) == {"resume", "abort", "promote-now"}

        fraud.act("resume")
        assert commands(fraud) == {}
        fraud.wait_health("Progressing")

        fraud.act("abort")
        sentence = fraud.wait_health("Degraded")
        assert fraud.status["rejected"][-1]["reason"] == "AbortedByPerson"
        assert "version 2 goes back to version 1" in sentence
        assert fraud.weights == {"1": 100}
        assert offered(fraud) == {"retry"}

        # The moment of a retry is a whole second, and must be after the rejection.
        fraud.cluster.ending.wait(1.1)
        fraud.act("retry")
        assert commands(fraud).keys() == {"headgate.dev/retry"}
        fraud.wait_canary("2", START_SECONDS)

        fraud.act("promote-now")
        fraud.wait_phase("Baking", seconds=START_SECONDS)
        assert fraud.weights == {"2": 100}
        assert "version 2 serves" in fraud.wait_health("Healthy", START_SECONDS)

        assert fraud.object["metadata"]["generation"] == generation
        assert fraud.view["sync"]["status"] == "Synced"
        assert fraud.server.differences(fraud.name) == []
        assert fraud.difference() == ""
        assert [version for version, _ in fraud.outcomes] == ["1", "2", "2"]
