"""A Git repository by the `git` program: the `Repository` port.

Owns the commands, their environment, and what their answers mean. Must not know what is written.

Nothing of a repository is checked out: a file is read from the object store, and a commit is made
from a tree. So no filter, hook, attribute or link of the repository takes effect. The environment
is ours alone; credentials are in it (`http.<url>.extraHeader`), never in an address, an argument or
a message.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from headgate.adapters.hosts import Hosts, NotAllowed, OpenResolver
from headgate.adapters.text import one_line
from headgate.core.writeback.reasons import Refusal, Why
from headgate.core.writeback.wanted import PastCommit
from headgate.ports import Commit, ForgeUnavailable, Replacement, SourceFile, Stale

TIMEOUT = timedelta(seconds=60)
"""One command, such as a fetch of the newest commits."""

DEPTH = 50
"""Commits that are fetched: enough to find our own by their trailers."""

FILES_SEARCHED = 200
"""Files that a search may find; more of them cannot be told apart in time."""

_ABSENT_BRANCH = "couldn't find remote ref"
_PLAIN_FILE = re.compile(rb"(100644|100755) blob ([0-9a-f]{40,64})\t")
# Refusals of a push that mean "somebody was faster", by client (porcelain) and by server.
_RACES = (
    "fetch first",
    "non-fast-forward",
    "stale info",
    "cannot lock ref",
    "failed to update ref",
)
_NOBODY = ("Headgate", "headgate@noreply.invalid")
_MESSAGE_LENGTH = 400


@dataclass(frozen=True, slots=True)
class Access:
    """
    How a repository is reached.

    Args:
        address: An https address without credentials.
        token: The password; empty for none.
        user: The user that goes with it; most forges take any.
        hosts: Which hosts may be asked; None for tests on local files.
        ca_file: Certificates to trust besides those of the system.
        signing_key: A private SSH key in OpenSSH's format, to sign commits with.
    """

    address: str
    token: str = field(default="", repr=False)
    user: str = "git"
    hosts: Hosts | None = None
    ca_file: Path | None = None
    signing_key: bytes = field(default=b"", repr=False)


class GitRepository:
    """One repository, in a folder of its own that `close` removes."""

    def __init__(self, access: Access, timeout: timedelta = TIMEOUT) -> None:
        """Take the access; nothing is fetched yet."""
        self._access, self._timeout = access, timeout.total_seconds()
        self._folder: Path | None = None

    async def close(self) -> None:
        """Remove what was fetched."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    async def read(self, path: str, branch: str) -> SourceFile | None:
        """Read a file at the head of a branch, fetched afresh; see Repository."""
        commit = await self._fetch(branch)
        if commit is None:
            return None
        entry = _PLAIN_FILE.match(await self._git("ls-tree", "-z", commit, "--", path))
        if entry is None:
            return None
        blob = entry[2].decode()
        content = await self._git("cat-file", "blob", blob)
        return SourceFile(path, content, blob, commit)

    async def history(self, path: str, branch: str, limit: int) -> Sequence[PastCommit]:
        """Return the newest of the fetched commits that touched a file; see Repository."""
        commit = await self._fetch(branch)
        if commit is None:
            return ()
        arguments = ("log", "-z", f"--max-count={limit}", "--format=%H%n%B", commit, "--", path)
        found = []
        for text in (await self._git(*arguments)).decode(errors="replace").split("\0"):
            sha, _, message = text.partition("\n")
            if sha and sha not in self._cut():
                found.append(PastCommit(sha, message))
        return found

    async def find(self, branch: str, words: Sequence[str]) -> Sequence[str] | None:
        """Return the YAML and JSON files that have all these words, at most FILES_SEARCHED."""
        commit = await self._fetch(branch)
        if commit is None:
            return ()
        kinds = ("*.yaml", "*.yml", "*.json")
        patterns = [each for word in words for each in ("-e", word)]
        search = ("grep", "-z", "-l", "-w", "-F", "--all-match", *patterns, commit, "--", *kinds)
        code, out, err = await self._run(search)
        if code > 1:
            raise ForgeUnavailable(self._text("search", err))
        names = [name.partition(":")[2] for name in out.decode(errors="replace").split("\0")]
        return [name for name in names if name][:FILES_SEARCHED]

    async def commit(self, replacement: Replacement) -> Commit:
        """Make a commit on top of what was read, and push it, never by force; see Repository."""
        sha = await self._made(replacement)
        push = ("push", "--porcelain", "--no-verify", self._access.address)
        code, out, err = await self._run((*push, f"{sha}:refs/heads/{replacement.branch}"))
        if code == 0:
            return Commit(sha)
        refused = re.search(r"^!\t\S+\t\[(?:remote )?rejected\] \((.*)\)$", out.decode(), re.M)
        if refused is None:
            raise ForgeUnavailable(self._text("push", err))
        if any(race in refused[1] for race in _RACES):
            raise Stale(f"{replacement.branch}: {one_line(refused[1], _MESSAGE_LENGTH)}")
        said = self._text(f"push to {replacement.branch}", refused[1].encode() + b": " + err)
        raise Refusal(Why.BRANCH_REFUSED, said)

    async def _made(self, replacement: Replacement) -> str:
        """Make the commit's objects and return its id."""
        file, index = replacement.file, str(self._home() / "index")
        blob = (await self._git("hash-object", "-w", "--stdin", stdin=replacement.content)).decode()
        entry = await self._git("ls-tree", "-z", file.commit, "--", file.path)
        mode = entry.partition(b" ")[0].decode()
        place = {"GIT_INDEX_FILE": index}
        await self._git("read-tree", file.commit, extra=place)
        info = f"{mode},{blob.strip()},{file.path}"
        await self._git("update-index", "--cacheinfo", info, extra=place)
        tree = (await self._git("write-tree", extra=place)).decode().strip()
        name, email = replacement.committer or _NOBODY
        who = {
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": email,
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": email,
        }
        arguments = ["commit-tree", tree, "-p", file.commit, "-F", "-"]
        if self._access.signing_key:
            arguments.insert(1, "-S")
        message = replacement.message.encode()
        return (await self._git(*arguments, stdin=message, extra=who)).decode().strip()

    async def _fetch(self, branch: str) -> str | None:
        """Fetch the head of a branch and return its commit; None if there is no such branch."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="headgate-git-"))
            await self._git("init", "--quiet", "--bare", str(self._home() / "git"))
        source = f"+refs/heads/{branch}:refs/heads/fetched"
        fetch = ("fetch", "--quiet", "--no-tags", f"--depth={DEPTH}", self._access.address, source)
        code, _, err = await self._run(fetch)
        if code and _ABSENT_BRANCH in err.decode(errors="replace"):
            return None
        if code:
            raise ForgeUnavailable(self._text("fetch", err))
        return (await self._git("rev-parse", "refs/heads/fetched")).decode().strip()

    def _cut(self) -> frozenset[str]:
        """The oldest fetched commits, which seem to have touched everything."""
        try:
            return frozenset((self._home() / "git" / "shallow").read_text().split())
        except FileNotFoundError:
            return frozenset()

    def _home(self) -> Path:
        if self._folder is None:
            raise ValueError("wanted something fetched first")
        return self._folder

    async def _git(
        self, *arguments: str, stdin: bytes = b"", extra: Mapping[str, str] | None = None
    ) -> bytes:
        code, out, err = await self._run(arguments, stdin, extra)
        if code:
            raise ForgeUnavailable(self._text(arguments[0], err))
        return out

    async def _run(
        self, arguments: Sequence[str], stdin: bytes = b"", extra: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, bytes]:
        """Run one command to its end; a command that takes too long is killed with its children."""
        environment = {**await self._environment(), **(extra or {})}
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
                cwd=self._home(),
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ForgeUnavailable("git is not installed") from error
        try:
            async with asyncio.timeout(self._timeout):
                out, err = await process.communicate(stdin)
        except TimeoutError as error:
            raise ForgeUnavailable(f"git {arguments[0]}: no end in {self._timeout:g} s") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return process.returncode or 0, out, err

    async def _environment(self) -> dict[str, str]:
        home = str(self._home())
        settings = await self._settings()
        pairs = {
            key: value
            for n, (name, setting) in enumerate(settings)
            for key, value in (
                (f"GIT_CONFIG_KEY_{n}", name),
                (f"GIT_CONFIG_VALUE_{n}", setting),
            )
        }
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": home,
            "LC_ALL": "C",
            "GIT_DIR": f"{home}/git",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_ALLOW_PROTOCOL": "https:http" if self._access.hosts is not None else "file",
            "GIT_CONFIG_COUNT": str(len(settings)),
            **pairs,
        }

    async def _settings(self) -> list[tuple[str, str]]:
        """Return Git's settings, credentials included, for the environment."""
        access = self._access
        settings = [
            ("http.followRedirects", "false"),
            ("core.hooksPath", os.devnull),
            ("transfer.fsckObjects", "true"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("credential.helper", ""),
        ]
        if access.ca_file is not None:
            settings.append(("http.sslCAInfo", str(access.ca_file)))
        if access.token:
            login = base64.b64encode(f"{access.user}:{access.token}".encode()).decode()
            header = f"Authorization: Basic {login}"
            settings.append((f"http.{access.address}.extraHeader", header))
        if access.hosts is not None:
            settings += await self._pinned(access.hosts)
        if access.signing_key:
            settings += [("gpg.format", "ssh"), ("user.signingKey", str(self._key_file()))]
        return settings

    async def _pinned(self, hosts: Hosts) -> list[tuple[str, str]]:
        """Let Git connect to what was checked, whatever DNS says a moment later."""
        try:
            host, port = hosts.check(self._access.address)
        except NotAllowed as error:
            raise Refusal(Why.FORGE_REFUSED, f"repository: {error}") from error
        if re.fullmatch(r"[0-9.]+|.*:.*", host):
            return []
        resolver = OpenResolver()
        try:
            found = await resolver.resolve(host, port)
        except OSError as error:
            raise ForgeUnavailable(f"{host}: {error}") from error
        finally:
            await resolver.close()
        addresses = ",".join(each["host"] for each in found)
        return [("http.curloptResolve", f"{host}:{port}:{addresses}")]

    def _key_file(self) -> Path:
        """Write the signing key where only we may read it; ssh-keygen takes nothing else."""
        path = self._home() / "signing-key"
        if not path.exists():
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._access.signing_key.strip() + b"\n")
        return path

    def _text(self, what: str, said: bytes) -> str:
        """Say what failed, without the credentials if the other side repeats them."""
        text = one_line(said, _MESSAGE_LENGTH)
        if self._access.token:
            text = text.replace(self._access.token, "***")
        return f"git {what}: {text}"
