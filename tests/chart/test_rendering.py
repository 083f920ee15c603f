"""What the chart renders for values, and what it says to wrong ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.chart.rendering import (
    CHART,
    HelmError,
    containers,
    helm,
    objects,
    of_kind,
    template,
    variables,
)

from headgate.collector.settings import SETTINGS
from headgate.runtime.settings import read as read_settings

Values = dict[str, Any]
DIGEST = "sha256:" + "0f" * 32

ALL_PARTS: Values = {
    "collector": {"enabled": True},
    "writeback": {"enabled": True, "hosts": ["git.example.com"]},
    "policies": {"enabled": True},
    "dashboards": {"enabled": True},
    "alerts": {"enabled": True},
    "metrics": {"serviceMonitor": {"enabled": True}},
    "networkPolicy": {"enabled": True},
    "replicas": 2,
    "trackSecrets": True,
    "commits": {"argocd": {"namespaces": ["gitops"]}, "flux": {"namespaces": ["gitops"]}},
}


def test_helm_has_nothing_to_complain_about() -> None:
    """`helm lint --strict` passes with the defaults and with every part on."""
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))
    lint = ("lint", "--strict", str(CHART), "--values", "-")
    assert "0 chart(s) failed" in helm(*lint, stdin=json.dumps(ALL_PARTS))


WRONG = [
    pytest.param(
        {"replica": 2}, "additional properties 'replica' not allowed", id="a typing error"
    ),
    pytest.param(
        {"collector": {"enabeld": True}},
        "at '/collector': additional properties 'enabeld' not allowed",
        id="a typing error further down",
    ),
    pytest.param({"replicas": 3}, "at '/replicas': maximum: got 3, want 2", id="too many replicas"),
    pytest.param(
        {"replicas": "two"}, "at '/replicas': got string, want integer", id="a word for a number"
    ),
    pytest.param(
        {"image": {"digest": "sha256:1234"}}, "at '/image/digest'", id="a digest cut short"
    ),
    pytest.param(
        {"prometheus": {"url": "prometheus:9090"}}, "at '/prometheus/url'", id="no scheme"
    ),
    pytest.param(
        {"prometheus": {"url": "http://me:secret@prometheus:9090"}},
        "at '/prometheus/url'",
        id="a password in an address",
    ),
    pytest.param(
        {"settings": {"resink": "2m"}},
        "at '/settings': additional properties 'resink' not allowed",
        id="a setting that does not exist",
    ),
    pytest.param(
        {"settings": {"prometheusHeader": "Authorization: Bearer x"}},
        "at '/settings': additional properties 'prometheusHeader' not allowed",
        id="a secret among the settings",
    ),
    pytest.param({"namespaces": ["Models"]}, "at '/namespaces/0'", id="no name of a namespace"),
    pytest.param(
        {"namespaces": ["a", "a"]}, "at '/namespaces': items at 0 and 1 are equal", id="one twice"
    ),
    pytest.param(
        {"policies": {"exemptUsers": ["x' || true || '"]}},
        "at '/policies/exemptUsers/0'",
        id="an expression for a user",
    ),
    pytest.param(
        {"gatewayNamespaces": ["gateways"]},
        "gatewayNamespaces: wanted only with namespaces",
        id="Gateways of some namespaces, models of all",
    ),
    pytest.param(
        {"namespaces": ["models"], "writeback": {"enabled": True}},
        "writeback.enabled: wanted without namespaces",
        id="policies of the cluster, rights of some namespaces",
    ),
    pytest.param(
        {"prometheus": {"secret": {"bearerTokenKey": "token"}}},
        "prometheus.secret.name: wanted with a key of it",
        id="a key of no Secret",
    ),
    pytest.param(
        {"prometheus": {"secret": {"name": "p", "userKey": "user"}}},
        "prometheus.secret: wanted userKey and passwordKey, or none",
        id="a user without a password",
    ),
    pytest.param(
        {
            "prometheus": {
                "secret": {"name": "p", "userKey": "u", "passwordKey": "p", "bearerTokenKey": "t"}
            }
        },
        "prometheus.secret: wanted bearerTokenKey or userKey, found both",
        id="two ways to log in",
    ),
    pytest.param(
        {"prometheus": {"secret": {"name": "p", "certKey": "tls.crt"}}},
        "prometheus.secret: wanted certKey and keyKey, or none",
        id="a certificate without its key",
    ),
]


@pytest.mark.parametrize(("values", "words"), WRONG)
def test_a_wrong_value_is_refused_and_named(values: Values, words: str) -> None:
    """Before anything reaches a cluster, Helm says which value is wrong and what was wanted."""
    with pytest.raises(HelmError) as error:
        template(values)
    assert words in str(error.value)


IMAGES = [
    pytest.param({}, "headgate/headgate:0.1.0", id="the chart's version"),
    pytest.param({"tag": "1.2.3"}, "headgate/headgate:1.2.3", id="a tag"),
    pytest.param({"digest": DIGEST}, f"headgate/headgate@{DIGEST}", id="a digest"),
    pytest.param(
        {"repository": "mirror.example/h", "tag": "1", "digest": DIGEST},
        f"mirror.example/h@{DIGEST}",
        id="a digest wins over a tag",
    ),
]


@pytest.mark.parametrize(("image", "wanted"), IMAGES)
def test_the_image_is_named_by_tag_or_digest(image: Values, wanted: str) -> None:
    """All parts run the same image."""
    rendered = template({"image": image, "collector": {"enabled": True}})

    assert {container["image"] for container in containers(rendered).values()} == {wanted}


def test_two_replicas_share_a_lease() -> None:
    """A second one makes the Lease, its rights, the budget and a rolling update come by itself."""
    one, two = template({}), template({"replicas": 2})
    [deployment] = of_kind(two, "Deployment")

    assert variables(two)["HEADGATE_LEADER_ELECT"] == "true"
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    [budget] = of_kind(two, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    [role] = of_kind(two, "Role")
    assert {rule["resources"][0] for rule in role["rules"]} == {"leases"}

    assert "HEADGATE_LEADER_ELECT" not in variables(one)
    assert of_kind(one, "Deployment")[0]["spec"]["strategy"] == {"type": "Recreate"}
    assert of_kind(one, "PodDisruptionBudget", "Role") == []


def test_one_replica_with_a_lease_rolls() -> None:
    """With a Lease the next one may start before the last one ends."""
    rendered = template({"leaderElection": {"enabled": True}})

    assert variables(rendered)["HEADGATE_LEADER_ELECT"] == "true"
    assert of_kind(rendered, "Deployment")[0]["spec"]["strategy"]["type"] == "RollingUpdate"
    assert of_kind(rendered, "PodDisruptionBudget") == []


def test_some_namespaces_need_no_right_in_the_cluster() -> None:
    """With every part on, no ClusterRole and no binding of one is rendered."""
    values = {
        **ALL_PARTS,
        "policies": {"enabled": False},
        "writeback": {"enabled": False},
        "namespaces": ["team-a", "team-b"],
        "gatewayNamespaces": ["gateways"],
    }
    rendered = template(values)
    cluster_wide = [each for each in objects(rendered) if "namespace" not in each["metadata"]]
    roles = {
        (each["metadata"]["namespace"], each["metadata"]["name"])
        for each in of_kind(rendered, "Role")
    }
    bound = {
        (each["metadata"]["namespace"], each["roleRef"]["name"])
        for each in of_kind(rendered, "RoleBinding")
    }

    assert {each["kind"] for each in cluster_wide} == {"CustomResourceDefinition"}
    assert bound == roles
    assert roles == {
        *(
            (space, f"headgate{part}")
            for space in ("team-a", "team-b")
            for part in ("", "-secrets", "-collector")
        ),
        ("gateways", "headgate-gateways"),
        ("gitops", "headgate-commits"),
        ("headgate-system", "headgate-leader"),
    }
    assert variables(rendered)["HEADGATE_NAMESPACES"] == "team-a,team-b"
    assert variables(rendered, "collector")["HEADGATE_COLLECTOR_NAMESPACES"] == "team-a,team-b"


def test_no_role_grants_more_than_it_names() -> None:
    """No wildcard, no impersonation, no right to grant rights, with every part on."""
    for role in of_kind(template(ALL_PARTS), "Role", "ClusterRole"):
        for rule in role["rules"]:
            said = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not said & {"*", "impersonate", "bind", "escalate", "deletecollection"}
            assert "rbac.authorization.k8s.io" not in rule["apiGroups"]


def test_settings_become_variables_that_the_operator_reads() -> None:
    """Numbers, switches, durations and lists are written as the operator wants them."""
    settings = {
        "resync": "2m",
        "workers": 32,
        "metricPack": "istio",
        "profileHost": ["a.example.com", "b.example.com:8443"],
        "prometheusInsecureSkipVerify": True,
    }
    environment = variables(template({"settings": settings, "namespaces": ["a", "b"]}))
    found = read_settings({}, environment)

    assert found.resync.total_seconds() == 120
    assert found.workers == 32
    assert found.metric_pack == "istio"
    assert found.profile_host == ("a.example.com:443", "b.example.com:8443")
    assert found.prometheus_insecure_skip_verify is True
    assert found.namespaces == ("a", "b")


def test_settings_of_the_collector_become_its_variables() -> None:
    """A large number is not written as a power of ten."""
    values = {"collector": {"enabled": True, "settings": {"maxBody": 2097152, "logLevel": "debug"}}}
    found = variables(template(values), "collector")

    assert found == {
        "HEADGATE_COLLECTOR_MAX_BODY": "2097152",
        "HEADGATE_COLLECTOR_LOG_LEVEL": "debug",
    }
    assert set(found) <= {setting.variable for setting in SETTINGS}


def test_credentials_come_from_a_secret() -> None:
    """Values hold names of keys; files and variables lead to the Secret's contents."""
    secret = {"name": "prom", "bearerTokenKey": "token", "caKey": "ca.crt", "headerKey": "headers"}
    rendered = template({"prometheus": {"secret": secret}})
    found = variables(rendered)
    [deployment] = of_kind(rendered, "Deployment")
    volumes = {each["name"]: each for each in deployment["spec"]["template"]["spec"]["volumes"]}
    mounts = {each["name"]: each for each in containers(rendered)["operator"]["volumeMounts"]}

    assert volumes["prometheus"]["secret"] == {"secretName": "prom", "defaultMode": 0o440}
    folder = mounts["prometheus"]["mountPath"]
    assert mounts["prometheus"]["readOnly"] is True
    assert found["HEADGATE_PROMETHEUS_BEARER_TOKEN_FILE"] == f"{folder}/token"
    assert found["HEADGATE_PROMETHEUS_CA_FILE"] == f"{folder}/ca.crt"
    assert found["HEADGATE_PROMETHEUS_HEADER"] == {
        "secretKeyRef": {"name": "prom", "key": "headers"}
    }


