"""One contract for all repositories: plain Git, GitHub, GitLab and Gitea behave alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.forges import TOKEN, Fake, GiteaFake, GitHubFake, GitLabFake, Origin
from tests.adapters.gitserver import BareRepository, git, make_key
from tests.adapters.servers import serving

from headgate.adapters.git_cli import Access, GitRepository
from headgate.adapters.gitea import Gitea
from headgate.adapters.github import GitHub
from headgate.adapters.gitlab import GitLab
from headgate.adapters.hosts import Hosts
from headgate.adapters.outbound import Outbound
from headgate.core.writeback.reasons import Refusal, Why
from headgate.ports import (
    Forge,
    ForgeUnavailable,
    ProposalState,
    Replacement,
    Repository,
    SourceFile,
    Stale,
)

PATH = "teams/risk/fraud model.yaml"
OLD, NEW = b"version: 7\r\n# \xc3\xbc\n", b"version: 6\r\n# \xc3\xbc\n"
FORGES: dict[str, tuple[type[Fake], Any]] = {
    "GitHub": (GitHubFake, GitHub),
    "GitLab": (GitLabFake, GitLab),
    "Gitea": (GiteaFake, Gitea),
}


@dataclass
class Side:
    """A repository as we see it, and as people do."""

    ours: Any
    theirs: Any

    def protect(self, branch: str) -> None:
        """Let nobody push to a branch."""
        if isinstance(self.theirs, Origin):
            self.theirs.protected.add(branch)
        else:
            self.theirs.protect(branch)


@asynccontextmanager
async def forge_side(name: str, token: str = TOKEN) -> AsyncIterator[Side]:
    """A forge with one file on main."""
    fake, adapter = FORGES[name]
    origin = Origin()
    origin.push("main", PATH, OLD, "Bump fraud to 7")
    async with serving(fake(origin).handle) as url:
        host = url.removeprefix("http://")
        outbound = Outbound(Hosts((), "setting --host", plain=(host,)))
        try:
            yield Side(adapter(outbound, f"{url}/acme/models.git", token), origin)
        finally:
            await outbound.close()


@pytest.fixture(params=["git", *FORGES])
async def side(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Side]:
    """Each kind of repository."""
    if request.param == "git":
        theirs = BareRepository(tmp_path)
        theirs.push("main", PATH, OLD, "Bump fraud to 7")
        ours = GitRepository(Access(theirs.address))
        yield Side(ours, theirs)
        await ours.close()
        return
    async with forge_side(request.param) as found:
        yield found


@pytest.fixture(params=list(FORGES))
async def forge(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    """Each forge."""
    async with forge_side(request.param) as found:
        yield found


async def read(ours: Repository, branch: str = "main") -> SourceFile:
    """Read the file, which is there."""
    found = await ours.read(PATH, branch)
    assert found is not None
    return found


def restore(file: SourceFile, branch: str = "main") -> Replacement:
    """What shall become of it."""
    return Replacement(branch, file, NEW, "Restore version 6\n\nRollback-Record: r-1\n")


async def test_a_file_is_read_byte_for_byte(side: Side) -> None:
    """Line ends and letters beyond ASCII are those of the file."""
    assert (await read(side.ours)).content == OLD


async def test_what_is_not_there_is_none(side: Side) -> None:
    """A missing file and a missing branch are answers, not failures."""
    assert await side.ours.read("other.yaml", "main") is None
    assert await side.ours.read(PATH, "no-such/branch") is None


async def test_a_commit_replaces_the_file_and_keeps_its_message(side: Side) -> None:
    """The branch has one commit more; the history shows it first, trailers included."""
    made = await side.ours.commit(restore(await read(side.ours)))

    assert side.theirs.content("main", PATH) == NEW
    history = await side.ours.history(PATH, "main", 20)
    assert history[0].message.splitlines()[0] == "Restore version 6"
    assert history[0].sha == made.sha
    assert "Rollback-Record: r-1" in history[0].message


async def test_a_file_that_changed_since_it_was_read_is_not_overwritten(side: Side) -> None:
    """A person who was faster wins: what they pushed is still there."""
    file = await read(side.ours)
    side.theirs.push("main", PATH, b"version: 8\n", "Bump fraud to 8")

    with pytest.raises(Stale):
        await side.ours.commit(restore(file))

    assert side.theirs.content("main", PATH) == b"version: 8\n"


async def test_two_writers_make_one_commit(side: Side) -> None:
    """The second of two processes that read the same is told so, or makes the very same commit."""
    file = await read(side.ours)
    first = await side.ours.commit(restore(file))

    try:
        second = await side.ours.commit(restore(file))
    except Stale:
        second = first

    assert second == first
    assert len([m for m in side.theirs.messages("main") if "Rollback-Record" in m]) == 1


async def test_a_protected_branch_is_refused_for_good(side: Side) -> None:
    """Rules of a repository are not a race: trying again would not help."""
    file = await read(side.ours)
    side.protect("main")

    with pytest.raises(Refusal) as refusal:
        await side.ours.commit(restore(file))

    assert refusal.value.why is Why.BRANCH_REFUSED
    assert side.theirs.content("main", PATH) == OLD


async def test_the_history_is_that_of_the_file(side: Side) -> None:
    """Commits of other files, and older ones than asked for, are left out."""
    side.theirs.push("main", "README.md", b"hello", "Say hello")
    side.theirs.push("main", PATH, b"version: 8\n", "Bump fraud to 8")

    history = await side.ours.history(PATH, "main", 1)

    assert [each.message.strip() for each in history] == ["Bump fraud to 8"]
    assert await side.ours.history(PATH, "no-such-branch", 5) in ([], ())


# --- forges --------------------------------------------------------------------------------------


async def test_a_branch_is_made_once(forge: Side) -> None:
    """Making it again leaves what is on it."""
    ours: Forge = forge.ours
    head = (await read(ours)).commit
    await ours.branch("headgate/rollback/x", head)
    await ours.commit(restore(await read(ours, "headgate/rollback/x"), "headgate/rollback/x"))

    await ours.branch("headgate/rollback/x", head)

    assert forge.theirs.content("headgate/rollback/x", PATH) == NEW
    assert forge.theirs.content("main", PATH) == OLD


async def test_a_topic_branch_can_be_written_while_main_is_protected(forge: Side) -> None:
    """Pull requests are what protected branches are for."""
    forge.protect("main")
    await forge.ours.branch("topic", (await read(forge.ours)).commit)

    await forge.ours.commit(restore(await read(forge.ours, "topic"), "topic"))

    assert forge.theirs.content("topic", PATH) == NEW


async def test_opening_a_pull_request_twice_gives_the_same_one(forge: Side) -> None:
    """A restart between two lines ends with one pull request."""
    await forge.ours.branch("topic", (await read(forge.ours)).commit)

    first = await forge.ours.propose("topic", "main", "Restore", "Because")
    second = await forge.ours.propose("topic", "main", "Restore", "Because")

    assert first == second
    assert (first.number, first.state, first.body) == (1, ProposalState.OPEN, "Because")
    assert len(forge.theirs.pulls) == 1


async def test_the_state_of_a_pull_request_is_told(forge: Side) -> None:
    """Open, closed by a person, merged (its branch deleted): three different things."""
    ours = forge.ours
    assert await ours.proposal("topic", "main") is None
    await ours.branch("topic", (await read(ours)).commit)
    await ours.commit(restore(await read(ours, "topic"), "topic"))
    await ours.propose("topic", "main", "Restore", "Because")
    [pull] = forge.theirs.pulls
    states = []

    for change in (lambda: None, lambda: setattr(pull, "state", "closed")):
        change()
        states.append((await ours.proposal("topic", "main")).state)
    pull.state = "open"
    forge.theirs.merge(pull)
    states.append((await ours.proposal("topic", "main")).state)

    assert states == [ProposalState.OPEN, ProposalState.CLOSED, ProposalState.MERGED]


async def test_the_newest_of_several_pull_requests_counts(forge: Side) -> None:
    """A branch that was used before does not hide what is open now."""
    await forge.ours.branch("topic", (await read(forge.ours)).commit)
    await forge.ours.propose("topic", "main", "Restore", "Because")
    forge.theirs.pulls[0].state = "closed"

    again = await forge.ours.propose("topic", "main", "Restore", "Because")

    assert again.number == 2
    assert await forge.ours.proposal("topic", "main") == again


async def test_a_pull_request_from_nowhere_is_refused(forge: Side) -> None:
    """The forge's own words are passed on."""
    with pytest.raises(Refusal) as refusal:
        await forge.ours.propose("no-such-branch", "main", "Restore", "Because")

    assert refusal.value.why is Why.FORGE_REFUSED
    assert "HTTP 4" in refusal.value.message


