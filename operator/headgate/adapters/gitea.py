"""A repository on Gitea or Forgejo: the `Forge` port.

Owns paths, bodies and codes of their REST API v1 (contents, commits, branches, pulls; codes as in
routers/api/v1/repo of Gitea). Must not know what is written.
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

PAGE = 50
PAGES = 10
"""Pages of pull requests that are searched, the newest first. Asked for by branch, Gitea gives any
one of several (`/pulls/{base}/{head}` has no order), and a closed one would hide an open one."""

_MERGED = "merged"
_STALE = ("sha does not match", "file CommitID does not match")


class Gitea:
    """One repository of Gitea."""

    def __init__(
        self, outbound: Outbound, repository: str, token: str, api_url: str | None = None
    ) -> None:
        """`repository` is its https address; `api_url` the API's root where it is not the usual."""
        owner, _, name = path_in(repository).rpartition("/")
        owner = owner.rpartition("/")[2]  # what is before it is where Gitea itself is served
        usual = f"{origin_of(repository)}/api/v1"
        root = f"{(api_url or usual).rstrip('/')}/repos/{quote(owner)}/{quote(name)}"
        self._api = Api(outbound, root, {"Authorization": f"token {token}"})

    async def close(self) -> None:
        """Nothing is held."""

    async def read(self, path: str, branch: str) -> SourceFile | None:
        """Read a file at the head of a branch; see Repository."""
        head = await self._api.read("branches", *branch.split("/"))
        if head is None:
            return None
        commit = part_of(head, "commit", "id")
        found = await self._api.read("contents", *path.split("/"), query={"ref": commit})
        return file_in(found, path, commit)

    async def history(self, path: str, branch: str, limit: int) -> Sequence[PastCommit]:
        """Return the newest commits that touched a file; see Repository."""
        query = {
            "sha": branch,
            "path": path,
            "limit": str(limit),
            "stat": "false",
            "verification": "false",
            "files": "false",
        }
        return past_in(await self._api.read("commits", query=query))

    async def find(self, branch: str, words: Sequence[str]) -> Sequence[str] | None:
        """Say that it cannot be searched: Gitea's index of code is optional."""
        return None

    async def commit(self, replacement: Replacement) -> Commit:
        """Replace a file by one commit; see Repository."""
        body = {
            "message": replacement.message,
            "content": encoded(replacement.content),
            "sha": replacement.file.version,
            "branch": replacement.branch,
            "committer": who(replacement.committer),
            "author": who(replacement.committer),
        }
        path = replacement.file.path.split("/")
        answer = await self._api.call("PUT", "contents", *path, body=body)
        if answer.is_ok:
            made = answer.json()
            return Commit(part_of(made, "commit", "sha"), part_of(made, "commit", "html_url"))
        is_stale = any(words in answer.message() for words in _STALE)
        if answer.status == 409 or (answer.status == 422 and is_stale):
            raise Stale(answer.message())
        raise refused(answer, Why.BRANCH_REFUSED if answer.status == 403 else Why.FORGE_REFUSED)

    async def branch(self, name: str, commit: str) -> None:
        """Make a branch at a commit; see Forge."""
        body = {"new_branch_name": name, "old_ref_name": commit}
        answer = await self._api.call("POST", "branches", body=body)
        if answer.is_ok or answer.status == 409:
            return
        raise refused(answer, Why.FORGE_REFUSED)

    async def propose(self, branch: str, base: str, title: str, body: str) -> Proposal:
        """Open a pull request, or return the open one; see Forge."""
        wanted = {"title": title, "head": branch, "base": base, "body": body}
        answer = await self._api.call("POST", "pulls", body=wanted)
        if answer.is_ok:
            return pull_request_in(answer.json(), _MERGED)
        if answer.status == 409:
            known = await self.proposal(branch, base)
            if known is not None:
                return known
        raise refused(answer, Why.FORGE_REFUSED)

    async def proposal(self, branch: str, base: str) -> Proposal | None:
        """Return the newest pull request of a branch; see Forge."""
        for page in range(1, PAGES + 1):
            query = {"state": "all", "limit": str(PAGE), "page": str(page)}
            found = await self._api.read("pulls", query=query) or []
            for each in found:
                # Of a branch that was deleted after the merge, only the label keeps the name.
                heads = (part_of(each, "head", "ref"), part_of(each, "head", "label"))
                if branch in heads and part_of(each, "base", "ref") == base:
                    return pull_request_in(each, _MERGED)
            if len(found) < PAGE:
                break
        return None
