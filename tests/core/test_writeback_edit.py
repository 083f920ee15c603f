"""The edit of a file: exact, or refused with a reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.objects import REMOVED, changed, deployment

from headgate.core.writeback.edit import Target, plan_edit
from headgate.core.writeback.reasons import Refusal, Why
from headgate.core.writeback.source import changes_between
from headgate.core.writeback.yamltext import documents, is_plain, replaced, spelled

TARGET = Target("models", "fraud")

FILE = """\
# the model team's file
apiVersion: v1
kind: Namespace
metadata: {name: models}
---
apiVersion: headgate.dev/v1alpha1
kind:   ModelDeployment   # aligned by hand
metadata:
    name: fraud
    namespace: models
spec:
    model:
        version: "7"   # bump me
        license: 'Apache-2.0'
    template:
        spec:
            predictor:
                minReplicas: 2
                model:
                    modelFormat: {name: sklearn}
                    storageUri: s3://models/fraud/7
                    args: [--threshold, "0.5"]
                    env:
                    - name: OMP_NUM_THREADS
                      value: "1"
    traffic:
        gateway: {name: public}
        hostnames: [fraud.example.com]
---
kind: ModelDeployment
apiVersion: headgate.dev/v1alpha1
metadata: {name: ranking, namespace: models}
spec: {model: {version: "7"}, template: {spec: {predictor: {}}}, traffic: {}}
"""


def spec_of(file: str = FILE) -> dict[str, Any]:
    """What a revision of the file's deployment keeps."""
    spec = list(yaml.safe_load_all(file))[1]["spec"]
    return {"model": spec["model"], "template": spec["template"]}


REJECTED = spec_of()


def stable(changes: dict[str, Any]) -> dict[str, Any]:
    """The rejected revision's spec, changed as told."""
    return changed(copy.deepcopy(REJECTED), changes)


BEFORE = stable(
    {
        "model.version": "6",
        "template.spec.predictor.model.storageUri": "s3://models/fraud/6",
        "template.spec.predictor.model.args[1]": "0.4",
        "template.spec.predictor.minReplicas": 3,
    }
)


