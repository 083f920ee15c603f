"""What parse takes, and what it says about the rest."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from tests.api.objects import REMOVED, UNSEEN, WRONG, Wrong, deployment, revision, rollout

from headgate.api.accept import Invalid, parse, read
from headgate.api.model_deployment import ModelDeployment
from headgate.api.model_revision import ModelRevision
from headgate.api.model_rollout import ModelRollout

# Where two checks meet, parse names the very entry and the API server the list around it.
_MESSAGES = (
    (
        {"spec.rollout.steps[1].weight": 3},
        "spec.rollout.steps[1].weight: wanted a weight above 5 (steps ascend), found 3",
    ),
    (
        {"spec.rollout.steps[2].weight": 101},
        "spec.rollout.steps[2].weight: wanted at most 100, found 101",
    ),
    (
        {"spec.rollout.confidence": 99},
        "spec.rollout.confidence: wanted text; put it into quotes, found 99",
    ),
    (
        {"spec.rollout.bake": "soon"},
        'spec.rollout.bake: wanted a duration such as 90s, 10m or 1h30m, found "soon"',
    ),
    (
        {"spec.rollout.onInconclusive": "Abort"},
        "spec.rollout.onInconclusive: wanted 'Hold', 'Promote' or 'RollBack', found \"Abort\"",
    ),
    ({"spec.model.version": REMOVED}, "spec.model.version: wanted a value, found nothing"),
    ({"spec.rollout.stepz": []}, "spec.rollout.stepz: wanted no such field, found []"),
    (
        {"spec.rollout.progress_deadline": "1h"},
        'spec.rollout.progress_deadline: wanted no such field, found "1h"',
    ),
    (
        {"spec.objectives[1].name": "availability"},
        'spec.objectives[1].name: wanted each only once, found "availability"',
    ),
    (
        {"spec.objectives[0].errors": REMOVED},
        "spec.objectives[0]: wanted exactly one of errors, latency and series, found none of them",
    ),
    (
        {"spec.traffic.hostnames[0]": "x" * 300},
        'spec.traffic.hostnames[0]: wanted at most 253 characters, found "' + "x" * 56 + "...",
    ),
    (
        {"spec.signals[1].ratio.bad.metric": "job:errors:rate5m"},
        "spec.signals[1].ratio.bad.metric: wanted a raw counter; a colon marks what a recording "
        'rule has calculated, found "job:errors:rate5m"',
    ),
    (
        {"spec.signals[1].ratio.bad.metric": "latency_seconds_sum"},
        "spec.signals[1].ratio.bad.metric: wanted a counter of events, not the sum of a histogram "
        'or summary, found "latency_seconds_sum"',
    ),
    (
        {"spec.signals[2].histogram.buckets.metric": "answer_words"},
        "spec.signals[2].histogram.buckets.metric: wanted the raw buckets of a histogram, a name "
        'that ends in _bucket, found "answer_words"',
    ),
    (
        {"spec.signals[1].threshold": "1"},
        "spec.signals[1].threshold: wanted no value (only values have one), found 1",
    ),
    (
        {"spec.signals[1].ratio.bad.matchers": {"a-b": "c"}},
        'spec.signals[1].ratio.bad.matchers: wanted names of labels as keys, found {"a-b": "c"}',
    ),
    (
        {"spec.drift": {"reference": {"configMap": {"name": "p"}}}},
        "spec.drift: wanted predictions, inputs or both, found neither",
    ),
    (
        {"kind": "ModelRevision"},
        "kind: wanted 'ModelDeployment', found \"ModelRevision\"",
    ),
)


def test_a_deployment_with_every_field_is_read_into_values() -> None:
    """Text becomes values with their units, and nothing is lost on the way."""
    parsed = parse(deployment())
    assert parsed.metadata.namespace == "models"
    assert parsed.spec.model.version == "7"
    assert parsed.spec.traffic.timeout is not None
    assert parsed.spec.traffic.timeout.timedelta == timedelta(seconds=30)
    assert [step.weight for step in parsed.spec.rollout.stages] == [5, 25, 50]
    assert parsed.spec.rollout.stages[2].hold.timedelta == timedelta(minutes=90)
    assert parsed.spec.rollout.confidence.ratio == pytest.approx(0.995)
    assert parsed.spec.objectives[1].latency is not None
    assert parsed.spec.manifest() == deployment()["spec"]


def test_a_deployment_with_only_the_required_fields_gets_the_documented_defaults() -> None:
    """What is left out has the default of the documentation."""
    small = deployment(
        {
            "spec.rollout": REMOVED,
            "spec.objectives": REMOVED,
            "spec.history": REMOVED,
            "spec.traffic": {"gateway": {"name": "public"}, "hostnames": ["a.example.com"]},
            "spec.template.metadata": REMOVED,
            "spec.model": {"version": "7"},
        }
    )
    spec = parse(small).spec
    assert [(step.weight, step.hold) for step in spec.rollout.stages] == [
        (5, "5m"),
        (25, "10m"),
        (50, "10m"),
    ]
    assert (spec.rollout.bake, spec.rollout.interval) == ("1h", "10s")
    assert (spec.rollout.confidence, spec.rollout.margin) == ("99", "0.1")
    assert (spec.rollout.tolerance, spec.rollout.progress_deadline) == ("0.5", "2h")
    assert (spec.rollout.on_inconclusive, spec.rollout.paused) == ("Hold", False)
    assert (spec.traffic.path_prefix, spec.traffic.timeout) == ("/", None)
    assert (spec.objectives, spec.history, spec.rollout.retry) == ((), 3, "")
    assert spec.template.manifest() == {"spec": small["spec"]["template"]["spec"]}


@pytest.mark.parametrize("wrong", [pytest.param(wrong, id=wrong.name) for wrong in WRONG])
def test_parse_refuses_what_the_api_server_refuses_and_names_the_field(wrong: Wrong) -> None:
    """Objects stored before their CRD was tightened are still refused, by the same field."""
    with pytest.raises(Invalid) as refusal:
        parse(deployment(wrong.changes))
    assert wrong.field in refusal.value.field
    assert str(refusal.value).startswith(f"{refusal.value.field}: wanted ")


@pytest.mark.parametrize(
    ("changes", "message"), [pytest.param(c, m, id=name) for name, c, m in UNSEEN]
)
def test_parse_refuses_what_only_it_can_see(changes: dict[str, Any], message: str) -> None:
    """What CEL cannot look into is refused with the field, what was wanted and what was found."""
    with pytest.raises(Invalid) as refusal:
        parse(deployment(changes))
    assert str(refusal.value) == message


@pytest.mark.parametrize(("changes", "message"), _MESSAGES)
def test_the_message_gives_field_wanted_and_found(changes: dict[str, Any], message: str) -> None:
    """A person can correct the object from the message alone."""
    with pytest.raises(Invalid) as refusal:
        parse(deployment(changes))
    assert str(refusal.value) == message


def test_standard_mode_and_labels_of_other_domains_are_fine() -> None:
    """Only what Headgate itself has to set is reserved."""
    wished = {
        "spec.template.metadata.annotations.{serving.kserve.io/deploymentMode}": "Standard",
        "spec.template.metadata.labels.{notheadgate.dev/team}": "risk",
        "spec.template.spec.predictor.labels": {"app.kubernetes.io/part-of": "risk"},
    }
    parsed = parse(deployment(wished))
    assert parsed.spec.template.metadata.labels["notheadgate.dev/team"] == "risk"


def test_the_longest_name_that_fits_is_taken() -> None:
    """Name, hash, component and namespace may fill the 63 characters of a DNS label."""
    parsed = parse(deployment({"metadata.name": "f" * 40, "metadata.namespace": "abc"}))
    host = f"{parsed.metadata.name}-01234567-predictor-{parsed.metadata.namespace}"
    assert len(host) == 63


def test_an_object_nested_without_end_is_refused_before_anyone_walks_it() -> None:
    """A hostile object cannot exhaust the stack."""
    nest: dict[str, Any] = {}
    for _ in range(100_000):
        nest = {"a": nest}
    with pytest.raises(Invalid, match="object: wanted at most 64 levels of maps and lists"):
        parse(deployment({"spec.template.spec.predictor.model": nest}))


def test_what_json_cannot_say_is_refused() -> None:
    """A manifest read from YAML may hold a date or NaN; it is refused, not guessed at."""
    with pytest.raises(Invalid, match="object: wanted JSON values only"):
        parse(deployment({"spec.template.spec.predictor.model": float("nan")}))
    with pytest.raises(Invalid, match="object: wanted JSON values only"):
        parse(deployment({"spec.template.spec.predictor.model": timedelta(1)}))


def test_revisions_and_rollouts_are_read_and_written_without_loss() -> None:
    """The operator reads back exactly what it wrote."""
    assert read(ModelRevision, revision()).spec.manifest() == revision()["spec"]
    assert read(ModelRollout, rollout()).spec.manifest() == rollout()["spec"]


def test_what_a_newer_operator_reported_is_ignored_and_not_refused() -> None:
    """After a rollback of the operator itself, its predecessor reads the newer status."""
    newer = {**deployment(), "status": {"observedGeneration": 3, "forecast": {"at": "noon"}}}
    assert read(ModelDeployment, newer).status.observed_generation == 3


def test_moments_of_any_zone_are_read_as_utc() -> None:
    """Two records of one moment are equal."""
    moved = rollout({"spec.startedAt": "2026-11-20T21:00:00+01:00"})
    assert (
        read(ModelRollout, moved).spec.started_at == read(ModelRollout, rollout()).spec.started_at
    )
    assert read(ModelRollout, moved).spec.manifest()["startedAt"] == "2026-11-20T20:00:00Z"


def test_a_moment_without_a_zone_is_refused() -> None:
    """A moment that may be anywhere is none."""
    with pytest.raises(Invalid, match=r"^spec[.]startedAt: wanted "):
        read(ModelRollout, rollout({"spec.startedAt": "2026-11-20T20:00:00"}))


def test_a_manifest_survives_json() -> None:
    """What is written is JSON; no type of ours leaks into it."""
    manifest = parse(deployment()).manifest()
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest["metadata"] == {"name": "fraud", "namespace": "models"}
