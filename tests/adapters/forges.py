"""Three forges in small: one repository in memory behind the HTTP API of each.

Codes and messages are those of the real ones: GitHub's REST documentation and measured answers
(stale sha 409 `… does not match …`, existing ref and pull request 422, rules 409), GitLab's
`lib/api` (stale 400, existing branch 400, merge request 409, protected 403), Gitea's
`routers/api/v1/repo` (stale and invalid 422, existing branch and pull request 409, protected 403).
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

TOKEN = "t0ken-of-the-bot"


@dataclass
class Made:
    """One commit: its files after it, and the one that it changed."""

    sha: str
    message: str
    path: str
    files: dict[str, bytes]
    committer: Any = None


@dataclass
class Pull:
    """One pull request."""

    number: int
    head: str
    base: str
    title: str
    body: str
    state: str = "open"
    merged: bool = False


@dataclass
class Origin:
    """A repository in memory, which people and a forge's API change."""

    branches: dict[str, list[Made]] = field(default_factory=dict)
    pulls: list[Pull] = field(default_factory=list)
    protected: set[str] = field(default_factory=set)
    calls: list[tuple[str, str]] = field(default_factory=list)
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    before: Callable[[str, str], None] = lambda method, path: None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def push(self, branch: str, path: str, content: bytes, message: str) -> str:
        """Commit one file, as a person does."""
        history = self.branches.setdefault(branch, [])
        files = {**(history[-1].files if history else {}), path: content}
        sha = hashlib.sha1(f"{next(self._numbers)}{branch}{message}".encode()).hexdigest()
        history.append(Made(sha, message, path, files))
        return sha

    def content(self, branch: str, path: str) -> bytes:
        """A file at the head of a branch."""
        return self.branches[branch][-1].files[path]

    def messages(self, branch: str) -> list[str]:
        """The commit messages of a branch, the newest first."""
        return [made.message for made in reversed(self.branches[branch])]

    def merge(self, pull: Pull) -> None:
        """Merge a pull request by squashing, and delete its branch as people do."""
        made = self.branches.pop(pull.head)[-1]
        self.push(pull.base, made.path, made.files[made.path], made.message)
        pull.state, pull.merged = "closed", True

    def at(self, ref: str) -> Made | None:
        """The commit that a branch's name, or a commit's id, stands for."""
        if ref in self.branches:
            return self.branches[ref][-1]
        return next((m for ms in self.branches.values() for m in ms if m.sha == ref), None)

    def start(self, name: str, ref: str) -> bool:
        """Make a branch; False if there is one."""
        if name in self.branches:
            return False
        source = next(ms for ms in self.branches.values() if any(m.sha == ref for m in ms))
        index = next(n for n, made in enumerate(source) if made.sha == ref)
        self.branches[name] = source[: index + 1]
        return True

    def open_pull(self, head: str, base: str, title: str, body: str) -> Pull | None:
        """Open a pull request; None if one is open."""
        if any((p.head, p.base, p.state) == (head, base, "open") for p in self.pulls):
            return None
        pull = Pull(len(self.pulls) + 1, head, base, title, body)
        self.pulls.append(pull)
        return pull


