"""
Writes charts/headgate/values.schema.json and the table of values in docs/install.md.

Owns what each value of the chart may be and what it means; the defaults are values.yaml's. Names of
settings come from the operator and the collector themselves: `make chart` after a change of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from headgate.collector.settings import SETTINGS
from headgate.runtime.settings import entries
from headgate.writeback.settings import SETTINGS as OF_WRITEBACK

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "charts" / "headgate"
PAGE = ROOT / "docs" / "install.md"
BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->\n"

Schema = dict[str, Any]
Row = tuple[Schema, str]

OF_THE_CHART = frozenset(
    {
        *("kubeconfig", "namespaces", "prometheus_url", "collector_url", "track_secrets"),
        *(
            "lease_name",
            "lease_namespace",
            "leader_elect",
            "argocd_namespaces",
            "flux_namespaces",
            "http_host",
            "http_port",
        ),
        *("prometheus_bearer_token_file", "prometheus_password_file", "prometheus_user"),
    }
)
"""Settings that the chart derives from other values, so that rights, ports and Secrets fit."""

SWITCH: Schema = {"type": "boolean"}
OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
ANYTHING: Schema = {"type": "object"}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
NAME: Schema = {
    "type": "string",
    "pattern": r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$",
    "maxLength": 253,
}
KEY: Schema = {"type": "string", "pattern": r"^[-._a-zA-Z0-9]*$", "maxLength": 253}
TAG: Schema = {"type": "string", "pattern": r"^([\w][\w.-]{0,127})?$"}
DIGEST: Schema = {"type": "string", "pattern": r"^(sha256:[0-9a-f]{64})?$"}
NAMESPACES: Schema = {
    "type": "array",
    "items": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63},
    "uniqueItems": True,
}
PORTS: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1, "maximum": 65535},
    "minItems": 1,
}
SCALAR: Schema = {
    "type": ["string", "number", "boolean", "array"],
    "items": {"type": ["string", "number"]},
}


def camel(name: str) -> str:
    """Return the name of a setting as a value has it: `prometheus_timeout`, `prometheusTimeout`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def settings_of(names: Iterable[str]) -> Schema:
    """Return the schema of a map whose keys are settings."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {camel(name): SCALAR for name in names},
    }


def operator_settings() -> list[str]:
    """Names of the settings that may be given freely: none that holds a secret."""
    free = [each.name for each in entries() if not each.setting.secret]
    return [name for name in free if name not in OF_THE_CHART]


def collector_settings() -> list[str]:
    """As for the operator."""
    return [
        each.name
        for each in SETTINGS
        if each.name not in ("kubeconfig", "namespaces", "host", "port")
    ]


def writeback_settings() -> list[str]:
    """As for the operator."""
    taken = ("kubeconfig", "namespace", "hosts", "http_host", "http_port")
    return [each.name for each in OF_WRITEBACK if each.name not in taken]


def _pod(prefix: str, whose: str) -> dict[str, Row]:
    """Values that each part with pods has."""
    rows: dict[str, Row] = {
        "resources": (ANYTHING, f"requests and limits of {whose}"),
        "priorityClassName": (NAME, "the pods' PriorityClass"),
        "nodeSelector": (LABELS, "labels that the pods' nodes must have"),
        "tolerations": (OBJECTS, "taints that the pods tolerate"),
        "affinity": (ANYTHING, "the pods' affinity"),
        "topologySpreadConstraints": (
            OBJECTS,
            "how several replicas spread; without it over nodes, where there is room",
        ),
        "podLabels": (LABELS, "further labels of the pods"),
        "podAnnotations": (LABELS, "annotations of the pods"),
        "extraEnv": (OBJECTS, "further variables, as in a container's `env`"),
        "extraVolumes": (OBJECTS, "further volumes of the pods"),
        "extraVolumeMounts": (OBJECTS, "where they are mounted"),
    }
    return {prefix + name: row for name, row in rows.items()}


def _peers(name: str, whose: str) -> dict[str, Row]:
    return {
        f"networkPolicy.{name}.to": (OBJECTS, f"NetworkPolicyPeers of {whose}; empty: anywhere"),
        f"networkPolicy.{name}.ports": (PORTS, f"ports of the pods of {whose}"),
    }


ROWS: Mapping[str, Row] = {
    "nameOverride": (NAME, "takes the place of `headgate` in names and labels"),
    "fullnameOverride": (NAME, "the name of everything, instead of one made from the release's"),
    "commonLabels": (LABELS, "further labels of every object"),
    "image.repository": ({"type": "string", "minLength": 1}, "the image, with its registry"),
    "image.tag": (
        TAG,
        "its tag; without it the chart's `appVersion`",
    ),
    "image.digest": (
        DIGEST,
        "its digest, `sha256:…`; wins over the tag",
    ),
    "image.pullPolicy": ({"enum": ["", "Always", "IfNotPresent", "Never"]}, "when it is pulled"),
    "imagePullSecrets": (OBJECTS, "Secrets for the registry: `[{name: …}]`"),
    "crds.enabled": (SWITCH, "install and upgrade the CRDs; they stay when the chart goes"),
    "crds.keepNewer": (
        SWITCH,
        "an older chart, as in `helm rollback`, leaves newer CRDs alone (Kubernetes ≥ 1.36)",
    ),
    "namespace.create": (
        SWITCH,
        "render the Namespace too, with PodSecurity `restricted`: for `helm template`",
    ),
    "namespaces": (
        NAMESPACES,
        "serve these only, by a Role in each and no ClusterRole; empty: the whole cluster",
    ),
    "gatewayNamespaces": (
        NAMESPACES,
        "with `namespaces`: where else Gateways are, which may be read there",
    ),
    "prometheus.url": (
        {"type": "string", "pattern": r"^https?://[^@\s?#]+$"},
        "the HTTP API of Prometheus, Thanos, Mimir or VictoriaMetrics; no credentials in it",
    ),
    "prometheus.secret.name": (NAME, "a Secret with credentials, in the release's namespace"),
    "prometheus.secret.bearerTokenKey": (KEY, "its key with a bearer token"),
    "prometheus.secret.userKey": (KEY, "its key with the user for basic authentication"),
    "prometheus.secret.passwordKey": (KEY, "its key with the password for it"),
    "prometheus.secret.headerKey": (
        KEY,
        "its key with request headers, `Name: value` in each line",
    ),
    "prometheus.secret.caKey": (KEY, "its key with certificates that may sign the server's, PEM"),
    "prometheus.secret.certKey": (KEY, "its key with a client certificate, PEM"),
    "prometheus.secret.keyKey": (KEY, "its key with the key of that certificate, PEM"),
    "settings": (
        settings_of(operator_settings()),
        "any other setting of [settings.md](settings.md), in camelCase: `{resync: 2m}`",
    ),
    "trackSecrets": (
        SWITCH,
        "contents of Secrets that a template names become part of the revision; grants `get`",
    ),
    "ownerReferencesPermissionEnforcement": (
        SWITCH,
        "grants `update` on `modeldeployments/finalizers`, which OpenShift demands",
    ),
    "commits.argocd.namespaces": (
        NAMESPACES,
        "where Applications may be read, to name the commit of a revision; Argo CD's own first",
    ),
    "commits.flux.namespaces": (
        NAMESPACES,
        "where Kustomizations, HelmReleases and sources may be read for the same",
    ),
    "replicas": (
        {"type": "integer", "minimum": 1, "maximum": 2},
        "1, or 2 with one standing by",
    ),
    "leaderElection.enabled": (SWITCH, "a Lease decides who works; always so with two replicas"),
    "serviceAccount.name": (NAME, "the operator's ServiceAccount, instead of the common name"),
    "serviceAccount.annotations": (LABELS, "its annotations, for a cloud's workload identity"),
    **_pod("", "the operator"),
    "podDisruptionBudget.enabled": (SWITCH, "one pod at a time, of parts with several replicas"),
    "networkPolicy.enabled": (SWITCH, "restrict who is called and by whom"),
    "networkPolicy.metrics.from": (OBJECTS, "who may scrape the operator; empty: anybody"),
    "networkPolicy.collector.from": (OBJECTS, "who may call the collector; empty: anybody"),
    **_peers("apiServer", "the API server"),
    **_peers("prometheus", "Prometheus"),
    **_peers("models", "models, for the probe requests"),
    **_peers("forges", "the forges and receivers that write-back calls"),
    "networkPolicy.extraEgress": (OBJECTS, "further egress rules of the operator"),
    "metrics.scrapeAnnotations": (SWITCH, "`prometheus.io/scrape` on the Services"),
    "metrics.serviceMonitor.enabled": (SWITCH, "a ServiceMonitor for each Service"),
    "metrics.serviceMonitor.interval": (
        {"type": "string", "pattern": r"^[0-9]+(ms|s|m)$"},
        "how often it scrapes",
    ),
    "metrics.serviceMonitor.labels": (LABELS, "labels by which your Prometheus chooses it"),
    "alerts.enabled": (SWITCH, "a PrometheusRule with alerts about Headgate itself"),
    "alerts.labels": (LABELS, "labels by which your Prometheus chooses it"),
    "dashboards.enabled": (SWITCH, "a ConfigMap with a Grafana dashboard"),
    "dashboards.labels": (LABELS, "labels by which Grafana's sidecar finds it"),
    "dashboards.annotations": (LABELS, "its annotations, such as the folder"),
    "collector.enabled": (SWITCH, "install the [collector](collector.md) and tell the operator"),
    "collector.replicas": ({"type": "integer", "minimum": 1, "maximum": 20}, "its replicas"),
    "collector.settings": (
        settings_of(collector_settings()),
        "its other settings, in camelCase: `{maxBody: 2097152}`",
    ),
    **_pod("collector.", "the collector"),
    "writeback.enabled": (
        SWITCH,
        "install the write-back: what a ReleasePolicy wants to be said in Git after a rollback",
    ),
    "writeback.image.repository": ({"type": "string", "minLength": 1}, "its image, with git"),
    "writeback.image.tag": (TAG, "its tag; without it the chart's `appVersion`"),
    "writeback.image.digest": (DIGEST, "its digest; wins over the tag"),
    "writeback.hosts": (
        {
            "type": "array",
            "items": {
                "type": "string",
                "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?$",
            },
        },
        "hosts of forges, repositories and webhooks that policies may name, with a port if not 443",
    ),
    "writeback.secrets": (
        {"type": "array", "items": NAME, "uniqueItems": True},
        "Secrets of the release's namespace that policies may name; no other can be read",
    ),
    "writeback.settings": (
        settings_of(writeback_settings()),
        "its other settings, in camelCase: `{interval: 1m}`",
    ),
    **_pod("writeback.", "the write-back"),
    "policies.enabled": (
        SWITCH,
        "ValidatingAdmissionPolicies: only Headgate writes its records and status, only Headgate "
        "and KServe change what serves a revision",
    ),
    "policies.kserve.serviceAccount.namespace": (NAME, "where KServe's controller runs"),
    "policies.kserve.serviceAccount.name": (NAME, "the ServiceAccount of KServe's controller"),
    "policies.exemptUsers": (
        {"type": "array", "items": {"type": "string", "pattern": r"^[^'\"\\]+$"}},
        "further users who may, such as the one that restores backups",
    ),
    "policies.exemptGroups": (
        {"type": "array", "items": {"type": "string", "pattern": r"^[^'\"\\]+$"}},
        "further groups who may",
    ),
}


def render() -> Schema:
    """Return the schema of all values: closed at every level, except where Kubernetes decides."""
    root: Schema = {"$schema": "http://json-schema.org/draft-07/schema#", **_closed()}
    # Helm adds `global` for charts that use this one as a part.
    root["properties"]["global"] = {"type": "object"}
    for path, (schema, meaning) in ROWS.items():
        *above, last = path.split(".")
        node = root
        for name in above:
            node = node["properties"].setdefault(name, _closed())
        node["properties"][last] = {**schema, "description": _plain(meaning)}
    return root


def _closed() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _plain(meaning: str) -> str:
    return re.sub(r"\[([^]]+)]\([^)]+\)", r"\1", meaning).replace("`", "")


def defaults() -> dict[str, Any]:
    """Return values.yaml."""
    values: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return values


def default_of(path: str, values: Mapping[str, Any]) -> Any:
    """Return the default of one value. Raises KeyError where values.yaml has none."""
    found: Any = values
    for name in path.split("."):
        found = found[name]
    return found


def table() -> str:
    """Return the table of docs/install.md."""
    values = defaults()
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for path, (_, meaning) in ROWS.items():
        default = json.dumps(default_of(path, values), ensure_ascii=False)
        lines.append(f"| `{path}` | `{default}` | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def page(before: str) -> str:
    """Return docs/install.md with the table as it is now."""
    head, _, rest = before.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + table() + END + tail


def schema_text() -> str:
    """Return the file values.schema.json."""
    return json.dumps(render(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
