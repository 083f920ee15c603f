"""
How a story is told on a terminal or into a file: paragraphs, commands, moments, findings.

Owns layout and colour. Must not know what the story is about.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

_WIDTH = 96
_INDENT = "    "

_BOLD, _DIM, _GREEN, _RED, _CYAN = "1", "2", "32", "31", "36"


def has_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether to colour what goes to `stream`: a terminal, and nobody asked for plain text."""
    plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return stream.isatty() and not plain


@dataclass(frozen=True, slots=True)
class Narrator:
    """Writes to one stream, line by line; every line is there as soon as it is told."""

    stream: TextIO
    colour: bool

    @classmethod
    def on(cls, stream: TextIO) -> Narrator:
        """Return a narrator that colours where `stream` and the environment allow it."""
        return cls(stream, has_colour(stream, os.environ))

    def heading(self, text: str) -> None:
        """Begin a chapter."""
        self._line("")
        self._line(self._painted(text, _BOLD))
        self._line(self._painted("-" * len(text), _DIM))

    def say(self, text: str) -> None:
        """Tell a paragraph; line breaks in `text` do not count."""
        self._line("")
        for line in textwrap.wrap(" ".join(text.split()), _WIDTH):
            self._line(line)

    def command(self, text: str) -> None:
        """Show what a person would type."""
        self._line("")
        self._line(_INDENT + self._painted(f"$ {text}", _CYAN))

    def output(self, text: str) -> None:
        """Show what a command printed, as it is."""
        for line in text.rstrip().splitlines():
            self._line((_INDENT + line).rstrip())

    def moment(self, seconds: float, text: str) -> None:
        """Tell what happened, and how many seconds into the chapter."""
        first, *rest = textwrap.wrap(" ".join(text.split()), _WIDTH - 14) or [""]
        self._line(f"{_INDENT}{self._painted(f'{seconds:6.1f} s', _DIM)}  {first}")
        for line in rest:
            self._line(_INDENT + " " * 10 + line)

    def finding(self, claim: str, holds: bool, found: str) -> None:
        """Tell whether an expectation came true, and what was found."""
        mark = self._painted("as expected", _GREEN) if holds else self._painted("NOT SO", _RED)
        label = f"{mark}: {claim}" + (f" ({found})" if found else "")
        for line in textwrap.wrap(label, _WIDTH, subsequent_indent="  ", break_on_hyphens=False):
            self._line(line)

    def blank(self) -> None:
        """Leave a line free."""
        self._line("")

    def _painted(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()