def blob(content: bytes) -> str:
    """Git's id of a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def said(status: int, message: Any, **more: Any) -> web.Response:
    """An error."""
    return web.json_response({"message": message, **more}, status=status)


class Fake:
    """What the three have in common; serve `handle` for every path."""

    authorization: tuple[str, str]

    def __init__(self, origin: Origin) -> None:
        """Serve this repository."""
        self.origin = origin

    async def handle(self, request: web.Request) -> web.Response:
        """Check the token, then answer."""
        path = request.raw_path.partition("?")[0]
        self.origin.calls.append((request.method, path))
        if self.origin.failures:
            status, headers = self.origin.failures.pop(0)
            return web.json_response({"message": "later"}, status=status, headers=headers)
        name, value = self.authorization
        if request.headers.get(name) != value:
            return said(401, "Bad credentials")
        self.origin.before(request.method, path)
        body = json.loads(await request.text() or "{}")
        parts = [unquote(part) for part in path.strip("/").split("/")]
        return self.answer(request.method, parts, dict(request.query), body)

    def answer(
        self, method: str, parts: list[str], query: dict[str, str], body: dict[str, Any]
    ) -> web.Response:
        """Answer one request."""
        raise NotImplementedError

    def history(self, ref: str, path: str, limit: int) -> list[Made]:
        """The newest commits that touched a file."""
        found = [m for m in reversed(self.origin.branches.get(ref, [])) if m.path == path]
        return found[:limit]


class GitHubFake(Fake):
    """GitHub's API."""

    authorization = ("Authorization", f"Bearer {TOKEN}")
    links: tuple[str, ...] = ("link.yaml",)

    def answer(
        self, method: str, parts: list[str], query: dict[str, str], body: dict[str, Any]
    ) -> web.Response:
        """Answer one request below /api/v3/repos/acme/models."""
        assert parts[:5] == ["api", "v3", "repos", "acme", "models"]
        match method, parts[5:]:
            case "GET", ["git", "ref", "heads", *branch]:
                made = self.origin.at("/".join(branch))
                if made is None:
                    return said(404, "Not Found")
                return web.json_response({"object": {"sha": made.sha, "type": "commit"}})
            case "GET", ["contents", *path]:
                return self._file("/".join(path), query["ref"])
            case "PUT", ["contents", *path]:
                return self._put("/".join(path), body)
            case "GET", ["commits"]:
                found = self.history(query["sha"], query["path"], int(query["per_page"]))
                return web.json_response(
                    [{"sha": m.sha, "commit": {"message": m.message}} for m in found]
                )
            case "POST", ["git", "refs"]:
                if not self.origin.start(body["ref"].removeprefix("refs/heads/"), body["sha"]):
                    return said(422, "Reference already exists")
                return web.json_response({"ref": body["ref"]}, status=201)
            case "POST", ["pulls"]:
                return self._open(body)
            case "GET", ["pulls"]:
                owner, _, branch = query["head"].partition(":")
                pulls = self.origin.pulls if not branch else self._of(branch, query["base"])
                assert owner == "acme"
                return web.json_response([self._pull(p) for p in reversed(pulls)])
        return said(404, "Not Found")

    def _of(self, branch: str, base: str) -> list[Pull]:
        return [p for p in self.origin.pulls if (p.head, p.base) == (branch, base)]

    def _file(self, path: str, ref: str) -> web.Response:
        made = self.origin.at(ref)
        if made is None or path not in made.files:
            return said(404, "Not Found")
        content = made.files[path]
        kind = "symlink" if path in self.links else "file"
        body = base64.encodebytes(content).decode()
        if len(content) > 1_000_000:
            return web.json_response({"type": kind, "encoding": "none", "content": "", "sha": "x"})
        return web.json_response(
            {"type": kind, "encoding": "base64", "content": body, "sha": blob(content)}
        )

    def _put(self, path: str, body: dict[str, Any]) -> web.Response:
        branch = body["branch"]
        if branch not in self.origin.branches:
            return said(404, f"Branch {branch} not found")
        if blob(self.origin.content(branch, path)) != body["sha"]:
            return said(409, f"{path} does not match {body['sha']}")
        if branch in self.origin.protected:
            rule = "Could not update file: Changes must be made through a pull request."
            return said(409, f"Repository rule violations found\n\n{rule}")
        sha = self.origin.push(branch, path, base64.b64decode(body["content"]), body["message"])
        self.origin.branches[branch][-1].committer = body.get("committer")
        url = f"https://forge.example/acme/models/commit/{sha}"
        return web.json_response({"content": {}, "commit": {"sha": sha, "html_url": url}})

    def _open(self, body: dict[str, Any]) -> web.Response:
        head, base = body["head"], body["base"]
        if self.origin.at(head) is None:
            return said(422, "Validation Failed", errors=[{"field": "head", "code": "invalid"}])
        pull = self.origin.open_pull(head, base, body["title"], body["body"])
        if pull is None:
            message = f"A pull request already exists for acme:{head}."
            error = {"resource": "PullRequest", "code": "custom", "message": message}
            return said(422, "Validation Failed", errors=[error])
        return web.json_response(self._pull(pull), status=201)

    def _pull(self, pull: Pull) -> dict[str, Any]:
        return {
            "number": pull.number,
            "html_url": f"https://forge.example/acme/models/pull/{pull.number}",
            "state": pull.state,
            "merged_at": "2026-11-25T12:00:00Z" if pull.merged else None,
            "body": pull.body or None,
            "head": {"ref": pull.head, "label": f"acme:{pull.head}"},
            "base": {"ref": pull.base},
        }


