"""What the three forges' adapters share: requests below one root, and what refusals mean.

Owns paths and the meaning of codes that all forges use alike, and the answers that Gitea gives as
GitHub does. Must not know what only one of them does.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from headgate.adapters.outbound import Answer, Outbound
from headgate.core.writeback.reasons import Refusal, Why
from headgate.core.writeback.wanted import PastCommit
from headgate.core.writeback.yamltext import LONGEST
from headgate.ports import ForgeUnavailable, Proposal, ProposalState, SourceFile

NOT_THERE = 404


@dataclass(frozen=True, slots=True)
class Api:
    """
    The part of a forge's API that is about one repository.

    Args:
        outbound: Sends the requests.
        root: Address of the repository in the API, escaped, without a slash at the end.
        headers: Sent with every request; the token is in them.
    """

    outbound: Outbound
    root: str
    headers: Mapping[str, str] = field(repr=False)

    async def call(
        self,
        method: str,
        *parts: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Send a request below the root; each part of the path is escaped whole."""
        path = "".join(f"/{quote(part, safe='')}" for part in parts)
        url = f"{self.root}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {**self.headers, "Accept": "application/json"}
        raw = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            raw = json.dumps({key: value for key, value in body.items() if value is not None})
        return await self.outbound.send(method, url, headers, raw.encode() if raw else None)

    async def read(self, *parts: str, query: Mapping[str, str] | None = None) -> Any:
        """GET something; None if it is not there."""
        answer = await self.call("GET", *parts, query=query)
        if answer.status == NOT_THERE:
            return None
        if not answer.is_ok:
            raise refused(answer, Why.FORGE_REFUSED)
        return answer.json()


def refused(answer: Answer, why: Why) -> Refusal:
    """Return the refusal that an answer means."""
    return Refusal(why, f"HTTP {answer.status}: {answer.message()}")


def path_in(repository: str) -> str:
    """Return the path of a repository's address without slashes around it and without `.git`."""
    return urlsplit(repository).path.strip("/").removesuffix(".git")


def origin_of(repository: str) -> str:
    """Return scheme, host and port of a repository's address."""
    parts = urlsplit(repository)
    return f"{parts.scheme}://{parts.netloc}"


def decoded(content: Any, encoding: Any) -> bytes:
    """Decode a file's content; raises Refusal where the forge leaves it out for its length."""
    if encoding != "base64" or not isinstance(content, str):
        raise Refusal(Why.NOT_YAML, f"wanted at most {LONGEST} bytes, found more")
    try:
        return base64.b64decode(content)
    except binascii.Error as error:
        raise ForgeUnavailable("the content of the file is no base64") from error


def encoded(content: bytes) -> str:
    """Encode a file's content."""
    return base64.b64encode(content).decode()


def part_of(found: Any, *names: str) -> str:
    """Return a text inside an answer; raises ForgeUnavailable if it is not there."""
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, str):
        raise ForgeUnavailable(f"the answer has no {'.'.join(names)}")
    return found


def body_of(found: Mapping[str, object], name: str) -> str:
    """Return a description, which forges leave out or make null when it is empty."""
    return str(found.get(name) or "")


def who(committer: tuple[str, str] | None) -> dict[str, str] | None:
    """Render a committer; None lets the forge take, and maybe sign for, the token's owner."""
    return None if committer is None else {"name": committer[0], "email": committer[1]}


def file_in(found: Any, path: str, commit: str) -> SourceFile | None:
    """Return the file in an answer about contents as GitHub made them, and Gitea after it.

    None where the path is no file.
    """
    if not isinstance(found, dict) or found.get("type") != "file":
        return None
    content = decoded(found.get("content"), found.get("encoding"))
    return SourceFile(path, content, part_of(found, "sha"), commit)


def past_in(found: Any) -> list[PastCommit]:
    """Return the commits in an answer that lists them in the same way; none in none."""
    return [PastCommit(part_of(c, "sha"), part_of(c, "commit", "message")) for c in found or ()]


def pull_request_in(found: Mapping[str, object], merged: str) -> Proposal:
    """Return a pull request in the same form; `merged` is the field that a merged one has."""
    state = ProposalState.OPEN
    if found.get("state") == "closed":
        state = ProposalState.MERGED if found.get(merged) else ProposalState.CLOSED
    number = int(str(found.get("number")))
    return Proposal(number, part_of(found, "html_url"), state, body_of(found, "body"))
