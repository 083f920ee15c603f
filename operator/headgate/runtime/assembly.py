"""From settings to a running operator: the only place that chooses adapters.

Owns which adapter stands behind which port. Must not know how any of them works.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from datetime import datetime
from pathlib import Path
from secrets import SystemRandom, token_hex

from headgate.adapters.clock import SystemClock
from headgate.adapters.kubernetes import KubernetesCluster, find_login
from headgate.adapters.packs import Pack, load_pack
from headgate.adapters.probe import HttpProber
from headgate.adapters.profile_http import HttpProfiles
from headgate.adapters.prometheus import Prometheus
from headgate.adapters.prometheus_budget import PrometheusBudgets
from headgate.adapters.prometheus_http import PrometheusSettings
from headgate.ports import MetricsUnavailable
from headgate.reconcile import reconcile
from headgate.reconcile.world import Key, Options, Report, World
from headgate.runtime.lease import Election, Fenced, Terms
from headgate.runtime.operator import Parts, run
from headgate.runtime.settings import SettingError, Settings, told
from headgate.runtime.telemetry import CountedMetrics, Telemetry

log = logging.getLogger("headgate.operator")

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


async def serve(settings: Settings, stop: asyncio.Event | None = None) -> None:
    """Run the operator with real adapters until a signal or `stop`; raises what `run` raises."""
    if settings.kubeconfig is not None and not settings.kubeconfig.is_file():
        raise SettingError(f"--kubeconfig: wanted a file, found none at {settings.kubeconfig}")
    telemetry = Telemetry()
    login = find_login(str(settings.kubeconfig) if settings.kubeconfig else None)
    cluster = KubernetesCluster(login, on_call=telemetry.called)
    election = _election(settings, cluster, telemetry)
    reached, pack = _metrics(settings)
    prometheus = Prometheus(reached, pack)
    budgets = PrometheusBudgets(reached, pack)
    world = World(
        cluster=Fenced(cluster, election) if election is not None else cluster,
        metrics=CountedMetrics(prometheus, telemetry),
        budgets=budgets,
        prober=HttpProber(proxy=settings.probe_proxy),
        clock=SystemClock(),
        profiles=HttpProfiles(settings.profile_host, settings.profile_ca_file),
        options=_options(settings),
    )

    async def one_pass(key: Key, now: datetime) -> Report:
        return await reconcile(key, world, now)

    parts = Parts(
        cluster=cluster,
        login=login,
        reconcile=one_pass,
        clock=world.clock,
        jitter=SystemRandom().random,
        election=election,
    )
    log.info("settings: %s", told(settings))
    try:
        await _try_metrics(prometheus)
        await run(settings, parts, telemetry, stop or asyncio.Event())
    finally:
        await prometheus.close()
        await budgets.close()
        await cluster.close()


def _election(
    settings: Settings, cluster: KubernetesCluster, telemetry: Telemetry
) -> Election | None:
    """Say by which Lease one of several operators is chosen; None where there is only one."""
    if not settings.leader_elect:
        return None
    namespace = settings.lease_namespace
    if namespace is None:
        try:
            namespace = _POD_NAMESPACE.read_text().strip()
        except OSError as error:
            text = "--lease-namespace: wanted one outside of a pod, found none"
            raise SettingError(text) from error
    terms = Terms(
        namespace,
        settings.lease_name,
        settings.lease_duration,
        settings.lease_renew_deadline,
        settings.lease_retry,
    )
    # A pod that is started again keeps its name: only with a random part it is another one.
    identity = f"{socket.gethostname()}_{token_hex(8)}"
    jitter = SystemRandom().random
    return Election(cluster, terms, identity, SystemClock(), jitter, telemetry.leading)


def _metrics(settings: Settings) -> tuple[PrometheusSettings, Pack]:
    """Say where metrics are; raises SettingError for what only the adapter can judge."""
    try:
        reached = PrometheusSettings(
            url=settings.prometheus_url,
            timeout=settings.prometheus_timeout,
            look_back=settings.prometheus_look_back,
            matchers=dict(settings.prometheus_matcher),
            headers=dict(settings.prometheus_header),
            bearer_token_file=settings.prometheus_bearer_token_file,
            username=settings.prometheus_user,
            password_file=settings.prometheus_password_file,
            ca_file=settings.prometheus_ca_file,
            client_certificate_file=settings.prometheus_cert_file,
            client_key_file=settings.prometheus_key_file,
            insecure_skip_verify=settings.prometheus_insecure_skip_verify,
        )
        pack = load_pack(settings.metric_pack)
        if pack.errors is None or pack.latency is None:
            raise ValueError(f"pack {pack.name} counts no errors or no latency of a gateway")
    except ValueError as error:
        raise SettingError(f"metrics: {error}") from error
    return reached, pack


def _options(settings: Settings) -> Options:
    return Options(
        track_secrets=settings.track_secrets,
        service_domain=settings.service_domain,
        stale_after=settings.stale_after,
        collector_url=(settings.collector_url or "").rstrip("/"),
        argocd_namespaces=settings.argocd_namespaces,
        argocd_instance_label=settings.argocd_instance_label or "",
        flux_namespaces=settings.flux_namespaces,
        namespaces=settings.namespaces,
    )


async def _try_metrics(prometheus: Prometheus) -> None:
    """Say at the start if Prometheus is away: nothing is lost by it, and nothing moves without."""
    try:
        await prometheus.check()
    except MetricsUnavailable as error:
        log.warning("no canary will move until metrics can be read: %s", error)
