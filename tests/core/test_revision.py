"""A revision's hash is the same for the same content, for ever, and another for any other."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.revision import (
    References,
    canonical_json,
    content_hash,
    record_digest,
    references,
    revision_hash,
    revision_name,
)

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"team": "risk"}},
    "spec": {
        "predictor": {
            "minReplicas": 2,
            "model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/fraud/7"},
        }
    },
}
DIGEST = "sha256:" + "0f" * 32


def hash_of(**changes: Any) -> str:
    """Return the hash of the example, with some of its parts changed."""
    parts: dict[str, Any] = {
        "template": TEMPLATE,
        "digest": DIGEST,
        "config_maps": {"thresholds": "ab" * 32},
        "secrets": {},
        "runtime_hash": None,
    }
    return revision_hash(**{**parts, **changes})


# Golden: these stand in names of objects in clusters. If one changes, every model of every user
# is rolled out anew by an upgrade. Never edit them; a new canonical form gets new ones beside.
def test_golden_hashes_of_canonical_version_1_never_change() -> None:
    """An upgrade of ours, of Python or of a library makes no new revision."""
    assert hash_of() == "2b9a4577"
    assert hash_of(digest=None, config_maps={}, runtime_hash="cd" * 32) == "d1e81a20"
    assert content_hash({"data": {"a": "ü\n"}, "binaryData": {}}) == (
        "25d60c597a42c6d5fea16e9720012f53febde79c720e53e56b4b099383d95b13"
    )
    finished = {"spec": {"number": 7}, "status": {"outcome": "Promoted", "digest": "ignored"}}
    assert record_digest(finished) == (
        "sha256:9cd64897ae96ee20fe1bb367744fa9a58be578e752d4cd0a55f49a86f8b3ad67"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"b": 1, "a": 2}, '{"a":2,"b":1}', id="keys are sorted"),
        pytest.param({"Z": 1, "a": 1, "é": 1}, '{"Z":1,"a":1,"\\u00e9":1}', id="by code point"),
        pytest.param([1.0, -0.0, 1e2, 0.1], "[1,0,100,0.1]", id="whole floats are whole numbers"),
        pytest.param({"a": None, "b": [None]}, '{"b":[null]}', id="null in a map is absence"),
        pytest.param({"a": {}, "b": []}, '{"a":{},"b":[]}', id="empty maps and lists are kept"),
        pytest.param([True, 1, "1"], '[true,1,"1"]', id="types are told apart"),
        pytest.param("ü", '"\\u00fc"', id="text is ASCII"),
        pytest.param("\ud800", '"\\ud800"', id="even half a surrogate pair is written"),
        pytest.param((1, 2), "[1,2]", id="a tuple is a list"),
        pytest.param(2**80, "1208925819614629174706176", id="whole numbers have no limit"),
    ],
)
def test_the_canonical_form_is_as_documented(value: object, text: str) -> None:
    """Each line of the table in canonical_json holds."""
    assert canonical_json(value) == text


def test_composed_and_decomposed_text_are_different() -> None:
    """Kubernetes compares bytes: a file name in another normal form is another file."""
    assert canonical_json("\u00e9") != canonical_json("e\u0301")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "wanted a finite number, found nan"),
        ([float("inf")], "wanted a finite number, found inf"),
        ({1: 2}, "wanted text as key, found 1"),
        ({"a": b"x"}, "wanted a JSON value, found bytes"),
        ({"a": {1, 2}}, "wanted a JSON value, found set"),
    ],
)
def test_what_json_cannot_say_has_no_hash(value: object, message: str) -> None:
    """Nothing is turned into text silently: two different things would get one hash."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        canonical_json(value)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
FINITE = SCALARS.filter(lambda value: value not in (float("inf"), float("-inf")))
VALUES = st.recursive(
    FINITE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
MAPS = st.dictionaries(st.text(), VALUES, max_size=5)


def shuffled(value: Any, chance: random.Random) -> Any:
    """Return an equal value whose maps were filled in another order."""
    if isinstance(value, dict):
        keys = chance.sample(sorted(value), len(value))
        return {key: shuffled(value[key], chance) for key in keys}
    if isinstance(value, list):
        return [shuffled(item, chance) for item in value]
    return value


@given(MAPS, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any], chance: random.Random) -> None:
    """Git, the API server and pydantic order keys as they like."""
    assert content_hash(shuffled(value, chance)) == content_hash(value)


