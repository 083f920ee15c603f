"""How a story is told."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from sandbox.narration import Narrator, has_colour


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "expected"),
    [
        pytest.param(Terminal(), {"TERM": "xterm"}, True, id="a terminal"),
        pytest.param(io.StringIO(), {"TERM": "xterm"}, False, id="a file"),
        pytest.param(Terminal(), {"NO_COLOR": "1"}, False, id="a user who wants none"),
        pytest.param(Terminal(), {"TERM": "dumb"}, False, id="a terminal that knows none"),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    stream: io.StringIO, environment: dict[str, str], *, expected: bool
) -> None:
    """A file or a pipe gets plain text."""
    assert has_colour(stream, environment) is expected


def told(act: Callable[[Narrator], None]) -> str:
    """Return what a narrator without colour wrote."""
    stream = io.StringIO()
    act(Narrator(stream, colour=False))
    return stream.getvalue()


def test_a_paragraph_is_wrapped_whatever_its_lines_were() -> None:
    """Indented source text becomes one paragraph."""
    text = told(lambda narrator: narrator.say("  one\n      two   three\n" + "word " * 30))

    lines = text.splitlines()
    assert lines[:1] == [""]
    assert lines[1].startswith("one two three word")
    assert max(map(len, lines)) <= 96


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        pytest.param(
            lambda n: n.command("kubectl get md"), "\n    $ kubectl get md\n", id="a command"
        ),
        pytest.param(
            lambda n: n.output("NAME\n\nfraud\n\n"), "    NAME\n\n    fraud\n", id="its output"
        ),
        pytest.param(
            lambda n: n.moment(4.26, "it is ready"), "       4.3 s  it is ready\n", id="a moment"
        ),
        pytest.param(
            lambda n: n.finding("it serves", True, "0 of 9"),
            "as expected: it serves (0 of 9)\n",
            id="an expectation that came true",
        ),
        pytest.param(
            lambda n: n.finding("it serves", False, "9 of 9"),
            "NOT SO: it serves (9 of 9)\n",
            id="one that did not",
        ),
        pytest.param(lambda n: n.heading("One"), "\nOne\n---\n", id="a heading"),
    ],
)
def test_each_kind_of_line_has_its_shape(act: Callable[[Narrator], None], expected: str) -> None:
    """Commands, what they printed and what happened can be told apart without colours."""
    assert told(act) == expected


def test_a_long_moment_stays_beside_its_time() -> None:
    """Further lines are indented to the first one's text."""
    lines = told(lambda narrator: narrator.moment(1.0, "word " * 40)).splitlines()

    assert len(lines) > 1
    assert {line[:14].strip() for line in lines[1:]} == {""}
    assert lines[1][14] == "w"


def test_colours_only_paint() -> None:
    """Without the escapes the text is the same."""
    stream = io.StringIO()
    Narrator(stream, colour=True).finding("it serves", True, "")

    assert stream.getvalue() == "\033[32mas expected\033[0m: it serves\n"
