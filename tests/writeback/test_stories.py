"""What Git says after a rollback, whoever else writes to it and whenever a process ends."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from tests.writeback.story import OWN, PATH, Killed, Story, file

from headgate.adapters.hosts import Hosts
from headgate.core.writeback.reasons import State
from headgate.ports import Commit, Refused, Repository
from headgate.writeback.ledger import CLAIM
from headgate.writeback.look import Look

# --- the road ------------------------------------------------------------------------------------


async def test_a_rollback_becomes_one_commit(any_story: Story) -> None:
    """The stable version is back on the branch, exactly, with the record in the trailer."""
    story = any_story
    story.push("6")
    story.push("7")
    story.policy("Commit")
    story.roll_back()

    await story.turns(story.process())

    assert story.origin.content("main", PATH) == file("6")
    [message] = story.ours()
    assert "Rollback-Record: record-fraud-7" in message
    entry = await story.entry()
    assert (entry.state, entry.mode, entry.branch) == (State.COMMITTED, "Commit", "main")
    assert story.events()[0][0] == "GitCommitted"
    assert story.condition("Ready") == ("True", "Watching", "a rollback is followed by Commit")
    [recent] = story.status()["recent"]
    assert (recent["record"], recent["state"]) == ("models/fraud-0007", "Committed")


async def test_a_rollback_becomes_one_pull_request(forge_story: Story) -> None:
    """Main stays as it is until people merge it; then the story is over."""
    story = forge_story
    story.push("7")
    story.policy("PullRequest")
    story.roll_back()
    world = story.process()

    await story.turns(world)

    [pull] = story.origin.pulls
    assert pull.head == "headgate/rollback/models-fraud-00000007"
    assert "Rollback-Record: record-fraud-7" in pull.body
    assert story.origin.content(pull.head, PATH) == file("6")
    assert story.origin.content("main", PATH) == file("7")
    assert (await story.entry()).state is State.PROPOSED

    story.origin.merge(pull)
    await story.turns(world, story.process("pod-2"))

    entry = await story.entry()
    assert (entry.state, entry.url.endswith("/1")) == (State.MERGED, True)
    assert len(story.origin.pulls) == 1


async def test_a_rollback_becomes_one_notification(git_story: Story) -> None:
    """A signed CloudEvent, once; the receiver knows the record by its id."""
    story = git_story
    story.policy("Notify")
    story.roll_back()

    await story.turns(story.process(), story.process("pod-2"))

    assert story.receiver.ids == ["record-fraud-7"]
    headers, body = story.receiver.got[0]
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["webhook-signature"].startswith("v1,")
    assert json.loads(body)["data"]["stable"]["version"] == "6"
    assert (await story.entry()).state is State.NOTIFIED


async def test_without_a_policy_nothing_is_read_or_written(git_story: Story) -> None:
    """Off is the default: no record of anybody is even listed."""
    story = git_story
    story.push("7")
    story.roll_back()
    read: list[str] = []
    story.cluster.before_read = read.append

    await story.turns(story.process())

    assert set(read) == {"list ReleasePolicy", "list ConfigMap headgate-system"}
    assert story.cluster.writes == []


async def test_off_says_that_it_is_off(git_story: Story) -> None:
    """A policy that is off answers why nothing happens."""
    story = git_story
    story.push("7")
    story.policy("Off")
    story.roll_back()

    await story.turns(story.process())

    assert story.condition("Ready") == ("True", "Off", "nothing is written after a rollback")
    assert story.ours() == []


async def test_an_author_can_opt_out_and_nothing_else(git_story: Story) -> None:
    """The annotation `Off` is heeded."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.roll_back(changes={"metadata.annotations": {"headgate.dev/git-writeback": "Off"}})

    await story.turns(story.process())

    assert story.ours() == []


