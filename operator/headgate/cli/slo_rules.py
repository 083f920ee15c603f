"""Objectives as recording and alerting rules of Prometheus, and as Pyrra's objects.

Owns the names that Sloth's and Pyrra's dashboards and alerts read. Must not know files.

The names and labels of the rules are those that Sloth 0.16 writes (https://github.com/slok/sloth,
Apache-2.0), so that what shows Sloth's SLOs shows ours. Three things are not as Sloth does them:

    the whole window      by requests; Sloth averages the 5 min ratios over time, in which a request
                          at night weighs more than one at noon
    no failure counter    0, as long as there are requests; Sloth's ratio is absent then
    no requests           absent; a ratio of nothing is no ratio

For windows other than 30 d the alerts' factors are those of `core.slo.budget`. The rules use
`rate`, which extrapolates: they are for dashboards and pages, and no gate reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from headgate import __version__
from headgate.adapters.packs import Pack
from headgate.adapters.prometheus_query import quote
from headgate.adapters.prometheus_selectors import (
    errors_of,
    latency_of,
    matching,
    one_of,
    one_of_classes,
    route_pattern,
    spellings,
)
from headgate.cli.slo_levels import NotUsable, Promises
from headgate.core.counters import BAD
from headgate.core.slo.budget import WINDOWS, Pair, Severity, pairs_of
from headgate.core.slo.gate import in_words
from headgate.core.slo.level import Errors, Latency, Own, Selector, ServiceLevel
from headgate.ports import Service

Rule = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """One selector as PromQL, without a range."""

    metric: str
    matchers: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.metric}{{{','.join(self.matchers)}}}" if self.matchers else self.metric


@dataclass(frozen=True, slots=True)
class Counters:
    """What an objective counts: all requests, and either the good or the bad ones."""

    total: Written
    good: Written | None = None
    bad: Written | None = None

    def failing(self, window: str) -> str:
        """The share of requests that failed in a window such as `5m`; absent without requests."""
        total = f"sum(rate({self.total}[{window}]))"
        if self.bad is not None:
            failed = f"(sum(rate({self.bad}[{window}])) or 0 * {total})"
            return f"{failed}\n/\n({total} > 0)"
        return f"1 - (\n  sum(rate({self.good}[{window}]))\n  /\n  ({total} > 0)\n)"


def counters_of(level: ServiceLevel, service: Service, pack: Pack) -> Counters:
    """Name the counters of an objective, over all backends of the service's route."""
    route = f"{pack.arm.label}=~{quote(route_pattern(pack, service))}"
    match level.counts:
        case Errors():
            source = errors_of(pack)
            bad = sorted(key for key, outcome in source.outcomes.items() if outcome == BAD)
            of_class = [
                f"{source.label}{one_of_classes(keys)}" for keys in (bad, sorted(source.outcomes))
            ]
            failed, all_ = (Written(source.metric, (route, each)) for each in of_class)
            return Counters(all_, bad=failed)
        case Latency(threshold):
            bound = _bound(threshold, pack)
            le = f"{latency_of(pack).label}{one_of(sorted(spellings(bound)))}"
            every = f'{latency_of(pack).label}="+Inf"'
            metric = latency_of(pack).metric
            return Counters(Written(metric, (route, every)), good=Written(metric, (route, le)))
        case Own() as own:
            return Counters(
                _own(own.total),
                good=_own(own.good) if own.good else None,
                bad=_own(own.bad) if own.bad else None,
            )


def _bound(threshold: timedelta, pack: Pack) -> str:
    seconds = Decimal(threshold // timedelta(microseconds=1)) / 1_000_000
    return f"{(seconds / latency_of(pack).seconds_per_unit).normalize():f}"


def _own(selector: Selector) -> Written:
    matchers = matching(selector).items()
    return Written(selector.metric, tuple(f"{name}{rest}" for name, rest in matchers))


def render_rules(promises: Promises, pack: Pack) -> dict[str, Any]:
    """Write a rules file for Prometheus: three groups per objective, named as Sloth's."""
    groups = []
    for level in promises.levels:
        labels = _labels(promises.service, level)
        counters = counters_of(level, promises.service, pack)
        named = {
            "sli-recordings": list(_sli_rules(level, counters, labels)),
            "meta-recordings": list(_meta_rules(level, labels)),
            "alerts": list(_alerts(level, labels)),
        }
        groups += [
            {"name": f"sloth-slo-{name}-{labels['sloth_id']}", "rules": rules}
            for name, rules in named.items()
        ]
    return {"groups": groups}


def _labels(service: Service, level: ServiceLevel) -> dict[str, str]:
    """Name an objective as Sloth does; a dot is in no namespace, so no two services are alike."""
    name = f"{service.namespace}.{service.deployment}"
    return {
        "sloth_id": f"{name}-{level.name}",
        "sloth_service": name,
        "sloth_slo": level.name,
    }


def _sli_rules(
    level: ServiceLevel, counters: Counters, labels: Mapping[str, str]
) -> Iterator[Rule]:
    for window in sorted({*(each for each in WINDOWS if each < level.window), level.window}):
        words = in_words(window)
        yield {
            "record": f"slo:sli_error:ratio_rate{words}",
            "expr": counters.failing(words),
            "labels": {**labels, "sloth_window": words},
        }


def _meta_rules(level: ServiceLevel, labels: Mapping[str, str]) -> Iterator[Rule]:
    chosen = _chosen(labels)
    budget = f"slo:error_budget:ratio{chosen}"
    per_budget = "/ on(sloth_id, sloth_slo, sloth_service) group_left"
    whole = f"slo:sli_error:ratio_rate{in_words(level.window)}{chosen}"
    days = level.window / timedelta(days=1)
    records = {
        "slo:objective:ratio": f"vector({level.target.normalize():f})",
        "slo:error_budget:ratio": f"vector({_budget(level)})",
        "slo:time_period:days": f"vector({days:g})",
        "slo:current_burn_rate:ratio": (
            f"slo:sli_error:ratio_rate5m{chosen}\n{per_budget}\n{budget}"
        ),
        "slo:period_burn_rate:ratio": f"{whole}\n{per_budget}\n{budget}",
        "slo:period_error_budget_remaining:ratio": f"1 - slo:period_burn_rate:ratio{chosen}",
    }
    for record, expression in records.items():
        yield {"record": record, "expr": expression, "labels": dict(labels)}
    about = {
        "sloth_mode": "headgate",
        "sloth_objective": f"{(100 * level.target).normalize():f}",
        "sloth_spec": "headgate.dev/v1alpha1",
        "sloth_version": __version__,
    }
    yield {"record": "sloth_slo_info", "expr": "vector(1)", "labels": {**labels, **about}}


def _alerts(level: ServiceLevel, labels: Mapping[str, str]) -> Iterator[Rule]:
    for severity in Severity:
        pairs = [pair for pair in pairs_of(level.window) if pair.severity is severity]
        if pairs:
            yield {
                "alert": "HeadgateErrorBudgetBurn",
                "expr": "\nor\n".join(_both(pair, level, labels) for pair in pairs),
                "labels": {"sloth_severity": severity.value},
                "annotations": {
                    "summary": (
                        f"{labels['sloth_service']} spends the error budget of {level.name} too "
                        "fast."
                    ),
                    "title": (
                        f"({severity.value}) {{{{$labels.sloth_service}}}} "
                        "{{$labels.sloth_slo}} SLO error budget burn rate is too fast."
                    ),
                },
            }


def _both(pair: Pair, level: ServiceLevel, labels: Mapping[str, str]) -> str:
    limit = f"({pair.factor:g} * {_budget(level)})"
    sides = (
        f"    max(slo:sli_error:ratio_rate{in_words(window)}{_chosen(labels)} > {limit}) "
        "without (sloth_window)"
        for window in (pair.short, pair.long)
    )
    return "(\n" + "\n    and\n".join(sides) + "\n)"


def _chosen(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{name}={quote(value)}" for name, value in labels.items()) + "}"


def _budget(level: ServiceLevel) -> str:
    return f"{(1 - level.target).normalize():f}"


def render_pyrra(promises: Promises, pack: Pack) -> Sequence[dict[str, Any]]:
    """Write one pyrra.dev/v1alpha1 ServiceLevelObjective per objective.

    Raises NotUsable for what Pyrra has no indicator for: good requests that are no bucket.
    """
    return [_pyrra(level, promises.service, pack) for level in promises.levels]


def _pyrra(level: ServiceLevel, service: Service, pack: Pack) -> dict[str, Any]:
    return {
        "apiVersion": "pyrra.dev/v1alpha1",
        "kind": "ServiceLevelObjective",
        "metadata": {
            "name": f"{service.deployment}-{level.name}",
            "namespace": service.namespace,
            "labels": {"app.kubernetes.io/part-of": "headgate"},
        },
        "spec": {
            "target": f"{(100 * level.target).normalize():f}",
            "window": in_words(level.window),
            "description": f"Objective {level.name} of ModelDeployment {service.deployment}.",
            "indicator": _indicator(level, service, pack),
        },
    }


def _indicator(level: ServiceLevel, service: Service, pack: Pack) -> dict[str, Any]:
    """Write an indicator; Pyrra wants the bound as one number, and the count beside buckets."""
    counters = counters_of(level, service, pack)
    if counters.bad is not None:
        return _pyrra_pair("ratio", "errors", str(counters.bad), str(counters.total))
    match level.counts:
        case Latency(threshold):
            metric, route = latency_of(pack).metric, counters.total.matchers[0]
            label, bound = latency_of(pack).label, _bound(threshold, pack)
            success = Written(metric, (route, f"{label}={quote(bound)}"))
            total = Written(f"{metric.removesuffix('_bucket')}_count", (route,))
            return _pyrra_pair("latency", "success", str(success), str(total))
        case Own(good=Selector() as good) if "le" in dict(good.matchers):
            bound = f"le={quote(dict(good.matchers)['le'])}"
            others = (f"{name}{rest}" for name, rest in matching(good).items() if name != "le")
            success = Written(good.metric, (*others, bound))
            return _pyrra_pair("latency", "success", str(success), str(counters.total))
    raise NotUsable(
        f"objective {level.name}: Pyrra counts bad requests, or a bucket (le) of good ones; "
        "series.good is neither"
    )


def _pyrra_pair(kind: str, role: str, part: str, total: str) -> dict[str, Any]:
    return {kind: {role: {"metric": part}, "total": {"metric": total}}}
