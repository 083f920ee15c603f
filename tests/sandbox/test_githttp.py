"""Git over HTTP: real clones and pushes, hooks that refuse, accounts, and paths that climb."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from tests.sandbox.serving import ask

from sandbox.githttp import application, parse_answer, read_accounts
from sandbox.gitsync import make_repository, read_commit

PERSON = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "a"), ("EMAIL", "a@example.com"))
}
PROTECTED = """#!/bin/sh
while read -r old new ref; do
  if [ "$ref" = refs/heads/main ]; then echo "main is protected from $REMOTE_USER" >&2; exit 1; fi
done
"""


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    """Give a folder with one bare repository, which lies beside a secret one."""
    make_repository(tmp_path / "secret.git")
    make_repository(tmp_path / "served" / "models.git")
    return tmp_path / "served"


@asynccontextmanager
async def served(folder: Path, accounts: Mapping[str, str] | None = None) -> AsyncIterator[int]:
    """Serve the repositories of a folder; gives the port."""
    runner = web.AppRunner(application(folder, accounts), shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()


async def git(folder: Path, *words: str) -> tuple[int, str]:
    """Run Git as a person does who is never asked for a password; gives code and output."""
    environment = {
        **{key: value for key, value in os.environ.items() if "proxy" not in key.lower()},
        **PERSON,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    process = await asyncio.create_subprocess_exec(
        *("git", *words),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def clone(url: str, folder: Path) -> Path:
    """Return a fresh clone."""
    code, output = await git(folder.parent, "clone", "--quiet", url, str(folder))
    assert code == 0, output
    return folder


async def push(work: Path, name: str, content: str, branch: str = "main") -> tuple[int, str]:
    """Commit one file and push it."""
    (work / name).write_text(content)
    await git(work, "add", "--all")
    await git(work, "commit", "--quiet", "--message", name)
    return await git(work, "push", "--porcelain", "origin", f"HEAD:{branch}")


async def test_what_one_pushes_the_other_clones(repositories: Path, tmp_path: Path) -> None:
    """Whole files arrive, those too that Git compresses or sends in several requests."""
    large = "".join(f"{n} {n * n}\n" for n in range(200_000))
    async with served(repositories) as port:
        url = f"http://127.0.0.1:{port}/models.git"
        pushed = await push(await clone(url, tmp_path / "one"), "large.txt", large)
        assert pushed[0] == 0, pushed[1]
        other = await clone(url, tmp_path / "other")

    assert (other / "large.txt").read_text() == large
    assert (
        read_commit(repositories / "models.git")
        == (await git(other, "rev-parse", "HEAD"))[1].strip()
    )


async def test_a_race_is_told_apart_from_a_refusal(repositories: Path, tmp_path: Path) -> None:
    """Who pushes second is told to fetch first; who meets a hook hears what the hook says."""
    async with served(repositories) as port:
        url = f"http://127.0.0.1:{port}/models.git"
        first, second = await clone(url, tmp_path / "a"), await clone(url, tmp_path / "b")
        assert (await push(first, "a", "1"))[0] == 0
        raced = await push(second, "b", "1")
        hook = repositories / "models.git" / "hooks" / "pre-receive"
        hook.write_text(PROTECTED)
        hook.chmod(0o755)
        refused = await push(first, "a", "2")
        beside = await push(first, "a", "3", branch="topic")

    assert raced[0] == 1
    assert "[rejected] (fetch first)" in raced[1]
    assert refused[0] == 1
    assert "[remote rejected] (pre-receive hook declined)" in refused[1]
    assert "main is protected from anonymous" in refused[1]
    assert beside[0] == 0, beside[1]


async def test_only_an_account_may_push(repositories: Path, tmp_path: Path) -> None:
    """Everybody reads; a push without the right token changes nothing."""
    main = repositories / "models.git"
    async with served(repositories, {"bot": "right"}) as port:
        anyone = await clone(f"http://127.0.0.1:{port}/models.git", tmp_path / "any")
        without = await push(anyone, "a", "1")
        wrong = f"http://bot:wrong@127.0.0.1:{port}/models.git"
        await git(anyone, "remote", "set-url", "origin", wrong)
        with_wrong = await git(anyone, "push", "origin", "HEAD:main")
        unmoved = read_commit(main)
        right = f"http://bot:right@127.0.0.1:{port}/models.git"
        await git(anyone, "remote", "set-url", "origin", right)
        with_right = await git(anyone, "push", "origin", "HEAD:main")

    assert (without[0], with_wrong[0], unmoved) == (128, 128, "")
    assert "Authentication failed" in with_wrong[1]
    assert with_right[0] == 0, with_right[1]
    assert read_commit(main) != ""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/none.git/info/refs?service=git-upload-pack", id="no such repository"),
        pytest.param("/../secret.git/info/refs?service=git-upload-pack", id="one above"),
        pytest.param(
            "/%2e%2e/secret.git/info/refs?service=git-upload-pack", id="one above, hidden"
        ),
        pytest.param("/models.git/config", id="a file that is not for clients"),
    ],
)
async def test_nothing_but_its_repositories_is_served(repositories: Path, path: str) -> None:
    """No path reaches a file that Git does not hand out."""
    async with served(repositories) as port:
        status, _, body = await ask(port, path)

    assert status == 404, path
    assert b"refs/heads" not in body


def test_a_program_that_prints_nothing_is_a_bad_gateway() -> None:
    """A broken Git is not an empty repository."""
    response = parse_answer(b"")

    assert (response.status, response.text) == (502, "git http-backend gave no answer\n")


def test_status_and_headers_of_the_program_are_the_responses() -> None:
    """A CGI program says its status in a header; what it leaves out is 200."""
    refused = parse_answer(b"Status: 404 Not Found\r\nCache-Control: no-cache\r\n\r\nno")
    found = parse_answer(b"Content-Type: text/plain\r\n\r\nref: x\r\n\r\ny")

    assert (refused.status, refused.headers["Cache-Control"]) == (404, "no-cache")
    assert (found.status, found.body) == (200, b"ref: x\r\n\r\ny")


def test_accounts_are_read_line_by_line_and_no_token_is_told() -> None:
    """A token may hold a colon; a line that is none is named by its number alone."""
    assert read_accounts("bot:a:b\n\nci:c\n") == {"bot": "a:b", "ci": "c"}
    with pytest.raises(ValueError, match=r"^line 2: wanted name:token$"):
        read_accounts("bot:a\nsecret\n")
