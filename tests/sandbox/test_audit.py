"""The audit log: who is listened to, and what is read of what they asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import audit
from sandbox.kube import APPLY, Kube, KubeError, read_kubeconfig

if TYPE_CHECKING:
    from tests.apiserver import ApiServer

OURS, OTHERS = "headgate-system", "default"
FLEET = "/apis/headgate.dev/v1alpha1/namespaces/default/modeldeployments"


def event(**changes: object) -> dict[str, object]:
    """One line of an audit log."""
    return {
        "user": {"username": "system:serviceaccount:headgate-system:headgate"},
        "userAgent": "headgate/0.1.0",
        "verb": "patch",
        "requestURI": "/apis/headgate.dev/v1alpha1/namespaces/a/modeldeployments/b/status",
        "objectRef": {
            "resource": "modeldeployments",
            "subresource": "status",
            "namespace": "a",
            "name": "b",
            "apiGroup": "headgate.dev",
        },
        "responseStatus": {"code": 200},
        **changes,
    }


def test_a_request_is_named_as_in_rules(tmp_path: Path) -> None:
    """Verb, group and resource are read as a rule has them, a subresource after a slash."""
    (tmp_path / audit.LOG).write_text(json.dumps(event()) + "\n")

    [request] = audit.read(tmp_path)

    assert (request.verb, request.group, request.resource) == (
        "patch",
        "headgate.dev",
        "modeldeployments/status",
    )
    assert str(request) == (
        "200 patch modeldeployments/status.headgate.dev a/b"
        " by system:serviceaccount:headgate-system:headgate (headgate/0.1.0)"
    )


def test_a_path_that_is_no_resource_is_told_by_itself(tmp_path: Path) -> None:
    """Discovery asks for paths: they have no group and no resource."""
    path = event(objectRef=None, verb="get", requestURI="/apis")
    (tmp_path / audit.LOG).write_text(json.dumps(path) + "\n")

    [request] = audit.read(tmp_path)

    assert (request.group, request.resource, request.path) == ("", "", "/apis")
    assert str(request).startswith("200 get /apis by ")


def test_files_put_aside_are_read_and_a_line_half_written_is_not(tmp_path: Path) -> None:
    """A full log goes on in another file, and the server may be at the last line right now."""
    aside = tmp_path / "audit-2026-11-25T12-00-00.000.log"
    aside.write_text(json.dumps(event(verb="list")) + "\n")
    (tmp_path / audit.LOG).write_text(json.dumps(event()) + "\n" + '{"user": {"userna')

    assert sorted(request.verb for request in audit.read(tmp_path)) == ["list", "patch"]
    assert list(audit.read(tmp_path / "none")) == []


@pytest.fixture(scope="module")
def listened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ApiServer, Path]]:
    """An API server that listens to one namespace's ServiceAccounts, and its log's folder."""
    from tests.apiserver import running

    folder = tmp_path_factory.mktemp("listened")
    audit.write_policy(folder / "audit", OURS)
    with running(folder, *audit.flags(folder / "audit")) as server:
        server.kubectl("create", "namespace", OURS)
        for namespace in (OURS, OTHERS):
            server.kubectl("create", "serviceaccount", "headgate", "-n", namespace)
        yield server, folder / "audit"


@pytest.mark.apiserver
async def test_only_the_accounts_of_one_namespace_are_heard(
    listened: tuple[ApiServer, Path], tmp_path: Path
) -> None:
    """The administrator and other ServiceAccounts leave no line; ours do, refusals included."""
    from tests.runtime.cluster import kubeconfig_of

    server, folder = listened
    for namespace in (OURS, OTHERS):
        account = f"{namespace}/headgate"
        login = read_kubeconfig(kubeconfig_of(server, account, server.url, tmp_path / namespace))
        async with Kube(login, "tester") as kube:
            with pytest.raises(KubeError, match="forbidden"):
                await kube.get(FLEET)
            with pytest.raises(KubeError, match="forbidden"):
                await kube.patch(f"{FLEET}/fraud/status", {}, APPLY)

    user = f"system:serviceaccount:{OURS}:headgate"
    group, fleet = "headgate.dev", "modeldeployments"
    heard = [(*astuple(request)[:7], request.code) for request in audit.read(folder)]
    assert heard == [
        (user, "tester", "list", OTHERS, group, fleet, "", 403),
        (user, "tester", "patch", OTHERS, group, f"{fleet}/status", "fraud", 403),
    ]
