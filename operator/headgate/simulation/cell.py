"""The parameters of a simulation, from the words of the command line to values.

Owns each parameter's unit and bounds, and the grid that lists of values span. Must not know files,
rules or how a result is shown. Shares are percent and times are durations, as in the API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import product
from math import inf, isfinite
from typing import Any

from headgate.api.model_deployment import ModelDeployment
from headgate.api.model_rollout import Policy
from headgate.api.quantities import Duration
from headgate.core.counters import Kind
from headgate.core.evidence import Settings
from headgate.core.lifecycle import Plan
from headgate.core.noise import HISTORY
from headgate.core.signals import SIGNALS_SHARE, ObjectiveKind, Signal
from headgate.reconcile.policy import plan_of, settings_of
from headgate.simulation.engine import Course, constant
from headgate.simulation.traffic import Dispersion, Incidents, Latency, Traffic


class Unusable(Exception):
    """A parameter that cannot be used: its name, what was wanted, what was found."""

    def __init__(self, name: str, wanted: str, found: str) -> None:
        super().__init__(f"--{name}: wanted {wanted}, found {found[:60]!r}")


# --- one value -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds, both included."""

    least: float
    most: float
    unit: str
    whole: bool = False

    @property
    def wanted(self) -> str:
        """The bounds in words."""
        kind = "a whole number" if self.whole else "a number"
        return f"{kind} from {self.least:g} to {self.most:g} ({self.unit})"

    def read(self, text: str) -> float:
        """Read a value; raises ValueError."""
        value = float(text)
        if not isfinite(value) or not self.least <= value <= self.most:
            raise ValueError(text)
        if self.whole and value != int(value):
            raise ValueError(text)
        return value


@dataclass(frozen=True, slots=True)
class Lasting:
    """A duration in seconds within bounds; `word` is one more value, which stands for infinity."""

    least: str
    most: str
    word: str = ""
    whole: bool = False

    @property
    def wanted(self) -> str:
        """The bounds in words."""
        kind = "a duration in whole seconds" if self.whole else "a duration"
        return f"{kind} from {self.least} to {self.most}{self.word and f', or {self.word}'}"

    def read(self, text: str) -> float:
        """Read a value in seconds; raises ValueError."""
        if self.word and text == self.word:
            return inf
        found = Duration(text).timedelta
        if not Duration(self.least).timedelta <= found <= Duration(self.most).timedelta:
            raise ValueError(text)
        if self.whole and found % timedelta(seconds=1):
            raise ValueError(text)
        return found.total_seconds()


_PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: how its values are read, the default, and a line of help."""

    name: str
    kind: Number | Lasting
    default: str
    help: str
    synthetic: bool = True
    """Whether it says how traffic is made up, so that a recording leaves no room for it."""

    def read(self, text: str) -> float:
        """Read one value; raises Unusable."""
        try:
            return self.kind.read(text)
        except ValueError:
            raise Unusable(self.name, self.kind.wanted, text) from None


PARAMETERS = (
    Parameter("rate", Number(0, 1e6, "requests/s"), "100", "requests per second of both versions"),
    Parameter(
        "weight",
        Number(1, 99, _PERCENT, whole=True),
        "",
        "constant weight in percent for the whole duration, instead of the steps",
        synthetic=False,
    ),
    Parameter("base-error", Number(0, 99, _PERCENT), "1", "percent of requests that fail anyway"),
    Parameter(
        "harm",
        Number(0, 100, _PERCENT),
        "0",
        "percent of the otherwise good requests that the canary fails",
        synthetic=False,
    ),
    Parameter(
        "onset",
        Lasting("0s", "30d"),
        "0s",
        "when the canary begins to do harm, after its first weight",
        synthetic=False,
    ),
    Parameter(
        "dispersion",
        Number(0, 5, "sigma"),
        "0",
        "how unlike pods fail: rates of exp(sigma z) times the base, z standard normal",
    ),
    Parameter("pods", Number(1, 1000, "pods", whole=True), "20", "pods of stable"),
    Parameter("canary-pods", Number(1, 1000, "pods", whole=True), "1", "pods of the canary"),
    Parameter(
        "correlation",
        Lasting("0s", "30d", word="always"),
        "60s",
        "for how long a pod's rate stays much the same; always: it never changes",
    ),
    Parameter(
        "pod-history",
        Lasting("10m", "24h", word="none"),
        "",
        "for how long stable's pods were watched before, to hold evidence against their noise "
        "(default: none, or 3h with --dispersion)",
    ),
    Parameter(
        "incidents",
        Number(0, 100, _PERCENT),
        "0",
        "percent of requests that both versions fail for 30 s every ten minutes",
    ),
    Parameter(
        "latency",
        Lasting("1ms", "10m", word="none"),
        "",
        "median latency; none leaves it out (default: none, or 100ms if the manifest has an "
        "objective on latency)",
    ),
    Parameter("slower", Number(0.1, 100, "factor"), "1", "factor by which the canary is slower"),
    Parameter(
        "tail", Number(0, 100, _PERCENT), "0", "percent of the canary's requests that take long"
    ),
    Parameter("tail-latency", Lasting("1ms", "10m"), "2s", "how long those take"),
    Parameter(
        "signals",
        Number(0, 100, "signals", whole=True),
        "0",
        "extra signals in which nothing happens",
    ),
    Parameter("scrape", Lasting("1s", "5m", whole=True), "10s", "time between two scrapes"),
    Parameter(
        "skew", Lasting("0s", "5m"), "0s", "how much later than the canary's stable's counters are"
    ),
)
"""All that describes traffic and harm. Each may be a list, as in `--harm 0,1,5`."""

OVERRIDES = {
    "interval": "interval",
    "margin": "margin",
    "tolerance": "tolerance",
    "confidence": "confidence",
}
"""Parameters that replace a field of `spec.rollout`, checked as the manifest itself is."""

_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


# --- cells ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of parameters, each as it was written."""

    words: Mapping[str, str]

    def number(self, name: str) -> float:
        """The value of a parameter: percent, seconds or a plain number; its default if absent."""
        parameter = _BY_NAME[name]
        return parameter.read(self.words.get(name) or parameter.default)

    def share(self, name: str) -> float:
        """The value of a percentage as a share (0..1)."""
        return self.number(name) / 100.0

    @property
    def weight(self) -> int | None:
        """The constant weight in percent; None follows the steps."""
        return int(self.number("weight")) if self.words.get("weight") else None

    @property
    def onset(self) -> float | None:
        """The second in which the canary begins to do harm; None if it never does."""
        harmful = self.number("harm") or self.number("tail") or self.number("slower") > 1
        return self.number("onset") if harmful else None


def cells(given: Mapping[str, str]) -> Sequence[Cell]:
    """List all combinations of the values given by name, commas between; raises Unusable.

    The parameter that comes first in PARAMETERS changes slowest.
    """
    names = [name for name in (*_BY_NAME, *OVERRIDES) if given.get(name)]
    return [Cell(dict(words)) for words in product(*(_values(name, given[name]) for name in names))]


def _values(name: str, text: str) -> Iterator[tuple[str, str]]:
    for word in text.split(","):
        if name in _BY_NAME:
            _BY_NAME[name].read(word.strip())
        yield name, word.strip()


def traffic_of(cell: Cell, course: Course) -> Traffic:
    """Describe the synthetic traffic of a cell."""
    sigma, incidents = cell.number("dispersion"), cell.share("incidents")
    return Traffic(
        rate=cell.number("rate"),
        base=cell.share("base-error"),
        harm=cell.share("harm"),
        onset=cell.number("onset"),
        incidents=Incidents(incidents) if incidents else None,
        dispersion=Dispersion(sigma, cell.number("correlation")) if sigma else None,
        latency=_latency(cell, course),
        signals=int(cell.number("signals")),
        pods=int(cell.number("pods")),
        canary_pods=int(cell.number("canary-pods")),
        scrape=int(cell.number("scrape")),
        skew=cell.number("skew"),
    )


