"""Selectors of a whole route, and of a user's own series, as PromQL.

Owns escaping, and the ways in which a label is written. Must not know what is done with a selector.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from headgate.adapters.packs import Errors, Latency, Pack
from headgate.adapters.prometheus_query import quote
from headgate.core.slo.level import Selector
from headgate.ports import Service

_REGEX_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
# Stand for "any position" and "any hash" until the rest of an arm's label is escaped; neither is
# possible in a Kubernetes name.
_POSITION, _HASH = "\ue000", "\ue001"


def escape(text: str) -> str:
    """Return a pattern (RE2) that matches `text` and nothing else."""
    return _REGEX_SPECIAL.sub(r"\\\g<0>", text)


def one_of(values: Sequence[str]) -> str:
    """Return the rest of a matcher that takes any of these values, as text."""
    return f"=~{quote('|'.join(map(escape, values)))}"


_CLASS = re.compile(r"[0-9]xx")


def one_of_classes(values: Sequence[str]) -> str:
    """As `one_of`, where `5xx` stands for every number of three digits that begins with 5."""
    patterns = (f"{v[0]}[0-9][0-9]" if _CLASS.fullmatch(v) else escape(v) for v in values)
    return f"=~{quote('|'.join(patterns))}"


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
    pattern = escape(value.removesuffix("*")) + (".*" if value.endswith("*") else "")
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
    """Write a user's matchers, by label: equal to its value, or one of several.

    A bucket's bound is found by what it says, however it is written.
    """
    written = {}
    for name, values in selector.values.items():
        if name == "le":
            values = tuple(sorted({each for value in values for each in spellings(value)}))
        written[name] = f"={quote(values[0])}" if len(values) == 1 else one_of(values)
    return written
