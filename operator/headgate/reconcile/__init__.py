"""One pass over one ModelDeployment: observe, decide, act, report.

Owns the order of these four and nothing else. Must not know Kopf, HTTP or queries. A pass never
asks what changed, only what is; doing it twice equals doing it once.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from headgate.core.conditions import Objection
from headgate.core.rollout import Decision, decide
from headgate.ports import MODEL_DEPLOYMENT, Manifest, Refused, Unavailable
from headgate.reconcile.act import act, forget_old
from headgate.reconcile.observe import Observation, observe
from headgate.reconcile.report import report, report_objection, write_record
from headgate.reconcile.world import GONE, Key, Options, Report, Transition, World

__all__ = ["GONE", "Key", "Options", "Report", "Transition", "World", "reconcile"]

_OBJECTION_POLL = timedelta(seconds=30)
"""How soon a spec that the world contradicts is looked at again: a missing ConfigMap or Gateway
that appears wakes nobody, as we do not watch other people's objects."""


async def _put_on_record(
    seen: Observation, decision: Decision, record: Manifest | None, world: World
) -> Manifest | None:
    """Write down that a try goes back before that is carried out.

    Once traffic is back there is no evidence any more, and a person's command may be gone, so a
    pass that ends before the status is stored could not decide the same again. Traffic goes back
    even if this cannot be written.
    """
    try:
        return await write_record(seen, decision, record, seen.memory.route, world)
    except Unavailable:
        return record


def _refusal(error: Refused) -> Objection:
    # Most often KServe's webhook: it knows more about a template than its schema says.
    return Objection("Refused", "spec.template", "objects the API server accepts", str(error))


async def reconcile(key: Key, world: World, now: datetime) -> Report:
    """Take one object one pass further; raises Unavailable or Refused, to be tried again."""
    owner = await world.cluster.get(MODEL_DEPLOYMENT, key.namespace, key.name)
    if owner is None or owner["metadata"].get("deletionTimestamp"):
        return GONE
    seen = await observe(key, owner, world, now)
    if seen.situation is None:
        await report_objection(seen, world)
        return Report(phase=seen.memory.state.phase.value, again_in=_OBJECTION_POLL)
    decision = decide(seen.situation)
    record = seen.children.record
    if decision.must_stand:
        record = await _put_on_record(seen, decision, record, world)
    try:
        acted = await act(seen, decision, record, world)
    except Refused as error:
        await report_objection(replace(seen, objection=_refusal(error)), world)
        return Report(phase=seen.memory.state.phase.value, again_in=_OBJECTION_POLL)
    transition = await report(seen, acted, world)
    if decision.finished is not None:
        await forget_old(seen, acted.decision, world)
    again_in = decision.again_in
    if seen.objection is not None:
        again_in = min(again_in or _OBJECTION_POLL, _OBJECTION_POLL)
    if acted.draining:
        again_in = min(again_in or world.options.drain, world.options.drain)
    return Report(acted.decision.state.phase.value, transition, again_in)