class GitLabFake(Fake):
    """GitLab's API."""

    authorization = ("PRIVATE-TOKEN", TOKEN)

    def answer(
        self, method: str, parts: list[str], query: dict[str, str], body: dict[str, Any]
    ) -> web.Response:
        """Answer one request below /api/v4/projects/acme%2Fmodels."""
        assert parts[:4] == ["api", "v4", "projects", "acme/models"]
        match method, parts[4:]:
            case "GET", ["repository", "branches", branch]:
                made = self.origin.at(branch)
                if made is None:
                    return said(404, "404 Branch Not Found")
                return web.json_response({"name": branch, "commit": {"id": made.sha}})
            case "GET", ["repository", "files", path]:
                return self._file(path, query["ref"])
            case "POST", ["repository", "commits"]:
                return self._commit(body)
            case "GET", ["repository", "commits"]:
                found = self.history(query["ref_name"], query["path"], int(query["per_page"]))
                return web.json_response([{"id": m.sha, "message": m.message} for m in found])
            case "POST", ["repository", "branches"]:
                if not self.origin.start(body["branch"], body["ref"]):
                    return said(400, "Branch already exists")
                return web.json_response({"name": body["branch"]}, status=201)
            case "POST", ["merge_requests"]:
                return self._open(body)
            case "GET", ["merge_requests"]:
                ends = (query["source_branch"], query["target_branch"])
                pulls = [p for p in self.origin.pulls if (p.head, p.base) == ends]
                return web.json_response([self._pull(p) for p in reversed(pulls)])
        return said(404, "404 Not Found")

    def _last(self, made: Made, path: str) -> str:
        """The last commit that touched a file, seen from a commit."""
        line = next(ms for ms in self.origin.branches.values() if made in ms)
        known = line[: line.index(made) + 1]
        return next(m.sha for m in reversed(known) if m.path == path)

    def _file(self, path: str, ref: str) -> web.Response:
        made = self.origin.at(ref)
        if made is None or path not in made.files:
            return said(404, "404 File Not Found")
        content = made.files[path]
        return web.json_response(
            {
                "file_path": path,
                "encoding": "base64",
                "content": base64.b64encode(content).decode(),
                "blob_id": blob(content),
                "last_commit_id": self._last(made, path),
            }
        )

    def _commit(self, body: dict[str, Any]) -> web.Response:
        branch, [action] = body["branch"], body["actions"]
        if branch in self.origin.protected:
            return said(403, "403 Forbidden - You are not allowed to push into this branch")
        path = action["file_path"]
        if self._last(self.origin.branches[branch][-1], path) != action["last_commit_id"]:
            changed = "has changed since you started editing it."
            return said(400, f"You are attempting to update a file that {changed}")
        content = base64.b64decode(action["content"])
        sha = self.origin.push(branch, path, content, body["commit_message"])
        author = (
            {"name": body["author_name"], "email": body["author_email"]}
            if ("author_name" in body)
            else None
        )
        self.origin.branches[branch][-1].committer = author
        url = f"https://forge.example/acme/models/-/commit/{sha}"
        return web.json_response({"id": sha, "web_url": url}, status=201)

    def _open(self, body: dict[str, Any]) -> web.Response:
        head, base = body["source_branch"], body["target_branch"]
        if self.origin.at(head) is None:
            return said(400, {"source_branch": ["does not exist"]})
        pull = self.origin.open_pull(head, base, body["title"], body["description"])
        if pull is None:
            known = "Another open merge request already exists for this source branch: !1"
            return said(409, [known])
        return web.json_response(self._pull(pull), status=201)

    def _pull(self, pull: Pull) -> dict[str, Any]:
        state = "merged" if pull.merged else "opened" if pull.state == "open" else "closed"
        return {
            "iid": pull.number,
            "web_url": f"https://forge.example/acme/models/-/merge_requests/{pull.number}",
            "state": state,
            "description": pull.body,
            "source_branch": pull.head,
            "target_branch": pull.base,
        }


