"""What is asked of Prometheus: selectors, in which foreign text stays text.

Owns escaping and which labels a query names. Must not know how questions travel or are answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, floor

from headgate.core.counters import Arm

_REGEX_SPECIAL = str.maketrans({char: f"\\{char}" for char in r"\.+*?()|[]{}^$"})
_STRING_SPECIAL = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_UNREADABLE = "\N{REPLACEMENT CHARACTER}"  # Prometheus's lexer takes it for broken UTF-8

_CLASS = re.compile(r"[0-9]xx")

Pairs = tuple[tuple[str, str], ...]
Choices = tuple[tuple[str, tuple[str, ...]], ...]


def quote(text: str) -> str:
    """Return `text` as a PromQL string; what cannot be printed is written as an escape."""
    text = text.translate(_STRING_SPECIAL)
    if not text.isprintable() or _UNREADABLE in text:
        text = "".join(map(_readable, text))
    return f'"{text}"'


def _readable(char: str) -> str:
    if char.isprintable() and char != _UNREADABLE:
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def pattern(values: Iterable[str]) -> str:
    """Return the regular expression of these texts; a `*` at an end stands for anything."""
    return "|".join(
        escaped(value[:-1]) + ".*" if value.endswith("*") else escaped(value) for value in values
    )


def escaped(text: str) -> str:
    """Return the regular expression (RE2) that matches `text` and nothing else."""
    return text.translate(_REGEX_SPECIAL)


def class_pattern(value: str) -> str:
    """As `escaped`, but `5xx` stands for every number of three digits that begins with 5."""
    return f"{value[0]}[0-9][0-9]" if _CLASS.fullmatch(value) else escaped(value)


def any_pattern(values: Iterable[str]) -> str:
    """Return the regular expression of these texts; `5xx` is itself, and the class as well."""
    return "|".join(dict.fromkeys(each for v in values for each in (escaped(v), class_pattern(v))))


def render_query(
    metric: str,
    label: str,
    values: Sequence[str],
    matchers: Mapping[str, str],
    seconds: int | None,
    scope: Mapping[str, Sequence[str]] | None = None,
    any_of: Choices = (),
) -> str:
    """Return the selector of all samples whose `label` is one of `values`, as text, not pattern.

    Labels in `scope` are one of several values, those in `matchers` are exactly one, and those in
    `any_of` as `any_pattern` says. Without `seconds` it selects the value at one moment.
    """
    conditions = [f"{label}=~{quote(pattern(values))}"]
    for name, several in (scope or {}).items():
        conditions.append(f"{name}=~{quote('|'.join(map(escaped, several)))}")
    conditions += [f"{name}={quote(value)}" for name, value in matchers.items()]
    conditions += [f"{name}=~{quote(any_pattern(several))}" for name, several in any_of]
    window = "" if seconds is None else f"[{seconds}s]"
    return f"{metric}{{{','.join(conditions)}}}{window}"


@dataclass(frozen=True, slots=True)
class Question:
    """All samples of one metric that one caller wants.

    `names` are the values of the arm's `label`, `scope` further labels of which other callers may
    want other values, `matchers` labels that all series must have, `any_of` those that must have
    one of some values. Samples are those of `seconds` before `at`; with a `step`, the values at its
    multiples.
    """

    metric: str
    label: str
    names: Mapping[str, Arm]
    scope: Pairs
    matchers: Pairs
    at: datetime
    seconds: int
    step: int | None = None
    any_of: Choices = ()

    @property
    def start(self) -> datetime:
        """The earliest moment of a sample."""
        return self.at - timedelta(seconds=self.seconds)

    @property
    def query(self) -> str:
        """The selector, as this caller alone would ask."""
        return merged_query([self])

    @property
    def keys(self) -> Sequence[tuple[str, ...]]:
        """What tells the wanted series: the arm's value, then those of the scope."""
        return [(name, *(value for _, value in self.scope)) for name in self.names]

    @property
    def group(self) -> tuple[object, ...]:
        """Questions of one group can be asked as one.

        Windows in one query differ by less than a factor of four: whoever asks for a minute does
        not make the source read, and us parse, the hour that another one asks for.
        """
        labels = tuple(label for label, _ in self.scope)
        octaves = self.seconds.bit_length() // 2
        return (self.metric, self.label, labels, self.matchers, self.any_of, self.step, octaves)


def merged_query(questions: Sequence[Question]) -> str:
    """Return the selector of what all these questions, of one group, ask for."""
    first = questions[0]
    scope: dict[str, set[str]] = {}
    for question in questions:
        for label, value in question.scope:
            scope.setdefault(label, set()).add(value)
    start, end = span(questions)
    return render_query(
        first.metric,
        first.label,
        sorted({name for question in questions for name in question.names}),
        dict(first.matchers),
        ceil((end - start).total_seconds()) if first.step is None else None,
        {label: sorted(values) for label, values in scope.items()},
        first.any_of,
    )


def span(questions: Sequence[Question]) -> tuple[datetime, datetime]:
    """Return the union of the windows."""
    return min(q.start for q in questions), max(q.at for q in questions)


def form_of(questions: Sequence[Question]) -> Mapping[str, str]:
    """Return the form that asks them all, to be sent to `query` or, with a step, `query_range`."""
    start, end = span(questions)
    query, step = merged_query(questions), questions[0].step
    if step is None:
        return {"query": query, "time": f"{end.timestamp():.3f}"}
    first, last = (str(floor(moment.timestamp())) for moment in (start, end))
    return {"query": query, "start": first, "end": last, "step": str(step)}
