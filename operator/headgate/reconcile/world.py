"""What one pass works with and what it hands back.

Owns the values between the runtime and a pass. Must not know Kopf, HTTP or queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from headgate.core.drift.reference import Drift
from headgate.ports import Arms, Budgets, Clock, Cluster, Metrics, Prober, Profiles


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A ModelDeployment by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Options:
    """What the platform team chose for all deployments.

    Attributes:
        track_secrets: Secrets a template names are part of the hash (needs the right to read them).
        service_domain: DNS suffix of Services, for our probes.
        stale_after: Evidence older than this decides nothing.
        verify_within: How long one pass waits for the gateway to take up a route it wrote.
        checkpoint_every: At most this often is evidence stored between transitions.
        drain: How long after a route change a revision without weight keeps its pods.
        collector_url: Where KServe's loggers send what they see; "" where there is no collector.
        argocd_namespaces: Where Applications may be read; the first is Argo CD's own.
        argocd_instance_label: The label that Argo CD tracks by; "" where it uses its annotation.
        flux_namespaces: Where Kustomizations, HelmReleases and their sources may be read.
        commit_within: How long the reading of a commit may take in one pass.
        commit_settles: How long after its start a rollout's commit may still be told.
        namespaces: Where we may look; empty for the whole cluster.
    """

    track_secrets: bool = False
    service_domain: str = "svc.cluster.local"
    stale_after: timedelta = timedelta(seconds=60)
    verify_within: timedelta = timedelta(seconds=3)
    checkpoint_every: timedelta = timedelta(seconds=60)
    drain: timedelta = timedelta(seconds=5)
    collector_url: str = ""
    argocd_namespaces: tuple[str, ...] = ()
    argocd_instance_label: str = ""
    flux_namespaces: tuple[str, ...] = ()
    commit_within: timedelta = timedelta(seconds=2)
    commit_settles: timedelta = timedelta(seconds=30)
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """All that is outside, by its ports; and what was found in this minute of drifted inputs, which
    costs hours of history and changes with the minute. To lose that is to read again."""

    cluster: Cluster
    metrics: Metrics
    budgets: Budgets
    prober: Prober
    clock: Clock
    profiles: Profiles
    options: Options = Options()
    drifts: dict[Arms, tuple[int, Sequence[Drift]]] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Transition:
    """What a pass changed, for logs and metrics.

    `phase` is the phase entered; `outcome` how a rollout ended, "" if none did.
    """

    phase: str
    reason: str
    message: str
    rollout: str
    revision: str
    outcome: str
    warning: bool


@dataclass(frozen=True, slots=True)
class Report:
    """How a pass ended: what changed, and when to look again (None: when something changes)."""

    phase: str
    transition: Transition | None = None
    again_in: timedelta | None = None


GONE = Report(phase="")
"""The object does not exist (any more): there is nothing to do and nothing to remember."""
