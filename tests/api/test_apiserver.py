"""What the real API server makes of our CRDs: refusals, defaults, immutability, columns, texts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from tests.api.objects import (
    COMMIT,
    REMOVED,
    UNSEEN,
    WRONG,
    Manifest,
    Wrong,
    deployment,
    revision,
    rollout,
)
from tests.apiserver import ApiServer

from headgate.api.accept import parse
from headgate.core.commits.claims import Writer, last_writer

pytestmark = pytest.mark.apiserver

ROOT = Path(__file__).parents[2]
NAMESPACE = "models"
ALREADY_EXISTS = 409


@dataclass(frozen=True, slots=True)
class Api:
    """The API server as the operator's client sees it."""

    server: ApiServer
    client: client.ApiClient

    def create(self, manifest: Manifest, *, keep: bool = False) -> Manifest:
        """Create an object with strict fields; unless kept it is only a dry run."""
        options = {} if keep else {"dry_run": "All"}
        namespace = manifest["metadata"]["namespace"]
        answer = self._objects().create_namespaced_custom_object(
            *self._place(manifest, namespace), manifest, field_validation="Strict", **options
        )
        return dict(answer)

    def ensure(self, manifest: Manifest) -> None:
        """Create and keep an object, or leave the one that is there."""
        try:
            self.create(manifest, keep=True)
        except client.ApiException as error:
            if error.status != ALREADY_EXISTS:
                raise

    def patch(self, manifest: Manifest, change: Manifest, part: str = "") -> Manifest:
        """Merge a change into an object or, with `part`, into its subresource."""
        objects = self._objects()
        verb = getattr(objects, f"patch_namespaced_custom_object{part and '_' + part}")
        place = self._place(manifest, manifest["metadata"]["namespace"])
        return dict(verb(*place, manifest["metadata"]["name"], change))

    def _objects(self) -> client.CustomObjectsApi:
        return client.CustomObjectsApi(self.client)

    @staticmethod
    def _place(manifest: Manifest, namespace: str) -> tuple[str, str, str, str]:
        return "headgate.dev", "v1alpha1", namespace, f"{manifest['kind'].lower()}s"


@pytest.fixture(scope="module")
def api(apiserver: ApiServer) -> Iterator[Api]:
    """Give a client, and the namespace of the tests' objects."""
    with config.new_client_from_config(str(apiserver.kubeconfig)) as login:
        namespace = {"metadata": {"name": NAMESPACE}}
        try:
            client.CoreV1Api(login).create_namespace(namespace)
        except client.ApiException as error:
            if error.status != ALREADY_EXISTS:
                raise
        yield Api(apiserver, login)


def refusal(error: client.ApiException) -> str:
    """Return what the server said."""
    assert error.status in (400, 422), error
    return str(json.loads(error.body)["message"])


@pytest.mark.parametrize("wrong", [pytest.param(wrong, id=wrong.name) for wrong in WRONG])
def test_a_wrong_deployment_is_refused_and_the_field_named(api: Api, wrong: Wrong) -> None:
    """Who commits a mistake learns from the API server's own message where it is."""
    with pytest.raises(client.ApiException) as error:
        api.create(deployment(wrong.changes))
    assert wrong.field in refusal(error.value)


# Our own messages: the API server has no words for these mistakes.
_WORDS = (
    ({"metadata.name": "f" * 41}, "metadata.name: wanted at most 40 characters, as KServe puts it"),
    ({"spec.rollout.steps[1].weight": 60}, "wanted weights that ascend from step to step"),
    (
        {"spec.rollout.interval": "1d"},
        'spec.rollout.interval: Invalid value: "1d": wanted a duration from 1s to 5m',
    ),
    ({"spec.rollout.tolerance": "0"}, 'wanted a percentage from "0.01" to "50"'),
    ({"spec.objectives[0].errors": REMOVED}, "wanted exactly one of errors, latency and series"),
    (
        {"spec.template.spec.predictor.canaryTrafficPercent": 10},
        "wanted no canaryTrafficPercent: Headgate moves the traffic",
    ),
)


@pytest.mark.parametrize(("changes", "words"), _WORDS)
def test_a_rule_of_ours_says_what_was_wanted(api: Api, changes: dict[str, Any], words: str) -> None:
    """A CEL rule's message is a sentence, not an expression."""
    with pytest.raises(client.ApiException) as error:
        api.create(deployment(changes))
    assert words in refusal(error.value)


