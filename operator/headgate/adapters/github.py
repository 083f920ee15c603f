"""A repository on GitHub, or GitHub Enterprise Server: the `Forge` port.

Owns paths, bodies and codes of its REST API (version 2022-11-28,
https://docs.github.com/rest: contents, commits, git refs, pulls). Must not know what is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from headgate.adapters.forge_http import (
    Api,
    encoded,
    file_in,
    origin_of,
    part_of,
    past_in,
    path_in,
    pull_request_in,
    refused,
    who,
)
from headgate.adapters.outbound import Outbound
from headgate.core.writeback.reasons import Why
from headgate.core.writeback.wanted import PastCommit
from headgate.ports import Commit, Proposal, Replacement, SourceFile, Stale

VERSION = "2022-11-28"
PUBLIC_API = "https://api.github.com"
"""Root of the API for repositories at https://github.com."""

_MERGED = "merged_at"
_STALE = ("does not match", "expected to be at", "but expected")
_EXISTS = "already exists"


class GitHub:
    """One repository of GitHub."""

    def __init__(
        self, outbound: Outbound, repository: str, token: str, api_url: str | None = None
    ) -> None:
        """`repository` is its https address; `api_url` the API's root where it is not the usual."""
        self._owner, _, name = path_in(repository).partition("/")
        origin = origin_of(repository)
        usual = PUBLIC_API if origin == "https://github.com" else f"{origin}/api/v3"
        root = f"{(api_url or usual).rstrip('/')}/repos/{quote(self._owner)}/{quote(name, safe='')}"
        headers = {"Authorization": f"Bearer {token}", "X-GitHub-Api-Version": VERSION}
        self._api = Api(outbound, root, headers)

    async def close(self) -> None:
        """Nothing is held."""

    async def read(self, path: str, branch: str) -> SourceFile | None:
        """Read a file at the head of a branch; see Repository."""
        head = await self._api.read("git", "ref", "heads", *branch.split("/"))
        if head is None:
            return None
        commit = part_of(head, "object", "sha")
        found = await self._api.read("contents", *path.split("/"), query={"ref": commit})
        return file_in(found, path, commit)

    async def history(self, path: str, branch: str, limit: int) -> Sequence[PastCommit]:
        """Return the newest commits that touched a file; see Repository."""
        query = {"sha": branch, "path": path, "per_page": str(limit)}
        return past_in(await self._api.read("commits", query=query))

    async def find(self, branch: str, words: Sequence[str]) -> Sequence[str] | None:
        """Say that it cannot be searched: GitHub searches the default branch only, and later."""
        return None

    async def commit(self, replacement: Replacement) -> Commit:
        """Replace a file by one commit; see Repository."""
        body = {
            "message": replacement.message,
            "content": encoded(replacement.content),
            "sha": replacement.file.version,
            "branch": replacement.branch,
            "committer": who(replacement.committer),
        }
        path = replacement.file.path.split("/")
        answer = await self._api.call("PUT", "contents", *path, body=body)
        if answer.is_ok:
            made = answer.json()
            return Commit(part_of(made, "commit", "sha"), part_of(made, "commit", "html_url"))
        # 409 is a stale sha as well as a rule of the branch; only the words tell them apart.
        if answer.status == 409 and any(words in answer.message() for words in _STALE):
            raise Stale(answer.message())
        is_rule = answer.status in (403, 409, 422)
        raise refused(answer, Why.BRANCH_REFUSED if is_rule else Why.FORGE_REFUSED)

    async def branch(self, name: str, commit: str) -> None:
        """Make a branch at a commit; see Forge."""
        body = {"ref": f"refs/heads/{name}", "sha": commit}
        answer = await self._api.call("POST", "git", "refs", body=body)
        if answer.is_ok or (answer.status == 422 and _EXISTS in answer.message()):
            return
        raise refused(answer, Why.FORGE_REFUSED)

    async def propose(self, branch: str, base: str, title: str, body: str) -> Proposal:
        """Open a pull request, or return the open one; see Forge."""
        wanted = {"title": title, "head": branch, "base": base, "body": body}
        answer = await self._api.call("POST", "pulls", body=wanted)
        if answer.is_ok:
            return pull_request_in(answer.json(), _MERGED)
        if answer.status == 422 and _EXISTS in answer.message():
            known = await self.proposal(branch, base)
            if known is not None:
                return known
        raise refused(answer, Why.FORGE_REFUSED)

    async def proposal(self, branch: str, base: str) -> Proposal | None:
        """Return the newest pull request of a branch; see Forge."""
        query = {
            # Without the owner GitHub ignores the branch, and returns any pull request.
            "head": f"{self._owner}:{branch}",
            "base": base,
            "state": "all",
            "sort": "created",
            "direction": "desc",
        }
        found = await self._api.read("pulls", query=query) or ()
        ours = [each for each in found if part_of(each, "head", "ref") == branch]
        return pull_request_in(ours[0], _MERGED) if ours else None
