"""A project on GitLab: the `Forge` port.

Owns paths, bodies and codes of its REST API v4 (https://docs.gitlab.com/api: branches, repository
files, commits, merge requests). Must not know what is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from headgate.adapters.forge_http import (
    Api,
    body_of,
    decoded,
    encoded,
    origin_of,
    part_of,
    path_in,
    refused,
)
from headgate.adapters.outbound import Outbound
from headgate.core.writeback.reasons import Why
from headgate.core.writeback.wanted import PastCommit
from headgate.ports import Commit, Proposal, ProposalState, Replacement, SourceFile, Stale

_STALE = ("has changed since you started editing it", "Could not update refs/")
_NOT_ALLOWED = "not allowed to push"
_STATES = {"merged": ProposalState.MERGED, "closed": ProposalState.CLOSED}


class GitLab:
    """One project of GitLab."""

    def __init__(
        self, outbound: Outbound, repository: str, token: str, api_url: str | None = None
    ) -> None:
        """`repository` is its https address; `api_url` the API's root where it is not the usual."""
        usual = f"{origin_of(repository)}/api/v4"
        project = quote(path_in(repository), safe="")
        root = f"{(api_url or usual).rstrip('/')}/projects/{project}"
        self._api = Api(outbound, root, {"PRIVATE-TOKEN": token})

    async def close(self) -> None:
        """Nothing is held."""

    async def read(self, path: str, branch: str) -> SourceFile | None:
        """Read a file at the head of a branch; see Repository."""
        head = await self._api.read("repository", "branches", branch)
        if head is None:
            return None
        commit = part_of(head, "commit", "id")
        found = await self._api.read("repository", "files", path, query={"ref": commit})
        if found is None:
            return None
        content = decoded(found.get("content"), found.get("encoding"))
        return SourceFile(path, content, part_of(found, "last_commit_id"), commit)

    async def history(self, path: str, branch: str, limit: int) -> Sequence[PastCommit]:
        """Return the newest commits that touched a file; see Repository."""
        query = {"ref_name": branch, "path": path, "per_page": str(limit)}
        found = await self._api.read("repository", "commits", query=query) or ()
        return [PastCommit(part_of(each, "id"), part_of(each, "message")) for each in found]

    async def find(self, branch: str, words: Sequence[str]) -> Sequence[str] | None:
        """Say that it cannot be searched: not every GitLab searches branches."""
        return None

    async def commit(self, replacement: Replacement) -> Commit:
        """Replace a file by one commit; see Repository."""
        action = {
            "action": "update",
            "file_path": replacement.file.path,
            "content": encoded(replacement.content),
            "encoding": "base64",
            "last_commit_id": replacement.file.version,
        }
        name, email = replacement.committer or (None, None)
        body = {
            "branch": replacement.branch,
            "commit_message": replacement.message,
            "actions": [action],
            "author_name": name,
            "author_email": email,
        }
        answer = await self._api.call("POST", "repository", "commits", body=body)
        if answer.is_ok:
            made = answer.json()
            return Commit(part_of(made, "id"), part_of(made, "web_url"))
        if any(words in answer.message() for words in _STALE):
            raise Stale(answer.message())
        is_rule = answer.status == 403 or _NOT_ALLOWED in answer.message()
        raise refused(answer, Why.BRANCH_REFUSED if is_rule else Why.FORGE_REFUSED)

    async def branch(self, name: str, commit: str) -> None:
        """Make a branch at a commit; see Forge."""
        body = {"branch": name, "ref": commit}
        answer = await self._api.call("POST", "repository", "branches", body=body)
        if answer.is_ok or (answer.status == 400 and "already exists" in answer.message()):
            return
        raise refused(answer, Why.FORGE_REFUSED)

    async def propose(self, branch: str, base: str, title: str, body: str) -> Proposal:
        """Open a merge request, or return the open one; see Forge."""
        wanted = {
            "source_branch": branch,
            "target_branch": base,
            "title": title,
            "description": body,
            "remove_source_branch": True,
        }
        answer = await self._api.call("POST", "merge_requests", body=wanted)
        if answer.is_ok:
            return _proposal(answer.json())
        if answer.status == 409:
            known = await self.proposal(branch, base)
            if known is not None:
                return known
        raise refused(answer, Why.FORGE_REFUSED)

    async def proposal(self, branch: str, base: str) -> Proposal | None:
        """Return the newest merge request of a branch; see Forge."""
        query = {
            "source_branch": branch,
            "target_branch": base,
            "state": "all",
            "order_by": "created_at",
            "sort": "desc",
        }
        found = await self._api.read("merge_requests", query=query) or ()
        ours = [each for each in found if part_of(each, "source_branch") == branch]
        return _proposal(ours[0]) if ours else None


def _proposal(found: dict[str, object]) -> Proposal:
    state = _STATES.get(str(found.get("state")), ProposalState.OPEN)
    body = body_of(found, "description")
    return Proposal(int(str(found.get("iid"))), part_of(found, "web_url"), state, body)
