"""The one PromQL that can be taken over: a plain selector inside `sum(rate(…[w]))`.

Owns reading it, and saying what else was found. Must not know where queries come from.

    metric{label="value", …}                 a counter, if whoever wrote it says that it is one
    label=~"a|b"                             any of several texts
    label=~"4..|5[0-9]{2}"                   classes of three digits; also (4|5).. and [45]..
    rate(…[w]), increase(…[w])               a counter, whatever w is: windows are ours
    sum(…) around any of these
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from headgate.core.slo.level import Selector
from headgate.core.wording import plain

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<text>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | `[^`]*`)
    | (?P<range>\[[^\]]*\])
    | (?P<sign>=~|!~|!=|[(){},=])
    | (?P<other>\S)
    )""",
    re.VERBOSE,
)
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "r": "\r"}
_DIGIT = r"(?:\.|\\d|\[0-9\])"
# One of the texts or classes that a pattern lists. What is special is escaped in a text.
_ALTERNATIVE = re.compile(
    rf"""(?:
      (?P<first> [0-9] | \[[0-9]+\] | \([0-9](?:\|[0-9])*\) )
      (?: {_DIGIT}{_DIGIT} | {_DIGIT}\{{2\}} )
    | (?P<text> (?: [^\\.+*?()|\[\]{{}}^$] | \\[\\.+*?()|\[\]{{}}^$] )+ )
    ) (?P<more> \| | \Z )""",
    re.VERBOSE,
)
_IN_BRACKETS = re.compile(r"^\(([^()]*)\)$", re.DOTALL)


class NotPlain(ValueError):
    """A query that is more than a plain selector; the message names what was found."""


@dataclass(frozen=True, slots=True)
class Plain:
    """What a query selects, and whether it says by rate or increase that this is a counter."""

    selector: Selector
    is_rated: bool


def parse_plain(query: str) -> Plain:
    """Read a query; raises NotPlain, naming the first thing that cannot be taken over."""
    tokens = _Tokens(query)
    closing = 0
    if tokens.take_call("sum"):
        closing += 1
    is_rated = tokens.take_call("rate") or tokens.take_call("increase")
    metric, found = tokens.take("name", "the name of a metric"), tuple(_matchers(tokens))
    selector = Selector(
        metric,
        tuple((label, text) for label, text, _ in found if text is not None),
        tuple((label, values) for label, text, values in found if text is None),
    )
    if is_rated:
        tokens.take("range", "a range such as [5m]")
        closing += 1
    for _ in range(closing):
        tokens.take_sign(")")
    tokens.take("end", "the end of the query")
    return Plain(selector, is_rated)


class _Tokens:
    """A query, piece by piece."""

    def __init__(self, query: str) -> None:
        self._pieces = [
            (str(match.lastgroup), match[str(match.lastgroup)])
            for match in _TOKEN.finditer(query.strip())
        ]
        self._pieces.append(("end", ""))
        self._at = 0

    def is_next(self, sign: str) -> bool:
        """Whether this sign comes next."""
        return self._pieces[self._at] == ("sign", sign)

    def take_call(self, name: str) -> bool:
        """Take `name(` if it comes next."""
        if self._pieces[self._at : self._at + 2] != [("name", name), ("sign", "(")]:
            return False
        self._at += 2
        return True

    def take_sign(self, sign: str) -> None:
        """Take a sign, or refuse what is there instead."""
        if not self.is_next(sign):
            self.refuse(repr(sign))
        self._at += 1

    def take(self, kind: str, wanted: str) -> str:
        """Take a piece of a kind, or refuse what is there instead."""
        if self._pieces[self._at][0] != kind:
            self.refuse(wanted)
        self._at += 1
        return self._pieces[self._at - 1][1]

    def refuse(self, wanted: str) -> None:
        """Say what was wanted and found."""
        kind, text = self._pieces[self._at]
        found = "the end" if kind == "end" else plain(repr(text), 80)
        raise NotPlain(
            f"wanted a plain selector, at most inside sum(rate(…[w])): {found} where "
            f"{wanted} should be"
        )


def _matchers(tokens: _Tokens) -> Iterator[tuple[str, str | None, tuple[str, ...]]]:
    """Read the matchers: each label with its one text, or None and the values it may have."""
    if tokens.is_next("("):
        tokens.refuse("a selector")
    if not tokens.is_next("{"):
        return
    tokens.take_sign("{")
    labels: set[str] = set()
    while not tokens.is_next("}"):
        label = tokens.take("name", "the name of a label")
        operator = tokens.take("sign", "a matcher")
        text = _unquote(tokens.take("text", "a text in quotes"))
        if label in labels:
            raise NotPlain(f"wanted one matcher per label, found two of {label}")
        labels.add(label)
        values = _values(label, operator, text)
        yield label, values if isinstance(values, str) else None, tuple(values)
        if not tokens.is_next("}"):
            tokens.take_sign(",")
    tokens.take_sign("}")


def _values(label: str, operator: str, text: str) -> str | tuple[str, ...]:
    """Return the one text that a matcher takes, or the texts and classes of which it takes any."""
    if operator == "=":
        return text
    found = _alternatives(_IN_BRACKETS.sub(r"\1", text)) if operator == "=~" else []
    if not found:
        said = plain(f"{label}{operator}{text!r}", 80)
        raise NotPlain(
            "wanted labels that equal a value, or any of several texts and classes such as 5..; "
            f"found {said}"
        )
    values = tuple(dict.fromkeys(value for value, _ in found))
    return values[0] if len(values) == 1 and not found[0][1] else values


def _alternatives(pattern: str) -> list[tuple[str, bool]]:
    """List a pattern's values, each with whether it is a class; none for any other pattern."""
    found: list[tuple[str, bool]] = []
    at = 0
    while True:
        match = _ALTERNATIVE.match(pattern, at)
        if match is None:
            return []
        if match["text"] is not None:
            found.append((re.sub(r"\\(.)", r"\1", match["text"]), False))
        else:
            found += [(f"{digit}xx", True) for digit in re.findall("[0-9]", match["first"])]
        if not match["more"]:
            return found
        at = match.end()


def _unquote(quoted: str) -> str:
    inner = quoted[1:-1]
    if quoted[0] == "`":
        return inner

    def plain_sign(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPES:
            raise NotPlain(f"wanted plain text, found the escape {plain(match[0], 80)}")
        return _ESCAPES[match[1]]

    return re.sub(r"\\(.)", plain_sign, inner)
