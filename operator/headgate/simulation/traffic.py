"""A simulated gateway: requests, failures and latency of both arms, scraped as counters.

Owns how traffic comes about and the numbers drawn for it. Must not know how it is judged. All
chance is passed in: each kind of number has a stream of its own, so that two runs that differ in
one parameter (a harm, a weight, a rule) still share everything else.

    requests    Poisson, split by the weight
    failures    binomial, at the base rate of the moment; harm then fails some of the good ones
    moment      incidents that both arms share; per-pod rates that wander (dispersion)
    latency     log-normal, in buckets; the canary's may be stretched or have a tail
    signals     extra quiet ratio signals, in which nothing ever happens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import erf, exp, inf, log, sqrt

from headgate.core.counters import ERRORS, Arm, Series
from headgate.core.noise import StepCount, UnitHistory
from headgate.simulation.draws import Chance, Streams, binomial, poisson
from headgate.simulation.source import Book, Counts, PodHistories, Window

START = datetime(2026, 1, 1, tzinfo=UTC)
"""When a simulated canary gets its first weight: any moment will do, and this one is easy to read.
"""

EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, inf)
"""Upper bounds of the latency buckets in seconds: the defaults of Prometheus' client libraries."""

_SPREAD = 0.6  # sigma of the log-normal latency: p99 is four times the median


@dataclass(frozen=True, slots=True)
class Dispersion:
    """Pods that do not all fail alike: pod i fails at the base rate times exp(sigma z_i).

    z_i is standard normal and wanders with this correlation time: 0 draws it anew at each scrape,
    infinity once and for all.
    """

    sigma: float
    correlation_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Incidents:
    """Times in which both arms fail this share of otherwise good requests as well."""

    share: float
    every_seconds: float = 600.0
    lasting_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers take: log-normal around a median.

    From the onset on the canary takes `slower` times as long, and the share `tail` of its requests
    takes `tail_seconds`.
    """

    median_seconds: float = 0.1
    slower: float = 1.0
    tail: float = 0.0
    tail_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """One kind of traffic and harm; shares are 0..1, times are seconds after the first weight.

    Attributes:
        rate: Requests per second of both arms together.
        base: Share of requests that fail anyway.
        harm: Share of the otherwise good requests that the canary fails from `onset` on.
        edge: Added to the canary's rate of failures as it is, from `onset` on.
        signals: How many extra ratio signals there are; they fail at the base rate.
        pods: Pods of the stable revision, `canary_pods` of the canary; they matter to dispersion.
        scrape: Seconds between two scrapes, a whole number.
        skew: By how many seconds later than the canary's stable's counters are read.
    """

    rate: float
    base: float
    harm: float = 0.0
    edge: float = 0.0
    onset: float = 0.0
    incidents: Incidents | None = None
    dispersion: Dispersion | None = None
    latency: Latency | None = None
    signals: int = 0
    pods: int = 20
    canary_pods: int = 1
    scrape: int = 10
    skew: float = 0.0


@dataclass(slots=True)
class Gateway:
    """Synthetic traffic; a `Source`. It is advanced in whole scrapes."""

    traffic: Traffic
    streams: Streams
    first_second: int = -600
    start: datetime = START
    _second: int = field(init=False)
    _chance: dict[str, Chance] = field(init=False)
    _phase: float = field(init=False, default=0.0)
    _pods: dict[Arm, list[float]] = field(init=False)
    _book: Book = field(init=False)

    def __post_init__(self) -> None:
        self._second = self.first_second
        self._chance = {name: self.streams(name) for name in _STREAMS}
        if self.traffic.incidents is not None:
            self._phase = self._chance["incidents"].uniform(
                0.0, self.traffic.incidents.every_seconds
            )
        self._pods = {
            arm: [self._chance["pods"].gauss(0.0, 1.0) for _ in range(count)]
            for arm, count in (
                (Arm.STABLE, self.traffic.pods),
                (Arm.CANARY, self.traffic.canary_pods),
            )
            if self.traffic.dispersion is not None
        }
        self._book = Book(self.edges)
        arms = (Arm.STABLE,) if self._second < 0 else tuple(Arm)
        for arm in arms:
            self._book.write(self._moment(), arm, self._nothing())

    @property
    def edges(self) -> tuple[float, ...]:
        """Upper bounds of the latency buckets in seconds; empty without latency."""
        return EDGES if self.traffic.latency is not None else ()

    def pod_histories(self, span: int, step: int) -> PodHistories:
        """Tell what stable's pods counted of errors in the `span` seconds before `first_second`.

        `step` is rounded up to whole scrapes. Asked for before time passes; the pods' rates go on
        from where they are left.
        """
        step += -step % self.traffic.scrape
        traffic, chance = self.traffic, self._chance["history of pods"]
        found: list[list[StepCount]] = [[] for _ in range(traffic.pods)]
        begin = self.first_second - span
        for end in range(begin + step, self.first_second + 1, step):
            rates = [0.0] * traffic.pods
            for second in range(end - step + traffic.scrape, end + 1, traffic.scrape):
                self._wander()
                now = self._pod_rates(Arm.STABLE, second)
                for n in range(traffic.pods):
                    rates[n] += now[n % len(now)] * traffic.scrape / step
            for n, rate in enumerate(rates):
                requests = poisson(traffic.rate * step / traffic.pods, chance)
                bad = binomial(requests, min(rate, 1.0), chance)
                found[n].append(StepCount(self.start + timedelta(seconds=end), requests - bad, bad))
        pods = [UnitHistory(f"pod-{n}", tuple(steps)) for n, steps in enumerate(found)]
        return {ERRORS: pods}

    def advance(self, until: int, weight: int) -> Sequence[Window]:
        """Let time pass at this weight, up to the last scrape that is not after `until`."""
        windows: list[Window] = []
        while self._second + self.traffic.scrape <= until:
            self._second += self.traffic.scrape
            self._wander()
            window = Window(
                self._second,
                self._answer(Arm.CANARY, weight / 100.0),
                self._answer(Arm.STABLE, 1.0 - weight / 100.0),
            )
            windows.append(window)
            self._book.write(self._moment(), Arm.STABLE, window.stable)
            if self._second >= 0:
                self._book.write(self._moment(), Arm.CANARY, window.canary)
        return windows

    def read(self, since: datetime, now: datetime) -> Sequence[Series]:
        """Give the samples scraped from `since` to `now`."""
        return self._book.read(since, now)

    def _moment(self) -> datetime:
        return self.start + timedelta(seconds=self._second)

    def _nothing(self) -> Counts:
        return Counts(0, 0, 0, (0,) * len(self.edges), (0,) * self.traffic.signals)

    def _answer(self, arm: Arm, share: float) -> Counts:
        """Draw what one arm answered since the last scrape."""
        traffic, chance = self.traffic, self._chance[arm]
        requests = poisson(traffic.rate * share * traffic.scrape, chance)
        if not requests:
            return self._nothing()
        harming = self._harming() if arm is Arm.CANARY else 0.0
        rate = min(1.0, self._rate(arm) + traffic.edge * harming)
        bad = binomial(requests, rate, chance)
        harmed = binomial(requests - bad, traffic.harm * harming, self._chance["harm"])
        quiet = self._chance["signals"]
        return Counts(
            requests,
            bad + harmed,
            harmed,
            self._buckets(arm, requests, harming),
            tuple(binomial(requests, traffic.base, quiet) for _ in range(traffic.signals)),
        )

    def _harming(self) -> float:
        """The share of the time since the last scrape in which the canary did harm."""
        return min(1.0, max(0.0, (self._second - self.traffic.onset) / self.traffic.scrape))

    def _rate(self, arm: Arm) -> float:
        """The share of requests that fails anyway, on this arm since the last scrape.

        Each request reaches any pod alike, so the arm fails at the mean of its pods' rates.
        """
        rates = self._pod_rates(arm, self._second)
        return min(1.0, sum(rates) / len(rates))

    def _pod_rates(self, arm: Arm, second: float) -> Sequence[float]:
        """The same pod by pod, in the scrape that ends at `second`; one for all where all agree."""
        traffic, dispersion, shared = self.traffic, self.traffic.dispersion, 0.0
        if traffic.incidents is not None:
            end = second + self._phase + (traffic.skew if arm is Arm.STABLE else 0.0)
            during = overlap(end - traffic.scrape, end, traffic.incidents)
            shared = during * traffic.incidents.share
        if dispersion is None:
            rates = [traffic.base]
        else:
            rates = [traffic.base * exp(dispersion.sigma * z) for z in self._pods[arm]]
        return [rate + (1.0 - min(rate, 1.0)) * shared for rate in rates]

    def _wander(self) -> None:
        """Let the pods' rates drift by one scrape: an autoregressive step that keeps variance 1."""
        dispersion = self.traffic.dispersion
        if dispersion is None or dispersion.correlation_seconds == inf:
            return
        kept = 0.0
        if dispersion.correlation_seconds:
            kept = exp(-self.traffic.scrape / dispersion.correlation_seconds)
        new, chance = sqrt(1.0 - kept * kept), self._chance["pods"]
        for pods in self._pods.values():
            pods[:] = [kept * z + new * chance.gauss(0.0, 1.0) for z in pods]

    def _buckets(self, arm: Arm, requests: int, harming: float) -> tuple[int, ...]:
        """Draw how long the answers took, bucket by bucket, each from what is left."""
        latency, chance = self.traffic.latency, self._chance[f"latency of {arm}"]
        if latency is None:
            return ()
        counts, left, below = [], requests, 0.0
        for edge in EDGES:
            share = within(latency, edge, harming)
            here = binomial(left, min(1.0, (share - below) / max(1.0 - below, 1e-12)), chance)
            counts.append(here)
            left, below = left - here, share
        return tuple(counts)


