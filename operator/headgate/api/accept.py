"""
Owns the way from a manifest to a value: whether a spec can be acted upon, by itself alone.

The API server has checked types, ranges and CEL rules before; they are checked again, as objects
may be older than their CRD. What CEL cannot see is checked only here: KServe's part of the
template, bounds of durations in days, and lengths that need the namespace. It must not look at
the world.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_snake
from pydantic_core import ErrorDetails

from headgate.core.revision import CANONICAL

from .model_deployment import ModelDeployment, Objective, Step
from .proven_revision import ProvenRevision
from .shape import GROUP, Shape
from .signals import ModelSignal, Selector

TEMPLATE = "spec.template"
PROVEN = "spec.rollout.provenRevision"
DEEPEST = 64
"""Levels of maps and lists a manifest may have; KServe's own need about twenty."""

COMPONENTS = ("predictor", "transformer", "explainer")
LONGEST_HOST_LABEL = 63
"""Longest label of a host name, RFC 1035 2.3.4."""

STANDARD = "Standard"
DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"
VISIBILITY = "networking.kserve.io/visibility"

_RESERVED_LABELS = {
    "app.kubernetes.io/managed-by": "Headgate manages the InferenceService",
    VISIBILITY: "Headgate makes the only route to it",
    "serving.kserve.io/inferenceservice": "KServe deletes what carries it and is not its own",
    "component": "KServe selects by it",
}
_LEGACY_FRAMEWORKS = (
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
)
"""KServe's older spelling of `model`, which it rewrites itself."""
_RESERVED_ANNOTATIONS = {
    "serving.kserve.io/stop": "Headgate stops and starts revisions",
    "serving.kserve.io/disable-auto-update": "Headgate stops and starts revisions",
}

S = TypeVar("S", bound=Shape)


class Invalid(Exception):
    """
    A manifest that cannot be acted upon until it is changed.

    Args:
        field: Path of the field, such as spec.rollout.steps[1].weight.
        wanted: What it should have been.
        found: What it is, short.
    """

    def __init__(self, field: str, wanted: str, found: str) -> None:
        super().__init__(f"{field}: wanted {wanted}, found {found}")
        self.field = field
        self.wanted = wanted
        self.found = found


def parse(manifest: Mapping[str, Any]) -> ModelDeployment:
    """
    Read a ModelDeployment and check all that can be checked without looking at the world.

    Raises:
        Invalid: Names the first field that is wrong.
    """
    deployment = read(ModelDeployment, manifest)
    spec = deployment.spec
    _check_names(deployment)
    if spec.rollout.auto is not None and spec.rollout.steps is not None:
        raise Invalid("spec.rollout", "steps or auto", "both")
    _check_steps(spec.rollout.stages)
    _check_unique("spec.traffic.hostnames", "", spec.traffic.hostnames)
    _check_objectives(spec.objectives)
    _check_unique("spec.objectives", ".name", [objective.name for objective in spec.objectives])
    _check_signals(spec.signals)
    _check_unique("spec.signals", ".name", [signal.name for signal in spec.signals])
    if spec.drift is not None and spec.drift.predictions is None and spec.drift.inputs is None:
        raise Invalid("spec.drift", "predictions, inputs or both", "neither")
    if spec.drift is not None:
        _check_one_of("spec.drift.reference", spec.drift.reference, ("configMap", "url"))
    _check_template(TEMPLATE, spec.template.manifest())
    if spec.rollout.proven_revision is not None:
        _check_proven(spec.rollout.proven_revision)
    return deployment


