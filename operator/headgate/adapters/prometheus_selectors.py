"""Selectors of a whole route, and of a user's own series, as PromQL.

Owns escaping, and the ways in which a label is written. Must not know what is done with a selector.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from headgate.adapters.packs import Errors, Latency, Pack
from headgate.adapters.prometheus_query import any_pattern, class_pattern, escaped, quote
from headgate.core.slo.level import Selector
from headgate.ports import Service

# Stand for "any position" and "any hash" until the rest of an arm's label is escaped; neither is
# possible in a Kubernetes name.
_POSITION, _HASH = "\ue000", "\ue001"


def one_of(values: Sequence[str]) -> str:
    """Return the rest of a matcher that takes any of these values, as text."""
    return f"=~{quote('|'.join(map(escaped, values)))}"


def one_of_classes(values: Sequence[str]) -> str:
    """As `one_of`, where `5xx` stands for every number of three digits that begins with 5."""
    return f"=~{quote('|'.join(map(class_pattern, values)))}"


def errors_of(pack: Pack) -> Errors:
    """Return the pack's counter of answers by class; raises ValueError if it has none."""
    if pack.errors is None:
        raise ValueError(f"pack {pack.name} counts no errors of a service")
    return pack.errors


def latency_of(pack: Pack) -> Latency:
    """Return the pack's histogram of response times; raises ValueError if it has none."""
    if pack.latency is None:
        raise ValueError(f"pack {pack.name} counts no latency of a service")
    return pack.latency


def route_pattern(pack: Pack, service: Service) -> str:
    """Return the pattern of the pack's arm label over the backends of the service."""
    return arm_pattern(pack.arm.value, service)


def arm_pattern(template: str, service: Service) -> str:
    """Return the pattern of an arm's label: of the one revision that is named, or of any."""
    hash_ = _HASH if service.hash is None else service.hash
    value = template.format(
        namespace=service.namespace,
        route=service.route,
        deployment=service.deployment,
        position=_POSITION if service.position is None else service.position,
        hash=hash_,
        revision=f"{service.deployment}-{hash_}",
    )
    pattern = escaped(value.removesuffix("*")) + (".*" if value.endswith("*") else "")
    return pattern.replace(_POSITION, "[0-9]+").replace(_HASH, "[0-9a-f]+")


def spellings(label: str) -> frozenset[str]:
    """List the ways a bucket's bound is written: `250` became `250.0` with Prometheus 3.

    What is no number has the one spelling.
    """
    try:
        number = Decimal(label)
    except InvalidOperation:
        return frozenset({label})
    if not number.is_finite():
        return frozenset({label})
    short = f"{number.normalize():f}"
    return frozenset({label, short, short if "." in short else f"{short}.0"})


def matching(selector: Selector) -> dict[str, str]:
    """Write a user's matchers, by label: equal to its value, or any of several.

    A bucket's bound is found by what it says, however it is written.
    """
    written = {}
    for name, value in selector.matchers:
        ways = sorted(spellings(value)) if name == "le" else [value]
        written[name] = f"={quote(value)}" if len(ways) == 1 else one_of(ways)
    return written | {name: f"=~{quote(any_pattern(v))}" for name, v in selector.any_of}