def test_what_a_cluster_wants_of_pods_reaches_them() -> None:
    """Placement, labels, pull secrets and extras of each part are its own."""
    placement = {
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"pool": "infra"},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 2}],
    }
    extras = {
        "podLabels": {"team": "ml"},
        "podAnnotations": {"a": "b"},
        "extraEnv": [{"name": "TZ", "value": "UTC"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/ca"}],
    }
    values = {
        **placement,
        **extras,
        "collector": {"enabled": True},
        "imagePullSecrets": [{"name": "mirror"}],
        "commonLabels": {"owner": "platform"},
    }
    rendered = template(values)
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]
        for each in of_kind(rendered, "Deployment")
    }
    operator, collector = pods["headgate"], pods["headgate-collector"]

    assert {key: operator["spec"][key] for key in placement} == placement
    assert operator["metadata"]["labels"]["team"] == "ml"
    assert operator["metadata"]["annotations"] == {"a": "b"}
    assert variables(rendered)["TZ"] == "UTC"
    assert operator["spec"]["volumes"][-1]["name"] == "ca"
    assert containers(rendered)["operator"]["volumeMounts"][-1]["mountPath"] == "/ca"
    for pod in (operator, collector):
        assert pod["spec"]["imagePullSecrets"] == [{"name": "mirror"}]
    assert not set(placement) - {"topologySpreadConstraints"} & set(collector["spec"])
    assert all(each["metadata"]["labels"]["owner"] == "platform" for each in objects(rendered))


