"""The work queue: one key is in one worker's hands at a time, and no wake-up is ever lost.

Owns when a key is handed out: coalescing, order, delays and the back-off after failures. Must not
know what a key names, nor what is done with it. Time is the event loop's own; chance is passed in.

A key is in at most one of the first three places, and in the fourth besides any of them:

    place        entered by                       left by
    ready        add, a delay that is over        get (first in, first out)
    processing   get                              done, failed
    processing+  add while it is processing       done, failed: goes to ready again
    delayed      done(again_in), failed           add, the delay being over, the next done

After `done` without a delay nothing is kept, so the queue is as large as the work, not as the past.
The shape follows client-go's workqueue (k8s.io/client-go/util/workqueue: dirty, processing and one
heap of delays); the delay after a failure is "full jitter", Brooker (2015), Exponential Backoff and
Jitter, AWS Architecture Blog.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 300.0
CONFLICTS_AT_ONCE = 3
"""Lost races in a row that are tried again at once; who loses more often is in someone's way."""


def delay_seconds(failures: int, jitter: float) -> float:
    """
    Return how long a key waits after so many failures in a row.

    Args:
        failures: Failures in a row, this one included; at least 1.
        jitter: A number in [0, 1), drawn evenly.

    Returns:
        Seconds in [0, min(300, 2^(failures - 1))): the ceiling doubles from 1 s to 5 min, and the
        whole range below it is used, so that keys that failed together do not return together.
    """
    ceiling = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 32))
    return ceiling * jitter


@dataclass(slots=True)
class Trouble:
    """What a key has failed at since its last success; `held_until` is the server's own wish."""

    failures: int = 0
    conflicts: int = 0
    held_until: float = 0.0


class Delay(NamedTuple, Generic[K]):
    """A key and the moment at which it becomes ready; `order` keeps equal moments apart."""

    due: float
    order: int
    key: K


@dataclass(slots=True)
class Counts:
    """What happened since the start; only ever grows."""

    adds: int = 0
    coalesced: int = 0
    retries: int = 0
    conflicts: int = 0


