"""
A cache on disk whose entries are named by what they are made from.

An entry is a folder. It appears as a whole, by a rename, and never changes afterwards; of two
processes that want the same one, one makes it. Knows nothing of Go, Python or Kubernetes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

Make = Callable[[Path], None]

_KEY_LENGTH = 16


class MissingError(Exception):
    """The machine lacks something; the message says what, and how to get it."""


def fingerprint(parts: Iterable[str | bytes]) -> str:
    """Return a short name for `parts`: equal parts, equal name; order and borders count."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()[:_KEY_LENGTH]


def tree(folder: Path, *patterns: str) -> list[str | bytes]:
    """
    Return names and contents of the files of `folder` that match a pattern, for `fingerprint`.

    Sorted by name, so that the order on disk does not matter; byte code is left out.
    """
    files = {
        path
        for pattern in patterns
        for path in folder.rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }
    found: list[str | bytes] = []
    for path in sorted(files):
        found += [path.relative_to(folder).as_posix(), path.read_bytes()]
    return found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; waits for whoever holds it. The kernel frees it when we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Cache:
    """The entries under `root`."""

    root: Path

    def path(self, name: str, key: str) -> Path:
        """Return where the entry is, or would be."""
        return self.root / name / key

    def get(self, name: str, key: str, make: Make) -> Path:
        """
        Return the folder of an entry, made by `make` if nobody has made it yet.

        `make` fills an empty folder. It must not write the folder's path into files that outlive
        the call, for the folder is renamed; `make_at` is for what cannot be moved.
        """

        def make_and_rename(final: Path) -> None:
            unfinished = final.with_name(final.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            make(unfinished)
            unfinished.rename(final)

        return self._once(name, key, Path.exists, make_and_rename)

    def make_at(self, name: str, key: str, make: Make) -> Path:
        """As `get`, for what holds its own path (a virtual environment): a mark says it is done."""

        def is_complete(final: Path) -> bool:
            return (final / ".complete").exists()

        def make_and_mark(final: Path) -> None:
            shutil.rmtree(final, ignore_errors=True)
            final.mkdir(parents=True)
            make(final)
            (final / ".complete").touch()

        return self._once(name, key, is_complete, make_and_mark)

    def _once(self, name: str, key: str, is_there: Callable[[Path], bool], make: Make) -> Path:
        final = self.path(name, key)
        if is_there(final):
            return final
        with locked(self.root / "locks" / f"{name}-{key}"):
            if not is_there(final):
                make(final)
        return final
