"""What became of people's commands: the condition CommandAccepted.

Owns its reasons and sentences. Must not decide: the rows in rollout.py do, by the same words. The
sentences depend on the state alone, so that looking again writes nothing.

    reason               status   a command that
    InvalidCommand       False    is none: its value cannot be read
    StaleCommand         False    is for a revision, or an attempt, that is not in question
    NothingToRollBackTo  False    aborts the first revision
    Returning            False    holds or aborts a proven revision that comes back
    AbortStands          False    retries what an abort that stands would take back at once
    Paused, BudgetLow …  False    promotes what is held or frozen; it is followed when that ends
    Waiting              True     will be followed: something is not ready yet
    Accepted             True     is being followed, or was
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headgate.core import rules
from headgate.core.commands import Command, Verb
from headgate.core.conditions import Finding
from headgate.core.lifecycle import RETRY_AHEAD, Phase, Revision, Situation

ACCEPTED, WAITING, STALE = "Accepted", "Waiting", "StaleCommand"


@dataclass(frozen=True, slots=True)
class _Answer:
    holds: bool
    reason: str
    message: str


def find_commands(situation: Situation | None, malformed: Sequence[str]) -> Finding | None:
    """Say what becomes of all commands in a situation, as it is after deciding.

    None where there is no command. Without a situation (no spec was ever accepted) nothing is
    tried, and nothing can be asked for.
    """
    answers = [_Answer(False, "InvalidCommand", text) for text in malformed]
    if situation is not None:
        standing = situation.commands.standing
        answers += [_ANSWERS[command.verb](situation, command) for command in standing]
    if not answers:
        return None
    message = "; ".join(answer.message for answer in answers)
    unheard = [answer for answer in answers if not answer.holds]
    if unheard:
        return Finding(False, unheard[0].reason, message)
    waiting = any(answer.reason == WAITING for answer in answers)
    return Finding(True, WAITING if waiting else ACCEPTED, message)


def _pause(s: Situation, command: Command) -> _Answer:
    held = s.pause
    stable, wanted = s.state.stable, s.desired.revision
    nothing_left = s.state.phase in (Phase.STABLE, Phase.ROLLED_BACK) and s.state.canary is None
    is_stable = stable is not None and stable.hash == command.hash
    if held is None or (nothing_left and is_stable) or _is_rejected(s, command):
        return _stale(s, command, "is not being tried, and nothing is left to hold")
    if s.state.returning:
        text = f"version {_meant(s).version} is proven and comes back, which waits for nobody"
        return _refused(command, "Returning", text)
    if s.state.canary is None and not is_stable:
        return _accepted(command, f"version {wanted.version} is not started")
    return _accepted(command, f"version {_meant(s).version} is held")


def _abort(s: Situation, command: Command) -> _Answer:
    state = s.state
    if state.canary is not None and state.canary.hash == command.hash:
        version = state.canary.version
        if state.stable is None:
            return _first(command, version)
        if state.returning:
            text = (
                f"version {version} is proven and comes back; to keep version "
                f"{state.stable.version} instead, give headgate.dev/retry for {state.stable.hash}"
            )
            return _refused(command, "Returning", text)
        return _waits(
            command, f"version {state.stable.version} has no ready endpoint to go back to"
        )
    rejection = state.rejection_of(command.hash)
    if rejection is not None:
        return _accepted(command, f"version {rejection.version} went back ({rejection.reason})")
    stable = state.stable
    if stable is not None and stable.hash == command.hash and not state.proven:
        return _first(command, stable.version)
    return _stale(s, command, "is not being tried: it cannot be taken back")


def _promote(s: Situation, command: Command) -> _Answer:
    state, canary = s.state, s.state.canary
    stable = state.stable
    if stable is not None and stable.hash == command.hash:
        return _accepted(command, f"version {stable.version} is the stable one")
    if canary is None or canary.hash != command.hash:
        rejected = "was rejected: retry it first" if _is_rejected(s, command) else "is not tried"
        return _stale(s, command, rejected)
    if state.phase is Phase.BAKING:
        return _accepted(command, f"version {canary.version} has all requests")
    if rules.is_promote_spent(s):
        text = (
            "was for an earlier attempt; remove it and set it again to skip the proof of this one"
        )
        return _refused(command, STALE, text)
    return _unpromoted(s, command, canary)


def _unpromoted(s: Situation, command: Command, canary: Revision) -> _Answer:
    """Say what keeps a promote from being followed."""
    if s.state.returning:
        text = f"version {canary.version} is proven and gets all requests when it is ready"
        return _waits(command, text)
    if s.hold:
        return _refused(command, "Paused", f"waits while the rollout is held: {s.hold}")
    if s.unproven is not None:
        text = f"waits, as spec.rollout.emergency is not true: {s.unproven.message}"
        return _refused(command, s.unproven.reason, text)
    if not s.health_of(canary).ready:
        return _waits(command, f"version {canary.version} is not ready yet")
    return _waits(command, "the gateway has not confirmed the route, or a breach is looked into")


def _retry(s: Situation, command: Command) -> _Answer:
    since, before = rules.retriable_since(s), command.before
    if command.token == s.state.retry_followed:
        return _accepted(command, f"revision {command.hash} was allowed to be tried once more")
    if since is None or before is None:
        return _stale(s, command, "is not rejected: there is nothing to try again")
    if before <= since:
        text = f"wanted a moment after the rejection at {since:%Y-%m-%dT%H:%M:%SZ}"
        return _refused(command, STALE, f"{text}, found {before:%Y-%m-%dT%H:%M:%SZ}")
    if rules.is_abort_standing(s, command.hash):
        text = "waits until headgate.dev/abort for the same revision is removed"
        return _refused(command, "AbortStands", text)
    minutes = RETRY_AHEAD.total_seconds() / 60
    text = f"wanted a moment at most {minutes:g} min ahead of the operator's clock"
    return _refused(command, "InvalidCommand", f"{text}, found {before:%Y-%m-%dT%H:%M:%SZ}")


_ANSWERS: Mapping[Verb, Callable[[Situation, Command], _Answer]] = {
    Verb.PAUSE: _pause,
    Verb.ABORT: _abort,
    Verb.PROMOTE: _promote,
    Verb.RETRY: _retry,
}


def _meant(s: Situation) -> Revision:
    return s.state.canary or s.desired.revision


def _is_rejected(s: Situation, command: Command) -> bool:
    return s.state.rejection_of(command.hash) is not None


def _named(command: Command) -> str:
    return f"headgate.dev/{command.verb.value.lower()}"


def _accepted(command: Command, text: str) -> _Answer:
    return _Answer(True, ACCEPTED, f"{_named(command)}: {text}")


def _waits(command: Command, text: str) -> _Answer:
    return _Answer(True, WAITING, f"{_named(command)} waits: {text}")


def _refused(command: Command, reason: str, text: str) -> _Answer:
    return _Answer(False, reason, f"{_named(command)}: {text}")


def _first(command: Command, version: str) -> _Answer:
    text = f"version {version} is the first revision: there is nothing to go back to"
    return _refused(command, "NothingToRollBackTo", text)


def _stale(s: Situation, command: Command, text: str) -> _Answer:
    """Say what was found, and which revision a command would have to name."""
    meant = _meant(s)
    wanted = f"wanted {meant.hash} (version {meant.version})" if meant.hash != command.hash else ""
    found = f"found {command.hash}, which {text}"
    return _refused(command, STALE, f"{wanted}, {found}" if wanted else found)