PASSING = [
    pytest.param(429, {"Retry-After": "7"}, timedelta(seconds=7), id="too many requests"),
    pytest.param(403, {"Retry-After": "60"}, timedelta(seconds=60), id="a secondary rate limit"),
    pytest.param(403, {"X-RateLimit-Remaining": "0"}, None, id="a used up rate limit"),
    pytest.param(500, {}, None, id="a bug of the forge"),
    pytest.param(503, {"Retry-After": "9999999"}, None, id="maintenance without a usable time"),
    pytest.param(502, {"Retry-After": "86400"}, timedelta(hours=1), id="a day is an hour at most"),
]


@pytest.mark.parametrize(("status", "headers", "wait"), PASSING)
async def test_what_may_pass_is_tried_again_when_the_forge_says(
    forge: Side, status: int, headers: dict[str, str], wait: timedelta | None
) -> None:
    """Overload is not a refusal, and the time that the forge asks for is kept."""
    forge.theirs.failures = [(status, headers)]

    with pytest.raises(ForgeUnavailable) as error:
        await forge.ours.read(PATH, "main")

    assert error.value.retry_after == wait
    assert f"HTTP {status}: later" in str(error.value)


async def test_forbidden_without_a_limit_is_a_refusal(forge: Side) -> None:
    """A token that lacks a scope lacks it a minute later as well."""
    forge.theirs.failures = [(403, {})]

    with pytest.raises(Refusal) as refusal:
        await forge.ours.read(PATH, "main")

    assert refusal.value.why is Why.FORGE_REFUSED