def _latency(cell: Cell, course: Course) -> Latency | None:
    slow = [o for o in course.settings.objectives if o.kind is ObjectiveKind.LATENCY]
    harmed = cell.number("slower") != 1 or cell.number("tail")
    if not cell.words.get("latency") and not slow and not harmed:
        return None
    median = cell.number("latency") if cell.words.get("latency") else _USUAL_SECONDS
    if median == inf:
        return None
    return Latency(median, cell.number("slower"), cell.share("tail"), cell.number("tail-latency"))


_USUAL_SECONDS = 0.1


# --- how to release ------------------------------------------------------------------------------

DEFAULT_MANIFEST: Mapping[str, Any] = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "ModelDeployment",
    "metadata": {"name": "simulated", "namespace": "default"},
    "spec": {
        "model": {"version": "2"},
        "template": {"spec": {"predictor": {"model": {"modelFormat": {"name": "sklearn"}}}}},
        "traffic": {"gateway": {"name": "public"}, "hostnames": ["simulated.example.com"]},
    },
}
"""What is released without a file: every default of the API."""

_WHOLE_DURATION = "30m"


def course_of(
    cell: Cell,
    manifest: Mapping[str, Any],
    duration: str,
    parse: Callable[[Mapping[str, Any]], ModelDeployment],
) -> Course:
    """Say how the deployment of a manifest is released in a cell.

    `duration` is the longest time that is simulated, "" for the default: 30 minutes at a constant
    weight, otherwise what holds, bake and progress deadline add up to. Raises what `parse` does.
    """
    spec = dict(manifest.get("spec") or {})
    changed = {field: cell.words[name] for name, field in OVERRIDES.items() if name in cell.words}
    if changed:
        spec["rollout"] = {**(spec.get("rollout") or {}), **changed}
    deployment = parse({**manifest, "spec": spec})
    policy = Policy(rollout=deployment.spec.rollout, objectives=deployment.spec.objectives)
    plan, settings = read(policy)
    longest = sum((step.hold for step in plan.steps), plan.bake + plan.progress_deadline)
    horizon = _seconds_of(duration or (_WHOLE_DURATION if cell.weight else ""), longest)
    settings = replace(settings, signals=_quiet(int(cell.number("signals"))))
    course = Course(
        plan,
        settings,
        horizon,
        pod_history=_pod_history(cell),
        canary_pods=int(cell.number("canary-pods")),
    )
    return course if cell.weight is None else constant(course, cell.weight)


def read(policy: Policy) -> tuple[Plan, Settings]:
    """What the operator makes of a policy: how to release, and what is asked of the evidence."""
    return plan_of(policy), settings_of(policy, None)


def _quiet(count: int) -> tuple[Signal, ...]:
    """Signals in which nothing happens; they share what the spec's own signals have of alpha."""
    return tuple(
        Signal(f"signal/quiet-{n}", Kind.RATIO, SIGNALS_SHARE / count) for n in range(1, count + 1)
    )


def _pod_history(cell: Cell) -> int:
    if not cell.words.get("pod-history"):
        return int(HISTORY.total_seconds()) if cell.number("dispersion") else 0
    seconds = cell.number("pod-history")
    return 0 if seconds == inf else int(seconds)


_DURATION = Lasting("10s", "365d")


def _seconds_of(duration: str, longest: timedelta) -> int:
    if not duration:
        return int(longest.total_seconds())
    try:
        return int(_DURATION.read(duration))
    except ValueError:
        raise Unusable("duration", _DURATION.wanted, duration) from None