@given(MAPS)
def test_a_value_keeps_its_hash_through_json_and_through_its_own_form(
    value: dict[str, Any],
) -> None:
    """Storing and reading back changes nothing, and the canonical form is its own."""
    assert content_hash(json.loads(json.dumps(value))) == content_hash(value)
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)


PRINTABLE = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=20)
WRITTEN = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63) | PRINTABLE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PRINTABLE, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(PRINTABLE, WRITTEN, max_size=5))
def test_a_value_keeps_its_hash_through_yaml(value: dict[str, Any]) -> None:
    """The same object written as YAML in Git is the same revision."""
    assert content_hash(yaml.safe_load(yaml.safe_dump(value))) == content_hash(value)


def plain(value: Any) -> Any:
    """Return the value as the canonical form is meant to see it, by another road: repr-able."""
    if isinstance(value, dict):
        kept = [(key, plain(item)) for key, item in value.items() if item is not None]
        return ("map", tuple(sorted(kept, key=lambda entry: entry[0])))
    if isinstance(value, list):
        return ("list", tuple(plain(item) for item in value))
    if isinstance(value, float) and value == int(value):
        return ("int", int(value))
    return (type(value).__name__, value)


@given(MAPS, MAPS)
def test_two_values_have_one_hash_only_if_they_are_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """A change of any value changes the hash; what the table calls equal does not."""
    assert (content_hash(one) == content_hash(other)) == (plain(one) == plain(other))


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every leaf."""
    if isinstance(value, dict) and value:
        return [p for key in value for p in paths(value[key], (*path, key))]
    return [path]


@pytest.mark.parametrize("path", [pytest.param(p, id=".".join(p)) for p in paths(TEMPLATE)])
def test_every_value_of_the_template_is_part_of_the_hash(path: tuple[str, ...]) -> None:
    """Nothing that KServe acts upon can change under the same revision."""
    edited = copy.deepcopy(TEMPLATE)
    node = edited
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = "edited"
    assert hash_of(template=edited) != hash_of()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"digest": None}, id="the digest"),
        pytest.param({"config_maps": {}}, id="a ConfigMap that is gone"),
        pytest.param({"config_maps": {"thresholds": "cd" * 32}}, id="a ConfigMap's contents"),
        pytest.param({"config_maps": {"other": "ab" * 32}}, id="a ConfigMap's name"),
        pytest.param({"secrets": {"thresholds": "ab" * 32}}, id="a Secret"),
        pytest.param({"runtime_hash": "ab" * 32}, id="the runtime"),
    ],
)
def test_what_the_template_depends_on_is_part_of_the_hash(changes: dict[str, Any]) -> None:
    """A new digest, ConfigMap, Secret or runtime is a new revision."""
    assert hash_of(**changes) != hash_of()


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"labels": {}}, {"labels": None, "annotations": {}}],
)
def test_empty_metadata_is_no_metadata(metadata: Any) -> None:
    """Whether the API server or a model of ours filled in an empty map does not matter."""
    bare = {"spec": TEMPLATE["spec"]}
    assert hash_of(template={**bare, "metadata": metadata}) == hash_of(template=bare)


def test_a_revision_is_named_by_its_deployment_and_hash() -> None:
    """The name tells both, and is the InferenceService's too."""
    assert revision_name("fraud", hash_of()) == f"fraud-{hash_of()}"


def test_a_finished_record_can_be_checked_against_the_digest_it_carries() -> None:
    """The digest covers spec and status, not itself and not labels that came later."""
    record = {"spec": {"number": 7}, "status": {"outcome": "Promoted"}}
    digest = record_digest(record)
    stored = {
        "metadata": {"labels": {"a": "b"}},
        "spec": record["spec"],
        "status": {**record["status"], "digest": digest},
    }
    assert record_digest(stored) == digest
    stored["status"]["outcome"] = "RolledBack"
    assert record_digest(stored) != digest