_STREAMS = (
    *Arm,
    *(f"latency of {arm}" for arm in Arm),
    "harm",
    "signals",
    "pods",
    "history of pods",
    "incidents",
)


def within(latency: Latency, seconds: float, harming: float) -> float:
    """The share of the canary's answers within so many seconds; of stable's, with harm 0.

    `harming` is the share of the time in which the harm is on.
    """
    usual = _log_normal(seconds, latency.median_seconds)
    if not harming:
        return usual
    tail = latency.tail * (seconds >= latency.tail_seconds)
    slow = (1.0 - latency.tail) * _log_normal(seconds, latency.median_seconds * latency.slower)
    return (1.0 - harming) * usual + harming * (slow + tail)


def _log_normal(seconds: float, median: float) -> float:
    if seconds == inf:
        return 1.0
    return 0.5 + 0.5 * erf(log(seconds / median) / (_SPREAD * sqrt(2.0)))


def overlap(begin: float, end: float, incidents: Incidents) -> float:
    """The share of a while that lies in the incidents, which begin at each multiple of `every`."""
    shared, first = 0.0, begin // incidents.every_seconds * incidents.every_seconds
    while first < end:
        shared += max(0.0, min(end, first + incidents.lasting_seconds) - max(begin, first))
        first += incidents.every_seconds
    return shared / (end - begin)
