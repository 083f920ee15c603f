"""Manifests for the tests of the API: valid ones, and a table of wrong ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
Path = tuple[str | int, ...]
Changes = Mapping[str, Any]

REMOVED = object()
"""In the place of a value: the field is taken away."""


def deployment(changes: Changes | None = None) -> Manifest:
    """Return a ModelDeployment with every field that a person may write, changed as told."""
    return changed(_DEPLOYMENT, changes or {})


def revision(changes: Changes | None = None) -> Manifest:
    """Return a ModelRevision, changed as told."""
    return changed(_REVISION, changes or {})


def rollout(changes: Changes | None = None) -> Manifest:
    """Return a ModelRollout, changed as told."""
    return changed(_ROLLOUT, changes or {})


def changed(manifest: Manifest, changes: Changes) -> Manifest:
    """Return a copy with the values at paths such as `spec.rollout.steps[1].weight` replaced."""
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        *parents, last = _steps(path)
        node: Any = result
        for step in parents:
            node = node[step]
        if value is REMOVED:
            del node[last]
        else:
            node[last] = value
    return result


def _steps(path: str) -> Path:
    """Split a path at its dots and brackets; a key with dots is written as `labels.{a.b/c}`."""
    steps: list[str | int] = []
    plain, brace, rest = path.partition(".{")
    for part in plain.split("."):
        name, *indexes = part.replace("]", "").split("[")
        steps += [name, *(int(index) for index in indexes)]
    return (*steps, rest.removesuffix("}")) if brace else tuple(steps)


@dataclass(frozen=True, slots=True)
class Wrong:
    """A change that makes the valid ModelDeployment wrong, and the field to be named for it."""

    name: str
    changes: Changes
    field: str


_PROVEN: Manifest = {
    "canonical": 1,
    "hash": "d3fa885a",
    "model": {"version": "6", "digest": "sha256:" + "0e" * 32},
    "template": {
        "metadata": {"labels": {"team": "risk"}},
        "spec": {
            "predictor": {
                "minReplicas": 2,
                "volumes": [{"name": "tmp", "emptyDir": {}}],
                "model": {
                    "modelFormat": {"name": "sklearn"},
                    "runtime": "kserve-sklearnserver",
                    "storageUri": "s3://m/fraud/6",
                    "envFrom": [{"configMapRef": {"name": "settings"}}],
                },
            }
        },
    },
    "configMaps": [{"name": "settings", "hash": "cd" * 32}],
    "secrets": [],
    "untracked": ["storage-config"],
    "runtime": {
        "kind": "ClusterServingRuntime",
        "name": "kserve-sklearnserver",
        "hash": "ef" * 32,
    },
    "provenAt": "2026-11-19T20:00:00Z",
    "rollout": {"name": "fraud-0006", "digest": "sha256:" + "0f" * 32},
    "digest": "sha256:66e62e25b4c78f197f3685d4f98b846de18ea36830c0e04ad1014b2147c2f4f6",
}
"""Hash and digest are written out: what Git has kept for years must be read by every version."""

_DEPLOYMENT: Manifest = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "fraud", "namespace": "models"},
    "spec": {
        "model": {
            "version": "7",
            "digest": "sha256:" + "0f" * 32,
            "license": "Apache-2.0",
            "lineage": {
                "trainingRun": "mlflow:/runs/91ab",
                "sourceCommit": "4be1d0c",
                "datasets": [{"name": "tx-2026-09", "digest": "sha256:" + "ab" * 32}],
            },
        },
        "template": {
            "metadata": {
                "labels": {"team": "risk", "cost-center": "4711"},
                "annotations": {"serving.kserve.io/autoscalerClass": "none"},
            },
            "spec": {
                "predictor": {
                    "minReplicas": 2,
                    "model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://m/fraud/7"},
                }
            },
        },
        "traffic": {
            "gateway": {"name": "public", "namespace": "gateways", "sectionName": "https"},
            "hostnames": ["fraud.example.com", "fraud.internal"],
            "pathPrefix": "/v1/models",
            "timeout": "30s",
        },
        "rollout": {
            "steps": [
                {"weight": 5, "hold": "5m"},
                {"weight": 25, "hold": "10m"},
                {"weight": 50, "hold": "1h30m"},
            ],
            "bake": "1d",
            "interval": "10s",
            "confidence": "99.5",
            "margin": "0.1",
            "tolerance": "0.5",
            "onInconclusive": "RollBack",
            "latencyFloor": "25ms",
            "progressDeadline": "2h",
            "paused": True,
            "retry": "2026-11-20",
            "emergency": False,
            "provenRevision": _PROVEN,
        },
        "objectives": [
            {
                "name": "availability",
                "target": "99.9",
                "window": "28d",
                "onBreach": "RollBack",
                "errors": {},
            },
            {
                "name": "latency",
                "target": "99",
                "window": "30d",
                "onBreach": "Notify",
                "latency": {"threshold": "250ms"},
            },
            {
                "name": "orders",
                "target": "99",
                "window": "7d",
                "onBreach": "Notify",
                "series": {
                    "good": {"metric": "orders_total", "matchers": {"code": "200"}},
                    "total": {"metric": "orders_total", "matchers": {}},
                    "arm": {"label": "pod", "value": "Pod"},
                },
            },
        ],
        "signals": [
            {
                "name": "first-token",
                "pack": {"name": "vllm", "signal": "time-to-first-token"},
                "arm": {"label": "pod", "value": "Pod"},
                "threshold": "0.5",
                "margin": "0.2",
                "tolerance": "1",
                "onBreach": "RollBack",
            },
            {
                "name": "refused",
                "ratio": {
                    "bad": {
                        "metric": "refused_total",
                        "matchers": {"kind": "policy"},
                        "anyOf": {"code": ["404", "5xx"]},
                    },
                    "total": {"metric": "answers_total", "matchers": {}},
                },
                "arm": {"label": "revision", "value": "Hash"},
                "onBreach": "Freeze",
            },
            {
                "name": "length",
                "histogram": {
                    "buckets": {"metric": "answer_words_bucket", "matchers": {}},
                    "worse": "Either",
                    "unit": "words",
                },
                "arm": {"label": "pod", "value": "Pod"},
                "onBreach": "RollBack",
            },
            {
                "name": "language",
                "categories": {
                    "counter": {"metric": "answers_total", "matchers": {}},
                    "label": "language",
                },
                "arm": {"label": "pod", "value": "Pod"},
                "onBreach": "RollBack",
            },
        ],
        "drift": {
            "reference": {"configMap": {"name": "fraud-profile", "key": "profile.json"}},
            "predictions": {"onBreach": "RollBack"},
            "inputs": {"onBreach": "Freeze"},
        },
        "history": 5,
    },
}

_IDENTITY: Manifest = {"revision": "fraud-01234567", "hash": "01234567", "version": "7"}

_REVISION: Manifest = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "ModelRevision",
    "metadata": {"name": "fraud-01234567", "namespace": "models"},
    "spec": {
        "deployment": "fraud",
        "hash": "01234567",
        "model": _DEPLOYMENT["spec"]["model"],
        "template": _DEPLOYMENT["spec"]["template"],
        "configMaps": [{"name": "thresholds", "hash": "ab" * 32}],
        "secrets": ["store"],
        "untracked": ["registry"],
        "runtime": {"kind": "ClusterServingRuntime", "name": "sklearn", "hash": "ef" * 32},
        "drift": {
            "reference": {
                "configMap": {"name": "fraud-profile", "key": "profile.json"},
                "digest": "sha256:" + "cd" * 32,
            }
        },
    },
}

COMMIT: Manifest = {
    "certainty": "Synced",
    "message": "Application argocd/fraud synced it",
    "repository": "git@git.example.com:ml/models.git",
    "revision": "0f" * 20,
    "ref": "refs/heads/main",
    "path": "models/fraud.yaml",
    "chart": "models 1.4.0",
    "toldBy": "Application argocd/fraud",
    "author": "Ada Lovelace",
    "initiatedBy": "automated sync policy",
    "hydratedRevision": "0e" * 20,
    "candidates": [{"repository": "https://git.example.com/ml/models.git", "path": "models"}],
    "pending": True,
}

_ROLLOUT: Manifest = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "ModelRollout",
    "metadata": {"name": "fraud-0007", "namespace": "models"},
    "spec": {
        "deployment": "fraud",
        "deploymentUID": "5d9d8ad9-6b82-4ad0-aa51-e37a95038745",
        "number": 7,
        "from": {"revision": "fraud-89abcdef", "hash": "89abcdef", "version": "6"},
        "to": _IDENTITY,
        "model": _DEPLOYMENT["spec"]["model"],
        "policy": {
            "rollout": {
                name: value
                for name, value in _DEPLOYMENT["spec"]["rollout"].items()
                if name != "provenRevision"
            },
            "objectives": _DEPLOYMENT["spec"]["objectives"],
            "signals": _DEPLOYMENT["spec"]["signals"],
            "drift": _DEPLOYMENT["spec"]["drift"],
        },
        "generation": 4,
        "startedAt": "2026-11-20T20:00:00Z",
        "previous": {"name": "fraud-0006", "digest": "sha256:" + "0f" * 32},
        "commit": COMMIT,
        "restored": {
            "provenAt": "2026-11-19T20:00:00Z",
            "rollout": {"name": "fraud-0006", "digest": "sha256:" + "0f" * 32},
        },
    },
}

_KEPT = "spec.rollout.provenRevision"
_STEP = "spec.rollout.steps"

# Wrong in a way that the API server sees, and our own parse as well.
WRONG = (
    Wrong("a name of 41 characters", {"metadata.name": "f" * 41}, "metadata.name"),
    Wrong("a name that begins with a digit", {"metadata.name": "7fraud"}, "metadata.name"),
    Wrong("a name with a dot", {"metadata.name": "fraud.v7"}, "metadata.name"),
    Wrong("no spec", {"spec": REMOVED}, "spec"),
    Wrong("no model", {"spec.model": REMOVED}, "spec.model"),
    Wrong("no version", {"spec.model.version": REMOVED}, "spec.model.version"),
    Wrong("a version that is a number", {"spec.model.version": 7}, "spec.model.version"),
    Wrong("an empty version", {"spec.model.version": ""}, "spec.model.version"),
    Wrong("a version with a space", {"spec.model.version": "7 beta"}, "spec.model.version"),
    Wrong("a version of 64 characters", {"spec.model.version": "7" * 64}, "spec.model.version"),
    Wrong("a digest of another kind", {"spec.model.digest": "md5:00"}, "spec.model.digest"),
    Wrong("a licence with a line break", {"spec.model.license": "MIT\nX"}, "spec.model.license"),
    Wrong(
        "a training run with an escape sequence",
        {"spec.model.lineage.trainingRun": "run\x1b[2J"},
        "spec.model.lineage.trainingRun",
    ),
    Wrong(
        "a source commit that is no hash",
        {"spec.model.lineage.sourceCommit": "main"},
        "spec.model.lineage.sourceCommit",
    ),
    Wrong(
        "33 data sets",
        {"spec.model.lineage.datasets": [{"name": f"set-{n}"} for n in range(33)]},
        "spec.model.lineage.datasets",
    ),
    Wrong("no template", {"spec.template": REMOVED}, "spec.template"),
    Wrong("a proven revision without a template", {f"{_KEPT}.template": REMOVED}, _KEPT),
    Wrong("a proven revision of no time", {f"{_KEPT}.provenAt": "lately"}, f"{_KEPT}.provenAt"),
    Wrong("a proven revision's hash of a word", {f"{_KEPT}.hash": "fraud"}, f"{_KEPT}.hash"),
    Wrong("a proven revision's short digest", {f"{_KEPT}.digest": "0f"}, f"{_KEPT}.digest"),
    Wrong("no predictor", {"spec.template.spec": {}}, "spec.template.spec.predictor"),
    Wrong(
        "an empty predictor", {"spec.template.spec.predictor": {}}, "spec.template.spec.predictor"
    ),
    Wrong(
        "a predictor that is a text",
        {"spec.template.spec.predictor": "sklearn"},
        "spec.template.spec.predictor",
    ),
    Wrong(
        "KServe's canary",
        {"spec.template.spec.canary": [{"trafficPercent": 10, "predictor": {}}]},
        "spec.template.spec",
    ),
    Wrong(
        "KServe's canary share",
        {"spec.template.spec.predictor.canaryTrafficPercent": 10},
        "spec.template.spec.predictor",
    ),
    Wrong(
        "a label value with a space",
        {"spec.template.metadata.labels.team": "risk and fraud"},
        "spec.template.metadata.labels.team",
    ),
    Wrong(
        "a label value that is a number",
        {"spec.template.metadata.labels.team": 4711},
        "spec.template.metadata.labels.team",
    ),
    Wrong(
        "65 labels",
        {"spec.template.metadata.labels": {f"label-{n}": "x" for n in range(65)}},
        "spec.template.metadata.labels",
    ),
    Wrong("no traffic", {"spec.traffic": REMOVED}, "spec.traffic"),
    Wrong("no gateway", {"spec.traffic.gateway": REMOVED}, "spec.traffic.gateway"),
    Wrong("a gateway without a name", {"spec.traffic.gateway.name": REMOVED}, "gateway.name"),
    Wrong(
        "a gateway named with a path",
        {"spec.traffic.gateway.name": "../public"},
        "spec.traffic.gateway.name",
    ),
    Wrong("no hostnames", {"spec.traffic.hostnames": []}, "spec.traffic.hostnames"),
    Wrong(
        "17 hostnames",
        {"spec.traffic.hostnames": [f"h{n}.example.com" for n in range(17)]},
        "spec.traffic.hostnames",
    ),
    Wrong(
        "a hostname with a scheme",
        {"spec.traffic.hostnames[0]": "https://fraud.example.com"},
        "spec.traffic.hostnames[0]",
    ),
    Wrong(
        "a hostname in capitals",
        {"spec.traffic.hostnames[0]": "Fraud.example.com"},
        "spec.traffic.hostnames[0]",
    ),
    Wrong(
        "a hostname with a wildcard",
        {"spec.traffic.hostnames[0]": "*.example.com"},
        "spec.traffic.hostnames[0]",
    ),
    Wrong(
        "a hostname twice",
        {"spec.traffic.hostnames": ["a.example.com", "a.example.com"]},
        "spec.traffic.hostnames[1]",
    ),
    Wrong(
        "a path that climbs", {"spec.traffic.pathPrefix": "/v1/../v2"}, "spec.traffic.pathPrefix"
    ),
    Wrong("a path without a slash", {"spec.traffic.pathPrefix": "v1"}, "spec.traffic.pathPrefix"),
    Wrong("a timeout of nothing", {"spec.traffic.timeout": "0s"}, "spec.traffic.timeout"),
    Wrong("no steps at all", {_STEP: []}, _STEP),
    Wrong("steps and a ramp", {"spec.rollout.auto": {}}, "spec.rollout"),
    Wrong(
        "a ramp that begins with everything",
        {_STEP: REMOVED, "spec.rollout.auto": {"firstWeight": 100}},
        "spec.rollout.auto.firstWeight",
    ),
    Wrong("a window of an hour", {"spec.objectives[0].window": "1h"}, "spec.objectives[0].window"),
    Wrong(
        "a series with good and bad",
        {"spec.objectives[2].series.bad": {"metric": "bad_total"}},
        "spec.objectives[2].series",
    ),
    Wrong(
        "a signal of a pack and of its own",
        {"spec.signals[0].ratio": {"bad": {"metric": "a"}, "total": {"metric": "b"}}},
        "spec.signals[0]",
    ),
    Wrong("a signal of nothing", {"spec.signals[1].ratio": REMOVED}, "spec.signals[1]"),
    Wrong(
        "an expression for a metric",
        {"spec.signals[1].ratio.bad.metric": 'up{job="a"} or vector(1)'},
        "spec.signals[1].ratio.bad.metric",
    ),
    Wrong(
        "a label of no value",
        {"spec.signals[1].ratio.bad.anyOf": {"code": []}},
        "spec.signals[1].ratio.bad.anyOf.code",
    ),
    Wrong(
        "two signals of one name",
        {"spec.signals[1].name": "first-token"},
        "spec.signals[1]",
    ),
    Wrong("drift without a reference", {"spec.drift.reference": REMOVED}, "spec.drift.reference"),
    Wrong(
        "a profile in two places",
        {"spec.drift.reference.url": {"address": "https://a/p", "digest": "sha256:" + "ab" * 32}},
        "spec.drift.reference",
    ),
    Wrong("a profile in no place", {"spec.drift.reference": {}}, "spec.drift.reference"),
    Wrong(
        "a profile by its address without a digest",
        {"spec.drift.reference": {"url": {"address": "https://a/p"}}},
        "spec.drift.reference.url.digest",
    ),
    Wrong(
        "a profile without TLS",
        {
            "spec.drift.reference": {
                "url": {"address": "http://a/p", "digest": "sha256:" + "ab" * 32}
            }
        },
        "spec.drift.reference.url.address",
    ),
    Wrong("21 steps", {_STEP: [{"weight": n} for n in range(1, 22)]}, _STEP),
    Wrong("a step without a weight", {f"{_STEP}[1].weight": REMOVED}, f"{_STEP}[1].weight"),
    Wrong("a weight of 0", {f"{_STEP}[0].weight": 0}, f"{_STEP}[0].weight"),
    Wrong("a weight of 101", {f"{_STEP}[2].weight": 101}, f"{_STEP}[2].weight"),
    Wrong("a weight that is a fraction", {f"{_STEP}[1].weight": 12.5}, f"{_STEP}[1].weight"),
    Wrong("a weight that is a text", {f"{_STEP}[1].weight": "25"}, f"{_STEP}[1].weight"),
    Wrong("weights that descend", {f"{_STEP}[1].weight": 60}, _STEP),
    Wrong("the same weight twice", {f"{_STEP}[1].weight": 5}, _STEP),
    Wrong("a hold without a unit", {f"{_STEP}[0].hold": "5"}, f"{_STEP}[0].hold"),
    Wrong("a hold that is a number", {f"{_STEP}[0].hold": 5}, f"{_STEP}[0].hold"),
    Wrong("a negative hold", {f"{_STEP}[0].hold": "-5m"}, f"{_STEP}[0].hold"),
    Wrong("a hold of 40 days in hours", {f"{_STEP}[0].hold": "960h"}, f"{_STEP}[0].hold"),
    Wrong("a bake that overflows", {"spec.rollout.bake": "999999h" * 4}, "spec.rollout.bake"),
    Wrong("an interval below 1s", {"spec.rollout.interval": "500ms"}, "spec.rollout.interval"),
    Wrong("an interval above 5m", {"spec.rollout.interval": "301s"}, "spec.rollout.interval"),
    Wrong("an interval of a day", {"spec.rollout.interval": "1d"}, "spec.rollout.interval"),
    Wrong("a confidence below 50", {"spec.rollout.confidence": "49.9"}, "spec.rollout.confidence"),
    Wrong("a confidence of 100", {"spec.rollout.confidence": "100"}, "spec.rollout.confidence"),
    Wrong("a confidence that is a number", {"spec.rollout.confidence": 99}, "rollout.confidence"),
    Wrong("a negative margin", {"spec.rollout.margin": "-0.1"}, "spec.rollout.margin"),
    Wrong("a margin with a percent sign", {"spec.rollout.margin": "1%"}, "spec.rollout.margin"),
    Wrong("a tolerance of 0", {"spec.rollout.tolerance": "0"}, "spec.rollout.tolerance"),
    Wrong("a tolerance above 50", {"spec.rollout.tolerance": "50.5"}, "spec.rollout.tolerance"),
    Wrong(
        "an unknown way out",
        {"spec.rollout.onInconclusive": "Abort"},
        "spec.rollout.onInconclusive",
    ),
    Wrong(
        "a latency floor without a unit",
        {"spec.rollout.latencyFloor": "25"},
        "spec.rollout.latencyFloor",
    ),
    Wrong(
        "a deadline of nothing",
        {"spec.rollout.progressDeadline": "0s"},
        "spec.rollout.progressDeadline",
    ),
    Wrong("paused as a text", {"spec.rollout.paused": "yes"}, "spec.rollout.paused"),
    Wrong("a retry with a space", {"spec.rollout.retry": "once more"}, "spec.rollout.retry"),
    Wrong("a misspelt field", {"spec.rollout.stepz": []}, "spec.rollout.stepz"),
    Wrong("a field of a later version", {"spec.hardware": {"profile": "l4"}}, "spec.hardware"),
    Wrong(
        "nine objectives",
        {"spec.objectives": [{"name": f"o{n}", "target": "99", "errors": {}} for n in range(9)]},
        "spec.objectives",
    ),
    Wrong(
        "two objectives of one name",
        {"spec.objectives[1].name": "availability"},
        "spec.objectives[1]",
    ),
    Wrong(
        "an objective of nothing",
        {"spec.objectives[0].errors": REMOVED},
        "spec.objectives[0]",
    ),
    Wrong(
        "an objective with errors and latency",
        {"spec.objectives[0].latency": {"threshold": "1s"}},
        "spec.objectives[0]",
    ),
    Wrong("a target of 100", {"spec.objectives[0].target": "100"}, "spec.objectives[0].target"),
    Wrong("a target of 42", {"spec.objectives[0].target": "42"}, "spec.objectives[0].target"),
    Wrong(
        "a threshold of 0s",
        {"spec.objectives[1].latency.threshold": "0s"},
        "spec.objectives[1].latency.threshold",
    ),
    Wrong("a history of 0", {"spec.history": 0}, "spec.history"),
    Wrong("a history of 21", {"spec.history": 21}, "spec.history"),
)

_TEMPLATE = "spec.template.spec"

# Wrong in a way that only parse can see, with the whole message that it gives.
UNSEEN = (
    (
        "a proven revision whose version was changed by hand",
        {f"{_KEPT}.model.version": "5"},
        f"{_KEPT}.digest: wanted sha256:"
        "c32689e79c9e96ac2352441260cfdf3f2cf2d3a08079ca818e043818c3cf37a6, "
        f"the digest of what it keeps (headgate export --proven), found {_PROVEN['digest']}",
    ),
    (
        "a proven revision with another template and the digest to it",
        {
            f"{_KEPT}.template.spec.predictor.minReplicas": 1,
            f"{_KEPT}.digest": "sha256:"
            "f641ddacec2332d909d631a75abda383b9ab6cb77bbac37124f08907c81cf63a",
        },
        f"{_KEPT}.hash: wanted 685f9117, that of its content, found {_PROVEN['hash']}",
    ),
    (
        "a proven revision of a canonical form that is not known",
        {f"{_KEPT}.canonical": 2},
        f"{_KEPT}.canonical: wanted 1, found 2",
    ),
    (
        "a proven revision with a label that is reserved",
        {
            f"{_KEPT}.template.metadata.labels": {"headgate.dev/revision": "x"},
            f"{_KEPT}.hash": "6666fba6",
            f"{_KEPT}.digest": "sha256:"
            "0da0c7e044eeb2a7e368100d55f2edb2133c77853fec1466945e0a7bc42e57b8",
        },
        f"{_KEPT}.template.metadata.labels[headgate.dev/revision]: "
        'wanted no key of headgate.dev, it is reserved, found "x"',
    ),
    (
        "a hold of 31 days",
        {f"{_STEP}[0].hold": "31d"},
        'spec.rollout.steps[0].hold: wanted a duration from 0s to 30d, found "31d"',
    ),
    (
        "a name that does not fit together with its namespace",
        {"metadata.name": "f" * 30, "metadata.namespace": "n" * 14},
        "metadata.name: wanted at most 43 characters together with the namespace, as KServe's host "
        "names do, found 30 and 14",
    ),
    (
        "a name that does not fit because of the transformer",
        {
            "metadata.name": "f" * 30,
            "metadata.namespace": "n" * 13,
            f"{_TEMPLATE}.transformer": {"minReplicas": 1},
        },
        "metadata.name: wanted at most 41 characters together with the namespace, as KServe's host "
        "names do, found 30 and 13",
    ),
    (
        "a reserved label",
        {"spec.template.metadata.labels.{headgate.dev/revision}": "x"},
        "spec.template.metadata.labels[headgate.dev/revision]: wanted no key of headgate.dev, it "
        'is reserved, found "x"',
    ),
    (
        "a reserved annotation of a subdomain",
        {"spec.template.metadata.annotations.{sandbox.headgate.dev/ports}": "x"},
        "spec.template.metadata.annotations[sandbox.headgate.dev/ports]: wanted no key of "
        'headgate.dev, it is reserved, found "x"',
    ),
    (
        "a reserved label of the pods",
        {f"{_TEMPLATE}.predictor.labels": {"headgate.dev/deployment": "x"}},
        "spec.template.spec.predictor.labels[headgate.dev/deployment]: wanted no key of "
        'headgate.dev, it is reserved, found "x"',
    ),
    (
        "a manager of its own",
        {"spec.template.metadata.labels.{app.kubernetes.io/managed-by}": "helm"},
        "spec.template.metadata.labels[app.kubernetes.io/managed-by]: wanted no value (Headgate "
        'manages the InferenceService), found "helm"',
    ),
    (
        "KServe's own route",
        {"spec.template.metadata.labels.{networking.kserve.io/visibility}": "external"},
        "spec.template.metadata.labels[networking.kserve.io/visibility]: wanted no value (Headgate "
        'makes the only route to it), found "external"',
    ),
    (
        "a stopped service",
        {"spec.template.metadata.annotations.{serving.kserve.io/stop}": "true"},
        "spec.template.metadata.annotations[serving.kserve.io/stop]: wanted no value (Headgate "
        'stops and starts revisions), found "true"',
    ),
    (
        "Knative mode",
        {"spec.template.metadata.annotations.{serving.kserve.io/deploymentMode}": "Knative"},
        "spec.template.metadata.annotations[serving.kserve.io/deploymentMode]: wanted Standard, "
        'found "Knative"',
    ),
    (
        "Knative mode for the predictor",
        {f"{_TEMPLATE}.predictor.annotations": {"serving.kserve.io/deploymentMode": "Serverless"}},
        "spec.template.spec.predictor.annotations[serving.kserve.io/deploymentMode]: wanted "
        'Standard, found "Serverless"',
    ),
    (
        "a named predictor",
        {f"{_TEMPLATE}.predictor.name": "blue"},
        "spec.template.spec.predictor.name: wanted no such field (Headgate finds the Service by "
        'its default name), found "blue"',
    ),
    (
        "a canary share for the transformer",
        {f"{_TEMPLATE}.transformer": {"canaryTrafficPercent": 5}},
        "spec.template.spec.transformer.canaryTrafficPercent: wanted no such field (Headgate moves "
        "the traffic), found 5",
    ),
    (
        "a transformer that is a list",
        {f"{_TEMPLATE}.transformer": []},
        "spec.template.spec.transformer: wanted a map, found []",
    ),
    (
        "pod labels that are a list",
        {f"{_TEMPLATE}.predictor.labels": ["a"]},
        'spec.template.spec.predictor.labels: wanted a map, found ["a"]',
    ),
)
