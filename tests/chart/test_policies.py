"""The admission policies stop people, and neither Headgate, KServe nor the cluster itself."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.api.objects import deployment, revision, rollout
from tests.api.test_release_policy import POLICY
from tests.chart.conftest import forget_kinds
from tests.chart.rendering import ROOT, template

from headgate.adapters.kserve import MANAGED_BY_LABEL, own_labels, owner_reference
from sandbox.controlplane import KubectlError
from sandbox.processes import wait_until

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

pytestmark = pytest.mark.apiserver

PATIENCE_SECONDS = 30
OPERATOR = ("--as=system:serviceaccount:headgate-system:headgate",)
WRITEBACK = ("--as=system:serviceaccount:headgate-system:headgate-writeback",)
KSERVE = ("--as=system:serviceaccount:kserve:kserve-controller-manager",)
PERSON = ("--as=alice", "--as-group=system:authenticated", "--as-group=platform")
BACKUP = ("--as=system:serviceaccount:velero:velero",)
GARBAGE_COLLECTOR = ("--as=system:serviceaccount:kube-system:generic-garbage-collector",)
NAMESPACE_CONTROLLER = ("--as=system:serviceaccount:kube-system:namespace-controller",)
ADMINISTRATOR: tuple[str, ...] = ()

OWNER = {"apiVersion": "headgate.dev/v1alpha1", "kind": "ModelDeployment"}
SERVED: dict[str, Any] = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {
        "name": "fraud-0f0f0f0f",
        "namespace": "models",
        "labels": own_labels("fraud"),
        "ownerReferences": [
            owner_reference({**OWNER, "metadata": {"name": "fraud", "uid": "0f0f0f0f"}})
        ],
    },
    "spec": {"predictor": {}},
}
RELEASED = {
    **SERVED,
    "metadata": {"name": "left", "namespace": "models", "labels": own_labels("fraud")},
}
FOREIGN_SERVICE = {**SERVED, "metadata": {"name": "own", "namespace": "models"}}


@pytest.fixture(scope="module")
def guarded(bare: ApiServer) -> Iterator[ApiServer]:
    """The API server with everybody allowed everything by RBAC, so that only policies refuse."""
    forget_kinds(bare)
    bare.apply_crds(ROOT / "crds")
    everybody = ("--clusterrole=cluster-admin", "--group=system:authenticated")
    bare.kubectl("create", "clusterrolebinding", "everybody", *everybody)
    values = {"policies": {"enabled": True, "exemptUsers": [BACKUP[0].removeprefix("--as=")]}}
    policies = template(
        {**values, "crds": {"enabled": False}}, "--show-only", "templates/policies.yaml"
    )
    objects = [deployment(), revision(), rollout(), POLICY, SERVED, RELEASED, FOREIGN_SERVICE]
    for manifest in objects:
        bare.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    bare.control_plane.apply("-f", "-", stdin=policies)
    assert wait_until(lambda: _is_refused(bare, PERSON, _create(revision())), PATIENCE_SECONDS)
    assert wait_until(lambda: _is_refused(bare, PERSON, _create(SERVED)), PATIENCE_SECONDS)
    yield bare
    bare.kubectl("delete", "-f", "-", stdin=policies)
    bare.kubectl("delete", "clusterrolebinding", "everybody")
    with contextlib.suppress(KubectlError):
        bare.kubectl("delete", "inferenceservices", "-n", "models", "--all")
    forget_kinds(bare)


Call = tuple[list[str], str | None]


def _create(manifest: dict[str, Any]) -> Call:
    """Create another object like this one."""
    named = {**manifest, "metadata": {**manifest["metadata"], "name": "another-0e0e0e0e"}}
    return ["create", "-f", "-"], json.dumps(named)


def _patch(manifest: dict[str, Any], change: dict[str, Any], *more: str) -> Call:
    metadata = manifest["metadata"]
    where = ["-n", metadata["namespace"]] if "namespace" in metadata else []
    what = [manifest["kind"].lower(), metadata["name"], *where]
    return ["patch", *what, "--type=merge", "-p", json.dumps(change), *more], None


def _delete(manifest: dict[str, Any]) -> Call:
    metadata = manifest["metadata"]
    return ["delete", manifest["kind"].lower(), metadata["name"], "-n", metadata["namespace"]], None


def _refusal(server: ApiServer, who: tuple[str, ...], call: Call) -> str:
    """What the server says to a dry run; "" if it would do it."""
    words, stdin = call
    try:
        server.kubectl(*words, "--dry-run=server", *who, stdin=stdin)
    except KubectlError as error:
        return str(error)
    return ""


def _is_refused(server: ApiServer, who: tuple[str, ...], call: Call) -> bool:
    return bool(_refusal(server, who, call))


STATUS = {"status": {"observedGeneration": 1}}
NOTE = {"metadata": {"annotations": {"note": "x"}}}
FREED = {"metadata": {"labels": {MANAGED_BY_LABEL: None}}}
OWNERLESS: dict[str, Any] = {"metadata": {"ownerReferences": None}}
OF_STATUS = "--subresource=status"

RECORDS = ": wanted a write by Headgate, found one by alice"
REVISION = f"modelrevisions models/{revision()['metadata']['name']}{RECORDS}"
ROLLOUT = f"modelrollouts models/{rollout()['metadata']['name']}{RECORDS}"
SERVICES = ": wanted a change by Headgate or KServe, found one by alice: change the ModelDeployment"
SERVICE = f"inferenceservices models/fraud-0f0f0f0f{SERVICES}"

CASES = [
    pytest.param(
        PERSON,
        _create(revision()),
        f"modelrevisions models/another-0e0e0e0e{RECORDS}",
        id="a person makes up a revision",
    ),
    pytest.param(PERSON, _create(rollout()), RECORDS, id="a person makes up a record"),
    pytest.param(PERSON, _patch(rollout(), NOTE), ROLLOUT, id="a person edits a record"),
    pytest.param(
        PERSON,
        _patch(revision(), STATUS, OF_STATUS),
        REVISION.replace(" models", "/status models"),
        id="a person lifts a quarantine",
    ),
    pytest.param(
        PERSON, _patch(deployment(), STATUS, OF_STATUS), RECORDS, id="a person claims a status"
    ),
    pytest.param(
        PERSON,
        _patch(POLICY, STATUS, OF_STATUS),
        f"releasepolicies/status /{POLICY['metadata']['name']}{RECORDS}",
        id="a person claims a write in Git",
    ),
    pytest.param(WRITEBACK, _patch(POLICY, STATUS, OF_STATUS), "", id="write-back tells"),
    pytest.param(
        WRITEBACK,
        _patch(rollout(), STATUS, OF_STATUS),
        "found one by system:serviceaccount:headgate-system:headgate-writeback",
        id="the write-back changes nothing of the operator's",
    ),
    pytest.param(PERSON, _patch(POLICY, NOTE), "", id="the platform team sets its policy"),
    pytest.param(PERSON, _patch(deployment(), NOTE), "", id="a person changes what is theirs"),
    pytest.param(PERSON, _create(deployment()), "", id="a person wants a model"),
    pytest.param(PERSON, _delete(rollout()), "", id="RBAC alone says who deletes a record"),
    pytest.param(OPERATOR, _create(revision()), "", id="Headgate makes a revision"),
    pytest.param(OPERATOR, _create(rollout()), "", id="Headgate makes a record"),
    pytest.param(OPERATOR, _patch(deployment(), STATUS, OF_STATUS), "", id="Headgate tells"),
    pytest.param(BACKUP, _create(revision()), "", id="a backup is restored"),
    pytest.param(ADMINISTRATOR, _create(rollout()), "", id="an administrator mends something"),
    pytest.param(GARBAGE_COLLECTOR, _patch(revision(), OWNERLESS), "", id="an orphan is let go"),
    pytest.param(PERSON, _create(SERVED), SERVICES, id="a person makes up a service of ours"),
    pytest.param(PERSON, _patch(SERVED, NOTE), SERVICE, id="a person edits what serves"),
    pytest.param(PERSON, _patch(SERVED, FREED), SERVICE, id="a person takes our label off"),
    pytest.param(PERSON, _delete(SERVED), SERVICE, id="a person deletes what serves"),
    pytest.param(PERSON, _patch(SERVED, OWNERLESS), SERVICE, id="a person takes it from its owner"),
    pytest.param(GARBAGE_COLLECTOR, _patch(SERVED, OWNERLESS), "", id="an orphan is left serving"),
    pytest.param(PERSON, _patch(RELEASED, NOTE), "", id="what was released is its owner's again"),
    pytest.param(PERSON, _delete(RELEASED), "", id="and may go"),
    pytest.param(PERSON, _patch(FOREIGN_SERVICE, NOTE), "", id="another service is not ours"),
    pytest.param(PERSON, _delete(FOREIGN_SERVICE), "", id="and may be deleted"),
    pytest.param(OPERATOR, _patch(SERVED, NOTE), "", id="Headgate changes what serves"),
    pytest.param(OPERATOR, _delete(SERVED), "", id="Headgate ends a revision"),
    pytest.param(KSERVE, _patch(SERVED, NOTE), "", id="KServe sets its finalizer"),
    pytest.param(GARBAGE_COLLECTOR, _delete(SERVED), "", id="children go with their owner"),
    pytest.param(NAMESPACE_CONTROLLER, _delete(SERVED), "", id="a namespace is deleted"),
    pytest.param(ADMINISTRATOR, _delete(SERVED), "", id="an administrator ends it by force"),
]


@pytest.mark.parametrize(("who", "call", "words"), CASES)
def test_who_may_write_what(
    guarded: ApiServer, who: tuple[str, ...], call: Call, words: str
) -> None:
    """The real API server decides, and says what was wanted and who asked."""
    said = _refusal(guarded, who, call)

    assert words in said
    assert bool(said) is bool(words)
