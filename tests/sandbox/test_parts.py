"""The list of parts, and what is rendered for them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.builds import FLUX_MODULES
from sandbox.kserve import render_configuration, render_webhooks
from sandbox.part import Option, Part
from sandbox.parts import ALL, ports, recipes, select
from sandbox.parts import OPTIONS as ALL_OPTIONS
from sandbox.paths import SOURCES
from sandbox.prometheus import SCRAPE_SECONDS
from sandbox.prometheus import render_configuration as render_prometheus
from sandbox.world import PORTS


def test_every_need_is_a_part_that_comes_before() -> None:
    """No part waits for one that does not exist or that waits for it."""
    seen: set[str] = set()
    for part in ALL:
        assert set(part.needs) <= seen, part.name
        seen.add(part.name)


@pytest.mark.parametrize("option", [pytest.param(each, id=each.name) for each in ALL_OPTIONS])
def test_every_need_of_an_option_comes_before(option: Option) -> None:
    """An option can be added to the usual parts whatever other options there are."""
    seen: set[str] = set()
    for part in select([], [option.name]):
        assert set(part.needs) <= seen, part.name
        seen.add(part.name)
    assert not seen & set(option.instead_of)


def test_a_part_can_be_left_out() -> None:
    """What is left out is neither started nor built, nor is what goes with it."""
    names = [part.name for part in select(["headgate"])]
    built = {recipe.name for recipe in recipes(select(["headgate"]))}

    assert names == [part.name for part in ALL if part.name not in ("headgate", "collector")]
    assert "headgate" not in built


def test_leaving_out_what_does_not_exist_names_what_does() -> None:
    """A typo is not ignored."""
    with pytest.raises(ValueError, match=r"no part 'headgaet'; the parts are control-plane, kser"):
        select(["headgaet"])


def _part(name: str) -> Part:
    return Part(name, lambda world: [], lambda world: True, lambda world: "")


OPTIONS = (
    Option("flux", (_part("git"), _part("source")), ("git", "source"), instead_of=("gitsync",)),
    Option("argocd", (_part("git"), _part("server")), ("git", "redis")),
)


def test_an_option_comes_only_when_it_is_asked_for() -> None:
    """Its parts come after all others, and what it stands in for does not run beside them."""
    usual = [part.name for part in ALL]

    with_flux = [part.name for part in select([], ["flux"], options=OPTIONS)]

    assert [part.name for part in select([], options=OPTIONS)] == usual
    assert with_flux == [*(name for name in usual if name != "gitsync"), "git", "source"]


def test_a_part_of_two_options_runs_once() -> None:
    """Two options may need the same server, on the same port."""
    names = [part.name for part in select([], ["flux", "argocd"], options=OPTIONS)]

    assert names[-3:] == ["git", "source", "server"]
    assert ports(["flux", "argocd"], OPTIONS) == [*PORTS, "git", "source", "redis"]


def test_a_part_of_an_option_can_be_left_out() -> None:
    """Who looks for a fault may start one part by hand."""
    assert "source" not in [part.name for part in select(["source"], ["flux"], options=OPTIONS)]


def test_an_option_that_does_not_exist_names_those_that_do() -> None:
    """A typo is not ignored."""
    with pytest.raises(ValueError, match=r"no option 'fulx'; the options are flux, argocd"):
        select([], ["fulx"], options=OPTIONS)


def test_flux_runs_the_version_whose_crds_are_applied() -> None:
    """Programs are pinned in a go.sum and CRDs beside it: both name one content."""
    pinned = (SOURCES / "flux" / "go.sum").read_text().splitlines()

    for module in FLUX_MODULES[:2]:
        assert f"{module.path} {module.version} {module.checksum}" in pinned


def test_a_recipe_of_two_parts_is_made_once() -> None:
    """Two parts may need the same program."""
    names = [recipe.name for recipe in recipes(ALL)]

    assert len(names) == len(set(names))


def test_our_settings_are_laid_over_kserves_own() -> None:
    """What we do not set stays as KServe ships it; its long example is left out."""
    shipped = {
        "data": {
            "_example": "text",
            "deploy": '{"defaultDeploymentMode": "Serverless", "other": 1}',
            "ingress": '{"enableGatewayApi": false, "ingressDomain": "example.com"}',
            "agent": "{}",
        }
    }

    content = render_configuration(shipped)["data"]

    assert set(content) == {"deploy", "ingress", "agent"}
    assert json.loads(content["deploy"]) == {"defaultDeploymentMode": "Standard", "other": 1}
    ingress = json.loads(content["ingress"])
    assert (ingress["enableGatewayApi"], ingress["ingressDomain"]) == (True, "example.com")


def test_webhooks_are_called_at_an_address_that_is_trusted() -> None:
    """A Service needs a kube-proxy; rules and selectors stay KServe's."""
    webhook: dict[str, Any] = {
        "name": "pods",
        "rules": ["some"],
        "clientConfig": {"service": {"name": "s", "path": "/mutate-pods"}},
    }
    shipped: list[dict[str, Any]] = [
        {"kind": "MutatingWebhookConfiguration", "metadata": {"name": "m"}, "webhooks": [webhook]},
        {"kind": "Service", "metadata": {"name": "s"}},
    ]

    rendered = render_webhooks(shipped, "https://127.0.0.1:1", b"pem")

    assert [each["kind"] for each in rendered] == ["MutatingWebhookConfiguration"]
    assert rendered[0]["webhooks"] == [
        {
            "name": "pods",
            "rules": ["some"],
            "clientConfig": {
                "url": "https://127.0.0.1:1/mutate-pods",
                "caBundle": base64.b64encode(b"pem").decode(),
            },
        }
    ]


def test_prometheus_scrapes_each_target_at_its_own_path() -> None:
    """Envoy's metrics are not where Prometheus would look by itself."""
    envoy = {"envoy": ("127.0.0.1:9", "/stats/prometheus")}
    rendered = render_prometheus(envoy, Path("/targets.json"))

    assert rendered["global"]["scrape_interval"] == f"{SCRAPE_SECONDS}s"
    assert rendered["scrape_configs"][0] == {
        "job_name": "envoy",
        "metrics_path": "/stats/prometheus",
        "static_configs": [{"targets": ["127.0.0.1:9"]}],
    }


def test_prometheus_finds_pods_in_the_node_agents_file() -> None:
    """Pods come and go; which of their ports has metrics is for the configuration to say."""
    rendered = render_prometheus({}, Path("/targets.json"))

    pods = rendered["scrape_configs"][-1]
    assert pods["job_name"] == "pods"
    assert pods["file_sd_configs"][0]["files"] == ["/targets.json"]


def test_prometheus_takes_a_day_that_comes_late() -> None:
    """A past is written after samples of now, under the names that a scrape gives."""
    rendered = render_prometheus({}, Path("/targets.json"))

    assert rendered["storage"]["tsdb"]["out_of_order_time_window"] == "2d"
    assert rendered["otlp"]["translation_strategy"] == "UnderscoreEscapingWithoutSuffixes"
