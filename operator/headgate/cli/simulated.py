"""What `headgate simulate` shows: a timeline of one run, a table of many, or records.

Owns the sentences, the table and the JSON of simulations. Must not know how runs come about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from headgate.cli import output
from headgate.cli.lines import Line, Span, Spans, columns, number, span_of, text
from headgate.simulation.cell import PARAMETERS, Cell
from headgate.simulation.engine import Course, Ending, Event, Run
from headgate.simulation.lineup import Entry
from headgate.simulation.summary import Mean, Quantile, Rate, Summary, summarize

SCHEMA = "headgate.dev/simulation/v1"

_STYLES = {Ending.PROMOTED: "green", Ending.ROLLED_BACK: "red"}


class Report(Protocol):
    """Takes results as they come, cell by cell."""

    def begin(self, cell: Cell, course: Course) -> None:
        """Begin a cell."""

    def add(self, rule: Entry, runs: Sequence[Run]) -> None:
        """Add all runs of one rule in this cell."""

    def end(self) -> None:
        """End the cell."""


def report(form: str, seed: int, recording: str) -> Report:
    """Give the report of a form, text or json; `recording` is the file's name, "" without one."""
    return Records(seed, recording) if form == "json" else Pages(seed, recording)


# --- JSON ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Records:
    """One line of JSON for each rule and cell."""

    seed: int
    recording: str
    _cell: Cell = field(init=False)
    _course: Course = field(init=False)

    def begin(self, cell: Cell, course: Course) -> None:
        """Begin a cell."""
        self._cell, self._course = cell, course

    def add(self, rule: Entry, runs: Sequence[Run]) -> None:
        """Print the record of one rule in this cell."""
        output.show_json(self._record(rule, runs), indent=None)

    def end(self) -> None:
        """End the cell."""

    def _record(self, rule: Entry, runs: Sequence[Run]) -> dict[str, Any]:
        onset = self._cell.onset
        return {
            "schema": SCHEMA,
            "rule": rule.name,
            "tuning": rule.tuning,
            "cell": {_camel(name): word for name, word in self._words().items()},
            "recording": self.recording or None,
            "policy": _policy_as_json(self._course),
            "steps": [
                {"weight": step.weight, "holdSeconds": step.hold.total_seconds()}
                for step in self._course.plan.steps
            ],
            "bakeSeconds": self._course.plan.bake.total_seconds(),
            "horizonSeconds": self._course.horizon,
            "constantWeight": self._course.constant,
            "seed": self.seed,
            "summary": output.to_json(summarize(runs, onset)),
            "run": _run_as_json(runs[0]) if len(runs) == 1 else None,
        }

    def _words(self) -> dict[str, str]:
        """Every parameter that mattered, its default where nothing else was given."""
        defaults = {p.name: p.default for p in PARAMETERS if not (self.recording and p.synthetic)}
        return {**defaults, **self._cell.words}


def _policy_as_json(course: Course) -> dict[str, Any]:
    """What Headgate judged by; percent and percentage points, as in the API."""
    settings = course.settings
    return {
        "intervalSeconds": course.plan.interval.total_seconds(),
        "confidencePercent": round(100.0 - 100.0 * settings.alpha, 6),
        "marginPoints": round(100.0 * settings.margin, 6),
        "tolerancePoints": round(100.0 * settings.tolerance, 6),
    }


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def _run_as_json(run: Run) -> dict[str, Any]:
    return {
        "ending": run.ending.value,
        "endedAtSecond": run.at,
        "blamed": run.blamed,
        "earnedAtSecond": run.earned_at,
        "fullAtSecond": run.full_at,
        "requests": run.requests,
        "failures": run.failures,
        "caused": run.caused,
        "events": [output.to_json(event) for event in run.events],
    }


# --- text ----------------------------------------------------------------------------------------

_HEADINGS = (
    "rule",
    "false rollback",
    "detected",
    "delay p50",
    "p95",
    "failures let through",
    "promoted",
    "after p50",
    "p95",
    "undecided",
)


