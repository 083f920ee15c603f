"""What of the chart is made from the code equals what the code makes now."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
import yaml
from tests.chart.rendering import CHART, ROOT

import headgate
from headgate.api import crds
from headgate.runtime.settings import entries


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The names of charts/schema.py."""
    return runpy.run_path(str(ROOT / "charts" / "schema.py"))


def test_the_chart_holds_the_crds_byte_for_byte() -> None:
    """crds/ is the only source; `make crds` writes both."""
    ours = {path.name: path.read_bytes() for path in (ROOT / "crds").glob("*.yaml")}
    charts = {path.name: path.read_bytes() for path in (CHART / "files" / "crds").iterdir()}

    assert charts == ours
    assert len(ours) == len(crds.KINDS)


def test_every_crd_says_which_headgate_it_is_of() -> None:
    """The version is the package's and the chart's, so that an older chart is known as older."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    rendered = [crds.render(kind)["metadata"]["annotations"] for kind in crds.KINDS]
    versions = {annotations[crds.VERSION_ANNOTATION] for annotations in rendered}

    assert versions == {headgate.__version__}
    assert chart["appVersion"] == chart["version"] == headgate.__version__


def test_the_schema_is_that_of_the_script(script: dict[str, Any]) -> None:
    """Settings of the operator that come or go are seen here: `make chart`."""
    assert (CHART / "values.schema.json").read_text() == script["schema_text"]()


def test_the_table_of_values_is_true(script: dict[str, Any]) -> None:
    """docs/install.md shows each value with the default of values.yaml."""
    page = (ROOT / "docs" / "install.md").read_text()

    assert script["BEGIN"] in page
    assert page == script["page"](page)


def test_every_default_is_described_and_every_description_has_a_default(
    script: dict[str, Any],
) -> None:
    """values.yaml and the schema name the same values."""
    values = script["defaults"]()

    def leaves(node: dict[str, Any], above: str = "") -> set[str]:
        found: set[str] = set()
        for name, value in node.items():
            path = f"{above}{name}"
            if path in script["ROWS"] or not isinstance(value, dict):
                found.add(path)
            else:
                found |= leaves(value, f"{path}.")
        return found

    assert leaves(values) == set(script["ROWS"])


def test_no_secret_has_a_place_in_the_values(script: dict[str, Any]) -> None:
    """A setting whose value is a secret cannot be written into values: only a Secret holds it."""
    secret = {script["camel"](each.name) for each in entries() if each.setting.secret}
    free = script["render"]()["properties"]["settings"]["properties"]

    assert "prometheusHeader" in secret
    assert not secret & set(free)
