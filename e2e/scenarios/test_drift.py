"""What the collector sees: predictions that are not stable's, inputs that nobody was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from headgate.core.drift.build import Column, build
from headgate.core.drift.profile import render
from sandbox import fraud as payments
from scenarios.cluster import NAMESPACE, Cluster
from scenarios.release import Release

pytestmark = [pytest.mark.sandbox, pytest.mark.side_by_side]

_ROWS = 4_000


def _reference(cluster: Cluster, name: str) -> Mapping[str, Any]:
    """Store the training data's profile, and return the `reference` to it."""
    rows = [transaction.row for transaction in payments.training()[:_ROWS]]
    columns = [
        Column(feature, "number", [row[n] for row in rows])
        for n, feature in enumerate(payments.FEATURES)
    ]
    # Only the bins matter where two versions are compared: even ones tell most of them apart.
    scores = Column("score", "number", [n / _ROWS for n in range(_ROWS)])
    cluster.api.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": {"profile.json": render(build(columns, scores))},
        }
    )
    return {"configMap": {"name": name}}


def test_shifted_predictions_are_rolled_back(cluster: Cluster) -> None:
    """A version that fails nothing and is as quick, but says fraud far more often, goes back."""
    drift = {"reference": _reference(cluster, "scores"), "predictions": {}}
    steady = {"steps": [{"weight": 20, "hold": "60s"}]}
    with Release(cluster, "shifted") as fraud:
        fraud.serve("score", rate=50, drift=drift)

        fraud.commit("shifted-score", steady, drift=drift)
        record = fraud.wait_end("shifted-score")
        told = fraud.told(record)

        assert told.outcome == "RolledBack", told.evidence
        assert told.reason == "DistributionDiffers"
        assert "had predictions" in told.evidence
        assert [step["weight"] for step in record["status"]["steps"]] == [0, 20, 0]
        assert told.users.failures - told.by_gateway == 0, told.users
        assert fraud.weights == {"score": 100}


def test_shifted_inputs_freeze_and_roll_nothing_back(cluster: Cluster) -> None:
    """In a sale the amounts are not those of the training: a new version waits, and a person is
    told; whoever serves goes on."""
    drift = {"reference": _reference(cluster, "amounts"), "inputs": {}}
    with Release(cluster, "sale") as fraud:
        fraud.serve("1", rate=50, drift=drift)
        fraud.change_season(payments.Season.SALE)
        found = fraud.wait_condition("InputsMatchReference", "InputsDrifted", seconds=400)
        cluster.tell(f"sale: {found['message']}")

        since = fraud.commit("2", drift=drift)
        fraud.wait_condition("RolledOut", "InputsDrifted")
        seen = fraud.look_for(10)

        users = fraud.counts(since)
        assert all(weights == {"1": 100} for weights in seen)
        assert fraud.outcomes == [("1", "Promoted")]
        assert fraud.status["phase"] == "Stable"
        assert fraud.status.get("rejected", []) == []
        assert users.ended > 0
        assert users.failures == 0, users
        assert fraud.events("inputs are not what the model was trained on")
