"""Text for people: trees, columns, bars, numbers and times.

Owns how a picture is drawn, once for plain text and once for a terminal. Must not know what it
shows. Nothing here is markup: a span's text reaches the terminal as it is, so what comes from a
cluster has to be cleaned before (`core.wording.plain`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

BAR_CELLS = 20
GAP = "  "
_ASCII = str.maketrans(
    {
        "├": "|",
        "└": "`",
        "│": "|",
        "─": "-",
        "█": "#",
        "░": ".",
        "✔": "x",
        "▸": ">",
        "○": "o",
        "✗": "-",
        "→": "->",
        "…": "...",
    }
)
_LARGE = 1e6


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one style; the style is rich's word for it, "" for none."""

    text: str
    style: str = ""


Spans = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what leads to it in the tree, and what it says."""

    head: str
    body: Spans


@dataclass(frozen=True, slots=True)
class Node:
    """A line of a tree with what belongs to it."""

    body: Spans
    children: tuple[Node, ...] = ()


def text(*words: str, style: str = "") -> Spans:
    """Make one span of words with single spaces between; empty words are left out."""
    return (Span(" ".join(word for word in words if word), style),)


def draw(node: Node) -> tuple[Line, ...]:
    """Draw a tree; the root has no branch of its own."""
    return (Line("", node.body), *_draw_children(node, ""))


def _draw_children(node: Node, prefix: str) -> Iterator[Line]:
    for child in node.children:
        last = child is node.children[-1]
        yield Line(prefix + ("└─ " if last else "├─ "), child.body)
        yield from _draw_children(child, prefix + ("   " if last else "│  "))


def columns(rows: Sequence[Sequence[Span]]) -> tuple[Spans, ...]:
    """Pad cells so that each column has one width; all rows have the same number of cells."""
    widths = [max(len(row[n].text) for row in rows) for n in range(len(rows[0]))] if rows else []
    return tuple(
        tuple(
            Span(cell.text if last else cell.text.ljust(width) + GAP, cell.style)
            for cell, width, last in zip(
                row, widths, (n + 1 == len(row) for n in range(len(row))), strict=True
            )
            if last or width
        )
        for row in rows
    )


def plain_text(lines: Sequence[Line], ascii_only: bool = False) -> str:
    """Write lines without any style, one a line, each ended."""
    written = "".join(
        (line.head + "".join(span.text for span in line.body)).rstrip() + "\n" for line in lines
    )
    return written.translate(_ASCII) if ascii_only else written


def for_terminal(lines: Sequence[Line], ascii_only: bool = False) -> RenderableType:
    """Make what rich prints: long lines go on beneath their own beginning, not beneath the tree."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def shown(words: str) -> str:
        return words.translate(_ASCII) if ascii_only else words

    rows: list[RenderableType] = []
    for line in lines:
        grid = Table.grid()
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        body = Text()
        for span in line.body:
            body.append(shown(span.text), style=span.style or None)
        grid.add_row(Text(shown(line.head), style="dim"), body)
        rows.append(grid if line.head else body)
    return Group(*rows)


def bar(percent: int) -> str:
    """Draw a weight of 0 to 100 percent in 20 cells; only 0 is empty and only 100 is full."""
    cells = round(percent * BAR_CELLS / 100)
    cells = min(max(cells, 1 if percent > 0 else 0), BAR_CELLS if percent >= 100 else BAR_CELLS - 1)
    return "█" * cells + "░" * (BAR_CELLS - cells)


def span_of(duration: timedelta) -> str:
    """Write a duration in its two largest units: `14s`, `3m20s`, `3d4h`; below 0 is `0s`."""
    seconds = max(0, int(duration.total_seconds()))
    if seconds == 0 and duration > timedelta(0):
        return f"{duration // timedelta(milliseconds=1)}ms"
    parts = [
        (seconds // 86400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "m"),
        (seconds % 60, "s"),
    ]
    first = next((n for n, (count, _) in enumerate(parts) if count), 3)
    return "".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count) or "0s"


def ago(at: datetime | None, now: datetime) -> str:
    """Write how long ago `at` was; "" if it is not known."""
    return f"{span_of(now - at)} ago" if at else ""


def at_time(at: datetime | None) -> str:
    """Write a moment to the second, in UTC as it is stored; "" if it is not known."""
    return at.strftime("%Y-%m-%d %H:%M:%SZ") if at else ""


def number(value: float) -> str:
    """Write a number >= 0 so that its size is seen at once: `0.2`, `225`, `304,096`, `1.9e+07`."""
    if value >= _LARGE:
        return f"{value:.1e}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def share(bad: int, requests: int) -> str:
    """Write a share with its counts: `9 of 100 (9 %)`; without requests there is no share."""
    if not requests:
        return "no requests"
    return f"{bad:,} of {requests:,} ({100 * bad / requests:.3g} %)"


def points(difference: float | None) -> str:
    """Write a difference in percentage points with its sign; "" if there is none."""
    return "" if difference is None else f"{difference:+.3g} points"


def between(low: float | None, high: float | None) -> str:
    """Write an interval of a difference in percentage points; "" if it is not known."""
    return "" if low is None or high is None else f"{low:+.3g} to {high:+.3g}"
