"""A bare Git repository on disk, as a server has it, with people who push to it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class BareRepository:
    """A bare repository and the clone of a person who pushes to it."""

    def __init__(self, folder: Path) -> None:
        """Make both."""
        self.path, self._work = folder / "origin.git", folder / "work"
        git("init", "--quiet", "--bare", "--initial-branch=main", str(self.path))
        git("init", "--quiet", "--initial-branch=main", str(self._work))
        git("remote", "add", "origin", str(self.path), cwd=self._work)

    @property
    def address(self) -> str:
        """What one clones."""
        return f"file://{self.path}"

    def push(self, branch: str, path: str, content: bytes, message: str) -> str:
        """Commit one file on top of a branch, as a person does."""
        git("fetch", "--quiet", "origin", cwd=self._work)
        known = git("branch", "-r", "--list", f"origin/{branch}", cwd=self._work)
        start = [f"origin/{branch}"] if known else []
        git("checkout", "--quiet", "-B", branch, *start, cwd=self._work)
        target = self._work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        git("add", "-A", cwd=self._work)
        git("commit", "--quiet", "--allow-empty", "-m", message, cwd=self._work)
        git("push", "--quiet", "origin", branch, cwd=self._work)
        return git("rev-parse", "HEAD", cwd=self._work)

    def content(self, branch: str, path: str) -> bytes:
        """A file at the head of a branch, byte for byte."""
        command = ["git", "cat-file", "blob", f"{branch}:{path}"]
        done = subprocess.run(command, cwd=self.path, check=True, capture_output=True)
        return done.stdout

    def messages(self, branch: str) -> list[str]:
        """The commit messages of a branch, the newest first."""
        text = git("log", "-z", "--format=%B", branch, cwd=self.path)
        return [message for message in text.split("\0") if message]

    def hook(self, script: str) -> None:
        """Decide about pushes by a pre-receive hook."""
        path = self.path / "hooks" / "pre-receive"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def link(self, branch: str, path: str, target: str) -> None:
        """Make a branch that has a symbolic link and nothing else."""
        blob = git("hash-object", "-w", "--stdin", cwd=self.path, stdin=target)
        tree = git("mktree", cwd=self.path, stdin=f"120000 blob {blob}\t{path}\n")
        commit = git("commit-tree", tree, "-m", "Link", cwd=self.path)
        git("update-ref", f"refs/heads/{branch}", commit, cwd=self.path)

    def protect(self, branch: str) -> None:
        """Refuse pushes to a branch, as forges do."""
        self.hook(
            "while read old new ref; do\n"
            f"  if [ $ref = refs/heads/{branch} ]; then\n"
            "    echo 'GH006: Protected branch update failed' >&2; exit 1\n"
            "  fi\n"
            "done"
        )


def make_key(folder: Path) -> Path:
    """Make an SSH key pair without a passphrase; returns the private one."""
    key = folder / "key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bot", "-f", str(key)]
    subprocess.run(command, check=True)
    return key


def git(*arguments: str, cwd: Path | None = None, stdin: str = "") -> str:
    """Run Git as a person without a configuration."""
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ann",
        "GIT_AUTHOR_EMAIL": "ann@models.invalid",
        "GIT_COMMITTER_NAME": "Ann",
        "GIT_COMMITTER_EMAIL": "ann@models.invalid",
    }
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=environment, input=stdin.encode(), check=True, capture_output=True
    )
    return done.stdout.decode().strip()
