"""Dashboard and alerts ask for what Headgate really exports, in words Prometheus understands."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from tests.chart.rendering import CHART

from headgate.collector.events import Half, Result
from headgate.collector.telemetry import Telemetry as OfCollector
from headgate.core.lifecycle import Outcome
from headgate.ports import MODEL_DEPLOYMENT
from headgate.reconcile.world import Transition
from headgate.runtime.queue import Queue
from headgate.runtime.telemetry import Telemetry
from sandbox.builds import PROMETHEUS_SERVER, build
from sandbox.part import answers
from sandbox.ports import choose
from sandbox.processes import last_lines, spawn, stop, wait_until

ALERTS = CHART / "files" / "alerts.yaml"
OF_PROMETHEUS = frozenset({"job", "instance"})
START_SECONDS, STOP_SECONDS = 30, 10

_METRIC = re.compile(r"\b((?:headgate|process)_[a-z_]+)(?:\{([^}]*)\})?")
_BY = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def dashboard() -> dict[str, Any]:
    """The dashboard."""
    loaded: dict[str, Any] = json.loads((CHART / "files/dashboards/headgate.json").read_text())
    return loaded


def panels() -> list[tuple[str, str]]:
    """Title and expression of each graph."""
    return [
        (panel["title"], target["expr"])
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]


def alerts() -> list[dict[str, Any]]:
    """All alerts."""
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


EXPRESSIONS = [
    *(pytest.param(expression, id=f"panel {title}") for title, expression in panels()),
    *(pytest.param(alert["expr"], id=f"alert {alert['alert']}") for alert in alerts()),
]


def samples(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    """Name and labels of everything a registry exports."""
    for family in registry.collect():
        for sample in family.samples:
            yield sample.name, set(sample.labels)


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Labels by metric, of an operator and a collector that have done each thing once."""

    async def of_operator() -> list[tuple[str, set[str]]]:
        telemetry = Telemetry()
        telemetry.observe(Queue(lambda: 0.0), lambda: 0.0, lambda: 1)
        telemetry.waited(0.1)
        telemetry.passed("done", 0.1)
        telemetry.changed(
            Transition(
                phase="RolledBack",
                reason="Errors",
                message="",
                rollout="fraud-0007",
                revision="41aa0000",
                outcome="RolledBack",
                warning=True,
            )
        )
        telemetry.heard(MODEL_DEPLOYMENT)
        telemetry.resynced("ok")
        telemetry.missed("deleted", 1)
        telemetry.called("get", "modeldeployments", 403)
        await telemetry.timed_read(asyncio.sleep(0))
        # Collected in here: the queue's numbers read the clock of the running loop.
        return list(samples(telemetry.registry))

    collector = OfCollector()
    collector.became(Half.REQUEST, Result.COUNTED)
    return dict([*asyncio.run(of_operator()), *samples(collector.registry)])


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_is_exported(exported: dict[str, set[str]], expression: str) -> None:
    """No graph stays empty, no alert silent, because a name was changed or made up."""
    asked = _METRIC.findall(expression)
    names = {name for name, _ in asked}
    assert names
    assert names <= set(exported)

    labels = set.union(*(exported[name] for name in names)) | OF_PROMETHEUS
    by = {label.strip() for each in _BY.findall(expression) for label in each.split(",")}
    matched = {label for _, text in asked for label in re.findall(r"(\w+)\s*=", text)}
    assert by | matched <= labels


def test_the_words_of_results_and_codes_exist() -> None:
    """A matcher names a value that the code can write."""
    written = {
        "outcome": {each.value for each in Outcome},
        "result": {*(each.value for each in Result), "ok", "unavailable", "cancelled"},
        "code": {"403"},
    }
    for _, expression in [*panels(), *((rule["alert"], rule["expr"]) for rule in alerts())]:
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', expression):
            if label != "job":
                assert set(value.split("|")) <= written[label], expression


@pytest.mark.parametrize("alert", [pytest.param(each, id=each["alert"]) for each in alerts()])
def test_an_alert_says_what_it_means_and_what_to_do(alert: dict[str, Any]) -> None:
    """Each has a severity and two texts, and speaks of no label that its expression drops."""
    assert alert["labels"]["severity"] in ("info", "warning", "critical")
    texts = alert["annotations"]["summary"] + alert["annotations"]["description"]
    kept = {label.strip() for each in _BY.findall(alert["expr"]) for label in each.split(",")}

    assert len(alert["annotations"]["description"]) > 20
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= kept


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real Prometheus that has read the alerts."""
    folder = tmp_path_factory.mktemp("prometheus")
    configuration = {"rule_files": [str(ALERTS)], "scrape_configs": []}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    program = build(PROMETHEUS_SERVER, lambda line: print(line, file=sys.stderr)) / "prometheus"
    port = choose(["prometheus"], {}, seed=11)["prometheus"]
    command = [
        *(str(program), f"--config.file={folder / 'prometheus.yaml'}"),
        *(f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    log = folder / "prometheus.log"
    process = spawn(command, log)
    url = f"http://127.0.0.1:{port}"
    try:
        ready = wait_until(
            lambda: process.poll() is not None or answers(f"{url}/-/ready"), START_SECONDS
        )
        assert ready, last_lines(log, 20)
        assert process.poll() is None, last_lines(log, 20)
        yield url
    finally:
        stop(process, STOP_SECONDS)


def asked_of(prometheus: str, path: str) -> Any:
    """What Prometheus answers on a path of its API."""
    with urllib.request.urlopen(f"{prometheus}/api/v1/{path}", timeout=30) as answer:
        return json.load(answer)["data"]


def test_prometheus_loads_all_alerts(prometheus: str) -> None:
    """The rule file is one that the real Prometheus takes."""
    groups = asked_of(prometheus, "rules")["groups"]
    loaded = [rule["name"] for group in groups for rule in group["rules"]]

    assert loaded == [alert["alert"] for alert in alerts()]


@pytest.mark.parametrize(
    "expression", [pytest.param(expression, id=title) for title, expression in panels()]
)
def test_prometheus_understands_each_graph(prometheus: str, expression: str) -> None:
    """The real Prometheus answers each panel's query once Grafana has filled in its variables."""
    filled = expression.replace("$job", ".*")
    for variable in ("$__rate_interval", "$__range"):
        filled = filled.replace(variable, "5m")

    assert "$" not in filled
    query = urllib.parse.urlencode({"query": filled})
    assert asked_of(prometheus, f"query?{query}")["resultType"] == "vector"


def test_the_dashboard_stands_by_itself() -> None:
    """It asks for the data source instead of naming one, and no two panels overlap."""
    loaded = dashboard()
    ids = [panel["id"] for panel in loaded["panels"]]
    taken: set[tuple[int, int]] = set()
    for panel in loaded["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells

    assert {variable["name"] for variable in loaded["templating"]["list"]} == {"datasource", "job"}
    assert len(ids) == len(set(ids))
    assert max(x for x, _ in taken) < 24