async def test_two_policies_for_one_namespace_stop_each_other(git_story: Story) -> None:
    """Which repository is meant is for people to say; both policies tell."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.policy("Notify", name="other")
    story.roll_back()

    await story.turns(story.process())

    told = "namespace models is named by ReleasePolicy other too: none acts there"
    assert story.condition("Ready") == ("False", "Conflict", told)
    assert story.condition("Ready", "other")[1] == "Conflict"
    assert (story.ours(), story.receiver.got) == ([], [])


async def test_a_policy_with_a_host_that_is_not_allowed_is_not_accepted(git_story: Story) -> None:
    """The process's own list is above every policy."""
    story = git_story
    story.policy("Commit", repository="https://169.254.169.254/latest")

    await story.turns(story.process())

    status, reason, message = story.condition("Accepted")
    assert (status, reason) == ("False", "Invalid")
    assert message.startswith(
        "spec.gitWriteback.repository: wanted a host that the setting --hosts"
    )


async def test_the_public_api_of_github_is_a_host_of_its_own(git_story: Story) -> None:
    """That it must be named too is told when the policy is read, not after a rollback."""
    story = git_story
    story.policy("PullRequest", repository="https://github.com/acme/models", forge="GitHub")
    world = story.process()
    look = Look(world, Hosts(("github.com:443",), "setting --hosts"), print, timedelta(1))

    await look.run(story.now)

    wanted = "a host that the setting --hosts allows (github.com:443)"
    told = f"spec.gitWriteback.apiUrl: wanted {wanted}, found api.github.com:443"
    assert story.condition("Accepted") == ("False", "Invalid", told)


async def test_the_file_is_found_by_itself_where_nobody_names_it(git_story: Story) -> None:
    """Plain Git can be searched: the one file that has the object is edited."""
    story = git_story
    story.origin.push("main", "somewhere/else.yaml", file("7"), "Bump")
    story.origin.push("main", "somewhere/ranking.yaml", file("7", "ranking"), "Bump")
    story.policy("Commit", path=None)
    story.cluster.objects["ReleasePolicy", "", "models"]["spec"]["gitWriteback"].pop("path")
    story.roll_back()

    await story.turns(story.process())

    assert story.origin.content("main", "somewhere/else.yaml") == file("6")


# --- loops (rule 8) ------------------------------------------------------------------------------


async def test_self_heal_and_resyncs_make_no_second_write(any_story: Story) -> None:
    """The deployment is written again and again: the record is the same, and so is Git."""
    story = any_story
    story.push("7")
    story.policy("Commit")
    world = story.process()

    for _ in range(5):
        story.roll_back()
        await story.turns(world)

    assert len(story.ours()) == 1


async def test_two_processes_write_once(any_story: Story) -> None:
    """Without a leader: the claim parts them, and Git would."""
    story = any_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()

    await story.turns(story.process("pod-1"), story.process("pod-2"))

    assert len(story.ours()) == 1
    assert (await story.entry()).state is State.COMMITTED


async def test_two_processes_open_one_pull_request(forge_story: Story) -> None:
    """The same for pull requests."""
    story = forge_story
    story.push("7")
    story.policy("PullRequest")
    story.roll_back()

    await story.turns(story.process("pod-1"), story.process("pod-2"))

    assert len(story.origin.pulls) == 1


async def test_a_person_restores_git_while_the_pull_request_is_open(gitea_story: Story) -> None:
    """What people do counts; the pull request stays theirs to close, and is not opened again."""
    story = gitea_story
    story.push("7")
    story.policy("PullRequest")
    story.roll_back()
    world = story.process()
    await story.turns(world)

    story.push("6", "Revert to 6 by hand")
    story.roll_back(changes={"status.phase": "Stable"})
    await story.turns(world)
    [pull] = story.origin.pulls
    assert pull.state == "open"
    pull.state = "closed"
    await story.turns(story.process("pod-2"))

    assert (await story.entry()).state is State.CLOSED
    assert len(story.origin.pulls) == 1
    assert story.ours() == []


async def test_a_pull_request_that_a_person_closed_is_not_opened_again(
    forge_story: Story,
) -> None:
    """Closing it without merging is a decision, which is recorded."""
    story = forge_story
    story.push("7")
    story.policy("PullRequest")
    story.roll_back()
    world = story.process()
    await story.turns(world)

    story.origin.pulls[0].state = "closed"
    await story.turns(world, story.process("pod-2"))

    entry = await story.entry()
    assert entry.state is State.CLOSED
    assert "closed by a person" in entry.message
    assert len(story.origin.pulls) == 1