class GiteaFake(GitHubFake):
    """Gitea's API, which resembles GitHub's in paths and not in codes."""

    authorization = ("Authorization", f"token {TOKEN}")

    def answer(
        self, method: str, parts: list[str], query: dict[str, str], body: dict[str, Any]
    ) -> web.Response:
        """Answer one request below /api/v1/repos/acme/models."""
        assert parts[:5] == ["api", "v1", "repos", "acme", "models"]
        match method, parts[5:]:
            case "GET", ["branches", *branch]:
                made = self.origin.at("/".join(branch))
                if made is None:
                    return said(404, "The target couldn't be found.")
                return web.json_response({"commit": {"id": made.sha}})
            case "GET", ["contents", *path]:
                return self._file("/".join(path), query["ref"])
            case "PUT", ["contents", *path]:
                return self._update("/".join(path), body)
            case "GET", ["commits"]:
                found = self.history(query["sha"], query["path"], int(query["limit"]))
                return web.json_response(
                    [{"sha": m.sha, "commit": {"message": m.message}} for m in found]
                )
            case "POST", ["branches"]:
                if not self.origin.start(body["new_branch_name"], body["old_ref_name"]):
                    return said(409, "The branch already exists.")
                return web.json_response({"name": body["new_branch_name"]}, status=201)
            case "POST", ["pulls"]:
                return self._open(body)
            case "GET", ["pulls"]:
                start = (int(query["page"]) - 1) * int(query["limit"])
                newest = list(reversed(self.origin.pulls))[start : start + int(query["limit"])]
                return web.json_response([self._pull(p) for p in newest])
        return said(404, "Not Found")

    def _update(self, path: str, body: dict[str, Any]) -> web.Response:
        branch = body["branch"]
        found = blob(self.origin.content(branch, path))
        if branch in self.origin.protected:
            return said(403, f"branch {branch} is protected [user cannot commit]")
        if found != body["sha"]:
            return said(422, f"sha does not match [given: {body['sha']}, expected: {found}]")
        return self._put(path, body)

    def _open(self, body: dict[str, Any]) -> web.Response:
        head, base = body["head"], body["base"]
        if self.origin.at(head) is None:
            return said(404, "The target couldn't be found.")
        pull = self.origin.open_pull(head, base, body["title"], body["body"])
        if pull is None:
            ends = f"[id: 1, issue_id: 1, head_branch: {head}, base_branch: {base}]"
            return said(409, f"pull request already exists for these targets {ends}")
        return web.json_response(self._pull(pull), status=201)

    def _pull(self, pull: Pull) -> dict[str, Any]:
        deleted = pull.head not in self.origin.branches
        return {
            "number": pull.number,
            "html_url": f"https://forge.example/acme/models/pulls/{pull.number}",
            "state": pull.state,
            "merged": pull.merged,
            "body": pull.body,
            "head": {
                "ref": f"refs/pull/{pull.number}/head" if deleted else pull.head,
                "label": pull.head,
            },
            "base": {"ref": pull.base, "label": pull.base},
        }
