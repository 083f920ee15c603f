"""The cache: named by content, made once, never seen half made."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sandbox.cache import Cache, fingerprint, tree


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(["ab", "c"], ["a", "bc"], id="the borders between parts count"),
        pytest.param(["a", "b"], ["b", "a"], id="the order counts"),
        pytest.param(["a"], ["a", ""], id="an empty part counts"),
    ],
)
def test_different_inputs_have_different_names(one: list[str], other: list[str]) -> None:
    """No two lists of parts share a name by accident of how they are joined."""
    assert fingerprint(one) != fingerprint(other)


def test_text_and_its_bytes_have_one_name() -> None:
    """A file read as bytes and the same text given as a string are the same input."""
    assert fingerprint(["a"]) == fingerprint([b"a"])


def test_byte_code_does_not_change_a_tree(tmp_path: Path) -> None:
    """Running a program must not make its cache entry look outdated; a changed source must."""
    (tmp_path / "a.py").write_text("1")
    before = fingerprint(tree(tmp_path, "*"))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("byte code")
    after_running = fingerprint(tree(tmp_path, "*"))
    (tmp_path / "a.py").write_text("2")

    assert (after_running == before, fingerprint(tree(tmp_path, "*")) == before) == (True, False)


@pytest.mark.parametrize("method", ["get", "make_at"])
def test_two_who_want_the_same_make_it_once(tmp_path: Path, method: str) -> None:
    """Whoever comes second waits and takes what the first made."""
    cache, makers = Cache(tmp_path), []
    first_is_inside = threading.Event()

    def make(folder: Path) -> None:
        makers.append(threading.get_ident())
        first_is_inside.set()
        (folder / "result").write_text("made")

    def want() -> None:
        getattr(cache, method)("thing", "key", make)

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert first_is_inside.is_set()
    assert len(makers) == 1
    assert (tmp_path / "thing" / "key" / "result").read_text() == "made"


@pytest.mark.parametrize("method", ["get", "make_at"])
def test_a_failed_attempt_leaves_nothing_that_looks_made(tmp_path: Path, method: str) -> None:
    """After a failure the next one makes it anew, without remains of the first."""
    cache = Cache(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise OSError("disk full")

    def succeed(folder: Path) -> None:
        (folder / "whole").write_text("")

    with pytest.raises(OSError, match="disk full"):
        getattr(cache, method)("thing", "key", fail)
    folder = getattr(cache, method)("thing", "key", succeed)

    names = {path.name for path in folder.iterdir()} - {".complete"}
    assert names == {"whole"}


def test_a_made_entry_keeps_its_folder_while_it_is_made_in_place(tmp_path: Path) -> None:
    """What holds its own path is made where it stays."""
    seen: list[Path] = []

    final = Cache(tmp_path).make_at("thing", "key", seen.append)

    assert seen == [final]