async def test_a_person_pushes_the_next_version_during_the_rollback(any_story: Story) -> None:
    """The cluster has not seen it yet, but Git has: it is not touched."""
    story = any_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    story.push("8")

    await story.turns(story.process())

    assert story.origin.content("main", PATH) == file("8")
    entry = await story.entry()
    assert (entry.state, entry.why) == (State.REFUSED, "GitConflict")
    assert story.events()[0][0] == "GitConflict"


async def test_a_person_is_faster_between_reading_and_writing(any_story: Story) -> None:
    """Compare-and-swap: the push that comes in between wins."""
    story = any_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    story.around = lambda repository: Interrupted(repository, lambda: story.push("8"))

    await story.turns(story.process())

    assert story.origin.content("main", PATH) == file("8")
    assert (await story.entry()).why == "GitConflict"


async def test_other_files_change_between_reading_and_writing(any_story: Story) -> None:
    """A race over the branch that is none over the file ends with our commit on top."""
    story = any_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()

    def push() -> None:
        story.origin.push("main", "README.md", b"hello", "Say hello")

    story.around = lambda repository: Interrupted(repository, push)

    await story.turns(story.process())

    assert story.origin.content("main", PATH) == file("6")
    assert story.origin.content("main", "README.md") == b"hello"
    assert len(story.ours()) == 1


async def test_the_revert_arrives_before_the_rollback_is_in_the_status(git_story: Story) -> None:
    """The record is finished, the deployment is stable on what Git says: nothing to do."""
    story = git_story
    story.push("6", "Revert to 6 by hand")
    story.policy("Commit")
    story.roll_back(changes={"status.phase": "Stable", "status.rejected": []})

    await story.turns(story.process())

    assert story.ours() == []
    assert [w for w in story.cluster.writes if "ConfigMap" in w] == []


async def test_a_status_that_is_written_later_is_waited_for(git_story: Story) -> None:
    """A finished record comes before its deployment's status: not now is not never."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.roll_back(changes={"status.phase": "Progressing", "status.rejected": []})
    world = story.process()
    await story.turns(world)

    story.roll_back()
    await story.turns(world)

    assert len(story.ours()) == 1


async def test_an_image_updater_bumps_again(git_story: Story) -> None:
    """The same version again gets no second write; the next one that fails gets its own."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    world = story.process()
    await story.turns(world)

    story.push("7", "Bump fraud to 7 again, says the updater")
    await story.turns(world)
    assert len(story.ours()) == 1

    story.push("8")
    story.roll_back("8", "6", 8)
    await story.turns(world)

    assert len(story.ours()) == 2
    assert story.origin.content("main", PATH) == file("6")


