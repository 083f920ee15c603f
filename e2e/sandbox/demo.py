"""
`python -m sandbox demo`: one model's life, told while it happens, and held to what is promised.

A model team commits versions 1 to 4; a client sends what users would send and counts what they
see. Everything here is done through Git, kubectl and signals, as a person would: the operator gets
no help, and its own counts are never taken for what users saw.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sandbox.counts import Counts
from sandbox.demo_story import (
    Finding,
    Told,
    check_continued,
    check_left_alone,
    check_promoted,
    check_rolled_back,
    describe_users,
    exposed_since,
    render_result,
    tell,
)
from sandbox.gitsync import SyncError, request_sync
from sandbox.kube import read_kubeconfig
from sandbox.load import Load, LoadFailedError, Plan
from sandbox.modelteam import GitError, ModelTeam
from sandbox.narration import Narrator
from sandbox.paths import ROOT, world_directory
from sandbox.processes import wait_until
from sandbox.status import read_status
from sandbox.supervisor import is_claimed
from sandbox.watching import Deployment, Json, Seen, StoryError
from sandbox.world import World, load_world

NAMESPACE, NAME = "models", "fraud"
HOST = "fraud.example.com"
RATE = 100.0
"""Requests a second."""
RESYNCS = 10

_EXAMPLE = ROOT / "manifests" / "examples" / "demo"
_PATIENCE_SECONDS = 150.0
_RESTART_SECONDS = 30.0
_AFTERMATH_SECONDS = 4.0
"""How much longer is counted: what was under way must end, and the old version is stopped."""
_KILL_AFTER_SECONDS = 2.0


class CommandError(Exception):
    """A command of the demo failed; the message is what it said."""


@dataclass(slots=True)
class Demo:
    """One telling: where it happens, to whom it is told, and what came of it so far."""

    world: World
    narrator: Narrator
    team: ModelTeam
    deployment: Deployment
    users: Load
    chapter_began: float = 0.0
    versions: list[Told] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World, narrator: Narrator) -> Demo:
        """Prepare the telling in a world that is up and empty."""
        folder = world.data / "demo"
        return cls(
            world=world,
            narrator=narrator,
            team=ModelTeam(world.models, folder / "models"),
            deployment=Deployment(read_kubeconfig(world.kubeconfig), NAMESPACE, NAME),
            users=Load(Plan(world.url("gateway"), HOST, NAME, RATE), folder / "users.jsonl"),
        )

    def run(self) -> None:
        """
        Tell all chapters.

        Raises:
            StoryError, CommandError, GitError, SyncError, LoadFailedError: It cannot go on.
        """
        with self._chapter("version 1", "1. Version 1 is committed, and serves"):
            self._first_version()
        with self._chapter("version 2", "2. Version 2 is better, and earns its traffic"):
            self._good_version()
        with self._chapter("version 3", "3. Version 3 fails where a value is missing"):
            self._bad_version()
        with self._chapter("re-sync", "4. The rejected commit is synced ten times more"):
            self._resync()
        with self._chapter("version 4", "5. Version 4 is the fix; the operator dies on the way"):
            self._fix_and_kill()
        with self._chapter("summary", "What users saw"):
            self._sum_up()

    # --- chapters --------------------------------------------------------------------------------

    def _first_version(self) -> None:
        self.narrator.say("""
            A model team keeps one file in Git: a ModelDeployment with KServe's own
            InferenceService in it. The cluster follows that repository; nobody types kubectl apply.
        """)
        self.team.clone()
        self.team.take(_EXAMPLE)
        before = self.deployment.look()
        self._commit("Serve the fraud model: version 1, a logistic regression")
        serving = self._follow(before, lambda seen: seen.status.get("phase") == "Baking")
        self.users.start()
        self.narrator.say(f"""
            It serves, so users come: {RATE:.0f} card transactions a second from here to the end,
            one in ten without the age of the merchant, as in the training data. A separate client
            sends them through the gateway and counts what it gets back. There is nothing to
            compare a first version with: it must meet its objectives under traffic to be proven.
        """)
        self.narrator.blank()
        self._hear(before, check_promoted, serving)
        self._kubectl("get", "md", "-n", NAMESPACE)

    def _good_version(self) -> None:
        self.narrator.say("""
            Boosted trees see what a linear model cannot. Headgate runs version 2 beside version 1,
            gives it 10 % of the requests, and then no more than the evidence has earned.
        """)
        before = self.deployment.look()
        self._change("2", "Fraud model 2: boosted trees, AUC 0.94 instead of 0.90")
        self._hear(before, check_promoted)
        self._kubectl("get", "md", "-n", NAMESPACE)

    def _bad_version(self) -> None:
        self.narrator.say("""
            Version 3 has the best figure yet, on the complete rows that its author judged it by.
            Its library takes no missing values, and nobody put an imputer in front: one request in
            ten will crash in it. It loads, it is ready, it answers its probe.
        """)
        before = self.deployment.look()
        self._change("3", "Fraud model 3: larger trees, AUC 0.95")
        self._hear(before, check_rolled_back)
        self._headgate("why", NAME, "-n", NAMESPACE)

    def _resync(self) -> None:
        self.narrator.say("""
            Git still says version 3, and a GitOps controller syncs on and on. What was rejected
            stays so until its content changes, or somebody sets spec.rollout.retry.
        """)
        before, began_at = self.deployment.look(), datetime.now(UTC)
        command = f"python -m sandbox --world {self.world.name} sync"
        self.narrator.command(f"{command}    # {RESYNCS} times")
        for _ in range(RESYNCS):
            request_sync(self.world)
        time.sleep(_AFTERMATH_SECONDS)
        users = self._count(began_at, datetime.now(UTC))
        self.narrator.say(describe_users(users))
        self._find(check_left_alone(before.status, self.deployment.look().status, users))

    def _fix_and_kill(self) -> None:
        self.narrator.say("""
            Version 4 has trees of the kind that takes missing values. While it is at 10 %, the
            operator is killed without a warning. It is not on the way of any request; the gateway
            keeps the split, and the next process goes on from what is stored in the cluster.
        """)
        before = self.deployment.look()
        self._change("4", "Fraud model 4: trees that take missing values")
        early = self._follow(
            before,
            lambda seen: (
                seen.number > before.number and (seen.canary_weight > 0 or bool(seen.outcome))
            ),
        )
        time.sleep(_KILL_AFTER_SECONDS)
        killed = self._kill_operator()
        self._hear(before, check_promoted, early)
        late = self.deployment.look()
        self._find(check_continued(early.record, late.record, killed, self._operator_pid()))
        self._kubectl("get", "mro", "-n", NAMESPACE)

    def _sum_up(self) -> None:
        users = self.users.stop()
        self.narrator.say(str(users))
        for told in self.versions:
            self.narrator.say(
                f"Version {told.version}: {told.outcome} after {told.seconds:.0f} s, "
                f"{told.users.failures:,} of {told.users.ended:,} requests failed. {told.evidence}"
            )

    # --- what chapters are made of ---------------------------------------------------------------

    @contextmanager
    def _chapter(self, name: str, title: str) -> Iterator[None]:
        self.narrator.heading(title)
        self.chapter_began = time.monotonic()
        yield
        self.stages[name] = time.monotonic() - self.chapter_began

    def _change(self, version: str, subject: str) -> None:
        changed = self.team.edit(version)
        self.narrator.command("git diff --unified=0")
        self.narrator.output(changed)
        self._commit(subject)

    def _commit(self, subject: str) -> None:
        self.narrator.command(f'git add . && git commit --message "{subject}" && git push')
        commit = self.team.commit(subject)
        self.narrator.blank()
        self._moment(f"commit {commit} is pushed")

    def _hear(
        self, before: Seen, check: Callable[[Told], list[Finding]], known: Seen | None = None
    ) -> None:
        """
        Follow the rollout after `before` to its end, count what users saw, and judge it.

        Its steps up to `known` have been told already.
        """
        seen = self._follow(
            known or before, lambda seen: seen.number > before.number and bool(seen.outcome)
        )
        began_at = exposed_since(seen.record)
        if began_at is None:
            raise StoryError(f"it ended before it had any traffic: {seen.status.get('message')}")
        time.sleep(_AFTERMATH_SECONDS)
        told = tell(seen.record, seen.at, self._count(began_at, datetime.now(UTC)))
        self.versions.append(told)
        self.narrator.say(describe_users(told.users))
        self.narrator.say(f"The record {told.rollout} says: {told.evidence}")
        self._find(check(told))

    def _follow(self, since: Seen, until: Callable[[Seen], bool]) -> Seen:
        return self.deployment.follow(until, _PATIENCE_SECONDS, self._step, since)

    def _step(self, step: Json) -> None:
        self._moment(step["message"])

    def _moment(self, text: str) -> None:
        self.narrator.moment(time.monotonic() - self.chapter_began, text)

    def _find(self, findings: Sequence[Finding]) -> None:
        self.findings += findings
        self.narrator.blank()
        for finding in findings:
            self.narrator.finding(finding.claim, finding.holds, finding.found)

    def _count(self, since: datetime, until: datetime) -> Counts:
        # The report is written once a second, and a request may still be under way.
        time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()) + 1.2)
        return self.users.counts(since, until + timedelta(seconds=1))

    def _kill_operator(self) -> int:
        pid = self._operator_pid()
        self.narrator.command(f"kill -9 {pid}    # the operator")
        os.kill(pid, signal.SIGKILL)
        self.narrator.blank()
        self._moment("the operator is gone; nobody watches the canary now")
        if not wait_until(lambda: self._operator_pid() not in (0, pid), _RESTART_SECONDS):
            raise StoryError(f"the operator was not started again in {_RESTART_SECONDS:.0f} s")
        self._moment(f"its supervisor has started it again, as process {self._operator_pid()}")
        return pid

    def _operator_pid(self) -> int:
        """The operator's process; 0 while there is none, or only the one that has ended."""
        for part in read_status(self.world).parts:
            if part.name == "headgate" and part.state in ("starting", "ready"):
                return part.pid or 0
        return 0

    def _kubectl(self, *arguments: str) -> None:
        self._show("kubectl", self.world.directory / "bin" / "kubectl", arguments)

    def _headgate(self, *arguments: str) -> None:
        binary = self.world.places["headgate"] / "bin" / "headgate"
        self._show("headgate", binary, arguments)

    def _show(self, name: str, program: Path, arguments: Sequence[str]) -> None:
        self.narrator.command(" ".join((name, *arguments)))
        done = subprocess.run(
            [str(program), *arguments],
            env={**os.environ, "KUBECONFIG": str(self.world.kubeconfig), "COLUMNS": "140"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"{name} {' '.join(arguments)}: {done.stderr.strip()}")
        self.narrator.output(done.stdout)


_BROKEN_OFF = (StoryError, CommandError, GitError, SyncError, LoadFailedError)


def demo(world_name: str, keep: bool) -> int:
    """
    Tell the whole story in a world of its own, and end with one line of JSON.

    Returns:
        0 if everything went as told, 1 if not or if the world `world_name` is in use.
    """
    narrator = Narrator.on(sys.stdout)
    began = time.monotonic()
    if is_claimed(world_directory(world_name) / "run"):
        narrator.say(f"The world {world_name!r} is up already: another demo, or one that was kept.")
        narrator.command(f"python -m sandbox --world {world_name} down")
        return 1
    signal.signal(signal.SIGTERM, _interrupt)
    story: Demo | None = None
    error = ""
    stages: dict[str, float] = {}
    try:
        _raise_world(world_name, narrator, keep)
        stages["world"] = time.monotonic() - began
        story = Demo.of(load_world(world_name), narrator)
        story.run()
    except _BROKEN_OFF as broken:
        error = str(broken)
        narrator.say(f"The story breaks off: {error}")
    finally:
        _end(story, world_name, narrator, keep)
    versions, findings = (story.versions, story.findings) if story else ([], [])
    stages |= story.stages if story else {}
    _name_what_was_not_so(narrator, findings)
    seconds = time.monotonic() - began
    print(render_result(seconds, stages, versions, findings, error), flush=True)
    return 1 if error or any(not finding.holds for finding in findings) else 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _raise_world(name: str, narrator: Narrator, keep: bool) -> None:
    narrator.heading("A cluster, from nothing")
    narrator.say("""
        Kubernetes, KServe, Envoy, Prometheus, a Git repository that the cluster follows, and
        Headgate with the rights of its own ServiceAccount: the real programs, on this machine,
        without containers. The first time they are built, which takes some minutes.
    """)
    narrator.blank()
    lifetime = () if keep else ("--lifetime-of", str(os.getpid()))
    if _sandbox(name, "up", "--fresh", *lifetime) != 0:
        raise StoryError("the embedded world did not start")


def _end(story: Demo | None, name: str, narrator: Narrator, keep: bool) -> None:
    """End the client, and the world unless it is kept; whatever happened before."""
    narrator.blank()
    try:
        if story is not None:
            story.users.stop()
    except LoadFailedError as error:
        narrator.say(str(error))
    finally:
        if not keep:
            _sandbox(name, "down")
    if keep and story is not None:
        narrator.say("The world is kept. To look around, and to end it:")
        narrator.command(f"export KUBECONFIG={story.world.kubeconfig}")
        narrator.command(f"python -m sandbox --world {name} down")


def _sandbox(world: str, *arguments: str) -> int:
    command = [sys.executable, "-m", "sandbox", "--world", world, *arguments]
    return subprocess.run(command, env=_with_sources(), check=False).returncode


def _with_sources() -> dict[str, str]:
    """Return the environment in which a child finds this package, however it was found here."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "e2e")}


def _name_what_was_not_so(narrator: Narrator, findings: Sequence[Finding]) -> None:
    broken = [finding for finding in findings if not finding.holds]
    narrator.blank()
    for finding in broken:
        narrator.finding(finding.claim, finding.holds, finding.found)
    if not broken:
        narrator.say(f"All {len(findings)} expectations came true." if findings else "")
