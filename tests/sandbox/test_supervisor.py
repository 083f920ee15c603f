"""The supervisor with real processes: order, failures, restarts, and that nothing outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.processes import wait_until
from sandbox.status import PartStatus, WorldStatus, read_status
from sandbox.supervisor import Phase, State, backoff_seconds
from sandbox.world import World

PATIENCE_SECONDS = 20
TINY = Path(__file__).with_name("tiny.py")

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give the world that the stories run in."""
    return World("tiny", tmp_path / "world", {}, {})


@pytest.fixture
def start(world: World) -> Iterator[Start]:
    """Give a function that starts a story; what still runs at the end is killed."""
    started = []

    def run(story: str, *more: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, str(TINY), str(world.directory), story, *more]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def reach(world: World, is_so: Callable[[WorldStatus], bool]) -> WorldStatus:
    """Wait for a status, and return it."""
    assert wait_until(lambda: is_so(read_status(world)), PATIENCE_SECONDS), read_status(world)
    return read_status(world)


def is_ready(status: WorldStatus) -> bool:
    """Say whether the world is up."""
    return status.is_healthy


def part(status: WorldStatus, name: str) -> PartStatus:
    """Return one part's line."""
    return next(each for each in status.parts if each.name == name)


def group_is_gone(pid: int | None) -> bool:
    """Say whether no process of the group is left; one that nobody reaped counts as gone."""
    states = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == pid:
            states.append(fields[0])
    return all(state == "Z" for state in states)


def test_a_part_starts_after_what_it_needs(world: World, start: Start) -> None:
    """The order in the list does not matter; the needs do."""
    start("good")

    status = reach(world, is_ready)

    assert part(status, "first").since < part(status, "second").since
    assert world.log("second").read_text() == "second lives\n"


def test_a_need_that_was_left_out_is_not_waited_for(world: World, start: Start) -> None:
    """Whoever leaves a part out means to do without it."""
    start("left-out")

    assert [each.name for each in reach(world, is_ready).parts] == ["second"]


def test_a_part_that_ends_too_early_fails_the_start_with_its_own_words(
    world: World, start: Start
) -> None:
    """The end of its log is in the message, and the parts that did start are stopped."""
    supervisor = start("fails")

    assert supervisor.wait(PATIENCE_SECONDS) == 1
    status = read_status(world)
    assert status.phase is Phase.FAILED
    assert status.error.startswith("second ended with 3 before it was ready\n")
    assert status.error.endswith("second says why")
    assert [each.state for each in status.parts] == [State.STOPPED, State.FAILED]


def test_a_part_that_never_gets_ready_fails_the_start(world: World, start: Start) -> None:
    """Patience ends; the message says how long it was."""
    supervisor = start("hangs")

    assert supervisor.wait(PATIENCE_SECONDS) == 1
    assert read_status(world).error.startswith("first was not ready in 0 s\n")


def test_a_killed_part_is_started_again_where_it_is_to_be(world: World, start: Start) -> None:
    """As a kubelet would: new process, and the restart is counted."""
    start("restarts")
    before = part(reach(world, is_ready), "first")
    os.kill(before.pid or 0, signal.SIGKILL)

    after = part(
        reach(world, lambda status: is_ready(status) and status.parts[0].restarts == 1), "first"
    )

    assert after.pid != before.pid


def test_another_killed_part_is_reported_dead(world: World, start: Start) -> None:
    """The world stays up for a look at it, and does not pretend to be healthy."""
    start("stays-dead")
    os.kill(part(reach(world, is_ready), "first").pid or 0, signal.SIGKILL)

    status = reach(world, lambda status: part(status, "first").state is State.DEAD)

    assert (status.phase, status.is_healthy) == (Phase.READY, False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_supervisor(
    world: World, start: Start, number: signal.Signals
) -> None:
    """Asked to stop or killed, no part remains."""
    supervisor = start("good")
    pids = [each.pid for each in reach(world, is_ready).parts]

    supervisor.send_signal(number)
    supervisor.wait(PATIENCE_SECONDS)

    assert wait_until(lambda: all(map(group_is_gone, pids)), PATIENCE_SECONDS)
    assert read_status(world).phase is Phase.STOPPED


def test_what_a_part_left_behind_is_killed_with_it(world: World, start: Start) -> None:
    """A part's own children are in its group; an orderly stop leaves none of them."""
    supervisor = start("breeds")
    pid = reach(world, is_ready).parts[0].pid
    assert not group_is_gone(pid)

    supervisor.terminate()
    supervisor.wait(PATIENCE_SECONDS)

    assert wait_until(lambda: group_is_gone(pid), PATIENCE_SECONDS)


def test_a_world_can_end_with_who_wanted_it(world: World, start: Start) -> None:
    """A test run or a demo that is killed takes its world with it."""
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    supervisor = start("good", str(owner.pid))
    reach(world, is_ready)

    owner.kill()
    owner.wait()

    assert supervisor.wait(PATIENCE_SECONDS) == 0


def test_one_world_has_one_supervisor(world: World, start: Start) -> None:
    """A second one ends at once and disturbs nothing."""
    start("good")
    before = reach(world, is_ready)

    second = start("good")

    assert second.wait(PATIENCE_SECONDS) == 1
    assert read_status(world) == before


def test_restarts_wait_longer_each_time_and_never_too_long() -> None:
    """The wait doubles from half a second up to half a minute."""
    assert [backoff_seconds(count) for count in (0, 1, 2, 5, 6, 1000)] == [
        0.5,
        1.0,
        2.0,
        16.0,
        30.0,
        30.0,
    ]
