"""A recorded decision made again, from the record alone.

Owns what is recomputed and how it is compared. Must not know where a record came from, nor how the
answer is shown. Takes nothing on trust: what is asked about may have been written by anybody.

    digest of the record               recomputed from its spec and status
    digest of the record before it     recomputed from that record, if it is at hand
    verdict, signal, reason, message   judged anew from evidence.state and decision.inputs
    signals: numbers and sentences     the same
    firstRequestAt                     read from evidence.state
    weight of the decision             that of the change that it led to, if it led to one
    the rules in evidence.state        those of the policy that the rollout began with

Metrics that did not answer are more than the record holds, and so are an error budget and drifted
inputs in a record of an older operator. Of them it is checked that what the record does hold did
not ask for a rollback, which would have come first, and they are named. A person's command is not
made from evidence: it is named, and the verdict beside it is what it would have been without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from headgate.api.model_rollout import Policy
from headgate.core.analysis import Analysis, Breach, Reason, Verdict, judge_ramp
from headgate.core.commits.value import Certainty, read_rendered, stored_commit
from headgate.core.evidence import Evidence
from headgate.core.memory import render_moment
from headgate.core.record import render_signal, render_verdict
from headgate.core.revision import record_digest
from headgate.core.slo.exposure import BudgetLeft
from headgate.core.wording import plain
from headgate.ports import Manifest
from headgate.reconcile.judging import Inputs, guarded
from headgate.reconcile.policy import settings_of

OUTSIDE: Mapping[str, str] = {
    Reason.BUDGET_SPENT.value: "the error budget at that time",
    Reason.INPUTS_DRIFTED.value: "the inputs' drift at that time",
    Reason.METRICS_UNAVAILABLE.value: "what the metrics source answered",
}
"""What reasons rest on beside the evidence."""

_RECORDED = {
    Reason.BUDGET_SPENT.value: "budgets",
    Reason.INPUTS_DRIFTED.value: "driftedInputs",
}
"""Where a decision's inputs have it; an older operator did not say."""

_ABSENT = "nothing"
_LONGEST = 300


