"""What the scenarios compare: rules as they are granted, requests as they were made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sandbox.audit import Request
from scenarios.api import MANAGER
from scenarios.installed import render
from scenarios.rights import Right, compare, granted

USER = "system:serviceaccount:headgate-system:headgate"
GET = Request(USER, "headgate/0.1.0", "get", "models", "", "pods", "a", "/api/…", 200)


def role(kind: str, namespace: str | None, *rules: dict[str, Any]) -> dict[str, Any]:
    """A Role or ClusterRole named `r`."""
    place = {"namespace": namespace} if namespace else {}
    return {"kind": kind, "metadata": {"name": "r", **place}, "rules": list(rules)}


def binding(kind: str, namespace: str | None, account: str = "headgate") -> dict[str, Any]:
    """A binding of the role named `r` of this kind to a ServiceAccount."""
    place = {"namespace": namespace} if namespace else {}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "headgate-system"}
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": "b", **place},
        "roleRef": {"kind": kind, "name": "r"},
        "subjects": [subject],
    }


PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}


@pytest.mark.parametrize(
    ("manifests", "where"),
    [
        pytest.param(
            [role("ClusterRole", None, PODS), binding("ClusterRole", None)],
            ["*"],
            id="a cluster's role for the cluster",
        ),
        pytest.param(
            [role("ClusterRole", None, PODS), binding("ClusterRole", "models")],
            ["models"],
            id="a cluster's role for one namespace",
        ),
        pytest.param(
            [role("Role", "models", PODS), binding("Role", "models")],
            ["models"],
            id="a namespace's role",
        ),
        pytest.param(
            [role("Role", "models", PODS), binding("Role", "models", "other")],
            [],
            id="another account's role",
        ),
        pytest.param([role("Role", "models", PODS)], [], id="a role that nobody has"),
    ],
)
def test_a_right_is_what_a_binding_grants(
    manifests: list[dict[str, Any]], where: list[str]
) -> None:
    """Each verb of each rule counts by itself, where the binding is."""
    expected = {Right(each, "", "pods", verb) for each in where for verb in ("get", "list")}

    assert granted(manifests, "headgate") == expected


@pytest.mark.parametrize(
    ("requests", "missing", "unused", "refused"),
    [
        pytest.param([GET], [], ["list"], 0, id="what was never done is unused"),
        pytest.param([GET, replace(GET, verb="list")], [], [], 0, id="all was used"),
        pytest.param(
            [GET, replace(GET, verb="list"), replace(GET, verb="delete")],
            ["delete"],
            [],
            0,
            id="what no rule has is missing",
        ),
        pytest.param(
            [replace(GET, code=403), replace(GET, verb="list")],
            [],
            ["get"],
            1,
            id="what was refused was not used",
        ),
        pytest.param(
            [replace(GET, namespace="other"), replace(GET, verb="list")],
            ["get"],
            ["get"],
            0,
            id="another namespace is another right",
        ),
        pytest.param(
            [GET, replace(GET, verb="list"), replace(GET, agent=MANAGER, verb="delete", code=403)],
            [],
            [],
            0,
            id="what a test tried with the operator's token does not count",
        ),
        pytest.param(
            [GET, replace(GET, verb="list"), replace(GET, user="system:admin", verb="delete")],
            [],
            [],
            0,
            id="what others did does not count",
        ),
        pytest.param(
            [GET, replace(GET, verb="list"), replace(GET, resource="", path="/apis")],
            [],
            [],
            0,
            id="discovery needs no right of ours",
        ),
    ],
)
def test_both_sets_are_compared(
    requests: list[Request], missing: list[str], unused: list[str], refused: int
) -> None:
    """What lacks, what is too much and what was refused are three lists."""
    manifests = [role("Role", "models", PODS), binding("Role", "models")]

    found = compare(manifests, requests, "headgate")

    assert [right.verb for right in found.missing] == missing
    assert [right.verb for right in found.unused] == unused
    assert len(found.refused) == refused


def test_both_sets_are_shown_side_by_side() -> None:
    """A person reads one line for each resource."""
    manifests = [role("Role", "models", PODS), binding("Role", "models")]

    assert compare(manifests, [GET], "headgate").lines() == ["  pods: granted get, list; used get"]


def test_an_overlay_is_applied_without_pods_and_for_the_scenarios() -> None:
    """Its namespace is the scenarios', and the ServiceAccount may have another name."""
    account = {
        "kind": "ServiceAccount",
        "metadata": {"name": "headgate", "namespace": "headgate-system"},
    }
    manifests = [
        {"kind": "Deployment", "metadata": {"name": "headgate"}},
        account,
        role("Role", "models", PODS),
        binding("Role", "models"),
        None,
    ]

    applied = render(iter(manifests), "mine")

    assert [each["kind"] for each in applied] == ["ServiceAccount", "Role", "RoleBinding"]
    assert applied[0]["metadata"]["name"] == "mine"
    assert {right.namespace for right in granted(applied, "mine")} == {"scenarios"}