def test_a_network_policy_lets_through_what_is_needed() -> None:
    """DNS, API server, Prometheus and models out; scrapes in. Nothing else."""
    peer = {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    values = {
        "networkPolicy": {
            "enabled": True,
            "metrics": {"from": [peer]},
            "prometheus": {"to": [peer], "ports": [9091]},
        }
    }
    [policy] = of_kind(template(values), "NetworkPolicy")
    ports = [tuple(port["port"] for port in rule["ports"]) for rule in policy["spec"]["egress"]]

    assert policy["spec"]["ingress"] == [{"ports": [{"port": "http"}], "from": [peer]}]
    assert ports == [(53, 53), (443, 6443), (9091,), (80, 8080)]
    assert policy["spec"]["egress"][2]["to"] == [peer]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


NAMES = [
    pytest.param("headgate", "headgate", id="the release is called headgate"),
    pytest.param("my-headgate", "my-headgate", id="headgate is in its name"),
    pytest.param("gate", "gate-headgate", id="another name"),
]


@pytest.mark.parametrize(("release", "wanted"), NAMES)
def test_names_follow_the_release(release: str, wanted: str) -> None:
    """Two releases in two namespaces do not collide, and each Service finds its own pods."""
    where = ("--namespace", "elsewhere", "--set", "replicas=2")
    rendered = helm("template", release, str(CHART), *where)
    [role] = of_kind(rendered, "Role")
    [deployment] = of_kind(rendered, "Deployment")
    [service] = of_kind(rendered, "Service")
    [binding] = of_kind(rendered, "ClusterRoleBinding")

    assert deployment["metadata"]["name"] == binding["metadata"]["name"] == wanted
    assert binding["subjects"][0]["namespace"] == "elsewhere"
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert service["spec"]["selector"]["app.kubernetes.io/instance"] == release
    assert role["rules"][1]["resourceNames"] == [wanted]
    assert read_settings({}, variables(rendered)).lease_name == wanted


def test_the_write_back_reads_the_secrets_that_are_named() -> None:
    """Without a name there is no rule at all, and never one for every Secret."""
    for names in (["git", "webhook"], []):
        rendered = template({"writeback": {"enabled": True, "secrets": names}})
        rules = [
            rule for role in of_kind(rendered, "Role", "ClusterRole") for rule in role["rules"]
        ]
        found = [rule.get("resourceNames") for rule in rules if "secrets" in rule["resources"]]
        assert found == ([names] if names else [])
