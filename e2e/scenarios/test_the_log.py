"""What the operator said while all other scenarios ran; it comes last by its name."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from scenarios.cluster import Cluster

pytestmark = pytest.mark.sandbox


def test_operator_was_never_refused_anything(cluster: Cluster) -> None:
    """All that came before was done with the rights of the manifests: none was missing."""
    assert [line for line in _lines(cluster) if "forbidden" in line.lower()] == []


def test_no_pass_was_ended_by_a_bug(cluster: Cluster) -> None:
    """Whatever people deleted and whatever was down: it was a warning, never an error."""
    levels = [json.loads(line)["level"] for line in _lines(cluster) if line.startswith("{")]

    assert levels
    assert {"error", "critical"} & set(levels) == set()


def test_operator_says_everything_as_json(cluster: Cluster) -> None:
    """No traceback and no warning of a library goes round the log's format."""
    assert [line for line in _lines(cluster) if not line.startswith("{")] == []


def _lines(cluster: Cluster) -> Sequence[str]:
    return cluster.operator_log.read_text(errors="replace").splitlines()