def test_only_the_values_change_and_every_other_byte_stays() -> None:
    """Comments, quotes, alignment, flow lists and the other documents are as they were."""
    expected = (
        FILE.replace('version: "7"   # bump me', 'version: "6"   # bump me')
        .replace("fraud/7", "fraud/6")
        .replace('"0.5"', '"0.4"')
        .replace("minReplicas: 2", "minReplicas: 3")
    )

    edit = plan_edit(FILE.encode(), TARGET, REJECTED, BEFORE)

    assert edit.content.decode() == expected
    assert [str(change.path[-1]) for change in edit.changes] == [
        "version",
        "minReplicas",
        "1",
        "storageUri",
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_and_byte_order_marks_stay(ending: str, mark: str) -> None:
    """A file from another system keeps its line ends, and its mark at the beginning."""
    content = (mark + FILE.replace("\n", ending)).encode()

    edit = plan_edit(content, TARGET, REJECTED, BEFORE)

    back = plan_edit(edit.content, TARGET, BEFORE, REJECTED)
    assert edit.content.count(b"\r\n") == content.count(b"\r\n")
    assert back.content == content


def test_a_file_that_has_the_stable_values_needs_nothing() -> None:
    """Whoever restored it, it is as it should be: no change, no commit."""
    restored = plan_edit(FILE.encode(), TARGET, REJECTED, BEFORE).content

    assert plan_edit(restored, TARGET, REJECTED, BEFORE).changes == ()


def test_a_namespace_that_the_file_leaves_out_is_taken_from_the_place_it_goes_to() -> None:
    """Kustomize and Argo CD set namespaces from outside."""
    content = FILE.replace("    namespace: models\n", "").encode()

    assert plan_edit(content, TARGET, REJECTED, BEFORE).changes


def test_json_is_yaml_too() -> None:
    """A manifest in JSON is edited as exactly."""
    content = yaml.dump(list(yaml.safe_load_all(FILE))[1], default_flow_style=True, width=9999)

    edit = plan_edit(content.encode(), TARGET, REJECTED, BEFORE)

    spec = yaml.safe_load(edit.content)["spec"]
    assert spec["model"]["version"] == "6"


def _anchored() -> str:
    return FILE.replace('version: "7"   # bump me', 'version: &v "7"')


REFUSALS = [
    pytest.param(
        FILE.replace('version: "7"   # bump me', 'version: "8"'),
        BEFORE,
        Why.GIT_CONFLICT,
        "spec.model.version: the file holds neither the rejected nor the stable version",
        id="a person pushed another version",
    ),
    pytest.param(
        FILE.replace("minReplicas: 2", "minReplicas: 9"),
        BEFORE,
        Why.GIT_CONFLICT,
        "spec.template.spec.predictor.minReplicas: the file holds neither",
        id="a person changed another field of the template",
    ),
    pytest.param(
        FILE.replace("name: fraud\n", "name: fraud-2\n"),
        BEFORE,
        Why.OBJECT_NOT_FOUND,
        "the file has no ModelDeployment models/fraud",
        id="the object is not in the file",
    ),
    pytest.param(
        FILE.replace("namespace: models\nspec", "namespace: others\nspec"),
        BEFORE,
        Why.OBJECT_NOT_FOUND,
        "the file has no ModelDeployment models/fraud",
        id="it is that of another namespace",
    ),
    pytest.param(
        FILE + "---\n" + FILE.split("---\n")[1],
        BEFORE,
        Why.AMBIGUOUS,
        "the file has 2 documents for ModelDeployment models/fraud",
        id="the object is in the file twice",
    ),
    pytest.param(
        FILE.replace('version: "7"   # bump me', 'version: "7"\n        version: "7"'),
        BEFORE,
        Why.AMBIGUOUS,
        "the key version comes twice",
        id="a key comes twice",
    ),
    pytest.param(
        _anchored(),
        BEFORE,
        Why.ALIASES,
        "the document has anchors, aliases or merge keys",
        id="an anchor may be used elsewhere",
    ),
    pytest.param(
        FILE.replace('"7"   # bump me', "{{ .Values.version }}"),
        BEFORE,
        Why.TEMPLATED,
        "a key is no text",
        id="a value is a Helm expression",
    ),
    pytest.param(
        FILE.replace("spec:\n    model", "{{- if .Values.on }}\nspec:\n    model"),
        BEFORE,
        Why.TEMPLATED,
        "the file is not YAML at line 12",
        id="a line is a Helm directive",
    ),
    pytest.param(
        FILE.replace('"7"   # bump me', "${VERSION}"),
        BEFORE,
        Why.TEMPLATED,
        "spec.model.version: the file holds neither",
        id="a value is a Flux substitution",
    ),
    pytest.param(
        FILE.replace("    traffic:\n", "    other:\n"),
        BEFORE,
        Why.PARTIAL_OBJECT,
        "the document has no spec.traffic: it is a patch",
        id="the document is a kustomize patch",
    ),
    pytest.param(
        FILE.replace("s3://models/fraud/7", "|-\n                      s3://models/fraud/7"),
        BEFORE,
        Why.MULTI_LINE,
        "storageUri: the value spans lines",
        id="a value is a block",
    ),
    pytest.param(
        FILE.replace('"7"   # bump me', "!!str 7"),
        BEFORE,
        Why.NOT_A_SCALAR,
        "spec.model.version: the value has a tag",
        id="a value has a tag",
    ),
    pytest.param("a: [", BEFORE, Why.NOT_YAML, "the file is not YAML at line 1", id="no YAML"),
    pytest.param(
        FILE,
        stable({"template.spec.predictor.model.args": ["--threshold"], "model.version": "6"}),
        Why.NOT_A_SCALAR,
        "args: wanted one value, found a map or list in the rejected version",
        id="a list became longer",
    ),
    pytest.param(
        FILE,
        stable({"model.license": REMOVED}),
        Why.NOT_A_SCALAR,
        "spec.model.license: wanted one value, found nothing in the stable version",
        id="a key was added",
    ),
    pytest.param(
        FILE,
        REJECTED,
        Why.NOT_IN_OBJECT,
        "both versions have the same model and template",
        id="only something outside the object changed",
    ),
]


@pytest.mark.parametrize(("file", "before", "why", "message"), REFUSALS)
def test_what_cannot_be_done_exactly_is_refused(
    file: str, before: dict[str, Any], why: Why, message: str
) -> None:
    """There is no best effort in somebody else's repository."""
    with pytest.raises(Refusal) as refusal:
        plan_edit(file.encode(), TARGET, REJECTED, before)

    assert (refusal.value.why, message in refusal.value.message) == (why, True), refusal.value


SURROUNDINGS = [
    pytest.param(
        {"configMaps": [{"name": "limits", "hash": "a"}]},
        {"configMaps": [{"name": "limits", "hash": "b"}]},
        "the versions differ in the contents of ConfigMap limits too",
        id="a ConfigMap",
    ),
    pytest.param(
        {"runtime": {"name": "sklearn", "hash": "a"}},
        {"runtime": {"name": "sklearn", "hash": "b"}},
        "the versions differ in the runtime sklearn",
        id="the runtime",
    ),
    pytest.param(
        {"drift": {"reference": {"digest": "sha256:a"}}},
        {},
        "the versions differ in the training data's profile",
        id="the training profile",
    ),
]


@pytest.mark.parametrize(("ours", "theirs", "message"), SURROUNDINGS)
def test_an_edit_that_would_make_a_third_version_is_refused(
    ours: dict[str, Any], theirs: dict[str, Any], message: str
) -> None:
    """The object alone would bring neither version back, but start a canary of its own."""
    with pytest.raises(Refusal) as refusal:
        changes_between({**REJECTED, **ours}, {**BEFORE, **theirs})

    assert (refusal.value.why, refusal.value.message) == (Why.NOT_IN_OBJECT, message)


def test_a_file_that_is_too_long_or_not_text_is_not_read() -> None:
    """Reading costs time: a repository cannot stop the write-back by one file."""
    for content in (b"x" * 300_000, b"\xff\xfe\x00"):
        with pytest.raises(Refusal) as refusal:
            plan_edit(content, TARGET, REJECTED, BEFORE)
        assert refusal.value.why is Why.NOT_YAML


# --- laws ----------------------------------------------------------------------------------------

WORD = st.text(alphabet="abcXYZ019 :#'\"-_./{}[],&*!%@\\äß\u2028😀\t~|>?", max_size=12)
SCALARS = st.one_of(
    WORD, st.integers(-(10**9), 10**9), st.booleans(), st.floats(-1e6, 1e6, allow_nan=False)
)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, list[Any], list[Any]]:
    """A file with a list of values in mixed styles, the values, and others in their place."""
    old = draw(st.lists(SCALARS, min_size=1, max_size=6))
    new = draw(st.lists(SCALARS, min_size=len(old), max_size=len(old)))
    indent = draw(st.integers(0, 4)) * " "
    lines = ["# top\n", "values:\n"]
    for value in old:
        style = draw(st.sampled_from([None, "'", '"']))
        comment = draw(st.sampled_from(["", "   # note", '  # it\'s a "note"']))
        gap = draw(st.integers(1, 3)) * " "
        lines.append(f"{indent}-{gap}{spelled(value, style)}{comment}\n")
        lines.append(draw(st.sampled_from(["", "\n", f"{indent}# between\n"])))
    return "".join(lines) + "last: ü\n", old, new


