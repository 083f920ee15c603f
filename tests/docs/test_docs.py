"""What the documentation says is drawn from, or true of, the code."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_diagram_is_drawn_from_the_table() -> None:
    """The page in docs/design equals what the table gives now."""
    drawn = runpy.run_path(str(ROOT / "docs" / "state_machine.py"))["render"]()

    assert (ROOT / "docs" / "design" / "state-machine.md").read_text() == drawn


def test_operator_folder_is_no_package() -> None:
    """An `operator/__init__.py` would shadow the standard library's operator module."""
    assert not (ROOT / "operator" / "__init__.py").exists()