@dataclass(slots=True)
class Queue(Generic[K]):
    """
    Hands out keys, each to one worker at a time.

    Args:
        jitter: Draws a number in [0, 1) evenly.
        waited: Told how many seconds each key was ready before a worker took it.
    """

    jitter: Callable[[], float]
    waited: Callable[[float], None] = lambda seconds: None
    counts: Counts = field(default_factory=Counts)
    _ready: dict[K, float] = field(default_factory=dict)  # in order: key -> ready since
    _getters: deque[asyncio.Future[None]] = field(default_factory=deque)
    _processing: dict[K, float] = field(default_factory=dict)  # key -> taken at
    _again: set[K] = field(default_factory=set)  # added while processing
    _due: dict[K, Delay[K]] = field(default_factory=dict)  # the delay in force for a key
    _heap: list[Delay[K]] = field(default_factory=list)  # those in force, and some replaced ones
    _order: itertools.count[int] = field(default_factory=itertools.count)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)  # nothing is processing
    _trouble: dict[K, Trouble] = field(default_factory=dict)
    _closed: bool = False

    def add(self, key: K) -> None:
        """
        Ask for a pass over `key` as soon as a worker is free.

        Asking twice before the pass starts gives one pass; asking during the pass gives one more
        after it. A delay is cut short, except while the API server asked to be left alone.
        """
        self.counts.adds += 1
        if key in self._ready or key in self._again:
            self.counts.coalesced += 1
        elif key in self._processing:
            self._again.add(key)
        elif self._held_until(key) > _now():
            self._delay_until(key, self._held_until(key))
        else:
            self._make_ready(key)

    async def get(self) -> K:
        """Wait for the next key; whoever gets it must call `done` or `failed` for it."""
        while not self._ready or self._closed:
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                # The wake-up may have been ours already: pass it on, or it is lost.
                if getter.done() and not getter.cancelled():
                    self._wake_one()
                raise
        key = next(iter(self._ready))
        self.waited(_now() - self._ready.pop(key))
        self._processing[key] = _now()
        self._idle.clear()
        return key

    def done(self, key: K, again_in_seconds: float | None) -> None:
        """End a pass that went well; None means that only an `add` brings the key back."""
        self._trouble.pop(key, None)
        if self._finish(key):
            self._make_ready(key)
        elif again_in_seconds is not None:
            self._delay_until(key, _now() + again_in_seconds)

    def failed(self, key: K, retry_after_seconds: float | None = None) -> float:
        """
        End a pass that failed and return after how many seconds the next one comes.

        `retry_after_seconds` is the least the server wants to wait; until then `add` waits as well.
        """
        trouble = self._trouble.setdefault(key, Trouble())
        trouble.failures += 1
        self.counts.retries += 1
        delay = delay_seconds(trouble.failures, self.jitter())
        if retry_after_seconds is not None:
            delay = max(delay, retry_after_seconds)
            trouble.held_until = _now() + retry_after_seconds
        again = self._finish(key)
        if again and trouble.held_until <= _now():
            self._make_ready(key)
            return 0.0
        self._delay_until(key, _now() + delay)
        return delay

    def conflicted(self, key: K) -> float:
        """End a pass that lost a race: at once at first, backed off if it keeps losing."""
        trouble = self._trouble.setdefault(key, Trouble())
        trouble.conflicts += 1
        self.counts.conflicts += 1
        if trouble.conflicts > CONFLICTS_AT_ONCE:
            return self.failed(key)
        self._finish(key)
        self._make_ready(key)
        return 0.0

    async def run(self) -> None:
        """Make delayed keys ready when their time has come; exactly one task runs this."""
        while True:
            self._changed.clear()
            self._release(_now())
            wait = self._heap[0].due - _now() if self._heap else None
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Hand out nothing from now on, and wait until the last pass under way has ended."""
        self._closed = True
        if self._processing:
            await self._idle.wait()

    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._ready)

    def delayed(self) -> int:
        """Keys that wait for their time."""
        return len(self._due)

    def in_flight(self) -> int:
        """Keys in the hands of workers."""
        return len(self._processing)

    def failing(self) -> int:
        """Keys whose last pass failed."""
        return len(self._trouble)

    def most_failures(self) -> int:
        """The longest row of failures that any key is in."""
        return max((trouble.failures for trouble in self._trouble.values()), default=0)

    def oldest_ready_seconds(self) -> float:
        """How long the first key in line has waited; 0 if none waits."""
        return _now() - min(self._ready.values(), default=_now())

    def oldest_in_flight_seconds(self) -> float:
        """How long the longest pass under way has lasted; 0 if none is."""
        return _now() - min(self._processing.values(), default=_now())

    def _held_until(self, key: K) -> float:
        return self._trouble[key].held_until if key in self._trouble else 0.0

    def _finish(self, key: K) -> bool:
        """Take the key out of the worker's hands; True if it was asked for meanwhile."""
        del self._processing[key]
        if not self._processing:
            self._idle.set()
        self._due.pop(key, None)
        again = key in self._again
        self._again.discard(key)
        return again

    def _make_ready(self, key: K) -> None:
        self._due.pop(key, None)
        self._ready[key] = _now()
        self._wake_one()

    def _delay_until(self, key: K, due: float) -> None:
        delay = Delay(due, next(self._order), key)
        self._due[key] = delay
        heapq.heappush(self._heap, delay)
        if len(self._heap) > 2 * len(self._due) + 64:  # mostly delays that were replaced
            self._heap = [each for each in self._heap if not self._stale(each)]
            heapq.heapify(self._heap)
        self._changed.set()

    def _release(self, now: float) -> None:
        while self._heap and (self._heap[0].due <= now or self._stale(self._heap[0])):
            delay = heapq.heappop(self._heap)
            if not self._stale(delay):
                self._make_ready(delay.key)

    def _stale(self, delay: Delay[K]) -> bool:
        return self._due.get(delay.key) is not delay

    def _wake_one(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return


def _now() -> float:
    return asyncio.get_running_loop().time()