@given(layouts())
@settings(max_examples=80, deadline=None)
def test_an_edit_is_read_back_and_undone(layout: tuple[str, list[Any], list[Any]]) -> None:
    """It changes the wanted values, leaves all between them, and the way back is as exact."""
    from headgate.core.writeback.source import Change

    text, old, new = layout
    [document] = documents(text)
    assert document.value()["values"] == old
    forth = [Change(("values", n), a, b) for n, (a, b) in enumerate(zip(old, new, strict=True))]
    spans = document.spans(forth)

    edited = replaced(text, spans)

    [after] = documents(edited)
    assert after.value() == {"values": new, "last": "ü"}
    assert _gaps(text, spans) == _gaps(edited, after.spans([_back(each) for each in forth]))
    back = replaced(edited, after.spans([_back(each) for each in forth]))
    [restored] = documents(back)
    assert restored.value() == document.value()
    if all(_keeps_style(text[a:b], each) for (a, b, _), each in zip(spans, forth, strict=True)):
        assert back == text


def _back(change: Any) -> Any:
    return type(change)(change.path, change.new, change.old)


def _gaps(text: str, spans: list[tuple[int, int, str]]) -> list[str]:
    """The text between the spans."""
    edges = [0, *(edge for start, end, _ in sorted(spans) for edge in (start, end)), len(text)]
    return [text[edges[n] : edges[n + 1]] for n in range(0, len(edges), 2)]


def _keeps_style(source: str, change: Any) -> bool:
    """Whether the new value is spelled in the style of the old one."""
    new = spelled(change.new, source[0] if source[0] in "'\"" else None)
    quote = source[0] if source[0] in "'\"" else ""
    return new.startswith(quote) if quote else not new.startswith('"')


@given(st.text(max_size=20))
def test_plain_text_is_read_as_itself_by_every_rule(text: str) -> None:
    """What is written without quotes is text for YAML 1.1 as well, in block and in flow."""
    if is_plain(text):
        assert yaml.safe_load(f"a: {text}\nb: [{text}, {{c: {text}}}]\n") == {
            "a": text,
            "b": [text, {"c": text}],
        }


def test_the_deployment_of_the_api_tests_can_be_edited_whole() -> None:
    """Every field that a person may write can stand in the file."""
    manifest = deployment()
    content = yaml.safe_dump(manifest).encode()
    ours = {key: manifest["spec"][key] for key in ("model", "template")}
    theirs = changed(copy.deepcopy(ours), {"model.version": "6"})

    edited = yaml.safe_load(plan_edit(content, TARGET, ours, theirs).content)

    assert edited == changed(manifest, {"spec.model.version": "6"})
