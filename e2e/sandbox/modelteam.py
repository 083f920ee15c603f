"""
The model team: a working copy of the world's repository, and commits as people make them.

Owns the Git commands and the edit that makes one version the next. Must not know the cluster.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

FILE = Path("models") / "fraud.yaml"
"""The ModelDeployment, in the repository."""

_VERSION = re.compile(r'(?P<before>^ +version: ")(?P<version>[^"]+)(?=")', re.MULTILINE)
_STORAGE = re.compile(
    r"(?P<before>^ +storageUri: \S+/)(?P<version>[^/\s]+)(?=/[^/\s]+$)", re.MULTILINE
)

# Nothing of the user's own Git may matter here: hooks, signing, aliases, another default branch.
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Model team",
    "GIT_AUTHOR_EMAIL": "models@example.com",
    "GIT_COMMITTER_NAME": "Model team",
    "GIT_COMMITTER_EMAIL": "models@example.com",
    "GIT_TERMINAL_PROMPT": "0",
}


class GitError(Exception):
    """Git refused; the message is what it said."""


def with_version(text: str, version: str) -> str:
    """
    Return a ModelDeployment's YAML with another version of the model; all else stays as written.

    Raises:
        ValueError: The version or the storageUri is not there exactly once.
    """
    for name, pattern in (("version", _VERSION), ("storageUri", _STORAGE)):
        found = len(pattern.findall(text))
        if found != 1:
            raise ValueError(f"{name}: wanted it once, found it {found} times")
        text = pattern.sub(lambda match: match["before"] + version, text)
    return text


def changed_lines(diff: str) -> str:
    """Return the lines that a unified diff takes away and adds, without its headers."""
    lines = (line for line in diff.splitlines() if line[:1] in ("-", "+"))
    return "\n".join(line for line in lines if not line.startswith(("---", "+++")))


@dataclass(frozen=True, slots=True)
class ModelTeam:
    """A clone in `folder` of the bare repository `origin`."""

    origin: Path
    folder: Path

    def clone(self) -> None:
        """Clone afresh, on branch main; an earlier clone is forgotten."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")
        self._git("remote", "add", "origin", str(self.origin))

    def catch_up(self) -> None:
        """Take up what others have pushed; in a repository without a commit there is nothing."""
        self._git("fetch", "--quiet", "origin")
        if self._git("branch", "--remotes", "--list", "origin/main").strip():
            self._git("reset", "--quiet", "--hard", "origin/main")

    def take(self, folder: Path) -> None:
        """Put the files of `folder` into the working copy."""
        shutil.copytree(folder, self.folder, dirs_exist_ok=True)

    def edit(self, version: str) -> str:
        """Change the ModelDeployment to `version`; returns the lines that changed."""
        file = self.folder / FILE
        file.write_text(with_version(file.read_text(), version))
        return changed_lines(self._git("diff", "--unified=0"))

    def commit(self, subject: str) -> str:
        """Commit everything and push it; returns the short name of the commit."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", subject)
        self._git("push", "--quiet", "origin", "main")
        return self._git("rev-parse", "--short", "HEAD").strip()

    def head(self) -> str:
        """Return the full name of the commit that the working copy is at."""
        return self._git("rev-parse", "HEAD").strip()

    def revert(self) -> str:
        """Take the last commit back by a new one and push it; returns its short name."""
        self._git("revert", "--no-edit", "HEAD")
        self._git("push", "--quiet", "origin", "main")
        return self._git("rev-parse", "--short", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env={**os.environ, **_ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise GitError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout
