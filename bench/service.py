"""A service whose gateway, pods and predictions are all watched, as a `Source` of one rollout.

Owns what `headgate.simulation.traffic` leaves out: errors that each arm's pods count themselves and
that are scraped apart, and predictions by class. Must not know how any of it is judged. Everything
is drawn from one seed, so that the pods fail the very requests that the gateway sees failing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from bench.replay import stream

from headgate.api.model_rollout import Policy
from headgate.core.counters import ERRORS, Arm, Point, Series
from headgate.reconcile.sources import PREDICTIONS
from headgate.simulation.cell import read
from headgate.simulation.draws import Chance, binomial
from headgate.simulation.engine import Course, constant
from headgate.simulation.source import PodHistories, Window
from headgate.simulation.traffic import Gateway, Traffic

POD_ERRORS = "signal/pod-errors"
CLASSES = ("accept", "review", "refuse", "refer")
HALF_HOUR = 1800

_SHARES = (0.6, 0.25, 0.1, 0.05)


def course_at(weight: int, policy: Policy | None = None) -> Course:
    """Half an hour at one weight (percent), by the defaults of the API or another policy."""
    return constant(Course(*read(policy or Policy()), horizon=HALF_HOUR), weight)


def gateway(traffic: Traffic, seed: int) -> Gateway:
    """The traffic of one rollout, all chance from a seed."""
    return Gateway(traffic, partial(stream, seed))


@dataclass(slots=True)
class Service:
    """A `Source`: the gateway's counters and, where asked for, the pods' and the predictions.

    Attributes:
        pod_skew: By how many seconds later than the canary's stable's pods are scraped, sooner
            where negative; None leaves the pods' own counters out.
        stamped: Whether the samples' times tell that skew, as those of a scrape do; a gateway or
            exporter that hands on old numbers does not.
        shift: Share of the canary's predictions that move from the first class to the last, from
            the traffic's onset on; None leaves predictions out.
        harmed: The signal that has the gateway's failures; its own counters become errors.
        starved: Whether no request reaches the canary, whatever its weight.
    """

    traffic: Traffic
    seed: int
    pod_skew: float | None = None
    stamped: bool = True
    shift: float | None = None
    harmed: str = ERRORS
    starved: bool = False
    _gateway: Gateway = field(init=False)
    _pods: Gateway | None = field(init=False, default=None)
    _chance: Chance = field(init=False)
    _totals: dict[tuple[Arm, str], int] = field(init=False, default_factory=dict)
    _points: dict[tuple[Arm, str], list[Point]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._gateway = gateway(self.traffic, self.seed)
        self._chance = stream(self.seed, PREDICTIONS)
        if self.pod_skew is not None:
            self._pods = gateway(replace(self.traffic, skew=self.pod_skew), self.seed)

    @property
    def start(self) -> datetime:
        """Second 0."""
        return self._gateway.start

    @property
    def first_second(self) -> int:
        """How long before second 0 stable is watched."""
        return self._gateway.first_second

    @property
    def edges(self) -> tuple[float, ...]:
        """Upper bounds of the latency buckets."""
        return self._gateway.edges

    def pod_histories(self, span: int, step: int) -> PodHistories:
        """What stable's pods counted before, of errors and where asked for by themselves."""
        found = {self.harmed: self._gateway.pod_histories(span, step)[ERRORS]}
        if self._pods is not None:
            found[POD_ERRORS] = self._pods.pod_histories(span, step)[ERRORS]
        return found

    def advance(self, until: int, weight: int) -> Sequence[Window]:
        """Let time pass at this weight."""
        weight = 0 if self.starved else weight
        windows = self._gateway.advance(until, weight)
        if self._pods is not None:
            self._pods.advance(until, weight)
        if self.shift is not None:
            for window in windows:
                self._predict(window)
        return windows

    def read(self, since: datetime, now: datetime) -> Sequence[Series]:
        """Give what was scraped from `since` to `now`."""
        names = {ERRORS: self.harmed, self.harmed: ERRORS}
        found = [
            replace(one, signal=names.get(one.signal, one.signal))
            for one in self._gateway.read(since, now)
        ]
        return [*found, *self._read_pods(since, now), *self._read_predictions(since, now)]

    def _read_pods(self, since: datetime, now: datetime) -> Sequence[Series]:
        if self._pods is None:
            return ()
        late = (self.pod_skew or 0.0) if self.stamped else 0.0
        lags = {
            Arm.STABLE: timedelta(seconds=max(0.0, late)),
            Arm.CANARY: timedelta(seconds=max(0.0, -late)),
        }
        found = []
        for one in self._pods.read(since - max(lags.values()), now):
            lag = lags[one.arm]
            points = [replace(point, at=point.at + lag) for point in one.points]
            kept = tuple(point for point in points if since <= point.at <= now)
            if one.signal == ERRORS and kept:
                found.append(
                    replace(one, signal=POD_ERRORS, instance=f"{one.arm}-pods", points=kept)
                )
        return found

    def _predict(self, window: Window) -> None:
        at = self.start + timedelta(seconds=window.second)
        shifted = self.shift or 0.0 if window.second > self.traffic.onset else 0.0
        moved = (_SHARES[0] - shifted, *_SHARES[1:-1], _SHARES[-1] + shifted)
        arms = [(Arm.STABLE, window.stable, _SHARES), (Arm.CANARY, window.canary, moved)]
        for arm, counts, shares in arms if window.second >= 0 else arms[:1]:
            left, of_all = counts.requests, 1.0
            for name, share in zip(CLASSES, shares, strict=True):
                here = left if share >= of_all else binomial(left, share / of_all, self._chance)
                left, of_all = left - here, of_all - share
                key = (arm, name)
                self._totals[key] = self._totals.get(key, 0) + here
                self._points.setdefault(key, []).append(Point(at, self._totals[key]))

    def _read_predictions(self, since: datetime, now: datetime) -> Sequence[Series]:
        found = []
        for (arm, name), points in self._points.items():
            points[:] = [point for point in points if point.at >= since]
            kept = tuple(point for point in points if point.at <= now)
            if kept:
                found.append(Series(PREDICTIONS, arm, "collector", name, name, kept))
        return found
