"""An operator for some namespaces has no rights in the cluster, and says what it does without."""

from __future__ import annotations

from typing import Any

import pytest
from tests.scenarios.memory import Story, deployment

from headgate.ports import Forbidden

NAMESPACED = {"namespaces": ("models", "others")}
RUNTIME = "kserve-sklearnserver"


def with_runtime() -> dict[str, Any]:
    """A template that names a runtime of the cluster."""
    template: dict[str, Any] = deployment("1")["spec"]["template"]
    template["spec"]["predictor"]["model"]["runtime"] = RUNTIME
    return template


def runtime(image: str) -> dict[str, Any]:
    """A runtime of the cluster."""
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": RUNTIME},
        "spec": {"containers": [{"name": "kserve-container", "image": image}]},
    }


class Rights:
    """What the operator may not read, by kind; and what it asked to list."""

    def __init__(self, story: Story, *forbidden: str) -> None:
        self.forbidden = set(forbidden)
        self.listed: set[str | None] = set()
        story.cluster.before_read = self._read
        list_all = story.cluster.list

        async def listed(kind: Any, namespace: str | None, labels: Any) -> Any:
            self.listed.add(namespace)
            return await list_all(kind, namespace, labels)

        story.cluster.list = listed  # type: ignore[method-assign]

    def _read(self, verb: str, kind: str) -> None:
        if kind in self.forbidden:
            raise Forbidden(f"{verb} {kind}: HTTP 403: forbidden")


def revisions(story: Story) -> list[dict[str, Any] | None]:
    """The runtime of each revision, as it is stored."""
    return [each["spec"].get("runtime") for each in story.cluster.all("ModelRevision")]


async def test_it_lists_nothing_of_the_whole_cluster() -> None:
    """Every list names one of its namespaces, that for claimed hostnames too."""
    story = Story(**NAMESPACED)
    rights = Rights(story)
    story.commit("1")
    await story.until_phase("Stable")

    assert rights.listed == {"models", "others"}


async def test_a_hostname_claimed_in_another_of_its_namespaces_is_refused() -> None:
    """Two namespaces of one operator do not take each other's users."""
    story = Story(**NAMESPACED)
    other = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "earlier",
            "namespace": "others",
            "labels": {"app.kubernetes.io/managed-by": "headgate", "headgate.dev/deployment": "x"},
        },
        "spec": {
            "parentRefs": [{"name": "public", "namespace": "gateways"}],
            "hostnames": ["fraud.example.com"],
            "rules": [{"matches": [{"path": {"value": "/"}}], "backendRefs": []}],
        },
    }
    story.cluster.put(other)
    story.commit("1")
    await story.once()

    assert story.condition("Accepted")["reason"] == "Conflict"


async def test_a_runtime_that_may_not_be_read_is_untracked_and_said_so() -> None:
    """The release goes its way; status and revision tell what is no part of the hash."""
    story = Story(**NAMESPACED)
    Rights(story, "ClusterServingRuntime")
    story.commit("1", template=with_runtime())
    await story.until_phase("Stable")

    assert revisions(story) == [{"kind": "ClusterServingRuntime", "name": RUNTIME}]
    assert story.condition("Accepted") == {
        **story.condition("Accepted"),
        "status": "True",
        "message": f"ClusterServingRuntime {RUNTIME} is not tracked, as the operator may not read "
        "it: its changes are no revision",
    }


async def test_a_namespaces_own_runtime_is_tracked_all_the_same() -> None:
    """What a Role can grant is read: a ServingRuntime of the namespace is part of the hash."""
    story = Story(**NAMESPACED)
    Rights(story, "ClusterServingRuntime")
    own = runtime("a")
    own |= {"kind": "ServingRuntime", "metadata": {"name": RUNTIME, "namespace": "models"}}
    story.cluster.put(own)
    story.commit("1", template=with_runtime())
    await story.until_phase("Stable")

    [found] = revisions(story)
    assert found is not None
    assert (found["kind"], "hash" in found) == ("ServingRuntime", True)
    assert story.condition("Accepted")["message"] == ""


async def test_a_right_that_is_missing_for_a_moment_makes_no_revision() -> None:
    """Who could read the runtime before is held while it cannot, and nothing is released anew."""
    story = Story(**NAMESPACED)
    story.cluster.put(runtime("a"))
    story.commit("1", template=with_runtime())
    await story.until_phase("Stable")
    rights = Rights(story, "ClusterServingRuntime")

    await story.once()
    held = story.condition("Accepted")
    rights.forbidden.clear()
    await story.once()

    assert (held["status"], held["reason"]) == ("False", "Refused")
    assert "HTTP 403" in held["message"]
    assert len(revisions(story)) == 1
    assert story.condition("Accepted")["status"] == "True"
    assert story.weights == {"1": 100}


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        pytest.param({}, "ClusterServingRuntime", id="for the whole cluster, any runtime"),
        pytest.param(NAMESPACED, "ServingRuntime", id="for namespaces, one of its namespace"),
    ],
)
async def test_a_right_that_should_be_there_is_an_objection(
    options: dict[str, Any], kind: str
) -> None:
    """Only the one kind that no Role can grant is done without."""
    story = Story(**options)
    Rights(story, kind)
    story.commit("1", template=with_runtime())
    await story.once()

    accepted = story.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "Refused")
    assert f"get {kind}: HTTP 403: forbidden" in accepted["message"]
    assert revisions(story) == []