def read(shape: type[S], manifest: Mapping[str, Any]) -> S:
    """
    Read a manifest of any kind by its types alone.

    Raises:
        Invalid: Names the first field that is wrong.
    """
    _check_depth(manifest)
    try:
        text = json.dumps(manifest, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Invalid("object", "JSON values only", str(error)) from error
    try:
        return shape.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise _first(error) from error


def _check_depth(manifest: object) -> None:
    """Refuse what would exhaust the stack of those who walk the object later."""
    level = [manifest]
    for _ in range(DEEPEST):
        level = [item for node in level for item in _children(node)]
        if not level:
            return
    raise Invalid("object", f"at most {DEEPEST} levels of maps and lists", "more")


def _children(node: object) -> Iterator[object]:
    match node:
        case Mapping():
            yield from node.values()
        case list() | tuple():
            yield from node


# Pydantic's error types in our words; {} are the error's own context. Others keep its message.
_WANTED = {
    "missing": "a value",
    "extra_forbidden": "no such field",
    "quantity": "{wanted}",
    "string_type": "text; put it into quotes",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "enum": "{expected}",
    "literal_error": "{expected}",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "tuple_type": "a list",
    "dict_type": "a map",
    "model_type": "a map",
}


def _first(error: ValidationError) -> Invalid:
    """Put the first of pydantic's errors into our form."""
    details: ErrorDetails = error.errors(include_url=False)[0]
    wanted = _WANTED.get(details["type"], details["msg"])
    context = {key: str(value) for key, value in details.get("ctx", {}).items()}
    found = "nothing" if details["type"] == "missing" else _short(details["input"])
    return Invalid(_path(details["loc"]), wanted.format(**context), found)


def _path(location: Sequence[int | str]) -> str:
    """Write a location as kubectl does: `spec.rollout.steps[1].weight`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return "".join(steps).lstrip(".") or "object"


def _short(value: object) -> str:
    """Show a value in at most 60 characters, ASCII only: it may end in a terminal."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_names(deployment: ModelDeployment) -> None:
    """
    Check what the deployment's own name has to fit into.

    KServe's default host is `<service>-<component>-<namespace>` in one DNS label, and our services
    are named `<deployment>-<8 hexadecimal digits>` (facts of KServe 0.20: reconciling fails else).
    """
    name, namespace = deployment.metadata.name, deployment.metadata.namespace
    if len(name) > 40:
        raise Invalid("metadata.name", "at most 40 characters", str(len(name)))
    if not name[:1].isalpha() or "." in name:
        raise Invalid("metadata.name", "a DNS label that begins with a letter", _short(name))
    present = [part for part in COMPONENTS if part in deployment.spec.template.spec]
    longest = max((len(f"-{part}-") for part in present), default=len("-predictor-"))
    room = LONGEST_HOST_LABEL - len("-01234567") - longest
    if len(name) + len(namespace) > room:
        wanted = f"at most {room} characters together with the namespace, as KServe's host names do"
        raise Invalid("metadata.name", wanted, f"{len(name)} and {len(namespace)}")


def _check_steps(steps: Sequence[Step]) -> None:
    for index in range(1, len(steps)):
        before, weight = steps[index - 1].weight, steps[index].weight
        if weight <= before:
            field = f"spec.rollout.steps[{index}].weight"
            raise Invalid(field, f"a weight above {before} (steps ascend)", str(weight))


def _check_unique(field: str, key: str, values: Sequence[str]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise Invalid(f"{field}[{index}]{key}", "each only once", _short(value))


def _check_objectives(objectives: Sequence[Objective]) -> None:
    for index, objective in enumerate(objectives):
        field = f"spec.objectives[{index}]"
        _check_one_of(field, objective, ("errors", "latency", "series"))
        if objective.series is None:
            continue
        _check_one_of(f"{field}.series", objective.series, ("good", "bad"))
        for name in ("good", "bad", "total"):
            selector = getattr(objective.series, name)
            if selector is not None:
                _check_own(f"{field}.series.{name}", selector)


def _check_one_of(field: str, part: Shape, names: Sequence[str]) -> None:
    given = [name for name in names if getattr(part, to_snake(name)) is not None]
    if len(given) != 1:
        wanted = f"exactly one of {', '.join(names[:-1])} and {names[-1]}"
        raise Invalid(field, wanted, " and ".join(given) or "none of them")


_NO_COUNTERS = {
    "_sum": "the sum of a histogram or summary",
    "_created": "a time",
    "_bucket": "the buckets of a histogram",
}
"""Endings of metrics that count no events by themselves."""


def _check_signals(signals: Sequence[ModelSignal]) -> None:
    for index, signal in enumerate(signals):
        field = f"spec.signals[{index}]"
        _check_one_of(field, signal, ("pack", "ratio", "histogram", "categories"))
        if signal.threshold is not None and signal.pack is None and signal.histogram is None:
            raise Invalid(f"{field}.threshold", "no value (only values have one)", signal.threshold)
        if signal.ratio is not None:
            _check_counter(f"{field}.ratio.bad", signal.ratio.bad)
            _check_counter(f"{field}.ratio.total", signal.ratio.total)
        if signal.categories is not None:
            _check_counter(f"{field}.categories.counter", signal.categories.counter)
        if signal.histogram is not None:
            buckets = signal.histogram.buckets.metric
            if not buckets.endswith("_bucket"):
                wanted = "the raw buckets of a histogram, a name that ends in _bucket"
                raise Invalid(f"{field}.histogram.buckets.metric", wanted, _short(buckets))
            _check_any_of(f"{field}.histogram.buckets", signal.histogram.buckets)


def _check_own(field: str, selector: Selector) -> None:
    """Check a counter of an objective, which may be one bucket of a histogram."""
    if not selector.metric.endswith("_bucket") or "le" not in selector.matchers:
        _check_counter(field, selector)
    _check_any_of(field, selector)


def _check_counter(field: str, selector: Selector) -> None:
    """Refuse names that are no raw counter's; the type in Prometheus is looked at later."""
    metric = selector.metric
    if ":" in metric:
        wanted = "a raw counter; a colon marks what a recording rule has calculated"
        raise Invalid(f"{field}.metric", wanted, _short(metric))
    for ending, meaning in _NO_COUNTERS.items():
        if metric.endswith(ending):
            raise Invalid(f"{field}.metric", f"a counter of events, not {meaning}", _short(metric))
    if "quantile" in selector.matchers or "le" in selector.matchers:
        raise Invalid(f"{field}.matchers", "no quantile and no le", "one of them")
    _check_any_of(field, selector)


def _check_any_of(field: str, selector: Selector) -> None:
    """Refuse labels with two rules, and those that mean something else in series of ours."""
    for label in selector.any_of or ():
        if label in ("quantile", "le"):
            raise Invalid(f"{field}.anyOf", "no quantile and no le", "one of them")
        if label in selector.matchers:
            raise Invalid(f"{field}.anyOf", "no label that matchers has", label)


def _check_proven(proven: ProvenRevision) -> None:
    """Check that what was kept of a proven revision is what was written, and can be acted upon."""
    if proven.canonical != CANONICAL:
        raise Invalid(f"{PROVEN}.canonical", str(CANONICAL), str(proven.canonical))
    if proven.content_digest != proven.digest:
        wanted = f"{proven.content_digest}, the digest of what it keeps (headgate export --proven)"
        raise Invalid(f"{PROVEN}.digest", wanted, proven.digest)
    if proven.content_hash not in (None, proven.hash):
        raise Invalid(f"{PROVEN}.hash", f"{proven.content_hash}, that of its content", proven.hash)
    _check_template(f"{PROVEN}.template", proven.template.manifest())


def _check_template(field: str, template: Mapping[str, Any]) -> None:
    """Check KServe's part of the template, which is verbatim and so unseen by CEL."""
    metadata, spec = template.get("metadata", {}), template.get("spec", {})
    _check_labels(f"{field}.metadata.labels", metadata.get("labels"))
    _check_annotations(f"{field}.metadata.annotations", metadata.get("annotations"))
    if not isinstance(spec.get("predictor"), Mapping) or not spec["predictor"]:
        raise Invalid(f"{field}.spec.predictor", "KServe's predictor", _given(spec, "predictor"))
    _refuse(f"{field}.spec", spec, "canary", "Headgate moves the traffic")
    for name in COMPONENTS:
        if name in spec:
            _check_component(f"{field}.spec.{name}", spec[name])
    _check_predictor(f"{field}.spec.predictor", spec["predictor"])


def _check_predictor(field: str, predictor: Mapping[str, Any]) -> None:
    """Check what we read of a predictor: its model, for the public name and the probe."""
    for name in _LEGACY_FRAMEWORKS:
        why = f"write predictor.model with modelFormat.name {name}"
        _refuse(field, predictor, name, why)
    if predictor.get("minReplicas") == 0:
        raise Invalid(f"{field}.minReplicas", "at least 1: what does not run proves nothing", "0")
    if "model" not in predictor:
        return
    model = predictor["model"]
    _check_map(f"{field}.model", model)
    _check_map(f"{field}.model.modelFormat", model.get("modelFormat"))
    _check_text(f"{field}.model.modelFormat.name", model["modelFormat"].get("name"))
    for name in ("runtime", "protocolVersion"):
        if name in model:
            _check_text(f"{field}.model.{name}", model[name])
    arguments = model.get("args", [])
    if not isinstance(arguments, list):
        raise Invalid(f"{field}.model.args", "a list", _short(arguments))
    for index, argument in enumerate(arguments):
        _check_text(f"{field}.model.args[{index}]", argument)


def _check_map(field: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise Invalid(field, "a map", "nothing" if value is None else _short(value))


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise Invalid(field, "text", "nothing" if value is None else _short(value))


def _check_component(field: str, component: object) -> None:
    if not isinstance(component, Mapping):
        raise Invalid(field, "a map", _short(component))
    _refuse(field, component, "canaryTrafficPercent", "Headgate moves the traffic")
    _refuse(field, component, "name", "Headgate finds the Service by its default name")
    _check_labels(f"{field}.labels", component.get("labels"))
    _check_annotations(f"{field}.annotations", component.get("annotations"))


def _check_labels(field: str, labels: object) -> None:
    _check_reserved(field, labels, _RESERVED_LABELS)


def _check_annotations(field: str, annotations: object) -> None:
    _check_reserved(field, annotations, _RESERVED_ANNOTATIONS)
    if isinstance(annotations, Mapping):
        mode = annotations.get(DEPLOYMENT_MODE, STANDARD)
        if mode != STANDARD:
            raise Invalid(f"{field}[{DEPLOYMENT_MODE}]", STANDARD, _short(mode))


def _check_reserved(field: str, entries: object, reserved: Mapping[str, str]) -> None:
    """Refuse keys that Headgate sets itself; `None` stands for no entries."""
    if entries is None:
        return
    if not isinstance(entries, Mapping):
        raise Invalid(field, "a map", _short(entries))
    for key, value in entries.items():
        prefix = key.partition("/")[0]
        if prefix == GROUP or prefix.endswith(f".{GROUP}"):
            raise Invalid(f"{field}[{key}]", f"no key of {GROUP}, it is reserved", _short(value))
        if key in reserved:
            raise Invalid(f"{field}[{key}]", f"no value ({reserved[key]})", _short(value))


def _refuse(field: str, entries: Mapping[str, Any], name: str, why: str) -> None:
    if name in entries:
        raise Invalid(f"{field}.{name}", f"no such field ({why})", _short(entries[name]))


def _given(entries: Mapping[str, Any], name: str) -> str:
    return _short(entries[name]) if name in entries else "nothing"