def test_a_deployment_with_every_field_is_stored_unchanged(api: Api) -> None:
    """Nothing that we describe is pruned, and KServe's part is kept verbatim."""
    template = {
        "spec.template.spec.predictor.containers": [{"name": "x", "env": [{"name": "A"}]}],
        "spec.template.spec.transformer": {"minReplicas": 1, "volumes": [{"emptyDir": {}}]},
    }
    wanted = deployment(template)
    assert api.create(wanted)["spec"] == wanted["spec"]


def test_defaults_of_the_server_equal_those_of_the_models(api: Api) -> None:
    """A spec means the same before and after the API server filled it in."""
    small = deployment(
        {
            "spec.rollout": {"steps": [{"weight": 10}]},
            "spec.objectives": REMOVED,
            "spec.history": REMOVED,
            "spec.traffic": {"gateway": {"name": "public"}, "hostnames": ["a.example.com"]},
            "spec.template.metadata": REMOVED,
            "spec.model": {"version": "7"},
        }
    )
    stored = api.create(small)
    assert stored["spec"]["rollout"]["steps"] == [{"weight": 10, "hold": "1m"}]
    assert stored["spec"] == parse(small).spec.manifest()
    unsaid = deployment({"spec.rollout": REMOVED})
    assert api.create(unsaid)["spec"]["rollout"] == parse(unsaid).spec.rollout.manifest()


@pytest.mark.parametrize(
    "changes", [pytest.param(c, id=name) for name, c, _ in UNSEEN if "metadata.namespace" not in c]
)
def test_what_only_parse_can_see_passes_the_server(api: Api, changes: dict[str, Any]) -> None:
    """The checks of parse are needed: the API server lets these through."""
    assert api.create(deployment(changes))["spec"]["model"]["version"] == "7"


@pytest.mark.parametrize("make", [deployment, revision, rollout])
def test_an_object_that_was_never_looked_at_says_so(api: Api, make: Any) -> None:
    """Flux and kubectl wait for our first look, as observedGeneration is -1 before it."""
    assert api.create(make())["status"] == {"observedGeneration": -1}


def test_status_is_written_by_its_own_door_only(api: Api) -> None:
    """A person's manifest cannot claim a status, and a status patch cannot change the spec."""
    claimed = {**deployment({"metadata.name": "doors"}), "status": {"observedGeneration": 9}}
    stored = api.create(claimed, keep=True)
    assert stored["status"] == {"observedGeneration": -1}
    change = {"status": {"observedGeneration": 1, "phase": "Stable"}, "spec": {"history": 9}}
    patched = api.patch(claimed, change, part="status")
    assert patched["status"] == {"observedGeneration": 1, "phase": "Stable"}
    assert patched["spec"]["history"] == 5


def test_a_status_of_an_unknown_phase_is_refused(api: Api) -> None:
    """Our own mistakes do not get stored either."""
    manifest = deployment({"metadata.name": "phases"})
    api.create(manifest, keep=True)
    with pytest.raises(client.ApiException) as error:
        api.patch(manifest, {"status": {"phase": "Nirvana"}}, part="status")
    assert "status.phase" in refusal(error.value)


@pytest.mark.parametrize(
    ("make", "change"),
    [
        pytest.param(revision, {"hash": "89abcdef"}, id="a revision's hash"),
        pytest.param(revision, {"model": {"version": "8"}}, id="a revision's version"),
        pytest.param(
            revision,
            {"template": {"spec": {"predictor": {"model": {"storageUri": "s3://m/fraud/8"}}}}},
            id="deep in a revision's verbatim template",
        ),
        pytest.param(
            revision,
            {"template": {"spec": {"predictor": {"nodeSelector": {"a": "b"}}}}},
            id="one more field in a revision's verbatim template",
        ),
        pytest.param(revision, {"configMaps": []}, id="a revision's ConfigMaps"),
        pytest.param(rollout, {"number": 8}, id="a rollout's number"),
        pytest.param(rollout, {"previous": None}, id="a rollout's link to the one before"),
        pytest.param(rollout, {"policy": {"rollout": {"margin": "50"}}}, id="a rollout's policy"),
        pytest.param(rollout, {"commit": {"revision": "0d" * 20}}, id="a rollout's commit"),
        pytest.param(rollout, {"commit": None}, id="that a rollout's commit is known"),
    ],
)
def test_records_cannot_be_changed(api: Api, make: Any, change: dict[str, Any]) -> None:
    """What a revision or a rollout was made from stays as it was recorded."""
    manifest = make()
    api.ensure(manifest)
    with pytest.raises(client.ApiException) as error:
        api.patch(manifest, {"spec": change})
    assert "spec: Invalid value: wanted no change" in refusal(error.value)


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        (revision({"spec.hash": "0123456"}), "spec.hash"),
        (revision({"spec.hash": "0123456G"}), "spec.hash"),
        (revision({"spec.deployment": REMOVED}), "spec.deployment"),
        (revision({"spec.configMaps[0].hash": "short"}), "spec.configMaps[0].hash"),
        (revision({"spec.runtime.kind": "Pod"}), "spec.runtime.kind"),
        (revision({"spec.untracked": ["a", "a"]}), "spec.untracked[1]"),
        (rollout({"spec.number": 0}), "spec.number"),
        (rollout({"spec.to": REMOVED}), "spec.to"),
        (rollout({"spec.startedAt": "yesterday"}), "spec.startedAt"),
        (rollout({"spec.deploymentUID": "../../x"}), "spec.deploymentUID"),
        (rollout({"spec.previous.digest": "0f" * 32}), "spec.previous.digest"),
        (rollout({"spec.policy.rollout.interval": "1h"}), "spec.policy.rollout.interval"),
        (rollout({"spec.commit.certainty": "Sure"}), "spec.commit.certainty"),
        (rollout({"spec.commit.message": REMOVED}), "spec.commit.message"),
        (rollout({"spec.commit.path": "a\nb"}), "spec.commit.path"),
    ],
)
def test_a_wrong_record_is_refused_and_the_field_named(
    api: Api, manifest: Manifest, field: str
) -> None:
    """A record that could not be read back is not stored."""
    with pytest.raises(client.ApiException) as error:
        api.create(manifest)
    assert field in refusal(error.value)