async def test_a_version_that_our_own_commit_brought_is_not_reverted(git_story: Story) -> None:
    """No revert of a revert: this one is for people."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    world = story.process()
    await story.turns(world)

    story.roll_back("6", "5", 8)
    await story.turns(world)

    assert len(story.ours()) == 1
    assert (await story.entry(8)).why == "RevertOfRevert"


async def test_a_second_attempt_at_a_version_gets_a_pull_request_of_its_own(
    gitea_story: Story,
) -> None:
    """The merged one of the first attempt is not taken for it."""
    story = gitea_story
    story.push("7")
    story.policy("PullRequest")
    story.roll_back()
    world = story.process()
    await story.turns(world)
    story.origin.merge(story.origin.pulls[0])
    await story.turns(world)

    story.push("7", "Try 7 again")
    story.roll_back("7", "6", 9)
    await story.turns(world)

    second = story.origin.pulls[1]
    assert second.head == "headgate/rollback/models-fraud-00000007-9"
    assert story.origin.content(second.head, PATH) == file("6")
    assert (await story.entry(9)).state is State.PROPOSED


# --- what cannot be written ----------------------------------------------------------------------


async def test_a_template_is_told_instead_of_edited(any_story: Story) -> None:
    """With a webhook the refusal becomes a notification that says why."""
    story = any_story
    template = file("7").replace(b'"7"', b"{{ .Values.version }}")
    story.origin.push("main", PATH, template, "Use Helm")
    story.policy("Commit", webhook=True)
    story.roll_back()

    await story.turns(story.process())

    [(_, body)] = story.receiver.got
    assert json.loads(body)["data"]["notEdited"]["reason"] == "Templated"
    entry = await story.entry()
    assert (entry.state, entry.why) == (State.NOTIFIED, "Templated")
    assert story.origin.content("main", PATH) == template


async def test_a_protected_branch_is_refused_and_told(any_story: Story) -> None:
    """Rules of the repository are above ours."""
    story = any_story
    story.push("7")
    if hasattr(story.origin, "protect"):
        story.origin.protect("main")
    else:
        story.origin.protected.add("main")
    story.policy("Commit")
    story.roll_back()

    await story.turns(story.process())

    entry = await story.entry()
    assert (entry.state, entry.why) == (State.REFUSED, "BranchRefused")
    assert story.status()["recent"][0]["state"] == "Refused"


async def test_a_revision_that_is_gone_cannot_be_restored(git_story: Story) -> None:
    """Old revisions are deleted after a while; guessing is no restoring."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    del story.cluster.objects["ModelRevision", "models", "fraud-00000006"]

    await story.turns(story.process())

    assert (await story.entry()).why == "RevisionGone"


async def test_what_git_has_already_needs_no_commit(any_story: Story) -> None:
    """A person was faster, and the cluster has not seen it yet."""
    story = any_story
    story.push("7")
    story.push("6", "Revert to 6 by hand")
    story.policy("Commit")
    story.roll_back()

    await story.turns(story.process())

    assert (await story.entry()).state is State.RESTORED
    assert story.ours() == []


async def test_more_rollbacks_than_the_limit_wait(git_story: Story) -> None:
    """A storm of rollbacks is no storm of commits."""
    story = git_story
    names = ("fraud", "ranking", "churn")
    for name in names:
        story.push("7", name=name)
        story.roll_back(name=name)
    story.policy("Commit", rateLimit={"writes": 2, "per": "1h"})
    world = story.process()

    await story.turn(world)
    assert len(story.ours()) == 2
    story.now += timedelta(minutes=59)
    await story.turn(world)
    assert len(story.ours()) == 2
    story.now += timedelta(minutes=2)
    await story.turn(world)

    assert len(story.ours()) == 3


# --- what passes ---------------------------------------------------------------------------------


async def test_a_receiver_that_is_away_gets_the_same_event_later(git_story: Story) -> None:
    """The id is the record's in every attempt; the policy says meanwhile what is wrong."""
    story = git_story
    story.policy("Notify")
    story.roll_back()
    story.receiver.statuses = [503, 500, 302]
    world = story.process()

    for _ in range(3):
        assert len(await story.turn(world)) == 1
    await story.turn(world)

    assert story.receiver.ids == ["record-fraud-7"] * 4
    assert (await story.entry()).state is State.NOTIFIED
    status, reason, message = story.condition("Ready")
    assert (status, reason) == ("False", "Failing")
    assert "HTTP 302; redirects are not followed" in message
    await story.turn(world)
    assert story.condition("Ready")[:2] == ("True", "Watching")


async def test_what_fails_for_three_days_is_given_up(git_story: Story) -> None:
    """Nothing is tried for ever; auditors see that it never got through."""
    story = git_story
    story.policy("Notify")
    story.roll_back()
    story.receiver.statuses = [503] * 10
    world = story.process()

    await story.turn(world)
    story.now += timedelta(days=3, minutes=1)
    await story.turn(world)
    await story.turn(world)

    entry = await story.entry()
    assert (entry.state, entry.why) == (State.REFUSED, "NotDelivered")
    assert len(story.receiver.got) == 2