@pytest.mark.parametrize("name", FORGES)
async def test_a_wrong_token_is_told_and_never_repeated(name: str) -> None:
    """It may be renewed, so it is tried again; it is in no message."""
    async with forge_side(name, token="expired-s3cret") as side:
        with pytest.raises(ForgeUnavailable) as error:
            await side.ours.read(PATH, "main")

    assert "HTTP 401" in str(error.value)
    assert "s3cret" not in str(error.value)


async def test_a_host_that_nobody_allowed_is_not_asked(forge: Side) -> None:
    """The policy's address is held against the process's own list."""
    name = {v[1]: k for k, v in FORGES.items()}[type(forge.ours)]
    outbound = Outbound(Hosts(("git.example:443",), "setting --host"))
    elsewhere = FORGES[name][1](outbound, "https://169.254.169.254/acme/models", TOKEN)

    with pytest.raises(Refusal, match=r"a host that the setting --host allows \(git.example:443\)"):
        await elsewhere.read(PATH, "main")

    assert forge.theirs.calls == []


async def test_a_committer_is_only_sent_where_one_is_chosen(forge: Side) -> None:
    """Forges sign commits of bots that name no committer."""
    file = await read(forge.ours)
    await forge.ours.commit(restore(file))
    plain = forge.theirs.branches["main"][-1].committer
    named = Replacement("main", await read(forge.ours), OLD, "x", ("Bot", "bot@models.invalid"))
    await forge.ours.commit(named)

    assert plain is None
    chosen = {"name": "Bot", "email": "bot@models.invalid"}
    assert forge.theirs.branches["main"][-1].committer == chosen


@pytest.mark.parametrize("name", ["GitHub", "Gitea"])
async def test_a_link_is_no_file(name: str) -> None:
    """What a link points to may be written by others, or lie elsewhere."""
    async with forge_side(name) as side:
        side.theirs.push("main", "link.yaml", b"../other.yaml", "Link")

        assert await side.ours.read("link.yaml", "main") is None


async def test_a_file_that_github_leaves_out_is_too_long() -> None:
    """Above a megabyte GitHub gives no content: that is no empty file."""
    async with forge_side("GitHub") as side:
        side.theirs.push("main", PATH, b"x" * 1_000_001, "Big")

        with pytest.raises(Refusal) as refusal:
            await side.ours.read(PATH, "main")
    assert refusal.value.why is Why.NOT_YAML


# --- plain Git -----------------------------------------------------------------------------------


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Side]:
    """Plain Git."""
    theirs = BareRepository(tmp_path)
    theirs.push("main", PATH, OLD, "Bump fraud to 7")
    ours = GitRepository(Access(theirs.address))
    yield Side(ours, theirs)
    await ours.close()