@dataclass(slots=True)
class Pages:
    """A timeline where there is one run of a rule in a cell, else a row of a table."""

    seed: int
    recording: str
    _cell: Cell = field(init=False)
    _course: Course = field(init=False)
    _rows: list[tuple[Span, ...]] = field(init=False, default_factory=list)

    def begin(self, cell: Cell, course: Course) -> None:
        """Print what is simulated."""
        self._cell, self._course, self._rows = cell, course, []
        output.show(_lines([text(self._title(), style="bold")]))

    def add(self, rule: Entry, runs: Sequence[Run]) -> None:
        """Print the timeline of a single run, or keep a row."""
        if len(runs) == 1:
            output.show(_lines(_timeline(rule, runs[0], self._onset)))
        else:
            found = summarize(runs, self._onset)
            self._rows.append(_row(rule, found, self._course.constant))

    def end(self) -> None:
        """Print the table."""
        if self._rows:
            proven = "proven p50" if self._course.constant else "after p50"
            head = tuple(Span(proven if one == "after p50" else one, "dim") for one in _HEADINGS)
            output.show(_lines([*columns([head, *self._rows]), text("")]))

    @property
    def _onset(self) -> float | None:
        return self._cell.onset

    def _title(self) -> str:
        shown = {} if self.recording else {p.name: p.default for p in PARAMETERS[:3] if p.default}
        words = [f"{name} {word}" for name, word in {**shown, **self._cell.words}.items()]
        steps = ", ".join(
            f"{step.weight} % for {span_of(step.hold)}" for step in self._course.plan.steps
        )
        bake = self._course.plan.bake
        steps += f", bake {span_of(bake)}" if bake else ""
        traffic = ", ".join([self.recording] * bool(self.recording) + words)
        return f"{traffic}; {steps}; seed {self.seed}"


def _lines(bodies: Sequence[Spans]) -> Sequence[Line]:
    return [Line("", body) for body in bodies]


def _timeline(rule: Entry, run: Run, onset: float | None) -> Sequence[Spans]:
    rows = [
        (
            Span(span_of(timedelta(seconds=event.second)).rjust(8)),
            Span(event.phase),
            Span(f"{event.weight} %".rjust(5)),
            Span(event.message, _event_style(event)),
        )
        for event in run.events
    ]
    ending = text(f"{rule}:", _ending(run, onset), style=_STYLES.get(run.ending, ""))
    return [text(f"{rule}", style="bold"), *columns(rows), ending, text("")]


def _event_style(event: Event) -> str:
    return "red" if event.verdict.startswith("Breach") else ""


def _ending(run: Run, onset: float | None) -> str:
    words = [f"{run.ending} after {span_of(timedelta(seconds=run.at))}"]
    if run.blamed:
        words.append(f"for {run.blamed}")
    if run.ending is Ending.ROLLED_BACK and onset is not None:
        late = run.at - onset
        delay = span_of(timedelta(seconds=abs(late)))
        words.append(f"{delay} {'after' if late > 0 else 'before'} the harm began")
    failed = f"the canary failed {run.failures:,} of {run.requests:,} requests"
    caused = f", {run.caused:,} of them for the harm" if onset is not None else ""
    return f"{', '.join(words)}; {failed}{caused}"


def _row(rule: Entry, found: Summary, constant: bool) -> tuple[Span, ...]:
    """One rule's row. A constant weight is kept to the end, so when it proved more says more."""
    return tuple(
        Span(word)
        for word in (
            str(rule),
            _percent(found.false_rollback),
            _percent(found.detection) if found.detection else "-",
            _time(found.delay_median) if found.detection else "-",
            _time(found.delay_p95) if found.detection else "-",
            _mean(found.caused) if found.detection else "-",
            _percent(found.promotion),
            _time(found.earned_median if constant else found.promotion_median),
            _time(found.earned_p95 if constant else found.promotion_p95),
            _percent(found.undecided),
        )
    )


def _percent(rate: Rate) -> str:
    return f"{100 * rate.share:.3g} % ±{100 * rate.standard_error:.2g}"


def _time(found: Quantile) -> str:
    if found.seconds is None:
        return "never"
    error = "" if found.standard_error is None else f" ±{found.standard_error:.2g}"
    return f"{found.seconds:.0f} s{error}"


def _mean(found: Mean) -> str:
    error = "" if found.standard_error is None else f" ±{found.standard_error:.2g}"
    return f"{number(found.value)}{error}"
