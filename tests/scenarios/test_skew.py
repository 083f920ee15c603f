"""CRDs and operator of different versions: the CRDs are always upgraded first."""

from __future__ import annotations

from datetime import timedelta

from tests.scenarios.memory import Behaviour, Story


async def test_defaults_of_newer_crds_do_not_stop_a_rollback() -> None:
    """A new field's default is in every object at once; the old operator must go on judging."""
    story = Story()
    story.commit("1")
    await story.until_phase("Stable")
    story.platform.behaviours["2"] = Behaviour(failing=0.2)
    story.commit("2")
    await story.until_phase("Progressing")
    record = story.cluster.find("ModelRollout", "models", "fraud-0002")
    assert record is not None
    record["spec"]["policy"]["rollout"]["sinceNextVersion"] = "25ms"
    story.cluster.objects["ModelRollout", "models", "fraud-0002"] = record
    owner = story.cluster.find("ModelDeployment", "models", "fraud")
    assert owner is not None
    owner["spec"]["rollout"]["sinceNextVersion"] = "25ms"
    story.cluster.objects["ModelDeployment", "models", "fraud"] = owner

    await story.until_phase("RolledBack", timedelta(minutes=5))

    assert story.weights == {"1": 100}
    assert story.condition("Accepted")["message"].startswith("spec.rollout.sinceNextVersion")
