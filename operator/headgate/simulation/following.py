"""A rollout by another project's rule, over the same traffic as ours.

Owns when a rule looks, what it is shown, and what its verdict does. Must not know how any rule
decides (`peers`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from math import inf, nan
from typing import TypeVar

from headgate.simulation.engine import Ending, Event, Run, canary_total
from headgate.simulation.peers import Minute, Rule, State, Verdict
from headgate.simulation.source import Counts, Source, Window

S = TypeVar("S", bound=State)
_PACE = 10  # seconds between two moments at which a rule may look: the shortest that any asks for


def follow(rule: Rule[S], source: Source, horizon: int) -> Run:
    """Release by another project's rule, which sets the weight itself.

    It sees the sums of its last interval whenever it is due. One that pauses keeps its weight to
    the horizon, as the person it waits for never comes. Nobody watches once it has promoted.
    """
    source.advance(0, 0)
    state, second, counted = rule.start(), 0, Counts()
    recent: deque[Window] = deque()
    events = [_peer_event(0, state)]
    for end in range(_PACE, horizon + 1, _PACE):
        windows = source.advance(end, state.weight)
        if windows is None:
            break
        second, counted = end, canary_total(counted, windows)
        recent.extend(windows)
        while recent and recent[0].second <= end - rule.interval_seconds:
            recent.popleft()
        if end >= state.due_at and state.verdict is Verdict.CONTINUE:
            state, _ = rule.step(state, minute(recent, source.edges), float(end))
        if state.weight != events[-1].weight or state.verdict is not Verdict.CONTINUE:
            events.append(_peer_event(end, state))
        if state.verdict in (Verdict.ROLLED_BACK, Verdict.PROMOTED):
            break
    return _run_of(state, second, counted, _distinct(events))


_ENDINGS = {
    Verdict.CONTINUE: Ending.UNDECIDED,
    Verdict.ROLLED_BACK: Ending.ROLLED_BACK,
    Verdict.PROMOTED: Ending.PROMOTED,
    Verdict.PAUSED: Ending.PAUSED,
}


def _run_of(state: State, second: int, counted: Counts, events: Sequence[Event]) -> Run:
    ending = _ENDINGS[state.verdict]
    promoted_at = second if ending is Ending.PROMOTED else None
    blamed = "its checks" if ending is Ending.ROLLED_BACK else ""
    return Run(
        ending,
        second,
        blamed,
        promoted_at,
        promoted_at,
        counted.requests,
        counted.bad,
        counted.harmed,
        tuple(events),
    )


def _peer_event(second: int, state: State) -> Event:
    going_on = state.verdict is Verdict.CONTINUE
    message = f"the canary gets {state.weight} % of requests" if going_on else str(state.verdict)
    return Event(second, "", state.weight, "" if going_on else str(state.verdict), message)


def _distinct(events: Sequence[Event]) -> Sequence[Event]:
    """Leave out what only repeats the event before."""
    first = [(event.weight, event.verdict) for event in events]
    return [event for n, event in enumerate(events) if not n or first[n] != first[n - 1]]


def minute(windows: Iterable[Window], edges: Sequence[float]) -> Minute:
    """Add windows up to what a rule of another project looks at."""
    canary, stable = Counts(), Counts()
    for window in windows:
        canary, stable = canary.plus(window.canary), stable.plus(window.stable)
    return Minute(
        canary.requests,
        canary.bad,
        stable.requests,
        stable.bad,
        quantile(0.99, canary.buckets, edges),
        quantile(0.99, stable.buckets, edges),
    )


def quantile(level: float, buckets: Sequence[int], edges: Sequence[float]) -> float:
    """Estimate a quantile as Prometheus' `histogram_quantile` does; NaN of nothing.

    Straight lines within a bucket, and of the last one its lower edge.
    Source: Prometheus documentation, query functions, histogram_quantile.
    """
    total = sum(buckets)
    if not total:
        return nan
    rank, below, floor = level * total, 0, 0.0
    for count, edge in zip(buckets, edges, strict=True):
        if below + count >= rank:
            return floor if edge == inf else floor + (edge - floor) * (rank - below) / count
        below, floor = below + count, edge
    return floor
