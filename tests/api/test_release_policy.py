"""What the real API server makes of ReleasePolicies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config
from tests.api.objects import REMOVED, changed
from tests.apiserver import ApiServer

from headgate.api.accept import read
from headgate.api.release_policy import ReleasePolicy

pytestmark = pytest.mark.apiserver

POLICY: dict[str, Any] = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "ReleasePolicy",
    "metadata": {"name": "models"},
    "spec": {
        "namespaces": ["models", "ranking"],
        "gitWriteback": {
            "mode": "PullRequest",
            "repository": "https://git.example.com/platform/models.git",
            "branch": "release/main",
            "path": "teams/{namespace}/{name}.yaml",
            "forge": "Gitea",
            "apiUrl": "https://git.example.com/api/v1",
            "credentials": {"name": "git-token", "key": "token"},
            "webhook": {
                "url": "https://ci.example.com/hooks/headgate",
                "secretRef": {"name": "webhook", "key": "secret"},
            },
            "rateLimit": {"writes": 5, "per": "2h"},
            "committer": {"name": "Release Bot", "email": "1+bot[bot]@users.example.com"},
        },
    },
}
AT = "spec.gitWriteback"


@pytest.fixture(scope="module")
def objects(apiserver: ApiServer) -> Iterator[client.CustomObjectsApi]:
    """Give a client."""
    with config.new_client_from_config(str(apiserver.kubeconfig)) as login:
        yield client.CustomObjectsApi(login)


def create(objects: client.CustomObjectsApi, changes: dict[str, Any]) -> dict[str, Any]:
    """Create a policy with strict fields, as a dry run."""
    place = ("headgate.dev", "v1alpha1", "releasepolicies")
    made = objects.create_cluster_custom_object(
        *place, changed(POLICY, changes), field_validation="Strict", dry_run="All"
    )
    return dict(made)


def test_a_policy_with_every_field_is_stored_and_read_unchanged(
    objects: client.CustomObjectsApi,
) -> None:
    """What the server keeps is what our own model reads and writes."""
    stored = create(objects, {})

    assert stored["spec"] == POLICY["spec"]
    assert read(ReleasePolicy, stored).spec.manifest() == POLICY["spec"]
    assert stored["status"] == {"observedGeneration": -1}


def test_a_policy_that_says_nothing_is_off(objects: client.CustomObjectsApi) -> None:
    """Write-back is chosen, never fallen into; server and model agree on the defaults."""
    stored = create(objects, {AT: REMOVED})

    assert stored["spec"][AT.partition(".")[2]]["mode"] == "Off"
    assert read(ReleasePolicy, stored).spec.manifest() == stored["spec"]


WRONG = [
    pytest.param({f"{AT}.repository": REMOVED}, "wanted a repository", id="no repository"),
    pytest.param({f"{AT}.forge": REMOVED, f"{AT}.apiUrl": REMOVED}, "a forge", id="no forge"),
    pytest.param(
        {f"{AT}.mode": "Notify", f"{AT}.webhook": REMOVED}, "wanted a webhook", id="no webhook"
    ),
    pytest.param(
        {f"{AT}.forge": REMOVED, f"{AT}.mode": "Commit"}, "apiUrl with a forge only", id="an API"
    ),
    pytest.param(
        {f"{AT}.sign": {"name": "key", "key": "key"}}, "sign without a forge only", id="a key"
    ),
    pytest.param({"spec.namespaces": []}, "spec.namespaces", id="no namespaces"),
    pytest.param({"spec.namespaces": ["*"]}, "spec.namespaces[0]", id="all namespaces"),
    pytest.param(
        {f"{AT}.repository": "https://bot:t0ken@git.example.com/x"}, "repository", id="a token"
    ),
    pytest.param({f"{AT}.repository": "ssh://git@git.example.com/x"}, "repository", id="ssh"),
    pytest.param({f"{AT}.repository": "file:///etc"}, "repository", id="a local file"),
    pytest.param({f"{AT}.path": "../secrets.yaml"}, "path", id="a path that climbs"),
    pytest.param({f"{AT}.path": "a/.git/config"}, "path", id="a path into Git's own files"),
    pytest.param({f"{AT}.path": "/etc/x"}, "path", id="an absolute path"),
    pytest.param({f"{AT}.branch": "--upload-pack=x"}, "branch", id="an option as a branch"),
    pytest.param({f"{AT}.branch": "a b"}, "branch", id="a branch with a blank"),
    pytest.param({f"{AT}.committer.email": "x>\nGpg: y"}, "email", id="an address that escapes"),
    pytest.param({f"{AT}.rateLimit.writes": 0}, "writes", id="no writes at all"),
    pytest.param({f"{AT}.rateLimit.per": "1s"}, "per", id="a limit per second"),
    pytest.param({f"{AT}.mode": "Force"}, "mode", id="another mode"),
]


@pytest.mark.parametrize(("changes", "field"), WRONG)
def test_a_wrong_policy_is_refused_and_the_field_named(
    objects: client.CustomObjectsApi, changes: dict[str, Any], field: str
) -> None:
    """Addresses, paths and branches can hold nothing that means something to Git or a shell."""
    with pytest.raises(client.ApiException) as error:
        create(objects, changes)

    assert (error.value.status, field in error.value.body) == (422, True), error.value.body