async def test_git_keeps_mode_and_other_files(plain: Side) -> None:
    """The commit's tree differs in one blob only, and its author is the committer's."""
    plain.theirs.push("main", "other/script.sh", b"#!/bin/sh\n", "Add a script")
    file = await read(plain.ours)
    chosen = Replacement("main", file, NEW, "Restore\n", ("Bot", "bot@models.invalid"))

    made = await plain.ours.commit(chosen)

    changed = git("show", "--format=%an <%ae>", "--name-status", made.sha, cwd=plain.theirs.path)
    assert changed.splitlines() == ["Bot <bot@models.invalid>", "", f"M\t{PATH}"]


async def test_a_link_in_git_is_no_file(plain: Side) -> None:
    """It is not followed, and not replaced."""
    plain.theirs.link("links", "link.yaml", "../other.yaml")

    assert await plain.ours.read("link.yaml", "links") is None


async def test_files_are_found_by_words(plain: Side) -> None:
    """Only manifests that have all of them, wherever they are."""
    plain.theirs.push(
        "main", "a/b.yml", b"kind: ModelDeployment\nmetadata:\n  name: fraud\n", "Add"
    )
    plain.theirs.push("main", "a/notes.txt", b"kind: ModelDeployment\n  fraud\n", "Add notes")
    plain.theirs.push(
        "main", "a/c.yaml", b"kind: ModelDeployment\nmetadata:\n  name: ranking\n", "Add another"
    )

    assert await plain.ours.find("main", ["ModelDeployment", "fraud"]) == ["a/b.yml"]
    assert await plain.ours.find("main", ["NoSuchWord"]) == []


async def test_git_that_cannot_be_reached_is_unavailable(tmp_path: Path) -> None:
    """A repository that is not there now may be there later."""
    ours = GitRepository(Access(f"file://{tmp_path}/none.git"))
    with pytest.raises(ForgeUnavailable, match="git fetch"):
        await ours.read(PATH, "main")
    await ours.close()


async def test_git_that_does_not_end_is_stopped(plain: Side, tmp_path: Path) -> None:
    """A hook that hangs costs one attempt, not the process."""
    file = await read(plain.ours)
    plain.theirs.hook("sleep 600")
    plain.ours._timeout = 0.5

    with pytest.raises(ForgeUnavailable, match=r"git push: no end in 0.5 s"):
        await plain.ours.commit(restore(file))


async def test_a_branch_that_another_push_holds_is_a_race(plain: Side) -> None:
    """The server refuses it in words of its own, and takes it a moment later."""
    file = await read(plain.ours)
    lock = plain.theirs.path / "refs" / "heads" / "main.lock"
    lock.touch()

    with pytest.raises(Stale, match="main"):
        await plain.ours.commit(restore(file))
    lock.unlink()

    assert await plain.ours.commit(restore(file))


async def test_a_commit_is_signed_with_the_key(plain: Side, tmp_path: Path) -> None:
    """Who trusts the key can verify the commit offline."""
    key = make_key(tmp_path)
    ours = GitRepository(Access(plain.theirs.address, signing_key=key.read_bytes()))
    made = await ours.commit(restore(await read(ours)))
    await ours.close()
    signers = tmp_path / "signers"
    signers.write_text(f"headgate@noreply.invalid {key.with_suffix('.pub').read_text()}")

    setting = f"gpg.ssh.allowedSignersFile={signers}"
    verified = git("-c", setting, "log", "-1", "--format=%G?", made.sha, cwd=plain.theirs.path)

    assert verified == "G"


async def test_credentials_are_in_no_argument_and_no_message(tmp_path: Path) -> None:
    """They go by the environment, and are blotted out of what the other side says."""
    ours = GitRepository(Access(f"file://{tmp_path}/t0p-s3cret.git", token="t0p-s3cret"))

    with pytest.raises(ForgeUnavailable) as error:
        await ours.read(PATH, "main")
    await ours.close()

    assert "***" in str(error.value)
    assert "t0p-s3cret" not in str(error.value)
    assert "t0p-s3cret" not in repr(Access("https://git.example/x", token="t0p-s3cret"))


async def test_git_may_only_ask_hosts_that_are_allowed() -> None:
    """Git resolves names itself, so it is told which addresses they may have."""
    hosts = Hosts(("git.example:443",), "setting --host")
    for address in ("https://elsewhere.example/x.git", "file:///etc", "ssh://git.example/x"):
        ours = GitRepository(Access(address, hosts=hosts))
        with pytest.raises(Refusal, match="repository: wanted"):
            await ours.read(PATH, "main")
        await ours.close()