async def test_credentials_that_are_missing_are_waited_for(forge_story: Story) -> None:
    """The platform team sees which Secret and key are wanted, and need not restart anything."""
    story = forge_story
    story.push("7")
    story.policy("Commit", credentials={"name": "other", "key": "token"})
    story.roll_back()
    world = story.process()

    await story.turn(world)
    await story.turn(world)
    told = "models/fraud-0007: Secret headgate-system/other does not exist"
    assert story.condition("Ready") == ("False", "Failing", told)
    story.policy("Commit")
    await story.turn(world)

    assert len(story.ours()) == 1


@pytest.mark.parametrize("value", [b"two\r\nX-Evil: lines", b"t\xc3\xb6ken", b"two words"])
async def test_a_token_that_is_none_is_sent_nowhere(forge_story: Story, value: bytes) -> None:
    """It would break, or extend, the header that it goes into; the message does not repeat it."""
    story = forge_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    secret = story.cluster.objects["Secret", OWN, "git-token"]
    secret["data"]["token"] = base64.b64encode(value).decode()
    world = story.process()

    await story.turn(world)
    await story.turn(world)

    told = "models/fraud-0007: Secret git-token: token is no token"
    assert story.condition("Ready") == ("False", "Failing", told)
    assert story.origin.calls == []


async def test_a_namespace_that_may_not_be_read_is_told(git_story: Story) -> None:
    """A Role that is missing shows in the policy, and old entries are kept meanwhile."""
    story = git_story
    story.policy("Commit")

    def refuse(what: str) -> None:
        if what == "list ModelRollout models":
            raise Refused("list ModelRollout models: forbidden")

    story.cluster.before_read = refuse
    await story.turn(story.process())

    told = "the records of namespace models may not be read"
    assert story.condition("Ready") == ("False", "Forbidden", told)


async def test_deleting_the_entry_lets_it_be_tried_again(any_story: Story) -> None:
    """When the cause of a refusal is cured; what was written is found, and not written again."""
    story = any_story
    story.push("8", "Somebody else's")
    story.policy("Commit")
    story.roll_back()
    world = story.process()
    await story.turns(world)
    assert (await story.entry()).why == "GitConflict"

    story.push("7")
    for _ in range(2):
        await world.ledger.drop(await story.entry())
        await story.turns(world)

    assert (await story.entry()).state is State.COMMITTED
    assert len(story.ours()) == 1


