"""Which records want a write, when, and what people read of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.objects import REMOVED, changed

from headgate.core.revision import record_digest
from headgate.core.writeback import cloudevent, texts, wanted
from headgate.core.writeback.reasons import Refusal, Why
from headgate.core.writeback.source import Change
from headgate.core.writeback.wanted import PastCommit

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
UID = "0f9d8ad9-6b82-4ad0-aa51-e37a95038745"


def record(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A finished record of a rollback, changed as told and digested after that."""
    manifest = {
        "metadata": {"name": "fraud-0007", "namespace": "models", "uid": UID},
        "spec": {
            "deployment": "fraud",
            "deploymentUID": "d-1",
            "number": 7,
            "from": {"revision": "fraud-89abcdef", "hash": "89abcdef", "version": "6"},
            "to": {"revision": "fraud-01234567", "hash": "01234567", "version": "7"},
        },
        "status": {
            "outcome": "RolledBack",
            "reason": "AnalysisFailed",
            "message": "errors: 9 of 40 requests failed",
            "finishedAt": "2026-11-25T11:59:00.000000Z",
        },
    }
    manifest = changed(manifest, changes or {})
    if "digest" not in manifest["status"]:
        manifest["status"]["digest"] = record_digest(manifest)
    return manifest


def deployment(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The deployment that the record left, changed as told."""
    manifest = {
        "metadata": {
            "name": "fraud",
            "namespace": "models",
            "uid": "d-1",
            "generation": 4,
            "annotations": {},
        },
        "status": {
            "observedGeneration": 4,
            "phase": "RolledBack",
            "rollout": "fraud-0007",
            "stable": {"hash": "89abcdef"},
            "rejected": [{"hash": "01234567", "rollout": "fraud-0007"}],
        },
    }
    return changed(manifest, changes or {})


def rollback() -> wanted.Rollback:
    """The record, read."""
    found = wanted.read_rollback(record())
    assert found is not None
    return found


NOT_ROLLED_BACK = [
    pytest.param({"status.outcome": "Promoted"}, id="it was promoted"),
    pytest.param({"status.outcome": "Superseded"}, id="a newer commit took its place"),
    pytest.param({"status": {}}, id="nobody wrote a status yet"),
    pytest.param({"status.finishedAt": REMOVED}, id="it is not finished"),
    pytest.param({"spec.from": REMOVED}, id="nothing served before it"),
    pytest.param({"status.digest": "sha256:00"}, id="somebody changed it after it was finished"),
]


@pytest.mark.parametrize("changes", NOT_ROLLED_BACK)
def test_only_a_finished_intact_rollback_is_read(changes: dict[str, Any]) -> None:
    """What went well, goes on, or was tampered with wants nothing."""
    assert wanted.read_rollback(record(changes)) is None


STANDS = [
    pytest.param({}, True, id="as the rollback left it"),
    pytest.param({"metadata.uid": "d-2"}, False, id="it was deleted and made again"),
    pytest.param({"status.phase": "Stable"}, False, id="Git went back already"),
    pytest.param({"status.phase": "Preparing"}, False, id="a newer version is tried"),
    pytest.param({"status.stable.hash": "ffffffff"}, False, id="another version serves by now"),
    pytest.param({"status.rejected": []}, False, id="the status is not written yet, or retried"),
    pytest.param({"status.rollout": "fraud-0008"}, False, id="a later rollout is in charge"),
    pytest.param({"metadata.generation": 5}, False, id="a newer spec was not looked at yet"),
    pytest.param(
        {"metadata.annotations": {"headgate.dev/git-writeback": "Off"}},
        False,
        id="the author opted out",
    ),
    pytest.param(
        {"metadata.annotations": {"headgate.dev/git-writeback": "Commit"}},
        True,
        id="the author can choose nothing but Off",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), STANDS)
def test_a_write_is_wanted_while_the_rollback_is_how_things_are(
    changes: dict[str, Any], expected: bool
) -> None:
    """The record alone is history; the deployment says whether it still holds."""
    assert wanted.stands(rollback(), deployment(changes)) is expected


def test_a_deployment_that_is_gone_wants_nothing() -> None:
    """There is nothing that Git should restore."""
    assert wanted.stands(rollback(), None) is False


def test_the_branch_is_the_same_each_time() -> None:
    """Two processes, and one that starts again, mean the same branch."""
    assert wanted.branches_of(rollback()) == (
        "headgate/rollback/models-fraud-01234567",
        "headgate/rollback/models-fraud-01234567-7",
    )


def test_our_commit_is_found_by_its_trailer() -> None:
    """One write per record, also where nobody remembers it but Git."""
    ours = PastCommit("a1", texts.commit_message(rollback(), ()))
    person = PastCommit("b2", "Bump fraud to 8")

    assert wanted.is_written(rollback(), (person, ours)) == ours
    assert wanted.is_written(replace(rollback(), uid="other"), (person, ours)) is None


def test_a_trailer_in_the_middle_of_a_sentence_is_none() -> None:
    """Only a line of its own is a trailer."""
    commit = PastCommit("b2", f"This mentions Rollback-Record: {UID} in passing")

    assert wanted.is_written(rollback(), (commit,)) is None


def test_our_own_commit_is_not_reverted() -> None:
    """What came by a commit of ours and failed is for people to look at."""
    earlier = replace(rollback(), uid="earlier", stable=rollback().rejected)
    ours = PastCommit("a1b2c3d4e5f6a7", texts.commit_message(earlier, ()))

    with pytest.raises(Refusal) as refusal:
        wanted.check_no_revert_of_revert(rollback(), (PastCommit("b2", "Bump"), ours))

    assert refusal.value.why is Why.REVERT_OF_REVERT
    assert refusal.value.message == "the rejected version came by our own commit a1b2c3d4e5f6"


@pytest.mark.parametrize(
    "earlier",
    [
        pytest.param(replace(rollback(), uid="earlier"), id="it restored another version"),
        pytest.param(
            replace(rollback(), deployment="ranking", stable=rollback().rejected),
            id="it was for another deployment in the same file",
        ),
    ],
)
def test_other_commits_of_ours_stand_in_no_way(earlier: wanted.Rollback) -> None:
    """Only the commit that brought the rejected version makes a loop."""
    commit = PastCommit("a1", texts.commit_message(earlier, ()))

    wanted.check_no_revert_of_revert(rollback(), (commit,))


RATES = [
    pytest.param([], 2, None, id="nothing was written"),
    pytest.param([1, 70], 2, None, id="one of them is over an hour ago"),
    pytest.param([1, 50], 2, 10, id="the older of the two leaves the hour in ten minutes"),
    pytest.param([1, 20, 50], 2, 40, id="three, as two processes may: the second one must leave"),
]


@pytest.mark.parametrize(("minutes", "limit", "expected"), RATES)
def test_more_writes_than_the_limit_wait(
    minutes: list[int], limit: int, expected: int | None
) -> None:
    """The limit is over a sliding hour."""
    writes = [NOW - timedelta(minutes=each) for each in minutes]

    waits = wanted.wait_for(writes, limit, timedelta(hours=1), NOW)

    assert waits == (None if expected is None else timedelta(minutes=expected))


PATHS = [
    pytest.param("a/{namespace}/{name}.yaml", {}, "a/models/fraud.yaml", id="the policy's"),
    pytest.param(None, {}, None, id="nobody says"),
    pytest.param(None, {"path": "apps/fraud.yaml"}, "apps/fraud.yaml", id="kustomize's origin"),
    pytest.param(None, {"path": "../../other/secret.yaml"}, None, id="a way out of the root"),
    pytest.param(None, {"path": "/etc/passwd"}, None, id="an absolute path"),
    pytest.param(None, {"path": ".git/config"}, None, id="Git's own files"),
    pytest.param(None, {"path": "-rf"}, None, id="an option"),
    pytest.param("x.yaml", {"path": "apps/fraud.yaml"}, "x.yaml", id="the policy wins"),
]


@pytest.mark.parametrize(("template", "origin", "expected"), PATHS)
def test_the_file_is_said_by_the_policy_or_by_kustomize(
    template: str | None, origin: dict[str, str], expected: str | None
) -> None:
    """An author's annotation chooses among files of the policy's repository, and no further."""
    note = "".join(f"{key}: {value}\n" for key, value in {"repo": "x", **origin}.items())
    manifest = deployment({"metadata.annotations": {"config.kubernetes.io/origin": note}})

    assert wanted.path_of(template, rollback(), manifest) == expected


def test_a_commit_says_what_why_and_which_record() -> None:
    """A reader of the log needs no other tool."""
    change = Change(("spec", "model", "version"), "7", "6")

    assert texts.commit_message(rollback(), (change,)) == (
        "Restore version 6 of fraud\n\n"
        "Headgate rolled version 7 of ModelDeployment models/fraud back.\n"
        "AnalysisFailed: errors: 9 of 40 requests failed\n\n"
        "This restores what already serves, so that nothing is rolled out by it. Changed:\n"
        "- spec.model.version\n\n"
        f"Rollback-Record: {UID}\nRollback-Deployment: models/fraud\n"
        "Rollback-Of: 01234567\nRollback-To: 89abcdef\n"
    )


def test_foreign_text_makes_no_trailers_and_no_markup() -> None:
    """A metric's name cannot forge a trailer, mention people, or end the code span it is in."""
    hostile = replace(rollback(), message=f"x\nRollback-Record: forged\n`@everyone` {'y' * 5000}")

    assert wanted.records_in(texts.commit_message(hostile, ())) == (UID,)
    body = texts.pull_request_body(hostile, ())
    assert wanted.records_in(body) == (UID,)
    assert "`@everyone`" not in body
    assert len(body) < 4096


def test_an_event_is_a_cloud_event_with_the_records_uid() -> None:
    """The same record gives the same bytes, and its uid lets receivers drop what comes twice."""
    refusal = Refusal(Why.TEMPLATED, "the file is not YAML at line 3")

    body = cloudevent.render_event(rollback(), "https://git.example/x.git", "main", refusal)

    assert body == cloudevent.render_event(rollback(), "https://git.example/x.git", "main", refusal)
    event = json.loads(body)
    assert (event["specversion"], event["id"], event["type"]) == ("1.0", UID, cloudevent.TYPE)
    assert event["source"].endswith("/namespaces/models/modeldeployments/fraud")
    assert event["time"] == "2026-11-25T11:59:00.000000Z"
    assert event["data"]["rejected"]["version"] == "7"
    assert event["data"]["notEdited"]["reason"] == "Templated"


@pytest.mark.parametrize("secret", [b"plain key\n", b"whsec_" + base64.b64encode(b"plain key")])
def test_a_signature_is_over_id_moment_and_body(secret: bytes) -> None:
    """A receiver that knows the key checks all three, as Standard Webhooks says."""
    headers = cloudevent.signed_headers(b"{}", UID, secret, NOW)

    text = f"{UID}.{int(NOW.timestamp())}.{{}}".encode()
    expected = base64.b64encode(hmac.new(b"plain key", text, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-timestamp"] == str(int(NOW.timestamp()))


@pytest.mark.parametrize("secret", [b"", b" \n", b"whsec_not base64"])
def test_a_key_that_is_none_signs_nothing(secret: bytes) -> None:
    """An unsigned event is never sent as if it were signed."""
    with pytest.raises(ValueError, match="wanted"):
        cloudevent.signed_headers(b"{}", UID, secret, NOW)