def test_full_reports_are_stored_unchanged(api: Api) -> None:
    """Every field of the statuses is described, so that none is pruned."""
    at = "2026-11-20T20:00:00.123456Z"
    condition = {
        "type": "Ready",
        "status": "True",
        "observedGeneration": 1,
        "lastTransitionTime": at,
        "reason": "Serving",
        "message": "version 7 serves",
    }
    arm = {"requests": 4000, "bad": 2}
    status = {
        "observedGeneration": 1,
        "outcome": "RolledBack",
        "reason": "ErrorsBreached",
        "message": "5.0 % of 400 requests failed, 0.1 % of stable's",
        "phase": "Progressing",
        "steps": [{"weight": 5, "at": at, "reason": "Started", "message": "first step"}],
        "evidence": {"asOf": at, "state": '{"v":1}', "routeGeneration": 3},
        "signals": [
            {
                "name": "errors",
                "canary": arm,
                "stable": arm,
                "differencePoints": "-0.25",
                "evidence": "1.7e+38",
                "threshold": "100",
                "requestsNeeded": 120,
                "message": "worse by less than 1 point",
            }
        ],
        "decision": {
            "verdict": "Breach",
            "signal": "errors",
            "reason": "ErrorsBreached",
            "message": "errors of the canary",
            "at": at,
            "weight": 0,
        },
        "firstRequestAt": at,
        "finishedAt": at,
        "commit": COMMIT,
        "digest": "sha256:" + "0f" * 32,
        "conditions": [condition],
    }
    manifest = rollout({"metadata.name": "fraud-0042"})
    api.create(manifest, keep=True)
    assert api.patch(manifest, {"status": status}, part="status")["status"] == status


def test_a_commit_is_stored_as_it_is_rendered(api: Api) -> None:
    """Nothing of a commit is pruned or added: in a record's spec, and in a revision's list."""
    record = rollout({"metadata.name": "fraud-0043"})
    assert api.create(record, keep=True)["spec"]["commit"] == COMMIT
    few = {"certainty": "Unknown", "message": "nobody says"}
    record = rollout({"metadata.name": "fraud-0044", "spec.commit": few})
    assert api.create(record, keep=True)["spec"]["commit"] == few
    old = rollout({"metadata.name": "fraud-0045", "spec.commit": REMOVED})
    assert "commit" not in api.create(old, keep=True)["spec"]

    manifest = revision({"metadata.name": "fraud-76543210"})
    api.create(manifest, keep=True)
    commits = [
        {"rollout": "fraud-0043", "commit": COMMIT},
        {"rollout": "fraud-0044", "commit": few},
    ]
    found = api.patch(manifest, {"status": {"commits": commits}}, part="status")
    assert found["status"]["commits"] == commits