class Unreadable(Exception):
    """A part of the record that is needed is not what it should be; the text says which."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field whose recorded value is not what follows from the rest of the record."""

    field: str
    recorded: str
    recomputed: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """One record made again. `decision` is what it says, "" before the first look; `problem` why it
    cannot be made again, "" if it can; `notes` say, in sentences, what could not be checked.
    """

    name: str
    number: int
    decision: str
    differences: tuple[Difference, ...]
    problem: str
    notes: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether everything that follows from the record is as it was recorded."""
        return not self.differences and not self.problem


def replay_all(records: Sequence[Manifest]) -> Sequence[Replayed]:
    """Make the decision of every ModelRollout again, oldest first; each finds the one it names."""
    at_hand = {_place(record): record for record in records}
    found = []
    for record in records:
        namespace, _ = _place(record)
        named = _lenient(_lenient(record, "spec"), "previous").get("name")
        found.append(_replay(record, at_hand.get((namespace, str(named)))))
    return sorted(found, key=lambda one: (one.number, one.name))


def _replay(record: Manifest, before: Manifest | None) -> Replayed:
    spec, status = _lenient(record, "spec"), _lenient(record, "status")
    decision, number = _lenient(status, "decision"), spec.get("number")
    compared, problem = _Compared(), ""
    try:
        compared.chain(_map(record, "spec"), _map(record, "status", {}), before)
        if status.get("decision"):
            compared.decision(spec, status, _map(status, "decision"))
        compared.commands(status)
    except Unreadable as error:
        problem = _clean(error)
    told = " ".join(str(decision[key]) for key in ("verdict", "reason") if key in decision)
    _, name = _place(record)
    return Replayed(
        name=_clean(name),
        number=number if isinstance(number, int) else 0,
        decision=_clean(f"{told} (version {_lenient(spec, 'to').get('version')})") if told else "",
        differences=tuple(compared.differences),
        problem=problem,
        notes=(*compared.notes, *_told_commit(record)),
    )


def _told_commit(record: Manifest) -> list[str]:
    """Name the commit that a record tells of: nothing in the record could prove it."""
    stored = stored_commit({part: _lenient(record, part) for part in ("spec", "status")})
    commit = read_rendered(stored or {})
    if commit.certainty is Certainty.UNKNOWN:
        return []
    return [f"Started by {commit}: told, not recomputed."]


class _Compared:
    """What was found so far."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.notes: list[str] = []

    def equal(self, field: str, recorded: object, recomputed: object) -> None:
        """Hold one field against what it should be."""
        if recorded != recomputed:
            self.differences.append(Difference(field, _shown(recorded), _shown(recomputed)))

    def fields(self, place: str, recorded: Any, recomputed: Any) -> None:
        """Hold whole values against each other, field by field."""
        if not isinstance(recorded, Mapping) or not isinstance(recomputed, Mapping):
            self.equal(place, recorded, recomputed)
            return
        for key in sorted({*recorded, *recomputed}, key=str):
            self.fields(f"{place}.{key}", recorded.get(key), recomputed.get(key))

    # The chain of records

    def chain(
        self, spec: Mapping[str, Any], status: Mapping[str, Any], before: Manifest | None
    ) -> None:
        """Compute the record's own digest, and that of the one before it."""
        if status.get("finishedAt") or status.get("digest"):
            self.equal("status.digest", status.get("digest"), _digest(spec, status))
        else:
            self.notes.append("It is not finished, so it has no digest yet.")
        named = _map(spec, "previous", {})
        if named and before is None:
            self.notes.append(f"{_clean(named.get('name'))}, the record before it, is not at hand.")
        elif named and before is not None:
            found = _digest(_map(before, "spec"), _map(before, "status", {}))
            self.equal("spec.previous.digest", named.get("digest"), found)

    # What people asked for

    def commands(self, status: Mapping[str, Any]) -> None:
        """Name the changes that a person asked for; nothing of the evidence leads to them."""
        for step in _list(status, "steps"):
            command = _lenient(step, "command")
            if command:
                verb, manager = _clean(command.get("verb")), _clean(command.get("manager"))
                when = _clean(step.get("at"))
                self.notes.append(
                    f"{verb} at {when} was a person's command, given by field manager {manager}: "
                    "it does not follow from the evidence."
                )

    # The decision

    def decision(
        self, spec: Mapping[str, Any], status: Mapping[str, Any], decision: Mapping[str, Any]
    ) -> None:
        """Judge anew, and compare whatever follows."""
        reason = str(decision.get("reason"))
        signals = {str(one.get("name")): one for one in _list(status, "signals")}
        if reason == Reason.METRICS_UNAVAILABLE and not signals:
            self.equal("status.decision.verdict", decision.get("verdict"), "Inconclusive")
            self.notes.append(f"{reason} rests on {OUTSIDE[reason]}: there is nothing to judge.")
            return
        policy = _policy(spec)
        evidence, analysis, verdict = _judged(status, decision, policy)
        self._verdict(decision, verdict)
        self._signals(signals, analysis)
        self._moments(status, decision, evidence)
        self._rules(policy, evidence)

    def _verdict(self, decision: Mapping[str, Any], verdict: Verdict) -> None:
        reason = str(decision.get("reason"))
        recorded = _RECORDED.get(reason) in _map(decision, "inputs")
        if reason in OUTSIDE and not recorded and not isinstance(verdict, Breach):
            of = "Inconclusive" if reason == Reason.METRICS_UNAVAILABLE else "Breach"
            self.equal("status.decision.verdict", decision.get("verdict"), of)
            self.notes.append(
                f"{reason} rests on {OUTSIDE[reason]}, which is not in the record; what is "
                "asks for no rollback, as it should."
            )
            return
        wanted = render_verdict(verdict)
        for key in ("verdict", "signal", "reason", "message"):
            self.equal(f"status.decision.{key}", decision.get(key), wanted.get(key))

    def _signals(self, recorded: Mapping[str, Mapping[str, Any]], analysis: Analysis) -> None:
        wanted = {one.name: render_signal(one, {}) for one in analysis.reports}
        for name in (*wanted, *(name for name in recorded if name not in wanted)):
            place = f"status.signals[{_clean(name)}]"
            found = recorded.get(name)
            # what was asked of a metrics source is told for people; nothing follows from it
            known = {k: v for k, v in found.items() if k != "query"} if found else None
            self.fields(place, known, wanted.get(name))

    def _moments(
        self, status: Mapping[str, Any], decision: Mapping[str, Any], evidence: Evidence
    ) -> None:
        first = evidence.first_canary_request_at
        if first is not None:
            self.equal("status.firstRequestAt", status.get("firstRequestAt"), render_moment(first))
        steps = _list(status, "steps")
        if steps and steps[-1].get("at") == decision.get("at"):
            wanted = steps[-1].get("weight")
            self.equal("status.decision.weight", decision.get("weight"), wanted)

    def _rules(self, policy: Policy, evidence: Evidence) -> None:
        wanted = settings_of(policy, None)
        for rule in ("alpha", "margin", "tolerance", "objectives", "weights"):
            self.equal(
                f"status.evidence.state.settings.{rule}",
                getattr(evidence.settings, rule),
                getattr(wanted, rule),
            )