POD: dict[str, Any] = {
    "predictor": {
        "imagePullSecrets": [{"name": "registry"}],
        "model": {
            "storage": {"key": "s3", "path": "fraud/7", "parameters": {"secret": {"name": "no"}}},
            "env": [
                {"name": "A", "value": "literal"},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env-map", "key": "b"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "env-secret", "key": "c"}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ],
            "envFrom": [
                {"configMapRef": {"name": "all-map"}},
                {"secretRef": {"name": "all-secret", "optional": True}},
            ],
        },
        "volumes": [
            {"name": "v1", "configMap": {"name": "volume-map", "optional": True}},
            {"name": "v2", "secret": {"secretName": "volume-secret"}},
            {
                "name": "v3",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "projected-map"}},
                        {"secret": {"name": "projected-secret"}},
                        {"serviceAccountToken": {"path": "token"}},
                    ]
                },
            },
            {"name": "v4", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi-secret"}}},
            {"name": "v5", "azureFile": {"secretName": "azure-secret", "shareName": "s"}},
            {"name": "v6", "emptyDir": {}},
            {"name": "v7", "persistentVolumeClaim": {"claimName": "claim"}},
        ],
        "labels": {"configMap": "not-a-reference"},
        "workerSpec": {
            "containers": [{"envFrom": [{"configMapRef": {"name": "worker-map"}}]}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "init-secret"}}]}],
        },
    },
    "transformer": {
        "containers": [
            {"env": [{"valueFrom": {"configMapKeyRef": {"name": "env-map", "optional": True}}}]},
            {"envFrom": [{"configMapRef": {"name": "transformer-map"}}]},
        ]
    },
}


def test_every_config_map_and_secret_of_a_template_is_found_once_and_sorted() -> None:
    """Wherever a pod may name one: env, envFrom, volumes, projections, pulls, CSI, storage."""
    found = references(POD)
    assert found.config_maps == (
        "all-map",
        "env-map",
        "projected-map",
        "transformer-map",
        "volume-map",
        "worker-map",
    )
    assert found.secrets == (
        "all-secret",
        "azure-secret",
        "csi-secret",
        "env-secret",
        "init-secret",
        "projected-secret",
        "registry",
        "storage-config",
        "volume-secret",
    )


def test_only_what_is_optional_everywhere_may_be_missing() -> None:
    """One mention that is not optional makes the object necessary."""
    found = references(POD)
    assert found.optional_config_maps == {"volume-map"}
    assert found.optional_secrets == {"all-secret"}


@pytest.mark.parametrize(
    ("spec", "annotations", "wanted"),
    [
        pytest.param({"model": {}}, None, (), id="none without storage"),
        pytest.param(
            {"model": {"storage": {"key": "s3"}}}, None, ("storage-config",), id="KServe's"
        ),
        pytest.param(
            {"model": {"storage": {"path": "x"}}},
            {"serving.kserve.io/storageSecretName": "mine"},
            ("mine",),
            id="the one that the service's annotation names",
        ),
        pytest.param(
            {
                "annotations": {"serving.kserve.io/storageSecretName": "own"},
                "model": {"storage": {"path": "x"}},
            },
            {"serving.kserve.io/storageSecretName": "mine"},
            ("own",),
            id="the one that the component's annotation names",
        ),
    ],
)
def test_storage_is_read_with_the_secret_that_kserve_uses(
    spec: dict[str, Any], annotations: dict[str, str] | None, wanted: tuple[str, ...]
) -> None:
    """A `storage` entry depends on a Secret that the template does not spell out."""
    assert references({"predictor": spec}, annotations).secrets == wanted


def test_a_template_of_wrong_types_names_nothing_and_raises_nothing() -> None:
    """What KServe will refuse anyway is not ours to fail on."""
    odd = {"predictor": {"volumes": "none", "envFrom": [{"configMapRef": "x"}, {"secretRef": {}}]}}
    assert references(odd) == References((), ())