def test_managed_fields_tell_who_wrote_the_spec_last(api: Api) -> None:
    """The server's own entries are read: a tool's apply, our status, an edit by hand, a repeat."""
    manifest = deployment({"metadata.name": "writers"})
    text = json.dumps(manifest)

    def apply(manager: str, *more: str) -> Writer | None:
        apply = ("apply", "--server-side", "--force-conflicts", "--field-manager", manager)
        api.server.kubectl(*apply, *more, "-f", "-", stdin=text)
        return stored()

    def stored() -> Writer | None:
        found = api.server.kubectl(
            "get", "md", "writers", "-n", NAMESPACE, "-o", "json", "--show-managed-fields"
        )
        return last_writer(json.loads(found)["metadata"])

    first = apply("argocd-controller")
    api.patch(manifest, {"status": {"phase": "Stable"}}, part="status")
    with_status = stored()
    wait_for_the_next_second()
    repeated = apply("argocd-controller")
    annotate = ("annotate", "md", "writers", "-n", NAMESPACE, "example.com/note=1")
    api.server.kubectl(*annotate, "--field-manager", "kubectl-annotate")
    annotated = stored()
    api.patch(manifest, {"spec": {"rollout": {"retry": "by-hand"}}})
    edited = stored()

    assert first is not None
    assert first.managers == {"argocd-controller"}
    assert with_status == repeated == annotated == first
    assert edited is not None
    assert edited.at > first.at
    assert "argocd-controller" not in edited.managers


def wait_for_the_next_second() -> None:
    """Entries of managedFields have whole seconds."""
    now = time.time()
    time.sleep(1.01 - now % 1)


def test_columns_tell_the_state_at_a_glance(api: Api) -> None:
    """`kubectl get headgate` shows what serves, what is tried, and how it ended."""
    manifest = deployment({"metadata.name": "columns"})
    api.create(manifest, keep=True)
    revision_status = {"revision": "columns-01234567", "hash": "01234567", "weight": 5}
    status = {
        "phase": "Progressing",
        "reason": "Holding",
        "stable": {**revision_status, "version": "6", "proven": True},
        "canary": {**revision_status, "version": "7", "step": 0},
    }
    api.patch(manifest, {"status": status}, part="status")
    table = api.server.kubectl("get", "md", "columns", "-n", NAMESPACE, "-o", "wide")
    header, row = (line.split() for line in table.splitlines())
    assert header == [
        *("NAME", "PHASE", "STABLE", "CANARY", "WEIGHT", "READY", "ROLLEDOUT", "AGE", "REASON")
    ]
    assert row[:5] == ["columns", "Progressing", "6", "7", "5"]
    assert row[-1] == "Holding"
    assert "columns" in api.server.kubectl("get", "headgate", "-n", NAMESPACE)


def test_records_have_their_columns(api: Api) -> None:
    """Revisions and rollouts are told apart in a list."""
    for manifest, short, header in (
        (revision(), "mrev", "NAME DEPLOYMENT VERSION PHASE PROVEN AGE"),
        (rollout(), "mro", "NAME DEPLOYMENT FROM TO OUTCOME REASON AGE"),
    ):
        api.ensure(manifest)
        table = api.server.kubectl("get", short, "-n", NAMESPACE)
        assert table.splitlines()[0].split() == header.split()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("modeldeployment", "A model to serve, released by statistical evidence."),
        ("modeldeployment.spec.rollout.steps.weight", "Percent of requests that reach the canary"),
        ("modeldeployment.spec.template.spec.predictor", "KServe's predictor, verbatim."),
        ("modeldeployment.status.conditions.reason", "Why, in one word for machines"),
        ("modelrevision.spec.hash", "First eight hexadecimal digits"),
        ("modelrollout.status.signals.evidence", "E-value for harm"),
    ],
)
def test_kubectl_explains_the_fields(api: Api, path: str, words: str) -> None:
    """The documentation is where the person already is."""
    explained = " ".join(api.server.kubectl("explain", path).split())
    assert words in explained


def test_crds_can_be_applied_on_the_client_side(api: Api) -> None:
    """Plain `kubectl apply` works: it keeps a copy in an annotation, of 256 KiB at most."""
    said = api.server.kubectl("apply", "--dry-run=server", "-f", str(ROOT / "crds"))
    assert said.count("customresourcedefinition.apiextensions.k8s.io/model") == 3


def test_the_examples_are_accepted_by_server_and_parse(api: Api) -> None:
    """Who starts from an example starts from something that works."""
    examples = sorted((ROOT / "manifests" / "examples").glob("model-deployment*.yaml"))
    assert examples
    for example in examples:
        manifest = yaml.safe_load(example.read_text(encoding="utf-8"))
        stored = api.create(
            {**manifest, "metadata": {**manifest["metadata"], "namespace": NAMESPACE}}
        )
        assert parse(stored).spec == parse(manifest).spec