def _policy(spec: Mapping[str, Any]) -> Policy:
    try:
        return Policy.model_validate(_map(spec, "policy"), extra="ignore")
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Unreadable(f"spec.policy.{place} cannot be read") from error


def _judged(
    status: Mapping[str, Any], decision: Mapping[str, Any], policy: Policy
) -> tuple[Evidence, Analysis, Verdict]:
    """Read the evidence and what else the decision was made from, and judge.

    The verdict is that of the analysis, or what error budgets and inputs make of it.
    """
    state, inputs = _map(status, "evidence", {}).get("state"), _map(decision, "inputs", {})
    if not state:
        raise Unreadable("status.evidence.state is missing: there is nothing to judge")
    if not inputs:
        raise Unreadable("status.decision.inputs is missing: an older operator kept none")
    try:
        evidence = Evidence.from_json(str(state))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"status.evidence.state: {error}") from error
    try:
        found = _inputs(inputs, policy)
        now = datetime.fromisoformat(str(decision["at"]))
        analysis = judge_ramp(
            evidence.settings, evidence, found.weights, now, found.stale_after, found.control
        )
        verdict = guarded(analysis, evidence, policy, found)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise Unreadable(f"status.decision cannot be judged anew: {error!r}") from error
    return evidence, analysis, verdict


def _inputs(inputs: Mapping[str, Any], policy: Policy) -> Inputs:
    """Read what a decision was made from besides the evidence, as the operator wrote it down."""
    return Inputs(
        control={True: True, False: False}[inputs["control"]],
        weights=tuple(_weights(inputs)),
        stale_after=timedelta(seconds=float(inputs["staleAfterSeconds"])),
        budgets=tuple(_budgets(inputs, policy)),
        drifted=tuple(str(feature) for feature in inputs.get("driftedInputs") or ()),
    )


def _budgets(inputs: Mapping[str, Any], policy: Policy) -> Iterator[BudgetLeft]:
    """The budgets that were known; what each promised is in the policy."""
    targets = {one.name: one.target.decimal / Decimal(100) for one in policy.objectives}
    for one in inputs.get("budgets") or ():
        name, served = str(one["objective"]), one["requests"]
        if not isinstance(served, int):
            raise ValueError(f"requests of {served!r}")
        yield BudgetLeft(name, float(one["remaining"]), float(targets[name]), served)


def _weights(inputs: Mapping[str, Any]) -> Iterator[int]:
    """The weights that might have been earned, as the operator wrote them down."""
    ramp, first = inputs.get("ramp") or (), inputs.get("nextWeight")
    for weight in ramp or ((first,) if first is not None else ()):
        if not isinstance(weight, int) or not 1 <= weight <= 100:
            raise ValueError(f"a weight of {weight!r}")
        yield weight


# Values


def _list(status: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    found = status.get(key) or ()
    if not isinstance(found, list | tuple) or not all(isinstance(one, Mapping) for one in found):
        raise Unreadable(f"status.{key} is not what it should be")
    return found


def _digest(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    try:
        return record_digest({"spec": spec, "status": status})
    except ValueError as error:
        raise Unreadable(f"it has no canonical form: {error}") from error


def _map(
    entry: Mapping[str, Any], key: str, default: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    found = entry.get(key) or default
    if not isinstance(found, Mapping):
        raise Unreadable(f"{key} is missing, or not what it should be")
    return found


def _lenient(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = entry.get(key)
    return found if isinstance(found, Mapping) else {}


def _place(record: Manifest) -> tuple[str, str]:
    metadata = _lenient(record, "metadata")
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _shown(value: object) -> str:
    return _ABSENT if value is None else _clean(value)


def _clean(value: object) -> str:
    return plain(str(value), _LONGEST)
