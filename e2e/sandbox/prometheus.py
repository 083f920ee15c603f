"""
Prometheus as a part: what it scrapes, and how often.

The interval is short, so that a story of minutes on a cluster takes seconds here. Knows no metric.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sandbox.builds import PROMETHEUS_SERVER
from sandbox.dataplane import pod_directory
from sandbox.node import TARGETS
from sandbox.part import Part, answers
from sandbox.world import World

SCRAPE_SECONDS = 2
REMEMBERED = "2d"
"""How much older than the newest a sample may be that comes late: `past` writes a day of them."""

_POD = "__meta_kubernetes_pod_"
# Of a pod the port that its KServe runtime says has metrics, labelled as its series are looked for.
_RELABELLINGS: tuple[Mapping[str, object], ...] = (
    {
        "action": "keepequal",
        "source_labels": [f"{_POD}annotation_prometheus_kserve_io_port"],
        "target_label": f"{_POD}container_port_number",
    },
    {
        "source_labels": [f"{_POD}annotation_prometheus_kserve_io_path"],
        "regex": "(.+)",
        "target_label": "__metrics_path__",
    },
    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
    {"source_labels": [f"{_POD}name"], "target_label": "pod"},
    {"action": "labelmap", "regex": f"{_POD}label_(headgate_dev_.+)"},
)


def render_configuration(targets: Mapping[str, tuple[str, str]], pods: Path) -> dict[str, Any]:
    """
    Return Prometheus' configuration.

    Args:
        targets: By job: the address (host:port) and the path of its metrics.
        pods: The file that names the ports of pods; those with metrics are the job `pods`.
    """
    return {
        "global": {
            "scrape_interval": f"{SCRAPE_SECONDS}s",
            "scrape_timeout": f"{SCRAPE_SECONDS}s",
            "evaluation_interval": f"{SCRAPE_SECONDS}s",
        },
        "storage": {"tsdb": {"out_of_order_time_window": REMEMBERED}},
        # What is written is named as what is scraped: no unit, no `_total` is added.
        "otlp": {"translation_strategy": "UnderscoreEscapingWithoutSuffixes"},
        "scrape_configs": [
            {
                "job_name": job,
                "metrics_path": path,
                "static_configs": [{"targets": [address]}],
            }
            for job, (address, path) in targets.items()
        ]
        + [
            {
                "job_name": "pods",
                # Read when it changes; and now and then, should it not be there at first.
                "file_sd_configs": [{"files": [str(pods)], "refresh_interval": "5s"}],
                "relabel_configs": [dict(step) for step in _RELABELLINGS],
            }
        ],
    }


def _configuration_file(world: World) -> Path:
    return world.data / "prometheus" / "prometheus.yaml"


def _before(world: World) -> None:
    targets = {
        "envoy": (f"127.0.0.1:{world.ports['envoy-admin']}", "/stats/prometheus"),
        "headgate": (f"127.0.0.1:{world.ports['headgate']}", "/metrics"),
        "collector": (f"127.0.0.1:{world.ports['collector']}", "/metrics"),
        "prometheus": (f"127.0.0.1:{world.ports['prometheus']}", "/metrics"),
    }
    pods = pod_directory(world) / TARGETS
    file = _configuration_file(world)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(render_configuration(targets, pods), sort_keys=False))


def _command(world: World) -> Sequence[str]:
    return [
        str(world.places["prometheus"] / "prometheus"),
        f"--config.file={_configuration_file(world)}",
        f"--storage.tsdb.path={world.data / 'prometheus' / 'tsdb'}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address=127.0.0.1:{world.ports['prometheus']}",
        "--web.enable-otlp-receiver",
        # Otherwise the first scrape comes only after five seconds.
        "--scrape.discovery-reload-interval=250ms",
        "--log.level=warn",
    ]


PART = Part(
    name="prometheus",
    command=_command,
    is_ready=lambda world: answers(world.url("prometheus", "/-/ready")),
    address=lambda world: world.url("prometheus"),
    recipes=(PROMETHEUS_SERVER,),
    before=_before,
)