async def test_the_ledger_outlives_the_record_by_its_time(git_story: Story) -> None:
    """Auditors have 90 days; then it is forgotten, and no sooner."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    world = story.process()
    await story.turns(world)
    del story.cluster.objects["ModelRollout", "models", "fraud-0007"]

    story.now += timedelta(days=89)
    await story.turn(world)
    assert (await story.entry()).state is State.COMMITTED
    story.now += timedelta(days=2)
    await story.turn(world)

    assert await world.ledger.read("record-fraud-7") is None


# --- restarts at any line ------------------------------------------------------------------------


class Interrupted:
    """A repository in which something happens once before, or after, our commit."""

    def __init__(self, inner: Repository, before: Any = None, after: Any = None) -> None:
        """Call `before` and `after` around the first commit."""
        self._inner, self._before, self._after = inner, before, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def commit(self, replacement: Any) -> Commit:
        """Commit, with what happens around it."""
        if self._before is not None:
            before, self._before = self._before, None
            before()
        made: Commit = await self._inner.commit(replacement)
        if self._after is not None:
            after, self._after = self._after, None
            after()
        return made


def kill() -> None:
    """End the process here."""
    raise Killed


@pytest.mark.parametrize("mode", ["Commit", "PullRequest", "Notify"])
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_process_that_ends_at_any_write_is_followed_by_one_that_finishes(
    gitea_story: Story, mode: str, side: str, number: int
) -> None:
    """Killed around the claim, the outcome and the Event: in the end there is one of everything."""
    story = gitea_story
    story.push("7")
    story.policy(mode)
    story.roll_back()
    left = [number]

    def cut(what: str) -> None:
        if "ConfigMap" in what or "Event" in what:
            left[0] -= 1
            if left[0] == 0:
                raise Killed

    setattr(story.cluster, f"{side}_write", cut)
    with pytest.raises(Killed):
        await story.turn(story.process())
    setattr(story.cluster, f"{side}_write", lambda what: None)
    story.now += CLAIM + timedelta(seconds=1)

    await story.turns(story.process("pod-2"))

    expected = {
        "Commit": (State.COMMITTED, 1, 0, set()),
        "PullRequest": (State.PROPOSED, 0, 1, set()),
        "Notify": (State.NOTIFIED, 0, 0, {"record-fraud-7"}),
    }
    found = (
        (await story.entry()).state,
        len(story.ours()),
        len(story.origin.pulls),
        set(story.receiver.ids),
    )
    assert found == expected[mode]


async def test_a_process_that_ends_right_after_the_push_writes_no_second_one(
    any_story: Story,
) -> None:
    """The commit is found by its trailer."""
    story = any_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    story.around = lambda repository: Interrupted(repository, after=kill)
    with pytest.raises(Killed):
        await story.turn(story.process())
    story.around = lambda repository: repository
    story.push("7", "Bump fraud to 7 again, says the updater")
    story.now += CLAIM + timedelta(seconds=1)

    await story.turns(story.process("pod-2"))

    assert len(story.ours()) == 1
    assert (await story.entry()).state is State.COMMITTED


async def test_a_process_that_ends_right_after_the_topic_branch_opens_the_pull_request(
    forge_story: Story,
) -> None:
    """The branch is found by its name, and what is on it is taken as it is."""
    story = forge_story
    story.push("7")
    story.policy("PullRequest")
    story.roll_back()
    story.around = lambda repository: Interrupted(repository, after=kill)
    with pytest.raises(Killed):
        await story.turn(story.process())
    story.around = lambda repository: repository
    story.now += CLAIM + timedelta(seconds=1)

    await story.turns(story.process("pod-2"))

    [pull] = story.origin.pulls
    ours = [m for m in story.origin.messages(pull.head) if "Rollback-Record" in m]
    assert (len(ours), (await story.entry()).state) == (1, State.PROPOSED)


async def test_git_is_synced_before_the_commit_is_remembered(git_story: Story) -> None:
    """Killed after the push; the cluster is stable by then: the commit is remembered anyhow."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    story.around = lambda repository: Interrupted(repository, after=kill)
    with pytest.raises(Killed):
        await story.turn(story.process())
    story.around = lambda repository: repository
    story.roll_back(changes={"status.phase": "Stable"})
    story.now += CLAIM + timedelta(seconds=1)

    await story.turns(story.process("pod-2"))

    assert (await story.entry()).state is State.COMMITTED
    assert len(story.ours()) == 1


async def test_a_claim_for_what_is_no_longer_so_is_dropped(git_story: Story) -> None:
    """Killed before the push, and a person restored Git meanwhile: nothing is written any more."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    story.around = lambda repository: Interrupted(repository, before=kill)
    with pytest.raises(Killed):
        await story.turn(story.process())
    story.around = lambda repository: repository
    story.push("6", "Revert to 6 by hand")
    story.roll_back(changes={"status.phase": "Stable"})
    story.now += CLAIM + timedelta(seconds=1)
    world = story.process("pod-2")

    await story.turns(world)

    assert story.ours() == []
    assert await world.ledger.read("record-fraud-7") is None


async def test_another_process_waits_while_a_claim_is_fresh(git_story: Story) -> None:
    """Two do not do the same at once; the second looks again when the claim is over."""
    story = git_story
    story.push("7")
    story.policy("Commit")
    story.roll_back()
    story.around = lambda repository: Interrupted(repository, before=kill)
    with pytest.raises(Killed):
        await story.turn(story.process())
    story.around = lambda repository: repository

    await story.turn(story.process("pod-2"))
    assert story.ours() == []
    story.now += CLAIM + timedelta(seconds=1)
    await story.turn(story.process("pod-2"))

    assert len(story.ours()) == 1
